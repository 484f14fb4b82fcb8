//! The same answer for people, for code scanning, for test reports, for programs and for GitHub.

use serde_json::Value;
use tidegate_tests::Discount;

/// What is wrong with the faulty app, in every check that denies it.
const DENIED: [&str; 7] =
    ["coverage", "infrastructure", "licences", "secrets", "tests_pass", "tests_present", "vulnerabilities"];
/// One finding of it.
const HOLE: &str = "CVE-2020-14343";

fn printed(app: &Discount, format: &str) -> String {
    app.pipeline.run(&app.check(&["--format", format])).expect(1).out
}

#[test]
fn every_format_names_what_was_found() {
    let app = Discount::begin(None);
    let json: Value = serde_json::from_str(&printed(&app, "json")).expect("JSON");
    assert_eq!(json["judgement"]["verdict"], "deny");
    let checks = json["judgement"]["checks"].as_array().expect("checks");
    let denied = |check: &&Value| check["level"] == "deny";
    let mut names: Vec<&str> =
        checks.iter().filter(denied).filter_map(|check| check["name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, DENIED);

    let sarif: Value = serde_json::from_str(&printed(&app, "sarif")).expect("JSON");
    assert_eq!(
        (&sarif["version"], &sarif["runs"][0]["tool"]["driver"]["name"]),
        (&"2.1.0".into(), &"tidegate gate".into())
    );
    let results = sarif["runs"][0]["results"].as_array().expect("results");
    for name in DENIED {
        let is_error = |result: &&Value| result["ruleId"] == name && result["level"] == "error";
        assert!(results.iter().any(|result| is_error(&result)), "no error of {name}");
    }
    let hole = results.iter().find(|result| result["properties"]["rule"] == HOLE).expect("the hole");
    let place = &hole["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, "requirements.txt", "{hole}");

    let junit = printed(&app, "junit");
    assert_eq!(junit.matches("<testcase ").count(), checks.len(), "{junit}");
    assert_eq!(junit.matches("<failure ").count(), DENIED.len(), "{junit}");
    assert!(junit.starts_with("<?xml ") && junit.trim_end().ends_with("</testsuites>"), "{junit}");
    assert!(junit.contains(HOLE), "{junit}");

    let github = printed(&app, "github");
    assert!(github.lines().all(|line| line.starts_with("::")), "one command a line: {github}");
    assert!(github.contains("::error file=src/config.py,line=3,title="), "{github}");
    assert!(!github.contains("AKIA"), "the secret itself is shown nowhere");
}

#[test]
fn a_job_of_github_has_the_answer_on_its_page_and_beside_the_lines() {
    let app = Discount::begin(None);
    let page = app.folder().join("summary.md");
    let job = app.pipeline.clone().with("GITHUB_ACTIONS", "true");
    let job = job.with("GITHUB_STEP_SUMMARY", page.to_str().expect("a path"));
    let ended = job.run(&app.check(&[])).expect(1);
    ended.says("DENIED: discount for production");
    ended.says("::error file=src/config.py,line=3,title=");
    let page = std::fs::read_to_string(page).expect("a page");
    for text in ["discount", HOLE, "src/config.py", "Take the secret out of the code"] {
        assert!(page.contains(text), "the page lacks {text}: {page}");
    }
}

#[test]
fn a_file_for_a_program_leaves_the_text_for_people_on_the_terminal() {
    let app = Discount::begin(None);
    let ended = app.pipeline.run(&app.check(&["--format", "sarif", "--output", "gate.sarif"])).expect(1);
    ended.says("DENIED: discount for production");
    let text = std::fs::read_to_string(app.folder().join("gate.sarif")).expect("a file");
    let sarif: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(sarif["runs"][0]["properties"]["verdict"], "deny");
}
