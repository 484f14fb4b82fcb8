//! What ends a rollout, and what is served then.

use crate::world;

use rollout_rules::change::Change;
use rollout_rules::decide::{Verdict, WaitingKill, decide_under};
use rollout_rules::rollout::{RolloutEnd, RolloutStatus};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::json;
use world::rolling::{MINUTE, PLAN, act, after, exposure, no_data, rolling, start, status, step};
use world::{World, app, command, env, evaluator, flag, human, kill, revive, set, the_flag, timer};

#[test]
fn aborting_what_is_over_takes_away_what_would_be_served_again() {
    let settings = |world: &World| {
        let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
        let targeting = view.targeting(&env("production"), world.now).expect("a state");
        (targeting.on, targeting.exposure.milli_percent())
    };
    // A hold that people release would serve it again.
    let mut held = rolling(0, PLAN);
    let hold = command(json!({"do": "hold", "app": "shop", "flag": "f", "environment": "production",
        "cause": "guardrail"}));
    held.done(&evaluator(), hold);
    // So would a longer life, before it was given and after.
    let mut expired = rolling(0, PLAN);
    expired.wait_days(20);
    let mut extended = rolling(0, PLAN);
    extended.wait_days(20);
    extended.done(
        &human("ann"),
        command(json!({"do": "extend_flag", "app": "shop", "flag": "f", "environment": "production"})),
    );
    for (mut world, how) in [(held, "taken_back"), (expired, "expired"), (extended, "expired")] {
        assert_eq!((settings(&world), status(&world, "production")), ((true, 10_000), how));
        world.done(&human("bob"), act("abort", "production"));
        assert_eq!((settings(&world), status(&world, "production")), ((false, 0), how));
        let again = world.ask(&human("bob"), act("abort", "production")).expect("nothing to do");
        assert!(matches!(again, Verdict::AlreadyDone { .. }));
        // What somebody set since is not what a rollout left behind: it does not pass for aborted.
        let mut other = World { snapshot: world.snapshot.clone(), entries: Vec::new(), ..World::shop(0) };
        other.now = world.now;
        let patch = json!({"on": true, "exposure": 40});
        if other.ask(&human("ann"), set("production", patch.clone())).is_ok() {
            other.done(&human("ann"), set("production", patch));
            assert_eq!(other.refused(&human("bob"), act("abort", "production")), "no_rollout");
        }
    }
    let mut killed = rolling(0, PLAN);
    killed.done(&human("bob"), kill("k", the_flag(), None));
    let done = killed.ask(&human("bob"), act("abort", "production")).expect("nothing to do");
    assert!(matches!(done, Verdict::AlreadyDone { .. }), "a revival serves nothing of it");
}

#[test]
fn aborting_takes_a_flag_to_nothing_and_off_if_the_rollout_turned_it_on() {
    let mut world = rolling(0, PLAN);
    world.done(&human("ann"), act("abort", "production"));
    let state = |world: &World| {
        let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
        let targeting = view.targeting(&env("production"), world.now).expect("a state");
        (targeting.on, targeting.exposure.milli_percent())
    };
    assert_eq!((state(&world), status(&world, "production")), ((false, 0), "aborted"));
    let again = world.ask(&human("ann"), act("abort", "production")).expect("nothing to do");
    assert!(matches!(again, Verdict::AlreadyDone { .. }));
    assert_eq!(world.refused(&human("ann"), act("advance", "production")), "no_rollout");

    // A flag that was on for its rules alone goes on serving those.
    world.done(&human("ann"), set("production", json!({"on": true})));
    world.done(&human("ann"), start("production", PLAN));
    world.done(&evaluator(), act("abort", "production"));
    assert_eq!((state(&world), status(&world, "production")), ((true, 0), "taken_back"));
}

