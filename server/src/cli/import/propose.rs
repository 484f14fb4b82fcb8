//! What a plan leaves to others: changes of flags that need approvals, stored as proposals.

use std::collections::BTreeMap;

use rollout_rules::change::Command;
use rollout_rules::ids::AppKey;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::perform::Outcome;
use super::plan::{Step, Thing};
use crate::cli::client::with_query;
use crate::cli::failure::Failure;
use crate::cli::proposal::{approvals_needed, waits_for};
use crate::cli::reading::{items, text};
use crate::cli::session::Session;

/// Stores changes as proposals, one of a flag: each names the flag's revision, and a second would be stale once the
/// first is applied.
#[derive(Default)]
pub(super) struct Proposer {
    /// By flag, the proposal of it.
    made: BTreeMap<Thing, String>,
    /// Those that wait already; read once.
    open: Option<Vec<Open>>,
}

/// A proposal that waits.
struct Open {
    id: String,
    seen: Option<u64>,
    needed: u64,
    command: Command,
}

impl Proposer {
    /// Proposes a change of what was seen at a revision; an error means that nothing more is to be sent.
    pub(super) fn propose(
        &mut self,
        session: &Session,
        app: &AppKey,
        step: &Step,
        seen: Option<u64>,
    ) -> Result<Outcome, Failure> {
        let (Some(command), Some(thing)) = (&step.command, &step.seen) else {
            return Ok(Outcome::NotTried { because: "this is no change that can be proposed".to_owned() });
        };
        if let Some(first) = self.made.get(thing) {
            let because = format!(
                "another change of the same flag is proposed ({first}): once that is applied, import again"
            );
            return Ok(Outcome::NotTried { because });
        }
        let (id, needed) = match self.standing(session, app, command, seen)? {
            Some(standing) => standing,
            None => {
                let body = session.with_reason(json!({ "command": command }));
                match session.client.create("/v1/proposals", &body, seen) {
                    Ok(answer) => (text(&answer.body, "id"), approvals_needed(&answer.body)),
                    Err(failure) => return Outcome::of_failure(failure),
                }
            }
        };
        self.made.insert(thing.clone(), id.clone());
        Ok(Outcome::Proposed { waits_for: waits_for(needed), id })
    }

    /// A proposal that waits and is the same: a job that imports again and again is to make no heap of them.
    fn standing(
        &mut self,
        session: &Session,
        app: &AppKey,
        command: &Value,
        seen: Option<u64>,
    ) -> Result<Option<(String, u64)>, Failure> {
        if self.open.is_none() {
            let path = with_query(&with_query("/v1/proposals", "app", app.as_str()), "state", "open");
            self.open = Some(items(&session.client.list(&path)?).iter().filter_map(Open::of).collect());
        }
        // As the server reads it, so that two ways to write it are one.
        let Ok(command) = Command::deserialize(command) else { return Ok(None) };
        let mut open = self.open.iter().flatten();
        let same = open.find(|open| open.seen == seen && open.command == command);
        Ok(same.map(|open| (open.id.clone(), open.needed)))
    }
}

impl Open {
    /// `None`: it is of a kind that this program does not know, or can be applied no more.
    fn of(proposal: &Value) -> Option<Open> {
        if proposal["outdated"].is_string() {
            return None;
        }
        Some(Open {
            id: text(proposal, "id"),
            seen: proposal["seen"].as_u64(),
            needed: approvals_needed(proposal),
            command: Command::deserialize(&proposal["command"]).ok()?,
        })
    }
}
