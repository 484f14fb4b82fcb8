//! A small deterministic simulation of several equal servers over one log.
//!
//! One seed is one history: nodes that lag behind, appends and acknowledgements that are lost or late,
//! nodes that restart from a checkpoint, clocks that jump, a log that goes away or loses what it has not
//! flushed; people and agents who act on what they saw some time ago at another node; kills, proposals,
//! schedules, automation that acts on what guardrails find, and effects. What decides and folds is the real core: `decide`,
//! `Snapshot::apply`, `Entry::encode` and `decode`, checkpoints. The nodes around it are written here, in
//! the shape of the server's `state`, so that a mistake can be put in ([`Mutation`]) and be seen to break
//! a law ([`Law`]).

mod builds;
mod cast;
mod dice;
mod harm;
mod history;
mod laws;
mod log;
mod mutation;
mod node;
mod outside;
mod people;
mod world;

use std::collections::BTreeMap;

pub use self::history::Violation;
pub use self::mutation::{Law, Mutation};
use self::world::World;

/// What became of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// The laws that were broken, in the order in which that was found.
    pub violations: Vec<Violation>,
    /// How often things happened, by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// What happened, a line each, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs one seed, with a mistake in it or without.
pub fn run(seed: u64, mutation: Option<Mutation>) -> Outcome {
    finish(World::new(seed, mutation, false))
}

/// The same, with a readable trace.
pub fn run_traced(seed: u64, mutation: Option<Mutation>) -> Outcome {
    finish(World::new(seed, mutation, true))
}

fn finish(mut world: World) -> Outcome {
    world.run();
    let history = world.outside.history;
    Outcome {
        violations: history.violations,
        counts: history.counts,
        trace: history.trace.unwrap_or_default(),
    }
}
