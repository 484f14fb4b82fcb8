//! What the real SDK and OFREP clients count arrives in the real server, and stays.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::thread;

use serde_json::{Value, json};
use tidegate_sdk::{Client, Context};
use tidegate_tests::{Api, PATIENCE, Server};

const LIVE: &str = "live";
const PATH: &str = "/v1/apps/shop/flags/checkout/environments/live/exposures";

/// All that was counted today and yesterday: `off 2, on 3`.
fn counted(admin: &Api) -> String {
    let shown: Value = admin.get(PATH).expect(200);
    let days = shown["days"].as_array().unwrap().iter();
    let mut sums = std::collections::BTreeMap::<&str, u64>::new();
    for one in days.flat_map(|day| day["counts"].as_array().unwrap()) {
        *sums.entry(one["variant"].as_str().unwrap()).or_default() += one["count"].as_u64().unwrap();
    }
    sums.iter().map(|(variant, count)| format!("{variant} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn checks_of_the_sdk_and_over_ofrep_are_summed_together_and_outlive_a_restart() {
    let mut server = Server::start();
    let admin = server.admin();
    admin.create_app("shop", &[(LIVE, "production")]);
    admin.create_flag("shop", &json!({"key": "checkout"}));
    let half = json!({"on": true, "exposure": 100, "rules": [
        {"id": "staff", "when": {"attribute": "staff", "op": "in", "values": [true]}, "serve": {"variant": "off"}},
    ], "serve": {"variant": "on"}});
    admin.set_flag("shop", "checkout", LIVE, &half);
    let key = admin.create_token("sdk-server", "shop", LIVE);

    let client = Client::builder(server.url(), &key).start().unwrap();
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    let (ann, bob) = (Context::new("ann"), Context::new("bob").with("staff", true));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..500).for_each(|_| assert!(client.bool("checkout", &ann, false))));
        }
    });
    assert!(!client.bool("checkout", &bob, true));
    drop(client);
    assert_eq!(counted(&admin), "off 1, on 1000");

    let checks = Api::new(server.url(), &key);
    let context = json!({"context": {"targetingKey": "ann"}});
    checks.post("/ofrep/v1/evaluate/flags/checkout", &context).expect(200);
    checks.post("/ofrep/v1/evaluate/flags", &context).expect(200);
    assert_eq!(counted(&admin), "off 1, on 1002");
    let since = admin.get(PATH).expect(200)["counting_since"].clone();

    checks.post("/ofrep/v1/evaluate/flags/checkout", &context).expect(200);
    assert!(server.stop().success());
    let server = server.restart();
    let admin = server.admin();
    assert_eq!(counted(&admin), "off 1, on 1003");
    assert_eq!(admin.get(PATH).expect(200)["counting_since"], since);
    // A new client of the same name counts for itself.
    let client = Client::builder(server.url(), &key).start().unwrap();
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    assert!(client.bool("checkout", &ann, false));
    drop(client);
    assert_eq!(counted(&admin), "off 1, on 1004");
}
