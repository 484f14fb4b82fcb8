//! What the tests share: the real server under test, its API, and the real clients that drive it.

mod api;
pub mod ask;
mod binary;
mod client;
mod patience;
pub mod prerequisites;
mod server;
pub mod shop;
pub mod simulation;

pub use api::{Api, Reply, encode};
pub use binary::tidegate;
pub use client::{Client, Question, ask};
pub use patience::{PATIENCE, eventually};
pub use server::Server;
pub use shop::Shop;
