//! The feed of the SDKs.

use crate::served;

use rollout_rules::feed::Frame;
use serde_json::{Value, json};
use served::Served;
use tidegate::http::Settings;

#[test]
fn a_feed_begins_with_a_snapshot_and_goes_on_with_changes() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-server");
    let mut feed = served.stream(&token, "/v1/feed?instance=i-1&sdk=test/1", &[]);
    let snapshot = feed.event();
    assert_eq!(snapshot.name, "snapshot");
    let frame = Frame::decode(snapshot.data.as_bytes()).expect("a frame");
    assert_eq!(snapshot.id, frame.resume_token().expect("a token").to_string());
    served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": "k-7"})).expect(200);
    // The snapshot may be older than what was answered a moment ago: then that comes first.
    let changes = std::iter::repeat_with(|| feed.event()).inspect(|change| assert_eq!(change.name, "change"));
    let killed = changes.take(2).find(|change| change.data.contains("k-7")).expect("the kill comes");
    assert_ne!(killed.id, snapshot.id);
}

#[test]
fn a_client_that_comes_back_gets_only_what_it_missed() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-server");
    let mut feed = served.stream(&token, "/v1/feed", &[]);
    let first = feed.event().id;
    served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": "k-1"})).expect(200);
    let second = feed.event().id;
    drop(feed);
    served.post("/v1/apps/shop/flags/f/revive", &json!({"reason": "again"})).expect(200);
    let mut feed = served.stream(&token, "/v1/feed", &[("Last-Event-ID", &second)]);
    let missed = feed.event();
    assert_eq!(missed.name, "change");
    let mut feed = served.stream(&token, "/v1/feed", &[("Last-Event-ID", &first)]);
    assert_eq!((feed.event().id, feed.event().id), (second, missed.id.clone()));
    // Up to date: nothing is repeated, and the stream is alive.
    let mut feed = served.stream(&token, "/v1/feed", &[("Last-Event-ID", &missed.id)]);
    assert!(feed.next_block().expect("a heartbeat").comment);
    served.flag_on("g");
    assert_eq!(feed.event().name, "change");
    for other in ["another-log:3", "test-log:99999", "nonsense", "test-log:0"] {
        let mut feed = served.stream(&token, "/v1/feed", &[("Last-Event-ID", other)]);
        assert_eq!(feed.event().name, "snapshot", "{other}");
    }
}

#[test]
fn changes_elsewhere_disturb_nobody_and_kills_of_everything_reach_all() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    served.post("/v1/apps", &json!({"key": "other"})).expect(201);
    let token = served.token("sdk-server");
    let mut feed = served.stream(&token, "/v1/feed", &[]);
    feed.event();
    served.post("/v1/apps/other/flags", &json!({"key": "x"})).expect(201);
    served.post("/v1/apps/other/kill", &json!({})).expect(200);
    served.post("/v1/kill", &json!({"kill_id": "all"})).expect(200);
    let event = feed.event();
    assert!(event.data.contains("\"all\""), "the first that comes is the kill: {}", event.data);
}

#[test]
fn a_kill_that_the_log_cannot_take_reaches_the_feed_as_an_overlay_and_then_as_a_change() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-server");
    let mut feed = served.stream(&token, "/v1/feed", &[]);
    feed.event();
    served.log.fail_always(Some(tidegate::log::memory::Fault::Unavailable));
    let kill = served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": "k-2"})).expect(202);
    assert_eq!(kill, json!({"kill_id": "k-2", "durable": false, "journaled": false}));
    let overlay = feed.event();
    assert_eq!((overlay.name.as_str(), overlay.id.as_str()), ("overlay", ""));
    let checked = served.check(&token, "f", &json!({"targetingKey": "a"})).expect(200);
    assert_eq!((&checked["value"], &checked["metadata"]["tidegate.kill_id"]), (&json!(false), &json!("k-2")));
    let backup = served.get("/v1/backup");
    let kill = backup.text.lines().find_map(|line| line.strip_prefix("kill "));
    let kill: serde_json::Value = serde_json::from_str(kill.expect("a backup has it")).expect("JSON");
    let reach = json!({"flag": {"app": "shop", "flag": "f"}});
    assert_eq!((backup.status, &kill["kill_id"], &kill["reach"]), (200, &json!("k-2"), &reach));
    let mut late = served.stream(&token, "/v1/feed", &[]);
    let first = late.event().data;
    assert!(first.contains("k-2") || late.event().data.contains("k-2"), "who comes now learns of it too");
    served.log.fail_always(None);
    served.clock.advance(rollout_rules::time::DurationMs(60_000));
    let change = feed.event();
    assert!(change.name == "change" && change.data.contains("k-2"), "{change:?}");
    let backup = served.get("/v1/backup").text;
    assert!(backup.contains("k-2") && !backup.lines().any(|line| line.starts_with("kill ")), "{backup}");
}

