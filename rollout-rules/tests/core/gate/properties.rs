//! The laws of judging, over whatever facts, policy and waivers there are.

use proptest::prelude::*;
use rollout_rules::gate::decision::CheckName;
use rollout_rules::gate::facts::{
    Claim, Exploitability, ExploitabilityStatus, Facts, Finding, Licence, PolicyFinding, ScanKind, Severity,
    SourceFile,
};
use rollout_rules::gate::policy::{Level, Policy};
use rollout_rules::gate::waiver::{Waiver, WaiverRevoked};
use rollout_rules::governance::Actor;

use super::build::{Build, attests, component, digest};
use super::random::{builds, concerns, effects, findings, policies, scan_kinds, shuffled};
use crate::world::{START, app, env};

/// Something bad that is found besides.
#[derive(Clone, Debug)]
enum More {
    Found(ScanKind, Finding),
    Uncounted(ScanKind),
    Failure(Option<Finding>),
    Said(PolicyFinding),
    Licence(bool),
    Untested(u8),
    Broken,
    SignedFailure,
    SignedDenial,
    Affected,
}

fn more() -> impl Strategy<Value = More> {
    let said = (concerns(), effects(), findings())
        .prop_map(|(concern, effect, finding)| More::Said(PolicyFinding { effect, concern, finding }));
    prop_oneof![
        6 => (scan_kinds(), findings()).prop_map(|(kind, finding)| More::Found(kind, finding)),
        1 => scan_kinds().prop_map(More::Uncounted),
        2 => proptest::option::of(findings()).prop_map(More::Failure),
        3 => said,
        1 => any::<bool>().prop_map(More::Licence),
        1 => (0_u8..3).prop_map(More::Untested),
        1 => Just(More::Broken),
        1 => Just(More::SignedFailure),
        1 => Just(More::SignedDenial),
        1 => Just(More::Affected),
    ]
}

