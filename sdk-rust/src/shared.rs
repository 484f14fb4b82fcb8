//! What the client's handles and its background thread share.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use rollout_rules::feed::{Applied, ClientState};
use rollout_rules::ids::{FlagKey, KillId, Revision};
use tokio::sync::watch;

use crate::clock::{Clock, system_ms};
use crate::status::{Problem, Status};

/// What a change of flags is told to listeners.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The revision that is served now.
    pub revision: Revision,
    /// Any flag may answer otherwise now: everything or the app was killed or revived, a preview's end
    /// moved, or a whole new state came.
    pub everything: bool,
    /// Flags that may answer otherwise now, those that depend on them included.
    pub flags: &'a BTreeSet<FlagKey>,
    /// Kills that are in effect now.
    pub kills: &'a [KillId],
}

impl Change<'_> {
    /// Whether a flag may answer otherwise now.
    pub fn concerns(&self, flag: &str) -> bool {
        self.everything || self.flags.contains(flag)
    }
}

type Listener = Arc<dyn Fn(&Change<'_>) + Send + Sync>;

pub(crate) struct Shared {
    /// What checks read: one load, no lock.
    pub(crate) state: ArcSwapOption<ClientState>,
    pub(crate) clock: Clock,
    pub(crate) status: watch::Sender<Status>,
    listeners: Mutex<Vec<Listener>>,
    cache_problem: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(clock: Clock, state: Option<ClientState>, status: Status) -> Shared {
        Shared {
            state: ArcSwapOption::from_pointee(state),
            clock,
            status: watch::Sender::new(status),
            listeners: Mutex::default(),
            cache_problem: Mutex::default(),
        }
    }

    pub(crate) fn listen(&self, listener: Listener) {
        locked(&self.listeners).push(listener);
    }

    pub(crate) fn has_listeners(&self) -> bool {
        !locked(&self.listeners).is_empty()
    }

    /// Tells the listeners. One that panics is not asked to be quiet, but does not end the feed.
    pub(crate) fn tell(&self, applied: &Applied) {
        if !applied.everything && applied.flags.is_empty() {
            return;
        }
        let change = Change {
            revision: applied.revision,
            everything: applied.everything,
            flags: &applied.flags,
            kills: &applied.kill_ids,
        };
        let listeners = locked(&self.listeners).clone();
        for listener in listeners {
            let _ = catch_unwind(AssertUnwindSafe(|| listener(&change)));
        }
    }

    /// Nobody follows the feed any more, and whoever asks is told so.
    pub(crate) fn stop_following(&self) {
        let (since, why) = (system_ms(), Problem::Stopped);
        let has_flags = self.state.load().is_some();
        let status = if has_flags { Status::Stale { since, why } } else { Status::Offline { since, why } };
        self.status.send_replace(status);
    }

    pub(crate) fn cache_problem(&self) -> Option<String> {
        locked(&self.cache_problem).clone()
    }

    pub(crate) fn note_cache(&self, outcome: Result<(), std::io::Error>) {
        *locked(&self.cache_problem) = outcome.err().map(|error| error.to_string());
    }
}

/// What a panic left behind is whole: every write is one assignment or one push.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
