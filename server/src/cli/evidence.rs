//! `tidegate evidence`: what guardrails acted on, and folding it again here.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rollout_rules::ids::{AppKey, EnvKey, EvidenceId, FlagKey};
use rollout_rules::sli::{News, Page, Proposed, Recording};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::client::{encoded, with_query};
use super::evidence_slots::{SHOWN_SLOTS, table};
use super::failure::{Failure, Problem};
use super::output::{Table, fields, note};
use super::reading::{items, moment, text, typed_file};
use super::session::Session;
use super::when;

/// So many bytes of the hash name evidence.
const NAMED_BYTES: usize = 16;

/// What can be done with evidence.
#[derive(Subcommand, Clone, Debug)]
pub enum EvidenceCommand {
    /// List what guardrails acted on, the newest first
    List {
        /// Only in this environment
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: Option<EnvKey>,
        /// Only of this flag
        #[arg(long, short = 'f', value_name = "KEY")]
        flag: Option<FlagKey>,
    },
    /// Show the rule, what was found and when, and the slots of ten seconds just before
    Show {
        /// Its name, as `evidence list` and the log have it
        id: EvidenceId,
    },
    /// Fold what it was found from again, here, and say whether the same comes out
    ///
    /// The recording is downloaded, or read from a file that was saved with --save. The fold is that of this program: the server
    /// is not asked what it thinks. Ends with 1 if anything differs, and says what.
    Replay(Replay),
}

/// What is folded again.
#[derive(Args, Clone, Debug)]
pub struct Replay {
    /// Its name, as `evidence list` and the log have it
    #[arg(required_unless_present = "file")]
    id: Option<EvidenceId>,
    /// A recording that was saved, in place of the server's; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write the recording into this file as well
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    save: Option<PathBuf>,
}

/// What is stored of evidence.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    proposed: Proposed,
    news: Vec<News>,
    recording: Recording,
}

fn path(app: &AppKey) -> String {
    format!("/v1/apps/{}/evidence", encoded(app.as_str()))
}

fn recording_path(app: &AppKey, id: &EvidenceId) -> String {
    format!("{}/{id}/recording", path(app))
}

/// Carries a command out; without an app only what reads a file.
pub(super) fn run(
    session: &mut Session,
    app: Result<AppKey, Failure>,
    command: EvidenceCommand,
) -> Result<(), Failure> {
    match command {
        EvidenceCommand::List { environment, flag } => {
            list(session, &app?, environment.as_ref(), flag.as_ref())
        }
        EvidenceCommand::Show { id } => show(session, &app?, &id),
        EvidenceCommand::Replay(Replay { id, file: Some(file), .. }) => {
            let saved = serde_json::from_str(&typed_file(&file)?);
            let saved: Saved = saved.map_err(|error| {
                Failure::misread(format!("{} is no recording of evidence: {error}", file.display()))
            })?;
            compare(session, id.as_ref(), &saved)
        }
        EvidenceCommand::Replay(Replay { id, save, .. }) => {
            let id = id.ok_or_else(|| Failure::usage("name the evidence, or a file with --file"))?;
            let body = session.client.get(&recording_path(&app?, &id))?.body;
            let saved = saved(session, &body)?;
            if let Some(file) = save {
                std::fs::write(&file, serde_json::to_vec(&saved).map_err(std::io::Error::from)?)
                    .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
            }
            compare(session, Some(&id), &saved)
        }
    }
}

fn saved(session: &Session, body: &Value) -> Result<Saved, Failure> {
    Saved::deserialize(body)
        .map_err(|error| session.client.strange(&format!("a recording of another version: {error}")))
}

fn list(
    session: &mut Session,
    app: &AppKey,
    environment: Option<&EnvKey>,
    flag: Option<&FlagKey>,
) -> Result<(), Failure> {
    let mut path = path(app);
    if let Some(environment) = environment {
        path = with_query(&path, "environment", environment.as_str());
    }
    if let Some(flag) = flag {
        path = with_query(&path, "flag", flag.as_str());
    }
    let list = session.client.list(&path)?;
    if session.json {
        return session.print_json(&list);
    }
    let mut table = Table::new(["ID", "WHEN", "ENVIRONMENT", "OF", "RULE", "FOUND"]);
    for item in items(&list) {
        let at = moment(item, "at").map_or_else(String::new, |at| when::shown(at, session.now));
        let cells = [
            text(item, "id"),
            at,
            text(item, "environment"),
            subject(item),
            text(item, "rule"),
            text(item, "found"),
        ];
        table.row(cells);
    }
    Ok(table.write(&mut *session.out, session.style, "no guardrail has acted")?)
}

