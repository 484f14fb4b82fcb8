//! What is asked of a node's state without HTTP, with all rights.

use rollout_rules::change::{Command, Reach};
use rollout_rules::governance::{Actor, Caller, GateStanding, Scope};
use rollout_rules::ids::KillId;
use tidegate::state::Request;

/// Asks for a command, in the name of a test.
#[must_use]
pub fn request(test: &str, command: Command) -> Request {
    let actor = Actor::Service { name: test.to_owned() };
    Request {
        caller: Caller { actor, scope: Scope::Admin, app: None, environment: None, token: None },
        command,
        seen: None,
        gate: GateStanding::NotRequired,
        reason: "to see what happens".to_owned(),
        idempotency_key: None,
        plan: None,
    }
}

/// A kill.
///
/// # Panics
/// If the id is none.
#[must_use]
pub fn kill(id: &str, reach: Reach) -> Command {
    Command::Kill { kill_id: KillId::new(id).expect("an id"), reach, environment: None }
}
