//! Sigstore bundles that name a key, and signatures that stand alone.

use rollout_rules::gate::facts::{Claim, Format, Problem, ProblemCode, Untrusted};
use rollout_rules::gate::trust::{Signs, Trust};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;
use serde_json::{Value, json};
use tidegate::gate::trust::{Signed, read};

use super::fixtures::{
    artifact, clean_artifact, compiled, faulty_artifact, fixture, handed_in, key, keys, look, text, trust,
};
use super::signing::{IN_TOTO, Own, base64, envelope, tests_passed};

fn look_as(format: Format, path: &str, artifact: &ArtifactDigest) -> Result<Signed, Problem> {
    let bytes = fixture(path);
    read(Digest::of(&bytes), format, &bytes, artifact, &keys(), handed_in())
}

#[test]
fn every_signature_of_an_artifact_is_of_that_artifact_and_by_that_key() {
    let altered = artifact(&fixture("faulty/artifact/discount-1.0.0.altered.tar.gz"));
    let (clean, faulty) = (clean_artifact(), faulty_artifact());
    let cosign = Format::CosignSignature;
    let bundle = Format::SigstoreBundle;
    for (format, path, artifact, signer) in [
        (cosign, "clean/artifact/discount-1.0.0.tar.gz.sig", clean, Ok("ci-p256")),
        (bundle, "clean/artifact/discount-1.0.0.tar.gz.sigstore.json", clean, Ok("ci-p256")),
        (cosign, "faulty/artifact/discount-1.0.0.tar.gz.sig", faulty, Ok("ci-p256")),
        (bundle, "faulty/artifact/discount-1.0.0.tar.gz.sigstore.json", faulty, Ok("ci-p256")),
        (cosign, "faulty/artifact/discount-1.0.0.stranger.sig", faulty, Err(Untrusted::Stranger)),
        // Nothing beside such a signature says whose it is: a changed artifact looks like a stranger's.
        (cosign, "faulty/artifact/discount-1.0.0.tar.gz.sig", altered, Err(Untrusted::Stranger)),
        (bundle, "faulty/artifact/discount-1.0.0.tar.gz.sigstore.json", altered, Err(Untrusted::Mismatch)),
        (bundle, "clean/artifact/discount-1.0.0.tar.gz.sigstore.json", faulty, Err(Untrusted::Mismatch)),
    ] {
        let signed = look_as(format, path, &artifact).unwrap_or_else(|problem| panic!("{path}: {problem:?}"));
        assert_eq!(signed.attestation.claim, Claim::Artifact, "{path}");
        assert_eq!(signed.predicate, None, "{path}");
        let found = signed.attestation.signer.as_ref().map(|signer| signer.name.as_str()).map_err(|why| *why);
        assert_eq!(found, signer, "{path} of {artifact}");
    }
}

#[test]
fn a_bundle_of_another_artifact_names_that_one() {
    let path = "clean/artifact/discount-1.0.0.tar.gz.sigstore.json";
    let signed = look_as(Format::SigstoreBundle, path, &faulty_artifact()).expect("as it is written");
    assert_eq!(signed.attestation.subjects, [clean_artifact()]);
}

#[test]
fn a_bundle_carries_an_envelope_too() {
    let bytes = fixture("clean/attest/provenance.sigstore.json");
    let signed = look(Format::SigstoreBundle, &bytes, &keys(), handed_in()).expect("as it is written");
    assert_eq!(signed.attestation.signer.expect("as it is written").name, "ci-p256");
    assert!(matches!(signed.attestation.claim, Claim::Provenance(_)));
    assert_eq!(signed.attestation.subjects, [clean_artifact()]);
}

#[test]
fn an_envelope_of_a_bundle_that_was_changed_is_found_out_by_the_hint() {
    let mut bundle: Value =
        serde_json::from_slice(&fixture("clean/attest/provenance.sigstore.json")).expect("as it is written");
    let payload = text("clean/attest/provenance.statement.json").replace("example-org", "somebody-else");
    bundle["dsseEnvelope"]["payload"] = json!(base64(payload.as_bytes()));
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = json!("");
    let signed = look(Format::SigstoreBundle, bundle.to_string().as_bytes(), &keys(), handed_in())
        .expect("as it is written");
    assert_eq!(signed.attestation.signer, Err(Untrusted::Mismatch));
}

fn message_bundle(own: &Own, hint: &str) -> Value {
    let artifact = fixture("clean/artifact/discount-1.0.0.tar.gz");
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hint}},
        "messageSignature": {"signature": base64(&own.sign(&artifact))},
    })
}

