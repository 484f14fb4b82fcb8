//! Which tests make sense.

use core::fmt;

use super::{Bound, Operator, Sli, Test};
use crate::time::DurationMs;

/// Most actions of one rule.
pub const MAX_ACTIONS: usize = 8;
/// The shortest time that a bound can be asked to be passed: a slot.
pub const SHORTEST: DurationMs = DurationMs(10_000);
/// The longest.
pub const LONGEST: DurationMs = DurationMs(24 * 60 * 60 * 1_000);

/// The parts of a rule, as they stand in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is watched.
    Sli,
    /// On which side of the bound.
    Operator,
    /// The bound, or by how much a variant has to be worse.
    Bound,
    /// For how long.
    Duration,
    /// What is done.
    Actions,
}

/// A rule whose parts do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Which part does not fit.
    pub part: Part,
    /// What would.
    pub expected: &'static str,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Sli => "sli",
            Part::Operator => "operator",
            Part::Bound => "bound",
            Part::Duration => "duration",
            Part::Actions => "actions",
        };
        write!(f, "the {part} does not fit: use {}", self.expected)
    }
}

impl core::error::Error for Unfit {}

/// Refuses a test that cannot be meant.
pub(super) fn check(test: Test) -> Result<(), Unfit> {
    let unfit = |part, expected| Err(Unfit { part, expected });
    match test {
        Test::WorseThanControl { sli, by_thousandths } => {
            if !matches!(sli, Sli::ErrorRate | Sli::LatencyP95 | Sli::LatencyP99) {
                return unfit(
                    Part::Sli,
                    "error_rate, latency_p95 or latency_p99 to compare with the control",
                );
            }
            if !(1_001..=1_000_000).contains(&by_thousandths) {
                return unfit(Part::Bound, "more than 1x and at most 1000x");
            }
        }
        Test::Threshold { sli, operator, bound, sustained_ms } => {
            let above = matches!(operator, Operator::Above | Operator::AtLeast);
            if (sli == Sli::Availability) == above {
                let expected =
                    if above { "< or <=: low availability is bad" } else { "> or >=: here much is bad" };
                return unfit(Part::Operator, expected);
            }
            check_bound(sli, bound)?;
            let sustained = sustained_ms.unwrap_or(SHORTEST);
            if sustained < SHORTEST || sustained > LONGEST {
                return unfit(Part::Duration, "from 10s to 24h");
            }
            if sustained_ms.is_some() && sli == Sli::MonthlySpend {
                return unfit(Part::Duration, "no duration: a month's spend is an estimate already");
            }
            let untested = matches!(sli, Sli::Cpu | Sli::Memory | Sli::CostPerSuccess);
            if sustained_ms.is_none() && (untested || matches!(bound, Bound::TimesBaseline(_))) {
                return unfit(
                    Part::Duration,
                    "`for` and a duration: without one, only a fixed bound of errors or latency is tested",
                );
            }
        }
    }
    Ok(())
}

fn check_bound(sli: Sli, bound: Bound) -> Result<(), Unfit> {
    let fits = match (sli, bound) {
        (Sli::ErrorRate | Sli::Availability | Sli::Cpu | Sli::Memory, Bound::Millionths(part)) => {
            part <= 1_000_000
        }
        (Sli::LatencyP95 | Sli::LatencyP99, Bound::Microseconds(us)) => us > 0,
        (Sli::CostPerSuccess | Sli::MonthlySpend, Bound::Micros(_)) => true,
        (Sli::MonthlySpend, Bound::OfBudget(part)) => (1..=10_000_000).contains(&part),
        (
            Sli::ErrorRate | Sli::LatencyP95 | Sli::LatencyP99 | Sli::CostPerSuccess,
            Bound::TimesBaseline(times),
        ) => (1..=1_000_000).contains(&times),
        _ => false,
    };
    let expected = match sli {
        Sli::ErrorRate => "a percentage up to 100%, or a multiple such as `2x baseline`",
        Sli::Availability | Sli::Cpu | Sli::Memory => "a percentage up to 100%",
        Sli::LatencyP95 | Sli::LatencyP99 => "a duration such as 250ms, or a multiple such as `2x baseline`",
        Sli::CostPerSuccess => "an amount in the app's currency, or a multiple such as `2x baseline`",
        Sli::MonthlySpend => "an amount in the app's currency, `budget` or `80% of budget`",
    };
    if fits { Ok(()) } else { Err(Unfit { part: Part::Bound, expected }) }
}
