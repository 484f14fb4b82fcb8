//! `tidegate gate verify`: whether a receipt is the gate's, and for which artifact.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rollout_rules::release::ArtifactDigest;
use serde_json::json;

use super::{OfflineError, Said, say};
use crate::cli::gate::artifact::{ArtifactError, digest_of};
use crate::cli::{ExitCode, ReceiptOptions, harmless};
use crate::gate::trust::receipt::{MAX_RECEIPT_BYTES, ReadReceipt, ReceiptError, verify};

/// Largest file of a public key that is read, in bytes.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// Why a receipt proves nothing here.
#[derive(Debug)]
pub enum ReceiptFault {
    /// It is none, or the key did not sign it.
    NotGood(ReceiptError),
    /// The gate said no.
    Denied {
        /// To what, as a URI.
        resource: String,
    },
    /// It is for something else.
    OtherArtifact {
        /// What it is for.
        said: ArtifactDigest,
        /// What it was to be for.
        wanted: ArtifactDigest,
    },
    /// What it was to be for has no digest.
    Artifact(ArtifactError),
}

impl fmt::Display for ReceiptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiptFault::NotGood(error) => error.fmt(f),
            ReceiptFault::Denied { resource } => {
                write!(f, "the receipt is the gate's, and it says no: {} was denied", harmless(resource))
            }
            ReceiptFault::OtherArtifact { said, wanted } => {
                write!(
                    f,
                    "the receipt is for {said}, and the artifact is {wanted}: ask the gate about that one"
                )
            }
            ReceiptFault::Artifact(error) => error.fmt(f),
        }
    }
}

impl ReceiptFault {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            ReceiptFault::NotGood(ReceiptError::BadKey)
            | ReceiptFault::Artifact(ArtifactError::NoDigest(_)) => ExitCode::Usage,
            ReceiptFault::Artifact(_) => ExitCode::NotFound,
            ReceiptFault::NotGood(_) | ReceiptFault::Denied { .. } | ReceiptFault::OtherArtifact { .. } => {
                ExitCode::Refused
            }
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            ReceiptFault::NotGood(ReceiptError::BadKey) => "bad_key",
            ReceiptFault::NotGood(ReceiptError::Signature) => "not_signed",
            ReceiptFault::NotGood(_) => "not_a_receipt",
            ReceiptFault::Denied { .. } => "denied",
            ReceiptFault::OtherArtifact { .. } => "other_artifact",
            ReceiptFault::Artifact(_) => "artifact",
        }
    }
}

/// Checks a receipt and says what it proves.
pub fn verify_receipt(options: &ReceiptOptions, json: bool) -> ExitCode {
    say(checked(&options.receipt, &options.key(), options.artifact.as_deref()), json)
}

fn checked(receipt: &Path, key: &Path, artifact: Option<&str>) -> Result<Said, OfflineError> {
    let fault = |fault: ReceiptFault| OfflineError::Receipt(fault);
    let pem = String::from_utf8(bytes(key, MAX_KEY_BYTES)?);
    let pem = pem.map_err(|_| fault(ReceiptFault::NotGood(ReceiptError::BadKey)))?;
    let bytes = bytes(receipt, MAX_RECEIPT_BYTES)?;
    let read = verify(&bytes, &pem).map_err(|error| fault(ReceiptFault::NotGood(error)))?;
    if let Some(artifact) = artifact {
        let wanted = digest_of(artifact).map_err(|error| fault(ReceiptFault::Artifact(error)))?;
        let said = read.summary.artifact;
        if said != wanted {
            return Err(fault(ReceiptFault::OtherArtifact { said, wanted }));
        }
    }
    if !read.summary.passed {
        return Err(fault(ReceiptFault::Denied { resource: read.summary.resource_uri }));
    }
    Ok(told(receipt, &read))
}

/// As much of a file as is read, and a byte more of one that is longer: whoever reads it says that it is too long.
fn bytes(path: &Path, most: usize) -> Result<Vec<u8>, OfflineError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| OfflineError::files(path, error))?;
    let read = file.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| OfflineError::files(path, error))?;
    Ok(bytes)
}

