//! Envelopes and statements: who signed, and what is said.

use rollout_rules::gate::facts::{Claim, Format, ProblemCode, Provenance, Untrusted};
use rollout_rules::gate::trust::{Signs, Trust};
use rollout_rules::ids::Digest;
use serde_json::{Value, json};
use tidegate::gate::trust::read;

use super::fixtures::{
    at, clean_artifact, compiled, faulty_artifact, fixture, handed_in, key, keys, look, text, trust,
};
use super::signing::{IN_TOTO, Own, envelope, statement, tests_passed};

const GITHUB: &str = "https://github.com/actions/runner/github-hosted";
const WORKFLOW: &str = "https://actions.github.io/buildtypes/workflow/v1";
const DISCOUNT: &str = "https://github.com/example-org/discount";
const CLEAN: &str = "1f0c2d3e4b5a69788796a5b4c3d2e1f001234567";
const FAULTY: &str = "2e1d3c4b5a69788796a5b4c3d2e1f00123456789";

fn built(builder: &str, repository: &str, commit: &str) -> Claim {
    Claim::Provenance(Provenance {
        builder: builder.to_owned(),
        build_type: WORKFLOW.to_owned(),
        repository: Some(repository.to_owned()),
        commit: Some(commit.to_owned()),
        git_refs: vec!["refs/heads/main".to_owned()],
        event: Some("push".to_owned()),
    })
}

fn verified(passed: bool) -> Claim {
    Claim::Verification { verifier: "https://tidegate.example/gate".to_owned(), passed }
}

type Row = (&'static str, Claim, Result<&'static str, Untrusted>);

fn check(rows: Vec<Row>) {
    for (path, claim, signer) in rows {
        let bytes = fixture(path);
        let artifact = if path.starts_with("clean") { clean_artifact() } else { faulty_artifact() };
        let signed = read(Digest::of(&bytes), Format::Dsse, &bytes, &artifact, &keys(), handed_in());
        let signed = signed.unwrap_or_else(|problem| panic!("{path}: {problem:?}"));
        assert_eq!(signed.attestation.piece, Digest::of(&bytes), "{path}");
        assert_eq!(signed.attestation.claim, claim, "{path}");
        let found = signed.attestation.signer.as_ref().map(|signer| signer.name.as_str()).map_err(|why| *why);
        assert_eq!(found, signer, "{path}");
        let about_it = signed.attestation.subjects == [artifact];
        assert_eq!(about_it, !path.contains("wrong-digest"), "{path}");
    }
}

#[test]
fn every_attestation_of_the_clean_build_has_its_signer_and_says_what_it_says() {
    let tests = Claim::TestResult { passed: true };
    check(vec![
        ("clean/attest/provenance.dsse.json", built(GITHUB, DISCOUNT, CLEAN), Ok("ci-p256")),
        ("clean/attest/provenance.ed25519.dsse.json", built(GITHUB, DISCOUNT, CLEAN), Ok("ci-ed25519")),
        ("clean/attest/provenance.statement.json", built(GITHUB, DISCOUNT, CLEAN), Err(Untrusted::Unsigned)),
        ("clean/attest/sbom.cyclonedx.dsse.json", Claim::Sbom, Ok("ci-p256")),
        ("clean/attest/sbom.spdx.dsse.json", Claim::Sbom, Ok("ci-p256")),
        ("clean/attest/test-result.dsse.json", tests, Ok("ci-p256")),
        ("clean/attest/vsa.dsse.json", verified(true), Ok("gate-p256")),
    ]);
}

#[test]
fn every_attestation_of_the_faulty_build_says_why_it_does_not_count_or_what_is_wrong_in_it() {
    let sound = || built(GITHUB, DISCOUNT, FAULTY);
    let other = "https://github.com/someone-else/discount";
    let changed = "https://github.com/example-org/discourt";
    let tampered = Err(Untrusted::Mismatch);
    check(vec![
        ("faulty/attest/provenance.tampered-payload.dsse.json", built(GITHUB, changed, FAULTY), tampered),
        ("faulty/attest/provenance.tampered-signature.dsse.json", sound(), tampered),
        ("faulty/attest/provenance.unsigned.dsse.json", sound(), Err(Untrusted::Unsigned)),
        ("faulty/attest/provenance.stranger-key.dsse.json", sound(), Err(Untrusted::Stranger)),
        // These are signed well. What they say is judged by what the app may be built from.
        (
            "faulty/attest/provenance.wrong-builder.dsse.json",
            built("https://example.com/laptop", DISCOUNT, FAULTY),
            Ok("ci-p256"),
        ),
        ("faulty/attest/provenance.wrong-repo.dsse.json", built(GITHUB, other, FAULTY), Ok("ci-p256")),
        ("faulty/attest/provenance.wrong-digest.dsse.json", sound(), Ok("ci-p256")),
        ("faulty/attest/test-result.failed.dsse.json", Claim::TestResult { passed: false }, Ok("ci-p256")),
        ("faulty/attest/vsa.dsse.json", verified(false), Ok("gate-p256")),
    ]);
}

