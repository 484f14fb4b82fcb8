//! The gate over HTTP: evidence comes in and a decision goes out; what was decided, and by what.

mod identity;
pub mod policy;
pub mod roles;
pub mod source;
mod upload;
pub mod waivers;

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use rollout_rules::change::{Command, GateCommand};
use rollout_rules::flag::EnvironmentKind;
use rollout_rules::gate::decision::{Answer, Decided, Decision, Occasion};
use rollout_rules::governance::{Actor, Enforcement, GateStanding};
use rollout_rules::ids::{AppKey, DecisionId, Digest, EnvKey, Revision};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::snapshot::Snapshot;
use serde_json::{Value, json};

pub use self::upload::GateRequest;
use super::Shared;
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use crate::gate::Gate;
use crate::gate::desk::{Ask, DeskError, Piece};
use crate::gate::files::Batch;
use crate::gate::named::Gone;
use crate::state::{Refusal, Request, SubmitError};

/// How often a decision is made anew if what it is made by changes meanwhile.
const TRIES: u32 = 3;

/// The gate, if it is open.
fn gate(shared: &Shared) -> Result<&Gate, Problem> {
    shared.gate.as_ref().ok_or_else(|| {
        Problem::new(
            problem::GATE_CLOSED,
            "the gate could not be opened when the server started: its log says why",
        )
    })
}

