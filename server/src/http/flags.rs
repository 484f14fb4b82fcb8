//! Flags: their definitions, and what they do in each environment.

use actix_web::{HttpResponse, web};
use rollout_rules::change::{BrowserMark, Command, TargetingPatch};
use rollout_rules::flag::{FlagKind, Prerequisite, Rule, ScheduledChange, Serve, Target, Variant};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision, VariantKey};
use rollout_rules::percent::Exposure;
use rollout_rules::snapshot::{FlagView, Snapshot};
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::apps::{OnlyReason, missing_app};
use super::auth::Principal;
use super::body::{Json, OptionalJson};
use super::commands::Asking;
use super::creating::{Creating, Shown};
use super::etag;
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::state::{Applied, Published};

/// A flag as it is to be made: off everywhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFlag {
    /// Its key.
    key: FlagKey,
    /// What its values are.
    #[serde(default = "boolean", rename = "type")]
    kind: FlagKind,
    /// Its answers; a boolean flag without gets `on` and `off`.
    #[serde(default)]
    variants: Vec<Variant>,
    /// Its answer while off; the last variant if none is named.
    #[serde(default)]
    off_variant: Option<VariantKey>,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// Who answers for it.
    #[serde(default)]
    owner: String,
    /// Critical flags stay when a budget disables the rest.
    #[serde(default)]
    critical: bool,
    /// When it expires; cut to what each environment allows.
    #[serde(default)]
    expires_at: Option<UnixMs>,
    /// How it travels to web pages, where everybody can read it; not at all if nothing is said.
    #[serde(default)]
    browser: Option<BrowserMark>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

fn boolean() -> FlagKind {
    FlagKind::Boolean
}

/// What may change of a flag's definition.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlagPatch {
    /// All its answers anew.
    variants: Option<Vec<Variant>>,
    /// Its answer while off.
    off_variant: Option<VariantKey>,
    /// What it is for.
    description: Option<String>,
    /// Who answers for it.
    owner: Option<String>,
    /// Critical flags stay when a budget disables the rest.
    critical: Option<bool>,
    /// How it travels to web pages, where everybody can read it.
    browser: Option<BrowserMark>,
    /// Why, for the log.
    reason: String,
}

/// What may change of what a flag does in an environment.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StatePatch {
    /// Turn it on or off.
    on: Option<bool>,
    /// How many units get `serve`.
    exposure: Option<Exposure>,
    /// What the exposed units get.
    serve: Option<Serve>,
    /// All target lists anew.
    targets: Option<Vec<Target>>,
    /// All rules anew.
    rules: Option<Vec<Rule>>,
    /// All prerequisites anew.
    prerequisites: Option<Vec<Prerequisite>>,
    /// All scheduled changes anew.
    schedule: Option<Vec<ScheduledChange>>,
    /// Why, for the log.
    reason: String,
}

/// How a flag's life is extended.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Extension {
    /// Only there; without it everywhere.
    environment: Option<EnvKey>,
    /// When it expires; the longest that each environment allows if none is given.
    expires_at: Option<UnixMs>,
    /// Why, for the log.
    reason: String,
}

pub(super) fn missing_flag(app: &AppKey, flag: &FlagKey) -> Problem {
    Problem::new(problem::NOT_FOUND, format!("there is no flag `{flag}` of app `{app}`"))
}

pub(super) fn find<'s>(
    snapshot: &'s Snapshot,
    app: &AppKey,
    flag: &FlagKey,
) -> Result<FlagView<'s>, Problem> {
    if snapshot.app(app).is_none() {
        return Err(missing_app(app));
    }
    snapshot.flag(app, flag).ok_or_else(|| missing_flag(app, flag))
}

/// The revision that writers must have seen: it is of the log alone, since commands are decided on that. A
/// kill that the log has not taken yet shows in what is served, but has no revision.
pub(super) fn revision(published: &Published, view: &FlagView<'_>) -> Revision {
    let (app, flag) = (&view.app().info().key, &view.record().flag().key);
    // Overlays make no flags, so the log has every flag that is served.
    published.folded.flag(app, flag).map_or_else(|| view.revision(), |view| view.revision())
}

fn answer(
    published: &Published,
    who: &Principal,
    app: &AppKey,
    flag: &FlagKey,
    now: UnixMs,
) -> Result<HttpResponse, Problem> {
    let view = find(&published.snapshot, app, flag)?;
    let revision = revision(published, &view);
    Ok(HttpResponse::Ok().insert_header(etag::header(revision)).json(views::flag(
        &view,
        revision,
        who.environment.as_ref(),
        now,
    )))
}

/// Tells where a flag lives shorter than was asked, since the environment allows no more: the member
/// `expiry_cut` has, by environment that the answer shows, the moment asked for and the one that it got; it
/// is absent if none is cut. `only` is the environment that the question was about, if not all.
fn tell_cuts(body: &mut Value, view: &FlagView<'_>, asked: Option<UnixMs>, only: Option<&EnvKey>) {
    let Some(asked) = asked else { return };
    let cuts: Map<String, Value> = view
        .record()
        .states()
        .filter(|(key, _)| {
            only.is_none_or(|only| only == *key) && !body["environments"][key.as_str()].is_null()
        })
        .map(|(key, record)| (key, record.state().expires_at))
        .filter(|(_, got)| *got < asked)
        .map(|(key, got)| (key.to_string(), json!({ "asked": asked, "expires_at": got })))
        .collect();
    if !cuts.is_empty() {
        body["expiry_cut"] = Value::Object(cuts);
    }
}

