//! Changes and commands in one line each, for people who read a log or a proposal.

use rollout_rules::change::{Change, Command, Reach, TargetingPatch};
use rollout_rules::decide::PREVIEW_ENDED;
use rollout_rules::flag::{SegmentScope, Targeting};
use rollout_rules::gate::decision::Verdict;
use rollout_rules::gate::policy::RoleGrant;
use rollout_rules::gate::waiver::Waiver;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use serde::Deserialize;
use serde_json::Value;

use super::reading::text;
use super::view;
use super::when;

/// A change in one line. One that this version does not know is told by its kind.
pub(super) fn change(value: &Value) -> String {
    match Change::deserialize(value) {
        Ok(change) => known_change(&change),
        Err(_) => text(value, "kind"),
    }
}

/// A command in one line. One that this version does not know is told by its name.
pub(super) fn command(value: &Value) -> String {
    match Command::deserialize(value) {
        Ok(command) => known_command(&command),
        Err(_) => text(value, "do"),
    }
}

fn known_change(change: &Change) -> String {
    match change {
        Change::AppCreated { app, environments } => {
            let keys: Vec<&str> = environments.iter().map(|e| e.key.as_str()).collect();
            format!("created app {} with {}", app.key, keys.join(", "))
        }
        Change::AppUpdated { app } => format!("updated app {}", app.key),
        Change::EnvironmentCreated { app, environment, replaces, .. } => {
            let mut text = format!("created environment {} of {app}", environment.key);
            if !replaces.is_empty() {
                let ended: Vec<&str> = replaces.iter().map(|key| key.as_str()).collect();
                text.push_str(&format!(", in the place of ended {}", ended.join(", ")));
            }
            text
        }
        Change::EnvironmentUpdated { app, environment } => {
            let end =
                environment.ends_at.map_or_else(String::new, |at| format!(", ends {}", when::minute(at)));
            format!("changed environment {} of {app}{end}", environment.key)
        }
        Change::EnvironmentRemoved { app, environment, .. } => {
            format!("removed environment {environment} of {app}")
        }
        Change::FlagCreated { app, flag, .. } => format!("created flag {} of {app}", flag.key),
        Change::FlagUpdated { app, flag } => format!("changed flag {} of {app}", flag.key),
        Change::TargetingChanged { app, flag, environment, targeting, schedule, .. } => {
            let why = schedule.as_ref().map_or_else(String::new, |id| format!(" (scheduled {id})"));
            format!("{flag} of {app} in {environment}: {}{why}", targeting_line(targeting))
        }
        Change::FlagExtended { app, flag, expires_at } => {
            let dates: Vec<String> =
                expires_at.iter().map(|(key, at)| format!("{key} until {}", when::minute(*at))).collect();
            format!("extended {flag} of {app}: {}", dates.join(", "))
        }
        Change::FlagArchived { app, flag } => format!("archived {flag} of {app}"),
        Change::Killed { reach, environment, .. } => {
            format!("KILLED {}{}", reached(reach), place(environment))
        }
        Change::Revived { reach, environment } => format!("revived {}{}", reached(reach), place(environment)),
        Change::HoldChanged { app, flag, environment, hold } => match hold {
            Some(hold) => format!("held {flag} of {app} in {environment}: {}", hold.reason),
            None => format!("no longer holds {flag} of {app} in {environment}"),
        },
        Change::SegmentPut { scope, segment } => format!("stored segment {}{}", segment.key, owner(scope)),
        Change::SegmentMembersChanged { scope, segment, add, remove } => {
            format!("segment {segment}{}: {} came, {} left", owner(scope), add.len(), remove.len())
        }
        Change::SegmentRemoved { scope, segment } => format!("deleted segment {segment}{}", owner(scope)),
        Change::TokenCreated { token } => {
            format!("created token {} ({})", token.id, word(&serde_json::to_value(token.scope)))
        }
        Change::TokenRevoked { token } => format!("revoked token {token}"),
        Change::Proposed { id, command, .. } => format!("proposed {id}: {}", known_command(command)),
        Change::ProposalApproved(approving) => {
            let role = approving.role.map_or_else(String::new, |role| format!(" as {role}"));
            format!("approved proposal {}{role}", approving.id)
        }
        Change::ProposalRejected { id } => format!("rejected proposal {id}"),
        Change::EffectRequested { effect, payload } if effect == PREVIEW_ENDED => format!(
            "asked that what belongs to ended preview {} of {} be destroyed",
            text(payload, "environment"),
            text(payload, "app")
        ),
        Change::EffectRequested { effect, .. } => format!("asked for {effect}"),
        Change::EffectClaimed { request, nth, node, .. } => {
            format!("{node} does what {} asked for", asked(request.0, *nth))
        }
        Change::EffectDone { request, nth, succeeded, outcome } => {
            let end = if *succeeded { "worked" } else { "failed" };
            let why = if outcome.is_empty() { String::new() } else { format!(": {outcome}") };
            format!("what {} asked for {end}{why}", asked(request.0, *nth))
        }
        Change::WebhookPut { webhook } => {
            let state = if webhook.enabled { "" } else { ", disabled" };
            format!("stored webhook {} to {}{state}", webhook.id, webhook.url)
        }
        Change::WebhookRemoved { id } => format!("removed webhook {id}"),
        _ => change_of_rollout(change),
    }
}

