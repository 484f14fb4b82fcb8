//! What acceptance holds against the gate and the folder of fixtures does not have: reports of which a part was left out, and reports of
//! nothing.

use rollout_rules::gate::facts::{Format, Proof, ScanKind, Severity};
use serde_json::{Value, json};
use tidegate::gate::read::read;

use super::{bytes, scan};

fn json(name: &str) -> Value {
    serde_json::from_slice(&bytes(name)).expect("a report of the fixtures")
}

/// Why a scan proves nothing.
fn missing(text: &str) -> String {
    match scan(text).proof {
        Proof::Missing(why) => why,
        Proof::Given(what) => panic!("it is proven: {what}"),
    }
}

/// `checkov --quiet` lists failed checks alone, and its summary still counts the others.
#[test]
fn checkov_that_was_quiet_shows_its_faults_and_proves_nothing() {
    let mut quiet = json("faulty/evidence/checkov.json");
    let failed = quiet["results"]["failed_checks"].take();
    quiet["results"] = json!({ "failed_checks": failed });
    let text = quiet.to_string();
    let found = scan(&text);
    assert_eq!(
        (found.kind, found.total, found.findings[0].severity),
        (ScanKind::Infrastructure, 11, Severity::High)
    );
    assert!(missing(&text).contains("without `--quiet`"));

    // Where nothing was skipped, nothing is hidden: what passed is only counted.
    let mut clean = json("clean/evidence/checkov.json");
    clean["results"] = json!({ "failed_checks": [] });
    assert_eq!(scan(&clean.to_string()).proof, scan(&json("clean/evidence/checkov.json").to_string()).proof);
}

/// `detect-secrets scan --exclude-files 'src/.*' --disable-plugin AWSKeyDetector`.
#[test]
fn detect_secrets_that_left_out_files_and_a_detector_names_both() {
    let mut excluded = json("clean/evidence/detect-secrets.json");
    let filter = json!({ "path": "detect_secrets.filters.regex.should_exclude_file", "pattern": ["src/.*"] });
    excluded["filters_used"].as_array_mut().expect("a list").push(filter);
    excluded["plugins_used"]
        .as_array_mut()
        .expect("a list")
        .retain(|plugin| plugin["name"] != "AWSKeyDetector");
    let why = missing(&excluded.to_string());
    assert!(why.contains("without AWSKeyDetector") && why.contains("should_exclude_file"), "{why}");
    assert!(why.contains("detect-secrets scan --all-files"), "{why}");
    let reading = read("secrets.json", excluded.to_string().as_bytes());
    assert!(!reading.lists_findings_only, "no other evidence makes up for what was left out");
}

