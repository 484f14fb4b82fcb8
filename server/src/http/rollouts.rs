//! Rollouts of flags: starting one, looking at it, and what people do to it.

use std::fmt;
use std::str::FromStr;

use actix_web::{HttpResponse, web};
use rollout_rules::change::Command;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::plan::{RolloutPlan, Stage};
use rollout_rules::rollout::{Rollout, RolloutStatus, WaitsFor};
use rollout_rules::snapshot::FlagView;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::apps::{OnlyReason, missing_app};
use super::body::OptionalJson;
use super::commands::Asking;
use super::etag;
use super::flags::{find, revision};
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::state::{Applied, Published};

type Place = web::Path<(AppKey, FlagKey, EnvKey)>;

/// Which plan a rollout follows; without one, that of the app's tier.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewRollout {
    /// The plan in its short form: `1%/30m,5%/1h,approve,25%/4h,50%/12h,100%`.
    plan: Option<String>,
    /// The same, stage by stage.
    stages: Option<Vec<Stage>>,
    /// Why, for the log.
    reason: String,
}

impl NewRollout {
    fn plan(&mut self) -> Result<Option<RolloutPlan>, Problem> {
        match (self.plan.take(), self.stages.take()) {
            (Some(_), Some(_)) => {
                let detail = "name the stages by `plan` or by `stages`, not by both";
                Err(Problem::new(problem::INVALID, detail).with("field", "stages"))
            }
            (Some(text), None) => match text.parse() {
                Ok(plan) => Ok(Some(plan)),
                Err(error) => Err(Problem::new(problem::INVALID, format!("plan: {error}"))
                    .with("field", "plan")
                    .with("at", error.at)),
            },
            (None, stages) => Ok(stages.map(|stages| RolloutPlan { stages })),
        }
    }
}

/// What a rollout waits for now: `time`, `resume`, `approval`, `evaluator`; null once it is over.
fn waits_for(status: &RolloutStatus) -> Option<&'static str> {
    match status {
        RolloutStatus::Running => Some("time"),
        RolloutStatus::Paused { .. } => Some("resume"),
        RolloutStatus::Waiting { .. } => Some("approval"),
        RolloutStatus::Held { .. } => Some("evaluator"),
        RolloutStatus::Ended { .. } => None,
    }
}

/// A rollout as it is now.
pub(super) fn rollout(rollout: &Rollout) -> Value {
    let (status_since, why) = match &rollout.status {
        // After a pause nobody wrote down since when it runs.
        RolloutStatus::Running => ((rollout.since == rollout.raised_at).then_some(rollout.since), None),
        RolloutStatus::Paused { at, held: None } => (Some(*at), None),
        RolloutStatus::Paused { at, held: Some(held) } => {
            (Some(*at), Some(format!("the evaluator holds it too: {}", held.reason)))
        }
        RolloutStatus::Waiting { at, why: WaitsFor::Plan } => {
            (Some(*at), Some("the plan asks for approval before the next stage".to_owned()))
        }
        RolloutStatus::Waiting { at, why: WaitsFor::Outcomes } => {
            let why = "outcomes do not show that the stage went well, and at this tier a person decides then";
            (Some(*at), Some(why.to_owned()))
        }
        RolloutStatus::Held { at, reason } => (Some(*at), Some(reason.clone())),
        RolloutStatus::Ended { at, how } => (*at, Some(format!("it {}", how.in_words()))),
    };
    json!({
        "plan": rollout.plan.to_string(),
        "stages": rollout.plan.stages,
        "stage": rollout.stage,
        "exposure": rollout.exposure(),
        "status": rollout.status.as_str(),
        "status_since": status_since,
        "why": why,
        "active": rollout.is_active(),
        "waits_for": waits_for(&rollout.status),
        "since": rollout.since,
        "due_at": rollout.due_at(),
        "completes_at": rollout.completes_at(),
        "started_at": rollout.started_at,
        "started_by": rollout.started_by,
        "raised_at": rollout.raised_at,
    })
}

/// The last rollout of a flag in an environment as it is now; null if there never was one.
pub(super) fn of_state(view: &FlagView<'_>, environment: &EnvKey, now: UnixMs) -> Value {
    view.rollout(environment, now).map_or(Value::Null, |found| rollout(&found))
}

