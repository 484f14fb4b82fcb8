//! What was answered once is answered for ever: the golden vectors. Lines are added, never changed.
#![allow(clippy::unwrap_used, reason = "tests")]

use rollout_rules::bucketing::{is_exposed, murmur3, split_bucket};
use rollout_rules::context::Context;
use rollout_rules::percent::Exposure;
use rollout_rules::time::UnixMs;
use rollout_rules_tests::World;
use serde::Deserialize;
use serde_json::{Value, json};

const BUCKETS: &str = include_str!("../../golden/buckets-v1.jsonl");
const CONDITIONS: &str = include_str!("../../golden/conditions-v1.jsonl");
const FLAGS: &str = include_str!("../../golden/flags-v1.jsonl");

fn lines<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<(usize, T)> {
    let read = |(at, line): (usize, &str)| match serde_json::from_str(line) {
        Ok(row) => (at + 1, row),
        Err(error) => panic!("line {}: {error}", at + 1),
    };
    file.lines().enumerate().map(read).collect()
}

#[test]
fn every_golden_bucket_is_the_same() {
    for (line, row) in lines::<Value>(BUCKETS) {
        let text = |name: &str| row[name].as_str().unwrap();
        let number = |name: &str| u32::try_from(row[name].as_u64().unwrap()).unwrap();
        match text("why") {
            "murmur3" => assert_eq!(murmur3(text("text").as_bytes()), number("hash"), "line {line}"),
            "split" => {
                let bucket = split_bucket(text("seed"), text("unit"), number("total"));
                assert_eq!(bucket, number("bucket"), "line {line}");
            }
            "exposure" => {
                let reached = |milli| {
                    is_exposed(text("flag"), text("unit"), Exposure::from_milli_percent(milli).unwrap())
                };
                let bucket = number("bucket");
                assert!(!reached(bucket) && reached(bucket + 1), "line {line}");
            }
            other => panic!("line {line}: what is {other}?"),
        }
    }
}

#[derive(Deserialize)]
struct ConditionRow {
    why: String,
    test: Value,
    context: Context,
    holds: bool,
}

#[test]
fn every_golden_condition_holds_for_the_same_contexts() {
    for (line, row) in lines::<ConditionRow>(CONDITIONS) {
        let rule = json!({"id": "r", "when": row.test, "serve": {"variant": "yes"}});
        let world: World = serde_json::from_value(json!({
            "environment": {"key": "production"},
            "flags": [{
                "flag": {"key": "f", "type": "boolean", "off_variant": "no", "created_at": 0,
                         "variants": [{"key": "yes", "value": true}, {"key": "no", "value": false}]},
                "state": {"expires_at": 2, "targeting": {
                    "on": true, "exposure": 100, "serve": {"variant": "no"}, "rules": [rule],
                }},
                "revision": 1,
            }],
        }))
        .unwrap();
        let built = world.build();
        let answer = built.check("f", &row.context, UnixMs(1)).unwrap();
        assert_eq!(answer.value(), &json!(row.holds), "line {line}: {}", row.why);
    }
}

#[derive(Deserialize)]
struct FlagRow {
    why: String,
    now: UnixMs,
    #[serde(flatten)]
    world: World,
    ask: String,
    context: Context,
    expect: Option<Expected>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Expected {
    variant: String,
    reason: String,
    #[serde(default)]
    rule: Option<String>,
    #[serde(default)]
    split: Option<String>,
}

#[test]
fn every_golden_flag_gives_the_same_answer() {
    for (line, row) in lines::<FlagRow>(FLAGS) {
        let built = row.world.build();
        let answer = built.check(&row.ask, &row.context, row.now).map(|answer| Expected {
            variant: answer.variant().to_string(),
            reason: answer.reason.code().to_owned(),
            rule: answer.rule().map(ToString::to_string),
            split: answer.split().map(ToString::to_string),
        });
        assert_eq!(answer, row.expect, "line {line}: {}", row.why);
    }
}
