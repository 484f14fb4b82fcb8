//! Holds: automation puts a flag state on its off variant, for the revision that it measured.

use crate::world;

use serde_json::json;
use world::{World, command, evaluator, human, set};

fn hold() -> rollout_rules::change::Command {
    command(json!({"do": "hold", "app": "shop", "flag": "f", "environment": "production",
        "cause": "guardrail"}))
}

#[test]
fn automation_holds_no_flag_that_changed_since_it_was_measured() {
    let mut world = World::shop(0);
    let measured = world.done(&human("ann"), set("production", json!({"on": true})));
    world.done(&human("ann"), set("production", json!({"on": true, "exposure": 10})));
    let refused = world.ask_seen(&evaluator(), hold(), Some(measured)).expect_err("it is mended already");
    assert_eq!(refused.code(), "stale");
    world.done(&evaluator(), hold());
    assert!(!world.is_on("production"));
}

#[test]
fn a_hold_that_a_human_ended_does_not_come_back_from_a_node_that_lagged() {
    let mut world = World::shop(0);
    let measured = world.done(&human("ann"), set("production", json!({"on": true})));
    world.done(&evaluator(), hold());
    world.done(&human("ann"), set("production", json!({"on": true})));
    let refused = world.ask_seen(&evaluator(), hold(), Some(measured)).expect_err("it acted once");
    assert_eq!(refused.code(), "stale");
    assert!(world.is_on("production"));
}
