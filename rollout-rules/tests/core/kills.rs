//! Kills: at three heights, in one environment or all, idempotent, and taken back to off.

use crate::world;

use rollout_rules::change::{Change, Command, Reach};
use rollout_rules::decide::{Refusal, Request, Verdict, WaitingKill, decide_under};
use rollout_rules::flag::Height;
use rollout_rules::ids::KillId;
use serde_json::{Value, json};
use world::{
    World, admin, agent, app, ci, command, env, evaluator, flag, human, kill, revive, set, the_flag,
};

fn shop_with_flag_on() -> World {
    let mut world = World::shop(0);
    for environment in ["production", "sandbox", "pr-1"] {
        world.done(&human("ann"), set(environment, json!({"on": true})));
    }
    world
}

fn heights() -> [Value; 3] {
    [json!("everything"), json!({"app": {"app": "shop"}}), the_flag()]
}

fn on(world: &World) -> [bool; 3] {
    ["production", "sandbox", "pr-1"].map(|environment| world.is_on(environment))
}

#[test]
fn a_kill_at_any_height_turns_the_flag_off_everywhere_and_a_revival_leaves_it_off() {
    for reach in heights() {
        let mut world = shop_with_flag_on();
        assert_eq!(on(&world), [true; 3]);
        world.done(&human("ann"), kill("k1", reach.clone(), None));
        assert_eq!(on(&world), [false; 3], "{reach}");
        world.done(&human("ann"), revive(reach.clone(), None));
        assert_eq!(on(&world), [false; 3], "{reach}: never straight back to what it was");
        world.done(&human("ann"), set("production", json!({"on": true})));
        assert_eq!(on(&world), [true, false, false], "{reach}");
    }
}

#[test]
fn a_kill_ahead_of_the_log_is_in_effect_at_the_revision_that_last_changed_the_flag() {
    let mut world = shop_with_flag_on();
    let verdict = world.ask(&human("ann"), kill("k1", the_flag(), None)).expect("allowed");
    let Verdict::Change(draft) = verdict else { panic!("a kill is a change") };
    let entry = draft.into_entry(world.anchor());
    world.snapshot = world.snapshot.apply(world.snapshot.revision(), world.snapshot.hash(), &entry);
    assert_eq!(on(&world), [false; 3], "the last of them was changed at the snapshot's own revision");
}

#[test]
fn a_kill_in_a_preview_holds_when_another_of_its_key_takes_its_place() {
    for reach in heights() {
        let mut world = shop_with_flag_on();
        world.done(&human("ann"), kill("k1", reach.clone(), Some("pr-1")));
        world.wait_days(60);
        let anew = json!({"do": "create_environment", "app": "shop", "key": "pr-1", "kind": "preview"});
        world.done(&human("ann"), command(anew));
        let flag = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
        assert!(flag.killed(&env("pr-1")).is_some(), "{reach}");
        assert_eq!(world.refused(&human("ann"), set("pr-1", json!({"on": true}))), "killed", "{reach}");
        world.done(&human("ann"), revive(reach.clone(), Some("pr-1")));
    }
}

#[test]
fn a_kill_in_one_environment_leaves_the_others_alone() {
    for reach in heights() {
        let mut world = shop_with_flag_on();
        world.done(&human("ann"), kill("k1", reach.clone(), Some("production")));
        assert_eq!(on(&world), [false, true, true], "{reach}");
        world.done(&human("ann"), revive(reach.clone(), Some("production")));
        assert_eq!(on(&world), [false, true, true], "{reach}");
    }
}

#[test]
fn reviving_one_environment_of_what_is_killed_in_all_keeps_the_others_killed() {
    for reach in &heights()[1..] {
        let mut world = shop_with_flag_on();
        world.done(&human("ann"), kill("k1", reach.clone(), None));
        world.done(&human("ann"), revive(reach.clone(), Some("sandbox")));
        world.done(&human("ann"), set("sandbox", json!({"on": true})));
        assert_eq!(on(&world), [false, true, false], "{reach}");
        assert_eq!(
            world.refused(&human("ann"), set("production", json!({"serve": {"variant": "off"}}))),
            "killed"
        );
    }
    let mut world = shop_with_flag_on();
    world.done(&human("ann"), kill("k1", json!("everything"), None));
    assert_eq!(
        world.refused(&human("ann"), revive(json!("everything"), Some("sandbox"))),
        "killed_everywhere"
    );
}

#[test]
fn a_kill_of_all_environments_covers_those_made_later() {
    let mut world = shop_with_flag_on();
    world.done(&human("ann"), kill("k1", the_flag(), None));
    world.done(
        &human("ann"),
        command(json!({"do": "create_environment", "app": "shop", "key": "late", "kind": "sandbox"})),
    );
    assert_eq!(world.refused(&human("ann"), set("late", json!({"on": true}))), "killed");
}