fn default_plan(view: &FlagView<'_>, environment: &EnvKey) -> Result<RolloutPlan, Problem> {
    let app = view.app();
    let Some(record) = app.environment(environment).filter(|_| view.record().state(environment).is_some())
    else {
        let detail = format!("flag `{}` has no environment `{environment}`", view.record().flag().key);
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    Ok(RolloutPlan::default_for(app.info().tier, record.environment().kind))
}

fn answer(
    published: &Published,
    (app, flag, environment): &(AppKey, FlagKey, EnvKey),
    now: UnixMs,
) -> Result<HttpResponse, Problem> {
    let view = find(&published.snapshot, app, flag)?;
    let default_plan = default_plan(&view, environment)?;
    let revision = revision(published, &view);
    Ok(HttpResponse::Ok().insert_header(etag::header(revision)).json(json!({
        "app": app,
        "flag": flag,
        "environment": environment,
        "revision": revision,
        "default_plan": default_plan.to_string(),
        "default_stages": default_plan.stages,
        "rollout": of_state(&view, environment, now),
    })))
}

fn answer_changed(
    asking: &Asking,
    applied: &Applied,
    place: &(AppKey, FlagKey, EnvKey),
) -> Result<HttpResponse, Problem> {
    answer(&applied.published, place, asking.shared.clock.now())
}

/// `GET /v1/apps/{app}/flags/{flag}/environments/{environment}/rollout`.
pub async fn get(reading: Reading, path: Place) -> Result<HttpResponse, Problem> {
    let place = path.into_inner();
    reading.who.reads_environment(&place.0, &place.2)?;
    reading.query.only(&[])?;
    answer(&reading.published, &place, reading.now)
}

/// `POST /v1/apps/{app}/flags/{flag}/environments/{environment}/rollout`: starts one.
pub async fn start(
    asking: Asking,
    path: Place,
    OptionalJson(mut body): OptionalJson<NewRollout>,
) -> Result<HttpResponse, Problem> {
    let place = path.into_inner();
    let (app, flag, environment) = &place;
    let plan = match body.plan()? {
        Some(plan) => plan,
        None => {
            asking.who.reads_environment(app, environment)?;
            let published = asking.shared.published_full();
            default_plan(&find(&published.snapshot, app, flag)?, environment)?
        }
    };
    let command = Command::StartRollout {
        app: app.clone(),
        flag: flag.clone(),
        environment: environment.clone(),
        plan,
    };
    let applied = asking.submit(command, body.reason).await?;
    answer_changed(&asking, &applied, &place)
}

async fn change(
    asking: Asking,
    place: (AppKey, FlagKey, EnvKey),
    reason: String,
    command: impl FnOnce(AppKey, FlagKey, EnvKey) -> Command,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = place.clone();
    let applied = asking.submit(command(app, flag, environment), reason).await?;
    answer_changed(&asking, &applied, &place)
}

/// `POST …/rollout/pause`.
pub async fn pause(
    asking: Asking,
    path: Place,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    change(asking, path.into_inner(), body.reason, |app, flag, environment| Command::PauseRollout {
        app,
        flag,
        environment,
    })
    .await
}

/// `POST …/rollout/resume`.
pub async fn resume(
    asking: Asking,
    path: Place,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    change(asking, path.into_inner(), body.reason, |app, flag, environment| Command::ResumeRollout {
        app,
        flag,
        environment,
    })
    .await
}

/// `POST …/rollout/abort`.
pub async fn abort(
    asking: Asking,
    path: Place,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    change(asking, path.into_inner(), body.reason, |app, flag, environment| Command::AbortRollout {
        app,
        flag,
        environment,
    })
    .await
}

/// `POST …/rollout/advance`.
pub async fn advance(
    asking: Asking,
    path: Place,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    change(asking, path.into_inner(), body.reason, |app, flag, environment| Command::AdvanceRollout {
        app,
        flag,
        environment,
    })
    .await
}

/// Where a page of rollouts ended: `production:checkout`.
struct Cursor(FlagKey, EnvKey);

/// A cursor that no page gave.
#[derive(Debug)]
struct NotACursor;

impl fmt::Display for NotACursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give the `next_cursor` of the page before")
    }
}

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Cursor, NotACursor> {
        let (environment, flag) = text.split_once(':').ok_or(NotACursor)?;
        let environment = EnvKey::new(environment).map_err(|_| NotACursor)?;
        Ok(Cursor(FlagKey::new(flag).map_err(|_| NotACursor)?, environment))
    }
}

/// `GET /v1/apps/{app}/rollouts`; only those that are not over with `?active=true`.
pub async fn list(reading: Reading, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    reading.who.reads_app(&app)?;
    let page: Page<Cursor> = Page::of(&reading.query, &["active", "environment"])?;
    let active = reading.query.truth("active")?.unwrap_or(false);
    let only: Option<EnvKey> = reading.query.parse("environment")?;
    let (snapshot, now) = (&reading.published.snapshot, reading.now);
    if snapshot.app(&app).is_none() {
        return Err(missing_app(&app));
    }
    let cursor = page.cursor.as_ref().map(|Cursor(flag, environment)| (flag.clone(), environment.clone()));
    let seen = |environment: &EnvKey| {
        views::shows(reading.who.environment.as_ref(), environment)
            && views::shows(only.as_ref(), environment)
    };
    let found = snapshot.rollouts(&app, cursor.as_ref()).filter(|(_, environment)| seen(environment));
    let found = found.filter_map(|(flag, environment)| {
        let rollout = snapshot.flag(&app, flag)?.rollout(environment, now)?;
        (rollout.is_active() || !active).then_some((flag, environment, rollout))
    });
    Ok(page.answer(
        found,
        |(flag, environment, _)| format!("{environment}:{flag}"),
        |(flag, environment, found)| {
            json!({ "flag": flag, "environment": environment, "rollout": rollout(&found) })
        },
    ))
}
