//! When each unit was bad the last few times.

use alloc::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::slot::Slot;
use super::units::UnitHash;

/// How many of a unit's last bad slots are remembered.
pub(super) const OCCASIONS: usize = 3;

/// Units with their last bad slots, the newest first. Slot 0 stands for none. Nothing goes through the map in its order;
/// it is written in that of the hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recall(HashMap<UnitHash, [Slot; OCCASIONS], foldhash::fast::FixedState>);

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

impl Serialize for Recall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Recall {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = BTreeMap::deserialize(deserializer)?;
        Ok(Recall(units.into_iter().collect()))
    }
}
