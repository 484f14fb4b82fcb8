//! Waivers: asked for, approved, ended, listed.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Command, GateCommand};
use rollout_rules::gate::decision::{CheckName, Judged};
use rollout_rules::gate::policy::{BREAK_GLASS, Role};
use rollout_rules::gate::waiver::Waiver;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, ChannelName, Digest, EnvKey, WaiverId};
use rollout_rules::runbook::OWNER;
use rollout_rules::sli::guardrail::Action;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::effects::{Nobody, Target};
use crate::http::body::{Json, OptionalJson};
use crate::http::commands::Asking;
use crate::http::creating::{Creating, Shown};
use crate::http::paging::Page;
use crate::http::problem::{self, Problem};
use crate::http::reading::Reading;

/// What is asked to be waived.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWaiver {
    /// Only there; none: in all environments.
    #[serde(default)]
    environment: Option<EnvKey>,
    /// Which check found it.
    check: CheckName,
    /// The finding's fingerprint; without it the whole check is meant, which takes breaking the glass.
    #[serde(default)]
    fingerprint: Option<Digest>,
    /// The risk by its name: the rule of the finding, such as `CVE-2020-14343`.
    risk: String,
    /// Why it can be taken, in at least 20 characters.
    reason: String,
    /// When it ends. It has to be said; where the glass is broken it is in an hour if nothing is.
    #[serde(default)]
    expires_at: Option<UnixMs>,
    /// Whether somebody takes it upon themselves, in an emergency: it counts at once, for eight hours at most, and the owner is told.
    #[serde(default)]
    break_glass: bool,
}

/// In which role a waiver is approved.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaiverApprovalGiven {
    /// Which: the policy says for each tier who approves.
    role: Role,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// Why a waiver ends early.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WaiverEnd {
    /// For the log.
    reason: String,
}

fn view(waiver: &Waiver, now: UnixMs) -> Value {
    json!({ "waiver": waiver, "state": waiver.state(now) })
}

/// Whom the owner's notice of a broken glass goes to, or why it reaches nobody as things are set up and what to do.
fn notice(asking: &Asking, snapshot: &Snapshot, app: &AppKey) -> Value {
    let target = ChannelName::new(OWNER).ok().zip(snapshot.app(app));
    let target = target.map(|(owner, app)| Target::of(app, &Action::Notify(owner)));
    let webhooks = &asking.shared.webhooks;
    match target.unwrap_or(Err(Nobody::Nothing)) {
        Err(nobody) => json!({ "problem": nobody.to_string() }),
        Ok(target) => match webhooks.unreachable(&target) {
            Some(problem) => json!({ "problem": problem }),
            None => json!({ "to": target.words() }),
        },
    }
}

fn find<'s>(snapshot: &'s Snapshot, app: &AppKey, id: &WaiverId) -> Result<&'s Waiver, Problem> {
    snapshot
        .app(app)
        .and_then(|app| app.waiver(id))
        .ok_or_else(|| Problem::new(problem::NOT_FOUND, format!("there is no waiver `{id}` of app `{app}`")))
}

/// `GET /v1/apps/{app}/waivers?state=`.
pub async fn list(reading: Reading, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    reading.who.reads_app(&app)?;
    let page: Page<WaiverId> = Page::of(&reading.query, &["state"])?;
    let state = reading.query.get("state");
    if state.is_some_and(|state| !["requested", "active", "lapsed", "revoked"].contains(&state)) {
        let detail = "`state` has to be requested, active, lapsed or revoked";
        return Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", "state"));
    }
    let found = reading.published.snapshot.app(&app);
    let found = found.ok_or_else(|| Problem::new(problem::NOT_FOUND, format!("there is no app `{app}`")))?;
    let (now, only) = (reading.now, reading.who.environment.as_ref());
    let wanted = found.waivers().filter(|waiver| {
        page.cursor.as_ref().is_none_or(|cursor| waiver.id > *cursor)
            && waiver.environment.as_ref().is_none_or(|there| only.is_none_or(|only| only == there))
            && state.is_none_or(|state| waiver.state(now).as_str() == state)
    });
    Ok(page.answer(wanted, |waiver| waiver.id.to_string(), |waiver| view(waiver, now)))
}