#[test]
fn whoever_sets_by_hand_what_a_rollout_sets_takes_it_over() {
    let split = json!({"split": {"id": "s", "weights": [{"variant": "on", "weight": 1}]}});
    let later = |world: &World| json!([{"id": "s", "at": world.now.plus(DurationMs(MINUTE)).0, "on": false}]);
    for (patch, taken) in [
        (json!({"exposure": 20}), true),
        (json!({"exposure": 5}), true),
        (json!({"on": false}), true),
        (json!({"serve": split}), true),
        (json!({"schedule": "later"}), true),
        (json!({"targets": [{"variant": "on", "units": ["ann"]}]}), false),
        (json!({"rules": [{"id": "r", "when": {"all": []}, "serve": {"variant": "on"}}]}), false),
    ] {
        let mut world = rolling(0, PLAN);
        let mut asked = patch.clone();
        if asked["schedule"] == "later" {
            asked["schedule"] = later(&world);
        }
        world.done(&human("bob"), set("production", asked));
        let expected = if taken { "taken_over" } else { "running" };
        assert_eq!(status(&world, "production"), expected, "{patch}");
        after(&mut world, 30);
        let stepped = world.ask(&timer(), step(&world, "production", 0, no_data()));
        let moved = matches!(stepped, Ok(Verdict::Change(_)));
        assert_eq!(moved, !taken, "{patch}");
    }
}

#[test]
fn a_scheduled_end_that_comes_takes_a_rollout_over_before_anybody_writes_it_down() {
    let mut world = World::shop(0);
    let at = world.now.plus(DurationMs(10 * MINUTE));
    world.done(&human("ann"), set("production", json!({"schedule": [{"id": "s", "at": at.0, "on": false}]})));
    world.done(&human("ann"), start("production", PLAN));
    after(&mut world, 9);
    assert_eq!(status(&world, "production"), "running");
    after(&mut world, 1);
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (0, "taken_over"));
    after(&mut world, 30);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (0, "taken_over"));
    assert_eq!(world.entries.last().expect("one").change.kind().as_str(), "rollout_ended");

    // One that would set another exposure is none that a rollout could live with.
    let mut world = World::shop(0);
    let step = json!({"schedule": [{"id": "s", "at": at.0, "exposure": 50}]});
    world.done(&human("ann"), set("production", step));
    assert_eq!(world.refused(&human("ann"), start("production", PLAN)), "invalid");
}

#[test]
fn a_kill_ends_a_rollout_also_after_it_was_taken_back() {
    for reach in [the_flag(), json!({"app": {"app": "shop"}}), json!("everything")] {
        let mut world = rolling(0, PLAN);
        after(&mut world, 30);
        world.done(&human("bob"), kill("k", reach.clone(), None));
        assert_eq!(status(&world, "production"), "killed", "{reach}");
        assert_eq!(world.refused(&human("ann"), act("advance", "production")), "no_rollout");
        assert_eq!(world.refused(&human("ann"), start("production", PLAN)), "killed");
        world.done(&human("bob"), revive(reach.clone(), None));
        assert_eq!((exposure(&world, "production"), status(&world, "production")), (0, "killed"));
        world.done(&timer(), step(&world, "production", 0, no_data()));
        assert_eq!((exposure(&world, "production"), status(&world, "production")), (0, "killed"), "{reach}");
        world.done(&human("ann"), start("production", PLAN));
        assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "running"));
    }
}

#[test]
fn a_schedule_that_a_kill_cancelled_does_not_come_back_with_a_rollout() {
    for reach in [the_flag(), json!({"app": {"app": "shop"}}), json!("everything")] {
        let mut world = World::shop(0);
        let at = world.now.plus(DurationMs(24 * 60 * MINUTE));
        let tomorrow = json!([{"id": "s", "at": at.0, "on": true, "exposure": 100}]);
        world.done(&human("ann"), set("production", json!({"schedule": tomorrow})));
        world.done(&human("bob"), kill("k", reach.clone(), None));
        world.done(&human("bob"), revive(reach.clone(), None));
        world.done(&human("ann"), start("production", "1%/2d,100%"));
        assert_eq!((exposure(&world, "production"), status(&world, "production")), (1, "running"));
        world.wait_days(1);
        assert_eq!(world.snapshot.due(world.now).count(), 0, "{reach}");
        let apply = json!({"do": "apply_schedule", "app": "shop", "flag": "f", "environment": "production",
            "schedule": "s"});
        let idle = world.ask(&timer(), command(apply)).expect("nothing to do");
        assert!(matches!(idle, Verdict::AlreadyDone { .. }));
        assert_eq!((exposure(&world, "production"), status(&world, "production")), (1, "running"));
    }
}

