//! Why a flag answers so, what became of it, and back to what it was.

use std::collections::BTreeMap;

use actix_web::http::Method;
use rollout_rules::flag::Height;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, KillId, ProposalId, Revision, RuleId, VariantKey};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::flags::flag;
use super::governance::proposal;
use super::operation::{CHANGERS, Operation, READERS};
use super::rollouts::RolloutView;
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
    /// The flag's last rollout there, if there was one.
    rollout: OrNull<RolloutView>,
    explanation: ExplanationView,
}

/// The answer, and every step that led there.
#[derive(JsonSchema)]
#[schemars(rename = "Explanation")]
#[allow(dead_code, reason = "only its schema is used")]
struct ExplanationView {
    flag: FlagKey,
    environment: EnvKey,
    variant: VariantKey,
    /// What the app receives.
    value: Value,
    /// Why, in a word.
    reason: String,
    /// The rule that decided, if one did.
    rule: Option<RuleId>,
    /// The revision that last changed the flag there.
    revision: Revision,
    /// In the order of precedence. The last one decided.
    steps: Vec<StepView>,
}

/// Something that was looked at. What else is told of it depends on what it is.
#[derive(JsonSchema)]
#[schemars(rename = "ExplanationStep")]
#[allow(dead_code, reason = "only its schema is used")]
struct StepView {
    step: StepKind,
    /// Whether it decided the answer.
    decides: bool,
    #[schemars(flatten)]
    found: BTreeMap<String, Value>,
}

/// What was looked at.
#[derive(JsonSchema)]
#[schemars(rename = "ExplanationStepKind", rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum StepKind {
    /// A kill at `height`: `killed`, and which in `kill`.
    Kill,
    /// A hold of a guardrail or a budget: `held`, or null.
    Hold,
    /// The flag's end: `expires_at`, `expired`.
    Expiry,
    /// The preview's end: `ends_at`, or null; `ended`.
    EnvironmentEnd,
    /// A hold of the gate: `held`, or null.
    GateHold,
    /// Whether it is turned `on`, or a kill that was taken back at the height `revived` turned it off since.
    Switch,
    /// A scheduled change that has come and lowers: `id`, `at`, `off`, `exposure`.
    Schedule,
    /// A flag that it depends on: `flag`, `wanted`, `variant`, `reason`, `satisfied`, and its own `steps`.
    Prerequisite,
    /// The lists of units: `units` on them, the `unit` that was looked for, the `variant` that it gets.
    Targets,
    /// A rule: `id`, whether it `holds`, in `when` test by test with what was found, and what it `serves`.
    Rule,
    /// The rollout: `exposure`, the `unit` in `attribute`, its `bucket` in thousandths of a percent, `reached`.
    Exposure,
    /// What it `serves` whoever is reached: a variant, or the `bucket` of `total` in a split.
    Serve,
    /// What it should serve cannot be used: `problems`.
    Broken,
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

fn explanation() -> Value {
    json!({
        "flag": "checkout", "environment": "production", "variant": "off", "value": false, "reason": "not_exposed",
        "revision": 41,
        "steps": [
            { "step": "kill", "decides": false, "height": "everything", "killed": false },
            { "step": "kill", "decides": false, "height": "app", "killed": false },
            { "step": "kill", "decides": false, "height": "flag", "killed": false },
            { "step": "hold", "decides": false, "held": null },
            { "step": "expiry", "decides": false, "expires_at": "2027-02-01T18:00:00.000Z", "expired": false },
            { "step": "environment_end", "decides": false, "ends_at": null, "ended": false },
            { "step": "gate_hold", "decides": false, "held": null },
            { "step": "switch", "decides": false, "on": true },
            { "step": "rule", "decides": false, "index": 0, "id": "staff", "holds": false, "when": {
                "kind": "test", "holds": false, "attribute": "email", "found": "missing", "op": "ends_with",
                "values": ["@example.org"],
            } },
            { "step": "exposure", "decides": true, "exposure": 30, "attribute": "targetingKey", "unit": "user-17",
              "bucket": 51534, "reached": false },
        ],
    })
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
            .about(
                "`at` or `revision` names a moment that is past: what was set then is folded from the log, and judged by the \
                 clock of then. One question about the past is worked on at a time.",
            )
            .by(READERS)
            .body::<Question>(json!({ "context": { "targetingKey": "user-17" } }))
            .refused(&[problem::INVALID, problem::INVALID_CONTEXT, problem::PAST_TOO_FAR, problem::LOG_UNAVAILABLE])
            .answers::<Explained>(200, "The answer, and every step that led there.", json!({
                "app": "shop", "at": "2027-01-17T18:00:00.000Z", "log_revision": 42, "killed": null, "rollout": null,
                "explanation": explanation(),
            })),
        Operation::new(Method::POST, format!("{STATE}/revert"), "revert_flag_state")
            .title("Go back to what a flag did in an environment")
            .about("A new change like any other, with all that is asked of one. Kills, holds and the flag's life stay.")
            .by(CHANGERS)
            .change()
            .body::<Revert>(json!({ "to": 5, "reason": "It went better then" }))
            .refused(&[problem::REVISION_REQUIRED, problem::AGENTS_ONLY_PROPOSE, problem::APPROVALS_NEEDED, problem::ROLES_MISSING])
            .refused(&[problem::GATE_MISSING, problem::TIER_LIMIT, problem::KILLED, problem::EXPIRED])
            .refused(&[problem::ENVIRONMENT_ENDED, problem::HELD, problem::PREREQUISITE_CYCLE])
            .refused(&[problem::PAST_TOO_FAR, problem::NOT_PROPOSABLE, problem::ALREADY_EXISTS])
            .answers::<FlagView>(200, "The flag as it is now.", flag())
            .with_header("ETag")
            .answers::<ProposalView>(201, "The proposal, if one was asked for.", proposal()),
    ]
}
