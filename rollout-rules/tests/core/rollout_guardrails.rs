//! A guardrail acts on what a rollout raises: it is not kept from it, and nothing raises that again.

use crate::world;

use rollout_rules::change::Command;
use rollout_rules::decide::Verdict;
use rollout_rules::rollout::RolloutStatus;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use world::rolling::{
    MINUTE, PLAN, act, after, exposure, guardrail, no_data, rolling, rollout, start, status, step,
};
use world::{
    World, admin, agent, app, ci, command, env, evaluator, flag, human, kill, revive, set, the_flag, timer,
};

/// Whatever Tidegate looks at and whatever comes due, nothing of the rollout is served any more.
fn stays_down(world: &mut World, what: &str) {
    assert_eq!(status(world, "production"), "taken_back", "{what}");
    assert!(!world.is_on("production"), "{what}");
    assert_eq!(world.snapshot.rollouts_due(UnixMs::NEVER).count(), 0, "{what}: no timer waits for it");
    let before = world.entries.len();
    for stage in 0..3 {
        after(world, 600);
        for finding in
            [no_data(), json!({"finding": "shown_good"}), json!({"finding": "held", "reason": "r"})]
        {
            for who in [timer(), evaluator()] {
                let look = world.ask(&who, step(world, "production", stage, finding.clone()));
                assert!(matches!(look, Ok(Verdict::AlreadyDone { .. })), "{what}: {look:?}");
            }
        }
    }
    for verb in ["advance", "resume", "pause"] {
        assert_eq!(world.refused(&human("ann"), act(verb, "production")), "no_rollout", "{what}");
    }
    assert_eq!(world.entries.len(), before);
    let stored = Snapshot::from_checkpoint(world.snapshot.to_checkpoint());
    assert_eq!(stored.to_checkpoint().encode(), world.snapshot.to_checkpoint().encode(), "{what}");
}

/// A rollout at its first stage, in each way in which one can stand there.
fn standing() -> Vec<(&'static str, World)> {
    let with = |asked: &dyn Fn(&mut World)| {
        let mut world = rolling(0, PLAN);
        asked(&mut world);
        world
    };
    let held = json!({"finding": "held", "reason": "latency"});
    vec![
        ("running", with(&|_| {})),
        ("due", with(&|world| after(world, 45))),
        (
            "paused",
            with(&|world| {
                world.done(&human("bob"), act("pause", "production"));
            }),
        ),
        (
            "held",
            with(&|world| {
                let look = step(world, "production", 0, held.clone());
                world.done(&evaluator(), look);
            }),
        ),
        (
            "waiting",
            with(&|world| {
                world.done(&human("bob"), act("abort", "production"));
                world.done(&human("ann"), start("production", "10%/30m,approve,100%"));
                after(world, 31);
                let look = step(world, "production", 0, no_data());
                world.done(&timer(), look);
                assert!(matches!(rollout(world, "production").status, RolloutStatus::Waiting { .. }));
            }),
        ),
    ]
}

#[test]
fn a_guardrail_that_holds_the_flag_ends_its_rollout() {
    for (how, mut world) in standing() {
        world.done(&evaluator(), guardrail(&world, true, "flag off"));
        stays_down(&mut world, how);
        let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
        assert!(view.record().state(&env("production")).expect("a state").state().hold.is_some(), "{how}");
    }
}

#[test]
fn a_guardrail_that_takes_the_exposure_ends_the_rollout_and_leaves_lists_and_rules() {
    for (how, mut world) in standing() {
        world.done(
            &human("bob"),
            set("production", json!({"targets": [{"variant": "on", "units": ["tester"]}]})),
        );
        world.done(&evaluator(), guardrail(&world, true, "rollout to 0"));
        stays_down(&mut world, how);
        assert_eq!(exposure(&world, "production"), 0);
        assert_eq!(world.answer("production", "f", "tester"), Some(json!(true)), "{how}");
        // Whoever mended it starts another one.
        world.done(&human("ann"), start("production", "2%/30m,100%"));
        assert_eq!((exposure(&world, "production"), status(&world, "production")), (2, "running"), "{how}");
    }
}

#[test]
fn a_guardrail_that_holds_all_that_is_not_critical_ends_the_rollouts_of_what_it_holds() {
    for (how, mut world) in standing() {
        for (key, critical) in [("g", true), ("h", false)] {
            let make = json!({"do": "create_flag", "app": "shop", "key": key, "critical": critical});
            world.done(&admin(), command(make));
            let plan = PLAN.parse().expect("a plan");
            let roll = Command::StartRollout {
                app: app("shop"),
                flag: flag(key),
                environment: env("production"),
                plan,
            };
            world.done(&human("ann"), roll);
        }
        world.done(&human("ann"), start("sandbox", PLAN));
        world.done(&evaluator(), guardrail(&world, false, "disable non-critical"));
        let of = |key: &str| {
            let view = world.snapshot.flag(&app("shop"), &flag(key)).expect("the flag");
            view.rollout(&env("production"), world.now).expect("a rollout").status.as_str()
        };
        assert_eq!((of("f"), of("g"), of("h")), ("taken_back", "running", "taken_back"), "{how}");
        assert_eq!(status(&world, "sandbox"), "running", "{how}: the act is about production");
        assert!(!world.is_on("production"), "{how}");
        let due: Vec<String> = world
            .snapshot
            .rollouts_due(UnixMs::NEVER)
            .map(|place| format!("{} {}", place.flag, place.environment))
            .collect();
        assert_eq!(due.len(), 2, "{how}: {due:?}");
        assert!(
            !due.iter().any(|place| place == "f production" || place == "h production"),
            "{how}: {due:?}"
        );
    }
}

