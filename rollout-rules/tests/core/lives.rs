//! Flags die on a date, previews end, scheduled steps fall due: judged from `now`, never from a timer.

use crate::world;

use rollout_rules::change::Command;
use rollout_rules::decide::Verdict;
use rollout_rules::flag::MAX_ENVIRONMENTS;
use rollout_rules::ids::ScheduleId;
use rollout_rules::time::{DAY, DurationMs, UnixMs};
use serde_json::{Value, json};
use world::{World, agent, app, ci, command, env, flag, human, kill, set, the_flag, timer};

fn extend(environment: Option<&str>, expires_at: Option<UnixMs>) -> Command {
    command(json!({"do": "extend_flag", "app": "shop", "flag": "f", "environment": environment,
        "expires_at": expires_at.map(|at| at.0)}))
}

fn expiry(world: &World, environment: &str) -> UnixMs {
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    view.record().state(&env(environment)).expect("the state").state().expires_at
}

fn days(world: &World, days: u64) -> UnixMs {
    world.now.plus(DurationMs::days(days))
}

#[test]
fn a_flag_lives_as_long_as_its_tier_and_environment_say() {
    for (tier, [production, sandbox]) in [(0, [14, 14]), (1, [30, 30]), (2, [90, 30])] {
        let world = World::shop(tier);
        assert_eq!(expiry(&world, "production"), days(&world, production), "tier {tier}");
        assert_eq!(expiry(&world, "sandbox"), days(&world, sandbox), "tier {tier}");
        assert_eq!(expiry(&world, "pr-1"), days(&world, 2), "no longer than its preview");
    }
}

#[test]
fn an_expired_flag_is_off_at_once_and_cannot_be_turned_on() {
    let mut world = World::shop(0);
    world.done(&human("ann"), set("production", json!({"on": true})));
    world.now = UnixMs(expiry(&world, "production").0 - 1);
    assert!(world.is_on("production"));
    world.now = expiry(&world, "production");
    assert!(!world.is_on("production"), "no timer had to run");
    assert_eq!(
        world.refused(&human("ann"), set("production", json!({"exposure": 1, "serve": {"variant": "off"}}))),
        "expired"
    );
    world.done(&human("ann"), set("production", json!({"on": false})));
}

#[test]
fn an_expiry_that_is_asked_for_is_cut_to_what_each_environment_allows() {
    let mut world = World::shop(0);
    let make = |key: &str, at: UnixMs| {
        command(json!({"do": "create_flag", "app": "shop", "key": key, "expires_at": at.0}))
    };
    // Tier 0: 14 days in production, 30 in a sandbox.
    let refusal = world.ask(&human("ann"), make("g", days(&world, 31))).expect_err("too long for all");
    assert_eq!(refusal.code(), "expiry_beyond_cap");
    assert!(refusal.to_string().contains(&days(&world, 30).to_string()), "it names the cap: {refusal}");
    assert_eq!(world.refused(&human("ann"), make("g", world.now)), "invalid");
    world.done(&human("ann"), make("g", days(&world, 20)));
    let view = world.snapshot.flag(&app("shop"), &flag("g")).expect("the flag");
    let at = |key: &str| view.record().state(&env(key)).expect("the state").state().expires_at;
    assert_eq!(
        (at("production"), at("sandbox"), at("pr-1")),
        (days(&world, 14), days(&world, 20), days(&world, 2))
    );
}

#[test]
fn an_extension_needs_a_reason_counts_and_is_capped_from_now() {
    let mut world = World::shop(0);
    let silent = world.request(&human("ann"), extend(None, None), Some(world.revision()));
    world.now = days(&world, 7);
    assert_eq!(world.decide(&silent).expect_err("no reason").code(), "reason_required");
    let cap = days(&world, 14);
    let beyond = UnixMs(cap.0 + 1);
    assert_eq!(world.refused(&human("ann"), extend(Some("production"), Some(beyond))), "expiry_beyond_cap");
    assert_eq!(
        world.refused(&human("ann"), extend(Some("production"), Some(days(&world, 6)))),
        "invalid",
        "earlier than it is"
    );
    world.done(&human("ann"), extend(Some("production"), Some(cap)));
    assert_eq!(expiry(&world, "production"), cap);
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    assert_eq!(view.record().flag().extensions, 1);
    world.done(&human("ann"), extend(Some("production"), None));
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    assert_eq!(view.record().flag().extensions, 1, "nothing was left to extend");
}

