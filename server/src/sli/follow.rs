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
    behind: VecDeque<Arc<ClosedSlot>>,
}

impl Sli {
    /// The closed slots from `from` on, those to come included. Slots for which nobody reported anything are
    /// empty, and left out where they are read from storage. Of flags that
    /// were not watched slots are there for five minutes; so whoever begins earlier has only those that were.
    pub fn follow(&self, from: Slot) -> io::Result<Follower> {
        // First: what closes meanwhile is told twice rather than not at all.
        let news = self.0.news.subscribe();
        let mut follower = Follower { sli: self.clone(), next: from, news, behind: VecDeque::new() };
        follower.catch_up()?;
        Ok(follower)
    }
}

impl Follower {
    /// The next closed slot; waits if there is none yet. May be dropped and called again without losing any. Whoever is so far
    /// behind that it has to be read from disk waits for the disk.
    pub async fn next(&mut self) -> io::Result<Arc<ClosedSlot>> {
        loop {
            if let Some(closed) = self.behind.pop_front() {
                self.next = closed.slot.plus(1);
                return Ok(closed);
            }
            match self.news.recv().await {
                Ok(closed) if closed.slot >= self.next => self.behind.push_back(closed),
                // A clock that was ahead was set back: what comes now is what happens.
                Ok(closed) if closed.slot.plus(SET_BACK) < self.next => self.behind.push_back(closed),
                // It was on disk already.
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up()?,
                Err(broadcast::error::RecvError::Closed) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    fn catch_up(&mut self) -> io::Result<()> {
        let Some(files) = &self.sli.0.files else {
            let stored = self.sli.stored();
            self.behind.extend(stored.recent.iter().filter(|closed| closed.slot >= self.next).cloned());
            return Ok(());
        };
        let mut slots: BTreeMap<Slot, Vec<Row>> = BTreeMap::new();
        files.read((self.next, Slot(u32::MAX)), &[], |row| {
            if row.slots == 1 {
                slots.entry(row.slot).or_default().push(row);
            }
        })?;
        self.behind.extend(slots.into_iter().map(|(slot, rows)| Arc::new(rows::closed(slot, rows))));
        Ok(())
    }
}
