//! `tidegate proposal`: changes that wait for approvals, or for a human.

use clap::Subcommand;
use rollout_rules::change::Command;
use rollout_rules::ids::{AppKey, ProposalId};
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{encoded, with_query};
use super::describe;
use super::failure::Failure;
use super::output::{Table, Tone, fields, note};
use super::reading::{actor, items, moment, text};
use super::session::Session;
use super::ticks::Ticks;
use super::when;

/// What can be done with proposals.
#[derive(Subcommand, Clone, Debug)]
pub enum ProposalCommand {
    /// List proposals
    List {
        /// Only these: open, applied, rejected or lapsed
        #[arg(long, value_name = "STATE", value_parser = ["open", "applied", "rejected", "lapsed"])]
        state: Option<String>,
    },
    /// Show what a proposal would do, and who approved it
    Show {
        /// Which
        id: ProposalId,
    },
    /// Approve what a proposal would do
    Approve {
        /// Which
        id: ProposalId,
        /// The hash you were shown (or how it begins); refused if the proposal has another
        #[arg(long)]
        hash: Option<String>,
        #[command(flatten)]
        ticks: Ticks,
    },
    /// Do what a proposal says
    Apply {
        /// Which
        id: ProposalId,
        /// The hash you were shown (or how it begins); refused if the proposal has another
        #[arg(long)]
        hash: Option<String>,
    },
    /// Turn a proposal down, or withdraw your own
    Reject {
        /// Which
        id: ProposalId,
    },
}

/// Carries a command out.
pub(super) fn run(
    session: &mut Session,
    app: Option<&AppKey>,
    command: ProposalCommand,
) -> Result<(), Failure> {
    match command {
        ProposalCommand::List { state } => list(session, app, state.as_deref()),
        ProposalCommand::Show { id } => {
            let proposal = session.client.get(&path(&id))?.body;
            if session.json { session.print_json(&proposal) } else { show(session, &proposal) }
        }
        ProposalCommand::Approve { id, hash, ticks } => {
            let more = ticks.body(session)?;
            let answer = with_hash(session, &id, "approve", hash.as_deref(), more)?;
            let (have, needed) = approvals(&answer);
            let role = ticks.as_role();
            session.answer(&answer, format!("proposal {id} is approved{role} ({have} of {needed} approvals)"))
        }
        ProposalCommand::Apply { id, hash } => {
            let answer = with_hash(session, &id, "apply", hash.as_deref(), json!({}))?;
            session.answer(&answer, format!("proposal {id} is applied"))
        }
        ProposalCommand::Reject { id } => {
            let body = session.with_reason(json!({}));
            let path = format!("{}/reject", path(&id));
            let answer = session.client.change(Method::POST, &path, &body, None)?;
            session.answer(&answer.body, format!("proposal {id} is rejected"))
        }
    }
}

fn path(id: &ProposalId) -> String {
    format!("/v1/proposals/{}", encoded(id.as_str()))
}

/// Stores a command as a proposal, and says what is to be done next.
pub(super) fn propose(session: &mut Session, command: &Command, seen: Option<u64>) -> Result<(), Failure> {
    let body = session.with_reason(json!({"command": compact(command)}));
    let answer = session.client.create("/v1/proposals", &body, seen)?;
    say_proposed(session, &answer.body)
}

/// Says what was proposed, and what is to be done next.
pub(super) fn say_proposed(session: &mut Session, proposal: &Value) -> Result<(), Failure> {
    if session.json {
        return session.print_json(proposal);
    }
    let id = text(proposal, "id");
    let (_, needed) = approvals(proposal);
    session.say(format_args!("proposed: {}", describe::command(&proposal["command"])))?;
    session.say(format_args!("proposal {id} waits for {}", waits_for(needed)))?;
    if needed > 0 {
        session.say(format_args!("  tidegate proposal approve {id}"))?;
    }
    session.say(format_args!("  tidegate proposal apply {id}"))
}

/// A command without the members that say nothing.
fn compact(command: &Command) -> Value {
    let mut value = serde_json::to_value(command).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.retain(|_, member| !member.is_null());
    }
    value
}

