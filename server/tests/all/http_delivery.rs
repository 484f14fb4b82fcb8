//! Who is connected, what they serve, and who has a kill.

use crate::served;

use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use served::{Event, Reply, START, Served, Stream};
use tidegate::http::delivery::MAX_SILENT_NAMED;
use tidegate::http::feed::clients::GONE_KEPT;
use tidegate::http::feed::deliveries::MAX_TIMED_KILLS;
use tidegate::log::memory::Fault;

/// A feed that gives its name, after its snapshot.
fn feed(served: &Served, token: &str, instance: &str) -> Stream {
    let mut feed = served.stream(token, &format!("/v1/feed?instance={instance}&sdk=test/1.2"), &[]);
    assert_eq!(feed.event().name, "snapshot");
    feed
}

fn revision(event: &Event) -> u64 {
    event.id.rsplit(':').next().and_then(|text| text.parse().ok()).expect("a revision")
}

fn ack(served: &Served, token: &str, instance: &str, revision: u64, kill_ids: &[&str]) -> Reply {
    let body = json!({"instance": instance, "revision": revision, "kill_ids": kill_ids});
    served.call(token, "POST", "/v1/feed/ack", &[], &body)
}

/// What is known of a kill: connected, acknowledged and silent clients.
fn told(kill: &Value) -> (u64, u64, u64) {
    let count = |name: &str| kill["clients"][name].as_u64().expect("a count");
    (count("connected"), count("acknowledged"), count("silent"))
}

/// Reads until it is as wanted: nothing announces that a connection has ended.
fn until(served: &Served, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let seen = served.get(path).expect(200);
        if wanted(&seen) {
            return seen;
        }
        assert!(begun.elapsed().as_secs() < 10, "{path} stays {seen}");
    }
}

/// The shop with a flag, a second app, and a token for each one's production.
fn two_apps(served: &Served) -> (String, String) {
    served.shop();
    served.flag_on("f");
    served.post("/v1/apps", &json!({"key": "other"})).expect(201);
    let wanted = json!({"scope": "sdk-server", "app": "other", "environment": "production"});
    let other = served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("shown").to_owned();
    (served.token("sdk-server"), other)
}

