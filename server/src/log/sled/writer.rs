//! The one thread that writes. It takes whatever has queued, writes it as one batch, flushes, syncs the
//! device, and only then tells anybody.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rollout_rules::ids::Revision;
use tokio::sync::oneshot;

use super::space::{Claim, Full, MAX_BATCH_BYTES};
use super::watch::Steps;
use super::{Place, SharedStore, Store, is_full};
use crate::log::durable::Durable;
use crate::log::{Anchor, AppendError, Cause, Expect, LogEntry, OpenError};

/// Most appends waiting for the writer; more are refused as unavailable.
pub(super) const MAX_QUEUED: usize = 4096;
/// Most entries in one batch.
const MAX_BATCH: usize = 512;
/// How often a ruined database is opened anew until it works.
const REOPEN_EVERY: Duration = Duration::from_millis(250);

/// One append on its way to the writer.
pub(super) struct Submission {
    pub(super) expect: Expect,
    pub(super) entry: Arc<[u8]>,
    pub(super) reply: oneshot::Sender<Result<Anchor, AppendError>>,
}

pub(super) struct Writer {
    place: Place,
    disk: Disk,
    durable: Arc<Durable>,
    shared: Arc<SharedStore>,
    steps: Arc<Steps>,
}

/// The database as the writer has it.
enum Disk {
    Open {
        store: Store,
        file: File,
        claim: Claim,
    },
    /// A write failed; sled is of no more use until it is opened anew.
    Ruined(Failure),
}

#[derive(Clone)]
enum Failure {
    Full,
    Other(Cause),
}

impl From<sled::Error> for Failure {
    fn from(error: sled::Error) -> Failure {
        if is_full(&error) { Failure::Full } else { Failure::Other(Arc::new(error)) }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::from(sled::Error::from(error))
    }
}

impl From<Failure> for AppendError {
    fn from(failure: Failure) -> AppendError {
        match failure {
            Failure::Full => AppendError::Full,
            Failure::Other(cause) => AppendError::Unavailable(cause),
        }
    }
}

/// Entries that fit onto the head, and who waits for them.
struct Group {
    entries: Vec<LogEntry>,
    replies: Vec<oneshot::Sender<Result<Anchor, AppendError>>>,
}

impl Disk {
    fn open(place: &Place, store: Store) -> Result<Disk, OpenError> {
        let path = place.db_file();
        let open = || {
            let file = File::options().read(true).write(true).open(&path)?;
            Ok((file.try_clone()?, file))
        };
        let (file, claimed) =
            open().map_err(|error: io::Error| OpenError::storage("opening", &path, error))?;
        Ok(Disk::Open { store, file, claim: Claim::new(claimed) })
    }
}

impl Writer {
    pub(super) fn new(
        place: Place,
        store: Store,
        durable: Arc<Durable>,
        shared: Arc<SharedStore>,
        steps: Arc<Steps>,
    ) -> Result<Writer, OpenError> {
        let disk = Disk::open(&place, store)?;
        Ok(Writer { place, disk, durable, shared, steps })
    }

