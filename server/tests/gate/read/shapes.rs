//! Shapes of reports that the fixtures do not have.

use rollout_rules::gate::facts::{Declared, Format, Inventory, ProblemCode, ScanKind, Severity, SourceFile};
use tidegate::gate::read::{Reading, read};

use super::{bytes, is_proven, scan};

fn code(text: &str) -> Option<ProblemCode> {
    read("report", text.as_bytes()).piece.problem.map(|problem| problem.code)
}

fn junit(inner: &str) -> Reading {
    let reading = read("junit.xml", format!("<testsuites>{inner}</testsuites>").as_bytes());
    assert_eq!(reading.piece.problem, None, "{inner}");
    reading
}

#[test]
fn a_case_is_counted_once_whatever_it_holds() {
    let run = junit(
        r#"<testsuite name="a" tests="4" failures="1" errors="1" skipped="1">
            <testcase classname="c" name="passes"><system-out>fine</system-out></testcase>
            <testcase classname="c" name="fails"><failure message="one"/><failure message="two"/></testcase>
            <testcase name="breaks"><error><![CDATA[
               it broke <here>
               and there]]></error></testcase>
            <testcase classname="c" name="waits"><skipped/></testcase></testsuite>"#,
    )
    .facts
    .tests
    .remove(0);
    assert_eq!((run.passed, run.failed, run.skipped), (1, 2, 1));
    assert_eq!(run.ran, ["c.passes", "c.fails", "a::breaks"]);
    let titles: Vec<&str> = run.failures.iter().map(|failure| failure.title.as_str()).collect();
    assert!(titles.contains(&"one") && titles.contains(&"it broke <here>"), "{titles:?}");
}

#[test]
fn suites_may_count_themselves_as_pytest_jest_and_node_do() {
    // Jest: totals at the root. Node: a suite counts what stands right in it, suites as one.
    let jest = r#"<testsuites tests="2" failures="1" errors="0"><testsuite name="label" tests="2" failures="1" errors="0" skipped="0">
        <testcase classname="label a" name="label a"/><testcase classname="label b" name="label b"><failure>no</failure></testcase>
        </testsuite></testsuites>"#;
    let node = r#"<testsuites><testsuite name="outer" tests="2" failures="1" skipped="0" errors="0" disabled="0">
        <testcase name="a" classname="test"/><testsuite name="inner" tests="2" failures="2" skipped="0" errors="0" disabled="0">
        <testcase name="b" classname="test"><failure/></testcase><testcase name="c" classname="test"><failure/></testcase>
        </testsuite></testsuite></testsuites>"#;
    // pytest: a case that passed and then broke while it was taken down counts as two.
    let pytest = r#"<testsuite name="pytest" tests="2" failures="0" errors="1" skipped="0"><testcase classname="t" name="a"><error message="gone"/></testcase></testsuite>"#;
    for (text, failed) in [(jest, 1), (node, 2), (pytest, 1)] {
        let reading = read("junit.xml", text.as_bytes());
        assert_eq!(reading.piece.problem, None);
        assert_eq!(reading.facts.tests[0].failed, failed);
    }
}

