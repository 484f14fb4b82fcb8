//! Whatever is changed, nothing breaks, and nothing that was not signed passes for signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rollout_rules::gate::facts::{Attestation, Format};
use rollout_rules::gate::trust::{IssuerShape, Jwks, TokenAlgorithm, Trust};
use serde_json::Value;
use tidegate::gate::trust::keys::TrustedKeys;
use tidegate::gate::trust::pipeline_token::Issuers;

use super::fixtures::{fixture, handed_in, keys, look, text};
use super::tokens::{asked, issuer};

const PIECES: [(Format, &str); 6] = [
    (Format::Dsse, "clean/attest/provenance.dsse.json"),
    (Format::Dsse, "clean/attest/provenance.ed25519.dsse.json"),
    (Format::SigstoreBundle, "clean/attest/provenance.sigstore.json"),
    (Format::SigstoreBundle, "clean/attest/provenance.private-ca.sigstore.json"),
    (Format::SigstoreBundle, "clean/artifact/discount-1.0.0.tar.gz.sigstore.json"),
    (Format::CosignSignature, "clean/artifact/discount-1.0.0.tar.gz.sig"),
];

fn good(format: Format, bytes: &[u8], keys: &TrustedKeys) -> Option<Attestation> {
    let signed = look(format, bytes, keys, handed_in()).ok()?;
    signed.attestation.signer.is_ok().then_some(signed.attestation)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any byte of a piece becomes another one: what is then still signed says what was said.
    #[test]
    fn a_changed_byte_changes_no_claim(piece in 0..PIECES.len(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let (format, path) = PIECES[piece];
        let bytes = fixture(path);
        let keys = keys();
        let before = good(format, &bytes, &keys).expect("it is good as it is");
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= flip;
        if let Some(after) = good(format, &changed, &keys) {
            prop_assert_eq!(after.claim, before.claim);
            prop_assert_eq!(after.subjects, before.subjects);
            prop_assert_eq!(after.signer, before.signer);
        }
    }

    /// A changed payload, payload type or signature is never good.
    #[test]
    fn a_changed_payload_or_signature_is_never_good(
        piece in 0..4_usize,
        part in 0..3_usize,
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let (format, path) = PIECES[piece];
        let mut value: Value = serde_json::from_slice(&fixture(path)).expect("as it is written");
        let envelope = if value["dsseEnvelope"].is_object() { &mut value["dsseEnvelope"] } else { &mut value };
        match part {
            0 => {
                let mut bytes = envelope["payloadType"].as_str().expect("as it is written").as_bytes().to_vec();
                let at = at.index(bytes.len());
                bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
                envelope["payloadType"] = String::from_utf8(bytes).expect("as it is written").into();
            }
            part => {
                let place = if part == 1 { "/payload" } else { "/signatures/0/sig" };
                let place = envelope.pointer_mut(place).expect("as it is written");
                let mut bytes = STANDARD.decode(place.as_str().expect("as it is written")).expect("as it is written");
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
                *place = STANDARD.encode(bytes).into();
            }
        }
        prop_assert_eq!(good(format, value.to_string().as_bytes(), &keys()), None);
    }

    /// Any bytes at all are read or refused.
    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let keys = keys();
        for format in [Format::Dsse, Format::SigstoreBundle, Format::CosignSignature] {
            prop_assert_eq!(good(format, &bytes, &keys), None);
        }
    }

    /// A token of which any letter is another one does not count.
    #[test]
    fn a_changed_token_does_not_count(at in any::<prop::sample::Index>(), letter in "[A-Za-z0-9._=-]") {
        let jwks = Jwks::Keys(serde_json::from_str(&text("oidc/jwks.json")).expect("as it is written"));
        let issuers = vec![issuer("github", IssuerShape::Github, TokenAlgorithm::RS256, jwks)];
        let issuers = Issuers::compile(&Trust { issuers, ..Trust::default() }).expect("as it is written");
        let token = text("oidc/good.jwt").trim().to_owned();
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &letter);
        prop_assert_eq!(issuers.verify(&changed, asked()).is_ok(), changed == token);
    }
}
