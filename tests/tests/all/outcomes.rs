//! What requests of the real SDK come to arrives in the real server under exactly the variants that were served, is on
//! disk once its slot is closed, and is shown on the command line.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_sdk::{Client, Context, Outcome};
use tidegate_tests::{Api, PATIENCE, Server, eventually, tidegate};

const LIVE: &str = "live";
const PATH: &str = "/v1/apps/shop/flags/checkout/environments/live/outcomes";

/// By variant: requests, bad ones and cost. Nothing before so many requests arrived.
fn reported(admin: &Api, requests: u64) -> Option<BTreeMap<String, [u64; 3]>> {
    let shown: Value = admin.get(PATH).expect(200);
    let variants = shown["variants"].as_array().unwrap().iter();
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let by_variant: BTreeMap<String, [u64; 3]> = variants
        .map(|one| {
            assert_eq!(one["split"], ".exposure");
            let counts = ["requests", "bad_requests", "cost_micros"].map(|name| number(one, name));
            (one["variant"].as_str().unwrap().to_owned(), counts)
        })
        .collect();
    let all: u64 = by_variant.values().map(|[requests, ..]| requests).sum();
    (all == requests).then_some(by_variant)
}

fn shop(server: &Server) -> (Api, String) {
    let admin = server.admin();
    admin.create_app("shop", &[(LIVE, "production")]);
    admin.create_flag("shop", &json!({"key": "checkout"}));
    let half = json!({"on": true, "exposure": 50, "rules": [
        {"id": "staff", "when": {"attribute": "staff", "op": "in", "values": [true]}, "serve": {"variant": "on"}},
    ], "serve": {"variant": "on"}});
    admin.set_flag("shop", "checkout", LIVE, &half);
    let key = admin.create_token("sdk-server", "shop", LIVE);
    (admin, key)
}

fn live_client(server: &Server, key: &str) -> Client {
    let client = Client::builder(server.url(), key).start().unwrap();
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    client
}

#[test]
fn outcomes_arrive_under_the_variants_that_were_served_stay_after_a_crash_and_are_shown() {
    let server = Server::start();
    let (admin, key) = shop(&server);
    let client = live_client(&server, &key);
    let mut expected: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for user in 0..40 {
        let scope = client.scope(&Context::new(&format!("user-{user}")));
        let served = scope.bool("checkout", false);
        assert_eq!(scope.bool("checkout", false), served, "checked twice, counted once");
        assert!(!scope.bool("missing", false));
        let counts = expected.entry(if served { "on" } else { "off" }.to_owned()).or_default();
        let fails = served && user % 3 == 0;
        counts[0] += 1;
        counts[1] += u64::from(fails);
        counts[2] += 7;
        scope.finish(Outcome::failed(fails).cost_micros(7).took(Duration::from_millis(20)));
    }
    assert_eq!(expected.len(), 2, "{expected:?}");
    // People that a rule names are in no comparison.
    let staff = client.scope(&Context::new("eve").with("staff", true));
    assert!(staff.bool("checkout", false));
    staff.finish(Outcome::error());
    let arrived = eventually("the slot is closed", || reported(&admin, 40));
    assert_eq!(arrived, expected);
    assert_eq!(client.outcome_counts().taken, 40);

    // What is closed is on disk.
    let server = server.crash_and_restart();
    let admin = server.admin();
    assert_eq!(reported(&admin, 40), Some(expected));
    let said = Command::new(tidegate())
        .args(["flag", "outcomes", "checkout", "--env", LIVE, "--app", "shop", "--since", "30m"])
        .env("TIDEGATE_URL", server.url())
        .env("TIDEGATE_TOKEN", server.admin_token())
        .output()
        .unwrap();
    let table = String::from_utf8(said.stdout).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["SPLIT", "VARIANT", "REQUESTS", "ERRORS", "P50", "P95", "P99", "COST"], "{table}");
    assert_eq!(
        (rows[1][..2].join(" "), rows[2][..2].join(" ")),
        ("exposure off".into(), "exposure on".into())
    );
}

#[test]
fn a_scope_that_ends_without_a_word_failed_if_its_thread_panics_and_a_client_that_ends_tells_the_last() {
    let server = Server::start();
    let (admin, key) = shop(&server);
    let client = live_client(&server, &key);
    let all = json!({"on": true, "exposure": 100, "serve": {"variant": "on"}});
    admin.set_flag("shop", "checkout", LIVE, &all);
    let ann = Context::new("ann");
    eventually("the change is served", || {
        (client.bool_detail("checkout", &ann, false).reason == Some(tidegate_sdk::Reason::Default))
            .then_some(())
    });
    drop(client.scope(&ann));
    let checked = || {
        let scope = client.scope(&ann);
        assert!(scope.bool("checkout", false));
        scope
    };
    drop(checked());
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _scope = checked();
        std::panic::resume_unwind(Box::new("on purpose"));
    }));
    assert!(panics.is_err());
    let failed: Result<(), &str> = checked().wrap(|_| Err("no money"));
    assert_eq!(failed, Err("no money"));
    let paid: Result<bool, &str> = client.scope(&ann).wrap(|scope| Ok(scope.bool("checkout", false)));
    assert_eq!(paid, Ok(true));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let failed: Result<(), &str> = runtime.block_on(checked().wrap_async(async |_| Err("no money")));
    assert!(failed.is_err());
    drop(client);
    let arrived = eventually("the slot is closed", || reported(&admin, 5));
    assert_eq!(arrived["on"], [5, 3, 0]);
}
