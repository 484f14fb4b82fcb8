//! What the artifact is made of: its list, licences, vulnerabilities, and what is said of them.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::{Licences, Sbom, Vulnerabilities};
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, Passed};
use rollout_rules::gate::decision::{CheckName, Excuse, Verdict};
use rollout_rules::gate::facts::{
    Attestation, Claim, Exploitability, ExploitabilityStatus, Facts, Finding, Licence, ScanKind, Severity,
    Untrusted,
};
use rollout_rules::gate::policy::Level::{Deny, Note, Off, Warn};
use rollout_rules::time::DAY;

use super::build::{Build, TIERS, artifact, component, digest, found, scan, signer, vulnerability};
use super::waivers::waiver;

#[test]
fn a_list_that_is_signed_for_another_artifact_is_not_signed() {
    let other =
        Build::with(Tier::Two, |facts| facts.attestations[2].subjects = vec![crate::world::artifact_of('b')]);
    assert_eq!(other.ends(Sbom), (Failed, Deny));
    assert!(other.check(Sbom).found.contains("about another artifact"));
    let changed = Build::with(Tier::Two, |facts| facts.attestations[2].signer = Err(Untrusted::Mismatch));
    assert!(changed.check(Sbom).found.contains("changed after it was signed"));
    let claims_artifact = Build::with(Tier::Two, |facts| facts.attestations[2].claim = Claim::Artifact);
    assert_eq!(
        claims_artifact.ends(Sbom),
        (Failed, Deny),
        "a signature of the artifact says nothing of the list"
    );
}

#[test]
fn of_several_lists_one_that_knows_a_licence_tells_more_and_else_the_stricter_counts() {
    let ends = |licences: &[Licence]| {
        let build = Build::with(Tier::Two, |facts| {
            facts.sboms[0].components = licences.iter().map(|licence| component("x", *licence)).collect();
            facts.sboms[0].total = licences.len() as u64;
        });
        build.ends(Licences)
    };
    assert_eq!(ends(&[Licence::Permissive]), (Passed, Off));
    assert_eq!(ends(&[Licence::WeakCopyleft]), (Passed, Off));
    assert_eq!(ends(&[Licence::Unknown, Licence::Permissive]), (Passed, Off));
    assert_eq!(ends(&[Licence::Permissive, Licence::Unknown]), (Passed, Off));
    assert_eq!(ends(&[Licence::Permissive, Licence::StrongCopyleft]), (Failed, Deny));
    assert_eq!(ends(&[Licence::StrongCopyleft, Licence::Permissive]), (Failed, Deny));
}

#[test]
fn beside_a_signed_list_one_that_is_not_makes_nothing_milder() {
    let beside = |signed: Licence, plain: Licence, of_another: bool| {
        Build::with(Tier::Two, |facts| {
            facts.sboms[0].components = vec![component("x", signed)];
            let mut other = facts.sboms[0].clone();
            other.piece = digest("nobody signed it");
            other.components = vec![component("x", plain)];
            if of_another {
                other.subjects = vec![crate::world::artifact_of('b')];
            }
            facts.sboms.push(other);
        })
    };
    for of_another in [false, true] {
        let milder = beside(Licence::Unknown, Licence::Permissive, of_another);
        assert_eq!(milder.ends(Licences), (Failed, Deny), "the signed list does not know it");
        let stricter = beside(Licence::Permissive, Licence::StrongCopyleft, of_another);
        assert_eq!(stricter.ends(Licences), (Failed, Deny));
    }
    let empty = Build::with(Tier::Two, |facts| {
        let mut other = facts.sboms[0].clone();
        other.piece = digest("nobody signed it");
        facts.sboms[0].components.clear();
        facts.sboms[0].total = 0;
        facts.sboms.push(other);
    });
    assert_eq!(empty.ends(Sbom), (NoProof, Deny), "what is signed is empty");
}

#[test]
fn without_a_list_no_licence_is_known_and_a_longer_one_than_is_kept_hides_some() {
    let none = Build::with(Tier::Two, |facts| facts.sboms.clear());
    assert_eq!(none.ends(Licences), (NoProof, Deny));
    for (tier, level) in TIERS.into_iter().zip([Note, Warn, Deny]) {
        let longer = Build::with(tier, |facts| facts.sboms[0].total = 5_001);
        assert_eq!(longer.ends(Licences), (Failed, level), "{tier:?}");
    }
}

