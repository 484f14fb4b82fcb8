//! What somebody asks for about the gate: decisions, policy, sources, waivers, roles.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use crate::gate::decision::{Decision, Judged};
use crate::gate::policy::{Policy, Role, RoleGrant};
use crate::gate::trust::Source;
use crate::gate::waiver::Waiver;
use crate::ids::{AppKey, EnvKey, WaiverId};

/// A change of what the gate says, or of how it comes to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum GateCommand {
    /// Keep what the gate said. The shell judged; it is refused if what it judged by changed meanwhile.
    Decide {
        /// What it said.
        decision: Box<Decision>,
    },
    /// Take back what the artifact that runs serves, since the gate denies it.
    Enforce {
        /// The app.
        app: AppKey,
        /// Where.
        environment: EnvKey,
    },
    /// Judge by another policy from now on.
    SetPolicy {
        /// All of it.
        policy: Box<Policy>,
    },
    /// Say what an app may be built from.
    SetSource {
        /// The app.
        app: AppKey,
        /// All of it.
        source: Source,
    },
    /// Ask for an exception, or break the glass.
    RequestWaiver {
        /// As the log will keep it, but for who asks and when.
        waiver: Box<Waiver>,
        /// What it is for, as the last decision that lists it found it. The shell looked it up; none: no decision does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listed: Option<Box<Judged>>,
    },
    /// Approve an exception.
    ApproveWaiver {
        /// The app.
        app: AppKey,
        /// Which.
        id: WaiverId,
        /// In which role.
        role: Role,
        /// What it is for, as for asking.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listed: Option<Box<Judged>>,
    },
    /// End an exception early.
    RevokeWaiver {
        /// The app.
        app: AppKey,
        /// Which.
        id: WaiverId,
    },
    /// Give somebody a role.
    GrantRole {
        /// Which, and whose.
        grant: RoleGrant,
    },
    /// Take a role from somebody.
    RevokeRole {
        /// Which, and whose.
        grant: RoleGrant,
    },
}

impl GateCommand {
    /// The app that it concerns, if it concerns one.
    pub(super) fn app(&self) -> Option<&AppKey> {
        match self {
            GateCommand::Decide { decision } => Some(&decision.app),
            GateCommand::RequestWaiver { waiver, .. } => Some(&waiver.app),
            GateCommand::Enforce { app, .. }
            | GateCommand::SetSource { app, .. }
            | GateCommand::ApproveWaiver { app, .. }
            | GateCommand::RevokeWaiver { app, .. } => Some(app),
            GateCommand::GrantRole { grant } | GateCommand::RevokeRole { grant } => grant.app.as_ref(),
            GateCommand::SetPolicy { .. } => None,
        }
    }

    /// The one environment that it concerns, if it concerns one.
    pub(super) fn environment(&self) -> Option<&EnvKey> {
        match self {
            GateCommand::Decide { decision } => Some(&decision.environment),
            GateCommand::Enforce { environment, .. } => Some(environment),
            GateCommand::RequestWaiver { waiver, .. } => waiver.environment.as_ref(),
            _ => None,
        }
    }
}

/// What an app may be built from, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SourceSet {
    /// The app.
    pub app: AppKey,
    /// All of it.
    pub source: Source,
}

/// The policy, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicySet {
    /// All of it.
    pub policy: Box<Policy>,
}
