//! Evidence: what guardrails acted on, kept so that anybody can fold it again.

use std::io::ErrorKind;

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use rollout_rules::ids::{AppKey, EnvKey, EvidenceId, FlagKey};
use serde_json::json;

use super::Shared;
use super::apps::missing_app;
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::evaluator::evidence::Summary;

type Place = web::Path<(AppKey, EvidenceId)>;

fn missing(id: &EvidenceId) -> Problem {
    let detail = format!("there is no evidence `{id}`; the oldest goes when there is too much");
    Problem::new(problem::NOT_FOUND, detail)
}

/// `GET /v1/apps/{app}/evidence?environment=&flag=`: the newest first.
pub async fn list(
    reading: Reading,
    shared: web::Data<Shared>,
    app: web::Path<AppKey>,
) -> Result<HttpResponse, Problem> {
    reading.who.reads_app(&app)?;
    let page: Page<EvidenceId> = Page::of(&reading.query, &["environment", "flag"])?;
    let environment: Option<EnvKey> = reading.query.parse("environment")?;
    let flag: Option<FlagKey> = reading.query.parse("flag")?;
    reading.published.snapshot.app(&app).ok_or_else(|| missing_app(&app))?;
    let all = shared.evaluator.evidence(&app);
    // The oldest goes first: if the last item of the page before is gone, so is all that would follow it.
    let after = |cursor: &EvidenceId| {
        all.iter().position(|summary| summary.id == *cursor).map_or(all.len(), |at| at + 1)
    };
    let from = page.cursor.as_ref().map_or(0, after);
    let found = all.into_iter().skip(from).filter(|summary| {
        views::shows(reading.who.environment.as_ref(), &summary.environment)
            && views::shows(environment.as_ref(), &summary.environment)
            && (flag.is_none() || summary.flag == flag)
    });
    Ok(page.answer(found, |summary| summary.id.to_string(), |summary| json!(summary)))
}

/// One, if the reader may see it.
fn found(reading: &Reading, shared: &Shared, app: &AppKey, id: &EvidenceId) -> Result<Summary, Problem> {
    reading.who.reads_app(app)?;
    reading.query.only(&[])?;
    let seen = |summary: &Summary| {
        summary.app == *app && views::shows(reading.who.environment.as_ref(), &summary.environment)
    };
    shared.evaluator.summary(id).filter(seen).ok_or_else(|| missing(id))
}

/// `GET /v1/apps/{app}/evidence/{evidence}`: what was found, and where.
pub async fn get(reading: Reading, shared: web::Data<Shared>, path: Place) -> Result<HttpResponse, Problem> {
    let (app, id) = path.into_inner();
    Ok(HttpResponse::Ok().json(found(&reading, &shared, &app, &id)?))
}

/// `GET /v1/apps/{app}/evidence/{evidence}/recording`: what it was found from, as it is stored.
pub async fn recording(
    reading: Reading,
    shared: web::Data<Shared>,
    path: Place,
) -> Result<HttpResponse, Problem> {
    let (app, id) = path.into_inner();
    found(&reading, &shared, &app, &id)?;
    let name = id.clone();
    let read = move || match shared.evaluator.recording(&name) {
        Ok(Some(stored)) => serde_json::to_vec(&stored).map(Some).map_err(std::io::Error::from),
        Ok(None) => Ok(None),
        // It has gone since it was found.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let stored = web::block(read).await.map_err(Problem::internal)?.map_err(Problem::internal)?;
    let stored = stored.ok_or_else(|| missing(&id))?;
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(stored))
}
