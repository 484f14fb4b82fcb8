//! The folder of the gate where no server runs: filled from a backup, or looked through.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use rollout_rules::gate::decision::Decided;
use rollout_rules::ids::Digest;
use rollout_rules::snapshot::Snapshot;

use super::files::{Batch, Files};
use super::named::{decisions, files_of};
use super::trust::receipt_key::{ReceiptKey, ReceiptKeyError};
use super::{FILES, KEY};

/// A pack ends with the file that makes it longer than this, in bytes: files of decisions made one after the other go together.
const PACK_BYTES: u64 = 8 * 1024 * 1024;

/// A folder that is being filled.
pub struct Refill {
    files: Files,
    batch: Batch,
}

impl Refill {
    /// Makes the folder.
    pub fn begin(folder: &Path) -> io::Result<Refill> {
        let files = Files::open(&folder.join(FILES))?;
        let batch = files.batch();
        Ok(Refill { files, batch })
    }

    /// Puts the key there, readable by its owner alone.
    pub fn key(folder: &Path, pem: &[u8]) -> Result<(), ReceiptKeyError> {
        ReceiptKey::put_back(&folder.join(KEY), pem)
    }

    /// Begins a file.
    pub fn begin_file(&mut self, name: Digest, bytes: u64) -> io::Result<()> {
        self.batch.begin(name, bytes)
    }

    /// Adds the next bytes of it.
    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.batch.piece(bytes)
    }

    /// Ends it, as it was begun.
    pub fn end_file(&mut self, name: Digest, bytes: u64) -> io::Result<()> {
        self.batch.end(name, bytes);
        if self.batch.bytes() < PACK_BYTES {
            return Ok(());
        }
        self.files.keep(std::mem::replace(&mut self.batch, self.files.batch()))
    }

    /// Forgets it: it was not what its name says.
    pub fn take_back(&mut self) -> io::Result<()> {
        self.batch.take_back()
    }

    /// All of it is on disk then.
    pub fn end(self) -> io::Result<()> {
        self.files.keep(self.batch)
    }
}

/// What a look at the files shows.
#[derive(Default)]
pub struct Looked {
    /// How many decisions there are.
    pub decisions: usize,
    /// Of how many of them a file is not there: retention removed it, or it is lost.
    pub without: usize,
    /// The files that are what their names say.
    pub whole: usize,
    /// Those that are not, each with the newest decision that names it.
    pub torn: Vec<(Digest, Arc<Decided>)>,
}

/// Looks whether the files that decisions name are what their names say. Changes nothing. None: there is no folder of the gate.
pub fn look_through(folder: &Path, snapshot: &Snapshot) -> io::Result<Option<Looked>> {
    let Some(files) = Files::look(&folder.join(FILES))? else { return Ok(None) };
    let (mut seen, mut looked) = (BTreeSet::new(), Looked::default());
    for decided in decisions(snapshot) {
        looked.decisions += 1;
        let names: Vec<Digest> = files_of(&decided.decision).collect();
        looked.without += usize::from(!names.iter().all(|name| files.has(name)));
        for name in names.into_iter().filter(|name| seen.insert(*name)) {
            match files.whole(&name) {
                Ok(found) => looked.whole += usize::from(found.is_some()),
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    looked.torn.push((name, Arc::clone(decided)));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(looked))
}
