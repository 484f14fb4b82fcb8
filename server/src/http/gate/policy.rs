//! The policy of the gate: what it is, another one, and what another one would do.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Change, Command, GateCommand, SourceSet};
use rollout_rules::flag::{AppInfo, Tier};
use rollout_rules::gate::decision::{Decision, Judgement, Verdict};
use rollout_rules::gate::policy::{BadPolicy, Level, Policy};
use rollout_rules::gate::trust::Source;
use rollout_rules::ids::{AppKey, Digest, EnvKey};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::gate;
use crate::gate::{Gate, compiled, written};
use crate::http::Shared;
use crate::http::body::Json;
use crate::http::commands::Asking;
use crate::http::etag;
use crate::http::problem::{self, Problem};
use crate::http::reading::Reading;

/// Another policy.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPolicy {
    /// All of it.
    #[schemars(with = "Policy")]
    policy: Value,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// What is only tried. At least one of them has to be said.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriedPolicy {
    /// Another policy, all of it; none: the one in effect.
    #[serde(default)]
    #[schemars(with = "Option<Policy>")]
    policy: Option<Value>,
    /// Only the builds of this app; it has to be said with `tier` and `source`.
    #[serde(default)]
    app: Option<AppKey>,
    /// The app in another tier.
    #[serde(default)]
    tier: Option<Tier>,
    /// The app built from something else, all of it.
    #[serde(default)]
    source: Option<Source>,
}

impl TriedPolicy {
    /// What would be, if the app were so.
    fn supposed(&self, snapshot: &Arc<Snapshot>, now: UnixMs) -> Result<Arc<Snapshot>, Problem> {
        let invalid = |detail, field| Problem::new(problem::INVALID, detail).with("field", field);
        let Some(app) = &self.app else {
            if self.tier.is_some() || self.source.is_some() {
                return Err(invalid("say of which app the tier or source is", "app"));
            }
            return match self.policy {
                Some(_) => Ok(Arc::clone(snapshot)),
                None => Err(invalid("say what to try: a policy, or the tier or source of an app", "policy")),
            };
        };
        let found = snapshot.app(app);
        let found =
            found.ok_or_else(|| Problem::new(problem::NOT_FOUND, format!("there is no app `{app}`")))?;
        let mut supposed = Arc::clone(snapshot);
        if let Some(tier) = self.tier {
            let app = AppInfo { tier, ..AppInfo::clone(found.info()) };
            supposed = Arc::new(supposed.supposing(Change::AppUpdated { app }, now));
        }
        if let Some(source) = &self.source {
            let change = SourceSet { app: app.clone(), source: source.clone() };
            supposed = Arc::new(supposed.supposing(Change::SourceSet(change), now));
        }
        Ok(supposed)
    }
}

fn view(snapshot: &Snapshot) -> Value {
    json!({
        "policy": **snapshot.policy(),
        "digest": snapshot.policy_digest(),
        "revision": snapshot.policy_revision(),
    })
}

/// `GET /v1/gate/policy`.
pub async fn get(reading: Reading) -> Result<HttpResponse, Problem> {
    reading.who.reads()?;
    reading.query.only(&[])?;
    let snapshot = &reading.published.snapshot;
    let tag = etag::header(snapshot.policy_revision());
    Ok(HttpResponse::Ok().insert_header(tag).json(view(snapshot)))
}

/// `PUT /v1/gate/policy`; `If-Match` says which one was seen.
pub async fn set(asking: Asking, Json(body): Json<NewPolicy>) -> Result<HttpResponse, Problem> {
    let (policy, wrong) = vetted(read(body.policy)?).await?;
    if !wrong.is_empty() {
        return Err(invalid(&wrong));
    }
    let command = Command::Gate(GateCommand::SetPolicy { policy: Box::new(policy) });
    let applied = asking.submit(command, body.reason).await?;
    let snapshot = &applied.published.folded;
    let tag = etag::header(snapshot.policy_revision());
    Ok(HttpResponse::Ok().insert_header(tag).json(view(snapshot)))
}

/// The policy that somebody wrote, if it is one. What is out of range in it is told with what keys and Rego say.
fn read(written: Value) -> Result<Policy, Problem> {
    written::read(&written).or_else(|wrong| serde_json::from_value(written).map_err(|_| invalid(&wrong)))
}

