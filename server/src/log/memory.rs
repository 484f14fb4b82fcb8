//! A log that forgets everything when it is dropped, and misbehaves on request. For tests, simulations
//! and trying things out; several nodes may share one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use rollout_rules::ids::{LogId, Revision};
use tokio::sync::{oneshot, watch};

use super::checkpoints::spare;
use super::durable::{Durable, History};
use super::{
    Anchor, AppendError, BoxFuture, ChangeLog, CheckpointError, Expect, LogEntry, MAX_ENTRY_BYTES, ReadError,
    StoredCheckpoint, Tail,
};

/// What the next append meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The entry is written and nobody is told: the append ends as unknown.
    LoseAcknowledgement,
    /// The entry is lost on its way: the append ends as unknown, and nothing was written.
    LoseEntry,
    /// Refused as unavailable.
    Unavailable,
    /// Refused for want of space.
    Full,
}

/// The log in memory. Clones are the same log, for several nodes or for a test that looks on.
#[derive(Clone)]
pub struct MemoryLog(Arc<Inner>);

struct Inner {
    id: LogId,
    durable: Arc<Durable>,
    entries: Arc<Mutex<Vec<LogEntry>>>,
    checkpoints: Mutex<Vec<StoredCheckpoint>>,
    faults: Mutex<Faults>,
    held: Mutex<Option<Vec<Held>>>,
    held_count: watch::Sender<usize>,
}

struct Held {
    expect: Expect,
    entry: Arc<[u8]>,
    reply: oneshot::Sender<Result<Anchor, AppendError>>,
}

#[derive(Default)]
struct Faults {
    next: VecDeque<Fault>,
    always: Option<Fault>,
}

impl History for Mutex<Vec<LogEntry>> {
    fn read(&self, after: Revision, up_to: Revision, limit: usize) -> Result<Vec<LogEntry>, ReadError> {
        let entries = self.lock().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(after.0).unwrap_or(usize::MAX);
        let wanted = entries.iter().skip(from).take(limit);
        Ok(wanted.take_while(|entry| entry.revision <= up_to).cloned().collect())
    }
}

impl MemoryLog {
    /// An empty log of this name.
    pub fn new(id: LogId) -> MemoryLog {
        MemoryLog(Arc::new(Inner {
            id,
            durable: Durable::new(Anchor::default()),
            entries: Arc::default(),
            checkpoints: Mutex::default(),
            faults: Mutex::default(),
            held: Mutex::default(),
            held_count: watch::Sender::new(0),
        }))
    }

    /// The next append meets this fault, after those already asked for.
    pub fn fail_next(&self, fault: Fault) {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner).next.push_back(fault);
    }

    /// Every append meets this fault until told otherwise.
    pub fn fail_always(&self, fault: Option<Fault>) {
        self.0.faults.lock().unwrap_or_else(PoisonError::into_inner).always = fault;
    }

    /// Appends hang from now on: queued, written when [`release`](Self::release) is called.
    pub fn hold(&self) {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
    }

    /// Waits until so many appends hang.
    pub async fn held(&self, count: usize) {
        let mut counts = self.0.held_count.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = counts.wait_for(|held| *held >= count).await;
    }

    /// Ends a [`hold`](Self::hold).
    pub fn release(&self) {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.held_count.send_replace(0);
        for append in held.take().unwrap_or_default() {
            // Whoever asked may have gone; the entry is written all the same.
            let _ = append.reply.send(self.write(append.expect, append.entry));
        }
    }

    fn write(&self, expect: Expect, bytes: Arc<[u8]>) -> Result<Anchor, AppendError> {
        let fault = {
            let mut faults = self.0.faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.next.pop_front().or(faults.always)
        };
        match fault {
            Some(Fault::LoseEntry) => return Err(AppendError::Unknown),
            Some(Fault::Full) => return Err(AppendError::Full),
            Some(Fault::Unavailable) => {
                return Err(AppendError::Unavailable(Arc::new(std::io::Error::other("told to be"))));
            }
            Some(Fault::LoseAcknowledgement) | None => {}
        }
        let mut entries = self.0.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let head = self.0.durable.head();
        if let Expect::At(expected) = expect
            && expected != head
        {
            return Err(AppendError::Conflict { head: head.revision });
        }
        let entry = LogEntry { revision: head.revision.next(), hash: head.hash.chain(&bytes), bytes };
        let anchor = entry.anchor();
        entries.push(entry.clone());
        self.0.durable.publish([entry]);
        if fault.is_some() { Err(AppendError::Unknown) } else { Ok(anchor) }
    }
}

impl ChangeLog for MemoryLog {
    fn log_id(&self) -> &LogId {
        &self.0.id
    }

    fn head(&self) -> Anchor {
        self.0.durable.head()
    }

    fn append(&self, expect: Expect, entry: Arc<[u8]>) -> BoxFuture<'static, Result<Anchor, AppendError>> {
        if entry.len() > MAX_ENTRY_BYTES {
            return Box::pin(std::future::ready(Err(AppendError::TooLarge { bytes: entry.len() })));
        }
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = held.as_mut() else {
            return Box::pin(std::future::ready(self.write(expect, entry)));
        };
        let (reply, answer) = oneshot::channel();
        held.push(Held { expect, entry, reply });
        self.0.held_count.send_replace(held.len());
        Box::pin(async { answer.await.unwrap_or(Err(AppendError::Unknown)) })
    }

    fn tail(&self, after: Revision) -> Result<Box<dyn Tail>, ReadError> {
        let entries: Arc<dyn History> = self.0.entries.clone();
        self.0.durable.tail(after, entries)
    }

    fn load_checkpoint(&self, at_most: Revision) -> Result<Option<StoredCheckpoint>, CheckpointError> {
        let checkpoints = self.0.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest_first = checkpoints.iter().rev();
        Ok(newest_first.find(|checkpoint| checkpoint.anchor.revision <= at_most).cloned())
    }

    fn store_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), CheckpointError> {
        let mut checkpoints = self.0.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        checkpoints.retain(|other| other.anchor.revision != checkpoint.anchor.revision);
        checkpoints.push(checkpoint.clone());
        checkpoints.sort_by_key(|checkpoint| checkpoint.anchor.revision);
        let revisions: Vec<Revision> = checkpoints.iter().map(|other| other.anchor.revision).collect();
        let spare = spare(&revisions);
        checkpoints.retain(|checkpoint| !spare.contains(&checkpoint.anchor.revision));
        Ok(())
    }
}
