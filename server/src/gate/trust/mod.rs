//! Whose signature is on a piece of evidence, and what the signed words say.
//!
//! A good signature is never the verdict. This module says who signed what, if the policy trusts them with such a
//! claim at that time; what an app may be built from, and by whom, is judged in the core.
//!
//! | what | where |
//! | --- | --- |
//! | the keys and authorities of the policy | [`keys`], `public_key`, `authority` |
//! | DSSE envelopes and the statements in them | `envelope`, `statement`, `provenance` |
//! | sigstore bundles 0.1 to 0.3 | `bundle` |
//! | signatures of the artifact as cosign writes them beside it | `keyed` |
//! | tokens of pipelines | [`pipeline_token`], [`jwks`] |
//! | the gate's own answers | [`receipt`], [`receipt_key`] |
//!
//! Transparency logs (Rekor) and signed timestamps (RFC 3161) are not read: nothing in a bundle then shows when it was
//! signed, so a certificate counts only while it is valid. Evidence is handed in right after it is made.

use rollout_rules::gate::facts::{Attestation, Claim, Format, Problem, ProblemCode, SignerId, Untrusted};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;
use rollout_rules::time::UnixMs;

mod authority;
mod base64_text;
mod bundle;
mod claims;
mod envelope;
pub mod jwks;
mod keyed;
pub mod keys;
pub mod pipeline_token;
mod provenance;
mod public_key;
pub mod receipt;
pub mod receipt_key;
mod statement;

use crate::gate::json::{Author, Fault, unmarked};
use keys::TrustedKeys;

/// Largest signed piece that is read, in bytes; larger ones are refused.
pub const MAX_SIGNED_BYTES: usize = 10 * 1024 * 1024;

/// What was read from a signed piece.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// What it says and who signed it.
    pub attestation: Attestation,
    /// The same, once for each further trusted signer: an app may ask for one of them by name.
    pub further: Vec<Attestation>,
    /// The document that was signed, for its own reader: an SBOM, or what somebody says of vulnerabilities. It is there
    /// whoever signed it. What an SBOM says of vulnerabilities beside its components is not signed as [`Claim::Vex`], and so
    /// by nobody.
    pub predicate: Option<(Format, Vec<u8>)>,
}

/// Reads a DSSE envelope, an in-toto statement without one ([`Format::Dsse`] too), a sigstore bundle or a signature of the
/// artifact.
///
/// `piece` is the digest of the piece, `artifact` what the release is. An error says why nothing can be made of it; a
/// piece that nobody trusted signed is none: that is a fact, in [`Attestation::signer`].
pub fn read(
    piece: Digest,
    format: Format,
    bytes: &[u8],
    artifact: &ArtifactDigest,
    keys: &TrustedKeys,
    now: UnixMs,
) -> Result<Signed, Problem> {
    if bytes.len() > MAX_SIGNED_BYTES {
        return Err(problem(
            ProblemCode::TooLarge,
            format!("It is larger than {MAX_SIGNED_BYTES} bytes: sign a shorter document."),
        ));
    }
    let bytes = unmarked(bytes);
    let reading = Reading { piece, artifact: *artifact, keys, now };
    match format {
        Format::Dsse => envelope::read(&reading, bytes),
        Format::SigstoreBundle => bundle::read(&reading, bytes),
        Format::CosignSignature => keyed::read(&reading, bytes),
        _ => Err(problem(
            ProblemCode::UnknownFormat,
            "It is neither a DSSE envelope, nor a sigstore bundle, nor a signature of the artifact.",
        )),
    }
}

/// What every reader needs.
struct Reading<'a> {
    piece: Digest,
    artifact: ArtifactDigest,
    keys: &'a TrustedKeys,
    now: UnixMs,
}

impl Reading<'_> {
    /// What was read, once for each signer.
    fn signed(
        &self,
        claim: Claim,
        subjects: Vec<ArtifactDigest>,
        signers: Result<Vec<SignerId>, Untrusted>,
        predicate: Option<(Format, Vec<u8>)>,
    ) -> Signed {
        let by = |signer| Attestation {
            piece: self.piece,
            claim: claim.clone(),
            subjects: subjects.clone(),
            signer,
        };
        let signers = signers.and_then(|all| if all.is_empty() { Err(Untrusted::Stranger) } else { Ok(all) });
        match signers {
            Err(why) => Signed { attestation: by(Err(why)), further: Vec::new(), predicate },
            Ok(mut all) => {
                let further = all.split_off(1).into_iter().map(|signer| by(Ok(signer))).collect();
                let first = all.pop().ok_or(Untrusted::Stranger);
                Signed { attestation: by(first), further, predicate }
            }
        }
    }
}

fn problem(code: ProblemCode, detail: impl Into<String>) -> Problem {
    Problem { code, detail: detail.into() }
}

/// What to tell people of a signed text that cannot be read. `what` names it, such as `The statement`.
fn unreadable(what: &'static str) -> impl Fn(Fault) -> Problem {
    move |fault| fault.problem(Author { what, again: "Make it again with the tool that signs." })
}

fn malformed(detail: impl Into<String>) -> Problem {
    problem(ProblemCode::Malformed, detail)
}

/// The bytes of an artifact's digest.
fn digest_of(artifact: &ArtifactDigest) -> Digest {
    let text = artifact.to_string();
    let digits = text.strip_prefix("sha256:").unwrap_or(&text);
    digits.parse().expect("an artifact's digest is written as `sha256:` and 64 hexadecimal digits")
}

/// The artifact that has a digest.
fn artifact_of(digest: Digest) -> ArtifactDigest {
    format!("sha256:{digest}").parse().expect("a digest is written as 64 hexadecimal digits in lower case")
}
