//! What holds for checks wherever they are answered.

use std::sync::Arc;

use rollout_rules::time::DurationMs;
use serde_json::{Value, json};
use tidegate::http::Settings;
use tidegate::log::{ChangeLog as _, Expect};

use super::{ADA, Sent, both_ways, follow_each_other, log_of_a_shop, new_log, shop, shop_on};
use crate::served::{Reply, Served, ungated};

fn one(served: &Served, token: &str) -> Reply {
    served.raw(&Sent::check(token, Some("f"), ADA).bytes())
}

fn all(served: &Served, token: &str, known: &str) -> Reply {
    served.raw(&Sent::check(token, None, ADA).with("If-None-Match", known).bytes())
}

fn revoke(served: &Served, token: &str) {
    let id = token.split('_').nth(2).expect("an id");
    served.call(&served.admin, "DELETE", &format!("/v1/tokens/{id}"), &[], &Value::Null).expect(200);
}

#[test]
fn a_token_that_was_used_is_good_for_nothing_once_it_is_revoked() {
    let (served, token) = shop(Settings::default());
    let other = served.token("sdk-server");
    assert_eq!(one(&served, &token).status, 200);
    let tag = all(&served, &token, "").header("etag").to_owned();
    assert_eq!(all(&served, &token, &tag).status, 304);
    revoke(&served, &token);
    assert_eq!(one(&served, &token).status, 401);
    assert_eq!(all(&served, &token, "").status, 401);
    assert_eq!(all(&served, &token, &tag).status, 401, "what did not change is for nobody either");
    assert_eq!(both_ways(&served, &Sent::check(&other, Some("f"), ADA)).0.status, 200, "others go on");
}

#[test]
fn a_token_works_until_the_millisecond_in_which_it_expires() {
    let (served, _) = shop(Settings::default());
    let ends = served.clock.clock().now().plus(DurationMs(60_000));
    let wanted =
        json!({"scope": "sdk-server", "app": "shop", "environment": "live", "expires_at": ends.to_string()});
    let token =
        served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("a secret").to_owned();
    let tag = all(&served, &token, "").header("etag").to_owned();
    served.clock.advance(DurationMs(59_999));
    assert_eq!((one(&served, &token).status, all(&served, &token, &tag).status), (200, 304));
    served.clock.advance(DurationMs(1));
    assert_eq!((one(&served, &token).status, all(&served, &token, &tag).status), (401, 401));
}

#[test]
fn a_guess_is_no_token_however_near_it_is_to_one_that_was_used() {
    let (served, token) = shop(Settings { failed_logins_per_minute: 1_000, ..Settings::default() });
    assert_eq!(one(&served, &token).status, 200);
    for at in 0..token.len() {
        let mut guess = token.clone().into_bytes();
        guess[at] = if guess[at] == b'a' { b'b' } else { b'a' };
        let guess = String::from_utf8(guess).expect("text");
        assert_eq!(one(&served, &guess).status, 401, "letter {at}");
        assert_eq!(one(&served, &token).status, 200);
    }
}

#[test]
fn a_kill_is_in_the_next_answer_whoever_knows_the_last_one() {
    let (served, token) = shop(Settings::default());
    for round in 0..3 {
        assert_eq!(one(&served, &token).expect(200)["value"], true, "round {round}");
        let tag = all(&served, &token, "").header("etag").to_owned();
        assert_eq!(all(&served, &token, &tag).status, 304);
        served.post("/v1/apps/shop/flags/f/kill", &json!({"reason": "x"})).expect(200);
        assert_eq!(one(&served, &token).expect(200)["metadata"]["tidegate.reason"], "killed");
        assert_eq!(all(&served, &token, &tag).expect(200)["flags"][0]["value"], false);
        served.post("/v1/apps/shop/flags/f/revive", &json!({"reason": "x"})).expect(200);
        let (_, in_front) = both_ways(&served, &Sent::check(&token, None, ADA));
        assert!(in_front);
        let state = "/v1/apps/shop/flags/f/environments/live";
        let revision = served.get(state).header("etag").to_owned();
        let on = json!({"on": true, "exposure": 100, "serve": {"variant": "on"}});
        served.patch(state, &revision, &on).expect(200);
    }
}

