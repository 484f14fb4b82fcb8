//! What a variant did lately: the last ten minutes slot by slot, the hour before as sums.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::comparison::Rate;
use super::histogram::Histogram;
use super::outcomes::Outcomes;

/// Slots that are kept one by one: ten minutes.
pub const RECENT_SLOTS: usize = 60;
/// Ten-minute sums that are kept besides: of fifty minutes.
const SUMS: usize = 5;

/// What became of requests, summed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Requests, and those that were bad.
    pub rate: Rate,
    /// Units, of each slot.
    pub units: u64,
    /// Cost in millionths of the app's currency.
    pub cost_micros: u64,
    /// How long requests took.
    pub latency: Histogram,
}

impl Sums {
    /// Adds what became of the requests of one slot.
    pub fn add(&mut self, outcomes: &Outcomes) {
        self.rate = self.rate.plus(Rate { requests: outcomes.requests, bad: outcomes.bad_requests });
        self.units = self.units.saturating_add(outcomes.units);
        self.cost_micros = self.cost_micros.saturating_add(outcomes.cost_micros);
        self.latency.merge(&outcomes.latency);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Sums) {
        self.rate = self.rate.plus(other.rate);
        self.units = self.units.saturating_add(other.units);
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
        self.latency.merge(&other.latency);
    }

    fn remove(&mut self, other: &Sums) {
        self.rate = self.rate.since(other.rate);
        self.units = self.units.saturating_sub(other.units);
        self.cost_micros = self.cost_micros.saturating_sub(other.cost_micros);
        self.latency.remove(&other.latency);
    }
}

/// What a variant did in the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lately {
    slots: VecDeque<Sums>,
    sum: Sums,
    older: VecDeque<Sums>,
    /// Slots since the last ten-minute sum was put aside.
    since_sum: usize,
}

impl Lately {
    /// Adds a slot with what became of its requests. Each slot has to be added, empty ones too.
    pub fn push<'a>(&mut self, outcomes: impl IntoIterator<Item = &'a Outcomes>) {
        let mut slot = Sums::default();
        if self.slots.len() == RECENT_SLOTS
            && let Some(oldest) = self.slots.pop_front()
        {
            self.sum.remove(&oldest);
            // Its room is used again.
            slot.latency = oldest.latency;
            slot.latency.clear();
        }
        outcomes.into_iter().for_each(|outcomes| slot.add(outcomes));
        self.sum.merge(&slot);
        self.slots.push_back(slot);
        self.since_sum += 1;
        if self.since_sum == RECENT_SLOTS {
            self.since_sum = 0;
            if self.older.len() == SUMS {
                self.older.pop_front();
            }
            self.older.push_back(self.sum.clone());
        }
    }

    /// The last ten minutes.
    pub fn recent(&self) -> &Sums {
        &self.sum
    }

    /// The last so many slots, at most ten minutes.
    pub fn last(&self, slots: usize) -> Sums {
        let mut sum = Sums::default();
        let from = self.slots.len().saturating_sub(slots);
        self.slots.range(from..).for_each(|slot| sum.merge(slot));
        sum
    }

    /// Requests and bad ones of the last so many slots, at most ten minutes.
    pub fn last_rate(&self, slots: usize) -> Rate {
        let from = self.slots.len().saturating_sub(slots);
        self.slots.range(from..).fold(Rate::default(), |sum, slot| sum.plus(slot.rate))
    }

    /// The last hour, to within ten minutes.
    pub fn hour(&self) -> Sums {
        let mut sum = self.last(self.since_sum);
        sum.merge(&self.earlier());
        sum
    }

    /// The ten-minute sums of up to fifty minutes, without what came after the last of them.
    pub fn earlier(&self) -> Sums {
        let mut sum = Sums::default();
        self.older.iter().for_each(|older| sum.merge(older));
        sum
    }
}
