//! What no honest report does, and bytes that nobody wrote.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use rollout_rules::gate::facts::{Format, MAX_FACT_BYTES, MAX_FINDINGS, ProblemCode, Severity};
use tidegate::gate::read::{MAX_PIECE_BYTES, merge, read, recognise, redacted};

use super::{bytes, scan};

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("as it is written");
    encoder.finish().expect("as it is written")
}

fn code(bytes: &[u8]) -> Option<ProblemCode> {
    read("report", bytes).piece.problem.map(|problem| problem.code)
}

#[test]
fn packed_evidence_is_the_evidence_in_it() {
    let plain = bytes("clean/evidence/junit.xml");
    let reading = read("junit.xml.gz", &packed(&plain));
    assert_eq!(reading, read("junit.xml.gz", &plain));
    assert_eq!(recognise(&packed(&plain)), Some(Format::Junit));
    let mut cut = packed(&plain);
    cut.truncate(cut.len() / 2);
    assert_eq!(code(&cut), Some(ProblemCode::Malformed));
}

#[test]
fn a_bomb_is_stopped_and_so_is_what_is_too_large() {
    let bomb = packed(&vec![b' '; 4 * MAX_PIECE_BYTES]);
    assert!(bomb.len() < MAX_PIECE_BYTES / 100);
    assert_eq!(code(&bomb), Some(ProblemCode::TooLarge));
    assert_eq!(code(&vec![b' '; MAX_PIECE_BYTES + 1]), Some(ProblemCode::TooLarge));
    assert_eq!(redacted(Format::Sarif, &bomb), b"[redacted]");
}

#[test]
fn documents_that_declare_types_or_entities_are_refused() {
    let external = r#"<?xml version="1.0"?><!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuites><testsuite name="&x;"/></testsuites>"#;
    let remote = r#"<!DOCTYPE testsuites SYSTEM "http://example.com/x.dtd"><testsuites/>"#;
    let disguised = r#"<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd" [<!ENTITY a "b">]><coverage line-rate="1"/>"#;
    let undeclared = r#"<testsuites><testcase name="&lol;"/></testsuites>"#;
    let in_text = r#"<testsuites><testcase name="a"><failure>&lol;</failure></testcase></testsuites>"#;
    let twice = r#"<testsuites><testcase name="a" name="b"/></testsuites>"#;
    for text in [external, remote, disguised, undeclared, in_text, twice] {
        assert_eq!(code(text.as_bytes()), Some(ProblemCode::Hostile), "{text}");
    }
}

