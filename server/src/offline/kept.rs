//! What the gate keeps, in a backup: looked through, and put into a folder where there is one to fill.

use std::collections::HashSet;
use std::io::BufRead;
use std::path::Path;

use rollout_rules::ids::Digest;
use rollout_rules::snapshot::Snapshot;

use super::{OfflineError, some};
use crate::backup::{BackupError, BackupReader, Kept, KeptFault, LostFile};
use crate::gate::folder::Refill;
use crate::gate::named::files_of;
use crate::gate::trust::receipt_key::ReceiptKeyError;

/// Most decisions that are named whose files are lost.
const SHOWN: usize = 10;

/// What to do where a file is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Refuse all of it.
    Refuse,
    /// Go on without.
    Accept,
}

/// What was found.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Whether the key is there and whole.
    pub(super) has_key: bool,
    /// The files that are there and whole.
    pub(super) files: HashSet<Digest>,
    /// Those that the server did not have.
    pub(super) lost: Vec<LostFile>,
    /// What is not as it was written.
    pub(super) damaged: Vec<KeptFault>,
}

impl Found {
    /// How many decisions a snapshot has, and of how many a file is not here.
    pub(super) fn decisions(&self, folded: &Snapshot) -> (usize, usize) {
        let (mut all, mut without) = (0, 0);
        for app in folded.apps(None) {
            for record in app.environments() {
                for decided in folded.decisions(&app.info().key, &record.environment().key) {
                    all += 1;
                    without +=
                        usize::from(!files_of(&decided.decision).all(|name| self.files.contains(&name)));
                }
            }
        }
        (all, without)
    }

    /// What the server did not have, in a sentence; empty: it had all.
    pub(super) fn lost_on_the_server(&self) -> String {
        let mut decisions: Vec<String> =
            self.lost.iter().map(|lost| format!("{} of {}", lost.decision, lost.app)).collect();
        decisions.dedup();
        let more = decisions.len().saturating_sub(SHOWN);
        decisions.truncate(SHOWN);
        if decisions.is_empty() {
            return String::new();
        }
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (count, named) = (some(self.lost.len(), "file"), decisions.join(", "));
        format!("{count}, missing or damaged on the server already, of decisions {named}{more}")
    }
}

/// Reads what follows the log to its end, and puts it into a folder of the gate if one is named. `None`: the backup has nothing of it.
pub(super) fn read<R: BufRead>(
    reader: &mut BackupReader<R>,
    damage: Damage,
    folder: Option<&Path>,
) -> Result<Option<Found>, OfflineError> {
    if reader.header().gate_files.is_none() {
        while reader.next_kept()?.is_some() {}
        return Ok(None);
    }
    let mut filling = match folder {
        Some(folder) => {
            Some((folder, Refill::begin(folder).map_err(|error| OfflineError::files(folder, error))?))
        }
        None => None,
    };
    let mut found = Found::default();
    loop {
        match one(reader, &mut found, &mut filling) {
            Ok(true) => {}
            Ok(false) => break,
            Err(OfflineError::Backup(BackupError::Kept(fault))) if damage == Damage::Accept => {
                found.damaged.push(fault);
                if !fault.is_of_one_file() {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    if let Some((folder, refill)) = filling {
        refill.end().map_err(|error| OfflineError::files(folder, error))?;
    }
    Ok(Some(found))
}

/// Reads what comes next. Says whether there was something.
fn one<R: BufRead>(
    reader: &mut BackupReader<R>,
    found: &mut Found,
    filling: &mut Option<(&Path, Refill)>,
) -> Result<bool, OfflineError> {
    match reader.next_kept()? {
        None => return Ok(false),
        Some(Kept::Lost(lost)) => found.lost.push(lost),
        Some(Kept::Key) => {
            let mut key = Vec::new();
            while let Some(piece) = reader.piece()? {
                key.extend_from_slice(piece);
            }
            if let Some((folder, _)) = filling {
                Refill::key(folder, &key).map_err(|error| match error {
                    ReceiptKeyError::File { path, source } => OfflineError::Files { path, source },
                    _ => OfflineError::Backup(BackupError::Kept(KeptFault::TornKey)),
                })?;
            }
            found.has_key = true;
        }
        Some(Kept::File { name, bytes }) => {
            let Some((folder, refill)) = filling else {
                while reader.piece()?.is_some() {}
                found.files.insert(name);
                return Ok(true);
            };
            fill(reader, refill, folder, name, bytes)?;
            found.files.insert(name);
        }
    }
    Ok(true)
}

/// Puts a file into the folder. One that is not what its name says is taken back.
fn fill<R: BufRead>(
    reader: &mut BackupReader<R>,
    refill: &mut Refill,
    folder: &Path,
    name: Digest,
    bytes: u64,
) -> Result<(), OfflineError> {
    let failed = |error| OfflineError::files(folder, error);
    refill.begin_file(name, bytes).map_err(failed)?;
    loop {
        match reader.piece() {
            Ok(Some(piece)) => refill.piece(piece).map_err(failed)?,
            Ok(None) => return refill.end_file(name, bytes).map_err(failed),
            Err(error) => {
                refill.take_back().map_err(failed)?;
                return Err(error.into());
            }
        }
    }
}
