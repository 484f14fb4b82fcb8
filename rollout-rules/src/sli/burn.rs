//! How fast an app uses up the errors that its objective allows.

use alloc::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::comparison::Rate;

/// The time that an objective speaks of: thirty days, in hours.
pub const BUDGET_HOURS: usize = 30 * 24;
const MINUTES: usize = 6 * 60;
const SLOTS_OF_A_MINUTE: u32 = 6;
/// Fewer bad requests in the longer window are no reason to act.
const LEAST_BAD: u64 = 10;

/// The thirty days in slots.
const SLOTS: u32 = 30 * 24 * 360;

/// A pair of windows in which errors may be used up at most so fast. The long one says that it matters, the short
/// one that it still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurnRule {
    /// The long window, in minutes.
    pub long_minutes: usize,
    /// The short window, in minutes.
    pub short_minutes: usize,
    /// How many times as fast as would use up all within the thirty days, in thousandths.
    pub burn_thousandths: u64,
}

/// Two percent of the thirty days' errors in an hour; five percent in six hours.
pub const BURN_RULES: [BurnRule; 2] = [
    BurnRule { long_minutes: 60, short_minutes: 5, burn_thousandths: 14_400 },
    BurnRule { long_minutes: 360, short_minutes: 30, burn_thousandths: 6_000 },
];

/// What an objective allows and what has been used of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBudget {
    /// The part of requests that may be bad, in millionths: 1,000 for 99.9 %.
    allowed_millionths: u64,
    minutes: VecDeque<Rate>,
    hours: VecDeque<Rate>,
    minute: (u32, Rate),
    hour: (u32, Rate),
}

impl ErrorBudget {
    /// The budget of an objective, the part of requests that should be good, in millionths, below all.
    pub fn new(objective_millionths: u64) -> ErrorBudget {
        ErrorBudget {
            allowed_millionths: 1_000_000_u64.saturating_sub(objective_millionths).max(1),
            minutes: VecDeque::new(),
            hours: VecDeque::new(),
            minute: (0, Rate::default()),
            hour: (0, Rate::default()),
        }
    }

    /// Adds a slot. Each has to be added, empty ones too.
    pub fn push(&mut self, slot: Rate) {
        self.minute = (self.minute.0 + 1, self.minute.1.plus(slot));
        if self.minute.0 < SLOTS_OF_A_MINUTE {
            return;
        }
        let minute = core::mem::take(&mut self.minute).1;
        push(&mut self.minutes, minute, MINUTES);
        self.hour = (self.hour.0 + 1, self.hour.1.plus(minute));
        if self.hour.0 == 60 {
            let hour = core::mem::take(&mut self.hour).1;
            push(&mut self.hours, hour, BUDGET_HOURS);
        }
    }

    /// Lets slots pass of which nothing was told.
    pub fn pass(&mut self, slots: u32) {
        (0..slots.min(SLOTS)).for_each(|_| self.push(Rate::default()));
    }

    /// What became of requests in the last so many whole minutes, at most six hours.
    pub fn last(&self, minutes: usize) -> Rate {
        let from = self.minutes.len().saturating_sub(minutes);
        self.minutes.range(from..).fold(Rate::default(), |sum, minute| sum.plus(*minute))
    }

    /// How many times as fast as allowed errors came in the last so many whole minutes, in thousandths.
    pub fn burn_thousandths(&self, minutes: usize) -> u64 {
        self.used_thousandths(self.last(minutes))
    }

    /// How much of the thirty days' errors has been used, in thousandths, as if traffic stayed what it was.
    pub fn spent_thousandths(&self) -> u64 {
        let hours = self.hours.iter().fold(self.hour.1, |sum, hour| sum.plus(*hour));
        let known = self.hours.len().clamp(1, BUDGET_HOURS);
        let used = u128::from(self.used_thousandths(hours)) * known as u128 / BUDGET_HOURS as u128;
        u64::try_from(used).unwrap_or(u64::MAX)
    }

    fn used_thousandths(&self, rate: Rate) -> u64 {
        let allowed = u128::from(rate.requests) * u128::from(self.allowed_millionths);
        let used = u128::from(rate.bad) * 1_000_000_000;
        used.checked_div(allowed).map_or(0, |used| u64::try_from(used).unwrap_or(u64::MAX))
    }

    /// The rule that is broken, if one is.
    pub fn broken(&self) -> Option<BurnRule> {
        BURN_RULES.into_iter().find(|rule| {
            let burns = |minutes| self.burn_thousandths(minutes) >= rule.burn_thousandths;
            self.last(rule.long_minutes).bad >= LEAST_BAD
                && burns(rule.long_minutes)
                && burns(rule.short_minutes)
        })
    }
}

fn push(ring: &mut VecDeque<Rate>, rate: Rate, most: usize) {
    if ring.len() == most {
        ring.pop_front();
    }
    ring.push_back(rate);
}
