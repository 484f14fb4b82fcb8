//! What the gate takes back once it denies what runs.

use rollout_rules::change::{Change, Command, GateCommand};
use rollout_rules::decide::Verdict as Decided;
use rollout_rules::flag::{Hold, HoldCause};
use rollout_rules::gate::decision::Verdict;
use rollout_rules::governance::Enforcement;
use rollout_rules::ids::Revision;
use rollout_rules::rollout::{RolloutEnd, RolloutStatus};
use rollout_rules::runbook::{Cause, Lowered};
use rollout_rules::time::{DAY, DurationMs, HOUR};
use serde_json::json;

use super::decisions::{decide, gate};
use super::standing::enforce;
use crate::world::rolling;
use crate::world::{
    World, admin, agent, app, ci, command, deployed, env, evaluator, flag, human, set, timer,
};

/// Flags `f` and the critical `g` serve everywhere, `h` will by schedule, and what runs in production passed.
fn live() -> World {
    let mut world = World::shop(0);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    for (key, critical) in [("g", true), ("h", false)] {
        let create = json!({"do": "create_flag", "app": "shop", "key": key, "critical": critical});
        world.done(&admin(), command(create));
    }
    let put = |key: &str, environment: &str, patch: serde_json::Value| {
        let mut set = json!({"do": "set_targeting", "app": "shop", "flag": key, "environment": environment});
        set.as_object_mut().expect("an object").extend(patch.as_object().expect("an object").clone());
        command(set)
    };
    for key in ["f", "g"] {
        for environment in ["production", "sandbox"] {
            world.done(&human("ann"), put(key, environment, json!({"on": true})));
        }
    }
    let later = json!({"schedule": [{"id": "s", "at": world.now.plus(HOUR), "on": true}]});
    world.done(&human("ann"), put("h", "production", later));
    world
}

fn denied(world: &mut World) -> Revision {
    let decision = world.decision('a', Verdict::Deny, world.now.plus(DAY));
    world.done(&ci(), decide(decision))
}

fn passed(world: &mut World) -> Revision {
    let decision = world.decision('a', Verdict::Pass, world.now.plus(DAY));
    world.done(&ci(), decide(decision))
}

fn hold(world: &World, key: &str, environment: &str) -> Option<Hold> {
    let view = world.snapshot.flag(&app("shop"), &flag(key)).expect("the flag");
    view.record().state(&env(environment)).expect("its state").state().hold.as_deref().cloned()
}

fn is_nothing_left(world: &World, command: Command) -> bool {
    matches!(world.ask(&evaluator(), command), Ok(Decided::AlreadyDone { .. }))
}

#[test]
fn a_denial_holds_every_flag_that_serves_there_and_tells_the_owner_once() {
    let mut world = live();
    assert!(is_nothing_left(&world, gate(enforce())), "it passes");
    let decided = denied(&mut world);
    assert!(world.is_on("production"), "that it is denied is not yet that it is taken back");
    let before = world.entries.len();
    let revision = world.done(&evaluator(), gate(enforce()));
    assert_eq!(world.entries.len(), before + 1, "one entry");
    for key in ["f", "g", "h"] {
        let hold = hold(&world, key, "production").unwrap_or_else(|| panic!("{key} is held"));
        assert_eq!((hold.cause, hold.at), (HoldCause::Gate, world.now));
        assert!(hold.reason.contains("tidegate gate explain d-a-"), "{}", hold.reason);
    }
    assert!(["f", "g"].into_iter().all(|key| hold(&world, key, "sandbox").is_none()), "nowhere else");
    assert!(!world.is_on("production") && world.is_on("sandbox"));
    let Change::GuardrailActed { act } = &world.entries[before].change else { panic!("an act") };
    assert_eq!((act.cause, act.measured), (Cause::GateDenied, Some(decided)));
    assert!(matches!(&act.lowered[..], [Lowered::All { .. }]));
    assert_eq!(act.words(), "GATE: held all that was on, notify owner");
    assert_eq!(
        world.snapshot.runs(None).map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
        [format!("{revision}.0")]
    );
    assert!(
        is_nothing_left(&world, gate(enforce())),
        "nothing is left to take back, and nobody is told again"
    );
}

#[test]
fn only_tidegate_enforces_and_only_where_the_gate_binds() {
    let mut world = live();
    denied(&mut world);
    for who in [human("ann"), admin(), ci(), agent()] {
        assert_eq!(world.refused(&who, gate(enforce())), "not_allowed", "{who:?}");
    }
    assert!(matches!(world.ask(&timer(), gate(enforce())), Ok(Decided::Change(_))));
    let sandbox = GateCommand::Enforce { app: app("shop"), environment: env("sandbox") };
    assert!(is_nothing_left(&world, gate(sandbox)));
    world.rules.gate = Enforcement::Report;
    assert!(is_nothing_left(&world, gate(enforce())), "it only reports");
}

#[test]
fn a_denial_of_what_does_not_run_takes_nothing_back() {
    let mut world = live();
    let other = world.decision('b', Verdict::Deny, world.now.plus(DAY));
    world.done(&ci(), decide(other));
    assert!(is_nothing_left(&world, gate(enforce())));
    world.done(&ci(), deployed('b'));
    assert!(!is_nothing_left(&world, gate(enforce())), "it runs now");
}

#[test]
fn a_rollout_ends_with_the_hold_of_the_gate() {
    let mut world = World::shop(0);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    world.done(&human("ann"), rolling::start("production", rolling::PLAN));
    denied(&mut world);
    world.done(&evaluator(), gate(enforce()));
    assert!(matches!(
        rolling::rollout(&world, "production").status,
        RolloutStatus::Ended { how: RolloutEnd::TakenBack, .. }
    ));
    assert!(!world.is_on("production"));
}

#[test]
fn what_the_gate_held_a_human_raises_again_once_it_passes() {
    let mut world = live();
    denied(&mut world);
    world.done(&evaluator(), gate(enforce()));
    let again = set("production", json!({"on": true}));
    assert_eq!(world.refused(&human("ann"), again.clone()), "gate_missing");
    assert_eq!(world.refused(&timer(), again.clone()), "not_allowed");
    passed(&mut world);
    assert!(!world.is_on("production"), "that it passes turns nothing on");
    world.done(&human("ann"), again);
    assert!(world.is_on("production") && hold(&world, "f", "production").is_none());
    assert!(hold(&world, "g", "production").is_some(), "one flag is one decision of a person");
    // Denied again, it is taken back again.
    denied(&mut world);
    world.done(&evaluator(), gate(enforce()));
    assert!(!world.is_on("production"));
}

#[test]
fn the_gate_takes_nothing_of_what_guardrails_may_do_in_a_day_and_is_not_stopped_by_it() {
    let mut world = live();
    for _ in 0..4 {
        denied(&mut world);
        world.done(&evaluator(), gate(enforce()));
        passed(&mut world);
        world.done(&human("ann"), set("production", json!({"on": true})));
        world.now = world.now.plus(DurationMs(1_000));
    }
    for nth in 0..3 {
        world.done(&evaluator(), rolling::guardrail(&world, true, "flag off"));
        assert!(!world.is_on("production"), "guardrail {nth}");
        world.done(&human("ann"), set("production", json!({"on": true})));
        world.now = world.now.plus(DurationMs(1_000));
    }
    assert_eq!(world.refused(&evaluator(), rolling::guardrail(&world, true, "flag off")), "left_to_people");
    denied(&mut world);
    world.done(&evaluator(), gate(enforce()));
    assert!(!world.is_on("production"), "the gate is not left to people");
}
