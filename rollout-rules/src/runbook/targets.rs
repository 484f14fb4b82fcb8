//! Whom a guardrail calls: jobs outside that take something back, and channels on which people are told.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ChannelName, JobName};
use crate::sli::guardrail::Action;
use crate::time::UnixMs;
use crate::webhook::{WebhookSecret, up_to_host};

/// Most jobs of one app.
pub const MAX_JOBS: usize = 32;
/// Most channels of one app.
pub const MAX_CHANNELS: usize = 32;
/// Most mail addresses of one channel.
pub const MAX_RECIPIENTS: usize = 8;
/// Longest credential of a job, in bytes.
pub const MAX_CREDENTIAL_BYTES: usize = 1_024;
/// The job that `revert release` runs.
pub const REVERT_JOB: &str = "revert-release";
/// The channel that is always there: the app's owner.
pub const OWNER: &str = "owner";

/// What a job's receiver asks for besides the signature: a token. The log keeps it, since it has to be sent; nothing
/// shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Credential(String);

impl Credential {
    /// A credential with this text.
    pub fn new(text: String) -> Credential {
        Credential(text)
    }

    /// The text, for whoever sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it can stand in a header.
    pub fn is_well_formed(&self) -> bool {
        (1..=MAX_CREDENTIAL_BYTES).contains(&self.0.len())
            && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// In which form a job is told what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Everything that is known, in JSON; a credential travels as a bearer token.
    Plain,
    /// As GitHub's `POST /repos/{owner}/{repo}/dispatches` takes it; the credential travels as a bearer token.
    RepositoryDispatch {
        /// The type of event that the workflow listens for.
        event_type: String,
    },
    /// As GitLab's `POST /projects/{id}/trigger/pipeline` takes it; the credential is the trigger's token.
    PipelineTrigger {
        /// The branch or tag to run on.
        #[serde(rename = "ref")]
        git_ref: String,
    },
}

/// A job outside: an address that a guardrail calls, signed as webhooks are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "JobDefinition"))]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its name in rules: `run NAME`.
    pub name: JobName,
    /// Where it is called.
    pub url: String,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// In which form it is told.
    pub payload: Payload,
    /// What the receiver asks for besides the signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// What signs, the newest first. None where it is shown to people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<WebhookSecret>,
    /// When it was made.
    pub created_at: UnixMs,
}

/// What changes of a job; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct JobPatch {
    /// Where it is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A new credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// A new secret; the newest so far signs beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<WebhookSecret>,
}

/// Where people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChannelTarget {
    /// By mail.
    Mail {
        /// To these addresses.
        to: Vec<String>,
    },
    /// In a chat that takes `{"text": …}`, as Slack, Mattermost, Rocket.Chat and Google Chat do.
    Chat {
        /// Where it takes messages. Who knows it can write there, so that readers of the log see its host alone.
        url: String,
    },
}

/// Where people are told, by a name that rules use: `notify NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ChannelDefinition"))]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its name in rules.
    pub name: ChannelName,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it leads.
    pub target: ChannelTarget,
    /// When it was made.
    pub created_at: UnixMs,
}

impl Job {
    /// The same without what signs and opens, and without the address after its host.
    pub fn without_secrets(&self) -> Job {
        Job { url: up_to_host(&self.url), credential: None, secrets: Vec::new(), ..self.clone() }
    }
}

impl Channel {
    /// The same without the address of a chat after its host.
    pub fn without_secrets(&self) -> Channel {
        let target = match &self.target {
            ChannelTarget::Chat { url } => ChannelTarget::Chat { url: up_to_host(url) },
            mail => mail.clone(),
        };
        Channel { target, ..self.clone() }
    }
}

/// The job that an action runs, if it runs one.
pub fn job_of(action: &Action) -> Option<JobName> {
    match action {
        Action::Run(job) => Some(job.clone()),
        Action::RevertRelease => Some(JobName::new(REVERT_JOB).expect("a name of letters")),
        _ => None,
    }
}
