//! From where, with which key and how often pages are opened.

use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use tidegate::http::Settings;

use super::{Page, SITE, open, shop};
use crate::served::{Served, ungated};

#[test]
fn a_key_is_for_the_pages_of_its_sites() {
    let (served, key) = shop();
    let body = json!({"context": {}});
    let from = |origin: &str| served.call(&key, "POST", "/v1/page", &[("Origin", origin)], &body);
    let opened = from(SITE);
    assert_eq!(opened.header("access-control-allow-origin"), SITE);
    for other in ["https://other.example", "https://shop.example:8443", "http://shop.example", "null"] {
        let refused = from(other);
        refused.refused(403, "origin_not_allowed");
        assert_eq!(refused.header("access-control-allow-origin"), other, "the page may read why");
    }
    served.call(&key, "POST", "/v1/page", &[], &body).refused(403, "origin_not_allowed");
    let stream = opened.json()["stream"].as_str().expect("an address").to_owned();
    served
        .knock("", "GET", &stream, &[("Origin", "https://other.example")], &Value::Null)
        .refused(403, "origin_not_allowed");
    served.knock("", "GET", &stream, &[], &Value::Null).refused(403, "origin_not_allowed");
    for own in [[("Origin", SITE)], [("Sec-Fetch-Site", "same-origin")]] {
        assert_eq!(served.knock("", "GET", &stream, &own, &Value::Null).status, 200);
    }
    let any = served.page_key(&["*"]);
    for origin in ["https://other.example", "null"] {
        served.call(&any, "POST", "/v1/page", &[("Origin", origin)], &body).expect(200);
    }
    served.call(&any, "POST", "/v1/page", &[], &body).expect(200);
    // With a key for any page, each page is still only its own.
    let opened = served.call(&any, "POST", "/v1/page", &[("Origin", SITE)], &body).expect(200);
    let stream = opened["stream"].as_str().expect("an address");
    served
        .knock("", "GET", stream, &[("Origin", "https://other.example")], &Value::Null)
        .refused(403, "origin_not_allowed");
}

#[test]
fn browsers_ask_first_and_are_told_that_they_may() {
    let (served, _) = shop();
    let ask = |path: &str, method: &str| {
        let headers = [
            ("Origin", SITE),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ];
        served.send("OPTIONS", path, &headers, "")
    };
    for (path, method) in [("/v1/page", "POST"), ("/v1/page/stream", "GET"), ("/v1/page/outcomes", "POST")] {
        let told = ask(path, method);
        assert_eq!((told.status, told.header("access-control-allow-origin")), (204, SITE));
        assert!(told.header("access-control-allow-methods").contains(method));
        assert!(told.header("access-control-allow-headers").to_lowercase().contains("authorization"));
    }
    assert_ne!(ask("/v1/pages", "POST").status, 204);
    assert_ne!(ask("/v1/apps", "POST").status, 204);
}

#[test]
fn pages_of_origins_that_the_settings_leave_out_are_told_nothing() {
    let origins = tidegate::config::CorsOrigins::Only(vec!["https://other.example".to_owned()]);
    let served = Served::with(Settings { workers: 1, origins, ..Settings::default() }, ungated());
    served.shop();
    let key = served.page_key(&[SITE]);
    let opened = open(&served, &key, &json!({}));
    assert_eq!(opened.header("access-control-allow-origin"), "");
    let asked = served.send(
        "OPTIONS",
        "/v1/page",
        &[("Origin", SITE), ("Access-Control-Request-Method", "POST")],
        "",
    );
    assert_eq!(asked.status, 403);
}

