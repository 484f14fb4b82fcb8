//! The gate's own answers, and the key that signs them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rollout_rules::gate::facts::{Claim, Format};
use rollout_rules::gate::trust::Trust;
use rollout_rules::ids::{DecisionId, Digest, WaiverId};
use serde_json::{Value, json};
use tidegate::gate::trust::receipt::{Besides, MAX_RECEIPT_BYTES, ReceiptError, Summary, verify};
use tidegate::gate::trust::receipt_key::{ReceiptKey, ReceiptKeyError};

use super::fixtures::{at, clean_artifact, compiled, fixture, handed_in, key, look, text};
use super::signing::{Own, statement};

fn new_key() -> (tempfile::TempDir, ReceiptKey) {
    let folder = tempfile::tempdir().expect("a folder");
    let key = ReceiptKey::load_or_create(&folder.path().join("receipt-key.pem")).expect("a key");
    (folder, key)
}

fn summary() -> Summary {
    Summary {
        verifier: "https://tidegate.example/gate".to_owned(),
        time_verified: at("2026-01-15T10:05:00Z"),
        resource_uri: "https://tidegate.example/apps/discount/environments/production".to_owned(),
        policy_uri: "https://tidegate.example/policies/tier-2".to_owned(),
        policy_digest: Digest::of(b"policy"),
        inputs: vec![Digest::of(b"provenance"), Digest::of(b"sbom")],
        passed: true,
        levels: vec!["SLSA_BUILD_LEVEL_2".to_owned()],
        subject_name: "discount".to_owned(),
        artifact: clean_artifact(),
        besides: Besides::default(),
    }
}

fn besides() -> Besides {
    let id = |text: &str| WaiverId::new(text).expect("an id");
    Besides {
        decision: DecisionId::new("d1").ok(),
        valid_until: Some(at("2026-01-22T10:05:00Z")),
        waivers: vec![id("w1"), id("w2")],
        broken_glass: vec![id("g1")],
    }
}

fn predicate(receipt: &[u8]) -> Value {
    use base64::Engine as _;
    let envelope: Value = serde_json::from_slice(receipt).expect("JSON");
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    let payload = base64::engine::general_purpose::STANDARD
        .decode(envelope["payload"].as_str().expect("text"))
        .expect("base64");
    let statement: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/verification_summary/v1");
    statement["predicate"].clone()
}

#[test]
fn a_receipt_is_read_back_as_it_was_signed() {
    let (_folder, key) = new_key();
    let mut failed = summary();
    (failed.passed, failed.levels) = (false, Vec::new());
    let mut plain = summary();
    (plain.levels, plain.inputs) = (Vec::new(), Vec::new());
    let more = Summary { besides: besides(), ..summary() };
    for summary in [summary(), failed, plain, more] {
        let read = verify(&key.sign(&summary).expect("as it is written"), &key.public_pem())
            .expect("as it is written");
        assert_eq!((read.summary, read.key), (summary, key.key_id()));
    }
}

#[test]
fn a_receipt_claims_no_level_that_was_not_verified() {
    let (_folder, key) = new_key();
    let levels = |passed: bool, levels: &[&str]| {
        let levels = levels.iter().map(|level| (*level).to_owned()).collect();
        let receipt = key.sign(&Summary { passed, levels, ..summary() }).expect("as it is written");
        let predicate = predicate(&receipt);
        (predicate["verificationResult"].clone(), predicate["verifiedLevels"].clone())
    };
    assert_eq!(levels(true, &["SLSA_BUILD_LEVEL_2"]), (json!("PASSED"), json!(["SLSA_BUILD_LEVEL_2"])));
    assert_eq!(levels(true, &[]), (json!("PASSED"), json!(["SLSA_BUILD_LEVEL_UNEVALUATED"])));
    assert_eq!(levels(false, &["SLSA_BUILD_LEVEL_2"]), (json!("FAILED"), json!(["FAILED"])));
}

#[test]
fn a_receipt_has_the_fields_of_a_verification_summary() {
    let (_folder, key) = new_key();
    let expected = json!({
        "verifier": {"id": "https://tidegate.example/gate"},
        "timeVerified": "2026-01-15T10:05:00.000Z",
        "resourceUri": "https://tidegate.example/apps/discount/environments/production",
        "policy": {
            "uri": "https://tidegate.example/policies/tier-2",
            "digest": {"sha256": Digest::of(b"policy").to_string()},
        },
        "inputAttestations": [
            {"digest": {"sha256": Digest::of(b"provenance").to_string()}},
            {"digest": {"sha256": Digest::of(b"sbom").to_string()}},
        ],
        "verificationResult": "PASSED",
        "verifiedLevels": ["SLSA_BUILD_LEVEL_2"],
        "slsaVersion": "1.1",
    });
    assert_eq!(predicate(&key.sign(&summary()).expect("as it is written")), expected);
    // What the specification has no words for begins with a name of its own, and nothing else changes.
    let mut more = expected;
    more["tidegate_decision"] = json!("d1");
    more["tidegate_validUntil"] = json!("2026-01-22T10:05:00.000Z");
    more["tidegate_waivers"] = json!(["w1", "w2"]);
    more["tidegate_brokenGlass"] = json!(["g1"]);
    let summary = Summary { besides: besides(), ..summary() };
    assert_eq!(predicate(&key.sign(&summary).expect("as it is written")), more);
}

