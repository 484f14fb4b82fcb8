//! Rollouts of flags: their plans, and what people do to them.

use actix_web::http::Method;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision};
use rollout_rules::percent::Exposure;
use rollout_rules::plan::Stage;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::operation::{CHANGERS, Operation, READERS};
use super::views::{OrNull, Page, Time};
use crate::http::apps::OnlyReason;
use crate::http::problem;
use crate::http::rollouts::NewRollout;

const ROLLOUT: &str = "/v1/apps/{app}/flags/{flag}/environments/{environment}/rollout";

/// A rollout as it is now.
#[derive(JsonSchema)]
#[schemars(rename = "RolloutNow")]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) struct RolloutView {
    /// Its plan in the short form.
    plan: String,
    /// The same, stage by stage.
    stages: Vec<Stage>,
    /// The stage that stands, counted from zero.
    stage: u8,
    /// The exposure of that stage.
    exposure: Exposure,
    status: RolloutWord,
    /// Since when, if that is known.
    status_since: OrNull<Time>,
    /// Why it waits, is held or is over.
    why: OrNull<String>,
    /// Whether it is not over.
    active: bool,
    /// What keeps it at its stage; null once it is over.
    waits_for: OrNull<RolloutWaits>,
    /// Since when the stage counts; the length of a pause is added to it.
    since: Time,
    /// When the stage was held for long enough; null while its clock stands.
    due_at: OrNull<Time>,
    /// When it is completed, if nothing keeps it waiting; null while its clock stands.
    completes_at: OrNull<Time>,
    started_at: Time,
    started_by: Actor,
    /// When it raised the exposure last.
    raised_at: Time,
}

/// What a rollout does, or how it ended.
#[derive(JsonSchema)]
#[schemars(rename = "RolloutWord", rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum RolloutWord {
    /// It goes on when the stage was held for long enough.
    Running,
    /// Somebody stopped its clock.
    Paused,
    /// Somebody has to advance it.
    Waiting,
    /// The evaluator stopped its clock.
    Held,
    /// It went through all stages.
    Completed,
    /// Somebody took it to 0 %.
    Aborted,
    /// Somebody, or a scheduled change, set by hand what it would have set.
    TakenOver,
    /// Automation took it back.
    TakenBack,
    /// A kill ended it.
    Killed,
    /// The flag or its preview did not live long enough.
    Expired,
}

/// What keeps a rollout at its stage.
#[derive(JsonSchema)]
#[schemars(rename = "RolloutWaitsFor", rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum RolloutWaits {
    /// The stage is not yet held for long enough, or is about to end.
    Time,
    /// Somebody who lets it go on.
    Resume,
    /// Somebody who advances it, with the approvals that the tier asks for.
    Approval,
    /// The evaluator.
    Evaluator,
}

/// What there is to know of rollouts of a flag in an environment.
#[derive(JsonSchema)]
#[schemars(rename = "RolloutState")]
#[allow(dead_code, reason = "only its schema is used")]
struct StateOfRollout {
    app: AppKey,
    flag: FlagKey,
    environment: EnvKey,
    /// Of the flag, for `If-Match`.
    revision: Revision,
    /// What is followed if nobody names a plan, by the app's tier.
    default_plan: String,
    /// The same, stage by stage.
    default_stages: Vec<Stage>,
    /// The last rollout; null if there never was one.
    rollout: OrNull<RolloutView>,
}

/// A rollout in a list.
#[derive(JsonSchema)]
#[schemars(rename = "RolloutOfApp")]
#[allow(dead_code, reason = "only its schema is used")]
struct Listed {
    flag: FlagKey,
    environment: EnvKey,
    rollout: RolloutView,
}

fn stages() -> Value {
    json!([
        { "exposure": 1, "hold_ms": 1_800_000 }, { "exposure": 25, "hold_ms": 14_400_000, "approval": true },
        { "exposure": 100 },
    ])
}

