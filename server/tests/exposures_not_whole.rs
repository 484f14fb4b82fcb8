//! Where counts are not whole, flags are judged from that moment on: that a flag was never asked for is only said of
//! flags whose every check would have been counted.

mod served;

use rollout_rules::ids::LogId;
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use served::{START, Served};
use tidegate::exposures::batch::MAX_COUNTS;
use tidegate::exposures::stale::NEVER_ASKED;
use tidegate::exposures::{Exposures, MAX_SERIES_OF_APP};
use tidegate::log::memory::MemoryLog;

const HOUR: DurationMs = DurationMs(3_600_000);

fn log() -> MemoryLog {
    MemoryLog::new(LogId::new("counts").expect("a name"))
}

/// Flags of which it is said that nobody ever asked for them: `shop/checkout`.
fn never_asked(served: &Served) -> Vec<String> {
    let list = served.get("/v1/stale-flags?reason=never_asked&limit=200").expect(200);
    let name = |one: &Value, what: &str| one[what].as_str().expect("a name").to_owned();
    let items = list["items"].as_array().expect("items");
    items.iter().map(|one| format!("{}/{}", name(one, "app"), name(one, "flag"))).collect()
}

fn tell(served: &Served, app: &str, name: &str, more: &Value) -> Value {
    let mut body =
        json!({"app": app, "environment": "live", "instance": "web-1", "batch": name, "counts": []});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    served.post("/v1/exposures", &body).expect(200)
}

/// The day on which flags of a moment may be called never asked for.
fn judged(since: UnixMs) -> UnixMs {
    since.plus(NEVER_ASKED)
}

#[test]
fn an_app_whose_room_is_full_has_its_flags_judged_from_then_on_and_no_other_app() {
    const VARIANTS: usize = 64;
    let served = Served::counting(log(), Exposures::in_memory(START));
    for app in ["shop", "zoo"] {
        let environments = json!([{"key": "live", "kind": "production"}]);
        served.post("/v1/apps", &json!({"key": app, "environments": environments})).expect(201);
        served.post(&format!("/v1/apps/{app}/flags"), &json!({"key": "unused"})).expect(201);
    }
    let mut variants = vec![json!({"key": "off", "value": false})];
    variants.extend((1..VARIANTS).map(|n| json!({"key": format!("v-{n}"), "value": true})));
    let mut counts = Vec::new();
    for flag in 0..=MAX_SERIES_OF_APP / VARIANTS {
        let key = format!("f-{flag}");
        served.post("/v1/apps/shop/flags", &json!({"key": key, "variants": variants})).expect(201);
        let given = variants.iter().map(|one| json!({"flag": key, "variant": one["key"], "count": 1}));
        counts.extend(given);
    }
    served.clock.advance(HOUR);
    let dropped_at = START.plus(HOUR);
    let mut dropped = 0;
    for (number, counts) in counts.chunks(MAX_COUNTS).enumerate() {
        let said = tell(&served, "shop", &format!("b-{number}"), &json!({"counts": counts}));
        dropped += said["dropped"].as_u64().expect("a number");
    }
    assert_eq!(dropped, VARIANTS as u64);
    let said = tell(&served, "zoo", "b", &json!({"counts": [{"flag": "unused", "count": 1}]}));
    assert_eq!((&said["counted"], &said["dropped"]), (&json!(1), &json!(0)), "the other app has room");
    served.post("/v1/apps/zoo/flags", &json!({"key": "another"})).expect(201);

    served.clock.set(UnixMs(judged(dropped_at).0 - 1));
    assert_eq!(never_asked(&served), Vec::<String>::new());
    served.clock.set(judged(dropped_at));
    let last = format!("shop/f-{}", MAX_SERIES_OF_APP / VARIANTS);
    assert_eq!(never_asked(&served), [last.as_str(), "shop/unused", "zoo/another"]);
}
