//! Rollouts: who may do what to them, and how they go on by the clock, by outcomes and by people.

use crate::world;

use rollout_rules::decide::Verdict;
use rollout_rules::gate::policy::Reach;
use rollout_rules::governance::Caller;
use rollout_rules::rollout::{RolloutStatus, WaitsFor};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use world::rolling::{MINUTE, PLAN, act, after, exposure, no_data, rolling, rollout, start, status, step};
use world::{World, agent, app, ci, command, env, evaluator, human, set, timer};

#[test]
fn a_rollout_goes_on_stage_by_stage_and_is_completed() {
    let mut world = rolling(0, PLAN);
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "running"));
    after(&mut world, 29);
    assert_eq!(world.refused(&timer(), step(&world, "production", 0, no_data())), "not_due");
    after(&mut world, 1);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
    after(&mut world, 120);
    world.done(&timer(), step(&world, "production", 1, no_data()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (100, "completed"));
    let kinds: Vec<&str> = world.entries[2..].iter().map(|entry| entry.change.kind().as_str()).collect();
    assert_eq!(kinds, ["rollout_started", "rollout_advanced", "rollout_ended"]);
    assert_eq!(world.snapshot.next_rollout_due(UnixMs(0)), None);
}

#[test]
fn a_last_stage_with_a_length_is_watched_before_the_rollout_is_completed() {
    let mut world = rolling(0, "10%/30m,97%/1h");
    after(&mut world, 30);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (97, "running"));
    after(&mut world, 60);
    world.done(&timer(), step(&world, "production", 1, no_data()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (97, "completed"));
}

#[test]
fn after_a_long_absence_each_stage_is_still_held_for_its_own_time() {
    let mut world = rolling(0, PLAN);
    world.wait_days(3);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50, "one stage, though time for all has passed");
    assert_eq!(world.refused(&timer(), step(&world, "production", 1, no_data())), "not_due");
    // The same step again, as another node would ask: the stage that it looked at is gone.
    let again = world.ask(&timer(), step(&world, "production", 0, no_data())).expect("nothing to do");
    assert!(matches!(again, Verdict::AlreadyDone { .. }));
    after(&mut world, 120);
    world.done(&timer(), step(&world, "production", 1, no_data()));
    assert_eq!(exposure(&world, "production"), 100);
}

#[test]
fn a_stage_that_asks_for_approval_waits_for_a_person_with_the_approvals_of_the_tier() {
    let mut world = World::with_people(1);
    world.rules.approvals.tier1 = 0;
    world.done(&human("ann"), start("production", "10%/30m,approve,100%"));
    world.rules.approvals.tier1 = 1;
    after(&mut world, 30);
    world.done(&timer(), step(&world, "production", 0, json!({"finding": "shown_good"})));
    let waiting = RolloutStatus::Waiting { at: world.now, why: WaitsFor::Plan };
    assert_eq!(rollout(&world, "production").status, waiting);
    after(&mut world, 600);
    let idle = world.ask(&timer(), step(&world, "production", 0, no_data())).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }), "it waits for ever");
    assert_eq!(world.refused(&human("ann"), act("advance", "production")), "approvals_needed");
    assert_eq!(world.refused(&human("ann"), act("resume", "production")), "rollout_not_paused");

    let propose = json!({"do": "propose", "id": "p1", "command": {"do": "advance_rollout", "app": "shop", "flag": "f",
        "environment": "production"}});
    world.done(&agent(), command(propose));
    let proposal = world.snapshot.proposal(&"p1".parse().expect("an id")).expect("there").clone();
    let settle = |verb: &str| command(json!({"do": verb, "id": "p1", "hash": proposal.hash}));
    assert_eq!(world.refused(&agent(), settle("approve_proposal")), "not_allowed");
    assert_eq!(
        world.refused(&human("ann"), settle("approve_proposal")),
        "own_approval",
        "the agent acts for ann"
    );
    assert_eq!(world.refused(&human("bob"), settle("apply_proposal")), "approvals_needed");
    world.done(&human("bob"), settle("approve_proposal"));
    world.done(&human("ann"), settle("apply_proposal"));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (100, "completed"));
}

