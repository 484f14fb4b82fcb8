//! What answers look like. They are built as JSON in `http/views.rs` and in the handlers; these types exist for
//! their schemas, and the tests of every route hold the answers against them.
#![allow(dead_code, reason = "only the schemas of these types are used")]

mod paths;
mod serving;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use rollout_rules::change::Command;
use rollout_rules::condition::Condition;
use rollout_rules::flag::{
    BrowserForm, EnvironmentKind, FlagKind, Height, Hold, Kill, Prerequisite, Rule, ScheduledChange, Serve,
    Target, Tier, Variant,
};
use rollout_rules::gate::policy::Role;
use rollout_rules::governance::{Actor, Scope};
use rollout_rules::ids::{
    AppKey, Digest, EnvKey, FlagKey, KillId, ProposalId, Revision, SegmentKey, TokenId, VariantKey,
};
use rollout_rules::percent::Exposure;
use rollout_rules::proposal::StoodOn;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

pub(super) use self::paths::path_parameter;
pub(super) use self::serving::{
    EntryView, Evaluation, EvaluationBody, Evaluations, Health, LogPage, OfrepFailure, Ready, ServerView,
};
use super::rollouts::RolloutView;
use crate::http::problem;

/// A member that is always there, and may be null.
pub(super) struct OrNull<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OrNull<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrNull", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inner = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [inner, { "type": "null" }] })
    }
}

/// A moment in an answer.
pub(super) struct Time;

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// How many items a page may have.
pub(super) struct Limit;

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (usual, most) = (crate::http::paging::DEFAULT_LIMIT, crate::http::paging::MAX_LIMIT);
        json_schema!({ "type": "integer", "minimum": 1, "maximum": most, "default": usual })
    }
}

/// A page of a list.
#[derive(JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(super) struct Page<T> {
    /// The items.
    items: Vec<T>,
    /// What to give back as `cursor` for the next page; absent on the last.
    next_cursor: Option<String>,
}

/// An app.
#[derive(JsonSchema)]
pub(super) struct App {
    /// Its name in the API.
    key: AppKey,
    /// Its name for people.
    name: String,
    /// Who answers for it.
    owner: String,
    tier: Tier,
    /// What it may cost a month, in millionths of `currency`; absent: no budget is watched.
    monthly_budget_micros: Option<u64>,
    /// ISO 4217 code of the budget's currency.
    currency: Option<String>,
    created_at: Time,
    /// Attributes whose values no web page may learn from a rule; absent: none.
    sensitive: Option<Vec<String>>,
    /// For `If-Match`.
    revision: Revision,
    /// The kill of all of it, if there is one.
    killed: OrNull<Kill>,
    /// How many flags it has, archived ones included.
    flags: u64,
    /// Those that the token may see.
    environments: Vec<EnvironmentView>,
}

/// An environment of an app.
#[derive(JsonSchema)]
#[schemars(rename = "Environment")]
pub(super) struct EnvironmentView {
    /// Its name within the app.
    key: EnvKey,
    kind: EnvironmentKind,
    created_at: Time,
    /// When it dies with all its flag states; previews only.
    ends_at: Option<Time>,
    /// The kill of the app that is in effect in it, if there is one.
    killed: OrNull<Kill>,
    /// Whether its end has come; previews only.
    ended: Option<bool>,
}

/// A flag, with its state in every environment that the token may see.
#[derive(JsonSchema)]
#[schemars(rename = "Flag")]
pub(super) struct FlagView {
    /// Its name within the app.
    key: FlagKey,
    #[schemars(rename = "type")]
    kind: FlagKind,
    /// The answers it can give, in the order that splits count them.
    variants: Vec<Variant>,
    /// The answer while it is off, killed or expired.
    off_variant: VariantKey,
    /// What it is for.
    description: Option<String>,
    /// Who answers for it.
    owner: Option<String>,
    /// Critical flags stay when a budget disables the rest.
    critical: bool,
    /// How it travels to web pages; absent: not at all.
    browser: Option<BrowserForm>,
    created_at: Time,
    /// How often its life was extended.
    extensions: u32,
    /// When it was archived.
    archived_at: Option<Time>,
    app: AppKey,
    /// For `If-Match`.
    revision: Revision,
    killed: FlagKills,
    /// Its state, by environment.
    environments: BTreeMap<EnvKey, FlagState>,
    /// The guardrails that are written for it, if some are; what holds is at `/guardrails`.
    guardrails: Option<WrittenGuardrails>,
    /// By environment: where it lives shorter than was asked, since the environment allows no more.
    expiry_cut: Option<BTreeMap<EnvKey, ExpiryCut>>,
}

