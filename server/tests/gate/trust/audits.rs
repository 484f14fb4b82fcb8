//! What security signs of words that only look like secrets.

use rollout_rules::gate::facts::Format::{DetectSecrets, Dsse};
use rollout_rules::gate::facts::{Claim, MAX_AUDITED, ProblemCode, Untrusted};
use rollout_rules::gate::trust::{Signs, Trust};
use rollout_rules::ids::Digest;
use serde_json::{Value, json};
use tidegate::gate::read;

use super::fixtures::{compiled, fixture, handed_in, key, look};
use super::signing::{Own, statement};

const AUDIT: &str = "tidegate:secret-audit/1";

/// The baseline of the faulty app, with every word of it marked.
fn baseline() -> Value {
    let mut baseline: Value =
        serde_json::from_slice(&fixture("faulty/evidence/detect-secrets.json")).expect("a report");
    for secrets in baseline["results"].as_object_mut().expect("files").values_mut() {
        secrets
            .as_array_mut()
            .expect("a list")
            .iter_mut()
            .for_each(|secret| secret["is_secret"] = json!(false));
    }
    baseline
}

fn refused(predicate: &Value) -> ProblemCode {
    let envelope = Own::p256().envelope(&statement(AUDIT, predicate.clone())).to_string();
    look(Dsse, envelope.as_bytes(), &compiled(&Trust::default()), handed_in())
        .expect_err("it is refused")
        .code
}

#[test]
fn an_audit_names_what_the_scanner_finds_by_its_fingerprints() {
    let own = Own::p256();
    let trust = Trust { keys: vec![key("security", &own.pem())], ..Trust::default() };
    let audit = json!({ "app": "discount", "baseline": baseline() });
    let envelope = own.envelope(&statement(AUDIT, audit)).to_string();
    let signed = look(Dsse, envelope.as_bytes(), &compiled(&trust), handed_in()).expect("an audit");
    assert_eq!(signed.attestation.signer.expect("a signer").name, "security");
    assert_eq!(signed.predicate, None, "it is no scan");
    let Claim::SecretAudit { app, mut harmless } = signed.attestation.claim else { panic!("no audit") };
    assert_eq!(app, "discount");
    let scan = read::read("secrets.json", &fixture("faulty/evidence/detect-secrets.json"));
    assert_eq!(scan.piece.format, Some(DetectSecrets));
    let mut found: Vec<Digest> = scan.facts.scans[0].findings.iter().map(|it| it.fingerprint).collect();
    found.sort();
    harmless.sort();
    assert_eq!(harmless, found);
    // A line that moved is the same word; another word on the same line is not.
    let moved = |from: &str, to: &str| {
        let text = String::from_utf8(fixture("faulty/evidence/detect-secrets.json")).expect("text");
        assert!(text.contains(from), "{from}");
        read::read("secrets.json", text.replace(from, to).as_bytes()).facts.scans.remove(0).findings
    };
    let known = |finding: &rollout_rules::gate::facts::Finding| harmless.contains(&finding.fingerprint);
    assert!(moved("\"line_number\": 3", "\"line_number\": 33").iter().all(known));
    assert!(!moved("25910f981e85ca04baf359199dd0bd4a3ae738b6", &"0".repeat(40)).iter().all(known));
}

#[test]
fn only_a_key_that_may_sign_audits_counts() {
    let own = Own::p256();
    let audit = json!({ "app": "discount", "baseline": baseline() });
    let envelope = own.envelope(&statement(AUDIT, audit)).to_string();
    let signer = |change: &dyn Fn(&mut Vec<Signs>)| {
        let mut trusted = key("ci", &own.pem());
        change(&mut trusted.signs);
        let keys = compiled(&Trust { keys: vec![trusted], ..Trust::default() });
        look(Dsse, envelope.as_bytes(), &keys, handed_in()).expect("an audit").attestation.signer
    };
    assert!(signer(&|signs| *signs = vec![Signs::SecretAudit]).is_ok());
    let all_others = |signs: &mut Vec<Signs>| signs.retain(|it| *it != Signs::SecretAudit);
    assert_eq!(signer(&all_others), Err(Untrusted::Stranger), "the pipeline's own key signs none");
}

#[test]
fn an_audit_in_which_a_word_is_not_marked_is_none() {
    let audit = |change: &dyn Fn(&mut Value)| {
        let mut baseline = baseline();
        change(&mut baseline["results"]["src/config.py"][0]);
        refused(&json!({ "app": "discount", "baseline": baseline }))
    };
    assert_eq!(audit(&|secret| secret["is_secret"] = json!(true)), ProblemCode::Malformed);
    assert_eq!(
        audit(&|secret| drop(secret.as_object_mut().map(|it| it.remove("is_secret")))),
        ProblemCode::Malformed
    );
    assert_eq!(
        audit(&|secret| drop(secret.as_object_mut().map(|it| it.remove("hashed_secret")))),
        ProblemCode::Malformed
    );
    assert_eq!(audit(&|secret| secret["hashed_secret"] = json!("")), ProblemCode::Malformed);
    assert_eq!(refused(&json!({ "app": "discount" })), ProblemCode::Malformed);
    assert_eq!(refused(&json!({ "baseline": baseline() })), ProblemCode::Malformed);
    assert_eq!(refused(&json!({ "app": "a".repeat(501), "baseline": baseline() })), ProblemCode::TooLarge);
    let word = json!({ "type": "t", "hashed_secret": "0", "is_secret": false });
    let many = json!({ "results": { "a.py": vec![word; MAX_AUDITED + 1] } });
    assert_eq!(refused(&json!({ "app": "discount", "baseline": many })), ProblemCode::TooLarge);
}
