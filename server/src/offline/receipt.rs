//! `tidegate gate verify`: whether a receipt is the gate's, and for which artifact.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rollout_rules::ids::{AppKey, EnvKey, WaiverId};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::time::UnixMs;
use serde_json::json;

use super::{OfflineError, Said, say};
use crate::cli::gate::artifact::{ArtifactError, digest_of};
use crate::cli::{ExitCode, ReceiptWanted, harmless};
use crate::gate::trust::receipt::{Besides, MAX_RECEIPT_BYTES, ReadReceipt, ReceiptError, parts_of, verify};

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
    /// It is for another app or environment.
    OtherPlace {
        /// What it is for, as a URI.
        said: String,
        /// What it was to be for.
        wanted: String,
    },
    /// What it let pass stands no more.
    Lapsed {
        /// Since when.
        until: UnixMs,
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
            ReceiptFault::OtherPlace { said, wanted } => {
                write!(
                    f,
                    "the receipt is for {}, and not for {wanted}: have the gate judge it there",
                    harmless(said)
                )
            }
            ReceiptFault::Lapsed { until } => write!(
                f,
                "the receipt lapsed at {until}: ask the gate again, or say with --at TIME that it only has to have been good then"
            ),
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
            ReceiptFault::NotGood(_)
            | ReceiptFault::Denied { .. }
            | ReceiptFault::OtherArtifact { .. }
            | ReceiptFault::OtherPlace { .. }
            | ReceiptFault::Lapsed { .. } => ExitCode::Refused,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            ReceiptFault::NotGood(ReceiptError::BadKey) => "bad_key",
            ReceiptFault::NotGood(ReceiptError::Signature) => "not_signed",
            ReceiptFault::NotGood(_) => "not_a_receipt",
            ReceiptFault::Denied { .. } => "denied",
            ReceiptFault::OtherArtifact { .. } => "other_artifact",
            ReceiptFault::OtherPlace { .. } => "other_place",
            ReceiptFault::Lapsed { .. } => "lapsed",
            ReceiptFault::Artifact(_) => "artifact",
        }
    }
}

/// Checks a receipt and says what it proves.
pub fn verify_receipt(wanted: &ReceiptWanted<'_>, now: UnixMs) -> ExitCode {
    say(checked(wanted, now), wanted.json)
}

fn checked(wanted: &ReceiptWanted<'_>, now: UnixMs) -> Result<Said, OfflineError> {
    let fault = |fault: ReceiptFault| OfflineError::Receipt(fault);
    let options = wanted.options;
    let pem = String::from_utf8(bytes(&options.key(), MAX_KEY_BYTES)?);
    let pem = pem.map_err(|_| fault(ReceiptFault::NotGood(ReceiptError::BadKey)))?;
    let bytes = bytes(&options.receipt, MAX_RECEIPT_BYTES)?;
    let read = verify(&bytes, &pem).map_err(|error| fault(ReceiptFault::NotGood(error)))?;
    if let Some(artifact) = &options.artifact {
        let wanted = digest_of(artifact).map_err(|error| fault(ReceiptFault::Artifact(error)))?;
        let said = read.summary.artifact;
        if said != wanted {
            return Err(fault(ReceiptFault::OtherArtifact { said, wanted }));
        }
    }
    is_for(wanted, &read.summary.resource_uri).map_err(fault)?;
    if !read.summary.passed {
        return Err(fault(ReceiptFault::Denied { resource: read.summary.resource_uri }));
    }
    let at = options.at.map_or(now, |at| at.from(now));
    match read.summary.besides.valid_until {
        Some(until) if until <= at => Err(fault(ReceiptFault::Lapsed { until })),
        _ => Ok(told(wanted, &read)),
    }
}

/// Whether a receipt is for the app and the environment that it has to be for, as far as somebody says.
fn is_for(wanted: &ReceiptWanted<'_>, said: &str) -> Result<(), ReceiptFault> {
    let app = wanted.app.as_ref().map(AppKey::as_str);
    let environment = wanted.options.environment.as_ref().map(EnvKey::as_str);
    let same = match parts_of(said) {
        Some((its_app, its_environment)) => {
            app.is_none_or(|app| app == its_app)
                && environment.is_none_or(|environment| environment == its_environment)
        }
        None => app.is_none() && environment.is_none(),
    };
    if same {
        return Ok(());
    }
    let wanted = match (app, environment) {
        (Some(app), Some(environment)) => format!("{app}/{environment}"),
        (app, environment) => app.or(environment).unwrap_or_default().to_owned(),
    };
    Err(ReceiptFault::OtherPlace { said: said.to_owned(), wanted })
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
fn told(wanted: &ReceiptWanted<'_>, read: &ReadReceipt) -> Said {
    let said = &read.summary;
    let Besides { decision, valid_until, waivers, broken_glass } = &said.besides;
    let levels = if said.levels.is_empty() { "none claimed".to_owned() } else { said.levels.join(", ") };
    let until = valid_until.map_or_else(|| "it does not say".to_owned(), |until| until.to_string());
    let facts = [
        ("artifact", said.artifact.to_string()),
        ("called", said.subject_name.clone()),
        ("judged", said.time_verified.to_string()),
        ("stands to", until),
        ("by", said.verifier.clone()),
        ("decision", decision.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("policy", format!("{} ({})", said.policy_uri, said.policy_digest)),
        ("SLSA", levels),
        ("evidence", format!("{} pieces", said.inputs.len())),
        ("key", read.key.to_string()),
    ];
    let path = wanted.options.receipt.to_string_lossy();
    let mut lines = vec![
        format!("{}: the gate's receipt, signed by this key", harmless(&path)),
        format!("PASSED for {} alone{}", harmless(&said.resource_uri), not_asked(wanted)),
    ];
    if !broken_glass.is_empty() {
        lines.push(format!("UNDER BROKEN GLASS: it passed in an emergency ({})", named(broken_glass)));
    }
    if !waivers.is_empty() {
        lines.push(format!("ON WAIVERS: it passed because of {}", named(waivers)));
    }
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        lines.push(format!("  {name:<10}  {}", harmless(value)));
    }
    let json = json!({
        "passed": said.passed,
        "artifact": said.artifact,
        "name": said.subject_name,
        "resource": said.resource_uri,
        "judged_at": said.time_verified,
        "valid_until": valid_until,
        "decision": decision,
        "waivers": waivers,
        "broken_glass": broken_glass,
        "verifier": said.verifier,
        "policy": { "uri": said.policy_uri, "digest": said.policy_digest },
        "levels": said.levels,
        "evidence": said.inputs,
        "key": read.key,
    });
    Said { lines, json }
}

/// What nobody said that it has to be for.
fn not_asked(wanted: &ReceiptWanted<'_>) -> &'static str {
    match (&wanted.app, &wanted.options.environment) {
        (Some(_), Some(_)) => "",
        (None, Some(_)) => " (not asked for which app: give --app)",
        (Some(_), None) => " (not asked for which environment: give --env)",
        (None, None) => " (not asked for what: give --app and --env)",
    }
}

fn named(ids: &[WaiverId]) -> String {
    let names: Vec<&str> = ids.iter().map(WaiverId::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
