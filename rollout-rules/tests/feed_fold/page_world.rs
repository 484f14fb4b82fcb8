//! A shop whose flags are made for pages, and what may happen to it, each from four bytes.

use std::sync::Arc;

use proptest::prelude::*;
use rollout_rules::change::{Change, Reach};
use rollout_rules::context::{Attribute, Context};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, KillId};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

use super::history::{environment, read, two_apps};

/// `top` may depend on `middle`, and `middle` on `base`.
pub(crate) const FLAGS: [&str; 4] = ["top", "middle", "base", "aside"];
const CAUSES: [&str; 3] = ["guardrail", "gate", "budget"];
const VARIANTS: [&str; 3] = ["on", "half", "off"];

/// Moments around those at which something changes by itself.
pub(crate) fn moments() -> Vec<UnixMs> {
    let turns = [
        1_200_000, 1_300_000, 1_400_000, 1_500_000, 1_600_000, 1_700_000, 1_800_000, 2_000_000, 2_100_000,
        4_000_000,
    ];
    let around = turns.iter().flat_map(|at| [at - 1, *at, at + 50_000]);
    let mut moments: Vec<UnixMs> = [1_000_000].into_iter().chain(around).map(UnixMs).collect();
    moments.sort_unstable();
    moments
}

pub(crate) fn pages_contexts() -> Vec<Context> {
    let user = |mail: &str| Attribute::Object(vec![(Box::from("mail"), Attribute::String(Box::from(mail)))]);
    vec![
        Context::anonymous().with("plan", "pro7"),
        Context::new("ann").with("plan", "pro").with("user", user("ann@example.org")),
        Context::new("unit-5").with("plan", "pro7").with("age", 40.0),
        Context::new("unit-1").with("plan", "free").with("user", user("joe@example.org")),
        Context::new("unit-2").with("age", 7.0),
    ]
}

fn variant(pick: u8) -> &'static str {
    VARIANTS[usize::from(pick) % 3]
}

fn serve(pick: u8) -> Value {
    match pick % 8 {
        0 => {
            json!({"split": {"id": "halves", "weights": [{"variant": "on", "weight": 1}, {"variant": "half", "weight": 1}]}})
        }
        1 => json!({"split": {"id": "by-plan", "unit": "plan", "control": "half",
            "weights": [{"variant": "on", "weight": 2}, {"variant": "half", "weight": 1}]}}),
        other => json!({"variant": variant(other)}),
    }
}

fn condition(pick: u8) -> Value {
    match pick % 10 {
        0 => json!({"segment": "beta"}),
        1 => json!({"not": {"segment": "shared:staff"}}),
        2 => json!({"attribute": "targetingKey", "op": "in", "values": ["unit-1", "secret-unit"]}),
        3 => {
            json!({"attribute": "user.mail", "op": "in", "values": ["ann@example.org", "joe@example.org"]})
        }
        4 => json!({"attribute": ["user", "mail"], "op": "ends_with", "values": ["@example.org"]}),
        5 | 6 => json!({"attribute": "plan", "op": "regex", "values": ["^pro\\d+$"]}),
        _ => json!({"attribute": "plan", "op": "in", "values": ["free", "pro"]}),
    }
}

fn schedule(a: u8, b: u8) -> Value {
    let at = |pick: u8| 1_200_000 + u64::from(pick % 7) * 100_000;
    let step = |id: &str, pick: u8| match pick % 4 {
        0 => json!({"id": id, "at": at(pick / 4), "on": false}),
        1 => json!({"id": id, "at": at(pick / 4), "exposure": pick % 60}),
        2 => json!({"id": id, "at": at(pick / 4), "exposure": 100, "on": true}),
        _ => json!({"id": id, "at": at(pick / 4), "exposure": 0}),
    };
    match a % 4 {
        0 => json!([step("secret-one", b), step("secret-two", b.wrapping_mul(7))]),
        1 => json!([step("secret-one", b)]),
        _ => json!([]),
    }
}

fn targeting(a: u8, b: u8, c: u8, flag: &str) -> Value {
    let rules: Vec<Value> = (0..a % 3)
        .map(|nth| {
            json!({"id": format!("secret-{nth}"), "description": "a secret note",
                "when": condition(b.wrapping_add(nth.wrapping_mul(3))), "serve": serve(c.wrapping_add(nth))})
        })
        .collect();
    let wanted = if c.is_multiple_of(3) { json!(["on", "half"]) } else { json!(["on"]) };
    let prerequisites = match flag {
        "top" if !b.is_multiple_of(4) => json!([{"flag": "middle", "variants": wanted}]),
        "middle" if b.is_multiple_of(2) => json!([{"flag": "base", "variants": wanted}]),
        _ => json!([]),
    };
    let targets = if a.is_multiple_of(7) {
        json!([{"variant": "half", "units": ["ann", "secret-unit"]}])
    } else {
        json!([])
    };
    let exposure = if c.is_multiple_of(2) { 100 } else { c % 101 };
    json!({"on": !a.is_multiple_of(6), "exposure": exposure, "serve": serve(b), "rules": rules,
        "prerequisites": prerequisites, "targets": targets, "schedule": schedule(b, a)})
}

fn state(a: u8, b: u8, c: u8, flag: &str) -> Value {
    let expires_at = if c.is_multiple_of(3) { 4_000_000 } else { 1_300_000 + u64::from(c % 8) * 100_000 };
    json!({"targeting": targeting(a, b, c, flag), "expires_at": expires_at})
}

fn flag(key: &str, a: u8) -> Value {
    let browser = match a % 5 {
        0 => Value::Null,
        1 | 2 => json!("values"),
        _ => json!("rules"),
    };
    let variants = VARIANTS.map(|variant| json!({"key": variant, "value": format!("{key} is {variant}")}));
    json!({"key": key, "type": "string", "off_variant": "off", "description": "a secret text", "owner": "secret",
        "variants": variants, "created_at": 0, "browser": browser})
}

