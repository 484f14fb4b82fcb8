//! `tidegate segment`: reusable sets of units and conditions, of one app or shared by all.

use std::path::PathBuf;

use clap::Subcommand;
use rollout_rules::ids::{AppKey, SegmentKey};
use serde_json::{Value, json};
use ureq::http::Method;

use super::app;
use super::client::{Call, encoded, with_query};
use super::confirm::Sure;
use super::failure::Failure;
use super::output::{Table, fields};
use super::reading::{items, text, typed_file};
use super::rule_text::RuleText;
use super::session::Session;

/// Members sent in one request: far below the size of one log entry, whatever their lengths.
const CHUNK_BYTES: usize = 32 * 1024;

/// What can be done with segments.
#[derive(Subcommand, Clone, Debug)]
pub enum SegmentCommand {
    /// Make a segment, or change who belongs to it besides its members
    Put {
        /// Its key
        key: SegmentKey,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// Who belongs besides the members, as in rules: 'plan in pro,team'; or JSON
        #[arg(long, value_name = "CONDITION")]
        when: Option<String>,
    },
    /// List segments
    List,
    /// Show a segment and its members
    Show {
        /// Which
        key: SegmentKey,
    },
    /// Add members
    Add {
        /// Which
        key: SegmentKey,
        /// Targeting keys
        members: Vec<String>,
        /// A file with one targeting key a line; - reads standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Remove members
    Remove {
        /// Which
        key: SegmentKey,
        /// Targeting keys
        members: Vec<String>,
        /// A file with one targeting key a line; - reads standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Delete a segment that nothing refers to, with its members (asks, or needs --yes)
    Delete {
        /// Which
        key: SegmentKey,
        #[command(flatten)]
        sure: Sure,
    },
}

/// Carries a command out; without an app it is about shared segments.
pub(super) fn run(
    session: &mut Session,
    app: Option<&AppKey>,
    command: SegmentCommand,
) -> Result<(), Failure> {
    let all = match app {
        Some(app) => format!("{}/segments", app::path(app)),
        None => "/v1/segments".to_owned(),
    };
    let one = |key: &SegmentKey| format!("{all}/{}", encoded(key.as_str()));
    // Whether TIDEGATE_APP was in play shows in every answer.
    let owner = app.map_or_else(|| "shared by all apps".to_owned(), |app| format!("of {app}"));
    let named = |key: &SegmentKey| format!("segment {key} {owner}");
    match command {
        SegmentCommand::Put { key, description, when } => {
            put(session, &one(&key), &named(&key), description, when.as_deref())
        }
        SegmentCommand::List => list(session, &all, &owner),
        SegmentCommand::Show { key } => show(session, &one(&key)),
        SegmentCommand::Add { key, members, file } => {
            change_members(session, &one(&key), &named(&key), "add", gather(members, file)?)
        }
        SegmentCommand::Remove { key, members, file } => {
            change_members(session, &one(&key), &named(&key), "remove", gather(members, file)?)
        }
        SegmentCommand::Delete { key, sure } => {
            sure.or_ask(&format!("{} goes, with its members", named(&key)))?;
            let mut path = one(&key);
            if let Some(reason) = &session.reason {
                path = with_query(&path, "reason", reason);
            }
            let answer = session.client.call(Method::DELETE, &path, &Call::default())?;
            session.answer(&answer.body, format!("deleted {}", named(&key)))
        }
    }
}

fn put(
    session: &mut Session,
    path: &str,
    named: &str,
    description: Option<String>,
    when: Option<&str>,
) -> Result<(), Failure> {
    let mut body = json!({});
    let mut revision = None;
    // A PUT says everything, so what is not typed is taken from what is there, and stands only as long as
    // nobody changes that.
    match session.client.get(path) {
        Ok(seen) => {
            revision = seen.body["revision"].as_u64();
            for name in ["description", "when"] {
                if let Some(value) = seen.body.get(name).filter(|value| !value.is_null()) {
                    body[name] = value.clone();
                }
            }
        }
        Err(Failure::Refused(problem)) if problem.status == 404 => {}
        Err(failure) => return Err(failure),
    }
    if let Some(description) = description {
        body["description"] = description.into();
    }
    if let Some(when) = when {
        body["when"] = condition(when)?;
    }
    let body = session.with_reason(body);
    let answer = session.client.change(Method::PUT, path, &body, revision)?;
    session.answer(&answer.body, format!("{named} is stored"))
}

/// A condition as typed: the left side of a rule, or JSON.
fn condition(typed: &str) -> Result<Value, Failure> {
    let wrong = |problem: String| Failure::usage(format!("--when `{typed}`: {problem}"));
    if typed.trim_start().starts_with('{') {
        return serde_json::from_str(typed).map_err(|error| wrong(error.to_string()));
    }
    let rule: RuleText = format!("{typed} -> on").parse().map_err(|error| wrong(format!("{error}")))?;
    serde_json::to_value(rule.condition()).map_err(|error| wrong(error.to_string()))
}

fn list(session: &mut Session, path: &str, owner: &str) -> Result<(), Failure> {
    let list = session.client.list(path)?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["KEY", "DESCRIPTION", "MEMBERS", "WHEN"]);
    for segment in items(&list) {
        table.row([
            text(segment, "key"),
            text(segment, "description"),
            text(segment, "members"),
            text(segment, "when"),
        ]);
    }
    Ok(table.write(&mut *session.out, session.style, &format!("no segments {owner}"))?)
}

fn show(session: &mut Session, path: &str) -> Result<(), Failure> {
    let segment = session.client.get(path)?.body;
    let members = session.client.list(&format!("{path}/members"))?;
    if session.json {
        let mut whole = segment;
        whole["members"] = members["items"].clone();
        return session.print_json(&whole);
    }
    let facts = [
        ("segment", text(&segment, "key")),
        ("description", text(&segment, "description")),
        ("when", text(&segment, "when")),
        ("members", items(&members).len().to_string()),
    ];
    fields(&mut *session.out, session.style, &facts)?;
    for member in items(&members) {
        session.say(format_args!("  {}", member.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

fn gather(mut members: Vec<String>, file: Option<PathBuf>) -> Result<Vec<String>, Failure> {
    if let Some(path) = file {
        let text = typed_file(&path)?;
        members.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    if members.is_empty() {
        return Err(Failure::usage("name at least one member, or a --file with one a line"));
    }
    Ok(members)
}

/// Members in parts that are each small enough for one request.
pub(super) fn in_chunks(members: &[String]) -> Vec<Vec<String>> {
    let mut chunks: Vec<Vec<String>> = vec![Vec::new()];
    let mut bytes = 0;
    for member in members {
        if bytes + member.len() > CHUNK_BYTES && bytes > 0 {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += member.len() + 4;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(member.clone());
        }
    }
    chunks
}

fn change_members(
    session: &mut Session,
    path: &str,
    named: &str,
    verb: &str,
    members: Vec<String>,
) -> Result<(), Failure> {
    let path = format!("{path}/members");
    let chunks = in_chunks(&members);
    let mut answer = Value::Null;
    for (sent, chunk) in chunks.iter().enumerate() {
        let body = session.with_reason(json!({ verb: chunk }));
        match session.client.change(Method::POST, &path, &body, None) {
            Ok(more) => answer = more.body,
            Err(failure) if sent > 0 => {
                return Err(Failure::Partly { stored: sent, all: chunks.len(), last: Box::new(failure) });
            }
            Err(failure) => return Err(failure),
        }
    }
    let done = if verb == "add" { "added to" } else { "removed from" };
    let n = members.len();
    let noun = if n == 1 { "member" } else { "members" };
    session.answer(&answer, format!("{n} {noun} {done} {named}"))
}
