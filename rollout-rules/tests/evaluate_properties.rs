//! What holds for every flag and everybody: precedence, growing exposure, shares, and that no check
//! fails.
#![allow(clippy::unwrap_used, reason = "tests")]

mod flags;

use flags::World;
use proptest::prelude::*;
use proptest::sample::select;
use rollout_rules::bucketing::{is_exposed, split_bucket};
use rollout_rules::condition::Condition;
use rollout_rules::context::Context;
use rollout_rules::flag::{Kills, Serve};
use rollout_rules::ids::Revision;
use rollout_rules::percent::Exposure;
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

const NOW: UnixMs = UnixMs(1_800_000_000_000);

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

const VARIANTS: [&str; 3] = ["a", "b", "off"];
const UNITS: [&str; 4] = ["ann", "bob", "eve", "joe"];

fn seldom<T: std::fmt::Debug + Clone + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.15, value)
}

fn serve() -> impl Strategy<Value = Value> {
    let split = (0..4_u32, 1..4_u32, 0..4_u32, seldom(Just("seed"))).prop_map(|(a, b, c, seed)| {
        let weights: Vec<Value> = [a, b, c]
            .iter()
            .zip(VARIANTS)
            .map(|(weight, variant)| json!({"variant": variant, "weight": weight}))
            .collect();
        json!({"split": {"id": "s", "weights": weights, "seed": seed}})
    });
    prop_oneof![select(&VARIANTS[..]).prop_map(|variant| json!({"variant": variant})), split]
}

fn exposure() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(100), 0..=100_u32]
}

fn kills() -> impl Strategy<Value = Value> {
    let kill = || seldom(Just(json!({"id": "k", "at": 0})));
    (kill(), kill(), kill(), prop_oneof![6 => Just(0), 1 => 1..8_u64], seldom(1..8_u64)).prop_map(
        |(all, here, there, before, before_here)| {
            let mut kills =
                json!({"all": all, "environments": {}, "off_before": before, "off_before_in": {}});
            let mut set = |field: &str, environment: &str, value: Option<Value>| {
                if let Some(value) = value {
                    kills[field][environment] = value;
                }
            };
            set("environments", "production", here);
            set("environments", "sandbox", there);
            set("off_before_in", "production", before_here.map(Value::from));
            kills
        },
    )
}

fn state(prerequisite: bool) -> impl Strategy<Value = Value> {
    let units = prop::collection::vec(select(&UNITS[..]), 0..2);
    let rule = (select(&UNITS[..]), serve()).prop_map(|(unit, serve)| {
        let when = json!({"attribute": "targetingKey", "op": "in", "values": [unit]});
        json!({"id": "r", "when": when, "serve": serve})
    });
    let hold = select(&["guardrail", "budget", "gate"][..])
        .prop_map(|cause| json!({"cause": cause, "at": 0, "reason": "x"}));
    let moment = || prop_oneof![Just(NOW.0 - 1), Just(NOW.0), Just(NOW.0 + 1)];
    let scheduled = (moment(), prop::option::of(any::<bool>()), prop::option::of(exposure()))
        .prop_map(|(at, on, exposure)| json!({"id": "x", "at": at, "on": on, "exposure": exposure}));
    (
        (prop::bool::weighted(0.9), exposure(), serve(), units, prop::collection::vec(rule, 0..3)),
        (seldom(hold), prop::option::weighted(0.8, moment()), 1..8_u64),
        prop::collection::vec(scheduled, 0..2),
        prop::collection::vec(select(&VARIANTS[..]), 1..3),
    )
        .prop_map(
            move |((on, exposure, serve, units, rules), (hold, expires, revision), schedule, wanted)| {
                let prerequisites =
                    if prerequisite { json!([{"flag": "g", "variants": wanted}]) } else { json!([]) };
                json!({
                    "targeting": {"on": on, "exposure": exposure, "serve": serve, "rules": rules,
                        "targets": [{"variant": "b", "units": units}], "prerequisites": prerequisites,
                        "schedule": schedule},
                    "expires_at": expires.map_or(NOW.0 + 1, |at| at.max(NOW.0 - 1)),
                    "targeting_revision": revision,
                    "hold": hold,
                })
            },
        )
}

fn world() -> impl Strategy<Value = World> {
    let states = (any::<bool>().prop_flat_map(state), state(false));
    let ends = seldom(prop_oneof![Just(NOW.0), Just(NOW.0 + 1)]);
    (states, kills(), kills(), kills(), ends).prop_map(|((f, g), everything, app, own, ends)| {
        let flag = |key: &str, state: Value| {
            let variants: Vec<Value> = VARIANTS.iter().map(|v| json!({"key": v, "value": v})).collect();
            json!({"state": state, "revision": 9, "flag": {"key": key, "type": "string",
                "variants": variants, "off_variant": "off", "created_at": 0}})
        };
        serde_json::from_value(json!({
            "environment": {"key": "production", "ends_at": ends},
            "kills": {"everything": everything, "app": app, "flags": {"f": own}},
            "flags": [flag("f", f), flag("g", g)],
        }))
        .unwrap()
    })
}

fn attribute() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-cA-C0-9./:ßẞ -]{0,8}".prop_map(Value::from),
        select(&["1.2.3", "v2", "10.0.0.1", "::1", "2026-01-01T00:00:00Z", "12", "true"][..])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

fn condition() -> impl Strategy<Value = Value> {
    let operator = select(
        &[
            "in",
            "starts_with",
            "ends_with",
            "contains",
            "regex",
            "num_eq",
            "num_gt",
            "num_gte",
            "num_lt",
            "num_lte",
            "date_after",
            "date_before",
            "semver_eq",
            "semver_gt",
            "semver_gte",
            "semver_lt",
            "semver_lte",
            "cidr",
            "exists",
        ][..],
    );
    let path = select(&["a", "b", "a.b", "a.b.a", "targetingKey", "", "."][..]);
    let test = (path, operator, prop::collection::vec(attribute(), 0..4), any::<bool>())
        .prop_map(|(path, op, values, ci)| json!({"attribute": path, "op": op, "values": values, "ci": ci}));
    let leaf = prop_oneof![4 => test, 1 => select(&["beta", "shared:beta", "gone"][..])
        .prop_map(|segment| json!({"segment": segment}))];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|all| json!({"all": all})),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|any| json!({"any": any})),
            inner.prop_map(|not| json!({"not": not})),
        ]
    })
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
