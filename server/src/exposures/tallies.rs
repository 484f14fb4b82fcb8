//! A tally for each environment whose flags are checked over HTTP.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::table::FlagTable;
use rollout_rules::tally::{Collector, Counted, Tally};

use super::locked;

/// Most environments whose checks are counted at one time. Requests for checks of further ones are answered, and it is
/// only noted that they were not counted, until others have been quiet for a while. Each takes 2 KiB, and what its
/// threads need ([`Tally::new`]).
pub(super) const MAX_TALLIES: usize = 10_000;
/// An environment that nobody asked for so many times in a row when it was looked at takes no memory any more:
/// an hour.
const QUIET_LOOKS: u32 = 360;
/// Instead of a number of looks: nobody looks any more, and who counts there looks for another.
const GIVEN_UP: u32 = u32::MAX;

/// What was counted in an environment since the last time.
pub(super) struct Told {
    /// Answers to those who asked for the flag.
    pub(super) asked: Vec<Counted>,
    /// Answers to those who fetched all flags.
    pub(super) listed: Vec<Counted>,
    /// How many answers more there were, of flags that nobody can tell.
    pub(super) uncounted: u64,
}

impl Told {
    fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.listed.is_empty() && self.uncounted == 0
    }
}

/// The tallies of an environment, and who reads them.
pub(super) struct Tallied {
    asked: Tally,
    listed: Tally,
    /// An empty table that counts with those whose flags are counted here.
    numbered: FlagTable,
    reading: Mutex<Reading>,
    /// How many times in a row nothing was counted, and nobody asked for it since. Not behind the lock: a request that
    /// looks for its tally must not wait for whoever reads another.
    quiet: AtomicU32,
}

struct Reading {
    asked: Collector,
    listed: Collector,
}

impl Tallied {
    fn new(flags: &FlagTable) -> Tallied {
        let collector = || Collector::beginning_with(flags);
        let reading = Mutex::new(Reading { asked: collector(), listed: collector() });
        let (asked, listed, numbered) = (Tally::new(), Tally::new(), flags.of_only([]));
        Tallied { asked, listed, numbered, reading, quiet: AtomicU32::new(0) }
    }

    /// The tally of checks of single flags.
    #[inline]
    pub(super) fn asked(&self) -> &Tally {
        &self.asked
    }

    /// The tally of what those were told who fetched all flags.
    #[inline]
    pub(super) fn listed(&self) -> &Tally {
        &self.listed
    }

    /// What was counted since the last time. Without the flags of now, as those of the last time are named.
    fn collect(&self, now: Option<&FlagTable>) -> Told {
        let mut reading = locked(&self.reading);
        let now = now.filter(|now| now.counts_with(&self.numbered));
        let counted = |collector: &mut Collector, tally| match now {
            Some(now) => collector.collect(tally, now),
            None => collector.collect_rest(tally),
        };
        let asked = counted(&mut reading.asked, &self.asked);
        let listed = counted(&mut reading.listed, &self.listed);
        let uncounted = asked.uncounted.saturating_add(listed.uncounted);
        Told { asked: asked.counts, listed: listed.counts, uncounted }
    }

    fn note_look(&self, found_nothing: bool) {
        let next = |quiet: u32| (quiet != GIVEN_UP).then(|| if found_nothing { quiet + 1 } else { 0 });
        // It stays as it is if it was given up.
        let _ = self.quiet.fetch_update(Relaxed, Relaxed, next);
    }

    /// Whether these flags are counted here.
    #[inline]
    pub(super) fn counts(&self, flags: &FlagTable) -> bool {
        flags.counts_with(&self.numbered)
    }

    /// Somebody is about to count, be it after this was looked at and before it is given up; false if it was.
    #[inline]
    pub(super) fn note_use(&self) -> bool {
        // Most of the time it is nothing new, and memory that others read too is left alone.
        self.quiet.load(Relaxed) == 0 || self.is_used_again()
    }

