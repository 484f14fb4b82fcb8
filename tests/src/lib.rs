//! What the tests share: the real server under test, its API, and the real clients that drive it.

mod api;
pub mod ask;
mod binary;
pub mod callgrind;
mod client;
pub mod discount;
pub mod instructions;
mod patience;
pub mod prerequisites;
mod server;
pub mod shop;
pub mod simulation;
mod tool;

pub use api::{Api, Reply, encode};
pub use binary::{Optimised, cargo, connector, loadtest, optimised, tidegate};
pub use client::{Client, Question, ask};
pub use discount::Discount;
pub use patience::{PATIENCE, eventually};
pub use server::Server;
pub use shop::Shop;
pub use tool::{Ended, Tool};
