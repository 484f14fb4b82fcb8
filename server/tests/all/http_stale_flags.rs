//! Which flags have become stale: for each reason from when to when, and who is shown which.

use crate::served;

use rollout_rules::governance::{ByKind, ByTier, Rules};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use served::{START, Served};
use tidegate::http::Settings;

const HOUR: DurationMs = DurationMs(3_600_000);
const CHECKOUT: &str = "/v1/apps/shop/flags/checkout/environments/live/exposures";

/// Flags live for 200 days.
fn long_lives() -> Rules {
    let long = DurationMs::days(200);
    let each = ByKind { preview: long, sandbox: long, production: long };
    let all = ByTier { tier0: each, tier1: each, tier2: each };
    Rules { default_life: all, longest_life: all, ..crate::served::ungated() }
}

/// A shop whose flag `checkout` is on in `live`.
fn shop(rules: Rules) -> Served {
    let served = Served::with(Settings { workers: 1, ..Settings::default() }, rules);
    served.shop();
    served.flag_on("checkout");
    served
}

/// Shows what was counted of `checkout`, and has it summed before.
fn exposures(served: &Served) -> Value {
    served.get(CHECKOUT).expect(200)
}

/// The reasons of a flag of the shop, as `never_asked`, or `expires_soon in live`.
fn reasons(served: &Served, flag: &str) -> Vec<String> {
    let list = served.get("/v1/stale-flags?app=shop").expect(200);
    let items = list["items"].as_array().expect("items");
    let found = items.iter().find(|item| item["flag"] == flag);
    let reasons = found.map(|item| item["reasons"].as_array().expect("reasons").clone()).unwrap_or_default();
    let text = |one: &Value| match one["environment"].as_str() {
        Some(environment) => format!("{} in {environment}", one["reason"].as_str().expect("a reason")),
        None => one["reason"].as_str().expect("a reason").to_owned(),
    };
    reasons.iter().map(text).collect()
}

#[test]
fn flags_are_stale_for_each_reason_from_the_day_on_that_it_holds() {
    let served = shop(long_lives());
    let sdk = served.token("sdk-server");
    let ann = json!({"targetingKey": "ann"});
    let check = |flag: &str| served.check(&sdk, flag, &ann).expect(200);
    served.flag_on("unused");
    let expires =
        served.get("/v1/apps/shop/flags/checkout").expect(200)["environments"]["live"]["expires_at"].clone();
    let expires = UnixMs::parse_rfc3339(expires.as_str().expect("a date")).expect("a date");
    check("checkout");
    exposures(&served);

    served.clock.set(UnixMs(START.0 + DurationMs::days(14).0 - 1));
    assert!(!reasons(&served, "unused").contains(&"never_asked".to_owned()));
    served.clock.set(START.plus(DurationMs::days(14)));
    assert!(reasons(&served, "unused").contains(&"never_asked".to_owned()));
    assert!(
        !reasons(&served, "checkout").contains(&"never_asked".to_owned()),
        "it was asked for in one place"
    );

    served.clock.set(UnixMs(expires.0 - DurationMs::days(14).0 - 1));
    assert!(!reasons(&served, "checkout").contains(&"expires_soon in live".to_owned()));
    served.clock.set(UnixMs(expires.0 - DurationMs::days(14).0));
    assert!(reasons(&served, "checkout").contains(&"expires_soon in live".to_owned()));

    served.clock.set(expires);
    assert_eq!(reasons(&served, "checkout"), Vec::<String>::new(), "nobody asked since");
    served.clock.advance(HOUR);
    check("checkout");
    assert_eq!(reasons(&served, "checkout"), ["expired_but_asked in live"]);
    served.clock.advance(DurationMs::days(7));
    assert_eq!(reasons(&served, "checkout"), ["expired_but_asked in live"]);
    served.clock.advance(DurationMs(1));
    assert_eq!(reasons(&served, "checkout"), Vec::<String>::new(), "not asked for any more");
}

#[test]
fn whoever_fetches_all_flags_asks_for_none_of_them() {
    let served = shop(long_lives());
    let sdk = served.token("sdk-server");
    let ann = json!({"targetingKey": "ann"});
    served.clock.advance(DurationMs::days(14));
    served.call(&sdk, "POST", "/ofrep/v1/evaluate/flags", &[], &json!({"context": ann})).expect(200);
    let shown = exposures(&served);
    let once = json!([{"variant": "on", "count": 1}]);
    assert_eq!((&shown["hours"][0]["counts"], &shown["last_asked_at"]), (&once, &Value::Null));
    let is_told = || reasons(&served, "checkout").contains(&"never_asked".to_owned());
    assert!(is_told());
    served.check(&sdk, "checkout", &ann).expect(200);
    assert!(!is_told());
}