fn change_of_rollout(change: &Change) -> String {
    match change {
        Change::RolloutStarted { app, flag, environment, rollout, .. } => {
            format!("started a rollout of {flag} of {app} in {environment}: {}", rollout.plan)
        }
        Change::RolloutAdvanced { app, flag, environment, rollout, .. } => {
            format!("rollout of {flag} of {app} in {environment} went on: {}", rollout.stage_in_words())
        }
        Change::RolloutChanged { app, flag, environment, rollout } => {
            let (status, stage) = (rollout.status.as_str(), rollout.stage_in_words());
            format!("rollout of {flag} of {app} in {environment} is {status}: {stage}")
        }
        Change::RolloutEnded { app, flag, environment, rollout, exposure, .. } => {
            let now = exposure.map_or_else(String::new, |exposure| format!(", exposure {exposure}%"));
            let how = rollout.status.as_str().replace('_', " ");
            format!("rollout of {flag} of {app} in {environment} {how}: {}{now}", rollout.stage_in_words())
        }
        _ => change_around_guardrails(change),
    }
}

/// What asked for something outside: `revision 45`, `guardrail act 45.0`.
fn asked(request: u64, nth: Option<u8>) -> String {
    nth.map_or_else(|| format!("revision {request}"), |nth| format!("guardrail act {request}.{nth}"))
}

/// Guardrails, whom they call, and what they did.
fn change_around_guardrails(change: &Change) -> String {
    let whose = |app: &AppKey, flag: &Option<FlagKey>| {
        flag.as_ref().map_or_else(|| format!("app {app}"), |flag| format!("{flag} of {app}"))
    };
    match change {
        Change::GuardrailsChanged { app, flag, environment, guardrails } => {
            let rules: Vec<String> = guardrails.iter().flatten().map(ToString::to_string).collect();
            let what = match (guardrails, rules.is_empty()) {
                (None, _) => "cleared".to_owned(),
                (Some(_), true) => "none".to_owned(),
                (Some(_), false) => rules.join("; "),
            };
            format!("guardrails of {}{}: {what}", whose(app, flag), place(environment))
        }
        Change::JobPut { app, job } => format!("stored job {} of {app} at {}", job.name, job.url),
        Change::JobRemoved { app, job } => format!("removed job {job} of {app}"),
        Change::ChannelPut { app, channel } => format!("stored channel {} of {app}", channel.name),
        Change::ChannelRemoved { app, channel } => format!("removed channel {channel} of {app}"),
        Change::GuardrailActed { act } => {
            format!("{} ({}{})", act.words(), whose(&act.app, &act.flag), place(&act.environment))
        }
        Change::ReleaseDeployed { app, environment, artifact, version } => {
            let version = version.as_ref().map_or_else(String::new, |version| format!("{version} "));
            format!("{version}{artifact} of {app} runs in {environment}")
        }
        Change::EffectReplayed { app, id } => format!("asked again for {id} of {app}"),
        _ => change_of_gate(change),
    }
}

