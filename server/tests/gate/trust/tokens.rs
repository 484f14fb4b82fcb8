//! Tokens of pipelines: those of the fixtures, and keys of issuers.

use rollout_rules::gate::may_ask_for_production;
use rollout_rules::gate::trust::{IssuerShape, Jwks, TokenAlgorithm, Trust, TrustedIssuer};
use rollout_rules::ids::Digest;
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use tidegate::gate::trust::jwks::BadKeySet;
use tidegate::gate::trust::keys::Mistake;
use tidegate::gate::trust::pipeline_token::{Issuers, KeysError, TokenError};

use super::fixtures::{at, text};
use super::signing::Own;

pub(super) const GITHUB: &str = "https://token.actions.githubusercontent.com";
pub(super) const AUDIENCE: &str = "https://tidegate.example";

/// While the tokens of the fixtures count.
pub(super) fn asked() -> UnixMs {
    at("2026-01-15T10:01:00Z")
}

/// An issuer as a policy names it.
pub(super) fn issuer(name: &str, shape: IssuerShape, algorithm: TokenAlgorithm, jwks: Jwks) -> TrustedIssuer {
    TrustedIssuer {
        name: name.to_owned(),
        shape,
        issuer: GITHUB.to_owned(),
        audience: AUDIENCE.to_owned(),
        algorithms: vec![algorithm],
        jwks,
    }
}

fn github(set: &str) -> Issuers {
    let jwks = Jwks::Keys(serde_json::from_str(&text(&format!("oidc/{set}"))).expect("JSON"));
    let issuers = vec![issuer("github", IssuerShape::Github, TokenAlgorithm::RS256, jwks)];
    Issuers::compile(&Trust { issuers, ..Trust::default() }).expect("issuers")
}

fn token(name: &str) -> String {
    text(&format!("oidc/{name}.jwt")).trim().to_owned()
}

#[test]
fn the_good_tokens_say_who_asks() {
    for (name, subject) in [
        ("good", "repo:example-org/discount:ref:refs/heads/main"),
        ("good.environment", "repo:example-org/discount:environment:production"),
        ("good.immutable-sub", "repo:example-org@400500/discount@100200300:ref:refs/heads/main"),
    ] {
        let found = github("jwks.json").verify(&token(name), asked()).expect("as it is written");
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found.issuer, "github", "{name}");
        assert_eq!(found.subject, subject, "{name}");
        assert_eq!(found.repository, some("example-org/discount"), "{name}");
        assert_eq!(found.repository_id, some("100200300"), "{name}");
        assert_eq!(found.owner_id, some("400500"), "{name}");
        assert_eq!(found.commit, some("1f0c2d3e4b5a69788796a5b4c3d2e1f001234567"), "{name}");
        assert_eq!(found.git_ref, some("refs/heads/main"), "{name}");
        let workflow = "example-org/discount/.github/workflows/ci.yml@refs/heads/main";
        assert_eq!(found.workflow, some(workflow), "{name}");
        assert_eq!(found.run_id, some("1234567890"), "{name}");
        assert_eq!(found.event, some("push"), "{name}");
        assert_eq!(found.token_id, Digest::of(format!("{GITHUB}\nexample-id").as_bytes()), "{name}");
        assert_eq!(found.expires_at, at("2026-01-15T10:05:00Z"), "{name}");
        assert_eq!(may_ask_for_production(None, &found), Ok(()), "{name}");
    }
}

#[test]
fn each_bad_token_is_refused_for_its_own_reason() {
    for (name, code) in [
        ("bad.alg-none", "algorithm"),
        ("bad.hs256-with-public-key", "algorithm"),
        ("bad.expired", "expired"),
        ("bad.other-audience", "audience"),
        ("bad.unknown-kid", "unknown_key"),
        ("bad.pull-request", "pull_request"),
    ] {
        let found = github("jwks.json").verify(&token(name), asked()).map_err(|error| error.code());
        let refused =
            found.and_then(|identity| may_ask_for_production(None, &identity).map_err(|bar| bar.code()));
        assert_eq!(refused, Err(code), "{name}");
    }
}

#[test]
fn a_pull_request_may_ask_for_what_is_no_production() {
    let found = github("jwks.json").verify(&token("bad.pull-request"), asked()).expect("as it is written");
    assert_eq!(found.event.as_deref(), Some("pull_request"));
}

#[test]
fn a_key_that_was_rotated_away_is_not_known_any_more() {
    let rotated = github("jwks.rotated.json").verify(&token("good"), asked());
    assert_eq!(rotated, Err(TokenError::UnknownKey { issuer: "github".to_owned() }));
}

