//! What an app reports, and what is not taken.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::intake::GRACE;
use super::outcomes::Outcomes;
use super::slot::{Slot, moment};
use crate::ids::{FlagKey, Revision, SplitId, VariantKey};
use crate::time::{DurationMs, UnixMs};

/// Most requests in one summary: a hundred million a second.
pub const MAX_REQUESTS: u64 = 1_000_000_000;
/// Most cost of one summary: a billion of the app's currency.
pub const MAX_COST_MICROS: u64 = 1_000_000_000_000_000;
/// How far ahead of `now` a slot may begin: clocks that are a little fast are not refused.
pub const FUTURE: DurationMs = DurationMs(5_000);

/// What became of the requests that were served one variant of one split in one slot. The environment is that of
/// the token it is sent with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// The flag.
    pub flag: FlagKey,
    /// The revision of the flag that was served.
    pub flag_revision: Revision,
    /// The split that chose the variant. Requests whose variant was chosen otherwise are not reported.
    pub split: SplitId,
    /// The variant that was served.
    pub variant: VariantKey,
    /// When: any moment of the slot.
    #[serde(with = "moment")]
    #[cfg_attr(feature = "schema", schemars(with = "UnixMs"))]
    pub slot: Slot,
    /// What became of the requests.
    pub outcomes: Outcomes,
}

/// Why a summary is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unacceptable {
    /// A number that no app reaches.
    TooMany {
        /// Of which field.
        field: &'static str,
        /// The number.
        found: u64,
        /// The largest that is taken.
        most: u64,
    },
    /// There are more of a part than of the whole.
    MoreThanWhole {
        /// The field that counts the part.
        part: &'static str,
        /// How many.
        found: u64,
        /// The field that counts the whole.
        whole: &'static str,
        /// How many.
        of: u64,
    },
    /// The slot has not begun yet.
    FromTheFuture {
        /// The slot.
        slot: Slot,
        /// The time here.
        now: UnixMs,
    },
    /// The slot is closed: what is not there once its grace is over does not count.
    TooLate {
        /// The slot.
        slot: Slot,
        /// The time here.
        now: UnixMs,
    },
    /// More revisions and variants in one slot than a split has.
    TooManyParts {
        /// How many are taken.
        most: usize,
    },
    /// More batches in one slot than a split has apps.
    TooManyBatches {
        /// How many are taken.
        most: usize,
    },
}

impl Unacceptable {
    /// A word for it that does not change.
    pub fn code(&self) -> &'static str {
        match self {
            Unacceptable::TooMany { .. } => "too_many",
            Unacceptable::MoreThanWhole { .. } => "more_than_whole",
            Unacceptable::FromTheFuture { .. } => "from_the_future",
            Unacceptable::TooLate { .. } => "too_late",
            Unacceptable::TooManyParts { .. } => "too_many_parts",
            Unacceptable::TooManyBatches { .. } => "too_many_batches",
        }
    }
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unacceptable::TooMany { field, found, most } => {
                write!(f, "`{field}` is {found}, and {most} is the most for one slot")
            }
            Unacceptable::MoreThanWhole { part, found, whole, of } => {
                write!(f, "`{part}` is {found}, more than `{whole}`, which is {of}")
            }
            Unacceptable::FromTheFuture { slot, now } => {
                write!(f, "the slot {} has not begun: it is {now} here", slot.starts_at())
            }
            Unacceptable::TooLate { slot, now } => write!(
                f,
                "the slot {} is closed: it is {now} here, and a slot takes reports for {} s after its end",
                slot.starts_at(),
                GRACE.0 / 1_000
            ),
            Unacceptable::TooManyParts { most } => {
                write!(f, "a slot takes at most {most} variants and revisions of one split")
            }
            Unacceptable::TooManyBatches { most } => {
                write!(f, "a slot takes at most {most} batches for one split")
            }
        }
    }
}

impl core::error::Error for Unacceptable {}

impl Outcomes {
    /// Refuses numbers that contradict each other or that no app reaches.
    pub fn check(&self) -> Result<(), Unacceptable> {
        let measured = self.latency.count();
        let listed = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        for (field, found, most) in
            [("requests", self.requests, MAX_REQUESTS), ("cost_micros", self.cost_micros, MAX_COST_MICROS)]
        {
            if found > most {
                return Err(Unacceptable::TooMany { field, found, most });
            }
        }
        for (part, found, whole, of) in [
            ("units", self.units, "requests", self.requests),
            ("bad_requests", self.bad_requests, "requests", self.requests),
            ("latency", measured, "requests", self.requests),
            ("served", listed(self.served.units().len()), "units", self.units),
            ("bad", listed(self.bad.units().len()), "units", self.units),
            ("bad", listed(self.bad.units().len()), "bad_requests", self.bad_requests),
            ("slow", listed(self.slow.units().len()), "units", self.units),
        ] {
            if found > of {
                return Err(Unacceptable::MoreThanWhole { part, found, whole, of });
            }
        }
        Ok(())
    }
}
