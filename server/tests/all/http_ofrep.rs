//! OFREP as its clients see it.

use crate::served;

use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use served::{Reply, Served};
use tidegate::http::Settings;

const BULK: &str = "/ofrep/v1/evaluate/flags";

fn bulk(served: &Served, token: &str, extra: &[(&str, &str)], context: &Value) -> Reply {
    served.call(token, "POST", BULK, extra, &json!({ "context": context }))
}

#[test]
fn every_way_of_answering_has_its_reason_and_metadata() {
    let served = Served::start();
    served.shop();
    let made = served.post(
        "/v1/apps/shop/flags",
        &json!({"key": "limits/rate", "type": "number",
            "variants": [{"key": "half", "value": 0.5}, {"key": "whole", "value": 2.0}], "off_variant": "half"}),
    );
    let state = "/v1/apps/shop/flags/limits%2Frate/environments/live";
    let patch = json!({"on": true, "exposure": 100, "serve": {"variant": "whole"},
        "rules": [{"id": "staff", "when": {"attribute": "mail", "op": "ends_with", "values": ["@tide.example"]},
            "serve": {"variant": "half"}}]});
    served.patch(state, made.header("etag"), &patch).expect(200);
    let token = served.token("sdk-server");
    let rule = served.check(&token, "limits/rate", &json!({"targetingKey": "a", "mail": "ada@tide.example"}));
    let rule = rule.expect(200);
    assert_eq!(
        (&rule["value"], &rule["reason"], &rule["variant"]),
        (&json!(0.5), &json!("TARGETING_MATCH"), &json!("half"))
    );
    assert_eq!(rule["metadata"]["tidegate.rule"], "staff");
    let rest = served.check(&token, "limits%2Frate", &json!({"targetingKey": "a"}));
    assert!(rest.text.contains("\"value\":2.0"), "a float keeps its point: {}", rest.text);
    assert_eq!(
        (&rest.expect(200)["reason"], &rest.json()["key"]),
        (&json!("DEFAULT"), &json!("limits/rate"))
    );
    assert_eq!(rest.header("content-type"), "application/json");
}

