//! Webhooks. A secret is drawn here and shown once; what signs afterwards is in the log, and no answer of the
//! server shows it.

use actix_web::{HttpResponse, web};
use rollout_rules::change::{ChangeKind, Command};
use rollout_rules::ids::{AppKey, EnvKey, Revision, WebhookId};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use rollout_rules::webhook::{Webhook, WebhookPatch, WebhookRecord};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::apps::OnlyReason;
use super::auth::Principal;
use super::body::{Json, OptionalJson};
use super::commands::Asking;
use super::creating::{Creating, Shown};
use super::etag;
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use crate::effects::{self, Attempt, Delivery, Outcome, Progress, Webhooks};
use crate::state::Applied;

/// A new webhook.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where messages are sent: `https`, and no private address unless the server allows it.
    url: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    app: Option<AppKey>,
    #[serde(default)]
    environment: Option<EnvKey>,
    #[serde(default)]
    kinds: Vec<ChangeKind>,
    #[serde(default)]
    reason: String,
}

/// What can be changed of a webhook.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Patch {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    kinds: Option<Vec<ChangeKind>>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    reason: String,
}

/// How a new secret is drawn.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Whether the secret so far goes on signing beside the new one.
    #[serde(default = "yes")]
    keep_old: bool,
    #[serde(default)]
    reason: String,
}

fn yes() -> bool {
    true
}

/// Which dead letter is to be sent again; none: all.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    #[serde(default)]
    revision: Option<Revision>,
}

fn path(id: &WebhookId) -> String {
    format!("/v1/webhooks/{id}")
}

/// A webhook without its secrets.
fn view(record: &WebhookRecord) -> Value {
    let webhook = &record.webhook;
    let mut view = json!({
        "id": webhook.id,
        "url": webhook.url,
        "description": webhook.description,
        "app": webhook.app,
        "environment": webhook.environment,
        "kinds": webhook.kinds,
        "enabled": webhook.enabled,
        "secrets": webhook.secrets.len(),
        "created_at": webhook.created_at,
        "revision": record.revision,
    });
    if let Some(members) = view.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    view
}

fn missing(id: &WebhookId) -> Problem {
    Problem::new(problem::NOT_FOUND, format!("there is no webhook `{id}`"))
}

/// Whether a token that may have to do with webhooks is shown this one.
fn shows(who: &Principal, webhook: &Webhook) -> bool {
    (who.app.is_none() || who.app == webhook.app)
        && (who.environment.is_none() || who.environment == webhook.environment)
}

/// The webhook, for a caller who may have to do with it.
fn seen<'s>(who: &Principal, snapshot: &'s Snapshot, id: &WebhookId) -> Result<&'s WebhookRecord, Problem> {
    who.operates()?;
    snapshot.webhook(id).filter(|record| shows(who, &record.webhook)).ok_or_else(|| missing(id))
}

pub(super) fn check_url(webhooks: &Webhooks, url: &str) -> Result<(), Problem> {
    let refused = |unfit: effects::Unfit| {
        Problem::new(problem::INVALID, format!("`url`: {unfit}")).with("field", "url")
    };
    webhooks.check_url(url).map_err(refused)
}

/// `GET /v1/webhooks`.
pub async fn list(reading: Reading) -> Result<HttpResponse, Problem> {
    reading.who.operates()?;
    let page: Page<WebhookId> = Page::of(&reading.query, &[])?;
    let webhooks = reading.published.snapshot.webhooks(page.cursor.as_ref());
    let seen = webhooks.filter(|record| shows(&reading.who, &record.webhook));
    Ok(page.answer(seen, |record| record.webhook.id.to_string(), view))
}

/// `GET /v1/webhooks/{id}`.
pub async fn get(reading: Reading, id: web::Path<WebhookId>) -> Result<HttpResponse, Problem> {
    let record = seen(&reading.who, &reading.published.snapshot, &id)?;
    Ok(HttpResponse::Ok().insert_header(etag::header(record.revision)).json(view(record)))
}

/// `POST /v1/webhooks`: the answer alone shows the secret.
pub async fn create(creating: Creating) -> Result<HttpResponse, Problem> {
    creating.asking.who.operates()?;
    let id = WebhookId::new(&creating.asking.new_id()?).map_err(Problem::internal)?;
    let shared = web::Data::clone(&creating.asking.shared);
    creating
        .run(
            |body: NewWebhook| {
                check_url(&shared.webhooks, &body.url)?;
                let secret = effects::draw_secret();
                let webhook = Webhook {
                    id: id.clone(),
                    url: body.url,
                    description: body.description,
                    app: body.app,
                    environment: body.environment,
                    kinds: body.kinds,
                    secrets: vec![secret.clone()],
                    enabled: true,
                    created_at: UnixMs::default(),
                };
                Ok((Command::CreateWebhook { webhook }, body.reason, secret.reveal().to_owned()))
            },
            |_, applied, secret| with_secret(applied, &id, secret),
        )
        .await
}

/// The webhook with the secret that was just drawn for it.
fn with_secret(applied: &Applied, id: &WebhookId, secret: String) -> Result<Shown, Problem> {
    if applied.already {
        let detail = format!(
            "this idempotency key drew a secret for the webhook `{id}`, which was shown once; if it is lost, \
             draw another under a new key: POST {}/rotate",
            path(id)
        );
        return Err(Problem::new(problem::IDEMPOTENCY_KEY_TAKEN, detail).with("revision", applied.revision.0));
    }
    let record = applied.published.snapshot.webhook(id).ok_or_else(|| missing(id))?;
    let mut body = view(record);
    body["secret"] = secret.into();
    Ok(Shown { location: path(id), revision: Some(record.revision), body })
}

