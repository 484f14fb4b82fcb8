//! Which waivers count for what a check finds, and for how long a decision stands on them.

use rollout_rules::flag::Tier;
use rollout_rules::gate::decision::CheckName::{
    self, Coverage, Infrastructure, Secrets, Signature, Vulnerabilities,
};
use rollout_rules::gate::decision::Excuse;
use rollout_rules::gate::facts::{Concern, Finding, PolicyEffect, ScanKind, Severity};
use rollout_rules::gate::policy::Level::{Deny, Note};
use rollout_rules::gate::policy::Role;
use rollout_rules::gate::waiver::{Waiver, WaiverApproval, WaiverRevoked};
use rollout_rules::governance::Actor;
use rollout_rules::ids::WaiverId;
use rollout_rules::time::{DAY, HOUR, UnixMs};

use super::build::{Build, finding, found, vulnerability};
use super::infrastructure::said;
use crate::world::{START, app, env};

/// An approved waiver for a finding.
pub(super) fn waiver(check: CheckName, finding: &Finding, expires_at: UnixMs) -> Waiver {
    let actor = |name: &str| Actor::Human { name: name.into() };
    Waiver {
        id: WaiverId::new("w").expect("an id"),
        app: app("shop"),
        environment: None,
        check,
        fingerprint: Some(finding.fingerprint),
        risk: finding.rule.clone(),
        reason: "The parser never sees what users send".into(),
        requested_by: actor("ann"),
        token: None,
        requested_at: START,
        expires_at,
        break_glass: false,
        approval: Some(WaiverApproval { actor: actor("bob"), at: START, role: Role::Platform }),
        revoked: None,
    }
}

/// Somebody broke the glass for a whole check.
pub(super) fn glass(check: CheckName) -> Waiver {
    let mut glass = waiver(check, &Finding::default(), START.plus(HOUR));
    (glass.fingerprint, glass.approval, glass.break_glass) = (None, None, true);
    glass.risk = check.to_string();
    glass
}

fn vulnerable() -> (Build, Waiver) {
    let finding = vulnerability("CVE-1", Severity::Critical);
    let build = Build::with(Tier::One, |facts| found(facts, ScanKind::Vulnerabilities, finding.clone()));
    (build, waiver(Vulnerabilities, &finding, START.plus(DAY)))
}

#[test]
fn an_active_waiver_turns_a_finding_into_a_note_and_ends_the_decision_with_it() {
    let (mut build, waiver) = vulnerable();
    assert_eq!(build.ends(Vulnerabilities).1, Deny);
    build.waivers = vec![waiver.clone()];
    let judged = build.judge();
    assert_eq!(build.ends(Vulnerabilities).1, Note);
    assert_eq!(build.check(Vulnerabilities).findings[0].excused, Some(Excuse::Waiver(waiver.id.clone())));
    assert_eq!((judged.valid_until, judged.waivers), (waiver.expires_at, vec![waiver.id]));
}

#[test]
fn a_waiver_that_is_not_for_this_or_not_in_effect_is_none() {
    let (build, good) = vulnerable();
    let revoked = WaiverRevoked { actor: Actor::Timer, at: START };
    let cases: [(&str, Waiver); 9] = [
        ("lapsed", Waiver { expires_at: START, ..good.clone() }),
        ("requested", Waiver { approval: None, ..good.clone() }),
        ("revoked", Waiver { revoked: Some(revoked), ..good.clone() }),
        ("of another app", Waiver { app: app("other"), ..good.clone() }),
        ("elsewhere", Waiver { environment: Some(env("sandbox")), ..good.clone() }),
        ("of another check", Waiver { check: Coverage, ..good.clone() }),
        (
            "of another finding",
            Waiver { fingerprint: Some(finding("x", Severity::Low).fingerprint), ..good.clone() },
        ),
        ("of another risk", Waiver { risk: "CVE-2".into(), ..good.clone() }),
        ("of no finding", Waiver { fingerprint: None, ..good.clone() }),
    ];
    let without = build.judge();
    for (what, waiver) in cases {
        let with = Build { waivers: vec![waiver], ..build.clone() };
        assert_eq!(with.judge(), without, "{what}");
    }
    let here = Waiver { environment: Some(env("production")), ..good };
    assert_eq!(Build { waivers: vec![here], ..build }.ends(Vulnerabilities).1, Note);
}

#[test]
fn of_two_waivers_the_longer_one_counts_whatever_their_order() {
    let (mut build, good) = vulnerable();
    let longer = Waiver {
        id: WaiverId::new("a").expect("an id"),
        expires_at: START.plus(DAY).plus(DAY),
        ..good.clone()
    };
    build.waivers = vec![good, longer.clone()];
    let judged = build.judge();
    build.waivers.reverse();
    assert_eq!(judged, build.judge());
    assert_eq!((judged.valid_until, judged.waivers), (longer.expires_at, vec![longer.id]));
}

#[test]
fn broken_glass_stands_for_a_whole_check_and_for_what_no_waiver_can() {
    let mut build = Build::with(Tier::One, |facts| facts.coverage.clear());
    assert_eq!(build.ends(Coverage).1, Deny);
    build.waivers = vec![glass(Coverage)];
    assert_eq!(build.ends(Coverage).1, Note);
    assert_eq!(build.judge().valid_until, START.plus(HOUR));
    let (mut build, _) = vulnerable();
    build.waivers = vec![glass(Vulnerabilities)];
    assert_eq!(build.ends(Vulnerabilities).1, Note);
}

#[test]
fn nothing_stands_for_a_secret_all_rights_or_a_missing_signature_in_tier_2() {
    let secret = finding("aws", Severity::High);
    let mut build = Build::with(Tier::Zero, |facts| found(facts, ScanKind::Secrets, secret.clone()));
    build.waivers = vec![glass(Secrets), waiver(Secrets, &secret, START.plus(DAY))];
    assert_eq!(build.ends(Secrets).1, Deny);
    let mut build = Build::with(Tier::Zero, |it| said(it, Concern::WildcardPrivileges, PolicyEffect::Deny));
    let all = finding("WildcardPrivileges", Severity::High);
    build.waivers = vec![glass(Infrastructure), waiver(Infrastructure, &all, START.plus(DAY))];
    assert_eq!(build.ends(Infrastructure).1, Deny);
    for (tier, level) in [(Tier::One, Note), (Tier::Two, Deny)] {
        let mut build = Build::with(tier, |facts| facts.attestations.clear());
        build.waivers = vec![glass(Signature)];
        assert_eq!(build.ends(Signature).1, level, "{tier:?}");
    }
    let mut unreadable = super::signatures::unreadable();
    unreadable.waivers = vec![glass(CheckName::Evidence)];
    assert_eq!(unreadable.ends(CheckName::Evidence).1, Deny);
}

#[test]
fn a_fix_ends_a_waiver_and_not_what_somebody_takes_upon_themselves_for_an_hour() {
    let (mut build, good) = vulnerable();
    for scan in &mut build.facts.scans {
        scan.findings.iter_mut().for_each(|it| it.fix = Some("5.4".into()));
    }
    build.waivers = vec![good];
    assert_eq!(build.ends(Vulnerabilities).1, Deny);
    build.waivers = vec![glass(Vulnerabilities)];
    assert_eq!(build.ends(Vulnerabilities).1, Note);
}
