//! When each unit was bad the last few times.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::slot::Slot;
use super::units::UnitHash;

/// How many of a unit's last bad slots are remembered.
pub(super) const OCCASIONS: usize = 3;

/// Units with their last bad slots, the newest first. Slot 0 stands for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Recall(BTreeMap<UnitHash, [Slot; OCCASIONS]>);

impl Recall {
    /// Notes that a unit was bad in a slot. Tells of the slots before, or nothing if it was noted already.
    pub(super) fn note(&mut self, unit: UnitHash, slot: Slot) -> Option<[Slot; OCCASIONS]> {
        let known = self.0.entry(unit).or_default();
        if known[0] == slot {
            return None;
        }
        let before = *known;
        known.copy_within(..OCCASIONS - 1, 1);
        known[0] = slot;
        Some(before)
    }

    /// Whether a unit is remembered.
    pub(super) fn knows(&self, unit: UnitHash) -> bool {
        self.0.contains_key(&unit)
    }

    /// How many units are remembered.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets units that were last bad before a slot, and those from a hash on.
    pub(super) fn keep(&mut self, from: Slot, below: u64) {
        self.0.retain(|unit, slots| slots[0] >= from && unit.0 < below);
    }
}
