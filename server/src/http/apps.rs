//! Apps and their environments.

use actix_web::{HttpRequest, HttpResponse, web};
use rollout_rules::change::{Command, NewEnvironment};
use rollout_rules::flag::{EnvironmentKind, Tier};
use rollout_rules::ids::{AppKey, EnvKey, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::audience::Query;
use super::auth::Principal;
use super::body::{Json, OptionalJson};
use super::commands::Asking;
use super::creating::{Creating, Shown};
use super::etag;
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;

/// A body that has nothing but a reason.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnlyReason {
    /// Why.
    pub reason: String,
}

impl OnlyReason {
    /// The reason, which a request without a body may give as `?reason=…`.
    pub fn or_in_query(self, request: &HttpRequest) -> Result<String, Problem> {
        let query = Query::of(request)?;
        query.only(&["reason"])?;
        if self.reason.is_empty() {
            Ok(query.get("reason").unwrap_or("").to_owned())
        } else {
            Ok(self.reason)
        }
    }
}

/// An environment as it is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewEnvironmentBody {
    /// Its key.
    key: EnvKey,
    /// What it is for.
    kind: EnvironmentKind,
    /// When a preview ends; what the settings say if none is given.
    #[serde(default)]
    ends_at: Option<UnixMs>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// An environment that an app begins with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FirstEnvironment {
    /// Its key.
    key: EnvKey,
    /// What it is for.
    kind: EnvironmentKind,
    /// When a preview ends; what the settings say if none is given.
    #[serde(default)]
    ends_at: Option<UnixMs>,
}

/// An app as it is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewApp {
    /// Its key.
    key: AppKey,
    /// Its name for people.
    #[serde(default)]
    name: String,
    /// Who answers for it.
    #[serde(default)]
    owner: String,
    /// How much it matters.
    #[serde(default)]
    tier: Tier,
    /// What it may cost a month, in millionths of `currency`.
    #[serde(default)]
    monthly_budget_micros: Option<u64>,
    /// ISO 4217 code of the budget's currency.
    #[serde(default)]
    currency: Option<String>,
    /// Attributes whose values no web page may learn from a rule: `email`, or `user.email` with all below it. At most 64.
    #[serde(default)]
    sensitive: Vec<String>,
    /// Its first environments; `production` and `sandbox` if none are named.
    #[serde(default)]
    environments: Option<Vec<FirstEnvironment>>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// What may change of an app.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppPatch {
    /// Its name for people.
    #[serde(default)]
    name: Option<String>,
    /// Who answers for it.
    #[serde(default)]
    owner: Option<String>,
    /// How much it matters.
    #[serde(default)]
    tier: Option<Tier>,
    /// What it may cost a month, in millionths of `currency`.
    #[serde(default)]
    monthly_budget_micros: Option<u64>,
    /// ISO 4217 code of the budget's currency.
    #[serde(default)]
    currency: Option<String>,
    /// Attributes whose values no web page may learn from a rule, all anew.
    #[serde(default)]
    sensitive: Option<Vec<String>>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// What may change of an environment: the end of a preview.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentPatch {
    /// The new end.
    ends_at: UnixMs,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

pub(super) fn missing_app(app: &AppKey) -> Problem {
    Problem::new(problem::NOT_FOUND, format!("there is no app `{app}`"))
}

fn missing_environment(app: &AppKey, environment: &EnvKey) -> Problem {
    Problem::new(problem::NOT_FOUND, format!("there is no environment `{environment}` of app `{app}`"))
}

fn show_app(
    snapshot: &Snapshot,
    who: &Principal,
    app: &AppKey,
    now: UnixMs,
) -> Result<(Revision, Value), Problem> {
    let found = snapshot.app(app).ok_or_else(|| missing_app(app))?;
    Ok((found.revision(), views::app(found, who.environment.as_ref(), now)))
}

fn show_environment(snapshot: &Snapshot, app: &AppKey, key: &EnvKey, now: UnixMs) -> Result<Value, Problem> {
    let found = snapshot.app(app).ok_or_else(|| missing_app(app))?;
    let record = found.environment(key).ok_or_else(|| missing_environment(app, key))?;
    Ok(views::environment(found, record, now))
}

/// `GET /v1/apps`: those that the token may see.
pub async fn list(reading: Reading) -> Result<HttpResponse, Problem> {
    reading.who.reads()?;
    let page: Page<AppKey> = Page::of(&reading.query, &[])?;
    let now = reading.now;
    let name = |app: &&rollout_rules::snapshot::App| app.info().key.to_string();
    let view = |app: &rollout_rules::snapshot::App| views::app(app, reading.who.environment.as_ref(), now);
    Ok(match &reading.who.app {
        Some(only) => {
            let wanted = page.cursor.as_ref().is_none_or(|cursor| only > cursor);
            let one = reading.published.snapshot.app(only).filter(|_| wanted);
            page.answer(one.into_iter(), name, view)
        }
        None => page.answer(reading.published.snapshot.apps(page.cursor.as_ref()), name, view),
    })
}

