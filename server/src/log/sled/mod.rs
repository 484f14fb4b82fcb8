//! The embedded log, on sled 0.34.
//!
//! What sled leaves to us, and where: its `flush` does not sync the device, so the writer follows it with
//! an fdatasync (`writer`); its concurrent flushes can deadlock, so there is one writer thread; pages
//! over 128 KB go to files that it never syncs, so entries are stored in small parts (`rows`); a full
//! disk ruins it until it is reopened, so space is claimed before it is written (`space`), and a ruined
//! database is reopened all the same (`writer`); a flush may never return, so the writer is watched, and a log
//! that hangs is given up (`watch`). A snapshot that it began to write and did not finish keeps
//! it from opening, so such are removed first.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use rollout_rules::ids::{LogId, Revision};

use super::checkpoints::CheckpointFiles;
use super::durable::{Durable, History};
use super::{
    Anchor, AppendError, BoxFuture, ChangeLog, CheckpointError, Expect, LogEntry, MAX_ENTRY_BYTES, OpenError,
    ReadError, StoredCheckpoint, Tail,
};

mod rows;
mod space;
mod watch;
mod writer;

use rows::Rows;
pub use watch::Patience;
use watch::{Pulse, Steps};
use writer::{Submission, Writer};

/// Most of the database that sled keeps in memory, in bytes as they lie on disk; in memory they take about twice that. Each of
/// its 256 shards keeps the page that it used last, whatever is set here, and looks at every 64th read. Entries are read
/// rarely, since the log itself keeps the recent ones.
const CACHE_BYTES: u64 = 1024 * 1024;
/// How often, and how far apart, a database whose file is locked is tried.
const CLOSING_TRIES: u32 = 500;
const CLOSING_PAUSE: Duration = Duration::from_millis(2);
/// Kept aside so that a database on a full disk can still be opened, in bytes.
const BALLAST_BYTES: u64 = 4 * 1024 * 1024;

/// The log on disk. Dropping it closes it: what was queued is still written.
pub struct SledLog {
    id: LogId,
    durable: Arc<Durable>,
    store: Arc<SharedStore>,
    db_file: PathBuf,
    checkpoints: CheckpointFiles,
    submissions: Option<std::sync::mpsc::SyncSender<Submission>>,
    writer: Option<JoinHandle<()>>,
    watcher: Option<JoinHandle<()>>,
    pulse: Arc<tokio::sync::watch::Sender<Pulse>>,
}

/// An open database.
#[derive(Clone)]
pub(super) struct Store {
    db: ::sled::Db,
    entries: Rows,
}

/// The database that is open now, if any: while it is being reopened there is none.
#[derive(Default)]
pub(super) struct SharedStore(RwLock<Option<Store>>);

impl SharedStore {
    fn set(&self, store: Option<Store>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = store;
    }

    /// The anchor after an entry; `None` if it is not there.
    fn anchor(&self, revision: Revision) -> Result<Option<Anchor>, CheckpointError> {
        if revision == Revision::ZERO {
            return Ok(Some(Anchor::default()));
        }
        let store = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let store = store.as_ref().ok_or_else(|| io::Error::other("the database is being reopened"))?;
        store.entries.anchor(revision).map_err(|error| CheckpointError::Unavailable(Arc::new(error)))
    }
}

impl History for SharedStore {
    fn read(&self, after: Revision, up_to: Revision, limit: usize) -> Result<Vec<LogEntry>, ReadError> {
        let store = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let store = store.as_ref().ok_or_else(|| {
            ReadError::Unavailable(Arc::new(io::Error::other("the database is being reopened")))
        })?;
        store.entries.read(after, up_to, limit)
    }
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The last entry.
    pub head: Anchor,
    /// Whether something unfinished lies after it, which the next start drops.
    pub torn: bool,
}

