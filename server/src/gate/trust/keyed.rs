//! Signatures of the artifact as `cosign sign-blob --key` writes them into a file of their own: base64, and nothing else.
//!
//! Nothing beside such a signature says whose it is. One that no key made is a stranger's, whether a stranger signed or the
//! artifact was changed: the two cannot be told apart.
//!
//! Format: what cosign prints: <https://github.com/sigstore/cosign/blob/main/doc/cosign_sign-blob.md>.

use p256::ecdsa::Signature as P256Signature;
use rollout_rules::gate::facts::{Claim, Problem, ProblemCode};

use super::envelope::signature_bytes;
use super::keys::{Asked, Signature};
use super::public_key::{Kind, Message};
use super::{Reading, Signed, digest_of, malformed, problem, statement};

/// Reads the file of a signature.
pub(super) fn read(reading: &Reading<'_>, bytes: &[u8]) -> Result<Signed, Problem> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| malformed("The signature is not base64: sign again."))?;
    let bytes = signature_bytes(text.trim())?;
    check_signature(&bytes, None)?;
    let signatures = [Signature { bytes, hint: None }];
    let asked = Asked {
        message: Message::Sha256(digest_of(&reading.artifact)),
        signatures: &signatures,
        purpose: statement::purpose(&Claim::Artifact),
    };
    let signers = reading.keys.signers(&asked, reading.now);
    Ok(reading.signed(Claim::Artifact, vec![reading.artifact], signers, None))
}

/// Whether a signature of the artifact can be checked. `other` is the kind of its key, if that is known not to be P-256.
///
/// Ed25519 signs the bytes themselves, and RSA is checked here with them alone.
pub(super) fn check_signature(bytes: &[u8], other: Option<Kind>) -> Result<(), Problem> {
    let is_ecdsa = P256Signature::from_der(bytes).is_ok();
    let kind = match (other, bytes.len()) {
        (None, _) if is_ecdsa => return Ok(()),
        (Some(Kind::Ed25519), _) | (None, 64) => "Ed25519",
        (Some(Kind::Rsa), _) | (None, 256..) => "RSA",
        _ => return Err(malformed("The signature is damaged, or not one of ECDSA P-256: sign again.")),
    };
    Err(problem(
        ProblemCode::UnsupportedVersion,
        format!(
            "It is a signature of the artifact with an {kind} key, which cannot be checked without the artifact's bytes: sign the artifact with an ECDSA P-256 key, or sign a statement about it instead."
        ),
    ))
}
