//! What a token has to say, by tokens of an issuer of our own.

use rollout_rules::gate::facts::PipelineIdentity;
use rollout_rules::gate::may_ask_for_production;
use rollout_rules::gate::trust::{IssuerShape, Jwks, TokenAlgorithm, Trust};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use tidegate::gate::trust::pipeline_token::{Issuers, TokenError};

use super::fixtures::at;
use super::signing::Own;
use super::tokens::{AUDIENCE, GITHUB, asked, issuer};

const NOW: u64 = 1_768_471_260;

struct Issuing {
    own: Own,
    issuers: Issuers,
}

fn issuing(shape: IssuerShape) -> Issuing {
    let own = Own::p256();
    let jwks = Jwks::Keys(json!({"keys": [own.jwk("one")]}));
    let issuers = vec![issuer("own", shape, TokenAlgorithm::ES256, jwks)];
    Issuing { issuers: Issuers::compile(&Trust { issuers, ..Trust::default() }).expect("issuers"), own }
}

fn claims() -> Value {
    json!({"iss": GITHUB, "sub": "a", "aud": AUDIENCE, "iat": NOW - 60, "exp": NOW + 240, "jti": "id"})
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "one", "typ": "JWT"})
}

impl Issuing {
    fn verify(&self, header: &Value, claims: &Value, now: UnixMs) -> Result<PipelineIdentity, TokenError> {
        self.issuers.verify(&self.own.token(header, claims), now)
    }

    fn code(&self, header: &Value, claims: &Value) -> Result<(), &'static str> {
        self.verify(header, claims, asked()).map(|_| ()).map_err(|error| error.code())
    }
}

#[test]
fn a_claim_that_is_missing_wrong_or_of_another_type_is_refused() {
    let issuing = issuing(IssuerShape::Github);
    assert_eq!(issuing.code(&header(), &claims()), Ok(()));
    for (claim, value, code) in [
        ("iss", json!("https://other.example"), "unknown_issuer"),
        ("iss", json!("https://token.actions.githubusercontent.com/"), "unknown_issuer"),
        ("iss", Value::Null, "malformed"),
        ("sub", Value::Null, "malformed"),
        ("aud", Value::Null, "malformed"),
        ("aud", json!("https://tidegate.example/"), "audience"),
        ("aud", json!([]), "audience"),
        ("aud", json!(["sts.amazonaws.com"]), "audience"),
        ("exp", Value::Null, "malformed"),
        ("exp", json!("1768471500"), "malformed"),
        ("exp", json!(-1), "malformed"),
        ("exp", json!(u64::MAX), "lives_too_long"),
        ("exp", json!(NOW - 60), "expired"),
        ("iat", Value::Null, "malformed"),
        ("iat", json!(NOW + 61), "not_yet"),
        ("iat", json!(NOW - 90_000), "lives_too_long"),
        ("nbf", json!(NOW + 61), "not_yet"),
        ("jti", Value::Null, "no_token_id"),
        ("jti", json!(""), "no_token_id"),
        ("jti", json!(7), "malformed"),
        ("sha", json!("x".repeat(501)), "malformed"),
        ("sub", json!("x".repeat(501)), "malformed"),
        ("repository_id", json!(true), "malformed"),
    ] {
        let mut claims = claims();
        claims[claim] = value;
        assert_eq!(issuing.code(&header(), &claims), Err(code), "{claim}: {}", claims[claim]);
    }
    let mut several = claims();
    several["aud"] = json!(["sts.amazonaws.com", AUDIENCE]);
    assert_eq!(issuing.code(&header(), &several), Ok(()));
}

#[test]
fn clocks_may_be_a_minute_apart() {
    let issuing = issuing(IssuerShape::Github);
    let mut claims = claims();
    claims["nbf"] = json!(NOW);
    for (now, outcome) in [
        ((NOW - 61) * 1_000, Err("not_yet")),
        ((NOW - 60) * 1_000, Ok(())),
        ((NOW + 240 + 60) * 1_000 - 1, Ok(())),
        ((NOW + 240 + 60) * 1_000, Err("expired")),
    ] {
        let found = issuing.verify(&header(), &claims, UnixMs(now)).map(|_| ()).map_err(|error| error.code());
        assert_eq!(found, outcome, "{now}");
    }
}

#[test]
fn a_header_decides_nothing_that_the_policy_decides() {
    let issuing = issuing(IssuerShape::Github);
    let own = issuing.own.jwk("other");
    for (header, code) in [
        (json!({"alg": "none", "kid": "one"}), "algorithm"),
        (json!({"alg": "None", "kid": "one"}), "algorithm"),
        (json!({"alg": "HS256", "kid": "one"}), "algorithm"),
        (json!({"alg": "RS256", "kid": "one"}), "algorithm"),
        (json!({"alg": "es256", "kid": "one"}), "algorithm"),
        (json!({"alg": "ES256"}), "unknown_key"),
        (json!({"alg": "ES256", "kid": ""}), "unknown_key"),
        (json!({"alg": "ES256", "kid": "other", "jwk": own, "jku": "https://evil.example"}), "unknown_key"),
        (json!({"alg": "ES256", "kid": "one", "crit": ["b64"], "b64": false}), "malformed"),
        (json!({"kid": "one"}), "malformed"),
    ] {
        assert_eq!(issuing.code(&header, &claims()), Err(code), "{header}");
    }
    let forged = self::issuing(IssuerShape::Github).own.token(&header(), &claims());
    let refused = issuing.issuers.verify(&forged, asked());
    assert_eq!(refused, Err(TokenError::Signature { issuer: "own".to_owned() }));
}