#[test]
fn an_environment_can_be_followed_as_soon_as_it_is_made() {
    let served = Served::start();
    served.shop();
    for number in 0..40 {
        let environment = json!({ "key": format!("pr-{number}"), "kind": "preview" });
        served.post("/v1/apps/shop/environments", &environment).expect(201);
        let path = format!("/v1/feed?app=shop&environment=pr-{number}");
        let mut stream = served.stream(&served.admin, &path, &[]);
        assert_eq!(stream.event().name, "snapshot");
    }
    served.get("/v1/feed?app=shop&environment=nowhere").refused(404, "not_found");
}

#[test]
fn only_servers_tokens_follow_and_only_as_many_as_the_settings_allow() {
    let settings = Settings { workers: 1, max_streams: 2, ..Settings::default() };
    let served = Served::with(settings, crate::served::ungated());
    served.shop();
    let browser = served.token("sdk-browser");
    served.call(&browser, "GET", "/v1/feed", &[], &Value::Null).refused(403, "not_allowed");
    served.get("/v1/feed").refused(400, "audience_missing");
    served.get("/v1/feed?app=shop&environment=absent").refused(404, "not_found");
    let token = served.token("sdk-server");
    let mut open: Vec<_> = (0..2).map(|_| served.stream(&token, "/v1/feed", &[])).collect();
    let refused = served.call(&token, "GET", "/v1/feed", &[], &Value::Null);
    refused.refused(503, "too_many_streams");
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    open.iter_mut().for_each(|feed| assert_eq!(feed.event().name, "snapshot"));
    drop(open);
    // Well before a heartbeat could fail.
    let begun = std::time::Instant::now();
    while !served.send("GET", "/metrics", &[], "").text.contains("\ntidegate_streams 0\n") {
        assert!(begun.elapsed().as_secs() < 5, "the places of clients that hung up come back");
    }
}

#[test]
fn streams_end_when_the_server_stops_or_the_token_is_revoked() {
    let served = Served::start();
    served.shop();
    let (one, other) = (served.token("sdk-server"), served.token("sdk-server"));
    let mut revoked = served.stream(&one, "/v1/feed", &[]);
    let mut feed = served.stream(&other, "/v1/feed", &[]);
    let mut log = served.stream(&served.admin, "/v1/log/stream?after=1", &[]);
    revoked.event();
    feed.event();
    log.event();
    let id = one.split('_').nth(2).expect("an id");
    served.call(&served.admin, "DELETE", &format!("/v1/tokens/{id}"), &[], &Value::Null).expect(200);
    assert_eq!(revoked.next(), None);
    served.stop();
    assert_eq!(feed.next(), None);
    while log.next().is_some() {}
}

#[test]
fn a_large_snapshot_arrives_whole() {
    let served = Served::start();
    served.shop();
    let text = "x".repeat(7_000);
    for index in 0..40 {
        let variants = json!([{"key": "a", "value": text}, {"key": "b", "value": "short"}]);
        let flag =
            json!({"key": format!("f{index}"), "type": "string", "variants": variants, "off_variant": "b"});
        served.post("/v1/apps/shop/flags", &flag).expect(201);
    }
    let token = served.token("sdk-server");
    let snapshot = served.stream(&token, "/v1/feed", &[]).event();
    assert!(snapshot.data.len() > 280_000);
    Frame::decode(snapshot.data.as_bytes()).expect("a whole frame");
}
