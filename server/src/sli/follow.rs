//! Closed slots in order, for whoever folds them: first those on disk, then each as it closes.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use rollout_rules::sli::Slot;
use tokio::sync::broadcast;

use super::rows::{self, Row};
use super::{ClosedSlot, Sli};

/// A slot that comes so many after later ones does because the clock was set back.
const SET_BACK: u32 = 6;

/// Follows closed slots.
pub struct Follower {
    sli: Sli,
    /// Every slot before it was handed on.
    next: Slot,
    news: broadcast::Receiver<Arc<ClosedSlot>>,
    /// What is to be handed on before anything else: a file of slots at most.
    pub(super) behind: VecDeque<Arc<ClosedSlot>>,
    /// What lies on disk from the first on and before the second is read when it is needed.
    unread: (Slot, Slot),
}

impl Sli {
    /// The closed slots from `from` on, those to come included. Slots for which nobody reported anything are
    /// empty, and left out where they are read from storage. Of flags that
    /// were not watched slots are there for five minutes; so whoever begins earlier has only those that were.
    pub fn follow(&self, from: Slot) -> io::Result<Follower> {
        // First: what closes meanwhile is told twice rather than not at all.
        let news = self.0.news.subscribe();
        let (behind, unread) = (VecDeque::new(), (from, from));
        let mut follower = Follower { sli: self.clone(), next: from, news, behind, unread };
        follower.fall_behind();
        if follower.unread.0 < follower.unread.1 {
            let read = self.read_some(follower.unread)?;
            follower.take(read);
        }
        Ok(follower)
    }

    /// The slots on disk from one on and before another, as far as one file has them, and from where on there may be more.
    fn read_some(&self, (from, until): (Slot, Slot)) -> io::Result<(Vec<ClosedSlot>, Slot)> {
        let Some(files) = &self.0.files else { return Ok((Vec::new(), until)) };
        let Some((first, end)) = files.first_window(from, until)? else { return Ok((Vec::new(), until)) };
        let mut slots: BTreeMap<Slot, Vec<Row>> = BTreeMap::new();
        files.read((first, end), &[], |row| {
            if row.slots == 1 {
                slots.entry(row.slot).or_default().push(row);
            }
        })?;
        Ok((slots.into_iter().map(|(slot, rows)| rows::closed(slot, rows)).collect(), end))
    }
}

impl Follower {
    /// The next closed slot; waits if there is none yet. May be dropped and called again without losing any. What has to be
    /// read from disk is read by another thread, a file at a time.
    pub async fn next(&mut self) -> io::Result<Arc<ClosedSlot>> {
        loop {
            if let Some(closed) = self.behind.pop_front() {
                self.next = closed.slot.plus(1);
                return Ok(closed);
            }
            if self.unread.0 < self.unread.1 {
                let (sli, unread) = (self.sli.clone(), self.unread);
                let work = tokio::task::spawn_blocking(move || sli.read_some(unread));
                let read = work.await.map_err(io::Error::other).flatten()?;
                self.take(read);
                continue;
            }
            match self.news.recv().await {
                Ok(closed) if closed.slot >= self.next => self.behind.push_back(closed),
                // A clock that was ahead was set back: what comes now is what happens. Otherwise it was on disk already.
                Ok(closed) => {
                    let is_set_back = self.sli.closed_until() < self.next;
                    if is_set_back && closed.slot.plus(SET_BACK) < self.next {
                        self.behind.push_back(closed);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    // What waits in the channel is on disk: it is read from there, and not told again.
                    self.news = self.news.resubscribe();
                    self.fall_behind();
                }
                Err(broadcast::error::RecvError::Closed) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    /// Whether slots that closed earlier are still to be handed on.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty() || self.unread.0 < self.unread.1
    }

    /// What closed until now is handed on before what is new. What lies later on disk was told by a clock that was ahead.
    fn fall_behind(&mut self) {
        if self.sli.0.files.is_some() {
            self.unread = (self.next, self.sli.closed_until());
        } else {
            let stored = self.sli.stored();
            self.behind.extend(stored.recent.iter().filter(|closed| closed.slot >= self.next).cloned());
        }
    }

    fn take(&mut self, (slots, end): (Vec<ClosedSlot>, Slot)) {
        self.behind.extend(slots.into_iter().map(Arc::new));
        self.unread.0 = end;
    }
}
