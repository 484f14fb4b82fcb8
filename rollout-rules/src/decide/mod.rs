//! Decisions: what a command becomes, or why not.
//!
//! [`decide`] looks at one snapshot and may refuse; what it answers is written to the log, if no other
//! entry came in between, and [`Snapshot::apply`] then folds it without asking again.

mod refusal;

use alloc::boxed::Box;
use alloc::string::String;

pub use self::refusal::{Refusal, What};
use crate::change::{Anchor, Change, Command, ENTRY_VERSION, Entry};
use crate::governance::{Caller, GateStanding, Rules};
use crate::ids::{IdempotencyKey, PlanId, ProposalId, Revision};
use crate::snapshot::Snapshot;
use crate::time::UnixMs;

/// A command with who asks, what they saw, and what the gate says.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who asks.
    pub caller: Caller,
    /// For what.
    pub command: Command,
    /// The revision of the flag (or segment, or app) that they saw.
    pub seen: Option<Revision>,
    /// What the gate says of the app's artifact in the environment.
    pub gate: GateStanding,
    /// Why, in their words.
    pub reason: String,
    /// The caller's name for the request.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The import that it is part of.
    pub plan: Option<PlanId>,
}

/// What a command becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// A change to be written to the log.
    Change(Box<Draft>),
    /// Nothing is left to do: the same request or kill came before, or it asks for what is.
    AlreadyDone {
        /// The revision that did it, or of the thing as it is.
        revision: Revision,
    },
}

/// An entry that lacks only its anchor.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    entry: Entry,
}

impl Draft {
    /// What would change.
    pub fn change(&self) -> &Change {
        &self.entry.change
    }

    /// The entry to append; `anchor` is the position and chain hash of an earlier entry that its writer
    /// has seen.
    pub fn into_entry(self, anchor: Anchor) -> Entry {
        Entry { anchor, ..self.entry }
    }
}

/// What a command becomes now, or why it is refused.
pub fn decide(
    snapshot: &Snapshot,
    rules: &Rules,
    request: &Request,
    now: UnixMs,
) -> Result<Verdict, Refusal> {
    let _ = rules;
    let (change, proposal): (Change, Option<ProposalId>) = match &request.command {
        Command::Kill { kill_id, reach, environment } => {
            if let Some(past) = snapshot.past_kill(kill_id) {
                return Ok(Verdict::AlreadyDone { revision: past.revision });
            }
            let (kill_id, reach) = (kill_id.clone(), reach.clone());
            (Change::Killed { kill_id, reach, environment: environment.clone() }, None)
        }
        _ => return Err(Refusal::NotAllowed { who_may: "nobody yet" }),
    };
    let entry = Entry {
        version: ENTRY_VERSION,
        at: now,
        actor: request.caller.actor.clone(),
        token: request.caller.token.clone(),
        reason: request.reason.clone(),
        anchor: Anchor::default(),
        idempotency_key: request.idempotency_key.clone(),
        request: None,
        proposal,
        plan: request.plan.clone(),
        change,
    };
    Ok(Verdict::Change(Box::new(Draft { entry })))
}
