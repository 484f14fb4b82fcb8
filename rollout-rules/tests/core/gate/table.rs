//! The table of tiers, check by check, with what fails and what lacks proof.

use rollout_rules::flag::{EnvironmentKind, Tier};
use rollout_rules::gate::decision::CheckName::{
    ContractTests, Coverage, Infrastructure, Licences, Provenance, Sbom, Secrets, Signature, TestsPass,
    TestsPresent, Vulnerabilities,
};
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, NotAsked, Passed};
use rollout_rules::gate::decision::{CheckName, CheckState, Verdict};
use rollout_rules::gate::facts::{
    Claim, Concern, Facts, Licence, PolicyEffect, ScanKind, Severity, Untrusted,
};
use rollout_rules::gate::policy::Level::{Deny, Note, Off, Warn};
use rollout_rules::gate::policy::{Level, Policy, Role};
use rollout_rules::governance::Rules;
use rollout_rules::time::DurationMs;

use super::build::{Build, TIERS, component, found, unproven, vulnerability, without};
use super::infrastructure::said;

/// What is wrong, with which check, and how that ends in each tier.
type Row = (&'static str, fn(&mut Facts), CheckName, [(CheckState, Level); 3]);

fn unsigned(facts: &mut Facts, is: fn(&Claim) -> bool) {
    for attestation in facts.attestations.iter_mut().filter(|it| is(&it.claim)) {
        attestation.signer = Err(Untrusted::Unsigned);
    }
}

fn covered(facts: &mut Facts, hundredths: u64) {
    (facts.coverage[0].lines, facts.coverage[0].covered) = (10_000, hundredths);
}

fn in_all(state: CheckState, levels: [Level; 3]) -> [(CheckState, Level); 3] {
    levels.map(|level| (state, level))
}

fn rows_of_code() -> Vec<Row> {
    let secret =
        |facts: &mut Facts| found(facts, ScanKind::Secrets, super::build::finding("aws", Severity::High));
    let one = |facts: &mut Facts| facts.scans.retain(|scan| scan.tool.name != "gitleaks");
    let fine = (Passed, Off);
    vec![
        ("a secret", secret, Secrets, in_all(Failed, [Deny, Deny, Deny])),
        (
            "no scan for secrets",
            |it| without(it, ScanKind::Secrets),
            Secrets,
            in_all(NoProof, [Deny, Deny, Deny]),
        ),
        (
            "scans that prove nothing",
            |it| unproven(it, ScanKind::Secrets),
            Secrets,
            in_all(NoProof, [Deny; 3]),
        ),
        ("one scanner", one, Secrets, [fine, fine, (NoProof, Deny)]),
        (
            "an untested file",
            |it| it.presence[0].files[0].tests.clear(),
            TestsPresent,
            in_all(Failed, [Warn, Deny, Deny]),
        ),
        ("no look at tests", |it| it.presence.clear(), TestsPresent, in_all(NoProof, [Warn, Deny, Deny])),
        (
            "a look at no file",
            |it| (it.presence[0].files, it.presence[0].read) = (Vec::new(), None),
            TestsPresent,
            in_all(NoProof, [Warn, Deny, Deny]),
        ),
        (
            "tests of every file, and no report of them",
            |it| it.tests.clear(),
            TestsPresent,
            in_all(NoProof, [Warn, Deny, Deny]),
        ),
        ("a failing test", |it| it.tests[0].failed = 1, TestsPass, in_all(Failed, [Deny; 3])),
        ("no test ran", |it| it.tests[0].passed = 0, TestsPass, in_all(NoProof, [Deny; 3])),
        ("no report of tests", |it| it.tests.clear(), TestsPass, in_all(NoProof, [Deny; 3])),
        (
            "no contract test",
            |it| it.tests[0].contract = false,
            ContractTests,
            [(NotAsked, Off), (NotAsked, Off), (NoProof, Deny)],
        ),
        (
            "a failing contract test",
            |it| it.tests[0].failed = 1,
            ContractTests,
            [(NotAsked, Off), (NotAsked, Off), (Failed, Deny)],
        ),
        ("no coverage", |it| it.coverage.clear(), Coverage, in_all(NoProof, [Note, Deny, Deny])),
        ("39.99 %", |it| covered(it, 3_999), Coverage, [(Passed, Note), (Failed, Deny), (Failed, Deny)]),
        ("40 %", |it| covered(it, 4_000), Coverage, [(Passed, Note), (Failed, Warn), (Failed, Deny)]),
        ("59.99 %", |it| covered(it, 5_999), Coverage, [(Passed, Note), (Failed, Warn), (Failed, Deny)]),
        ("60 %", |it| covered(it, 6_000), Coverage, [(Passed, Note), fine, (Failed, Deny)]),
        ("69.99 %", |it| covered(it, 6_999), Coverage, [(Passed, Note), fine, (Failed, Deny)]),
        ("70 %", |it| covered(it, 7_000), Coverage, [(Passed, Note), fine, fine]),
    ]
}

fn rows_of_supply() -> Vec<Row> {
    let fine = (Passed, Off);
    let other = |facts: &mut Facts| facts.attestations[2].subjects = vec![crate::world::artifact_of('b')];
    let unknown = |facts: &mut Facts| facts.sboms[0].components.push(component("x", Licence::Unknown));
    let strong = |facts: &mut Facts| facts.sboms[0].components.push(component("x", Licence::StrongCopyleft));
    let critical = |facts: &mut Facts| {
        found(facts, ScanKind::Vulnerabilities, vulnerability("CVE-1", Severity::Critical))
    };
    let high =
        |facts: &mut Facts| found(facts, ScanKind::Vulnerabilities, vulnerability("CVE-1", Severity::High));
    vec![
        (
            "public data",
            |it| said(it, Concern::PublicData, PolicyEffect::Deny),
            Infrastructure,
            in_all(Failed, [Deny; 3]),
        ),
        (
            "no tags",
            |it| said(it, Concern::Tags, PolicyEffect::Deny),
            Infrastructure,
            [fine, (Failed, Deny), (Failed, Deny)],
        ),
        (
            "too large",
            |it| said(it, Concern::Size, PolicyEffect::Deny),
            Infrastructure,
            in_all(Failed, [Deny; 3]),
        ),
        (
            "all rights",
            |it| said(it, Concern::WildcardPrivileges, PolicyEffect::Deny),
            Infrastructure,
            in_all(Failed, [Deny; 3]),
        ),
        ("no plan", |it| it.plans.clear(), Infrastructure, in_all(NoProof, [Deny; 3])),
        ("no list of components", |it| it.sboms.clear(), Sbom, in_all(NoProof, [Warn, Deny, Deny])),
        ("an empty list", |it| it.sboms[0].total = 0, Sbom, in_all(NoProof, [Warn, Deny, Deny])),
        (
            "an unsigned list",
            |it| unsigned(it, |claim| *claim == Claim::Sbom),
            Sbom,
            [fine, (Passed, Note), (Failed, Deny)],
        ),
        ("a list for another artifact", other, Sbom, [fine, (Passed, Note), (Failed, Deny)]),
        ("an unknown licence", unknown, Licences, in_all(Failed, [Note, Warn, Deny])),
        ("strong copyleft", strong, Licences, in_all(Failed, [Note, Deny, Deny])),
        ("a critical vulnerability", critical, Vulnerabilities, in_all(Failed, [Warn, Deny, Deny])),
        ("a high vulnerability", high, Vulnerabilities, in_all(Failed, [Note, Warn, Deny])),
        (
            "no scan for vulnerabilities",
            |it| without(it, ScanKind::Vulnerabilities),
            Vulnerabilities,
            in_all(NoProof, [Warn, Deny, Deny]),
        ),
        (
            "one that proves nothing",
            |it| unproven(it, ScanKind::Vulnerabilities),
            Vulnerabilities,
            in_all(NoProof, [Warn, Deny, Deny]),
        ),
        (
            "no signature",
            |it| unsigned(it, |claim| *claim == Claim::Artifact),
            Signature,
            in_all(NoProof, [Note, Warn, Deny]),
        ),
        (
            "no provenance",
            |it| unsigned(it, |claim| matches!(claim, Claim::Provenance(_))),
            Provenance,
            in_all(NoProof, [Note, Warn, Deny]),
        ),
    ]
}

#[test]
fn a_clean_build_passes_in_every_tier_and_stands_for_as_long_as_the_tier_says() {
    for (tier, days) in TIERS.into_iter().zip([14, 14, 7]) {
        let build = Build::clean(tier);
        let judged = build.judge();
        assert_eq!(judged.verdict, Verdict::Pass, "{:?}", judged.checks);
        assert_eq!(judged.valid_until, build.now.plus(DurationMs::days(days)));
        assert!(judged.checks.iter().all(|check| check.level <= Note), "{:?}", judged.checks);
        assert_eq!(judged.checks.iter().map(|check| check.name).collect::<Vec<_>>(), CheckName::ALL);
        assert_eq!(judged.signers, [super::build::signer()]);
    }
}

#[test]
fn each_row_of_the_table_ends_in_each_tier_as_it_says() {
    for (what, change, check, ends) in rows_of_code().into_iter().chain(rows_of_supply()) {
        for (tier, (state, level)) in TIERS.into_iter().zip(ends) {
            let build = Build::with(tier, change);
            assert_eq!(build.ends(check), (state, level), "{what} in {tier:?}");
            let expected = match level {
                Deny => Verdict::Deny,
                Warn => Verdict::Warn,
                Note | Off => Verdict::Pass,
            };
            // What one thing does to another check, a clean build would pass.
            assert!(build.verdict() >= expected, "{what} in {tier:?}");
            let told = build.check(check);
            assert!(!told.found.is_empty() && !told.why.is_empty(), "{what}");
            assert_eq!(
                told.fix.is_empty(),
                matches!(state, Passed | NotAsked),
                "{what} in {tier:?}: {}",
                told.fix
            );
        }
    }
}

#[test]
fn what_lacks_only_evidence_is_told_from_what_is_wrong() {
    let missing = Build::with(Tier::Two, |facts| facts.coverage.clear());
    assert!(missing.judge().lacks_only_evidence());
    let wrong = Build::with(Tier::Two, |facts| {
        facts.coverage.clear();
        facts.tests[0].failed = 1;
    });
    assert!(!wrong.judge().lacks_only_evidence());
    assert!(!Build::clean(Tier::Two).judge().lacks_only_evidence());
}

#[test]
fn the_policy_that_comes_with_the_program_is_the_table() {
    let policy = Policy::default();
    assert_eq!(policy.check(), []);
    let [zero, one, two] = TIERS.map(|tier| policy.of(tier));
    assert_eq!(
        [zero, one, two].map(|it| (it.secrets.level, it.secrets.scanners)),
        [(Deny, 1), (Deny, 1), (Deny, 2)]
    );
    assert_eq!([zero, one, two].map(|it| it.tests_present), [Warn, Deny, Deny]);
    assert_eq!([zero, one, two].map(|it| it.tests_pass), [Deny; 3]);
    assert_eq!([zero, one, two].map(|it| it.contract_tests), [Off, Off, Deny]);
    let bounds = |it: &rollout_rules::gate::policy::TierPolicy| {
        (it.coverage.warn_below_percent, it.coverage.deny_below_percent, it.coverage.ignored_below_lines)
    };
    assert_eq!(
        [zero, one, two].map(bounds),
        [(None, None, 20), (Some(60), Some(40), 20), (None, Some(70), 20)]
    );
    assert_eq!([zero, one, two].map(|it| it.infrastructure.public_data), [Deny; 3]);
    assert_eq!([zero, one, two].map(|it| it.infrastructure.tags), [Off, Deny, Deny]);
    assert_eq!(
        [zero, one, two].map(|it| (it.infrastructure.size, it.infrastructure.max_vcpus)),
        [(Deny, 2); 3]
    );
    assert_eq!([zero, one, two].map(|it| it.infrastructure.cap_by_app), [false, false, true]);
    assert_eq!(
        [zero, one, two].map(|it| (it.sbom.missing, it.sbom.unsigned)),
        [(Warn, Off), (Deny, Note), (Deny, Deny)]
    );
    assert_eq!(
        [zero, one, two].map(|it| (it.licences.unknown, it.licences.strong_copyleft)),
        [(Note, Note), (Warn, Deny), (Deny, Deny)]
    );
    assert_eq!(
        [zero, one, two].map(|it| (it.vulnerabilities.critical, it.vulnerabilities.high)),
        [(Warn, Note), (Deny, Warn), (Deny, Deny)]
    );
    assert_eq!(
        [zero, one, two].map(|it| (it.signature, it.provenance)),
        [(Note, Note), (Warn, Warn), (Deny, Deny)]
    );
    let approvers = [zero, one, two].map(|it| it.approvers.clone());
    assert_eq!(approvers, [vec![], vec![Role::Platform], vec![Role::Security, Role::BusinessOwner]]);
    let rules = Rules::default();
    assert_eq!([rules.approvals.tier0, rules.approvals.tier1, rules.approvals.tier2], [0, 1, 2]);
    let lives = TIERS.map(|tier| rules.longest_life.of(tier).of(EnvironmentKind::Production));
    assert_eq!(lives, [14, 30, 90].map(DurationMs::days), "how long flags live");
}

#[test]
fn a_policy_comes_back_from_json_with_the_same_name() {
    let policy = Policy::default();
    let text = serde_json::to_string(&policy).expect("json");
    let back: Policy = serde_json::from_str(&text).expect("a policy");
    assert_eq!((back.digest(), &back), (policy.digest(), &policy));
    let mut other = policy.clone();
    other.tiers.tier1.coverage.deny_below_percent = Some(41);
    assert_ne!(other.digest(), policy.digest());
}
