//! The change log: entries in one total order, each durable before anybody sees it.
//!
//! The log deals in bytes; what they mean is the fold's business. Two engines: [`sled`] on one machine's
//! disk, and [`memory`] for tests. Both pass one conformance suite, as any further engine has to.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

pub use rollout_rules::change::{Anchor, MAX_ENTRY_BYTES};
use rollout_rules::ids::{Digest, LogId, Revision};

pub mod checkpoints;
#[cfg(test)]
mod conformance;
mod durable;
#[cfg(test)]
mod engines;
pub mod lock;
pub mod memory;
pub mod sled;

/// A future in a box, so that engines hide behind `dyn ChangeLog`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What went wrong underneath, for the operator's log. Never shown to a client.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// What an append asks of the log's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The last entry, appends under way included, is this one: at this place, and the same. The place alone is
    /// not enough: of several under way that expect each other, one may fail and another entry take its place.
    At(Anchor),
    /// Nothing: the entry goes wherever the log ends.
    Any,
}

/// One durable entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position.
    pub revision: Revision,
    /// The chain hash after it.
    pub hash: Digest,
    /// What was appended.
    pub bytes: Arc<[u8]>,
}

impl LogEntry {
    /// The entry's position and hash.
    pub fn anchor(&self) -> Anchor {
        Anchor { revision: self.revision, hash: self.hash }
    }
}

/// A stored fold of the log up to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// The entry it includes last.
    pub anchor: Anchor,
    /// The fold, in the form its writer chose.
    pub bytes: Vec<u8>,
}

/// Why an entry was not appended, or may not have been.
#[derive(Clone, Debug)]
pub enum AppendError {
    /// The log ends elsewhere; nothing was written. Decide again.
    Conflict {
        /// Where it ends.
        head: Revision,
    },
    /// It may or may not be in the log; the tail will show.
    Unknown,
    /// The log cannot be written now; nothing was written.
    Unavailable(Cause),
    /// There is no space for it; nothing was written.
    Full,
    /// It is larger than [`MAX_ENTRY_BYTES`]; nothing was written.
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Conflict { head } => write!(f, "the log has moved on to revision {head}"),
            AppendError::Unknown => f.write_str("it is not known whether the entry was written"),
            AppendError::Unavailable(_) => f.write_str("the log cannot be written now"),
            AppendError::Full => f.write_str("there is no space left for the log"),
            AppendError::TooLarge { bytes } => {
                write!(f, "the entry has {bytes} bytes; at most {MAX_ENTRY_BYTES} fit")
            }
        }
    }
}

impl Error for AppendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            AppendError::Unavailable(cause) => Some(cause.as_ref()),
            _ => None,
        }
    }
}

/// Why entries cannot be read.
#[derive(Clone, Debug)]
pub enum ReadError {
    /// The position asked for is after the last entry.
    Ahead {
        /// Where the log ends.
        head: Revision,
    },
    /// The log cannot be read now.
    Unavailable(Cause),
    /// What is stored is not what was written.
    Broken {
        /// The last entry that is as it was written.
        last_good: Revision,
    },
    /// The log hangs for good: only another process can open it again.
    Hangs,
    /// The log was closed.
    Closed,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Ahead { head } => write!(f, "the log ends at revision {head}"),
            ReadError::Unavailable(_) => f.write_str("the log cannot be read now"),
            ReadError::Broken { last_good } => {
                write!(f, "the log is damaged after revision {last_good}")
            }
            ReadError::Hangs => f.write_str("the log does not answer any more; a new process has to open it"),
            ReadError::Closed => f.write_str("the log is closed"),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ReadError::Unavailable(cause) => Some(cause.as_ref()),
            _ => None,
        }
    }
}

/// Why a log does not open.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has the data directory open.
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// Entries are damaged or missing in the middle, or ones that were acknowledged are gone from the end.
    Broken {
        /// The last entry that is as it was written.
        last_good: Revision,
        /// What is wrong after it.
        problem: &'static str,
    },
    /// The disk or the engine refuses.
    Storage {
        /// What was being done.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: Cause,
    },
}

impl OpenError {
    pub(crate) fn storage(
        doing: &'static str,
        path: impl Into<PathBuf>,
        source: impl Error + Send + Sync + 'static,
    ) -> OpenError {
        OpenError::Storage { doing, path: path.into(), source: Arc::new(source) }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { directory } => {
                write!(f, "another server uses the data directory {}", directory.display())
            }
            OpenError::Broken { last_good, problem } => write!(
                f,
                "the log is damaged: {problem}; the last good entry is revision {last_good}. \
                 Nothing was changed on disk; restore a backup or cut the log there"
            ),
            OpenError::Storage { doing, path, source } => {
                write!(f, "{doing} {}: {source}", path.display())
            }
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OpenError::Storage { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

/// Why a checkpoint was not stored or loaded.
#[derive(Debug)]
pub enum CheckpointError {
    /// There is no space for it.
    Full,
    /// It cannot be read or written now.
    Unavailable(Cause),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Full => f.write_str("there is no space left for a checkpoint"),
            CheckpointError::Unavailable(cause) => write!(f, "checkpoints are out of reach: {cause}"),
        }
    }
}

impl Error for CheckpointError {}

/// An ordered, durable, append-only log of opaque entries.
///
/// Appends take effect in the order of the calls to [`append`](ChangeLog::append), so a caller may have
/// several under way, each expecting the one before.
pub trait ChangeLog: Send + Sync + 'static {
    /// The log's name; a restored log has another.
    fn log_id(&self) -> &LogId;

    /// The last durable entry.
    fn head(&self) -> Anchor;

    /// Appends one entry of at most [`MAX_ENTRY_BYTES`]. The call queues it; the future ends once it is
    /// durable. Dropping the future does not take the entry back.
    fn append(&self, expect: Expect, entry: Arc<[u8]>) -> BoxFuture<'static, Result<Anchor, AppendError>>;

    /// The durable entries after a position, those to come included.
    fn tail(&self, after: Revision) -> Result<Box<dyn Tail>, ReadError>;

    /// The newest intact checkpoint at or before a position. Reads a file; may take a while.
    fn load_checkpoint(&self, at_most: Revision) -> Result<Option<StoredCheckpoint>, CheckpointError>;

    /// Stores a checkpoint beside the others of the ladder. Writes a file; may take a while.
    fn store_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), CheckpointError>;
}

/// Follows a log. A slow follower reads from storage what it missed; nothing is queued for it.
pub trait Tail: Send {
    /// The next entries, at least one and in order; waits if there are none yet. May be dropped and
    /// called again without losing any.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<LogEntry>, ReadError>>;
}
