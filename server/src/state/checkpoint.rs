//! Checkpoints: stored copies of the fold, written beside the work by a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use rollout_rules::change::Anchor;
use rollout_rules::ids::Revision;
use rollout_rules::snapshot::{Checkpoint, Snapshot};
use rollout_rules::time::{DurationMs, UnixMs};

use crate::clock::Clock;
use crate::log::{ChangeLog, CheckpointError, StoredCheckpoint};

/// Entries after which a checkpoint is due: about what folds in a fifth of a second at start-up.
const EVERY_ENTRIES: u64 = 10_000;
/// After a checkpoint that took so long, the next one waits so many times as long: however much there is
/// to store, and however fast it changes, only a tenth of a core goes into it.
const REST: u64 = 9;
/// Time after which a checkpoint is due, if there is anything new.
const EVERY: DurationMs = DurationMs(10 * 60 * 1000);

/// Decides when a checkpoint is due, and has it written.
pub(super) struct Checkpoints {
    jobs: Option<SyncSender<Arc<Snapshot>>>,
    writer: Option<JoinHandle<()>>,
    last: Revision,
    last_at: UnixMs,
    /// Milliseconds since 1970; the thread sets it.
    rest_until: Arc<AtomicU64>,
}

impl Checkpoints {
    pub(super) fn start(
        log: Arc<dyn ChangeLog>,
        last: Revision,
        clock: Clock,
        now: UnixMs,
    ) -> std::io::Result<Checkpoints> {
        let (jobs, queue) = sync_channel::<Arc<Snapshot>>(1);
        let rest_until = Arc::new(AtomicU64::new(0));
        let rest = Arc::clone(&rest_until);
        let writer =
            std::thread::Builder::new().name("tidegate-checkpoints".to_owned()).spawn(move || {
                while let Ok(snapshot) = queue.recv() {
                    let began = clock.now();
                    if let Err(error) = store(log.as_ref(), &snapshot) {
                        tracing::warn!(%error, revision = %snapshot.revision(), "no checkpoint was stored");
                    }
                    let ended = clock.now();
                    let next = ended.plus(DurationMs(REST * ended.since(began).0));
                    rest.store(next.0, Ordering::Relaxed);
                }
            })?;
        Ok(Checkpoints { jobs: Some(jobs), writer: Some(writer), last, last_at: now, rest_until })
    }

    /// Has a checkpoint written if one is due and the last one is done.
    pub(super) fn consider(&mut self, snapshot: &Arc<Snapshot>, now: UnixMs) {
        let new = snapshot.revision().0.saturating_sub(self.last.0);
        let due = new >= EVERY_ENTRIES || (new > 0 && now.since(self.last_at) >= EVERY);
        if due && now.0 >= self.rest_until.load(Ordering::Relaxed) {
            self.write(snapshot, now);
        }
    }

    fn write(&mut self, snapshot: &Arc<Snapshot>, now: UnixMs) {
        let taken = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(Arc::clone(snapshot)).is_ok());
        if taken {
            self.last = snapshot.revision();
            self.last_at = now;
        }
    }

    /// Writes a last one, so that the next start is quick, and waits for it.
    pub(super) fn finish(mut self, snapshot: &Arc<Snapshot>) {
        if let Some(jobs) = self.jobs.take()
            && snapshot.revision() > self.last
        {
            // An error means that the thread is gone, which the join tells.
            let _ = jobs.send(Arc::clone(snapshot));
        }
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread that writes checkpoints panicked");
        }
    }
}

fn store(log: &dyn ChangeLog, snapshot: &Snapshot) -> Result<(), CheckpointError> {
    let bytes = snapshot.to_checkpoint().encode();
    let anchor = Anchor { revision: snapshot.revision(), hash: snapshot.hash() };
    log.store_checkpoint(&StoredCheckpoint { anchor, bytes })
}

/// The newest checkpoint that can be read, as a snapshot; an empty one if there is none.
pub(super) fn load(log: &dyn ChangeLog) -> Result<Snapshot, CheckpointError> {
    load_at(log, log.head().revision)
}

/// The newest checkpoint at or before a revision that can be read, as a snapshot; an empty one if there is none.
pub(super) fn load_at(log: &dyn ChangeLog, mut at_most: Revision) -> Result<Snapshot, CheckpointError> {
    while let Some(stored) = log.load_checkpoint(at_most)? {
        let revision = stored.anchor.revision;
        let checkpoint = Checkpoint::decode(&stored.bytes);
        // It is large, and what it becomes is larger.
        drop(stored);
        match checkpoint.map(Snapshot::from_checkpoint) {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) => tracing::warn!(%revision, %error, "passing over a checkpoint"),
        }
        let Some(older) = revision.0.checked_sub(1) else { break };
        at_most = Revision(older);
    }
    Ok(Snapshot::default())
}
