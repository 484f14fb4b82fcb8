//! A client that folds its feed knows what the server knows, wherever it came in.
#![cfg(feature = "regex-build")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod history;
mod properties;
mod random;