#[test]
fn depth_attributes_and_length_are_bounded() {
    let deep = format!("<testsuites>{}", "<testsuite>".repeat(100));
    assert_eq!(code(deep.as_bytes()), Some(ProblemCode::TooLarge));
    let wide: String = (0..100).map(|n| format!(" a{n}=\"\"")).collect();
    assert_eq!(code(format!("<testsuites{wide}/>").as_bytes()), Some(ProblemCode::TooLarge));
    let nested = format!(r#"{{"version":"2.1.0","runs":[],"x":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    assert_eq!(code(nested.as_bytes()), Some(ProblemCode::TooLarge));
    let allowed = format!(r#"{{"version":"2.1.0","runs":[],"x":{}{}}}"#, "[".repeat(63), "]".repeat(63));
    assert_eq!(code(allowed.as_bytes()), None);
    assert_eq!(code(b"<testsuites/><testsuites/>"), Some(ProblemCode::Malformed), "two documents in one");
    let runs = vec!["{}"; 101].join(",");
    assert_eq!(
        code(format!(r#"{{"version":"2.1.0","runs":[{runs}]}}"#).as_bytes()),
        Some(ProblemCode::TooLarge)
    );
}

#[test]
fn a_key_given_twice_is_refused_where_it_matters() {
    for text in [
        r#"{"version":"2.1.0","runs":[],"runs":[]}"#,
        r#"{"version":"2.1.0","runs":[{"results":[{"ruleId":"a"}],"results":[]}]}"#,
        r#"{"version":"2.1.0","runs":[{"results":[{"level":"error","level":"note"}]}]}"#,
        r#"[{"RuleID":"a","RuleID":"b","Secret":"s"}]"#,
        r#"{"version":"1.5.0","plugins_used":[],"filters_used":[],"results":{"a":[{"type":"x"}],"a":[]}}"#,
        r#"{"check_type":"t","results":{"failed_checks":[],"failed_checks":[]},"summary":{}}"#,
    ] {
        assert_eq!(code(text.as_bytes()), Some(ProblemCode::Hostile), "{text}");
    }
}

#[test]
fn problems_name_the_place_and_quote_nothing() {
    let text = "{\"version\":\"2.1.0\",\n \"runs\":[{\"tool\":\"AKIAIOSFODNN7EXAMPLE\"}]}";
    let problem = read("r", text.as_bytes()).piece.problem.expect("as it is written");
    assert_eq!(problem.code, ProblemCode::Malformed);
    assert!(problem.detail.contains("line ") && !problem.detail.contains("AKIA"), "{}", problem.detail);
}

#[test]
fn of_many_findings_the_worst_are_kept_and_all_are_counted() {
    let results: Vec<String> = (0..5_000)
        .map(|n| {
            format!(r#"{{"ruleId":"r{n}","level":"{}"}}"#, if n % 1_000 == 999 { "error" } else { "note" })
        })
        .collect();
    let found = scan(&format!(
        r#"{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"x"}}}},"results":[{}]}}]}}"#,
        results.join(",")
    ));
    assert_eq!((found.total, found.findings.len()), (5_000, MAX_FINDINGS));
    assert_eq!(found.findings.iter().filter(|finding| finding.severity == Severity::High).count(), 5);
}

#[test]
fn long_and_misleading_text_is_cut_and_what_looks_like_a_secret_is_masked() {
    let said = format!("token ghp_{} and\u{202e} {}", "a".repeat(36), "ä".repeat(2_000));
    let text = format!(
        r#"<testsuites><testcase name="a"><failure message="{said}&#10;second line"/></testcase></testsuites>"#
    );
    let title = &read("r", text.as_bytes()).facts.tests[0].failures[0].title;
    assert!(title.starts_with("token [redacted] and ") && title.len() <= MAX_FACT_BYTES, "{title}");
    assert!(!title.contains('\u{202e}') && !title.contains("second"));
}

const FIXTURES: [&str; 12] = [
    "clean/evidence/junit.node.xml",
    "clean/evidence/semgrep.sarif",
    "faulty/evidence/junit.xml",
    "faulty/evidence/coverage.cobertura.xml",
    "faulty/evidence/coverage.lcov",
    "faulty/evidence/detect-secrets.json",
    "faulty/evidence/gitleaks.json",
    "faulty/evidence/checkov.multi.json",
    "faulty/hostile/sarif.level-from-rule.sarif",
    "faulty/hostile/junit.billion-laughs.xml",
    "clean/attest/provenance.sigstore.json",
    "clean/artifact/discount-1.0.0.tar.gz.sig",
];

const FORMATS: [Format; 7] = [
    Format::Junit,
    Format::Cobertura,
    Format::Lcov,
    Format::Sarif,
    Format::DetectSecrets,
    Format::Checkov,
    Format::Diff,
];

fn survives(bytes: &[u8]) {
    let reading = read("any", bytes);
    for format in FORMATS {
        redacted(format, bytes);
    }
    merge(vec![reading]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_that_nobody_wrote_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes);
    }

    #[test]
    fn text_made_of_the_marks_of_formats_is_read_without_a_panic(
        parts in proptest::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\"runs\"", "\"version\":\"2.1.0\"", "null", "1", "-", "<", ">", "/", "<!", "<testsuites", "<testcase name=\"a\"",
            "<failure>", "</failure>", "&a;", "&#1;", "<![CDATA[", "]]>", "SF:a\n", "DA:1,1\n", "end_of_record\n", "--- a/x\n", "+++ b/x\n", "@@ -1 +1 @@\n", "+x\n", "-x\n", " ", "\n",
        ]), 0..60),
    ) {
        survives(parts.concat().as_bytes());
    }

    #[test]
    fn fixtures_with_bytes_changed_cut_or_doubled_are_read_without_a_panic(
        which in 0..FIXTURES.len(), at in any::<prop::sample::Index>(), byte in any::<u8>(), kind in 0..4_u8,
    ) {
        let mut bytes = bytes(FIXTURES[which]);
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = byte,
            1 => bytes.truncate(at),
            2 => bytes.insert(at, byte),
            _ => { let tail = bytes[at..].to_vec(); bytes.extend(tail); }
        }
        survives(&bytes);
    }
}
