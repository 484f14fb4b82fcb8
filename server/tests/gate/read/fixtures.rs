//! Each fixture has a row: what it has to be read as, and why.

use rollout_rules::gate::facts::{Format, ProblemCode, Proof, ScanKind, Severity};
use tidegate::gate::read::{Reading, recognise};

use super::{bytes, fixture};

/// What is expected of a fixture.
enum Expected {
    /// A test run: passed, failed, skipped.
    Tests(u64, u64, u64),
    /// Coverage: lines, and those that ran.
    Lines(u64, u64),
    /// A scan with proof: how many findings, and the worst.
    Proven(ScanKind, u64, Severity),
    /// A scan without proof: how many findings, and a word of the reason.
    Unproven(ScanKind, u64, &'static str),
    /// Nothing is taken.
    Refused(ProblemCode),
    /// It is told from others; what is read from it has tests of its own.
    Known,
}
use Expected::{Known, Lines, Proven, Refused, Tests, Unproven};

type Row = (&'static str, Option<Format>, Expected, &'static str);

const NOTHING: Severity = Severity::Unknown;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("clean/evidence/junit.xml", Some(Format::Junit), Tests(8, 0, 0), "pytest: eight cases, none failed"),
    ("clean/evidence/junit.node.xml", Some(Format::Junit), Tests(2, 0, 0), "Node: one case outside any suite, one in a suite"),
    ("clean/evidence/coverage.cobertura.xml", Some(Format::Cobertura), Lines(25, 25), "every line ran"),
    ("clean/evidence/coverage.lcov", Some(Format::Lcov), Lines(25, 25), "the same run, as LCOV"),
    ("clean/evidence/detect-secrets.json", Some(Format::DetectSecrets), Unproven(ScanKind::Secrets, 0, "which files"), "whole, but does not say what it looked at: other evidence has to"),
    ("clean/evidence/gitleaks.json", Some(Format::Gitleaks), Unproven(ScanKind::Secrets, 0, "nothing that it looked at"), "an empty list proves nothing alone"),
    ("clean/evidence/checkov.json", Some(Format::Checkov), Proven(ScanKind::Infrastructure, 0, NOTHING), "ten checks passed"),
    ("clean/evidence/checkov.sarif", Some(Format::Sarif), Unproven(ScanKind::Infrastructure, 0, "names no rule"), "Checkov's SARIF lists only rules that failed, and no run"),
    ("clean/evidence/semgrep.sarif", Some(Format::Sarif), Proven(ScanKind::Code, 2, Severity::Low), "two notes, whose level comes from the rule"),
    ("clean/evidence/zizmor.sarif", Some(Format::Sarif), Proven(ScanKind::Code, 0, NOTHING), "no rules, but a run that says it succeeded"),
    ("clean/evidence/tfplan.json", Some(Format::TerraformPlan), Known, "plans are read beside their policy"),
    ("clean/evidence/grype.json", Some(Format::Grype), Known, "told from others"),
    ("clean/evidence/trivy.json", Some(Format::Trivy), Known, "told from others"),
    ("clean/evidence/osv.json", Some(Format::Osv), Known, "told from others"),
    ("clean/evidence/sbom.cdx1.6.json", Some(Format::Cyclonedx), Known, "told from others"),
    ("clean/evidence/sbom.cdx1.6.xml", Some(Format::Cyclonedx), Refused(ProblemCode::UnsupportedVersion), "CycloneDX is taken as JSON"),
    ("clean/evidence/sbom.spdx2.3.json", Some(Format::Spdx), Known, "told from others"),
    ("clean/evidence/sbom.spdx3.0.json", Some(Format::Spdx), Known, "told from others"),
    ("clean/attest/provenance.dsse.json", Some(Format::Dsse), Known, "signatures are checked beside their keys"),
    ("clean/attest/provenance.statement.json", Some(Format::Dsse), Known, "what an envelope holds, unsigned"),
    ("clean/attest/provenance.sigstore.json", Some(Format::SigstoreBundle), Known, "signatures are checked beside their keys"),
    ("clean/artifact/discount-1.0.0.tar.gz.sigstore.json", Some(Format::SigstoreBundle), Known, "a bundle of the older kind"),
    ("clean/artifact/discount-1.0.0.tar.gz.sig", Some(Format::CosignSignature), Known, "a bare signature in base64"),
    ("clean/artifact/discount-1.0.0.tar.gz", None, Refused(ProblemCode::UnknownFormat), "the artifact is no evidence of itself"),
    ("faulty/evidence/junit.xml", Some(Format::Junit), Tests(1, 1, 1), "one of each"),
    ("faulty/evidence/junit.errors.xml", Some(Format::Junit), Tests(0, 1, 0), "a case that broke before it could fail has failed"),
    ("faulty/evidence/junit.no-tests.xml", Some(Format::Junit), Tests(0, 0, 0), "read, and refused by judging: nothing ran"),
    ("faulty/evidence/coverage.cobertura.xml", Some(Format::Cobertura), Lines(52, 4), "four lines of 52 ran"),
    ("faulty/evidence/coverage.lcov", Some(Format::Lcov), Lines(52, 4), "the same run, as LCOV"),
    ("faulty/evidence/detect-secrets.json", Some(Format::DetectSecrets), Proven(ScanKind::Secrets, 7, Severity::Critical), "seven secrets, one of them beside a comment that hides it by default"),
    ("faulty/evidence/detect-secrets.default-filters.json", Some(Format::DetectSecrets), Unproven(ScanKind::Secrets, 5, "is_line_allowlisted"), "a comment hides one secret from it"),
    ("faulty/evidence/detect-secrets.scanned-nothing.json", Some(Format::DetectSecrets), Unproven(ScanKind::Secrets, 0, "is_line_allowlisted"), "it looked at no file, with comments that hide"),
    ("faulty/evidence/gitleaks.json", Some(Format::Gitleaks), Proven(ScanKind::Secrets, 1, Severity::Critical), "one secret"),
    ("faulty/evidence/checkov.json", Some(Format::Checkov), Proven(ScanKind::Infrastructure, 12, Severity::High), "eleven failed, and one skipped by a comment counts too"),
    ("faulty/evidence/checkov.multi.json", Some(Format::Checkov), Proven(ScanKind::Infrastructure, 3, Severity::High), "two frameworks, two findings and one"),
    ("faulty/evidence/checkov.scanned-nothing.json", Some(Format::Checkov), Unproven(ScanKind::Infrastructure, 0, "nothing to check"), "a summary alone: nothing was scanned"),
    ("faulty/evidence/checkov.sarif", Some(Format::Sarif), Proven(ScanKind::Infrastructure, 12, Severity::High), "eleven errors, and the one skipped by a comment counts too"),
    ("faulty/evidence/semgrep.sarif", Some(Format::Sarif), Proven(ScanKind::Code, 8, Severity::High), "two errors among eight"),
    ("faulty/evidence/zizmor.sarif", Some(Format::Sarif), Proven(ScanKind::Code, 4, Severity::High), "faults of a workflow, three of them errors"),
    ("faulty/evidence/osv.json", Some(Format::Osv), Known, "told from others"),
    ("faulty/evidence/vex.not_affected.cdx1.6.json", Some(Format::CyclonedxVex), Known, "vulnerabilities and no components: VEX"),
    ("faulty/evidence/vex.not_affected.openvex.json", Some(Format::Openvex), Known, "told from others"),
    ("faulty/evidence/sbom.cdx1.6.vuln.json", Some(Format::Cyclonedx), Known, "a list of components that names vulnerabilities too"),
    ("faulty/hostile/cobertura.rate-disagrees.xml", Some(Format::Cobertura), Refused(ProblemCode::Contradictory), "claims 99 % and lists one line of two"),
    ("faulty/hostile/json.deep.json", None, Refused(ProblemCode::TooLarge), "three thousand levels"),
    ("faulty/hostile/json.duplicate-keys.json", Some(Format::DetectSecrets), Refused(ProblemCode::Hostile), "results twice: the second would hide the first"),
    ("faulty/hostile/junit.billion-laughs.xml", Some(Format::Junit), Refused(ProblemCode::Hostile), "entities that expand"),
    ("faulty/hostile/junit.counts-disagree.xml", Some(Format::Junit), Refused(ProblemCode::Contradictory), "claims forty cases and lists one that failed"),
    ("faulty/hostile/lcov.negative.lcov", Some(Format::Lcov), Refused(ProblemCode::Malformed), "a line that ran minus five times"),
    ("faulty/hostile/sarif.failed-run.sarif", Some(Format::Sarif), Unproven(ScanKind::Code, 0, "run failed"), "no results because its rules could not be loaded"),
    ("faulty/hostile/sarif.level-from-rule.sarif", Some(Format::Sarif), Proven(ScanKind::Code, 2, Severity::Critical), "one with its rule's level, one whose suppression is under review; passed, accepted and gone ones do not count"),
    ("faulty/hostile/sbom.no-components.cdx1.6.json", Some(Format::Cyclonedx), Known, "told from others"),
];

