//! What was known at past moments: the log folded again, from the nearest checkpoint at or before each.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rollout_rules::change::{Entry, UnknownEntry};
use rollout_rules::ids::Revision;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::checkpoint;
use super::published::Published;
use crate::log::{ChangeLog, CheckpointError, LogEntry, ReadError};

/// Most entries that are folded for one question: some seconds of a core. Moments further than that from
/// every checkpoint before them are refused.
pub const MAX_FOLDED: u64 = 250_000;
/// Questions about the past that are worked on at once. Each may hold a second copy of all flags.
pub const MAX_AT_ONCE: usize = 1;
/// How long a question waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(5);
/// So far apart, a second moment is reached faster from the first than from a checkpoint of its own.
const NEAR: u64 = 10_000;

/// Which moment is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// As it was after this entry, when that was written.
    Revision(Revision),
    /// As it was then: after the last entry up to it. A moment to come means what is known now.
    Time(UnixMs),
}

/// What was known at a moment.
#[derive(Clone)]
pub struct PastState {
    /// The fold. Kills that the log had not taken are not in it.
    pub snapshot: Arc<Snapshot>,
    /// The moment: what was asked for, or when the entry was written.
    pub at: UnixMs,
}

/// Why nothing can be said about a moment.
#[derive(Debug)]
pub enum PastError {
    /// The log does not go so far.
    Ahead {
        /// Where it ends.
        head: Revision,
    },
    /// Too many entries lie between the nearest checkpoint and it.
    TooFar {
        /// The revision that was meant.
        asked: Revision,
        /// The last one that can be reached from there.
        reachable: Revision,
        /// How many entries are folded at most.
        limit: u64,
    },
    /// Others ask about the past.
    Busy,
    /// The log cannot be read.
    Log(ReadError),
    /// The checkpoints cannot be read.
    Checkpoints(CheckpointError),
    /// The log holds an entry that this program does not know.
    Unknown {
        /// Where.
        revision: Revision,
        /// What is not known about it.
        source: UnknownEntry,
    },
    /// The fold did not come to an end.
    BrokenOff,
}

impl fmt::Display for PastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PastError::Ahead { head } => write!(f, "the log ends at revision {head}"),
            PastError::TooFar { asked, reachable, limit } => write!(
                f,
                "revision {asked} lies more than {limit} entries after the nearest stored state; from there \
                 revision {reachable} is the last in reach. Ask about that one or an earlier one, or about one \
                 after the next stored state; the entries in between are in the log"
            ),
            PastError::Busy => f.write_str("others are asking about the past; try again in a moment"),
            PastError::Log(error) => error.fmt(f),
            PastError::Checkpoints(error) => error.fmt(f),
            PastError::Unknown { revision, .. } => {
                write!(f, "the entry at revision {revision} is not known to this version of the server")
            }
            PastError::BrokenOff => f.write_str("looking back broke off"),
        }
    }
}

