//! Slots that are still open, and what is left of them when they close.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::outcomes::Outcomes;
use super::slot::Slot;
use super::summary::{FUTURE, Unacceptable};
use super::units::fnv_1a;
use crate::ids::{Revision, VariantKey};
use crate::time::{DurationMs, UnixMs};

/// How long after its end a slot takes reports.
pub const GRACE: DurationMs = DurationMs(3_000);
/// Most pairs of flag revision and variant in one slot of one split.
pub const MAX_PARTS: usize = 64;
/// Most batches in one slot of one split.
pub const MAX_BATCHES: usize = 100_000;
/// How many slots are closed at once. After a longer pause the slots before these are never told of.
const MAX_CLOSED: u32 = 60;

/// What became of one slot of one split: as it is stored and as it is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotEntry {
    /// Which slot.
    pub slot: Slot,
    /// How many processes of the app reported anything for it, requests or not.
    pub sources: u32,
    /// By revision of the flag, then by variant; only those with a report.
    pub parts: Vec<Part>,
}

/// One variant of one revision in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The revision of the flag that was served.
    pub revision: Revision,
    /// The variant.
    pub variant: VariantKey,
    /// What became of its requests.
    pub outcomes: Outcomes,
}

/// The open slots of one split. What is reported within a slot's grace counts in whatever order it comes; a batch
/// that comes twice counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// Every slot before it is closed.
    open_from: Slot,
    slots: BTreeMap<Slot, Open>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Open {
    parts: BTreeMap<(Revision, VariantKey), Outcomes>,
    batches: BTreeSet<u64>,
}

impl Intake {
    /// Takes reports for the slot of `now` and later ones.
    pub fn new(now: UnixMs) -> Intake {
        Intake { open_from: Slot::at(now), slots: BTreeMap::new() }
    }

    /// Adds what one batch tells of one variant in one slot. `batch` names the batch: what it tells of
    /// several variants is added with several calls, and `false` is the answer if this very part was there before.
    pub fn add(
        &mut self,
        batch: u64,
        slot: Slot,
        (revision, variant): (Revision, &VariantKey),
        outcomes: &Outcomes,
        now: UnixMs,
    ) -> Result<bool, Unacceptable> {
        outcomes.check()?;
        if slot < self.open_from || slot.ends_at().plus(GRACE) <= now {
            return Err(Unacceptable::TooLate { slot, now });
        }
        if slot.starts_at() > now.plus(FUTURE) {
            return Err(Unacceptable::FromTheFuture { slot, now });
        }
        let open = self.slots.entry(slot).or_default();
        let place = (revision, variant.clone());
        if open.parts.len() >= MAX_PARTS && !open.parts.contains_key(&place) {
            return Err(Unacceptable::TooManyParts { most: MAX_PARTS });
        }
        let name = part_of_batch(batch, revision, variant);
        if open.batches.contains(&name) {
            return Ok(false);
        }
        if open.batches.len() >= MAX_BATCHES {
            return Err(Unacceptable::TooManyBatches { most: MAX_BATCHES });
        }
        open.batches.insert(name);
        open.parts.entry(place).or_default().merge_completed(outcomes);
        Ok(true)
    }

    /// Whether an open slot holds something of a variant of a revision.
    pub fn holds(&self, slot: Slot, revision: Revision, variant: &VariantKey) -> bool {
        self.slots.get(&slot).is_some_and(|open| open.parts.contains_key(&(revision, variant.clone())))
    }

    /// How many variants and revisions its open slots hold.
    pub fn parts(&self) -> usize {
        self.slots.values().map(|open| open.parts.len()).sum()
    }

    /// Closes the slots whose grace is over, in order, empty ones included. `sources` says how many processes of the
    /// app reported for a slot.
    pub fn close(&mut self, sources: impl Fn(Slot) -> u32, now: UnixMs) -> Vec<SlotEntry> {
        let over = Slot::at(UnixMs(now.0.saturating_sub(GRACE.0)));
        if over <= self.open_from {
            return Vec::new();
        }
        let first = self.open_from.max(Slot(over.0.saturating_sub(MAX_CLOSED)));
        self.open_from = over;
        let later = self.slots.split_off(&over);
        let mut closing = core::mem::replace(&mut self.slots, later);
        let entry = |slot| {
            let parts = closing.remove(&slot).unwrap_or_default().parts.into_iter();
            let parts =
                parts.map(|((revision, variant), outcomes)| Part { revision, variant, outcomes }).collect();
            SlotEntry { slot, sources: sources(slot), parts }
        };
        (first.0..over.0).map(Slot).map(entry).collect()
    }
}

/// One batch tells of a variant in a slot once.
fn part_of_batch(batch: u64, revision: Revision, variant: &VariantKey) -> u64 {
    let bytes = batch.to_le_bytes().into_iter().chain(revision.0.to_le_bytes());
    fnv_1a(bytes.chain(variant.as_str().bytes()))
}
