//! What was counted since somebody last looked.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Counts, Tally};
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

/// Tells what was counted in a tally since it was asked the last time.
#[derive(Default)]
pub struct Collector {
    seen: Vec<u64>,
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
    /// there. Of more than [`MOST_LEFT`] it does not.
    pub fn leave(&mut self, flag: &Arc<CompiledFlag>, table: &FlagTable) {
        let now = table.get_hashed(flag.key_hash(), flag.key().as_str());
        if now.is_none_or(|now| now.first_cell != flag.first_cell) && self.left.len() < MOST_LEFT {
            self.left.push(Arc::clone(flag));
        }
    }

    /// What was counted since the last time, by flags in no particular order. `table` has the flags that
    /// are checked now, and counts with those of the times before ([`FlagTable::counts_with`]).
    ///
    /// A flag that came and went in between is not told of, unless it was [left](Collector::leave).
    pub fn collect(&mut self, tally: &Tally, table: &FlagTable) -> Vec<Counted> {
        let mut counted = Vec::new();
        let lanes = tally.lanes();
        for flag in table.iter() {
            self.read(&lanes, flag, &mut counted);
        }
        let before = core::mem::replace(&mut self.table, table.clone());
        for flag in before.iter() {
            let now = table.get_hashed(flag.key_hash(), flag.key().as_str());
            if now.is_none_or(|now| now.first_cell != flag.first_cell) {
                self.read(&lanes, flag, &mut counted);
            }
        }
        for flag in core::mem::take(&mut self.left) {
            self.read(&lanes, &flag, &mut counted);
        }
        counted
    }

    /// What was counted since the last time of the flags that there were then.
    pub fn collect_rest(&mut self, tally: &Tally) -> Vec<Counted> {
        let table = self.table.clone();
        self.collect(tally, &table)
    }

    fn read(&mut self, lanes: &[&Counts], flag: &CompiledFlag, counted: &mut Vec<Counted>) {
        for (place, cell) in flag.cells().all().enumerate() {
            let number = cell.number();
            if self.seen.len() <= number {
                self.seen.resize(number + 1, 0);
            }
            let sum = lanes.iter().fold(0_u64, |sum, lane| sum.wrapping_add(lane.read(cell)));
            let seen = &mut self.seen[number];
            let count = sum.wrapping_sub(*seen);
            *seen = sum;
            if count > 0 {
                let variant = flag.flag.variants.get(place).map(|variant| variant.key.clone());
                counted.push(Counted { flag: flag.key.clone(), variant, count });
            }
        }
    }
}
