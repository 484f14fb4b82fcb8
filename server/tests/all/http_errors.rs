//! Whatever goes wrong, the answer is JSON of one form, with the status that HTTP has for it.

use crate::served;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rollout_rules::ids::LogId;
use serde_json::{Value, json};
use served::Served;
use tidegate::http::Settings;
use tidegate::log::memory::MemoryLog;
use tidegate::log::{ChangeLog as _, Expect};

fn one_worker() -> Settings {
    Settings { workers: 1, ..Settings::default() }
}

#[test]
fn a_path_that_leads_nowhere_is_404_and_another_method_405_with_allow() {
    let served = Served::start();
    served.get("/v1/nothing").refused(404, "not_found");
    served.get("/").refused(404, "not_found");
    let wrong = served.call(&served.admin, "PUT", "/v1/apps", &[], &json!({}));
    wrong.refused(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), "GET, POST");
    let wrong = served.call("", "GET", "/ofrep/v1/evaluate/flags", &[], &Value::Null);
    assert_eq!((wrong.status, wrong.header("allow")), (405, "POST"));
    assert_eq!(wrong.json()["errorCode"], "GENERAL");
    served.get("/v1/apps/Not%20A%20Key").refused(404, "not_found");
    served.get("/v1/apps/absent").refused(404, "not_found");
}

#[test]
fn only_a_valid_token_opens_anything() {
    let served = Served::start();
    served.shop();
    let forged = format!("{}x", &served.admin[..served.admin.len() - 1]);
    for token in ["", "tg_admin_x_y", "nonsense", forged.as_str()] {
        let reply = served.call(token, "GET", "/v1/apps", &[], &Value::Null);
        reply.refused(401, "unauthenticated");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let reply = served.send("GET", "/v1/whoami", &[("X-API-Key", &served.admin)], "");
    assert_eq!(reply.expect(200)["scope"], "admin");

    let made = served
        .post("/v1/tokens", &json!({"scope": "viewer", "expires_at": "2027-01-16T00:00:00Z"}))
        .expect(201);
    let viewer = made["secret"].as_str().expect("shown once").to_owned();
    served.call(&viewer, "GET", "/v1/apps", &[], &Value::Null).expect(200);
    served.clock.advance(rollout_rules::time::DAY);
    served.call(&viewer, "GET", "/v1/apps", &[], &Value::Null).refused(401, "unauthenticated");

    let sdk = served.token("sdk-server");
    served.call(&sdk, "GET", "/v1/apps", &[], &Value::Null).refused(403, "not_allowed");
    let listed = served.get("/v1/tokens").expect(200);
    let listed = listed["items"].as_array().expect("a list");
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|token| token.get("hash").is_none() && token.get("secret").is_none()));
    let id = sdk.split('_').nth(2).expect("an id");
    let revoked =
        served.call(&served.admin, "DELETE", &format!("/v1/tokens/{id}?reason=lost"), &[], &Value::Null);
    assert!(revoked.expect(200)["revoked_at"].is_string());
    assert_eq!(served.check(&sdk, "any", &json!({"targetingKey": "a"})).status, 401);
}

#[test]
fn a_token_bound_to_an_app_sees_no_other() {
    let served = Served::start();
    served.shop();
    served.post("/v1/apps", &json!({"key": "other"})).expect(201);
    let bound = served.post("/v1/tokens", &json!({"scope": "editor", "app": "shop"})).expect(201);
    let bound = bound["secret"].as_str().expect("a secret").to_owned();
    let get = |path: &str| served.call(&bound, "GET", path, &[], &Value::Null);
    let apps = get("/v1/apps").expect(200);
    assert_eq!(apps["items"].as_array().map(Vec::len), Some(1));
    get("/v1/apps/shop").expect(200);
    get("/v1/apps/other").refused(403, "not_allowed");
    get("/v1/tokens").refused(403, "not_allowed");
    let entries = get("/v1/log").expect(200);
    let kinds: Vec<_> =
        entries["items"].as_array().expect("a list").iter().map(|e| e["change"]["kind"].clone()).collect();
    assert_eq!(kinds, ["app_created", "token_created"], "its own app's alone");
    served
        .call(&bound, "POST", "/v1/apps/other/flags", &[], &json!({"key": "f"}))
        .refused(403, "not_allowed");
}

