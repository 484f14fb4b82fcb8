//! Why a flag answers somebody so, now or at a moment that is past.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use rollout_rules::context::Context;
use rollout_rules::explain::{LookedAt, Step};
use rollout_rules::flag::{Height, Kill};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Shared;
use super::body::Json;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::rollouts;
use crate::state::{Moment, PastError};

/// Who asks, and when.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    #[serde(default)]
    context: Map<String, Value>,
    /// Judged by what was set then, and by the clock of then. To come: by what is set now.
    #[serde(default)]
    at: Option<UnixMs>,
    /// Judged as it was right after this entry.
    #[serde(default)]
    revision: Option<Revision>,
}

impl Question {
    /// The moment that is past; none is meant if it is now or to come.
    fn moment(&self, now: UnixMs) -> Result<Option<Moment>, Problem> {
        match (self.at, self.revision) {
            (Some(_), Some(_)) => {
                let detail = "name a moment by `at` or by `revision`, not by both";
                Err(Problem::new(problem::INVALID, detail).with("field", "at"))
            }
            (_, Some(revision)) => Ok(Some(Moment::Revision(revision))),
            (Some(at), None) if at < now => Ok(Some(Moment::Time(at))),
            _ => Ok(None),
        }
    }
}

/// What a question about the past is answered with if it cannot be.
pub(super) fn no_past(error: PastError) -> Problem {
    let detail = error.to_string();
    match error {
        PastError::Ahead { head } => {
            Problem::new(problem::INVALID, format!("{detail}: name that one or an earlier one"))
                .with("head", head.0)
        }
        PastError::TooFar { reachable, limit, .. } => Problem::new(problem::PAST_TOO_FAR, detail)
            .with("reachable_revision", reachable.0)
            .with("limit", limit),
        PastError::Busy => Problem::new(problem::BUSY, detail).retry_after(1),
        PastError::Log(_) | PastError::Checkpoints(_) => {
            Problem::new(problem::LOG_UNAVAILABLE, detail).retry_after(2)
        }
        PastError::Unknown { .. } | PastError::BrokenOff => Problem::internal(detail),
    }
}

/// `POST /v1/apps/{app}/flags/{flag}/environments/{environment}/explain`.
pub async fn explain(
    reading: Reading,
    shared: web::Data<Shared>,
    path: web::Path<(AppKey, FlagKey, EnvKey)>,
    Json(question): Json<Question>,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    reading.query.only(&[])?;
    let context = Context::try_from(&question.context).map_err(|error| {
        Problem::new(problem::INVALID_CONTEXT, format!("the context cannot be used: {error}"))
    })?;
    let published = &reading.published;
    let (snapshot, at) = match question.moment(reading.now)? {
        None => (Arc::clone(&published.snapshot), question.at.unwrap_or(reading.now)),
        Some(moment) => {
            let past = shared.past.at(published, moment, reading.now).await.map_err(no_past)?;
            (past.snapshot, past.at)
        }
    };
    let told = snapshot
        .flag_set(&app, &environment)
        .and_then(|set| rollout_rules::explain::explain(&set, flag.as_str(), &context, at));
    let Some(mut told) = told else {
        let why = missing(&snapshot, &app, &flag, &environment);
        let detail = format!("at {at} (revision {}) {why}", snapshot.revision());
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    let kill_of = |flag: &FlagKey| snapshot.flag(&app, flag).and_then(|view| view.killed(&environment));
    name_kills(&mut told.steps, &flag, &|flag| Some(kill_of(flag)?.1.clone()));
    let killed = kill_of(&flag).map(|(height, kill)| json!({"height": height, "id": kill.id, "at": kill.at}));
    let view = snapshot.flag(&app, &flag);
    let rollout = view.map_or(Value::Null, |view| rollouts::of_state(&view, &environment, at));
    Ok(HttpResponse::Ok().json(json!({
        "app": app,
        "at": at,
        "log_revision": snapshot.revision(),
        "killed": killed,
        "rollout": rollout,
        "explanation": told,
    })))
}

/// The steps know of a flag's own kill, and of those of its prerequisites, that there is one; which one, the flag
/// itself knows.
fn name_kills(steps: &mut [Step], flag: &FlagKey, kill_of: &dyn Fn(&FlagKey) -> Option<Kill>) {
    for step in steps {
        match &mut step.looked_at {
            LookedAt::Kill { height: Height::Flag, killed: true, kill } => *kill = kill_of(flag),
            LookedAt::Prerequisite { flag, steps, .. } => name_kills(steps, flag, kill_of),
            _ => {}
        }
    }
}

fn missing(snapshot: &Snapshot, app: &AppKey, flag: &FlagKey, environment: &EnvKey) -> String {
    match (snapshot.app(app), snapshot.flag(app, flag)) {
        (None, _) => format!("there is no app `{app}`"),
        (Some(known), _) if known.environment(environment).is_none() => {
            format!("app `{app}` has no environment `{environment}`")
        }
        (_, Some(view)) if view.record().is_archived() => {
            format!("flag `{flag}` is archived: it answers as not found")
        }
        _ => format!("there is no flag `{flag}` of app `{app}` in `{environment}`"),
    }
}