/// Guardrails in their short form, as they are written.
#[derive(JsonSchema)]
pub(super) struct WrittenGuardrails {
    /// In all environments that have no list of their own.
    everywhere: Option<Vec<String>>,
    /// In single environments.
    environments: BTreeMap<EnvKey, Vec<String>>,
}

/// Where a flag is killed.
#[derive(JsonSchema)]
pub(super) struct FlagKills {
    /// In all environments.
    all: OrNull<Kill>,
    /// In these.
    environments: BTreeMap<EnvKey, Kill>,
}

/// A shorter life than was asked for.
#[derive(JsonSchema)]
pub(super) struct ExpiryCut {
    asked: Time,
    expires_at: Time,
}

/// What a flag does in one environment, as it is in effect now.
#[derive(JsonSchema)]
#[schemars(rename = "FlagState")]
pub(super) struct FlagState {
    /// How it travels to web pages of this environment; absent: not at all.
    browser: Option<BrowserForm>,
    /// Why it travels as values though it is marked to travel as rules.
    browser_kept_back: Option<String>,
    on: bool,
    exposure: Exposure,
    serve: Serve,
    targets: Vec<Target>,
    rules: Vec<Rule>,
    prerequisites: Vec<Prerequisite>,
    schedule: Vec<ScheduledChange>,
    expires_at: Time,
    expired: bool,
    /// Set while automation holds it at its off variant.
    hold: OrNull<Hold>,
    /// How high the kill sits that is in effect.
    killed: OrNull<Height>,
    /// The last rollout, if there was one.
    rollout: OrNull<RolloutView>,
    /// What it does, in a few words.
    serving: String,
}

/// What became of a kill.
#[derive(JsonSchema)]
pub(super) struct Killed {
    kill_id: KillId,
    /// The revision of the log that holds it.
    revision: Revision,
    /// The log has it.
    durable: bool,
    /// The same kill came before.
    already: bool,
    /// False if it was taken back since: killing again needs a new id.
    in_effect: bool,
}

/// A kill that is in effect before the log could take it.
#[derive(JsonSchema)]
pub(super) struct KilledAhead {
    kill_id: KillId,
    /// Always false: the log does not have it yet.
    durable: bool,
    /// Whether it survives a restart of the server.
    journaled: bool,
}

/// What became of taking a kill back.
#[derive(JsonSchema)]
pub(super) struct Revived {
    revision: Revision,
    already: bool,
}

/// A segment, without its members.
#[derive(JsonSchema)]
#[schemars(rename = "Segment")]
pub(super) struct SegmentView {
    /// Its name within its scope.
    key: SegmentKey,
    /// What it is for.
    description: Option<String>,
    /// Who belongs besides its members.
    when: Option<Condition>,
    /// For `If-Match`.
    revision: Revision,
    /// How many members it has.
    members: u64,
}

/// A member of a segment: a targeting key.
#[derive(JsonSchema)]
pub(super) struct Member(String);

/// A token, without its secret.
#[derive(JsonSchema)]
#[schemars(rename = "Token")]
pub(super) struct TokenView {
    id: TokenId,
    scope: Scope,
    /// Only in this app.
    app: Option<AppKey>,
    /// Only in this environment of the app.
    environment: Option<EnvKey>,
    actor: Actor,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    /// The sites whose pages may use it, `*` for any; absent: it is no browser's key, or of a time when none were asked for.
    origins: Option<Vec<String>>,
    /// Whether its pages may tell outcomes; absent: they may not.
    outcomes: Option<bool>,
}

