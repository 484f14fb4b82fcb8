//! Tokens by which pipelines say who they are, and the keys of those who issue them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollout_rules::gate::facts::PipelineIdentity;
use rollout_rules::gate::trust::{IssuerShape, Jwks, TokenAlgorithm, Trust, TrustedIssuer};
use serde_json::Value;
use tidegate::gate::trust::pipeline_token::Issuers;

use super::{features, fixture, handed_in, text, words};
use crate::mutate::Chance;
use crate::run::{Outcome, Target};
use crate::tree;

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GOOD: [&str; 3] = ["good", "good.environment", "good.immutable-sub"];
const BAD: [&str; 6] = [
    "bad.alg-none",
    "bad.expired",
    "bad.hs256-with-public-key",
    "bad.other-audience",
    "bad.pull-request",
    "bad.unknown-kid",
];
/// How often the good tokens are in the corpus: most of what there is to reach is behind them.
const OFTEN: usize = 8;

const TOKENS: &[&str] =
    &["eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9", ".", "..", "e30", "=", "-", "_", "\u{0}", " "];
const KEY_TOKENS: &[&str] = &[
    "\"kty\":\"RSA\"",
    "\"kty\":\"EC\"",
    "\"kty\":\"OKP\"",
    "\"crv\":\"P-256\"",
    "\"crv\":\"Ed25519\"",
    "\"alg\":\"none\"",
    "\"alg\":\"HS256\"",
    "\"use\":\"enc\"",
    "\"e\":\"AQAB\"",
    "\"n\":\"AA\"",
    "\"kid\":\"\"",
    "null",
    "{}",
    "[]",
];

fn token(name: &str) -> String {
    text(&format!("oidc/{name}.jwt")).trim().to_owned()
}

fn issuers(keys: &str) -> Issuers {
    let of = |name: &str, shape| TrustedIssuer {
        name: name.to_owned(),
        shape,
        issuer: GITHUB.to_owned(),
        audience: "https://tidegate.example".to_owned(),
        algorithms: vec![TokenAlgorithm::RS256, TokenAlgorithm::ES256, TokenAlgorithm::EdDSA],
        jwks: Jwks::Keys(serde_json::from_slice(&fixture(&format!("oidc/{keys}"))).expect("JSON")),
    };
    let issuers = vec![of("github", IssuerShape::Github)];
    Issuers::compile(&Trust { issuers, ..Trust::default() }).expect("issuers")
}

/// Changes the header or the claims, which are JSON in base64.
fn reword(bytes: &mut Vec<u8>, other: &[u8], words: &[tree::Word], chance: &mut Chance) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    let others: Vec<&str> =
        std::str::from_utf8(other).map(|text| text.split('.').collect()).unwrap_or_default();
    let at = chance.below(parts.len());
    // A part of another token in the place of its own.
    if let Some(part) = others.get(at).filter(|_| chance.below(6) == 0) {
        (*part).clone_into(&mut parts[at]);
    } else {
        let Ok(mut inside) = URL_SAFE_NO_PAD.decode(&parts[at]) else { return false };
        let given = others.get(at).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
        if !tree::step(&mut inside, &given, words, chance) {
            return false;
        }
        parts[at] = URL_SAFE_NO_PAD.encode(inside);
    }
    *bytes = parts.join(".").into();
    true
}

/// What is in the headers and claims of tokens.
fn insides(tokens: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let parts = tokens.iter().flat_map(|token| token.split(|byte| *byte == b'.'));
    parts.filter_map(|part| URL_SAFE_NO_PAD.decode(part).ok()).collect()
}

#[test]
fn whatever_is_sent_as_a_token_of_a_pipeline_names_somebody_the_issuer_named_or_nobody() {
    let issuers = issuers("jwks.json");
    let honest: Vec<PipelineIdentity> =
        GOOD.iter().map(|name| issuers.verify(&token(name), handed_in()).expect("it is good")).collect();
    let good = std::iter::repeat_n(GOOD, OFTEN).flatten();
    let golden: Vec<Vec<u8>> = good.chain(BAD).map(|name| token(name).into()).collect();
    // The pipeline of a pull request is who it says it is; it only may not ask for production.
    let pull_request = issuers.verify(&token("bad.pull-request"), handed_in());
    let honest: Vec<PipelineIdentity> = honest.into_iter().chain(pull_request).collect();
    let read = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused("not text".to_owned()) };
        match issuers.verify(text, handed_in()) {
            Ok(identity) => {
                assert!(honest.contains(&identity), "the issuer named nobody so: {identity:?}");
                Outcome::Taken(features("identity", &identity))
            }
            // What is refused for something else than its shape was read.
            Err(error) if error.code() == "malformed" => Outcome::Refused(error.to_string()),
            Err(error) => Outcome::Taken(vec![error.to_string()]),
        }
    };
    let words = words(&insides(&golden));
    let restructure =
        |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| reword(bytes, other, &words, chance);
    Target { name: "token", golden, tokens: TOKENS, restructure: &restructure, inputs: 3_000, read: &read }
        .run();
}

/// The key sets of the fixtures, and what may be missing in them.
fn key_sets() -> Vec<Vec<u8>> {
    let set: Value = serde_json::from_slice(&fixture("oidc/jwks.json")).expect("JSON");
    let without = |name: &str| {
        let mut set = set.clone();
        set["keys"].as_array_mut().expect("keys").iter_mut().for_each(|key| {
            key.as_object_mut().expect("a key").remove(name);
        });
        set
    };
    let mut twice = set.clone();
    let keys = twice["keys"].as_array_mut().expect("keys");
    keys.extend(keys.clone());
    let short = ["alg", "use", "kid"].map(without);
    let other: Value = serde_json::from_slice(&fixture("oidc/jwks.rotated.json")).expect("JSON");
    let all = std::iter::repeat_n(set.clone(), OFTEN).chain(short).chain([other, twice]);
    // Of other kinds, as their own specifications show them.
    let more = [
        r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","kid":"1"}]}"#,
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"2"}]}"#,
    ];
    all.map(|set| set.to_string().into()).chain(more.map(Into::into)).collect()
}

#[test]
fn whatever_keys_an_issuer_shows_no_token_of_others_counts() {
    let (before, good) = (issuers("jwks.json"), token("good"));
    let honest = before.verify(&good, handed_in()).expect("it is good");
    let none = token("bad.alg-none");
    let shared = token("bad.hs256-with-public-key");
    let read = |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused("not text".to_owned()) };
        let issuers = match before.with_jwks("github", text) {
            Ok(issuers) => issuers,
            Err(error) => return Outcome::Refused(format!("{error:?}")),
        };
        for bad in [&none, &shared] {
            assert!(issuers.verify(bad, handed_in()).is_err(), "an algorithm that nobody named");
        }
        let outcome = issuers.verify(&good, handed_in());
        if let Ok(identity) = &outcome {
            assert_eq!(*identity, honest);
        }
        let value: Value = serde_json::from_str(text).expect("a key set is JSON");
        let mut found = features("keys", &value);
        found.push(outcome.map_or_else(|error| error.code().to_owned(), |_| "good".to_owned()));
        Outcome::Taken(found)
    };
    let golden = key_sets();
    let words = words(&golden);
    let restructure =
        |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| tree::step(bytes, other, &words, chance);
    Target {
        name: "keys",
        golden,
        tokens: KEY_TOKENS,
        restructure: &restructure,
        inputs: 1_500,
        read: &read,
    }
    .run();
}
