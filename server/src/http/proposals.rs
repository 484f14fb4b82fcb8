//! Proposals: commands that are stored, shown, approved and applied.

use actix_web::{HttpResponse, web};
use rollout_rules::change::Command;
use rollout_rules::flag::EnvironmentKind;
use rollout_rules::gate::policy::Role;
use rollout_rules::governance::{Enforcement, GateStanding, Rules};
use rollout_rules::ids::{AppKey, Digest, EnvKey, ProposalId};
use rollout_rules::proposal::{Approving, Proposal, ProposalState};
use rollout_rules::rollout::Rollout;
use rollout_rules::snapshot::{App, Snapshot};
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::apps::OnlyReason;
use super::auth::Principal;
use super::body::{Json, OptionalJson};
use super::commands::Asking;
use super::creating::{Creating, Shown};
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::state::Applied;

/// A command that is to wait for approvals, or for a human.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProposal {
    /// What is proposed.
    command: Command,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// What was shown to whoever approves or applies.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShownHash {
    /// The hash of the proposal that was shown.
    hash: Digest,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// An approval, and in which role.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApproval {
    /// The hash of the proposal that was shown.
    hash: Digest,
    /// In which role, of those that the policy asks for; none: as anybody.
    #[serde(default)]
    role: Option<Role>,
    /// The points of the policy's checklist that are ticked: security ticks all.
    #[serde(default)]
    checked: Vec<String>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

fn show(shared: &Shared, snapshot: &Snapshot, proposal: &Proposal, now: UnixMs) -> Value {
    let rules = &shared.rules;
    let needed = approvals_needed(rules, snapshot, &proposal.command);
    let mut view = views::proposal(proposal, needed, now);
    if proposal.state(now) != ProposalState::Open {
        return view;
    }
    let counted = proposal.standing_approvals(rules, snapshot, now);
    let by = |role: &Role| counted.iter().find(|one| one.role == Some(*role)).map(|one| &one.actor);
    let asked = raised(snapshot, &proposal.command)
        .map_or(&[][..], |(app, _)| rules.roles_asked(snapshot, app.info().tier));
    let roles: Vec<Value> = asked.iter().map(|role| json!({ "role": role, "by": by(role) })).collect();
    view["counted"] = counted.len().into();
    view["roles"] = roles.into();
    view["gate_missing"] = json!(gate_missing(rules, snapshot, &proposal.command, now));
    if let Some(moved) = proposal.moved(snapshot).filter(|_| rules.gate == Enforcement::Enforce) {
        view["outdated"] = moved.to_string().into();
    }
    view
}

/// The app that a command changes in production and the environments there, if it may raise what they serve.
fn raised<'s>(snapshot: &'s Snapshot, command: &Command) -> Option<(&'s App, Vec<&'s EnvKey>)> {
    let (app, environment) = match command {
        Command::SetTargeting { app, environment, .. }
        | Command::StartRollout { app, environment, .. }
        | Command::AdvanceRollout { app, environment, .. } => (app, Some(environment)),
        Command::ExtendFlag { app, environment, .. } => (app, environment.as_ref()),
        _ => return None,
    };
    let app = snapshot.app(app)?;
    let environments = app.environments().map(|record| record.environment());
    let production = environments.filter(|it| {
        it.kind == EnvironmentKind::Production && environment.is_none_or(|only| *only == it.key)
    });
    let production: Vec<&EnvKey> = production.map(|it| &it.key).collect();
    (!production.is_empty()).then_some((app, production))
}

/// What the gate lacks of what a command would raise, in words.
fn gate_missing(rules: &Rules, snapshot: &Snapshot, command: &Command, now: UnixMs) -> Vec<String> {
    let Some((app, environments)) = raised(snapshot, command) else { return Vec::new() };
    if rules.gate == Enforcement::Report {
        return Vec::new();
    }
    let standings = environments.into_iter().map(|it| snapshot.gate_standing(&app.info().key, it, now));
    let missing = standings.filter_map(|standing| match standing {
        GateStanding::Missing(missing) => Some(missing),
        GateStanding::NotRequired | GateStanding::PassingUntil(_) => None,
    });
    missing.flatten().collect()
}

/// How many approvals a command takes if it raises: what the tier asks for changes in production, and one at least
/// where the plan of a rollout asks for approval.
fn approvals_needed(rules: &Rules, snapshot: &Snapshot, command: &Command) -> u8 {
    let Some((app, _)) = raised(snapshot, command) else { return 0 };
    let plan_asks = match command {
        Command::AdvanceRollout { app, flag, environment } => snapshot
            .flag(app, flag)
            .and_then(|view| view.record().rollout(environment))
            .is_some_and(Rollout::asks_for_approval),
        _ => false,
    };
    (*rules.approvals.of(app.info().tier)).max(u8::from(plan_asks))
}

