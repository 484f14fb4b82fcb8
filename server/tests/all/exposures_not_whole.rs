//! Where counts are not whole, flags are judged from that moment on: that a flag was never asked for is only said of
//! flags whose every check would have been counted.

use crate::served;

use std::time::{Duration, Instant};

use rollout_rules::ids::{AppKey, EnvKey, FlagKey, LogId};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use served::{START, Served};
use tidegate::exposures::batch::MAX_COUNTS;
use tidegate::exposures::stale::NEVER_ASKED;
use tidegate::exposures::{COLLECT_EVERY, Exposures, MAX_SERIES_OF_APP, place};
use tidegate::log::memory::MemoryLog;

const HOUR: DurationMs = DurationMs(3_600_000);
/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);

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

#[test]
fn a_flag_that_was_checked_in_a_preview_that_is_gone_was_asked_for() {
    let counts = Exposures::in_memory(START);
    let served = Served::counting(log(), counts.clone());
    served.shop();
    for flag in ["checkout", "unused"] {
        served.post("/v1/apps/shop/flags", &json!({"key": flag})).expect(201);
    }
    served.post("/v1/apps/shop/environments", &json!({"key": "pr-7", "kind": "preview"})).expect(201);
    let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "pr-7"});
    let token = served.post("/v1/tokens", &wanted).expect(201);
    let token = token["secret"].as_str().expect("a secret");
    served.check(token, "checkout", &json!({"targetingKey": "ann"})).expect(200);
    let shown = served.get("/v1/apps/shop/flags/checkout/environments/pr-7/exposures").expect(200);
    assert_eq!(shown["last_asked_at"], START.to_string());
    served.call(&served.admin, "DELETE", "/v1/apps/shop/environments/pr-7", &[], &json!({})).expect(204);
    served.clock.set(judged(START));
    assert_eq!(never_asked(&served), ["shop/unused"], "before its counts are cleared away");
    let (shop, preview) = (AppKey::new("shop").expect("a key"), EnvKey::new("pr-7").expect("a key"));
    let preview = place(&shop, &preview, &FlagKey::new("checkout").expect("a key"));
    let began = Instant::now();
    while counts.read(&preview, |sums, _| sums.is_some()) {
        served.clock.advance(COLLECT_EVERY);
        assert!(began.elapsed() < PATIENCE, "its counts are still there");
    }
    assert_eq!(never_asked(&served), ["shop/unused"], "after that");
}

#[test]
fn after_damage_in_the_middle_of_the_file_flags_are_judged_from_when_it_was_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("exposures");
    let served = Served::counting(log(), Exposures::open(&path, START).expect("opens"));
    served.shop();
    for flag in ["checkout", "later", "unused"] {
        served.post("/v1/apps/shop/flags", &json!({"key": flag})).expect(201);
    }
    let counts = json!([{"flag": "checkout", "count": 1}, {"flag": "later", "count": 1}]);
    assert_eq!(tell(&served, "shop", "b-1", &json!({"counts": counts}))["counted"], 2);
    let on = served.log.clone();
    served.stop();
    let mut text = std::fs::read_to_string(&path).expect("a file");
    let middle = text.find("checkout").expect("a line about it");
    text.replace_range(middle..=middle, "C");
    std::fs::write(&path, text).expect("written");

    let found_at = judged(START);
    let again = |now: UnixMs| {
        let served = Served::counting(on.clone(), Exposures::open(&path, now).expect("opens"));
        served.clock.set(now);
        served
    };
    let served = again(found_at);
    assert_eq!(never_asked(&served), Vec::<String>::new());
    served.stop();
    let served = again(UnixMs(judged(found_at).0 - 1));
    assert_eq!(never_asked(&served), Vec::<String>::new());
    served.clock.advance(DurationMs(1));
    assert_eq!(never_asked(&served), ["shop/checkout", "shop/unused"], "not asked for since");
}

#[test]
fn flags_are_judged_from_when_an_sdk_said_that_it_did_not_count_all_or_told_it_too_late() {
    let served = Served::counting(log(), Exposures::in_memory(START));
    for app in ["shop", "zoo"] {
        let environments = json!([{"key": "live", "kind": "production"}]);
        served.post("/v1/apps", &json!({"key": app, "environments": environments})).expect(201);
        served.post(&format!("/v1/apps/{app}/flags"), &json!({"key": "unused"})).expect(201);
    }
    served.clock.advance(HOUR);
    tell(&served, "shop", "b-1", &json!({"uncounted": 0}));
    served.clock.set(judged(START));
    assert_eq!(never_asked(&served), ["shop/unused", "zoo/unused"]);
    let late = json!({"counts": [{"flag": "unused", "count": 1, "age_s": 48 * 3600 + 1}]});
    let mut gap_at = judged(START);
    for (name, missing) in [("b-2", json!({"uncounted": 1})), ("b-3", late)] {
        tell(&served, "shop", name, &missing);
        assert_eq!(never_asked(&served), ["zoo/unused"], "{missing}");
        served.clock.set(UnixMs(judged(gap_at).0 - 1));
        // The same batch again says nothing new.
        tell(&served, "shop", name, &missing);
        assert_eq!(never_asked(&served), ["zoo/unused"]);
        gap_at = judged(gap_at);
        served.clock.set(gap_at);
        assert_eq!(never_asked(&served), ["shop/unused", "zoo/unused"]);
    }
}