#[test]
fn totals_that_are_not_the_cases_are_caught() {
    let cases = r#"<testcase classname="t" name="a"/><testcase classname="t" name="b"><failure/></testcase>"#;
    for claims in [
        r#"tests="3""#,
        r#"tests="2" failures="0""#,
        r#"tests="2" failures="1" errors="1""#,
        r#"skipped="1""#,
    ] {
        let text = format!(r#"<testsuites><testsuite name="s" {claims}>{cases}</testsuite></testsuites>"#);
        assert_eq!(code(&text), Some(ProblemCode::Contradictory), "{claims}");
        let root = format!(r#"<testsuites {claims}><testsuite name="s">{cases}</testsuite></testsuites>"#);
        assert_eq!(code(&root), Some(ProblemCode::Contradictory), "{claims} of the root");
    }
    assert_eq!(code(r#"<testsuite name="s" tests="-1"/>"#), Some(ProblemCode::Malformed));
}

#[test]
fn contract_tests_are_known_by_a_word_of_their_suite_or_class_that_ran() {
    let is = |suite: &str, class: &str, inner: &str| {
        junit(&format!(r#"<testsuite name="{suite}"><testcase classname="{class}" name="a">{inner}</testcase></testsuite>"#)).facts.tests[0].contract
    };
    assert!(is("pytest", "tests.contract.test_orders", ""));
    assert!(is("OrdersContractTest", "t", "") && is("pact: orders", "t", ""));
    assert!(!is("impact", "tests.contractor", ""));
    assert!(!is("contract", "t", "<skipped/>"), "one that did not run shows nothing");
}

#[test]
fn lines_listed_twice_count_once_and_tests_are_left_out() {
    let text = "TN:one\nSF:src/a.py\nDA:1,0\nDA:2,0\nend_of_record\nSF:./src/a.py\nDA:1,3,Zm9v\nLF:1\nLH:1\nend_of_record\n\
        SF:src/a.test.js\nDA:1,1\nend_of_record\nSF:tests/x.py\nDA:1,1\nend_of_record\nSF:src/conftest.py\nDA:1,1\nend_of_record\n";
    let coverage = read("lcov", text.as_bytes()).facts.coverage.remove(0);
    assert_eq!((coverage.lines, coverage.covered, coverage.files.len()), (2, 1, 1));
}

#[test]
fn lines_of_methods_are_the_lines_of_their_class() {
    let text = r#"<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
        <coverage lines-valid="2" lines-covered="1" line-rate="0.5"><sources><source>/build/app</source></sources><packages><package name="p"><classes>
        <class name="A" filename="src/a.js" line-rate="0.5"><methods><method name="m"><lines><line number="1" hits="4"/></lines></method></methods>
        <lines><line number="1" hits="4"/><line number="2" hits="0"/></lines></class></classes></package></packages></coverage>"#;
    let reading = read("cobertura", text.as_bytes());
    assert_eq!(reading.piece.problem, None, "the type that writers of Cobertura set by habit is passed over");
    let coverage = &reading.facts.coverage[0];
    assert_eq!((coverage.lines, coverage.covered), (2, 1));
    assert_eq!(coverage.files[0].path, "src/a.js", "a folder of the machine that ran it is not shown");
}

#[test]
fn coverage_that_contradicts_itself_or_counts_what_cannot_be_is_refused() {
    let cobertura = |root: &str, class: &str, line: &str| {
        code(&format!(
            r#"<coverage {root}><class filename="a.py" {class}><lines><line number="1" hits="1"/><line {line}/></lines></class></coverage>"#
        ))
    };
    let fine = r#"number="2" hits="0""#;
    assert_eq!(cobertura(r#"line-rate="0.5""#, "", fine), None);
    assert_eq!(cobertura(r#"line-rate="0.5" lines-valid="3""#, "", fine), Some(ProblemCode::Contradictory));
    assert_eq!(cobertura(r#"line-rate="0.5" lines-covered="2""#, "", fine), Some(ProblemCode::Contradictory));
    assert_eq!(cobertura(r#"line-rate="0.5""#, r#"line-rate="1""#, fine), Some(ProblemCode::Contradictory));
    for broken in ["NaN", "-1", "1.5", "inf", "many"] {
        assert_eq!(
            cobertura(&format!(r#"line-rate="{broken}""#), "", fine),
            Some(ProblemCode::Malformed),
            "{broken}"
        );
    }
    assert_eq!(cobertura(r#"line-rate="0.5""#, "", r#"number="2" hits="-1""#), Some(ProblemCode::Malformed));
    for (lcov, expected) in [
        ("SF:a\nDA:1,1\nLF:2\nLH:1\nend_of_record\n", ProblemCode::Contradictory),
        ("SF:a\nDA:1,0\nLF:1\nLH:1\nend_of_record\n", ProblemCode::Contradictory),
        ("SF:a\nDA:1,1\nDA:2,0\nLF:100\nLH:99\nend_of_record\n", ProblemCode::Contradictory),
        ("SF:a\nDA:1,1\n", ProblemCode::Malformed),
        ("SF:a\nDA:1,NaN\nend_of_record\n", ProblemCode::Malformed),
        ("TN:\nDA:1,1\n", ProblemCode::Malformed),
    ] {
        assert_eq!(code(lcov), Some(expected), "{lcov}");
    }
    assert_eq!(
        code("SF:a\nDA:1,1\nDA:2,1\nDA:3,0\nLH:3\nLF:4\nend_of_record\n"),
        None,
        "Node counts lines that a comment takes out as run"
    );
}

fn sarif(tool: &str, more: &str, results: &str) -> String {
    format!(
        r#"{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"{tool}",{more}"rules":[{{"id":"r","shortDescription":{{"text":"A rule"}},"defaultConfiguration":{{"level":"note"}}}}]}}}},"results":[{results}]}}]}}"#
    )
}

#[test]
fn what_a_scanner_looks_for_is_known_by_its_name() {
    for (tool, kind) in [
        ("gitleaks", ScanKind::Secrets),
        ("TruffleHog", ScanKind::Secrets),
        ("Checkov", ScanKind::Infrastructure),
        ("KICS", ScanKind::Infrastructure),
        ("Trivy", ScanKind::Vulnerabilities),
        ("Grype", ScanKind::Vulnerabilities),
        ("CodeQL", ScanKind::Code),
    ] {
        assert_eq!(scan(&sarif(tool, "", "")).kind, kind, "{tool}");
    }
}

#[test]
fn trivy_looks_for_what_its_rules_are_of() {
    let rules = |names: &[&str]| {
        let rules: Vec<String> =
            names.iter().map(|name| format!(r#"{{"id":"{name}","name":"{name}"}}"#)).collect();
        let text = format!(
            r#"{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"Trivy","rules":[{}]}}}},"results":[]}}]}}"#,
            rules.join(",")
        );
        scan(&text).kind
    };
    assert_eq!(rules(&["Misconfiguration"]), ScanKind::Infrastructure);
    assert_eq!(rules(&["Secret"]), ScanKind::Secrets);
    assert_eq!(
        rules(&["LanguageSpecificPackageVulnerability", "Misconfiguration"]),
        ScanKind::Vulnerabilities
    );
    assert_eq!(rules(&[]), ScanKind::Vulnerabilities);
}

#[test]
fn nothing_beside_the_code_hides_a_secret_and_a_fault_may_be_accepted() {
    let result = |kind: &str, status: &str| {
        format!(
            r#"{{"ruleId":"r","message":{{"text":"key is hunter2"}},"suppressions":[{{"kind":"{kind}"{status}}}]}}"#
        )
    };
    let [none, accepted, rejected] = ["", r#","status":"accepted""#, r#","status":"rejected""#];
    assert_eq!(scan(&sarif("semgrep", "", &result("inSource", none))).total, 0);
    assert_eq!(scan(&sarif("semgrep", "", &result("external", accepted))).total, 0);
    assert_eq!(scan(&sarif("semgrep", "", &result("inSource", rejected))).total, 1);
    for kind in ["inSource", "external"] {
        let secrets = scan(&sarif("gitleaks", "", &result(kind, accepted)));
        assert_eq!((secrets.total, secrets.findings[0].disputed), (1, true), "{kind}");
    }
    for tool in ["grype", "checkov"] {
        let found = scan(&sarif(tool, "", &result("inSource", accepted)));
        assert_eq!((found.total, found.findings[0].disputed), (1, true), "{tool}: its JSON counts it too");
    }
    let secrets = scan(&sarif("gitleaks", "", &result("inSource", rejected)));
    assert!(!secrets.findings[0].disputed, "nobody accepted it");
    assert_eq!(secrets.findings[0].title, "A rule", "what a scanner for secrets says may quote the secret");
}

#[test]
fn levels_come_from_the_result_the_rule_or_an_extension_and_scores_raise_them() {
    let worst = |text: &str| scan(text).findings[0].severity;
    assert_eq!(worst(&sarif("x", "", r#"{"ruleId":"r"}"#)), Severity::Low);
    assert_eq!(worst(&sarif("x", "", r#"{"ruleId":"r/part"}"#)), Severity::Low);
    assert_eq!(worst(&sarif("x", "", r#"{"ruleIndex":0,"level":"error"}"#)), Severity::High);
    assert_eq!(worst(&sarif("x", "", r#"{"ruleId":"other"}"#)), Severity::Medium);
    assert_eq!(
        worst(&sarif("x", "", r#"{"ruleId":"r","properties":{"security-severity":7.5}}"#)),
        Severity::High
    );
    let misplaced = r#"{"ruleId":"other","ruleIndex":0}"#;
    assert_eq!(
        worst(&sarif("x", "", misplaced)),
        Severity::Medium,
        "the place of another rule counts for nothing"
    );
    let extended = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"},"extensions":[{"name":"e","rules":[{"id":"q","defaultConfiguration":{"level":"error"},"properties":{"security-severity":"9.8"}}]}]},
        "results":[{"rule":{"index":0,"toolComponent":{"index":0}},"message":{"text":"m"}}]}]}"#;
    assert_eq!(worst(extended), Severity::Critical);
}

#[test]
fn a_log_that_shows_nothing_that_was_looked_at_proves_nothing() {
    let run = |run: &str| is_proven(&scan(&format!(r#"{{"version":"2.1.0","runs":[{run}]}}"#)));
    assert!(!run(""), "no run");
    assert!(!run(r#"{"tool":{"driver":{"name":"x"}},"results":[]}"#), "nothing in it");
    assert!(
        !run(r#"{"tool":{"driver":{"name":"x","rules":[{"id":"a"}]}},"results":null}"#),
        "no results, not even none"
    );
    assert!(run(r#"{"tool":{"driver":{"name":"x"}},"artifacts":[{}],"results":[]}"#), "a file");
    let two = r#"{"tool":{"driver":{"name":"x","rules":[{"id":"a"}]}},"results":[]},{"tool":{"driver":{"name":"X"}},"invocations":[{"executionSuccessful":false}],"results":[]}"#;
    assert!(!run(two), "one of the tool's two runs failed");
    assert_eq!(code(r#"{"version":"2.0.0","runs":[]}"#), Some(ProblemCode::UnsupportedVersion));
    assert_eq!(
        code(r#"{"$schema":"https://json.schemastore.org/sarif-2.0.0.json","runs":[]}"#),
        Some(ProblemCode::UnsupportedVersion)
    );
}

#[test]
fn a_finding_keeps_its_fingerprint_when_its_line_moves() {
    let print = |line: u32, file: &str, said: &str| {
        scan(&sarif("x", "", &format!(r#"{{"ruleId":"r","message":{{"text":"{said}"}},"locations":[{{"physicalLocation":{{"artifactLocation":{{"uri":"{file}"}},"region":{{"startLine":{line}}}}}}}]}}"#))).findings[0].fingerprint
    };
    let first = print(3, "a.py", "unused since line 3");
    assert_eq!(first, print(9, "a.py", "unused since line 9"));
    assert_ne!(first, print(3, "b.py", "unused since line 3"));
    assert_ne!(first, print(3, "a.py", "another"));
}

#[test]
fn detect_secrets_counts_only_whole() {
    let clean = String::from_utf8(bytes("clean/evidence/detect-secrets.json")).expect("as it is written");
    let off = |text: &str| {
        let reading = read("r", text.as_bytes());
        !reading.lists_findings_only && !is_proven(&reading.facts.scans[0])
    };
    assert!(!off(&clean));
    let changed = |from: &str, to: &str| {
        assert!(clean.contains(from), "{from}");
        clean.replace(from, to)
    };
    assert!(off(&changed("AWSKeyDetector", "Nothing")), "a detector is off");
    assert!(off(&changed("\"limit\": 4.5", "\"limit\": 8.0")), "a detector is dulled");
    assert!(
        off(&changed("\"keyword_exclude\": \"\"", "\"keyword_exclude\": \"password\"")),
        "words are left out"
    );
    assert!(off(&changed("\"min_level\": 2", "\"min_level\": 3")), "only verified secrets are listed");
    for filter in [
        "regex.should_exclude_file",
        "regex.should_exclude_line",
        "regex.should_exclude_secret",
        "wordlist.should_exclude_secret",
        "allowlist.is_line_allowlisted",
    ] {
        assert!(off(&changed("heuristic.is_lock_file", filter)), "{filter}");
    }
    let marked = changed(
        "\"results\": {}",
        r#""results": {"a.py": [{"type": "Secret Keyword", "is_secret": false}, {"type": "Secret Keyword", "is_verified": false}]}"#,
    );
    let marked = scan(&marked);
    assert!(is_proven(&marked));
    let disputed: Vec<bool> = marked.findings.iter().map(|finding| finding.disputed).collect();
    assert_eq!((marked.total, disputed), (2, vec![true, false]), "a mark is told, and takes no finding away");
}

#[test]
fn checkov_without_what_it_left_out_proves_nothing() {
    let report = |results: &str, summary: &str| {
        format!(r#"{{"check_type":"terraform","results":{{{results}}},"summary":{{{summary}}}}}"#)
    };
    let quiet = report(
        r#""failed_checks":[]"#,
        r#""passed":3,"failed":0,"skipped":1,"parsing_errors":0,"resource_count":2"#,
    );
    assert!(!is_proven(&scan(&quiet)), "a skipped check is not listed");
    let broken = report(
        r#""passed_checks":[{}],"failed_checks":[],"skipped_checks":[],"parsing_errors":["a.tf"]"#,
        r#""passed":1,"failed":0,"skipped":0,"parsing_errors":1"#,
    );
    assert!(!is_proven(&scan(&broken)), "a file was not read");
    for lie in [
        report(r#""failed_checks":[]"#, r#""failed":2"#),
        report(r#""passed_checks":[],"failed_checks":[]"#, r#""passed":2,"failed":0"#),
        report(r#""failed_checks":[],"skipped_checks":[]"#, r#""failed":0,"skipped":1"#),
    ] {
        assert_eq!(code(&lie), Some(ProblemCode::Contradictory), "{lie}");
    }
}

#[test]
fn reports_of_our_own_tool_are_read_in_their_version() {
    let presence = r#"{"format":"tidegate.test-presence/1","files":[{"path":"src/a.py","functions":2,"tests":["test_a"]},{"path":"src/b.py","functions":1,"tests":[]}]}"#;
    let reading = read("presence.json", presence.as_bytes());
    assert_eq!(reading.piece.format, Some(Format::TestPresence));
    let file = |path: &str, functions, tests: &[&str]| SourceFile {
        path: path.to_owned(),
        functions,
        tests: tests.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(reading.facts.presence[0].files, [file("src/b.py", 1, &[]), file("src/a.py", 2, &["test_a"])]);
    let inventory = r#"{"format":"tidegate.inventory/1","files":9,"sources":3,"infrastructure":["infra/main.tf"],"declared":[{"path":"infra/main.tf","names":["aws_s3_bucket.data"]}],"manifests":["requirements.txt"]}"#;
    let reading = read("inventory.json", inventory.as_bytes());
    let expected = Inventory {
        piece: reading.piece.digest,
        files: 9,
        sources: 3,
        infrastructure: vec!["infra/main.tf".to_owned()],
        declared: vec![Declared {
            path: "infra/main.tf".to_owned(),
            names: vec!["aws_s3_bucket.data".to_owned()],
        }],
        manifests: vec!["requirements.txt".to_owned()],
    };
    assert_eq!(reading.facts.inventory, [expected]);
    assert_eq!(code(&presence.replace("presence/1", "presence/2")), Some(ProblemCode::UnsupportedVersion));
    assert_eq!(code(&inventory.replace("inventory/1", "inventory/2")), Some(ProblemCode::UnsupportedVersion));
}
