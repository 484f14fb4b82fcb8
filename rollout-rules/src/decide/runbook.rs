//! Making, changing and removing the jobs and channels that guardrails call; trying again what was given up.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use super::authority::{Envs, Right, Row};
use super::flags::NAMED_USERS;
use super::guardrails::no_channel;
use super::validate::{check_text, invalid, too_many};
use super::webhooks::check_url;
use super::{Case, Decided, Refusal, What};
use crate::change::{Change, RunbookCommand};
use crate::ids::{AppKey, ChannelName, JobName};
use crate::runbook::{
    Channel, ChannelTarget, Credential, EffectId, Job, JobPatch, MAX_CHANNELS, MAX_CREDENTIAL_BYTES,
    MAX_JOBS, MAX_RECIPIENTS, OWNER, Payload, RunState, job_of,
};
use crate::sli::guardrail::Action;
use crate::snapshot::{App, Kept, Runbook};
use crate::webhook::{MAX_WEBHOOK_SECRETS, WebhookSecret};

/// Longest name of an event or a branch, in bytes; GitHub takes 100 of an event.
const MAX_NAME_BYTES: usize = 100;
/// Longest mail address, in bytes: as long as SMTP takes.
const MAX_ADDRESS_BYTES: usize = 254;

impl<'a> Case<'a> {
    /// Decides a command about jobs, channels and what was given up.
    pub(super) fn change_runbook(&self, app: &AppKey, change: &RunbookCommand) -> Result<Decided, Refusal> {
        match change {
            RunbookCommand::CreateJob { job } => self.create_job(app, job),
            RunbookCommand::UpdateJob { job, patch } => self.update_job(app, job, patch),
            RunbookCommand::RemoveJob { job } => self.remove_job(app, job),
            RunbookCommand::CreateChannel { channel } => self.create_channel(app, channel),
            RunbookCommand::RemoveChannel { channel } => self.remove_channel(app, channel),
            RunbookCommand::ReplayEffect { id } => self.replay_effect(app, *id),
        }
    }

    fn create_job(&self, app: &AppKey, job: &Job) -> Result<Decided, Refusal> {
        let found = self.prepared(app)?;
        let jobs = found.runbook().map_or(0, |runbook| runbook.jobs().len());
        if found.runbook().and_then(|runbook| runbook.job(&job.name)).is_some() {
            return Err(Refusal::AlreadyExists { what: What::Other("job", job.name.to_string()) });
        }
        too_many("jobs of one app", jobs + 1, MAX_JOBS)?;
        if job.secrets.len() != 1 {
            return Err(invalid("secrets", "a new job has one"));
        }
        let job = Job { created_at: self.now, ..job.clone() };
        check_job(&job)?;
        Ok(Decided::Change(Change::JobPut { app: app.clone(), job: Box::new(job) }))
    }

    fn update_job(&self, app: &AppKey, name: &JobName, patch: &JobPatch) -> Result<Decided, Refusal> {
        let kept = self.job(self.prepared(app)?, name)?;
        self.not_older(kept.revision)?;
        let mut after = kept.value.clone();
        if let Some(url) = &patch.url {
            after.url.clone_from(url);
        }
        if let Some(credential) = &patch.credential {
            after.credential = Some(credential.clone());
        }
        if let Some(secret) = &patch.secret {
            let before = after.secrets;
            after.secrets = vec![secret.clone()];
            after.secrets.extend(before.into_iter().take(MAX_WEBHOOK_SECRETS - 1));
        }
        if after == kept.value {
            return Ok(Decided::Already(kept.revision));
        }
        check_job(&after)?;
        Ok(Decided::Change(Change::JobPut { app: app.clone(), job: Box::new(after) }))
    }

    fn remove_job(&self, app: &AppKey, name: &JobName) -> Result<Decided, Refusal> {
        let found = self.prepared(app)?;
        self.not_older(self.job(found, name)?.revision)?;
        let what = || What::Other("job", name.to_string());
        no_user(found, what, |action| job_of(action).as_ref() == Some(name))?;
        Ok(Decided::Change(Change::JobRemoved { app: app.clone(), job: name.clone() }))
    }

    fn create_channel(&self, app: &AppKey, channel: &Channel) -> Result<Decided, Refusal> {
        let found = self.prepared(app)?;
        if channel.name.as_str() == OWNER {
            return Err(invalid(
                "name",
                "`owner` is the app's owner: change it with `tidegate app update --owner`",
            ));
        }
        if found.runbook().and_then(|runbook| runbook.channel(&channel.name)).is_some() {
            return Err(Refusal::AlreadyExists { what: What::Other("channel", channel.name.to_string()) });
        }
        let channels = found.runbook().map_or(0, |runbook| runbook.channels().len());
        too_many("channels of one app", channels + 1, MAX_CHANNELS)?;
        check_text("description", &channel.description)?;
        match &channel.target {
            ChannelTarget::Chat { url } => check_url(url)?,
            ChannelTarget::Mail { to } => check_recipients(to)?,
        }
        let channel = Channel { created_at: self.now, ..channel.clone() };
        Ok(Decided::Change(Change::ChannelPut { app: app.clone(), channel: Box::new(channel) }))
    }

