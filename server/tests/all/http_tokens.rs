//! What a token opens and for how long, at every route: its scope, its binding, its rate, its end.

use crate::served;

use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use served::{Reply, Served};
use tidegate::http::Settings;

fn get(served: &Served, token: &str, path: &str) -> Reply {
    served.call(token, "GET", path, &[], &Value::Null)
}

fn made(served: &Served, wanted: &Value) -> String {
    served.post("/v1/tokens", wanted).expect(201)["secret"].as_str().expect("a secret").to_owned()
}

fn limited_to(burst: u32) -> Served {
    let settings = Settings { workers: 1, requests_per_second: Some(1), burst, ..Settings::default() };
    Served::with(settings, crate::served::ungated())
}

#[test]
fn reading_counts_against_the_rate_of_a_token_like_everything_else() {
    let served = limited_to(3);
    let viewer = made(&served, &json!({"scope": "viewer"}));
    for path in ["/v1/apps", "/v1/log", "/v1/whoami"] {
        get(&served, &viewer, path).expect(200);
    }
    for path in ["/v1/apps", "/v1/log", "/v1/whoami", "/v1/proposals"] {
        let limited = get(&served, &viewer, path);
        limited.refused(429, "rate_limited");
        assert_eq!(limited.header("retry-after"), "1");
    }
    get(&served, &served.admin, "/v1/apps").expect(200);
}

#[test]
fn only_who_may_kill_may_ask_for_kills_without_end() {
    let served = limited_to(4);
    served.shop();
    let sdk = served.token("sdk-server");
    let kill = |token: &str| served.call(token, "POST", "/v1/apps/shop/kill", &[], &json!({"reason": "x"}));
    for _ in 0..4 {
        kill(&sdk).refused(403, "not_allowed");
    }
    kill(&sdk).refused(429, "rate_limited");
    for _ in 0..10 {
        kill(&served.admin).expect(200);
    }
}

#[test]
fn a_busy_server_takes_kills_and_nothing_that_only_looks_like_one() {
    let settings = Settings { workers: 1, max_in_flight: 0, ..Settings::default() };
    let served = Served::with(settings, crate::served::ungated());
    let busy = served.get("/v1/apps");
    busy.refused(503, "busy");
    assert_eq!(busy.header("retry-after"), "1");
    assert_eq!(served.check(&served.admin, "kill", &json!({"targetingKey": "a"})).status, 503);
    assert_eq!(served.check(&served.admin, "a/kill", &json!({"targetingKey": "a"})).status, 503);
    served.post("/v1/kill", &json!({"reason": "x"})).expect(200);
}

#[test]
fn a_token_bound_to_an_environment_reads_of_no_other() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let bound = made(&served, &json!({"scope": "viewer", "app": "shop", "environment": "trial"}));
    let read = |path: &str| get(&served, &bound, path);
    let names = |shown: &Value| shown.as_object().expect("states").keys().cloned().collect::<Vec<_>>();
    let flag = read("/v1/apps/shop/flags/f").expect(200);
    assert_eq!(names(&flag["environments"]), ["trial"]);
    let flags = read("/v1/apps/shop/flags").expect(200);
    assert_eq!(names(&flags["items"][0]["environments"]), ["trial"]);
    read("/v1/apps/shop/flags/f/environments/trial").expect(200);
    read("/v1/apps/shop/flags/f/environments/live").refused(403, "not_allowed");
    let keys = |shown: &Value| {
        shown.as_array().expect("a list").iter().map(|one| one["key"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&read("/v1/apps/shop").expect(200)["environments"]), ["trial"]);
    assert_eq!(keys(&read("/v1/apps").expect(200)["items"][0]["environments"]), ["trial"]);
    assert_eq!(keys(&read("/v1/apps/shop/environments").expect(200)["items"]), ["trial"]);
    read("/v1/apps/shop/environments/trial").expect(200);
    read("/v1/apps/shop/environments/live").refused(403, "not_allowed");
    // What it changes it is shown in the same way.
    let ci = made(&served, &json!({"scope": "ci", "app": "shop", "environment": "trial"}));
    let seen = served.get("/v1/apps/shop/flags/f").header("etag").to_owned();
    let state = "/v1/apps/shop/flags/f/environments/trial";
    let changed = served.call(&ci, "PATCH", state, &[("If-Match", &seen)], &json!({"on": true}));
    assert_eq!(names(&changed.expect(200)["environments"]), ["trial"]);
}