#[test]
fn an_extension_everywhere_is_refused_where_it_would_change_nothing() {
    let mut world = World::shop(0);
    world.wait_days(1);
    // The preview ends with the second day, and its flags with it: it cannot get any longer.
    let refusal = world.ask(&human("ann"), extend(None, Some(days(&world, 14)))).expect_err("not in pr-1");
    assert!(refusal.to_string().contains("`pr-1`"), "{refusal}");
    world.done(&human("ann"), extend(Some("production"), Some(days(&world, 14))));
    world.wait_days(1);
    let until = days(&world, 20);
    world.done(&human("ann"), extend(None, Some(until)));
    assert_eq!(expiry(&world, "production"), days(&world, 14), "cut to what it allows");
    assert_eq!(expiry(&world, "sandbox"), until, "not shortened");
}

#[test]
fn waking_an_expired_flag_that_is_on_is_a_raise() {
    let mut world = World::shop(0);
    world.done(&human("ann"), set("production", json!({"on": true})));
    world.now = expiry(&world, "production");
    world.gated();
    assert_eq!(world.refused(&human("ann"), extend(None, None)), "gate_missing");
    assert_eq!(world.refused(&world::agent(), extend(None, None)), "agents_only_propose");
    world.rules.gate = rollout_rules::governance::Enforcement::Report;
    assert_eq!(world.refused(&ci(), extend(None, None)), "tier_limit", "to everybody a person wakes it");
    world.done(&human("ann"), extend(None, None));
    assert!(world.is_on("production"));
}

#[test]
fn a_preview_ends_with_all_that_is_in_it_and_can_be_given_more_time() {
    let mut world = World::shop(0);
    world.done(&human("ann"), set("pr-1", json!({"on": true})));
    world.wait_days(1);
    let ends_at = days(&world, 3);
    let more = |at: UnixMs| {
        command(json!({"do": "extend_environment", "app": "shop", "environment": "pr-1", "ends_at": at.0}))
    };
    assert_eq!(world.refused(&human("ann"), more(days(&world, 15))), "expiry_beyond_cap");
    world.done(&ci(), more(ends_at));
    world.done(&ci(), extend(Some("pr-1"), None));
    assert_eq!(expiry(&world, "pr-1"), ends_at, "no flag outlives its preview");
    world.wait_days(2);
    assert!(world.is_on("pr-1"));
    world.wait_days(1);
    assert!(!world.is_on("pr-1"));
    let end = command(
        json!({"do": "extend_environment", "app": "shop", "environment": "sandbox", "ends_at": days(&world, 1).0}),
    );
    assert_eq!(world.refused(&human("ann"), end), "invalid", "only previews end");
}

#[test]
fn previews_that_have_ended_make_room_for_new_ones() {
    let mut world = World::shop(0);
    let preview = |nth: usize| {
        command(
            json!({"do": "create_environment", "app": "shop", "key": format!("pr-{nth}"), "kind": "preview"}),
        )
    };
    let count = |world: &World| world.snapshot.app(&app("shop")).expect("the app").environments().len();
    let is_there = |world: &World, key: &str| {
        world.snapshot.app(&app("shop")).expect("the app").environment(&env(key)).is_some()
    };
    // `production`, `sandbox` and `pr-1` are there.
    for nth in 2..=MAX_ENVIRONMENTS - 2 {
        world.now = world.now.plus(DurationMs(1));
        world.done(&ci(), preview(nth));
    }
    world.done(&ci(), set("pr-5", json!({"on": true})));
    assert_eq!(count(&world), MAX_ENVIRONMENTS);
    assert_eq!(world.refused(&ci(), preview(99)), "too_many");
    let end = |world: &World, key: &str| {
        let found = world.snapshot.app(&app("shop")).expect("the app").environment(&env(key)).expect("it");
        found.environment().ends_at.expect("a preview")
    };
    world.now = UnixMs(end(&world, "pr-5").0 - 1);
    assert!(world.is_on("pr-5"));
    assert_eq!(world.refused(&ci(), preview(5)), "already_exists");
    world.now = end(&world, "pr-5");
    world.done(&ci(), preview(5));
    assert_eq!(count(&world), MAX_ENVIRONMENTS, "it took the place of the one of its name");
    assert!(end(&world, "pr-5") > world.now && !world.is_on("pr-5"), "nothing of the old one is left");
    world.done(&ci(), set("pr-5", json!({"on": true})));
    assert!(world.is_on("pr-5"));
    assert!(is_there(&world, "pr-1") && is_there(&world, "pr-2"), "nobody needed their places");
    world.done(&ci(), preview(99));
    assert!(!is_there(&world, "pr-1") && is_there(&world, "pr-2"), "the longest ended goes first");
    assert_eq!(count(&world), MAX_ENVIRONMENTS);
    let end = days(&world, 1).0;
    let more = json!({"do": "extend_environment", "app": "shop", "environment": "pr-2", "ends_at": end});
    world.done(&ci(), command(more));
    world.done(&ci(), preview(100));
    assert!(is_there(&world, "pr-2") && !is_there(&world, "pr-3"), "what was extended counts again");
}