#[test]
fn a_log_without_a_run_is_a_scan_of_nothing() {
    for text in [
        r#"{"version":"2.1.0","runs":[]}"#,
        r#"{"version":"2.1.0","runs":null}"#,
        r#"{"$schema":"https://json.schemastore.org/sarif-2.1.0.json","version":"2.1.0","runs":[]}"#,
    ] {
        let found = scan(text);
        assert_eq!((found.kind, found.total), (ScanKind::Code, 0), "{text}");
        assert!(missing(text).contains("no run in it"), "{text}");
    }
    let without =
        read("sarif", br#"{"$schema":"https://json.schemastore.org/sarif-2.1.0.json","version":"2.1.0"}"#);
    assert_eq!(without.piece.format, None, "without even a list of runs it is no SARIF");
    assert!(without.piece.problem.is_some());
}

/// Data of an app, which are no broken reports.
#[test]
fn data_with_the_words_of_a_report_are_none() {
    for text in [
        r#"{"results":[{"source":"web","title":"a"}]}"#,
        r#"{"results":[{"source":{"path":"a"},"text":"b"}]}"#,
        r#"{"results":[]}"#,
        r#"{"version":3,"runs":[]}"#,
        r#"{"version":"1.0","runs":[{"distance":5}]}"#,
        r#"{"matches":[],"source":"x"}"#,
        r#"{"matches":[{"home":"a","away":"b"}],"descriptor":{"name":"league"}}"#,
    ] {
        assert_eq!(read("data.json", text.as_bytes()).piece.format, None, "{text}");
    }
    for (text, format) in [
        (r#"{"version":"2.0.0","runs":[]}"#, Format::Sarif),
        (r#"{"$schema":"https://example.org/SARIF-3.json","runs":[]}"#, Format::Sarif),
        (r#"{"runs":[{"tool":{},"results":[]}],"version":3}"#, Format::Sarif),
        (r#"{"matches":[],"descriptor":{"version":"1","name":"grype"}}"#, Format::Grype),
        (r#"{"matches":[{"vulnerability":{},"artifact":{}},"#, Format::Grype),
        (r#"{"results":[],"experimental_config":{}}"#, Format::Osv),
        (r#"{"results":[{"source":{"path":"a","type":"lockfile"},"packages":["#, Format::Osv),
    ] {
        assert_eq!(read("a", text.as_bytes()).piece.format, Some(format), "{text}");
    }
}

fn cases(text: &str) -> (u64, u64, u64, Vec<String>) {
    let reading = read("junit.xml", text.as_bytes());
    assert_eq!((reading.piece.format, &reading.piece.problem), (Some(Format::Junit), &None), "{text}");
    let run = reading.facts.tests.into_iter().next().expect("a run");
    (run.passed, run.failed, run.skipped, run.ran)
}

/// As pytest writes what was skipped and what was expected to fail.
#[test]
fn cases_that_were_skipped_or_expected_to_fail_ran_nothing() {
    let skipped = r#"<testcase classname="t" name="a"><skipped type="pytest.skip" message="later">t.py:3: later</skipped></testcase>"#;
    let expected = r#"<testcase classname="t" name="b"><skipped type="pytest.xfail" message="it is broken"/></testcase>"#;
    let suite = |tests: u32, skipped: u32, inner: &str| {
        format!(
            r#"<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="0" failures="0" skipped="{skipped}" tests="{tests}">{inner}</testsuite></testsuites>"#
        )
    };
    let hollow = suite(2, 2, &format!("{skipped}{expected}"));
    assert_eq!(cases(&hollow), (0, 0, 2, Vec::new()), "which judging takes for no test at all");
    // One with nothing in it passes: only who looks at the code sees that it asserts nothing.
    let empty = suite(3, 2, &format!(r#"{skipped}{expected}<testcase classname="t" name="empty"/>"#));
    assert_eq!(cases(&empty), (1, 0, 2, vec!["t.empty".to_owned()]));
    assert_eq!(cases(&suite(0, 0, "")), (0, 0, 0, Vec::new()));
    // One that was expected to fail and passed is a failure where that is asked for.
    let strict =
        r#"<testcase classname="t" name="c"><failure message="[XPASS(strict)] it is broken"/></testcase>"#;
    let failing = suite(1, 0, strict).replace(r#"failures="0""#, r#"failures="1""#);
    assert_eq!(cases(&failing), (0, 1, 0, vec!["t.c".to_owned()]));
}

#[test]
fn of_more_cases_than_are_kept_each_test_is_kept_by_one_of_its_cases() {
    let suite = |cases: &str| format!("<testsuite>{cases}</testsuite>");
    let many = |title: &str, count: usize| -> String {
        (0..count).map(|nth| format!(r#"<testcase classname="t" name="{title}[{nth}]"/>"#)).collect()
    };
    let last = r#"<testcase classname="t" name="last"/>"#;
    let (passed, _, _, ran) = cases(&suite(&format!("{}{last}", many("sum", 6_000))));
    assert_eq!((passed, ran), (6_001, vec!["t.sum[0]".to_owned(), "t.last".to_owned()]));
    let (_, _, _, ran) = cases(&suite(&many("sum", 5_000)));
    assert_eq!(ran.len(), 5_000, "while all fit, all are kept");
    let plain: String = (0..5_003).map(|nth| format!(r#"<testcase classname="t" name="a{nth}"/>"#)).collect();
    let run = read("junit.xml", suite(&plain).as_bytes()).facts.tests.remove(0);
    assert_eq!((run.ran.len(), run.unnamed), (5_000, 3));
}

#[test]
fn a_folder_above_all_files_does_not_make_tests_of_them() {
    let read_all = |above: &str| {
        let of = |path: &str, ran: u8| format!("SF:{above}{path}\nDA:1,{ran}\nend_of_record\n");
        let text = of("src/price.js", 1)
            + &of("src/cart.js", 0)
            + &of("test/price.test.js", 1)
            + &of("test/made.js", 1);
        let coverage = read("lcov", text.as_bytes()).facts.coverage.remove(0);
        (coverage.lines, coverage.covered)
    };
    for above in ["", "/builds/shop/test/test/", "C:\\shop\\test\\", "/s/tests/"] {
        assert_eq!(read_all(above), (2, 1), "{above}");
    }
}

/// Node's own runner counts the file of the tests as covered.
#[test]
fn the_file_of_the_tests_is_no_code_that_tests_run() {
    let node = "TN:\nSF:src/price.js\nFN:1,price\nFNDA:2,price\nFNF:1\nFNH:1\nDA:1,2\nDA:2,0\nLH:1\nLF:2\nend_of_record\n\
        TN:\nSF:test/price.test.js\nDA:1,1\nDA:2,1\nDA:3,1\nLH:3\nLF:3\nend_of_record\n";
    let coverage = read("lcov", node.as_bytes()).facts.coverage.remove(0);
    assert_eq!((coverage.lines, coverage.covered), (2, 1));
    let windows = read("lcov", node.replace('\n', "\r\n").as_bytes()).facts.coverage.remove(0);
    assert_eq!((windows.lines, windows.covered, windows.files), (2, 1, coverage.files));
}