#[test]
fn keys_that_were_fetched_take_the_place_of_those_before() {
    let before = github("jwks.rotated.json");
    let after = before.with_jwks("github", &text("oidc/jwks.json")).expect("as it is written");
    assert!(after.verify(&token("good"), asked()).is_ok());
    assert!(before.verify(&token("good"), asked()).is_err());
    assert_eq!(before.with_jwks("gitlab", &text("oidc/jwks.json")).err(), Some(KeysError::NoSuchIssuer));
    let bad = |text: &str| before.with_jwks("github", text).err();
    assert_eq!(bad("no JSON"), Some(KeysError::BadKeySet(BadKeySet::Malformed)));
    assert_eq!(bad(r#"{"keys": [], "keys": []}"#), Some(KeysError::BadKeySet(BadKeySet::Malformed)));
    assert_eq!(bad(r#"{"keys": []}"#), Some(KeysError::BadKeySet(BadKeySet::NoKey)));
    let one = Own::p256().jwk("one");
    let many = json!({"keys": vec![one.clone(); 65]}).to_string();
    assert_eq!(bad(&many), Some(KeysError::BadKeySet(BadKeySet::TooManyKeys)));
    let long = json!({"keys": [one], "x": "x".repeat(65_536)}).to_string();
    assert_eq!(bad(&long), Some(KeysError::BadKeySet(BadKeySet::TooLarge)));
}

#[test]
fn keys_that_cannot_check_a_token_are_left_out_of_a_set() {
    let issuers = github("jwks.json");
    let good: Value = serde_json::from_str(&text("oidc/jwks.json")).expect("as it is written");
    let mut rsa = good["keys"][0].clone();
    rsa["n"] = json!(rsa["n"].as_str().expect("as it is written").split_at(171).0);
    let mut encrypts = good["keys"][0].clone();
    encrypts["use"] = json!("enc");
    let shared = json!({"kty": "oct", "kid": "kid-1", "k": "c2VjcmV0"});
    let mut nameless = good["keys"][0].clone();
    nameless.as_object_mut().expect("as it is written").remove("kid");
    for key in [rsa, encrypts, shared, nameless] {
        let set = json!({"keys": [key]}).to_string();
        let bad = issuers.with_jwks("github", &set).err();
        assert_eq!(bad, Some(KeysError::BadKeySet(BadKeySet::NoKey)), "{set}");
    }
}

#[test]
fn a_key_counts_only_for_its_own_algorithm() {
    let mut jwks: Value = serde_json::from_str(&text("oidc/jwks.json")).expect("as it is written");
    let outcome = |jwks: &Value, algorithms: &[TokenAlgorithm]| {
        let jwks = Jwks::Keys(jwks.clone());
        let mut one = issuer("github", IssuerShape::Github, TokenAlgorithm::RS256, jwks);
        one.algorithms = algorithms.to_vec();
        let issuers =
            Issuers::compile(&Trust { issuers: vec![one], ..Trust::default() }).expect("as it is written");
        issuers.verify(&token("good"), asked()).map(|_| ()).map_err(|error| error.code())
    };
    let both = [TokenAlgorithm::ES256, TokenAlgorithm::RS256];
    assert_eq!(outcome(&jwks, &both), Ok(()));
    assert_eq!(outcome(&jwks, &[TokenAlgorithm::RS512, TokenAlgorithm::ES256]), Err("algorithm"));
    jwks["keys"][0]["alg"] = json!("RS512");
    assert_eq!(outcome(&jwks, &both), Err("unknown_key"));
}

#[test]
fn the_mistakes_of_issuers_are_told_at_once() {
    let jwks = || Jwks::File("keys.json".to_owned());
    let named = |name: &str| issuer(name, IssuerShape::Gitlab, TokenAlgorithm::ES256, jwks());
    let mut empty = named("empty");
    empty.issuer.clear();
    empty.audience.clear();
    empty.algorithms.clear();
    let mut keyless = named("keyless");
    keyless.audience.push_str("/other");
    keyless.jwks = Jwks::Keys(json!({"keys": []}));
    let issuers = vec![named("one"), named("one"), empty, keyless];
    let bad = Issuers::compile(&Trust { issuers, ..Trust::default() }).err().expect("as it is written");
    let found: Vec<_> = bad.into_iter().map(|bad| (bad.name, bad.mistake)).collect();
    let lacks = |field| ("empty".to_owned(), Mistake::Lacks { field });
    let expected = [
        ("one".to_owned(), Mistake::NameTaken),
        ("one".to_owned(), Mistake::IssuerTwice),
        lacks("issuer"),
        lacks("audience"),
        lacks("algorithms"),
        ("keyless".to_owned(), Mistake::BadKeySet(BadKeySet::NoKey)),
    ];
    assert_eq!(found, expected);
}