/// One that stands at its first stage.
pub(super) fn rollout() -> Value {
    json!({
        "plan": "1%/30m,approve,25%/4h,100%", "stages": stages(), "stage": 0, "exposure": 1, "status": "running",
        "status_since": "2027-01-17T18:00:00.000Z", "why": null, "active": true, "waits_for": "time",
        "since": "2027-01-17T18:00:00.000Z", "due_at": "2027-01-17T18:30:00.000Z",
        "completes_at": "2027-01-17T22:30:00.000Z", "started_at": "2027-01-17T18:00:00.000Z",
        "started_by": { "type": "human", "name": "ada" }, "raised_at": "2027-01-17T18:00:00.000Z",
    })
}

fn state() -> Value {
    json!({
        "app": "shop", "flag": "checkout", "environment": "production", "revision": 42,
        "default_plan": "1%/30m,approve,25%/4h,100%", "default_stages": stages(), "rollout": rollout(),
    })
}

fn changing(what: &str) -> Operation {
    Operation::new(Method::POST, format!("{ROLLOUT}/{what}"), format!("{what}_rollout"))
        .by(CHANGERS)
        .change()
        .optional_body::<OnlyReason>(json!({ "reason": "Support sees complaints" }))
        .refused(&[problem::NO_ROLLOUT])
        .answers::<StateOfRollout>(200, "The rollout as it is now.", state())
        .with_header("ETag")
}

/// All of them.
pub(super) fn rollouts() -> Vec<Operation> {
    let raising = [
        problem::REVISION_REQUIRED,
        problem::AGENTS_ONLY_PROPOSE,
        problem::APPROVALS_NEEDED,
        problem::ROLES_MISSING,
        problem::GATE_MISSING,
        problem::TIER_LIMIT,
        problem::KILLED,
        problem::EXPIRED,
        problem::ENVIRONMENT_ENDED,
    ];
    vec![
        Operation::new(Method::GET, "/v1/apps/{app}/rollouts", "list_rollouts")
            .title("List the rollouts of an app")
            .about("The last one of each flag and environment that had one.")
            .by(READERS)
            .page()
            .query::<bool>("active", "Only those that are not over.")
            .query::<EnvKey>("environment", "Only in this environment.")
            .answers::<Page<Listed>>(200, "A page of rollouts, by flag.", json!({ "items": [
                { "flag": "checkout", "environment": "production", "rollout": rollout() },
            ] })),
        Operation::new(Method::GET, ROLLOUT, "get_rollout")
            .title("Show the rollout of a flag in an environment")
            .about("The last one, also after it ended, and which plan is followed if nobody names one.")
            .by(READERS)
            .answers::<StateOfRollout>(200, "The rollout.", state())
            .with_header("ETag"),
        Operation::new(Method::POST, ROLLOUT, "start_rollout")
            .title("Start a rollout")
            .about(
                "The flag is turned on at the first stage's exposure, and raised stage by stage, each held for its own time. \
                 `approve` before a stage, or `approval` in it, has it wait for somebody who advances it. A change by hand of what \
                 is served, a kill, a hold by automation and the end of the flag's life end the rollout; nothing goes on by itself.",
            )
            .by(CHANGERS)
            .change()
            .optional_body::<NewRollout>(json!({ "plan": "1%/30m,approve,25%/4h,100%", "reason": "Ready since 1.4" }))
            .refused(&raising)
            .refused(&[problem::ROLLOUT_RUNS])
            .answers::<StateOfRollout>(200, "The rollout at its first stage.", state())
            .with_header("ETag"),
        changing("pause")
            .title("Pause a rollout")
            .about("The exposure stays, and the clock of the stage stands."),
        changing("resume")
            .title("Resume a rollout that is paused")
            .about("The clock of the stage goes on where it stood.")
            .refused(&[problem::ROLLOUT_NOT_PAUSED, problem::REVISION_REQUIRED, problem::AGENTS_ONLY_PROPOSE]),
        changing("abort")
            .title("Abort a rollout")
            .about("The exposure goes to 0 %, and the flag is off if the rollout turned it on."),
        changing("advance")
            .title("Bring a rollout to its next stage")
            .about("Also before its time, and whatever it waits for: this is how a stage is approved. One stage at a time.")
            .refused(&raising),
    ]
}
