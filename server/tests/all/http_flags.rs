//! Apps and flags over REST, and what killing them does to checks.

use crate::served;

use serde_json::{Value, json};
use served::Served;

#[test]
fn a_flag_is_made_turned_on_checked_killed_and_revived_to_off() {
    let served = Served::start();
    served.shop();
    let made = served.post("/v1/apps/shop/flags", &json!({"key": "checkout", "description": "the new one"}));
    let flag = made.expect(201);
    assert_eq!(made.header("location"), "/v1/apps/shop/flags/checkout");
    assert_eq!(made.header("etag"), format!("\"{}\"", flag["revision"]));
    assert_eq!(flag["environments"]["live"]["serving"], "off");
    let token = served.token("sdk-server");
    let ada = json!({"targetingKey": "ada"});

    let checked = served.check(&token, "checkout", &ada).expect(200);
    assert_eq!((&checked["value"], &checked["reason"]), (&json!(false), &json!("DISABLED")));

    let state = "/v1/apps/shop/flags/checkout/environments/live";
    let on = served.patch(
        state,
        made.header("etag"),
        &json!({"on": true, "exposure": 100, "serve": {"variant": "on"}}),
    );
    assert_eq!(on.expect(200)["environments"]["live"]["serving"], "on for everyone");
    let checked = served.check(&token, "checkout", &ada).expect(200);
    assert_eq!((&checked["value"], &checked["reason"]), (&json!(true), &json!("STATIC")));
    assert_eq!(checked["metadata"]["tidegate.revision"], on.json()["revision"]);

    let kill = served.post("/v1/apps/shop/flags/checkout/kill", &json!({"kill_id": "k-1"})).expect(200);
    assert_eq!((&kill["durable"], &kill["already"]), (&json!(true), &json!(false)));
    let again = served.post("/v1/apps/shop/flags/checkout/kill", &json!({"kill_id": "k-1"})).expect(200);
    assert_eq!((&again["already"], &again["revision"]), (&json!(true), &kill["revision"]));
    assert_eq!((&kill["in_effect"], &again["in_effect"]), (&json!(true), &json!(true)));
    let checked = served.check(&token, "checkout", &ada).expect(200);
    assert_eq!((&checked["value"], &checked["reason"]), (&json!(false), &json!("DISABLED")));
    assert_eq!(checked["metadata"]["tidegate.killed"], "flag");
    assert_eq!(checked["metadata"]["tidegate.kill_id"], "k-1");
    let shown = served.get("/v1/apps/shop/flags/checkout").expect(200);
    assert_eq!(shown["environments"]["live"]["killed"], "flag");
    assert_eq!(shown["killed"]["all"]["id"], "k-1");

    let revived =
        served.post("/v1/apps/shop/flags/checkout/revive", &json!({"reason": "it was a false alarm"}));
    revived.expect(200);
    let kill = |kill_id| served.post("/v1/apps/shop/flags/checkout/kill", &json!({"kill_id": kill_id}));
    let repeated = kill("k-1").expect(200);
    assert_eq!((&repeated["already"], &repeated["in_effect"]), (&json!(true), &json!(false)));
    let shown = served.get("/v1/apps/shop/flags/checkout").expect(200);
    assert_eq!(
        (&shown["killed"]["all"], &shown["environments"]["live"]["on"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(served.check(&token, "checkout", &ada).expect(200)["value"], false);
    served.post("/v1/apps/shop/kill", &json!({"kill_id": "k-2"})).expect(200);
    assert_eq!(kill("k-1").expect(200)["in_effect"], true, "the app above it is killed now");
}

#[test]
fn a_kill_that_the_log_cannot_take_shows_on_a_flag_but_gives_it_no_revision() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    served.flag_on("later");
    let path = "/v1/apps/shop/flags/f";
    let before = served.get(path);
    served.log.fail_always(Some(tidegate::log::memory::Fault::Unavailable));
    served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": "k-1"})).expect(202);
    let killed = served.get(path);
    assert_eq!(killed.expect(200)["environments"]["live"]["serving"], "killed");
    assert_eq!(killed.header("etag"), before.header("etag"), "the log has not changed the flag");
    assert_eq!(killed.json()["revision"], before.json()["revision"]);
    let state = served.get(&format!("{path}/environments/live"));
    assert_eq!(state.header("etag"), before.header("etag"));
}

#[test]
fn a_key_that_was_used_neither_refuses_a_kill_nor_merges_two() {
    let served = Served::start();
    served.shop();
    let key = [("Idempotency-Key", "once")];
    let post = |path: &str, body: &Value| {
        served.call(&served.admin, "POST", &format!("/v1/apps/shop{path}"), &key, body)
    };
    let flag = json!({"key": "f"});
    post("/flags", &flag).expect(201);
    let kill = |path: &str, body: &Value| post(path, body).expect(200)["kill_id"].clone();
    let first = kill("/flags/f/kill", &json!({}));
    assert_eq!(kill("/flags/f/kill", &json!({})), first, "a request that was repeated");
    let live = kill("/flags/f/kill", &json!({"environment": "live"}));
    let app = kill("/kill", &json!({}));
    assert!(first != live && first != app && live != app);
    assert_eq!(served.get("/v1/apps/shop").expect(200)["killed"]["id"], app);
    // The creation is still known under it.
    post("/flags", &flag).expect(201);
}
