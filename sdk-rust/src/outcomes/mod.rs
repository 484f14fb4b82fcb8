//! What became of requests, on its way to the server: remembered by [scopes](Scope), summed by slots of ten seconds
//! as requests end, told when a slot is over, and forgotten, counted, if the server did not take it within the slot's
//! grace: what comes later is no part of any verdict.

mod batches;
mod lowest;
mod scope;
mod sending;
mod tallies;
#[cfg(test)]
pub(crate) mod testing;
mod usage;

use std::time::Duration;

pub use self::scope::{MAX_FLAGS, Scope};
pub(crate) use self::sending::Sending;
pub(crate) use self::tallies::Tallies;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) bad: bool,
    pub(crate) cost_micros: u64,
    pub(crate) latency: Option<Duration>,
}

impl Outcome {
    /// It did what it was asked for.
    pub const fn ok() -> Outcome {
        Outcome { bad: false, cost_micros: 0, latency: None }
    }

    /// It failed.
    pub const fn error() -> Outcome {
        Outcome { bad: true, cost_micros: 0, latency: None }
    }

    /// Failed, or not.
    pub const fn failed(failed: bool) -> Outcome {
        if failed { Outcome::error() } else { Outcome::ok() }
    }

    /// What it cost, in millionths of the app's currency; nothing, if nothing is said.
    #[must_use]
    pub const fn cost_micros(self, cost_micros: u64) -> Outcome {
        Outcome { cost_micros, ..self }
    }

    /// How long it took; as long as the scope was held, if nothing is said.
    #[must_use]
    pub const fn took(self, latency: Duration) -> Outcome {
        Outcome { latency: Some(latency), ..self }
    }
}

/// How many outcomes went where since the client was made. A request counts once for each flag that was checked in
/// it and whose variant a split or an exposure chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutcomeCounts {
    /// Told, and taken by the server.
    pub taken: u64,
    /// Not told in time, or not taken by a server that could not be reached.
    pub lost: u64,
    /// Refused by the server.
    pub refused: u64,
    /// Not summed, since there was no room: too many flags in one scope, or too many variants in one slot.
    pub left_out: u64,
}
