//! Receipts: the gate's answer as a SLSA Verification Summary 1 in a signed in-toto statement, which any verifier reads.
//!
//! Format: SLSA verification summary v1: <https://slsa.dev/spec/v1.0/verification_summary>.

use std::fmt;

use rollout_rules::gate::facts::Problem;
use rollout_rules::ids::{DecisionId, Digest, WaiverId};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::time::UnixMs;
use serde::{Deserialize, Serialize};

use super::envelope::{Envelope, IN_TOTO, MAX_SIGNATURES, signature_bytes, signed_bytes};
use super::public_key::{Message, PublicKey};
use super::receipt_key::ReceiptKey;
use super::statement::{STATEMENT_V1, VSA_V1};
use super::{base64_text, digest_of, malformed, unreadable};
use crate::gate::json;

/// Largest receipt that is read, in bytes.
pub const MAX_RECEIPT_BYTES: usize = 256 * 1024;
/// What is claimed where no level was verified.
pub const UNEVALUATED: &str = "SLSA_BUILD_LEVEL_UNEVALUATED";
/// What stands for levels where the gate said no.
const FAILED: &str = "FAILED";
/// How the name of a place begins.
const PLACE: &str = "tidegate:";
/// The version of SLSA whose levels are meant.
const SLSA_VERSION: &str = "1.1";

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The gate, as a URI.
    pub verifier: String,
    /// When it judged.
    pub time_verified: UnixMs,
    /// What it let pass, or did not, as a URI: the app and its environment.
    pub resource_uri: String,
    /// The policy, as a URI.
    pub policy_uri: String,
    /// The policy's digest.
    pub policy_digest: Digest,
    /// The attestations that were looked at.
    pub inputs: Vec<Digest>,
    /// Whether it passed.
    pub passed: bool,
    /// The SLSA levels that were verified, such as `SLSA_BUILD_LEVEL_2`. None: [`UNEVALUATED`] is written, and read as
    /// none. What failed has none, whatever stands here.
    pub levels: Vec<String>,
    /// What people call the artifact.
    pub subject_name: String,
    /// The artifact.
    pub artifact: ArtifactDigest,
    /// What the specification has no words for; of another maker nothing of it is there.
    pub besides: Besides,
}

/// What a receipt says besides what every verification summary does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Besides {
    /// Which decision.
    pub decision: Option<DecisionId>,
    /// If it passed: until when that stands, at most.
    pub valid_until: Option<UnixMs>,
    /// The waivers that it passed on, but for broken glass.
    pub waivers: Vec<WaiverId>,
    /// The broken glass that it passed under.
    pub broken_glass: Vec<WaiverId>,
}

/// How an environment of an app is named in a receipt.
pub fn place(app: &str, environment: &str) -> String {
    format!("{PLACE}{app}/{environment}")
}

/// The app and the environment in the name of a place; none: it is of another maker.
pub fn parts_of(place: &str) -> Option<(&str, &str)> {
    place.strip_prefix(PLACE)?.split_once('/')
}

/// A receipt whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReceipt {
    /// What it says.
    pub summary: Summary,
    /// SHA-256 of the key that signed it, as X.509 writes it.
    pub key: Digest,
}

/// Why there is no receipt, or why it is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptError {
    /// The key to check it with is not one.
    BadKey,
    /// It is not a signed statement.
    Unreadable(Problem),
    /// It is larger than [`MAX_RECEIPT_BYTES`].
    TooLarge,
    /// The key did not sign it, or it was changed afterwards.
    Signature,
    /// It is signed, and no receipt of a gate.
    NotAReceipt,
    /// The system gives no random bytes to sign with.
    NoRandomness,
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiptError::BadKey => {
                f.write_str("the key is not `-----BEGIN PUBLIC KEY-----`: ask the gate's operator for its public key")
            }
            ReceiptError::Unreadable(problem) => write!(f, "the receipt cannot be read: {}", problem.detail),
            ReceiptError::TooLarge => write!(f, "the receipt is larger than {MAX_RECEIPT_BYTES} bytes, which none is"),
            ReceiptError::Signature => f.write_str(
                "the receipt was not signed by this key, or was changed afterwards: take it for nothing, and ask the gate again",
            ),
            ReceiptError::NotAReceipt => f.write_str("what is signed is no receipt of a gate (SLSA verification summary 1)"),
            ReceiptError::NoRandomness => f.write_str("the system gives no random bytes to sign with"),
        }
    }
}

impl std::error::Error for ReceiptError {}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenStatement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Resource>,
    predicate_type: String,
    predicate: WrittenSummary,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenSummary {
    verifier: Verifier,
    time_verified: UnixMs,
    resource_uri: String,
    policy: Resource,
    input_attestations: Vec<Resource>,
    verification_result: String,
    verified_levels: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slsa_version: Option<String>,
    // Extensions, named as the specification asks: the vendor's name first.
    #[serde(rename = "tidegate_decision", default, skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionId>,
    #[serde(rename = "tidegate_validUntil", default, skip_serializing_if = "Option::is_none")]
    valid_until: Option<UnixMs>,
    #[serde(rename = "tidegate_waivers", default, skip_serializing_if = "Vec::is_empty")]
    waivers: Vec<WaiverId>,
    #[serde(rename = "tidegate_brokenGlass", default, skip_serializing_if = "Vec::is_empty")]
    broken_glass: Vec<WaiverId>,
}

#[derive(Serialize, Deserialize)]
struct Verifier {
    id: String,
}

