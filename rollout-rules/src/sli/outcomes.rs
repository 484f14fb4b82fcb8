//! What became of the requests of one variant in one slot.

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use super::units::{Sample, SlowUnits, UnitList};

/// What became of the requests of one variant in one slot, as one app process or all of them saw it.
///
/// Merging is associative and commutative: sums stop at their largest value, lists keep the smallest hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Outcomes {
    /// Different units whose requests these were. Where several processes report, a unit that met several
    /// counts as several.
    pub units: u64,
    /// Requests in which the flag was checked.
    pub requests: u64,
    /// Those that failed.
    #[serde(default)]
    pub bad_requests: u64,
    /// What they cost, in millionths of the app's currency.
    #[serde(default)]
    pub cost_micros: u64,
    /// How long they took, those that were measured.
    #[serde(default)]
    pub latency: Histogram,
    /// The units that were served this variant. Left out: not known, and the split is not checked for skew.
    #[serde(default = "UnitList::unknown")]
    pub served: UnitList,
    /// The units with a failed request. Left out although requests failed: not known, and variants cannot be
    /// compared in this slot.
    #[serde(default = "UnitList::unknown")]
    pub bad: UnitList,
    /// The units with a request that took `slow_from_us` or longer, each with its slowest. Left out although there are
    /// such requests: not known.
    #[serde(default = "SlowUnits::unknown")]
    pub slow: SlowUnits,
    /// From which latency on units are on the list of slow ones, in microseconds.
    #[serde(default)]
    pub slow_from_us: u64,
}

impl Outcomes {
    /// Adds what became of other requests.
    pub fn merge(&mut self, other: &Outcomes) {
        self.merge_with_lists(other, (&other.served, &other.bad, &other.slow));
    }

    /// The same of what [`Outcomes::complete_what_is_empty`] would make of them.
    pub(super) fn merge_completed(&mut self, other: &Outcomes) {
        let (no_units, no_slow) = (UnitList::default(), SlowUnits::default());
        let served = if other.requests == 0 { &no_units } else { &other.served };
        let bad = if other.bad_requests == 0 { &no_units } else { &other.bad };
        let slow = if other.latency.count() == 0 { &no_slow } else { &other.slow };
        self.merge_with_lists(other, (served, bad, slow));
    }

    fn merge_with_lists(
        &mut self,
        other: &Outcomes,
        (served, bad, slow): (&UnitList, &UnitList, &SlowUnits),
    ) {
        self.units = self.units.saturating_add(other.units);
        self.requests = self.requests.saturating_add(other.requests);
        self.bad_requests = self.bad_requests.saturating_add(other.bad_requests);
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
        self.latency.merge(&other.latency);
        self.served.merge(served);
        self.bad.merge(bad);
        self.slow.merge(slow);
        self.slow_from_us = self.slow_from_us.max(other.slow_from_us);
    }

    /// Without requests there were no units, and without failed ones no bad units: lists that were left out are
    /// then known to be empty.
    pub fn complete_what_is_empty(&mut self) {
        if self.requests == 0 {
            self.served = Sample::default();
        }
        if self.bad_requests == 0 {
            self.bad = Sample::default();
        }
        if self.latency.count() == 0 {
            self.slow = Sample::default();
        }
    }
}
