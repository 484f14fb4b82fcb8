//! `tidegate proposal`: changes that wait for approvals, or for a human.

use clap::Subcommand;
use rollout_rules::change::Command;
use rollout_rules::governance::Work;
use rollout_rules::ids::{AppKey, ProposalId};
use serde_json::{Value, json};
use ureq::http::Method;

use super::client::{encoded, with_query};
use super::describe;
use super::failure::Failure;
use super::gate::texts;
use super::output::{Table, Tone, fields, note};
use super::reading::{actor, items, moment, text, work};
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
            let role = ticks.as_role();
            let counted = counted(&answer);
            session.answer(&answer, format!("proposal {id} is approved{role} ({counted})"))?;
            if session.json { Ok(()) } else { say_next(session, &answer) }
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
    let roles = u64::try_from(missing_roles(proposal).len()).unwrap_or(u64::MAX);
    let awaited = approvals_needed(proposal).max(roles);
    session.say(format_args!("proposed: {}", describe::command(&proposal["command"])))?;
    session.say(format_args!("proposal {id} waits for {}", waits_for(awaited)))?;
    say_next(session, proposal)
}

/// The commands that bring an open proposal further, a line each: the gate first, then approvals, then applying it.
fn say_next(session: &mut Session, proposal: &Value) -> Result<(), Failure> {
    if text(proposal, "state") != "open" {
        return Ok(());
    }
    if let Some(outdated) = proposal["outdated"].as_str() {
        return session
            .say(format_args!("it cannot be approved or applied any more: {outdated}; propose it again"));
    }
    let gate = texts(&proposal["gate_missing"]);
    if !gate.is_empty() {
        session.say("the gate has to let the build pass before it is applied:")?;
    }
    gate.iter().try_for_each(|line| session.say(format_args!("    {line}")))?;
    next_commands(proposal).into_iter().try_for_each(|line| session.say(format_args!("  {line}")))
}

/// What to type next. Whoever approves in a role that is asked for counts as another person too.
fn next_commands(proposal: &Value) -> Vec<String> {
    let id = text(proposal, "id");
    let missing = missing_roles(proposal);
    let in_roles = missing.iter().map(|role| match role.as_str() {
        "security" => format!("tidegate proposal approve {id} --role security --tick-all"),
        role => format!("tidegate proposal approve {id} --role {role}"),
    });
    let mut lines: Vec<String> = in_roles.collect();
    let more = approvals_needed(proposal).saturating_sub(have(proposal));
    if more > u64::try_from(missing.len()).unwrap_or(u64::MAX) {
        lines.push(format!("tidegate proposal approve {id}"));
    }
    lines.push(format!("tidegate proposal apply {id}"));
    lines
}

