//! The jobs and channels that guardrails call. A secret is drawn here and shown once; credentials are never shown.

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Command, RunbookCommand};
use rollout_rules::ids::{AppKey, ChannelName, JobName};
use rollout_rules::runbook::{Channel, ChannelTarget, Credential, Job, JobPatch, Payload};
use rollout_rules::snapshot::{App, Kept, Runbook, Snapshot};
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::apps::{OnlyReason, missing_app};
use super::auth::Principal;
use super::body::{Json, OptionalJson};
use super::commands::Asking;
use super::creating::{Creating, Shown};
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::webhooks::{check_url, of_attempt};
use crate::effects::{self, Target};
use crate::state::Applied;

/// A new job.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// Its name in rules: `run NAME`. `revert-release` is what `revert release` runs.
    name: JobName,
    /// Where it is called: `https`, and no private address unless the server allows it.
    url: String,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// In which form it is told.
    #[serde(default = "plain")]
    payload: Payload,
    /// What the receiver asks for: a bearer token, or the token of a pipeline trigger. Never shown again.
    #[serde(default)]
    credential: Option<String>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

fn plain() -> Payload {
    Payload::Plain
}

/// What can be changed of a job.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobChanges {
    /// Where it is called.
    #[serde(default)]
    url: Option<String>,
    /// A new credential.
    #[serde(default)]
    credential: Option<String>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// A new channel.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// Its name in rules: `notify NAME`. `owner` is the app's owner, and always there.
    name: ChannelName,
    /// Where it leads.
    target: ChannelTarget,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// The app, for a caller who may have to do with whom it calls.
fn app_of<'s>(who: &Principal, snapshot: &'s Snapshot, app: &AppKey) -> Result<&'s App, Problem> {
    who.operates()?;
    who.reads_app(app)?;
    if who.environment.is_some() {
        let detail = "jobs and channels are of the whole app, and this token is bound to one environment";
        return Err(Problem::new(problem::NOT_ALLOWED, detail));
    }
    snapshot.app(app).ok_or_else(|| missing_app(app))
}

fn missing(kind: &str, name: &str) -> Problem {
    Problem::new(problem::NOT_FOUND, format!("there is no {kind} `{name}`"))
}

fn job_view(kept: &Kept<Job>) -> Value {
    let job = &kept.value;
    json!({
        "name": job.name, "url": job.url, "description": job.description, "payload": job.payload,
        "has_credential": job.credential.is_some(), "secrets": job.secrets.len(), "created_at": job.created_at,
        "revision": kept.revision,
    })
}

fn channel_view(kept: &Kept<Channel>) -> Value {
    let channel = &kept.value;
    json!({
        "name": channel.name, "description": channel.description, "target": channel.target,
        "created_at": channel.created_at, "revision": kept.revision,
    })
}

fn job<'s>(app: &'s App, name: &JobName) -> Result<&'s Kept<Job>, Problem> {
    let found = app.runbook().and_then(|runbook: &Runbook| runbook.job(name));
    found.ok_or_else(|| missing("job", name.as_str()))
}

fn channel<'s>(app: &'s App, name: &ChannelName) -> Result<&'s Kept<Channel>, Problem> {
    let found = app.runbook().and_then(|runbook: &Runbook| runbook.channel(name));
    found.ok_or_else(|| missing("channel", name.as_str()))
}

/// `GET /v1/apps/{app}/jobs`.
pub async fn list_jobs(reading: Reading, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let page: Page<JobName> = Page::of(&reading.query, &[])?;
    let app = app_of(&reading.who, &reading.published.folded, &path)?;
    let jobs = app.runbook().into_iter().flat_map(Runbook::jobs);
    let rest = jobs.filter(|kept| page.cursor.as_ref().is_none_or(|cursor| kept.value.name > *cursor));
    Ok(page.answer(rest, |kept| kept.value.name.to_string(), job_view))
}

