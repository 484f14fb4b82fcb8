//! A tally for each environment whose flags are checked over HTTP.

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
/// An environment of which nothing was counted so many times in a row when it was looked at takes no memory any
/// more: an hour. For longer, if somebody keeps where it is counted: each thread that answers checks, for 4,096 tokens at
/// most, until anything else is published.
const QUIET_LOOKS: u32 = 360;

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
}

struct Reading {
    asked: Collector,
    listed: Collector,
    /// How many times in a row nothing was counted.
    quiet: u32,
}

impl Tallied {
    fn new(flags: &FlagTable) -> Tallied {
        let collector = || Collector::beginning_with(flags);
        let reading = Mutex::new(Reading { asked: collector(), listed: collector(), quiet: 0 });
        let (asked, listed, numbered) = (Tally::new(), Tally::new(), flags.of_only([]));
        Tallied { asked, listed, numbered, reading }
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
        let told = Told { asked: asked.counts, listed: listed.counts, uncounted };
        reading.quiet = if told.is_empty() { reading.quiet.saturating_add(1) } else { 0 };
        told
    }

    /// Whether these flags are counted here.
    fn counts(&self, flags: &FlagTable) -> bool {
        flags.counts_with(&self.numbered)
    }

    fn is_quiet(&self) -> bool {
        locked(&self.reading).quiet >= QUIET_LOOKS
    }
}

type Name = (AppKey, EnvKey);

/// All tallies.
#[derive(Default)]
pub(super) struct Tallies {
    current: DashMap<Name, Arc<Tallied>>,
    /// Those whose environment was made anew, to be read until nobody counts there any more.
    left: Mutex<Vec<(Name, Arc<Tallied>)>>,
}

impl Tallies {
    /// The tally of an environment with these flags; none if there is no room for another.
    pub(super) fn of(&self, app: &AppKey, environment: &EnvKey, flags: &FlagTable) -> Option<Arc<Tallied>> {
        let name = (app.clone(), environment.clone());
        if let Some(known) = self.current.get(&name)
            && known.counts(flags)
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
                    locked(&self.left).push((known.key().clone(), left));
                }
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
        let flags_of = |(app, environment): &Name| {
            snapshot.flag_set(app, environment).map(|flags| &flags.environment.flags)
        };
        // Not held while these are told: a request that finds its environment made anew puts the old one here.
        let mut once_more = std::mem::take(&mut *locked(&self.left));
        if of.is_none() {
            self.take_quiet(&mut once_more);
        }
        for (name, mut tallied) in once_more {
            // Whoever holds it still may count there after this.
            let is_held = Arc::get_mut(&mut tallied).is_none();
            let counted = tallied.collect(flags_of(&name));
            if !counted.is_empty() {
                tell(&name, counted);
            }
            if is_held {
                locked(&self.left).push((name, tallied));
            }
        }
        // What is told may be told to somebody who waits for others: no shard stays locked meanwhile.
        let current: Vec<(Name, Arc<Tallied>)> = self
            .current
            .iter()
            .filter(|one| of.is_none_or(|of| *of == one.key().0))
            .map(|one| (one.key().clone(), Arc::clone(one.value())))
            .collect();
        for (name, tallied) in &current {
            let counted = tallied.collect(flags_of(name));
            if !counted.is_empty() {
                tell(name, counted);
            }
        }
    }

    /// Takes out those that were quiet for long and that nobody holds. They are read once more: it may be a moment since
    /// somebody did.
    fn take_quiet(&self, taken: &mut Vec<(Name, Arc<Tallied>)>) {
        self.current.retain(|name, tallied| {
            let stays = !tallied.is_quiet() || Arc::get_mut(tallied).is_none();
            if !stays {
                taken.push((name.clone(), Arc::clone(tallied)));
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::tally::Cell;

    use super::*;
    use crate::exposures::lanes;

    #[test]
    fn what_was_counted_last_is_told_of_those_that_nobody_asks_for_any_more() {
        let tallies = Tallies::default();
        let (app, live) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        let flags = FlagTable::default();
        let of = || tallies.of(&app, &live, &flags).expect("there is room");
        let collect = || {
            let mut uncounted = 0;
            tallies.collect(None, &Snapshot::default(), |_, told| uncounted += told.uncounted);
            uncounted
        };
        let held = of();
        for _ in 0..=QUIET_LOOKS {
            assert_eq!(collect(), 0);
        }
        assert!(Arc::ptr_eq(&held, &of()), "somebody holds it");
        held.asked().count(Cell::NONE, lanes::own());
        drop(held);
        assert_eq!((collect(), tallies.current.len()), (1, 0));
    }

    #[test]
    fn who_holds_one_whose_place_is_taken_is_told_of_until_they_let_go() {
        let tallies = Tallies::default();
        let (app, live) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        let collect = || {
            let mut uncounted = 0;
            tallies.collect(None, &Snapshot::default(), |_, told| uncounted += told.uncounted);
            uncounted
        };
        let of = |flags: &FlagTable| tallies.of(&app, &live, flags).expect("there is room");
        let held = of(&FlagTable::default());
        of(&FlagTable::default());
        for _ in 0..2 {
            held.listed().count(Cell::NONE, lanes::own());
            assert_eq!((collect(), locked(&tallies.left).len()), (1, 1));
        }
        drop(held);
        assert_eq!((collect(), locked(&tallies.left).len()), (0, 0));
    }
}