#[test]
fn the_same_kill_id_is_the_same_kill_also_after_it_was_taken_back() {
    let mut world = shop_with_flag_on();
    let first = world.done(&human("ann"), kill("k1", the_flag(), None));
    let again = world.ask(&human("ann"), kill("k1", the_flag(), None));
    assert_eq!(again, Ok(Verdict::AlreadyDone { revision: first }));
    world.done(&human("ann"), revive(the_flag(), None));
    world.done(&human("ann"), set("production", json!({"on": true})));
    let late = world.ask(&human("ann"), kill("k1", the_flag(), None));
    assert_eq!(late, Ok(Verdict::AlreadyDone { revision: first }), "a late retry is no new act");
    // Nor is it, if a node's journal appends it without asking.
    let kill_id = KillId::new("k1").expect("an id");
    let reach = Reach::Flag { app: app("shop"), flag: flag("f") };
    world.append_change(Change::Killed { kill_id, reach, environment: None });
    assert!(world.is_on("production"));
    assert_eq!(world.refused(&human("ann"), kill("k1", json!("everything"), None)), "kill_id_taken");
    world.done(&human("ann"), kill("k2", the_flag(), None));
    assert!(!world.is_on("production"));
}

#[test]
fn a_stale_enable_does_not_undo_a_kill_at_any_height() {
    for reach in heights() {
        let mut world = shop_with_flag_on();
        world.done(&human("ann"), set("production", json!({"on": false})));
        let seen = world.revision();
        world.done(&human("bob"), kill("k1", reach.clone(), None));
        world.done(&human("bob"), revive(reach.clone(), None));
        let refusal = world
            .ask_seen(&human("ann"), set("production", json!({"on": true})), Some(seen))
            .expect_err("it was killed and revived since");
        assert_eq!(refusal.code(), "stale", "{reach}");
        let rollout_rules::decide::Refusal::Stale { changed, .. } = refusal else { unreachable!() };
        let kinds: Vec<&str> = changed.iter().map(|touch| touch.change.as_str()).collect();
        assert_eq!(kinds, ["killed", "revived"], "{reach}: it says what changed");
    }
}

#[test]
fn nothing_raises_a_killed_flag_and_the_refusal_names_the_kill() {
    for (reach, height) in heights().into_iter().zip(["everything", "app", "flag"]) {
        let mut world = shop_with_flag_on();
        world.done(&human("ann"), kill("k1", reach, None));
        let refusal = world
            .ask(&human("ann"), set("production", json!({"serve": {"variant": "off"}})))
            .expect_err("it is on underneath");
        assert_eq!(refusal.code(), "killed");
        assert!(refusal.to_string().contains("k1") && refusal.to_string().contains(height), "{refusal}");
        world.done(&human("ann"), set("production", json!({"on": false})));
    }
}

#[test]
fn a_kill_names_no_revision_and_is_not_stale() {
    let world = shop_with_flag_on();
    for who in [human("ann"), ci(), agent(), evaluator(), admin()] {
        let seen = Some(rollout_rules::ids::Revision(1));
        assert!(world.ask_seen(&who, kill("k1", the_flag(), None), seen).is_ok(), "{who:?}");
    }
}

#[test]
fn a_kill_of_what_is_not_there_says_so() {
    let mut world = shop_with_flag_on();
    let ann = human("ann");
    let nothing = [
        kill("k", json!({"app": {"app": "nope"}}), None),
        kill("k", json!({"flag": {"app": "shop", "flag": "nope"}}), None),
        kill("k", the_flag(), Some("nope")),
    ];
    for command in nothing {
        assert_eq!(world.refused(&ann, command), "not_found");
    }
    world.done(&ann, command(json!({"do": "archive_flag", "app": "shop", "flag": "f"})));
    assert_eq!(world.refused(&ann, kill("k", the_flag(), None)), "not_found");
}

#[test]
fn a_revival_where_nothing_is_killed_points_to_the_kill_above() {
    let mut world = shop_with_flag_on();
    let ann = human("ann");
    assert_eq!(world.refused(&ann, revive(the_flag(), None)), "not_killed");
    world.done(&ann, kill("k1", json!({"app": {"app": "shop"}}), None));
    let refusal = world.ask(&ann, revive(the_flag(), None)).expect_err("the app is killed, not the flag");
    assert!(refusal.to_string().contains("height of app"), "{refusal}");
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    let (height, killed) = view.killed(&env("production")).expect("killed");
    assert_eq!((height, killed.id.as_str()), (Height::App, "k1"));
}

