//! Whom something that is to be done outside leads to, as the app has it now.

use std::fmt;

use rollout_rules::decide::is_address;
use rollout_rules::ids::{ChannelName, JobName};
use rollout_rules::runbook::{Channel, ChannelTarget, Job, OWNER, Payload, job_of};
use rollout_rules::sli::guardrail::Action;
use rollout_rules::snapshot::App;

/// Whom to call or to tell.
#[derive(Clone, Debug)]
pub enum Target {
    /// A job.
    Job(Job),
    /// A chat.
    Chat {
        /// Where it takes messages.
        url: String,
    },
    /// People, by mail.
    Mail {
        /// Their addresses.
        to: Vec<String>,
    },
}

/// Why nobody can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// The app is gone, or the action does nothing outside.
    Nothing,
    /// There is no such job.
    NoJob(JobName),
    /// There is no such channel.
    NoChannel(ChannelName),
    /// The app's owner is neither a mail address nor the name of a channel.
    NoOwner(String),
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nobody::Nothing => f.write_str("there is nobody to call any more"),
            Nobody::NoJob(job) => {
                write!(f, "the app has no job `{job}`: make it with `tidegate job create {job}`, then replay this")
            }
            Nobody::NoChannel(channel) => write!(
                f,
                "the app has no channel `{channel}`: make it with `tidegate channel create {channel}`, then replay this"
            ),
            Nobody::NoOwner(owner) if owner.is_empty() => f.write_str(
                "the app has no owner: name a mail address with `tidegate app update --owner`, then replay this",
            ),
            Nobody::NoOwner(owner) => write!(
                f,
                "the app's owner `{owner}` is neither a mail address nor the name of one of its channels: name a mail address with \
                 `tidegate app update --owner`, or make a channel of that name with `tidegate channel create`, then replay this"
            ),
        }
    }
}

impl std::error::Error for Nobody {}

impl Target {
    /// Whom an action of an app leads to.
    pub fn of(app: &App, action: &Action) -> Result<Target, Nobody> {
        if let Some(name) = job_of(action) {
            let job = app.runbook().and_then(|runbook| runbook.job(&name));
            return job.map(|kept| Target::Job(kept.value.clone())).ok_or(Nobody::NoJob(name));
        }
        let Action::Notify(name) = action else { return Err(Nobody::Nothing) };
        if name.as_str() != OWNER {
            let channel = app.runbook().and_then(|runbook| runbook.channel(name));
            return channel
                .map(|kept| Target::of_channel(&kept.value))
                .ok_or_else(|| Nobody::NoChannel(name.clone()));
        }
        let owner = &app.info().owner;
        if is_address(owner) {
            return Ok(Target::Mail { to: vec![owner.clone()] });
        }
        let named = ChannelName::new(owner).ok();
        let channel = named.and_then(|name| app.runbook()?.channel(&name));
        channel.map(|kept| Target::of_channel(&kept.value)).ok_or_else(|| Nobody::NoOwner(owner.clone()))
    }

    /// Whom a channel leads to.
    pub fn of_channel(channel: &Channel) -> Target {
        match &channel.target {
            ChannelTarget::Mail { to } => Target::Mail { to: to.clone() },
            ChannelTarget::Chat { url } => Target::Chat { url: url.clone() },
        }
    }

    /// In words, without what opens it: `job rollback at https://ci.example.org, as a repository dispatch`.
    pub fn words(&self) -> String {
        match self {
            Target::Job(job) => {
                let form = match &job.payload {
                    Payload::Plain => "signed",
                    Payload::RepositoryDispatch { .. } => "as a repository dispatch",
                    Payload::PipelineTrigger { .. } => "as a pipeline trigger",
                };
                format!("job {} at {}, {form}", job.name, job.without_secrets().url)
            }
            Target::Chat { url } => format!("chat at {}", host_of(url)),
            Target::Mail { to } => format!("mail to {}", to.join(", ")),
        }
    }
}

/// An address up to its host: who knows the rest can write there.
fn host_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?']).map_or(url.len(), |at| host + at);
    &url[..end]
}
