//! Guardrails, whom they call, and what became of that.

use std::collections::BTreeMap;

use actix_web::http::Method;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, ChannelName, EnvKey, EvidenceId, FlagKey, JobName, Revision, VariantKey};
use rollout_rules::runbook::{Cause, ChannelTarget, EffectId, Payload, Source};
use rollout_rules::sli::guardrail::{Action, Test};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::{CHANGERS, OPERATORS, Operation, READERS, SHAPERS};
use super::views::{Page, Time};
use super::webhooks::Attempt;
use crate::http::apps::OnlyReason;
use crate::http::guardrails::{Drill, NewGuardrails};
use crate::http::problem;
use crate::http::runbook::{JobChanges, NewChannel, NewJob};

const OF_APP: &str = "/v1/apps/{app}/guardrails";
const OF_FLAG: &str = "/v1/apps/{app}/flags/{flag}/guardrails";
const DRILL: &str = "/v1/apps/{app}/flags/{flag}/environments/{environment}/drill";
const JOBS: &str = "/v1/apps/{app}/jobs";
const JOB: &str = "/v1/apps/{app}/jobs/{job}";
const CHANNELS: &str = "/v1/apps/{app}/channels";
const CHANNEL: &str = "/v1/apps/{app}/channels/{channel}";
const EFFECTS: &str = "/v1/apps/{app}/effects";

/// A guardrail in all its forms.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct GuardrailView {
    /// In its short form.
    rule: String,
    when: Test,
    then: Vec<Action>,
}

/// The rules that hold in an environment, and where they are written.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct GuardrailsInForce {
    from: Source,
    guardrails: Vec<GuardrailView>,
}

/// What is written for a flag or as an app's defaults, and what holds.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct GuardrailsView {
    app: AppKey,
    flag: Option<FlagKey>,
    /// For `If-Match`.
    revision: Revision,
    /// What is written for all environments that have no list of their own.
    everywhere: Option<Vec<GuardrailView>>,
    /// What is written for single environments.
    environments: BTreeMap<String, Vec<GuardrailView>>,
    /// What holds, by environment.
    in_force: BTreeMap<String, GuardrailsInForce>,
}

/// Something that a drill asks to be done outside.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct DrilledEffect {
    action: String,
    /// Whom it leads to.
    target: Option<String>,
    /// Why nobody can be reached so.
    problem: Option<String>,
    /// Its name, if it was asked for.
    id: Option<EffectId>,
}

/// What a drill did, or would do.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct Drilled {
    guardrail: String,
    dry_run: bool,
    /// What was lowered, in words. What is low already is not lowered again.
    lowered: Vec<String>,
    effects: Vec<DrilledEffect>,
    /// The entry, if it was done.
    revision: Option<Revision>,
}

/// A job, without what signs and opens.
#[derive(JsonSchema)]
#[schemars(rename = "Job")]
#[allow(dead_code, reason = "only its schema is used")]
struct JobView {
    name: JobName,
    url: String,
    description: String,
    payload: Payload,
    /// Whether the receiver is sent a credential.
    has_credential: bool,
    /// How many secrets sign.
    secrets: u64,
    created_at: Time,
    /// For `If-Match`.
    revision: Revision,
    /// After it was made or rotated: what signs, shown this once.
    secret: Option<String>,
}

/// A channel.
#[derive(JsonSchema)]
#[schemars(rename = "Channel")]
#[allow(dead_code, reason = "only its schema is used")]
struct ChannelView {
    name: ChannelName,
    description: String,
    target: ChannelTarget,
    created_at: Time,
    /// For `If-Match`.
    revision: Revision,
}

/// How something stands that was asked for.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum EffectState {
    Waiting,
    Done,
    Dead,
}

