//! For how long the glass may be broken, and waivers that could never count.

use rollout_rules::change::{Command, GateCommand};
use rollout_rules::decide::{Refusal, Verdict as Decided};
use rollout_rules::gate::decision::{CheckName, Judged};
use rollout_rules::gate::facts::{Finding, Severity};
use rollout_rules::gate::glass::{GLASS_WINDOW, MAX_GLASS_IN_WINDOW, MAX_GLASSES};
use rollout_rules::gate::policy::{Level, Role};
use rollout_rules::gate::waiver::{MAX_WAIVERS, Waiver};
use rollout_rules::governance::{Caller, Scope};
use rollout_rules::ids::{EnvKey, WaiverId};
use rollout_rules::time::{DAY, DurationMs, HOUR, UnixMs};

use super::build::{finding, vulnerability};
use super::decisions::{gate, grant};
use super::waivers::{glass, waiver};
use crate::world::{World, admin, app, ci, env, human};

const MINUTE: u64 = 60_000;

fn id(text: &str) -> WaiverId {
    WaiverId::new(text).expect("an id")
}

fn request(waiver: Waiver) -> Command {
    gate(GateCommand::RequestWaiver { waiver: Box::new(waiver), listed: None })
}

/// The glass of an environment, or of all, broken from now on.
fn broken(world: &World, minutes: u64, environment: Option<EnvKey>) -> Waiver {
    Waiver {
        id: id(&format!("g{}", world.entries.len())),
        environment,
        expires_at: world.now.plus(DurationMs(minutes * MINUTE)),
        ..glass(CheckName::Coverage)
    }
}