#[test]
fn what_is_no_token_is_malformed() {
    let issuing = issuing(IssuerShape::Github);
    let good = issuing.own.token(&header(), &claims());
    let parts: Vec<_> = good.split('.').collect();
    let twice = claims().to_string().replacen('{', r#"{"aud": "other","#, 1);
    use base64::Engine as _;
    let twice = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(twice);
    for bad in [
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{good}."),
        format!("{good}="),
        format!("{good} "),
        format!(".{good}"),
        format!("{}.{twice}.{}", parts[0], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        "x".repeat(16_385),
    ] {
        let refused = issuing.issuers.verify(&bad, asked()).unwrap_err();
        assert_eq!(refused.code(), "malformed", "{bad}");
    }
}

#[test]
fn gitlab_names_its_claims_in_its_own_way() {
    let issuing = issuing(IssuerShape::Gitlab);
    let token = |source: &str, id: Value| {
        let mut claims = claims();
        for (claim, value) in [
            ("project_path", json!("group/discount")),
            ("project_id", id),
            ("namespace_id", json!("7")),
            ("sha", json!("abc")),
            ("ref", json!("main")),
            ("ref_type", json!("branch")),
            ("ci_config_ref_uri", json!("gitlab.example/group/discount//.gitlab-ci.yml@refs/heads/main")),
            ("pipeline_id", json!("99")),
            ("pipeline_source", json!(source)),
        ] {
            claims[claim] = value;
        }
        issuing.verify(&header(), &claims, asked()).expect("as it is written")
    };
    let found = token("push", json!(42));
    assert_eq!(found, token("push", json!("42")), "numbers may be text");
    let some = |text: &str| Some(text.to_owned());
    assert_eq!((found.repository.clone(), found.repository_id.clone()), (some("group/discount"), some("42")));
    assert_eq!((found.owner_id.clone(), found.commit.clone()), (some("7"), some("abc")));
    assert_eq!((found.git_ref.clone(), found.run_id.clone()), (some("refs/heads/main"), some("99")));
    assert_eq!(found.workflow, some("gitlab.example/group/discount//.gitlab-ci.yml@refs/heads/main"));
    assert_eq!(found.expires_at, at("2026-01-15T10:05:00Z"));
    assert_eq!(may_ask_for_production(None, &found), Ok(()));
    for source in ["merge_request_event", "external_pull_request_event", ""] {
        let refused = may_ask_for_production(None, &token(source, json!(42)));
        assert_eq!(refused.map_err(|bar| bar.code()), Err("pull_request"), "{source}");
    }
}

#[test]
fn a_branch_and_a_tag_of_gitlab_are_told_apart() {
    let issuing = issuing(IssuerShape::Gitlab);
    let git_ref = |more: Value| {
        let mut claims = claims();
        claims["ref"] = json!("main");
        for (claim, value) in more.as_object().expect("claims") {
            claims[claim] = value.clone();
        }
        issuing.verify(&header(), &claims, asked()).expect("as it is written").git_ref
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(git_ref(json!({"ref_type": "branch"})), some("refs/heads/main"));
    assert_eq!(git_ref(json!({"ref_type": "tag"})), some("refs/tags/main"));
    assert_eq!(
        git_ref(json!({"ref_type": "tag", "ref_path": "refs/merge-requests/7/head"})),
        some("refs/merge-requests/7/head"),
        "what is whole counts"
    );
    assert_eq!(
        git_ref(json!({})),
        some("main"),
        "it does not say which, and is none of those that are bound"
    );
}

#[test]
fn of_two_issuers_with_one_address_the_audience_tells_which() {
    let own = Own::p256();
    let jwks = || Jwks::Keys(json!({"keys": [own.jwk("one")]}));
    let old = issuer("old", IssuerShape::Github, TokenAlgorithm::ES256, jwks());
    let mut new = issuer("new", IssuerShape::Github, TokenAlgorithm::ES256, jwks());
    new.audience = "https://gate.example".to_owned();
    let issuers =
        Issuers::compile(&Trust { issuers: vec![old, new], ..Trust::default() }).expect("as it is written");
    let by = |audience: &str| {
        let mut claims = claims();
        claims["aud"] = json!(audience);
        issuers.verify(&own.token(&header(), &claims), asked()).map(|identity| identity.issuer)
    };
    assert_eq!(by(AUDIENCE), Ok("old".to_owned()));
    assert_eq!(by("https://gate.example"), Ok("new".to_owned()));
    assert!(by("https://third.example").is_err());
}