#[test]
fn errors_have_the_form_that_clients_read() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-browser");
    let bearer = format!("Bearer {token}");
    let missing = served.check(&token, "team/none", &json!({"targetingKey": "a"}));
    let body = missing.expect(404);
    assert_eq!((&body["key"], &body["errorCode"]), (&json!("team/none"), &json!("FLAG_NOT_FOUND")));
    let send = |path: &str, body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        served.send("POST", path, &headers, body)
    };
    let one = "/ofrep/v1/evaluate/flags/f";
    for (body, code) in [
        ("{", "PARSE_ERROR"),
        ("", "PARSE_ERROR"),
        ("[]", "INVALID_CONTEXT"),
        ("{}", "INVALID_CONTEXT"),
        (r#"{"context":[]}"#, "INVALID_CONTEXT"),
        (r#"{"context":null}"#, "INVALID_CONTEXT"),
        (r#"{"context":{"targetingKey":1}}"#, "INVALID_CONTEXT"),
        (r#"{"context":{}}"#, "TARGETING_KEY_MISSING"),
        (r#"{"context":{"targetingKey":""}}"#, "TARGETING_KEY_MISSING"),
    ] {
        for path in [one, BULK] {
            let reply = send(path, body);
            assert_eq!(reply.status, 400, "{body}");
            assert_eq!(reply.json()["errorCode"], code, "{path} {body}: {}", reply.text);
            assert!(reply.json()["errorDetails"].is_string());
            assert_eq!(reply.json().get("key").is_some(), path == one);
        }
    }
    assert_eq!(
        send(&format!("{BULK}?flagConfigLastModified=x"), r#"{"context":{"targetingKey":"a"}}"#).status,
        400
    );
    assert_eq!(
        send(
            &format!("{BULK}?flagConfigLastModified=17&flagConfigEtag=x"),
            r#"{"context":{"targetingKey":"a"}}"#
        )
        .status,
        200
    );
    let unauthorised = served.check("tg_nonsense", "f", &json!({"targetingKey": "a"}));
    assert_eq!((unauthorised.status, &unauthorised.json()["errorCode"]), (401, &json!("GENERAL")));
    let unbound = served.check(&served.admin, "f", &json!({"targetingKey": "a"}));
    assert!(unbound.expect(400)["errorDetails"].as_str().unwrap().contains("?app="));
    let named = served.call(
        &served.admin,
        "POST",
        &format!("{one}?app=shop&environment=live"),
        &[],
        &json!({"context": {"targetingKey": "a"}}),
    );
    assert_eq!(named.expect(200)["value"], true);
    let foreign = [("Tidegate-App", "other")];
    assert_eq!(
        served.call(&token, "POST", one, &foreign, &json!({"context": {"targetingKey": "a"}})).status,
        403
    );
}

#[test]
fn a_context_without_targeting_key_is_served_what_needs_none_where_the_settings_say_so() {
    let settings = Settings { workers: 1, require_targeting_key: false, ..Settings::default() };
    let served = Served::with(settings, crate::served::ungated());
    served.shop();
    let revision = served.flag_on("everyone");
    assert!(!revision.is_empty());
    let made = served.post("/v1/apps/shop/flags", &json!({"key": "some"}));
    let state = "/v1/apps/shop/flags/some/environments/live";
    served
        .patch(state, made.header("etag"), &json!({"on": true, "exposure": 30, "serve": {"variant": "on"}}))
        .expect(200);
    let token = served.token("sdk-server");
    assert_eq!(served.check(&token, "everyone", &json!({})).expect(200)["value"], true);
    assert_eq!(served.check(&token, "some", &json!({})).expect(400)["errorCode"], "TARGETING_KEY_MISSING");
    assert_eq!(bulk(&served, &token, &[], &json!({})).expect(200)["flags"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_bulk_answer_keeps_its_tag_until_something_that_is_served_changes() {
    let served = Served::start();
    served.shop();
    served.flag_on("b");
    served.flag_on("a");
    let token = served.token("sdk-browser");
    let ada = json!({"targetingKey": "ada"});
    let first = bulk(&served, &token, &[], &ada);
    let body = first.expect(200);
    let keys: Vec<_> =
        body["flags"].as_array().expect("flags").iter().map(|flag| flag["key"].clone()).collect();
    assert_eq!(keys, ["a", "b"]);
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'));
    let known = [("If-None-Match", tag.as_str())];
    let same = bulk(&served, &token, &known, &ada);
    assert_eq!((same.status, same.text.as_str(), same.header("etag")), (304, "", tag.as_str()));
    // Elsewhere: another app, another environment, another token.
    served.post("/v1/apps", &json!({"key": "other"})).expect(201);
    served.post("/v1/apps/shop/flags/a/kill", &json!({"environment": "trial"})).expect(200);
    assert_eq!(bulk(&served, &token, &known, &ada).status, 304);
    assert_eq!(bulk(&served, &token, &known, &json!({"targetingKey": "bob"})).status, 200, "another context");
    served.post("/v1/apps/shop/flags/a/kill", &json!({})).expect(200);
    let changed = bulk(&served, &token, &known, &ada);
    assert_eq!(changed.expect(200)["flags"][0]["value"], false);
    // Nobody writes anything, and the flags die on their date all the same.
    let tag = changed.header("etag").to_owned();
    served.clock.advance(DurationMs::days(400));
    let fresh = served.token("sdk-browser");
    let dead = bulk(&served, &fresh, &[("If-None-Match", &tag)], &ada);
    assert_eq!(dead.expect(200)["flags"][1]["metadata"]["tidegate.reason"], "expired");
}

#[test]
fn whoever_holds_the_address_of_a_dead_stream_gets_a_new_one_although_no_flag_changed() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-browser");
    let ada = json!({"targetingKey": "ada"});
    let address = |answer: &Reply| answer.json()["eventStreams"][0]["url"].clone();
    let first = bulk(&served, &token, &[], &ada);
    let known = [("If-None-Match", first.header("etag"))];
    // As long as the address opens a stream there is nothing new to say.
    served.clock.advance(DurationMs(2 * 60 * 1000));
    let same = bulk(&served, &token, &known, &ada);
    assert_eq!((same.status, same.header("etag")), (304, known[0].1));
    served.clock.advance(DurationMs(3 * 60 * 1000));
    let fresh = bulk(&served, &token, &known, &ada);
    fresh.expect(200);
    assert_ne!(address(&fresh), address(&first));
    // Another token has another stream, which ends with that token.
    let other = served.token("sdk-browser");
    let known = [("If-None-Match", fresh.header("etag"))];
    assert_eq!(bulk(&served, &other, &known, &ada).status, 200);
    assert_eq!(bulk(&served, &token, &known, &ada).status, 304);
}

#[test]
fn the_event_stream_tells_of_changes_kills_and_expiry() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-browser");
    let answer = bulk(&served, &token, &[], &json!({"targetingKey": "ada"})).expect(200);
    let stream = &answer["eventStreams"][0];
    assert_eq!(stream["type"], "sse");
    let base = format!("http://{}", served.address);
    let path =
        stream["url"].as_str().and_then(|url| url.strip_prefix(&base)).expect("our own address").to_owned();
    // What was changed just now may have come between fetch and stream, so the stream begins with it.
    let mut events = served.stream("", &path, &[("Origin", "https://app.example")]);
    assert_eq!(events.event().json()["type"], "refetchEvaluation");

    served.post("/v1/apps/shop/flags/f/kill", &json!({})).expect(200);
    let killed = events.event();
    assert_eq!(killed.json()["type"], "refetchEvaluation");
    assert!(killed.json()["etag"].is_string() && killed.json()["lastModified"].is_u64());

    served.clock.advance(DurationMs::days(400));
    assert_eq!(events.event().json()["type"], "refetchEvaluation", "the flag's date came");

    let late = served.send("GET", &path, &[], "");
    assert_eq!(late.status, 401, "five minutes are over");
    assert_eq!(served.send("GET", "/ofrep/v1/events?token=x", &[], "").status, 401);
}

#[test]
fn a_stream_gives_the_right_to_come_back_and_ends_with_its_token() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-browser");
    let answer = bulk(&served, &token, &[], &json!({"targetingKey": "ada"})).expect(200);
    let base = format!("http://{}", served.address);
    let path = answer["eventStreams"][0]["url"]
        .as_str()
        .and_then(|url| url.strip_prefix(&base))
        .expect("ours")
        .to_owned();
    let mut events = served.stream("", &path, &[]);
    events.event();
    served.clock.advance(DurationMs(4 * 60 * 1000));
    served.post("/v1/apps/shop/flags/f/kill", &json!({})).expect(200);
    let id = events.event().id;
    served.clock.advance(DurationMs(2 * 60 * 1000));
    assert_eq!(served.send("GET", &path, &[], "").status, 401, "the URL alone is too old");
    let mut again = served.stream("", &path, &[("Last-Event-ID", &id)]);
    assert_eq!(
        again.event().json()["type"],
        "refetchEvaluation",
        "whoever comes back may have missed something"
    );
    let token_id = token.split('_').nth(2).expect("an id");
    served.call(&served.admin, "DELETE", &format!("/v1/tokens/{token_id}"), &[], &Value::Null).expect(200);
    assert_eq!(again.next(), None, "the token is gone");
    assert_eq!(events.next(), None);
}
