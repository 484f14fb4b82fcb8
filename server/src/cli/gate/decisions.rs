//! Decisions that were made, and how what runs stands.

use std::path::Path;

use rollout_rules::gate::decision::Answer;
use rollout_rules::gate::facts::AgentWork;
use rollout_rules::ids::{AppKey, EnvKey};
use serde::Deserialize as _;
use serde_json::Value;

use super::artifact::digest_of;
use super::check::{Format, on_stdout};
use super::command::Which;
use crate::cli::app;
use crate::cli::client::{encoded, with_query};
use crate::cli::failure::{Failure, Problem};
use crate::cli::output::{Table, Tone, fields, harmless};
use crate::cli::reading::{actor, items, moment, text};
use crate::cli::session::Session;
use crate::cli::when;
use crate::cli::whole_file::{Readers, can_be_written, write_whole};

/// Names the newest decision.
const LATEST: &str = "latest";
/// So many digits of a digest are shown in a table.
const SHOWN_DIGITS: usize = 12;

/// The path of an app's decisions.
pub(in crate::cli) fn path(app: &AppKey) -> String {
    format!("{}/decisions", app::path(app))
}

/// The path of how an environment stands, and where the gate is asked.
pub(super) fn gate_path(app: &AppKey, environment: &EnvKey) -> String {
    format!("{}/environments/{}/gate", app::path(app), encoded(environment.as_str()))
}

/// The path of the decisions that are asked for.
fn chosen(app: &AppKey, of: &Which) -> Result<String, Failure> {
    let mut path = path(app);
    if let Some(environment) = &of.environment {
        path = with_query(&path, "environment", environment.as_str());
    }
    if let Some(artifact) = &of.artifact {
        let digest = digest_of(artifact).map_err(|error| Failure::usage(error.to_string()))?;
        path = with_query(&path, "artifact", &digest.to_string());
    }
    Ok(path)
}

/// The newest decision that is asked for.
pub(in crate::cli) fn newest(session: &Session, path: &str) -> Result<Option<Value>, Failure> {
    let page = session.client.get(&with_query(path, "limit", "1"))?.body;
    Ok(items(&page).first().map(|item| item["decision"].clone()))
}

/// The path of one decision.
fn one(session: &Session, app: &AppKey, id: &str, of: &Which) -> Result<String, Failure> {
    let all = path(app);
    if id != LATEST {
        return Ok(format!("{all}/{}", encoded(id)));
    }
    let found = newest(session, &chosen(app, of)?)?.ok_or_else(|| {
        Failure::missing(format!("the gate made no such decision for {app}: `tidegate gate check` asks it"))
    })?;
    Ok(format!("{all}/{}", encoded(&text(&found, "id"))))
}

/// Shows a decision whole.
pub(super) fn explain(
    session: &mut Session,
    app: &AppKey,
    id: &str,
    of: &Which,
    format: Format,
) -> Result<(), Failure> {
    let body = session.client.get(&one(session, app, id, of)?)?.body;
    if session.json {
        return session.print_json(&body);
    }
    let answer = read(session, &body)?;
    let shown = on_stdout(&answer, &body, format);
    Ok(session.out.write_all(shown.as_bytes())?)
}

/// An answer of the gate.
pub(super) fn read(session: &Session, body: &Value) -> Result<Answer, Failure> {
    Answer::deserialize(body)
        .map_err(|error| session.client.strange(&format!("a decision that is none ({error})")))
}

/// Lists decisions.
pub(super) fn list(session: &mut Session, app: &AppKey, of: &Which) -> Result<(), Failure> {
    let all = session.client.list(&chosen(app, of)?)?;
    if session.json {
        return session.print_json(&all);
    }
    let mut table =
        Table::new(["DECISION", "SAYS", "ARTIFACT", "VERSION", "ENVIRONMENT", "MADE", "BY", "STANDS UNTIL"]);
    for item in items(&all) {
        let decision = &item["decision"];
        let verdict = text(decision, "verdict");
        let until = if verdict == "deny" { None } else { moment(decision, "valid_until") };
        table.toned_row(vec![
            (text(decision, "id"), Tone::Plain),
            (verdict.clone(), tone_of(&verdict)),
            (short(&text(decision, "artifact")), Tone::Plain),
            (text(decision, "version"), Tone::Plain),
            (text(decision, "environment"), Tone::Plain),
            (moment(item, "at").map_or_else(String::new, when::minute), Tone::Plain),
            (actor(&item["by"]), Tone::Plain),
            (until.map_or_else(String::new, |until| when::shown(until, session.now)), Tone::Plain),
        ]);
    }
    let none = "the gate was never asked: run `tidegate gate check` in the app's folder";
    Ok(table.write(&mut *session.out, session.style, none)?)
}

