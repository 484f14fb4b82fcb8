//! Keys of our own, and what they sign.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rollout_rules::ids::Digest;
use serde_json::{Value, json};

use super::fixtures::clean_artifact;

pub(super) const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A key.
pub(super) struct Own(pub(super) KeyPair);

impl Own {
    pub(super) fn p256() -> Own {
        Own(KeyPair::generate().expect("a key"))
    }

    pub(super) fn ed25519() -> Own {
        Own(KeyPair::generate_for(&PKCS_ED25519).expect("a key"))
    }

    pub(super) fn pem(&self) -> String {
        self.0.public_key_pem()
    }

    pub(super) fn id(&self) -> Digest {
        Digest::of(&rcgen::PublicKeyData::subject_public_key_info(&self.0))
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).expect("signed")
    }

    /// A signature as envelopes have it.
    pub(super) fn signature(&self, payload_type: &str, payload: &[u8], keyid: &str) -> Value {
        json!({"keyid": keyid, "sig": base64(&self.sign(&pae(payload_type, payload)))})
    }

    /// An envelope with a statement in it.
    pub(super) fn envelope(&self, statement: &Value) -> Value {
        let payload = statement.to_string();
        let signature = self.signature(IN_TOTO, payload.as_bytes(), "");
        envelope(IN_TOTO, payload.as_bytes(), &[signature])
    }

    /// A token, signed with ES256.
    pub(super) fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.fixed().sign(&SystemRandom::new(), signed.as_bytes()).expect("signed");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The key as issuers publish it.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let pair = self.fixed();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    fn fixed(&self) -> EcdsaKeyPair {
        let der = self.0.serialize_der();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &SystemRandom::new()).expect("P-256")
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

pub(super) fn envelope(payload_type: &str, payload: &[u8], signatures: &[Value]) -> Value {
    json!({"payload": base64(payload), "payloadType": payload_type, "signatures": signatures})
}

/// A statement about the clean artifact.
pub(super) fn statement(predicate_type: &str, predicate: Value) -> Value {
    let digest = clean_artifact().to_string().replace("sha256:", "");
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "discount-1.0.0.tar.gz", "digest": {"sha256": digest}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// A statement that tests passed.
pub(super) fn tests_passed() -> Value {
    let predicate = json!({"result": "PASSED", "configuration": []});
    statement("https://in-toto.io/attestation/test-result/v0.1", predicate)
}