#[test]
fn only_a_browsers_key_opens_pages() {
    let (served, key) = shop();
    let body = json!({"context": {}});
    for scope in ["sdk-server", "viewer", "ci"] {
        served.call(&served.token(scope), "POST", "/v1/page", &[], &body).refused(403, "not_allowed");
    }
    served.call(&served.admin, "POST", "/v1/page", &[], &body).refused(403, "not_allowed");
    served
        .call("tg_sdk-browser_000000000000_wrong", "POST", "/v1/page", &[], &body)
        .refused(401, "unauthenticated");
    for (sent, code) in [
        (json!({}), "invalid_body"),
        (json!({"context": {}, "more": 1}), "invalid_body"),
        (json!({"context": 7}), "invalid_context"),
        (json!({"context": {"targetingKey": 7}}), "invalid_context"),
    ] {
        served.call(&key, "POST", "/v1/page", &[("Origin", SITE)], &sent).refused(400, code);
    }
    // A browser's key changes and reads nothing else.
    served.call(&key, "GET", "/v1/apps/shop", &[("Origin", SITE)], &Value::Null).refused(403, "not_allowed");
    served.call(&key, "GET", "/v1/feed", &[("Origin", SITE)], &Value::Null).refused(403, "not_allowed");
}

#[test]
fn a_page_that_is_gone_is_opened_anew_and_nobody_is_locked_out_for_it() {
    let (served, key) = shop();
    let limit = Settings::default().failed_logins_per_minute;
    for _ in 0..limit + 10 {
        served
            .knock("", "GET", "/v1/page/stream?token=AAAA", &[("Origin", SITE)], &Value::Null)
            .refused(410, "page_gone");
    }
    served
        .call("tg_viewer_000000000000_wrong", "GET", "/v1/apps", &[], &Value::Null)
        .refused(401, "unauthenticated");
    let page = Page::open(&served, &key, json!({}));
    let stream = page.opened["stream"].as_str().expect("an address");
    served.clock.advance(DurationMs(61_000));
    served.knock("", "GET", stream, &[("Origin", SITE)], &Value::Null).refused(410, "page_gone");
    served
        .knock("", "GET", "/v1/page/stream", &[("Origin", SITE)], &Value::Null)
        .refused(401, "unauthenticated");
}

#[test]
fn a_revoked_key_ends_its_pages() {
    let (served, key) = shop();
    let page = Page::open(&served, &key, json!({}));
    let mut stream = page.stream(&served);
    stream.next_block().expect("it begins");
    let id = key.split('_').nth(2).expect("an id");
    served.call(&served.admin, "DELETE", &format!("/v1/tokens/{id}"), &[], &Value::Null).expect(200);
    assert_eq!(stream.next(), None);
    let path = page.path();
    served.knock("", "GET", &path, &[("Origin", SITE)], &Value::Null).refused(401, "unauthenticated");
    open(&served, &key, &json!({})).refused(401, "unauthenticated");
}

#[test]
fn an_address_opens_so_many_pages_a_minute() {
    let served = Served::with(Settings { workers: 1, pages_per_minute: 3, ..Settings::default() }, ungated());
    served.shop();
    let key = served.page_key(&[SITE]);
    for _ in 0..3 {
        open(&served, &key, &json!({})).expect(200);
    }
    let refused = open(&served, &key, &json!({}));
    refused.refused(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), "20");
    served.clock.advance(DurationMs(20_000));
    open(&served, &key, &json!({})).expect(200);
}

#[test]
fn ofreps_event_stream_of_a_browsers_key_is_for_its_site_too() {
    let (served, key) = shop();
    let context = json!({"context": {"targetingKey": "ann"}});
    let bulk = served.call(&key, "POST", "/ofrep/v1/evaluate/flags", &[("Origin", SITE)], &context).json();
    let url = bulk["eventStreams"][0]["url"].as_str().expect("an address");
    let path = url.split_once(&served.address.to_string()).expect("of this server").1;
    assert_eq!(
        served.knock("", "GET", path, &[("Origin", "https://other.example")], &Value::Null).status,
        403
    );
    assert_eq!(served.knock("", "GET", path, &[("Origin", SITE)], &Value::Null).status, 200);
}
