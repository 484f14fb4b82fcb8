//! What an app may be built from, and by whom.

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Command, GateCommand};
use rollout_rules::gate::trust::Source;
use rollout_rules::ids::AppKey;
use rollout_rules::snapshot::Snapshot;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::body::Json;
use crate::http::commands::Asking;
use crate::http::problem::{self, Problem};
use crate::http::reading::Reading;

/// What an app may be built from.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSource {
    /// All of it.
    source: Source,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

fn view(snapshot: &Snapshot, app: &AppKey) -> Result<Value, Problem> {
    let found = snapshot.app(app);
    let found = found.ok_or_else(|| Problem::new(problem::NOT_FOUND, format!("there is no app `{app}`")))?;
    Ok(json!({ "app": app, "source": found.source(), "digest": found.source_digest() }))
}

/// `GET /v1/apps/{app}/source`.
pub async fn get(reading: Reading, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    reading.who.reads_app(&app)?;
    reading.query.only(&[])?;
    Ok(HttpResponse::Ok().json(view(&reading.published.snapshot, &app)?))
}

/// `PUT /v1/apps/{app}/source`.
pub async fn set(
    asking: Asking,
    path: web::Path<AppKey>,
    Json(body): Json<NewSource>,
) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    let command = Command::Gate(GateCommand::SetSource { app: app.clone(), source: body.source });
    let applied = asking.submit(command, body.reason).await?;
    Ok(HttpResponse::Ok().json(view(&applied.published.folded, &app)?))
}
