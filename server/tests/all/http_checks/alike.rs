//! The same request, both ways.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rollout_rules::time::DurationMs;
use serde_json::json;

use super::{ALL, Sent, both_ways};
use crate::served::Served;

/// A shop with a flag of each kind and standing.
fn shop() -> Served {
    let served = Served::start();
    served.shop();
    for key in ["plain", "team/slashes", "killed", "short-lived"] {
        served.flag_on(key);
    }
    served.post("/v1/apps/shop/flags/killed/kill", &json!({"reason": "x"})).expect(200);
    served.post("/v1/apps/shop/flags", &json!({"key": "off"})).expect(201);
    let make = |key: &str, flag: serde_json::Value, state: serde_json::Value| {
        let mut flag = flag;
        flag["key"] = json!(key);
        let made = served.post("/v1/apps/shop/flags", &flag);
        made.expect(201);
        let path = format!("/v1/apps/shop/flags/{key}/environments/live");
        served.patch(&path, made.header("etag"), &state).expect(200);
    };
    make("some", json!({}), json!({"on": true, "exposure": 30, "serve": {"variant": "on"}}));
    let variants = json!([{"key": "half", "value": 0.5}, {"key": "whole", "value": 2.0}]);
    make(
        "rate",
        json!({"type": "number", "variants": variants, "off_variant": "half"}),
        json!({"on": true, "exposure": 100, "serve": {"variant": "whole"},
            "rules": [{"id": "staff", "when": {"attribute": "mail", "op": "ends_with", "values": ["@tide.example"]},
                "serve": {"variant": "half"}}]}),
    );
    served
}

const CONTEXTS: [&str; 8] = [
    r#"{"context":{"targetingKey":"ada"}}"#,
    r#"{"context":{"targetingKey":"ada","mail":"ada@tide.example","age":41,"beta":true,"gone":null}}"#,
    " {\n\"other\": [1, {\"context\": 2}], \"context\" : {\"targetingKey\":\"\\u0061da\", \"teams\":[\"a\",[1.5e3]]} }\n",
    r#"{"context":{"targetingKey":"ada","mail":"\ud83d\ude00@tide.example"}}"#,
    r#"{"context":{"targetingKey":"Zoë","user":{"address":{"city":"Ulm"}}}}"#,
    r#"{"context":{"targetingKey":"bob"},"flags":["a","b"]}"#,
    r#"{"context":{"targetingKey":"ada","n":123456789012345678901234567890}}"#,
    r#"{"context":{"mail":"x","targetingKey":"cy"}}"#,
];

const WRONG: [&str; 16] = [
    "",
    "{",
    "[]",
    "{}",
    "null",
    r#"{"context":[]}"#,
    r#"{"context":null}"#,
    r#"{"context":{}}"#,
    r#"{"context":{"targetingKey":""}}"#,
    r#"{"context":{"targetingKey":1}}"#,
    r#"{"context":{"targetingKey":"a","targetingKey":"b"}}"#,
    r#"{"context":{"targetingKey":"a","x":1,"x":2}}"#,
    r#"{"context":{"targetingKey":"a"},"context":{"targetingKey":"b"}}"#,
    r#"{"context":{"targetingKey":"a"}} x"#,
    r#"{"context":{"targetingKey":"a","deep":[[[[[[[[[1]]]]]]]]]}}"#,
    r#"{"context":{"targetingKey":"\ud800"}}"#,
];

const KEYS: [Option<&str>; 9] = [
    None,
    Some("plain"),
    Some("team/slashes"),
    Some("team%2Fslashes"),
    Some("killed"),
    Some("off"),
    Some("some"),
    Some("rate"),
    Some("%70lain"),
];

#[test]
fn plain_checks_are_answered_in_front_of_the_app_as_the_app_answers_them() {
    let served = shop();
    for scope in ["sdk-server", "viewer", "ci"] {
        let token = served.token(scope);
        for (key, body) in KEYS.iter().flat_map(|key| CONTEXTS.iter().map(move |body| (key, body))) {
            let (reply, in_front) = both_ways(&served, &Sent::check(&token, *key, *body));
            assert_eq!((reply.status, in_front), (200, true), "{key:?} {body}");
        }
    }
    served.clock.advance(DurationMs::days(400));
    let token = served.token("sdk-server");
    let (reply, in_front) = both_ways(&served, &Sent::check(&token, Some("plain"), CONTEXTS[0]));
    assert_eq!((&reply.json()["metadata"]["tidegate.reason"], in_front), (&json!("expired"), true));
}

