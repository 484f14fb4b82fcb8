//! The policy of the gate: what it is, another one, and what another one would do.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Command, GateCommand};
use rollout_rules::gate::decision::{Decision, Judgement, Verdict};
use rollout_rules::gate::policy::{BadPolicy, Level, Policy};
use rollout_rules::ids::Digest;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::gate;
use crate::gate::{Gate, compiled};
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
    policy: Policy,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// A policy that is only tried.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriedPolicy {
    /// All of it.
    policy: Policy,
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
    let policy = body.policy;
    let (policy, wrong) = vetted(policy).await?;
    if let Some(first) = wrong.first() {
        let detail = format!("{}: {}", first.field, first.problem);
        let problem = Problem::new(problem::INVALID, detail).with("field", first.field.as_str());
        return Err(problem.with("problems", problems(&wrong)));
    }
    let command = Command::Gate(GateCommand::SetPolicy { policy: Box::new(policy) });
    let applied = asking.submit(command, body.reason).await?;
    let snapshot = &applied.published.folded;
    let tag = etag::header(snapshot.policy_revision());
    Ok(HttpResponse::Ok().insert_header(tag).json(view(snapshot)))
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

/// `POST /v1/gate/policy/test`: what another policy would make of the builds that run, and which flags it would take down.
pub async fn test(
    reading: Reading,
    Json(body): Json<TriedPolicy>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    reading.who.reads_everything()?;
    reading.query.only(&[])?;
    let gate = gate(&shared)?.clone();
    // Trying a policy is work, from its Rego on.
    let Some(_place) = gate.enter() else {
        let detail = "builds are being judged: ask again in a moment";
        return Err(Problem::new(problem::BUSY, detail).retry_after(1));
    };
    let _desk = gate.desk().await;
    let (policy, wrong) = vetted(body.policy).await?;
    let digest = policy.digest();
    if !wrong.is_empty() {
        let answer = json!({ "digest": digest, "problems": problems(&wrong), "builds": [] });
        return Ok(HttpResponse::Ok().json(answer));
    }
    let (snapshot, now) = (Arc::clone(&reading.published.snapshot), shared.clock.now());
    let work = web::block(move || builds(&gate, &Arc::new(policy), digest, &snapshot, now));
    let builds = work.await.map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().json(json!({ "digest": digest, "problems": [], "builds": builds })))
}

/// The builds that run, by another policy.
fn builds(gate: &Gate, policy: &Arc<Policy>, digest: Digest, snapshot: &Snapshot, now: UnixMs) -> Vec<Value> {
    let compiled = gate.compiled_apart(policy, digest);
    let mut builds = Vec::new();
    for app in snapshot.apps(None) {
        for record in app.environments() {
            let (app, environment) = (&app.info().key, &record.environment().key);
            let Some(current) = record.releases().current() else { continue };
            let Some(decided) = snapshot.decision(app, environment, &current.artifact) else { continue };
            let decision = &decided.decision;
            let (after, newly, problem) = match gate.try_policy(decision, &compiled, snapshot, now) {
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
