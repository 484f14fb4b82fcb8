//! Policies as operators send them: what is not sound is refused, and by what is sound a build can be judged.

use rollout_rules::flag::{EnvironmentKind, Tier};
use rollout_rules::gate::policy::{Module, Policy};
use rollout_rules::gate::{Subject, judge};
use rollout_rules::ids::{AppKey, EnvKey};
use serde_json::{Value, json};
use tidegate::gate::compiled::problems;
use tidegate::gate::read::{merge, read};
use tidegate::gate::trust::keys::TrustedKeys;
use tidegate::gate::trust::pipeline_token::Issuers;

use super::{artifact, features, fixtures, handed_in, text, trust, words};
use crate::mutate::Chance;
use crate::run::{Outcome, Target};
use crate::tree;

/// One policy in so many has its Rego compiled, and all the others everything else.
const COMPILED: usize = 16;

const TOKENS: &[&str] = &[
    "\"level\":\"deny\"",
    "\"level\":\"off\"",
    "\"modules\":[]",
    "\"trust\":{}",
    "\"keys\":[]",
    "\"algorithms\":[]",
    "\"jwks\":{\"url\":\"http://example.org\"}",
    "\"jwks\":{\"keys\":{\"keys\":[]}}",
    "\"not_after\":\"2026-01-01T00:00:00.000Z\"",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "101",
    "package tidegate.own\\n\\ndeny contains 1\\n",
    "-----BEGIN PUBLIC KEY-----",
];

/// Policies as they come, with what an operator adds.
fn golden() -> Vec<Vec<u8>> {
    let plain = Policy::default();
    let module = Module {
        name: "own".to_owned(),
        text: "package tidegate.own\n\nimport rego.v1\n\nwarn contains found if {\n  some it in input.resources\n  found := {\"rule\": \"own\", \"title\": it.address}\n}\n".to_owned(),
    };
    let keys: Value = serde_json::from_str(&text("oidc/jwks.json")).expect("JSON");
    let issuer = |jwks: Value| {
        json!({"name": "github", "shape": "github", "issuer": "https://token.actions.githubusercontent.com",
               "audience": "https://tidegate.example", "algorithms": ["RS256"], "jwks": jwks})
    };
    let jwks =
        [json!({"keys": keys}), json!({"url": "https://a.example/jwks"}), json!({"file": "/etc/jwks.json"})];
    let trusting = Policy { trust: trust(), ..Policy::default() };
    let value = |policy: &Policy| serde_json::to_value(policy).expect("a policy is JSON");
    let with_issuers = jwks.map(|jwks| {
        let mut policy = value(&trusting);
        policy["trust"]["issuers"] = json!([issuer(jwks)]);
        policy
    });
    let one_tier = ["tier0", "tier1", "tier2"]
        .map(|tier| json!({"tiers": {tier: value(&plain)["tiers"][tier]}, "trust": {}}));
    let modular = Policy { modules: vec![module], ..Policy::default() };
    let whole =
        [value(&plain), value(&trusting), value(&modular), json!({}), json!({"checklist": ["I looked"]})];
    whole.into_iter().chain(with_issuers).chain(one_tier).map(|policy| policy.to_string().into()).collect()
}

#[test]
fn whatever_is_sent_as_a_policy_is_refused_or_judges_every_build() {
    let clean = fixtures(&["clean/evidence", "faulty/evidence"]);
    let facts = merge(clean.iter().map(|(name, bytes)| read(name, bytes)).collect());
    let (app, environment) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
    let read = |bytes: &[u8]| {
        let policy: Policy = match serde_json::from_slice(bytes) {
            Ok(policy) => policy,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let written = serde_json::to_vec(&policy).expect("a policy is JSON");
        let again: Policy = serde_json::from_slice(&written).expect("what was written is read");
        assert_eq!((again.digest(), &again), (policy.digest(), &policy));
        let wrong = policy.check();
        let keys = TrustedKeys::compile(&policy.trust);
        let issuers = Issuers::compile(&policy.trust);
        if bytes.len().is_multiple_of(COMPILED) {
            let all = problems(&policy);
            let is_less = all.len() < wrong.len() || (all.is_empty() && (keys.is_err() || issuers.is_err()));
            assert!(!is_less, "not everything that is wrong is told: {all:?}");
        }
        let mut found = features("policy", &policy);
        found.extend(wrong.iter().map(|bad| format!("{}: {}", bad.field, bad.problem)));
        found.extend(keys.err().into_iter().chain(issuers.err()).flatten().map(|bad| format!("{bad:?}")));
        // Also by one that is not sound: the log may hold it, from a time when it was.
        for tier in [Tier::Zero, Tier::One, Tier::Two] {
            let artifact = artifact();
            let subject = Subject {
                app: &app,
                environment: &environment,
                kind: EnvironmentKind::Production,
                tier,
                artifact,
                source: None,
                waivers: &[],
            };
            let judgement = judge(&policy, &subject, &facts, handed_in());
            assert_eq!(judge(&policy, &subject, &facts, handed_in()), judgement);
            let checks = judgement.checks.iter().map(|it| format!("{tier:?} {} {:?}", it.name, it.level));
            found.extend(checks);
        }
        Outcome::Taken(found)
    };
    let golden = golden();
    let words = words(&golden);
    let restructure =
        |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| tree::step(bytes, other, &words, chance);
    Target { name: "policy", golden, tokens: TOKENS, restructure: &restructure, inputs: 600, read: &read }
        .run();
}
