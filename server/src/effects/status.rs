//! What is known of one webhook's deliveries, for who asks, and what they ask to be sent again.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rollout_rules::ids::Revision;
use rollout_rules::time::UnixMs;
use tokio::sync::Notify;

use super::outbox::{DeadLetter, MAX_DEAD};
use super::sender::Attempt;

/// Most attempts that are remembered of a webhook, in memory.
pub const KEPT_ATTEMPTS: usize = 100;

/// An attempt that was made.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Of which entry.
    pub revision: Revision,
    /// When.
    pub at: UnixMs,
    /// The how many-th of this entry.
    pub nth: u32,
    /// What became of it.
    pub attempt: Attempt,
}

/// The entry that a webhook could not be told of yet. Those after it wait.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Which.
    pub revision: Revision,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is sent again.
    pub next_at: UnixMs,
    /// Why the last attempt failed.
    pub problem: String,
}

/// All of it, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Everything up to here is dealt with.
    pub cursor: Revision,
    /// What is tried again, if something is.
    pub waiting: Option<Waiting>,
    /// The last attempts, oldest first.
    pub recent: VecDeque<Delivery>,
    /// What was given up, oldest first.
    pub dead: Vec<DeadLetter>,
    /// What somebody asked to be sent again.
    asked: BTreeSet<Revision>,
}

/// The same, shared between the task that delivers and whoever asks.
#[derive(Default)]
pub(super) struct Status {
    progress: Mutex<Progress>,
    wake: Notify,
}

impl Status {
    pub(super) fn new(cursor: Revision, dead: Vec<DeadLetter>) -> Status {
        Status { progress: Mutex::new(Progress { cursor, dead, ..Progress::default() }), wake: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> Progress {
        self.lock().clone()
    }

    pub(super) fn cursor(&self) -> Revision {
        self.lock().cursor
    }

    pub(super) fn advance(&self, cursor: Revision) {
        let mut progress = self.lock();
        progress.cursor = cursor;
        progress.waiting = None;
    }

    pub(super) fn set_waiting(&self, waiting: Option<Waiting>) {
        self.lock().waiting = waiting;
    }

    pub(super) fn note(&self, delivery: Delivery) {
        let mut progress = self.lock();
        if progress.recent.len() == KEPT_ATTEMPTS {
            progress.recent.pop_front();
        }
        progress.recent.push_back(delivery);
    }

    /// Wakes the task: there may be something new for it to do, and what waits is tried at once.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Asks that a dead letter, or all of them, be sent again. How many that is.
    pub(super) fn ask(&self, which: Option<Revision>) -> usize {
        let mut progress = self.lock();
        let dead = progress.dead.iter().map(|letter| letter.revision);
        let asked: Vec<Revision> = dead.filter(|dead| which.is_none_or(|which| which == *dead)).collect();
        progress.asked.extend(&asked);
        drop(progress);
        self.wake();
        asked.len()
    }

    /// Forgets what was asked for and not sent again yet. It stays dead.
    pub(super) fn ask_no_more(&self) {
        self.lock().asked.clear();
    }

    /// The oldest that was asked for.
    pub(super) fn next_asked(&self) -> Option<DeadLetter> {
        let mut progress = self.lock();
        let revision = progress.asked.pop_first()?;
        progress.dead.iter().find(|letter| letter.revision == revision).cloned()
    }

    /// The dead letters with one more, or another end of one; the oldest goes if there are too many.
    pub(super) fn dead_with(&self, letter: DeadLetter) -> (Vec<DeadLetter>, Option<DeadLetter>) {
        let mut dead = self.dead_without(letter.revision);
        dead.push(letter);
        dead.sort_by_key(|letter| letter.revision);
        let dropped = (dead.len() > MAX_DEAD).then(|| dead.remove(0));
        (dead, dropped)
    }

    pub(super) fn dead_without(&self, revision: Revision) -> Vec<DeadLetter> {
        let mut dead = self.lock().dead.clone();
        dead.retain(|letter| letter.revision != revision);
        dead
    }

    pub(super) fn set_dead(&self, dead: Vec<DeadLetter>) {
        self.lock().dead = dead;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(revision: u64) -> DeadLetter {
        DeadLetter { revision: Revision(revision), at: UnixMs(1), attempts: 1, problem: String::new() }
    }

    #[test]
    fn of_too_many_dead_letters_the_oldest_goes() {
        let status = Status::new(Revision(0), Vec::new());
        for revision in 1..=MAX_DEAD as u64 {
            let (dead, dropped) = status.dead_with(letter(revision));
            assert_eq!(dropped, None);
            status.set_dead(dead);
        }
        assert_eq!(status.dead_with(letter(7)).1, None, "it is there already");
        let (dead, dropped) = status.dead_with(letter(5_000));
        assert_eq!((dead.len(), dropped), (MAX_DEAD, Some(letter(1))));
    }

    #[test]
    fn what_is_asked_for_is_sent_once_oldest_first_and_only_if_it_is_dead() {
        let status = Status::new(Revision(9), vec![letter(2), letter(4)]);
        assert_eq!(status.ask(Some(Revision(3))), 0);
        assert_eq!(status.ask(Some(Revision(4))), 1);
        assert_eq!(status.ask(None), 2);
        assert_eq!(status.next_asked(), Some(letter(2)));
        assert_eq!(status.next_asked(), Some(letter(4)));
        assert_eq!(status.next_asked(), None);
        assert_eq!(status.ask(None), 2);
        status.ask_no_more();
        assert_eq!(status.next_asked(), None);
        assert_eq!(status.progress().dead, [letter(2), letter(4)]);
    }
}
