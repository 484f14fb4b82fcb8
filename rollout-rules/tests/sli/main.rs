//! What variants do to errors and latency: how it is summed, tested and judged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod app;
mod backtest;
mod comparison;
mod guardrails;
mod intake;
mod others;
mod releases;
mod replay;
mod states;
mod summaries;
mod watch;