#[test]
fn a_drill_takes_a_rollout_back_as_its_rule_would() {
    let mut world = rolling(0, PLAN);
    let rule = rollout_rules::runbook::tier_defaults(rollout_rules::flag::Tier::Zero)[0].clone();
    let (app, flag, environment) = (app("shop"), flag("f"), env("production"));
    world.done(&human("bob"), Command::Drill { app, flag, environment, guardrail: rule });
    stays_down(&mut world, "a drill");
}

#[test]
fn a_guardrail_that_only_tells_somebody_leaves_a_rollout_alone() {
    let mut world = rolling(0, PLAN);
    world.done(&evaluator(), guardrail(&world, true, "notify owner"));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "running"));
    after(&mut world, 30);
    let look = step(&world, "production", 0, no_data());
    world.done(&timer(), look);
    assert_eq!(rollout(&world, "production").stage, 1);
}

#[test]
fn what_was_measured_at_one_stage_is_acted_on_at_the_next_ones() {
    for action in ["flag off", "rollout to 0"] {
        let mut world = rolling(0, PLAN);
        let measured = guardrail(&world, true, action);
        // Paused, resumed and raised meanwhile: the same is served, to more.
        world.done(&human("bob"), act("pause", "production"));
        world.done(&human("bob"), act("resume", "production"));
        after(&mut world, 30);
        let look = step(&world, "production", 0, no_data());
        world.done(&timer(), look);
        let mut through = World { snapshot: world.snapshot.clone(), ..World::empty() };
        through.now = world.now;
        world.done(&evaluator(), measured.clone());
        stays_down(&mut world, action);
        // Also at the last stage, and when it was completed with that.
        while rollout(&through, "production").is_active() {
            through.done(&human("bob"), act("advance", "production"));
        }
        assert_eq!((exposure(&through, "production"), status(&through, "production")), (100, "completed"));
        through.done(&evaluator(), measured);
        assert!(!through.is_on("production"), "{action}");
        assert_eq!(status(&through, "production"), "completed", "{action}: it had ended by then");
    }
}

#[test]
fn what_somebody_changed_meanwhile_is_measured_anew_before_a_guardrail_acts() {
    type Happens = dyn Fn(&mut World);
    let asked: [(&str, &Happens); 3] = [
        ("set", &|world| {
            world.done(&human("bob"), set("production", json!({"exposure": 5})));
        }),
        ("aborted", &|world| {
            world.done(&human("bob"), act("abort", "production"));
        }),
        ("its rules", &|world| {
            let rules = json!([{"id": "r", "when": {"all": []}, "serve": {"variant": "on"}}]);
            world.done(&human("bob"), set("production", json!({"rules": rules})));
        }),
    ];
    for (what, happens) in asked {
        let mut world = rolling(0, PLAN);
        let measured = guardrail(&world, true, "flag off");
        happens(&mut world);
        assert_eq!(world.refused(&evaluator(), measured), "stale", "{what}");
        world.done(&evaluator(), guardrail(&world, true, "flag off"));
        assert!(!world.is_on("production"), "{what}");
    }
}

#[test]
fn a_rollout_that_was_over_when_a_guardrail_acted_keeps_how_it_ended() {
    let expired: &dyn Fn(&mut World) = &|world| world.wait_days(20);
    let killed: &dyn Fn(&mut World) = &|world| {
        world.done(&human("bob"), kill("k", the_flag(), None));
    };
    for (how, happens) in [("expired", expired), ("killed", killed)] {
        for (of_flag, action) in [(true, "flag off"), (true, "rollout to 0"), (false, "disable non-critical")]
        {
            let mut world = rolling(0, PLAN);
            happens(&mut world);
            let ended_at = rollout(&world, "production").status;
            world.now = world.now.plus(DurationMs(MINUTE));
            world.done(&evaluator(), guardrail(&world, of_flag, action));
            assert_eq!(status(&world, "production"), how, "{action}");
            assert_eq!(rollout(&world, "production").status, ended_at, "{action}");
        }
    }
    let mut revived = rolling(0, PLAN);
    killed(&mut revived);
    revived.done(&human("bob"), revive(the_flag(), None));
    revived.done(&evaluator(), guardrail(&revived, true, "rollout to 0"));
    assert_eq!((exposure(&revived, "production"), status(&revived, "production")), (0, "killed"));
}

#[test]
fn only_the_evaluator_acts_on_a_rollout() {
    let world = rolling(0, PLAN);
    for caller in [human("ann"), admin(), ci(), agent(), timer()] {
        let asked: Value = json!(world.refused(&caller, guardrail(&world, true, "flag off")));
        assert_eq!(asked, "not_allowed", "{:?}", caller.actor);
    }
}
