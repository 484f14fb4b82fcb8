//! What a command is about.

use super::{Command, Reach};
use crate::flag::SegmentScope;
use crate::ids::{AppKey, EnvKey};

impl Command {
    /// The app that it concerns, if it concerns one.
    pub fn app(&self) -> Option<&AppKey> {
        match self {
            Command::CreateApp { key, .. } => Some(key),
            Command::UpdateApp { app, .. }
            | Command::CreateEnvironment { app, .. }
            | Command::ExtendEnvironment { app, .. }
            | Command::RemoveEnvironment { app, .. }
            | Command::EndPreview { app, .. }
            | Command::CreateFlag { app, .. }
            | Command::UpdateFlag { app, .. }
            | Command::SetTargeting { app, .. }
            | Command::ExtendFlag { app, .. }
            | Command::ArchiveFlag { app, .. }
            | Command::Hold { app, .. }
            | Command::SetGuardrails { app, .. }
            | Command::Drill { app, .. }
            | Command::Runbook { app, .. }
            | Command::ApplySchedule { app, .. }
            | Command::StartRollout { app, .. }
            | Command::PauseRollout { app, .. }
            | Command::ResumeRollout { app, .. }
            | Command::AbortRollout { app, .. }
            | Command::AdvanceRollout { app, .. }
            | Command::StepRollout { app, .. } => Some(app),
            Command::Act { acting } => Some(&acting.app),
            Command::ReportRelease(deployed) => Some(&deployed.app),
            Command::Gate(change) => change.app(),
            Command::Kill { reach, .. } | Command::Revive { reach, .. } => match reach {
                Reach::Everything => None,
                Reach::App { app } | Reach::Flag { app, .. } => Some(app),
            },
            Command::PutSegment { scope, .. }
            | Command::ChangeSegmentMembers { scope, .. }
            | Command::RemoveSegment { scope, .. } => match scope {
                SegmentScope::Shared => None,
                SegmentScope::App(app) => Some(app),
            },
            Command::Propose { command, .. } => command.app(),
            _ => None,
        }
    }

    /// The one environment that it concerns, if it concerns one.
    pub fn environment(&self) -> Option<&EnvKey> {
        match self {
            Command::CreateEnvironment { environment, .. } => Some(&environment.key),
            Command::ExtendEnvironment { environment, .. }
            | Command::RemoveEnvironment { environment, .. }
            | Command::EndPreview { environment, .. }
            | Command::SetTargeting { environment, .. }
            | Command::Hold { environment, .. }
            | Command::Drill { environment, .. }
            | Command::ApplySchedule { environment, .. }
            | Command::StartRollout { environment, .. }
            | Command::PauseRollout { environment, .. }
            | Command::ResumeRollout { environment, .. }
            | Command::AbortRollout { environment, .. }
            | Command::AdvanceRollout { environment, .. }
            | Command::StepRollout { environment, .. } => Some(environment),
            Command::SetGuardrails { environment, .. }
            | Command::ExtendFlag { environment, .. }
            | Command::Kill { environment, .. }
            | Command::Revive { environment, .. } => environment.as_ref(),
            Command::Act { acting } => acting.environment.as_ref(),
            Command::ReportRelease(deployed) => Some(&deployed.environment),
            Command::Gate(change) => change.environment(),
            Command::Propose { command, .. } => command.environment(),
            _ => None,
        }
    }
}