#[test]
fn the_media_types_of_three_versions_are_read_in_both_spellings_and_no_other() {
    let own = Own::p256();
    let keys = compiled(&Trust { keys: vec![key("own", &own.pem())], ..Trust::default() });
    let outcome = |media_type: &str| {
        let mut bundle = message_bundle(&own, "");
        bundle["mediaType"] = json!(media_type);
        let signed = look(Format::SigstoreBundle, bundle.to_string().as_bytes(), &keys, handed_in());
        signed.map(|signed| signed.attestation.signer.is_ok()).map_err(|problem| problem.code)
    };
    for version in ["0.1", "0.2", "0.3"] {
        let old = format!("application/vnd.dev.sigstore.bundle+json;version={version}");
        let new = format!("application/vnd.dev.sigstore.bundle.v{version}+json");
        assert_eq!((outcome(&old), outcome(&new)), (Ok(true), Ok(true)), "{version}");
    }
    let unknown = Err(ProblemCode::UnsupportedVersion);
    assert_eq!(outcome("application/vnd.dev.sigstore.bundle.v0.4+json"), unknown);
    assert_eq!(outcome("application/vnd.dev.sigstore.bundle+json"), unknown);
    assert_eq!(outcome("application/json"), Err(ProblemCode::Malformed));
}

#[test]
fn a_signature_that_needs_the_artifacts_bytes_is_refused_with_what_to_do() {
    let own = Own::ed25519();
    let keys = compiled(&Trust { keys: vec![key("own", &own.pem())], ..Trust::default() });
    let named = message_bundle(&own, "own").to_string();
    let unnamed = message_bundle(&own, "").to_string();
    let alone = base64(&own.sign(&fixture("clean/artifact/discount-1.0.0.tar.gz")));
    let rsa = base64(&[7; 256]);
    for (format, bytes, kind) in [
        (Format::SigstoreBundle, &named, "Ed25519"),
        (Format::SigstoreBundle, &unnamed, "Ed25519"),
        (Format::CosignSignature, &alone, "Ed25519"),
        (Format::CosignSignature, &rsa, "RSA"),
    ] {
        let problem = look(format, bytes.as_bytes(), &keys, handed_in()).unwrap_err();
        assert_eq!(problem.code, ProblemCode::UnsupportedVersion);
        assert!(problem.detail.contains(kind) && problem.detail.contains("P-256"), "{}", problem.detail);
    }
}

#[test]
fn a_key_that_may_not_sign_artifacts_is_a_stranger_to_them() {
    let mut trust = trust();
    trust.keys[0].signs.retain(|signs| *signs != Signs::Artifact);
    let bytes = fixture("clean/artifact/discount-1.0.0.tar.gz.sig");
    let signed =
        look(Format::CosignSignature, &bytes, &compiled(&trust), handed_in()).expect("as it is written");
    assert_eq!(signed.attestation.signer, Err(Untrusted::Stranger));
}

#[test]
fn a_bundle_that_is_not_whole_or_says_two_things_is_refused() {
    let own = Own::p256();
    let payload = tests_passed().to_string();
    let signature = || own.signature(IN_TOTO, payload.as_bytes(), "");
    let broken: [fn(&mut Value); 7] = [
        |bundle| bundle["messageSignature"] = Value::Null,
        |bundle| bundle["verificationMaterial"] = json!({}),
        |bundle| bundle["verificationMaterial"]["certificate"] = json!({"rawBytes": "AA=="}),
        |bundle| bundle["verificationMaterial"] = json!({"x509CertificateChain": {"certificates": []}}),
        |bundle| bundle["messageSignature"]["signature"] = json!("not base64!"),
        |bundle| bundle["messageSignature"]["signature"] = json!("AAAA"),
        |bundle| {
            bundle["messageSignature"]["messageDigest"] = json!({"algorithm": "SHA2_256", "digest": "AA=="})
        },
    ];
    let mut bundles: Vec<Value> = Vec::new();
    for change in broken {
        let mut bundle = message_bundle(&own, "");
        change(&mut bundle);
        bundles.push(bundle);
    }
    let mut both = message_bundle(&own, "");
    both["dsseEnvelope"] = envelope(IN_TOTO, payload.as_bytes(), &[signature()]);
    let mut two = both.clone();
    two["messageSignature"] = Value::Null;
    two["dsseEnvelope"] = envelope(IN_TOTO, payload.as_bytes(), &[signature(), signature()]);
    bundles.extend([both, two]);
    for bundle in bundles {
        let problem = look(Format::SigstoreBundle, bundle.to_string().as_bytes(), &keys(), handed_in());
        assert_eq!(problem.unwrap_err().code, ProblemCode::Malformed, "{bundle:#}");
    }
}