#[test]
fn without_data_the_tier_decides_and_shown_good_goes_on_at_every_tier() {
    for (tier, environment, finding, goes_on) in [
        (0, "production", "not_enough_data", true),
        (1, "production", "not_enough_data", true),
        (2, "production", "not_enough_data", false),
        (2, "production", "shown_good", true),
        (2, "sandbox", "not_enough_data", true),
    ] {
        let mut world = World::shop(tier).without_approvals();
        world.done(&human("ann"), start(environment, PLAN));
        after(&mut world, 30);
        world.done(&timer(), step(&world, environment, 0, json!({"finding": finding})));
        let expected = if goes_on { (50, "running") } else { (10, "waiting") };
        assert_eq!(
            (exposure(&world, environment), status(&world, environment)),
            expected,
            "{tier} {finding}"
        );
    }
}

#[test]
fn who_may_do_what() {
    let people: [(&str, Caller); 4] =
        [("person", human("bob")), ("pipeline", ci()), ("agent", agent()), ("timer", timer())];
    // By column: tier 0 and tier 1 in production, then a sandbox.
    let rows = [
        ("start", "person", ["", "approvals_needed", ""]),
        ("start", "pipeline", ["tier_limit", "tier_limit", ""]),
        ("start", "agent", ["agents_only_propose", "agents_only_propose", ""]),
        ("start", "timer", ["not_allowed", "not_allowed", "not_allowed"]),
        ("advance", "person", ["", "approvals_needed", ""]),
        ("advance", "pipeline", ["tier_limit", "approvals_needed", ""]),
        ("advance", "agent", ["agents_only_propose", "agents_only_propose", ""]),
        ("advance", "timer", ["not_allowed", "not_allowed", "not_allowed"]),
        ("resume", "person", ["", "", ""]),
        ("resume", "pipeline", ["", "", ""]),
        ("resume", "agent", ["agents_only_propose", "agents_only_propose", ""]),
        ("pause", "agent", ["", "", ""]),
        ("pause", "pipeline", ["", "", ""]),
        ("abort", "agent", ["", "", ""]),
        ("abort", "person", ["", "", ""]),
        ("abort", "timer", ["", "", ""]),
        ("step", "person", ["not_allowed"; 3]),
        ("step", "agent", ["not_allowed"; 3]),
        ("step", "timer", ["", "", ""]),
    ];
    for (verb, who, columns) in rows {
        let (_, caller) = people.iter().find(|(name, _)| *name == who).expect("a row");
        for ((tier, environment), expected) in
            [(0, "production"), (1, "production"), (1, "sandbox")].into_iter().zip(columns)
        {
            let mut world = World::shop(tier).without_approvals();
            let before = world.rules.clone();
            if verb != "start" {
                world.done(&human("ann"), start(environment, PLAN));
            }
            if verb == "resume" {
                world.done(&human("ann"), act("pause", environment));
            }
            after(&mut world, 30);
            world.rules = super::world::World::empty().rules;
            let asked = match verb {
                "start" => start(environment, PLAN),
                "step" => step(&world, environment, 0, no_data()),
                verb => act(verb, environment),
            };
            let got = match world.ask(caller, asked) {
                Ok(Verdict::Change(_)) => "",
                Ok(done) => panic!("{verb} {who}: {done:?}"),
                Err(refusal) => refusal.code(),
            };
            assert_eq!(got, expected, "{verb} by {who} in {environment} at tier {tier}");
            world.rules = before;
        }
    }
    for nobody in [rollout_rules::governance::Scope::Viewer, rollout_rules::governance::Scope::SdkServer] {
        let mut world = rolling(0, PLAN);
        after(&mut world, 30);
        let caller = Caller { scope: nobody, ..human("zoe") };
        for verb in ["pause", "abort", "advance"] {
            assert_eq!(world.refused(&caller, act(verb, "production")), "not_allowed", "{nobody:?}");
        }
    }
}