#[test]
fn a_second_kill_keeps_the_name_of_the_first() {
    let mut world = shop_with_flag_on();
    world.done(&human("ann"), kill("k1", the_flag(), None));
    world.done(&human("bob"), kill("k2", the_flag(), None));
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    assert_eq!(view.killed(&env("production")).expect("killed").1.id.as_str(), "k1");
    world.done(&human("bob"), revive(the_flag(), None));
    assert!(view_killed(&world).is_none());
}

fn view_killed(world: &World) -> Option<Height> {
    let view = world.snapshot.flag(&app("shop"), &flag("f"))?;
    view.killed(&env("production")).map(|(height, _)| height)
}

#[test]
fn a_scheduled_raise_does_not_outlive_a_kill() {
    let mut world = World::shop(0);
    let at = world.now.plus(rollout_rules::time::DurationMs(1_000));
    let later = json!({"schedule": [{"id": "s", "at": at.0, "on": true}]});
    world.done(&human("ann"), set("production", later));
    world.done(&human("ann"), kill("k1", the_flag(), None));
    world.done(&human("ann"), revive(the_flag(), None));
    world.now = at;
    let due: Vec<_> = world.snapshot.due(world.now).cloned().collect();
    assert_eq!(due.len(), 1, "the timer finds it");
    let apply = Command::ApplySchedule {
        app: app("shop"),
        flag: flag("f"),
        environment: env("production"),
        schedule: due[0].schedule.clone(),
    };
    world.done(&world::timer(), apply);
    assert!(!world.is_on("production"), "what was written before the kill does not turn it on again");
    assert_eq!(world.snapshot.due(world.now).count(), 0, "and the step is gone");
}

#[test]
fn whoever_takes_kills_of_everything_back_has_seen_them_all() {
    let mut world = shop_with_flag_on();
    let everything = json!("everything");
    world.done(&human("ann"), kill("k1", everything.clone(), None));
    let seen = world.snapshot.kills_revision();
    world.done(&human("bob"), kill("k2", everything.clone(), None));
    let refused = world.ask_seen(&human("ann"), revive(everything.clone(), None), Some(seen));
    assert_eq!(refused.expect_err("k2 came since").code(), "stale");
    let seen = world.snapshot.kills_revision();
    assert!(world.ask_seen(&human("ann"), revive(everything, None), Some(seen)).is_ok());
}

#[test]
fn a_kill_of_everything_in_an_environment_that_no_app_has_is_refused_by_its_name() {
    let mut world = shop_with_flag_on();
    let misspelt = kill("k1", json!("everything"), Some("prodution"));
    let refusal = world.ask(&human("ann"), misspelt).expect_err("it would stop nothing");
    assert_eq!(refusal.code(), "not_found");
    assert!(refusal.to_string().contains("`prodution`"), "{refusal}");
    world.done(&human("ann"), kill("k1", json!("everything"), Some("production")));
    assert_eq!(on(&world), [false, true, true]);
    let mut empty = World::empty();
    empty.done(&human("ann"), kill("k2", json!("everything"), None));
}

#[test]
fn nothing_is_raised_under_a_kill_that_the_log_has_not_taken() {
    for (reach, height) in heights().into_iter().zip([Height::Everything, Height::App, Height::Flag]) {
        let world = World::shop(0);
        let waiting = WaitingKill {
            kill_id: KillId::new("k1").expect("an id"),
            reach: serde_json::from_value(reach).expect("a reach"),
            environment: Some(env("production")),
        };
        let ask = |environment: &str, patch: Value| {
            let request = world.request(&human("ann"), set(environment, patch), Some(world.revision()));
            decide_under(&world.snapshot, std::slice::from_ref(&waiting), &world.rules, &request, world.now)
        };
        let refusal = ask("production", json!({"on": true})).expect_err("a raise");
        assert_eq!(refusal, Refusal::Killed { height, kill_id: waiting.kill_id.clone() });
        assert!(ask("production", json!({"exposure": 5})).is_ok(), "it serves nobody more");
        assert!(ask("sandbox", json!({"on": true})).is_ok(), "nothing is killed there");
    }
}

#[test]
fn an_idempotency_key_refuses_no_kill_and_is_not_used_up_by_one() {
    let mut world = World::shop(0);
    let key = Some("once".parse().expect("a key"));
    let under_key = |world: &World, command: Command| {
        world.decide(&Request { idempotency_key: key.clone(), ..world.request(&human("ann"), command, None) })
    };
    let make = command(json!({"do": "create_flag", "app": "shop", "key": "g"}));
    for one in [kill("k1", the_flag(), None), make.clone(), kill("k2", the_flag(), None)] {
        let Ok(Verdict::Change(draft)) = under_key(&world, one.clone()) else { panic!("{one:?}") };
        let anchor = world.anchor();
        world.append(draft.into_entry(anchor));
    }
    assert!(matches!(under_key(&world, make), Ok(Verdict::AlreadyDone { .. })), "it names the flag");
}