/// `POST /v1/apps/{app}/jobs`: the answer alone shows the secret.
pub async fn create_job(creating: Creating, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    app_of(&creating.asking.who, &creating.asking.shared.published().snapshot, &app)?;
    let shared = web::Data::clone(&creating.asking.shared);
    creating
        .run(
            |body: NewJob| {
                check_url(&shared.webhooks, &body.url)?;
                let secret = effects::draw_secret();
                let name = body.name.clone();
                let job = Job {
                    name: body.name,
                    url: body.url,
                    description: body.description,
                    payload: body.payload,
                    credential: body.credential.map(Credential::new),
                    secrets: vec![secret.clone()],
                    created_at: UnixMs::default(),
                };
                Ok((
                    Command::Runbook { app: app.clone(), change: RunbookCommand::CreateJob { job } },
                    body.reason,
                    (name, secret.reveal().to_owned()),
                ))
            },
            |_, applied, (name, secret)| with_secret(applied, &app, &name, secret),
        )
        .await
}

/// The job with the secret that was just drawn for it.
fn with_secret(applied: &Applied, app: &AppKey, name: &JobName, secret: String) -> Result<Shown, Problem> {
    let path = format!("/v1/apps/{app}/jobs/{name}");
    if applied.already {
        let detail = format!(
            "this idempotency key drew a secret for the job `{name}`, which was shown once; if it is lost, draw another \
             under a new key: POST {path}/rotate"
        );
        return Err(Problem::new(problem::IDEMPOTENCY_KEY_TAKEN, detail).with("revision", applied.revision.0));
    }
    let found = applied.published.folded.app(app).ok_or_else(|| missing_app(app))?;
    let kept = job(found, name)?;
    let mut body = job_view(kept);
    body["secret"] = secret.into();
    Ok(Shown { location: path, revision: Some(kept.revision), body })
}

/// `PATCH /v1/apps/{app}/jobs/{job}`.
pub async fn update_job(
    asking: Asking,
    path: web::Path<(AppKey, JobName)>,
    Json(body): Json<JobChanges>,
) -> Result<HttpResponse, Problem> {
    let (app, name) = path.into_inner();
    app_of(&asking.who, &asking.shared.published().snapshot, &app)?;
    if let Some(url) = &body.url {
        check_url(&asking.shared.webhooks, url)?;
    }
    let patch = JobPatch { url: body.url, credential: body.credential.map(Credential::new), secret: None };
    let change = RunbookCommand::UpdateJob { job: name.clone(), patch };
    let command = Command::Runbook { app: app.clone(), change };
    let applied = asking.submit(command, body.reason).await?;
    let found = applied.published.folded.app(&app).ok_or_else(|| missing_app(&app))?;
    Ok(HttpResponse::Ok().json(job_view(job(found, &name)?)))
}

