//! What people write: when exposure is lowered, and what else is done.

mod fit;
mod print;
mod read;

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

pub use self::fit::{LONGEST, MAX_ACTIONS, Part, SHORTEST, Unfit};
pub use self::read::{MAX_RULE_BYTES, NotARule};
use crate::ids::{ChannelName, JobName};
use crate::time::DurationMs;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sli {
    /// Bad requests of all.
    ErrorRate,
    /// Good requests of all.
    Availability,
    /// The latency that 95 % of requests do not exceed.
    #[serde(rename = "latency_p95")]
    LatencyP95,
    /// The latency that 99 % of requests do not exceed.
    #[serde(rename = "latency_p99")]
    LatencyP99,
    /// The app's use of CPU, as it says itself.
    Cpu,
    /// The app's use of memory, as it says itself.
    Memory,
    /// What a request that succeeded cost.
    CostPerSuccess,
    /// What the app is going to cost this month.
    MonthlySpend,
}

/// On which side of a bound a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SideOfBound"))]
pub enum Operator {
    /// Above, not at it.
    #[serde(rename = ">")]
    Above,
    /// At it or above.
    #[serde(rename = ">=")]
    AtLeast,
    /// Below, not at it.
    #[serde(rename = "<")]
    Below,
    /// At it or below.
    #[serde(rename = "<=")]
    AtMost,
}

impl Operator {
    /// Whether a value is on this side of a bound.
    pub fn holds(self, value: u64, bound: u64) -> bool {
        match self {
            Operator::Above => value > bound,
            Operator::AtLeast => value >= bound,
            Operator::Below => value < bound,
            Operator::AtMost => value <= bound,
        }
    }
}

/// What a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// A part, in millionths: 30,000 is 3 %.
    Millionths(u64),
    /// A length of time, in microseconds.
    Microseconds(u64),
    /// An amount, in millionths of the app's currency.
    Micros(u64),
    /// So many times what is normal, in thousandths: 2,000 is twice.
    TimesBaseline(u64),
    /// A part of the app's monthly budget, in millionths: 1,000,000 is all of it.
    OfBudget(u64),
}

impl Bound {
    /// The bound in the unit of what it is compared with. `normal` is the baseline or the budget; without it there is no
    /// bound that is relative to it.
    pub fn value(self, normal: Option<u64>) -> Option<u64> {
        let times = |part: u64, whole: u64| {
            let product = normal.map(|normal| u128::from(normal) * u128::from(part) / u128::from(whole));
            product.map(|product| u64::try_from(product).unwrap_or(u64::MAX))
        };
        match self {
            Bound::Millionths(value) | Bound::Microseconds(value) | Bound::Micros(value) => Some(value),
            Bound::TimesBaseline(thousandths) => times(thousandths, 1_000),
            Bound::OfBudget(millionths) => times(millionths, 1_000_000),
        }
    }
}

/// When a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Test {
    /// A variant does worse than the control that runs at the same time. Waits for evidence that is wrong in one of
    /// a hundred harmless rollouts at most, and for an effect of some size.
    WorseThanControl {
        /// What is compared: the error rate or a latency.
        sli: Sli,
        /// How many times the control's value is worth acting on, in thousandths.
        #[serde(default = "twice")]
        by_thousandths: u64,
    },
    /// A value has passed a bound.
    Threshold {
        /// What is measured.
        sli: Sli,
        /// On which side of the bound.
        operator: Operator,
        /// The bound.
        bound: Bound,
        /// For how long it has to hold. Absent: until the evidence suffices.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sustained_ms: Option<DurationMs>,
    },
}

impl Test {
    /// What it watches.
    pub fn sli(self) -> Sli {
        match self {
            Test::WorseThanControl { sli, .. } | Test::Threshold { sli, .. } => sli,
        }
    }
}

fn twice() -> u64 {
    TWICE
}

/// The effect that is worth acting on if a rule names none: twice the control's value.
pub const TWICE: u64 = 2_000;

