//! Pipelines that ask with the tokens of their own issuer.

use rollout_rules::governance::Rules;
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};

use super::{LIVE, Part, TRIAL, fixture, send, set, set_policy, wanted};
use crate::served::{Reply, Served};

/// 2026-01-15T10:01:00Z, while the tokens of the fixtures count.
const ASKED: UnixMs = UnixMs(1_768_471_260_000);

fn token(name: &str) -> String {
    String::from_utf8(fixture(&format!("oidc/{name}.jwt"))).expect("text").trim().to_owned()
}

/// A shop whose policy trusts the issuer of the fixtures.
fn shop(source: &Value) -> Served {
    let served = Served::from(ASKED, Rules::default());
    served.shop();
    let jwks: Value = serde_json::from_slice(&fixture("oidc/jwks.json")).expect("JSON");
    let issuer = json!({
        "name": "github", "shape": "github", "issuer": "https://token.actions.githubusercontent.com",
        "audience": "https://tidegate.example", "jwks": { "keys": jwks },
    });
    set_policy(&served, |policy| policy["trust"]["issuers"] = json!([issuer])).expect(200);
    if !source.is_null() {
        let path = "/v1/apps/shop/source";
        served.call(&served.admin, "PUT", path, &[], &json!({ "source": source })).expect(200);
    }
    served
}

fn own() -> Value {
    json!({
        "repository_id": "100200300", "owner_id": "400500",
        "workflows": ["example-org/discount/.github/workflows/ci.yml"],
    })
}

fn asks(served: &Served, token: &str, path: &str, more: &Value) -> Reply {
    send(served, token, path, &set("clean", &wanted(1, more)))
}

#[test]
fn a_pipeline_asks_once_with_the_token_of_its_issuer() {
    let served = shop(&own());
    let answer = asks(&served, &token("good"), LIVE, &Value::Null).expect(200);
    assert_ne!(answer["decision"]["verdict"], "deny", "{answer}");
    assert_eq!(answer["decision"]["identity"]["repository_id"], "100200300");
    let by = "github: repo:example-org/discount:ref:refs/heads/main";
    assert_eq!(answer["by"], json!({ "type": "service", "name": by }));
    for more in [Value::Null, json!({ "add": true })] {
        let again = asks(&served, &token("good"), LIVE, &more).refused(400, "invalid");
        assert!(again["detail"].as_str().expect("words").contains("used before"), "{again}");
    }
    // It is good for nothing else.
    served
        .call(&token("good"), "GET", "/v1/apps/shop/decisions", &[], &Value::Null)
        .refused(401, "unauthenticated");
    // Somebody else may add to it.
    let added = asks(&served, &served.admin, LIVE, &json!({ "add": true })).expect(200);
    assert_eq!(added["decision"]["identity"]["subject"], "repo:example-org/discount:ref:refs/heads/main");
}

#[test]
fn each_bad_token_is_refused_and_says_why() {
    let served = shop(&own());
    for (name, why) in [
        ("bad.alg-none", "algorithm"),
        ("bad.hs256-with-public-key", "algorithm"),
        ("bad.expired", "expired"),
        ("bad.other-audience", "audience"),
        ("bad.unknown-kid", "unknown_key"),
        ("bad.pull-request", "pull_request"),
    ] {
        let refused = asks(&served, &token(name), LIVE, &Value::Null).refused(401, "unauthenticated");
        assert_eq!(refused["token_problem"], why, "{name}: {refused}");
        let words = refused["detail"].as_str().expect("words");
        assert!(!words.contains(&token(name)[..20]), "the token itself is not told: {words}");
    }
    let sandbox = asks(&served, &token("bad.pull-request"), TRIAL, &Value::Null).expect(200);
    assert_eq!(sandbox["decision"]["identity"]["event"], "pull_request");
    served.clock.advance(DurationMs(20 * 60 * 1000));
    let late = asks(&served, &token("good"), LIVE, &Value::Null).refused(401, "unauthenticated");
    assert_eq!(late["token_problem"], "expired");
}

#[test]
fn a_pipeline_of_another_repository_cannot_even_have_a_build_denied() {
    let other = json!({ "repository_id": "999", "owner_id": "400500" });
    let workflow = json!({ "repository_id": "100200300", "workflows": ["example-org/discount/.github/workflows/release.yml"] });
    for (source, says) in [
        (other, "the repository's number is 100200300"),
        (workflow, "the workflow is"),
        (Value::Null, "nobody said what the app may be built from"),
    ] {
        let served = shop(&source);
        let path = [Part::request(&wanted(1, &Value::Null))];
        let refused = send(&served, &token("good"), LIVE, &path).refused(403, "not_allowed");
        assert!(refused["detail"].as_str().expect("words").contains(says), "{refused}");
        assert_eq!(served.get("/v1/apps/shop/decisions").expect(200)["items"], json!([]));
    }
}

#[test]
fn a_pipeline_of_another_issuer_or_branch_than_the_source_says_is_turned_away() {
    let with = |name: &str, value: Value| {
        let mut source = own();
        source[name] = value;
        source
    };
    let alone = [Part::request(&wanted(1, &Value::Null))];
    let served = shop(&with("issuer", json!("gitlab")));
    let refused = send(&served, &token("good"), LIVE, &alone).refused(403, "not_allowed");
    assert!(refused["detail"].as_str().expect("words").contains("the issuer is github"), "{refused}");
    let served = shop(&with("refs", json!(["release/*"])));
    let refused = send(&served, &token("good"), LIVE, &alone).refused(401, "unauthenticated");
    assert_eq!(refused["token_problem"], "ref", "{refused}");
    asks(&served, &token("good"), TRIAL, &Value::Null).expect(200);
    let both = json!({ "source": with("issuer", json!("github")) });
    let served = shop(&with("refs", json!(["main"])));
    let second = json!({
        "name": "gitlab", "shape": "gitlab", "issuer": "https://gitlab.example", "audience": "https://tidegate.example",
        "jwks": { "file": "/nowhere/keys.json" },
    });
    set_policy(&served, |policy| policy["trust"]["issuers"].as_array_mut().expect("issuers").push(second))
        .expect(200);
    let refused = send(&served, &token("good"), LIVE, &alone).refused(403, "not_allowed");
    assert!(refused["detail"].as_str().expect("words").contains("--issuer github"), "{refused}");
    served.call(&served.admin, "PUT", "/v1/apps/shop/source", &[], &both).expect(200);
    asks(&served, &token("good"), LIVE, &Value::Null).expect(200);
}

#[test]
fn tokens_of_pipelines_are_counted_before_they_are_looked_at_and_good_ones_given_back() {
    let served = shop(&own());
    let most = 120;
    let alone = [Part::request(&wanted(1, &Value::Null))];
    // The form is not whole, and whoever sent it was let in all the same.
    for _ in 0..most + 5 {
        send(&served, &token("good"), LIVE, &[]).refused(400, "invalid_body");
    }
    for _ in 0..most {
        send(&served, &token("bad.alg-none"), LIVE, &alone).refused(401, "unauthenticated");
    }
    for name in ["bad.alg-none", "bad.unknown-kid", "good"] {
        send(&served, &token(name), LIVE, &alone).refused(429, "too_many_failed_logins");
    }
    // What is asked with a token of Tidegate goes on.
    send(&served, &served.admin, LIVE, &set("clean", &wanted(1, &Value::Null))).expect(200);
    served.clock.advance(DurationMs(1_000));
    asks(&served, &token("good"), LIVE, &Value::Null).expect(200);
}