fn again(world: &World, waiver: Waiver) -> UnixMs {
    match world.ask(&human("ann"), request(waiver)) {
        Err(Refusal::GlassSpent { again }) => again,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hours_of_broken_glass_are_not_chained_to_a_day_of_it() {
    let mut world = World::with_people(1);
    let start = world.now;
    for _ in 0..8 {
        world.done(&human("ann"), request(broken(&world, 60, None)));
        world.now = world.now.plus(HOUR);
    }
    // Of any 24 hours eight are gone: the ninth may begin when the first hour leaves the window that ends with it.
    assert_eq!(again(&world, broken(&world, 60, None)), start.plus(GLASS_WINDOW));
    assert_eq!(again(&world, broken(&world, 60, Some(env("sandbox")))), start.plus(GLASS_WINDOW));
    world.now = UnixMs(start.plus(GLASS_WINDOW).0 - MINUTE);
    assert_eq!(world.refused(&human("ann"), request(broken(&world, 60, None))), "glass_spent");
    world.now = start.plus(GLASS_WINDOW);
    world.done(&human("ann"), request(broken(&world, 60, None)));
    let longer = world.ask(&human("ann"), request(broken(&world, 120, None)));
    assert!(longer.is_ok(), "another of those hours leaves the window until it ends: {longer:?}");
}

#[test]
fn what_is_broken_for_several_checks_at_once_counts_once_and_what_was_ended_early_no_longer() {
    let mut world = World::with_people(1);
    let first = broken(&world, 8 * 60, None);
    world.done(&human("ann"), request(first.clone()));
    let also = Waiver { check: CheckName::Code, ..broken(&world, 8 * 60, None) };
    world.done(&human("ann"), request(also.clone()));
    world.now = world.now.plus(HOUR);
    world.done(&human("ann"), request(broken(&world, 60, None)));
    assert_eq!(world.refused(&human("ann"), request(broken(&world, 8 * 60, None))), "glass_spent");
    for ended in [first, also] {
        world.done(&human("ann"), gate(GateCommand::RevokeWaiver { app: app("shop"), id: ended.id }));
    }
    // One hour went by, and one more is broken: six are left.
    assert_eq!(world.refused(&human("ann"), request(broken(&world, 7 * 60 + 1, None))), "glass_spent");
    world.done(&human("ann"), request(broken(&world, 7 * 60, None)));
}

#[test]
fn each_environment_has_hours_of_its_own_and_what_is_for_all_takes_of_each() {
    let mut world = World::with_people(1);
    world.done(&human("ann"), request(broken(&world, 8 * 60, Some(env("sandbox")))));
    world.now = world.now.plus(DurationMs(8 * HOUR.0));
    assert_eq!(world.refused(&human("ann"), request(broken(&world, 1, Some(env("sandbox"))))), "glass_spent");
    assert_eq!(world.refused(&human("ann"), request(broken(&world, 1, None))), "glass_spent");
    world.done(&human("ann"), request(broken(&world, 60, Some(env("production")))));
}

#[test]
fn the_moment_that_a_refusal_names_is_the_first_at_which_it_is_not_refused() {
    for lengths in [[480, 0, 0], [60, 240, 180], [1, 478, 1], [120, 120, 240]] {
        let mut world = World::with_people(1);
        for minutes in lengths.into_iter().filter(|minutes| *minutes > 0) {
            world.done(&human("ann"), request(broken(&world, minutes, None)));
            world.now = world.now.plus(DurationMs((minutes + 30) * MINUTE));
        }
        for minutes in [1, 60, 200, 480] {
            let asked_at = world.now;
            let again = again(&world, broken(&world, minutes, None));
            world.now = UnixMs(again.0 - 1);
            assert_eq!(world.refused(&human("ann"), request(broken(&world, minutes, None))), "glass_spent");
            world.now = again;
            assert!(
                world.ask(&human("ann"), request(broken(&world, minutes, None))).is_ok(),
                "{lengths:?} {minutes}"
            );
            world.now = asked_at;
        }
    }
    assert_eq!(MAX_GLASS_IN_WINDOW, DurationMs(480 * MINUTE));
}

#[test]
fn nothing_that_is_asked_for_makes_broken_glass_forgotten() {
    let mut world = World::with_people(1);
    world.done(&human("ann"), request(broken(&world, 8 * 60, None)));
    world.now = world.now.plus(DurationMs(8 * HOUR.0));
    let finding = vulnerability("CVE-1", Severity::Critical);
    let ordinary = |nth: usize, world: &World| Waiver {
        id: id(&format!("w{nth}")),
        ..waiver(CheckName::Vulnerabilities, &finding, world.now.plus(DAY))
    };
    for nth in 0..MAX_WAIVERS * 2 {
        world.done(&ci(), request(ordinary(nth, &world)));
        let over = GateCommand::RevokeWaiver { app: app("shop"), id: id(&format!("w{nth}")) };
        if nth >= MAX_WAIVERS - 1 {
            world.done(&ci(), gate(over));
        }
    }
    assert_eq!(world.refused(&human("ann"), request(broken(&world, 1, None))), "glass_spent");
    let shop = world.snapshot.app(&app("shop")).expect("the app");
    assert_eq!(shop.waivers().count(), MAX_WAIVERS + 1, "and no more is kept than that");
    world.now = world.now.plus(GLASS_WINDOW);
    world.done(&human("ann"), request(broken(&world, 1, None)));
}

#[test]
fn glass_that_is_broken_in_splinters_is_counted_too() {
    let mut world = World::with_people(1);
    let first = world.now.plus(DurationMs(MINUTE));
    for _ in 0..MAX_GLASSES {
        world.done(&human("ann"), request(broken(&world, 1, None)));
        world.now = world.now.plus(DurationMs(2 * MINUTE));
    }
    assert_eq!(again(&world, broken(&world, 1, None)), first.plus(GLASS_WINDOW));
    world.now = first.plus(GLASS_WINDOW);
    world.done(&human("ann"), request(broken(&world, 1, None)));
}

/// A finding as a decision lists it.
fn listed(finding: Finding, hard_stop: bool) -> Option<Box<Judged>> {
    Some(Box::new(Judged { hard_stop, ..Judged::new(finding, Level::Deny, None) }))
}

#[test]
fn a_waiver_that_could_never_count_is_refused_with_what_to_do_instead() {
    let world = World::with_people(1);
    let plain = vulnerability("CVE-1", Severity::Critical);
    let mended = Finding { fix: Some("upgrade pyyaml to 5.4".into()), ..plain.clone() };
    let rights = finding("WildcardPrivileges", Severity::High);
    let until = world.now.plus(DAY);
    let told = |waiver: Waiver, listed: Option<Box<Judged>>| {
        let command = gate(GateCommand::RequestWaiver { waiver: Box::new(waiver), listed });
        world.ask(&human("ann"), command).map(|_| ()).map_err(|refusal| refusal.to_string())
    };
    let of = |check, finding: &Finding| Waiver { approval: None, ..waiver(check, finding, until) };
    let it = of(CheckName::Vulnerabilities, &plain);
    assert_eq!(told(it.clone(), None), Ok(()), "no decision lists it");
    assert_eq!(told(it.clone(), listed(plain.clone(), false)), Ok(()));
    let refused = told(it.clone(), listed(mended.clone(), false)).expect_err("it can be mended");
    assert!(refused.contains("upgrade pyyaml to 5.4") && refused.contains("break-glass"), "{refused}");
    let another = Finding { fingerprint: super::build::digest("another"), ..mended.clone() };
    assert_eq!(told(it.clone(), listed(another, false)), Ok(()), "of another finding nothing follows");
    let misnamed = Waiver { risk: "CVE-2".into(), ..it.clone() };
    let refused = told(misnamed, listed(plain, false)).expect_err("it goes by another name");
    assert!(refused.starts_with("risk: ") && refused.contains("CVE-1"), "{refused}");
    assert!(told(Waiver { risk: " CVE-1 ".into(), ..it }, listed(mended, false)).is_err());
    let refused = told(of(CheckName::Infrastructure, &rights), listed(rights.clone(), true));
    assert!(refused.expect_err("nobody waives it").contains("never waived"));
    for check in [CheckName::Coverage, CheckName::Sbom, CheckName::ContractTests, CheckName::Signature] {
        let refused = told(of(check, &rights), None).expect_err("it has no findings");
        assert!(refused.contains("judged as a whole"), "{refused}");
    }
    let mut taken = of(CheckName::Infrastructure, &rights);
    taken.break_glass = true;
    taken.expires_at = world.now.plus(HOUR);
    assert!(told(taken, listed(rights, true)).is_err(), "not in an emergency either");
}

#[test]
fn a_waiver_is_not_approved_once_a_fix_is_known() {
    let mut world = World::with_people(1);
    world.done(&admin(), grant(Role::Platform, "bob"));
    let plain = vulnerability("CVE-1", Severity::Critical);
    let mended = Finding { fix: Some("upgrade pyyaml to 5.4".into()), ..plain.clone() };
    let until = world.now.plus(DAY);
    world.done(&human("ann"), request(waiver(CheckName::Vulnerabilities, &plain, until)));
    let approve = |listed| {
        let (app, id) = (app("shop"), id("w"));
        gate(GateCommand::ApproveWaiver { app, id, role: Role::Platform, listed })
    };
    assert_eq!(world.refused(&human("bob"), approve(listed(mended, false))), "invalid");
    assert!(matches!(world.ask(&human("bob"), approve(listed(plain, false))), Ok(Decided::Change(_))));
}

#[test]
fn a_pipelines_token_breaks_no_glass_in_whose_name_it_ever_is() {
    let mut world = World::with_people(1);
    world.done(&admin(), grant(Role::Platform, "ann"));
    let pipeline = Caller { scope: Scope::Ci, ..human("ann") };
    assert_eq!(world.refused(&pipeline, request(broken(&world, 60, None))), "not_allowed");
    world.done(&human("ann"), request(broken(&world, 60, None)));
}
