//! Time in steps of ten seconds.

use serde::{Deserialize, Serialize};

use crate::time::{DurationMs, UnixMs};

/// The length of a slot.
pub const SLOT: DurationMs = DurationMs(10_000);

/// Ten seconds of time, counted from 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

impl Slot {
    /// The slot that a moment is in. The last one for moments after the year 3330.
    pub fn at(moment: UnixMs) -> Slot {
        Slot(u32::try_from(moment.0 / SLOT.0).unwrap_or(u32::MAX))
    }

    /// Its first moment.
    pub fn starts_at(self) -> UnixMs {
        UnixMs(u64::from(self.0) * SLOT.0)
    }

    /// The first moment after it.
    pub fn ends_at(self) -> UnixMs {
        UnixMs((u64::from(self.0) + 1) * SLOT.0)
    }

    /// The slot so many slots later; the last one if there is none.
    pub const fn plus(self, slots: u32) -> Slot {
        Slot(self.0.saturating_add(slots))
    }

    /// How many slots later than `earlier` this is; zero if it is not later.
    pub const fn since(self, earlier: Slot) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A slot as people and programs write it: any moment in it. Written as its first moment.
pub(crate) mod moment {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Slot;
    use crate::time::UnixMs;

    pub(crate) fn serialize<S: Serializer>(slot: &Slot, serializer: S) -> Result<S::Ok, S::Error> {
        slot.starts_at().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Slot, D::Error> {
        UnixMs::deserialize(deserializer).map(Slot::at)
    }
}