#[test]
fn each_fixture_is_read_as_what_it_is() {
    let mut wrong = Vec::new();
    for (name, format, expected, why) in ROWS {
        let reading = fixture(name);
        if reading.piece.format != *format || recognise(&bytes(name)) != *format {
            wrong.push(format!("{name} ({why}): is {:?}", reading.piece.format));
        }
        if !meets(&reading, expected) {
            wrong.push(format!("{name} ({why}): {:?} {:#?}", reading.piece.problem, reading.facts));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn meets(reading: &Reading, expected: &Expected) -> bool {
    let facts = &reading.facts;
    let problem = reading.piece.problem.as_ref().map(|problem| problem.code);
    match expected {
        Refused(code) => problem == Some(*code) && *facts == Default::default(),
        Known => true,
        Tests(passed, failed, skipped) => {
            let counted = facts.tests.iter().map(|run| (run.passed, run.failed, run.skipped));
            problem.is_none() && counted.eq([(*passed, *failed, *skipped)])
        }
        Lines(lines, covered) => {
            problem.is_none() && facts.coverage.iter().map(|c| (c.lines, c.covered)).eq([(*lines, *covered)])
        }
        Proven(kind, total, worst) => {
            let [scan] = facts.scans.as_slice() else { return false };
            let found = scan.findings.first().map_or(Severity::Unknown, |finding| finding.severity);
            matches!(scan.proof, Proof::Given(_)) && (scan.kind, scan.total, found) == (*kind, *total, *worst)
        }
        Unproven(kind, total, reason) => {
            let [scan] = facts.scans.as_slice() else { return false };
            let why = matches!(&scan.proof, Proof::Missing(why) if why.contains(reason));
            why && (scan.kind, scan.total) == (*kind, *total)
        }
    }
}

#[test]
fn every_fixture_of_the_folders_has_a_row() {
    for folder in ["clean/evidence", "faulty/evidence", "faulty/hostile"] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/gate");
        for entry in std::fs::read_dir(format!("{path}/{folder}")).expect("as it is written") {
            let name = format!("{folder}/{}", entry.expect("as it is written").file_name().to_string_lossy());
            let elsewhere = ["sbom.", "vex.", "grype.", "trivy.", "osv.", "tfplan."];
            let is_elsewhere = elsewhere.iter().any(|part| name.contains(&format!("/{part}")));
            assert!(is_elsewhere || ROWS.iter().any(|row| row.0 == name), "{name} has no row");
        }
    }
}

#[test]
fn facts_of_a_faulty_app_say_what_and_where_and_never_the_secret() {
    let secrets = ["AKIAIOSFODNN7EXAMPLE", "not-a-real-p4ssw0rd", "25910f981e85ca04baf359199dd0bd4a3ae738b6"];
    for name in [
        "detect-secrets.json",
        "gitleaks.json",
        "semgrep.sarif",
        "checkov.json",
        "checkov.sarif",
        "junit.xml",
    ] {
        let facts = serde_json::to_string(&fixture(&format!("faulty/evidence/{name}")).facts)
            .expect("as it is written");
        assert!(secrets.iter().all(|secret| !facts.contains(secret)), "{name}: {facts}");
        assert!(
            !facts.contains("import ") && !facts.contains("subprocess.run"),
            "{name} holds code: {facts}"
        );
    }
    let leak = &fixture("faulty/evidence/gitleaks.json").facts.scans[0].findings[0];
    assert_eq!(
        (leak.rule.as_str(), leak.file.as_deref(), leak.line),
        ("generic-api-key", Some("src/config.py"), Some(5))
    );
    let failed = &fixture("faulty/evidence/junit.xml").facts.tests[0];
    assert_eq!(failed.failures[0].title, "assert 899 == 900");
    assert_eq!(
        failed.ran,
        ["app.faulty.tests.test_discount.test_happy_path", "app.faulty.tests.test_discount.test_rounds_up"]
    );
    let skipped = fixture("faulty/evidence/checkov.json").facts.scans[0]
        .findings
        .iter()
        .filter(|f| f.title.starts_with("Skipped"))
        .count();
    assert_eq!(skipped, 1);
}

#[test]
fn coverage_lists_the_least_covered_files_first_by_their_path_in_the_app() {
    let cobertura = fixture("faulty/evidence/coverage.cobertura.xml").facts.coverage.remove(0);
    let paths: Vec<&str> = cobertura.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["src/app.py", "src/config.py", "src/loyalty.py", "src/discount.py"]);
    let lcov = fixture("faulty/evidence/coverage.lcov").facts.coverage.remove(0);
    assert_eq!(lcov.files, cobertura.files);
}