#[test]
fn another_gate_takes_a_receipt_as_evidence() {
    let (_folder, own) = new_key();
    let trust = Trust { keys: vec![key("gate", &own.public_pem())], ..Trust::default() };
    let receipt = own.sign(&summary()).expect("as it is written");
    let signed = look(Format::Dsse, &receipt, &compiled(&trust), handed_in()).expect("as it is written");
    let signer = signed.attestation.signer.expect("as it is written");
    assert_eq!((signer.name.as_str(), signer.key), ("gate", own.key_id()));
    let verifier = "https://tidegate.example/gate".to_owned();
    assert_eq!(signed.attestation.claim, Claim::Verification { verifier, passed: true });
    assert_eq!(signed.attestation.subjects, [clean_artifact()]);
}

#[test]
fn a_receipt_of_another_maker_is_read_too() {
    let gate = text("keys/gate-p256.pub.pem");
    for (path, passed) in [("clean/attest/vsa.dsse.json", true), ("faulty/attest/vsa.dsse.json", false)] {
        let read = verify(&fixture(path), &gate).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(read.summary.passed, passed, "{path}");
        assert_eq!(read.summary.time_verified, at("2026-01-15T10:05:00Z"), "{path}");
    }
}

#[test]
fn what_is_no_good_receipt_is_refused_with_the_reason() {
    let (_folder, key) = new_key();
    let (_other_folder, other) = new_key();
    let receipt = key.sign(&summary()).expect("as it is written");
    assert_eq!(verify(&receipt, &other.public_pem()), Err(ReceiptError::Signature));
    assert_eq!(verify(&receipt, "key"), Err(ReceiptError::BadKey));
    assert!(matches!(verify(b"{}", &key.public_pem()), Err(ReceiptError::Unreadable(_))));
    let long = vec![b' '; MAX_RECEIPT_BYTES + 1];
    assert_eq!(verify(&long, &key.public_pem()), Err(ReceiptError::TooLarge));
    let own = Own::p256();
    for other in [
        statement("https://slsa.dev/provenance/v1", json!({})),
        statement("https://slsa.dev/verification_summary/v1", json!({})),
        json!({"x": 1}),
    ] {
        let signed = own.envelope(&other).to_string();
        assert_eq!(verify(signed.as_bytes(), &own.pem()), Err(ReceiptError::NotAReceipt), "{other}");
    }
    let mut changed: Value = serde_json::from_slice(&receipt).expect("as it is written");
    changed["payload"] = json!(super::signing::base64(b"{}"));
    let changed = changed.to_string();
    assert_eq!(verify(changed.as_bytes(), &key.public_pem()), Err(ReceiptError::Signature));
}

#[test]
fn a_key_is_made_once_for_its_owner_alone_and_stays() {
    let folder = tempfile::tempdir().expect("as it is written");
    let path = folder.path().join("receipt-key.pem");
    let made = ReceiptKey::load_or_create(&path).expect("as it is written");
    assert_eq!(fs::metadata(&path).expect("as it is written").permissions().mode() & 0o777, 0o600);
    let again = ReceiptKey::load_or_create(&path).expect("as it is written");
    assert_eq!((made.key_id(), made.public_pem()), (again.key_id(), again.public_pem()));
    assert_eq!(fs::read_dir(folder.path()).expect("as it is written").count(), 1, "nothing lies beside it");
}

#[test]
fn of_several_that_make_a_key_at_once_all_get_the_same() {
    let folder = tempfile::tempdir().expect("as it is written");
    let path = folder.path().join("receipt-key.pem");
    let make = || ReceiptKey::load_or_create(&path).expect("as it is written").key_id();
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().expect("as it is written")).collect()
    });
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
}

fn refused(path: &Path) -> ReceiptKeyError {
    ReceiptKey::load_or_create(path).err().expect("refused")
}

#[test]
fn a_key_that_others_can_read_or_change_is_refused() {
    let folder = tempfile::tempdir().expect("as it is written");
    let path = folder.path().join("receipt-key.pem");
    ReceiptKey::load_or_create(&path).expect("as it is written");
    for (mode, is_taken) in [(0o400, true), (0o440, true), (0o604, false), (0o620, false), (0o602, false)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("as it is written");
        assert_eq!(ReceiptKey::load_or_create(&path).is_ok(), is_taken, "{mode:o}");
    }
    assert!(matches!(refused(&path), ReceiptKeyError::TooOpen { mode: 0o602, .. }));
}

#[test]
fn a_file_that_holds_no_such_key_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("as it is written");
    let path = folder.path().join("receipt-key.pem");
    let (public, ed25519) = (Own::p256().pem(), Own::ed25519().0.serialize_pem());
    for content in ["", "my key", &public, &ed25519] {
        fs::write(&path, content).expect("as it is written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("as it is written");
        assert!(matches!(refused(&path), ReceiptKeyError::NotAKey { .. }));
        assert_eq!(fs::read_to_string(&path).expect("as it is written"), content);
    }
    let astray = folder.path().join("astray.pem");
    std::os::unix::fs::symlink("nowhere.pem", &astray).expect("as it is written");
    assert!(matches!(refused(&astray), ReceiptKeyError::File { .. }));
    let nowhere = folder.path().join("no/such/folder/key.pem");
    assert!(matches!(refused(&nowhere), ReceiptKeyError::File { .. }));
}
