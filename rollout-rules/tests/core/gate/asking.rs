//! Asking for waivers, approving and ending them, and breaking the glass.

use rollout_rules::change::{Command, GateCommand};
use rollout_rules::decide::{Refusal, Verdict as Decided};
use rollout_rules::gate::decision::CheckName;
use rollout_rules::gate::facts::Severity;
use rollout_rules::gate::policy::Role;
use rollout_rules::gate::waiver::{MAX_WAIVERS, Waiver, WaiverState};
use rollout_rules::governance::{Actor, Scope};
use rollout_rules::ids::WaiverId;
use rollout_rules::runbook::EffectId;
use rollout_rules::time::{DAY, DurationMs, HOUR};

use super::build::vulnerability;
use super::decisions::{gate, grant, revoke};
use super::waivers::{glass, waiver};
use crate::world::{World, admin, agent, app, caller, ci, env, evaluator, human, timer};

/// A waiver as somebody asks for it.
fn asked(world: &World, id: &str, days: u64) -> Waiver {
    let finding = vulnerability("CVE-1", Severity::Critical);
    let expires_at = world.now.plus(DurationMs(days * DAY.0));
    let id = WaiverId::new(id).expect("an id");
    Waiver { id, approval: None, ..waiver(CheckName::Vulnerabilities, &finding, expires_at) }
}

fn request(waiver: Waiver) -> Command {
    gate(GateCommand::RequestWaiver { waiver: Box::new(waiver), listed: None })
}

fn approve(id: &str, role: Role) -> Command {
    gate(GateCommand::ApproveWaiver {
        app: app("shop"),
        id: WaiverId::new(id).expect("an id"),
        role,
        listed: None,
    })
}

fn end(id: &str) -> Command {
    gate(GateCommand::RevokeWaiver { app: app("shop"), id: WaiverId::new(id).expect("an id") })
}

fn state(world: &World, id: &str) -> WaiverState {
    kept(world, id).state(world.now)
}

fn kept<'w>(world: &'w World, id: &str) -> &'w Waiver {
    let shop = world.snapshot.app(&app("shop")).expect("the app");
    shop.waiver(&WaiverId::new(id).expect("an id")).expect("the waiver")
}

#[test]
fn a_waiver_counts_once_another_person_in_the_role_approved_it() {
    for (tier, role, other) in [(0, Role::Platform, Role::Security), (2, Role::Security, Role::Platform)] {
        let mut world = World::with_people(tier);
        for (name, role) in [("ann", role), ("bob", role), ("cid", other)] {
            world.done(&admin(), grant(role, name));
        }
        world.done(&human("ann"), request(asked(&world, "w", 7)));
        assert_eq!(state(&world, "w"), WaiverState::Requested);
        assert_eq!(world.refused(&human("ann"), approve("w", role)), "own_approval");
        let mut borrowed = human("bob");
        borrowed.token = human("ann").token;
        assert_eq!(world.refused(&borrowed, approve("w", role)), "own_approval", "the same token");
        assert_eq!(world.refused(&human("zoe"), approve("w", role)), "role_needed");
        assert_eq!(world.refused(&human("cid"), approve("w", other)), "role_needed", "another role");
        assert_eq!(world.refused(&human("bob"), approve("w", other)), "role_needed");
        for who in [agent(), ci(), timer(), evaluator()] {
            assert_eq!(world.refused(&who, approve("w", role)), "not_allowed", "{who:?}");
        }
        world.done(&human("bob"), approve("w", role));
        assert_eq!(state(&world, "w"), WaiverState::Active);
        assert!(matches!(world.ask(&human("bob"), approve("w", role)), Ok(Decided::AlreadyDone { .. })));
        world.done(&ci(), end("w"));
        assert_eq!(state(&world, "w"), WaiverState::Revoked);
        assert_eq!(world.refused(&human("bob"), approve("w", role)), "waiver_over");
    }
}

#[test]
fn who_an_agent_asks_for_does_not_approve_it() {
    let mut world = World::with_people(0);
    world.done(&admin(), grant(Role::Platform, "ann"));
    world.done(&agent(), request(asked(&world, "w", 7)));
    assert_eq!(kept(&world, "w").requested_by, agent().actor);
    let ann = caller(Actor::Human { name: "Ann ".into() }, Scope::Operator, "anns-other-token");
    assert_eq!(world.refused(&ann, approve("w", Role::Platform)), "own_approval");
}