#[test]
fn what_is_refused_for_what_it_is_is_refused_by_the_app() {
    let served = shop();
    let token = served.token("sdk-server");
    for (key, body) in KEYS.iter().flat_map(|key| WRONG.iter().map(move |body| (key, body))) {
        let (reply, in_front) = both_ways(&served, &Sent::check(&token, *key, *body));
        assert_eq!((reply.status, in_front), (400, false), "{key:?} {body}: {}", reply.text);
    }
    let good = || Sent::check(&token, Some("plain"), CONTEXTS[0]);
    let check = |key: &str| Sent::check(&token, Some(key), CONTEXTS[0]);
    let other_token = |token: &str| Sent::check(token, Some("plain"), CONTEXTS[0]);
    let cut = &token[..token.len() - 1];
    for (sent, status) in [
        (check("none"), 404),
        (check(""), 404),
        (check("plain/"), 404),
        (check("../flags/plain"), 404),
        (Sent { path: format!("{ALL}x"), ..good() }, 404),
        (Sent { path: format!("{ALL}?flagConfigLastModified=x"), ..good() }, 400),
        (other_token("tg_nonsense"), 401),
        (other_token(cut), 401),
        (other_token(&format!("{cut}-")), 401),
        (other_token(&served.admin), 400),
        (good().without("Authorization"), 401),
        (good().without("Authorization").with("Authorization", &format!("Basic {token}")), 401),
        (good().without("Content-Type").with("Content-Type", "text/plain"), 415),
        (good().without("Content-Type").with("Content-Type", ""), 415),
        (good().with("Tidegate-App", "other"), 403),
        (good().with("Tidegate-Environment", "trial"), 403),
        (Sent { method: "GET", ..good() }, 405),
        (Sent { method: "PUT", ..good() }, 405),
    ] {
        let (reply, in_front) = both_ways(&served, &sent);
        assert_eq!((reply.status, in_front), (status, false), "{sent:?}: {}", reply.text);
    }
}

#[test]
fn what_is_out_of_the_ordinary_is_answered_by_the_app() {
    let served = shop();
    let (token, page) = (served.token("sdk-server"), served.token("sdk-browser"));
    for key in [None, Some("plain")] {
        let good = || Sent::check(&token, key, CONTEXTS[1]);
        let path = good().path;
        let padded = format!("{}{}", CONTEXTS[1], " ".repeat(9_000));
        for sent in [
            good().with("Origin", "https://shop.example"),
            good().with("Sec-Fetch-Site", "same-origin"),
            good().with("Tidegate-App", "shop"),
            good().with("Tidegate-Environment", "live"),
            good().with("Authorization", "Bearer tg_another"),
            good().with("X-API-Key", "tg_another").with("X-API-Key", &token),
            Sent { path: format!("{path}?app=shop"), ..good() },
            Sent { body: padded.into_bytes(), ..good() },
            Sent::check(&page, key, CONTEXTS[1]),
            Sent::check(&page, key, CONTEXTS[1]).with("Origin", "https://shop.example"),
        ] {
            let (reply, in_front) = both_ways(&served, &sent);
            assert_eq!((reply.status, in_front), (200, false), "{sent:?}: {}", reply.text);
        }
        for (sent, stays_in_front) in [
            (Sent { host: "127.0.0.1:8080", ..good() }, true),
            (Sent { host: "a\"b\\c", ..good() }, true),
            (Sent { host: "", ..good() }, key.is_some()),
            (good().with("X-API-Key", "tg_another"), true),
            (good().without("Authorization").with("X-API-Key", &token), true),
            (good().without("Content-Type"), true),
            (good().without("Content-Type").with("Content-Type", "Application/JSON; charset=utf-8"), true),
            (good().with("User-Agent", "a").with("Accept-Encoding", "gzip").with("Cookie", "a=b"), true),
            // Where an answer names the stream, the address is the one that the client used.
            (good().with("X-Forwarded-Proto", "https").with("X-Forwarded-Host", "a.example"), key.is_some()),
            (good().with("Forwarded", "proto=https;host=a.example"), key.is_some()),
        ] {
            let (reply, in_front) = both_ways(&served, &sent);
            assert_eq!((reply.status, in_front), (200, stays_in_front), "{sent:?}: {}", reply.text);
        }
    }
    let limited = served.page_key(&["https://shop.example"]);
    let from = |origin| Sent::check(&limited, None, CONTEXTS[0]).with("Origin", origin);
    assert_eq!(both_ways(&served, &from("https://shop.example")).0.status, 200);
    assert_eq!(both_ways(&served, &from("https://other.example")).0.status, 403);
    assert_eq!(both_ways(&served, &Sent::check(&limited, None, CONTEXTS[0])).0.status, 403);
}

