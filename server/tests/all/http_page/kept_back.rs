//! What never reaches a page.

use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use serde_json::{Value, json};

use super::{Page, SITE, is, kill, open, set, shop};
use crate::served::START;

#[test]
fn only_what_is_marked_reaches_a_page() {
    let (served, key) = shop();
    served.flag_on_for("hidden-pricing", "none");
    let page = open(&served, &key, &json!({"targetingKey": "ann"}));
    assert!(page.text.contains("checkout") && !page.text.contains("hidden-pricing"), "{}", page.text);
    let context = json!({"targetingKey": "ann"});
    served.check(&key, "hidden-pricing", &context).expect(403);
    let from = [("Origin", SITE)];
    let path = "/ofrep/v1/evaluate/flags";
    let single =
        served.call(&key, "POST", &format!("{path}/hidden-pricing"), &from, &json!({"context": context}));
    assert_eq!(single.expect(404)["errorCode"], "FLAG_NOT_FOUND");
    let bulk = served.call(&key, "POST", path, &from, &json!({"context": context}));
    assert_eq!(bulk.expect(200)["flags"].as_array().map(Vec::len), Some(1));
    let server = served.token("sdk-server");
    let all = served.call(&server, "POST", path, &[], &json!({"context": context}));
    assert_eq!(all.expect(200)["flags"].as_array().map(Vec::len), Some(2), "servers see all");
}

#[test]
fn a_flag_that_opted_in_travels_as_rules_as_long_as_they_tell_nothing_of_anybody() {
    let (served, key) = shop();
    served.flag_on_for("banner", "rules");
    let rule = |attribute: &str| json!({"rules": [{"id": "some", "when": {"attribute": attribute, "op": "in", "values": ["gold"]}, "serve": {"variant": "off"}}]});
    set(&served, "banner", &rule("plan"));
    let mut page = Page::open(&served, &key, json!({"targetingKey": "ann"}));
    let other: Context =
        serde_json::from_value(json!({"targetingKey": "bob", "plan": "gold"})).expect("a context");
    let answer = evaluate(&page.state.flag_set(), "banner", &other, START).expect("it has it");
    assert_eq!(
        (answer.variant().as_str(), answer.reason.code()),
        ("off", "rule"),
        "another context asks nobody"
    );
    let mut stream = page.stream(&served);
    // What was no secret becomes one: the rule is taken back from pages that have it.
    served.patch("/v1/apps/shop", "", &json!({"sensitive": ["plan"]})).expect(200);
    page.take(&stream.event());
    let kept = String::from_utf8(page.state.to_frame().encode().expect("a frame")).expect("text");
    assert!(!kept.contains("gold") && !kept.contains("plan"), "{kept}");
    assert!(is(page.serves("banner"), "on", "default"));
    let shown = served.get("/v1/apps/shop/flags/banner").json();
    let live = &shown["environments"]["live"];
    assert_eq!((shown["browser"].as_str(), live["browser"].as_str()), (Some("rules"), Some("values")));
    assert!(live["browser_kept_back"].as_str().expect("a text").contains("`plan`"), "{live}");
    // Unmarked, it is gone.
    let seen = served.get("/v1/apps/shop/flags/banner").header("etag").to_owned();
    served.patch("/v1/apps/shop/flags/banner", &seen, &json!({"browser": "none"})).expect(200);
    page.take(&stream.event());
    assert_eq!(page.answer_at("banner", START), None);
}

