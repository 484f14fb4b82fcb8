//! Looking at every entry of a log whose chain holds: whether it is one, names an earlier one as it is, and makes
//! what the checkpoints say.

use std::collections::VecDeque;

use rollout_rules::change::{Anchor, Entry};
use rollout_rules::ids::{Digest, Revision};
use rollout_rules::snapshot::{Checkpoint, CheckpointError, Snapshot};

use super::Fault;
use crate::log::checkpoints::CheckpointFiles;

/// Most faults that are told; what follows from one is often as many as there are entries.
pub(super) const MAX_FAULTS: usize = 20;

/// Folds a log from its first entry on. Keeps the fold, and 32 bytes for each entry.
pub(super) struct Audit<'f> {
    /// The chain hash after each entry, from revision 0 on.
    hashes: Vec<Digest>,
    /// What the entries make; ends at the first that this program does not know.
    folded: Snapshot,
    stopped: bool,
    checkpoints: Option<&'f CheckpointFiles>,
    /// The revisions of those that are still ahead.
    ahead: VecDeque<Revision>,
    /// Those that agree with the fold.
    pub(super) agreeing: Vec<Revision>,
    /// Those of another form, which every start of this program passes over.
    pub(super) other_form: Vec<Revision>,
    faults: Vec<Fault>,
}

impl<'f> Audit<'f> {
    /// Without checkpoints.
    pub(super) fn new() -> Audit<'f> {
        Audit {
            hashes: vec![Digest::default()],
            folded: Snapshot::default(),
            stopped: false,
            checkpoints: None,
            ahead: VecDeque::new(),
            agreeing: Vec::new(),
            other_form: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// With the checkpoints of a data directory, which are compared on the way.
    pub(super) fn with(checkpoints: &'f CheckpointFiles) -> std::io::Result<Audit<'f>> {
        let ahead = checkpoints.revisions()?.into();
        Ok(Audit { checkpoints: Some(checkpoints), ahead, ..Audit::new() })
    }

    /// Looks at the next entry, which follows from the ones before.
    pub(super) fn entry(&mut self, at: Anchor, bytes: &[u8]) {
        match Entry::decode(bytes) {
            Ok(entry) => {
                if !self.is_earlier(entry.anchor, at.revision) {
                    self.fault(Fault::Anchor(at.revision));
                }
                if !self.stopped {
                    self.folded = self.folded.apply(at.revision, at.hash, &entry);
                }
            }
            Err(error) => {
                self.stopped = true;
                self.fault(Fault::Unknown(at.revision, error));
            }
        }
        self.hashes.push(at.hash);
        while self.ahead.front().is_some_and(|next| *next <= at.revision) {
            if let Some(revision) = self.ahead.pop_front() {
                self.compare(revision, at);
            }
        }
    }

    /// What was found; the fold, if nothing is wrong.
    pub(super) fn end(&mut self) -> Result<Snapshot, Vec<Fault>> {
        // A whole one that lies after the last entry was refused before; these cannot be read.
        for revision in std::mem::take(&mut self.ahead) {
            self.fault(Fault::DamagedCheckpoint(revision));
        }
        if self.faults.is_empty() { Ok(self.folded.clone()) } else { Err(std::mem::take(&mut self.faults)) }
    }

    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    fn is_earlier(&self, anchor: Anchor, than: Revision) -> bool {
        let index = usize::try_from(anchor.revision.0).ok();
        anchor.revision < than && index.and_then(|index| self.hashes.get(index)) == Some(&anchor.hash)
    }

    /// Compares the checkpoint of a revision with the fold there.
    fn compare(&mut self, revision: Revision, at: Anchor) {
        let Some(files) = self.checkpoints else { return };
        let stored = match files.load(revision) {
            // One that is damaged is passed over for an older one.
            Ok(Some(stored)) if stored.anchor.revision == revision => stored,
            _ => return self.fault(Fault::DamagedCheckpoint(revision)),
        };
        if stored.anchor != at {
            return self.fault(Fault::ForeignCheckpoint(revision));
        }
        let checkpoint = match Checkpoint::decode(&stored.bytes) {
            Ok(checkpoint) => checkpoint,
            Err(CheckpointError::Format { .. }) => return self.other_form.push(revision),
            Err(CheckpointError::Malformed { .. }) => return self.fault(Fault::DamagedCheckpoint(revision)),
        };
        if self.stopped {
            return;
        }
        // Both in today's form: an older program may have left out what has a default.
        let kept = Snapshot::from_checkpoint(checkpoint).to_checkpoint().encode();
        if kept == self.folded.to_checkpoint().encode() {
            self.agreeing.push(revision);
        } else {
            self.fault(Fault::WrongCheckpoint(revision));
        }
    }
}
