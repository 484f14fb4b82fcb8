//! What an app is going to cost this month.

use alloc::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::{DAY, UnixMs};

/// Days that are remembered, besides the current one.
const KEPT_DAYS: usize = 62;
/// Whole days that are compared with as many before: weekdays differ, weeks less.
const WEEK: u64 = 7;
/// What a day has cost says what it will cost once an hour of it has passed.
const LEAST_OF_A_DAY_MS: u64 = 3_600_000;
/// From which part of the budget on people are warned, in percent.
pub const WARN_PERCENT: u64 = 80;

/// What was reported as cost, day by day (UTC).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spend {
    days: BTreeMap<u64, u64>,
}

/// What a month costs, in millionths of the app's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// So far.
    pub spent_micros: u64,
    /// By its end, if it goes on as in the last days.
    pub expected_micros: u64,
}

/// Where an estimate stands against the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    /// Below 80 %.
    Within,
    /// From 80 % on.
    Near,
    /// From 100 % on.
    Over,
}

impl Spend {
    /// Adds cost that was reported at a moment. Order does not matter.
    pub fn add(&mut self, cost_micros: u64, at: UnixMs) {
        let day = self.days.entry(at.0 / DAY.0).or_default();
        *day = day.saturating_add(cost_micros);
        while self.days.len() > KEPT_DAYS {
            self.days.pop_first();
        }
    }

    fn day(&self, day: u64) -> u64 {
        self.days.get(&day).copied().unwrap_or(0)
    }

    /// The cost of the month that `now` is in. Each day to come costs what the last seven whole days did on average, and as much
    /// more or less as they did than the seven before them, for each week that it is later; with fewer than fourteen whole
    /// days their mean. The first day of all is whole only if nothing else is known: it began somewhen. Within it the rest of
    /// the day goes on as it began.
    pub fn estimate(&self, now: UnixMs) -> Estimate {
        let today = now.0 / DAY.0;
        let (first, end) = month(now);
        let spent = (first..=today).fold(0_u64, |sum, day| sum.saturating_add(self.day(day)));
        let oldest = self.days.keys().next().map_or(today, |oldest| (*oldest).min(today));
        let sum = |from: u64, to: u64| (from..to).map(|day| i128::from(self.day(day))).sum::<i128>();
        let whole = today.saturating_sub(oldest + 1);
        let (mean, growth) = if oldest == today {
            // A day that has hardly begun is no measure of one.
            let gone_ms = (now.0 % DAY.0).max(LEAST_OF_A_DAY_MS);
            (i128::from(self.day(today)) * i128::from(DAY.0) / i128::from(gone_ms), 0)
        } else if whole == 0 {
            (i128::from(self.day(oldest)), 0)
        } else {
            let days = whole.min(WEEK);
            let mean = sum(today - days, today) / i128::from(days);
            let has_trend = whole >= 2 * WEEK;
            let before = has_trend.then(|| sum(today - 2 * WEEK, today - WEEK) / i128::from(WEEK));
            (mean, before.map_or(0, |before| mean - before))
        };
        // The middle of the last week is its fourth day.
        let at_day = |day: u64| (mean + growth * i128::from(day + 4 - today) / i128::from(WEEK)).max(0);
        let rest_of_today = at_day(today) * i128::from(DAY.0 - now.0 % DAY.0) / i128::from(DAY.0);
        let to_come: i128 = (today + 1..end).map(at_day).sum::<i128>() + rest_of_today;
        let to_come = u64::try_from(to_come).unwrap_or(u64::MAX);
        Estimate { spent_micros: spent, expected_micros: spent.saturating_add(to_come) }
    }
}

impl Estimate {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Estimate) -> Estimate {
        Estimate {
            spent_micros: self.spent_micros.saturating_add(other.spent_micros),
            expected_micros: self.expected_micros.saturating_add(other.expected_micros),
        }
    }

    /// Where it stands against a budget.
    pub fn against(self, budget_micros: u64) -> BudgetState {
        let percent = |of: u64| u128::from(budget_micros) * u128::from(of) / 100;
        match u128::from(self.expected_micros) {
            expected if expected >= percent(100) => BudgetState::Over,
            expected if expected >= percent(WARN_PERCENT) => BudgetState::Near,
            _ => BudgetState::Within,
        }
    }
}

/// When a moment's month began (UTC).
pub(super) fn month_began(at: UnixMs) -> UnixMs {
    UnixMs(month_of(at).saturating_mul(DAY.0))
}

/// The first day of a moment's month, counted from 1970-01-01.
pub(super) fn month_of(now: UnixMs) -> u64 {
    month(now).0
}

/// The first day of a moment's month, and the first of the next, counted from 1970-01-01.
fn month(now: UnixMs) -> (u64, u64) {
    let seconds = i64::try_from(now.0 / 1_000).unwrap_or(i64::MAX);
    let at =
        ::time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(::time::OffsetDateTime::UNIX_EPOCH);
    let first = (now.0 / DAY.0).saturating_sub(u64::from(at.day()) - 1);
    (first, first + u64::from(at.month().length(at.year())))
}
