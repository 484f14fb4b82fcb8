//! Tidegate's core for JavaScript: the fold of a feed and the checks of flags, in WebAssembly. Network, storage, clocks
//! and chance are JavaScript's.
//!
//! Checks cross with numbers only: JavaScript writes a context into the inbox and gets the answer's number. Texts of JSON
//! cross when the state changes. Nothing here throws for what comes in; whatever does throw is a mistake of ours, and
//! ends the instance: JavaScript makes a new one and goes on from the last state that it kept.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod answers;
mod client;
mod context;
#[cfg(target_arch = "wasm32")]
mod fault;
#[cfg(target_arch = "wasm32")]
mod memory;
mod said;
mod shown;

pub use client::{Core, INBOX_BYTES};
