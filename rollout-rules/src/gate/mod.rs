//! The gate: what may exist in production, judged from evidence.
//!
//! [`facts`] is what readers of evidence found; everything here is a pure function of facts, policy and time.

pub mod decision;
pub mod facts;
pub mod fitted;
pub mod glass;
mod judge;
mod pipeline;
pub mod policy;
pub mod trust;
pub mod waiver;

pub use self::judge::{Subject, judge};
pub use self::pipeline::{
    NotForProduction, PRODUCTION_EVENTS, may_ask_for_production, not_its_pipeline, unclear_issuer,
};