/// A new token, with its secret: shown this once.
#[derive(JsonSchema)]
pub(super) struct TokenMade {
    id: TokenId,
    scope: Scope,
    app: Option<AppKey>,
    environment: Option<EnvKey>,
    actor: Actor,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    /// The sites whose pages may use it.
    origins: Option<Vec<String>>,
    /// Whether its pages may tell outcomes.
    outcomes: Option<bool>,
    /// To be sent as `Authorization: Bearer …`. It cannot be shown again.
    secret: String,
}

/// What the token at hand is good for.
#[derive(JsonSchema)]
pub(super) struct Whoami {
    scope: Scope,
    /// In whose name; of the key of a page that is not told.
    actor: Option<Actor>,
    token: TokenId,
    app: Option<AppKey>,
    environment: Option<EnvKey>,
    expires_at: Option<Time>,
}

/// A stored command that waits.
#[derive(JsonSchema)]
#[schemars(rename = "Proposal")]
pub(super) struct ProposalView {
    id: ProposalId,
    app: OrNull<AppKey>,
    command: Command,
    /// Names what was shown: approving and applying ask for it.
    hash: Digest,
    /// The revision of the flag that the proposer saw.
    seen: OrNull<Revision>,
    /// What the gate stood on where it may raise production: its approvals are good for that alone. Null: it raises no production, or
    /// is older than this, and is refused there.
    stood_on: OrNull<StoodOn>,
    proposed_by: Actor,
    at: Time,
    reason: String,
    expires_at: Time,
    state: ProposalState,
    approvals: Vec<ApprovalView>,
    /// How many approvals it takes.
    needed: u8,
    /// While it is open: how many of the approvals count, one of each person.
    counted: Option<usize>,
    /// While it is open: the roles in which people have to approve, each a person of their own.
    roles: Option<Vec<RoleAskedView>>,
    /// While it is open: what the gate lacks of what it would raise, in words; empty if nothing.
    gate_missing: Option<Vec<String>>,
    /// While it is open, and what it stood on is no longer so: what changed. It has to be proposed again.
    outdated: Option<String>,
    /// After a change of the proposal: the revision that made it.
    revision: Option<Revision>,
}

/// A role in which somebody has to approve.
#[derive(JsonSchema)]
#[schemars(rename = "RoleAsked")]
pub(super) struct RoleAskedView {
    role: Role,
    /// Who did; null: nobody yet.
    by: OrNull<Actor>,
}

/// What a proposal is now.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub(super) enum ProposalState {
    Open,
    Applied,
    Rejected,
    Lapsed,
}

/// That somebody approved.
#[derive(JsonSchema)]
#[schemars(rename = "Approval")]
pub(super) struct ApprovalView {
    actor: Actor,
    at: Time,
    hash: Digest,
    /// In which role; absent: as anybody.
    role: Option<Role>,
    /// The points of the checklist that they ticked; absent: none.
    checked: Option<Vec<String>>,
}

/// What a problem means.
#[derive(JsonSchema)]
pub(super) struct ProblemPage {
    #[schemars(rename = "type")]
    kind: String,
    code: String,
    title: String,
    status: u16,
    /// What it means.
    means: String,
    /// What to do about it.
    remedy: String,
}

/// An error: problem details of RFC 9457. Other members tell programs more, by `code`.
pub(super) struct Problem;

impl JsonSchema for Problem {
    fn schema_name() -> Cow<'static, str> {
        "Problem".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let codes: Vec<&str> = problem::TABLE.iter().map(|kind| kind.code).collect();
        json_schema!({
            "description": "An error: problem details of RFC 9457. Other members tell programs more, by `code`: the \
                            `field` or `parameter`, the `current_revision`, the `limit`.",
            "type": "object",
            "properties": {
                "type": { "type": "string", "description": "The address of a page that says what to do." },
                "title": { "type": "string" },
                "status": { "type": "integer", "minimum": 400, "maximum": 599 },
                "detail": { "type": "string", "description": "What happened this time, for people." },
                "code": { "type": "string", "enum": codes, "description": "Branch on this." },
            },
            "required": ["type", "title", "status", "detail", "code"],
            "additionalProperties": true,
        })
    }
}
