//! `GET /v1/whoami`: what the token at hand is good for.

use actix_web::HttpResponse;
use rollout_rules::governance::Scope;
use serde_json::json;

use super::auth::Principal;

/// Answers with scope and bounds, and with the actor if the token is no page's.
pub async fn whoami(who: Principal) -> HttpResponse {
    let mut body = json!({ "scope": who.scope, "token": who.token });
    // Everybody can read the key of a page: whose it is stays here.
    if who.scope != Scope::SdkBrowser {
        body["actor"] = json!(who.actor);
    }
    if let Some(app) = &who.app {
        body["app"] = app.as_str().into();
    }
    if let Some(environment) = &who.environment {
        body["environment"] = environment.as_str().into();
    }
    if let Some(expires_at) = who.expires_at {
        body["expires_at"] = expires_at.to_string().into();
    }
    HttpResponse::Ok().json(body)
}