/// A policy is refused with everything that is wrong with it.
fn invalid(wrong: &[BadPolicy]) -> Problem {
    let (field, detail) = wrong.first().map_or_else(Default::default, |first| {
        (first.field.clone(), format!("{}: {}", first.field, first.problem))
    });
    Problem::new(problem::INVALID, detail).with("field", field).with("problems", problems(wrong))
}

/// Keys are parsed and Rego is compiled: work for a thread of its own.
async fn vetted(policy: Policy) -> Result<(Policy, Vec<BadPolicy>), Problem> {
    let work = web::block(move || {
        let wrong = compiled::problems(&policy);
        (policy, wrong)
    });
    work.await.map_err(Problem::internal)
}

fn problems(wrong: &[BadPolicy]) -> Value {
    wrong.iter().map(|bad| json!({ "field": bad.field, "problem": bad.problem })).collect()
}

/// `POST /v1/gate/policy/test`: what another policy, tier or source would make of the builds that run, and which flags it would take down.
pub async fn test(
    reading: Reading,
    Json(body): Json<TriedPolicy>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    match &body.app {
        Some(app) => reading.who.reads_app(app)?,
        None => reading.who.reads_everything()?,
    }
    reading.query.only(&[])?;
    let now = shared.clock.now();
    let snapshot = body.supposed(&reading.published.snapshot, now)?;
    let gate = gate(&shared)?.clone();
    let policy = body.policy.map(read).transpose()?;
    // Trying a policy is work, from its Rego on.
    let Some(_place) = gate.enter() else {
        let detail = "builds are being judged: ask again in a moment";
        return Err(Problem::new(problem::BUSY, detail).retry_after(1));
    };
    let _desk = gate.desk().await;
    let policy = policy.unwrap_or_else(|| Policy::clone(snapshot.policy()));
    let (policy, wrong) = vetted(policy).await?;
    let digest = policy.digest();
    if !wrong.is_empty() {
        let answer = json!({ "digest": digest, "problems": problems(&wrong), "builds": [] });
        return Ok(HttpResponse::Ok().json(answer));
    }
    let only = Only { app: body.app, environment: reading.who.environment.clone() };
    let work = web::block(move || builds(&gate, (&Arc::new(policy), digest), &only, &snapshot, now));
    let builds = work.await.map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().json(json!({ "digest": digest, "problems": [], "builds": builds })))
}

/// Which builds are tried: those of one app, or of all, in all environments or in the one that the token is bound to.
struct Only {
    app: Option<AppKey>,
    environment: Option<EnvKey>,
}

/// The builds that run, by another policy, or of apps that are supposed to be otherwise.
fn builds(
    gate: &Gate,
    (policy, digest): (&Arc<Policy>, Digest),
    only: &Only,
    snapshot: &Snapshot,
    now: UnixMs,
) -> Vec<Value> {
    let compiled = gate.compiled_apart(policy, digest);
    let mut builds = Vec::new();
    for app in snapshot.apps(None).filter(|app| only.app.as_ref().is_none_or(|only| *only == app.info().key))
    {
        for record in app.environments() {
            let (app, environment) = (&app.info().key, &record.environment().key);
            if only.environment.as_ref().is_some_and(|only| only != environment) {
                continue;
            }
            let Some(current) = record.releases().current() else { continue };
            let Some(decided) = snapshot.decision(app, environment, &current.artifact) else { continue };
            let decision = &decided.decision;
            let (after, newly, problem) = match gate.try_by(decision, &compiled, snapshot, now) {
                Ok(judgement) => (Some(judgement.verdict), newly_denied(decision, &judgement), None),
                Err(error) => (None, Vec::new(), Some(error.to_string())),
            };
            let falls = after == Some(Verdict::Deny);
            let flags = if falls { snapshot.live_flags(app, environment) } else { Vec::new() };
            builds.push(json!({
                "app": app,
                "environment": environment,
                "artifact": decision.artifact,
                "decision": decision.id,
                "before": decision.verdict,
                "after": after,
                "problem": problem,
                "checks": newly,
                "flags": flags,
            }));
        }
    }
    builds
}

/// The checks that deny, and did not.
fn newly_denied(before: &Decision, after: &Judgement) -> Vec<&'static str> {
    let denied = |name| before.checks.iter().any(|check| check.name == name && check.level == Level::Deny);
    let newly = after.checks.iter().filter(|check| check.level == Level::Deny && !denied(check.name));
    newly.map(|check| check.name.as_str()).collect()
}
