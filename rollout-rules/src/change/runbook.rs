//! What somebody asks for about the jobs and channels of an app.

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelName, JobName};
use crate::runbook::{Channel, EffectId, Job, JobPatch};

/// A change of whom an app's guardrails call, and of what they were called for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RunbookCommand {
    /// Make a job. The shell draws its first secret.
    CreateJob {
        /// As the log will keep it.
        job: Job,
    },
    /// Change a job, or give it a new secret.
    UpdateJob {
        /// Which.
        job: JobName,
        /// What changes.
        patch: JobPatch,
    },
    /// Remove a job that no guardrail runs.
    RemoveJob {
        /// Which.
        job: JobName,
    },
    /// Make a channel.
    CreateChannel {
        /// As the log will keep it.
        channel: Channel,
    },
    /// Remove a channel that no guardrail tells.
    RemoveChannel {
        /// Which.
        channel: ChannelName,
    },
    /// Try again what was given up.
    ReplayEffect {
        /// Which.
        id: EffectId,
    },
}