#[test]
fn whoever_does_more_than_lower_names_what_they_saw() {
    let mut world = rolling(0, PLAN);
    let silent = |world: &World, command| world.ask_seen(&human("ann"), command, None).map(|_| ());
    let code =
        |result: Result<(), rollout_rules::decide::Refusal>| result.err().map(|refusal| refusal.code());
    assert_eq!(code(silent(&world, act("advance", "production"))), Some("revision_required"));
    assert_eq!(code(silent(&world, act("pause", "production"))), None);
    assert_eq!(code(silent(&world, act("abort", "production"))), None);
    let seen = world.revision();
    world.done(&human("bob"), act("pause", "production"));
    let stale = world.ask_seen(&human("ann"), act("resume", "production"), Some(seen)).expect_err("stale");
    assert_eq!(stale.code(), "stale");
    assert_eq!(code(silent(&world, act("resume", "production"))), Some("revision_required"));
}

#[test]
fn the_gate_has_to_stand_at_each_step_in_production() {
    let mut world = rolling(0, PLAN);
    after(&mut world, 30);
    world.gated();
    assert_eq!(world.refused(&timer(), step(&world, "production", 0, no_data())), "gate_missing");
    assert_eq!(world.refused(&human("ann"), act("advance", "production")), "gate_missing");
    assert_eq!(exposure(&world, "production"), 10, "it lowers nothing");
    world.judged(rollout_rules::gate::decision::Verdict::Pass, world.now.plus(DurationMs(1)));
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
}

#[test]
fn a_pause_stops_the_clock_of_the_stage() {
    let mut world = rolling(0, PLAN);
    after(&mut world, 20);
    world.done(&human("ann"), act("pause", "production"));
    assert_eq!(world.snapshot.next_rollout_due(UnixMs(0)), None, "no timer runs");
    after(&mut world, 500);
    let idle = world.ask(&timer(), step(&world, "production", 0, no_data())).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }));
    world.done(&human("ann"), act("resume", "production"));
    after(&mut world, 9);
    assert_eq!(world.refused(&timer(), step(&world, "production", 0, no_data())), "not_due");
    after(&mut world, 1);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
}

#[test]
fn the_evaluator_holds_a_rollout_and_lets_it_go_on_with_its_clock_where_it_stood() {
    let mut world = rolling(0, PLAN);
    after(&mut world, 20);
    let held = json!({"finding": "held", "reason": "error rate is suspect"});
    world.done(&evaluator(), step(&world, "production", 0, held.clone()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "held"));
    let again = world.ask(&evaluator(), step(&world, "production", 0, held)).expect("nothing to do");
    assert!(matches!(again, Verdict::AlreadyDone { .. }));
    after(&mut world, 100);
    world.done(&evaluator(), step(&world, "production", 0, no_data()));
    assert_eq!(status(&world, "production"), "running");
    assert_eq!(world.refused(&timer(), step(&world, "production", 0, no_data())), "not_due");
    after(&mut world, 10);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
    // What is held, a person may advance all the same.
    world.done(&evaluator(), step(&world, "production", 1, json!({"finding": "held", "reason": "again"})));
    world.done(&human("ann"), act("advance", "production"));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (100, "completed"));
}

#[test]
fn a_hold_by_the_evaluator_outlives_a_pause_and_the_clock_stands_for_both() {
    let mut world = rolling(0, PLAN);
    after(&mut world, 20);
    let held = json!({"finding": "held", "reason": "error rate is suspect"});
    world.done(&evaluator(), step(&world, "production", 0, held));
    let before = rollout(&world, "production").status;
    after(&mut world, 50);
    world.done(&human("ann"), act("pause", "production"));
    assert_eq!(status(&world, "production"), "paused");
    after(&mut world, 50);
    let idle = world.ask(&evaluator(), step(&world, "production", 0, no_data())).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }), "a pause is for people to end");
    world.done(&human("ann"), act("resume", "production"));
    assert_eq!(rollout(&world, "production").status, before, "held since then, and for that");
    after(&mut world, 50);
    world.done(&evaluator(), step(&world, "production", 0, no_data()));
    assert_eq!(status(&world, "production"), "running");
    after(&mut world, 9);
    assert_eq!(world.refused(&timer(), step(&world, "production", 0, no_data())), "not_due");
    after(&mut world, 1);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
}