/// What a receipt that passed says. Its words were signed, and are still shown and not obeyed.
fn told(path: &Path, read: &ReadReceipt) -> Said {
    let said = &read.summary;
    let levels = if said.levels.is_empty() { "none claimed".to_owned() } else { said.levels.join(", ") };
    let facts = [
        ("artifact", said.artifact.to_string()),
        ("called", said.subject_name.clone()),
        ("passed for", said.resource_uri.clone()),
        ("judged", said.time_verified.to_string()),
        ("by", said.verifier.clone()),
        ("policy", format!("{} ({})", said.policy_uri, said.policy_digest)),
        ("SLSA", levels),
        ("evidence", format!("{} pieces", said.inputs.len())),
        ("key", read.key.to_string()),
    ];
    let mut lines =
        vec![format!("{}: the gate's receipt, signed by this key", harmless(&path.to_string_lossy()))];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        lines.push(format!("  {name:<10}  {}", harmless(value)));
    }
    let json = json!({
        "passed": said.passed,
        "artifact": said.artifact,
        "name": said.subject_name,
        "resource": said.resource_uri,
        "judged_at": said.time_verified,
        "verifier": said.verifier,
        "policy": { "uri": said.policy_uri, "digest": said.policy_digest },
        "levels": said.levels,
        "evidence": said.inputs,
        "key": read.key,
    });
    Said { lines, json }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rollout_rules::ids::Digest;
    use rollout_rules::time::UnixMs;
    use tempfile::TempDir;

    use super::*;
    use crate::gate::trust::receipt::Summary;
    use crate::gate::trust::receipt_key::ReceiptKey;

    /// A folder with an artifact, its receipt, and the key.
    fn receipt(passed: bool) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("app.tar.gz"), "the app").expect("written");
        fs::write(folder.path().join("other.tar.gz"), "another one").expect("written");
        let key = ReceiptKey::load_or_create(&folder.path().join("signing.pem")).expect("a key");
        let summary = Summary {
            verifier: "https://gate.example.org/\u{1b}[2J".to_owned(),
            time_verified: UnixMs(1_800_000_000_000),
            resource_uri: "tidegate:discount/production".to_owned(),
            policy_uri: "tidegate:policy".to_owned(),
            policy_digest: Digest::of(b"policy"),
            inputs: vec![Digest::of(b"junit")],
            passed,
            levels: Vec::new(),
            subject_name: "1.4.2".to_owned(),
            artifact: format!("sha256:{}", Digest::of(b"the app")).parse().expect("a digest"),
        };
        fs::write(folder.path().join("receipt.json"), key.sign(&summary).expect("signed")).expect("written");
        fs::write(folder.path().join("key.pem"), key.public_pem()).expect("written");
        folder
    }

    fn check(folder: &TempDir, artifact: Option<&str>) -> Result<Said, (u8, &'static str)> {
        let at = |name: &str| folder.path().join(name);
        let artifact = artifact.map(|name| at(name).to_string_lossy().into_owned());
        checked(&at("receipt.json"), &at("key.pem"), artifact.as_deref())
            .map_err(|error| (error.exit_code() as u8, error.code()))
    }

    #[test]
    fn a_receipt_that_the_key_signed_is_good_for_its_artifact_alone() {
        let folder = receipt(true);
        let said = check(&folder, None).expect("good");
        assert!(
            said.lines.iter().any(|line| line.contains("tidegate:discount/production")),
            "{:?}",
            said.lines
        );
        assert!(
            said.lines.iter().all(|line| !line.contains('\u{1b}')),
            "its words steer no terminal: {:?}",
            said.lines
        );
        assert_eq!(said.json["passed"], true);
        check(&folder, Some("app.tar.gz")).expect("good for it");
        assert_eq!(check(&folder, Some("other.tar.gz")).err(), Some((1, "other_artifact")));
        assert_eq!(check(&folder, Some("nowhere.tar.gz")).err(), Some((3, "artifact")));
    }

    #[test]
    fn a_receipt_of_a_denial_lets_nothing_pass() {
        assert_eq!(check(&receipt(false), None).err(), Some((1, "denied")));
    }

    #[test]
    fn what_another_key_signed_or_nobody_is_refused() {
        let folder = receipt(true);
        let at = |name: &str| folder.path().join(name);
        fs::copy(receipt(true).path().join("key.pem"), at("key.pem")).expect("copied");
        assert_eq!(check(&folder, None).err(), Some((1, "not_signed")));
        fs::write(at("receipt.json"), "{}").expect("written");
        assert_eq!(check(&folder, None).err(), Some((1, "not_a_receipt")));
        fs::write(at("receipt.json"), vec![b' '; MAX_RECEIPT_BYTES + 1]).expect("written");
        assert_eq!(check(&folder, None).err(), Some((1, "not_a_receipt")));
        fs::write(at("key.pem"), "no key").expect("written");
        assert_eq!(check(&folder, None).err(), Some((2, "bad_key")));
        fs::remove_file(at("key.pem")).expect("removed");
        assert_eq!(check(&folder, None).err(), Some((3, "not_found")));
    }
}