/// `PATCH /v1/webhooks/{id}`.
pub async fn update(
    asking: Asking,
    id: web::Path<WebhookId>,
    Json(body): Json<Patch>,
) -> Result<HttpResponse, Problem> {
    seen(&asking.who, &asking.shared.published().snapshot, &id)?;
    if let Some(url) = &body.url {
        check_url(&asking.shared.webhooks, url)?;
    }
    let patch = WebhookPatch {
        url: body.url,
        description: body.description,
        kinds: body.kinds,
        enabled: body.enabled,
        ..WebhookPatch::default()
    };
    let applied = asking.submit(Command::UpdateWebhook { id: id.clone(), patch }, body.reason).await?;
    let record = applied.published.snapshot.webhook(&id).ok_or_else(|| missing(&id))?;
    Ok(HttpResponse::Ok().insert_header(etag::header(record.revision)).json(view(record)))
}

/// `DELETE /v1/webhooks/{id}`: what was not delivered is not delivered any more.
pub async fn remove(
    asking: Asking,
    id: web::Path<WebhookId>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    seen(&asking.who, &asking.shared.published().snapshot, &id)?;
    let reason = body.or_in_query(&asking.request)?;
    asking.submit(Command::RemoveWebhook { id: id.into_inner() }, reason).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /v1/webhooks/{id}/rotate`: a new secret, shown in the answer alone. The newest so far signs beside it
/// until the next rotation, unless `keep_old` is false.
pub async fn rotate(creating: Creating, id: web::Path<WebhookId>) -> Result<HttpResponse, Problem> {
    seen(&creating.asking.who, &creating.asking.shared.published().snapshot, &id)?;
    creating
        .run(
            |body: Rotation| {
                let secret = effects::draw_secret();
                let patch = WebhookPatch {
                    secret: Some(secret.clone()),
                    drop_old: !body.keep_old,
                    ..WebhookPatch::default()
                };
                let command = Command::UpdateWebhook { id: id.clone(), patch };
                Ok((command, body.reason, secret.reveal().to_owned()))
            },
            |_, applied, secret| with_secret(applied, &id, secret),
        )
        .await
}

/// `POST /v1/webhooks/{id}/test`: sends one message of the type `test` and says what became of it. It is sent
/// to a disabled webhook too.
pub async fn test(asking: Asking, id: web::Path<WebhookId>) -> Result<HttpResponse, Problem> {
    let published = asking.shared.published_full();
    let record = seen(&asking.who, &published.snapshot, &id)?;
    match asking.shared.webhooks.test(&record.webhook).await {
        Some(attempt) => Ok(HttpResponse::Ok().json(of_attempt(&attempt))),
        None => Err(Problem::new(problem::BUSY, "too many webhooks are being tested").retry_after(1)),
    }
}

pub(super) fn of_attempt(attempt: &Attempt) -> Value {
    let mut view = json!({ "delivered": attempt.outcome.problem().is_none(), "took_ms": attempt.took_ms });
    if let Outcome::Delivered { status } = attempt.outcome {
        view["status"] = status.into();
    }
    if let Some(problem) = attempt.outcome.problem() {
        view["problem"] = problem.into();
    }
    view
}

fn of_delivery(delivery: &Delivery) -> Value {
    let mut view = of_attempt(&delivery.attempt);
    view["revision"] = delivery.revision.0.into();
    view["at"] = delivery.at.to_string().into();
    view["attempt"] = delivery.nth.into();
    view
}

/// `GET /v1/webhooks/{id}/deliveries`: how far it has come, what waits, the last attempts, the dead letters.
pub async fn deliveries(
    reading: Reading,
    id: web::Path<WebhookId>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    reading.query.only(&[])?;
    let record = seen(&reading.who, &reading.published.snapshot, &id)?;
    // Until its task has begun there is nothing to tell.
    let Progress { cursor, waiting, recent, dead, .. } = shared.webhooks.progress(&id).unwrap_or_default();
    let cursor = cursor.max(record.made);
    let behind = reading.published.revision().0.saturating_sub(cursor.0);
    let waiting = waiting.map(|waiting| {
        json!({
            "revision": waiting.revision,
            "attempts": waiting.attempts,
            "next_at": waiting.next_at,
            "problem": waiting.problem,
        })
    });
    let recent: Vec<Value> = recent.iter().rev().map(of_delivery).collect();
    let mut body = json!({
        "cursor": cursor,
        "behind": behind,
        "enabled": record.webhook.enabled,
        "recent": recent,
        "dead": dead,
    });
    if let Some(waiting) = waiting {
        body["waiting"] = waiting;
    }
    Ok(HttpResponse::Ok().json(body))
}

/// `POST /v1/webhooks/{id}/replay`: dead letters are sent again, one or all, until three in a row fail, and what
/// waits is tried at once.
pub async fn replay(
    asking: Asking,
    id: web::Path<WebhookId>,
    OptionalJson(body): OptionalJson<Replay>,
) -> Result<HttpResponse, Problem> {
    let published = asking.shared.published_full();
    let record = seen(&asking.who, &published.snapshot, &id)?;
    if !record.webhook.enabled {
        let detail = "nothing is sent while it is disabled: PATCH it with `enabled: true` first";
        return Err(Problem::new(problem::WEBHOOK_DISABLED, detail));
    }
    let asked = asking.shared.webhooks.replay(&id, body.revision);
    match body.revision {
        Some(revision) if asked == 0 => {
            let detail = format!("no dead letter of the webhook `{id}` is of revision {revision}");
            Err(Problem::new(problem::NOT_FOUND, detail))
        }
        _ => Ok(HttpResponse::Accepted().json(json!({ "replaying": asked }))),
    }
}