#[test]
fn a_statement_of_an_older_version_is_refused_with_what_to_do() {
    let old = fixture("faulty/attest/provenance.v0.2.dsse.json");
    let problem = look(Format::Dsse, &old, &keys(), handed_in()).unwrap_err();
    assert_eq!(problem.code, ProblemCode::UnsupportedVersion);
    assert!(problem.detail.contains("write version 1"), "{}", problem.detail);
}

#[test]
fn provenance_of_an_older_version_in_a_statement_that_is_read_is_something_else() {
    let own = Own::p256();
    let trust = Trust { keys: vec![key("own", &own.pem())], ..Trust::default() };
    let old = "https://slsa.dev/provenance/v0.2";
    let signed = own.envelope(&statement(old, json!({"builder": {"id": GITHUB}}))).to_string();
    let signed =
        look(Format::Dsse, signed.as_bytes(), &compiled(&trust), handed_in()).expect("as it is written");
    assert_eq!(signed.attestation.claim, Claim::Other { predicate_type: old.to_owned() });
}

#[test]
fn the_document_that_was_signed_is_handed_on() {
    for (path, format) in [
        ("clean/attest/sbom.cyclonedx.dsse.json", Format::Cyclonedx),
        ("clean/attest/sbom.spdx.dsse.json", Format::Spdx),
    ] {
        let signed = look(Format::Dsse, &fixture(path), &keys(), handed_in()).expect("as it is written");
        let (found, document) = signed.predicate.expect("as it is written");
        assert_eq!(found, format, "{path}");
        let document: Value = serde_json::from_slice(&document).expect("as it is written");
        assert!(document.get("bomFormat").is_some() || document.get("spdxVersion").is_some(), "{path}");
    }
    let provenance = look(Format::Dsse, &fixture("clean/attest/provenance.dsse.json"), &keys(), handed_in());
    assert_eq!(provenance.expect("as it is written").predicate, None);
}

#[test]
fn what_is_said_of_vulnerabilities_is_told_from_a_list_of_components() {
    let own = Own::p256();
    let trust = Trust { keys: vec![key("own", &own.pem())], ..Trust::default() };
    let list = json!({"bomFormat": "CycloneDX", "components": [], "vulnerabilities": []});
    let said = json!({"bomFormat": "CycloneDX", "vulnerabilities": []});
    for (predicate_type, predicate, claim, format) in [
        ("https://cyclonedx.org/bom/v1.6", list, Claim::Sbom, Format::Cyclonedx),
        ("https://cyclonedx.org/bom", said.clone(), Claim::Vex, Format::CyclonedxVex),
        ("https://cyclonedx.org/vex", said, Claim::Vex, Format::CyclonedxVex),
        ("https://openvex.dev/ns/v0.2.0", json!({"statements": []}), Claim::Vex, Format::Openvex),
        ("https://spdx.dev/Document", json!({}), Claim::Sbom, Format::Spdx),
    ] {
        let bytes = own.envelope(&statement(predicate_type, predicate.clone())).to_string();
        let signed =
            look(Format::Dsse, bytes.as_bytes(), &compiled(&trust), handed_in()).expect("as it is written");
        assert_eq!(signed.attestation.claim, claim, "{predicate_type}");
        let document = predicate.to_string().into_bytes();
        assert_eq!(signed.predicate, Some((format, document)), "{predicate_type}");
    }
}

#[test]
fn an_rsa_key_signs_as_well() {
    let trust = Trust { keys: vec![key("rsa", &text("own/rsa-2048.pub.pem"))], ..Trust::default() };
    let bytes = fixture("own/provenance.rsa.dsse.json");
    let signed = look(Format::Dsse, &bytes, &compiled(&trust), handed_in()).expect("as it is written");
    assert_eq!(signed.attestation.signer.expect("as it is written").name, "rsa");
}

#[test]
fn a_borrowed_key_id_is_of_no_use_to_a_stranger() {
    let (stranger, own) = (Own::p256(), Own::p256());
    let trust = Trust { keys: vec![key("own", &own.pem())], ..Trust::default() };
    let payload = tests_passed().to_string();
    for (hint, why) in [
        (own.id().to_string(), Untrusted::Mismatch),
        ("own".to_owned(), Untrusted::Mismatch),
        (stranger.id().to_string(), Untrusted::Stranger),
        (String::new(), Untrusted::Stranger),
    ] {
        let signature = stranger.signature(IN_TOTO, payload.as_bytes(), &hint);
        let bytes = envelope(IN_TOTO, payload.as_bytes(), &[signature]).to_string();
        let signed =
            look(Format::Dsse, bytes.as_bytes(), &compiled(&trust), handed_in()).expect("as it is written");
        assert_eq!(signed.attestation.signer, Err(why), "{hint}");
    }
}