#[test]
fn nothing_but_what_is_listed_reaches_a_browser() {
    let (served, _) = shop();
    let secret = "s3cret";
    let key = json!({
        "scope": "sdk-browser", "app": "shop", "environment": "live", "origins": [SITE],
        "actor": {"type": "human", "name": secret},
    });
    let key = served.post("/v1/tokens", &key).expect(201)["secret"].as_str().expect("a secret").to_owned();
    // Everything that people write has the word in it, but for what pages are meant to get.
    served
        .patch("/v1/apps/shop", "", &json!({"name": secret, "owner": secret, "sensitive": [secret]}))
        .expect(200);
    served.flag_on_for(secret, "none");
    let segment =
        json!({"description": secret, "when": {"attribute": secret, "op": "in", "values": [secret]}});
    served.call(&served.admin, "PUT", "/v1/apps/shop/segments/s3cret", &[], &segment).expect(200);
    let seen = served.get("/v1/apps/shop/flags/checkout").header("etag").to_owned();
    let words_of_people = json!({"description": secret, "owner": secret, "reason": secret, "variants": [
        {"key": "on", "value": true}, {"key": "off", "value": false}, {"key": secret, "value": false},
    ]});
    served.patch("/v1/apps/shop/flags/checkout", &seen, &words_of_people).expect(200);
    set(
        &served,
        "checkout",
        &json!({
            "reason": secret,
            "targets": [{"variant": secret, "units": [secret]}],
            "rules": [
                {"id": secret, "description": secret, "when": {"segment": "s3cret"}, "serve": {"variant": secret}},
                {"id": "other", "when": {"attribute": secret, "op": "in", "values": [secret]}, "serve": {"variant": secret}},
            ],
            "prerequisites": [{"flag": secret, "variants": ["on"]}],
        }),
    );
    // Here nothing stops what the rule says before its turn comes.
    served.flag_on_for("banner", "values");
    let names_ann = json!({"op": "in", "attribute": "targetingKey", "values": ["ann"]});
    set(
        &served,
        "banner",
        &json!({
            "reason": secret,
            "rules": [{"id": secret, "description": secret, "when": names_ann, "serve": {"variant": "off"}}],
        }),
    );
    let context = json!({"targetingKey": "ann"});
    let opened = open(&served, &key, &context);
    assert!(opened.text.contains("\\\"reason\\\":\\\"rule\\\""), "the rule decides: {}", opened.text);
    let page = Page::open(&served, &key, context.clone());
    let mut stream = page.stream(&served);
    stream.next_block().expect("it begins");
    let from = [("Origin", SITE)];
    let mut bytes = vec![opened.text];
    for (method, path, body) in [
        ("POST", "/ofrep/v1/evaluate/flags".to_owned(), json!({"context": context})),
        ("POST", "/ofrep/v1/evaluate/flags/checkout".to_owned(), json!({"context": context})),
        ("POST", "/ofrep/v1/evaluate/flags/banner".to_owned(), json!({"context": context})),
        ("GET", "/v1/whoami".to_owned(), Value::Null),
        ("GET", "/v1/server".to_owned(), Value::Null),
    ] {
        bytes.push(served.call(&key, method, &path, &from, &body).text);
    }
    let changes: [&dyn Fn(); 6] = [
        &|| kill(&served, secret, "s3cret-1"),
        &|| drop(served.post("/v1/apps/shop/flags/s3cret/revive", &json!({"reason": secret})).expect(200)),
        &|| kill(&served, "checkout", "s3cret-2"),
        &|| drop(served.post("/v1/apps/shop/flags/checkout/revive", &json!({"reason": secret})).expect(200)),
        &|| _ = set(&served, "checkout", &json!({"on": true, "reason": secret})),
        &|| {
            drop(
                served
                    .post("/v1/apps/shop/kill", &json!({"kill_id": "s3cret-3", "reason": secret}))
                    .expect(200),
            )
        },
    ];
    changes.iter().for_each(|change| change());
    loop {
        let event = stream.event();
        let is_last = event.data.contains("\"height\":\"app\"");
        bytes.push(event.data);
        if is_last {
            break;
        }
    }
    bytes.push(
        served.call(&key, "POST", "/ofrep/v1/evaluate/flags", &from, &json!({"context": context})).text,
    );
    for text in &bytes {
        assert!(!text.contains(secret), "{text}");
    }
}
