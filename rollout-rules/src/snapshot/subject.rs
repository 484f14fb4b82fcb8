//! What an entry is about: whoever may read only of one app, or one environment, is shown what concerns it.

use super::Snapshot;
use crate::change::{Change, Command, Reach};
use crate::decide::{PREVIEW_ENDED, preview_in};
use crate::flag::SegmentScope;
use crate::ids::{AppKey, EnvKey};
use crate::proposal::Approving;
use crate::runbook::EffectId;

/// Which apps something concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apps {
    /// This one.
    One(AppKey),
    /// Every one: a kill of everything, a shared segment.
    All,
    /// None: a token that is bound to no app, an effect.
    None,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Which apps.
    pub apps: Apps,
    /// The one environment; none: all, or it is not about environments.
    pub environment: Option<EnvKey>,
}

impl Subject {
    /// Of a change that is in the log, for as long as the snapshot has what it is about: not of the revocation of a
    /// token that was forgotten since, nor of what people said of a proposal that closed long ago.
    pub fn of(snapshot: &Snapshot, change: &Change) -> Subject {
        let (apps, environment) = match change {
            Change::AppCreated { app, .. } | Change::AppUpdated { app } => (Apps::One(app.key.clone()), None),
            Change::EnvironmentCreated { app, environment, .. }
            | Change::EnvironmentUpdated { app, environment } => {
                (Apps::One(app.clone()), Some(environment.key.clone()))
            }
            Change::EnvironmentRemoved { app, environment, .. }
            | Change::TargetingChanged { app, environment, .. }
            | Change::HoldChanged { app, environment, .. }
            | Change::RolloutStarted { app, environment, .. }
            | Change::RolloutAdvanced { app, environment, .. }
            | Change::RolloutChanged { app, environment, .. }
            | Change::RolloutEnded { app, environment, .. }
            | Change::ReleaseDeployed { app, environment, .. } => {
                (Apps::One(app.clone()), Some(environment.clone()))
            }
            Change::FlagCreated { app, .. }
            | Change::FlagUpdated { app, .. }
            | Change::FlagArchived { app, .. } => (Apps::One(app.clone()), None),
            Change::FlagExtended { app, expires_at, .. } => {
                let mut environments = expires_at.keys();
                let only = environments.next().filter(|_| environments.next().is_none());
                (Apps::One(app.clone()), only.cloned())
            }
            Change::Killed { reach, environment, .. } | Change::Revived { reach, environment } => {
                (Apps::from(reach), environment.clone())
            }
            Change::SegmentPut { scope, .. }
            | Change::SegmentMembersChanged { scope, .. }
            | Change::SegmentRemoved { scope, .. } => (Apps::from(scope), None),
            Change::Proposed { command, .. } => return Subject::of_command(command),
            Change::ProposalApproved(Approving { id, .. }) | Change::ProposalRejected { id } => {
                return snapshot
                    .proposal(id)
                    .map_or(NOTHING, |proposal| Subject::of_command(&proposal.command));
            }
            Change::TokenCreated { token } => (Apps::one(token.app.as_ref()), token.environment.clone()),
            Change::TokenRevoked { token } => {
                let token = snapshot.token(token);
                let app = token.and_then(|token| token.app.as_ref());
                (Apps::one(app), token.and_then(|token| token.environment.clone()))
            }
            Change::WebhookPut { webhook } => (Apps::one(webhook.app.as_ref()), webhook.environment.clone()),
            Change::WebhookRemoved { .. } => return NOTHING,
            Change::EffectRequested { effect, payload } if effect == PREVIEW_ENDED => {
                let Some((app, environment)) = preview_in(payload) else { return NOTHING };
                (Apps::One(app), Some(environment))
            }
            Change::EffectClaimed { request, nth: Some(nth), .. }
            | Change::EffectDone { request, nth: Some(nth), .. } => {
                let run = snapshot.run(EffectId { request: *request, nth: *nth });
                let act = run.map(|run| &run.act);
                (Apps::one(act.map(|act| &act.app)), act.and_then(|act| act.environment.clone()))
            }
            Change::EffectRequested { .. } | Change::EffectClaimed { .. } | Change::EffectDone { .. } => {
                return NOTHING;
            }
            Change::GuardrailsChanged { app, environment, .. } => {
                (Apps::One(app.clone()), environment.clone())
            }
            Change::GuardrailActed { act } => (Apps::One(act.app.clone()), act.environment.clone()),
            Change::GateDecided(decision) => {
                (Apps::One(decision.app.clone()), Some(decision.environment.clone()))
            }
            Change::SourceSet(set) => (Apps::One(set.app.clone()), None),
            Change::WaiverPut(waiver) => (Apps::One(waiver.app.clone()), waiver.environment.clone()),
            Change::PolicySet(_) => (Apps::All, None),
            Change::RoleGranted(grant) | Change::RoleRevoked(grant) => (Apps::one(grant.app.as_ref()), None),
            Change::JobPut { app, .. }
            | Change::JobRemoved { app, .. }
            | Change::ChannelPut { app, .. }
            | Change::ChannelRemoved { app, .. }
            | Change::EffectReplayed { app, .. } => (Apps::One(app.clone()), None),
        };
        Subject { apps, environment }
    }

    /// Of what somebody asks for.
    pub fn of_command(command: &Command) -> Subject {
        let apps = match (command.app(), command) {
            (Some(app), _) => Apps::One(app.clone()),
            (None, Command::Propose { command, .. }) => return Subject::of_command(command),
            (
                None,
                Command::Kill { .. }
                | Command::Revive { .. }
                | Command::PutSegment { .. }
                | Command::ChangeSegmentMembers { .. }
                | Command::RemoveSegment { .. },
            ) => Apps::All,
            (None, _) => Apps::None,
        };
        Subject { apps, environment: command.environment().cloned() }
    }

    /// Whether it concerns this app; none asks for any.
    pub fn concerns_app(&self, app: Option<&AppKey>) -> bool {
        match (&self.apps, app) {
            (_, None) | (Apps::All, _) => true,
            (Apps::One(concerned), Some(app)) => concerned == app,
            (Apps::None, Some(_)) => false,
        }
    }

    /// Whether it concerns this environment; none asks for any.
    pub fn concerns_environment(&self, environment: Option<&EnvKey>) -> bool {
        match (&self.environment, environment) {
            (None, _) | (_, None) => true,
            (Some(concerned), Some(environment)) => concerned == environment,
        }
    }
}

const NOTHING: Subject = Subject { apps: Apps::None, environment: None };

impl Apps {
    fn one(app: Option<&AppKey>) -> Apps {
        app.map_or(Apps::None, |app| Apps::One(app.clone()))
    }
}

impl From<&Reach> for Apps {
    fn from(reach: &Reach) -> Apps {
        match reach {
            Reach::Everything => Apps::All,
            Reach::App { app } | Reach::Flag { app, .. } => Apps::One(app.clone()),
        }
    }
}

impl From<&SegmentScope> for Apps {
    fn from(scope: &SegmentScope) -> Apps {
        match scope {
            SegmentScope::App(app) => Apps::One(app.clone()),
            SegmentScope::Shared => Apps::All,
        }
    }
}
