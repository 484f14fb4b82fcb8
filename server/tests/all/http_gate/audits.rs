//! Words that only look like secrets: a mark in a report changes nothing, and what security signed is told and counts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};

use super::{LIVE, Part, denied_checks, fixture, gated, of_the_folder, send, set, set_policy, wanted};

/// The report of the faulty app, in which somebody marked every word as harmless.
fn marked() -> Value {
    let mut report: Value =
        serde_json::from_slice(&fixture("faulty/evidence/detect-secrets.json")).expect("a report");
    for secrets in report["results"].as_object_mut().expect("files").values_mut() {
        secrets
            .as_array_mut()
            .expect("a list")
            .iter_mut()
            .for_each(|secret| secret["is_secret"] = json!(false));
    }
    report
}

/// An audit of an app, signed.
fn audit(key: &KeyPair, app: &str) -> String {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "tidegate:secret-audit/1",
        "predicate": { "app": app, "baseline": marked() },
    });
    let (kind, payload) = ("application/vnd.in-toto+json", statement.to_string());
    let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = STANDARD.encode(key.sign(signed.as_bytes()).expect("it is signed"));
    json!({ "payloadType": kind, "payload": STANDARD.encode(payload), "signatures": [{ "sig": signature }] })
        .to_string()
}

fn secrets(answer: &Value) -> &Value {
    let checks = answer["judgement"]["checks"].as_array().expect("checks").iter();
    checks.into_iter().find(|check| check["name"] == "secrets").expect("the check")
}

#[test]
fn words_that_a_report_marks_as_harmless_count_until_security_signs_it() {
    let served = gated();
    let key = KeyPair::generate().expect("a key");
    let parts = |nth: u8, more: Option<String>| {
        let mut parts = set("clean", &wanted(nth, &Value::Null));
        parts.retain(|part| part.file != Some("detect-secrets.json"));
        parts.push(Part::evidence("secrets.json", marked().to_string()));
        parts.extend(of_the_folder());
        parts.extend(more.map(|audit| Part::evidence("audit.json", audit)));
        parts
    };
    let ask =
        |nth: u8, more: Option<String>| send(&served, &served.admin, LIVE, &parts(nth, more)).expect(200);

    let alone = ask(1, None);
    assert_eq!(denied_checks(&alone), ["secrets"]);
    let found = secrets(&alone)["found"].as_str().expect("words");
    assert!(
        found.starts_with("7 secrets in the code; 7 are marked as harmless in the report itself"),
        "{found}"
    );
    assert_eq!(secrets(&alone)["findings"][0]["finding"]["disputed"], true);

    assert_eq!(denied_checks(&ask(2, Some(audit(&key, "shop")))), ["secrets"], "by a stranger");
    let trusted =
        |signs: &str| json!([{ "name": "security", "pem": key.public_key_pem(), "signs": [signs] }]);
    set_policy(&served, |policy| policy["trust"]["keys"] = trusted("artifact")).expect(200);
    assert_eq!(denied_checks(&ask(3, Some(audit(&key, "shop")))), ["secrets"], "by a key for something else");
    set_policy(&served, |policy| policy["trust"]["keys"] = trusted("secret_audit")).expect(200);
    assert_eq!(denied_checks(&ask(4, Some(audit(&key, "other")))), ["secrets"], "of another app");

    let signed = ask(5, Some(audit(&key, "shop")));
    assert_eq!(denied_checks(&signed), Vec::<String>::new());
    let check = secrets(&signed);
    assert_eq!(
        (&check["state"], &check["level"], &check["total"]),
        (&json!("passed"), &json!("note"), &json!(7))
    );
    assert_eq!(check["findings"][0]["excused"], json!({ "signed": "security" }));
    assert_eq!(signed["decision"]["signers"][0]["name"], "security", "the decision stands on that word");

    // The key is taken back: what stood on its word is judged again.
    set_policy(&served, |policy| policy["trust"]["keys"] = json!([])).expect(200);
    assert_eq!(denied_checks(&ask(6, Some(audit(&key, "shop")))), ["secrets"]);
}
