//! What pages tell of their requests, and how little they are believed.

use rollout_rules::time::DurationMs;
use serde_json::{Value, json};

use super::{Page, SITE, revision};
use crate::http_outcomes::shown_when_closed;
use crate::served::{Reply, Served};

/// A shop with a key whose pages tell what becomes of their requests.
fn shop() -> (Served, String) {
    let (served, _) = super::shop();
    let key = key_for(&served, &json!({"origins": [SITE], "outcomes": true}));
    (served, key)
}

fn key_for(served: &Served, wanted: &Value) -> String {
    let mut wanted = wanted.clone();
    for (name, value) in [("scope", "sdk-browser"), ("app", "shop"), ("environment", "live")] {
        wanted[name] = value.into();
    }
    served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("a secret").to_owned()
}

fn tell(served: &Served, page: &Page, headers: &[(&str, &str)], report: &Value) -> Reply {
    let path = page.opened["outcomes"].as_str().expect("an address");
    let mut all = vec![("Content-Type", "text/plain;charset=UTF-8")];
    all.extend_from_slice(headers);
    served.send("POST", path, &all, &report.to_string())
}

fn request(revision: u64, variant: &str) -> Value {
    json!({"name": "load", "bad": true, "latency_us": 812_000, "cost_micros": 5_000_000,
           "flags": [{"key": "checkout", "revision": revision, "variant": variant, "split": ".exposure"}]})
}

fn flag_revision(served: &Served) -> u64 {
    revision(&served.get("/v1/apps/shop/flags/checkout"))
}

#[test]
fn what_became_of_a_pages_requests_counts_for_what_the_server_itself_would_answer_it() {
    let (served, key) = shop();
    let page = Page::open(&served, &key, json!({"targetingKey": "ann"}));
    let from = [("Origin", SITE)];
    let revision = flag_revision(&served);
    let unknown = json!({"flags": [{"key": "none", "revision": 1, "variant": "on"}]});
    let mut twice = request(revision, "on");
    twice["flags"] = json!([twice["flags"][0], twice["flags"][0]]);
    let lies = [request(revision, "off"), request(revision - 1, "on"), unknown, twice];
    let refused = tell(&served, &page, &from, &json!({"ended": lies})).expect(202);
    assert_eq!(refused["added"], 1, "{refused}");
    let codes: Vec<&str> = refused["refused"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["code"].as_str())
        .collect();
    assert_eq!(codes, ["other_answer", "other_revision", "unknown_flag", "repeated"]);
    let many: Vec<Value> = (0..64).map(|_| request(revision, "on")).collect();
    let told = tell(&served, &page, &from, &json!({"ended": many})).expect(202);
    assert_eq!(told["added"], 60, "of 64 a slot, four were told before");
    let refused = tell(&served, &page, &from, &json!({"ended": []}));
    refused.refused(429, "rate_limited");
    // The page was told the flag once, and asked for it as often as it reported.
    let asked = served.get("/v1/apps/shop/flags/checkout/environments/live/exposures").json();
    assert_eq!(asked["hours"][0]["counts"][0]["count"], 3, "{asked}");
    assert_eq!(refused.header("retry-after"), "10", "the slot began just now");
    let shown = shown_when_closed(&served, 61);
    let one = &shown["variants"][0];
    assert_eq!((one["bad_requests"].as_u64(), one["cost_micros"].as_u64()), (Some(61), Some(0)), "{one}");
}

#[test]
fn outcomes_are_taken_from_pages_of_sites_that_are_named_and_from_nobody_else() {
    let (served, key) = shop();
    let page = Page::open(&served, &key, json!({"targetingKey": "ann"}));
    let report = json!({"ended": [request(flag_revision(&served), "on")]});
    tell(&served, &page, &[("Origin", "https://other.example")], &report).refused(403, "origin_not_allowed");
    tell(&served, &page, &[], &report).refused(403, "origin_not_allowed");
    tell(&served, &page, &[("Origin", SITE), ("Sec-Fetch-Site", "same-origin")], &report).expect(202);
    for (wanted, named) in
        [(json!({"origins": ["*"]}), false), (json!({"origins": [SITE], "outcomes": false}), false)]
    {
        let page = Page::open(&served, &key_for(&served, &wanted), json!({}));
        assert_eq!(page.opened["takes_outcomes"], named, "{wanted}");
        // Errors inside the SDK are heard of from everybody.
        tell(&served, &page, &[("Origin", SITE)], &report).refused(403, "not_allowed");
        let faults = json!({"faults": [{"where": "core.ts:1", "sdk": "tidegate-js/0.1.0"}]});
        tell(&served, &page, &[("Origin", SITE)], &faults).expect(202);
    }
    served.send("POST", "/v1/page/outcomes?token=AAAA", &[("Origin", SITE)], "{}").refused(410, "page_gone");
    tell(&served, &page, &[("Origin", SITE)], &json!({"ended": [], "more": 1})).refused(400, "invalid_body");
    let faults = json!({"faults": [{"where": "rollout-rules/src/evaluate.rs:1", "sdk": "tidegate-js/0.1.0", "count": 2}]});
    served.clock.advance(DurationMs(10_000));
    tell(&served, &page, &[("Origin", SITE)], &faults).expect(202);
    assert!(served.get("/metrics").text.contains("tidegate_sdk_faults_total"));
}
