//! What is asked of a node's state without HTTP, with all rights.

use rollout_rules::change::{Command, Reach};
use rollout_rules::flag::FlagKind;
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{AppKey, FlagKey, KillId};
use tidegate::state::Request;

/// Asks for a command, in the name of a test.
#[must_use]
pub fn request(test: &str, command: Command) -> Request {
    let actor = Actor::Service { name: test.to_owned() };
    Request {
        caller: Caller { actor, scope: Scope::Admin, app: None, environment: None, token: None },
        command,
        seen: None,
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

/// A boolean flag, with what flags have where nothing else is said.
#[must_use]
pub fn create_flag(app: AppKey, key: FlagKey) -> Command {
    Command::CreateFlag {
        app,
        key,
        kind: FlagKind::Boolean,
        variants: Vec::new(),
        off_variant: None,
        description: String::new(),
        owner: String::new(),
        critical: false,
        expires_at: None,
        browser: None,
    }
}