/// Something that a guardrail asked to be done outside.
#[derive(JsonSchema)]
#[schemars(rename = "Effect")]
#[allow(dead_code, reason = "only its schema is used")]
struct EffectView {
    /// What whoever is called gets as the idempotency key, after the name of the log.
    id: EffectId,
    app: AppKey,
    flag: Option<FlagKey>,
    environment: Option<EnvKey>,
    action: Option<String>,
    /// Whom it leads to now.
    target: Option<String>,
    guardrail: Option<String>,
    variant: Option<VariantKey>,
    cause: Cause,
    evidence: Option<EvidenceId>,
    drill: bool,
    actor: Actor,
    reason: String,
    at: Time,
    state: EffectState,
    /// How often it was tried since the server started.
    attempts: Option<u32>,
    /// When it is tried again.
    next_at: Option<Time>,
    /// Why the last attempt failed.
    problem: Option<String>,
    ended_at: Option<Time>,
    ended_by: Option<Revision>,
    /// What came back, or why it was given up.
    outcome: Option<String>,
}

/// How much is tried again.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only its schema is used")]
struct EffectsReplaying {
    replaying: u64,
}

const RULE: &str = "error_rate > 3% for 5m -> flag off, notify owner";

fn written(flag: bool) -> Value {
    let rule = json!({
        "rule": RULE, "then": ["flag_off", { "notify": "owner" }],
        "when": { "threshold": {
            "sli": "error_rate", "operator": ">", "bound": { "millionths": 30_000 }, "sustained_ms": 300_000,
        } },
    });
    let from = if flag { "flag" } else { "app" };
    let mut view = json!({
        "app": "shop", "revision": 46, "everywhere": [rule], "environments": {},
        "in_force": { "production": { "from": from, "guardrails": [rule] } },
    });
    if flag {
        view["flag"] = "checkout".into();
    }
    view
}

fn job() -> Value {
    json!({
        "name": "rollback", "url": "https://api.github.com/repos/acme/shop/dispatches", "description": "",
        "payload": { "repository_dispatch": { "event_type": "rollback" } }, "has_credential": true, "secrets": 1,
        "created_at": "2027-01-17T18:00:00.000Z", "revision": 45,
    })
}

fn channel() -> Value {
    json!({
        "name": "on-call", "description": "", "target": { "mail": { "to": ["ann@example.org"] } },
        "created_at": "2027-01-17T18:00:00.000Z", "revision": 45,
    })
}

fn effect() -> Value {
    json!({
        "id": "47.0", "app": "shop", "flag": "checkout", "environment": "production", "action": "run rollback",
        "target": "job rollback at https://api.github.com/…, as a repository dispatch", "guardrail": RULE,
        "cause": "drill", "drill": true, "actor": { "type": "human", "name": "ada" }, "reason": "drill",
        "at": "2027-01-17T18:00:00.000Z", "state": "waiting", "attempts": 1,
        "next_at": "2027-01-17T18:00:02.000Z", "problem": "the receiver answered 503",
    })
}

