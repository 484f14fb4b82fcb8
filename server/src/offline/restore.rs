//! `tidegate restore`: a data directory made of a backup, under a new name.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use rollout_rules::change::Anchor;
use rollout_rules::ids::LogId;
use rollout_rules::snapshot::Snapshot;
use serde_json::json;

use super::kept::{self, Damage, Found};
use super::target::{GATE, Target};
use super::verify::{Sound, check_backup};
use super::{OfflineError, Said, counted, say, some};
use crate::backup::{BackupReader, Item, KeptFault};
use crate::cli::{ExitCode, RestoreOptions};
use crate::log::sled::SledLog;
use crate::log::{AppendError, BoxFuture, ChangeLog, Expect, StoredCheckpoint};

/// Entries that are on their way to the disk at once, so that many share a flush.
const UNDER_WAY: usize = 1024;
/// The same in bytes.
const BYTES_UNDER_WAY: usize = 4 * 1024 * 1024;

/// Makes a data directory of a backup, and says what to do next.
pub fn restore(options: &RestoreOptions) -> ExitCode {
    let damage = if options.accept_loss { Damage::Accept } else { Damage::Refuse };
    say(restore_into(&options.file, &options.data_dir, damage), options.json)
}

fn restore_into(file: &Path, directory: &Path, damage: Damage) -> Result<Said, OfflineError> {
    // Nothing is written before all of it was found sound.
    let sound = check_backup(file, damage)?;
    let target = Target::take(directory)?;
    let log = match write(file, &target.work(), &sound, damage) {
        Ok(log) => log,
        Err(error) => {
            target.give_up();
            return Err(error);
        }
    };
    target.finish()?;
    let Sound { header, kills, folded, kept, .. } = sound;
    let entries = counted(header.last.0);
    let called = std::env::args().next().filter(|name| !name.is_empty());
    let tidegate = called.unwrap_or_else(|| "tidegate".to_owned());
    let mut lines = vec![
        format!(
            "restored {entries} of log {}, up to revision {}, into {}; the log's new name is {log}",
            header.log,
            header.last,
            directory.display()
        ),
        format!("What came after {} is not in it: kills and revoked tokens neither.", header.at),
    ];
    if !kills.is_empty() {
        let ids: Vec<&str> = kills.iter().map(|kill| kill.kill_id.as_str()).collect();
        let ids = ids.join(", ");
        lines.push(format!("Kills that the log had not taken are in effect, as entries at its end: {ids}."));
    }
    lines.extend(of_the_gate(kept.as_ref(), &folded));
    let webhooks = folded.webhooks(None).filter(|record| record.webhook.enabled).count();
    if webhooks > 0 {
        lines.push(format!(
            "Webhooks that are enabled: {webhooks}. They are told of what comes from now on, and not of what waited. Start \
             a server that is only a copy with --webhooks-deliver=false, or it tells the same receivers."
        ));
    }
    lines.extend([
        "Next:".to_owned(),
        String::new(),
        format!("  {tidegate} serve --data-dir '{}'", directory.display()),
        format!("  {tidegate} token list"),
        format!("  {tidegate} log"),
        String::new(),
    ]);
    let json = json!({
        "data_dir": directory.to_string_lossy(), "log": log, "log_of_the_backup": header.log,
        "entries": header.last, "last": header.last, "hash": header.hash, "at": header.at,
        "kills_ahead": kills.len(), "enabled_webhooks": webhooks,
        "gate_files": kept.as_ref().map(|found| found.files.len()),
        "gate_key": kept.as_ref().is_some_and(|found| found.has_key),
        "gate_files_lost": kept.as_ref().map(|found| &found.lost),
        "gate_damage": kept.map(|found| found.damaged.iter().map(KeptFault::to_string).collect::<Vec<_>>()),
    });
    Ok(Said { lines, json })
}