#[test]
fn a_body_that_is_no_json_or_says_more_than_known_is_refused_by_name() {
    let served = Served::start();
    served.shop();
    let bearer = format!("Bearer {}", served.admin);
    let send = |body: &str, kind: &str| {
        served.send("POST", "/v1/apps", &[("Authorization", &bearer), ("Content-Type", kind)], body)
    };
    send("{\"key\":", "application/json").refused(400, "invalid_json");
    send("", "application/json").refused(400, "invalid_json");
    send("key=shop", "application/x-www-form-urlencoded").refused(415, "unsupported_media_type");
    let unknown = send(r#"{"key":"a","colour":"red"}"#, "application/json; charset=utf-8");
    assert!(unknown.refused(400, "invalid_body")["detail"].as_str().unwrap().contains("colour"));
    let wrong = send(r#"{"key":"a","environments":[{"key":"live","kind":"prod"}]}"#, "application/json");
    assert_eq!(wrong.refused(400, "invalid_body")["field"], "environments[0].kind");
    served.get("/v1/apps?limit=0").refused(400, "invalid_parameter");
    let ten = served.get("/v1/apps?limit=ten").refused(400, "invalid_parameter");
    assert_eq!(ten["detail"], "the parameter `limit` has to be a whole number, not `ten`");
    let yes = served.get("/v1/apps/shop/flags?archived=yes").refused(400, "invalid_parameter");
    assert_eq!(yes["detail"], "the parameter `archived` has to be true or false, not `yes`");
    served.get("/v1/apps?size=10").refused(400, "invalid_parameter");
    served.get("/v1/apps?limit=1&limit=2").refused(400, "invalid_parameter");
}

#[test]
fn a_body_beyond_the_limit_is_413_whether_it_is_announced_or_not() {
    let settings = Settings { max_body_bytes: 1_000, ..one_worker() };
    let served = Served::with(settings, crate::served::ungated());
    let large = format!("{{\"key\":\"a\",\"description\":\"{}\"}}", "x".repeat(2_000));
    let bearer = format!("Bearer {}", served.admin);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    served.send("POST", "/v1/apps", &headers, &large).refused(413, "too_large");
    let chunked = format!(
        "POST /v1/apps HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {bearer}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    served.raw(chunked.as_bytes()).refused(413, "too_large");
}

#[test]
fn too_many_requests_and_too_many_bad_tokens_are_429_with_whole_seconds() {
    let settings =
        Settings { requests_per_second: Some(1), burst: 3, failed_logins_per_minute: 2, ..one_worker() };
    let served = Served::with(settings, crate::served::ungated());
    served.shop();
    let sdk = served.token("sdk-server");
    let check = || served.check(&sdk, "absent", &json!({"targetingKey": "a"}));
    for _ in 0..3 {
        assert_eq!(check().status, 404);
    }
    let limited = check();
    assert_eq!((limited.status, limited.header("retry-after")), (429, "1"));
    assert_eq!(limited.json()["errorCode"], "GENERAL");
    let bad = || served.call("tg_admin_bad", "GET", "/v1/apps", &[], &Value::Null);
    bad().refused(401, "unauthenticated");
    bad().refused(401, "unauthenticated");
    let limited = bad();
    limited.refused(429, "too_many_failed_logins");
    assert_eq!(limited.header("retry-after"), "30");
    served.get("/v1/apps").expect(200);
    // A kill is never refused for asking too often.
    for round in 0..10 {
        served.post("/v1/kill", &json!({"kill_id": format!("k{round}")})).expect(200);
    }
}

#[test]
fn a_stale_write_is_told_what_changed_and_a_raise_without_revision_is_428() {
    let served = Served::start();
    served.shop();
    let made = served.post("/v1/apps/shop/flags", &json!({"key": "f"}));
    let seen = made.header("etag").to_owned();
    let state = "/v1/apps/shop/flags/f/environments/live";
    served.patch(state, &seen, &json!({"on": true, "exposure": 10, "serve": {"variant": "on"}})).expect(200);
    let stale = served.patch(state, &seen, &json!({"exposure": 50})).refused(412, "stale");
    assert_eq!(stale["changed"][0]["change"], "targeting_changed");
    assert_eq!(stale["changed"][0]["actor"]["name"], "ada");
    let current = stale["current_revision"].as_u64().expect("a revision");
    let nameless = served.patch(state, "", &json!({"exposure": 50})).refused(428, "revision_required");
    let header = format!("`If-Match: \"{current}\"`");
    assert!(nameless["detail"].as_str().expect("a text").contains(&header), "{nameless}");
    served.patch(state, &format!("\"{current}\""), &json!({"exposure": 50})).expect(200);
    served.patch(state, "", &json!({"exposure": 5})).expect(200);
    served.patch(state, "", &json!({"on": false})).expect(200);
    served.patch(state, "seven", &json!({"on": false})).refused(400, "invalid_parameter");
}

#[test]
fn a_log_that_takes_nothing_refuses_changes_but_answers_checks_and_takes_kills() {
    let served = Served::start();
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-server");
    served.log.fail_always(Some(tidegate::log::memory::Fault::Full));
    served.post("/v1/apps", &json!({"key": "more"})).refused(507, "log_full");
    served.log.fail_always(Some(tidegate::log::memory::Fault::Unavailable));
    let refused = served.post("/v1/apps", &json!({"key": "more"}));
    refused.refused(503, "log_unavailable");
    assert!(refused.header("retry-after").parse::<u64>().is_ok());
    assert_eq!(served.check(&token, "f", &json!({"targetingKey": "a"})).expect(200)["value"], true);
    served.log.fail_always(None);
    served.post("/v1/apps", &json!({"key": "more"})).expect(201);
}

#[test]
fn a_request_keeps_its_id_and_a_page_of_another_origin_reads_only_checks() {
    let served = Served::start();
    let reply = served.send("GET", "/healthz", &[("X-Request-ID", "abc-1")], "");
    assert_eq!((reply.status, reply.header("x-request-id")), (200, "abc-1"));
    let reply = served.send("GET", "/healthz", &[("X-Request-ID", "a b/c")], "");
    assert!(!reply.header("x-request-id").is_empty() && reply.header("x-request-id") != "a b/c");
    let preflight = [
        ("Origin", "https://app.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization, content-type, if-none-match"),
    ];
    let reply = served.send("OPTIONS", "/ofrep/v1/evaluate/flags", &preflight, "");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, "https://app.example"));
    for header in ["Authorization", "Content-Type", "If-None-Match"] {
        assert!(reply.header("access-control-allow-headers").contains(header));
    }
    let refused = served.send("POST", "/ofrep/v1/evaluate/flags", &preflight[..1], "{}");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), "https://app.example");
    assert!(refused.header("access-control-expose-headers").contains("ETag"));
    assert_eq!(served.send("OPTIONS", "/v1/apps", &preflight, "").status, 405);
    assert_eq!(served.send("GET", "/v1/apps", &preflight[..1], "").header("access-control-allow-origin"), "");
}

