//! Why a flag answers so, what became of it, and back to what it was.

use std::collections::BTreeMap;

use actix_web::http::Method;
use rollout_rules::flag::Height;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, KillId, ProposalId, Revision};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::flags::flag;
use super::governance::proposal;
use super::operation::{CHANGERS, Operation, READERS};
use super::views::{FlagView, OrNull, Page, ProposalView, Time};
use crate::http::explain::Question;
use crate::http::problem;
use crate::http::revert::Revert;

/// Why a flag answers so.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Explained {
    app: AppKey,
    /// The moment that it was judged by.
    at: Time,
    /// The revision of the log that it was judged by.
    log_revision: Revision,
    killed: OrNull<KillShown>,
    /// The answer, and every step that led there.
    explanation: BTreeMap<String, Value>,
}

/// A kill that decides.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct KillShown {
    height: Height,
    id: KillId,
    at: Time,
}

/// What happened to a flag.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Happened {
    revision: Revision,
    at: Time,
    actor: Actor,
    reason: String,
    /// The proposal whose command it was.
    proposal: OrNull<ProposalId>,
    /// The kind of change.
    kind: String,
    environment: OrNull<EnvKey>,
    /// In words.
    what: String,
    /// What differs from before, if that is known.
    changes: OrNull<Vec<Differs>>,
}

/// One part that differs.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Differs {
    /// Where.
    path: String,
    /// Null if it was not there.
    before: Value,
    /// Null if it is not there any more.
    after: Value,
}

/// What differs between two moments.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Differences {
    app: AppKey,
    flag: FlagKey,
    from: Moment,
    to: Moment,
    changes: Vec<Differs>,
}

/// A moment of the log.
#[derive(JsonSchema)]
#[schemars(rename = "LogMoment")]
#[allow(dead_code, reason = "only its schema is used")]
struct Moment {
    revision: Revision,
    at: Time,
}

/// All of them.
pub(super) fn looking_back() -> Vec<Operation> {
    const FLAG: &str = "/v1/apps/{app}/flags/{flag}";
    const STATE: &str = "/v1/apps/{app}/flags/{flag}/environments/{environment}";
    vec![
        Operation::new(Method::GET, format!("{FLAG}/history"), "list_flag_history")
            .title("Show what happened to a flag, newest first")
            .by(READERS)
            .page()
            .refused(&[problem::LOG_UNAVAILABLE])
            .answers::<Page<Happened>>(200, "A page of entries.", json!({ "items": [{
                "revision": 43, "at": "2027-01-17T18:00:00.000Z", "actor": { "type": "human", "name": "ada" },
                "reason": "Payments fail", "proposal": null, "kind": "killed", "environment": null,
                "what": "KILLED the flag", "changes": null,
            }] })),
        Operation::new(Method::GET, format!("{FLAG}/diff"), "diff_flag")
            .title("Show what differs of a flag between two revisions")
            .by(READERS)
            .query_needed::<Revision>("from", "From this revision on.")
            .query::<Revision>("to", "To this one; to now if none is named.")
            .refused(&[problem::INVALID, problem::PAST_TOO_FAR, problem::LOG_UNAVAILABLE])
            .answers::<Differences>(200, "What differs.", json!({
                "app": "shop", "flag": "checkout", "from": { "revision": 41, "at": "2027-01-16T18:00:00.000Z" },
                "to": { "revision": 42, "at": "2027-01-17T18:00:00.000Z" },
                "changes": [{ "path": "environments.production.exposure", "before": 10, "after": 30 }],
            })),
        Operation::new(Method::POST, format!("{STATE}/explain"), "explain_flag")
            .title("Explain why a flag answers somebody so, now or in the past")
            .by(READERS)
            .body::<Question>(json!({ "context": { "targetingKey": "user-17" } }))
            .refused(&[problem::INVALID, problem::INVALID_CONTEXT, problem::PAST_TOO_FAR, problem::LOG_UNAVAILABLE])
            .answers::<Explained>(200, "The answer, and every step that led there.", json!({
                "app": "shop", "at": "2027-01-17T18:00:00.000Z", "log_revision": 42, "killed": null, "explanation": {},
            })),
        Operation::new(Method::POST, format!("{STATE}/revert"), "revert_flag_state")
            .title("Go back to what a flag did in an environment")
            .about("A new change like any other, with all that is asked of one. Kills, holds and the flag's life stay.")
            .by(CHANGERS)
            .change()
            .body::<Revert>(json!({ "to": 5, "reason": "It went better then" }))
            .refused(&[problem::REVISION_REQUIRED, problem::AGENTS_ONLY_PROPOSE, problem::APPROVALS_NEEDED])
            .refused(&[problem::GATE_MISSING, problem::TIER_LIMIT, problem::KILLED, problem::EXPIRED])
            .refused(&[problem::ENVIRONMENT_ENDED, problem::HELD, problem::PREREQUISITE_CYCLE])
            .refused(&[problem::PAST_TOO_FAR, problem::NOT_PROPOSABLE, problem::ALREADY_EXISTS])
            .answers::<FlagView>(200, "The flag as it is now.", flag())
            .with_header("ETag")
            .answers::<ProposalView>(201, "The proposal, if one was asked for.", proposal()),
    ]
}
