//! Shapes of scanners' reports that no fixture has.

use rollout_rules::gate::facts::{MAX_FACT_BYTES, MAX_FINDINGS, ProblemCode, Proof, ScanKind, Severity};
use serde_json::{Value, json};

use super::super::vulnerability::{severity_of_score, severity_of_vector, severity_of_word};
use super::{GRYPE, OSV, TRIVY, facts_of, refused};

#[test]
fn severities_are_told_by_word_score_and_vector() {
    use Severity::{Critical, High, Low, Medium, Unknown};
    let words = [
        ("Critical", Critical),
        ("HIGH", High),
        ("Moderate", Medium),
        ("low", Low),
        ("Negligible", Low),
        ("UNKNOWN", Unknown),
        ("", Unknown),
    ];
    for (word, expected) in words {
        assert_eq!(severity_of_word(word), expected, "{word}");
    }
    let scores = [
        (10.0, Critical),
        (9.0, Critical),
        (8.9, High),
        (7.0, High),
        (6.9, Medium),
        (4.0, Medium),
        (3.9, Low),
        (0.1, Low),
        (0.0, Unknown),
        (-1.0, Unknown),
        (f64::NAN, Unknown),
    ];
    for (score, expected) in scores {
        assert_eq!(severity_of_score(score), expected, "{score}");
    }
    let vectors = [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Critical),
        ("CVSS:3.0/AV:L/AC:H/PR:L/UI:N/S:U/C:H/I:H/A:H", High),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", Critical),
        ("AV:N/AC:L/Au:N/C:P/I:P/A:P", High),
        ("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", Low),
        ("CVSS:9.9/AV:N", Unknown),
        ("nonsense", Unknown),
    ];
    for (vector, expected) in vectors {
        assert_eq!(severity_of_vector(vector), expected, "{vector}");
    }
}

fn grype(more: Value) -> Value {
    let mut report = json!({
        "matches": [],
        "source": {"type": "directory", "target": "."},
        "descriptor": {
            "name": "grype", "version": "0.112.0", "timestamp": "2026-01-15T10:01:00Z",
            "db": {"status": {"built": "2026-01-15T06:00:00Z", "valid": true}},
        },
    });
    report
        .as_object_mut()
        .expect("as it is written")
        .extend(more.as_object().expect("as it is written").clone());
    report
}

fn matched(id: &str, severity: &str) -> Value {
    json!({"vulnerability": {"id": id, "severity": severity}, "artifact": {"name": "a", "version": "1", "purl": "pkg:pypi/a@1"}})
}

#[test]
fn grype_has_to_say_what_it_looked_at_and_that_its_database_was_in_order() {
    let proof = |more| facts_of(GRYPE, &grype(more)).scans[0].proof.clone();
    let with_db =
        |db: Value| json!({"descriptor": {"name": "grype", "timestamp": "2026-01-15T10:01:00Z", "db": db}});
    assert!(matches!(proof(json!({})), Proof::Missing(why) if why.contains("empty folder")));
    let proof = |more| {
        let mut report = grype(more);
        report["matches"] = json!([matched("CVE-2020-1", "Low")]);
        facts_of(GRYPE, &report).scans[0].proof.clone()
    };
    assert!(matches!(proof(json!({})), Proof::Given(_)));
    assert!(matches!(proof(json!({"source": null})), Proof::Missing(_)));
    assert!(matches!(proof(json!({"source": {"type": "directory", "target": ""}})), Proof::Missing(_)));
    assert!(matches!(
        proof(with_db(json!({"status": {"built": "2026-01-15T06:00:00Z", "valid": false}}))),
        Proof::Missing(_)
    ));
    assert!(matches!(
        proof(with_db(json!({"built": "2026-01-15T06:00:00Z", "error": "broken"}))),
        Proof::Missing(_)
    ));
    assert!(matches!(proof(with_db(json!(null))), Proof::Missing(_)));
    assert!(matches!(
        proof(with_db(json!({"built": "2026-01-15T06:00:00Z", "error": null}))),
        Proof::Given(_)
    ));
    let image = json!({"source": {"type": "image", "target": {"userInput": "discount:1", "layers": []}}});
    assert!(matches!(proof(image), Proof::Given(text) if text.contains("`discount:1` (image)")));
    let old = with_db(json!({"status": {"built": "2025-12-15T10:01:00Z", "valid": true}}));
    assert!(matches!(proof(old), Proof::Given(text) if text.ends_with("31 days old when it was used")));
    let of_2020 = with_db(json!({"status": {"built": "2020-01-15T06:00:00Z", "valid": true}}));
    assert!(matches!(proof(of_2020), Proof::Missing(why) if why.contains("grype db update")));
}