#[test]
fn whoever_may_not_take_a_kill_back_does_not_get_rid_of_it_with_its_preview() {
    let mut world = World::shop(0);
    let preview = |key: &str| {
        command(json!({"do": "create_environment", "app": "shop", "key": key, "kind": "preview"}))
    };
    let remove = || command(json!({"do": "remove_environment", "app": "shop", "environment": "pr-1"}));
    world.done(&human("ann"), kill("k1", the_flag(), Some("pr-1")));
    assert_eq!(world.refused(&ci(), remove()), "not_allowed");
    assert_eq!(world.refused(&agent(), remove()), "agents_only_propose");
    let silent = world.request(&human("ann"), remove(), None);
    assert_eq!(world.decide(&silent).expect_err("with its kill").code(), "reason_required");
    for nth in 2..=MAX_ENVIRONMENTS - 2 {
        world.done(&ci(), preview(&format!("pr-{nth}")));
    }
    world.wait_days(15);
    world.done(&ci(), preview("pr-99"));
    let found = world.snapshot.app(&app("shop")).expect("the app");
    assert!(found.environment(&env("pr-1")).is_some(), "another makes room");
    assert_eq!(found.environments().len(), MAX_ENVIRONMENTS);
    world.done(&human("ann"), remove());
}

#[test]
fn what_was_seen_of_a_preview_is_stale_once_another_has_its_place() {
    let mut world = World::shop(0);
    let seen = world.revision_of(&set("pr-1", json!({"on": true})));
    world.wait_days(15);
    world.done(
        &ci(),
        command(json!({"do": "create_environment", "app": "shop", "key": "pr-1", "kind": "preview"})),
    );
    let refusal = world.ask_seen(&ci(), set("pr-1", json!({"on": true})), seen).expect_err("another one");
    assert_eq!(refusal.code(), "stale");
    world.done(&ci(), set("pr-1", json!({"on": true})));
}

fn step(id: &str, at: UnixMs, what: Value) -> Value {
    let mut step = json!({"id": id, "at": at.0});
    step.as_object_mut().expect("an object").extend(what.as_object().expect("an object").clone());
    step
}

fn due(world: &mut World) {
    let due: Vec<_> = world.snapshot.due(world.now).cloned().collect();
    for due in due {
        let apply = Command::ApplySchedule {
            app: due.app,
            flag: due.flag,
            environment: due.environment,
            schedule: due.schedule,
        };
        world.done(&timer(), apply);
    }
}

#[test]
fn a_scheduled_step_lowers_without_a_timer_and_raises_only_with_it() {
    let mut world = World::shop(0);
    let (evening, morning) = (world.now.plus(DurationMs(10)), world.now.plus(DurationMs(20)));
    let steps = json!([step("off", evening, json!({"on": false})), step("on", morning, json!({"on": true}))]);
    world.done(&human("ann"), set("production", json!({"on": true, "schedule": steps})));
    world.now = UnixMs(evening.0 - 1);
    assert!(world.is_on("production"));
    world.now = evening;
    assert!(!world.is_on("production"), "nobody had to do anything");
    world.now = morning;
    assert!(!world.is_on("production"), "what raises is decided again");
    assert_eq!(world.snapshot.next_due(), Some(evening));
    due(&mut world);
    assert!(world.is_on("production"));
    assert_eq!(world.snapshot.next_due(), None);
}

#[test]
fn a_scheduled_raise_waits_for_the_gate_and_a_later_lowering_wins() {
    let mut world = World::shop(2).without_approvals();
    let (on, off) = (world.now.plus(DurationMs(10)), world.now.plus(DurationMs(20)));
    let steps = json!([step("on", on, json!({"on": true})), step("off", off, json!({"on": false}))]);
    world.done(&human("ann"), set("production", json!({"schedule": steps})));
    let apply = |id: &str| Command::ApplySchedule {
        app: app("shop"),
        flag: flag("f"),
        environment: env("production"),
        schedule: ScheduleId::new(id).expect("an id"),
    };
    assert_eq!(world.refused(&timer(), apply("on")), "not_due");
    assert_eq!(world.refused(&human("ann"), apply("on")), "not_allowed");
    world.now = on;
    world.gated();
    world.done(&timer(), apply("on"));
    assert_eq!(world.refused(&timer(), apply("on")), "gate_missing", "the owner was told, once");
    world.rules.gate = rollout_rules::governance::Enforcement::Report;
    world.now = off;
    due(&mut world);
    assert!(!world.is_on("production"), "the step that came late is followed by the one that turns it off");
    assert_eq!(world.snapshot.next_due(), None);
}