/// Those of guardrails themselves.
pub(super) fn guardrails() -> Vec<Operation> {
    let wanted = json!({ "guardrails": [RULE] });
    let clears = |operation: Operation| {
        operation
            .query::<EnvKey>("environment", "Only what is written for this environment.")
            .query::<String>("reason", "Why, for the log.")
    };
    vec![
        Operation::new(Method::GET, OF_APP, "get_app_guardrails")
            .title("Show an app's default guardrails, and what holds where")
            .by(READERS)
            .answers::<GuardrailsView>(200, "They.", written(false))
            .with_header("ETag"),
        Operation::new(Method::PUT, OF_APP, "set_app_guardrails")
            .title("Write an app's default guardrails anew")
            .about("Each flag without guardrails of its own has them. A rule in its short form that cannot be read is refused \
                    with the place (`at`, in bytes) and with what would be right there.")
            .by(SHAPERS)
            .change()
            .body::<NewGuardrails>(wanted.clone())
            .refused(&[problem::AGENTS_ONLY_PROPOSE])
            .answers::<GuardrailsView>(200, "As they are now.", written(false))
            .with_header("ETag"),
        clears(Operation::new(Method::DELETE, OF_APP, "clear_app_guardrails"))
            .title("Clear an app's default guardrails")
            .about("Those of its tier hold again.")
            .by(SHAPERS)
            .change()
            .refused(&[problem::AGENTS_ONLY_PROPOSE])
            .answers::<GuardrailsView>(200, "As they are now.", written(false))
            .with_header("ETag"),
        Operation::new(Method::GET, OF_FLAG, "get_flag_guardrails")
            .title("Show a flag's guardrails, and what holds where")
            .by(READERS)
            .answers::<GuardrailsView>(200, "They.", written(true))
            .with_header("ETag"),
        Operation::new(Method::PUT, OF_FLAG, "set_flag_guardrails")
            .title("Write a flag's guardrails anew, for all environments or one")
            .about("What is written here takes the place of the app's defaults; an empty list means that nothing is watched.")
            .by(CHANGERS)
            .change()
            .body::<NewGuardrails>(wanted)
            .refused(&[problem::REVISION_REQUIRED, problem::AGENTS_ONLY_PROPOSE])
            .answers::<GuardrailsView>(200, "As they are now.", written(true))
            .with_header("ETag"),
        clears(Operation::new(Method::DELETE, OF_FLAG, "clear_flag_guardrails"))
            .title("Clear a flag's guardrails, for all environments or one")
            .about("What stands above holds again.")
            .by(CHANGERS)
            .change()
            .refused(&[problem::REVISION_REQUIRED, problem::AGENTS_ONLY_PROPOSE])
            .answers::<GuardrailsView>(200, "As they are now.", written(true))
            .with_header("ETag"),
        Operation::new(Method::POST, DRILL, "drill_guardrail")
            .title("Do for real what a guardrail does, to see that it works")
            .about("The flag goes off, jobs are called, people are told, each with the word that it is a drill. With `dry_run` it is \
                    only said what would be done, and to whom.")
            .by(SHAPERS)
            .change()
            .optional_body::<Drill>(json!({ "rule": 1, "dry_run": true }))
            .refused(&[problem::AGENTS_ONLY_PROPOSE])
            .answers::<Drilled>(200, "What was done, or would be.", json!({
                "guardrail": RULE, "dry_run": true, "lowered": ["the flag is held at its off variant"],
                "effects": [{ "action": "notify owner", "target": "mail to ada@example.org" }],
            })),
    ]
}