/// What is done when a rule holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The flag serves its off variant.
    FlagOff,
    /// The rollout goes back to no exposure.
    RolloutToZero,
    /// The release before comes back.
    RevertRelease,
    /// Every flag of the app that is not critical serves its off variant.
    DisableNonCritical,
    /// Somebody is told: the app's owner, or a channel.
    Notify(ChannelName),
    /// A job outside is run, by its name.
    Run(JobName),
}

/// A rule with what it does. Reads and prints as `error_rate > 3% for 5m -> flag off, run rollback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Unchecked")]
pub struct Guardrail {
    when: Test,
    then: Vec<Action>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GuardrailForm"))]
#[serde(deny_unknown_fields, rename = "guardrail")]
struct Unchecked {
    when: Test,
    then: Vec<Action>,
}

impl TryFrom<Unchecked> for Guardrail {
    type Error = Unfit;
    fn try_from(read: Unchecked) -> Result<Self, Unfit> {
        Guardrail::new(read.when, read.then)
    }
}

impl Guardrail {
    /// A rule, if its parts fit each other.
    pub fn new(when: Test, then: Vec<Action>) -> Result<Guardrail, Unfit> {
        fit::check(when)?;
        if then.is_empty() || then.len() > MAX_ACTIONS {
            return Err(Unfit { part: Part::Actions, expected: "one to eight actions" });
        }
        Ok(Guardrail { when, then })
    }

    /// When it holds.
    pub fn when(&self) -> Test {
        self.when
    }

    /// What is done then, in this order.
    pub fn then(&self) -> &[Action] {
        &self.then
    }

    /// The rule, if it is judged by all requests of the app that it is written for: it compares nothing and lowers no flag.
    pub fn of_the_app(&self) -> Option<Guardrail> {
        let Test::Threshold { sli, .. } = self.when else { return None };
        let lowers = |action: &Action| matches!(action, Action::FlagOff | Action::RolloutToZero);
        (sli.is_of_app() || !self.then.iter().any(lowers)).then(|| self.clone())
    }
}

impl Sli {
    /// What no variant has of its own.
    pub fn is_of_app(self) -> bool {
        matches!(self, Sli::Cpu | Sli::Memory | Sli::MonthlySpend)
    }

    /// Its name, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Sli::ErrorRate => "error_rate",
            Sli::Availability => "availability",
            Sli::LatencyP95 => "latency_p95",
            Sli::LatencyP99 => "latency_p99",
            Sli::Cpu => "cpu",
            Sli::Memory => "memory",
            Sli::CostPerSuccess => "cost_per_success",
            Sli::MonthlySpend => "monthly_spend",
        }
    }

    /// Writes a value of it: `2.1%`, `250ms`, `12.5`.
    pub(crate) fn write_value(self, f: &mut fmt::Formatter<'_>, value: u64) -> fmt::Result {
        match self {
            Sli::ErrorRate | Sli::Availability | Sli::Cpu | Sli::Memory => {
                write_decimal(f, value, 10_000)?;
                f.write_str("%")
            }
            Sli::LatencyP95 | Sli::LatencyP99 => {
                write_decimal(f, value, 1_000)?;
                f.write_str("ms")
            }
            Sli::CostPerSuccess | Sli::MonthlySpend => write_decimal(f, value, 1_000_000),
        }
    }
}

/// Writes a number of parts of one, `of_one` to each, a power of ten, without zeros at the end.
pub(crate) fn write_decimal(f: &mut fmt::Formatter<'_>, value: u64, of_one: u64) -> fmt::Result {
    let (whole, rest) = (value / of_one, value % of_one);
    if rest == 0 {
        return write!(f, "{whole}");
    }
    let digits = of_one.ilog10() as usize;
    let rest = alloc::format!("{rest:0digits$}");
    write!(f, "{whole}.{}", rest.trim_end_matches('0'))
}
