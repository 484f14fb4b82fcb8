//! Numbers, names and lists at which a reader could break, or work without end.

use rollout_rules::gate::facts::{Format, ProblemCode, Proof, Severity};
use tidegate::gate::read::{Reading, read};

use super::scan;

fn code(text: &str) -> Option<ProblemCode> {
    read("report", text.as_bytes()).piece.problem.map(|problem| problem.code)
}

fn taken(text: &str) -> Reading {
    let reading = read("report", text.as_bytes());
    assert_eq!(reading.piece.problem, None);
    reading
}

#[test]
fn counts_to_the_end_of_numbers_are_added_up_to_it() {
    let most = u64::MAX;
    let framework = format!(
        r#"{{"check_type":"terraform","results":{{"failed_checks":[{{"check_id":"CKV_1"}}]}},"summary":{{"passed":{most},"failed":1,"resource_count":{most}}}}}"#
    );
    for text in [framework.clone(), format!("[{framework},{framework}]")] {
        assert_eq!(scan(&text).proof, Proof::Given(format!("{most} checks on {most} resources")));
    }
    let target = format!(
        r#"{{"Target":"main.tf","Class":"config","MisconfSummary":{{"Successes":{most},"Failures":0,"Exceptions":{most}}}}}"#
    );
    let trivy = format!(r#"{{"SchemaVersion":2,"ArtifactName":".","Results":[{target},{target}]}}"#);
    let infrastructure = taken(&trivy).facts.scans.pop().expect("a scan");
    assert!(matches!(infrastructure.proof, Proof::Missing(_)), "what was left out is not shown");
}

#[test]
fn counts_below_0_or_that_fit_no_number_are_refused_and_lines_are_left_out() {
    for text in [
        r#"<testsuites tests="-1"/>"#,
        r#"<testsuites tests="99999999999999999999"/>"#,
        r#"<testsuites tests="NaN"/>"#,
        r#"<coverage line-rate="1"><class filename="a"><line number="1" hits="99999999999999999999"/></class></coverage>"#,
        r#"<coverage line-rate="1"><class filename="a"><line number="4294967296" hits="1"/></class></coverage>"#,
        "SF:a\nDA:4294967296,1\nend_of_record\n",
        "SF:a\nLF:-1\nend_of_record\n",
        r#"{"format":"tidegate.inventory/1","files":-1,"sources":0,"infrastructure":[],"manifests":[]}"#,
        r#"{"format":"tidegate.test-presence/1","files":[{"path":"a","functions":4294967296,"tests":[]}]}"#,
        r#"{"check_type":"t","results":{"failed_checks":[]},"summary":{"failed":-1}}"#,
        r#"{"check_type":"t","results":{"failed_checks":[]},"summary":{"passed":1e400}}"#,
        "--- a/x\n+++ b/x\n@@ -1,1 +4294967295,2 @@\n+a\n",
    ] {
        assert_eq!(code(text), Some(ProblemCode::Malformed), "{text}");
    }
    let line = |line: &str| {
        let location = format!(r#"{{"physicalLocation":{{"region":{{"startLine":{line}}}}}}}"#);
        let text = format!(
            r#"{{"version":"2.1.0","runs":[{{"results":[{{"ruleId":"a","locations":[{location}]}}]}}]}}"#
        );
        scan(&text).findings[0].line
    };
    assert_eq!([line("7"), line("0"), line("-3"), line("4294967296")], [Some(7), None, None, None]);
}

/// A rule is looked for by each part of its name, which in a long name made of parts would take the square of its length.
#[test]
fn a_rule_whose_name_is_all_parts_is_read_in_no_time() {
    let sarif = |id: &str| {
        format!(
            r#"{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"x","rules":[{{"id":"r","defaultConfiguration":{{"level":"error"}}}}]}}}},"results":[{{"ruleId":"{id}"}}]}}]}}"#
        )
    };
    let severity = |id: &str| scan(&sarif(id)).findings[0].severity;
    assert_eq!(severity("r/a/b"), Severity::High);
    assert_eq!(severity(&format!("r{}", "/".repeat(9_000_000))), Severity::Medium, "it is no rule's name");
}

#[test]
fn a_report_names_so_many_files_at_most() {
    let report = |files: usize| {
        let results: Vec<String> = (0..files).map(|nth| format!(r#""{nth}":[]"#)).collect();
        format!(
            r#"{{"version":"1.5.0","plugins_used":[],"filters_used":[],"results":{{{}}}}}"#,
            results.join(",")
        )
    };
    assert_eq!(code(&report(100_000)), None);
    assert_eq!(code(&report(100_001)), Some(ProblemCode::TooLarge));
}

/// Sixty suites within each other, with long names, stand before each of thousands of cases.
#[test]
fn a_title_keeps_the_suites_that_are_near_and_not_all_of_many() {
    let names: Vec<String> = (0..60).map(|nth| format!("{nth:03}{}", "s".repeat(480))).collect();
    let open: String = names.iter().map(|name| format!(r#"<testsuite name="{name}">"#)).collect();
    let cases = r#"<testcase classname="test" name="adds"/>"#.repeat(5_000);
    let run = taken(&format!("<testsuites>{open}{cases}{}</testsuites>", "</testsuite>".repeat(60)));
    let ran = &run.facts.tests[0].ran;
    assert_eq!(ran.len(), 5_000);
    assert!(ran.iter().all(|title| title.len() <= 1_000 && title.ends_with(" adds")), "{}", ran[0].len());
    assert!(ran[0].starts_with("058") && ran[0].contains(" 059"), "{}", ran[0]);
}

#[test]
fn a_folder_that_stands_before_every_file_is_a_short_one() {
    let report = |root: &str| {
        format!(
            r#"<coverage line-rate="1"><sources><source>{root}</source></sources><class filename="a.py"><line number="1" hits="1"/></class></coverage>"#
        )
    };
    let path = |root: &str| taken(&report(root)).lines[0].path.clone();
    assert_eq!(path("src"), "src/a.py");
    assert_eq!(path(&"s/".repeat(200)), "a.py");
}

#[test]
fn marks_and_line_ends_of_windows_change_nothing() {
    let texts = [
        (Format::Junit, "<testsuites>\n<testcase classname=\"a\" name=\"b\">\n</testcase>\n</testsuites>\n"),
        (
            Format::Cobertura,
            "<coverage line-rate=\"1\">\n<class filename=\"a\">\n<line number=\"1\" hits=\"1\"/>\n</class></coverage>\n",
        ),
        (Format::Lcov, "SF:src/a.py\nDA:1,1\nend_of_record\n"),
        (Format::Diff, "--- a/src/a.py\n+++ b/src/a.py\n@@ -1,1 +1,2 @@\n a\n+b\n"),
        (Format::Gitleaks, "[\n]\n"),
    ];
    for (format, text) in texts {
        let plain = taken(text);
        assert_eq!(plain.piece.format, Some(format));
        for other in [
            format!("\u{feff}{text}"),
            text.replace('\n', "\r\n"),
            format!("\u{feff}{}", text.replace('\n', "\r\n")),
        ] {
            let other = taken(&other);
            assert_eq!(other.piece.format, Some(format), "{text:?}");
            assert_eq!((&other.lines, &other.changed), (&plain.lines, &plain.changed), "{text:?}");
            let counts = |reading: &Reading| reading.facts.tests.iter().map(|run| run.passed).sum::<u64>();
            assert_eq!(counts(&other), counts(&plain), "{text:?}");
        }
    }
}
