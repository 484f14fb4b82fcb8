//! A row for every fixture: what it comes to, and why.

use rollout_rules::gate::facts::{Facts, Licence, Problem, Proof, Severity};
use rollout_rules::ids::Digest;

use super::{CYCLONEDX, GRYPE, OPENVEX, OSV, Read, SPDX, TRIVY, fixture};

/// In short: of each SBOM how many components it has and how many of them with which licence, of each scan whether it is proven and
/// what it found, and what is said of vulnerabilities.
fn outcome(read: Read, path: &str) -> String {
    let bytes = fixture(path);
    match read(Digest::of(&bytes), &bytes) {
        Ok(facts) => {
            assert!(
                pieces(&facts).iter().all(|piece| *piece == Digest::of(&bytes)),
                "{path}: facts name their piece"
            );
            summary(&facts)
        }
        Err(Problem { code, detail }) => {
            assert!(!detail.is_empty() && detail.len() < 500, "{path}: {detail}");
            format!("{code:?}")
        }
    }
}

fn pieces(facts: &Facts) -> Vec<Digest> {
    let sboms = facts.sboms.iter().map(|sbom| sbom.piece);
    let scans = facts.scans.iter().map(|scan| scan.piece);
    sboms.chain(scans).chain(facts.exploitability.iter().map(|said| said.piece)).collect()
}

fn summary(facts: &Facts) -> String {
    let mut parts = Vec::new();
    for sbom in &facts.sboms {
        let of = |licence| sbom.components.iter().filter(|component| component.licence == licence).count();
        parts.push(format!(
            "{}: {} components, {} strong, {} unknown",
            sbom.format,
            sbom.total,
            of(Licence::StrongCopyleft),
            of(Licence::Unknown)
        ));
    }
    for scan in &facts.scans {
        let proof = if matches!(scan.proof, Proof::Given(_)) { "proven" } else { "no proof" };
        let found = scan.findings.iter().map(|finding| format!(" {} {:?}", finding.rule, finding.severity));
        parts.push(format!("{} {proof}, {}{}", scan.tool.name, scan.total, found.collect::<String>()));
    }
    for said in &facts.exploitability {
        let products = said.products.join(" ");
        parts.push(format!(
            "{} {:?} of {products}, {:?}",
            said.vulnerability, said.status, said.justification
        ));
    }
    parts.join("; ")
}