#[test]
fn a_report_that_is_not_grypes_is_refused() {
    assert_eq!(
        refused(GRYPE, &json!({"descriptor": {"name": "grype"}})).0,
        ProblemCode::Malformed,
        "without matches"
    );
    assert_eq!(refused(GRYPE, &grype(json!({"descriptor": {"name": "other"}}))).0, ProblemCode::Malformed);
}

#[test]
fn what_grype_was_told_to_ignore_counts_but_for_headers_of_the_kernel() {
    let mut told = matched("CVE-2020-1", "High");
    told["appliedIgnoreRules"] = json!([{"vulnerability": "CVE-2020-1", "reason": "we know better"}]);
    let mut own = matched("CVE-2020-2", "High");
    own["appliedIgnoreRules"] = json!([{"match-type": "exact-indirect-match", "package": {"name": "linux-libc-dev", "upstream-name": "linux"}}]);
    let scan = facts_of(GRYPE, &grype(json!({"ignoredMatches": [told, own]}))).scans.remove(0);
    assert_eq!((scan.total, scan.findings[0].rule.as_str()), (1, "CVE-2020-1"));
}

#[test]
fn a_word_that_says_nothing_leaves_it_to_the_scores() {
    let mut found = matched("CVE-2020-1", "Unknown");
    found["relatedVulnerabilities"] =
        json!([{"id": "CVE-2020-1", "cvss": [{"metrics": {"baseScore": 7.5}}]}]);
    assert_eq!(
        facts_of(GRYPE, &grype(json!({"matches": [found]}))).scans[0].findings[0].severity,
        Severity::High
    );
}

#[test]
fn of_more_findings_than_are_kept_the_worst_stay() {
    let mut matches = vec![matched("CVE-2020-1", "Low"); 2 * MAX_FINDINGS + 7];
    matches.push(matched("CVE-2020-2", "Critical"));
    let scan = facts_of(GRYPE, &grype(json!({"matches": matches}))).scans.remove(0);
    assert_eq!((scan.total, scan.findings.len()), (2 * MAX_FINDINGS as u64 + 8, MAX_FINDINGS));
    assert_eq!(scan.findings[0].rule, "CVE-2020-2");
}

#[test]
fn a_fingerprint_stays_when_the_version_changes() {
    let fingerprint = |purl: &str| {
        let mut found = matched("CVE-2020-1", "Low");
        found["artifact"]["purl"] = json!(purl);
        facts_of(GRYPE, &grype(json!({"matches": [found]}))).scans[0].findings[0].fingerprint
    };
    assert_eq!(fingerprint("pkg:pypi/A_b@1"), fingerprint("pkg:pypi/a-b@2?x=y"));
    assert_eq!(fingerprint("pkg:npm/@a/b@1"), fingerprint("pkg:npm/@a/b@2#lib"));
    assert_ne!(fingerprint("pkg:npm/a@1"), fingerprint("pkg:npm/b@1"));
    assert_ne!(fingerprint("pkg:npm/@a/b"), fingerprint("pkg:npm/@a/c"));
}

#[test]
fn texts_are_cut_to_one_line_and_steer_no_terminal() {
    let mut found = matched("CVE-2020-1", "Low");
    let long = "é".repeat(MAX_FACT_BYTES);
    found["vulnerability"]["description"] = json!(format!("a\u{1b}[31m b\u{202e}c {long}\nd"));
    let title = facts_of(GRYPE, &grype(json!({"matches": [found]}))).scans[0].findings[0].title.clone();
    assert!(title.starts_with("a 1 has CVE-2020-1: a[31m bc é"), "{title}");
    assert!(title.len() <= MAX_FACT_BYTES && title.len() > MAX_FACT_BYTES - 2);
}

