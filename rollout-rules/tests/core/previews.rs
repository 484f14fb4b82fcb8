//! How previews end: told of once, then gone, and until then to be had back.

use crate::world;

use rollout_rules::change::{Change, Command};
use rollout_rules::decide::{PREVIEW_ENDED, PREVIEW_GRACE};
use rollout_rules::flag::MAX_ENVIRONMENTS;
use rollout_rules::snapshot::{Apps, Checkpoint, Snapshot, Subject};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
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
    world.done(&ci(), create("pr-1"));
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

fn remove(key: &str) -> Command {
    command(json!({"do": "remove_environment", "app": "shop", "environment": key}))
}

fn create(key: &str) -> Command {
    command(json!({"do": "create_environment", "app": "shop", "key": key, "kind": "preview"}))
}

/// What the last entry tells: which preview ended, and when.
fn told(world: &World) -> Value {
    let change = &world.entries.last().expect("one").change;
    let Change::EffectRequested { effect, payload } = change else { panic!("{change:?}") };
    assert_eq!(effect, PREVIEW_ENDED);
    payload.clone()
}

#[test]
fn the_end_of_a_preview_that_is_removed_before_it_is_told_once_afterwards() {
    for late in [false, true] {
        let mut world = World::shop(0);
        // Removed while it lives, or in the day after its end.
        let ended_at = if late { ends_at(&world) } else { world.now };
        world.now = if late { ended_at.plus(DurationMs(1)) } else { ended_at };
        world.done(&ci(), remove("pr-1"));
        assert!(!is_there(&world));
        world.now = world.now.plus(DurationMs(5_000));
        world.done(&timer(), end());
        assert_eq!(told(&world), json!({"app": "shop", "environment": "pr-1", "ended_at": ended_at}));
        assert_eq!((world.snapshot.untold_end_count(), world.snapshot.effect_count()), (0, 0));
        assert_eq!(world.refused(&timer(), end()), "not_found");
    }
}

#[test]
fn a_preview_that_was_told_of_is_not_told_of_again_when_people_remove_it() {
    let mut world = over();
    world.done(&timer(), end());
    world.done(&ci(), remove("pr-1"));
    assert_eq!((world.snapshot.untold_end_count(), world.snapshot.effect_count()), (0, 0));
    assert_eq!(world.refused(&timer(), end()), "not_found");
}

#[test]
fn only_previews_are_told_of_when_people_remove_them() {
    let mut world = World::shop(0);
    world.done(&admin(), remove("sandbox"));
    assert_eq!(world.snapshot.untold_end_count(), 0);
}

#[test]
fn who_keeps_what_belongs_to_a_preview_is_told_when_another_takes_its_place() {
    let mut world = World::shop(0);
    for nth in 2..=MAX_ENVIRONMENTS - 2 {
        world.done(&ci(), create(&format!("pr-{nth}")));
    }
    let ended_at = ends_at(&world);
    world.now = ended_at;
    world.done(&ci(), create("pr-99"));
    assert!(!is_there(&world), "the first made room");
    world.done(&timer(), end());
    assert_eq!(told(&world), json!({"app": "shop", "environment": "pr-1", "ended_at": ended_at}));
}

#[test]
fn what_belonged_to_a_preview_is_not_destroyed_under_the_next_of_its_key() {
    // It ended, and comes anew.
    let mut world = World::shop(0);
    world.now = ends_at(&world);
    world.done(&ci(), create("pr-1"));
    assert_eq!(world.snapshot.untold_end_count(), 0);
    // It was removed, and came anew before the timer ran.
    world.done(&ci(), remove("pr-1"));
    assert_eq!(world.snapshot.untold_end_count(), 1);
    world.done(&ci(), create("pr-1"));
    assert_eq!(world.snapshot.untold_end_count(), 0);
    assert_eq!(world.refused(&timer(), end()), "not_due");
}

#[test]
fn ends_are_known_again_from_a_checkpoint() {
    let mut world = World::shop(0);
    world.done(&ci(), create("pr-2"));
    world.done(&ci(), remove("pr-1"));
    let stored = world.snapshot.to_checkpoint().encode();
    let loaded = Snapshot::from_checkpoint(Checkpoint::decode(&stored).expect("a checkpoint"));
    let ends = |snapshot: &Snapshot| snapshot.preview_ends().cloned().collect::<Vec<_>>();
    let untold = |snapshot: &Snapshot| snapshot.untold_ends().collect::<Vec<_>>();
    assert_eq!(ends(&loaded), ends(&world.snapshot));
    assert_eq!(untold(&loaded), untold(&world.snapshot));
    assert_eq!((ends(&loaded).len(), untold(&loaded).len()), (1, 1));
}
