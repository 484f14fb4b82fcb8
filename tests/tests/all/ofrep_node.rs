//! The OpenFeature server SDK for Node with its OFREP provider, against the real server.

use serde_json::{Value, json};
use tidegate_tests::shop::{every_type_arrives, user};
use tidegate_tests::{Client, Shop, ask};

#[test]
#[cfg_attr(not(has_node), ignore = "needs the Node client: make clients")]
fn every_type_arrives_with_its_value_and_variant() {
    let shop = Shop::open();
    let mut node = Client::node(&shop.server, &shop.server_token);
    every_type_arrives(&mut node, &json!(2));
}

#[test]
#[cfg_attr(not(has_node), ignore = "needs the Node client: make clients")]
fn reasons_tell_how_the_answer_was_found() {
    let shop = Shop::open();
    shop.kill("doomed");
    let mut node = Client::node(&shop.server, &shop.server_token);
    for (key, kind, context, reason) in [
        ("checkout", "boolean", user(), "STATIC"),
        ("banner", "string", user(), "DEFAULT"),
        ("banner", "string", json!({"targetingKey": "ann", "plan": "premium"}), "TARGETING_MATCH"),
        ("colour", "string", user(), "SPLIT"),
        ("dark", "boolean", user(), "DISABLED"),
        ("doomed", "boolean", user(), "DISABLED"),
    ] {
        let details = node.evaluate(ask(key, kind), &context);
        assert_eq!(details["reason"], reason, "{key}: {details:#}");
        assert_eq!(details["errorCode"], Value::Null, "{key}: {details:#}");
    }
}

#[test]
#[cfg_attr(not(has_node), ignore = "needs the Node client: make clients")]
fn errors_come_with_their_code_and_the_default_of_the_code() {
    let shop = Shop::open();
    let mut node = Client::node(&shop.server, &shop.server_token);
    let missing = node.evaluate(ask("no-such-flag", "string"), &user());
    assert_eq!(missing["errorCode"], "FLAG_NOT_FOUND", "{missing:#}");
    assert_eq!(missing["value"], "code default");
    let mistyped = node.evaluate(ask("checkout", "string"), &user());
    assert_eq!(mistyped["errorCode"], "TYPE_MISMATCH", "{mistyped:#}");
    let nobody = node.evaluate(ask("checkout", "boolean"), &json!({}));
    assert_eq!(nobody["errorCode"], "TARGETING_KEY_MISSING", "{nobody:#}");
    let odd = node.evaluate(ask("checkout", "boolean"), &json!({"targetingKey": 7}));
    assert_eq!(odd["errorCode"], "INVALID_CONTEXT", "{odd:#}");
    let mut stranger = Client::node(&shop.server, "tg_sdk-server_000000000000_wrong");
    let refused = stranger.evaluate(ask("checkout", "boolean"), &user());
    assert_eq!(refused["reason"], "ERROR", "{refused:#}");
    assert_eq!(refused["value"], false);
}