    /// Runs until nobody can append any more.
    pub(super) fn run(mut self, queue: &Receiver<Submission>) {
        loop {
            let received = match self.disk {
                Disk::Open { .. } => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Disk::Ruined(_) => queue.recv_timeout(REOPEN_EVERY),
            };
            self.steps.turn();
            match received {
                Ok(first) => {
                    let submissions = drain(first, queue);
                    self.handle(submissions);
                }
                Err(RecvTimeoutError::Timeout) => self.reopen(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.steps.turn();
        }
    }

    fn handle(&mut self, submissions: Vec<Submission>) {
        self.reopen();
        let group = self.group(submissions);
        if group.entries.is_empty() {
            return;
        }
        let anchors: Vec<Anchor> = group.entries.iter().map(LogEntry::anchor).collect();
        let written = self.write(group.entries);
        for (reply, anchor) in group.replies.into_iter().zip(anchors) {
            // Whoever asked may have gone.
            let _ = reply.send(written.clone().map(|()| anchor));
        }
    }

    /// Chains the submissions onto the head; those that expected another one are told at once.
    fn group(&self, submissions: Vec<Submission>) -> Group {
        let mut head = self.durable.head();
        let mut group = Group { entries: Vec::new(), replies: Vec::new() };
        for Submission { expect, entry, reply } in submissions {
            if let Expect::At(expected) = expect
                && expected != head
            {
                let _ = reply.send(Err(AppendError::Conflict { head: head.revision }));
                continue;
            }
            let hash = head.hash.chain(&entry);
            let entry = LogEntry { revision: head.revision.next(), hash, bytes: entry };
            head = entry.anchor();
            group.entries.push(entry);
            group.replies.push(reply);
        }
        group
    }

    /// Writes, syncs and shows entries.
    fn write(&mut self, entries: Vec<LogEntry>) -> Result<(), AppendError> {
        let (store, file, claim) = match &mut self.disk {
            Disk::Open { store, file, claim } => (store, file, claim),
            Disk::Ruined(failure) => return Err(failure.clone().into()),
        };
        match claim.hold(entries.iter().map(|entry| entry.bytes.len()).sum()) {
            Ok(Ok(())) => {}
            Ok(Err(Full)) => return Err(AppendError::Full),
            Err(error) => return Err(AppendError::Unavailable(Arc::new(error))),
        }
        let written = store.entries.write(&entries).and_then(|()| store.db.flush()).map_err(Failure::from);
        self.steps.next();
        let Err(failure) = written.and_then(|_| file.sync_data().map_err(Failure::from)) else {
            self.durable.publish(entries);
            return Ok(());
        };
        tracing::error!(failure = %AppendError::from(failure.clone()), "writing the log failed; reopening it");
        self.disk = Disk::Ruined(failure.clone());
        self.shared.set(None);
        self.steps.next();
        self.reopen();
        let last = entries.last().map(LogEntry::anchor).unwrap_or_default();
        match self.disk {
            Disk::Ruined(_) => Err(AppendError::Unknown),
            // Reopening found and showed it: sled recovers a row, and a batch, whole or not at all.
            Disk::Open { .. } if self.durable.head() == last => Ok(()),
            Disk::Open { .. } => Err(failure.into()),
        }
    }

    /// Opens a ruined database anew, if it lets us, and shows what it turns out to hold.
    fn reopen(&mut self) {
        if !matches!(self.disk, Disk::Ruined(_)) {
            return;
        }
        match self.try_reopen() {
            Ok(found) => {
                tracing::info!(revision = %self.durable.head().revision, "the log is open again");
                self.durable.publish(found);
            }
            Err(error) => tracing::debug!(%error, "the log does not open yet"),
        }
    }

    fn try_reopen(&mut self) -> Result<Vec<LogEntry>, OpenError> {
        let head = self.durable.head();
        let store = self.place.open()?;
        let checked = store
            .entries
            .verify(head, &mut |_| {})
            .map_err(|problem| problem.into_open_error(&self.place))?;
        let (found, torn) = checked;
        if store.entries.anchor(head.revision).ok().flatten().unwrap_or_default() != head {
            return Err(OpenError::Broken {
                last_good: Revision::ZERO,
                problem: "the last durable entry is gone",
            });
        }
        if torn {
            store
                .entries
                .cut_after(found.revision)
                .map_err(|error| OpenError::storage("cutting", self.place.db_file(), error))?;
        }
        self.place.sync(&store)?;
        let limit = usize::try_from(found.revision.0 - head.revision.0).unwrap_or(usize::MAX);
        let entries = store
            .entries
            .read(head.revision, found.revision, limit)
            .map_err(|error| OpenError::storage("reading", self.place.db_file(), error))?;
        self.disk = Disk::open(&self.place, store.clone())?;
        self.shared.set(Some(store));
        Ok(entries)
    }
}

/// What has queued so far, up to the bounds of a batch.
fn drain(first: Submission, queue: &Receiver<Submission>) -> Vec<Submission> {
    let mut bytes = first.entry.len();
    let mut submissions = vec![first];
    // The bound holds for all but the last one, and `MAX_BATCH_BYTES` leaves room for that.
    while submissions.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES - crate::log::MAX_ENTRY_BYTES {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.entry.len();
        submissions.push(next);
    }
    submissions
}
