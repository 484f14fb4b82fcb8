//! Random changes of two apps, each from four bytes.

use std::sync::Arc;

use proptest::prelude::*;
use rollout_rules::change::{Change, Reach};
use rollout_rules::flag::{Hold, HoldCause, Segment, SegmentScope};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, KillId, SegmentKey};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

use super::history::{environment, read};

const APPS: [&str; 2] = ["shop", "desk"];
const ENVIRONMENTS: [&str; 2] = ["production", "sandbox"];
const FLAGS: [&str; 3] = ["checkout", "a/b", "search"];

pub(crate) fn condition(pick: u8) -> serde_json::Value {
    match pick % 6 {
        0 => json!({"segment": "beta"}),
        1 => json!({"segment": "shared:staff"}),
        2 => json!({"all": [{"segment": "beta"}, {"not": {"segment": "shared:staff"}}]}),
        3 => json!({"attribute": "plan", "op": "regex", "values": ["^pro\\d+$"]}),
        4 => json!({"attribute": "plan", "op": "in", "values": ["free", "pro"]}),
        _ => json!({"segment": "nobody-made-it"}),
    }
}

pub(crate) fn targeting(a: u8, b: u8, flag: &str) -> serde_json::Value {
    let rules: Vec<_> = (0..a % 3)
        .map(|i| json!({"id": format!("r{i}"), "description": "a secret note", "when": condition(b.wrapping_add(i)),
            "serve": {"variant": "on"}}))
        .collect();
    let prerequisites = match (b % 5, flag) {
        (0, "search") => json!([{"flag": "checkout", "variants": ["on"]}]),
        _ => json!([]),
    };
    json!({"on": !a.is_multiple_of(4), "exposure": b % 101, "serve": {"variant": "on"}, "rules": rules,
        "prerequisites": prerequisites, "targets": [{"variant": "on", "units": ["ann"]}]})
}

pub(crate) fn state(a: u8, b: u8, flag: &str) -> serde_json::Value {
    json!({"targeting": targeting(a, b, flag), "expires_at": 2_000_000 + u64::from(b)})
}

pub(crate) fn flag(key: &str, a: u8, archived: bool) -> serde_json::Value {
    json!({"key": key, "type": "boolean", "off_variant": "off", "description": "a secret text", "owner": "ann",
        "variants": [{"key": "on", "value": true}, {"key": "off", "value": false}, {"key": format!("v{a}"), "value": true}],
        "created_at": 0, "archived_at": archived.then_some(5)})
}

/// Any change, often of things that are there, sometimes nonsense.
pub(crate) fn change((kind, a, b, c): (u8, u8, u8, u8)) -> Change {
    let app = APPS[usize::from(a) % 2];
    let env = ENVIRONMENTS[usize::from(b) % 2];
    let key = FLAGS[usize::from(c) % 3];
    let reach = match a % 5 {
        0 => Reach::Everything,
        1 => Reach::App { app: AppKey::new(app).unwrap() },
        _ => Reach::Flag { app: AppKey::new(app).unwrap(), flag: FlagKey::new(key).unwrap() },
    };
    let only = (b % 3 == 0).then(|| EnvKey::new(env).unwrap());
    let shared = a % 2 == 0;
    let scope = if shared { SegmentScope::Shared } else { SegmentScope::App(AppKey::new(app).unwrap()) };
    let segment = SegmentKey::new(if shared { "staff" } else { "beta" }).unwrap();
    let units = |from: u8| (from % 8..8).map(|i| Arc::from(format!("unit-{i}"))).collect::<Vec<Arc<str>>>();
    match kind % 17 {
        0 => read(
            json!({"kind": "app_updated", "app": {"key": app, "name": format!("n{c}"), "created_at": 0}}),
        ),
        1 => read(json!({"kind": "environment_created", "app": app, "environment": environment(env, None),
            "expires_at": 3_000_000, "replaces": if c % 2 == 0 { vec![ENVIRONMENTS[usize::from(c / 2) % 2]] } else { vec![] }})),
        2 => read(json!({"kind": "environment_updated", "app": app,
            "environment": environment(env, (c % 2 == 0).then_some(1_500_000 + u64::from(c)))})),
        3 if c % 3 == 0 => read(json!({"kind": "environment_removed", "app": app, "environment": env})),
        3 | 4 => read(json!({"kind": "flag_created", "app": app, "flag": flag(key, c, false),
            "states": {"production": state(a, b, key), "sandbox": state(b, c, key)}})),
        5 => read(json!({"kind": "flag_updated", "app": app, "flag": flag(key, c, false)})),
        6 | 7 => read(json!({"kind": "targeting_changed", "app": app, "flag": key, "environment": env,
            "targeting": targeting(b, c, key), "release_hold": c % 2 == 0})),
        8 => read(
            json!({"kind": "flag_extended", "app": app, "flag": key, "expires_at": {env: 4_000_000 + u64::from(c)}}),
        ),
        9 if c % 2 == 0 => read(json!({"kind": "flag_archived", "app": app, "flag": key})),
        9 | 10 => {
            Change::Killed { kill_id: KillId::new(&format!("k{}", c % 6)).unwrap(), reach, environment: only }
        }
        11 => Change::Revived { reach, environment: only },
        12 => Change::HoldChanged {
            app: AppKey::new(app).unwrap(),
            flag: FlagKey::new(key).unwrap(),
            environment: EnvKey::new(env).unwrap(),
            hold: (c % 2 == 0).then(|| Hold {
                cause: HoldCause::Budget,
                at: UnixMs(7),
                reason: "a secret cause".into(),
            }),
        },
        13 => {
            let when = (c % 2 == 0).then(|| {
                Box::new(read(json!({"attribute": "plan", "op": "regex", "values": [format!("x{c}+")]})))
            });
            Change::SegmentPut {
                scope,
                segment: Segment { key: segment, description: "secret".into(), when },
            }
        }
        15 => read(json!({"kind": "guardrail_acted", "act": {"app": app, "cause": "drill",
        "flag": key, "environment": only.as_ref().map_or(Value::Null, |only| only.as_str().into()),
        "lowered": match c % 3 {
            0 => json!([{"non_critical": {"hold": {"cause": "budget", "at": 7, "reason": "a secret cause"}}}]),
            1 => json!([{"targeted": {"targeting": targeting(b, c, key)}}]),
            _ => json!([{"held": {"hold": {"cause": "guardrail", "at": 7, "reason": "a secret cause"}}}]),
        }}})),
        14 => Change::SegmentMembersChanged { scope, segment, add: units(b), remove: units(c) },
        _ => Change::SegmentRemoved { scope, segment },
    }
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    proptest::collection::vec(any::<(u8, u8, u8, u8)>(), 1..40)
}
