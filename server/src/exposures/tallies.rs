//! A tally for each environment whose flags are checked over HTTP.

use std::sync::{Arc, Mutex};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::table::FlagTable;
use rollout_rules::tally::{Collector, Counted, Tally};

use super::locked;

/// Most environments whose checks are counted at one time. Checks of further ones are answered and not counted
/// until others have been quiet for a while.
pub(super) const MAX_TALLIES: usize = 10_000;
/// An environment that nobody asked for so many times in a row when it was looked at takes no memory any more:
/// an hour.
const QUIET_LOOKS: u32 = 360;

/// A tally, and who reads it.
pub(super) struct Tallied {
    tally: Tally,
    /// An empty table that counts with those whose flags are counted here.
    numbered: FlagTable,
    reading: Mutex<Reading>,
}

struct Reading {
    collector: Collector,
    quiet: u32,
}

impl Tallied {
    fn new(flags: &FlagTable) -> Tallied {
        let reading = Reading { collector: Collector::beginning_with(flags), quiet: 0 };
        Tallied { tally: Tally::new(), numbered: flags.of_only([]), reading: Mutex::new(reading) }
    }

    /// The tally.
    #[inline]
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What was counted since the last time. Without the flags of now, as those of the last time are named.
    fn collect(&self, now: Option<&FlagTable>) -> Vec<Counted> {
        let mut reading = locked(&self.reading);
        let counted = match now.filter(|now| now.counts_with(&self.numbered)) {
            Some(now) => reading.collector.collect(&self.tally, now),
            None => reading.collector.collect_rest(&self.tally),
        };
        reading.quiet = if counted.is_empty() { reading.quiet.saturating_add(1) } else { 0 };
        counted
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
    /// Those whose environment was made anew, to be read once more.
    left: Mutex<Vec<(Name, Arc<Tallied>)>>,
}

impl Tallies {
    /// The tally of an environment with these flags; none if there is no room for another.
    pub(super) fn of(&self, app: &AppKey, environment: &EnvKey, flags: &FlagTable) -> Option<Arc<Tallied>> {
        let name = (app.clone(), environment.clone());
        if let Some(known) = self.current.get(&name)
            && flags.counts_with(&known.numbered)
        {
            return Some(Arc::clone(&known));
        }
        if self.current.len() >= MAX_TALLIES && !self.current.contains_key(&name) {
            return None;
        }
        match self.current.entry(name) {
            Entry::Occupied(mut known) => {
                if !flags.counts_with(&known.get().numbered) {
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
        mut tell: impl FnMut(&Name, Vec<Counted>),
    ) {
        for (name, left) in std::mem::take(&mut *locked(&self.left)) {
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