fn find<'s>(snapshot: &'s Snapshot, who: &Principal, id: &ProposalId) -> Result<&'s Proposal, Problem> {
    let missing =
        || Problem::new(problem::NOT_FOUND, format!("there is no proposal `{id}`, or it closed long ago"));
    let proposal = snapshot.proposal(id).ok_or_else(missing)?;
    match &proposal.app {
        Some(app) => who.reads_app(app)?,
        None => who.reads_everything()?,
    }
    if let (Some(app), Some(environment)) = (&proposal.app, proposal.command.environment()) {
        who.reads_environment(app, environment)?;
    }
    Ok(proposal)
}

/// `GET /v1/proposals?app=&state=`.
pub async fn list(reading: Reading, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    reading.who.reads()?;
    let page: Page<ProposalId> = Page::of(&reading.query, &["app", "state"])?;
    let app: Option<AppKey> = reading.query.parse("app")?;
    if let Some(app) = &app {
        reading.who.reads_app(app)?;
    }
    let app = app.or_else(|| reading.who.app.clone());
    let state = reading.query.get("state");
    if state.is_some_and(|state| !["open", "applied", "rejected", "lapsed"].contains(&state)) {
        let detail = "`state` has to be open, applied, rejected or lapsed";
        return Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", "state"));
    }
    let now = reading.now;
    let only = reading.who.environment.as_ref();
    let snapshot = &reading.published.snapshot;
    let wanted = snapshot.proposals(page.cursor.as_ref()).filter(|proposal| {
        (app.is_none() || proposal.app == app)
            && proposal.command.environment().is_none_or(|environment| views::shows(only, environment))
            && state.is_none_or(|state| proposal.state(now).as_str() == state)
    });
    Ok(page.answer(
        wanted,
        |proposal| proposal.id.to_string(),
        |proposal| show(&shared, snapshot, proposal, now),
    ))
}

/// A proposal that was just made; a problem if there was nothing to propose.
pub(super) fn show_new(asking: &Asking, applied: &Applied, id: &ProposalId) -> Result<Value, Problem> {
    let snapshot = &applied.published.snapshot;
    let proposal = snapshot.proposal(id).ok_or_else(|| {
        let detail = "there is nothing to propose: what the command asks for is so already";
        Problem::new(problem::NOT_PROPOSABLE, detail).with("revision", applied.revision.0)
    })?;
    Ok(show(&asking.shared, snapshot, proposal, asking.shared.clock.now()))
}

/// `POST /v1/proposals`; `If-Match` says which revision of the flag was seen.
pub async fn create(creating: Creating) -> Result<HttpResponse, Problem> {
    let name = creating.asking.new_id()?;
    creating
        .run(
            |body: NewProposal| {
                let id = ProposalId::new(&name).map_err(Problem::internal)?;
                let command = Command::Propose { id: id.clone(), command: Box::new(body.command) };
                Ok((command, body.reason, id))
            },
            |asking, applied, id| {
                let body = show_new(asking, applied, &id)?;
                Ok(Shown { location: format!("/v1/proposals/{id}"), revision: None, body })
            },
        )
        .await
}

/// `GET /v1/proposals/{id}`.
pub async fn get(
    reading: Reading,
    path: web::Path<ProposalId>,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let snapshot = &reading.published.snapshot;
    let proposal = find(snapshot, &reading.who, &path)?;
    Ok(HttpResponse::Ok().json(show(&shared, snapshot, proposal, reading.now)))
}

async fn change(
    asking: &Asking,
    id: &ProposalId,
    command: Command,
    reason: String,
) -> Result<HttpResponse, Problem> {
    let applied = asking.submit(command, reason).await?;
    let snapshot = &applied.published.snapshot;
    let proposal = find(snapshot, &asking.who, id)?;
    let mut body = show(&asking.shared, snapshot, proposal, asking.shared.clock.now());
    body["revision"] = applied.revision.0.into();
    Ok(HttpResponse::Ok().json(body))
}

/// `POST /v1/proposals/{id}/approve`.
pub async fn approve(
    asking: Asking,
    path: web::Path<ProposalId>,
    Json(body): Json<NewApproval>,
) -> Result<HttpResponse, Problem> {
    let id = path.into_inner();
    let NewApproval { hash, role, checked, .. } = body;
    let command = Command::ApproveProposal(Approving { id: id.clone(), hash, role, checked });
    change(&asking, &id, command, body.reason).await
}

/// `POST /v1/proposals/{id}/apply`.
pub async fn apply(
    asking: Asking,
    path: web::Path<ProposalId>,
    Json(body): Json<ShownHash>,
) -> Result<HttpResponse, Problem> {
    let id = path.into_inner();
    let command = Command::ApplyProposal { id: id.clone(), hash: body.hash };
    change(&asking, &id, command, body.reason).await
}

/// `POST /v1/proposals/{id}/reject`.
pub async fn reject(
    asking: Asking,
    path: web::Path<ProposalId>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    let id = path.into_inner();
    let command = Command::RejectProposal { id: id.clone() };
    change(&asking, &id, command, body.reason).await
}
