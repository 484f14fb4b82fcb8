//! What a policy trusts: every mistake is told at once, by name.

use rollout_rules::gate::facts::{Claim, Format};
use rollout_rules::gate::policy::Policy;
use rollout_rules::gate::trust::{MAX_TRUSTED, Signs, Trust, TrustedKey};
use rollout_rules::time::UnixMs;
use serde_json::json;
use tidegate::gate::compiled::problems;
use tidegate::gate::trust::keys::{BadTrust, Mistake, TrustPart, TrustedKeys};

use super::fixtures::{authority, compiled, handed_in, key, look, text, trust};
use super::signing::{IN_TOTO, Own, base64, pae, statement};

fn mistakes(trust: &Trust) -> Vec<BadTrust> {
    TrustedKeys::compile(trust).err().unwrap_or_default()
}

#[test]
fn the_keys_of_the_fixtures_are_taken() {
    assert_eq!(mistakes(&trust()), []);
    let rsa = Trust { keys: vec![key("rsa", &text("own/rsa-2048.pub.pem"))], ..Trust::default() };
    assert_eq!(mistakes(&rsa), []);
}

#[test]
fn every_mistake_is_told_with_the_name_of_what_it_is_in() {
    let good = text("keys/ci-p256.pub.pem");
    let root = text("keys/private-ca.root.pem");
    let private = Own::p256().0.serialize_pem();
    let mut idle = key("idle", &good);
    idle.signs.clear();
    (idle.not_before, idle.not_after) = (Some(UnixMs(2)), Some(UnixMs(1)));
    let trust = Trust {
        keys: vec![
            key("", &good),
            key("twice", &good),
            key("twice", &good),
            key("private", &private),
            key("words", "my key"),
            key("two", &format!("{good}{good}")),
            key("root", &root),
            key("damaged", &good.replace("MFkwEwYHKoZIzj0C", "MFkwEwYHKoZIzj0A")),
            key("p384", &text("own/p384.pub.pem")),
            key("short", &text("own/rsa-1024.pub.pem")),
            idle,
        ],
        authorities: vec![authority("twice", &root), authority("key", &good)],
        issuers: Vec::new(),
    };
    let found = mistakes(&trust);
    let found: Vec<_> = found.iter().map(|bad| (bad.part, bad.name.as_str(), bad.mistake.clone())).collect();
    let of_key = |name, mistake| (TrustPart::Key, name, mistake);
    let expected = [
        of_key("", Mistake::BadName),
        of_key("twice", Mistake::NameTaken),
        of_key("private", Mistake::PrivateKey),
        of_key("words", Mistake::NotPem),
        of_key("two", Mistake::NotPem),
        of_key("root", Mistake::NotPem),
        of_key("damaged", Mistake::OtherKind),
        of_key("p384", Mistake::OtherKind),
        of_key("short", Mistake::RsaSize { bits: 1024 }),
        of_key("idle", Mistake::EndsBeforeItBegins),
        of_key("idle", Mistake::SignsNothing),
        (TrustPart::Authority, "twice", Mistake::NameTaken),
        (TrustPart::Authority, "key", Mistake::NotPem),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_words_of_a_mistake_name_the_key_and_never_show_it() {
    let private = Own::p256().0.serialize_pem();
    let trust = Trust { keys: vec![key("build", &private)], ..Trust::default() };
    let words = mistakes(&trust)[0].to_string();
    assert!(words.starts_with("key `build`: this is a private key"), "{words}");
    assert!(!words.contains(private.lines().nth(1).expect("as it is written")));
}

#[test]
fn a_certificate_that_is_no_authority_is_none() {
    let own = Own::p256();
    let leaf = rcgen::CertificateParams::default().self_signed(&own.0).expect("as it is written").pem();
    let trust = Trust { authorities: vec![authority("leaf", &leaf)], ..Trust::default() };
    assert_eq!(mistakes(&trust)[0].mistake, Mistake::NotAnAuthority);
}

#[test]
fn there_is_an_end_to_how_many_are_trusted() {
    let good = text("keys/ci-p256.pub.pem");
    let many = |count: usize| (0..count).map(|at| key(&format!("key-{at}"), &good)).collect();
    assert_eq!(mistakes(&Trust { keys: many(MAX_TRUSTED), ..Trust::default() }), []);
    let found = mistakes(&Trust { keys: many(MAX_TRUSTED + 2), ..Trust::default() });
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), &found[0].mistake), ("key-64", &Mistake::TooMany));
}

/// A key for some purposes, which nobody said to be shared.
fn key_for(name: &str, own: &Own, signs: &[Signs]) -> TrustedKey {
    TrustedKey { signs: signs.to_vec(), shared: false, ..key(name, &own.pem()) }
}

fn refused(keys: Vec<TrustedKey>) -> Vec<String> {
    let policy = Policy { trust: Trust { keys, ..Trust::default() }, ..Policy::default() };
    problems(&policy).into_iter().map(|bad| bad.problem).collect()
}

#[test]
fn a_key_signs_artifacts_or_statements_unless_somebody_says_that_it_is_shared() {
    let (own, other) = (Own::p256(), Own::p256());
    let both = [Signs::Artifact, Signs::Provenance];
    let words = refused(vec![key_for("ci", &own, &both)]);
    assert!(
        words.len() == 1 && words[0].starts_with("key `ci`: it may sign artifacts and statements"),
        "{words:?}"
    );
    let twice = vec![key_for("artifacts", &own, &both[..1]), key_for("builds", &own, &both[1..])];
    assert_eq!(refused(twice).len(), 2, "another name is the same key");
    let two = vec![key_for("artifacts", &own, &both[..1]), key_for("builds", &other, &both[1..])];
    assert_eq!(refused(two), [""; 0]);
    assert_eq!(refused(vec![key_for("builds", &own, &[Signs::Provenance, Signs::Sbom])]), [""; 0]);
    assert_eq!(refused(vec![TrustedKey { shared: true, ..key_for("ci", &own, &both) }]), [""; 0]);
    let held = Trust { keys: vec![key_for("ci", &own, &both)], ..Trust::default() };
    assert_eq!(mistakes(&held), [], "policies that the log holds go on");
}

#[test]
fn what_was_signed_as_a_file_reads_as_a_statement_by_the_same_key_and_not_by_one_for_files_alone() {
    let own = Own::p256();
    let forged = statement(
        "https://slsa.dev/verification_summary/v1",
        json!({
            "verifier": {"id": "https://gate.example"}, "verificationResult": "PASSED",
        }),
    )
    .to_string();
    // The tenant's file, which the platform signs as an artifact.
    let file = pae(IN_TOTO, forged.as_bytes());
    let envelope = json!({
        "payloadType": IN_TOTO, "payload": base64(forged.as_bytes()), "signatures": [{"sig": base64(&own.sign(&file))}],
    });
    let counts = |keys: Vec<TrustedKey>| {
        let keys = compiled(&Trust { keys, ..Trust::default() });
        let signed =
            look(Format::Dsse, envelope.to_string().as_bytes(), &keys, handed_in()).expect("an envelope");
        assert!(matches!(signed.attestation.claim, Claim::Verification { passed: true, .. }));
        signed.attestation.signer.is_ok()
    };
    let both = key_for("ci", &own, &[Signs::Artifact, Signs::Verification]);
    assert!(
        counts(vec![both.clone()]) && !refused(vec![both]).is_empty(),
        "which is why no new policy may say so"
    );
    assert!(!counts(vec![key_for("ci", &own, &[Signs::Artifact])]));
}
