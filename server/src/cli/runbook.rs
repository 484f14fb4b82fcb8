//! `tidegate job`, `tidegate channel`, `tidegate effect`: whom guardrails call and tell, and what became of it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rollout_rules::ids::{AppKey, ChannelName, JobName};
use rollout_rules::runbook::EffectId;
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{Call, encoded, with_query};
use super::confirm::Sure;
use super::failure::Failure;
use super::output::{Table, Tone};
use super::reading::{items, moment, text, typed_file};
use super::session::Session;
use super::when;

/// What can be done with jobs.
#[derive(Subcommand, Clone, Debug)]
pub enum JobCommand {
    /// Make a job that guardrails run by its name; its secret is shown once
    ///
    /// `revert-release` is the job that `revert release` runs; it is told what runs and what to go back to, as far as `release
    /// deployed` told. Calls are signed (Standard Webhooks) and carry the same id
    /// however often they come: a receiver that has done it says so again.
    Create(CreateJob),
    /// List the app's jobs, without secrets
    List,
    /// Call a job once with the action `test`, and say what became of it; a pipeline that does not look at it runs
    Test {
        /// Which
        name: JobName,
    },
    /// Draw a new secret, shown once; the one so far signs beside it until the next
    Rotate {
        /// Which
        name: JobName,
    },
    /// Remove a job that no guardrail runs (asks, or needs --yes)
    Remove {
        /// Which
        name: JobName,
        #[command(flatten)]
        sure: Sure,
    },
}

/// A new job.
#[derive(Args, Clone, Debug)]
pub struct CreateJob {
    /// Its name in rules: run NAME
    name: JobName,
    /// Where it is called: https://ci.example.org/rollback
    #[arg(value_name = "URL")]
    to: String,
    /// Call it as GitHub's repository dispatch takes it, with this type of event
    #[arg(long, value_name = "EVENT")]
    github_dispatch: Option<String>,
    /// Call it as GitLab's pipeline trigger takes it, to run on this branch or tag
    #[arg(long, value_name = "REF", conflicts_with = "github_dispatch")]
    gitlab_trigger: Option<String>,
    /// A file that holds what the receiver asks for: a bearer token, or the trigger's; - is standard input
    #[arg(long, value_name = "FILE")]
    credential_file: Option<PathBuf>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
}

/// What can be done with channels.
#[derive(Subcommand, Clone, Debug)]
pub enum ChannelCommand {
    /// Make a channel that guardrails notify by its name; `owner`, the app's owner, is always there
    Create {
        /// Its name in rules: notify NAME
        name: ChannelName,
        /// By mail to this address; may be repeated
        #[arg(long, value_name = "ADDRESS", required_unless_present = "chat")]
        mail: Vec<String>,
        /// In a chat that takes {"text": …} at this address, as Slack and Mattermost do
        #[arg(long, value_name = "URL", conflicts_with = "mail")]
        chat: Option<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
        description: String,
    },
    /// List the app's channels
    List,
    /// Tell a channel, or `owner`, that this is a test, and say what became of it
    Test {
        /// Which
        name: ChannelName,
    },
    /// Remove a channel that no guardrail notifies (asks, or needs --yes)
    Remove {
        /// Which
        name: ChannelName,
        #[command(flatten)]
        sure: Sure,
    },
}

/// What can be done with what guardrails asked for.
#[derive(Subcommand, Clone, Debug)]
pub enum EffectCommand {
    /// Show what guardrails asked to be done outside, newest first, and how that stands
    List {
        /// Only what stands so
        #[arg(long, value_parser = ["waiting", "done", "dead"])]
        state: Option<String>,
    },
    /// Try again what was given up, under the same id; what waits is tried at once
    Replay {
        /// Which, such as 45.0; without it, all dead letters, a hundred at most
        id: Option<EffectId>,
    },
}

fn under(app: &AppKey, rest: &str) -> String {
    format!("/v1/apps/{}/{rest}", encoded(app.as_str()))
}

/// Carries out a command about jobs.
pub(super) fn job(session: &mut Session, app: &AppKey, command: JobCommand) -> Result<(), Failure> {
    match command {
        JobCommand::Create(new) => create_job(session, app, new),
        JobCommand::List => list_jobs(session, app),
        JobCommand::Test { name } => test(session, &under(app, &format!("jobs/{name}/test"))),
        JobCommand::Rotate { name } => {
            let body = session.with_reason(json!({}));
            let answer = session.client.create(&under(app, &format!("jobs/{name}/rotate")), &body, None)?;
            show_secret(session, &answer.body)
        }
        JobCommand::Remove { name, sure } => {
            remove(session, &under(app, &format!("jobs/{name}")), &format!("job {name} of {app}"), sure)
        }
    }
}

fn create_job(session: &mut Session, app: &AppKey, new: CreateJob) -> Result<(), Failure> {
    let payload = match (&new.github_dispatch, &new.gitlab_trigger) {
        (Some(event), _) => json!({ "repository_dispatch": { "event_type": event } }),
        (None, Some(git_ref)) => json!({ "pipeline_trigger": { "ref": git_ref } }),
        (None, None) => json!("plain"),
    };
    let mut body =
        json!({ "name": new.name, "url": new.to, "payload": payload, "description": new.description });
    if let Some(file) = &new.credential_file {
        body["credential"] = typed_file(file)?.trim().into();
    }
    let body = session.with_reason(body);
    let answer = session.client.create(&under(app, "jobs"), &body, None)?;
    show_secret(session, &answer.body)
}