fn trivy(results: Value) -> Value {
    json!({"SchemaVersion": 2, "ArtifactName": ".", "Results": results})
}

#[test]
fn trivys_kinds_are_scans_of_their_own_and_no_text_of_a_secret_is_taken() {
    let report = trivy(json!([
        {"Target": "requirements.txt", "Class": "lang-pkgs", "Packages": [{}, {}]},
        {"Target": "main.tf", "Class": "config", "MisconfSummary": {"Successes": 3, "Failures": 1}, "Misconfigurations": [
            {"ID": "AWS-0086", "Title": "Public access", "Severity": "HIGH", "Status": "FAIL", "Resolution": "Block it",
             "CauseMetadata": {"Resource": "aws_s3_bucket.a", "StartLine": 7}},
            {"ID": "AWS-0087", "Status": "PASS"},
        ]},
        {"Target": "src/config.py", "Class": "secret", "Secrets": [
            {"RuleID": "aws-access-key-id", "Title": "AWS Access Key ID", "Severity": "CRITICAL", "StartLine": 3,
             "Match": "KEY = \"hunter2\"", "Code": {"Lines": [{"Content": "hunter2"}]}},
        ]},
    ]));
    let facts = facts_of(TRIVY, &report);
    let kinds: Vec<_> = facts.scans.iter().map(|scan| (scan.kind, scan.total)).collect();
    assert_eq!(
        kinds,
        [(ScanKind::Vulnerabilities, 0), (ScanKind::Infrastructure, 1), (ScanKind::Secrets, 1)]
    );
    assert_eq!(facts.scans[0].proof, Proof::Given("2 packages in 1 list of packages".to_owned()));
    assert_eq!(facts.scans[1].proof, Proof::Given("4 checks of 1 file".to_owned()));
    let fault = &facts.scans[1].findings[0];
    assert_eq!(
        (fault.rule.as_str(), fault.line, fault.subject.as_deref()),
        ("AWS-0086", Some(7), Some("aws_s3_bucket.a"))
    );
    assert!(!serde_json::to_string(&facts).expect("as it is written").contains("hunter2"));
}

#[test]
fn trivy_that_found_no_list_of_packages_proves_nothing() {
    for report in [trivy(json!([])), trivy(json!(null)), trivy(json!([{"Target": "a", "Class": "license"}]))]
    {
        let scan = facts_of(TRIVY, &report).scans.remove(0);
        let Proof::Missing(why) = scan.proof else { panic!("it looked at nothing") };
        assert!(scan.kind == ScanKind::Vulnerabilities && why.contains("--list-all-pkgs"), "{why}");
    }
}

#[test]
fn trivy_whose_totals_are_not_what_it_lists_is_refused() {
    let report = trivy(
        json!([{"Target": "main.tf", "Class": "config", "MisconfSummary": {"Successes": 1, "Failures": 2}}]),
    );
    assert_eq!(refused(TRIVY, &report).0, ProblemCode::Contradictory);
    assert_eq!(refused(TRIVY, &json!({"SchemaVersion": 1})).0, ProblemCode::UnsupportedVersion);
    assert_eq!(refused(TRIVY, &json!({"Results": []})).0, ProblemCode::Malformed);
}

#[test]
fn what_trivy_was_told_to_leave_out_is_found_or_bars_the_proof() {
    let summary = json!({"Successes": 1, "Failures": 0, "Exceptions": 1});
    let hidden = trivy(json!([{"Target": "main.tf", "Class": "config", "MisconfSummary": summary}]));
    assert!(matches!(facts_of(TRIVY, &hidden).scans[0].proof, Proof::Missing(_)));
    let shown = trivy(
        json!([{"Target": "main.tf", "Class": "config", "MisconfSummary": summary, "ExperimentalModifiedFindings": [
            {"Type": "misconfiguration", "Status": "ignored", "Finding": {"ID": "AWS-0086", "Severity": "HIGH"}},
        ]}]),
    );
    let scan = facts_of(TRIVY, &shown).scans.remove(0);
    assert!(matches!(scan.proof, Proof::Given(_)));
    assert_eq!((scan.total, scan.findings[0].rule.as_str()), (1, "AWS-0086"));
    let vulnerability = trivy(json!([{"Target": "a", "Class": "lang-pkgs", "ExperimentalModifiedFindings": [
        {"Type": "vulnerability", "Status": "ignored", "Finding": {"VulnerabilityID": "CVE-2020-1", "PkgName": "a", "Severity": "HIGH"}},
    ]}]));
    assert_eq!(facts_of(TRIVY, &vulnerability).scans[0].total, 1);
}