#[test]
fn whose_token_an_agent_used_does_not_approve_what_it_asked_for_in_anothers_name() {
    let mut world = World::with_people(0);
    for name in ["ann", "bob"] {
        world.done(&admin(), grant(Role::Platform, name));
    }
    // It says itself for whom it acts.
    let mut posing = agent();
    posing.actor =
        Actor::Agent { model: "m".into(), tool: "t".into(), on_behalf_of: "zoe".into(), work: None };
    posing.token = human("ann").token;
    world.done(&posing, request(asked(&world, "w", 7)));
    let ann = caller(Actor::Human { name: "ann".into() }, Scope::Operator, "anns-other-token");
    assert_eq!(world.refused(&ann, approve("w", Role::Platform)), "own_approval");
    world.done(&human("bob"), approve("w", Role::Platform));
}

#[test]
fn one_person_is_one_however_their_name_is_written() {
    let mut world = World::with_people(0);
    let written = [
        "J\u{e9}r\u{f4}me  Ann",
        " j\u{c9}R\u{d4}ME ann ",
        "J\u{e9}r\u{f4}me\u{a0}Ann",
        "J\u{e9}r\u{f4}me\u{200b} Ann \u{200b}",
    ];
    world.done(&admin(), grant(Role::Platform, written[0]));
    world.done(&admin(), grant(Role::Platform, "bob"));
    let who = |name: &str, token: &str| caller(Actor::Human { name: name.into() }, Scope::Operator, token);
    world.done(&who(written[0], "one"), request(asked(&world, "w", 7)));
    for (nth, name) in written.iter().enumerate() {
        let other = who(name, &format!("other-{nth}"));
        assert_eq!(world.refused(&other, approve("w", Role::Platform)), "own_approval", "{name:?}");
    }
    let service = caller(Actor::Service { name: "jérôme ann".into() }, Scope::Editor, "service");
    world.done(&service, request(asked(&world, "of-a-program", 7)));
    let refused = world.refused(&who(written[0], "one"), approve("of-a-program", Role::Platform));
    assert_eq!(refused, "own_approval", "a program of the same name is theirs");
    assert_eq!(world.refused(&who("J\u{e9}r\u{f4}me", "two"), approve("w", Role::Platform)), "role_needed");
    world.done(&human("bob"), approve("w", Role::Platform));
}

#[test]
fn who_has_a_role_no_more_and_who_comes_late_approves_nothing() {
    let mut world = World::with_people(0);
    world.done(&admin(), grant(Role::Platform, "bob"));
    world.done(&human("ann"), request(asked(&world, "w", 7)));
    world.done(&admin(), revoke(Role::Platform, "bob"));
    assert_eq!(world.refused(&human("bob"), approve("w", Role::Platform)), "role_needed");
    world.done(&admin(), grant(Role::Platform, "bob"));
    world.wait_days(7);
    assert_eq!(state(&world, "w"), WaiverState::Lapsed);
    assert_eq!(world.refused(&human("bob"), approve("w", Role::Platform)), "waiver_over");
    assert_eq!(world.refused(&human("ann"), end("w")), "waiver_over");
    assert_eq!(world.refused(&human("ann"), end("other")), "not_found");
}

#[test]
fn a_waiver_ends_within_what_its_tier_allows() {
    for (tier, days) in [(0, 30), (1, 30), (2, 14)] {
        let world = World::shop(tier);
        assert!(world.ask(&human("ann"), request(asked(&world, "w", days))).is_ok());
        let refusal = world.ask(&human("ann"), request(asked(&world, "w", days + 1)));
        assert!(matches!(refusal, Err(Refusal::ExpiryBeyondCap { .. })), "tier {tier}");
    }
    let world = World::shop(0);
    assert_eq!(world.refused(&human("ann"), request(asked(&world, "w", 0))), "invalid", "it is over");
}

#[test]
fn a_waiver_says_which_risk_is_taken_and_why() {
    let world = World::shop(0);
    let good = asked(&world, "w", 7);
    for (what, wrong) in [
        ("19 characters", Waiver { reason: "x".repeat(19), ..good.clone() }),
        ("spaces", Waiver { reason: format!("x{}", " ".repeat(30)), ..good.clone() }),
        ("every risk", Waiver { risk: "*".into(), ..good.clone() }),
        ("every risk of all", Waiver { risk: "*:*".into(), ..good.clone() }),
        ("no risk", Waiver { risk: " ".into(), ..good.clone() }),
        ("no finding", Waiver { fingerprint: None, ..good.clone() }),
        ("a secret", Waiver { check: CheckName::Secrets, ..good.clone() }),
        ("evidence", Waiver { check: CheckName::Evidence, ..good.clone() }),
        ("who asks", Waiver { check: CheckName::Identity, ..good.clone() }),
    ] {
        assert_eq!(world.refused(&human("ann"), request(wrong)), "invalid", "{what}");
    }
    let elsewhere = Waiver { environment: Some(env("nowhere")), ..good.clone() };
    assert_eq!(world.refused(&human("ann"), request(elsewhere)), "not_found");
    assert!(world.ask(&human("ann"), request(Waiver { reason: "x".repeat(20), ..good.clone() })).is_ok());
    for (tier, told) in [(1, "judged as a whole"), (2, "never waived in tier 2")] {
        let world = World::shop(tier);
        for check in [CheckName::Signature, CheckName::Provenance] {
            let refusal = world.ask(&human("ann"), request(Waiver { check, ..good.clone() }));
            let text = refusal.expect_err("it would never count").to_string();
            assert!(text.contains(told), "{check} in tier {tier}: {text}");
        }
    }
}

