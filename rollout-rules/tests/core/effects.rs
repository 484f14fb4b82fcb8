//! Effects: durable before they are done, and done by one node.

use crate::world;

use rollout_rules::change::Command;
use rollout_rules::ids::{NodeId, Revision};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::json;
use world::{World, agent, evaluator, human, timer};

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("an id")
}

fn claim(request: Revision, by: &str, lease_until: UnixMs) -> Command {
    Command::ClaimEffect { request, nth: None, node: node(by), lease_until }
}

fn finish(request: Revision, by: &str) -> Command {
    Command::FinishEffect { request, nth: None, node: node(by), succeeded: true, outcome: "done".into() }
}

#[test]
fn an_effect_is_claimed_by_one_node_until_its_lease_is_over() {
    let mut world = World::shop(0);
    let rollback = Command::RequestEffect { effect: "rollback".into(), payload: json!({"app": "shop"}) };
    let request = world.done(&evaluator(), rollback);
    assert_eq!(world.refused(&timer(), finish(request, "one")), "not_allowed", "nobody claimed it");
    let until = world.now.plus(DurationMs(30_000));
    world.done(&timer(), claim(request, "one", until));
    assert_eq!(world.refused(&timer(), claim(request, "two", until)), "effect_claimed");
    assert_eq!(world.refused(&timer(), finish(request, "two")), "effect_claimed");
    world.done(&timer(), claim(request, "one", until.plus(DurationMs(1))));
    world.now = until.plus(DurationMs(1));
    let until = world.now.plus(DurationMs(30_000));
    world.done(&timer(), claim(request, "two", until));
    assert_eq!(
        world.refused(&timer(), finish(request, "one")),
        "effect_claimed",
        "it was slow, and another has it"
    );
    world.done(&timer(), finish(request, "two"));
    assert_eq!(world.snapshot.effects().count(), 0);
    assert_eq!(world.refused(&timer(), claim(request, "one", until)), "not_found");
}

#[test]
fn the_first_of_two_claims_in_the_log_counts() {
    let mut world = World::shop(0);
    let request =
        world.done(&evaluator(), Command::RequestEffect { effect: "webhook".into(), payload: json!({}) });
    let until = world.now.plus(DurationMs(1_000));
    for name in ["one", "two"] {
        world.append_change(rollout_rules::change::Change::EffectClaimed {
            request,
            nth: None,
            node: node(name),
            lease_until: until,
        });
    }
    let claim = world.snapshot.effect(request).and_then(|effect| effect.claim.clone()).expect("claimed");
    assert_eq!(claim.node, node("one"));
}

#[test]
fn leases_are_short_and_effects_are_asked_for_by_tidegate_alone() {
    let mut world = World::shop(0);
    let ask = Command::RequestEffect { effect: "rollback".into(), payload: json!({}) };
    for who in [human("ann"), agent(), world::ci(), world::admin()] {
        assert_eq!(world.refused(&who, ask.clone()), "not_allowed", "{who:?}");
    }
    let request = world.done(&evaluator(), ask);
    let long = world.now.plus(DurationMs(10 * 60 * 1_000 + 1));
    assert_eq!(world.refused(&timer(), claim(request, "one", long)), "invalid");
    assert_eq!(world.refused(&timer(), claim(request, "one", world.now)), "invalid");
}

#[test]
fn a_hold_lasts_until_a_human_turns_the_flag_on_again() {
    let mut world = World::shop(0);
    let ann = human("ann");
    world.done(&ann, world::set("production", json!({"on": true})));
    let hold = world::command(
        json!({"do": "hold", "app": "shop", "flag": "f", "environment": "production", "cause": "guardrail"}),
    );
    assert_eq!(world.refused(&ann, hold.clone()), "not_allowed");
    world.done(&evaluator(), hold);
    assert!(!world.is_on("production"));
    world.done(&ann, world::set("production", json!({"exposure": 70})));
    assert!(!world.is_on("production"), "only `on` ends it");
    assert_eq!(world.refused(&agent(), world::set("production", json!({"on": true}))), "agents_only_propose");
    assert_eq!(world.refused(&evaluator(), world::set("production", json!({"on": true}))), "not_allowed");
    world.done(&ann, world::set("production", json!({"on": true, "exposure": 100})));
    assert!(world.is_on("production"));
    world.done(
        &ann,
        world::command(json!({"do": "update_flag", "app": "shop", "flag": "f", "critical": true})),
    );
    let budget = world::command(
        json!({"do": "hold", "app": "shop", "flag": "f", "environment": "production", "cause": "budget"}),
    );
    assert_eq!(world.refused(&evaluator(), budget), "invalid", "critical flags stay");
}
