//! What automation does when a rule holds: once, on what it measured, and not too often.

use super::*;

#[test]
fn an_act_lowers_and_asks_in_one_entry_and_once_for_a_cause_and_revision() {
    let mut world = shop();
    let cause = Cause::Regressed(Sli::ErrorRate);
    let actions = ["flag off", "revert release", "run rollback", "notify on-call"];
    let act = acting(&world, &actions, cause);
    let before = world.entries.len();
    let revision = world.done(&evaluator(), act.clone());
    assert_eq!(world.entries.len(), before + 1);
    assert!(!world.is_on("production"));
    let asked: Vec<(String, Action)> = world
        .snapshot
        .runs(None)
        .map(|(id, run)| (id.to_string(), run.action().expect("one").clone()))
        .collect();
    let ids: Vec<String> = (0..3).map(|nth| format!("{revision}.{nth}")).collect();
    assert_eq!(asked.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), ids);
    assert_eq!(asked[0].1, Action::RevertRelease);
    // The same again is done already, whatever has happened since.
    assert_eq!(world.done(&evaluator(), act.clone()), revision);
    world.done(&human("ann"), set("production", json!({"on": true})));
    assert_eq!(world.done(&evaluator(), act.clone()), revision);
    assert!(world.is_on("production"), "what was measured was mended: it stays on");
    // Another cause on what is not served any more is stale.
    let Command::Act { acting: first } = &act else { panic!("an act") };
    let cause = Cause::Regressed(Sli::LatencyP95);
    let other = Command::Act { acting: Box::new(Acting { cause, ..Acting::clone(first) }) };
    assert_eq!(world.refused(&evaluator(), other), "stale");
    for caller in [human("ann"), admin(), ci(), agent(), timer()] {
        let act = acting(&world, &["flag off"], Cause::Invalid);
        assert_eq!(world.refused(&caller, act), "not_allowed", "{:?}", caller.actor);
    }
    let stored = Snapshot::from_checkpoint(world.snapshot.to_checkpoint());
    assert_eq!(stored.to_checkpoint().encode(), world.snapshot.to_checkpoint().encode());
    assert_eq!(stored.waiting_run_count(), 3);
}

#[test]
fn automation_acts_three_times_a_day_on_an_app_and_then_leaves_it_to_people() {
    let mut world = shop();
    let cause = Cause::Regressed(Sli::ErrorRate);
    for nth in 0..3 {
        world.done(&evaluator(), acting(&world, &["flag off"], cause));
        assert!(!world.is_on("production"), "{nth}");
        world.done(&human("ann"), set("production", json!({"on": true})));
        world.now = world.now.plus(DurationMs(1_000));
    }
    let refusal =
        world.ask(&evaluator(), acting(&world, &["flag off"], cause)).expect_err("it has acted thrice");
    let Refusal::LeftToPeople { until } = refusal else { panic!("{refusal}") };
    assert_eq!(until, world::START.plus(DAY));
    assert_eq!(refusal.code(), "left_to_people");
    // To tell somebody is no action.
    world.done(&evaluator(), acting(&world, &["notify on-call"], Cause::Suspect(Sli::ErrorRate)));
    // Nor is what a budget holds, which is judged in every environment.
    world.done(&evaluator(), out_of_budget());
    assert!(!world.is_on("production"));
    world.done(&human("ann"), set("production", json!({"on": true})));
    // A person's drill is not automation's.
    let drill = drill(&mut world, &["flag off"]);
    world.done(&human("ann"), drill);
    world.done(&human("ann"), set("production", json!({"on": true})));
    world.now = until;
    world.done(&evaluator(), acting(&world, &["flag off"], cause));
    assert!(!world.is_on("production"));
}

#[test]
fn acts_in_a_sandbox_leave_production_to_automation() {
    let mut world = shop();
    world.done(&human("ann"), set("sandbox", json!({"on": true})));
    let cause = Cause::Regressed(Sli::ErrorRate);
    let elsewhere = |world: &World| {
        let Command::Act { acting } = acting(world, &["run rollback"], cause) else { panic!("an act") };
        let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
        let measured = Some(view.record().state(&env("sandbox")).expect("its state").revision());
        Command::Act { acting: Box::new(Acting { environment: Some(env("sandbox")), measured, ..*acting }) }
    };
    for _ in 0..3 {
        let act = elsewhere(&world);
        world.done(&evaluator(), act);
        world.done(&human("ann"), set("sandbox", json!({"on": false})));
        world.done(&human("ann"), set("sandbox", json!({"on": true})));
    }
    let act = elsewhere(&world);
    assert_eq!(world.refused(&evaluator(), act), "left_to_people");
    world.done(&evaluator(), acting(&world, &["flag off"], cause));
    assert!(!world.is_on("production"));
}

#[test]
fn two_rules_that_hold_for_one_revision_do_both_what_they_say() {
    let mut world = shop();
    let by = |world: &World, text: &str| {
        let Command::Act { acting } = acting(world, &["flag off"], Cause::Regressed(Sli::ErrorRate)) else {
            panic!("an act")
        };
        let actions = rule(text).then().to_vec();
        Command::Act { acting: Box::new(Acting { guardrail: Some(rule(text)), actions, ..*acting }) }
    };
    // Who is told keeps nobody from acting, and both measured what was served before.
    let told = by(&world, "error_rate > 3% -> notify on-call");
    let lowers = by(&world, "error_rate > 10% for 1m -> flag off");
    let calls = by(&world, "error_rate > 5% for 1m -> flag off, run rollback");
    world.done(&evaluator(), told);
    let lowered = world.done(&evaluator(), lowers.clone());
    assert!(!world.is_on("production"));
    let called = world.done(&evaluator(), calls.clone());
    assert!(called > lowered);
    let runs: Vec<Action> = world.snapshot.runs(None).filter_map(|(_, run)| run.action().cloned()).collect();
    assert_eq!(runs.iter().map(ToString::to_string).collect::<Vec<_>>(), ["notify on-call", "run rollback"]);
    assert_eq!(world.done(&evaluator(), lowers), lowered, "each once");
    assert_eq!(world.done(&evaluator(), calls), called, "each once");
}

#[test]
fn what_is_found_of_a_whole_app_is_told_again_after_an_hour_and_not_when_it_is_found_again_in_old_slots() {
    let mut world = shop();
    let tell = |world: &World, found: UnixMs| {
        let cause = Cause::CommonMode(Sli::ErrorRate);
        let Command::Act { acting } = acting(world, &["notify on-call"], cause) else { panic!("an act") };
        let (flag, measured, guardrail) = (None, None, None);
        Command::Act { acting: Box::new(Acting { flag, measured, guardrail, found: Some(found), ..*acting }) }
    };
    let first = world.now;
    let told = world.done(&evaluator(), tell(&world, first));
    world.now = first.plus(HOUR);
    // A slot of then that is judged again later, as after a restart.
    assert_eq!(world.done(&evaluator(), tell(&world, first)), told);
    assert!(world.done(&evaluator(), tell(&world, first.plus(HOUR))) > told);
}
