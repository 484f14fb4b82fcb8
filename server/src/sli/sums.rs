//! What variants did lately, summed for people; and slot by slot for whoever judges them.

use std::collections::BTreeMap;
use std::io;

use rollout_rules::ids::{SplitId, VariantKey};
use rollout_rules::sli::{Slot, SlotEntry, Sums};
use rollout_rules::time::DurationMs;

use super::{Place, Sli, Watched};

/// Longest time that is summed at once: every file of it is read for one answer.
pub const MAX_LOOKED_BACK: DurationMs = DurationMs(8 * 24 * 3_600_000);

/// What a variant of a split did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantSums {
    /// The split that chose it.
    pub split: SplitId,
    /// The variant.
    pub variant: VariantKey,
    /// What became of its requests, whatever the revision of the flag.
    pub sums: Sums,
}

impl Sli {
    /// What the variants of a flag did in the closed slots from `from` on and before `until`, by split and variant. Where only
    /// the sum of five minutes is kept it counts where it begins. May read many files.
    pub fn sums(&self, place: &Place, from: Slot, until: Slot) -> io::Result<Vec<VariantSums>> {
        let mut sums: BTreeMap<(SplitId, VariantKey), Sums> = BTreeMap::new();
        self.rows(place, from, until, |row| {
            let Some(split) = row.split else { return };
            for part in row.parts {
                sums.entry((split.clone(), part.variant)).or_default().add(&part.outcomes);
            }
        })?;
        Ok(sums.into_iter().map(|((split, variant), sums)| VariantSums { split, variant, sums }).collect())
    }

    /// The slots of a split from `from` on and before `until` for which anything was reported of the app environment, in order, as
    /// they were closed: whoever folds them in comes to the same as whoever followed. Of what is past its first five minutes and
    /// was not watched, or is older than two days, there are only sums, which are not among them. May read many files.
    pub fn slots(&self, watched: &Watched, from: Slot, until: Slot) -> io::Result<Vec<SlotEntry>> {
        let place = Place {
            app: watched.app.clone(),
            environment: watched.environment.clone(),
            flag: watched.flag.clone(),
        };
        let mut slots: BTreeMap<Slot, SlotEntry> = BTreeMap::new();
        self.rows(&place, from, until, |row| {
            if row.slots != 1 || row.split.as_ref().is_some_and(|split| *split != watched.split) {
                return;
            }
            let empty = SlotEntry { slot: row.slot, sources: row.sources, parts: Vec::new() };
            let entry = slots.entry(row.slot).or_insert(empty);
            if row.split.is_some() {
                entry.parts = row.parts;
            }
        })?;
        Ok(slots.into_values().collect())
    }
}
