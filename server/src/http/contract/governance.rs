//! Proposals, tokens and the log.

use actix_web::http::Method;
use rollout_rules::ids::{AppKey, Revision};
use serde_json::{Value, json};

use super::operation::{ADMINS, ALL, CHANGERS, Operation, READERS, SHAPERS};
use super::views::{EntryView, LogPage, Page, ProposalState, ProposalView, TokenMade, TokenView, Whoami};
use crate::http::apps::OnlyReason;
use crate::http::problem;
use crate::http::proposals::{NewApproval, NewProposal, ShownHash};
use crate::http::tokens::NewToken;

const PROPOSAL: &str = "/v1/proposals/{id}";
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn command() -> Value {
    json!({ "do": "set_targeting", "app": "shop", "flag": "checkout", "environment": "production", "exposure": 50 })
}

pub(super) fn proposal() -> Value {
    json!({
        "id": "b7m2x9k4q3va", "app": "shop", "command": command(), "hash": HASH, "seen": 42,
        "stood_on": { "policy": HASH, "builds": [{ "environment": "production", "artifact": format!("sha256:{HASH}") }] },
        "proposed_by": { "type": "human", "name": "ada" }, "at": "2027-01-17T18:00:00.000Z", "reason": "It went well",
        "expires_at": "2027-01-24T18:00:00.000Z", "state": "open", "approvals": [], "needed": 1,
        "counted": 0, "roles": [{ "role": "platform", "by": null }], "gate_missing": [],
    })
}

/// Proposals.
pub(super) fn proposals() -> Vec<Operation> {
    vec![
        Operation::new(Method::GET, "/v1/proposals", "list_proposals")
            .title("List proposals")
            .by(READERS)
            .page()
            .query::<AppKey>("app", "Only of this app.")
            .query::<ProposalState>("state", "Only in this state.")
            .answers::<Page<ProposalView>>(200, "A page of proposals, by id.", json!({ "items": [proposal()] })),
        Operation::new(Method::POST, "/v1/proposals", "create_proposal")
            .title("Propose a change")
            .about(
                "The command waits for approvals, or for a human. `If-Match` says which revision of the flag was seen. It is \
                 refused like the change itself, were it approved.",
            )
            .by(CHANGERS)
            .change()
            .body::<NewProposal>(json!({ "command": command(), "reason": "It went well" }))
            .refused(&[problem::NOT_PROPOSABLE, problem::REVISION_REQUIRED, problem::ALREADY_EXISTS, problem::EXPIRED])
            .refused(&[problem::EXPIRY_BEYOND_CAP, problem::REASON_REQUIRED, problem::IN_USE, problem::KILLED])
            .refused(&[problem::PREREQUISITE_CYCLE, problem::NOT_KILLED, problem::KILLED_EVERYWHERE])
            .refused(&[problem::ENVIRONMENT_ENDED, problem::HELD])
            .refused(&[problem::ROLLOUT_RUNS, problem::NO_ROLLOUT, problem::ROLLOUT_NOT_PAUSED])
            .answers::<ProposalView>(201, "The proposal.", proposal())
            .with_header("Location")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::GET, PROPOSAL, "get_proposal")
            .title("Show a proposal")
            .by(READERS)
            .refused(&[problem::NOT_FOUND])
            .answers::<ProposalView>(200, "The proposal.", proposal()),
        settling("approve", "Approve a proposal as it was shown")
            .about(
                "Only a human other than the proposer. Name the hash that was shown: any change voids it. `role` says in which role \
                 of those that the policy asks for, if it is one; whoever approves as security ticks the whole checklist in \
                 `checked`.",
            )
            .by(SHAPERS)
            .body::<NewApproval>(json!({ "hash": HASH }))
            .refused(&[problem::PROPOSAL_CHANGED, problem::PROPOSAL_OUTDATED, problem::OWN_APPROVAL, problem::AGENTS_ONLY_PROPOSE])
            .refused(&[problem::ROLE_NEEDED]),
        settling("apply", "Do what a proposal says")
            .about("Only a human with the rights that its command takes. It is decided again, now.")
            .by(CHANGERS)
            .body::<ShownHash>(json!({ "hash": HASH }))
            .refused(&[problem::PROPOSAL_CHANGED, problem::PROPOSAL_OUTDATED, problem::APPROVALS_NEEDED, problem::GATE_MISSING, problem::TIER_LIMIT])
            .refused(&[problem::ROLES_MISSING])
            .refused(&[problem::ALREADY_EXISTS, problem::EXPIRED, problem::EXPIRY_BEYOND_CAP, problem::IN_USE])
            .refused(&[problem::KILLED, problem::HELD, problem::ENVIRONMENT_ENDED, problem::PREREQUISITE_CYCLE])
            .refused(&[problem::REASON_REQUIRED, problem::NOT_KILLED, problem::KILLED_EVERYWHERE])
            .refused(&[problem::REVISION_REQUIRED, problem::AGENTS_ONLY_PROPOSE])
            .refused(&[problem::ROLLOUT_RUNS, problem::NO_ROLLOUT, problem::ROLLOUT_NOT_PAUSED]),
        settling("reject", "Turn a proposal down, or withdraw one's own")
            .by(CHANGERS)
            .optional_body::<OnlyReason>(json!({ "reason": "Not before the holidays" }))
            .refused(&[problem::AGENTS_ONLY_PROPOSE]),
    ]
}