#[test]
fn health_readiness_and_metrics_tell_what_they_should() {
    let served = Served::start();
    served.shop();
    assert_eq!(served.send("GET", "/healthz", &[], "").expect(200)["status"], "ok");
    let ready = served.send("GET", "/readyz", &[], "").expect(200);
    assert_eq!((&ready["ready"], ready["revision"].as_u64()), (&json!(true), Some(2)));
    served.flag_on("f");
    served.check(&served.token("sdk-server"), "f", &json!({"targetingKey": "a"})).expect(200);
    let metrics = served.send("GET", "/metrics", &[], "");
    assert_eq!(metrics.status, 200);
    for forwarded in ["X-Forwarded-For", "Forwarded", "Via"] {
        let from_elsewhere = served.send("GET", "/metrics", &[(forwarded, "203.0.113.7")], "");
        from_elsewhere.refused(401, "unauthenticated");
    }
    for series in [
        "tidegate_http_requests_total{",
        "tidegate_command_seconds_bucket",
        "tidegate_revision",
        "tidegate_ready",
        "tidegate_checks_total",
    ] {
        assert!(metrics.text.contains(series), "{series} in {}", metrics.text);
    }
    let closed = Settings { metrics: tidegate::config::MetricsAccess::Nobody, ..one_worker() };
    let served = Served::with(closed, crate::served::ungated());
    served.send("GET", "/metrics", &[], "").refused(401, "unauthenticated");
    assert_eq!(served.get("/metrics").status, 200);
}

#[test]
fn a_fleet_that_comes_back_at_once_waits_in_the_kernel_instead_of_trying_again() {
    const FLEET: usize = 400;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    tidegate::http::let_many_wait(&listener).expect("a longer queue");
    let address = listener.local_addr().expect("an address");
    let patience = std::time::Duration::from_millis(900);
    // Nobody accepts them yet.
    let fleet: Vec<_> =
        (0..FLEET).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
    assert_eq!(fleet.len(), FLEET);
}

#[test]
fn a_node_that_cannot_read_its_log_says_so_and_answers_no_checks() {
    let log = MemoryLog::new(LogId::new("newer").expect("a name"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let unknown: Arc<[u8]> = Arc::from(&br#"{"v":99}"#[..]);
    runtime.block_on(log.append(Expect::Any, unknown)).expect("appended");
    let served = Served::on(log, one_worker(), crate::served::ungated());
    assert_eq!(served.send("GET", "/healthz", &[], "").status, 200);
    let ready = served.send("GET", "/readyz", &[], "").refused(503, "not_ready");
    assert!(ready["ready"] == false && ready["detail"].as_str().unwrap().contains("revision 1"), "{ready}");
    served.get("/v1/apps").refused(503, "not_ready");
    let check = served.check("tg_any", "f", &json!({"targetingKey": "a"}));
    assert_eq!((check.status, check.header("retry-after")), (503, "1"));
}
