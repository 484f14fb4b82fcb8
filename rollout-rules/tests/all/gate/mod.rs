//! The gate: what builds are let into production, and what follows from it.

mod approvals;
mod asking;
mod build;
mod code;
mod decisions;
mod enforcing;
mod infrastructure;
mod kept;
mod properties;
mod random;
mod signatures;
mod standing;
mod supply;
mod table;
mod waivers;
