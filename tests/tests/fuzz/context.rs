//! Evaluation contexts, as clients send them.

use std::collections::BTreeSet;

use rollout_rules::context::{Attribute, Context};
use rollout_rules::ids::Digest;
use rollout_rules::time::UnixMs;
use rollout_rules_tests::{Built, World};
use serde_json::{Map, Value, json};

use crate::mutate::Chance;
use crate::run::{Outcome, Target};
use crate::shapes::manner;
use crate::tree;

const CONDITIONS: &str = include_str!("../../../rollout-rules/golden/conditions-v1.jsonl");
const FLAGS: &str = include_str!("../../../rollout-rules/golden/flags-v1.jsonl");

const TOKENS: &[&str] = &[
    "\"targetingKey\":",
    "\"a\":",
    "null",
    "true",
    "\"\"",
    "{}",
    "[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\ude00",
    "\u{feff}",
    "İ",
    "ß",
    "\"v1.2.3-rc.1+b\"",
    "\"1.0\"",
    "\"2026-01-01T00:00:00.5+14:00\"",
    "\"10.0.0.0/8\"",
    "\"::ffff:10.0.0.1\"",
    ",",
    "}",
];

/// Flags that look at contexts, and when they do.
struct Asked {
    built: Built,
    keys: Vec<String>,
    now: UnixMs,
}

/// Every golden flag, and every golden condition as the rule of one.
fn asked() -> Vec<Asked> {
    let rows = |text: &str| {
        text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect::<Vec<Value>>()
    };
    let rule = |(number, row): (usize, &Value)| {
        json!({
            "flag": {"key": format!("c{number}"), "type": "boolean", "off_variant": "no", "created_at": 0,
                     "variants": [{"key": "yes", "value": true}, {"key": "no", "value": false}]},
            "state": {"expires_at": 2, "targeting": {"on": true, "exposure": 100, "serve": {"variant": "no"},
                      "rules": [{"id": "r", "when": row["test"], "serve": {"variant": "yes"}}]}},
            "revision": 1,
        })
    };
    let conditions: Vec<Value> = rows(CONDITIONS).iter().enumerate().map(rule).collect();
    let mut worlds = rows(FLAGS);
    worlds.push(json!({"now": 1, "environment": {"key": "production"}, "flags": conditions}));
    worlds
        .into_iter()
        .map(|world| {
            let now = serde_json::from_value(world["now"].clone()).expect("a moment");
            let world: World = serde_json::from_value(world).expect("flags");
            let keys = world.flags.iter().map(|entry| entry.flag.key.to_string()).collect();
            Asked { built: world.build(), keys, now }
        })
        .collect()
}

/// The attributes that golden contexts have.
fn names() -> BTreeSet<String> {
    let names = |context: Vec<u8>| {
        let object: Map<String, Value> = serde_json::from_slice(&context).expect("a context");
        object.keys().cloned().collect::<Vec<_>>()
    };
    golden().into_iter().flat_map(names).collect()
}

fn golden() -> Vec<Vec<u8>> {
    let context = |line: &str| serde_json::from_str::<Value>(line).expect("a row")["context"].to_string();
    let mut found: Vec<Vec<u8>> =
        CONDITIONS.lines().chain(FLAGS.lines()).map(|line| context(line).into()).collect();
    found.sort();
    found.dedup();
    found
}

/// Whether two attributes are the same, whatever the order of fields. Text and back may cost a number its last
/// digit.
fn same(one: &Attribute, other: &Attribute) -> bool {
    match (one, other) {
        (Attribute::Number(one), Attribute::Number(other)) => (one - other).abs() <= one.abs() * f64::EPSILON,
        (Attribute::List(one), Attribute::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Attribute::Object(one), Attribute::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, field)| {
                    other.iter().find(|(known, _)| known == name).is_some_and(|(_, known)| same(field, known))
                })
        }
        _ => one == other,
    }
}

fn all_same(names: &Map<String, Value>, one: &Context, other: &Context) {
    assert_eq!((one.targeting_key(), one.len()), (other.targeting_key(), other.len()));
    for name in names.keys() {
        let (one, other) = (one.get(name), other.get(name));
        let agree = match (one, other) {
            (Some(one), Some(other)) => same(one, other),
            _ => one.is_none() && other.is_none(),
        };
        assert!(agree, "`{name}` is {one:?} and {other:?}");
    }
}

/// What kind of value an attribute is, down to what its text could be read as.
fn note(name: &str, value: &Value, features: &mut Vec<String>) {
    let what = match value {
        Value::Null | Value::Bool(_) => format!("{name} {value}"),
        Value::Number(number) => format!("{name} number {}", manner(&number.to_string())),
        Value::String(text) => format!("{name} text {}", manner(text)),
        Value::Array(items) => {
            items.iter().for_each(|item| note(&format!("{name}[]"), item, features));
            format!("{name} list of {}", items.len().min(4))
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| note(&format!("{name}.{field}"), value, features));
            format!("{name} object")
        }
    };
    features.push(what);
}

#[test]
fn whatever_is_sent_as_a_context_is_refused_or_means_the_same_however_it_is_read() {
    let asked = asked();
    let names = names();
    let read = |bytes: &[u8]| {
        let context: Context = match serde_json::from_slice(bytes) {
            Ok(context) => context,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let object: Map<String, Value> = serde_json::from_slice(bytes).expect("a context is an object");
        let built = Context::try_from(&object).expect("both ways of reading take it");
        let written = Value::Object(object.clone()).to_string();
        let again: Context = serde_json::from_str(&written).expect("what was read is written and read again");
        all_same(&object, &context, &built);
        all_same(&object, &context, &again);
        let mut reasons = String::new();
        for Asked { built: flags, keys, now } in &asked {
            for key in keys {
                // There is none of a flag that is archived.
                let ask = |context: &Context| {
                    flags.check(key, context, *now).map(|answer| (answer.variant().clone(), answer.reason))
                };
                let answer = ask(&context);
                assert_eq!(answer, ask(&built), "`{key}`");
                let reason = answer.map_or("none", |(_, reason)| reason.code());
                reasons.push_str(reason);
            }
        }
        // Which conditions held makes an input another one, and so does what an attribute could be read as.
        let mut features = vec![Digest::of(reasons.as_bytes()).to_string()];
        for (name, value) in object.iter().filter(|(name, _)| names.contains(*name)) {
            note(name, value, &mut features);
        }
        Outcome::Taken(features)
    };
    let words = tree::words(&[CONDITIONS, FLAGS].concat());
    let restructure =
        |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| tree::step(bytes, other, &words, chance);
    Target {
        name: "context",
        golden: golden(),
        tokens: TOKENS,
        restructure: &restructure,
        inputs: 10_000,
        read: &read,
    }
    .run();
}
