//! Back to what a flag did in an environment: a new change like any other, with all that is asked of one.

use actix_web::{HttpResponse, web};
use rollout_rules::change::{Command, TargetingPatch};
use rollout_rules::flag::Targeting;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, ProposalId, Revision};
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;

use super::body::Json;
use super::commands::Asking;
use super::explain::no_past;
use super::problem::{self, Problem};
use super::{flags, proposals};
use crate::state::Moment;

/// What to go back to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revert {
    /// The targeting as it was right after this entry.
    to: Revision,
    /// Store it as a proposal instead of doing it.
    #[serde(default)]
    propose: bool,
    /// Why; without it, that it goes back.
    #[serde(default)]
    reason: String,
}

/// `POST /v1/apps/{app}/flags/{flag}/environments/{environment}/revert`. Kills, holds and the flag's life stay as
/// they are.
pub async fn revert(
    asking: Asking,
    path: web::Path<(AppKey, FlagKey, EnvKey)>,
    Json(body): Json<Revert>,
) -> Result<HttpResponse, Problem> {
    let (app, flag, environment) = path.into_inner();
    asking.who.reads_environment(&app, &environment)?;
    // Before the log is folded: only one at a time looks back.
    asking.who.changes()?;
    let now = asking.shared.clock.now();
    let published = asking.shared.published_full();
    let past = asking.shared.past.at(&published, Moment::Revision(body.to), now).await.map_err(no_past)?;
    let then = past
        .snapshot
        .flag(&app, &flag)
        .filter(|view| !view.record().is_archived())
        .and_then(|view| view.targeting(&environment, past.at));
    let Some(then) = then else {
        let detail = format!(
            "at revision {} app `{app}` had no flag `{flag}` in an environment `{environment}`",
            body.to
        );
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    let command = Command::SetTargeting {
        app: app.clone(),
        flag: flag.clone(),
        environment,
        patch: Box::new(all_of(then, now)),
    };
    let reason = if body.reason.is_empty() { format!("back to revision {}", body.to) } else { body.reason };
    if !body.propose {
        let applied = asking.submit(command, reason).await?;
        return flags::answer_changed(&asking, &applied, &app, &flag);
    }
    let id = ProposalId::new(&asking.new_id()?).map_err(Problem::internal)?;
    let command = Command::Propose { id: id.clone(), command: Box::new(command) };
    let applied = asking.submit(command, reason).await?;
    Ok(HttpResponse::Created().json(proposals::show_new(&asking, &applied, &id)?))
}

/// A patch that sets all of a targeting. Scheduled steps that have come are in it already.
fn all_of(targeting: Targeting, now: UnixMs) -> TargetingPatch {
    let Targeting { on, exposure, serve, targets, rules, prerequisites, mut schedule } = targeting;
    schedule.retain(|step| step.at > now);
    TargetingPatch {
        on: Some(on),
        exposure: Some(exposure),
        serve: Some(serve),
        targets: Some(targets),
        rules: Some(rules),
        prerequisites: Some(prerequisites),
        schedule: Some(schedule),
    }
}