/// What became of what the gate keeps.
fn of_the_gate(kept: Option<&Found>, folded: &Snapshot) -> Vec<String> {
    let (all, without) =
        kept.map_or_else(|| Found::default().decisions(folded), |found| found.decisions(folded));
    let anew = "judged again once evidence is handed in anew (`tidegate gate check`)";
    let new_key = "The server makes a new key to sign receipts with: older receipts are checked with the public key that `tidegate gate key` \
                   printed before.";
    let Some(found) = kept else {
        if all == 0 {
            return Vec::new();
        }
        return vec![
            format!(
                "What the gate keeps is not in this backup: what it decided holds ({}), without evidence and receipts, and builds are {anew}.",
                some(all, "decision")
            ),
            new_key.to_owned(),
        ];
    };
    let mut lines = vec![format!(
        "What the gate keeps is back: {} of {}.",
        some(found.files.len(), "file"),
        some(all, "decision")
    )];
    if without > 0 {
        lines.push(format!(
            "Of {} not all is there, since retention removed it or it is lost: those builds are {anew}.",
            some(without, "decision")
        ));
    }
    let lost = Some(found.lost_on_the_server()).filter(|lost| !lost.is_empty());
    lines.extend(lost.map(|lost| format!("Not in the backup: {lost}.")));
    lines.extend(found.damaged.iter().map(|fault| format!("Damaged in the backup: {fault}.")));
    lines.push(match found.has_key {
        true => "Receipts are signed with the same key as before, which is back too.".to_owned(),
        false => new_key.to_owned(),
    });
    lines
}

/// Writes the log; answers with its new name once all of it is on disk.
fn write(file: &Path, directory: &Path, sound: &Sound, damage: Damage) -> Result<LogId, OfflineError> {
    let failed = |path: &Path, source| OfflineError::Files { path: path.to_owned(), source };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let source = File::open(file).map_err(|error| failed(file, error))?;
    let mut reader = BackupReader::open(BufReader::new(source))?;
    let log = SledLog::open(directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| failed(directory, error))?;
    runtime.block_on(async {
        let mut copy = Copy { log: &log, under_way: VecDeque::new(), bytes: 0 };
        while let Some(item) = reader.next_entry()? {
            copy.put(item).await?;
        }
        while copy.settle_one().await? {}
        Ok::<(), OfflineError>(())
    })?;
    let head = log.head();
    if head.revision != sound.header.last || head.hash != sound.header.hash {
        return Err(OfflineError::Changed);
    }
    if kept::read(&mut reader, damage, Some(&directory.join(GATE)))? != sound.kept {
        return Err(OfflineError::Changed);
    }
    let folded = runtime.block_on(append_kills(&log, sound))?;
    let checkpoint = StoredCheckpoint { anchor: log.head(), bytes: folded.to_checkpoint().encode() };
    if let Err(error) = log.store_checkpoint(&checkpoint) {
        // The first start folds the entries instead.
        tracing::warn!(%error, "no checkpoint was stored");
    }
    Ok(log.log_id().clone())
}

/// Puts the kills that the log had not taken after its entries: what was killed stays so. Answers with the fold.
async fn append_kills(log: &SledLog, sound: &Sound) -> Result<Snapshot, OfflineError> {
    let mut folded = sound.folded.clone();
    for kill in &sound.kills {
        let entry = kill.as_entry(log.head());
        let written = log.append(Expect::Any, entry.encode().into()).await.map_err(OfflineError::Append)?;
        folded = folded.apply(written.revision, written.hash, &entry);
    }
    Ok(folded)
}

/// An entry on its way into a log.
struct UnderWay {
    /// Where it has to be in the end.
    expected: Anchor,
    bytes: usize,
    append: BoxFuture<'static, Result<Anchor, AppendError>>,
}

/// Entries on their way into a log.
struct Copy<'l> {
    log: &'l SledLog,
    under_way: VecDeque<UnderWay>,
    bytes: usize,
}

impl Copy<'_> {
    async fn put(&mut self, item: Item) -> Result<(), OfflineError> {
        let bytes = item.bytes.len();
        while self.under_way.len() >= UNDER_WAY || self.bytes + bytes > BYTES_UNDER_WAY {
            self.settle_one().await?;
        }
        let expected = Anchor { revision: item.revision, hash: item.hash };
        let append = self.log.append(Expect::Any, item.bytes.into());
        self.under_way.push_back(UnderWay { expected, bytes, append });
        self.bytes += bytes;
        Ok(())
    }

    /// Waits for the oldest; `false`: there is none.
    async fn settle_one(&mut self) -> Result<bool, OfflineError> {
        let Some(oldest) = self.under_way.pop_front() else { return Ok(false) };
        self.bytes -= oldest.bytes;
        let written = oldest.append.await.map_err(OfflineError::Append)?;
        if written == oldest.expected { Ok(true) } else { Err(OfflineError::Changed) }
    }
}