#[test]
fn a_kill_tells_how_many_clients_have_it_since_when_and_who_is_silent() {
    let served = Served::start();
    let (token, other) = two_apps(&served);
    let mut feeds: Vec<Stream> = ["a", "b", "never"].map(|name| feed(&served, &token, name)).into();
    let _elsewhere = feed(&served, &other, "elsewhere");
    served.clock.advance(DurationMs(5_000));
    served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": "k-1"})).expect(200);
    let path = "/v1/kills/k-1";
    let fresh = served.get(path).expect(200);
    assert_eq!(told(&fresh), (3, 0, 3), "the other app is not concerned: {fresh}");
    assert_eq!(fresh["reach"], json!({"flag": {"app": "shop", "flag": "f"}}));
    assert_eq!((&fresh["durable"], &fresh["in_effect"]), (&json!(true), &json!(true)));
    assert!(fresh["in_effect_after_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{fresh}");
    assert_eq!(fresh["last_acknowledged_after_ms"], Value::Null);
    assert_eq!(fresh["counted_since"], START.to_string(), "the start of the server");

    let at = revision(&feeds[0].event());
    assert_eq!(fresh["revision"], at);
    // By the id of the kill, or by a revision that includes it.
    assert_eq!(ack(&served, &token, "a", at, &["k-1"]).status, 204);
    let first = served.get(path).expect(200);
    assert_eq!(ack(&served, &token, "b", at, &[]).status, 204);
    let second = served.get(path).expect(200);
    ack(&served, &token, "never", at - 1, &["another"]).expect(204);
    let seen = served.get(path).expect(200);
    assert_eq!(told(&seen), (3, 2, 1));
    let after = |kill: &Value| kill["last_acknowledged_after_ms"].as_f64().expect("a time");
    assert!(after(&second) > after(&first), "the last one counts: {first} {second}");
    assert_eq!(after(&seen), after(&second), "who does not have it yet is not timed");
    assert!(after(&first) > first["in_effect_after_ms"].as_f64().expect("a time"), "{first}");
    let silent = &seen["silent"][0];
    assert_eq!((&silent["instance"], &silent["app"]), (&json!("never"), &json!("shop")));
    assert_eq!((&silent["sdk"], &silent["version"]), (&json!("test"), &json!("1.2")));
    assert_eq!(silent["revision"], at - 1);
    assert_ne!(silent["last_heard_at"], silent["connected_at"]);

    // What is said again changes nothing, and who has gone is not waited for.
    ack(&served, &token, "a", at, &["k-1"]).expect(204);
    feeds.pop();
    let seen = until(&served, path, |kill| told(kill).0 == 2);
    assert_eq!((told(&seen), after(&seen)), ((2, 2, 0), after(&served.get(path).expect(200))));
    assert_eq!(seen["silent"], json!([]));
    assert_eq!((&seen["clients"]["gone"], &seen["gone"][0]["instance"]), (&json!(1), &json!("never")));
    let metrics = served.send("GET", "/metrics", &[], "").text;
    assert!(metrics.contains("tidegate_kill_delivery_seconds_count "), "{metrics}");
}

#[test]
fn a_client_that_comes_after_a_kill_has_it_when_it_says_so_and_does_not_count_as_slow() {
    let served = Served::start();
    let (token, _) = two_apps(&served);
    let mut early = feed(&served, &token, "early");
    served.post("/v1/kill", &json!({"kill_id": "k-2"})).expect(200);
    let at = revision(&early.event());
    ack(&served, &token, "early", at, &["k-2"]).expect(204);
    let before = served.get("/v1/kills/k-2").expect(200);
    let _late = feed(&served, &token, "late");
    let seen = served.get("/v1/kills/k-2").expect(200);
    assert_eq!((told(&seen), &seen["silent"][0]["instance"]), ((2, 1, 1), &json!("late")));
    ack(&served, &token, "late", at, &["k-2"]).expect(204);
    let seen = served.get("/v1/kills/k-2").expect(200);
    assert_eq!(told(&seen), (2, 2, 0));
    assert_eq!(seen["last_acknowledged_after_ms"], before["last_acknowledged_after_ms"]);
}

#[test]
fn a_client_that_went_without_a_kill_is_named_for_a_while_and_not_counted_as_having_it() {
    let served = Served::start();
    let (token, other) = two_apps(&served);
    let mut stays = feed(&served, &token, "stays");
    let (cut_off, elsewhere) = (feed(&served, &token, "cut-off"), feed(&served, &other, "elsewhere"));
    let in_time = feed(&served, &token, "in-time");
    drop((cut_off, elsewhere));
    until(&served, "/v1/clients", |list| list["counts"]["gone"] == 2);
    assert_eq!(served.get("/v1/clients?app=shop").expect(200)["counts"]["gone"], 1);
    served.clock.advance(DurationMs(60_000));
    served.post("/v1/apps/shop/kill", &json!({"kill_id": "k"})).expect(200);
    let path = "/v1/kills/k";
    let at = revision(&stays.event());
    ack(&served, &token, "stays", at, &["k"]).expect(204);
    ack(&served, &token, "in-time", at, &["k"]).expect(204);
    drop(in_time);
    let seen = until(&served, path, |kill| told(kill).0 == 1);
    assert_eq!((told(&seen), &seen["clients"]["gone"]), ((1, 1, 0), &json!(1)), "one had it in time: {seen}");
    let gone = &seen["gone"][0];
    assert_eq!((&gone["instance"], &gone["sdk"]), (&json!("cut-off"), &json!("test")), "{gone}");
    assert_eq!(gone["gone_at"], gone["connected_at"], "the clock stood still meanwhile: {gone}");

    let back = feed(&served, &token, "cut-off");
    let seen = served.get(path).expect(200);
    assert_eq!((told(&seen), &seen["clients"]["gone"], &seen["gone"]), ((2, 1, 1), &json!(0), &json!([])));
    drop(back);
    until(&served, path, |kill| kill["clients"]["gone"] == 1);
    served.clock.advance(GONE_KEPT);
    assert_eq!(served.get(path).expect(200)["clients"]["gone"], 0);
}

#[test]
fn a_client_whose_environment_is_gone_is_not_waited_for() {
    let served = Served::start();
    two_apps(&served);
    let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "trial"});
    let made = served.post("/v1/tokens", &wanted).expect(201);
    let mut trial = feed(&served, made["secret"].as_str().expect("shown once"), "trial");
    let removed = served.call(&served.admin, "DELETE", "/v1/apps/shop/environments/trial", &[], &Value::Null);
    assert_eq!(removed.status, 204, "{}", removed.text);
    assert!(trial.event().data.contains("environment_gone"));
    served.post("/v1/kill", &json!({"kill_id": "all"})).expect(200);
    let seen = served.get("/v1/kills/all").expect(200);
    assert_eq!(told(&seen), (0, 0, 0), "nothing is served there that could be killed: {seen}");
}

