//! What a variant did lately: the last ten minutes slot by slot, the hour before as sums.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::comparison::Rate;
use super::histogram::{Counted, Histogram};
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

    fn add_kept(&mut self, slot: &Kept) {
        self.rate = self.rate.plus(slot.rate);
        self.units = self.units.saturating_add(slot.units);
        self.cost_micros = self.cost_micros.saturating_add(slot.cost_micros);
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Sums) {
        self.rate = self.rate.plus(other.rate);
        self.units = self.units.saturating_add(other.units);
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
        self.latency.merge(&other.latency);
    }
}

/// What a variant did in the last hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Lately {
    slots: VecDeque<Kept>,
    /// The latencies of all slots, one slot after the other: a list for each would take far more room.
    latencies: VecDeque<Counted>,
    sum: Sums,
    older: VecDeque<Sums>,
    /// Slots since the last ten-minute sum was put aside.
    since_sum: usize,
}

/// The sums of a slot, whose latencies are kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    rate: Rate,
    units: u64,
    cost_micros: u64,
    /// How many buckets its latencies have.
    buckets: usize,
}

impl Lately {
    /// Adds a slot with what became of its requests. Each slot has to be added, empty ones too.
    pub fn push<'a>(&mut self, outcomes: impl IntoIterator<Item = &'a Outcomes>) {
        let mut outcomes = outcomes.into_iter();
        let first = outcomes.next();
        match (first, outcomes.next()) {
            // Mostly one revision is served.
            (Some(one), None) => self.push_slot(kept(one), one.latency.counted()),
            (first, second) => {
                let mut slot = Sums::default();
                first.into_iter().chain(second).chain(outcomes).for_each(|outcomes| slot.add(outcomes));
                self.push_sums(&slot);
            }
        }
    }

    fn push_sums(&mut self, slot: &Sums) {
        let Sums { rate, units, cost_micros, ref latency } = *slot;
        let buckets = latency.counted().len();
        self.push_slot(Kept { rate, units, cost_micros, buckets }, latency.counted());
    }

    fn push_slot(&mut self, slot: Kept, latencies: &[Counted]) {
        if self.slots.len() == RECENT_SLOTS
            && let Some(oldest) = self.slots.pop_front()
        {
            self.sum.rate = self.sum.rate.since(oldest.rate);
            self.sum.units = self.sum.units.saturating_sub(oldest.units);
            self.sum.cost_micros = self.sum.cost_micros.saturating_sub(oldest.cost_micros);
            self.sum.latency.remove_counted(self.latencies.drain(..oldest.buckets));
        }
        self.sum.add_kept(&slot);
        self.sum.latency.merge_counted(latencies.iter().copied());
        make_room(&mut self.slots, 1, RECENT_SLOTS);
        self.slots.push_back(slot);
        make_room(&mut self.latencies, latencies.len(), usize::MAX);
        self.latencies.extend(latencies);
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
        let mut sum = self.last_counts(slots);
        let from = self.slots.len().saturating_sub(slots);
        let mut at = self.latencies.len() - self.slots.range(from..).map(|slot| slot.buckets).sum::<usize>();
        for slot in self.slots.range(from..) {
            sum.latency.merge_counted(self.latencies.range(at..at + slot.buckets).copied());
            at += slot.buckets;
        }
        sum
    }

    /// The same without latencies, which are most of the work.
    pub(super) fn last_counts(&self, slots: usize) -> Sums {
        let mut sum = Sums::default();
        let from = self.slots.len().saturating_sub(slots);
        self.slots.range(from..).for_each(|slot| sum.add_kept(slot));
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

    /// Requests and bad ones of [`earlier`](Lately::earlier).
    pub(super) fn earlier_rate(&self) -> Rate {
        self.older.iter().fold(Rate::default(), |sum, older| sum.plus(older.rate))
    }

    /// The ten-minute sums of up to fifty minutes, without what came after the last of them.
    pub fn earlier(&self) -> Sums {
        let mut sum = Sums::default();
        self.older.iter().for_each(|older| sum.merge(older));
        sum
    }
}

/// Makes room for so many more, and for an eighth besides: twice as much as there is would stay half empty. Never for more than
/// `most` in all; what comes then lies where what went lay, which is at hand.
fn make_room<T>(ring: &mut VecDeque<T>, more: usize, most: usize) {
    let wanted = ring.len() + more;
    if wanted > ring.capacity() {
        ring.reserve_exact((wanted + wanted / 8 + 3).min(most.max(wanted)) - ring.len());
    }
}

fn kept(outcomes: &Outcomes) -> Kept {
    Kept {
        rate: Rate { requests: outcomes.requests, bad: outcomes.bad_requests },
        units: outcomes.units,
        cost_micros: outcomes.cost_micros,
        buckets: outcomes.latency.counted().len(),
    }
}

/// How it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "what was lately")]
struct Form {
    slots: Vec<Sums>,
    sum: Sums,
    older: VecDeque<Sums>,
    since_sum: usize,
}

impl From<Lately> for Form {
    fn from(lately: Lately) -> Form {
        let mut latencies = lately.latencies.iter().copied();
        let slots = lately.slots.iter().map(|slot| {
            let mut sums = Sums::default();
            sums.add_kept(slot);
            sums.latency.merge_counted(latencies.by_ref().take(slot.buckets).collect::<Vec<_>>().into_iter());
            sums
        });
        let slots = slots.collect();
        Form { slots, sum: lately.sum, older: lately.older, since_sum: lately.since_sum }
    }
}

impl From<Form> for Lately {
    fn from(form: Form) -> Lately {
        let mut lately = Lately::default();
        form.slots.iter().for_each(|slot| lately.push_sums(slot));
        Lately { sum: form.sum, older: form.older, since_sum: form.since_sum, ..lately }
    }
}
