//! The golden vectors: what was answered once is answered in WebAssembly, too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollout_rules::compile::compile_regex;
use rollout_rules::feed::{ServedFlag, ServedHold, ServedKills};
use rollout_rules::flag::{Flag, FlagState, Kills};
use rollout_rules::ids::{EnvKey, Revision};
use rollout_rules::time::UnixMs;
use serde_json::{Map, Value, json};

use crate::node::{Node, encoded};

const BUCKETS: &str = include_str!("../../../rollout-rules/golden/buckets-v1.jsonl");
const CONDITIONS: &str = include_str!("../../../rollout-rules/golden/conditions-v1.jsonl");
const FLAGS: &str = include_str!("../../../rollout-rules/golden/flags-v1.jsonl");
const TOLD: &str = include_str!("../../../rollout-rules/golden/flags-told-v1.jsonl");
const FRAMES: [&str; 2] = [
    include_str!("../../../rollout-rules/golden/frames-v1.jsonl"),
    include_str!("../../../rollout-rules/golden/frames-v2.jsonl"),
];

fn lines(file: &str) -> impl Iterator<Item = Value> {
    file.lines().map(|line| serde_json::from_str(line).expect("a golden line"))
}

/// Regular expressions travel compiled.
fn with_dfas(value: &mut Value) {
    if value["op"] == "regex" && value["values"].is_array() {
        let ci = value["ci"].as_bool().unwrap_or(false);
        let compiled = |pattern: &Value| {
            let bytes = pattern.as_str().and_then(|pattern| compile_regex(pattern, ci).ok());
            bytes.map(|bytes| STANDARD.encode(bytes)).unwrap_or_default()
        };
        let dfas: Vec<String> = value["values"].as_array().into_iter().flatten().map(compiled).collect();
        value["dfa"] = json!(dfas);
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(with_dfas),
        Value::Object(fields) => fields.values_mut().for_each(with_dfas),
        _ => {}
    }
}

/// The frame that brings a golden world to a client.
fn framed(world: &Value) -> String {
    let environment: EnvKey = serde_json::from_value(world["environment"]["key"].clone()).expect("a key");
    let kills = |kills: &Value| {
        let kills: Kills = serde_json::from_value(kills.clone()).unwrap_or_default();
        ServedKills::of(&kills, &environment)
    };
    let flag = |entry: &Value| {
        let flag: Flag = serde_json::from_value(entry["flag"].clone()).expect("a flag");
        let state: FlagState = serde_json::from_value(entry["state"].clone()).expect("a state");
        let served = ServedFlag {
            kills: kills(&world["kills"]["flags"][flag.key.as_str()]),
            key: flag.key,
            kind: flag.kind,
            variants: flag.variants,
            off_variant: flag.off_variant,
            targeting: state.targeting,
            expires_at: state.expires_at,
            targeting_revision: state.targeting_revision,
            hold: state.hold.map(|hold| ServedHold { cause: hold.cause, at: hold.at }),
            revision: serde_json::from_value::<Revision>(entry["revision"].clone()).expect("a revision"),
            told: None,
            guarded_until: None,
        };
        serde_json::to_value(served).expect("JSON")
    };
    let segment = |scope: &str, one: &Value| {
        let name = format!("{scope}{}", one["segment"]["key"].as_str().expect("a key"));
        let mut served = json!({"segment": name, "members": one["members"]});
        if let Some(when) = one["segment"].get("when") {
            served["when"] = when.clone();
        }
        served
    };
    let all = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut segments: Vec<Value> =
        all(&world["segments"]["app"]).iter().map(|one| segment("", one)).collect();
    segments.extend(all(&world["segments"]["shared"]).iter().map(|one| segment("shared:", one)));
    // Flags that are archived do not travel.
    let flags: Vec<Value> = all(&world["flags"])
        .iter()
        .filter(|entry| entry["flag"]["archived_at"].is_null())
        .map(flag)
        .collect();
    let mut served = json!({
        "app": "shop", "environment": environment.as_str(), "everything": kills(&world["kills"]["everything"]),
        "app_kills": kills(&world["kills"]["app"]), "flags": flags, "segments": segments,
    });
    if let Some(ends_at) = world["environment"].get("ends_at").filter(|at| !at.is_null()) {
        served["ends_at"] = ends_at.clone();
    }
    with_dfas(&mut served);
    json!({"v": 1, "log": "log-1", "revision": 99, "body": {"snapshot": served}}).to_string()
}

fn moment(value: &Value) -> u64 {
    serde_json::from_value::<UnixMs>(value.clone()).expect("a moment").0
}

