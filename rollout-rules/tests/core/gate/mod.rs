//! The gate: what builds are let into production, and what follows from it.

mod approvals;
mod asking;
mod bound;
mod build;
mod code;
mod decisions;
mod enforcing;
mod glasses;
mod infrastructure;
mod kept;
mod pipelines;
mod properties;
mod random;
mod same;
mod secrets;
mod signatures;
mod standing;
mod supply;
mod table;
mod waits;
mod waivers;