/// The tone of what the gate says.
pub(in crate::cli) fn tone_of(verdict: &str) -> Tone {
    match verdict {
        "pass" => Tone::Live,
        "deny" => Tone::Alarm,
        _ => Tone::Plain,
    }
}

fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + SHOWN_DIGITS).collect()
}

/// Shows how what runs in an environment stands.
pub(super) fn standing(session: &mut Session, app: &AppKey, environment: &EnvKey) -> Result<(), Failure> {
    let body = session.client.get(&gate_path(app, environment))?.body;
    let missing: Vec<String> = texts(&body["missing"]);
    if session.json {
        session.print_json(&body)?;
    } else {
        let decision = &body["decision"]["decision"];
        let until =
            moment(&body, "passing_until").map_or_else(String::new, |at| when::shown(at, session.now));
        let stands = match (body["required"] == true, missing.is_empty()) {
            (false, _) => "not asked here: previews and sandboxes need no gate".to_owned(),
            (true, true) => "it may be raised".to_owned(),
            (true, false) => "it may not be raised".to_owned(),
        };
        let facts = [
            ("environment", format!("{environment} of {app}")),
            ("runs", text(&body, "artifact")),
            ("gate", stands),
            ("until", until),
            ("decision", text(decision, "id")),
            ("says", text(decision, "verdict")),
            ("asked by", actor(&body["decision"]["by"])),
            ("evidence", text(&body["decision"], "evidence_gone")),
        ];
        fields(&mut *session.out, session.style, &facts)?;
        for work in authors(decision) {
            session.say(format_args!("  written with {work:#}"))?;
        }
        for line in &missing {
            session.say(format_args!("  {line}"))?;
        }
    }
    if missing.is_empty() || body["required"] != true {
        return Ok(());
    }
    // The same as if something had been raised and the server had refused; what it misses is on standard output.
    Err(Failure::Refused(Box::new(Problem {
        status: 403,
        code: "gate_missing".to_owned(),
        title: "The gate does not stand".to_owned(),
        detail: format!("what runs in {environment} of {app} may not be raised"),
        ..Problem::default()
    })))
}

/// The language models that had a part in what was decided on.
fn authors(decision: &Value) -> Vec<AgentWork> {
    decision.get("agents").and_then(|agents| Vec::deserialize(agents).ok()).unwrap_or_default()
}

/// The texts of a list.
pub(in crate::cli) fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Prints a receipt as it was signed, or writes it into a file.
pub(super) fn receipt(
    session: &mut Session,
    app: &AppKey,
    id: &str,
    of: &Which,
    output: Option<&Path>,
) -> Result<(), Failure> {
    output.map_or(Ok(()), can_be_written)?;
    let path = one(session, app, id, of)?;
    let receipt = session.client.get(&format!("{path}/receipt"))?.body;
    let Some(file) = output else { return session.print_json(&receipt) };
    write_whole(file, Readers::AsBefore, |out| Ok(writeln!(out, "{receipt}")?))?;
    let line = format!(
        "{} is the receipt: `tidegate gate verify {0} --key FILE --app APP --env ENV --artifact FILE` checks it with the key that `tidegate gate key` prints",
        file.display()
    );
    session.answer(&receipt, line)
}

/// Prints the key of receipts.
pub(super) fn key(session: &mut Session) -> Result<(), Failure> {
    let key = session.client.get("/v1/gate/key")?.body;
    if session.json {
        return session.print_json(&key);
    }
    // A PEM file is of several lines, and is read by programs.
    for line in text(&key, "pem").lines() {
        writeln!(session.out, "{}", harmless(line))?;
    }
    Ok(())
}