    #[cold]
    fn is_used_again(&self) -> bool {
        self.quiet.fetch_update(Relaxed, Relaxed, |quiet| (quiet != GIVEN_UP).then_some(0)).is_ok()
    }

    fn is_quiet(&self) -> bool {
        self.quiet.load(Relaxed) >= QUIET_LOOKS
    }
}

type Name = (AppKey, EnvKey);

/// All tallies.
#[derive(Default)]
pub(super) struct Tallies {
    current: DashMap<Name, Arc<Tallied>>,
    /// Those whose environment was made anew, to be read once more.
    left: Mutex<Vec<(Name, Arc<Tallied>)>>,
}

impl Tallies {
    /// The tally of an environment with these flags; none if there is no room for another.
    pub(super) fn of(&self, app: &AppKey, environment: &EnvKey, flags: &FlagTable) -> Option<Arc<Tallied>> {
        let name = (app.clone(), environment.clone());
        if let Some(known) = self.current.get(&name)
            && known.counts(flags)
            && known.note_use()
        {
            return Some(Arc::clone(&known));
        }
        if self.current.len() >= MAX_TALLIES && !self.current.contains_key(&name) {
            return None;
        }
        match self.current.entry(name) {
            Entry::Occupied(mut known) => {
                if !known.get().counts(flags) {
                    let left = known.insert(Arc::new(Tallied::new(flags)));
                    // A thread that counted there last does so no more, or nobody would be told.
                    left.quiet.store(GIVEN_UP, Relaxed);
                    locked(&self.left).push((known.key().clone(), left));
                }
                known.get().note_use();
                Some(Arc::clone(known.get()))
            }
            Entry::Vacant(place) => Some(Arc::clone(&place.insert(Arc::new(Tallied::new(flags))))),
        }
    }

    /// Tells what was counted since the last time, by environment; of all, or of those of an app.
    pub(super) fn collect(
        &self,
        of: Option<&AppKey>,
        snapshot: &Snapshot,
        mut tell: impl FnMut(&Name, Told),
    ) {
        // Not held while these are told: a request that finds its environment made anew puts the old one here.
        let left = std::mem::take(&mut *locked(&self.left));
        for (name, left) in left {
            tell(&name, left.collect(None));
        }
        // What is told may be told to somebody who waits for others: no shard stays locked meanwhile.
        let current: Vec<(Name, Arc<Tallied>)> = self
            .current
            .iter()
            .filter(|one| of.is_none_or(|of| *of == one.key().0))
            .map(|one| (one.key().clone(), Arc::clone(one.value())))
            .collect();
        for (name, tallied) in &current {
            let flags = snapshot.flag_set(&name.0, &name.1);
            let counted = tallied.collect(flags.map(|flags| &flags.environment.flags));
            tallied.note_look(counted.is_empty());
            if !counted.is_empty() {
                tell(name, counted);
            }
        }
        drop(current);
        if of.is_some() {
            return;
        }
        // One that a request holds at the moment is not quiet, whatever it looked like.
        self.current.retain(|_, tallied| !(tallied.is_quiet() && Arc::strong_count(tallied) == 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_on_counting_where_nobody_looks_any_more() {
        let tallies = Tallies::default();
        let (app, live) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        let (old, new) = (FlagTable::default(), FlagTable::default());
        let of = |flags: &FlagTable| tallies.of(&app, &live, flags).expect("there is room");
        let first = of(&old);
        assert!(first.note_use());
        let second = of(&new);
        assert!(second.note_use() && !first.note_use());
        // A request that began before the environment was made anew.
        of(&old);
        assert!(!second.note_use());
        tallies.collect(None, &Snapshot::default(), |_, _| {});
        assert!(!second.note_use() && !first.note_use());
        let third = of(&new);
        tallies.collect(None, &Snapshot::default(), |_, _| {});
        assert!(third.note_use() && Arc::ptr_eq(&third, &of(&new)));
    }
}