/// `DELETE /v1/apps/{app}/jobs/{job}`.
pub async fn remove_job(
    asking: Asking,
    path: web::Path<(AppKey, JobName)>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let (app, job) = path.into_inner();
    app_of(&asking.who, &asking.shared.published().snapshot, &app)?;
    let reason = body.or_in_query(&asking.request)?;
    asking.submit(Command::Runbook { app, change: RunbookCommand::RemoveJob { job } }, reason).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /v1/apps/{app}/jobs/{job}/rotate`: a new secret, shown in the answer alone; the newest so far signs beside it.
pub async fn rotate_job(
    creating: Creating,
    path: web::Path<(AppKey, JobName)>,
) -> Result<HttpResponse, Problem> {
    let (app, name) = path.into_inner();
    app_of(&creating.asking.who, &creating.asking.shared.published().snapshot, &app)?;
    creating
        .run(
            |body: OnlyReason| {
                let secret = effects::draw_secret();
                let patch = JobPatch { secret: Some(secret.clone()), ..JobPatch::default() };
                let change = RunbookCommand::UpdateJob { job: name.clone(), patch };
                let command = Command::Runbook { app: app.clone(), change };
                Ok((command, body.reason, secret.reveal().to_owned()))
            },
            |_, applied, secret| with_secret(applied, &app, &name, secret),
        )
        .await
}

/// `POST /v1/apps/{app}/jobs/{job}/test`: calls it once with the action `test`, and says what became of it.
pub async fn test_job(asking: Asking, path: web::Path<(AppKey, JobName)>) -> Result<HttpResponse, Problem> {
    let (app, name) = path.into_inner();
    let published = asking.shared.published_full();
    let kept = job(app_of(&asking.who, &published.folded, &app)?, &name)?;
    test(&asking, &app, &Target::Job(kept.value.clone())).await
}

async fn test(asking: &Asking, app: &AppKey, target: &Target) -> Result<HttpResponse, Problem> {
    match asking.shared.webhooks.test_target(app, target).await {
        Some(attempt) => Ok(HttpResponse::Ok().json(of_attempt(&attempt))),
        None => Err(Problem::new(problem::BUSY, "too many are being tested").retry_after(1)),
    }
}

/// `GET /v1/apps/{app}/channels`.
pub async fn list_channels(reading: Reading, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let page: Page<ChannelName> = Page::of(&reading.query, &[])?;
    let app = app_of(&reading.who, &reading.published.folded, &path)?;
    let channels = app.runbook().into_iter().flat_map(Runbook::channels);
    let rest = channels.filter(|kept| page.cursor.as_ref().is_none_or(|cursor| kept.value.name > *cursor));
    Ok(page.answer(rest, |kept| kept.value.name.to_string(), channel_view))
}

/// `POST /v1/apps/{app}/channels`.
pub async fn create_channel(creating: Creating, path: web::Path<AppKey>) -> Result<HttpResponse, Problem> {
    let app = path.into_inner();
    app_of(&creating.asking.who, &creating.asking.shared.published().snapshot, &app)?;
    let shared = web::Data::clone(&creating.asking.shared);
    creating
        .run(
            |body: NewChannel| {
                if let ChannelTarget::Chat { url } = &body.target {
                    check_url(&shared.webhooks, url)?;
                }
                let name = body.name.clone();
                let channel = Channel {
                    name: body.name,
                    description: body.description,
                    target: body.target,
                    created_at: UnixMs::default(),
                };
                Ok((
                    Command::Runbook { app: app.clone(), change: RunbookCommand::CreateChannel { channel } },
                    body.reason,
                    name,
                ))
            },
            |_, applied, name| {
                let found = applied.published.folded.app(&app).ok_or_else(|| missing_app(&app))?;
                let kept = channel(found, &name)?;
                let location = format!("/v1/apps/{app}/channels/{name}");
                Ok(Shown { location, revision: Some(kept.revision), body: channel_view(kept) })
            },
        )
        .await
}

/// `DELETE /v1/apps/{app}/channels/{channel}`.
pub async fn remove_channel(
    asking: Asking,
    path: web::Path<(AppKey, ChannelName)>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let (app, channel) = path.into_inner();
    app_of(&asking.who, &asking.shared.published().snapshot, &app)?;
    let reason = body.or_in_query(&asking.request)?;
    asking
        .submit(Command::Runbook { app, change: RunbookCommand::RemoveChannel { channel } }, reason)
        .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /v1/apps/{app}/channels/{channel}/test`: tells once that this is a test, and says what became of it. `owner`
/// can be tested too.
pub async fn test_channel(
    asking: Asking,
    path: web::Path<(AppKey, ChannelName)>,
) -> Result<HttpResponse, Problem> {
    let (app, name) = path.into_inner();
    let published = asking.shared.published_full();
    let found = app_of(&asking.who, &published.folded, &app)?;
    let target = Target::of(found, &rollout_rules::sli::guardrail::Action::Notify(name.clone()));
    match target {
        Ok(target) => test(&asking, &app, &target).await,
        Err(nobody) => Err(Problem::new(problem::NOT_FOUND, nobody.to_string())),
    }
}
