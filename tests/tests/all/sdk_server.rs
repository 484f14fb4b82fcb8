//! The Rust SDK against the real server.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use tidegate_sdk::{AppKey, Change, Client, Context, EnvKey, ErrorKind, Height, Problem, Reason, Status};
use tidegate_tests::{Api, PATIENCE, Server, eventually, tidegate};

const LIVE: &str = "live";

/// A server with an app, a flag that is on, and the key of its environment.
fn shop() -> (Server, Api, String) {
    let server = Server::start();
    let admin = server.admin();
    admin.create_app("shop", &[(LIVE, "production"), ("trial", "sandbox")]);
    admin.create_flag("shop", &json!({"key": "checkout"}));
    turn_on(&admin, "checkout");
    let key = admin.create_token("sdk-server", "shop", LIVE);
    (server, admin, key)
}

fn turn_on(admin: &Api, flag: &str) {
    admin.set_flag("shop", flag, LIVE, &json!({"on": true, "exposure": 100, "serve": {"variant": "on"}}));
}

fn live(server: &Server, key: &str) -> Client {
    let client = Client::builder(server.url(), key).start().unwrap();
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    client
}

fn ann() -> Context {
    Context::new("ann")
}

/// Tells when a flag may have changed.
fn changes(client: &Client, flag: &'static str) -> Receiver<()> {
    let (sender, receiver) = channel();
    client.on_change(move |change: &Change<'_>| {
        if change.concerns(flag) {
            let _ = sender.send(());
        }
    });
    receiver
}

/// Waits until a flag answers for a reason.
fn until(changes: &Receiver<()>, client: &Client, flag: &str, reason: Reason) {
    while client.bool_detail(flag, &ann(), false).reason != Some(reason) {
        changes.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            panic!("it stays {:?}: {}", client.bool_detail(flag, &ann(), false), client.status())
        });
    }
}

#[test]
fn a_kill_reaches_the_sdk_and_the_operator_sees_who_has_it() {
    let (server, admin, key) = shop();
    let client = live(&server, &key);
    let changes = changes(&client, "checkout");
    assert!(client.bool("checkout", &ann(), false));
    let kill = admin.kill_flag("shop", "checkout");
    until(&changes, &client, "checkout", Reason::Killed(Height::Flag));
    assert!(!client.bool("checkout", &ann(), true));
    let kill_id = kill["kill_id"].as_str().unwrap();
    let who_has_it = format!("/v1/kills/{kill_id}");
    let seen = eventually("the kill is acknowledged", || {
        let seen = admin.get(&who_has_it).expect(200);
        (seen["clients"]["acknowledged"] == 1).then_some(seen)
    });
    assert_eq!((&seen["clients"]["connected"], &seen["silent"]), (&json!(1), &json!([])));
    assert!(seen["last_acknowledged_after_ms"].as_f64() > seen["in_effect_after_ms"].as_f64(), "{seen}");
    let clients = admin.get("/v1/clients?app=shop").expect(200);
    let known = &clients["items"][0];
    assert_eq!((&known["sdk"], &known["state"]), (&json!("tidegate-rust"), &json!("current")), "{clients}");

    let revived = admin.post("/v1/apps/shop/flags/checkout/revive", &json!({"reason": "mended"}));
    revived.expect(200);
    until(&changes, &client, "checkout", Reason::Off);
    turn_on(&admin, "checkout");
    until(&changes, &client, "checkout", Reason::Default);
}

#[test]
fn kills_of_the_app_and_of_everything_reach_the_sdk() {
    let (server, admin, key) = shop();
    let client = live(&server, &key);
    let changes = changes(&client, "checkout");
    for (path, height) in [("/v1/apps/shop", Height::App), ("/v1", Height::Everything)] {
        admin.post(&format!("{path}/kill"), &json!({})).expect(200);
        until(&changes, &client, "checkout", Reason::Killed(height));
        admin.post(&format!("{path}/revive"), &json!({"reason": "mended"})).expect(200);
        until(&changes, &client, "checkout", Reason::Off);
        turn_on(&admin, "checkout");
        until(&changes, &client, "checkout", Reason::Default);
    }
}

