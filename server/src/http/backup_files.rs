//! What the gate keeps, on its way into a backup: the key, then file by file.

use std::io::{self, ErrorKind, Read as _};
use std::sync::Arc;
use std::vec::IntoIter;

use rollout_rules::gate::decision::Decided;
use rollout_rules::ids::Digest;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use crate::backup::{Encoder, LostFile};
use crate::gate::files::Source;
use crate::gate::{Gate, Hold};

/// Bytes of a file that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// The files that are to be copied. None of them goes meanwhile.
pub(super) struct KeptFiles {
    gate: Gate,
    _hold: Hold,
    count: u64,
    files: IntoIter<(Digest, Arc<Decided>)>,
    /// Whether the key was put.
    key_is_done: bool,
    /// The file that is under way, and how much of it is still to come.
    open: Option<(Source, u64)>,
}

impl KeptFiles {
    /// All that decisions name whose files are kept.
    pub(super) fn of(gate: Gate, hold: Hold, folded: &Snapshot, now: UnixMs) -> KeptFiles {
        let files = gate.kept_files(folded, now);
        let count = files.len() as u64;
        KeptFiles { gate, _hold: hold, count, files: files.into_iter(), key_is_done: false, open: None }
    }

    /// How many there are, those that are lost included.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Goes on until the piece is as long as this, or all is done. Says whether there is more.
    pub(super) fn fill(
        &mut self,
        encoder: &mut Encoder,
        piece: &mut Vec<u8>,
        most: usize,
    ) -> io::Result<bool> {
        if !self.key_is_done {
            encoder.key(self.gate.key().private_pem().as_bytes(), piece);
            self.key_is_done = true;
        }
        let mut block = vec![0; READ_BYTES];
        while piece.len() <= most {
            if let Some((source, rest)) = &mut self.open {
                if *rest == 0 {
                    encoder.file_ends(piece);
                    self.open = None;
                    continue;
                }
                let wanted = usize::try_from(*rest).unwrap_or(READ_BYTES).min(READ_BYTES);
                // It was whole a moment ago: a file that is shorter now breaks the backup off.
                source.read_exact(&mut block[..wanted])?;
                encoder.file_bytes(&block[..wanted], piece);
                *rest -= wanted as u64;
                continue;
            }
            let Some((name, decided)) = self.files.next() else { return Ok(false) };
            match self.gate.files().whole(&name) {
                Ok(Some(source)) => {
                    let bytes = source.length();
                    encoder.file(name, bytes, piece);
                    self.open = Some((source, bytes));
                }
                Ok(None) => lost(encoder, name, &decided, piece),
                // One file that is damaged is no reason to have no backup.
                Err(error) if error.kind() == ErrorKind::InvalidData => lost(encoder, name, &decided, piece),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn lost(encoder: &mut Encoder, file: Digest, decided: &Decided, piece: &mut Vec<u8>) {
    let (app, decision) = (decided.decision.app.clone(), decided.decision.id.clone());
    tracing::warn!(%app, %decision, %file, "a file of the gate is missing or damaged, and not in the backup");
    encoder.lost(&LostFile { file, app, decision }, piece);
}
