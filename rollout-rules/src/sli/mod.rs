//! What variants do to errors, latency and cost, and when that is reason enough to lower exposure.
//!
//! Everything here is a pure fold over integers. Apps report [`Summary`]s, one for each slot of ten seconds
//! and variant that was served. [`Intake`] merges them, in whatever order they come, and closes each slot once
//! its grace is over. No clock, no randomness, no order of a hash map: the same slots give the same verdict to
//! the bit, whether they come from apps or from storage.

mod histogram;
mod intake;
mod outcomes;
mod slot;
mod summary;
mod units;

pub use histogram::{BUCKETS, Bucket, Histogram, MAX_LATENCY_US};
pub use intake::{GRACE, Intake, MAX_BATCHES, MAX_PARTS, Part, SlotEntry};
pub use outcomes::Outcomes;
pub use slot::{SLOT, Slot};
pub use summary::{FUTURE, MAX_COST_MICROS, MAX_REQUESTS, Summary, Unacceptable};
pub use units::{Listed, MAX_LISTED, Sample, SlowUnits, UnitHash, UnitList};
