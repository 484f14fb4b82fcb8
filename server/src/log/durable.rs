//! What is behind the flush: the head that readers may see, the most recent entries, and cursors over
//! both and the storage below. Shared by the engines that keep their log in this process.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rollout_rules::ids::Revision;
use tokio::sync::watch;

use super::{Anchor, BoxFuture, LogEntry, ReadError, Tail};

/// Most recent entries kept in memory for followers.
const RECENT_ENTRIES: usize = 4096;
/// Most bytes of recent entries kept in memory for followers.
const RECENT_BYTES: usize = 4 * 1024 * 1024;
/// Most entries handed to a follower at once.
const BATCH: usize = 256;

/// Where entries that are no longer recent are read from.
pub(super) trait History: Send + Sync + 'static {
    /// Up to `limit` entries after a position, in order; never beyond `up_to`, which is durable.
    fn read(&self, after: Revision, up_to: Revision, limit: usize) -> Result<Vec<LogEntry>, ReadError>;
}

/// The durable part of a log, as readers see it.
pub(super) struct Durable {
    head: watch::Sender<Anchor>,
    recent: Mutex<Recent>,
    given_up: AtomicBool,
}

#[derive(Default)]
struct Recent {
    entries: VecDeque<LogEntry>,
    bytes: usize,
}

impl Durable {
    pub(super) fn new(head: Anchor) -> Arc<Durable> {
        let given_up = AtomicBool::new(false);
        Arc::new(Durable { head: watch::Sender::new(head), recent: Mutex::default(), given_up })
    }

    pub(super) fn head(&self) -> Anchor {
        *self.head.borrow()
    }

    /// Shows entries that follow the head to every reader.
    pub(super) fn publish(&self, entries: impl IntoIterator<Item = LogEntry>) {
        let mut head = self.head();
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in entries {
                debug_assert_eq!(entry.revision, head.revision.next());
                head = entry.anchor();
                recent.push(entry);
            }
        }
        self.head.send_replace(head);
    }

    /// Ends every reader: what comes now, nobody can tell.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        // Wakes those that wait.
        self.head.send_modify(|_| {});
    }

    pub(super) fn tail(
        self: &Arc<Self>,
        after: Revision,
        history: Arc<dyn History>,
    ) -> Result<Box<dyn Tail>, ReadError> {
        let head = self.head().revision;
        if after > head {
            return Err(ReadError::Ahead { head });
        }
        let heads = self.head.subscribe();
        Ok(Box::new(Cursor { after, heads, durable: Arc::downgrade(self), history }))
    }
}

impl Recent {
    fn push(&mut self, entry: LogEntry) {
        self.bytes += entry.bytes.len();
        self.entries.push_back(entry);
        while self.entries.len() > RECENT_ENTRIES || self.bytes > RECENT_BYTES {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes.len();
        }
    }

    /// Entries after a position, if the first of them is still here.
    fn after(&self, after: Revision) -> Option<Vec<LogEntry>> {
        let first = self.entries.front()?.revision.0;
        let skip = usize::try_from(after.next().0.checked_sub(first)?).ok()?;
        let entries: Vec<LogEntry> = self.entries.iter().skip(skip).take(BATCH).cloned().collect();
        (!entries.is_empty()).then_some(entries)
    }
}

struct Cursor {
    after: Revision,
    heads: watch::Receiver<Anchor>,
    // Weak, so that followers learn when the log is closed.
    durable: std::sync::Weak<Durable>,
    history: Arc<dyn History>,
}

impl Cursor {
    fn is_given_up(&self) -> bool {
        self.durable.upgrade().is_some_and(|durable| durable.given_up.load(Ordering::Acquire))
    }

    fn read(&mut self, head: Revision) -> Result<Vec<LogEntry>, ReadError> {
        let durable = self.durable.upgrade().ok_or(ReadError::Closed)?;
        let recent = durable.recent.lock().unwrap_or_else(PoisonError::into_inner).after(self.after);
        let entries = match recent {
            Some(entries) => entries,
            None => self.history.read(self.after, head, BATCH)?,
        };
        match entries.last() {
            Some(last) => self.after = last.revision,
            None => return Err(ReadError::Broken { last_good: self.after }),
        }
        Ok(entries)
    }
}

impl Tail for Cursor {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<LogEntry>, ReadError>> {
        Box::pin(async {
            loop {
                let head = self.heads.borrow_and_update().revision;
                if self.is_given_up() {
                    return Err(ReadError::Hangs);
                }
                if self.after < head {
                    return self.read(head);
                }
                if self.heads.changed().await.is_err() {
                    return Err(ReadError::Closed);
                }
            }
        })
    }
}
