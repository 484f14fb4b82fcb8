//! How previews end: told of once, then gone, and until then to be had back.

mod world;

use rollout_rules::change::{Change, Command};
use rollout_rules::decide::{PREVIEW_ENDED, PREVIEW_GRACE};
use rollout_rules::snapshot::{Apps, Subject};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::json;
use world::{World, admin, app, ci, command, env, human, kill, revive, set, the_flag, timer};

fn end() -> Command {
    command(json!({"do": "end_preview", "app": "shop", "environment": "pr-1"}))
}

fn extend(until: UnixMs) -> Command {
    command(json!({"do": "extend_environment", "app": "shop", "environment": "pr-1", "ends_at": until.0}))
}

fn ends_at(world: &World) -> UnixMs {
    let shop = world.snapshot.app(&app("shop")).expect("the app");
    shop.environment(&env("pr-1")).expect("it").environment().ends_at.expect("a preview")
}

fn is_there(world: &World) -> bool {
    world.snapshot.app(&app("shop")).expect("the app").environment(&env("pr-1")).is_some()
}

/// A shop whose preview has ended, and its grace too.
fn over() -> World {
    let mut world = World::shop(0);
    world.now = ends_at(&world).plus(PREVIEW_GRACE);
    world
}

#[test]
fn an_end_is_told_of_once_and_then_the_preview_is_gone() {
    let mut world = over();
    let told = world.done(&timer(), end());
    assert!(is_there(&world));
    let effect = world.snapshot.effect(told).expect("asked for").clone();
    assert_eq!(effect.effect, PREVIEW_ENDED);
    let entry = world.entries.last().expect("one").clone();
    let subject = Subject::of(&world.snapshot, &entry.change);
    assert_eq!((subject.apps, subject.environment), (Apps::One(app("shop")), Some(env("pr-1"))));
    world.done(&timer(), end());
    assert!(!is_there(&world));
    assert_eq!(world.snapshot.effect_count(), 0, "nobody has to say that it is done");
    assert_eq!(world.refused(&timer(), end()), "not_found");
    let request = Command::RequestEffect { effect: PREVIEW_ENDED.into(), payload: effect.payload };
    assert_eq!(world.refused(&timer(), request), "invalid");
    // Another of its key has an end of its own.
    let again = json!({"do": "create_environment", "app": "shop", "key": "pr-1", "kind": "preview"});
    world.done(&ci(), command(again));
    assert_eq!(world.refused(&timer(), end()), "not_due");
    world.now = ends_at(&world).plus(PREVIEW_GRACE);
    world.done(&timer(), end());
    assert!(matches!(world.entries.last().expect("one").change, Change::EffectRequested { .. }));
}

#[test]
fn a_preview_that_ended_can_be_had_back_for_a_day_and_not_after_it() {
    let mut world = World::shop(0);
    world.done(&human("ann"), set("pr-1", json!({"serve": {"variant": "on"}, "on": true})));
    world.now = UnixMs(ends_at(&world).plus(PREVIEW_GRACE).0 - 1);
    assert_eq!(world.refused(&timer(), end()), "not_due");
    let late = world.now.plus(DurationMs(60_000));
    world.done(&ci(), extend(late));
    assert_eq!(world.snapshot.preview_ends().map(|end| end.at).collect::<Vec<_>>(), [late]);
    world.now = late.plus(PREVIEW_GRACE);
    assert_eq!(world.refused(&ci(), extend(world.now.plus(DurationMs(60_000)))), "invalid");
    world.done(&timer(), end());
    world.now = late.plus(DurationMs(1));
    let told = "who destroys what belongs to it was told, whatever this clock says";
    assert_eq!(world.refused(&ci(), extend(world.now.plus(DurationMs(60_000)))), "invalid", "{told}");
}

#[test]
fn a_preview_with_a_kill_stays_until_people_take_it_back() {
    let mut world = over();
    world.done(&human("ann"), kill("k1", the_flag(), Some("pr-1")));
    assert_eq!(world.refused(&timer(), end()), "not_allowed");
    world.done(&human("ann"), revive(the_flag(), Some("pr-1")));
    world.done(&timer(), end());
    world.done(&timer(), end());
    assert!(!is_there(&world));
}

#[test]
fn only_a_timer_ends_a_preview_and_it_ends_nothing_else() {
    let world = over();
    for who in [human("ann"), ci(), admin()] {
        assert_eq!(world.refused(&who, end()), "not_allowed", "{who:?}");
    }
    let sandbox = command(json!({"do": "end_preview", "app": "shop", "environment": "sandbox"}));
    assert_eq!(world.refused(&timer(), sandbox), "not_allowed");
    let remove = command(json!({"do": "remove_environment", "app": "shop", "environment": "pr-1"}));
    assert_eq!(world.refused(&timer(), remove), "not_allowed");
}

#[test]
fn ends_are_known_again_from_a_checkpoint() {
    let world = World::shop(0);
    let stored = world.snapshot.to_checkpoint();
    let loaded = rollout_rules::snapshot::Snapshot::from_checkpoint(stored);
    let ends =
        |snapshot: &rollout_rules::snapshot::Snapshot| snapshot.preview_ends().cloned().collect::<Vec<_>>();
    assert_eq!(ends(&loaded), ends(&world.snapshot));
    assert_eq!(ends(&loaded).len(), 1);
}