#[test]
fn a_schedule_that_raises_takes_what_a_raise_takes_when_it_is_written() {
    let mut world = World::shop(1);
    let at = world.now.plus(DAY);
    let raise = set("production", json!({"schedule": [step("s", at, json!({"on": true}))]}));
    let lower = set("production", json!({"schedule": [step("s", at, json!({"on": false}))]}));
    assert_eq!(world.refused(&human("ann"), raise.clone()), "approvals_needed");
    assert_eq!(world.refused(&world::agent(), raise.clone()), "agents_only_propose");
    assert!(matches!(world.ask(&world::agent(), lower), Ok(Verdict::Change(_))));
    world.rules.approvals.tier1 = 0;
    world.done(&human("ann"), raise);
    world.rules.approvals.tier1 = 1;
    let rules = json!({"rules": [{"id": "r", "when": {"all": []}, "serve": {"variant": "on"}}]});
    assert_eq!(
        world.refused(&human("ann"), set("production", rules)),
        "approvals_needed",
        "it would be served when the step falls due"
    );
    assert_eq!(
        world.refused(
            &human("ann"),
            set("production", json!({"schedule": [step("s", world.now, json!({"on": true}))]}))
        ),
        "invalid"
    );
    // Dropping a raise lowers.
    world.done(&human("ann"), set("production", json!({"schedule": []})));
}

#[test]
fn dropping_a_scheduled_lowering_is_a_raise() {
    let mut world = World::shop(1).without_approvals();
    let at = world.now.plus(DAY);
    let steps = json!([step("s", at, json!({"exposure": 5}))]);
    world.done(&human("ann"), set("production", json!({"on": true, "exposure": 50, "schedule": steps})));
    world.rules.approvals.tier1 = 1;
    assert_eq!(world.refused(&human("ann"), set("production", json!({"schedule": []}))), "approvals_needed");
    // Lowering below a step takes the step along, which would raise now.
    world.done(&human("ann"), set("production", json!({"exposure": 1})));
    world.now = at;
    due(&mut world);
    let view = world.snapshot.flag(&app("shop"), &flag("f")).expect("the flag");
    let targeting = view.targeting(&env("production"), world.now).expect("the state");
    assert_eq!((targeting.exposure.milli_percent(), targeting.schedule.len()), (1_000, 0));
}

#[test]
fn boundaries_name_the_moments_at_which_answers_change() {
    let mut world = World::shop(0);
    let (shop, production, preview) = (app("shop"), env("production"), env("pr-1"));
    let born = world.now;
    assert_eq!(world.snapshot.boundary(&shop, &production, born), UnixMs(0));
    assert_eq!(world.snapshot.next_boundary_in(&shop, &production, born), Some(expiry(&world, "production")));
    assert_eq!(world.snapshot.next_boundary(born), Some(expiry(&world, "pr-1")), "the first of all");
    let at = born.plus(DurationMs(5));
    world.done(
        &human("ann"),
        set("production", json!({"on": true, "schedule": [step("s", at, json!({"on": false}))]})),
    );
    assert_eq!(world.snapshot.next_boundary(born), Some(at));
    assert_eq!(world.snapshot.boundary(&shop, &production, at), at);
    assert_eq!(world.snapshot.boundary(&shop, &preview, at), UnixMs(0), "elsewhere nothing changes");
    world.done(&human("ann"), command(json!({"do": "archive_flag", "app": "shop", "flag": "f"})));
    assert_eq!(world.snapshot.next_boundary_in(&shop, &production, born), None);
    let end = world.snapshot.next_boundary(born);
    world.done(
        &human("ann"),
        command(json!({"do": "remove_environment", "app": "shop", "environment": "pr-1"})),
    );
    assert!(end.is_some() && world.snapshot.next_boundary(born).is_none());
}

#[test]
fn the_feed_revision_of_an_environment_moves_with_what_it_serves_and_with_nothing_else() {
    let mut world = World::shop(0);
    let shop = app("shop");
    let feed = |world: &World, key: &str| world.snapshot.feed_revision(&shop, &env(key));
    let (production, sandbox) = (feed(&world, "production"), feed(&world, "sandbox"));
    let now = world.done(&human("ann"), set("sandbox", json!({"on": true})));
    assert_eq!((feed(&world, "production"), feed(&world, "sandbox")), (production, now));
    assert!(sandbox < now);
    world.done(&world::admin(), command(json!({"do": "create_app", "key": "other"})));
    assert_eq!(feed(&world, "production"), production, "changes elsewhere do not spoil it");
    let now = world.done(&human("ann"), kill("k", json!("everything"), None));
    assert_eq!((feed(&world, "production"), feed(&world, "sandbox")), (now, now));
    let now = world.done(&human("ann"), kill("k2", the_flag(), Some("sandbox")));
    assert!(feed(&world, "production") < now && feed(&world, "sandbox") == now);
}
