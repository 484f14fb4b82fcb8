//! `tidegate gate`: what it needs of the app's folder, what it asks, and how it shows a decision.

pub mod artifact;
mod check;
mod collect;
mod command;
mod decisions;
mod diff;
pub mod discover;
pub mod inventory;
mod pipeline;
pub mod presence;
pub mod render;
mod walk;

pub use command::GateCommand;
pub(super) use command::run;
pub(super) use decisions::{newest, path as decisions_path, texts, tone_of};
pub use walk::WalkError;

/// What the gate calls itself in reports that it writes. Reports that say so are no evidence.
const DRIVER: &str = "tidegate gate";
