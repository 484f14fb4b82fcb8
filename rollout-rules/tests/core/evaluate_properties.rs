//! What holds for every flag and everybody: precedence, growing exposure, shares, and that no check
//! fails.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use proptest::sample::select;
use rollout_rules::bucketing::{is_exposed, split_bucket};
use rollout_rules::condition::Condition;
use rollout_rules::context::Context;
use rollout_rules::flag::{Kills, Serve};
use rollout_rules::ids::Revision;
use rollout_rules::percent::Exposure;
use rollout_rules_tests::World;
use rollout_rules_tests::random::{NOW, UNITS, attribute, condition, world};
use serde_json::{Value, json};

/// One flag `f` whose answer is decided the slow way, from what people wrote. The order is that of law 8,
/// line by line.
fn expected(world: &World, key: &str, unit: Option<&str>, depth: usize) -> (String, &'static str) {
    let entry = world.flags.iter().find(|entry| entry.flag.key.as_str() == key).unwrap();
    let (flag, state) = (&entry.flag, &entry.state);
    let off = |reason: &'static str| (flag.off_variant.to_string(), reason);
    let environment = &world.environment.key;
    let none = Kills::default();
    let own = world.kills.flags.get(&flag.key).unwrap_or(&none);
    let heights = [
        (&world.kills.everything, "killed_everything"),
        (&world.kills.app, "killed_app"),
        (own, "killed_flag"),
    ];
    if let Some(&(_, reason)) = heights.iter().find(|(kills, _)| kills.in_environment(environment).is_some())
    {
        return off(reason);
    }
    let held = state.hold.as_ref().map(|hold| serde_json::to_value(hold.cause).unwrap());
    match held.as_ref().and_then(Value::as_str) {
        Some("guardrail") => return off("held_guardrail"),
        Some("budget") => return off("held_budget"),
        _ if state.expires_at <= NOW => return off("expired"),
        _ if world.environment.ends_at.is_some_and(|end| end <= NOW) => return off("environment_ended"),
        Some(_) => return off("held_gate"),
        None => {}
    }
    let revived = heights.iter().any(|(kills, _)| {
        let before = kills.off_before_in(environment);
        before > Revision::ZERO && state.targeting_revision <= before
    });
    let targeting = &state.targeting;
    let due = || targeting.schedule.iter().filter(|change| change.at <= NOW);
    if !targeting.on || revived || due().any(|change| change.on == Some(false)) {
        return off("off");
    }
    for prerequisite in &targeting.prerequisites {
        assert!(depth < 2, "the worlds of this test have chains of one");
        let (variant, reason) = expected(world, prerequisite.flag.as_str(), unit, depth + 1);
        let serves = ["target", "rule", "rule_split", "split", "exposed", "default"].contains(&reason);
        if !serves || !prerequisite.variants.iter().any(|wanted| wanted.as_str() == variant) {
            return off("prerequisite_failed");
        }
    }
    let is_unit = |other: &str| unit == Some(other);
    if let Some(target) = targeting.targets.iter().find(|t| t.units.iter().any(|other| is_unit(other))) {
        return (target.variant.to_string(), "target");
    }
    let pick = |serve: &Serve| match serve {
        Serve::Variant(key) => Some((key.to_string(), false)),
        Serve::Split(split) => {
            let total = split.weights.iter().map(|share| share.weight).sum();
            let mut bucket = split_bucket(split.seed.as_deref().unwrap_or(key), unit?, total);
            let share = split.weights.iter().find(|share| {
                let within = bucket < share.weight;
                bucket = bucket.saturating_sub(share.weight);
                within
            });
            Some((share.unwrap().variant.to_string(), true))
        }
    };
    for rule in &targeting.rules {
        let Condition::Test(test) = &rule.when else { panic!("the rules of this test are single tests") };
        let holds = unit.is_some_and(|unit| test.values.contains(&json!(unit)));
        if let Some((variant, split)) = pick(&rule.serve).filter(|_| holds) {
            return (variant, if split { "rule_split" } else { "rule" });
        }
    }
    let lowered = due().filter_map(|change| change.exposure);
    let exposure = lowered.fold(targeting.exposure, Exposure::min);
    let plain = matches!(targeting.serve, Serve::Variant(_));
    match unit {
        _ if exposure == Exposure::NONE => off("not_exposed"),
        _ if exposure == Exposure::ALL && plain => (pick(&targeting.serve).unwrap().0, "default"),
        None => off("no_unit"),
        Some(unit) if !is_exposed(key, unit, exposure) => off("not_exposed"),
        Some(_) => (pick(&targeting.serve).unwrap().0, if plain { "exposed" } else { "split" }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_what_decides_is_that_of_law_8(world in world(), unit in prop::option::of(select(&UNITS[..]))) {
        let context = unit.map_or_else(Context::anonymous, Context::new);
        let built = world.build();
        let answer = built.check("f", &context, NOW).unwrap();
        let found = (answer.variant().to_string(), answer.reason.code());
        prop_assert_eq!(found, expected(&world, "f", unit, 0));
    }

    #[test]
    fn exposure_only_ever_adds_units_as_it_grows(
        flag in "[a-z][a-z0-9/.-]{0,20}", unit in ".{1,40}", one in 0..=100_000_u32, other in 0..=100_000_u32,
    ) {
        let at = |milli| is_exposed(&flag, &unit, Exposure::from_milli_percent(milli).unwrap());
        let (less, more) = (one.min(other), one.max(other));
        prop_assert!(!at(less) || at(more));
        prop_assert!(!at(0) && at(100_000));
    }

    #[test]
    fn no_condition_and_no_context_makes_a_check_fail_and_a_negation_is_the_opposite(
        condition in condition(), a in attribute(), b in attribute(), unit in ".{0,10}",
    ) {
        let rule = |id: &str, when: &Value| json!({"id": id, "when": when, "serve": {"variant": "yes"}});
        let flag = |key: &str, when: &Value| json!({
            "flag": {"key": key, "type": "boolean", "off_variant": "no", "created_at": 0,
                     "variants": [{"key": "yes", "value": true}, {"key": "no", "value": false}]},
            "state": {"expires_at": NOW.0 + 1, "targeting": {"on": true, "exposure": 100,
                "serve": {"variant": "no"}, "rules": [rule("r", when)]}},
            "revision": 1,
        });
        let segment = json!({"segment": {"key": "beta"}, "members": ["a"]});
        let world: World = serde_json::from_value(json!({
            "environment": {"key": "production"},
            "segments": {"app": [segment], "shared": []},
            "flags": [flag("is", &condition), flag("not", &json!({"not": condition}))],
        })).unwrap();
        let built = world.build();
        let context: Context =
            serde_json::from_value(json!({"targetingKey": unit, "a": a, "b": b})).unwrap();
        let is = built.check("is", &context, NOW).unwrap();
        let not = built.check("not", &context, NOW).unwrap();
        if is.flag().warnings().is_empty() {
            prop_assert_ne!(is.value(), not.value());
        } else {
            prop_assert!(is.value() == &json!(false) || not.value() == &json!(false));
        }
    }
}

#[test]
fn lowering_a_flag_raises_none_that_waits_for_its_off_variant() {
    let flag = |key: &str, targeting: Value| {
        json!({
            "flag": {"key": key, "type": "boolean", "off_variant": "off", "created_at": 0,
                     "variants": [{"key": "on", "value": true}, {"key": "off", "value": false}]},
            "state": {"expires_at": NOW.0 + 1, "targeting": targeting},
            "revision": 1,
        })
    };
    let dependent = json!({"on": true, "exposure": 100, "serve": {"variant": "on"},
        "prerequisites": [{"flag": "old", "variants": ["off"]}]});
    let answer = |on: bool, exposure: u32, serve: &str, kills: Value| {
        let old = json!({"on": on, "exposure": exposure, "serve": {"variant": serve}});
        let world: World = serde_json::from_value(json!({
            "environment": {"key": "production"}, "kills": {"flags": {"old": kills}},
            "flags": [flag("old", old), flag("new", dependent.clone())],
        }))
        .unwrap();
        world.build().check("new", &Context::new("ann"), NOW).unwrap().reason.code()
    };
    let none = json!({});
    assert_eq!(answer(true, 100, "on", none.clone()), "prerequisite_failed");
    assert_eq!(answer(true, 100, "on", json!({"all": {"id": "k", "at": 0}})), "prerequisite_failed");
    assert_eq!(answer(false, 100, "on", none.clone()), "prerequisite_failed");
    assert_eq!(answer(true, 0, "on", none.clone()), "prerequisite_failed");
    assert_eq!(answer(true, 100, "off", none), "default", "it really serves the variant");
}

#[test]
fn units_fall_into_the_shares_of_a_split_by_weight() {
    const UNITS: u32 = 60_000;
    let weights = [10_u32, 25, 65];
    let mut counts = [0_u32; 3];
    for unit in 0..UNITS {
        let bucket = split_bucket("checkout", &format!("user-{unit}"), 100);
        let ends = weights.iter().scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        counts[ends.take_while(|end| bucket >= *end).count()] += 1;
    }
    for (count, weight) in counts.iter().zip(weights) {
        let wanted = UNITS / 100 * weight;
        // Four standard deviations of the largest share.
        assert!(count.abs_diff(wanted) < 470, "{counts:?} for {weights:?}");
    }
}