#[test]
fn a_segment_travels_when_a_rule_names_it_and_follows_its_members() {
    let (server, admin, key) = shop();
    let client = live(&server, &key);
    let changes = changes(&client, "checkout");
    admin.send("PUT", "/v1/segments/staff", &[], &json!({}));
    admin.post("/v1/segments/staff/members", &json!({"add": ["bob"]})).expect(200);
    let rule = json!([{"id": "staff", "when": {"segment": "shared:staff"}, "serve": {"variant": "off"}}]);
    admin.set_flag("shop", "checkout", LIVE, &json!({"rules": rule}));
    admin.post("/v1/segments/staff/members", &json!({"add": ["ann"], "remove": ["bob"]})).expect(200);
    until(&changes, &client, "checkout", Reason::Rule { index: 0 });
    assert!(!client.bool("checkout", &ann(), true));
    assert!(client.bool("checkout", &Context::new("bob"), false), "bob has left");
}

#[test]
fn the_sdk_goes_on_without_the_server_and_catches_up_when_it_is_back() {
    let (mut server, admin, key) = shop();
    let client = live(&server, &key);
    let changes = changes(&client, "checkout");
    server.kill();
    eventually("the client knows that it is cut off", || {
        matches!(client.status(), Status::Stale { .. }).then_some(())
    });
    assert!(client.bool("checkout", &ann(), false));
    let server = server.restart();
    admin.kill_flag("shop", "checkout");
    until(&changes, &client, "checkout", Reason::Killed(Height::Flag));
    drop(server);
}

#[test]
fn a_server_that_stops_in_order_ends_the_stream() {
    let (mut server, _, key) = shop();
    let client = live(&server, &key);
    assert!(server.stop().success());
    let status = eventually("the client knows that it is cut off", || {
        let status = client.status();
        matches!(status, Status::Stale { .. }).then_some(status)
    });
    assert!(
        matches!(status.problem(), Some(Problem::Ended | Problem::Unreachable { .. })),
        "it ended, or a new connection was already refused: {status}"
    );
    assert!(client.bool("checkout", &ann(), false));
}

#[test]
fn a_program_that_starts_without_the_server_serves_what_it_had_kills_included() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, admin, key) = shop();
    admin.create_flag("shop", &json!({"key": "search"}));
    turn_on(&admin, "search");
    let builder = |server: &Server| Client::builder(server.url(), &key).cache_dir(directory.path());
    let first = builder(&server).start().unwrap();
    first.wait_ready(PATIENCE).unwrap();
    let heard = changes(&first, "checkout");
    admin.kill_flag("shop", "checkout");
    until(&heard, &first, "checkout", Reason::Killed(Height::Flag));
    drop(first);
    server.kill();

    let second = builder(&server).start().unwrap();
    let status = second.wait_ready(PATIENCE).unwrap();
    assert!(matches!(status, Status::FromCache { why: Some(Problem::Unreachable { .. }), .. }), "{status}");
    assert_eq!(second.bool_detail("checkout", &ann(), true).reason, Some(Reason::Killed(Height::Flag)));
    assert!(second.bool("search", &ann(), false));
    let server = server.restart();
    eventually("the client is live again", || second.status().is_live().then_some(()));
    drop(server);
}

