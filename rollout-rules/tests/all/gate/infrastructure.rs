//! Infrastructure: what the policy says of plans, what scanners find, and what nobody looked at.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::Infrastructure;
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, Passed};
use rollout_rules::gate::facts::{Concern, Facts, PolicyEffect, PolicyFinding, ScanKind, Severity};
use rollout_rules::gate::policy::Level::{self, Deny, Note, Off, Warn};

use super::build::{Build, TIERS, finding, found, unproven, without};

/// The policy says something of the plan.
pub(super) fn said(facts: &mut Facts, concern: Concern, effect: PolicyEffect) {
    let finding = finding(&format!("{concern:?}"), Severity::High);
    facts.plans[0].verdicts.push(PolicyFinding { effect, concern, finding });
}

#[test]
fn each_concern_comes_to_what_its_tier_makes_of_it() {
    let table: [(Concern, [Level; 3]); 6] = [
        (Concern::PublicData, [Deny, Deny, Deny]),
        (Concern::WildcardPrivileges, [Deny, Deny, Deny]),
        (Concern::Tags, [Off, Deny, Deny]),
        (Concern::Size, [Deny, Deny, Deny]),
        (Concern::Encryption, [Warn, Warn, Deny]),
        (Concern::Custom, [Deny, Deny, Deny]),
    ];
    for (concern, levels) in table {
        for (tier, level) in TIERS.into_iter().zip(levels) {
            let level_of =
                |effect| Build::with(tier, |facts| said(facts, concern, effect)).ends(Infrastructure).1;
            assert_eq!(level_of(PolicyEffect::Deny), level, "{concern:?} in {tier:?}");
            assert_eq!(
                level_of(PolicyEffect::Note),
                level.min(Note),
                "a note stays one: {concern:?} in {tier:?}"
            );
            // Rights to everything are never a matter of a warning.
            let warned = if concern == Concern::WildcardPrivileges { Deny } else { level.min(Warn) };
            assert_eq!(level_of(PolicyEffect::Warn), warned, "{concern:?} in {tier:?}");
        }
    }
}

#[test]
fn what_is_described_and_not_planned_was_not_judged() {
    for tier in TIERS {
        let scanned = Build::with(tier, |facts| facts.plans.clear());
        assert_eq!(
            scanned.ends(Infrastructure),
            (NoProof, Deny),
            "a scanner does not see what variables become"
        );
        let empty = Build::with(tier, |facts| facts.plans[0].resources = 0);
        assert_eq!(empty.ends(Infrastructure), (NoProof, Deny), "a plan of nothing");
        let unknown = Build::with(tier, |facts| {
            facts.plans.clear();
            facts.inventory.clear();
        });
        assert_eq!(unknown.ends(Infrastructure), (NoProof, Deny), "nobody saw the folder");
        let none = Build::with(tier, |facts| {
            facts.plans.clear();
            facts.inventory[0].infrastructure.clear();
        });
        assert_eq!(none.ends(Infrastructure), (Passed, Off), "there is none");
    }
}

#[test]
fn something_mild_in_what_proves_nothing_makes_nothing_of_it_better() {
    let unshown = |also: fn(&mut Facts)| {
        Build::with(Tier::Zero, |facts| {
            facts.plans.clear();
            facts.inventory[0].infrastructure.clear();
            unproven(facts, ScanKind::Infrastructure);
            also(facts);
        })
    };
    assert_eq!(unshown(|_| ()).ends(Infrastructure), (NoProof, Deny));
    let mild = unshown(|it| found(it, ScanKind::Infrastructure, finding("CKV_1", Severity::Low)));
    assert_eq!(mild.ends(Infrastructure), (Failed, Deny));
}

#[test]
fn a_scanners_finding_counts_from_high_on_or_if_nobody_said_how_bad_it_is() {
    for (severity, levels) in [
        (Severity::Low, [Note, Note, Note]),
        (Severity::Medium, [Note, Note, Note]),
        (Severity::High, [Warn, Warn, Deny]),
        (Severity::Critical, [Warn, Warn, Deny]),
        (Severity::Unknown, [Warn, Warn, Deny]),
    ] {
        for (tier, level) in TIERS.into_iter().zip(levels) {
            let build =
                Build::with(tier, |it| found(it, ScanKind::Infrastructure, finding("CKV_1", severity)));
            assert_eq!(build.ends(Infrastructure), (Failed, level), "{severity:?} in {tier:?}");
        }
    }
    let unlisted = Build::with(Tier::Two, |facts| {
        let scan = facts.scans.iter_mut().find(|scan| scan.kind == ScanKind::Infrastructure).expect("one");
        scan.total = 2_000;
    });
    assert_eq!(unlisted.ends(Infrastructure), (Failed, Deny), "what is not listed may be anything");
    let unscanned = Build::with(Tier::Two, |facts| without(facts, ScanKind::Infrastructure));
    assert_eq!(unscanned.ends(Infrastructure), (Passed, Off), "the plan was judged");
}
