//! Killing and reviving at three heights. A kill needs no revision, may be repeated, and is answered
//! with 202 if it is in effect before the log could take it; `journaled` then says whether a restart keeps
//! it. A repeated one that was taken back since is answered `in_effect: false`: killing again is a new act and
//! needs a new id.

use std::time::Instant;

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Command, Reach};
use rollout_rules::flag::Kills;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, KillId};
use rollout_rules::snapshot::Snapshot;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::body::OptionalJson;
use super::commands::Asking;
use super::problem::Problem;
use crate::secret;
use crate::state::Overlay;

/// What to kill, and under which name. All of it may be left out.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KillBody {
    /// The caller's name for the act: the same id twice is the same kill. Drawn by the server if none is given.
    kill_id: Option<KillId>,
    /// Only there; without it everywhere.
    environment: Option<EnvKey>,
    /// Why, for the log.
    reason: String,
}

/// Where a kill is taken back, and why.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReviveBody {
    /// Only there; without it everywhere.
    environment: Option<EnvKey>,
    /// Why, for the log.
    reason: String,
}

/// The id of a kill that was given none. Under an idempotency key it is the same for the same kill, so that a
/// request that is repeated kills once; another kill under that key is another one.
fn new_kill_id(asking: &Asking, reach: &Reach, environment: Option<&EnvKey>) -> Result<KillId, Problem> {
    let id = secret::id_from(&json!([asking.new_id()?, reach, environment]).to_string());
    KillId::new(&format!("kill-{id}")).map_err(Problem::internal)
}

async fn kill(asking: &Asking, reach: Reach, body: KillBody) -> Result<HttpResponse, Problem> {
    let accepted = Instant::now();
    let kill_id = match body.kill_id {
        Some(given) => given,
        None => new_kill_id(asking, &reach, body.environment.as_ref())?,
    };
    let (place, environment) = (reach.clone(), body.environment.clone());
    let command = Command::Kill { kill_id: kill_id.clone(), reach, environment };
    let applied = asking.submit(command, body.reason).await?;
    if !applied.already {
        let (kill_id, reach, environment) = (kill_id.clone(), place.clone(), body.environment.clone());
        let kill = Overlay { kill_id, reach, environment, at: asking.shared.clock.now() };
        asking.shared.note_kill(&kill, applied.durable.then_some(applied.revision), Some(accepted));
    }
    if !applied.durable {
        let body = json!({ "kill_id": kill_id, "durable": false, "journaled": applied.journaled });
        return Ok(HttpResponse::Accepted().json(body));
    }
    Ok(HttpResponse::Ok().json(json!({
        "kill_id": kill_id,
        "revision": applied.revision,
        "durable": true,
        "already": applied.already,
        "in_effect": in_effect(&applied.published.snapshot, &place, body.environment.as_ref()),
    })))
}

/// Whether what was to be killed is dead now, at that height or above. A kill that is repeated after it was
/// taken back was done already, and kills nothing.
pub(super) fn in_effect(snapshot: &Snapshot, reach: &Reach, environment: Option<&EnvKey>) -> bool {
    let at = |kills: &Kills| match environment {
        Some(environment) => kills.in_environment(environment).is_some(),
        None => kills.all.is_some(),
    };
    let app = |app| snapshot.app(app).is_some_and(|app| at(app.kills()));
    let below = match reach {
        Reach::Everything => false,
        Reach::App { app: key } => app(key),
        Reach::Flag { app: key, flag } => {
            app(key) || snapshot.flag(key, flag).is_some_and(|view| at(view.record().kills()))
        }
    };
    at(snapshot.kills()) || below
}

async fn revive(asking: &Asking, reach: Reach, body: ReviveBody) -> Result<HttpResponse, Problem> {
    let command = Command::Revive { reach, environment: body.environment };
    let applied = asking.submit(command, body.reason).await?;
    Ok(HttpResponse::Ok().json(json!({ "revision": applied.revision, "already": applied.already })))
}

/// `POST /v1/kill`.
pub async fn kill_everything(
    asking: Asking,
    OptionalJson(body): OptionalJson<KillBody>,
) -> Result<HttpResponse, Problem> {
    kill(&asking, Reach::Everything, body).await
}

/// `POST /v1/apps/{app}/kill`.
pub async fn kill_app(
    asking: Asking,
    path: web::Path<AppKey>,
    OptionalJson(body): OptionalJson<KillBody>,
) -> Result<HttpResponse, Problem> {
    kill(&asking, Reach::App { app: path.into_inner() }, body).await
}

/// `POST /v1/apps/{app}/flags/{flag}/kill`.
pub async fn kill_flag(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey)>,
    OptionalJson(body): OptionalJson<KillBody>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    kill(&asking, Reach::Flag { app, flag }, body).await
}

/// `POST /v1/revive`.
pub async fn revive_everything(
    asking: Asking,
    OptionalJson(body): OptionalJson<ReviveBody>,
) -> Result<HttpResponse, Problem> {
    revive(&asking, Reach::Everything, body).await
}

/// `POST /v1/apps/{app}/revive`.
pub async fn revive_app(
    asking: Asking,
    path: web::Path<AppKey>,
    OptionalJson(body): OptionalJson<ReviveBody>,
) -> Result<HttpResponse, Problem> {
    revive(&asking, Reach::App { app: path.into_inner() }, body).await
}

/// `POST /v1/apps/{app}/flags/{flag}/revive`.
pub async fn revive_flag(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey)>,
    OptionalJson(body): OptionalJson<ReviveBody>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    revive(&asking, Reach::Flag { app, flag }, body).await
}
