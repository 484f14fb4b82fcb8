//! What guardrails asked to be done outside, how that stands, and trying again what was given up.

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Command, RunbookCommand};
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::runbook::{Cause, EffectId, Run, RunState};
use rollout_rules::snapshot::Snapshot;
use serde_json::{Value, json};

use super::Shared;
use super::apps::{OnlyReason, missing_app};
use super::auth::Principal;
use super::body::OptionalJson;
use super::commands::{Asking, Terms, submit};
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::effects::Target;

/// Most dead letters that one request has tried again.
const MAX_REPLAYED: usize = 100;

fn state_of(run: &Run) -> &'static str {
    match run.state {
        RunState::Waiting { .. } => "waiting",
        RunState::Ended { succeeded: true, .. } => "done",
        RunState::Ended { .. } => "dead",
    }
}

fn view(shared: &Shared, snapshot: &Snapshot, id: EffectId, run: &Run) -> Value {
    let act = &run.act;
    let mut view = json!({
        "id": id, "app": act.app, "flag": act.flag, "environment": act.environment,
        "action": run.action().map(ToString::to_string),
        "guardrail": act.guardrail.as_ref().map(ToString::to_string), "variant": act.variant, "cause": act.cause,
        "evidence": act.evidence, "drill": act.cause == Cause::Drill, "actor": run.actor, "reason": run.reason,
        "at": run.at, "state": state_of(run),
    });
    let app = snapshot.app(&act.app);
    if let Some(Ok(target)) = app.zip(run.action()).map(|(app, action)| Target::of(app, action)) {
        view["target"] = target.words().into();
    }
    match &run.state {
        RunState::Waiting { .. } => {
            if let Some(trying) = shared.webhooks.trying(id) {
                view["attempts"] = trying.attempts.into();
                view["next_at"] = json!(trying.next_at);
                if !trying.problem.is_empty() {
                    view["problem"] = trying.problem.into();
                }
            }
        }
        RunState::Ended { at, outcome, revision, .. } => {
            view["ended_at"] = json!(at);
            view["ended_by"] = json!(revision);
            view["outcome"] = outcome.as_str().into();
        }
    }
    if let Some(members) = view.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    view
}

fn shows(who: &Principal, run: &Run) -> bool {
    let environment: Option<&EnvKey> = run.act.environment.as_ref();
    environment.is_none_or(|environment| views::shows(who.environment.as_ref(), environment))
}

/// `GET /v1/apps/{app}/effects?state=`: newest first.
pub async fn list(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<AppKey>,
) -> Result<HttpResponse, Problem> {
    reading.who.reads_app(&path)?;
    let page: Page<EffectId> = Page::of(&reading.query, &["state"])?;
    let state = reading.query.get("state");
    if state.is_some_and(|state| !matches!(state, "waiting" | "done" | "dead")) {
        let detail = "`state` has to be waiting, done or dead";
        return Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", "state"));
    }
    let folded = &reading.published.folded;
    folded.app(&path).ok_or_else(|| missing_app(&path))?;
    let seen = folded.runs(None).rev().filter(|(id, run)| {
        run.act.app == *path
            && page.cursor.is_none_or(|cursor| *id < cursor)
            && state.is_none_or(|state| state == state_of(run))
            && shows(&reading.who, run)
    });
    Ok(page.answer(seen, |(id, _)| id.to_string(), |(id, run)| view(&shared, folded, id, run)))
}

/// `POST /v1/apps/{app}/effects/{effect}/replay`: what was given up is tried again, under the same id; what waits
/// between two attempts is tried at once.
pub async fn replay(
    asking: Asking,
    path: web::Path<(AppKey, EffectId)>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let (app, id) = path.into_inner();
    let applied = asking
        .submit(Command::Runbook { app, change: RunbookCommand::ReplayEffect { id } }, body.reason)
        .await?;
    asking.shared.webhooks.try_now(id);
    let folded = &applied.published.folded;
    let run = folded
        .run(id)
        .ok_or_else(|| Problem::new(problem::NOT_FOUND, format!("there is no effect `{id}`")))?;
    Ok(HttpResponse::Accepted().json(view(&asking.shared, folded, id, run)))
}

/// `POST /v1/apps/{app}/effects/replay`: the same of all that was given up, a hundred at most.
pub async fn replay_all(
    asking: Asking,
    path: web::Path<AppKey>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    asking.who.changes()?;
    asking.who.reads_app(&app)?;
    let published = asking.shared.published_full();
    published.folded.app(&app).ok_or_else(|| missing_app(&app))?;
    let dead = published.folded.runs(None).filter(|(_, run)| run.act.app == app && state_of(run) == "dead");
    let dead: Vec<EffectId> = dead.map(|(id, _)| id).take(MAX_REPLAYED).collect();
    // Whoever may not have any of it tried again is told so, whatever there is.
    asking.who.shapes()?;
    // Each is a change of its own, which one key cannot name; asked for again, what is tried already is left alone.
    let terms = Terms::of(&asking.request)?;
    for id in &dead {
        let change = RunbookCommand::ReplayEffect { id: *id };
        let command = Command::Runbook { app: app.clone(), change };
        submit(
            &asking.shared,
            &asking.who,
            command,
            Terms { plan: terms.plan.clone(), ..Terms::default() },
            body.reason.clone(),
        )
        .await?;
    }
    Ok(HttpResponse::Accepted().json(json!({ "replaying": dead.len() })))
}