#[test]
fn a_timer_that_looked_before_the_evaluator_held_lets_nothing_go_on() {
    let mut world = rolling(0, PLAN);
    after(&mut world, 30);
    let late = step(&world, "production", 0, no_data());
    world.done(&evaluator(), step(&world, "production", 0, json!({"finding": "held", "reason": "suspect"})));
    for finding in [no_data(), json!({"finding": "shown_good"})] {
        let idle = world.ask(&timer(), step(&world, "production", 0, finding)).expect("nothing to do");
        assert!(matches!(idle, Verdict::AlreadyDone { .. }));
    }
    // Nor does it step another rollout that stands at the same stage by now.
    world.done(&human("ann"), act("abort", "production"));
    world.done(&human("ann"), start("production", PLAN));
    after(&mut world, 30);
    let idle = world.ask(&timer(), late).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "running"));
    world.done(&timer(), step(&world, "production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
}

#[test]
fn what_waits_for_outcomes_goes_on_once_they_show_good_and_what_waits_for_approval_does_not() {
    let mut world = World::shop(2).without_approvals();
    world.done(&human("ann"), start("production", PLAN));
    after(&mut world, 30);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    let waiting = RolloutStatus::Waiting { at: world.now, why: WaitsFor::Outcomes };
    assert_eq!(rollout(&world, "production").status, waiting);
    let idle = world.ask(&evaluator(), step(&world, "production", 0, no_data())).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }));
    assert_eq!(world.refused(&ci(), act("advance", "production")), "not_allowed", "a person decides");
    after(&mut world, 5);
    world.done(&evaluator(), step(&world, "production", 0, json!({"finding": "shown_good"})));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (50, "running"));
    assert_eq!(world.refused(&timer(), step(&world, "production", 1, no_data())), "not_due");

    let mut world = rolling(0, "10%/30m,approve,100%");
    after(&mut world, 30);
    world.done(&timer(), step(&world, "production", 0, no_data()));
    let shown_good = json!({"finding": "shown_good"});
    let idle = world.ask(&evaluator(), step(&world, "production", 0, shown_good)).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }));
}

#[test]
fn approval_that_a_plan_asks_for_is_a_persons_and_in_production_another_ones() {
    for due in [false, true] {
        let mut world = World::with_people(0);
        world.limit(|flags| flags.pipelines = Reach::Everyone);
        for environment in ["production", "sandbox"] {
            world.done(&human("ann"), start(environment, "10%/30m,approve,50%/1h,100%"));
        }
        if due {
            after(&mut world, 30);
            for environment in ["production", "sandbox"] {
                world.done(&timer(), step(&world, environment, 0, no_data()));
            }
        }
        for (caller, environment, expected) in [
            (human("ann"), "production", "approvals_needed"),
            (ci(), "production", "not_allowed"),
            (agent(), "production", "agents_only_propose"),
            (ci(), "sandbox", "not_allowed"),
            (agent(), "sandbox", "agents_only_propose"),
        ] {
            let refused = world.refused(&caller, act("advance", environment));
            assert_eq!(refused, expected, "{caller:?} in {environment}, due: {due}");
        }
        // In a trial environment whoever started it may look at it alone.
        world.done(&human("ann"), act("advance", "sandbox"));
        assert_eq!(exposure(&world, "sandbox"), 50);
        // In production another person acts, or approves what is applied then.
        let mut other = World { snapshot: world.snapshot.clone(), entries: Vec::new(), ..World::shop(0) };
        other.now = world.now;
        other.done(&human("bob"), act("advance", "production"));
        assert_eq!(exposure(&other, "production"), 50);
        let propose = json!({"do": "propose", "id": "p1", "command": {"do": "advance_rollout", "app": "shop",
            "flag": "f", "environment": "production"}});
        world.done(&human("ann"), command(propose));
        let hash = world.snapshot.proposal(&"p1".parse().expect("an id")).expect("there").hash;
        let settle = |verb: &str| command(json!({"do": verb, "id": "p1", "hash": hash}));
        assert_eq!(world.refused(&human("ann"), settle("apply_proposal")), "approvals_needed");
        world.done(&human("bob"), settle("approve_proposal"));
        world.done(&human("ann"), settle("apply_proposal"));
        assert_eq!(exposure(&world, "production"), 50);
        // The stage after it asks for nothing.
        world.done(&human("ann"), act("advance", "production"));
        assert_eq!(exposure(&world, "production"), 100);
    }
}

