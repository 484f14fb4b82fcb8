//! DSSE envelopes: what they carry, and the bytes that are signed.
//!
//! Format: DSSE 1.0: <https://github.com/secure-systems-lab/dsse/blob/master/envelope.md>.

use rollout_rules::gate::facts::{Claim, MAX_FACT_BYTES, Problem, ProblemCode, SignerId, Untrusted};
use serde::Deserialize;

use super::keys::{Asked, Signature};
use super::public_key::Message;
use super::statement::{self, Statement};
use super::{Reading, Signed, base64_text, malformed, problem, unreadable};
use crate::gate::json;

/// The type of what an envelope has to carry.
pub(super) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Most signatures of one envelope; more are refused: each is tried with every key.
pub(super) const MAX_SIGNATURES: usize = 16;
/// Longest signature, in bytes: that of an RSA key of 8,192 bits.
pub(super) const MAX_SIGNATURE_BYTES: usize = 1_024;

/// An envelope as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    /// What it carries, in base64.
    pub(super) payload: String,
    /// Of what type that is.
    pub(super) payload_type: String,
    /// Who signed.
    #[serde(default)]
    pub(super) signatures: Vec<WrittenSignature>,
}

/// A signature as it is written.
#[derive(Deserialize)]
pub(super) struct WrittenSignature {
    /// The signature, in base64.
    pub(super) sig: String,
    /// How the key is called.
    #[serde(default)]
    pub(super) keyid: Option<String>,
}

/// What an envelope and a bare statement differ in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    payload: Option<serde::de::IgnoredAny>,
    payload_type: Option<serde::de::IgnoredAny>,
}

/// Reads an envelope, or a statement that is in none.
pub(super) fn read(reading: &Reading<'_>, bytes: &[u8]) -> Result<Signed, Problem> {
    let outline: Outline = json::parse_whole(bytes).map_err(unreadable("The envelope"))?;
    if outline.payload.is_none() && outline.payload_type.is_none() {
        let Statement { claim, subjects, predicate } = statement::read(bytes)?;
        return Ok(reading.signed(claim, subjects, Err(Untrusted::Unsigned), predicate));
    }
    let envelope: Envelope = json::parse(bytes).map_err(unreadable("The envelope"))?;
    opened(reading, &envelope, |asked| reading.keys.signers(asked, reading.now))
}

/// What an envelope says. `signers` finds out who signed.
pub(super) fn opened(
    reading: &Reading<'_>,
    envelope: &Envelope,
    signers: impl FnOnce(&Asked<'_>) -> Result<Vec<SignerId>, Untrusted>,
) -> Result<Signed, Problem> {
    let payload = base64_text::decode(&envelope.payload)
        .ok_or_else(|| malformed("The envelope's payload is not base64."))?;
    let signatures = signatures_of(envelope)?;
    let Statement { claim, subjects, predicate } = carried(&envelope.payload_type, &payload)?;
    let signed = signed_bytes(&envelope.payload_type, &payload);
    let purpose = statement::purpose(&claim);
    let signers = signers(&Asked { message: Message::Bytes(&signed), signatures: &signatures, purpose });
    Ok(reading.signed(claim, subjects, signers, predicate))
}

/// What is in an envelope. Of a type that is not in-toto's nothing is read: signed words mean what their type says.
fn carried(payload_type: &str, payload: &[u8]) -> Result<Statement, Problem> {
    if payload_type == IN_TOTO {
        return statement::read(payload);
    }
    if payload_type.len() > MAX_FACT_BYTES {
        let text = format!("The envelope's payload type is longer than {MAX_FACT_BYTES} bytes.");
        return Err(problem(ProblemCode::TooLarge, text));
    }
    let claim = Claim::Other { predicate_type: payload_type.to_owned() };
    Ok(Statement { claim, subjects: Vec::new(), predicate: None })
}

fn signatures_of(envelope: &Envelope) -> Result<Vec<Signature>, Problem> {
    if envelope.signatures.len() > MAX_SIGNATURES {
        let text =
            format!("The envelope has more than {MAX_SIGNATURES} signatures: leave out those of others.");
        return Err(problem(ProblemCode::TooLarge, text));
    }
    envelope
        .signatures
        .iter()
        .map(|written| Ok(Signature { bytes: signature_bytes(&written.sig)?, hint: written.keyid.clone() }))
        .collect()
}

/// The bytes of a signature in base64.
pub(super) fn signature_bytes(text: &str) -> Result<Vec<u8>, Problem> {
    let bytes =
        base64_text::decode(text).ok_or_else(|| malformed("A signature is not base64: sign again."))?;
    if bytes.len() > MAX_SIGNATURE_BYTES {
        let text = format!(
            "A signature is longer than {MAX_SIGNATURE_BYTES} bytes: sign with a key of a usual size."
        );
        return Err(problem(ProblemCode::TooLarge, text));
    }
    Ok(bytes)
}

/// What is signed: payload and type, each with its length before it, so that neither can pass for a part of the other.
pub(super) fn signed_bytes(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