fn show_secret(session: &mut Session, body: &Value) -> Result<(), Failure> {
    if session.json {
        return session.print_json(body);
    }
    session.say(format_args!("job {} at {}", text(body, "name"), text(body, "url")))?;
    session.say(text(body, "secret"))?;
    session
        .say("keep it now, it is not shown again: the receiver checks signatures with it (Standard Webhooks)")
}

fn form(payload: &Value) -> String {
    match payload {
        Value::String(plain) => plain.clone(),
        other => other.as_object().and_then(|object| object.keys().next()).cloned().unwrap_or_default(),
    }
}

fn list_jobs(session: &mut Session, app: &AppKey) -> Result<(), Failure> {
    let list = session.client.list(&under(app, "jobs"))?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["JOB", "URL", "FORM", "FOR"]);
    for job in items(&list) {
        let form = form(&job["payload"]).replace('_', " ");
        table.row([text(job, "name"), text(job, "url"), form, text(job, "description")]);
    }
    Ok(table.write(&mut *session.out, session.style, "no jobs")?)
}

/// Carries out a command about channels.
pub(super) fn channel(session: &mut Session, app: &AppKey, command: ChannelCommand) -> Result<(), Failure> {
    match command {
        ChannelCommand::Create { name, mail, chat, description } => {
            let target = match chat {
                Some(url) => json!({ "chat": { "url": url } }),
                None => json!({ "mail": { "to": mail } }),
            };
            let body = json!({ "name": name, "target": target, "description": description });
            let body = session.with_reason(body);
            let answer = session.client.create(&under(app, "channels"), &body, None)?.body;
            session.answer(&answer, format!("channel {name}: {}", leads_to(&answer["target"])))
        }
        ChannelCommand::List => list_channels(session, app),
        ChannelCommand::Test { name } => test(session, &under(app, &format!("channels/{name}/test"))),
        ChannelCommand::Remove { name, sure } => remove(
            session,
            &under(app, &format!("channels/{name}")),
            &format!("channel {name} of {app}"),
            sure,
        ),
    }
}

/// Where a channel leads: `mail to ann@example.org`.
fn leads_to(target: &Value) -> String {
    if target["chat"].is_object() {
        return format!("chat at {}", text(&target["chat"], "url"));
    }
    let to: Vec<&str> =
        target["mail"]["to"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!("mail to {}", to.join(", "))
}

fn list_channels(session: &mut Session, app: &AppKey) -> Result<(), Failure> {
    let list = session.client.list(&under(app, "channels"))?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["CHANNEL", "LEADS TO", "FOR"]);
    for channel in items(&list) {
        table.row([text(channel, "name"), leads_to(&channel["target"]), text(channel, "description")]);
    }
    Ok(table.write(&mut *session.out, session.style, "no channels besides `owner`")?)
}

fn remove(session: &mut Session, path: &str, what: &str, sure: Sure) -> Result<(), Failure> {
    sure.or_ask(&format!("{what} goes"))?;
    let mut path = path.to_owned();
    if let Some(reason) = &session.reason {
        path = with_query(&path, "reason", reason);
    }
    let answer = session.client.call(Method::DELETE, &path, &Call::default())?;
    session.answer(&answer.body, format!("removed {what}"))
}

fn test(session: &mut Session, path: &str) -> Result<(), Failure> {
    let answer = session.client.change(Method::POST, path, &json!({}), None)?.body;
    if answer["delivered"] == true {
        let line = format!("delivered: {} after {} ms", text(&answer, "status"), text(&answer, "took_ms"));
        return session.answer(&answer, line);
    }
    if session.json {
        session.print_json(&answer)?;
    }
    Err(Failure::undelivered(text(&answer, "problem")))
}

/// Carries out a command about effects.
pub(super) fn effect(session: &mut Session, app: &AppKey, command: EffectCommand) -> Result<(), Failure> {
    match command {
        EffectCommand::List { state } => list_effects(session, app, state.as_deref()),
        EffectCommand::Replay { id } => {
            let path = match id {
                Some(id) => under(app, &format!("effects/{id}/replay")),
                None => under(app, "effects/replay"),
            };
            let body = session.with_reason(json!({}));
            let answer = session.client.change(Method::POST, &path, &body, None)?.body;
            let line = match id {
                Some(id) => format!("{id}: {}", text(&answer, "state")),
                None => format!("{} are tried again", text(&answer, "replaying")),
            };
            session.answer(&answer, line)
        }
    }
}

fn list_effects(session: &mut Session, app: &AppKey, state: Option<&str>) -> Result<(), Failure> {
    let mut path = under(app, "effects");
    if let Some(state) = state {
        path = with_query(&path, "state", state);
    }
    let list = session.client.list(&path)?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table =
        Table::new(["EFFECT", "WHEN", "FLAG", "ENVIRONMENT", "ACTION", "STATE", "WHAT CAME OF IT"]);
    for effect in items(&list) {
        let (state, tone) = match text(effect, "state").as_str() {
            "done" => ("done".to_owned(), Tone::Live),
            "dead" => ("DEAD".to_owned(), Tone::Alarm),
            other => (other.to_owned(), Tone::Plain),
        };
        let waits = match (text(effect, "attempts").as_str(), text(effect, "problem")) {
            ("" | "0", _) => text(effect, "target"),
            (attempts, problem) => format!("{attempts} attempts; {problem}"),
        };
        let outcome = text(effect, "outcome");
        table.toned_row(vec![
            (text(effect, "id"), Tone::Plain),
            (moment(effect, "at").map_or_else(String::new, when::minute), Tone::Plain),
            (text(effect, "flag"), Tone::Plain),
            (text(effect, "environment"), Tone::Plain),
            (text(effect, "action"), Tone::Plain),
            (state, tone),
            (if outcome.is_empty() { waits } else { outcome }, Tone::Faint),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, "guardrails asked for nothing")?)
}
