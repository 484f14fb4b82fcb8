//! A threshold as people write it: above 3 % for five minutes.

use serde::{Deserialize, Serialize};

use super::comparison::Rate;
use super::lately::{Lately, Sums};
use super::slot::SLOT;
use crate::sli::guardrail::{Bound, Operator, Sli};
use crate::time::DurationMs;

/// What is measured is measured over the last minute, in slots.
pub const MEASURED_SLOTS: usize = 6;
/// Fewer requests than this in all the time that a threshold was passed are no reason to act.
pub const LEAST_REQUESTS: u64 = 100;
/// Nor are fewer bad requests, where errors are counted.
pub const LEAST_BAD: u64 = 5;

/// How long a threshold has been passed. At the end of each slot the last minute is measured. While it is passed,
/// the clock runs; a minute on the good side sets it back to zero; a minute without requests stops it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    slots: u64,
    counted: Rate,
}

/// A value as it was measured, next to what it was compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// What was measured: millionths, microseconds or millionths of the currency.
    pub value: u64,
    /// The bound, in the same unit.
    pub bound: u64,
    /// For how long it has been passed.
    pub passed: DurationMs,
    /// Requests in that time, and bad ones.
    pub counted: Rate,
}

/// What an SLI is in some sums. `None` if nothing was counted that tells.
pub fn measure(sli: Sli, sums: &Sums) -> Option<u64> {
    let Rate { requests, bad } = sums.rate;
    let part = |part: u64, of: u64| {
        let millionths = u128::from(part) * 1_000_000 / u128::from(of);
        u64::try_from(millionths).unwrap_or(u64::MAX)
    };
    match sli {
        Sli::ErrorRate => (requests > 0).then(|| part(bad, requests)),
        Sli::Availability => (requests > 0).then(|| part(requests.saturating_sub(bad), requests)),
        Sli::LatencyP95 => sums.latency.quantile_us(950),
        Sli::LatencyP99 => sums.latency.quantile_us(990),
        Sli::CostPerSuccess => sums.cost_micros.checked_div(requests.saturating_sub(bad)),
        Sli::Cpu | Sli::Memory | Sli::MonthlySpend => None,
    }
}

/// What is measured, for what an SLI needs of it.
pub(super) fn last_minute(sli: Sli, lately: &Lately) -> Sums {
    match sli {
        Sli::LatencyP95 | Sli::LatencyP99 => lately.last(MEASURED_SLOTS),
        _ => lately.last_counts(MEASURED_SLOTS),
    }
}

impl Clock {
    /// Goes on by one slot. `baseline` is what the SLI is at the same time where it is normal: for the control, or for the
    /// release before.
    pub fn step(
        &mut self,
        sli: Sli,
        operator: Operator,
        bound: Bound,
        lately: &Lately,
        baseline: Option<u64>,
    ) -> Option<Measured> {
        let value = measure(sli, &last_minute(sli, lately));
        self.step_value(value, operator, bound.value(baseline)?, lately.last_rate(1))
    }

    /// The same for what is measured elsewhere, such as a gauge of the app.
    pub fn step_value(
        &mut self,
        value: Option<u64>,
        operator: Operator,
        bound: u64,
        counted: Rate,
    ) -> Option<Measured> {
        self.step_slots(1, value, operator, bound, counted)
    }

    /// The same for what is measured over so many slots at once.
    pub fn step_slots(
        &mut self,
        slots: u32,
        value: Option<u64>,
        operator: Operator,
        bound: u64,
        counted: Rate,
    ) -> Option<Measured> {
        let value = value?;
        if operator.holds(value, bound) {
            self.slots = self.slots.saturating_add(u64::from(slots));
            self.counted = self.counted.plus(counted);
        } else {
            *self = Clock::default();
        }
        let passed = DurationMs(self.slots * SLOT.0);
        Some(Measured { value, bound, passed, counted: self.counted })
    }
}

impl Measured {
    /// Whether the bound has been passed for so long, with enough requests to say so.
    pub fn is_reason(&self, sli: Sli, sustained: DurationMs) -> bool {
        let bad_enough = match sli {
            Sli::ErrorRate | Sli::Availability => self.counted.bad >= LEAST_BAD,
            _ => true,
        };
        let enough = match sli {
            Sli::Cpu | Sli::Memory | Sli::MonthlySpend => true,
            _ => self.counted.requests >= LEAST_REQUESTS,
        };
        self.passed.0 > 0 && self.passed >= sustained && bad_enough && enough
    }
}