#[test]
fn an_environment_that_is_made_anew_is_another_to_a_token_that_asked_of_the_one_before() {
    let (served, _) = shop(Settings::default());
    let environment = "/v1/apps/shop/environments/trial";
    let wanted = json!({"scope": "sdk-server", "app": "shop", "environment": "trial"});
    let token =
        served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("a secret").to_owned();
    let state = "/v1/apps/shop/flags/f/environments/trial";
    let revision = served.get(state).header("etag").to_owned();
    served
        .patch(state, &revision, &json!({"on": true, "exposure": 100, "serve": {"variant": "on"}}))
        .expect(200);
    let check = || Sent::check(&token, Some("f"), ADA);
    assert_eq!(both_ways(&served, &check()).0.expect(200)["value"], true);
    served.call(&served.admin, "DELETE", environment, &[], &Value::Null).expect(204);
    let (gone, in_front) = both_ways(&served, &check());
    assert!(!in_front && gone.status >= 400, "{}", gone.text);
    served.post("/v1/apps/shop/environments", &json!({"key": "trial", "kind": "sandbox"})).expect(201);
    let (anew, _) = both_ways(&served, &check());
    assert_ne!(anew.json()["value"], true, "{}", anew.text);
}

#[test]
fn what_a_date_changes_is_changed_on_that_date_and_back_with_the_clock() {
    let (served, token) = shop(Settings::default());
    let flag = served.get("/v1/apps/shop/flags/f/environments/live").expect(200);
    let ends = flag["expires_at"].as_str().expect("a date").to_owned();
    let ends = rollout_rules::time::UnixMs::parse_rfc3339(&ends).expect("a moment");
    served.clock.set(rollout_rules::time::UnixMs(ends.0 - 1));
    let before = all(&served, &token, "").header("etag").to_owned();
    assert_eq!(all(&served, &token, &before).status, 304);
    served.clock.set(ends);
    let after = all(&served, &token, &before);
    assert_eq!(after.expect(200)["flags"][0]["metadata"]["tidegate.reason"], "expired");
    assert_eq!(all(&served, &token, after.header("etag")).status, 304);
    served.clock.set(rollout_rules::time::UnixMs(ends.0 - 1));
    let back = all(&served, &token, after.header("etag"));
    assert_eq!(
        back.expect(200)["flags"][0]["value"],
        true,
        "answers are of the time, not of what was last known"
    );
    assert_eq!(all(&served, &token, &before).status, 304);
}

#[test]
fn a_request_counts_once_against_its_tokens_rate_whichever_way_it_goes() {
    const BURST: u32 = 12;
    let settings = Settings { requests_per_second: Some(1), burst: BURST, ..Settings::default() };
    let (served, token) = shop(settings);
    let by_app = Sent::check(&token, Some("f"), ADA).with("X-Request-ID", "a").bytes();
    // Counted in front, and then refused by the app.
    let [missing, wrong] = [Some("none"), None].map(|key| {
        let body = if key.is_some() { ADA } else { "{" };
        Sent::check(&token, key, body).bytes()
    });
    for _ in 0..BURST / 4 {
        assert_eq!(one(&served, &token).status, 200);
        assert_eq!(served.raw(&by_app).status, 200);
        assert_eq!(served.raw(&missing).status, 404);
        assert_eq!(served.raw(&wrong).status, 400);
    }
    let refused = one(&served, &token);
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!((served.raw(&by_app).status, served.raw(&wrong).status), (429, 429));
    served.clock.advance(DurationMs(1_000));
    assert_eq!((one(&served, &token).status, one(&served, &token).status), (200, 429));
}

#[test]
fn whoever_asks_too_often_is_refused_in_front_of_the_app_as_the_app_refuses() {
    const BURST: u32 = 12;
    let settings = Settings { requests_per_second: Some(1), burst: BURST, ..Settings::default() };
    let (served, token) = shop(settings);
    let asked = (0..BURST).map(|_| one(&served, &token).status).filter(|status| *status == 200).count();
    assert_eq!(asked, BURST as usize);
    for (key, body) in
        [(Some("f"), ADA), (None, ADA), (Some("a%2Fb\"c"), ADA), (Some("none"), ADA), (None, "{")]
    {
        let (reply, in_front) = both_ways(&served, &Sent::check(&token, key, body));
        assert_eq!((reply.status, reply.header("retry-after"), in_front), (429, "1", true), "{key:?} {body}");
        assert_eq!(reply.json()["errorCode"], "GENERAL", "{}", reply.text);
    }
    served.clock.advance(DurationMs(1_000));
    assert_eq!((one(&served, &token).status, one(&served, &token).status), (200, 429));
}