#[test]
fn a_flag_that_another_has_as_a_prerequisite_is_not_called_never_asked_for() {
    let served = Served::with(Settings { workers: 1, ..Settings::default() }, long_lives());
    served.shop();
    served.flag_on("base");
    let etag = served.flag_on("checkout");
    let state = "/v1/apps/shop/flags/checkout/environments/live";
    let needed = json!({"prerequisites": [{"flag": "base", "variants": ["on"]}]});
    let changed = served.patch(state, &etag, &needed);
    changed.expect(200);
    served.clock.advance(DurationMs::days(14));
    assert_eq!(reasons(&served, "base"), Vec::<String>::new());
    served.patch(state, changed.header("etag"), &json!({"prerequisites": []})).expect(200);
    assert_eq!(reasons(&served, "base"), ["never_asked"]);
}

#[test]
fn a_flag_that_gave_one_answer_for_thirty_days_is_told_of_until_it_gives_another() {
    let served = shop(long_lives());
    let sdk = served.token("sdk-server");
    let ann = json!({"targetingKey": "ann"});
    let check = || {
        served.check(&sdk, "checkout", &ann).expect(200);
        exposures(&served);
    };
    let is_told = || reasons(&served, "checkout").contains(&"one_variant_only in live".to_owned());
    check();
    served.clock.set(UnixMs(START.0 + DurationMs::days(30).0 - 1));
    check();
    assert!(!is_told());
    served.clock.advance(DurationMs(1));
    assert!(is_told());
    let list = served.get("/v1/stale-flags?app=shop&reason=one_variant_only").expect(200);
    let told = &list["items"][0]["reasons"][0];
    assert_eq!((&told["variant"], &told["since"]), (&json!("on"), &json!(START.to_string())));
    served.clock.advance(DurationMs::days(30));
    assert!(!is_told(), "nobody asks any more");
    check();
    assert!(is_told());
    served.post("/v1/apps/shop/flags/checkout/kill", &json!({})).expect(200);
    check();
    assert!(!is_told());
    served.clock.advance(DurationMs::days(30));
    check();
    assert!(is_told(), "off, since it was killed");
}

#[test]
fn stale_flags_are_listed_by_page_app_environment_and_reason_as_far_as_the_token_reaches() {
    let served = shop(crate::served::ungated());
    for app in ["base", "zoo"] {
        served
            .post("/v1/apps", &json!({"key": app, "environments": [{"key": "live", "kind": "production"}]}))
            .expect(201);
        for flag in ["a/1", "b"] {
            served.post(&format!("/v1/apps/{app}/flags"), &json!({"key": flag})).expect(201);
        }
    }
    served.clock.advance(DurationMs(1));
    let all = served.get("/v1/stale-flags").expect(200);
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().expect("items").iter();
        items
            .map(|one| {
                format!("{} {}", one["app"].as_str().expect("app"), one["flag"].as_str().expect("flag"))
            })
            .collect()
    };
    assert_eq!(names(&all), ["base a/1", "base b", "shop checkout", "zoo a/1", "zoo b"]);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = served.get(&format!("/v1/stale-flags?limit=2{cursor}")).expect(200);
        paged.extend(names(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, names(&all));
    assert_eq!(names(&served.get("/v1/stale-flags?reason=never_asked").expect(200)), Vec::<String>::new());
    let trial = served.get("/v1/stale-flags?app=shop&environment=trial").expect(200);
    let places: Vec<&Value> = trial["items"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|one| one["reasons"].as_array())
        .flatten()
        .map(|one| &one["environment"])
        .collect();
    assert!(places.iter().all(|place| **place == "trial"), "{trial}");
    let bound = json!({"scope": "viewer", "app": "shop"});
    let bound =
        served.post("/v1/tokens", &bound).expect(201)["secret"].as_str().expect("a secret").to_owned();
    let theirs = served.call(&bound, "GET", "/v1/stale-flags", &[], &Value::Null).expect(200);
    assert_eq!(names(&theirs), ["shop checkout"]);
    served.call(&bound, "GET", "/v1/stale-flags?app=zoo", &[], &Value::Null).refused(403, "not_allowed");
    let of_trial = json!({"scope": "viewer", "app": "shop", "environment": "trial"});
    let of_trial =
        served.post("/v1/tokens", &of_trial).expect(201)["secret"].as_str().expect("a secret").to_owned();
    let of_live = served.token("viewer");
    let read = |token: &str, path: &str| served.call(token, "GET", path, &[], &Value::Null);
    assert!(!places.is_empty());
    assert_eq!(read(&of_trial, "/v1/stale-flags").expect(200), trial);
    assert!(!read(&of_live, "/v1/stale-flags").expect(200).to_string().contains("trial"));
    for elsewhere in
        ["/v1/stale-flags?environment=live", "/v1/stale-flags?app=shop&environment=live", CHECKOUT]
    {
        read(&of_trial, elsewhere).refused(403, "not_allowed");
    }
    read(&of_live, CHECKOUT).expect(200);
    served.get("/v1/stale-flags?app=nope").refused(404, "not_found");
    for wrong in ["reason=old", "cursor=nope", "cursor=a/%20", "colour=red"] {
        served.get(&format!("/v1/stale-flags?{wrong}")).refused(400, "invalid_parameter");
    }
}
