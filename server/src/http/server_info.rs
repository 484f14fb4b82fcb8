//! `GET /v1/server`: which server this is, for `tidegate doctor` and for people who compare several.

use actix_web::{HttpResponse, web};
use rollout_rules::governance::Scope;
use serde_json::{Value, json};

use super::Shared;
use super::auth::Principal;

/// Answers anybody with a token with version, revision and time, and operators of the whole server with the
/// space that is left for the log.
pub async fn show(who: Principal, shared: web::Data<Shared>) -> HttpResponse {
    let mut body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "revision": shared.published().revision(),
        "now": shared.clock.now(),
    });
    if matches!(who.scope, Scope::Admin | Scope::Operator)
        && who.app.is_none()
        && let Some(directory) = shared.settings.data_dir.clone()
    {
        // A disk that hangs must not hold up the requests of this thread.
        let space = web::block(move || rustix::fs::statvfs(&directory)).await;
        body["disk"] = match space {
            Ok(Ok(space)) => json!({
                "free_bytes": space.f_bavail.saturating_mul(space.f_frsize),
                "total_bytes": space.f_blocks.saturating_mul(space.f_frsize),
            }),
            _ => Value::Null,
        };
    }
    HttpResponse::Ok().json(body)
}
