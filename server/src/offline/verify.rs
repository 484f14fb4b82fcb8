//! `tidegate verify`: whether a backup, or the data directory of a server that is stopped, is sound.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use rollout_rules::change::Anchor;
use rollout_rules::ids::Revision;
use rollout_rules::snapshot::Snapshot;
use serde_json::json;

use super::audit::Audit;
use super::{OfflineError, Said, counted, say_verdict};
use crate::backup::{BackupError, BackupReader, Header, KillAhead, Summary};
use crate::cli::{ExitCode, VerifyOptions};
use crate::log::checkpoints::CheckpointFiles;
use crate::log::lock::DirectoryLock;
use crate::log::sled;

/// Checks what is at a path and says what it found.
pub fn verify(options: &VerifyOptions) -> ExitCode {
    let path = &options.path;
    let outcome = match fs::metadata(path) {
        Ok(found) if found.is_dir() => verify_directory(path),
        Ok(_) => verify_file(path),
        Err(error) => Err(OfflineError::files(path, error)),
    };
    say_verdict(path, outcome, options.json)
}

/// A backup that was read to its end and is sound.
pub(super) struct Sound {
    pub(super) header: Header,
    pub(super) summary: Summary,
    /// What its entries make.
    pub(super) folded: Snapshot,
    /// In effect when it was taken, and not in its entries.
    pub(super) kills: Vec<KillAhead>,
}

/// Reads a backup to its end.
pub(super) fn check_backup(path: &Path) -> Result<Sound, OfflineError> {
    let file = File::open(path).map_err(|error| OfflineError::files(path, error))?;
    let mut reader = BackupReader::open(BufReader::new(file)).map_err(|error| match error {
        BackupError::NotABackup => OfflineError::NotOurs(path.to_owned()),
        other => other.into(),
    })?;
    let mut audit = Audit::new();
    while let Some(item) = reader.next_entry()? {
        audit.entry(Anchor { revision: item.revision, hash: item.hash }, &item.bytes);
    }
    let folded = audit.end().map_err(OfflineError::Unsound)?;
    let summary = reader.summary().ok_or(BackupError::Truncated { last_good: folded.revision() })?;
    Ok(Sound { header: reader.header().clone(), summary, folded, kills: reader.kills().to_vec() })
}

fn verify_file(path: &Path) -> Result<Said, OfflineError> {
    let Sound { header, summary, kills, .. } = check_backup(path)?;
    let mut lines = vec![
        format!("{}: a sound backup", path.display()),
        format!("  log       {}, taken {}", header.log, header.at),
        format!("  entries   {}, up to revision {}", counted(summary.entries), header.last),
        format!("  chain     each entry follows from the one before; the last hash is {}", header.hash),
        "  anchors   each entry names an earlier one as it is".to_owned(),
        format!("  checksum  {}", summary.checksum),
    ];
    let ids: Vec<&str> = kills.iter().map(|kill| kill.kill_id.as_str()).collect();
    if !ids.is_empty() {
        let ids = ids.join(", ");
        lines.push(format!("  kills     in effect and not taken by the log when it was copied: {ids}"));
    }
    let json = json!({
        "path": path.to_string_lossy(), "kind": "backup", "sound": true, "log": header.log, "at": header.at,
        "entries": summary.entries, "first": header.first, "last": header.last, "hash": header.hash,
        "sha256": summary.checksum, "kills_ahead": ids, "faults": [],
    });
    Ok(Said { lines, json })
}

fn verify_directory(path: &Path) -> Result<Said, OfflineError> {
    // Opening makes what is not there: a look must not.
    if !path.join("log").join("db").is_file() {
        return Err(OfflineError::NotOurs(path.to_owned()));
    }
    let _lock = DirectoryLock::take(path)?;
    let files = CheckpointFiles::open(&path.join("checkpoints"));
    let files = files.map_err(|error| OfflineError::files(path, error))?;
    let mut audit = Audit::with(&files).map_err(|error| OfflineError::files(path, error))?;
    let (log, found) = sled::audit(path, &mut |entry| audit.entry(entry.anchor(), &entry.bytes))?;
    audit.end().map_err(OfflineError::Unsound)?;
    let head = found.head;
    let named = log.as_ref().map_or("not named yet", |log| log.as_str());
    let mut lines = vec![
        format!("{}: a sound data directory", path.display()),
        format!("  log          {named}"),
        format!("  entries      {}, up to revision {}", counted(head.revision.0), head.revision),
        format!("  chain        each entry follows from the one before; the last hash is {}", head.hash),
        "  anchors      each entry names an earlier one as it is".to_owned(),
        format!("  checkpoints  {}", checkpoints(&audit.agreeing, &audit.other_form)),
    ];
    if found.torn {
        lines.push(format!(
            "  An entry after revision {} is unfinished: it was never acknowledged, and the next start drops it.",
            head.revision
        ));
    }
    let json = json!({
        "path": path.to_string_lossy(), "kind": "data directory", "sound": true, "log": log,
        "entries": head.revision, "first": 1, "last": head.revision, "hash": head.hash,
        "checkpoints": audit.agreeing, "checkpoints_of_another_form": audit.other_form,
        "unfinished_entry": found.torn, "faults": [],
    });
    Ok(Said { lines, json })
}

fn checkpoints(agreeing: &[Revision], other_form: &[Revision]) -> String {
    let mut text = match agreeing {
        [] => "none to compare".to_owned(),
        [one] => format!("the one at revision {one} agrees with the entries"),
        [first, .., last] => {
            format!("{} agree with the entries, at revisions {first} to {last}", agreeing.len())
        }
    };
    if !other_form.is_empty() {
        text.push_str(&format!("; {} of another version, which starts pass over", other_form.len()));
    }
    text
}
