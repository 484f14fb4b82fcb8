//! What variants do to errors, latency and cost, and when that is reason enough to lower exposure.
//!
//! Everything here is a pure fold over integers. Apps report [`Summary`]s, one for each slot of ten seconds
//! and variant that was served. [`Intake`] merges them, in whatever order they come, and closes each slot once
//! its grace is over. No clock, no randomness, no order of a hash map: the same slots give the same verdict to
//! the bit, whether they come from apps or from storage.

mod absolute;
mod advice;
mod app;
mod app_rule;
pub mod backtest;
mod bets;
mod burn;
mod comparison;
mod gauges;
pub mod guardrail;
mod histogram;
mod input;
mod intake;
mod lately;
mod mirror;
mod nats;
mod news;
mod outcomes;
mod parked;
mod recall;
mod recorded;
mod running;
mod seen;
mod skew;
mod slot;
mod spend;
mod stakes;
mod standing;
mod summary;
mod threshold;
mod units;
mod unusual;
mod verdict;
mod watch;
mod watched;
mod week;

pub use absolute::Absolute;
pub use advice::{FEW_REQUESTS_A_SECOND, FEW_USERS, Needed, Traffic, is_little, needed};
pub use app::{AppSlot, AppWatch, MAX_APP_RULES, MAX_SPLITS, Objectives, SplitSlot};
pub use bets::{EPOCH_SLOTS, MAX_RECALLED};
pub use burn::{BUDGET_HOURS, BURN_RULES, BurnRule, ErrorBudget};
pub use comparison::{Comparison, Evidence, Pair, Rate};
pub use gauges::Gauges;
pub use histogram::{BUCKETS, Bucket, Histogram, MAX_LATENCY_US};
pub use input::{Input, Recording};
pub use intake::{GRACE, Intake, MAX_BATCHES, MAX_PARTS, Part, SlotEntry};
pub use lately::{Lately, RECENT_SLOTS, Sums};
pub use mirror::{ADVANCE_ODDS, Mirror};
pub use nats::Nats;
pub use news::{Measurand, News, Page, Proposed};
pub use outcomes::Outcomes;
pub use parked::MAX_PARKED;
pub use recorded::{About, Acted, AppSum, RECORDING_VERSION, Recorded, RulesInForce, SUM_SLOTS, Serves};
pub use running::LARGE_DIFFERENCE_MILLIONTHS;
pub use skew::{MAX_SERVED, SKEW_ODDS, Skew};
pub use slot::{SLOT, Slot};
pub use spend::{BudgetState, Estimate, Spend, WARN_PERCENT};
pub use stakes::Share;
pub use standing::{Held, Standing};
pub use summary::{FUTURE, MAX_COST_MICROS, MAX_REQUESTS, Summary, Unacceptable};
pub use threshold::{Clock, LEAST_BAD, LEAST_REQUESTS, MEASURED_SLOTS, Measured, measure};
pub use units::{Listed, MAX_LISTED, Sample, SlowUnits, UnitHash, UnitList};
pub use verdict::{Reason, State, Verdict};
pub use watch::{ACT_ODDS, HOLD_ODDS, MAX_TESTS, MAX_WATCHED, Peers, Plan, Watch};
pub use week::Week;