/// `POST /v1/apps`.
pub async fn create(creating: Creating) -> Result<HttpResponse, Problem> {
    creating
        .run(
            |body: NewApp| {
                let made = body.key.clone();
                let environments = body.environments.map(|list| {
                    let new = |one: FirstEnvironment| NewEnvironment {
                        key: one.key,
                        kind: one.kind,
                        ends_at: one.ends_at,
                    };
                    list.into_iter().map(new).collect()
                });
                let command = Command::CreateApp {
                    key: body.key,
                    name: body.name,
                    owner: body.owner,
                    tier: body.tier,
                    monthly_budget_micros: body.monthly_budget_micros,
                    currency: body.currency,
                    environments,
                    sensitive: body.sensitive,
                };
                Ok((command, body.reason, made))
            },
            |asking, applied, key| {
                let (revision, body) =
                    show_app(&applied.published.snapshot, &asking.who, &key, asking.shared.clock.now())?;
                Ok(Shown { location: format!("/v1/apps/{key}"), revision: Some(revision), body })
            },
        )
        .await
}

/// `GET /v1/apps/{app}`.
pub async fn get(reading: Reading, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    reading.who.reads_app(&path)?;
    let (revision, body) = show_app(&reading.published.snapshot, &reading.who, &path, reading.now)?;
    Ok(HttpResponse::Ok().insert_header(etag::header(revision)).json(body))
}

/// `PATCH /v1/apps/{app}`.
pub async fn update(
    asking: Asking,
    path: web::Path<AppKey>,
    Json(patch): Json<AppPatch>,
) -> Result<HttpResponse, Problem> {
    let command = Command::UpdateApp {
        app: path.clone(),
        name: patch.name,
        owner: patch.owner,
        tier: patch.tier,
        monthly_budget_micros: patch.monthly_budget_micros,
        currency: patch.currency,
        sensitive: patch.sensitive,
    };
    let applied = asking.submit(command, patch.reason).await?;
    let (revision, body) =
        show_app(&applied.published.snapshot, &asking.who, &path, asking.shared.clock.now())?;
    Ok(HttpResponse::Ok().insert_header(etag::header(revision)).json(body))
}

/// `GET /v1/apps/{app}/environments`.
pub async fn list_environments(reading: Reading, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    reading.who.reads_app(&path)?;
    let page: Page<EnvKey> = Page::of(&reading.query, &[])?;
    let app = reading.published.snapshot.app(&path).ok_or_else(|| missing_app(&path))?;
    let now = reading.now;
    let rest = app
        .environments()
        .filter(|record| page.cursor.as_ref().is_none_or(|cursor| record.environment().key > *cursor))
        .filter(|record| views::shows(reading.who.environment.as_ref(), &record.environment().key));
    Ok(page.answer(
        rest,
        |record| record.environment().key.to_string(),
        |record| views::environment(app, record, now),
    ))
}

/// `POST /v1/apps/{app}/environments`.
pub async fn create_environment(
    creating: Creating,
    path: web::Path<AppKey>,
) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    creating
        .run(
            |body: NewEnvironmentBody| {
                let made = body.key.clone();
                let environment = NewEnvironment { key: body.key, kind: body.kind, ends_at: body.ends_at };
                Ok((Command::CreateEnvironment { app: app.clone(), environment }, body.reason, made))
            },
            |asking, applied, key| {
                let body =
                    show_environment(&applied.published.snapshot, &app, &key, asking.shared.clock.now())?;
                Ok(Shown { location: format!("/v1/apps/{app}/environments/{key}"), revision: None, body })
            },
        )
        .await
}

/// `GET /v1/apps/{app}/environments/{environment}`.
pub async fn get_environment(
    reading: Reading,
    path: web::Path<(AppKey, EnvKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, key) = path.into_inner();
    reading.who.reads_environment(&app, &key)?;
    Ok(HttpResponse::Ok().json(show_environment(&reading.published.snapshot, &app, &key, reading.now)?))
}

/// `PATCH /v1/apps/{app}/environments/{environment}`: moves the end of a preview.
pub async fn update_environment(
    asking: Asking,
    path: web::Path<(AppKey, EnvKey)>,
    Json(patch): Json<EnvironmentPatch>,
) -> Result<HttpResponse, Problem> {
    let (app, environment) = path.into_inner();
    let command = Command::ExtendEnvironment {
        app: app.clone(),
        environment: environment.clone(),
        ends_at: patch.ends_at,
    };
    let applied = asking.submit(command, patch.reason).await?;
    let body = show_environment(&applied.published.snapshot, &app, &environment, asking.shared.clock.now())?;
    Ok(HttpResponse::Ok().json(body))
}

/// `DELETE /v1/apps/{app}/environments/{environment}`.
pub async fn remove_environment(
    asking: Asking,
    path: web::Path<(AppKey, EnvKey)>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let (app, environment) = path.into_inner();
    let command = Command::RemoveEnvironment { app, environment };
    let reason = body.or_in_query(&asking.request)?;
    asking.submit(command, reason).await?;
    Ok(HttpResponse::NoContent().finish())
}