fn vulnerable(tier: Tier, findings: &[Finding]) -> Build {
    Build::with(tier, |facts| {
        for (nth, finding) in findings.iter().enumerate() {
            let mut scan = scan(ScanKind::Vulnerabilities, ["trivy", "osv-scanner"][nth % 2]);
            scan.findings.push(finding.clone());
            scan.total = 1;
            facts.scans.push(scan);
        }
    })
}

#[test]
fn of_several_scanners_the_sternest_counts_and_a_finding_is_told_once() {
    let high = vulnerability("CVE-1", Severity::High);
    let low = vulnerability("CVE-1", Severity::Low);
    for both in [[high.clone(), low.clone()], [low.clone(), high.clone()]] {
        let build = vulnerable(Tier::Two, &both);
        assert_eq!(build.ends(Vulnerabilities), (Failed, Deny));
        assert_eq!(build.check(Vulnerabilities).total, 1);
    }
    assert_eq!(vulnerable(Tier::Two, &[low]).ends(Vulnerabilities), (Failed, Note));
}

#[test]
fn a_vulnerability_of_which_nobody_says_how_bad_it_is_is_not_mild() {
    let unknown = vulnerability("CVE-1", Severity::Unknown);
    for (tier, level) in TIERS.into_iter().zip([Note, Warn, Warn]) {
        assert_eq!(
            vulnerable(tier, std::slice::from_ref(&unknown)).ends(Vulnerabilities),
            (Failed, level),
            "{tier:?}"
        );
    }
    let unlisted = Build::with(Tier::One, |facts| {
        let scan = facts.scans.iter_mut().find(|scan| scan.kind == ScanKind::Vulnerabilities).expect("one");
        scan.total = u64::MAX;
    });
    assert_eq!(unlisted.ends(Vulnerabilities), (Failed, Deny), "what is not listed may be critical");
}

fn says(status: ExploitabilityStatus, signed: bool) -> Exploitability {
    Exploitability {
        piece: digest("vex"),
        vulnerability: "CVE-1".into(),
        products: vec!["pkg:pypi/pyyaml@5.3".into()],
        status,
        justification: Some("code_not_reachable".into()),
        signer: signed.then(signer),
    }
}

fn with_vex(vex: &[Exploitability]) -> Build {
    let mut build = vulnerable(Tier::Two, &[vulnerability("CVE-1", Severity::Critical)]);
    build.facts.exploitability = vex.to_vec();
    build.facts.attestations.push(Attestation {
        piece: digest("vex"),
        claim: Claim::Vex,
        subjects: vec![artifact()],
        signer: Ok(signer()),
    });
    build
}

#[test]
fn what_security_signed_for_another_artifact_excuses_nothing_here() {
    let mut other = with_vex(&[says(ExploitabilityStatus::NotAffected, true)]);
    let statement = other.facts.attestations.iter_mut().find(|it| it.claim == Claim::Vex).expect("one");
    statement.subjects = Vec::new();
    assert_eq!(other.ends(Vulnerabilities), (Failed, Deny));
}

#[test]
fn what_security_signed_excuses_and_what_nobody_signed_is_a_request() {
    use ExploitabilityStatus::{Affected, Fixed, NotAffected, UnderInvestigation};
    let signed = with_vex(&[says(NotAffected, true)]);
    assert_eq!(signed.ends(Vulnerabilities), (Failed, Note));
    assert_eq!(signed.check(Vulnerabilities).findings[0].excused, Some(Excuse::Signed("ci".into())));
    assert!(signed.judge().signers.contains(&signer()));
    let unsigned = with_vex(&[says(NotAffected, false)]);
    assert_eq!(unsigned.ends(Vulnerabilities), (Failed, Deny));
    assert!(unsigned.check(Vulnerabilities).found.contains("counts once security signed it"));
    for status in [Affected, Fixed, UnderInvestigation] {
        assert_eq!(with_vex(&[says(status, true)]).ends(Vulnerabilities), (Failed, Deny), "{status:?}");
    }
    let denied = with_vex(&[says(NotAffected, true), says(Affected, false)]);
    assert_eq!(denied.ends(Vulnerabilities), (Failed, Deny), "somebody says that it is affected");
    let mut unexplained = says(NotAffected, true);
    unexplained.justification = None;
    assert_eq!(with_vex(&[unexplained]).ends(Vulnerabilities), (Failed, Deny));
}

