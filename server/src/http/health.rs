//! Whether the process runs, whether it can answer, and its metrics.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::Shared;
use super::auth::Principal;
use super::problem::{self, Problem};
use crate::config::MetricsAccess;
use crate::state::Readiness;
use actix_web::FromRequest as _;

/// Headers of which proxies add at least one.
const FORWARDED_BY: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "via"];

/// `GET /healthz`: 200 for as long as the process runs.
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}

/// `GET /readyz`: 200 once the log is folded, else 503 and why.
pub async fn readyz(shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    let revision = shared.published().revision();
    let why = match shared.live.readiness() {
        _ if *shared.closing.borrow() => "the server is shutting down".to_owned(),
        Readiness::Ready => {
            return Ok(HttpResponse::Ok().json(json!({ "ready": true, "revision": revision })));
        }
        Readiness::Folding { at, until } => format!("the log is being read: {at} of {until}"),
        Readiness::UnknownEntry { revision, problem } => {
            format!("revision {revision} of the log is not known to this version: {problem}")
        }
        Readiness::LogLost { problem } => format!("the log cannot be read: {problem}"),
        Readiness::LogHangs => {
            "the log does not answer any more; this server ends, to be started again".to_owned()
        }
        Readiness::Stopped => "the server is shutting down".to_owned(),
    };
    Err(Problem::new(problem::NOT_READY, why)
        .with("ready", false)
        .with("revision", revision.0)
        .retry_after(1))
}

/// `GET /metrics`, in Prometheus' text format.
pub async fn metrics(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    // What a proxy on this machine passes on comes from elsewhere.
    let passed_on = FORWARDED_BY.iter().any(|name| request.headers().contains_key(*name));
    let local = !passed_on && request.peer_addr().is_some_and(|peer| peer.ip().is_loopback());
    let open = match shared.settings.metrics {
        MetricsAccess::Everyone => true,
        MetricsAccess::Loopback => local,
        MetricsAccess::Nobody => false,
    };
    if !open {
        Principal::extract(&request).await?.reads_everything()?;
    }
    shared.refresh_gauges();
    let counted = web::Data::clone(&shared);
    // Every flag is looked at, which takes a while where there are many.
    let _ = web::block(move || counted.refresh_stale_gauges()).await;
    let text = shared.telemetry.render();
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
