//! Sigstore bundles 0.1, 0.2 and 0.3: a signature of the artifact or an envelope, with the key's name or a certificate.
//!
//! Entries of transparency logs and signed timestamps in them are not looked at.
//!
//! Format: sigstore's protobuf specs, `Bundle` as JSON: <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto>.

use rollout_rules::gate::facts::{Claim, Problem, ProblemCode, SignerId, Untrusted};
use rollout_rules::ids::Digest;
use serde::Deserialize;

use super::authority::Chain;
use super::envelope::{self, Envelope, signature_bytes};
use super::keyed::check_signature;
use super::keys::{Asked, Signature};
use super::public_key::{Kind, Message};
use super::{
    Reading, Signed, artifact_of, base64_text, digest_of, malformed, problem, statement, unreadable,
};
use crate::gate::json;

const FAMILY: &str = "application/vnd.dev.sigstore.bundle";
const VERSIONS: [&str; 3] = ["0.1", "0.2", "0.3"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    media_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    verification_material: Material,
    message_signature: Option<MessageSignature>,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<KeyHint>,
    x509_certificate_chain: Option<CertificateChain>,
    certificate: Option<WrittenCertificate>,
}

#[derive(Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Deserialize)]
struct CertificateChain {
    certificates: Vec<WrittenCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenCertificate {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: Option<MessageDigest>,
    signature: String,
}

#[derive(Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

/// By what a bundle lets a signature be checked.
enum Means {
    /// A key that the policy has to know, and how it is called.
    Key(Option<String>),
    /// A certificate of an authority that the policy has to know.
    Certificate(Box<Chain>),
}

impl Means {
    fn signers(&self, reading: &Reading<'_>, asked: &Asked<'_>) -> Result<Vec<SignerId>, Untrusted> {
        match self {
            Means::Key(_) => reading.keys.signers(asked, reading.now),
            Means::Certificate(chain) => chain.signers(reading.keys, asked, reading.now),
        }
    }
}

/// Reads a bundle.
pub(super) fn read(reading: &Reading<'_>, bytes: &[u8]) -> Result<Signed, Problem> {
    let outline: Outline = json::parse_whole(bytes).map_err(unreadable("The bundle"))?;
    check_version(&outline.media_type)?;
    let bundle: Bundle = json::parse(bytes).map_err(unreadable("The bundle"))?;
    let means = means_of(bundle.verification_material)?;
    match (bundle.message_signature, bundle.dsse_envelope) {
        (Some(message), None) => signed_message(reading, &means, &message),
        (None, Some(envelope)) => signed_envelope(reading, &means, envelope),
        _ => Err(malformed("The bundle has to hold either a signature of the artifact or an envelope.")),
    }
}

/// `application/vnd.dev.sigstore.bundle+json;version=0.2`, or `application/vnd.dev.sigstore.bundle.v0.3+json`.
fn check_version(media_type: &str) -> Result<(), Problem> {
    let Some(rest) = media_type.strip_prefix(FAMILY) else {
        return Err(malformed("Its `mediaType` is not one of a sigstore bundle."));
    };
    let old = rest.strip_prefix("+json;version=");
    let new = rest.strip_prefix(".v").and_then(|rest| rest.strip_suffix("+json"));
    match old.or(new) {
        Some(version) if VERSIONS.contains(&version) => Ok(()),
        _ => Err(problem(
            ProblemCode::UnsupportedVersion,
            "Sigstore bundles of version 0.1, 0.2 and 0.3 are read: let the tool that signs write one of them.",
        )),
    }
}

fn means_of(material: Material) -> Result<Means, Problem> {
    let der = |written: WrittenCertificate| {
        let der = base64_text::decode(&written.raw_bytes);
        der.ok_or_else(|| malformed("A certificate of the bundle is not base64."))
    };
    let chain = match (material.public_key, material.x509_certificate_chain, material.certificate) {
        (Some(key), None, None) => return Ok(Means::Key(key.hint.filter(|hint| !hint.is_empty()))),
        (None, Some(chain), None) => chain.certificates.into_iter().map(der).collect::<Result<_, _>>()?,
        (None, None, Some(certificate)) => vec![der(certificate)?],
        _ => {
            return Err(malformed(
                "The bundle has to name one key or hold one certificate to check it with.",
            ));
        }
    };
    Chain::new(chain).map(|chain| Means::Certificate(Box::new(chain)))
}

fn signed_envelope(reading: &Reading<'_>, means: &Means, mut envelope: Envelope) -> Result<Signed, Problem> {
    if envelope.signatures.len() > 1 {
        return Err(malformed("The envelope in a bundle has one signature: make a bundle for each."));
    }
    if let Means::Key(Some(hint)) = means {
        for signature in &mut envelope.signatures {
            signature.keyid =
                signature.keyid.take().filter(|keyid| !keyid.is_empty()).or_else(|| Some(hint.clone()));
        }
    }
    envelope::opened(reading, &envelope, |asked| means.signers(reading, asked))
}

/// A signature of the artifact. The artifact itself is not here: it is checked with its digest.
fn signed_message(
    reading: &Reading<'_>,
    means: &Means,
    message: &MessageSignature,
) -> Result<Signed, Problem> {
    let digest = message.message_digest.as_ref().map(digest_in).transpose()?;
    let artifact = digest_of(&reading.artifact);
    let signed = digest.unwrap_or(artifact);
    let hint = match means {
        Means::Key(hint) => hint.clone(),
        Means::Certificate(_) => None,
    };
    let bytes = signature_bytes(&message.signature)?;
    let kind = match means {
        Means::Key(hint) => hint.as_deref().and_then(|hint| reading.keys.hinted(hint)),
        Means::Certificate(chain) => Some(chain.key().kind()),
    };
    check_signature(&bytes, kind.filter(|kind| *kind != Kind::P256))?;
    let signatures = [Signature { bytes, hint }];
    let asked = Asked {
        message: Message::Sha256(signed),
        signatures: &signatures,
        purpose: statement::purpose(&Claim::Artifact),
    };
    let signers = means.signers(reading, &asked);
    // A good signature of something else is none of this artifact.
    let signers = if signed == artifact { signers } else { signers.and(Err(Untrusted::Mismatch)) };
    Ok(reading.signed(Claim::Artifact, vec![artifact_of(signed)], signers, None))
}

fn digest_in(written: &MessageDigest) -> Result<Digest, Problem> {
    if written.algorithm != "SHA2_256" {
        return Err(problem(
            ProblemCode::UnsupportedVersion,
            "The bundle names the artifact by another digest than SHA-256: sign with ECDSA P-256 and SHA-256.",
        ));
    }
    let bytes = base64_text::decode(&written.digest).and_then(|bytes| bytes.try_into().ok());
    bytes.map(Digest).ok_or_else(|| malformed("The digest in the bundle is not a SHA-256 in base64."))
}
