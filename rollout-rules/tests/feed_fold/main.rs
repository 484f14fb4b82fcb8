//! A client that folds its feed knows what the server knows, wherever it came in.
#![allow(clippy::unwrap_used, reason = "tests")]

mod cases;
mod history;
mod page_cases;
mod page_server;
mod page_texts;
mod page_world;
mod pages;
mod properties;
mod random;