    fn remove_channel(&self, app: &AppKey, name: &ChannelName) -> Result<Decided, Refusal> {
        let found = self.prepared(app)?;
        let kept =
            found.runbook().and_then(|runbook| runbook.channel(name)).ok_or_else(|| no_channel(name))?;
        self.not_older(kept.revision)?;
        let what = || What::Other("channel", name.to_string());
        no_user(found, what, |action| matches!(action, Action::Notify(told) if told == name))?;
        Ok(Decided::Change(Change::ChannelRemoved { app: app.clone(), channel: name.clone() }))
    }

    fn replay_effect(&self, app: &AppKey, id: EffectId) -> Result<Decided, Refusal> {
        self.may(Right::Structure, Some(app), Envs::All)?;
        self.no_agent()?;
        let run = self.snapshot.run(id).filter(|run| run.act.app == *app);
        let run = run.ok_or_else(|| Refusal::NotFound { what: What::Other("effect", id.to_string()) })?;
        match run.state {
            RunState::Waiting { since } => Ok(Decided::Already(since)),
            RunState::Ended { succeeded: true, revision, .. } => Ok(Decided::Already(revision)),
            RunState::Ended { .. } => Ok(Decided::Change(Change::EffectReplayed { app: app.clone(), id })),
        }
    }

    fn job(&self, app: &'a App, name: &JobName) -> Result<&'a Kept<Job>, Refusal> {
        let found = app.runbook().and_then(|runbook: &Runbook| runbook.job(name));
        found.ok_or_else(|| Refusal::NotFound { what: What::Other("job", name.to_string()) })
    }

    /// The app whose runbook the caller may change. An agent that made jobs could carry the log out of the house.
    fn prepared(&self, app: &AppKey) -> Result<&'a App, Refusal> {
        self.may(Right::Webhooks, Some(app), Envs::All)?;
        if self.row() == Row::Agent {
            return Err(Refusal::NotAllowed { who_may: "an admin or operator that is no agent" });
        }
        self.app(app)
    }
}

/// Whether no guardrail has such an action.
fn no_user(app: &App, what: impl Fn() -> What, is: impl Fn(&Action) -> bool) -> Result<(), Refusal> {
    let (flags, defaults) = app.users_of_action(is);
    if !flags.is_empty() {
        let by = flags.into_iter().take(NAMED_USERS).cloned().collect();
        return Err(Refusal::InUse { what: what(), by });
    }
    if defaults {
        return Err(invalid(
            "guardrails",
            format!("{} is called by the app's defaults: change those first", what()),
        ));
    }
    Ok(())
}

fn check_job(job: &Job) -> Result<(), Refusal> {
    check_text("description", &job.description)?;
    check_url(&job.url)?;
    if !job.secrets.iter().all(WebhookSecret::is_well_formed) {
        return Err(invalid("secrets", "a secret is `whsec_` and base64"));
    }
    if !job.credential.as_ref().is_none_or(Credential::is_well_formed) {
        let problem = format!("use 1 to {MAX_CREDENTIAL_BYTES} visible ASCII characters");
        return Err(invalid("credential", problem));
    }
    let named = |field: &str, text: &str| {
        if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
            return Err(invalid(field, format!("use 1 to {MAX_NAME_BYTES} bytes")));
        }
        Ok(())
    };
    match &job.payload {
        Payload::Plain => Ok(()),
        Payload::RepositoryDispatch { event_type } => named("payload.event_type", event_type),
        Payload::PipelineTrigger { git_ref } => named("payload.ref", git_ref),
    }
}

fn check_recipients(to: &[alloc::string::String]) -> Result<(), Refusal> {
    too_many("mail addresses of one channel", to.len(), MAX_RECIPIENTS)?;
    if to.is_empty() {
        return Err(invalid("target.mail.to", "name at least one mail address"));
    }
    let wrong: Vec<usize> = (0..to.len()).filter(|nth| !is_address(&to[*nth])).collect();
    match wrong.first() {
        Some(nth) => {
            Err(invalid(format!("target.mail.to[{nth}]"), "write a mail address such as ann@example.org"))
        }
        None => Ok(()),
    }
}

/// What can be told of a mail address from its text. Nothing in it reaches into a header.
pub fn is_address(text: &str) -> bool {
    let Some((name, host)) = text.rsplit_once('@') else { return false };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    text.len() <= MAX_ADDRESS_BYTES
        && !name.is_empty()
        && name.bytes().all(plain)
        && !host.is_empty()
        && host.bytes().all(in_host)
        && !host.starts_with(['.', '-'])
        && !host.ends_with(['.', '-'])
        && !host.contains("..")
        && !name.contains("..")
        && !name.starts_with('.')
        && !name.ends_with('.')
}
