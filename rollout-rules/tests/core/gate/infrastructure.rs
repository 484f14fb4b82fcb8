//! Infrastructure: what the policy says of plans, what scanners find, and what nobody looked at.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::Infrastructure;
use rollout_rules::gate::decision::CheckState::{Failed, NoProof, Passed};
use rollout_rules::gate::facts::{
    Concern, Declared, Facts, Plan, PolicyEffect, PolicyFinding, ScanKind, Severity,
};
use rollout_rules::gate::policy::Level::{self, Deny, Note, Off, Warn};

use super::build::{Build, TIERS, finding, found, unproven, without};
use super::waivers::waiver;

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
            assert_eq!(level_of(PolicyEffect::Warn), level.min(Warn), "{concern:?} in {tier:?}");
        }
    }
}

#[test]
fn rights_to_everything_are_a_hard_stop_and_rights_that_are_only_warned_of_are_not() {
    for (effect, level, hard_stop) in [(PolicyEffect::Deny, Deny, true), (PolicyEffect::Warn, Warn, false)] {
        let build = Build::with(Tier::Two, |facts| said(facts, Concern::WildcardPrivileges, effect));
        let check = build.check(Infrastructure);
        assert_eq!((check.level, check.findings[0].hard_stop), (level, hard_stop), "{effect:?}");
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
        let found = empty.check(Infrastructure).found;
        assert!(found.ends_with("and what was handed in plans nothing"), "{found}");
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
fn what_terraform_does_not_make_is_for_a_scanner_or_a_waiver() {
    let with = |change: fn(&mut Facts)| {
        Build::with(Tier::Zero, |facts| {
            facts.plans.clear();
            facts.inventory[0].infrastructure = vec!["fly.toml".into(), "k8s/app.yaml".into()];
            change(facts);
        })
    };
    let scanned = with(|_| ());
    assert_eq!(scanned.ends(Infrastructure), (Passed, Off));
    let found = scanned.check(Infrastructure).found;
    assert_eq!(found, "nothing found by checkov in 2 files that describe infrastructure");
    let mut unscanned = with(|facts| without(facts, ScanKind::Infrastructure));
    assert_eq!(unscanned.ends(Infrastructure), (NoProof, Deny));
    let check = unscanned.check(Infrastructure);
    let found = "nobody looked at 2 files that describe infrastructure, such as fly.toml, k8s/app.yaml";
    assert_eq!(check.found, found);
    assert!(check.fix.contains("checkov -d ."), "{}", check.fix);
    let until = unscanned.now.plus(rollout_rules::time::DAY);
    let waivers = check.findings.iter().map(|it| waiver(Infrastructure, &it.finding, until));
    unscanned.waivers = waivers.collect();
    assert_eq!(unscanned.ends(Infrastructure).1, Note);
    let both = with(|facts| {
        without(facts, ScanKind::Infrastructure);
        facts.inventory[0].infrastructure.push("main.tf".into());
    });
    let check = both.check(Infrastructure);
    assert!(check.found.starts_with("1 file describes infrastructure, and no plan"), "{}", check.found);
    assert!(check.fix.contains("terraform plan"), "{}", check.fix);
    let scanned = with(|facts| facts.inventory[0].infrastructure.push("main.tf".into()));
    assert_eq!(scanned.ends(Infrastructure), (NoProof, Deny), "a plan is missing whatever a scanner says");
}

/// Files of Terraform that declare these names.
fn declares(facts: &mut Facts, files: &[(&str, &[&str])]) {
    let inventory = &mut facts.inventory[0];
    inventory.infrastructure = files.iter().map(|(path, _)| (*path).into()).collect();
    let declared = files.iter().filter(|(_, names)| !names.is_empty());
    inventory.declared = declared
        .map(|(path, names)| Declared {
            path: (*path).into(),
            names: names.iter().map(|name| (*name).into()).collect(),
        })
        .collect();
}

/// The files that no plan stands for, where there is a plan of each of these lists of addresses.
fn unplanned(files: &[(&str, &[&str])], plans: &[&[&str]]) -> Vec<String> {
    let build = Build::with(Tier::Zero, |facts| {
        declares(facts, files);
        let plan = facts.plans[0].clone();
        facts.plans.clear();
        for (nth, addresses) in plans.iter().enumerate() {
            let resources: Vec<_> =
                addresses.iter().map(|address| serde_json::json!({ "address": address })).collect();
            facts.plans.push(Plan {
                piece: super::build::digest(&nth.to_string()),
                input: serde_json::json!({ "complete": true, "resources": resources }),
                ..plan.clone()
            });
        }
    });
    let check = build.check(Infrastructure);
    assert_eq!(check.level, if check.findings.is_empty() { Off } else { Deny });
    check.findings.into_iter().filter_map(|it| it.finding.file).collect()
}

#[test]
fn a_plan_stands_for_its_folder_and_its_modules_and_for_no_other() {
    let app: (&str, &[&str]) = ("infra/main.tf", &["aws_s3_bucket.data", "module.net"]);
    let same: (&str, &[&str]) = ("prod/main.tf", &["aws_s3_bucket.data", "module.net"]);
    let plan: &[&str] = &["aws_s3_bucket.data", "module.net[\"a.b\"].aws_vpc.main[0]"];
    let scratch: &[&str] = &["terraform_data.nothing"];
    let none: [&str; 0] = [];
    assert_eq!(unplanned(&[app], &[plan]), none);
    assert_eq!(unplanned(&[app], &[scratch]), ["infra/main.tf"], "a plan of something else");
    let net: (&str, &[&str]) = ("modules/net/main.tf", &["aws_vpc.main"]);
    assert_eq!(unplanned(&[app, net], &[plan]), none, "a module goes with its folder");
    let off: (&str, &[&str]) = ("infra/off.tf", &["aws_instance.none"]);
    assert_eq!(unplanned(&[app, off, ("infra/vars.tf", &[])], &[plan]), none, "the whole folder");
    assert_eq!(unplanned(&[app, same], &[plan]), ["prod/main.tf"], "one plan is not of two folders");
    assert_eq!(unplanned(&[app, same], &[plan, plan]), none, "a plan of each");
    assert_eq!(unplanned(&[("old/x.tf", &[])], &[scratch]), none, "nothing is declared there");
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