#[test]
fn a_kill_ahead_of_the_log_is_followed_like_any_other() {
    let served = Served::start();
    let (token, _) = two_apps(&served);
    let mut early = feed(&served, &token, "early");
    served.log.fail_always(Some(Fault::Unavailable));
    served.post("/v1/apps/shop/kill", &json!({"kill_id": "k-3", "environment": "live"})).expect(202);
    let overlay = early.event();
    assert_eq!(overlay.name, "overlay");
    let path = "/v1/kills/k-3";
    let seen = served.get(path).expect(200);
    assert_eq!((told(&seen), &seen["durable"], &seen["revision"]), ((1, 0, 1), &json!(false), &Value::Null));
    assert_eq!(seen["environment"], "live");
    let base = served.get("/v1/clients").expect(200)["revision"].as_u64().expect("a revision");
    ack(&served, &token, "early", base, &["k-3"]).expect(204);
    let seen = served.get(path).expect(200);
    assert_eq!(told(&seen), (1, 1, 0));
    served.log.fail_always(None);
    served.clock.advance(DurationMs(60_000));
    let at = revision(&early.event());
    let durable = until(&served, path, |kill| kill["durable"] == true);
    assert_eq!((told(&durable), &durable["revision"]), ((1, 1, 0), &json!(at)));
    ack(&served, &token, "early", at, &["k-3"]).expect(204);
    let again = served.get(path).expect(200);
    assert_eq!(again["last_acknowledged_after_ms"], seen["last_acknowledged_after_ms"], "it had it already");
    served.post("/v1/apps/shop/revive", &json!({"environment": "live", "reason": "mended"})).expect(200);
    assert_eq!(served.get(path).expect(200)["in_effect"], false);
}