/// What the gate said, and by what it judges.
fn change_of_gate(change: &Change) -> String {
    match change {
        Change::GateDecided(decision) => {
            let version = decision.version.as_ref().map_or_else(String::new, |version| format!("{version} "));
            let verdict = match decision.verdict {
                Verdict::Pass => "passes",
                Verdict::Warn => "passes with warnings",
                Verdict::Deny => "is DENIED",
            };
            let authors: String =
                decision.agents.iter().map(|work| format!("; written with {work}")).collect();
            format!(
                "gate: {version}{} of {} {verdict} for {} (decision {}){authors}",
                decision.artifact, decision.app, decision.environment, decision.id
            )
        }
        Change::PolicySet(set) => format!("set the gate's policy to {}", set.policy.digest()),
        Change::SourceSet(set) => {
            let repository = set.source.repository.as_deref().unwrap_or("no repository");
            format!("set what {} may be built from: {repository}", set.app)
        }
        Change::WaiverPut(waiver) => waiver_line(waiver),
        Change::RoleGranted(grant) => format!("gave {}", role_line(grant)),
        Change::RoleRevoked(grant) => format!("took {}", role_line(grant)),
        other => other.kind().to_string(),
    }
}

fn waiver_line(waiver: &Waiver) -> String {
    let what = format!(
        "{} of {} for {}{} until {}",
        waiver.risk,
        waiver.check,
        waiver.app,
        place(&waiver.environment),
        when::minute(waiver.expires_at)
    );
    match (&waiver.revoked, &waiver.approval) {
        (Some(_), _) => format!("ended waiver {} of {} for {}", waiver.id, waiver.risk, waiver.app),
        (None, _) if waiver.break_glass => format!("BROKE THE GLASS: {what} (waiver {})", waiver.id),
        (None, Some(approval)) => format!("approved waiver {} as {}: {what}", waiver.id, approval.role),
        (None, None) => format!("asked for waiver {}: {what}", waiver.id),
    }
}

/// `the role security for shop: ada`.
fn role_line(grant: &RoleGrant) -> String {
    let apps = match (&grant.app, grant.tier) {
        (Some(app), _) => app.to_string(),
        (None, Some(tier)) => format!("every app of tier {}", tier as u8),
        (None, None) => "every app".to_owned(),
    };
    format!("the role {} for {apps}: {}", grant.role, grant.person)
}

