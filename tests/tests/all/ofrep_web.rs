//! The OpenFeature web SDK with its OFREP provider, run in Node as a page would, against the real
//! server: bulk answers, ETags, polling, and the event stream.

use serde_json::{Value, json};
use tidegate_tests::shop::{APP, LIVE, theme, user};
use tidegate_tests::{Client, Shop, ask};

/// A page that has its flags and an open stream.
fn page(shop: &Shop) -> Client {
    let mut web = Client::web(&shop.server, &shop.browser_token, &user());
    web.event("ready");
    web.event("stream open");
    web
}

#[test]
#[cfg_attr(not(has_web), ignore = "needs the web client: make clients")]
fn every_type_arrives_with_its_value_variant_and_reason() {
    let shop = Shop::open();
    shop.kill("doomed");
    let mut web = page(&shop);
    for (key, kind, value, variant, reason) in [
        ("checkout", "boolean", json!(true), "on", "STATIC"),
        ("team/new-search", "boolean", json!(true), "on", "STATIC"),
        ("banner", "string", json!("Hello"), "plain", "DEFAULT"),
        ("limit", "integer", json!(300), "many", "STATIC"),
        ("factor", "float", json!(2), "whole", "STATIC"),
        ("theme", "object", theme(), "dark", "STATIC"),
        ("dark", "boolean", json!(false), "off", "DISABLED"),
        ("doomed", "boolean", json!(false), "off", "DISABLED"),
    ] {
        let details = web.held(ask(key, kind));
        assert_eq!(details["value"], value, "{key}: {details:#}");
        assert_eq!(details["variant"], variant, "{key}: {details:#}");
        assert_eq!(details["reason"], reason, "{key}: {details:#}");
        assert_eq!(details["errorCode"], Value::Null, "{key}: {details:#}");
    }
    assert_eq!(web.held(ask("colour", "string"))["reason"], "SPLIT");
}

#[test]
#[cfg_attr(not(has_web), ignore = "needs the web client: make clients")]
fn errors_come_with_their_code_and_the_default_of_the_code() {
    let shop = Shop::open();
    let mut web = page(&shop);
    let missing = web.held(ask("no-such-flag", "string"));
    assert_eq!(missing["errorCode"], "FLAG_NOT_FOUND", "{missing:#}");
    assert_eq!(missing["value"], "code default");
    let mistyped = web.held(ask("checkout", "string"));
    assert_eq!(mistyped["errorCode"], "TYPE_MISMATCH", "{mistyped:#}");
    let mut stranger = Client::web(&shop.server, "tg_sdk-browser_000000000000_wrong", &user());
    assert_eq!(stranger.event("failed")["code"], "PROVIDER_FATAL");
    let mut nobody = Client::web(&shop.server, &shop.browser_token, &json!({}));
    nobody.event("failed");
    nobody.fetched(400);
}

#[test]
#[cfg_attr(not(has_web), ignore = "needs the web client: make clients")]
fn a_context_change_fetches_anew_and_answers_for_the_new_user() {
    let shop = Shop::open();
    let mut web = page(&shop);
    assert_eq!(web.held(ask("banner", "string"))["variant"], "plain");
    web.set_context(&json!({"targetingKey": "ann", "plan": "premium"}));
    let details = web.held(ask("banner", "string"));
    assert_eq!(details["variant"], "gold", "{details:#}");
    assert_eq!(details["reason"], "TARGETING_MATCH", "{details:#}");
}

#[test]
#[cfg_attr(not(has_web), ignore = "needs the web client: make clients")]
fn a_page_that_polls_gets_304_until_something_changes() {
    let shop = Shop::open();
    let mut web = Client::polling_web(&shop.server, &shop.browser_token, &user(), 50);
    let first = web.fetched(200);
    assert!(first["etag"].as_str().is_some_and(|etag| etag.len() > 2), "{first:#}");
    let second = web.fetched(304);
    assert_eq!(second["ifNoneMatch"], first["etag"], "{second:#}");
    shop.set("dark", &json!({"on": true, "exposure": 100, "serve": {"variant": "on"}}));
    let third = web.fetched(200);
    assert_eq!(third["ifNoneMatch"], first["etag"]);
    assert_ne!(third["etag"], first["etag"]);
    let changed = web.event("changed");
    assert_eq!(changed["flags"], json!(["dark"]), "{changed:#}");
    assert_eq!(web.held(ask("dark", "boolean"))["value"], true);
}

#[test]
#[cfg_attr(not(has_web), ignore = "needs the web client: make clients")]
fn changes_elsewhere_do_not_spoil_the_etag() {
    let shop = Shop::open();
    let mut web = Client::polling_web(&shop.server, &shop.browser_token, &user(), 50);
    web.fetched(200);
    shop.admin.set_flag(
        APP,
        "dark",
        "trial",
        &json!({"on": true, "exposure": 100, "serve": {"variant": "on"}}),
    );
    shop.admin.create_app("other", &[(LIVE, "production")]);
    shop.admin.create_flag("other", &json!({"key": "new"}));
    // Polls that began before the changes may still be on their way: the third began after them.
    for _ in 0..3 {
        web.fetched(304);
    }
    shop.kill("doomed");
    assert_eq!(web.event("changed")["flags"], json!(["doomed"]));
}

#[test]
#[cfg_attr(not(has_web), ignore = "needs the web client: make clients")]
fn a_change_reaches_an_open_page_through_the_event_stream() {
    let shop = Shop::open();
    let mut web = page(&shop);
    shop.set("dark", &json!({"on": true, "exposure": 100, "serve": {"variant": "on"}}));
    let message = web.event("stream message");
    assert_eq!(message["data"]["type"], "refetchEvaluation", "{message:#}");
    let changed = web.event("changed");
    assert_eq!(changed["flags"], json!(["dark"]), "{changed:#}");
    assert_eq!(web.held(ask("dark", "boolean"))["value"], true);
}

#[test]
#[cfg_attr(not(has_web), ignore = "needs the web client: make clients")]
fn a_kill_reaches_an_open_page_through_the_event_stream() {
    let shop = Shop::open();
    let mut web = page(&shop);
    assert_eq!(web.held(ask("doomed", "boolean"))["value"], true);
    shop.kill("doomed");
    web.event("changed");
    let details = web.held(ask("doomed", "boolean"));
    assert_eq!(details["value"], false, "{details:#}");
    assert_eq!(details["reason"], "DISABLED", "{details:#}");
}

#[test]
#[cfg_attr(not(has_web), ignore = "needs the web client: make clients")]
fn a_flag_that_expires_goes_off_on_an_open_page_by_itself() {
    let shop = Shop::open();
    let mut web = page(&shop);
    assert_eq!(web.held(ask("checkout", "boolean"))["value"], true);
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    let soon_ms = soon.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let dying = json!({
        "key": "short-lived", "expires_at": u64::try_from(soon_ms).expect("a date"), "browser": "values",
    });
    shop.admin.create_flag(APP, &dying);
    shop.set("short-lived", &json!({"on": true, "exposure": 100, "serve": {"variant": "on"}}));
    let mut details = web.held(ask("short-lived", "boolean"));
    while details["value"] == true || details["errorCode"] != Value::Null {
        web.event("changed");
        details = web.held(ask("short-lived", "boolean"));
    }
    assert_eq!(details["reason"], "DISABLED", "{details:#}");
}