/// The roles that are asked for, and in which nobody approved yet.
fn missing_roles(proposal: &Value) -> Vec<String> {
    let asked = proposal["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
    asked.iter().filter(|asked| asked["by"].is_null()).map(|asked| text(asked, "role")).collect()
}

/// `1 of 2 approvals, nobody yet as business_owner`.
fn counted(proposal: &Value) -> String {
    let (have, needed) = (have(proposal), approvals_needed(proposal));
    let word = if needed == 1 { "approval" } else { "approvals" };
    let missing = missing_roles(proposal);
    match missing[..] {
        [] => format!("{have} of {needed} {word}"),
        _ => format!("{have} of {needed} {word}, nobody yet as {}", missing.join(" or ")),
    }
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

/// How many approvals a proposal takes.
pub(super) fn approvals_needed(proposal: &Value) -> u64 {
    proposal["needed"].as_u64().unwrap_or(0)
}

/// How many of its approvals count; of one that is closed, how many it had.
fn have(proposal: &Value) -> u64 {
    let all = || proposal["approvals"].as_array().map_or(0, Vec::len) as u64;
    proposal["counted"].as_u64().unwrap_or_else(all)
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
        let lapses =
            moment(proposal, "expires_at").map_or_else(String::new, |at| when::distance(at, session.now));
        let state = text(proposal, "state");
        let tone = if state == "open" { Tone::Live } else { Tone::Faint };
        table.toned_row(vec![
            (text(proposal, "id"), Tone::Plain),
            (state, tone),
            (describe::command(&proposal["command"]), Tone::Plain),
            (actor(&proposal["proposed_by"]), Tone::Plain),
            (of_needed(proposal), Tone::Plain),
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

/// What the agent that proposed says of it, for whoever approves. Nothing of it was checked.
#[derive(Default)]
struct Said {
    prompt: String,
    files: String,
    reviewer: String,
}

impl Said {
    fn of(proposer: &Value) -> Said {
        if proposer["type"] != "agent" {
            return Said::default();
        }
        let Work { prompt, files, more_files, reviewer } = work(proposer).unwrap_or_default();
        let mut files = files.join(", ");
        if more_files > 0 {
            files.push_str(&format!(" and {more_files} more"));
        }
        Said {
            prompt: prompt.map_or_else(|| "not named".to_owned(), |prompt| format!("sha256:{prompt}")),
            files,
            reviewer: reviewer
                .map_or_else(|| "nobody reviewed it".to_owned(), |name| format!("by {name}, the agent says")),
        }
    }
}

/// Who proposed, without what is told of it besides.
fn who(proposer: &Value) -> String {
    let mut only = proposer.clone();
    only.as_object_mut().and_then(|members| members.remove("work"));
    actor(&only)
}

/// `1 of 2, missing business_owner`.
fn of_needed(proposal: &Value) -> String {
    let missing = missing_roles(proposal);
    let missing =
        if missing.is_empty() { String::new() } else { format!(", missing {}", missing.join(", ")) };
    format!("{} of {}{missing}", have(proposal), approvals_needed(proposal))
}

/// `sha256:… in production, on waivers w1, w2`.
fn builds(proposal: &Value) -> String {
    let told = proposal["stood_on"]["builds"].as_array().into_iter().flatten().map(|build| {
        let artifact = build["artifact"].as_str().unwrap_or("nothing that anybody told of");
        let waivers = texts(&build["waivers"]);
        let on =
            if waivers.is_empty() { String::new() } else { format!(", on waivers {}", waivers.join(", ")) };
        format!("{artifact} in {}{on}", text(build, "environment"))
    });
    told.collect::<Vec<_>>().join("; ")
}

/// `platform by ada; security: nobody yet`.
fn roles(proposal: &Value) -> String {
    let asked = proposal["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
    let told = asked.iter().map(|asked| match asked["by"].is_null() {
        true => format!("{}: nobody yet", text(asked, "role")),
        false => format!("{} by {}", text(asked, "role"), actor(&asked["by"])),
    });
    told.collect::<Vec<_>>().join("; ")
}

fn show(session: &mut Session, proposal: &Value) -> Result<(), Failure> {
    let shown =
        |name: &str| moment(proposal, name).map_or_else(String::new, |at| when::shown(at, session.now));
    let said = Said::of(&proposal["proposed_by"]);
    let facts = [
        ("proposal", text(proposal, "id")),
        ("state", text(proposal, "state")),
        ("what", describe::command(&proposal["command"])),
        ("reason", text(proposal, "reason")),
        ("by", who(&proposal["proposed_by"])),
        ("prompt", said.prompt),
        ("wrote", said.files),
        ("reviewed", said.reviewer),
        ("at", shown("at")),
        ("lapses", shown("expires_at")),
        ("seen", text(proposal, "seen")),
        ("build", builds(proposal)),
        ("policy", text(&proposal["stood_on"], "policy")),
        ("approvals", of_needed(proposal)),
        ("roles", roles(proposal)),
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
    format!("{:#}", proposal["command"]).lines().try_for_each(|line| session.say(line))?;
    if text(proposal, "state") == "open" {
        session.say("")?;
    }
    say_next(session, proposal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(counted: u64, needed: u64, roles: &[(&str, Option<&str>)]) -> Value {
        let person = |name: &str| json!({ "type": "human", "name": name });
        let role = |(role, by): &(&str, Option<&str>)| json!({ "role": role, "by": by.map(person) });
        json!({
            "id": "p1", "state": "open", "needed": needed, "counted": counted, "approvals": [],
            "roles": roles.iter().map(role).collect::<Vec<_>>(), "gate_missing": [],
        })
    }

    #[test]
    fn who_is_missing_is_told_with_what_to_type() {
        let none = proposal(0, 2, &[("security", None), ("business_owner", None)]);
        assert_eq!(of_needed(&none), "0 of 2, missing security, business_owner");
        assert_eq!(
            next_commands(&none),
            [
                "tidegate proposal approve p1 --role security --tick-all",
                "tidegate proposal approve p1 --role business_owner",
                "tidegate proposal apply p1",
            ]
        );
        // Enough people approved, and nobody in the role.
        let anybody = proposal(1, 1, &[("platform", None)]);
        assert_eq!(counted(&anybody), "1 of 1 approval, nobody yet as platform");
        assert_eq!(next_commands(&anybody)[0], "tidegate proposal approve p1 --role platform");
        let done = proposal(1, 1, &[("platform", Some("ada"))]);
        assert_eq!((counted(&done).as_str(), roles(&done).as_str()), ("1 of 1 approval", "platform by ada"));
        assert_eq!(next_commands(&done), ["tidegate proposal apply p1"]);
    }

    #[test]
    fn where_no_role_is_asked_for_anybody_else_approves() {
        let waits = proposal(0, 1, &[]);
        assert_eq!(next_commands(&waits), ["tidegate proposal approve p1", "tidegate proposal apply p1"]);
        let closed = json!({ "id": "p1", "state": "applied", "needed": 1, "approvals": [{}] });
        assert_eq!(of_needed(&closed), "1 of 1", "as many as it had");
    }
}