fn settling(what: &str, title: &str) -> Operation {
    Operation::new(Method::POST, format!("{PROPOSAL}/{what}"), format!("{what}_proposal"))
        .title(title)
        .change()
        .refused(&[problem::PROPOSAL_CLOSED])
        .answers::<ProposalView>(200, "The proposal as it is now.", proposal())
}

fn token() -> Value {
    json!({
        "id": "k3v9q2m7x4ab", "scope": "sdk-server", "app": "shop", "environment": "production",
        "actor": { "type": "service", "name": "sdk-server-k3v9q2m7x4ab" }, "created_at": "2027-01-17T18:00:00.000Z",
    })
}

/// Tokens.
pub(super) fn tokens() -> Vec<Operation> {
    let mut made = token();
    made["secret"] = "tg_sdk-server_k3v9q2m7x4ab_…".into();
    let mut revoked = token();
    revoked["revoked_at"] = "2027-01-18T18:00:00.000Z".into();
    vec![
        Operation::new(Method::GET, "/v1/tokens", "list_tokens")
            .title("List tokens, without secrets")
            .about("Those that were revoked for 30 days; the log knows of all.")
            .by(ADMINS)
            .page()
            .answers::<Page<TokenView>>(200, "A page of tokens, by id.", json!({ "items": [token()] })),
        Operation::new(Method::POST, "/v1/tokens", "create_token")
            .title("Make a token")
            .about("The answer holds the secret, this once. Tokens of editors and pipelines are for one app, those of SDKs for one environment.")
            .by(ADMINS)
            .change()
            .body::<NewToken>(json!({ "scope": "sdk-server", "app": "shop", "environment": "production" }))
            .refused(&[problem::ALREADY_EXISTS])
            .answers::<TokenMade>(201, "The token, with its secret.", made)
            .with_header("Location")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::DELETE, "/v1/tokens/{token}", "revoke_token")
            .title("Revoke a token")
            .about("It stops working at once, and so do the streams that it opened. Thirty days later only the log knows of it.")
            .by(ADMINS)
            .change()
            .optional_body::<OnlyReason>(json!({ "reason": "It leaked" }))
            .query::<String>("reason", "Why, if there is no body.")
            .answers::<TokenView>(200, "The token.", revoked),
        Operation::new(Method::GET, "/v1/whoami", "whoami")
            .title("Show what the token at hand is good for")
            .by(ALL)
            .answers::<Whoami>(200, "Its scope, bounds and actor.", json!({
                "scope": "operator", "actor": { "type": "human", "name": "ada" }, "token": "k3v9q2m7x4ab",
            })),
    ]
}

fn entry() -> Value {
    json!({
        "revision": 43, "hash": HASH, "v": 1, "at": "2027-01-17T18:00:00.000Z",
        "actor": { "type": "human", "name": "ada" }, "token": "k3v9q2m7x4ab", "reason": "Payments fail",
        "anchor": { "revision": 42, "hash": HASH },
        "change": { "kind": "killed", "kill_id": "incident-7", "reach": { "app": { "app": "shop" } } },
    })
}

/// The log.
pub(super) fn log() -> Vec<Operation> {
    let event = format!("event: entry\nid: 43\ndata: {}\n\n", entry());
    vec![
        Operation::new(Method::GET, "/v1/log", "list_log")
            .title("Read the log, from the oldest entry")
            .by(READERS)
            .query::<Revision>("after", "Only entries after this revision.")
            .query::<super::views::Limit>("limit", "Entries of a page.")
            .query::<AppKey>("app", "Only what concerns this app, and what concerns all.")
            .refused(&[problem::LOG_UNAVAILABLE])
            .answers::<LogPage>(200, "A page of entries.", json!({ "items": [entry()], "next_after": 43 })),
        Operation::new(Method::GET, "/v1/log/stream", "follow_log")
            .title("Follow the log as it grows")
            .about("Server-sent events, one for each entry as it becomes durable; `data` is a LogEntry, `id` its revision.")
            .by(READERS)
            .query::<Revision>("after", "Only entries after this revision.")
            .query::<AppKey>("app", "Only what concerns this app, and what concerns all.")
            .header("Last-Event-ID", false, "Go on after this revision")
            .refused(&[problem::LOG_UNAVAILABLE, problem::TOO_MANY_STREAMS])
            .answers_events::<EntryView>("Entries.", &event),
    ]
}