#[test]
fn a_server_without_a_free_place_says_that_it_is_busy() {
    let log = new_log();
    let (before, token) = shop_on(log.clone(), Settings::default());
    assert_eq!(one(&before, &token).status, 200);
    before.stop();
    let full = Settings { workers: 1, max_in_flight: 0, ..Settings::default() };
    let served = Served::on(log, full, ungated());
    for reply in [one(&served, &token), all(&served, &token, "")] {
        assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    }
}

#[test]
fn a_node_that_has_not_read_its_log_checks_for_no_token() {
    let (log, token) = log_of_a_shop();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let unknown: Arc<[u8]> = Arc::from(&br#"{"v":99}"#[..]);
    runtime.block_on(log.append(Expect::Any, unknown)).expect("appended");
    let served = Served::on(log, Settings { workers: 1, ..Settings::default() }, ungated());
    for reply in [one(&served, &token), all(&served, &token, "")] {
        assert_eq!((reply.status, reply.header("retry-after")), (503, "1"));
    }
}

#[test]
fn checks_are_counted_alike_whichever_way_they_go() {
    let (served, token) = shop(Settings::default());
    served.post("/v1/apps/shop/flags", &json!({"key": "some"})).expect(201);
    let counts = || {
        let shown = served.get("/v1/apps/shop/flags/f/environments/live/exposures").expect(200);
        shown["hours"][0]["counts"].clone()
    };
    both_ways(&served, &Sent::check(&token, Some("f"), ADA));
    assert_eq!(counts(), json!([{"variant": "on", "count": 3}]), "two in front, one by the app");
    let tag = both_ways(&served, &Sent::check(&token, None, ADA)).0.header("etag").to_owned();
    both_ways(&served, &Sent::check(&token, None, ADA).with("If-None-Match", &tag));
    both_ways(&served, &Sent::check(&token, Some("none"), ADA));
    both_ways(&served, &Sent::check(&token, Some("f"), "{"));
    assert_eq!(counts(), json!([{"variant": "on", "count": 6}]), "what did not change was not checked");
}

#[test]
fn requests_are_in_the_metrics_under_the_same_names_whichever_way_they_go() {
    let (served, token) = shop(Settings::default());
    let value = |line: &str| {
        let text = served.raw(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").text;
        let found = text.lines().find_map(|known| known.strip_prefix(line)?.trim().parse::<f64>().ok());
        found.unwrap_or(0.0)
    };
    let tag = all(&served, &token, "").header("etag").to_owned();
    for (sent, route, status) in [
        (Sent::check(&token, Some("f"), ADA), "/ofrep/v1/evaluate/flags/{key:.*}", "200"),
        (Sent::check(&token, None, ADA), "/ofrep/v1/evaluate/flags", "200"),
        (Sent::check(&token, None, ADA).with("If-None-Match", &tag), "/ofrep/v1/evaluate/flags", "304"),
    ] {
        let requests =
            format!(r#"tidegate_http_requests_total{{route="{route}",method="POST",status="{status}"}}"#);
        let seconds = format!(r#"tidegate_http_request_seconds_count{{route="{route}",method="POST"}}"#);
        let before = (value(&requests), value(&seconds));
        let (first, again) = (served.raw(&sent.bytes()), served.raw(&sent.bytes()));
        assert!(follow_each_other(&first, &again));
        // Other tests of this process may count there too.
        assert!(value(&requests) >= before.0 + 2.0 && value(&seconds) >= before.1 + 2.0, "{requests}");
    }
    let checks = value("tidegate_checks_total");
    one(&served, &token);
    assert!(value("tidegate_checks_total") > checks);
    let (limited, token) = shop(Settings { requests_per_second: Some(1), burst: 12, ..Settings::default() });
    (0..12).for_each(|_| drop(one(&limited, &token)));
    for (key, route) in [(Some("f"), "/ofrep/v1/evaluate/flags/{key:.*}"), (None, "/ofrep/v1/evaluate/flags")]
    {
        let requests =
            format!(r#"tidegate_http_requests_total{{route="{route}",method="POST",status="429"}}"#);
        let before = value(&requests);
        assert!(both_ways(&limited, &Sent::check(&token, key, ADA)).1);
        assert!(value(&requests) >= before + 3.0, "{requests}");
    }
}
