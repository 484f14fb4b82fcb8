//! Who may approve in which role.

use actix_web::HttpResponse;
use rollout_rules::change::{Command, GateCommand};
use rollout_rules::flag::Tier;
use rollout_rules::gate::policy::{Role, RoleGrant};
use rollout_rules::ids::AppKey;
use rollout_rules::snapshot::Snapshot;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::body::Json;
use crate::http::commands::Asking;
use crate::http::problem::Problem;
use crate::http::reading::Reading;

/// A role, and whose it is: for an app, or for the apps of a tier.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// Which role.
    role: Role,
    /// Whose: the name that their token says.
    person: String,
    /// For this app.
    #[serde(default)]
    app: Option<AppKey>,
    /// For the apps of this tier.
    #[serde(default)]
    tier: Option<Tier>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

impl NewGrant {
    fn taken_apart(self) -> (RoleGrant, String) {
        let NewGrant { role, person, app, tier, reason } = self;
        (RoleGrant { role, person, app, tier }, reason)
    }
}

/// The grants; to whoever is bound to an app, those that count in it.
fn view(snapshot: &Snapshot, only: Option<&AppKey>) -> Value {
    let counts =
        |grant: &&RoleGrant| only.is_none_or(|only| grant.app.as_ref().is_none_or(|app| app == only));
    json!({ "items": snapshot.grants().iter().filter(counts).collect::<Vec<_>>() })
}

/// `GET /v1/gate/roles`.
pub async fn list(reading: Reading) -> Result<HttpResponse, Problem> {
    reading.who.reads()?;
    reading.query.only(&[])?;
    Ok(HttpResponse::Ok().json(view(&reading.published.snapshot, reading.who.app.as_ref())))
}

/// `POST /v1/gate/roles`: gives somebody a role.
pub async fn grant(asking: Asking, Json(body): Json<NewGrant>) -> Result<HttpResponse, Problem> {
    let (grant, reason) = body.taken_apart();
    let applied = asking.submit(Command::Gate(GateCommand::GrantRole { grant }), reason).await?;
    Ok(HttpResponse::Ok().json(view(&applied.published.folded, None)))
}

/// `POST /v1/gate/roles/revoke`: takes a role from somebody. Approvals that they gave in it count no more.
pub async fn revoke(asking: Asking, Json(body): Json<NewGrant>) -> Result<HttpResponse, Problem> {
    let (grant, reason) = body.taken_apart();
    let applied = asking.submit(Command::Gate(GateCommand::RevokeRole { grant }), reason).await?;
    Ok(HttpResponse::Ok().json(view(&applied.published.folded, None)))
}