#[test]
fn whatever_the_key_id_says_a_trusted_signature_counts_and_each_further_one_is_told() {
    let (one, other, stranger) = (Own::p256(), Own::ed25519(), Own::p256());
    let keys = vec![key("one", &one.pem()), key("other", &other.pem())];
    let keys = compiled(&Trust { keys, ..Trust::default() });
    let payload = tests_passed().to_string();
    let by = |own: &Own, hint: &str| own.signature(IN_TOTO, payload.as_bytes(), hint);
    let signatures = [by(&stranger, "one"), by(&other, "nonsense"), by(&one, "")];
    let bytes = envelope(IN_TOTO, payload.as_bytes(), &signatures).to_string();
    let signed = look(Format::Dsse, bytes.as_bytes(), &keys, handed_in()).expect("as it is written");
    let first = signed.attestation.signer.clone().expect("as it is written");
    assert_eq!((first.name.as_str(), first.key, first.certificate), ("one", one.id(), None));
    let further: Vec<_> =
        signed.further.iter().map(|more| more.signer.clone().expect("as it is written").name).collect();
    assert_eq!(further, ["other"]);
}

#[test]
fn the_type_of_the_payload_is_signed_too() {
    let own = Own::p256();
    let keys = compiled(&Trust { keys: vec![key("own", &own.pem())], ..Trust::default() });
    let payload = tests_passed().to_string();
    let signature = own.signature(IN_TOTO, payload.as_bytes(), "own");
    let bytes = envelope("text/plain", payload.as_bytes(), &[signature]).to_string();
    let signed = look(Format::Dsse, bytes.as_bytes(), &keys, handed_in()).expect("as it is written");
    assert_eq!(signed.attestation.signer, Err(Untrusted::Mismatch));
    assert_eq!(signed.attestation.claim, Claim::Other { predicate_type: "text/plain".to_owned() });
}

#[test]
fn a_key_counts_for_what_it_may_sign_and_while_it_may() {
    let bytes = fixture("clean/attest/test-result.dsse.json");
    let signer = |change: &dyn Fn(&mut Trust)| {
        let mut trust = trust();
        change(&mut trust);
        look(Format::Dsse, &bytes, &compiled(&trust), handed_in())
            .expect("as it is written")
            .attestation
            .signer
    };
    assert!(signer(&|_| ()).is_ok());
    assert!(signer(&|trust| trust.keys[0].signs = vec![Signs::TestResult]).is_ok());
    let others = |trust: &mut Trust| trust.keys[0].signs.retain(|signs| *signs != Signs::TestResult);
    assert_eq!(signer(&others), Err(Untrusted::Stranger));
    let (before, after) = (at("2026-01-15T10:04:59Z"), at("2026-01-15T10:05:01Z"));
    assert!(signer(&|trust| trust.keys[0].not_after = Some(after)).is_ok());
    assert_eq!(signer(&|trust| trust.keys[0].not_after = Some(before)), Err(Untrusted::OutOfTime));
    assert!(signer(&|trust| trust.keys[0].not_before = Some(before)).is_ok());
    assert_eq!(signer(&|trust| trust.keys[0].not_before = Some(after)), Err(Untrusted::OutOfTime));
}

#[test]
fn test_results_that_warn_pass_unless_tests_failed_and_none_may_contradict_itself() {
    let own = Own::p256();
    let keys = compiled(&Trust { keys: vec![key("own", &own.pem())], ..Trust::default() });
    let outcome = |predicate: Value| {
        let kind = "https://in-toto.io/attestation/test-result/v0.1";
        let bytes = own.envelope(&statement(kind, predicate)).to_string();
        let signed = look(Format::Dsse, bytes.as_bytes(), &keys, handed_in());
        signed.map(|signed| signed.attestation.claim).map_err(|problem| problem.code)
    };
    assert_eq!(outcome(json!({"result": "WARNED"})), Ok(Claim::TestResult { passed: true }));
    let failed = json!({"result": "WARNED", "failedTests": ["a"]});
    assert_eq!(outcome(failed), Ok(Claim::TestResult { passed: false }));
    assert_eq!(outcome(json!({"result": "PASSED", "failedTests": ["a"]})), Err(ProblemCode::Contradictory));
    assert_eq!(outcome(json!({"result": "FINE"})), Err(ProblemCode::Malformed));
}