#[test]
fn what_is_said_of_one_package_says_nothing_of_another() {
    let about = |products: &[&str]| {
        let mut vex = says(ExploitabilityStatus::NotAffected, true);
        vex.products = products.iter().map(|product| (*product).into()).collect();
        with_vex(&[vex]).ends(Vulnerabilities).1
    };
    assert_eq!(about(&["pkg:pypi/pyyaml@5.3"]), Note);
    assert_eq!(about(&["pkg:pypi/PyYAML@5.3?arch=any"]), Note, "case and qualifiers aside");
    assert_eq!(about(&["pkg:pypi/pyyaml"]), Note, "all versions");
    assert_eq!(about(&["pkg:pypi/pyyaml@5.4"]), Deny, "another version");
    assert_eq!(about(&["pkg:npm/pyyaml@5.3"]), Deny, "another registry");
    assert_eq!(about(&["pkg:pypi/yaml"]), Deny);
    assert_eq!(about(&[]), Deny, "of what is not said");
    let mut other = says(ExploitabilityStatus::NotAffected, true);
    other.vulnerability = "CVE-2".into();
    assert_eq!(with_vex(&[other.clone()]).ends(Vulnerabilities).1, Deny);
    let mut build = with_vex(&[other]);
    for scan in &mut build.facts.scans {
        scan.findings.iter_mut().for_each(|it| it.aliases = vec!["CVE-2".into()]);
    }
    assert_eq!(build.ends(Vulnerabilities).1, Note, "another name of the same");
}

#[test]
fn one_more_finding_of_the_same_makes_nothing_milder() {
    let stern = vulnerability("CVE-1", Severity::Critical);
    let mut waived = vulnerability("CVE-1", Severity::Critical);
    waived.fingerprint = digest("another scanner's");
    let mut build = vulnerable(Tier::One, std::slice::from_ref(&stern));
    build.waivers = vec![waiver(CheckName::Vulnerabilities, &waived, build.now.plus(DAY))];
    assert_eq!(build.verdict(), Verdict::Deny);
    found(&mut build.facts, ScanKind::Vulnerabilities, waived);
    assert_eq!(build.verdict(), Verdict::Deny, "only one of the two is waived");
    let mut named = stern.clone();
    named.aliases = vec!["GHSA-1".into()];
    named.title = "A".into();
    let mut vex = says(ExploitabilityStatus::NotAffected, true);
    vex.vulnerability = "GHSA-1".into();
    let mut build = vulnerable(Tier::One, &[stern]);
    build.facts.exploitability = vec![vex];
    found(&mut build.facts, ScanKind::Vulnerabilities, named);
    assert_eq!(build.verdict(), Verdict::Deny, "only one of two calls it so");
}

#[test]
fn that_one_scanner_knows_of_a_fix_ends_a_waiver() {
    let finding = vulnerability("CVE-1", Severity::Critical);
    let mut fixed = finding.clone();
    fixed.fix = Some("5.4".into());
    let mut build = vulnerable(Tier::One, std::slice::from_ref(&finding));
    build.waivers = vec![waiver(CheckName::Vulnerabilities, &finding, build.now.plus(DAY))];
    assert_eq!(build.ends(Vulnerabilities), (Failed, Note));
    let add = |facts: &mut Facts| found(facts, ScanKind::Vulnerabilities, fixed);
    add(&mut build.facts);
    assert_eq!(build.ends(Vulnerabilities), (Failed, Deny));
}

#[test]
fn a_vulnerability_that_is_waived_shows_nothing_where_no_scan_proves_anything() {
    let finding = vulnerability("CVE-1", Severity::Critical);
    for (proven, level) in [(true, Note), (false, Deny)] {
        let mut build = vulnerable(Tier::One, std::slice::from_ref(&finding));
        build.waivers = vec![waiver(CheckName::Vulnerabilities, &finding, build.now.plus(DAY))];
        if !proven {
            super::build::unproven(&mut build.facts, ScanKind::Vulnerabilities);
        }
        assert_eq!(build.ends(Vulnerabilities), (Failed, level), "proven: {proven}");
    }
}
