//! The OpenFeature SDK for Rust with its OFREP provider, against the real server.
//!
//! Version 0.1.2 of the provider calls every reason STATIC, so reasons are told apart elsewhere.

use serde_json::{Value, json};
use tidegate_tests::shop::{every_type_arrives, user};
use tidegate_tests::{Client, Shop, ask};

#[test]
#[cfg_attr(not(has_rust_client), ignore = "needs the Rust client: make clients")]
fn every_type_arrives_with_its_value_and_variant() {
    let shop = Shop::open();
    let mut rust = Client::rust(&shop.server, &shop.server_token);
    every_type_arrives(&mut rust, &json!(2.0));
}

#[test]
#[cfg_attr(not(has_rust_client), ignore = "needs the Rust client: make clients")]
fn rules_targets_and_kills_decide_the_answer() {
    let shop = Shop::open();
    shop.kill("doomed");
    let mut rust = Client::rust(&shop.server, &shop.server_token);
    for (key, kind, context, value) in [
        ("banner", "string", user(), json!("Hello")),
        ("banner", "string", json!({"targetingKey": "ann", "plan": "premium"}), json!("Hello, gold")),
        ("banner", "string", json!({"targetingKey": "vip"}), json!("Hello, gold")),
        ("dark", "boolean", user(), json!(false)),
        ("doomed", "boolean", user(), json!(false)),
    ] {
        let details = rust.evaluate(ask(key, kind), &context);
        assert_eq!(details["value"], value, "{key}: {details:#}");
        assert_eq!(details["errorCode"], Value::Null, "{key}: {details:#}");
        assert!(details["reason"].is_string(), "{key}: {details:#}");
    }
}

#[test]
#[cfg_attr(not(has_rust_client), ignore = "needs the Rust client: make clients")]
fn errors_come_with_their_code() {
    let shop = Shop::open();
    let mut rust = Client::rust(&shop.server, &shop.server_token);
    let missing = rust.evaluate(ask("no-such-flag", "string"), &user());
    assert_eq!(missing["errorCode"], "FLAG_NOT_FOUND", "{missing:#}");
    let mistyped = rust.evaluate(ask("checkout", "string"), &user());
    // The provider's own word for a value of another type.
    assert_eq!(mistyped["errorCode"], "PARSE_ERROR", "{mistyped:#}");
    let nobody = rust.evaluate(ask("checkout", "boolean"), &json!({}));
    assert_eq!(nobody["reason"], "ERROR", "{nobody:#}");
    let mut stranger = Client::rust(&shop.server, "tg_sdk-server_000000000000_wrong");
    let refused = stranger.evaluate(ask("checkout", "boolean"), &user());
    assert_eq!(refused["reason"], "ERROR", "{refused:#}");
}
