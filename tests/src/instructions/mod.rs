//! How many instructions the hot paths take, in an optimised build. Time differs by whoever else is on the machine;
//! these do not.

mod accepted;
mod in_process;
mod over_http;
mod shop;
mod wire;

pub use accepted::{Accepted, TOLERANCE};
pub use in_process::in_process;
pub use over_http::{checks, kill, refusals, reports, unchanged};

use crate::callgrind::Count;

/// What is counted, in the order of the file of accepted counts.
pub const NAMES: [&str; 14] = [
    "single",
    "single_rules",
    "bulk_100",
    UNCHANGED_100,
    UNCHANGED_5000,
    "refused_by_rate",
    "unauthorised",
    "kill_per_client",
    "outcomes_batch",
    "check_off",
    "check_rollout",
    "check_rules",
    "check_list",
    "read_context",
];
/// An answer that nothing changed, of 100 flags.
pub const UNCHANGED_100: &str = "unchanged_100";
/// The same of 5,000.
pub const UNCHANGED_5000: &str = "unchanged_5000";

/// What one piece of work took.
#[derive(Debug)]
pub struct Measured {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// What it took.
    pub count: Count,
}

/// Counts all of them.
///
/// # Panics
/// When one cannot be counted.
#[must_use]
pub fn all() -> Vec<Measured> {
    [checks(), unchanged(), refusals(), kill(), reports(), in_process()].into_iter().flatten().collect()
}
