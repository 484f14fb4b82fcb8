//! What was usual at this hour, for bounds that are relative where there is no control.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::lately::Sums;
use super::outcomes::Outcomes;
use super::slot::Slot;

const SLOTS_OF_AN_HOUR: u32 = 360;
const HOURS_OF_A_DAY: u32 = 24;
const DAYS: u32 = 7;

/// The sums of each hour of the last seven days, by the release that ran then. What is usual is what the release before
/// the current one did: a release that is slow is not compared with itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Week {
    current: Hours,
    before: Hours,
}

/// By the hour since 1970, in order.
type Hours = VecDeque<(u32, Sums)>;

impl Week {
    /// Adds what became of the requests of a slot. Slots come in order; a sum of five minutes counts where it begins.
    pub fn add(&mut self, slot: Slot, outcomes: &Outcomes) {
        let hour = slot.0 / SLOTS_OF_AN_HOUR;
        if self.current.back().is_none_or(|(last, _)| *last < hour) {
            self.current.push_back((hour, Sums::default()));
            let kept = |hours: &mut Hours| {
                while hours.front().is_some_and(|(first, _)| hour - first > DAYS * HOURS_OF_A_DAY) {
                    hours.pop_front();
                }
            };
            kept(&mut self.current);
            kept(&mut self.before);
        }
        if let Some((_, sums)) = self.current.back_mut() {
            sums.add(outcomes);
        }
    }

    /// Another release runs from now on: what was usual until now is what it is compared with. A release of which nothing
    /// was seen does not count.
    pub fn released(&mut self) {
        if !self.current.is_empty() {
            self.before = core::mem::take(&mut self.current);
        }
    }

    /// What the release before did in this hour of the day, on each of the last seven days on which it ran. `None`: it was not
    /// seen then.
    pub fn usual(&self, slot: Slot) -> Option<Sums> {
        let hour = slot.0 / SLOTS_OF_AN_HOUR;
        let same = |(then, _): &&(u32, Sums)| {
            let ago = hour.saturating_sub(*then);
            ago <= DAYS * HOURS_OF_A_DAY && ago.is_multiple_of(HOURS_OF_A_DAY)
        };
        let mut usual = Sums::default();
        self.before.iter().filter(same).for_each(|(_, sums)| usual.merge(sums));
        (usual.rate.requests > 0).then_some(usual)
    }
}
