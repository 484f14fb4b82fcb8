//! What is known of a variant, with the numbers it is known from.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::comparison::{Evidence, Rate};
use super::guardrail::Sli;
use super::nats::Nats;
use super::slot::Slot;
use super::threshold::Measured;
use crate::ids::VariantKey;

/// What a variant is held to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Too little was seen to say anything.
    Warming,
    /// Nothing speaks against it.
    Ok,
    /// Much speaks against it: the rollout is held, and people are told.
    Suspect,
    /// It is worse, and by so much that a rule acts.
    Regressed,
    /// The app runs and nobody asks for the flag.
    NoData,
    /// The app reports nothing any more.
    Stale,
    /// The split does not serve what was planned, so that nothing can be compared.
    Invalid,
    /// It is worse, but something else is wrong at the same time that the variant cannot be blamed for, or was while the evidence
    /// came together; what began to count since may still act.
    CommonMode,
}

impl State {
    /// Whether a rollout waits in this state: all but [`Ok`](State::Ok).
    pub fn holds(self) -> bool {
        self != State::Ok
    }
}

/// What speaks for a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reason {
    /// Nothing in particular.
    Nothing,
    /// The comparison with the control that runs at the same time.
    Compared {
        /// What was compared.
        sli: Sli,
        /// The strongest evidence.
        evidence: Evidence,
        /// What the SLI is for the variant: millionths or microseconds.
        variant: u64,
        /// What it is for the control.
        control: u64,
        /// When it was begun to be watched again, if some of it was seen before that, of the same artifact.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumed: Option<Slot>,
    },
    /// A bound that was passed for some time.
    Threshold {
        /// What was measured.
        sli: Sli,
        /// What was measured, and for how long it was so.
        measured: Measured,
    },
    /// Evidence that a bound is not kept.
    Absolute {
        /// What was counted.
        sli: Sli,
        /// How strong it is.
        log: Nats,
        /// How many were counted.
        counted: u64,
        /// How many of them were bad or slow.
        bad: u64,
    },
    /// Counts of units that do not go with the planned shares.
    Skewed {
        /// How strongly they speak against them.
        log: Nats,
        /// Units that were served the variant.
        variant: u64,
        /// Units that were served anything of the split.
        all: u64,
    },
    /// Units turned bad or slow and it was not told which, so that nothing can be compared.
    Unlisted,
    /// For how many slots there was nothing.
    Silence {
        /// Slots.
        slots: u32,
    },
}

/// What is known of a variant at the end of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The slot it was found in.
    pub slot: Slot,
    /// Of which variant.
    pub variant: VariantKey,
    /// What it is held to be.
    pub state: State,
    /// Which test says so, by its place among the tests.
    pub test: Option<u8>,
    /// The numbers.
    pub reason: Reason,
    /// Whether the variant was shown to be no worse than the size that matters.
    pub shown_good: bool,
}

impl Reason {
    /// The same, where the watch was begun again at a slot and some of it is from before.
    pub(super) fn resumed_at(mut self, at: Option<Slot>) -> Reason {
        if let Reason::Compared { evidence, resumed, .. } = &mut self {
            *resumed = at.filter(|at| evidence.since < *at);
        }
        self
    }

    /// What the numbers are of, if they are of anything.
    pub fn sli(&self) -> Option<Sli> {
        match self {
            Reason::Compared { sli, .. } | Reason::Threshold { sli, .. } | Reason::Absolute { sli, .. } => {
                Some(*sli)
            }
            Reason::Nothing | Reason::Skewed { .. } | Reason::Unlisted | Reason::Silence { .. } => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Warming => "warming",
            State::Ok => "ok",
            State::Suspect => "suspect",
            State::Regressed => "regressed",
            State::NoData => "no data",
            State::Stale => "stale",
            State::Invalid => "invalid",
            State::CommonMode => "common mode",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.variant, self.state, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Nothing => Ok(()),
            Reason::Compared { sli, evidence, variant, control, resumed } => {
                let (word, times) =
                    if evidence.occasion == 1 { ("new", "") } else { ("third-time", " thrice") };
                write!(f, ": {} ", sli.name())?;
                sli.write_value(f, *variant)?;
                f.write_str(" against ")?;
                sli.write_value(f, *control)?;
                write!(
                    f,
                    "; evidence {} (acts at 100): of {} {word} {} units{times} {} are the variant's where ",
                    Thousandths(evidence.log.in_thousandths()),
                    evidence.bad_units,
                    if *sli == Sli::ErrorRate { "bad" } else { "slow" },
                    evidence.of_variant,
                )?;
                write!(
                    f,
                    "{} would be, in {} and {} requests since {}",
                    Thousandths(evidence.expected_thousandths),
                    evidence.variant.requests,
                    evidence.control.requests,
                    evidence.since.starts_at()
                )?;
                resumed.map_or(Ok(()), |resumed| {
                    let resumed = resumed.starts_at();
                    write!(
                        f,
                        "; what was seen before {resumed} is of the same artifact, and goes on counting"
                    )
                })
            }
            Reason::Threshold { sli, measured } => write_threshold(f, *sli, measured),
            Reason::Absolute { sli, log, counted, bad } => write!(
                f,
                ": {}: evidence {} (acts at 100): {bad} of {counted}",
                sli.name(),
                Thousandths(log.in_thousandths())
            ),
            Reason::Skewed { log, variant, all } => write!(
                f,
                ": {variant} of {all} units are the variant's, which is not as planned; evidence {} (holds at 1000)",
                Thousandths(log.in_thousandths())
            ),
            Reason::Unlisted => f.write_str(
                ": requests failed or were slow, and whose they were is not told: send the lists `bad` and `slow` of units",
            ),
            Reason::Silence { slots } => write!(f, ": nothing for {} s", slots * 10),
        }
    }
}

/// A value and its bound: what the month is going to cost has passed it at once or not at all, and neither that nor what a
/// process uses is counted in requests.
fn write_threshold(f: &mut fmt::Formatter<'_>, sli: Sli, measured: &Measured) -> fmt::Result {
    write!(f, ": {} ", sli.name())?;
    sli.write_value(f, measured.value)?;
    let of_spend = sli == Sli::MonthlySpend;
    let is_past = if of_spend { measured.value >= measured.bound } else { measured.passed.0 > 0 };
    f.write_str(if is_past { " past " } else { " of " })?;
    sli.write_value(f, measured.bound)?;
    if !is_past || of_spend {
        return Ok(());
    }
    write!(f, " for {} s", measured.passed.0 / 1_000)?;
    if matches!(sli, Sli::Cpu | Sli::Memory) {
        return Ok(());
    }
    let Rate { requests, bad } = measured.counted;
    write!(f, ", in {requests} requests ({bad} bad)")
}

/// A number of thousandths, with as many digits as are worth reading.
struct Thousandths(u64);

impl fmt::Display for Thousandths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            small @ 0..10_000 => write!(f, "{}.{:02}", small / 1_000, small % 1_000 / 10),
            middle @ 10_000..1_000_000 => write!(f, "{}.{}", middle / 1_000, middle % 1_000 / 100),
            large @ 1_000_000..1_000_000_000 => write!(f, "{}", large / 1_000),
            _ => f.write_str("over a million"),
        }
    }
}