impl Error for PastError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PastError::Log(error) => Some(error),
            PastError::Checkpoints(error) => Some(error),
            PastError::Unknown { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<ReadError> for PastError {
    fn from(error: ReadError) -> PastError {
        PastError::Log(error)
    }
}

/// Answers questions about the past, one after the other, off the threads that serve requests.
#[derive(Clone)]
pub struct Past {
    log: Arc<dyn ChangeLog>,
    turns: Arc<Semaphore>,
    limit: u64,
}

impl Past {
    /// The past of a log.
    pub fn new(log: Arc<dyn ChangeLog>) -> Past {
        Past::within(log, MAX_FOLDED)
    }

    /// The past of a log, as far as folding so many entries for one question reaches.
    pub fn within(log: Arc<dyn ChangeLog>, limit: u64) -> Past {
        Past { log, turns: Arc::new(Semaphore::new(MAX_AT_ONCE)), limit }
    }

    /// What was known at a moment up to what is published.
    pub async fn at(
        &self,
        published: &Published,
        moment: Moment,
        now: UnixMs,
    ) -> Result<PastState, PastError> {
        let state = self.each(published, vec![moment], now).await?.pop();
        state.ok_or(PastError::BrokenOff)
    }

    /// What was known at several moments, each up to what is published, in the order in which they are given.
    pub async fn each(
        &self,
        published: &Published,
        moments: Vec<Moment>,
        now: UnixMs,
    ) -> Result<Vec<PastState>, PastError> {
        let head = Arc::clone(&published.folded);
        let turn = tokio::time::timeout(TURN_PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(PastError::Busy) };
        let log = Arc::clone(&self.log);
        let (limit, runtime) = (self.limit, Handle::current());
        // Reading a checkpoint and folding both take a core for longer than a request may wait for its turn.
        let work = tokio::task::spawn_blocking(move || {
            // Kept until the work ends, also when whoever asked has gone.
            let _turn = turn;
            runtime.block_on(look_back(log.as_ref(), &head, &moments, limit, now))
        });
        work.await.unwrap_or(Err(PastError::BrokenOff))
    }
}

async fn look_back(
    log: &dyn ChangeLog,
    head: &Arc<Snapshot>,
    moments: &[Moment],
    limit: u64,
    now: UnixMs,
) -> Result<Vec<PastState>, PastError> {
    let mut wanted = Vec::with_capacity(moments.len());
    for (place, moment) in moments.iter().enumerate() {
        let (revision, at) = match *moment {
            Moment::Revision(revision) if revision > head.revision() => {
                return Err(PastError::Ahead { head: head.revision() });
            }
            Moment::Revision(revision) => (revision, written_at(log, revision).await?),
            Moment::Time(at) if at >= now => (head.revision(), at),
            Moment::Time(at) => (last_until(log, head.revision(), at).await?, at),
        };
        wanted.push((revision, place, at));
    }
    wanted.sort_unstable();
    let mut states = Vec::with_capacity(moments.len());
    let mut last: Option<Arc<Snapshot>> = None;
    let mut left = limit;
    for (revision, place, at) in wanted {
        let snapshot = if revision == head.revision() {
            Arc::clone(head)
        } else {
            let start = nearest(log, revision, last.as_deref())?;
            Arc::new(fold_on(log, start, revision, limit, &mut left).await?)
        };
        last = Some(Arc::clone(&snapshot));
        states.push((place, PastState { snapshot, at }));
    }
    states.sort_unstable_by_key(|(place, _)| *place);
    Ok(states.into_iter().map(|(_, state)| state).collect())
}

/// The latest known fold up to a revision: one that is at hand, or a checkpoint.
fn nearest(
    log: &dyn ChangeLog,
    revision: Revision,
    at_hand: Option<&Snapshot>,
) -> Result<Snapshot, PastError> {
    if let Some(near) = at_hand.filter(|known| revision.0 - known.revision().0 <= NEAR) {
        return Ok(near.clone());
    }
    let stored = checkpoint::load_at(log, revision).map_err(PastError::Checkpoints)?;
    Ok(match at_hand {
        Some(known) if known.revision() >= stored.revision() => known.clone(),
        _ => stored,
    })
}

async fn fold_on(
    log: &dyn ChangeLog,
    mut snapshot: Snapshot,
    until: Revision,
    limit: u64,
    left: &mut u64,
) -> Result<Snapshot, PastError> {
    let distance = until.0 - snapshot.revision().0;
    if distance > *left {
        let reachable = Revision(snapshot.revision().0 + *left);
        return Err(PastError::TooFar { asked: until, reachable, limit });
    }
    *left -= distance;
    if distance == 0 {
        return Ok(snapshot);
    }
    let mut tail = log.tail(snapshot.revision())?;
    while snapshot.revision() < until {
        for stored in tail.next().await? {
            if stored.revision > until {
                break;
            }
            let entry = Entry::decode(&stored.bytes)
                .map_err(|source| PastError::Unknown { revision: stored.revision, source })?;
            snapshot = snapshot.apply(stored.revision, stored.hash, &entry);
        }
    }
    Ok(snapshot)
}

/// When an entry was written; the first moment there is for the place before the first.
async fn written_at(log: &dyn ChangeLog, revision: Revision) -> Result<UnixMs, PastError> {
    let Some(before) = revision.0.checked_sub(1) else { return Ok(UnixMs::default()) };
    let entries = log.tail(Revision(before))?.next().await?;
    entries.first().map(stamp).unwrap_or(Err(PastError::BrokenOff))
}

/// The last entry that was written up to a moment. Writers' clocks go forward but for corrections; around one,
/// any of the entries that fit may be meant.
async fn last_until(log: &dyn ChangeLog, head: Revision, at: UnixMs) -> Result<Revision, PastError> {
    // All up to `low` were written by then, the one at `high` was not.
    let (mut low, mut high) = (0, head.0 + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if written_at(log, Revision(middle)).await? <= at { low = middle } else { high = middle }
    }
    Ok(Revision(low))
}

/// When an entry was written, whatever else is in it.
fn stamp(stored: &LogEntry) -> Result<UnixMs, PastError> {
    #[derive(Deserialize)]
    struct Stamped {
        at: UnixMs,
    }
    serde_json::from_slice::<Stamped>(&stored.bytes).map(|stamped| stamped.at).map_err(|error| {
        let source = UnknownEntry::Malformed { problem: error.to_string() };
        PastError::Unknown { revision: stored.revision, source }
    })
}
