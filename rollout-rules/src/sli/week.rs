//! What was usual at this hour, for bounds that are relative where there is no control.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::lately::Sums;
use super::outcomes::Outcomes;
use super::slot::Slot;
use crate::release::ArtifactDigest;

const SLOTS_OF_AN_HOUR: u32 = 360;
const HOURS_OF_A_DAY: u32 = 24;
const DAYS: u32 = 7;

/// The sums of each hour of the last seven days of the release that runs, and of the one before it. What is usual is what the
/// release before did in its last seven days, for as long as the current one runs: a release that is slow is not compared with
/// itself. While the first release runs nothing is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Week {
    current: Hours,
    before: Hours,
    /// Which artifact ran in the current hours, and which before, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact: Option<ArtifactDigest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_before: Option<ArtifactDigest>,
}

/// By the hour since 1970, in order.
type Hours = VecDeque<(u32, Sums)>;

impl Week {
    /// Adds what became of the requests of a slot. Slots come in order; a sum of five minutes counts where it begins.
    pub fn add(&mut self, slot: Slot, outcomes: &Outcomes) {
        let hour = slot.0 / SLOTS_OF_AN_HOUR;
        if self.current.back().is_none_or(|(last, _)| *last < hour) {
            self.current.push_back((hour, Sums::default()));
            while self.current.front().is_some_and(|(first, _)| hour - first > DAYS * HOURS_OF_A_DAY) {
                self.current.pop_front();
            }
        }
        if let Some((_, sums)) = self.current.back_mut() {
            sums.add(outcomes);
        }
    }

    /// Another release runs from now on: what was usual until now is what it is compared with. A release of which nothing
    /// was seen does not count. One that is gone back to goes on where it was, and is compared with what it did before: what
    /// the one that is taken back did is usual for nobody.
    pub fn released(&mut self, artifact: Option<ArtifactDigest>) {
        if artifact.is_some() && artifact == self.artifact_before {
            self.current = self.before.clone();
        } else if !self.current.is_empty() {
            self.before = core::mem::take(&mut self.current);
            self.artifact_before = self.artifact;
        }
        self.artifact = artifact;
    }

    /// What the release before did in this hour of the day, on each of the last seven days on which it ran. `None`: it was not
    /// seen then.
    pub fn usual(&self, slot: Slot) -> Option<Sums> {
        let hour = slot.0 / SLOTS_OF_AN_HOUR;
        let same = |(then, _): &&(u32, Sums)| hour.abs_diff(*then).is_multiple_of(HOURS_OF_A_DAY);
        let mut usual = Sums::default();
        self.before.iter().filter(same).for_each(|(_, sums)| usual.merge(sums));
        (usual.rate.requests > 0).then_some(usual)
    }
}