/// The flag after a change.
pub(super) fn answer_changed(
    asking: &Asking,
    applied: &Applied,
    app: &AppKey,
    flag: &FlagKey,
) -> Result<HttpResponse, Problem> {
    answer(&applied.published, &asking.who, app, flag, asking.shared.clock.now())
}

/// `GET /v1/apps/{app}/flags`; archived ones only with `?archived=true`.
pub async fn list(reading: Reading, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    reading.who.reads_app(&app)?;
    let page: Page<FlagKey> = Page::of(&reading.query, &["archived"])?;
    let archived = reading.query.truth("archived")?.unwrap_or(false);
    let snapshot = &reading.published.snapshot;
    let now = reading.now;
    let records = snapshot.app(&app).ok_or_else(|| missing_app(&app))?.flags(page.cursor.as_ref());
    let views = records
        .filter(|record| record.is_archived() == archived)
        .filter_map(|record| snapshot.flag(&app, &record.flag().key));
    Ok(page.answer(
        views,
        |view| view.record().flag().key.to_string(),
        |view| views::flag(&view, revision(&reading.published, &view), reading.who.environment.as_ref(), now),
    ))
}

/// `POST /v1/apps/{app}/flags`.
pub async fn create(creating: Creating, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    creating
        .run(
            |body: NewFlag| {
                let made = (body.key.clone(), body.expires_at);
                let command = Command::CreateFlag {
                    app: app.clone(),
                    key: body.key,
                    kind: body.kind,
                    variants: body.variants,
                    off_variant: body.off_variant,
                    description: body.description,
                    owner: body.owner,
                    critical: body.critical,
                    expires_at: body.expires_at,
                    browser: body.browser,
                };
                Ok((command, body.reason, made))
            },
            |asking, applied, (key, asked)| {
                let view = find(&applied.published.snapshot, &app, &key)?;
                let escaped = key.as_str().replace('/', "%2F");
                let revision = revision(&applied.published, &view);
                let mut body =
                    views::flag(&view, revision, asking.who.environment.as_ref(), asking.shared.clock.now());
                tell_cuts(&mut body, &view, asked, None);
                Ok(Shown {
                    location: format!("/v1/apps/{app}/flags/{escaped}"),
                    revision: Some(revision),
                    body,
                })
            },
        )
        .await
}

/// `GET /v1/apps/{app}/flags/{flag}`.
pub async fn get(reading: Reading, path: web::Path<(AppKey, FlagKey)>) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    reading.who.reads_app(&app)?;
    answer(&reading.published, &reading.who, &app, &flag, reading.now)
}

/// `PATCH /v1/apps/{app}/flags/{flag}`: the definition.
pub async fn update(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey)>,
    Json(patch): Json<FlagPatch>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    let command = Command::UpdateFlag {
        app: app.clone(),
        flag: flag.clone(),
        variants: patch.variants,
        off_variant: patch.off_variant,
        description: patch.description,
        owner: patch.owner,
        critical: patch.critical,
        browser: patch.browser,
    };
    let applied = asking.submit(command, patch.reason).await?;
    answer_changed(&asking, &applied, &app, &flag)
}

/// `GET /v1/apps/{app}/flags/{flag}/environments/{environment}`.
pub async fn get_state(
    reading: Reading,
    path: web::Path<(AppKey, FlagKey, EnvKey)>,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = path.into_inner();
    reading.who.reads_environment(&app, &environment)?;
    let view = find(&reading.published.snapshot, &app, &flag)?;
    let Some(state) = view.record().state(&environment) else {
        let detail = format!("flag `{flag}` has no environment `{environment}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    let shown = views::flag_state(&view, &environment, state, reading.now);
    let etag = etag::header(revision(&reading.published, &view));
    Ok(HttpResponse::Ok().insert_header(etag).json(shown))
}

/// `PATCH /v1/apps/{app}/flags/{flag}/environments/{environment}`: what the flag does there.
pub async fn set_state(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey, EnvKey)>,
    Json(patch): Json<StatePatch>,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = path.into_inner();
    let targeting = TargetingPatch {
        on: patch.on,
        exposure: patch.exposure,
        serve: patch.serve,
        targets: patch.targets,
        rules: patch.rules,
        prerequisites: patch.prerequisites,
        schedule: patch.schedule,
    };
    let command = Command::SetTargeting {
        app: app.clone(),
        flag: flag.clone(),
        environment,
        patch: Box::new(targeting),
    };
    let applied = asking.submit(command, patch.reason).await?;
    answer_changed(&asking, &applied, &app, &flag)
}

/// `POST /v1/apps/{app}/flags/{flag}/extend`.
pub async fn extend(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey)>,
    OptionalJson(body): OptionalJson<Extension>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    let command = Command::ExtendFlag {
        app: app.clone(),
        flag: flag.clone(),
        environment: body.environment.clone(),
        expires_at: body.expires_at,
    };
    let applied = asking.submit(command, body.reason).await?;
    let view = find(&applied.published.snapshot, &app, &flag)?;
    let revision = revision(&applied.published, &view);
    let now = asking.shared.clock.now();
    let mut shown = views::flag(&view, revision, asking.who.environment.as_ref(), now);
    tell_cuts(&mut shown, &view, body.expires_at, body.environment.as_ref());
    Ok(HttpResponse::Ok().insert_header(etag::header(revision)).json(shown))
}

/// `POST /v1/apps/{app}/flags/{flag}/archive`, and `DELETE` of the flag.
pub async fn archive(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey)>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let (app, flag) = path.into_inner();
    let reason = body.or_in_query(&asking.request)?;
    let command = Command::ArchiveFlag { app: app.clone(), flag: flag.clone() };
    let applied = asking.submit(command, reason).await?;
    answer_changed(&asking, &applied, &app, &flag)
}