/// Those of jobs and channels.
pub(super) fn runbook() -> Vec<Operation> {
    let mut with_secret = job();
    with_secret["secret"] = "whsec_…".into();
    let attempt = json!({ "delivered": true, "took_ms": 12, "status": 204 });
    let reason = json!({ "reason": "It moved" });
    vec![
        Operation::new(Method::GET, JOBS, "list_jobs")
            .title("List the jobs that an app's guardrails can run, without secrets")
            .by(OPERATORS)
            .page()
            .answers::<Page<JobView>>(200, "A page of jobs, by name.", json!({ "items": [job()] })),
        Operation::new(Method::POST, JOBS, "create_job")
            .title("Make a job: an address that guardrails call")
            .about("Signed as webhooks are (Standard Webhooks): the answer holds the secret, this once. `revert-release` is \
                    what `revert release` runs: it is told in `release` which artifact is `current` and which one to go \
                    `back_to`, null where none is known; a pipeline trigger in the variables `TIDEGATE_ARTIFACT`, \
                    `TIDEGATE_VERSION`, `TIDEGATE_BACK_TO` and `TIDEGATE_BACK_TO_VERSION`, empty where none is known.")
            .by(OPERATORS)
            .change()
            .body::<NewJob>(json!({
                "name": "revert-release", "url": "https://api.github.com/repos/acme/shop/dispatches",
                "payload": { "repository_dispatch": { "event_type": "rollback" } }, "credential": "ghp_example",
            }))
            .refused(&[problem::ALREADY_EXISTS])
            .answers::<JobView>(201, "The job, with its secret.", with_secret.clone())
            .with_header("Location")
            .with_header("ETag")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::PATCH, JOB, "update_job")
            .title("Change where a job is called, or its credential")
            .by(OPERATORS)
            .change()
            .body::<JobChanges>(json!({ "url": "https://ci.example.org/rollback" }))
            .answers::<JobView>(200, "The job as it is now.", job()),
        Operation::new(Method::DELETE, JOB, "remove_job")
            .title("Remove a job that no guardrail runs")
            .by(OPERATORS)
            .change()
            .optional_body::<OnlyReason>(reason.clone())
            .query::<String>("reason", "Why, if there is no body.")
            .refused(&[problem::IN_USE])
            .answers_nothing(204, "It is gone."),
        Operation::new(Method::POST, format!("{JOB}/rotate"), "rotate_job")
            .title("Draw a new secret")
            .about("The one so far signs beside it until the next rotation.")
            .by(OPERATORS)
            .change()
            .body::<OnlyReason>(json!({}))
            .answers::<JobView>(201, "The job, with its new secret.", with_secret)
            .with_header("Location")
            .with_header("ETag")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::POST, format!("{JOB}/test"), "test_job")
            .title("Call a job with the action `test`, and see what becomes of it")
            .about("A pipeline that does not look at the action runs.")
            .by(OPERATORS)
            .answers::<Attempt>(200, "What became of it.", attempt.clone()),
        Operation::new(Method::GET, CHANNELS, "list_channels")
            .title("List the channels on which an app's guardrails can tell people")
            .by(OPERATORS)
            .page()
            .answers::<Page<ChannelView>>(200, "A page of channels, by name.", json!({ "items": [channel()] })),
        Operation::new(Method::POST, CHANNELS, "create_channel")
            .title("Make a channel: mail addresses, or a chat")
            .about("`owner`, the app's owner, is always there. A chat takes `{\"text\": …}`.")
            .by(OPERATORS)
            .change()
            .body::<NewChannel>(json!({ "name": "on-call", "target": { "mail": { "to": ["ann@example.org"] } } }))
            .refused(&[problem::ALREADY_EXISTS])
            .answers::<ChannelView>(201, "The channel.", channel())
            .with_header("Location")
            .with_header("ETag")
            .with_header("Idempotency-Replayed"),
        Operation::new(Method::DELETE, CHANNEL, "remove_channel")
            .title("Remove a channel that no guardrail tells")
            .by(OPERATORS)
            .change()
            .optional_body::<OnlyReason>(reason)
            .query::<String>("reason", "Why, if there is no body.")
            .refused(&[problem::IN_USE])
            .answers_nothing(204, "It is gone."),
        Operation::new(Method::POST, format!("{CHANNEL}/test"), "test_channel")
            .title("Tell a channel that this is a test, and see what becomes of it")
            .by(OPERATORS)
            .answers::<Attempt>(200, "What became of it.", attempt),
    ]
}

/// Those of what was asked to be done outside.
pub(super) fn effects() -> Vec<Operation> {
    vec![
        Operation::new(Method::GET, EFFECTS, "list_effects")
            .title("Show what guardrails asked to be done outside, and how that stands")
            .about("Newest first: what waits, and the last that ended.")
            .by(READERS)
            .page()
            .query::<EffectState>("state", "Only what stands so.")
            .answers::<Page<EffectView>>(200, "A page of effects.", json!({ "items": [effect()] })),
        Operation::new(Method::POST, format!("{EFFECTS}/{{effect}}/replay"), "replay_effect")
            .title("Try again what was given up, under the same id")
            .about("What waits between two attempts is tried at once.")
            .by(SHAPERS)
            .change()
            .optional_body::<OnlyReason>(json!({}))
            .refused(&[problem::AGENTS_ONLY_PROPOSE])
            .answers::<EffectView>(202, "It is being tried.", effect()),
        Operation::new(Method::POST, format!("{EFFECTS}/replay"), "replay_effects")
            .title("Try again all that was given up, a hundred at most")
            .by(SHAPERS)
            .change()
            .optional_body::<OnlyReason>(json!({}))
            .refused(&[problem::AGENTS_ONLY_PROPOSE])
            .answers::<EffectsReplaying>(202, "They are being tried.", json!({ "replaying": 1 })),
    ]
}