/// What the last decisions found of what a waiver is for, if it is for one finding and the gate is open: the core judges by it whether it can
/// count.
async fn listed(
    asking: &Asking,
    app: &AppKey,
    environment: Option<EnvKey>,
    check: CheckName,
    fingerprint: Option<Digest>,
) -> Result<Option<Box<Judged>>, Problem> {
    let (Some(fingerprint), Some(gate)) = (fingerprint, asking.shared.gate.clone()) else { return Ok(None) };
    let (app, folded) = (app.clone(), Arc::clone(&asking.shared.published().folded));
    let now = asking.shared.clock.now();
    let place = gate.desk().await;
    let read =
        web::block(move || gate.listed(&folded, &app, environment.as_ref(), (check, fingerprint), now));
    let found = read.await.map_err(Problem::internal)?;
    drop(place);
    Ok(found.map(Box::new))
}

/// `POST /v1/apps/{app}/waivers`.
pub async fn request(creating: Creating, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    // Before files are read for it.
    creating.asking.who.changes()?;
    creating.asking.who.reads_app(&app)?;
    let asked: NewWaiver = creating.body()?;
    let listed = listed(&creating.asking, &app, asked.environment, asked.check, asked.fingerprint).await?;
    let name = creating.asking.new_id()?;
    let now = creating.asking.shared.clock.now();
    creating
        .run(
            |body: NewWaiver| {
                let id = WaiverId::new(&name).map_err(Problem::internal)?;
                let glass = body.break_glass.then(|| now.plus(BREAK_GLASS));
                let Some(expires_at) = body.expires_at.or(glass) else {
                    let detail = "say when the waiver ends: one without a date is none";
                    return Err(Problem::new(problem::INVALID, detail).with("field", "expires_at"));
                };
                let waiver = Waiver {
                    id: id.clone(),
                    app: app.clone(),
                    environment: body.environment,
                    check: body.check,
                    fingerprint: body.fingerprint,
                    risk: body.risk,
                    reason: body.reason.clone(),
                    // Who asks, and when, is written by the core.
                    requested_by: Actor::Tidegate,
                    token: None,
                    requested_at: now,
                    expires_at,
                    break_glass: body.break_glass,
                    approval: None,
                    revoked: None,
                };
                let command = Command::Gate(GateCommand::RequestWaiver { waiver: Box::new(waiver), listed });
                Ok((command, body.reason, id))
            },
            |asking, applied, id| {
                let waiver = find(&applied.published.folded, &app, &id)?;
                let mut body = view(waiver, asking.shared.clock.now());
                if waiver.break_glass {
                    body["notice"] = notice(asking, &applied.published.folded, &app);
                }
                Ok(Shown { location: format!("/v1/apps/{app}/waivers/{id}"), revision: None, body })
            },
        )
        .await
}

/// `GET /v1/apps/{app}/waivers/{waiver}`.
pub async fn get(reading: Reading, path: web::Path<(AppKey, WaiverId)>) -> Result<HttpResponse, Problem> {
    let (app, id) = path.into_inner();
    reading.who.reads_app(&app)?;
    reading.query.only(&[])?;
    let waiver = find(&reading.published.snapshot, &app, &id)?;
    Ok(HttpResponse::Ok().json(view(waiver, reading.now)))
}

/// `POST /v1/apps/{app}/waivers/{waiver}/approve`.
pub async fn approve(
    asking: Asking,
    path: web::Path<(AppKey, WaiverId)>,
    Json(body): Json<WaiverApprovalGiven>,
) -> Result<HttpResponse, Problem> {
    let (app, id) = path.into_inner();
    // Before anything is said of what there is.
    asking.who.shapes()?;
    asking.who.reads_app(&app)?;
    let waiver = find(&asking.shared.published().folded, &app, &id)?.clone();
    let listed = listed(&asking, &app, waiver.environment, waiver.check, waiver.fingerprint).await?;
    let change = GateCommand::ApproveWaiver { app: app.clone(), id: id.clone(), role: body.role, listed };
    changed(&asking, change, &app, &id, body.reason).await
}

/// `POST /v1/apps/{app}/waivers/{waiver}/revoke`.
pub async fn revoke(
    asking: Asking,
    path: web::Path<(AppKey, WaiverId)>,
    OptionalJson(body): OptionalJson<WaiverEnd>,
) -> Result<HttpResponse, Problem> {
    let (app, id) = path.into_inner();
    asking.who.changes()?;
    asking.who.reads_app(&app)?;
    let change = GateCommand::RevokeWaiver { app: app.clone(), id: id.clone() };
    changed(&asking, change, &app, &id, body.reason).await
}

async fn changed(
    asking: &Asking,
    change: GateCommand,
    app: &AppKey,
    id: &WaiverId,
    reason: String,
) -> Result<HttpResponse, Problem> {
    let applied = asking.submit(Command::Gate(change), reason).await?;
    let waiver = find(&applied.published.folded, app, id)?;
    Ok(HttpResponse::Ok().json(view(waiver, asking.shared.clock.now())))
}
