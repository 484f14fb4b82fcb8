//! `tidegate verify`: whether a backup, or the data directory of a server that is stopped, is sound.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

use rollout_rules::change::Anchor;
use rollout_rules::ids::Revision;
use rollout_rules::snapshot::Snapshot;
use serde_json::json;

use super::audit::{Audit, MAX_FAULTS};
use super::kept::{self, Damage, Found};
use super::target::GATE;
use super::{Fault, OfflineError, Said, counted, say_verdict, some};
use crate::backup::{BackupError, BackupReader, Header, KillAhead, LostFile, Summary};
use crate::cli::{ExitCode, VerifyOptions};
use crate::gate::folder::{Looked, look_through};
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

/// A backup whose log is sound.
pub(super) struct Sound {
    pub(super) header: Header,
    /// None: what follows the log breaks off, and that was accepted.
    pub(super) summary: Option<Summary>,
    /// What its entries make.
    pub(super) folded: Snapshot,
    /// In effect when it was taken, and not in its entries.
    pub(super) kills: Vec<KillAhead>,
    /// What the gate keeps; none: the backup has nothing of it.
    pub(super) kept: Option<Found>,
}

/// Reads a backup to its end.
pub(super) fn check_backup(path: &Path, damage: Damage) -> Result<Sound, OfflineError> {
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
    let kept = kept::read(&mut reader, damage, None)?;
    let (header, summary) = (reader.header().clone(), reader.summary());
    Ok(Sound { header, summary, folded, kills: reader.kills().to_vec(), kept })
}

fn verify_file(path: &Path) -> Result<Said, OfflineError> {
    let Sound { header, summary, kills, kept, folded } = check_backup(path, Damage::Refuse)?;
    let summary = summary.ok_or(BackupError::Truncated { last_good: header.last })?;
    let mut lines = vec![
        format!("{}: a sound backup", path.display()),
        format!("  log       {}, taken {}", header.log, header.at),
        format!("  entries   {}, up to revision {}", counted(summary.entries), header.last),
        format!("  chain     each entry follows from the one before; the last hash is {}", header.hash),
        "  anchors   each entry names an earlier one as it is".to_owned(),
        format!("  checksum  {}", summary.checksum),
    ];
    lines.push(match &kept {
        None => "  gate      what it keeps (evidence, receipts, its key) is not in it".to_owned(),
        Some(found) => {
            let (all, without) = found.decisions(&folded);
            let without = self::without(without);
            format!(
                "  gate      {} of {}, each what its name says, and the key{without}",
                some(found.files.len(), "file"),
                some(all, "decision")
            )
        }
    });
    let lost = kept.as_ref().map(Found::lost_on_the_server).filter(|lost| !lost.is_empty());
    lines.extend(lost.map(|lost| format!("  lost      {lost}")));
    let ids: Vec<&str> = kills.iter().map(|kill| kill.kill_id.as_str()).collect();
    if !ids.is_empty() {
        let ids = ids.join(", ");
        lines.push(format!("  kills     in effect and not taken by the log when it was copied: {ids}"));
    }
    let json = json!({
        "path": path.to_string_lossy(), "kind": "backup", "sound": true, "log": header.log, "at": header.at,
        "entries": summary.entries, "first": header.first, "last": header.last, "hash": header.hash,
        "sha256": summary.checksum, "kills_ahead": ids, "faults": [],
        "gate_files": kept.as_ref().map(|_| summary.files), "gate_files_lost": kept.map(|found| found.lost),
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
    let folded = audit.end().map_err(OfflineError::Unsound)?;
    let gate = look_at_the_gate(&path.join(GATE), &folded)?;
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
    if let Some(gate) = &gate {
        let without = without(gate.without);
        lines.push(format!(
            "  gate         {} of {}, each what its name says{without}",
            some(gate.whole, "file"),
            some(gate.decisions, "decision")
        ));
    }
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
        "unfinished_entry": found.torn, "gate_files": gate.map(|gate| gate.whole), "faults": [],
    });
    Ok(Said { lines, json })
}

/// The files of the gate; one that is torn is a fault.
fn look_at_the_gate(folder: &Path, folded: &Snapshot) -> Result<Option<Looked>, OfflineError> {
    let looked = look_through(folder, folded).map_err(|error| OfflineError::files(folder, error))?;
    let torn = looked.iter().flat_map(|looked| &looked.torn).take(MAX_FAULTS);
    let torn: Vec<Fault> = torn
        .map(|(file, decided)| {
            let (app, decision) = (decided.decision.app.clone(), decided.decision.id.clone());
            Fault::TornFile(LostFile { file: *file, app, decision })
        })
        .collect();
    if torn.is_empty() { Ok(looked) } else { Err(OfflineError::Unsound(torn)) }
}

/// Of how many decisions a file is not there any more, after a list of what is.
fn without(decisions: usize) -> String {
    let some = some(decisions, "decision");
    if decisions == 0 { String::new() } else { format!("; of {some} not all is there any more") }
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
