//! The domain of Tidegate: what flags are, who may change them, and what a check answers.
//!
//! A functional core. Nothing here does I/O, reads a clock or draws a random number: time is a value
//! that callers pass as the last argument, `now`. The same code runs in the server, in the Rust SDK and,
//! compiled to WebAssembly, in browsers, so that all of them answer alike.
//!
//! The life of a change: [`decide`](decide::decide) looks at a [`Snapshot`](snapshot::Snapshot) and a
//! [`Command`](change::Command) and answers with a [`Change`](change::Change) or a
//! [`Refusal`](decide::Refusal); the change is written to the log as an [`Entry`](change::Entry);
//! [`Snapshot::apply`](snapshot::Snapshot::apply) folds it in and is total: whatever is in the log
//! applies. [`project`](project::project) turns the entry into a [`Frame`](feed::Frame) for the SDKs,
//! which fold it with [`ClientState`](feed::ClientState) and check flags with
//! [`evaluate`](evaluate::evaluate).
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

extern crate alloc;

pub mod bucketing;
pub mod change;
pub mod compile;
pub mod condition;
pub mod context;
pub mod decide;
pub mod evaluate;
pub mod explain;
pub mod feed;
pub mod flag;
pub mod gate;
pub mod governance;
pub mod ids;
pub mod json_text;
mod name;
pub mod percent;
pub mod plan;
#[cfg(feature = "regex-build")]
pub mod project;
pub mod proposal;
pub mod release;
pub mod rollout;
pub mod runbook;
#[cfg(feature = "schema")]
mod schema;
pub mod segment;
pub mod semver;
pub mod sli;
pub mod snapshot;
pub mod table;
pub mod tally;
pub mod time;
pub mod webhook;
mod written;