/// Something with a digest.
#[derive(Serialize, Deserialize)]
struct Resource {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: Sha256,
}

#[derive(Serialize, Deserialize)]
struct Sha256 {
    sha256: Digest,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEnvelope {
    payload: String,
    payload_type: &'static str,
    signatures: [WrittenSignature; 1],
}

#[derive(Serialize)]
struct WrittenSignature {
    keyid: Digest,
    sig: String,
}

impl ReceiptKey {
    /// A signed receipt, as JSON.
    pub fn sign(&self, summary: &Summary) -> Result<Vec<u8>, ReceiptError> {
        let payload =
            serde_json::to_vec(&statement_of(summary)).expect("texts, digests and a moment are all JSON");
        let signature =
            self.sign_bytes(&signed_bytes(IN_TOTO, &payload)).ok_or(ReceiptError::NoRandomness)?;
        let envelope = WrittenEnvelope {
            payload: base64_text::encode(&payload),
            payload_type: IN_TOTO,
            signatures: [WrittenSignature { keyid: self.key_id(), sig: base64_text::encode(&signature) }],
        };
        Ok(serde_json::to_vec(&envelope).expect("texts and a digest are all JSON"))
    }
}

/// Reads a receipt and checks it with the gate's public key, `-----BEGIN PUBLIC KEY-----`. Nothing else is asked.
pub fn verify(bytes: &[u8], public_pem: &str) -> Result<ReadReceipt, ReceiptError> {
    let key = PublicKey::from_pem(public_pem).map_err(|_| ReceiptError::BadKey)?;
    if bytes.len() > MAX_RECEIPT_BYTES {
        return Err(ReceiptError::TooLarge);
    }
    let envelope: Envelope =
        json::parse_whole(bytes).map_err(|fault| ReceiptError::Unreadable(unreadable("It")(fault)))?;
    let payload = base64_text::decode(&envelope.payload)
        .ok_or_else(|| ReceiptError::Unreadable(malformed("Its payload is not base64.")))?;
    let signed = signed_bytes(&envelope.payload_type, &payload);
    let mut signatures = envelope.signatures.iter().take(MAX_SIGNATURES);
    let is_good =
        |text: &str| signature_bytes(text).is_ok_and(|bytes| key.made(Message::Bytes(&signed), &bytes));
    if !signatures.any(|signature| is_good(&signature.sig)) {
        return Err(ReceiptError::Signature);
    }
    if envelope.payload_type != IN_TOTO {
        return Err(ReceiptError::NotAReceipt);
    }
    let statement: WrittenStatement = json::parse_whole(&payload).map_err(|_| ReceiptError::NotAReceipt)?;
    let summary = summary_of(statement).ok_or(ReceiptError::NotAReceipt)?;
    Ok(ReadReceipt { summary, key: key.digest() })
}

fn statement_of(summary: &Summary) -> WrittenStatement {
    let digest = |sha256| Sha256 { sha256 };
    let name = Some(summary.subject_name.clone());
    let levels = match (summary.passed, summary.levels.is_empty()) {
        (false, _) => vec![FAILED.to_owned()],
        (true, true) => vec![UNEVALUATED.to_owned()],
        (true, false) => summary.levels.clone(),
    };
    let besides = summary.besides.clone();
    let input = |sha256: &Digest| Resource { name: None, uri: None, digest: digest(*sha256) };
    WrittenStatement {
        kind: STATEMENT_V1.to_owned(),
        subject: vec![Resource { name, uri: None, digest: digest(digest_of(&summary.artifact)) }],
        predicate_type: VSA_V1.to_owned(),
        predicate: WrittenSummary {
            verifier: Verifier { id: summary.verifier.clone() },
            time_verified: summary.time_verified,
            resource_uri: summary.resource_uri.clone(),
            policy: Resource {
                name: None,
                uri: Some(summary.policy_uri.clone()),
                digest: digest(summary.policy_digest),
            },
            input_attestations: summary.inputs.iter().map(input).collect(),
            verification_result: if summary.passed { "PASSED" } else { "FAILED" }.to_owned(),
            verified_levels: levels,
            slsa_version: Some(SLSA_VERSION.to_owned()),
            decision: besides.decision,
            valid_until: besides.valid_until,
            waivers: besides.waivers,
            broken_glass: besides.broken_glass,
        },
    }
}

fn summary_of(statement: WrittenStatement) -> Option<Summary> {
    let WrittenStatement { kind, subject, predicate_type, predicate } = statement;
    if kind != STATEMENT_V1 || predicate_type != VSA_V1 {
        return None;
    }
    let [subject] = <[Resource; 1]>::try_from(subject).ok()?;
    let passed = match predicate.verification_result.as_str() {
        "PASSED" => true,
        "FAILED" => false,
        _ => return None,
    };
    let levels =
        predicate.verified_levels.into_iter().filter(|level| level != UNEVALUATED && level != FAILED);
    Some(Summary {
        verifier: predicate.verifier.id,
        time_verified: predicate.time_verified,
        resource_uri: predicate.resource_uri,
        policy_uri: predicate.policy.uri?,
        policy_digest: predicate.policy.digest.sha256,
        inputs: predicate.input_attestations.iter().map(|input| input.digest.sha256).collect(),
        passed,
        levels: levels.collect(),
        subject_name: subject.name.unwrap_or_default(),
        artifact: super::artifact_of(subject.digest.sha256),
        besides: Besides {
            decision: predicate.decision,
            valid_until: predicate.valid_until,
            waivers: predicate.waivers,
            broken_glass: predicate.broken_glass,
        },
    })
}