/// Runs the tool on files and servers, to its end.
#[track_caller]
fn tool(server: &Server, arguments: &[&std::ffi::OsStr]) {
    let mut command = std::process::Command::new(tidegate());
    command.args(arguments).env("TIDEGATE_URL", server.url()).env("TIDEGATE_TOKEN", server.admin_token());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn sdks_of_a_server_that_is_restored_go_back_with_it_though_they_had_come_further() {
    let directory = tempfile::tempdir().unwrap();
    let (mut server, admin, key) = shop();
    let builder = |server: &Server| Client::builder(server.url(), &key).cache_dir(directory.path());
    let client = builder(&server).start().unwrap();
    client.wait_ready(PATIENCE).unwrap();
    let is_on = |client: &Client| client.bool("checkout", &ann(), false);
    let file = directory.path().join("night.backup");
    tool(&server, &["backup".as_ref(), file.as_ref()]);
    // What comes after it is not in it, and the client has heard of it.
    for number in 0..10 {
        admin.create_flag("shop", &json!({"key": format!("later-{number}")}));
    }
    admin.set_flag("shop", "checkout", LIVE, &json!({"on": false}));
    eventually("the client hears that it is off", || (!is_on(&client)).then_some(()));
    server.kill();
    let data = server.data_dir();
    std::fs::remove_dir_all(&data).unwrap();
    tool(&server, &["restore".as_ref(), file.as_ref(), "--data-dir".as_ref(), data.as_ref()]);
    let server = server.restart();
    eventually("the client serves what the restored server has", || is_on(&client).then_some(()));
    assert_eq!(client.bool_detail("later-9", &ann(), false).reason, None, "that flag is no more");
    admin.kill_flag("shop", "checkout");
    eventually("the client follows the new log", || (!is_on(&client)).then_some(()));
    drop(client);
    let second = builder(&server).start().unwrap();
    second.wait_ready(PATIENCE).unwrap();
    assert_eq!(second.bool_detail("checkout", &ann(), true).reason, Some(Reason::Killed(Height::Flag)));
}

#[test]
fn flags_expire_in_an_sdk_that_has_lost_its_server() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    let (mut server, admin, key) = shop();
    let flag = admin.get("/v1/apps/shop/flags/checkout").expect(200);
    let expires_at = flag["environments"][LIVE]["expires_at"].as_str().unwrap();
    let expires_at = tidegate_sdk::UnixMs::parse_rfc3339(expires_at).unwrap();
    let now = Arc::new(AtomicU64::new(expires_at.0 - 1));
    let hands = Arc::clone(&now);
    let clock = move || tidegate_sdk::UnixMs(hands.load(Ordering::Relaxed));
    let client = Client::builder(server.url(), &key).clock(clock).start().unwrap();
    client.wait_ready(PATIENCE).unwrap();
    server.kill();
    assert!(client.bool("checkout", &ann(), false));
    now.store(expires_at.0, Ordering::Relaxed);
    assert_eq!(client.bool_detail("checkout", &ann(), true).reason, Some(Reason::Expired));
}

#[test]
fn a_key_that_is_wrong_or_revoked_is_reported() {
    let (server, admin, key) = shop();
    let wrong = Client::builder(server.url(), "tg_sdk-server_nobody_nothing").start().unwrap();
    let error = wrong.wait_ready(PATIENCE).unwrap_err();
    assert_eq!(error.status.problem(), Some(&Problem::Unauthorized), "{error}");
    assert_eq!(wrong.bool_detail("checkout", &ann(), true).error, Some(ErrorKind::NotReady));

    let client = live(&server, &key);
    let id = key.split('_').nth(2).unwrap();
    let revoked = admin.send("DELETE", &format!("/v1/tokens/{id}"), &[], &Value::Null);
    assert!(matches!(revoked.status, 200 | 204), "{revoked:?}");
    eventually("the revoked key is reported", || {
        (client.status().problem() == Some(&Problem::Unauthorized)).then_some(())
    });
    assert!(client.bool("checkout", &ann(), false), "what it had stays");
}

#[test]
fn an_environment_that_is_removed_takes_its_flags_along() {
    let (server, admin, _) = shop();
    let key = admin.create_token("sdk-server", "shop", "trial");
    let client = live(&server, &key);
    let changes = changes(&client, "checkout");
    assert_eq!(client.bool_detail("checkout", &ann(), true).reason, Some(Reason::Off));
    let removed = admin.send("DELETE", "/v1/apps/shop/environments/trial", &[], &json!({"reason": "done"}));
    assert!(matches!(removed.status, 200 | 204), "{removed:?}");
    while client.bool_detail("checkout", &ann(), true).error != Some(ErrorKind::FlagNotFound) {
        changes.recv_timeout(PATIENCE).expect("the flags go");
    }
}

#[test]
fn a_key_that_is_bound_to_nothing_names_what_it_follows() {
    let (server, admin, _) = shop();
    let client = Client::builder(server.url(), admin.token())
        .environment(AppKey::new("shop").unwrap(), EnvKey::new(LIVE).unwrap())
        .start()
        .unwrap();
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    let changes = changes(&client, "checkout");
    let kill = admin.kill_flag("shop", "checkout");
    until(&changes, &client, "checkout", Reason::Killed(Height::Flag));
    let path = format!("/v1/kills/{}", kill["kill_id"].as_str().unwrap());
    eventually("the kill is acknowledged", || {
        (admin.get(&path).expect(200)["clients"]["acknowledged"] == 1).then_some(())
    });
}