#[test]
fn a_kill_that_the_log_does_not_have_yet_stops_a_rollout() {
    let mut world = rolling(0, PLAN);
    after(&mut world, 30);
    let waiting = WaitingKill {
        kill_id: "k".parse().expect("an id"),
        reach: rollout_rules::change::Reach::Everything,
        environment: None,
    };
    let request = world.request(&timer(), step(&world, "production", 0, no_data()), None);
    let verdict =
        decide_under(&world.snapshot, &[waiting], &world.rules, &request, world.now).expect("decided");
    let Verdict::Change(draft) = verdict else { panic!("{verdict:?}") };
    let Change::RolloutEnded { rollout, exposure: None, on: None, .. } = draft.change() else {
        panic!("{draft:?}")
    };
    assert!(matches!(rollout.status, RolloutStatus::Ended { how: RolloutEnd::Killed, .. }));
}

#[test]
fn a_hold_by_automation_takes_a_rollout_back_and_another_one_releases_it() {
    let mut world = rolling(0, PLAN);
    let hold = command(json!({"do": "hold", "app": "shop", "flag": "f", "environment": "production",
        "cause": "guardrail"}));
    world.done(&evaluator(), hold);
    assert_eq!(status(&world, "production"), "taken_back");
    assert!(!world.is_on("production"));
    after(&mut world, 30);
    let idle = world.ask(&timer(), step(&world, "production", 0, no_data())).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }));
    world.done(&human("ann"), start("production", "2%/30m,100%"));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (2, "running"));
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    assert!(view.record().state(&env("production")).expect("a state").state().hold.is_none());
}

#[test]
fn a_rollout_ends_with_the_flags_life_and_an_extension_does_not_wake_it() {
    let mut world = World::shop(0);
    world.wait_days(13);
    assert_eq!(world.refused(&human("ann"), start("production", "10%/1d,100%")), "invalid");
    world.done(&human("ann"), start("production", PLAN));
    world.wait_days(1);
    assert_eq!(status(&world, "production"), "expired");
    let extend =
        command(json!({"do": "extend_flag", "app": "shop", "flag": "f", "environment": "production"}));
    let seen = Some(world.revision());
    let extended = world.ask_seen(&human("ann"), extend, seen).expect("extended");
    let Verdict::Change(draft) = extended else { panic!("{extended:?}") };
    world.append(draft.into_entry(world.anchor()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "expired"));
    let idle = world.ask(&timer(), step(&world, "production", 0, no_data())).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }));
}

#[test]
fn a_preview_that_ended_and_is_extended_does_not_wake_its_rollout() {
    let mut world = World::shop(0);
    world.done(&human("ann"), start("pr-1", "10%/3h,100%"));
    let moved = |world: &World, minutes: u64| {
        let ends_at = world.now.plus(DurationMs(minutes * MINUTE));
        command(json!({"do": "extend_environment", "app": "shop", "environment": "pr-1", "ends_at": ends_at}))
    };
    let soon = moved(&world, 60);
    world.done(&human("ann"), soon);
    assert_eq!(status(&world, "pr-1"), "running", "it goes on while the preview is there");
    after(&mut world, 61);
    assert_eq!(status(&world, "pr-1"), "expired");
    let later = moved(&world, 600);
    world.done(&human("ann"), later);
    assert_eq!((exposure(&world, "pr-1"), status(&world, "pr-1")), (10, "expired"));
    after(&mut world, 180);
    assert_eq!(world.snapshot.rollouts_due(world.now).count(), 0);
    assert_eq!(world.snapshot.next_rollout_due(UnixMs(0)), None);
}

#[test]
fn a_flag_that_is_archived_rolls_out_no_further() {
    let mut world = rolling(0, PLAN);
    world.done(&human("ann"), command(json!({"do": "archive_flag", "app": "shop", "flag": "f"})));
    assert_eq!(status(&world, "production"), "taken_over");
    assert_eq!(world.snapshot.next_rollout_due(UnixMs(0)), None);
    assert_eq!(world.snapshot.rollouts(&app("shop"), None).count(), 0);
}