#[test]
fn a_token_bound_to_an_environment_hears_of_nothing_that_concerns_only_another() {
    let served = Served::start();
    served.shop();
    let seen = served.flag_on("f");
    let agent = [("Tidegate-Agent", "model=m; tool=t; on-behalf-of=ada"), ("If-Match", seen.as_str())];
    let command = json!({"do": "set_targeting", "app": "shop", "flag": "f", "environment": "live",
                         "exposure": 50});
    let proposed = served.call(&served.admin, "POST", "/v1/proposals", &agent, &json!({"command": command}));
    let id = proposed.expect(201)["id"].as_str().expect("an id").to_owned();
    served.post("/v1/apps/shop/flags/f/kill", &json!({"environment": "live"})).expect(200);
    let _feed = served.stream(&served.token("sdk-server"), "/v1/feed?instance=one", &[]);

    let bound = made(&served, &json!({"scope": "viewer", "app": "shop", "environment": "trial"}));
    let app_wide = made(&served, &json!({"scope": "viewer", "app": "shop"}));
    let kinds = |token: &str| {
        let page = get(&served, token, "/v1/log").expect(200).clone();
        let items = page["items"].as_array().expect("entries").iter();
        items.map(|entry| entry["change"]["kind"].as_str().expect("a kind").to_owned()).collect::<Vec<_>>()
    };
    let of_live = ["targeting_changed", "proposed", "killed"];
    assert!(of_live.iter().all(|kind| kinds(&app_wide).iter().any(|other| other == kind)));
    assert!(!of_live.iter().any(|kind| kinds(&bound).iter().any(|other| other == kind)));
    assert!(kinds(&bound).iter().any(|kind| kind == "flag_created"));

    let count = |token: &str, path: &str| {
        get(&served, token, path).expect(200)["items"].as_array().expect("a list").len()
    };
    for path in ["/v1/proposals", "/v1/clients"] {
        assert_eq!((count(&app_wide, path), count(&bound, path)), (1, 0), "{path}");
    }
    get(&served, &bound, &format!("/v1/proposals/{id}")).refused(403, "not_allowed");
    get(&served, &bound, "/v1/clients?app=shop&environment=live").refused(403, "not_allowed");
    let killed = |token: &str| {
        let flag = get(&served, token, "/v1/apps/shop/flags/f").expect(200).clone();
        flag["killed"]["environments"].as_object().expect("kills").len()
    };
    assert_eq!((killed(&app_wide), killed(&bound)), (1, 0));
}

#[test]
fn a_key_beside_another_scheme_of_a_proxy_is_taken() {
    let served = Served::start();
    let headers = [("Authorization", "Basic dXNlcjpwdw=="), ("X-API-Key", served.admin.as_str())];
    assert_eq!(served.send("GET", "/v1/whoami", &headers, "").expect(200)["scope"], "admin");
    served.send("GET", "/v1/whoami", &headers[..1], "").refused(401, "unauthenticated");
    // A bearer token counts, whatever stands beside it.
    let headers = [("Authorization", "Bearer tg_no"), headers[1]];
    served.send("GET", "/v1/whoami", &headers, "").refused(401, "unauthenticated");
}

#[test]
fn a_stream_of_the_log_ends_with_its_token_however_much_there_is_to_tell() {
    let served = Served::start();
    let viewer = made(&served, &json!({"scope": "viewer"}));
    let mut stream = served.stream(&viewer, "/v1/log/stream", &[]);
    assert_eq!(stream.event().id, "1");
    let id = viewer.split('_').nth(2).expect("an id");
    served.call(&served.admin, "DELETE", &format!("/v1/tokens/{id}"), &[], &Value::Null).expect(200);
    served.post("/v1/apps", &json!({"key": "secret"})).expect(201);
    while let Some(event) = stream.next() {
        assert_ne!(event.json()["change"]["kind"], "app_created", "it was revoked before");
    }
}

#[test]
fn a_repeated_creation_of_a_token_says_that_its_secret_is_not_shown_again() {
    let served = Served::start();
    let create = |key: &str| {
        let body = json!({"scope": "viewer"});
        served.call(&served.admin, "POST", "/v1/tokens", &[("Idempotency-Key", key)], &body)
    };
    let first = create("once").expect(201);
    assert_eq!(create("once").expect(201)["secret"], first["secret"], "the answer was lost on its way");
    served.clock.advance(DurationMs(11 * 60 * 1000));
    let late = create("once").refused(409, "idempotency_key_taken");
    let detail = late["detail"].as_str().expect("a text");
    assert!(detail.contains("once") && detail.contains("new key"), "{detail}");
    assert_eq!(late["revision"], 2);
    assert_eq!(served.get("/v1/tokens").expect(200)["items"].as_array().map(Vec::len), Some(2));
}