#[test]
fn the_sdk_answers_as_the_server_does() {
    let (server, admin, key) = shop();
    create_every_kind(&admin);
    let client = live(&server, &key);
    let ofrep = server.with_token(&key);
    let contexts = [
        json!({"targetingKey": "ann"}),
        json!({"targetingKey": "vip", "plan": "premium"}),
        json!({"targetingKey": "bob", "plan": "premium-7", "version": "2.4.0", "teams": ["x", "qa"]}),
        json!({"targetingKey": "eve", "version": "v1.9", "address": {"city": "Ulm"}}),
    ];
    let mut variants = std::collections::BTreeSet::new();
    for context in contexts {
        let all = ofrep.post("/ofrep/v1/evaluate/flags", &json!({"context": context})).expect(200);
        let flags = all["flags"].as_array().unwrap();
        assert_eq!(flags.len(), 7, "{all}");
        let context: Context = serde_json::from_value(context).unwrap();
        for theirs in flags {
            let key = theirs["key"].as_str().unwrap();
            let ours = client.json_detail(key, &context, &Value::Null);
            assert_eq!(*ours.value, theirs["value"], "{key} for {context:?}");
            assert_eq!(ours.variant.unwrap().as_str(), theirs["variant"], "{key} for {context:?}");
            assert_eq!(ours.revision.unwrap().0, theirs["metadata"]["tidegate.revision"], "{key}");
            assert_eq!(ours.reason.unwrap().cause(), theirs["metadata"]["tidegate.reason"], "{key}");
            variants.insert(format!("{key}={}", theirs["variant"]));
        }
    }
    assert!(variants.len() > 10, "the contexts are to tell the flags apart: {variants:?}");
}

/// A flag of each type and way of deciding.
fn create_every_kind(admin: &Api) {
    let make = |key: &str, kind: &str, variants: Value, patch: &Value| {
        admin.create_flag(
            "shop",
            &json!({"key": key, "type": kind, "variants": variants, "off_variant": "off"}),
        );
        admin.set_flag("shop", key, LIVE, patch);
    };
    let texts =
        || json!([{"key": "a", "value": "A"}, {"key": "b", "value": "B"}, {"key": "off", "value": ""}]);
    let rule = |when: Value| {
        json!({"on": true, "exposure": 100, "serve": {"variant": "b"},
            "rules": [{"id": "r", "when": when, "serve": {"variant": "a"}}]})
    };
    make(
        "regex",
        "string",
        texts(),
        &rule(json!({"attribute": "plan", "op": "regex", "values": [r"^premium-\d+$"]})),
    );
    make(
        "version",
        "string",
        texts(),
        &rule(json!({"attribute": "version", "op": "semver_gte", "values": ["2.0"]})),
    );
    make(
        "nested",
        "string",
        texts(),
        &rule(json!({"any": [{"attribute": "address.city", "op": "in", "values": ["ULM"], "ci": true},
            {"attribute": "teams", "op": "in", "values": ["qa"]}]})),
    );
    make(
        "split/by:key",
        "number",
        json!([{"key": "a", "value": 1.5}, {"key": "b", "value": 2}, {"key": "off", "value": 0}]),
        &json!({"on": true, "exposure": 100, "serve": {"split": {"id": "s",
            "weights": [{"variant": "a", "weight": 1}, {"variant": "b", "weight": 1}]}}}),
    );
    make(
        "layout",
        "object",
        json!([{"key": "a", "value": {"columns": 3, "gap": null}}, {"key": "off", "value": {}}]),
        &json!({"on": true, "exposure": 50, "serve": {"variant": "a"},
            "targets": [{"variant": "a", "units": ["vip"]}]}),
    );
    make(
        "depends",
        "string",
        texts(),
        &json!({"on": true, "exposure": 100, "serve": {"variant": "b"},
            "prerequisites": [{"flag": "regex", "variants": ["a"]}]}),
    );
}