#[test]
fn a_tag_of_one_way_is_good_for_the_other_and_for_nothing_else() {
    let served = shop();
    let (token, other) = (served.token("sdk-server"), served.token("sdk-server"));
    let tag = both_ways(&served, &Sent::check(&token, None, CONTEXTS[0])).0.header("etag").to_owned();
    let bare = tag.trim_matches('"').to_owned();
    let (state, until) = bare.split_once('.').expect("a state and an end");
    let asks = |known: &str| {
        both_ways(&served, &Sent::check(&token, None, CONTEXTS[0]).with("If-None-Match", known))
    };
    for known in [
        tag.clone(),
        bare.clone(),
        format!("W/{tag}"),
        format!("\"a\", {tag}, \"b\""),
        format!("  \"{bare}\"  "),
        format!("\"{bare},"),
        format!("\"\"{bare}\"\""),
        format!("\"{state}.0{until}\""),
        format!("\"{state}.{}\"", until.to_uppercase()),
    ] {
        let (reply, in_front) = asks(&known);
        assert_eq!((reply.status, reply.text.as_str(), in_front), (304, "", true), "{known}");
        assert_eq!(reply.header("content-type"), "");
    }
    for known in [
        "*".to_owned(),
        String::new(),
        "\"\"".to_owned(),
        format!("\"{state}\""),
        format!("\"{state}.\""),
        format!("\"{state}.+1\""),
        format!("\"{state}.1\""),
        format!("\"{state}0.{until}\""),
        format!("\"0{state}.{until}\""),
        format!("\"{}.{until}\"", state.to_uppercase()),
        format!("\"{}.{until}\"", "0".repeat(32)),
    ] {
        let (reply, in_front) = asks(&known);
        assert_eq!((reply.status, in_front), (200, true), "{known}");
        assert_eq!(reply.header("etag"), tag);
    }
    let status = |sent: Sent| both_ways(&served, &sent.with("If-None-Match", &tag)).0.status;
    assert_eq!(status(Sent::check(&other, None, CONTEXTS[0])), 200, "another token");
    assert_eq!(status(Sent::check(&token, None, CONTEXTS[1])), 200, "another context");
    assert_eq!(status(Sent::check(&token, None, format!("{} ", CONTEXTS[0]))), 200, "another body");
    assert_eq!(status(Sent::check(&token, None, "{")), 400, "no body that was ever answered");
    assert_eq!(status(Sent::check(&token, Some("plain"), CONTEXTS[0])), 200, "one flag has no tag");
}

#[test]
fn bodies_that_nobody_would_write_are_answered_alike() {
    const ROUNDS: usize = 150;
    let served = shop();
    let token = served.token("sdk-server");
    let mut random = StdRng::seed_from_u64(7);
    let mut statuses = [0; 2];
    for round in 0..ROUNDS {
        let mut body = CONTEXTS[random.random_range(0..CONTEXTS.len())].as_bytes().to_vec();
        for _ in 0..random.random_range(0..3) {
            let at = random.random_range(0..body.len());
            match random.random_range(0..4) {
                0 => drop(body.remove(at)),
                1 => body.insert(at, body[random.random_range(0..body.len())]),
                2 => body[at] = b"\"{}[],:\\0 \xffeu"[random.random_range(0..13)],
                _ => body.truncate(at.max(1)),
            }
        }
        let key = KEYS[round % KEYS.len()];
        let (reply, in_front) = both_ways(&served, &Sent::check(&token, key, body));
        assert_eq!(in_front, reply.status == 200, "{}", reply.text);
        statuses[usize::from(in_front)] += 1;
    }
    assert!(statuses.iter().all(|count| *count > ROUNDS / 10), "{statuses:?}");
}
