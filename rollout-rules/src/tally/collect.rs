//! What was counted since somebody last looked.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use super::{Cell, Lane, Tally};
use crate::compile::CompiledFlag;
use crate::ids::{FlagKey, VariantKey};
use crate::table::FlagTable;

/// Most flags that a [`Collector`] tells of once more after they have gone.
pub const MOST_LEFT: usize = 10_000;

/// How often a flag gave an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The flag.
    pub flag: FlagKey,
    /// The answer; none if it was asked for and gave none of its variants.
    pub variant: Option<VariantKey>,
    /// How often.
    pub count: u64,
}

/// What was counted since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// By flags in no particular order.
    pub counts: Vec<Counted>,
    /// How many answers more there were, of which nobody can tell which flags gave them: no cell was left for those,
    /// or they are gone.
    pub uncounted: u64,
}

/// Tells what was counted in a tally since it was asked the last time.
#[derive(Default)]
pub struct Collector {
    seen: Vec<u64>,
    /// Which cells were read this time.
    read: Vec<bool>,
    uncounted: u64,
    /// The flags of the last time: what has gone since was checked until then.
    table: FlagTable,
    /// Flags that came and went since.
    pub(super) left: Vec<Arc<CompiledFlag>>,
}

impl Collector {
    /// One that tells what is counted of these flags and of those that follow them.
    pub fn beginning_with(table: &FlagTable) -> Collector {
        Collector { table: table.clone(), ..Collector::default() }
    }

    /// Tells of a flag once more the next time, though it is not in the table any more or has other variants
    /// there. Of more than [`MOST_LEFT`] it only tells how many answers there were.
    pub fn leave(&mut self, flag: &Arc<CompiledFlag>, table: &FlagTable) {
        let now = table.get_hashed(flag.key_hash(), flag.key().as_str());
        if now.is_none_or(|now| now.first_cell != flag.first_cell) && self.left.len() < MOST_LEFT {
            self.left.push(Arc::clone(flag));
        }
    }

    /// What was counted since the last time. `table` has the flags that are checked now, and counts with those of the
    /// times before ([`FlagTable::counts_with`]).
    ///
    /// Of a flag that came and went in between, or had other variants, it is only told how many answers there were,
    /// unless it was [left](Collector::leave).
    pub fn collect(&mut self, tally: &Tally, table: &FlagTable) -> Collected {
        let mut counts = Vec::new();
        let lanes = tally.lanes();
        self.read.clear();
        self.read.resize(table.cells().max(self.seen.len()), false);
        self.seen.resize(self.read.len(), 0);
        for flag in table.iter() {
            self.read(tally, &lanes, flag, &mut counts);
        }
        let before = core::mem::replace(&mut self.table, table.clone());
        for flag in before.iter() {
            let now = table.get_hashed(flag.key_hash(), flag.key().as_str());
            if now.is_none_or(|now| now.first_cell != flag.first_cell) {
                self.read(tally, &lanes, flag, &mut counts);
            }
        }
        for flag in core::mem::take(&mut self.left) {
            self.read(tally, &lanes, &flag, &mut counts);
        }
        Collected { counts, uncounted: self.rest(tally, &lanes) }
    }

    /// What was counted since the last time of the flags that there were then. Of those that came since it is only told
    /// how many answers there were.
    pub fn collect_rest(&mut self, tally: &Tally) -> Collected {
        let table = self.table.clone();
        self.seen.resize(self.seen.len().max(tally.reach()), 0);
        self.collect(tally, &table)
    }

    fn read(&mut self, tally: &Tally, lanes: &[Lane], flag: &CompiledFlag, counts: &mut Vec<Counted>) {
        for (place, cell) in flag.cells().all().enumerate() {
            let count = self.since(tally, lanes, cell);
            if let Some(read) = self.read.get_mut(cell.number()) {
                *read = true;
            }
            if count > 0 {
                let variant = flag.flag.variants.get(place).map(|variant| variant.key.clone());
                counts.push(Counted { flag: flag.key.clone(), variant, count });
            }
        }
    }

    /// How many answers there were more than those that were read.
    fn rest(&mut self, tally: &Tally, lanes: &[Lane]) -> u64 {
        let without_cell = tally.uncounted.load(Relaxed);
        let mut rest = without_cell.wrapping_sub(self.uncounted);
        self.uncounted = without_cell;
        for number in 0..self.read.len() {
            // Of one that was read, what was counted meanwhile is told the next time.
            if !self.read[number] {
                rest = rest.wrapping_add(self.since(tally, lanes, Cell::of(number)));
            }
        }
        rest
    }

    /// How often a cell was counted since it was read the last time.
    fn since(&mut self, tally: &Tally, lanes: &[Lane], cell: Cell) -> u64 {
        let number = cell.number();
        if self.seen.len() <= number {
            self.seen.resize(number + 1, 0);
        }
        let sum = tally.read(cell, lanes);
        let seen = core::mem::replace(&mut self.seen[number], sum);
        sum.wrapping_sub(seen)
    }
}
