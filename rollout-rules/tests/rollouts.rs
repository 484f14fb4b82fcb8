//! Rollouts: who may do what to them, how they go on by the clock, and what ends them.

mod world;

use proptest::prelude::*;
use rollout_rules::change::{Change, Command};
use rollout_rules::decide::{Verdict, WaitingKill, decide_under};
use rollout_rules::governance::{Caller, GateStanding};
use rollout_rules::rollout::{Finding, Rollout, RolloutEnd, RolloutStatus, WaitsFor};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use world::{
    World, agent, app, ci, command, env, evaluator, flag, human, kill, revive, set, the_flag, timer,
};

const MINUTE: u64 = 60_000;

fn start(environment: &str, plan: &str) -> Command {
    let plan: rollout_rules::plan::RolloutPlan = plan.parse().expect("a plan");
    Command::StartRollout { app: app("shop"), flag: flag("f"), environment: env(environment), plan }
}

fn act(verb: &str, environment: &str) -> Command {
    command(json!({"do": format!("{verb}_rollout"), "app": "shop", "flag": "f", "environment": environment}))
}

fn step(environment: &str, stage: u8, finding: Value) -> Command {
    command(
        json!({"do": "step_rollout", "app": "shop", "flag": "f", "environment": environment, "stage": stage,
        "finding": finding}),
    )
}

fn no_data() -> Value {
    json!({"finding": "not_enough_data"})
}

fn rollout(world: &World, environment: &str) -> Rollout {
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    view.rollout(&env(environment), world.now).expect("a rollout")
}

fn status(world: &World, environment: &str) -> &'static str {
    rollout(world, environment).status.as_str()
}

fn exposure(world: &World, environment: &str) -> u32 {
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    let targeting = view.targeting(&env(environment), world.now).expect("a state");
    if targeting.on { targeting.exposure.milli_percent() / 1000 } else { 0 }
}

fn after(world: &mut World, minutes: u64) {
    world.now = world.now.plus(DurationMs(minutes * MINUTE));
}

/// A shop of a tier whose flag rolls out in production by this plan, whatever approvals that took.
fn rolling(tier: u8, plan: &str) -> World {
    let mut world = World::shop(tier).without_approvals();
    world.done(&human("ann"), start("production", plan));
    world.rules = rollout_rules::governance::Rules::default();
    world
}

const PLAN: &str = "10%/30m,50%/2h,100%";

