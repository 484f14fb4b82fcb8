//! Apps and flags over REST, and what killing them does to checks.

mod served;

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
    let shown = served.get("/v1/apps/shop/flags/checkout").expect(200);
    assert_eq!(
        (&shown["killed"]["all"], &shown["environments"]["live"]["on"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(served.check(&token, "checkout", &ada).expect(200)["value"], false);
}