#[test]
fn every_sbom_comes_to_its_components_and_their_licences() {
    let rows: [(Read, &str, &str, &str); 20] = [
        (
            CYCLONEDX,
            "clean/evidence/sbom.cdx1.4.json",
            "CycloneDX 1.4: 7 components, 0 strong, 0 unknown",
            "`BSD License` of Python's index is known",
        ),
        (
            CYCLONEDX,
            "clean/evidence/sbom.cdx1.5.json",
            "CycloneDX 1.5: 7 components, 0 strong, 0 unknown",
            "as 1.4",
        ),
        (
            CYCLONEDX,
            "clean/evidence/sbom.cdx1.6.json",
            "CycloneDX 1.6: 7 components, 0 strong, 0 unknown",
            "acknowledgements change nothing",
        ),
        (
            CYCLONEDX,
            "clean/evidence/sbom.cdx1.7.json",
            "CycloneDX 1.7: 7 components, 0 strong, 0 unknown",
            "as 1.6",
        ),
        (
            CYCLONEDX,
            "clean/evidence/sbom.cargo.cdx1.5.json",
            "CycloneDX 1.5: 1 components, 0 strong, 0 unknown",
            "parts of the app itself are no components",
        ),
        (
            CYCLONEDX,
            "clean/evidence/sbom.npm.cdx1.6.json",
            "CycloneDX 1.6: 2 components, 0 strong, 0 unknown",
            "neither are the tools",
        ),
        (
            CYCLONEDX,
            "clean/evidence/sbom.syft.cdx1.6.json",
            "CycloneDX 1.6: 7 components, 0 strong, 3 unknown",
            "three name no licence",
        ),
        (CYCLONEDX, "clean/evidence/sbom.cdx1.6.xml", "Malformed", "XML is told apart before it comes here"),
        (
            SPDX,
            "clean/evidence/sbom.spdx2.3.json",
            "SPDX 2.3: 7 components, 0 strong, 3 unknown",
            "the same as Syft's CycloneDX: the app is none of its own parts",
        ),
        (
            SPDX,
            "clean/evidence/sbom.spdx3.0.json",
            "SPDX 3.0.1: 1 components, 0 strong, 1 unknown",
            "no licence is related to Flask",
        ),
        (
            CYCLONEDX,
            "faulty/evidence/sbom.cdx1.4.json",
            "CycloneDX 1.4: 9 components, 1 strong, 0 unknown",
            "Unidecode is under the GPL",
        ),
        (
            CYCLONEDX,
            "faulty/evidence/sbom.cdx1.5.json",
            "CycloneDX 1.5: 9 components, 1 strong, 0 unknown",
            "as 1.4",
        ),
        (
            CYCLONEDX,
            "faulty/evidence/sbom.cdx1.6.json",
            "CycloneDX 1.6: 9 components, 1 strong, 0 unknown",
            "as 1.4",
        ),
        (
            CYCLONEDX,
            "faulty/evidence/sbom.cdx1.7.json",
            "CycloneDX 1.7: 9 components, 1 strong, 0 unknown",
            "as 1.4",
        ),
        (
            CYCLONEDX,
            "faulty/evidence/sbom.syft.cdx1.6.json",
            "CycloneDX 1.6: 9 components, 1 strong, 3 unknown",
            "as Syft names it",
        ),
        (CYCLONEDX, "faulty/evidence/sbom.cdx1.6.xml", "Malformed", "as the clean one"),
        (
            SPDX,
            "faulty/evidence/sbom.spdx2.3.json",
            "SPDX 2.3: 9 components, 1 strong, 3 unknown",
            "`LicenseRef-GPL` is the GPL",
        ),
        (
            CYCLONEDX,
            "faulty/evidence/sbom.cdx1.6.vuln.json",
            "CycloneDX 1.6: 9 components, 1 strong, 0 unknown; cyclonedx-py proven, 1 CVE-2020-14343 Critical",
            "vulnerabilities beside components are a scan",
        ),
        (
            CYCLONEDX,
            "faulty/hostile/sbom.no-components.cdx1.6.json",
            "CycloneDX 1.6: 0 components, 0 strong, 0 unknown",
            "it is read, and proves nothing: the judge says so",
        ),
        (SPDX, "faulty/hostile/json.deep.json", "TooLarge", "no report is 3,000 deep"),
    ];
    check(&rows);
}

#[test]
fn every_report_of_vulnerabilities_comes_to_what_it_shows() {
    let rows: [(Read, &str, &str, &str); 8] = [
        (
            GRYPE,
            "clean/evidence/grype.json",
            "grype no proof, 0",
            "an empty folder gives the same report: a list of packages has to be beside it",
        ),
        (TRIVY, "clean/evidence/trivy.json", "trivy proven, 0", "it names the list of packages that it read"),
        (OSV, "clean/evidence/osv.json", "osv-scanner no proof, 0", "an empty folder gives the same report"),
        (
            GRYPE,
            "faulty/evidence/grype.json",
            "grype proven, 1 CVE-2020-14343 Critical",
            "by the name that all know it by",
        ),
        (TRIVY, "faulty/evidence/trivy.json", "trivy proven, 1 CVE-2020-14343 Critical", "the same"),
        (
            OSV,
            "faulty/evidence/osv.json",
            "osv-scanner proven, 1 CVE-2020-14343 Critical",
            "two databases, one vulnerability",
        ),
        (TRIVY, "faulty/hostile/json.deep.json", "TooLarge", "too deep"),
        (OSV, "faulty/hostile/json.deep.json", "TooLarge", "too deep"),
    ];
    check(&rows);
}