impl SledLog {
    /// Opens the log in a directory, making it if it is not there, and checks the whole chain in one pass:
    /// a checkpoint spares folding the entries before it, not checking them. Whoever calls it holds the
    /// directory's [lock](super::lock::DirectoryLock).
    ///
    /// A torn tail is dropped. Any other break, and a checkpoint of entries that are no longer there,
    /// are refused.
    pub fn open(directory: &Path) -> Result<SledLog, OpenError> {
        SledLog::open_with(directory, Patience::default())
    }

    /// The same, with another patience for a disk that hangs.
    pub fn open_with(directory: &Path, patience: Patience) -> Result<SledLog, OpenError> {
        let checkpoints = CheckpointFiles::open(&directory.join("checkpoints"))
            .map_err(|error| OpenError::storage("making", directory.join("checkpoints"), error))?;
        let place = Place { directory: directory.join("log"), ballast: directory.join("ballast") };
        let store = place.open()?;
        let id = place.log_id(&store)?;
        let (head, torn) = store
            .entries
            .verify(Anchor::default(), &mut |_| {})
            .map_err(|problem| problem.into_open_error(&place))?;
        refuse_lost(head, &checkpoints)?;
        if torn {
            tracing::warn!(revision = %head.revision, "dropping an unfinished entry at the end of the log");
            store.entries.cut_after(head.revision).map_err(|error| place.failed("cutting", error))?;
            // Before it is closed, which would pass over an error; nobody looks for what is torn again.
            place.sync(&store)?;
        }
        // The check left every leaf in memory: sled lets a page go only once 64 others of its shard were read.
        drop(store);
        let store = place.open()?;
        place.sync(&store)?;
        let db_file = place.db_file();
        let durable = Durable::new(head);
        let shared = Arc::new(SharedStore::default());
        shared.set(Some(store.clone()));
        let (submissions, queue) = std::sync::mpsc::sync_channel(writer::MAX_QUEUED);
        let steps = Arc::new(Steps::default());
        let pulse = Arc::new(tokio::sync::watch::Sender::new(Pulse::Beats));
        let (ends, ended) = std::sync::mpsc::channel::<()>();
        let writer =
            Writer::new(place, store, Arc::clone(&durable), Arc::clone(&shared), Arc::clone(&steps))?;
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
            thread.map_err(|error| OpenError::storage("starting the writer of", directory, error))
        };
        let writer = start(
            "tidegate-log",
            Box::new(move || {
                writer.run(&queue);
                drop(ends);
            }),
        )?;
        let (told, followed) = (Arc::clone(&pulse), Arc::clone(&durable));
        let watcher = start(
            "tidegate-watch",
            Box::new(move || watch::watch(patience, &steps, &ended, &told, &followed)),
        )?;
        Ok(SledLog {
            id,
            durable,
            store: shared,
            db_file,
            checkpoints,
            submissions: Some(submissions),
            writer: Some(writer),
            watcher: Some(watcher),
            pulse,
        })
    }
}

/// Checks the whole chain of a log that no server has open, from its first entry on.
pub fn verify(directory: &Path) -> Result<Verified, OpenError> {
    audit(directory, &mut |_| {}).map(|(_, verified)| verified)
}

/// The same, and hands each good entry on, in order. Gives the log's name, if it has one, too. Nothing is cut, and
/// of a log that is refused the good entries before the break were handed on.
pub fn audit(
    directory: &Path,
    each: &mut dyn FnMut(&LogEntry),
) -> Result<(Option<LogId>, Verified), OpenError> {
    let place = Place { directory: directory.join("log"), ballast: directory.join("ballast") };
    let store = place.open()?;
    let checked = store.entries.verify(Anchor::default(), each);
    let (head, torn) = checked.map_err(|problem| problem.into_open_error(&place))?;
    let checkpoints = CheckpointFiles::open(&directory.join("checkpoints"))
        .map_err(|error| OpenError::storage("opening", directory.join("checkpoints"), error))?;
    refuse_lost(head, &checkpoints)?;
    Ok((place.stored_id(&store)?, Verified { head, torn }))
}

