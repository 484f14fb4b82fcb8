//! All flags of an environment for one context, with the tag that spares the work when nothing changed.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use rollout_rules::evaluate::evaluate_all;
use rollout_rules::governance::Token;
use rollout_rules::ids::{AppKey, EnvKey, KillId};
use rollout_rules::time::UnixMs;

use super::{answer, read_context, sent_context};
use crate::http::Shared;
use crate::http::audience::{self, Query};
use crate::http::auth;
use crate::http::body::JsonBytes;
use crate::http::etag;
use crate::http::feed::hub::reaches;
use crate::http::problem::{self, Problem};
use crate::state::Published;

/// A page that is hidden for this long gives its stream up, in seconds. OFREP's own default.
const INACTIVITY_SECONDS: u32 = 120;

/// `POST /ofrep/v1/evaluate/flags`.
pub async fn evaluate_flags(
    request: HttpRequest,
    shared: web::Data<Shared>,
    access: auth::Counted,
    body: JsonBytes,
) -> Result<HttpResponse, Problem> {
    let published = shared.published();
    let token = access.token(&published.snapshot)?;
    let query = Query::of(&request)?;
    check_last_modified(&query)?;
    let (app, environment) =
        audience::resolve(token.app.as_ref(), token.environment.as_ref(), &request, &query)?;
    let sent = sent_context(&body.0)?;
    let now = shared.clock.coarse();
    let snapshot = &published.snapshot;
    let Some(flags) = snapshot.flag_set(&app, &environment) else {
        let detail = format!("there is no environment `{environment}` of an app `{app}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    let overlays: Vec<KillId> = reaching(&published, &app, &environment);
    let tag = etag::bulk(
        shared.log_id(),
        &app,
        &environment,
        snapshot.feed_revision(&app, &environment),
        snapshot.boundary(&app, &environment, now),
        &overlays,
        sent.get().as_bytes(),
    );
    let quoted = format!("\"{tag}\"");
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    if known.is_some_and(|known| etag::matches(known, &tag)) {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, quoted)).finish());
    }
    let context = read_context(sent, &shared)?;
    let mut text = String::with_capacity(256 + 192 * flags.environment.flags.len());
    text.push_str("{\"flags\":[");
    for (index, found) in evaluate_all(&flags, &context, now).enumerate() {
        if index > 0 {
            text.push(',');
        }
        answer::write(&mut text, &found, snapshot, &app, &environment);
    }
    text.push_str("],\"eventStreams\":[");
    text.push_str(&event_stream(&shared, &request, token, &app, &environment, now));
    text.push_str(&format!("],\"metadata\":{{\"tidegate.revision\":{}}}}}", snapshot.revision()));
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::ETAG, quoted))
        .body(text))
}

fn reaching(published: &Published, app: &AppKey, environment: &EnvKey) -> Vec<KillId> {
    let kills = published.overlays.iter().filter(|kill| reaches(kill, app, environment));
    kills.map(|kill| kill.kill_id.clone()).collect()
}

/// What an event stream said of the last change. Nothing here depends on it, since each answer is made
/// from the newest state; but what is no date is refused.
fn check_last_modified(query: &Query) -> Result<(), Problem> {
    let Some(text) = query.get("flagConfigLastModified") else { return Ok(()) };
    if text.parse::<u64>().is_ok() || UnixMs::parse_rfc3339(text).is_some() {
        return Ok(());
    }
    let detail =
        "`flagConfigLastModified` has to be seconds since 1970, or a date such as 2026-12-31T18:00:00Z";
    Err(Problem::new(problem::INVALID_PARAMETER, detail))
}

fn event_stream(
    shared: &Shared,
    request: &HttpRequest,
    token: &Token,
    app: &AppKey,
    environment: &EnvKey,
    now: UnixMs,
) -> String {
    let base = match &shared.settings.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => {
            let connection = request.connection_info();
            format!("{}://{}", connection.scheme(), connection.host())
        }
    };
    let granted = shared.stream_key.sign(app, environment, &token.id, now);
    let url = serde_json::Value::from(format!("{base}/ofrep/v1/events?token={granted}"));
    format!("{{\"type\":\"sse\",\"url\":{url},\"inactivityDelaySec\":{INACTIVITY_SECONDS}}}")
}