#[test]
fn a_rollout_is_not_started_where_it_would_lower_or_beside_another() {
    let mut world = World::shop(0);
    world.done(&human("ann"), set("production", json!({"on": true, "exposure": 30})));
    assert_eq!(world.refused(&human("ann"), start("production", PLAN)), "invalid");
    world.done(&human("ann"), start("production", "30%/30m,100%"));
    assert_eq!(world.refused(&human("ann"), start("production", PLAN)), "rollout_runs");
    assert_eq!(world.refused(&human("ann"), act("advance", "sandbox")), "no_rollout");
    assert_eq!(world.refused(&human("ann"), act("resume", "nowhere")), "not_found");
    world.done(&human("ann"), start("sandbox", PLAN));
    let shop = app("shop");
    let places = world.snapshot.rollouts(&shop, None).map(|(_, environment)| environment.to_string());
    assert_eq!(places.collect::<Vec<_>>(), ["production", "sandbox"]);
}

#[test]
fn what_is_due_later_is_told_past_what_is_due_already() {
    let mut world = rolling(0, PLAN);
    world.done(&human("ann"), start("sandbox", "10%/30m,100%"));
    world.done(&human("ann"), start("pr-1", "10%/2h,100%"));
    let then = |minutes: u64| Some(world::START.plus(DurationMs(minutes * MINUTE)));
    assert_eq!(world.snapshot.next_rollout_due(UnixMs(0)), then(30));
    after(&mut world, 30);
    let due = world.snapshot.rollouts_due(world.now).map(|place| place.environment.to_string());
    assert_eq!(due.collect::<Vec<_>>(), ["production", "sandbox"]);
    assert_eq!(world.snapshot.next_rollout_due(world.now), then(120));
    let place = world.snapshot.rollouts_due(world.now).next().expect("one").clone();
    assert_eq!(world.snapshot.rollout_due_at(&place), then(30));
    world.done(&human("ann"), act("pause", "production"));
    assert_eq!(world.snapshot.rollout_due_at(&place), None);
    assert_eq!(world.snapshot.rollouts_due(world.now).count(), 1);
}

#[test]
fn what_is_not_served_differently_reaches_no_sdk() {
    let world = rolling(0, PLAN);
    let mut paused = World { snapshot: world.snapshot.clone(), entries: Vec::new(), ..World::shop(0) };
    paused.done(&human("ann"), act("pause", "production"));
    let served = |snapshot: &Snapshot| snapshot.feed_revision(&app("shop"), &env("production"));
    assert_eq!(served(&paused.snapshot), served(&world.snapshot));
    assert!(paused.revision() > world.revision(), "writers have to look again");
    assert!(served(&world.snapshot) > served(&World::shop(0).snapshot), "what starts is served");
}

#[test]
fn a_checkpoint_keeps_rollouts_and_when_they_are_due() {
    let world = rolling(0, PLAN);
    let bytes = world.snapshot.to_checkpoint().encode();
    let checkpoint = rollout_rules::snapshot::Checkpoint::decode(&bytes).expect("it is read");
    let loaded = Snapshot::from_checkpoint(checkpoint);
    assert_eq!(loaded.next_rollout_due(world.now), Some(world.now.plus(DurationMs(30 * MINUTE))));
    assert_eq!(loaded.to_checkpoint().encode(), bytes);
}

#[test]
fn a_program_from_before_rollouts_does_not_read_a_checkpoint_that_has_them() {
    let bytes = rolling(0, PLAN).snapshot.to_checkpoint().encode();
    let stored: Value = serde_json::from_slice(&bytes).expect("json");
    // Programs from before them read up to 2.
    assert!(stored["format"].as_u64().expect("a number") > 2, "{}", stored["format"]);
}