/// Adds it to evidence that is there. A new report is more than a finding: it may be the proof that was missing.
fn add(facts: &mut Facts, more: More) {
    match more {
        More::Found(kind, mut finding) => {
            let Some(scan) = facts.scans.iter_mut().find(|scan| scan.kind == kind) else { return };
            // That one of two scanners knows that it is mild tells more than that the other says nothing.
            if kind == ScanKind::Vulnerabilities
                && matches!(finding.severity, Severity::Low | Severity::Medium)
            {
                finding.severity = Severity::High;
            }
            // The worst come first, and what is not listed is milder than all that is.
            let listed = u64::try_from(scan.findings.len()).expect("a few");
            if scan.total <= listed {
                scan.findings.push(finding);
            }
            scan.total += 1;
        }
        More::Uncounted(kind) => {
            facts.scans.iter_mut().filter(|scan| scan.kind == kind).for_each(|scan| scan.total += 1);
        }
        More::Failure(listed) => {
            let Some(run) = facts.tests.first_mut() else { return };
            run.failed += 1;
            run.failures.extend(listed);
        }
        More::Said(said) => facts.plans.iter_mut().take(1).for_each(|plan| plan.verdicts.push(said.clone())),
        More::Licence(strong) => {
            let licence = if strong { Licence::StrongCopyleft } else { Licence::Unknown };
            let Some(sbom) = facts.sboms.iter_mut().find(|sbom| sbom.total > 0) else { return };
            sbom.components.push(component("one more", licence));
            sbom.total += 1;
        }
        More::Untested(nth) => {
            let file = SourceFile { path: format!("f{nth}"), functions: 1, tests: Vec::new() };
            let Some(presence) = facts.presence.iter_mut().find(|it| !it.files.is_empty()) else { return };
            presence.files.push(file);
        }
        More::Broken => facts.pieces.push(super::signatures::unreadable().facts.pieces.remove(0)),
        More::SignedFailure => facts.attestations.push(attests(Claim::TestResult { passed: false })),
        More::SignedDenial => {
            let claim = Claim::Verification { verifier: "v".into(), passed: false };
            facts.attestations.push(attests(claim));
        }
        More::Affected => facts.exploitability.push(Exploitability {
            piece: digest("vex"),
            vulnerability: "r0".into(),
            products: vec!["s0".into()],
            status: ExploitabilityStatus::Affected,
            justification: None,
            signer: None,
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_order_of_evidence_never_matters((build, turned) in builds().prop_flat_map(|build| {
        let facts = shuffled(build.facts.clone());
        (Just(build), facts)
    })) {
        let mut other = Build { facts: turned, ..build.clone() };
        other.waivers.reverse();
        prop_assert_eq!(build.judge(), other.judge());
    }

    #[test]
    fn one_more_finding_makes_nothing_milder(build in builds(), more in proptest::collection::vec(more(), 1..4)) {
        let before = build.judge();
        let mut worse = build;
        for more in more {
            add(&mut worse.facts, more);
        }
        let after = worse.judge();
        prop_assert!(after.verdict >= before.verdict, "{:?} became {:?}", before.verdict, after.verdict);
        for (before, after) in before.checks.iter().zip(&after.checks) {
            // What is off and what is noted counts for nothing alike.
            prop_assert!(after.level.max(Level::Note) >= before.level.max(Level::Note), "{}: {:?} became {:?}", before.name, before, after);
        }
    }

    #[test]
    fn a_waiver_that_does_not_count_equals_none(build in builds(), how in 0_u8..7) {
        let none = Build { waivers: Vec::new(), ..build.clone() };
        let mut with = build;
        for waiver in &mut with.waivers {
            match how {
                0 => waiver.expires_at = START,
                1 => waiver.revoked = Some(WaiverRevoked { actor: Actor::Timer, at: START }),
                2 => (waiver.approval, waiver.break_glass) = (None, false),
                3 => waiver.app = app("other"),
                4 => waiver.environment = Some(env("sandbox")),
                5 => waiver.check = CheckName::Identity,
                _ => {
                    waiver.break_glass = false;
                    waiver.fingerprint = Some(digest("something else"));
                }
            }
        }
        prop_assert_eq!(with.judge(), none.judge());
    }

    #[test]
    fn a_waiver_never_makes_anything_worse_and_ends_what_stands_on_it(build in builds()) {
        let none = Build { waivers: Vec::new(), ..build.clone() }.judge();
        let judged = build.judge();
        prop_assert!(judged.verdict <= none.verdict);
        prop_assert!(judged.valid_until <= none.valid_until && judged.valid_until > build.now);
        let used: Vec<&Waiver> = build.waivers.iter().filter(|waiver| judged.waivers.contains(&waiver.id)).collect();
        prop_assert_eq!(used.len(), judged.waivers.len());
        prop_assert!(used.iter().all(|waiver| judged.valid_until <= waiver.expires_at));
        let unchanged = judged.waivers.is_empty();
        prop_assert!(!unchanged || judged == none, "one that counted is named");
        // Secrets are never waived.
        let of_secrets = |it: &rollout_rules::gate::decision::Judgement| it.checks[2].clone();
        prop_assert_eq!(of_secrets(&judged), of_secrets(&none));
    }

    #[test]
    fn a_decision_stands_for_no_longer_than_its_tier_allows(build in builds()) {
        let longest = build.policy.of(build.tier).decision_life_ms;
        prop_assert!(build.judge().valid_until <= build.now.plus(longest));
    }

    #[test]
    fn every_policy_comes_back_from_json_with_its_name(policy in policies()) {
        prop_assert_eq!(policy.check(), vec![]);
        let text = serde_json::to_string(&policy).expect("json");
        let back: Policy = serde_json::from_str(&text).expect("a policy");
        prop_assert_eq!(back.digest(), policy.digest());
        prop_assert_eq!(back, policy);
    }

    #[test]
    fn every_judgement_comes_back_from_json(build in builds()) {
        let judged = build.judge();
        let text = serde_json::to_string(&judged).expect("json");
        prop_assert_eq!(serde_json::from_str::<rollout_rules::gate::decision::Judgement>(&text).expect("one"), judged);
        let text = serde_json::to_string(&build.facts).expect("json");
        prop_assert_eq!(serde_json::from_str::<Facts>(&text).expect("facts"), build.facts);
    }
}
