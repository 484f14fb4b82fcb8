//! What the client's handles and its background thread share.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use rollout_rules::feed::{Applied, ClientState};
use rollout_rules::ids::{FlagKey, KillId, Revision};
use rollout_rules::tally::{Collected, Collector, Tally};
use tokio::sync::watch;

use crate::clock::{Clock, system_ms};
use crate::outcomes::Tallies;
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
    /// How often flags gave which answer.
    pub(crate) tally: Tally,
    /// What became of requests.
    pub(crate) outcomes: Tallies,
    collector: Mutex<Collector>,
    pub(crate) status: watch::Sender<Status>,
    listeners: Mutex<Vec<Listener>>,
    cache_problem: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(clock: Clock, state: Option<ClientState>, status: Status) -> Shared {
        Shared {
            state: ArcSwapOption::from_pointee(state),
            clock,
            tally: Tally::new(),
            outcomes: Tallies::new(),
            collector: Mutex::default(),
            status: watch::Sender::new(status),
            listeners: Mutex::default(),
            cache_problem: Mutex::default(),
        }
    }

    /// What was counted since the last time.
    pub(crate) fn collect(&self) -> Collected {
        match &*self.state.load() {
            Some(state) => locked(&self.collector).collect(&self.tally, &state.flag_set().environment.flags),
            None => Collected::default(),
        }
    }

    /// Has checks answered from another state, and remembers flags that are to be told of once more,
    /// if anything is.
    pub(crate) fn replace(&self, state: &Arc<ClientState>, applied: &Applied, tells: bool) {
        let before = self.state.swap(Some(Arc::clone(state)));
        let Some(before) = before.filter(|_| tells) else { return };
        let (before, now) = (&before.flag_set().environment.flags, &state.flag_set().environment.flags);
        let mut collector = locked(&self.collector);
        if applied.everything {
            before.iter().for_each(|flag| collector.leave(flag, now));
        } else {
            let changed = applied.flags.iter().filter_map(|key| before.get(key.as_str()));
            changed.for_each(|flag| collector.leave(flag, now));
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
        let has_flags = self.state.load().is_some();
        self.status.send_modify(|status| {
            let why = Problem::Stopped;
            // What was cut off before is no fresher for it.
            let since = match status {
                Status::Stale { since, .. } | Status::Offline { since, .. } => *since,
                _ => system_ms(),
            };
            *status = match status {
                Status::FromCache { saved_at, .. } => {
                    Status::FromCache { saved_at: *saved_at, why: Some(why) }
                }
                _ if has_flags => Status::Stale { since, why },
                _ => Status::Offline { since, why },
            };
        });
    }

    pub(crate) fn cache_problem(&self) -> Option<String> {
        locked(&self.cache_problem).clone()
    }

    pub(crate) fn note_cache(&self, outcome: Result<(), std::io::Error>) {
        *locked(&self.cache_problem) = outcome.err().map(|error| error.to_string());
    }
}

/// What a panic left behind is whole: every write is one assignment, one push or one addition.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rollout_rules::feed::Frame;
    use rollout_rules::time::UnixMs;

    use super::*;

    /// What a client says when its thread has stopped, and said this before.
    fn stopped(status: Status, has_flags: bool) -> Status {
        let frame = serde_json::json!({"v": 1, "log": "l", "revision": 6,
            "body": {"snapshot": {"app": "shop", "environment": "production", "flags": []}}});
        let frame = Frame::decode(frame.to_string().as_bytes()).unwrap();
        let state = has_flags.then(|| ClientState::fold(None, &frame).unwrap().0);
        let shared = Shared::new(Clock::system(), state, status);
        shared.stop_following();
        shared.status.borrow().clone()
    }

    #[test]
    fn a_client_whose_thread_has_stopped_says_since_when_its_flags_are_old() {
        let (long_ago, ended, why) = (UnixMs(7), Problem::Ended, Problem::Stopped);
        let from_cache = Status::FromCache { saved_at: long_ago, why: None };
        let kept = Status::FromCache { saved_at: long_ago, why: Some(why.clone()) };
        assert_eq!(stopped(from_cache, true), kept);
        let stale = |why: &Problem| Status::Stale { since: long_ago, why: why.clone() };
        assert_eq!(stopped(stale(&ended), true), stale(&why));
        let offline = |why: &Problem| Status::Offline { since: long_ago, why: why.clone() };
        assert_eq!(stopped(offline(&ended), false), offline(&why));
        // Until now it was live, or only began.
        let began = system_ms();
        let live = stopped(Status::Live { revision: Revision(6) }, true);
        assert!(matches!(live, Status::Stale { since, why: Problem::Stopped } if since >= began), "{live}");
        let early = stopped(Status::Starting, false);
        assert!(
            matches!(early, Status::Offline { since, why: Problem::Stopped } if since >= began),
            "{early}"
        );
    }
}