/// A checkpoint is made of durable entries only: a log that ends before it has lost some.
fn refuse_lost(head: Anchor, checkpoints: &CheckpointFiles) -> Result<(), OpenError> {
    let failed = |error| OpenError::storage("reading", "checkpoints", error);
    // Only one that is named as a later one is worth reading: it may be large.
    let revisions = checkpoints.revisions().map_err(failed)?;
    if revisions.last().is_none_or(|newest| *newest <= head.revision) {
        return Ok(());
    }
    let newest = checkpoints.load(Revision(u64::MAX));
    match newest.map_err(|error| OpenError::storage("reading", "checkpoints", error))? {
        Some(checkpoint) if checkpoint.anchor.revision > head.revision => Err(OpenError::Broken {
            last_good: head.revision,
            problem: "a checkpoint holds later entries, which were durable and are gone",
        }),
        _ => Ok(()),
    }
}

impl ChangeLog for SledLog {
    fn log_id(&self) -> &LogId {
        &self.id
    }

    fn head(&self) -> Anchor {
        self.durable.head()
    }

    fn append(&self, expect: Expect, entry: Arc<[u8]>) -> BoxFuture<'static, Result<Anchor, AppendError>> {
        if entry.len() > MAX_ENTRY_BYTES {
            return Box::pin(std::future::ready(Err(AppendError::TooLarge { bytes: entry.len() })));
        }
        let mut pulse = self.pulse.subscribe();
        if *pulse.borrow() != Pulse::Beats {
            let cause = io::Error::new(ErrorKind::TimedOut, "the writer hangs");
            return Box::pin(std::future::ready(Err(AppendError::Unavailable(Arc::new(cause)))));
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let queued = match &self.submissions {
            Some(queue) => queue.try_send(Submission { expect, entry, reply }).is_ok(),
            None => false,
        };
        if !queued {
            let cause = io::Error::new(ErrorKind::WouldBlock, "the writer's queue is full");
            return Box::pin(std::future::ready(Err(AppendError::Unavailable(Arc::new(cause)))));
        }
        Box::pin(async move {
            tokio::select! {
                biased;
                answer = answer => answer.unwrap_or(Err(AppendError::Unknown)),
                // It is queued, and may be written if the writer goes on.
                _ = pulse.wait_for(|pulse| *pulse != Pulse::Beats) => Err(AppendError::Unknown),
            }
        })
    }

    fn tail(&self, after: Revision) -> Result<Box<dyn Tail>, ReadError> {
        let history: Arc<dyn History> = self.store.clone();
        self.durable.tail(after, history)
    }

    fn load_checkpoint(&self, at_most: Revision) -> Result<Option<StoredCheckpoint>, CheckpointError> {
        let mut at_most = at_most;
        while let Some(checkpoint) = self.checkpoints.load(at_most)? {
            let revision = checkpoint.anchor.revision;
            if self.store.anchor(revision)? == Some(checkpoint.anchor) {
                return Ok(Some(checkpoint));
            }
            tracing::warn!(%revision, "a checkpoint is not of this log; using an older one");
            let Some(before) = revision.0.checked_sub(1) else { break };
            at_most = Revision(before);
        }
        Ok(None)
    }

    fn store_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), CheckpointError> {
        self.checkpoints.store(checkpoint)
    }
}

impl Drop for SledLog {
    fn drop(&mut self) {
        self.submissions = None;
        // It ends when the writer has, or is given up.
        if let Some(watcher) = self.watcher.take()
            && watcher.join().is_err()
        {
            tracing::error!("the thread that watches the log's writer panicked");
        }
        if *self.pulse.borrow() == Pulse::GivenUp {
            tracing::error!("the log is left to a writer that hangs");
            return;
        }
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
        self.store.set(None);
        wait_until_closed(&self.db_file);
    }
}