pub(super) fn waits_for(needed: u64) -> String {
    match needed {
        0 => "a human to apply it".to_owned(),
        1 => "1 approval by another person, and then to be applied".to_owned(),
        n => format!("{n} approvals by other people, and then to be applied"),
    }
}

/// Approves or applies what was read a moment ago, or what the caller was shown.
fn with_hash(
    session: &mut Session,
    id: &ProposalId,
    verb: &str,
    shown: Option<&str>,
    mut body: Value,
) -> Result<Value, Failure> {
    let seen = session.client.get(&path(id))?.body;
    let hash = text(&seen, "hash");
    if shown.is_some_and(|shown| !hash.starts_with(shown) || shown.len() < 8) {
        let problem = format!(
            "proposal {id} has the hash {hash}, not the one given (8 digits at least); \
             look at it again with `tidegate proposal show {id}`"
        );
        return Err(Failure::Changed { problem });
    }
    if !session.json {
        session.say(describe::command(&seen["command"]))?;
    }
    body["hash"] = hash.into();
    let body = session.with_reason(body);
    let path = format!("{}/{verb}", path(id));
    Ok(session.client.change(Method::POST, &path, &body, None)?.body)
}

/// How many approvals a proposal has, and how many it takes.
pub(super) fn approvals(proposal: &Value) -> (usize, u64) {
    let have = proposal["approvals"].as_array().map_or(0, Vec::len);
    (have, proposal["needed"].as_u64().unwrap_or(0))
}

fn list(session: &mut Session, app: Option<&AppKey>, state: Option<&str>) -> Result<(), Failure> {
    let mut path = "/v1/proposals".to_owned();
    if let Some(app) = app {
        path = with_query(&path, "app", app.as_str());
    }
    if let Some(state) = state {
        path = with_query(&path, "state", state);
    }
    let list = session.client.list(&path)?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["ID", "STATE", "WHAT", "BY", "APPROVALS", "LAPSES"]);
    for proposal in items(&list) {
        let (have, needed) = approvals(proposal);
        let lapses =
            moment(proposal, "expires_at").map_or_else(String::new, |at| when::distance(at, session.now));
        let state = text(proposal, "state");
        let tone = if state == "open" { Tone::Live } else { Tone::Faint };
        table.toned_row(vec![
            (text(proposal, "id"), Tone::Plain),
            (state, tone),
            (describe::command(&proposal["command"]), Tone::Plain),
            (actor(&proposal["proposed_by"]), Tone::Plain),
            (format!("{have} of {needed}"), Tone::Plain),
            (lapses, Tone::Plain),
        ]);
    }
    let none = app.map_or_else(|| "no proposals".to_owned(), |app| format!("no proposals for {app}"));
    table.write(&mut *session.out, session.style, &none)?;
    if let Some(app) = app {
        // It may be TIDEGATE_APP that narrows the list, which nobody sees.
        note(format_args!("only proposals for {app}: --all-apps lists those for every app"));
    }
    Ok(())
}

fn show(session: &mut Session, proposal: &Value) -> Result<(), Failure> {
    let (have, needed) = approvals(proposal);
    let shown =
        |name: &str| moment(proposal, name).map_or_else(String::new, |at| when::shown(at, session.now));
    let facts = [
        ("proposal", text(proposal, "id")),
        ("state", text(proposal, "state")),
        ("what", describe::command(&proposal["command"])),
        ("reason", text(proposal, "reason")),
        ("by", actor(&proposal["proposed_by"])),
        ("at", shown("at")),
        ("lapses", shown("expires_at")),
        ("seen", text(proposal, "seen")),
        ("approvals", format!("{have} of {needed}")),
        ("hash", text(proposal, "hash")),
    ];
    fields(&mut *session.out, session.style, &facts)?;
    for approval in proposal["approvals"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let at = moment(approval, "at").map_or_else(String::new, |at| when::shown(at, session.now));
        let role = text(approval, "role");
        let role = if role.is_empty() { role } else { format!(" as {role}") };
        session.say(format_args!("  approved by {}{role} {at}", actor(&approval["actor"])))?;
        for point in approval["checked"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            session.say(format_args!("    [x] {point}"))?;
        }
    }
    session.say("")?;
    format!("{:#}", proposal["command"]).lines().try_for_each(|line| session.say(line))
}
