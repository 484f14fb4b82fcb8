//! What was deployed to an environment of an app: which artifact runs, and which one to go back to.

use actix_web::{HttpResponse, web};
use rollout_rules::change::Command;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::release::{ArtifactDigest, Deployed, Release};
use rollout_rules::snapshot::{EnvironmentRecord, Snapshot};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Json;
use super::commands::Asking;
use super::etag;
use super::problem::{self, Problem};
use super::reading::Reading;

type Place = web::Path<(AppKey, EnvKey)>;

/// That an artifact was deployed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeployment {
    /// What was: `sha256:` and 64 hexadecimal digits in lower case.
    artifact: ArtifactDigest,
    /// What people call it: one line of at most 100 bytes.
    #[serde(default)]
    version: Option<String>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

fn find<'s>(
    snapshot: &'s Snapshot,
    app: &AppKey,
    environment: &EnvKey,
) -> Result<&'s EnvironmentRecord, Problem> {
    snapshot.app(app).and_then(|app| app.environment(environment)).ok_or_else(|| {
        let detail = format!("there is no environment `{environment}` of an app `{app}`");
        Problem::new(problem::NOT_FOUND, detail)
    })
}

fn view(release: &Release, all: &EnvironmentRecord) -> Value {
    let is = |other: Option<&Release>| other.is_some_and(|other| other.revision == release.revision);
    json!({
        "artifact": release.artifact,
        "version": release.version,
        "revision": release.revision,
        "deployed_at": release.deployed_at,
        "current": is(all.releases().current()),
        "previous_good": is(all.previous_good()),
        "acted_on": release.acted_on,
    })
}

/// `GET /v1/apps/{app}/environments/{environment}/releases`: the newest first.
pub async fn list(reading: Reading, path: Place) -> Result<HttpResponse, Problem> {
    let (app, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    reading.query.only(&[])?;
    let all = find(&reading.published.snapshot, &app, &environment)?;
    let items: Vec<Value> = all.releases().newest_first().map(|release| view(release, all)).collect();
    let digest = |release: Option<&Release>| json!(release.map(|release| release.artifact));
    Ok(HttpResponse::Ok().json(json!({
        "app": app,
        "environment": environment,
        "items": items,
        "current": digest(all.releases().current()),
        "previous_good": digest(all.previous_good()),
    })))
}

/// `POST /v1/apps/{app}/environments/{environment}/releases`: an artifact was deployed.
pub async fn deployed(
    asking: Asking,
    path: Place,
    Json(body): Json<NewDeployment>,
) -> Result<HttpResponse, Problem> {
    let (app, environment) = path.into_inner();
    let NewDeployment { artifact, version, reason } = body;
    let told = Deployed { app: app.clone(), environment: environment.clone(), artifact, version };
    let applied = asking.submit(Command::ReportRelease(told), reason).await?;
    let all = find(&applied.published.folded, &app, &environment)?;
    // Under an idempotency key of long ago it may be remembered no more.
    let release = all.releases().get(&artifact).ok_or_else(|| {
        Problem::new(problem::NOT_FOUND, format!("release {artifact} is not remembered any more"))
    })?;
    let mut shown = view(release, all);
    shown["already"] = applied.already.into();
    Ok(HttpResponse::Ok().insert_header(etag::header(release.revision)).json(shown))
}