/// Waits, for at most a second, until sled's own threads have let go of the file of a database that was closed.
fn wait_until_closed(db_file: &Path) {
    let Ok(file) = File::open(db_file) else { return };
    for _ in 0..CLOSING_TRIES {
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok() {
            return;
        }
        std::thread::sleep(CLOSING_PAUSE);
    }
}

/// Where a database lives, and how it is opened.
pub(super) struct Place {
    directory: PathBuf,
    ballast: PathBuf,
}

impl Place {
    fn db_file(&self) -> PathBuf {
        self.directory.join("db")
    }

    fn failed(&self, doing: &'static str, error: ::sled::Error) -> OpenError {
        OpenError::storage(doing, &self.directory, error)
    }

    /// Opens the database; on a full disk, with the space of the ballast, which is put back when there
    /// is some.
    fn open(&self) -> Result<Store, OpenError> {
        let store = match self.try_open() {
            Err(error) if is_full(&error) && fs::remove_file(&self.ballast).is_ok() => {
                tracing::warn!("the disk is full; opening the log in the space kept aside for this");
                self.try_open()
            }
            other => other,
        };
        let store = store.map_err(|error| self.failed("opening the log in", error))?;
        if fs::metadata(&self.ballast).is_err()
            && let Err(error) = space::claim_file(&self.ballast, BALLAST_BYTES)
        {
            tracing::warn!(%error, "no space to keep aside for opening the log on a full disk");
        }
        Ok(store)
    }

    /// Opens the database. No other process has it, as the directory's lock is ours; but threads of sled let go
    /// of the file's lock only a moment after the last handle of a database that was closed.
    fn try_open(&self) -> Result<Store, ::sled::Error> {
        let mut tries = CLOSING_TRIES;
        loop {
            match self.open_once() {
                Err(error) if tries > 0 && is_locked(&error) => {
                    tries -= 1;
                    std::thread::sleep(CLOSING_PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    fn open_once(&self) -> Result<Store, ::sled::Error> {
        self.remove_unfinished_snapshots()?;
        let db = ::sled::Config::new()
            .path(&self.directory)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .open()?;
        let entries = Rows::new(db.open_tree("entries")?);
        db.flush()?;
        Ok(Store { db, entries })
    }

    /// When sled opens, it writes a snapshot of its page table beside its place and renames it. If that is
    /// cut short, it later takes what is left for the newest snapshot, and refuses to open.
    fn remove_unfinished_snapshots(&self) -> io::Result<()> {
        let files = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        for file in files {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "generating") {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn stored_id(&self, store: &Store) -> Result<Option<LogId>, OpenError> {
        let stored = store.db.get("log id").map_err(|error| self.failed("reading", error))?;
        let id = stored.map(|id| LogId::new(&String::from_utf8_lossy(&id))).transpose();
        id.map_err(|error| OpenError::storage("reading", &self.directory, error))
    }

    fn log_id(&self, store: &Store) -> Result<LogId, OpenError> {
        if let Some(id) = self.stored_id(store)? {
            return Ok(id);
        }
        let id = format!("{:016x}", rand::random::<u64>());
        store.db.insert("log id", id.as_str()).map_err(|error| self.failed("writing", error))?;
        LogId::new(&id).map_err(|error| OpenError::storage("naming", &self.directory, error))
    }

    /// Puts everything that opening wrote on the device, directory entries included.
    fn sync(&self, store: &Store) -> Result<(), OpenError> {
        store.db.flush().map_err(|error| self.failed("flushing", error))?;
        let parent = self.directory.parent().unwrap_or(Path::new("."));
        for path in [&self.db_file(), &self.directory.join("conf"), &self.directory, parent] {
            File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(|error| OpenError::storage("syncing", path, error))?;
        }
        Ok(())
    }
}

/// Whether the file is locked, of which sled gives no other sign.
fn is_locked(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(error) if error.to_string().starts_with("could not acquire lock"))
}

/// Whether sled failed for want of space.
fn is_full(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(error)
        if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}