#[test]
fn a_kill_is_shown_to_whom_it_concerns_and_only_what_their_token_sees() {
    let served = Served::start();
    let (token, other) = two_apps(&served);
    let _feeds = [feed(&served, &token, "one"), feed(&served, &other, "two")];
    served.post("/v1/kill", &json!({"kill_id": "all"})).expect(200);
    served.post("/v1/apps/shop/kill", &json!({"kill_id": "shop-live", "environment": "live"})).expect(200);
    served.post("/v1/apps/shop/kill", &json!({"kill_id": "shop-trial", "environment": "trial"})).expect(200);
    let viewer = |body: Value| {
        let made = served.post("/v1/tokens", &body).expect(201);
        made["secret"].as_str().expect("shown once").to_owned()
    };
    let of_other = viewer(json!({"scope": "viewer", "app": "other"}));
    let of_trial = viewer(json!({"scope": "viewer", "app": "shop", "environment": "trial"}));
    let get =
        |token: &str, id: &str| served.call(token, "GET", &format!("/v1/kills/{id}"), &[], &Value::Null);
    assert_eq!(told(&get(&served.admin, "all").expect(200)), (2, 0, 2));
    assert_eq!(told(&get(&of_other, "all").expect(200)), (1, 0, 1));
    assert_eq!(told(&get(&of_trial, "all").expect(200)), (0, 0, 0));
    assert_eq!(told(&get(&served.admin, "shop-live").expect(200)), (1, 0, 1));
    assert_eq!(told(&get(&served.admin, "shop-trial").expect(200)), (0, 0, 0), "nobody is there");
    get(&of_other, "shop-live").refused(403, "not_allowed");
    get(&of_trial, "shop-live").refused(403, "not_allowed");
    get(&token, "all").refused(403, "not_allowed");
    get(&served.admin, "nothing").refused(404, "not_found");
    served.get("/v1/kills/all?limit=3").refused(400, "invalid_parameter");
}

#[test]
fn of_kills_of_long_ago_it_is_still_known_who_has_them() {
    let served = Served::start();
    let (token, _) = two_apps(&served);
    let mut client = feed(&served, &token, "one");
    for index in 0..=MAX_TIMED_KILLS {
        served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": format!("k-{index}")})).expect(200);
    }
    let at = revision(&client.event());
    ack(&served, &token, "one", at, &[]).expect(204);
    let oldest = served.get("/v1/kills/k-0").expect(200);
    assert_eq!((told(&oldest), &oldest["in_effect_after_ms"]), ((1, 1, 0), &Value::Null));
    let next = served.get("/v1/kills/k-1").expect(200);
    assert_eq!((told(&next), next["in_effect_after_ms"].is_f64()), ((1, 0, 1), true));
}

#[test]
fn the_silent_are_named_up_to_a_bound_and_all_are_counted() {
    let served = Served::start();
    let (token, _) = two_apps(&served);
    let mut feeds = Vec::new();
    for index in 0..MAX_SILENT_NAMED + 2 {
        feeds.push(feed(&served, &token, &format!("i-{index:03}")));
        served.clock.advance(DurationMs(1));
    }
    served.post("/v1/kill", &json!({"kill_id": "all"})).expect(200);
    let seen = served.get("/v1/kills/all").expect(200);
    let named = seen["silent"].as_array().expect("a list");
    assert_eq!((named.len() as u64 + 2, told(&seen).2), (feeds.len() as u64, feeds.len() as u64));
    assert_eq!(named[0]["instance"], "i-000", "silent for the longest");
}

