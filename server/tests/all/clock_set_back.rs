//! The clock is set back an hour, as happens when somebody mends it. Time is a value: what is judged by it is judged
//! by the new time, what is counted goes on, and nobody is locked out for the hour that comes twice.

use crate::served;

use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};
use served::{Reply, START, Served};
use tidegate::http::Settings;

const HOUR: DurationMs = DurationMs(60 * 60 * 1_000);
const STATE: &str = "/v1/apps/shop/flags/f/environments/live";
const ALL: &str = "/ofrep/v1/evaluate/flags";

fn set_back(served: &Served) {
    let now = served.clock.clock().now();
    served.clock.set(UnixMs(now.0 - HOUR.0));
}

/// All flags for somebody, unless this answer is still good.
fn bulk(served: &Served, token: &str, known: &str) -> Reply {
    let body = json!({"context": {"targetingKey": "a"}});
    served.call(token, "POST", ALL, &[("If-None-Match", known)], &body)
}

#[test]
fn entries_bear_the_time_of_the_clock_and_keep_their_order() {
    let served = Served::start();
    served.shop();
    let seen = served.flag_on("f");
    set_back(&served);
    let after = served.patch(STATE, &seen, &json!({"exposure": 50}));
    after.expect(200);
    served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": "k"})).expect(200);
    let page = served.get("/v1/log?limit=500").expect(200);
    let entries = page["items"].as_array().expect("entries").clone();
    let revisions: Vec<u64> = entries.iter().map(|entry| entry["revision"].as_u64().expect("one")).collect();
    assert!(revisions.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{revisions:?}");
    let written = |entry: &Value| entry["at"].as_str().and_then(UnixMs::parse_rfc3339).expect("a time");
    let times: Vec<UnixMs> = entries.iter().map(written).collect();
    assert_eq!(times[times.len() - 2..], [UnixMs(START.0 - HOUR.0); 2], "the clock as it is, not as it was");
    assert_eq!(times[times.len() - 3], START);

    // What was known at a revision is known by it, whatever the clock said.
    let explain = |question: Value| served.post(&format!("{STATE}/explain"), &question).expect(200);
    let revision = revisions[revisions.len() - 2];
    let told = explain(json!({"context": {"targetingKey": "a"}, "revision": revision}));
    assert_eq!(
        (told["log_revision"].as_u64(), told["at"].clone()),
        (Some(revision), json!(times[times.len() - 2]))
    );
    assert_eq!(explain(json!({"context": {"targetingKey": "a"}}))["explanation"]["reason"], "killed_flag");
}

#[test]
fn rates_and_guesses_are_counted_on_and_lock_nobody_out_for_an_hour() {
    const MAY: u32 = 5;
    let settings = Settings {
        workers: 1,
        requests_per_second: Some(MAY),
        burst: MAY,
        failed_logins_per_minute: MAY,
        ..Settings::default()
    };
    let served = Served::with(settings, crate::served::ungated());
    // Setting up takes requests of the admin's token, too.
    served.shop();
    served.clock.advance(DurationMs(1_000));
    served.flag_on("f");
    let sdk = served.token("sdk-server");
    let status = |token: &str| served.check(token, "f", &json!({"targetingKey": "a"})).status;
    for _ in 0..MAY {
        assert_eq!((status(&sdk), status("tg_sdk-server_guess")), (200, 401));
    }
    assert_eq!((status(&sdk), status("tg_sdk-server_guess")), (429, 429));
    set_back(&served);
    let refused = served.check(&sdk, "f", &json!({"targetingKey": "a"}));
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"), "{}", refused.text);
    assert_eq!(status("tg_sdk-server_guess"), 429);
    served.clock.advance(DurationMs(1_000));
    assert_eq!(status(&sdk), 200);
    served.clock.advance(DurationMs(60_000));
    assert_eq!(status("tg_sdk-server_guess"), 401);
}

#[test]
fn an_answer_counts_as_unchanged_only_where_it_is() {
    let served = Served::start();
    served.shop();
    let made = served.post("/v1/apps/shop/flags", &json!({"key": "f"}));
    let path = "/v1/apps/shop/flags/f/environments/live";
    let seen = made.header("etag");
    let on = json!({"on": true, "exposure": 100, "serve": {"variant": "on"}});
    served.patch(path, seen, &on).expect(200);
    let expires_at = served.get(path).expect(200)["expires_at"].as_str().and_then(UnixMs::parse_rfc3339);
    let expires_at = expires_at.expect("a flag expires");
    let sdk = served.token("sdk-server");
    let value = |reply: &Reply| reply.expect(200)["flags"][0]["value"].clone();

    served.clock.set(UnixMs(expires_at.0 - 1));
    let alive = bulk(&served, &sdk, "");
    assert_eq!(value(&alive), true);
    served.clock.set(expires_at);
    let dead = bulk(&served, &sdk, alive.header("etag"));
    assert_eq!(value(&dead), false, "it died on its date");
    set_back(&served);
    // It lives again, as time is judged now: nobody is told that the answer of a dead flag still holds.
    let again = bulk(&served, &sdk, dead.header("etag"));
    assert_eq!(value(&again), true);
    assert_eq!(bulk(&served, &sdk, again.header("etag")).status, 304);
    served.clock.set(expires_at);
    assert_eq!(value(&bulk(&served, &sdk, again.header("etag"))), false);
}

#[test]
fn tokens_previews_proposals_and_repeated_requests_are_judged_by_the_new_time() {
    let served = Served::start();
    served.shop();
    let seen = served.flag_on("f");
    let in_half_an_hour = START.plus(DurationMs(HOUR.0 / 2));
    let token = json!({"scope": "viewer", "expires_at": in_half_an_hour});
    let key = [("Idempotency-Key", "once")];
    let make = || served.call(&served.admin, "POST", "/v1/tokens", &key, &token);
    let made = make().expect(201);
    let viewer = made["secret"].as_str().expect("a secret").to_owned();
    let preview = json!({"key": "pr-1", "kind": "preview", "ends_at": in_half_an_hour});
    served.post("/v1/apps/shop/environments", &preview).expect(201);
    let command =
        json!({"do": "set_targeting", "app": "shop", "flag": "f", "environment": "live", "exposure": 7});
    let known = [("If-Match", seen.as_str())];
    let proposal = served
        .call(&served.admin, "POST", "/v1/proposals", &known, &json!({ "command": command }))
        .expect(201);
    let status = || served.call(&viewer, "GET", "/v1/apps", &[], &Value::Null).status;

    served.clock.set(in_half_an_hour);
    assert_eq!(status(), 401, "its time has come");
    set_back(&served);
    assert_eq!(status(), 200, "and is still to come");
    // The same request is the same, not a second one.
    let again = make();
    assert_eq!(
        (again.expect(201)["id"].clone(), again.header("idempotency-replayed")),
        (made["id"].clone(), "true")
    );
    let environments = served.get("/v1/apps/shop/environments").expect(200);
    assert_eq!(environments["items"].as_array().map(Vec::len), Some(3), "{environments}");
    let path = format!("/v1/proposals/{}", proposal["id"].as_str().expect("an id"));
    assert_eq!(served.get(&path).expect(200)["state"], "open");
    served.post(&format!("{path}/apply"), &json!({"hash": proposal["hash"]})).expect(200);
    // A kill that was repeated is the same kill.
    let kill = || served.post("/v1/apps/shop/flags/f/kill", &json!({"kill_id": "k"})).expect(200);
    let first = kill()["revision"].clone();
    served.clock.set(START.plus(HOUR));
    assert_eq!(kill()["revision"], first);
}
