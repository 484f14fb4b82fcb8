//! What may be stored of a piece.

use rollout_rules::gate::facts::Format;
use tidegate::gate::read::{read, redacted};

use super::bytes;

fn stored(format: Format, bytes: &[u8]) -> String {
    String::from_utf8(redacted(format, bytes)).expect("as it is written")
}

#[test]
fn secrets_and_the_code_around_them_are_not_stored() {
    let gitleaks = stored(Format::Gitleaks, &bytes("faulty/evidence/gitleaks.json"));
    assert!(!gitleaks.contains("not-a-real-p4ssw0rd") && gitleaks.contains("generic-api-key"), "{gitleaks}");
    let hashed = stored(Format::DetectSecrets, &bytes("faulty/evidence/detect-secrets.json"));
    assert!(!hashed.contains("25910f981e85ca04") && hashed.contains("AWSKeyDetector"), "{hashed}");
    let sarif = stored(Format::Sarif, &bytes("faulty/evidence/semgrep.sarif"));
    assert!(!sarif.contains("subprocess.run") && sarif.contains("subprocess-shell-true"), "{sarif}");
    let junit = stored(Format::Junit, &bytes("faulty/evidence/junit.xml"));
    assert!(!junit.contains("AssertionError") && junit.contains("test_rounds_up"), "{junit}");
}

#[test]
fn what_is_stored_reads_as_before_but_for_what_was_taken_out() {
    for (format, name) in [
        (Format::Sarif, "semgrep.sarif"),
        (Format::Junit, "junit.xml"),
        (Format::Checkov, "checkov.json"),
        (Format::Lcov, "coverage.lcov"),
    ] {
        let whole = bytes(&format!("faulty/evidence/{name}"));
        let (before, after) = (read("r", &whole), read("r", &redacted(format, &whole)));
        assert_eq!(after.piece.problem, None, "{name}");
        let counts = |reading: &tidegate::gate::read::Reading| {
            let scans: Vec<u64> = reading.facts.scans.iter().map(|scan| scan.total).collect();
            let tests: Vec<u64> = reading.facts.tests.iter().map(|run| run.failed).collect();
            (scans, tests, reading.facts.coverage.iter().map(|c| c.covered).collect::<Vec<_>>())
        };
        assert_eq!(counts(&before), counts(&after), "{name}");
    }
}

#[test]
fn a_key_is_hidden_however_it_is_written() {
    let text = r#"[{"RuleID":"a","S\u0065cret" : "hunter2","secret":["hunter2",{"x":"hunter2"}],"MATCH":"hun\"ter2","File":"ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}]"#;
    let kept = stored(Format::Gitleaks, text.as_bytes());
    assert!(!kept.contains("ter2") && !kept.contains("ghp_") && kept.contains("RuleID"), "{kept}");
    assert!(
        serde_json::from_str::<serde_json::Value>(&kept.replace("\"S\\u0065cret\"", "\"Other\"")).is_ok(),
        "{kept}"
    );
}

#[test]
fn well_known_secrets_are_masked_wherever_they_stand() {
    let text = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[{"message":{"text":"see:\nAKIAIOSFODNN7EXAMPLE and url=https://x/ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        "ruleId":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY","guid":"0d5f2a7c-1111-4222-8333-0123456789ab"}]}]}"#;
    let kept = stored(Format::Sarif, text.as_bytes());
    let leaks = ["AKIA", "ghp_", "wJalr"].iter().any(|secret| kept.contains(secret));
    assert!(!leaks && kept.contains("0d5f2a7c-1111-4222-8333-0123456789ab"), "{kept}");
}

#[test]
fn what_tests_printed_is_not_stored_and_neither_is_what_cannot_be_read() {
    let text = "<testsuites><testsuite name=\"s\"><properties><property name=\"K\" value=\"hunter2\"/></properties><testcase name=\"a\">\
        <failure message=\"no\">hunter2<!-- hunter2 --></failure><system-out><![CDATA[hunter2 </system-out>]]></system-out><system-err/></testcase></testsuite></testsuites>";
    let kept = stored(Format::Junit, text.as_bytes());
    assert!(!kept.contains("hunter2") && kept.contains("<system-err/>"), "{kept}");
    assert_eq!(read("r", kept.as_bytes()).facts.tests[0].failed, 1);
    assert_eq!(stored(Format::Junit, b"<testsuites><failure>hunter2"), "[redacted]");
    assert_eq!(stored(Format::Gitleaks, b"[{\"Secret\":\"hunter2\""), "[redacted]");
}

#[test]
fn of_a_diff_only_the_numbers_of_lines_are_stored() {
    let diff = "--- a/x.py\n+++ b/x.py\n@@ -1 +1,2 @@\n-password = 'old'\n+password = 'hunter2'\n+x\n";
    assert_eq!(stored(Format::Diff, diff.as_bytes()), "x.py: 1, 2\n");
}

#[test]
fn a_message_that_speaks_of_a_password_is_kept_without_what_it_quotes() {
    let text = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"Bandit"}},"results":[{"ruleId":"B105",
        "message":{"text":"Possible hardcoded password: 'hun\"ter2'"}},{"ruleId":"B1","message":{"text":"Use of 'assert' found."}}]}]}"#;
    let kept = stored(Format::Sarif, text.as_bytes());
    assert!(!kept.contains("ter2") && kept.contains("Use of 'assert' found."), "{kept}");
    let titles: Vec<String> =
        read("r", text.as_bytes()).facts.scans[0].findings.iter().map(|f| f.title.clone()).collect();
    assert_eq!(titles, ["Use of 'assert' found.", "Possible hardcoded password: '[redacted]'"]);
}
