//! `tidegate env`: the environments of an app.

use clap::Subcommand;
use rollout_rules::flag::EnvironmentKind;
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};
use ureq::http::Method;

use super::app;
use super::client::{encoded, with_query};
use super::confirm::Sure;
use super::failure::Failure;
use super::output::{Table, Tone};
use super::reading::{items, moment, text};
use super::session::Session;
use super::when::{self, When};

/// What can be done with environments.
#[derive(Subcommand, Clone, Debug)]
pub enum EnvCommand {
    /// Make an environment; the app's flags are off in it
    Create {
        /// Its key
        key: EnvKey,
        /// What it is for: preview, sandbox or production
        #[arg(long, value_parser = kind, required_unless_present = "ends")]
        kind: Option<EnvironmentKind>,
        /// When a preview ends: 48h, 2d, or a date; what ends is a preview
        #[arg(long, visible_alias = "ttl", value_name = "WHEN")]
        ends: Option<When>,
    },
    /// List the app's environments
    List,
    /// Move the end of a preview
    Extend {
        /// Which
        key: EnvKey,
        /// Its new end: 2d from now, or a date; up to a day after the old one
        #[arg(long, visible_alias = "ttl", value_name = "WHEN")]
        ends: When,
    },
    /// Remove an environment with the states of all flags in it; what belongs to a preview is asked to be destroyed
    /// (asks, or needs --yes)
    Remove {
        /// Which
        key: EnvKey,
        #[command(flatten)]
        sure: Sure,
    },
}

fn kind(text: &str) -> Result<EnvironmentKind, &'static str> {
    match text {
        "preview" => Ok(EnvironmentKind::Preview),
        "sandbox" => Ok(EnvironmentKind::Sandbox),
        "production" => Ok(EnvironmentKind::Production),
        _ => Err("write preview, sandbox or production"),
    }
}

/// An environment of a new app as typed: `KEY=KIND`, or `KEY=preview:END`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NewEnvironmentText {
    key: EnvKey,
    kind: EnvironmentKind,
    ends: Option<When>,
}

impl NewEnvironmentText {
    /// As the API has it.
    pub(super) fn body(&self, now: UnixMs) -> Value {
        new_environment(&self.key, self.kind, self.ends, now)
    }
}

/// A text that is no environment.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotAnEnvironment;

impl std::fmt::Display for NotAnEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("write KEY=production, KEY=sandbox, KEY=preview or KEY=preview:2d")
    }
}

impl std::error::Error for NotAnEnvironment {}

impl std::str::FromStr for NewEnvironmentText {
    type Err = NotAnEnvironment;

    fn from_str(text: &str) -> Result<NewEnvironmentText, NotAnEnvironment> {
        let (key, rest) = text.split_once('=').ok_or(NotAnEnvironment)?;
        let (word, ends) = match rest.split_once(':') {
            Some((word, ends)) => (word, Some(ends.parse().map_err(|_| NotAnEnvironment)?)),
            None => (rest, None),
        };
        let key = EnvKey::new(key).map_err(|_| NotAnEnvironment)?;
        Ok(NewEnvironmentText { key, kind: kind(word).map_err(|_| NotAnEnvironment)?, ends })
    }
}

fn new_environment(key: &EnvKey, kind: EnvironmentKind, ends: Option<When>, now: UnixMs) -> Value {
    let mut body = json!({"key": key, "kind": kind});
    if let Some(ends) = ends {
        body["ends_at"] = ends.from(now).to_string().into();
    }
    body
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, app: &AppKey, command: EnvCommand) -> Result<(), Failure> {
    let all = format!("{}/environments", app::path(app));
    let one = |key: &EnvKey| format!("{all}/{}", encoded(key.as_str()));
    match command {
        EnvCommand::Create { key, kind, ends } => {
            let kind = kind.unwrap_or(EnvironmentKind::Preview);
            let body = session.with_reason(new_environment(&key, kind, ends, session.now));
            let answer = session.client.create(&all, &body, None)?;
            let ends = moment(&answer.body, "ends_at")
                .map_or_else(String::new, |at| format!("; it ends {}", when::shown(at, session.now)));
            session.answer(&answer.body, format!("created environment {key} of {app}{ends}"))
        }
        EnvCommand::List => list(session, &all),
        EnvCommand::Extend { key, ends } => {
            let body = session.with_reason(json!({"ends_at": ends.from(session.now)}));
            let answer = session.client.change(Method::PATCH, &one(&key), &body, None)?;
            let ends = ends.from(session.now);
            let line = format!("environment {key} of {app} now ends {}", when::shown(ends, session.now));
            session.answer(&answer.body, line)
        }
        EnvCommand::Remove { key, sure } => {
            // Whoever has to decide about it should know its kind; what is not there is not asked about.
            let kind = text(&session.client.get(&one(&key))?.body, "kind");
            let told =
                if kind == "preview" { "; who keeps what belongs to it is asked to destroy it" } else { "" };
            sure.or_ask(&format!(
                "the {kind} environment {key} of {app} goes, with what every flag does in it{told}"
            ))?;
            let mut path = one(&key);
            if let Some(reason) = &session.reason {
                path = with_query(&path, "reason", reason);
            }
            let answer = session.client.call(Method::DELETE, &path, &super::client::Call::default())?;
            session.answer(&answer.body, format!("removed environment {key} of {app} with its flag states"))
        }
    }
}

fn list(session: &mut Session, path: &str) -> Result<(), Failure> {
    let list = session.client.list(path)?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["KEY", "KIND", "MADE", "ENDS", "STATE"]);
    for environment in items(&list) {
        let made = moment(environment, "created_at").map_or_else(String::new, when::minute);
        let ends = moment(environment, "ends_at").map_or_else(String::new, |at| when::shown(at, session.now));
        let (state, tone) = match (environment["killed"].is_null(), environment["ended"] == true) {
            (false, _) => ("killed", Tone::Alarm),
            (true, true) => ("ended", Tone::Faint),
            (true, false) => ("", Tone::Plain),
        };
        table.toned_row(vec![
            (text(environment, "key"), Tone::Plain),
            (text(environment, "kind"), Tone::Plain),
            (made, Tone::Plain),
            (ends, Tone::Plain),
            (state.to_owned(), tone),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, "no environments")?)
}