#[test]
fn a_rollout_goes_on_stage_by_stage_and_is_completed() {
    let mut world = rolling(0, PLAN);
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "running"));
    after(&mut world, 29);
    assert_eq!(world.refused(&timer(), step("production", 0, no_data())), "not_due");
    after(&mut world, 1);
    world.done(&timer(), step("production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
    after(&mut world, 120);
    world.done(&timer(), step("production", 1, no_data()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (100, "completed"));
    let kinds: Vec<&str> = world.entries[2..].iter().map(|entry| entry.change.kind().as_str()).collect();
    assert_eq!(kinds, ["rollout_started", "rollout_advanced", "rollout_ended"]);
    assert_eq!(world.snapshot.next_rollout_due(UnixMs(0)), None);
}

#[test]
fn a_last_stage_with_a_length_is_watched_before_the_rollout_is_completed() {
    let mut world = rolling(0, "10%/30m,97%/1h");
    after(&mut world, 30);
    world.done(&timer(), step("production", 0, no_data()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (97, "running"));
    after(&mut world, 60);
    world.done(&timer(), step("production", 1, no_data()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (97, "completed"));
}

#[test]
fn after_a_long_absence_each_stage_is_still_held_for_its_own_time() {
    let mut world = rolling(0, PLAN);
    world.wait_days(3);
    world.done(&timer(), step("production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50, "one stage, though time for all has passed");
    assert_eq!(world.refused(&timer(), step("production", 1, no_data())), "not_due");
    // The same step again, as another node would ask: the stage that it looked at is gone.
    let again = world.ask(&timer(), step("production", 0, no_data())).expect("nothing to do");
    assert!(matches!(again, Verdict::AlreadyDone { .. }));
    after(&mut world, 120);
    world.done(&timer(), step("production", 1, no_data()));
    assert_eq!(exposure(&world, "production"), 100);
}

#[test]
fn a_stage_that_asks_for_approval_waits_for_a_person_with_the_approvals_of_the_tier() {
    let mut world = World::with_people(1);
    world.rules.approvals.tier1 = 0;
    world.done(&human("ann"), start("production", "10%/30m,approve,100%"));
    world.rules.approvals.tier1 = 1;
    after(&mut world, 30);
    world.done(&timer(), step("production", 0, json!({"finding": "shown_good"})));
    let waiting = RolloutStatus::Waiting { at: world.now, why: WaitsFor::Plan };
    assert_eq!(rollout(&world, "production").status, waiting);
    after(&mut world, 600);
    let idle = world.ask(&timer(), step("production", 0, no_data())).expect("nothing to do");
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
        world.done(&timer(), step(environment, 0, json!({"finding": finding})));
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
        ("start", "pipeline", ["", "tier_limit", ""]),
        ("start", "agent", ["agents_only_propose", "agents_only_propose", ""]),
        ("start", "timer", ["not_allowed", "not_allowed", "not_allowed"]),
        ("advance", "person", ["", "approvals_needed", ""]),
        ("advance", "pipeline", ["", "approvals_needed", ""]),
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
            world.rules = rollout_rules::governance::Rules::default();
            let asked = match verb {
                "start" => start(environment, PLAN),
                "step" => step(environment, 0, no_data()),
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
    world.gate = GateStanding::Missing(vec!["a scan".into()]);
    assert_eq!(world.refused(&timer(), step("production", 0, no_data())), "gate_missing");
    assert_eq!(world.refused(&human("ann"), act("advance", "production")), "gate_missing");
    assert_eq!(exposure(&world, "production"), 10, "it lowers nothing");
    world.gate = GateStanding::PassingUntil(world.now.plus(DurationMs(1)));
    world.done(&timer(), step("production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
}

#[test]
fn a_pause_stops_the_clock_of_the_stage() {
    let mut world = rolling(0, PLAN);
    after(&mut world, 20);
    world.done(&human("ann"), act("pause", "production"));
    assert_eq!(world.snapshot.next_rollout_due(UnixMs(0)), None, "no timer runs");
    after(&mut world, 500);
    let idle = world.ask(&timer(), step("production", 0, no_data())).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }));
    world.done(&human("ann"), act("resume", "production"));
    after(&mut world, 9);
    assert_eq!(world.refused(&timer(), step("production", 0, no_data())), "not_due");
    after(&mut world, 1);
    world.done(&timer(), step("production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
}

#[test]
fn the_evaluator_holds_a_rollout_and_lets_it_go_on_with_its_clock_where_it_stood() {
    let mut world = rolling(0, PLAN);
    after(&mut world, 20);
    let held = json!({"finding": "held", "reason": "error rate is suspect"});
    world.done(&evaluator(), step("production", 0, held.clone()));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "held"));
    let again = world.ask(&evaluator(), step("production", 0, held)).expect("nothing to do");
    assert!(matches!(again, Verdict::AlreadyDone { .. }));
    after(&mut world, 100);
    world.done(&evaluator(), step("production", 0, no_data()));
    assert_eq!(status(&world, "production"), "running");
    assert_eq!(world.refused(&timer(), step("production", 0, no_data())), "not_due");
    after(&mut world, 10);
    world.done(&timer(), step("production", 0, no_data()));
    assert_eq!(exposure(&world, "production"), 50);
    // What is held, a person may advance all the same.
    world.done(&evaluator(), step("production", 1, json!({"finding": "held", "reason": "again"})));
    world.done(&human("ann"), act("advance", "production"));
    assert_eq!((exposure(&world, "production"), status(&world, "production")), (100, "completed"));
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
        let stepped = world.ask(&timer(), step("production", 0, no_data()));
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
    world.done(&timer(), step("production", 0, no_data()));
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
        world.done(&timer(), step("production", 0, no_data()));
        assert_eq!((exposure(&world, "production"), status(&world, "production")), (0, "killed"), "{reach}");
        world.done(&human("ann"), start("production", PLAN));
        assert_eq!((exposure(&world, "production"), status(&world, "production")), (10, "running"));
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
    let request = world.request(&timer(), step("production", 0, no_data()), None);
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
    let idle = world.ask(&timer(), step("production", 0, no_data())).expect("nothing to do");
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
    let idle = world.ask(&timer(), step("production", 0, no_data())).expect("nothing to do");
    assert!(matches!(idle, Verdict::AlreadyDone { .. }));
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
fn a_flag_that_is_archived_rolls_out_no_further() {
    let mut world = rolling(0, PLAN);
    world.done(&human("ann"), command(json!({"do": "archive_flag", "app": "shop", "flag": "f"})));
    assert_eq!(status(&world, "production"), "taken_over");
    assert_eq!(world.snapshot.next_rollout_due(UnixMs(0)), None);
    assert_eq!(world.snapshot.rollouts(&app("shop"), None).count(), 0);
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
    assert_eq!(Finding::default(), Finding::NotEnoughData);
}

/// What happens in a random history.
#[derive(Clone, Debug)]
enum Happens {
    /// The clock moves, also back.
    Clock(i64),
    /// The timer or the evaluator looks, at a stage that stands or does not.
    Looks { evaluator: bool, ahead: i8, finding: u8 },
    /// A person does something.
    Does(&'static str),
    /// A person sets an exposure.
    Sets(u32),
    /// A kill of the flag, or its end.
    Kill(bool),
}

fn happenings() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (-20_000_i64..100_000).prop_map(Happens::Clock),
        1 => (0_i64..10_000_000).prop_map(Happens::Clock),
        6 => (any::<bool>(), -1_i8..=1, 0_u8..6)
            .prop_map(|(evaluator, ahead, finding)| Happens::Looks { evaluator, ahead, finding }),
        2 => prop_oneof![Just("pause"), Just("resume"), Just("advance"), Just("start"), Just("abort")]
            .prop_map(Happens::Does),
        1 => (1_u32..100).prop_map(Happens::Sets),
        1 => any::<bool>().prop_map(Happens::Kill),
    ]
}

const RANDOM_PLAN: &str = "1%/10s,5%/30s,approve,25%/1m,50%/20s,98%/10s";

fn happen(world: &mut World, happens: &Happens) -> Option<Caller> {
    let (caller, asked) = match happens {
        Happens::Clock(ms) => {
            world.now = UnixMs(world.now.0.saturating_add_signed(*ms));
            return None;
        }
        Happens::Looks { evaluator: by_evaluator, ahead, finding } => {
            let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
            let stage = view.record().rollout(&env("production")).map_or(0, |rollout| rollout.stage);
            let finding = match finding {
                0 => json!({"finding": "held", "reason": "suspect"}),
                1 | 2 => json!({"finding": "shown_good"}),
                _ => no_data(),
            };
            let caller = if *by_evaluator { evaluator() } else { timer() };
            (caller, step("production", stage.saturating_add_signed(*ahead), finding))
        }
        Happens::Does("start") => (human("ann"), start("production", RANDOM_PLAN)),
        Happens::Does(verb) => (human("ann"), act(verb, "production")),
        Happens::Sets(exposure) => {
            (human("ann"), set("production", json!({"on": true, "exposure": exposure})))
        }
        Happens::Kill(true) => (human("ann"), kill(&format!("k{}", world.entries.len()), the_flag(), None)),
        Happens::Kill(false) => (human("ann"), revive(the_flag(), None)),
    };
    if let Ok(Verdict::Change(draft)) = world.ask(&caller, asked) {
        world.append(draft.into_entry(world.anchor()));
        return Some(caller);
    }
    None
}

proptest! {
    #[test]
    fn automation_raises_to_the_next_stage_alone_whatever_the_clock_does(
        tier in 0_u8..3,
        history in proptest::collection::vec(happenings(), 1..60),
    ) {
        let mut world = World::shop(tier).without_approvals();
        world.done(&human("ann"), start("production", RANDOM_PLAN));
        let served = |world: &World| {
            if world.snapshot.flag(&app("shop"), &flag("f")).expect("there").killed(&env("production")).is_some() {
                0
            } else {
                exposure(world, "production")
            }
        };
        for happens in &history {
            let (was, before) = (served(&world), rollout(&world, "production"));
            let Some(caller) = happen(&mut world, happens) else { continue };
            let (is, after) = (served(&world), rollout(&world, "production"));
            if caller == human("ann") {
                continue;
            }
            prop_assert!(after.stage == before.stage || after.stage == before.stage + 1, "{happens:?}: a stage is skipped");
            if is > was {
                prop_assert!(before.is_active(), "{happens:?}: a rollout that was over goes on");
                prop_assert_eq!(after.stage, before.stage + 1);
                prop_assert_eq!(is, after.exposure().milli_percent() / 1000);
                prop_assert_eq!(&before.status, &RolloutStatus::Running);
                prop_assert!(before.due_at().expect("its clock runs") <= world.now, "before its time");
                prop_assert!(!before.next().expect("a stage").approval, "nobody approved");
                prop_assert_eq!(after.since, world.now, "it is held for its own time");
            }
        }
        // A fold of the log from its checkpoint is the same.
        let checkpoint = world.snapshot.to_checkpoint();
        let bytes = checkpoint.encode();
        prop_assert_eq!(Snapshot::from_checkpoint(checkpoint).to_checkpoint().encode(), bytes);
    }
}
