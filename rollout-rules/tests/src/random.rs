//! Random flags, conditions and attributes over a small set of names, so that they meet.
#![allow(clippy::unwrap_used, reason = "for tests")]

use proptest::prelude::*;
use proptest::sample::select;
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

use super::World;

/// When the random flags are asked.
pub const NOW: UnixMs = UnixMs(1_800_000_000_000);
const VARIANTS: [&str; 3] = ["a", "b", "off"];
/// Whom they are asked for.
pub const UNITS: [&str; 4] = ["ann", "bob", "eve", "joe"];

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

/// Some flags that refer to each other.
pub fn world() -> impl Strategy<Value = World> {
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

/// The value of an attribute.
pub fn attribute() -> impl Strategy<Value = Value> {
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

/// A condition, as people write it.
pub fn condition() -> impl Strategy<Value = Value> {
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