#[test]
fn clients_are_listed_with_what_they_serve_and_how_far_behind_they_are() {
    let served = Served::start();
    let (token, other) = two_apps(&served);
    let mut feeds = ["late", "new", "now"].map(|name| feed(&served, &token, name));
    let _other = feed(&served, &other, "z");
    let mut unnamed = served.stream(&token, "/v1/feed", &[]);
    unnamed.event();
    let list = |query: &str| served.get(&format!("/v1/clients{query}")).expect(200);
    let old = list("")["revision"].as_u64().expect("a revision");
    ack(&served, &token, "late", old, &[]).expect(204);
    served.clock.advance(DurationMs(60_000));
    let since = list("")["items"][0]["last_heard_at"].clone();
    served.flag_on("g");
    // A heartbeat may come between.
    let events = std::iter::repeat_with(|| feeds[2].event()).filter(|event| !event.comment);
    let events: Vec<Event> = events.take(2).collect();
    served.clock.advance(DurationMs(60_000));
    ack(&served, &token, "now", revision(&events[1]), &[]).expect(204);

    let all = list("");
    let counts = json!({"connected": 4, "current": 1, "behind": 1, "unconfirmed": 2, "gone": 0, "unnamed": 1,
                        "event_streams": 0, "pages": 0});
    assert_eq!(all["counts"], counts, "{all}");
    let states: Vec<(&str, &str)> = items(&all, "instance").into_iter().zip(items(&all, "state")).collect();
    let expected = [("z", "unconfirmed"), ("late", "behind"), ("new", "unconfirmed"), ("now", "current")];
    assert_eq!(states, expected, "by app, environment and instance");
    let late = &all["items"][1];
    assert_eq!((&late["behind_by"], &late["behind_by_more"]), (&json!(2), &json!(false)), "{late}");
    assert_eq!((&late["revision"], &late["app"]), (&json!(old), &json!("shop")));
    assert!(late["behind_since"].as_str() > since.as_str() && late["last_heard_at"] == since, "{late}");
    assert_eq!(all["items"][3]["behind_by"], Value::Null);
    assert_eq!(all["items"][2]["revision"], Value::Null);

    let behind = list("?behind=true&app=shop&environment=live");
    assert_eq!(items(&behind, "instance"), ["late", "new"]);
    assert_eq!(behind["counts"]["connected"], 3, "what is not shown is counted");
    let first = list("?limit=3");
    assert_eq!((items(&first, "instance").len(), &first["next_cursor"]), (3, &json!("shop/live/new")));
    let rest = list("?limit=3&cursor=shop/live/new");
    assert_eq!((items(&rest, "instance"), &rest["next_cursor"]), (vec!["now"], &Value::Null));
    served.get("/v1/clients?cursor=shop").refused(400, "invalid_parameter");
    served.get("/v1/clients?state=behind").refused(400, "invalid_parameter");
    served.get("/v1/feed/clients").refused(404, "not_found");
    let part = json!({"scope": "viewer", "app": "other"});
    let part = served.post("/v1/tokens", &part).expect(201)["secret"].as_str().expect("shown").to_owned();
    let theirs = served.call(&part, "GET", "/v1/clients", &[], &Value::Null).expect(200);
    assert_eq!((items(&theirs, "instance"), &theirs["counts"]["unnamed"]), (vec!["z"], &json!(0)));
    served.call(&part, "GET", "/v1/clients?app=shop", &[], &Value::Null).refused(403, "not_allowed");
}

fn items<'a>(list: &'a Value, member: &str) -> Vec<&'a str> {
    let items = list["items"].as_array().expect("items").iter();
    items.map(|item| item[member].as_str().unwrap_or("")).collect()
}

#[test]
fn ofreps_event_streams_are_counted_apart_and_only_while_they_are_open() {
    let served = Served::start();
    let (token, _) = two_apps(&served);
    let body = json!({"context": {"targetingKey": "a"}});
    let all = served.call(&token, "POST", "/ofrep/v1/evaluate/flags", &[], &body).expect(200);
    let url = all["eventStreams"][0]["url"].as_str().expect("an address");
    let path = &url[url.find("/ofrep/").expect("our own")..];
    let stream = served.stream("", path, &[]);
    served.post("/v1/kill", &json!({"kill_id": "all"})).expect(200);
    let seen = served.get("/v1/kills/all").expect(200);
    assert_eq!((told(&seen), &seen["clients"]["event_streams"]), ((0, 0, 0), &json!(1)));
    assert_eq!(served.get("/v1/clients?app=other").expect(200)["counts"]["event_streams"], 0);
    drop(stream);
    until(&served, "/v1/clients", |list| list["counts"]["event_streams"] == 0);
}

#[test]
fn nobody_acknowledges_what_is_yet_to_come() {
    let served = Served::start();
    let (token, _) = two_apps(&served);
    let _feed = feed(&served, &token, "one");
    let refused = ack(&served, &token, "one", 1_000, &[]).refused(400, "invalid");
    assert_eq!(refused["field"], "revision");
    served.post("/v1/kill", &json!({"kill_id": "all"})).expect(200);
    assert_eq!(told(&served.get("/v1/kills/all").expect(200)), (1, 0, 1));
    ack(&served, &token, "stranger", 1, &[]).refused(404, "not_found");
}