#[test]
fn what_somebody_writes_of_approval_and_time_is_not_taken_from_them() {
    let mut world = World::shop(0);
    let finding = vulnerability("CVE-1", Severity::Critical);
    let forged = waiver(CheckName::Vulnerabilities, &finding, world.now.plus(DAY));
    assert!(forged.approval.is_some());
    world.done(&ci(), request(forged));
    assert_eq!(state(&world, "w"), WaiverState::Requested);
    assert_eq!((&kept(&world, "w").requested_by, &kept(&world, "w").token), (&ci().actor, &ci().token));
    assert_eq!(world.refused(&ci(), request(asked(&world, "w", 7))), "already_exists");
}

#[test]
fn a_person_breaks_the_glass_for_hours_and_nobody_else_does() {
    let mut world = World::with_people(2);
    let broken = |world: &World, hours: u64| Waiver {
        expires_at: world.now.plus(DurationMs(hours * HOUR.0)),
        ..glass(CheckName::Coverage)
    };
    let eve = || {
        let mut eve = caller(Actor::Human { name: "eve".into() }, Scope::Editor, "eve");
        eve.app = Some(app("shop"));
        eve
    };
    let service = caller(Actor::Service { name: "s".into() }, Scope::Admin, "s");
    for who in [agent(), ci(), timer(), evaluator(), eve(), service] {
        assert_eq!(world.refused(&who, request(broken(&world, 1))), "not_allowed", "{who:?}");
    }
    for (check, code) in [(CheckName::Secrets, "invalid"), (CheckName::Signature, "invalid")] {
        assert_eq!(
            world.refused(&human("ann"), request(Waiver { check, ..broken(&world, 1) })),
            code,
            "{check}"
        );
    }
    assert_eq!(world.refused(&human("ann"), request(broken(&world, 9))), "expiry_beyond_cap");
    assert!(world.ask(&human("ann"), request(broken(&world, 8))).is_ok());
    world.done(&admin(), grant(Role::BusinessOwner, "eve"));
    assert_eq!(world.refused(&eve(), request(broken(&world, 1))), "not_allowed");
    world.done(&admin(), grant(Role::Security, "eve"));
    world.done(&eve(), request(broken(&world, 1)));
    assert_eq!(state(&world, "w"), WaiverState::Active, "at once");
    world.now = world.now.plus(HOUR);
    assert_eq!(state(&world, "w"), WaiverState::Lapsed);
}

#[test]
fn the_owner_is_told_once_that_somebody_broke_the_glass() {
    let mut world = World::with_people(0);
    let broken = Waiver { expires_at: world.now.plus(HOUR), ..glass(CheckName::Coverage) };
    let revision = world.done(&human("ann"), request(broken));
    let told =
        |world: &World| world.snapshot.runs(None).map(|(id, run)| (id, run.act.words())).collect::<Vec<_>>();
    let id = EffectId { request: revision, nth: 0 };
    assert_eq!(told(&world), [(id, "GLASS BROKEN: notify owner".to_owned())]);
    world.done(&ci(), end("w"));
    world.done(&ci(), request(asked(&world, "ordinary", 7)));
    assert_eq!(told(&world).len(), 1, "neither that it ended nor what waits for approval");
}

#[test]
fn waivers_that_are_over_make_room_for_others() {
    let mut world = World::shop(0);
    for nth in 0..MAX_WAIVERS {
        world.done(&ci(), request(asked(&world, &format!("w{nth}"), 1 + nth as u64 % 30)));
    }
    assert_eq!(world.refused(&ci(), request(asked(&world, "more", 7))), "too_many");
    // The one that ends last is over, and goes before all that may yet count.
    world.done(&ci(), end("w29"));
    world.done(&ci(), request(asked(&world, "more", 7)));
    let shop = world.snapshot.app(&app("shop")).expect("the app");
    assert_eq!(shop.waivers().count(), MAX_WAIVERS);
    assert!(shop.waiver(&WaiverId::new("w29").expect("an id")).is_none());
    assert!(shop.waiver(&WaiverId::new("w0").expect("an id")).is_some());
    assert_eq!(world.refused(&ci(), request(asked(&world, "still-more", 7))), "too_many");
}
