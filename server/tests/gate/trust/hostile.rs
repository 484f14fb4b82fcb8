//! What no honest tool writes.

use rollout_rules::gate::facts::{Format, ProblemCode, Untrusted};
use rollout_rules::gate::trust::Trust;
use serde_json::{Value, json};
use tidegate::gate::trust::MAX_SIGNED_BYTES;

use super::fixtures::{clean_artifact, compiled, handed_in, key, keys, look, text};
use super::signing::{IN_TOTO, Own, base64, envelope, statement, tests_passed};

const EVERY: [Format; 3] = [Format::Dsse, Format::SigstoreBundle, Format::CosignSignature];

fn code(format: Format, bytes: &[u8]) -> Option<ProblemCode> {
    look(format, bytes, &keys(), handed_in()).err().map(|problem| problem.code)
}

#[test]
fn a_key_given_twice_is_refused_in_envelopes_statements_and_bundles() {
    let signed = text("clean/attest/provenance.dsse.json");
    let twice = signed.replacen('{', r#"{"payloadType": "text/plain","#, 1);
    assert_eq!(code(Format::Dsse, twice.as_bytes()), Some(ProblemCode::Hostile));
    let escaped = signed.replacen('{', r#"{"payl\u006fadType": "text/plain","#, 1);
    assert_eq!(code(Format::Dsse, escaped.as_bytes()), Some(ProblemCode::Hostile));
    let deep = signed.replacen("\"signatures\"", r#""other": [{"a": 1, "a": 2}], "signatures""#, 1);
    assert_eq!(code(Format::Dsse, deep.as_bytes()), Some(ProblemCode::Hostile));
    let bundle = text("clean/attest/provenance.sigstore.json").replacen('{', r#"{"dsseEnvelope": {},"#, 1);
    assert_eq!(code(Format::SigstoreBundle, bundle.as_bytes()), Some(ProblemCode::Hostile));

    let own = Own::p256();
    let payload =
        tests_passed().to_string().replace(r#""result":"PASSED""#, r#""result":"FAILED","result":"PASSED""#);
    let signature = own.signature(IN_TOTO, payload.as_bytes(), "");
    let inside = envelope(IN_TOTO, payload.as_bytes(), &[signature]).to_string();
    assert_eq!(code(Format::Dsse, inside.as_bytes()), Some(ProblemCode::Hostile));
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let outcome = |depth: usize| {
        let text = tests_passed().to_string().replacen('{', &format!(r#"{{"x":{},"#, nested(depth)), 1);
        code(Format::Dsse, text.as_bytes())
    };
    assert_eq!(outcome(63), None);
    assert_eq!(outcome(64), Some(ProblemCode::TooLarge));
    for depth in [3_000, 1_000_000] {
        assert_eq!(outcome(depth), Some(ProblemCode::TooLarge));
        let open = "[".repeat(depth);
        assert_eq!(code(Format::SigstoreBundle, open.as_bytes()), Some(ProblemCode::TooLarge));
    }
}

#[test]
fn nothing_that_is_something_else_is_taken() {
    let empty = [
        "",
        " ",
        "{}",
        "[]",
        "null",
        "\u{0}",
        "{\"payload\":1}",
        "{\"_type\":\"x\"}",
        "{\"mediaType\":\"\"}",
    ];
    for format in EVERY {
        for bytes in empty {
            assert!(code(format, bytes.as_bytes()).is_some(), "{format:?} {bytes:?}");
        }
        assert!(code(format, b"\xff\xfe").is_some());
        assert_eq!(code(format, &vec![b'A'; MAX_SIGNED_BYTES + 1]), Some(ProblemCode::TooLarge));
    }
    assert_eq!(code(Format::Junit, b"{}"), Some(ProblemCode::UnknownFormat));
}

#[test]
fn signatures_and_subjects_have_an_end() {
    let own = Own::p256();
    let trusted = compiled(&Trust { keys: vec![key("own", &own.pem())], ..Trust::default() });
    let payload = tests_passed().to_string();
    let with = |count: usize| {
        let stranger = json!({"keyid": "", "sig": base64(&[1; 70])});
        let mut signatures = vec![stranger; count - 1];
        signatures.push(own.signature(IN_TOTO, payload.as_bytes(), ""));
        let bytes = envelope(IN_TOTO, payload.as_bytes(), &signatures).to_string();
        look(Format::Dsse, bytes.as_bytes(), &trusted, handed_in())
            .map(|signed| signed.attestation.signer.is_ok())
    };
    assert_eq!(with(16), Ok(true));
    assert_eq!(with(17).unwrap_err().code, ProblemCode::TooLarge);

    let about = |count: usize| {
        let mut said = tests_passed();
        said["subject"] = Value::Array(vec![said["subject"][0].clone(); count]);
        code(Format::Dsse, said.to_string().as_bytes())
    };
    assert_eq!((about(1_000), about(1_001)), (None, Some(ProblemCode::TooLarge)));
    let long = json!({"keyid": "", "sig": base64(&[1; 1_025])});
    let bytes = envelope(IN_TOTO, payload.as_bytes(), &[long]).to_string();
    assert_eq!(code(Format::Dsse, bytes.as_bytes()), Some(ProblemCode::TooLarge));
}

#[test]
fn what_is_compared_with_the_policy_is_never_cut() {
    let long = "x".repeat(501);
    let provenance = |builder: &str, kind: &str| {
        let definition = json!({"buildType": kind, "externalParameters": {}});
        let predicate = json!({"buildDefinition": definition, "runDetails": {"builder": {"id": builder}}});
        code(Format::Dsse, statement("https://slsa.dev/provenance/v1", predicate).to_string().as_bytes())
    };
    assert_eq!(provenance("a", "b"), None);
    assert_eq!(provenance(&long, "b"), Some(ProblemCode::TooLarge));
    assert_eq!(provenance("a", &long), Some(ProblemCode::TooLarge));
    assert_eq!(
        code(Format::Dsse, statement(&long, json!({})).to_string().as_bytes()),
        Some(ProblemCode::TooLarge)
    );
}

#[test]
fn a_subject_is_named_by_its_sha256_or_not_at_all() {
    let subjects = |digest: Value| {
        let mut said = tests_passed();
        said["subject"] = json!([{"name": "a", "digest": digest}]);
        let signed = look(Format::Dsse, said.to_string().as_bytes(), &keys(), handed_in());
        signed.map(|signed| signed.attestation.subjects).map_err(|problem| problem.code)
    };
    let digits = clean_artifact().to_string().replace("sha256:", "");
    assert_eq!(subjects(json!({"sha256": digits})), Ok(vec![clean_artifact()]));
    assert_eq!(subjects(json!({"sha256": digits.to_uppercase()})), Ok(vec![clean_artifact()]));
    assert_eq!(subjects(json!({"gitCommit": "abc"})), Ok(vec![]));
    for bad in [&digits[1..], &format!("+{}", &digits[1..]), "", "zz"] {
        assert_eq!(subjects(json!({"sha256": bad})), Err(ProblemCode::Malformed), "{bad}");
    }
}

#[test]
fn an_envelope_without_signatures_is_unsigned() {
    let payload = tests_passed().to_string();
    let bytes = envelope(IN_TOTO, payload.as_bytes(), &[]).to_string();
    let signed = look(Format::Dsse, bytes.as_bytes(), &keys(), handed_in()).expect("as it is written");
    assert_eq!(signed.attestation.signer, Err(Untrusted::Unsigned));
}

#[test]
fn base64_is_read_in_both_alphabets_padded_or_not() {
    let own = Own::p256();
    let trusted = compiled(&Trust { keys: vec![key("own", &own.pem())], ..Trust::default() });
    let payload = statement("https://example.com/a", json!({"x": "~~~???ÿÿ>>>"})).to_string();
    let signature = own.signature(IN_TOTO, payload.as_bytes(), "");
    let standard = envelope(IN_TOTO, payload.as_bytes(), &[signature]).to_string();
    let mut other: Value = serde_json::from_str(&standard).expect("as it is written");
    for text in ["/payload", "/signatures/0/sig"] {
        let place = other.pointer_mut(text).expect("as it is written");
        let changed =
            place.as_str().expect("as it is written").replace('+', "-").replace('/', "_").replace('=', "");
        *place = json!(changed);
    }
    for bytes in [standard, other.to_string()] {
        let signed = look(Format::Dsse, bytes.as_bytes(), &trusted, handed_in()).expect("as it is written");
        assert!(signed.attestation.signer.is_ok());
    }
}

#[test]
fn what_a_provenance_lists_has_an_end_before_it_is_held() {
    let said = |parameters: Value, dependencies: Value| {
        let definition = json!({
            "buildType": "t", "externalParameters": parameters, "resolvedDependencies": dependencies,
        });
        let predicate = json!({ "buildDefinition": definition, "runDetails": { "builder": { "id": "b" } } });
        code(Format::Dsse, statement("https://slsa.dev/provenance/v1", predicate).to_string().as_bytes())
    };
    assert_eq!(said(json!({}), json!(vec![json!({}); 10_000])), None);
    assert_eq!(said(json!({}), json!(vec![json!({}); 10_001])), Some(ProblemCode::TooLarge));
    // What nobody looks for costs nothing, however much it is.
    assert_eq!(said(json!({ "inputs": vec![0; 1_000_000] }), json!([])), None);
    assert_eq!(said(json!({ "source": vec![0; 1_000_000] }), json!([])), Some(ProblemCode::TooLarge));
    for parameters in [json!(null), json!([]), json!("source")] {
        assert_eq!(said(parameters, json!([])), None);
    }
}
