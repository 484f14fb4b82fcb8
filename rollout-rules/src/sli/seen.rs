//! A set of units that is asked many times a slot: each question reads one place in memory, mostly.

use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units::UnitHash;

/// Units, each where its hash says or in the next free place behind. Zero is a free place. Nothing hangs on the order of places: units are written in that of their hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// As many as a power of two, at most three in four of them taken; or none.
    places: Vec<u64>,
    length: usize,
    /// Whether the unit with the hash zero is there.
    zero: bool,
}

/// Hashes that are alike in their last bits, or their first, are spread all the same (the golden ratio, as Knuth has it).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const LEAST_PLACES: usize = 16;

impl Seen {
    /// Adds a unit. `true` if it is new.
    pub(super) fn insert(&mut self, unit: UnitHash) -> bool {
        if unit.0 == 0 {
            return !core::mem::replace(&mut self.zero, true);
        }
        if (self.length + 1) * 4 > self.places.len() * 3 {
            let more = (self.places.len() * 2).max(LEAST_PLACES);
            self.rebuild(more, u64::MAX);
        }
        let Some(at) = self.place_of(unit.0) else { return false };
        self.places[at] = unit.0;
        self.length += 1;
        true
    }

    /// Whether all of them are there, each just where its hash says. Nothing here waits for anything, so that all places are
    /// fetched from memory at once: whoever goes through the units next finds them near, whatever the answer is.
    pub(super) fn has_all_at_hand<T>(&self, units: &[(UnitHash, T)]) -> bool {
        // A free place is no unit whose hash is zero.
        let at_hand = |unit: u64| (self.places[self.first_place(unit)] == unit) & ((unit != 0) | self.zero);
        !self.places.is_empty() && units.iter().fold(true, |all, (unit, _)| all & at_hand(unit.0))
    }

    #[allow(clippy::cast_possible_truncation, reason = "only so many bits as there are places")]
    fn first_place(&self, unit: u64) -> usize {
        let shift = u64::BITS - self.places.len().trailing_zeros();
        (unit.wrapping_mul(SPREAD) >> shift) as usize
    }

    /// The free place for a unit; `None` if it is there.
    fn place_of(&self, unit: u64) -> Option<usize> {
        let mut at = self.first_place(unit);
        while self.places[at] != 0 {
            if self.places[at] == unit {
                return None;
            }
            at = (at + 1) & (self.places.len() - 1);
        }
        Some(at)
    }

    fn rebuild(&mut self, places: usize, below: u64) {
        let before = core::mem::replace(&mut self.places, alloc::vec![0; places]);
        self.length = 0;
        for unit in before.into_iter().filter(|unit| *unit != 0 && *unit < below) {
            if let Some(at) = self.place_of(unit) {
                self.places[at] = unit;
                self.length += 1;
            }
        }
    }

    /// How many units there are.
    pub(super) fn len(&self) -> usize {
        self.length + usize::from(self.zero)
    }

    /// Forgets the units with a hash from here on.
    pub(super) fn keep_below(&mut self, below: u64) {
        self.rebuild(self.places.len(), below);
    }

    fn in_order(&self) -> Vec<UnitHash> {
        let zero = self.zero.then_some(&0);
        let units = self.places.iter().filter(|unit| **unit != 0).chain(zero);
        let mut units: Vec<_> = units.map(|unit| UnitHash(*unit)).collect();
        units.sort_unstable();
        units
    }
}

/// The same units, wherever they are.
impl PartialEq for Seen {
    fn eq(&self, other: &Seen) -> bool {
        self.len() == other.len() && self.in_order() == other.in_order()
    }
}

impl Eq for Seen {}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.in_order().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut seen = Seen::default();
        for unit in Vec::deserialize(deserializer)? {
            seen.insert(unit);
        }
        Ok(seen)
    }
}
