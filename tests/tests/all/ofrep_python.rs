//! The OpenFeature SDK for Python with its OFREP provider, against the real server.

use serde_json::{Value, json};
use tidegate_tests::shop::{every_type_arrives, user};
use tidegate_tests::{Client, Shop, ask};

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client: make clients")]
fn every_type_arrives_with_its_value_and_variant() {
    let shop = Shop::open();
    let mut python = Client::python(&shop.server, &shop.server_token);
    every_type_arrives(&mut python, &json!(2.0));
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client: make clients")]
fn reasons_tell_how_the_answer_was_found() {
    let shop = Shop::open();
    shop.kill("doomed");
    let mut python = Client::python(&shop.server, &shop.server_token);
    for (key, kind, context, value, reason) in [
        ("checkout", "boolean", user(), json!(true), "STATIC"),
        ("banner", "string", user(), json!("Hello"), "DEFAULT"),
        (
            "banner",
            "string",
            json!({"targetingKey": "ann", "plan": "premium"}),
            json!("Hello, gold"),
            "TARGETING_MATCH",
        ),
        ("banner", "string", json!({"targetingKey": "vip"}), json!("Hello, gold"), "TARGETING_MATCH"),
        ("dark", "boolean", user(), json!(false), "DISABLED"),
        ("doomed", "boolean", user(), json!(false), "DISABLED"),
    ] {
        let details = python.evaluate(ask(key, kind), &context);
        assert_eq!(details["value"], value, "{key}: {details:#}");
        assert_eq!(details["reason"], reason, "{key}: {details:#}");
        assert_eq!(details["errorCode"], Value::Null, "{key}: {details:#}");
    }
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client: make clients")]
fn a_split_gives_each_user_one_answer_and_uses_all_of_them() {
    let shop = Shop::open();
    let mut python = Client::python(&shop.server, &shop.server_token);
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for user in 0..40 {
        let context = json!({"targetingKey": format!("user-{user}")});
        let first = python.evaluate(ask("colour", "string"), &context);
        let again = python.evaluate(ask("colour", "string"), &context);
        assert_eq!(first, again);
        assert_eq!(first["reason"], "SPLIT", "{first:#}");
        *counts.entry(first["variant"].to_string()).or_default() += 1;
    }
    assert_eq!(counts.len(), 2, "{counts:?}");
    assert!(counts.values().all(|count| *count >= 10), "{counts:?}");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client: make clients")]
fn a_kill_is_seen_by_the_next_check_and_explained() {
    let shop = Shop::open();
    let mut python = Client::python(&shop.server, &shop.server_token);
    let before = python.evaluate(ask("doomed", "boolean"), &user());
    assert_eq!(before["value"], true, "{before:#}");
    shop.kill("doomed");
    let after = python.evaluate(ask("doomed", "boolean"), &user());
    assert_eq!(after["value"], false, "{after:#}");
    let metadata = after["metadata"].as_object().expect("metadata");
    assert!(metadata.keys().any(|name| name.starts_with("tidegate.")), "{after:#}");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client: make clients")]
fn errors_come_with_their_code_and_the_default_of_the_code() {
    let shop = Shop::open();
    let mut python = Client::python(&shop.server, &shop.server_token);
    let missing = python.evaluate(ask("no-such-flag", "string"), &user());
    assert_eq!(missing["errorCode"], "FLAG_NOT_FOUND", "{missing:#}");
    assert_eq!(missing["value"], "code default");
    assert!(
        missing["errorMessage"].as_str().is_some_and(|text| text.contains("no-such-flag")),
        "{missing:#}"
    );
    let mistyped = python.evaluate(ask("checkout", "string"), &user());
    assert_eq!(mistyped["errorCode"], "TYPE_MISMATCH", "{mistyped:#}");
    let nobody = python.evaluate(ask("checkout", "boolean"), &json!({"targetingKey": ""}));
    assert_eq!(nobody["reason"], "ERROR", "{nobody:#}");
    let too_deep = (0..40).fold(json!(1), |inner, _| json!({ "a": inner }));
    let refused =
        python.evaluate(ask("checkout", "boolean"), &json!({"targetingKey": "ann", "deep": too_deep}));
    assert_eq!(refused["errorCode"], "INVALID_CONTEXT", "{refused:#}");
}

#[test]
#[cfg_attr(not(has_python), ignore = "needs the Python client: make clients")]
fn a_wrong_token_is_an_error_and_not_an_answer() {
    let shop = Shop::open();
    let mut python = Client::python(&shop.server, "tg_sdk-server_000000000000_wrong");
    let details = python.evaluate(ask("checkout", "boolean"), &user());
    assert_eq!(details["reason"], "ERROR", "{details:#}");
    assert_eq!(details["errorCode"], "GENERAL", "{details:#}");
    assert_eq!(details["value"], false);
}
