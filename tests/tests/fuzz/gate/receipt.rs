//! Receipts of gates, as they are checked without one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollout_rules::ids::Digest;
use serde_json::Value;
use tidegate::gate::trust::receipt::{Besides, ReceiptError, Summary, verify};
use tidegate::gate::trust::receipt_key::ReceiptKey;

use super::{artifact, features, fixture, handed_in, text, words};
use crate::mutate::Chance;
use crate::run::{Outcome, Target};
use crate::tree;

const TOKENS: &[&str] = &[
    "\"payloadType\":\"application/vnd.in-toto+json\"",
    "\"signatures\":[]",
    "\"keyid\":\"\"",
    "\"verificationResult\":\"PASSED\"",
    "\"predicateType\":\"https://slsa.dev/verification_summary/v1\"",
    "null",
    "{}",
    "[]",
    "====",
];

/// How often receipts that are good are in the corpus.
const OFTEN: usize = 6;

fn summary() -> Summary {
    Summary {
        verifier: "https://tidegate.example/gate".to_owned(),
        time_verified: handed_in(),
        resource_uri: "tidegate:shop/live".to_owned(),
        policy_uri: "https://tidegate.example/v1/gate/policy".to_owned(),
        policy_digest: Digest::of(b"policy"),
        inputs: vec![Digest::of(b"one"), Digest::of(b"other")],
        passed: true,
        levels: vec!["SLSA_BUILD_LEVEL_1".to_owned()],
        subject_name: "shop-1.0.0".to_owned(),
        artifact: artifact(),
        besides: Besides::default(),
    }
}

/// Changes a value of the statement that is packed in an envelope.
fn repack(bytes: &mut Vec<u8>, other: &[u8], words: &[tree::Word], chance: &mut Chance) -> bool {
    let Ok(mut envelope) = serde_json::from_slice::<Value>(bytes) else { return false };
    let packed = envelope["payload"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let Some(mut statement) = packed else { return false };
    if !tree::step(&mut statement, other, words, chance) {
        return false;
    }
    envelope["payload"] = STANDARD.encode(statement).into();
    *bytes = envelope.to_string().into();
    true
}

#[test]
fn whatever_is_shown_as_a_receipt_says_what_the_gate_said_or_is_none() {
    let pem = text("keys/gate-p256.pub.pem");
    let files = ["clean/attest/vsa.dsse.json", "faulty/attest/vsa.dsse.json"].map(fixture);
    let honest: Vec<Summary> =
        files.iter().filter_map(|bytes| verify(bytes, &pem).ok()).map(|read| read.summary).collect();
    assert!(!honest.is_empty(), "no receipt of the fixtures is good");
    let read = |bytes: &[u8]| match verify(bytes, &pem) {
        Ok(read) => {
            assert!(honest.contains(&read.summary), "no gate said that: {:?}", read.summary);
            Outcome::Taken(vec![format!("{:?}", read.summary)])
        }
        Err(ReceiptError::Signature) => {
            let envelope: Value = serde_json::from_slice(bytes).expect("its signatures were looked at");
            Outcome::Taken(features("envelope", &envelope))
        }
        Err(error) => Outcome::Refused(error.to_string()),
    };
    let golden: Vec<Vec<u8>> = std::iter::repeat_n(files.clone(), OFTEN).flatten().collect();
    let words = words(&golden);
    let restructure = |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| match chance.below(3) {
        0 => repack(bytes, other, &words, chance),
        _ => tree::step(bytes, other, &words, chance),
    };
    Target { name: "receipt", golden, tokens: TOKENS, restructure: &restructure, inputs: 1_500, read: &read }
        .run();
}

/// A receipt is read behind its signature too: every one of these is signed by the gate's own key.
#[test]
fn a_receipt_that_says_anything_at_all_is_read_back_as_it_was_signed() {
    let key = ReceiptKey::generate().expect("a key");
    let mut chance = Chance::new(1);
    let mut text = || {
        let length = chance.below(60);
        let letters =
            (0..length).map(|_| char::from_u32(u32::try_from(chance.below(0x3000)).expect("small")));
        letters.flatten().collect::<String>()
    };
    for nth in 0..100 {
        let summary = Summary {
            verifier: text(),
            resource_uri: text(),
            policy_uri: text(),
            subject_name: text(),
            passed: nth % 2 == 0,
            levels: if nth % 4 == 0 { vec![text()] } else { Vec::new() },
            ..summary()
        };
        let receipt = key.sign(&summary).expect("it is signed");
        let read = verify(&receipt, &key.public_pem()).expect("it is good");
        assert_eq!(read.summary, summary);
    }
}