/// What one flag answers to one context.
fn detail(node: &mut Node, frames: &[String], key: &str, context: &Map<String, Value>, now: u64) -> Value {
    node.contexts(&[encoded(context)]);
    let _: Vec<u32> = node.ask(&json!({"frames": frames, "picks": []}));
    let details: Vec<Value> = node.ask(&json!({"details": [[key, 0, now]]}));
    details[0].clone()
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn every_golden_flag_gives_the_same_answer() {
    for mut node in Node::both() {
        for row in lines(FLAGS) {
            let (key, context) =
                (row["ask"].as_str().expect("a key"), row["context"].as_object().expect("a context"));
            let found = detail(&mut node, &[framed(&row)], key, context, moment(&row["now"]));
            let expected = &row["expect"];
            assert_eq!(found.is_null(), expected.is_null(), "{}: {found}", row["why"]);
            for part in ["variant", "reason", "rule"] {
                assert_eq!(found[part], expected[part], "{}", row["why"]);
            }
        }
    }
}

fn one_flag(key: &str, targeting: &Value) -> Value {
    let variants = ["a", "b", "c"].map(|variant| json!({"key": variant, "value": variant}));
    json!({
        "environment": {"key": "production"},
        "flags": [{
            "flag": {"key": key, "type": "string", "variants": variants, "off_variant": "a", "created_at": 0},
            "state": {"expires_at": 2, "targeting": targeting}, "revision": 1,
        }],
    })
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn every_golden_condition_holds_for_the_same_contexts() {
    let mut nodes = Node::both();
    for row in lines(CONDITIONS) {
        let rule = json!({"id": "r", "when": row["test"], "serve": {"variant": "b"}});
        let world =
            one_flag("f", &json!({"on": true, "exposure": 100, "serve": {"variant": "a"}, "rules": [rule]}));
        let context = row["context"].as_object().expect("a context");
        for node in &mut nodes {
            let found = detail(node, &[framed(&world)], "f", context, 1);
            assert_eq!(found["variant"] == "b", row["holds"].as_bool().expect("a truth"), "{row}");
        }
    }
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn every_golden_bucket_is_the_same() {
    let mut node = Node::start();
    for row in lines(BUCKETS) {
        let text = |name: &str| row[name].as_str().expect("a text");
        let number = |name: &str| row[name].as_u64().expect("a number");
        let mut serves = |key: &str, targeting: &Value| {
            let context = json!({"targetingKey": text("unit")});
            let context = context.as_object().expect("an object");
            detail(&mut node, &[framed(&one_flag(key, targeting))], key, context, 1)["variant"].clone()
        };
        match text("why") {
            "split" if !text("unit").is_empty() => {
                let (bucket, total) = (number("bucket"), number("total"));
                let weights = json!([
                    {"variant": "a", "weight": bucket}, {"variant": "b", "weight": 1},
                    {"variant": "c", "weight": total - bucket - 1},
                ]);
                let split = json!({"split": {"id": "s", "seed": text("seed"), "weights": weights}});
                let variant = serves("f", &json!({"on": true, "exposure": 100, "serve": split}));
                assert_eq!(variant, "b", "{row}");
            }
            "exposure" if !text("unit").is_empty() => {
                for (bucket, variant) in [(number("bucket"), "a"), (number("bucket") + 1, "b")] {
                    let percent = f64::from(u32::try_from(bucket).expect("small")) / 1000.0;
                    let targeting = json!({"on": true, "exposure": percent, "serve": {"variant": "b"}});
                    assert_eq!(serves(text("flag"), &targeting), variant, "{row}");
                }
            }
            _ => {}
        }
    }
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn every_golden_answer_that_is_told_is_the_same() {
    let mut node = Node::start();
    for row in lines(TOLD) {
        let frames: Vec<String> =
            row["frames"].as_array().expect("frames").iter().map(ToString::to_string).collect();
        for ask in row["asks"].as_array().expect("asks") {
            let now = moment(&ask["now"]);
            let context = ask["context"].as_object().cloned().unwrap_or_default();
            for (key, expected) in ask["answers"].as_object().expect("answers") {
                let found = detail(&mut node, &frames, key, &context, now);
                for (part, value) in expected.as_object().into_iter().flatten() {
                    assert_eq!(found[part], *value, "{key} at {now}: {part} of {found} in {}", row["name"]);
                }
            }
        }
    }
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn every_golden_state_is_kept_as_it_came() {
    let mut node = Node::start();
    for frame in
        FRAMES.iter().flat_map(|file| lines(file)).filter(|frame| !frame["body"]["snapshot"].is_null())
    {
        let _: Vec<u32> = node.ask(&json!({"frames": [frame.to_string()], "picks": []}));
        let kept: String = node.ask(&json!({"kept": true}));
        let native = crate::differential::folded(&[frame.to_string()]).to_frame().encode().expect("it fits");
        assert_eq!(kept.as_bytes(), native, "{frame}");
    }
}
