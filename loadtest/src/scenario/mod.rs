//! What is measured, against what, for how long, and by which bar: scenarios, read from files.

mod measure;
mod read;
mod table;
mod who;

use std::time::Duration;

pub(crate) use measure::Measure;
pub(crate) use read::{built_in, from_file};
pub(crate) use table::Reading;
pub(crate) use who::Who;

use crate::kinds::Kind;

/// Longest that a scenario may be planned to take, starts not counted.
pub(crate) const MAX_SCENARIO: Duration = Duration::from_secs(30 * 60);

/// Shortest and longest spell in milliseconds: a tick of the system's clock is ten, and a minute is long enough.
pub(crate) const SPELL_MS: std::ops::RangeInclusive<u64> = 100..=60_000;

/// One scenario, as its file says.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) title: String,
    /// What is done, with its settings.
    pub(crate) kind: Box<dyn Kind>,
    pub(crate) thresholds: Vec<Threshold>,
    /// Figures that others published; never measured here.
    pub(crate) quoted: Vec<Quoted>,
    /// What cannot be said by this, or not here.
    pub(crate) says: Vec<String>,
}

/// A bar for one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Threshold {
    pub(crate) measure: Measure,
    pub(crate) who: Who,
    /// Whose figure it is divided by; none for a bar in the measure's own unit.
    pub(crate) of: Option<Who>,
    pub(crate) bar: Bar,
}

/// How good a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure that somebody published.
#[derive(Debug)]
pub(crate) struct Quoted {
    pub(crate) text: String,
    pub(crate) source: String,
}

impl Bar {
    pub(crate) fn value(self) -> f64 {
        let (Bar::AtLeast(value) | Bar::AtMost(value)) = self;
        value
    }

    /// The bar, made easier to meet by a share of it.
    pub(crate) fn eased(self, share: f64) -> Bar {
        match self {
            Bar::AtLeast(least) => Bar::AtLeast(least * (1.0 - share)),
            Bar::AtMost(most) => Bar::AtMost(most * (1.0 + share)),
        }
    }

    pub(crate) fn is_met_by(self, value: f64) -> bool {
        match self {
            Bar::AtLeast(least) => value >= least,
            Bar::AtMost(most) => value <= most,
        }
    }

    /// `>=` or `<=`.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Bar::AtLeast(_) => ">=",
            Bar::AtMost(_) => "<=",
        }
    }

    /// Its name in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Bar::AtLeast(_) => "at_least",
            Bar::AtMost(_) => "at_most",
        }
    }
}