#[test]
fn every_vex_document_comes_to_what_it_says() {
    let rows: [(Read, &str, &str, &str); 4] = [
        (
            CYCLONEDX,
            "faulty/evidence/vex.exploitable.cdx1.6.json",
            "CVE-2020-14343 Affected of pkg:pypi/pyyaml@5.3.1, None",
            "a VEX is no SBOM, and no scan",
        ),
        (
            CYCLONEDX,
            "faulty/evidence/vex.not_affected.cdx1.6.json",
            "CVE-2020-14343 NotAffected of pkg:pypi/pyyaml@5.3.1, Some(\"code_not_reachable\")",
            "a request for a waiver",
        ),
        (
            OPENVEX,
            "faulty/evidence/vex.not_affected.openvex.json",
            "CVE-2020-14343 NotAffected of pkg:pypi/pyyaml@5.3.1, Some(\"vulnerable_code_cannot_be_controlled_by_adversary\")",
            "times without a zone do no harm",
        ),
        (OPENVEX, "faulty/hostile/json.deep.json", "TooLarge", "too deep"),
    ];
    check(&rows);
}

fn check(rows: &[(Read, &str, &str, &str)]) {
    for (read, path, expected, why) in rows {
        assert_eq!(outcome(*read, path), *expected, "{path}: {why}");
    }
}

#[test]
fn scanners_that_mean_the_same_agree_on_its_fingerprint_and_where_it_is() {
    let found = [(GRYPE, "grype"), (TRIVY, "trivy"), (OSV, "osv"), (CYCLONEDX, "sbom.cdx1.6.vuln")].map(
        |(read, name)| {
            let bytes = fixture(&format!("faulty/evidence/{name}.json"));
            let facts = super::facts(read, &bytes);
            let finding = facts.scans[0].findings[0].clone();
            assert_eq!(finding.severity, Severity::Critical, "{name}");
            (finding.fingerprint, finding.subject)
        },
    );
    assert_eq!(found[0].1.as_deref(), Some("pkg:pypi/pyyaml@5.3.1"));
    assert!(found.iter().all(|other| *other == found[0]), "{found:?}");
}

#[test]
fn a_known_fix_is_named_in_words() {
    let fix = |read, path| super::facts(read, &fixture(path)).scans[0].findings[0].fix.clone();
    assert_eq!(fix(GRYPE, "faulty/evidence/grype.json").as_deref(), Some("upgrade pyyaml to 5.4"));
    assert_eq!(fix(TRIVY, "faulty/evidence/trivy.json").as_deref(), Some("upgrade PyYAML to 5.4"));
    assert_eq!(fix(OSV, "faulty/evidence/osv.json").as_deref(), Some("upgrade pyyaml to 5.4"));
    let advice = fix(CYCLONEDX, "faulty/evidence/sbom.cdx1.6.vuln.json");
    assert_eq!(advice.as_deref(), Some("Upgrade PyYAML to 5.4 or later."));
}

#[test]
fn proofs_say_what_was_looked_at_and_a_missing_one_what_to_do() {
    let proof = |read, path| super::facts(read, &fixture(path)).scans[0].proof.clone();
    let Proof::Missing(grype) = proof(GRYPE, "clean/evidence/grype.json") else {
        panic!("nothing in a folder proves nothing alone")
    };
    assert!(grype.contains("Hand in an SBOM"), "{grype}");
    let grype = proof(GRYPE, "faulty/evidence/grype.json");
    assert_eq!(grype, Proof::Given("`.` (directory), with a database of 2026-01-15".to_owned()));
    assert_eq!(proof(TRIVY, "clean/evidence/trivy.json"), Proof::Given("1 list of packages".to_owned()));
    assert_eq!(proof(OSV, "faulty/evidence/osv.json"), Proof::Given("1 package of 1 file".to_owned()));
    let Proof::Missing(osv) = proof(OSV, "clean/evidence/osv.json") else {
        panic!("an empty report proves nothing")
    };
    assert!(osv.contains("--all-packages"), "{osv}");
}
