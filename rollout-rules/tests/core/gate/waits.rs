//! Scheduled steps that the gate bars.

use rollout_rules::change::{Change, Command};
use rollout_rules::decide::Verdict as Decided;
use rollout_rules::flag::STEP_WAITS;
use rollout_rules::gate::decision::Verdict;
use rollout_rules::ids::ScheduleId;
use rollout_rules::runbook::Cause;
use rollout_rules::time::{DAY, DurationMs, HOUR, UnixMs};
use serde_json::json;

use crate::world::{World, app, env, flag, human, set, timer};

fn apply(id: &str) -> Command {
    Command::ApplySchedule {
        app: app("shop"),
        flag: flag("f"),
        environment: env("production"),
        schedule: ScheduleId::new(id).expect("an id"),
    }
}

/// Flag `f` is to be turned on in an hour, and the gate has said nothing by then.
fn barred() -> World {
    let mut world = World::shop(0);
    let at = world.now.plus(HOUR);
    let steps = json!([{"id": "on", "at": at.0, "on": true}]);
    world.done(&human("ann"), set("production", json!({"schedule": steps})));
    world.gated();
    world.now = at;
    world
}

fn told(world: &World) -> usize {
    let is_it =
        |change: &Change| matches!(change, Change::GuardrailActed { act } if act.cause == Cause::StepWaits);
    world.entries.iter().filter(|entry| is_it(&entry.change)).count()
}

#[test]
fn the_owner_is_told_once_that_a_step_waits_and_until_when() {
    let mut world = barred();
    let lapses = world.now.plus(STEP_WAITS);
    world.done(&timer(), apply("on"));
    let entry = world.entries.last().expect("an entry");
    assert!(entry.reason.contains(&lapses.to_string()) && entry.reason.contains("gate"), "{}", entry.reason);
    assert!(world.snapshot.next_due().is_some() && !world.is_on("production"));
    for _ in 0..3 {
        assert_eq!(world.refused(&timer(), apply("on")), "gate_missing");
        world.now = world.now.plus(HOUR);
    }
    assert_eq!(told(&world), 1);
    // Another schedule is another matter.
    let steps = json!([{"id": "again", "at": world.now.plus(HOUR).0, "on": true}]);
    world.rules.gate = rollout_rules::governance::Enforcement::Report;
    world.done(&human("ann"), set("production", json!({"schedule": steps})));
    world.gated();
    world.now = world.now.plus(HOUR);
    world.done(&timer(), apply("again"));
    assert_eq!(told(&world), 2);
}

#[test]
fn a_step_that_waited_is_made_once_the_gate_lets_the_build_pass() {
    let mut world = barred();
    world.done(&timer(), apply("on"));
    let before = world.snapshot.gate_changed_at(&app("shop"), &env("production"));
    world.done(&human("zoe"), set("sandbox", json!({"on": true})));
    let other = world.snapshot.gate_changed_at(&app("shop"), &env("production"));
    assert_eq!(other, before, "what the gate does not look at changes nothing");
    world.judged(Verdict::Pass, world.now.plus(DAY));
    assert!(world.snapshot.gate_changed_at(&app("shop"), &env("production")) > before);
    world.done(&timer(), apply("on"));
    assert!(world.is_on("production"));
    assert_eq!(world.snapshot.next_due(), None);
}

#[test]
fn a_step_lapses_that_waited_for_a_day() {
    let mut world = barred();
    let due = world.now;
    world.done(&timer(), apply("on"));
    world.now = UnixMs(due.plus(STEP_WAITS).0 - 1);
    assert_eq!(world.refused(&timer(), apply("on")), "gate_missing");
    world.now = due.plus(STEP_WAITS);
    world.done(&timer(), apply("on"));
    assert_eq!(world.snapshot.next_due(), None);
    world.judged(Verdict::Pass, world.now.plus(DAY));
    assert!(!world.is_on("production"), "nobody asked for it since");
    assert!(matches!(world.ask(&timer(), apply("on")), Ok(Decided::AlreadyDone { .. })));
}

#[test]
fn steps_that_wait_together_are_made_or_lapse_together_and_what_lowers_never_waits() {
    let mut world = World::shop(0);
    let (first, second) = (world.now.plus(HOUR), world.now.plus(DurationMs(20 * HOUR.0)));
    let steps = json!([
        {"id": "on", "at": first.0, "on": true, "exposure": 10},
        {"id": "more", "at": second.0, "exposure": 50},
    ]);
    world.done(&human("ann"), set("production", json!({"exposure": 0, "schedule": steps})));
    world.gated();
    world.now = second;
    world.done(&timer(), apply("on"));
    world.now = first.plus(STEP_WAITS);
    assert_eq!(world.refused(&timer(), apply("on")), "gate_missing", "the later one has hours yet");
    world.now = second.plus(STEP_WAITS);
    world.done(&timer(), apply("more"));
    assert_eq!((world.snapshot.next_due(), told(&world)), (None, 1));

    let mut world = barred();
    world.rules.gate = rollout_rules::governance::Enforcement::Report;
    world.done(&timer(), apply("on"));
    let off = world.now.plus(HOUR);
    let steps = json!([{"id": "off", "at": off.0, "on": false}]);
    world.done(&human("ann"), set("production", json!({"schedule": steps})));
    world.gated();
    world.now = off;
    world.done(&timer(), apply("off"));
    assert!(!world.is_on("production") && world.snapshot.next_due().is_none());
}
