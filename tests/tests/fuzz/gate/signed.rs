//! Envelopes, statements, bundles and signatures: nothing counts that nobody signed.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rollout_rules::gate::facts::{Attestation, Format};
use rollout_rules::ids::Digest;
use serde_json::Value;
use tidegate::gate::trust::Signed;
use tidegate::gate::trust::keys::TrustedKeys;

use super::{artifact, features, fixtures, handed_in, reshape, trust, words};
use crate::mutate::Chance;
use crate::run::{Outcome, Target};
use crate::tree;

const FORMATS: [Format; 3] = [Format::Dsse, Format::SigstoreBundle, Format::CosignSignature];

const TOKENS: &[&str] = &[
    "\"payloadType\":\"application/vnd.in-toto+json\"",
    "\"payload\":\"e30=\"",
    "\"signatures\":[]",
    "\"keyid\":\"\"",
    "\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\"",
    "\"messageSignature\":{}",
    "\"dsseEnvelope\":{}",
    "\"verificationMaterial\":{}",
    "\"publicKey\":{\"hint\":\"\"}",
    "\"tlogEntries\":[]",
    "null",
    "{}",
    "[]",
    "\"\"",
    "====",
    "\\u0000",
];

/// Where an input has base64 that something hangs on.
const PACKED: [&str; 7] = [
    "/payload",
    "/signatures/0/sig",
    "/dsseEnvelope/payload",
    "/dsseEnvelope/signatures/0/sig",
    "/messageSignature/signature",
    "/messageSignature/messageDigest/digest",
    "/verificationMaterial/certificate/rawBytes",
];

/// Changes what is packed within: a byte of it, or a value if it is JSON.
fn repack(bytes: &mut Vec<u8>, other: &[u8], words: &[tree::Word], chance: &mut Chance) -> bool {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return false };
    let there: Vec<&str> =
        PACKED.iter().copied().filter(|path| value.pointer(path).is_some_and(Value::is_string)).collect();
    let Some(place) = there.get(chance.below(there.len())).and_then(|path| value.pointer_mut(path)) else {
        return false;
    };
    let Ok(mut inside) = STANDARD.decode(place.as_str().unwrap_or_default()) else { return false };
    if !tree::step(&mut inside, other, words, chance) {
        let at = chance.below(inside.len());
        let Some(byte) = inside.get_mut(at) else { return false };
        *byte ^= 1 << chance.below(8);
    }
    *place = STANDARD.encode(inside).into();
    *bytes = value.to_string().into();
    true
}

/// What it says, if somebody trusted signed it.
fn good(signed: &Signed) -> Option<&Attestation> {
    signed.attestation.signer.is_ok().then_some(&signed.attestation)
}

fn look(format: Format, bytes: &[u8], keys: &TrustedKeys) -> Option<Signed> {
    // By which piece it came makes no difference to what it says.
    let piece = Digest::of(b"a piece");
    tidegate::gate::trust::read(piece, format, bytes, &artifact(), keys, handed_in()).ok()
}

/// What was signed, whatever its base64 looks like: the last letter may have bits that mean nothing.
fn payload(bytes: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let envelope = value.get("dsseEnvelope").unwrap_or(&value);
    let written = envelope.get("payload")?.as_str()?;
    let plain = written.trim_end_matches('=').replace('-', "+").replace('_', "/");
    Some(plain[..plain.len().checked_sub(1)?].to_owned())
}

#[test]
fn whatever_is_signed_otherwise_counts_as_signed_by_nobody() {
    let folders = ["clean/attest", "clean/artifact", "faulty/attest", "faulty/artifact", "own"];
    // What was tampered with can become what was signed again, piece by piece.
    let is_other = |name: &str| {
        [".gz", ".md", ".pem"].iter().any(|end| name.ends_with(end)) || name.contains("tampered")
    };
    let files = fixtures(&folders).into_iter().filter(|(name, _)| !is_other(name));
    let golden: Vec<Vec<u8>> = files
        .map(|(_, bytes)| {
            serde_json::from_slice::<Value>(&bytes).map_or(bytes, |value| value.to_string().into())
        })
        .collect();
    let keys = TrustedKeys::compile(&trust()).expect("keys");
    let of = |bytes: &[u8]| FORMATS.map(|format| look(format, bytes, &keys));
    let honest: Vec<Attestation> = golden
        .iter()
        .flat_map(|bytes| of(bytes).into_iter().flatten())
        .flat_map(|signed| std::iter::once(signed.attestation).chain(signed.further))
        .filter(|it| it.signer.is_ok())
        .collect();
    let payloads: BTreeSet<String> = golden.iter().filter_map(|bytes| payload(bytes)).collect();
    assert!(honest.len() > 10, "{honest:?}");
    let read = |bytes: &[u8]| {
        let mut found = Vec::new();
        for format in FORMATS {
            let Some(signed) = look(format, bytes, &keys) else { continue };
            for it in
                std::iter::once(&signed.attestation).chain(&signed.further).filter(|it| it.signer.is_ok())
            {
                assert!(honest.contains(it), "nobody signed that: {it:?}");
            }
            if good(&signed).is_some() && format != Format::CosignSignature {
                assert!(
                    payload(bytes).is_none_or(|payload| payloads.contains(&payload)),
                    "nobody signed its payload"
                );
            }
            let without = look(format, bytes, &TrustedKeys::default());
            assert!(without.is_none_or(|signed| good(&signed).is_none()), "nobody is trusted");
            let signer = format!("{:?}", signed.attestation.signer.is_ok());
            found.push(signer);
            found.extend(features(&format!("{format:?}"), &signed.attestation));
        }
        if found.is_empty() {
            Outcome::Refused("it is nothing that is signed".to_owned())
        } else {
            Outcome::Taken(found)
        }
    };
    let words = words(&golden);
    let restructure = |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| match chance.below(3) {
        0 => repack(bytes, other, &words, chance),
        _ => tree::step(bytes, other, &words, chance) || reshape(bytes, other, chance),
    };
    Target { name: "signed", golden, tokens: TOKENS, restructure: &restructure, inputs: 1_000, read: &read }
        .run();
}
