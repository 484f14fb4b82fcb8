//! The gate: what may exist in production, judged from evidence.
//!
//! [`facts`] is what readers of evidence found; everything here is a pure function of facts, policy and time.

pub mod decision;
pub mod facts;
pub mod fitted;
mod judge;
pub mod policy;
pub mod trust;
pub mod waiver;

pub use self::judge::{Subject, judge, not_its_pipeline};