fn known_command(command: &Command) -> String {
    match command {
        Command::CreateApp { key, .. } => format!("create app {key}"),
        Command::UpdateApp { app, .. } => format!("update app {app}"),
        Command::CreateEnvironment { app, environment } => {
            format!("create environment {} of {app}", environment.key)
        }
        Command::ExtendEnvironment { app, environment, ends_at } => {
            format!("extend environment {environment} of {app} to {}", when::minute(*ends_at))
        }
        Command::RemoveEnvironment { app, environment } => {
            format!("remove environment {environment} of {app}")
        }
        Command::CreateFlag { app, key, .. } => format!("create flag {key} of {app}"),
        Command::UpdateFlag { app, flag, .. } => format!("change the definition of {flag} of {app}"),
        Command::SetTargeting { app, flag, environment, patch } => {
            format!("set {flag} of {app} in {environment}: {}", patch_line(patch))
        }
        Command::ExtendFlag { app, flag, environment, expires_at } => {
            let end = expires_at
                .map_or_else(|| "as far as allowed".to_owned(), |at| format!("to {}", when::minute(at)));
            format!("extend {flag} of {app}{} {end}", place(environment))
        }
        Command::ArchiveFlag { app, flag } => format!("archive {flag} of {app}"),
        Command::Kill { reach, environment, .. } => format!("kill {}{}", reached(reach), place(environment)),
        Command::Revive { reach, environment } => format!("revive {}{}", reached(reach), place(environment)),
        Command::Hold { app, flag, environment, .. } => format!("hold {flag} of {app} in {environment}"),
        Command::PutSegment { scope, segment } => format!("store segment {}{}", segment.key, owner(scope)),
        Command::ChangeSegmentMembers { scope, segment, add, remove } => {
            format!("segment {segment}{}: add {}, remove {}", owner(scope), add.len(), remove.len())
        }
        Command::RemoveSegment { scope, segment } => format!("delete segment {segment}{}", owner(scope)),
        Command::StartRollout { app, flag, environment, plan } => {
            format!("start a rollout of {flag} of {app} in {environment}: {plan}")
        }
        Command::ResumeRollout { app, flag, environment } => {
            format!("resume the rollout of {flag} of {app} in {environment}")
        }
        Command::AdvanceRollout { app, flag, environment } => {
            format!("bring the rollout of {flag} of {app} in {environment} to its next stage")
        }
        Command::SetGuardrails { app, flag, environment, guardrails } => {
            let rules: Vec<String> = guardrails.iter().flatten().map(ToString::to_string).collect();
            let what = if guardrails.is_none() { "clear".to_owned() } else { rules.join("; ") };
            let whose = flag.as_ref().map_or_else(|| format!("app {app}"), |flag| format!("{flag} of {app}"));
            format!("guardrails of {whose}{}: {what}", place(environment))
        }
        other => word(&serde_json::to_value(other).map(|value| value["do"].clone())),
    }
}

/// What a state does now: `on for 30%, 2 rules`.
fn targeting_line(targeting: &Targeting) -> String {
    if !targeting.on {
        return "off".to_owned();
    }
    let mut line = format!("on for {}% ({})", targeting.exposure, view::serve(&targeting.serve));
    for (count, noun) in [
        (targeting.targets.len(), "target list"),
        (targeting.rules.len(), "rule"),
        (targeting.schedule.len(), "scheduled change"),
    ] {
        match count {
            0 => {}
            1 => line.push_str(&format!(", 1 {noun}")),
            n => line.push_str(&format!(", {n} {noun}s")),
        }
    }
    line
}

/// What a patch changes: `on, exposure 30%, 2 rules`.
fn patch_line(patch: &TargetingPatch) -> String {
    let mut parts = Vec::new();
    parts.extend(patch.on.map(|on| if on { "on".to_owned() } else { "off".to_owned() }));
    parts.extend(patch.exposure.map(|exposure| format!("exposure {exposure}%")));
    parts.extend(patch.serve.as_ref().map(|serve| format!("serve {}", view::serve(serve))));
    parts.extend(patch.targets.as_ref().map(|lists| format!("{} target lists", lists.len())));
    parts.extend(patch.rules.as_ref().map(|rules| format!("{} rules", rules.len())));
    parts.extend(patch.prerequisites.as_ref().map(|all| format!("{} prerequisites", all.len())));
    for change in patch.schedule.iter().flatten() {
        parts.push(format!("{} at {}", view::scheduled(change), when::minute(change.at)));
    }
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn reached(reach: &Reach) -> String {
    match reach {
        Reach::Everything => "everything".to_owned(),
        Reach::App { app } => format!("every flag of {app}"),
        Reach::Flag { app, flag } => format!("{flag} of {app}"),
    }
}

fn place(environment: &Option<EnvKey>) -> String {
    environment.as_ref().map_or_else(String::new, |key| format!(" in {key}"))
}

fn owner(scope: &SegmentScope) -> String {
    match scope {
        SegmentScope::Shared => " (shared)".to_owned(),
        SegmentScope::App(app) => format!(" of {app}"),
    }
}

fn word(value: &Result<Value, serde_json::Error>) -> String {
    value.as_ref().ok().and_then(Value::as_str).unwrap_or_default().to_owned()
}