/// `checkout: on`, or the app itself.
fn subject(summary: &Value) -> String {
    match (text(summary, "flag"), text(summary, "variant")) {
        (flag, _) if flag.is_empty() => "the app itself".to_owned(),
        (flag, variant) => format!("{flag}: {variant}"),
    }
}

fn show(session: &mut Session, app: &AppKey, id: &EvidenceId) -> Result<(), Failure> {
    let summary = session.client.get(&format!("{}/{id}", path(app)))?.body;
    if session.json {
        return session.print_json(&summary);
    }
    let body = session.client.get(&recording_path(app, id))?.body;
    let saved = saved(session, &body)?;
    let at = moment(&summary, "at");
    let shown = [
        ("evidence", text(&summary, "id")),
        ("environment", text(&summary, "environment")),
        ("of", subject(&summary)),
        ("rule", text(&summary, "rule")),
        ("found", text(&summary, "found")),
        ("when", at.map_or_else(String::new, |at| when::shown(at, session.now))),
        ("recorded", format!("{} inputs before it", saved.recording.inputs.len())),
    ];
    fields(&mut *session.out, session.style, &shown)?;
    let place = (text(&summary, "flag"), text(&summary, "split"));
    session.say(format_args!("the last {SHOWN_SLOTS} slots until then, at most:"))?;
    let none = "what came before it is summed up: no slot is told alone";
    table(&saved.recording.inputs, &place).write(&mut *session.out, session.style, none)?;
    session.say(format_args!("`tidegate evidence replay {id}` folds it again here"))
}

/// Folds it again, and holds what comes out against what is stored.
fn compare(session: &mut Session, id: Option<&EvidenceId>, saved: &Saved) -> Result<(), Failure> {
    let (_, found) = saved.recording.replay();
    let name = name_of(saved)?;
    let renamed = id.is_some_and(|id| id.as_str() != name);
    let identical = found == saved.news && !renamed;
    if session.json {
        session.print_json(&json!({
            "id": name, "identical": identical, "stored": saved.news, "found": found,
        }))?;
    } else if found == saved.news {
        let word = if identical { "identical" } else { "the fold says what is stored" };
        for news in &found {
            session.say(format_args!("{word}: {}", in_words(news)))?;
        }
        if found.is_empty() {
            session.say(format_args!("{word}: nothing was new"))?;
        }
    } else {
        tell_differences(session, &saved.news, &found)?;
    }
    if identical {
        return Ok(());
    }
    let detail = match id.filter(|_| renamed && found == saved.news) {
        Some(id) => format!("it is not what was stored as {id}: its name would be {name}"),
        None => "what is stored is not what comes out of the recording".to_owned(),
    };
    Err(Failure::Refused(Box::new(Problem {
        code: "replay_differs".to_owned(),
        title: "The evidence is not what was found".to_owned(),
        detail,
        ..Problem::default()
    })))
}

/// Each finding that only one side has.
fn tell_differences(session: &mut Session, stored: &[News], found: &[News]) -> Result<(), Failure> {
    for (side, all, others) in [("stored", stored, found), ("found here", found, stored)] {
        for news in all.iter().filter(|news| !others.contains(news)) {
            session.say(format_args!("only {side}: {}", in_words(news)))?;
        }
        if all.is_empty() {
            session.say(format_args!("{side}: nothing was new"))?;
        }
    }
    if stored.len() == found.len() && stored.iter().all(|news| found.contains(news)) {
        note("the same was found in another order");
    }
    Ok(())
}

/// The name that the server gives to it: of the hash of what is stored, in hexadecimal digits.
fn name_of(saved: &Saved) -> Result<String, Failure> {
    let stored = serde_json::to_vec(saved).map_err(std::io::Error::from)?;
    let hash = Sha256::digest(&stored);
    Ok(hash.iter().take(NAMED_BYTES).map(|byte| format!("{byte:02x}")).collect())
}

/// One thing that was new, on a line.
fn in_words(news: &News) -> String {
    match news {
        News::Known { flag, split, verdict } => format!("{flag} ({split}) {verdict}"),
        News::App { rule, state, reason } => format!("rule {} of the app is {state}{reason}", rule + 1),
        News::Act(proposed) => {
            let of = proposed.measured.as_ref().map_or_else(
                || "the app".to_owned(),
                |measured| format!("{} ({}) {}", measured.flag, measured.split, measured.variant),
            );
            format!("{of} is acted on by {}{}", proposed.rule, proposed.reason)
        }
        News::Page(Page::CommonMode { alarmed }) => format!("{alarmed} splits do badly at the same time"),
        News::Page(Page::App) => "somebody is woken: the app itself does badly".to_owned(),
        News::Page(Page::Burning(rule)) => format!(
            "somebody is woken: errors are used up too fast, in {} and in {} minutes",
            rule.long_minutes, rule.short_minutes
        ),
    }
}