/// `POST /v1/apps/{app}/environments/{environment}/gate`: evidence in, decision out. A denial is an answer, not an error.
pub async fn check(
    request: HttpRequest,
    payload: web::Payload,
    path: web::Path<(AppKey, EnvKey)>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (app, environment) = path.into_inner();
    let gate = gate(&shared)?.clone();
    let who = identity::of(&request, &shared, &gate, &app, &environment).await?;
    let snapshot = Arc::clone(&shared.published().folded);
    let place = snapshot.app(&app).and_then(|app| app.environment(&environment));
    let Some(place) = place else {
        let detail = format!("there is no environment `{environment}` of an app `{app}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    if place.environment().kind == EnvironmentKind::Production {
        who.may_ask_for_production(snapshot.app(&app).and_then(|app| app.source()))?;
    }
    let Some(_place) = gate.enter() else {
        let detail = "other builds are being judged: ask again in a moment";
        return Err(Problem::new(problem::BUSY, detail).retry_after(1));
    };
    let upload::Upload { asked, pieces, batch } = upload::read(&request, payload, &shared, &gate).await?;
    let ask = Ask {
        app: app.clone(),
        environment,
        artifact: asked.artifact,
        version: asked.version,
        occasion: if asked.add { Occasion::NewEvidence } else { Occasion::Asked },
        identity: who.identity.clone(),
        agents: asked.agents,
        verifier: shared.settings.own_address(),
    };
    let answer = decide(&shared, &gate, ask, (pieces, batch), who.caller, asked.reason).await?;
    Ok(HttpResponse::Ok().json(answer))
}

/// Judges, and hands the decision to the log; anew if what it was made by changed meanwhile.
async fn decide(
    shared: &Shared,
    gate: &Gate,
    ask: Ask,
    (pieces, batch): (Vec<Piece>, Batch),
    caller: rollout_rules::governance::Caller,
    reason: String,
) -> Result<Answer, Problem> {
    let pieces = Arc::new(pieces);
    let mut batch = Some(batch);
    for _ in 0..TRIES {
        let (desk, ask, pieces) = (gate.clone(), ask.clone(), Arc::clone(&pieces));
        let (folded, now) = (Arc::clone(&shared.published().folded), shared.clock.now());
        let before = folded.decision(&ask.app, &ask.environment, &ask.artifact);
        let before = before.map_or(Revision::ZERO, |decided| decided.revision);
        let place = gate.desk().await;
        let batch = batch.take().unwrap_or_else(|| gate.files().batch());
        let work = web::block(move || desk.decide(&ask, &pieces, batch, &folded, now));
        let (decision, judgement) = work.await.map_err(Problem::internal)?.map_err(problem_of)?;
        drop(place);
        let request = Request {
            caller: caller.clone(),
            command: Command::Gate(GateCommand::Decide { decision: Box::new(decision.clone()) }),
            seen: Some(before),
            reason: reason.clone(),
            idempotency_key: None,
            plan: None,
        };
        match shared.commands.submit(request).await {
            Ok(applied) => {
                log(&decision, &caller.actor);
                let Decision { app, environment, artifact, .. } = &decision;
                let kept = applied.published.folded.decision(app, environment, artifact);
                // When the log took it, as it is told ever after.
                let at = kept.filter(|kept| kept.revision == applied.revision).map_or(now, |kept| kept.at);
                return Ok(Answer {
                    lacks_only_evidence: judgement.lacks_only_evidence(),
                    decision,
                    judgement,
                    revision: applied.revision,
                    at,
                    by: caller.actor,
                });
            }
            Err(SubmitError::Refused(Refusal::Stale { .. })) => {}
            Err(error) => return Err(super::commands::problem_of(error)),
        }
    }
    let detail = "what builds are judged by changes all the time: ask again in a moment";
    Err(Problem::new(problem::BUSY, detail).retry_after(1))
}

/// Tells the server's log what was decided, and which language models wrote what it is about: an operator reads there whether anybody
/// reviewed it.
fn log(decision: &Decision, by: &Actor) {
    let Decision { id, app, environment, artifact, verdict, agents, .. } = decision;
    let by = serde_json::to_string(by).unwrap_or_default();
    tracing::info!(decision = %id, %app, %environment, %artifact, %verdict, by, "the gate decided");
    for author in agents {
        tracing::info!(decision = %id, "the build was written with {author}");
    }
}

fn problem_of(error: DeskError) -> Problem {
    match error {
        DeskError::NoSuchPlace => Problem::new(problem::NOT_FOUND, error.to_string()),
        DeskError::Forgotten { .. } => Problem::new(problem::INVALID, error.to_string()).with("field", "add"),
        DeskError::TooManyPieces { .. } => Problem::new(problem::TOO_MANY, error.to_string()),
        DeskError::TooMuch { .. } => Problem::new(problem::TOO_LARGE, error.to_string()),
        DeskError::Files(_) | DeskError::Receipt(_) => Problem::internal(error),
    }
}

fn record(decided: &Decided, gone: Option<&Gone>) -> Value {
    json!({
        "decision": decided.decision,
        "revision": decided.revision,
        "at": decided.at,
        "by": decided.by,
        "evidence_gone": gone.map(|gone| format!("what was kept of it {gone}")),
    })
}

/// Why what a decision found is not there any more; none: it is there, or the gate is closed.
fn gone(shared: &Shared, reading: &Reading, decided: &Decided) -> Option<Gone> {
    let decision = &decided.decision;
    shared.gate.as_ref()?.gone(decision, &decision.judgement, &reading.published.snapshot, reading.now)
}

/// `GET /v1/apps/{app}/environments/{environment}/gate`: how what runs there stands.
pub async fn standing(
    reading: Reading,
    path: web::Path<(AppKey, EnvKey)>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (app, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    reading.query.only(&[])?;
    let snapshot = &reading.published.snapshot;
    let releases = snapshot.releases(&app, &environment).ok_or_else(|| {
        let detail = format!("there is no environment `{environment}` of an app `{app}`");
        Problem::new(problem::NOT_FOUND, detail)
    })?;
    let artifact = releases.current().map(|current| current.artifact);
    let decided = artifact.and_then(|artifact| snapshot.decision(&app, &environment, &artifact));
    let standing = snapshot.gate_standing(&app, &environment, reading.now);
    let gone = decided.and_then(|decided| gone(&shared, &reading, decided));
    let (passing_until, mut missing) = match &standing {
        GateStanding::NotRequired => (None, Vec::new()),
        GateStanding::PassingUntil(until) => (Some(*until), Vec::new()),
        GateStanding::Missing(missing) => (None, missing.clone()),
    };
    if let (false, Some(decided), Some(gone)) = (missing.is_empty(), decided, &gone) {
        let id = &decided.decision.id;
        missing.push(format!(
            "what was kept of decision {id} {gone}. It is not judged again by itself: ask with all evidence"
        ));
    }
    let required = standing != GateStanding::NotRequired && shared.rules.gate == Enforcement::Enforce;
    Ok(HttpResponse::Ok().json(json!({
        "app": app,
        "environment": environment,
        "required": required,
        "passing_until": passing_until,
        "missing": missing,
        "artifact": artifact,
        "decision": decided.map(|decided| record(decided, gone.as_ref())),
    })))
}

/// `GET /v1/apps/{app}/decisions?environment=&artifact=`: decisions on builds, the newest first; of several on one build the first counts.
pub async fn list(
    reading: Reading,
    path: web::Path<AppKey>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    reading.who.reads_app(&app)?;
    // By revision: a decision that was there may be gone at the next page, since a later one on the same build took its place.
    let page: Page<u64> = Page::of(&reading.query, &["environment", "artifact"])?;
    let environment: Option<EnvKey> = reading.query.parse("environment")?;
    let artifact: Option<ArtifactDigest> = reading.query.parse("artifact")?;
    let all = decisions(&reading, &app)?.into_iter().filter(|decided| {
        let decision = &decided.decision;
        environment.as_ref().is_none_or(|only| *only == decision.environment)
            && artifact.is_none_or(|only| only == decision.artifact)
            && page.cursor.is_none_or(|cursor| decided.revision.0 < cursor)
    });
    Ok(page.answer(
        all,
        |decided| decided.revision.to_string(),
        |decided| record(&decided, gone(&shared, &reading, &decided).as_ref()),
    ))
}

/// The decisions of an app that whoever asks may see, the newest first.
fn decisions(reading: &Reading, app: &AppKey) -> Result<Vec<Arc<Decided>>, Problem> {
    let snapshot: &Snapshot = &reading.published.snapshot;
    let found = snapshot
        .app(app)
        .ok_or_else(|| Problem::new(problem::NOT_FOUND, format!("there is no app `{app}`")))?;
    let only = reading.who.environment.as_ref();
    let environments = found.environments().map(|record| &record.environment().key);
    let environments = environments.filter(|key| only.is_none_or(|only| only == *key));
    let mut all: Vec<Arc<Decided>> =
        environments.flat_map(|key| snapshot.decisions(app, key).map(Arc::clone)).collect();
    all.sort_by_key(|decided| std::cmp::Reverse(decided.revision));
    Ok(all)
}

fn find(reading: &Reading, app: &AppKey, id: &DecisionId) -> Result<Arc<Decided>, Problem> {
    reading.who.reads_app(app)?;
    reading.query.only(&[])?;
    let found = decisions(reading, app)?.into_iter().find(|decided| decided.decision.id == *id);
    found.ok_or_else(|| {
        let detail = format!("there is no decision `{id}`, or a later one on the same build took its place");
        Problem::new(problem::NOT_FOUND, detail)
    })
}

/// `GET /v1/apps/{app}/decisions/{id}`: all that was found.
pub async fn get(
    reading: Reading,
    path: web::Path<(AppKey, DecisionId)>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (app, id) = path.into_inner();
    let decided = find(&reading, &app, &id)?;
    let (gate, its) = (gate(&shared)?.clone(), Arc::clone(&decided));
    let (published, now) = (Arc::clone(&reading.published), reading.now);
    let read = web::block(move || gate.judgement_of(&its.decision, &published.snapshot, now));
    let judgement = read.await.map_err(Problem::internal)?.map_err(not_there)?;
    let Decided { decision, revision, at, by } = Decided::clone(&decided);
    let lacks_only_evidence = judgement.lacks_only_evidence();
    Ok(HttpResponse::Ok().json(Answer { decision, judgement, revision, at, by, lacks_only_evidence }))
}

/// Where somebody wants to see what is not there, nothing is wrong with what they sent.
fn not_there(error: DeskError) -> Problem {
    match error {
        DeskError::Forgotten { .. } => Problem::new(problem::NOT_FOUND, error.to_string()),
        error => problem_of(error),
    }
}

/// A file that a decision names.
async fn file(
    shared: &Shared,
    reading: &Reading,
    decided: &Arc<Decided>,
    name: Digest,
) -> Result<Vec<u8>, Problem> {
    let (gate, its) = (gate(shared)?.clone(), Arc::clone(decided));
    let (published, now) = (Arc::clone(&reading.published), reading.now);
    let read = web::block(move || gate.file_of(&its.decision, &name, &published.snapshot, now));
    read.await.map_err(Problem::internal)?.map_err(not_there)
}

/// `GET /v1/apps/{app}/decisions/{id}/receipt`: the signed verification summary.
pub async fn receipt(
    reading: Reading,
    path: web::Path<(AppKey, DecisionId)>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (app, id) = path.into_inner();
    let decided = find(&reading, &app, &id)?;
    let bytes = file(&shared, &reading, &decided, decided.decision.receipt).await?;
    Ok(HttpResponse::Ok().content_type(header::ContentType::json()).body(bytes))
}

/// `GET /v1/apps/{app}/decisions/{id}/evidence/{digest}`: a piece of evidence as it is kept, without its secrets.
pub async fn evidence(
    reading: Reading,
    path: web::Path<(AppKey, DecisionId, Digest)>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let (app, id, digest) = path.into_inner();
    let decided = find(&reading, &app, &id)?;
    let piece = decided.decision.evidence.iter().find(|piece| piece.digest == digest || piece.kept == digest);
    let piece = piece.ok_or_else(|| {
        Problem::new(problem::NOT_FOUND, format!("decision `{id}` was not made from a file {digest}"))
    })?;
    let bytes = file(&shared, &reading, &decided, piece.kept).await?;
    Ok(HttpResponse::Ok().content_type(header::ContentType::octet_stream()).body(bytes))
}

/// `GET /v1/gate/key`: the public key that receipts are checked with.
pub async fn key(reading: Reading, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    reading.who.reads()?;
    reading.query.only(&[])?;
    let key = gate(&shared)?.key();
    Ok(HttpResponse::Ok().json(json!({ "key_id": key.key_id(), "pem": key.public_pem() })))
}
