//! What the log, the feed, checks and the server's own state look like.

use std::collections::BTreeMap;

use rollout_rules::change::{Anchor, Change};
use rollout_rules::governance::Actor;
use rollout_rules::ids::{
    Digest, FlagKey, IdempotencyKey, PlanId, ProposalId, Revision, TokenId, VariantKey,
};
use schemars::JsonSchema;
use serde_json::Value;

use super::Time;

/// An entry of the log, with its position and chain hash.
#[derive(JsonSchema)]
#[schemars(rename = "LogEntry")]
pub(in crate::http::contract) struct EntryView {
    revision: Revision,
    /// The chain hash after it.
    hash: Digest,
    /// `true`: a secret is left out, so the hash cannot be reckoned from what is shown.
    redacted: Option<bool>,
    /// The version of this form.
    v: u16,
    at: Time,
    actor: Actor,
    token: Option<TokenId>,
    reason: Option<String>,
    /// An earlier entry that the writer had seen.
    anchor: Anchor,
    idempotency_key: Option<IdempotencyKey>,
    /// With an idempotency key: the fingerprint of the command.
    request: Option<Digest>,
    proposal: Option<ProposalId>,
    plan: Option<PlanId>,
    change: Change,
}

/// A part of the log.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct LogPage {
    items: Vec<EntryView>,
    /// What to give as `after` for the next page; absent at the end of the log.
    next_after: Option<Revision>,
}

/// The server.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct ServerView {
    version: String,
    revision: Revision,
    /// The time that it judges by.
    now: Time,
    /// The file system of the log; null if it does not answer, absent for those who do not operate the server.
    disk: Option<Disk>,
}

/// Room for the log.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct Disk {
    free_bytes: u64,
    total_bytes: u64,
}

/// The process runs.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct Health {
    status: String,
}

/// The server answers.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct Ready {
    ready: bool,
    revision: Revision,
}

/// The context of an evaluation.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct EvaluationBody {
    context: EvaluationContext,
}

/// Who asks: the targeting key, and any attributes beside it.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct EvaluationContext {
    /// Who or what asks; a split keeps giving it the same variant.
    #[schemars(rename = "targetingKey", length(min = 1))]
    targeting_key: String,
    #[schemars(flatten)]
    attributes: BTreeMap<String, Value>,
}

/// The answer for one flag.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct Evaluation {
    key: FlagKey,
    value: Value,
    variant: VariantKey,
    reason: String,
    metadata: BTreeMap<String, Value>,
}

/// The answers for all flags.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(in crate::http::contract) struct Evaluations {
    flags: Vec<Evaluation>,
    event_streams: Vec<EventStream>,
    metadata: BTreeMap<String, Value>,
}

/// Where changes are told.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct EventStream {
    #[schemars(rename = "type")]
    kind: String,
    url: String,
    /// After how many seconds out of sight a page gives the stream up.
    #[schemars(rename = "inactivityDelaySec")]
    inactivity_delay_sec: u32,
}

/// An error in OFREP's form.
#[derive(JsonSchema)]
pub(in crate::http::contract) struct OfrepFailure {
    /// The flag, if one was named.
    key: Option<String>,
    #[schemars(rename = "errorCode")]
    error_code: String,
    #[schemars(rename = "errorDetails")]
    error_details: String,
}