fn created(key: &str, a: u8, b: u8, c: u8) -> Change {
    read(json!({"kind": "flag_created", "app": "shop", "flag": flag(key, a),
        "states": {"production": state(a, b, c, key), "sandbox": state(b, c, a, key)}}))
}

fn app(sensitive: &Value) -> Change {
    read(
        json!({"kind": "app_updated", "app": {"key": "shop", "owner": "secret", "created_at": 0, "sensitive": sensitive}}),
    )
}

/// The shop with its flags and segments.
pub(crate) fn the_shop() -> Vec<Change> {
    let mut changes = two_apps();
    changes.push(app(&json!(["user"])));
    for (scope, key) in [(json!("shared"), "staff"), (json!({"app": "shop"}), "beta")] {
        changes.push(read(
            json!({"kind": "segment_put", "scope": scope, "segment": {"key": key, "description": "secret"}}),
        ));
        changes.push(read(json!({"kind": "segment_members_changed", "scope": scope, "segment": key,
            "add": ["unit-5", "ann", "secret-unit"]})));
    }
    changes.extend([
        created("base", 3, 7, 6),
        created("middle", 4, 10, 6),
        created("top", 9, 5, 2),
        created("aside", 1, 3, 9),
    ]);
    changes
}

/// Anything that may happen to the shop, sometimes nonsense.
pub(crate) fn change((kind, a, b, c): (u8, u8, u8, u8)) -> Change {
    let key = FLAGS[usize::from(c) % 4];
    let shop = || AppKey::new("shop").unwrap();
    let reach = match a % 6 {
        0 => Reach::Everything,
        1 => Reach::App { app: shop() },
        _ => Reach::Flag { app: shop(), flag: FlagKey::new(key).unwrap() },
    };
    let environment_of = |pick: u8| if pick.is_multiple_of(4) { "sandbox" } else { "production" };
    let only = b.is_multiple_of(3).then(|| EnvKey::new(environment_of(b / 3)).unwrap());
    let (scope, segment) =
        if a.is_multiple_of(2) { (json!("shared"), "staff") } else { (json!({"app": "shop"}), "beta") };
    let units =
        |from: u8| (from % 8..8).map(|nth| Arc::from(format!("unit-{nth}"))).collect::<Vec<Arc<str>>>();
    match kind % 20 {
        0 => app(&[json!([]), json!(["user"]), json!(["plan"]), json!(["user.mail", "targetingKey"])]
            [usize::from(a) % 4]),
        1 if c.is_multiple_of(5) => read(json!({"kind": "environment_created", "app": "shop",
            "environment": environment("production", None), "expires_at": 3_000_000,
            "replaces": if b.is_multiple_of(2) { json!(["production"]) } else { json!([]) }})),
        1 | 2 => read(json!({"kind": "environment_updated", "app": "shop", "environment":
            environment("production", (!c.is_multiple_of(3)).then_some(1_100_000 + u64::from(c % 9) * 100_000))})),
        3 if c.is_multiple_of(7) => {
            read(json!({"kind": "environment_removed", "app": "shop", "environment": "production"}))
        }
        3 | 4 => created(key, a, b, c),
        5 | 6 => read(json!({"kind": "flag_updated", "app": "shop", "flag": flag(key, a)})),
        7..=11 => read(
            json!({"kind": "targeting_changed", "app": "shop", "flag": key, "environment": environment_of(a),
            "targeting": targeting(a, b, c.wrapping_mul(5), key), "release_hold": b.is_multiple_of(2)}),
        ),
        12 => read(json!({"kind": "flag_extended", "app": "shop", "flag": key,
            "expires_at": {environment_of(a): 1_300_000 + u64::from(b % 9) * 100_000}})),
        13 if c.is_multiple_of(5) => read(json!({"kind": "flag_archived", "app": "shop", "flag": key})),
        13 | 14 => Change::Killed {
            kill_id: KillId::new(&format!("secret-{}", b % 6)).unwrap(),
            reach,
            environment: only,
        },
        15 => Change::Revived { reach, environment: only },
        16 => {
            read(json!({"kind": "hold_changed", "app": "shop", "flag": key, "environment": environment_of(a),
            "hold": (!b.is_multiple_of(3)).then(|| json!({"cause": CAUSES[usize::from(b) % 3], "at": 7,
                "reason": "a secret cause"}))}))
        }
        17 => read(json!({"kind": "guardrail_acted", "act": {"app": "shop", "cause": "drill", "flag": key,
        "environment": "production", "lowered": match c % 3 {
            0 => json!([{"non_critical": {"hold": {"cause": "budget", "at": 7, "reason": "a secret cause"}}}]),
            1 => json!([{"targeted": {"targeting": targeting(a, b, c, key)}}]),
            _ => json!([{"held": {"hold": {"cause": "guardrail", "at": 7, "reason": "a secret cause"}}}]),
        }}})),
        18 => read(
            json!({"kind": "segment_members_changed", "scope": scope, "segment": segment, "add": units(b),
            "remove": units(c)}),
        ),
        _ if c.is_multiple_of(4) => {
            read(json!({"kind": "segment_removed", "scope": scope, "segment": segment}))
        }
        _ => read(
            json!({"kind": "segment_put", "scope": scope, "segment": {"key": segment, "description": "secret",
            "when": b.is_multiple_of(2).then(|| json!({"attribute": "plan", "op": "in", "values": ["secret-plan", "pro"]}))}}),
        ),
    }
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8, u8)>> {
    proptest::collection::vec(any::<(u8, u8, u8, u8)>(), 1..25)
}