fn osv(package: Value) -> Value {
    json!({"results": [{"packages": [package], "source": {"path": "package-lock.json", "type": "lockfile"}}]})
}

#[test]
fn osv_that_lists_what_it_looked_up_is_proven() {
    let scan = facts_of(OSV, &osv(json!({"package": {"name": "a", "version": "1", "ecosystem": "npm"}})))
        .scans
        .remove(0);
    assert_eq!((scan.total, scan.proof), (0, Proof::Given("1 package of 1 file".to_owned())));
    let empty = json!({"results": [{"source": {"path": "a"}, "packages": []}]});
    assert!(matches!(facts_of(OSV, &empty).scans[0].proof, Proof::Missing(_)));
}

#[test]
fn osv_without_a_number_is_scored_by_vector_and_then_by_word() {
    let severity = |advisory: Value| {
        let mut advisory = advisory;
        advisory["id"] = json!("GHSA-1");
        let package = json!({"package": {"name": "a", "version": "1", "ecosystem": "npm"}, "vulnerabilities": [advisory]});
        facts_of(OSV, &osv(package)).scans[0].findings[0].severity
    };
    let vector = json!([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]);
    assert_eq!(
        severity(json!({"severity": vector, "database_specific": {"severity": "LOW"}})),
        Severity::Critical
    );
    assert_eq!(severity(json!({"database_specific": {"severity": "MODERATE"}})), Severity::Medium);
    assert_eq!(severity(json!({"database_specific": {"severity": ["HIGH"]}})), Severity::Unknown);
    assert_eq!(severity(json!({})), Severity::Unknown);
}

#[test]
fn osv_names_the_fix_of_the_branch_in_use() {
    let fix = |version: &str| {
        let events =
            |fixed: &str| json!({"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": fixed}]});
        let affected = json!([
            {"package": {"name": "a"}, "ranges": [events("2.0.6"), events("1.26.17"), {"type": "GIT", "events": [{"fixed": "00ff"}]}]},
            {"package": {"name": "other"}, "ranges": [events("1.26.6")]},
        ]);
        let package = json!({
            "package": {"name": "a", "version": version, "ecosystem": "npm"},
            "vulnerabilities": [{"id": "GHSA-1", "affected": affected}],
        });
        facts_of(OSV, &osv(package)).scans[0].findings[0].fix.clone().expect("as it is written")
    };
    assert_eq!(fix("1.26.5"), "upgrade a to 1.26.17");
    assert_eq!(fix("2.0.1"), "upgrade a to 2.0.6");
    assert_eq!(fix(""), "upgrade a to 1.26.17 or 2.0.6");
}

#[test]
fn osv_counts_what_no_group_names_and_says_which_file_it_is_in() {
    let package = json!({
        "package": {"name": "@a/b", "version": "1", "ecosystem": "npm"},
        "vulnerabilities": [{"id": "GHSA-1", "aliases": ["CVE-2020-9", "CVE-2020-1"]}, {"id": "GHSA-2"}],
        "groups": [{"ids": ["GHSA-1"], "aliases": ["GHSA-1", "CVE-2020-9", "CVE-2020-1"], "max_severity": ""}],
    });
    let scan = facts_of(OSV, &osv(package)).scans.remove(0);
    let rules: Vec<_> = scan.findings.iter().map(|finding| finding.rule.as_str()).collect();
    assert_eq!(rules, ["CVE-2020-1", "GHSA-2"], "of several names always the same");
    assert_eq!(scan.findings[0].aliases, ["CVE-2020-9", "GHSA-1"]);
    assert_eq!(scan.findings[0].subject.as_deref(), Some("pkg:npm/%40a/b@1"));
    assert!(scan.findings.iter().all(|finding| finding.file.as_deref() == Some("package-lock.json")));
}
