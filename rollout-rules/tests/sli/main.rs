//! What variants do to errors and latency: how it is summed, tested and judged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod intake;
mod summaries;
