//! `tidegate guardrail`: when rollouts are taken back, and trying that out.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rollout_rules::change::Command;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::sli::guardrail::Guardrail;
use serde_json::{Value, json};
use ureq::http::Method;

use super::backtest::BacktestOptions;
use super::client::{Call, encoded, with_query};
use super::confirm::Sure;
use super::failure::Failure;
use super::output::{Table, Tone, note};
use super::proposal;
use super::reading::{text, typed_file};
use super::session::Session;

/// What can be done with guardrails.
#[derive(Subcommand, Clone, Debug)]
pub enum GuardrailCommand {
    /// List the rules that hold for a flag, or the app's defaults, and where they are written
    List {
        /// The flag; without it, the app's defaults
        key: Option<FlagKey>,
    },
    /// Write the rules of a flag, or the app's defaults, anew
    ///
    /// A rule is one argument: 'error_rate > 3% for 5m -> flag off, run rollback'. What is watched: error_rate, availability,
    /// latency_p95, latency_p99, cpu, memory, cost_per_success, monthly_spend. The bound: 3%, 250ms, 2x baseline, an
    /// amount, budget, 80% of budget; or `worse than control`. What is done: flag off, rollout to 0, revert release,
    /// disable non-critical, notify NAME (`owner` is the app's owner), run NAME.
    Set(SetOptions),
    /// Clear the rules of a flag, or the app's defaults: what stands above them holds again
    Clear {
        /// The flag; without it, the app's defaults
        key: Option<FlagKey>,
        /// Only what is written for this environment
        #[arg(long = "env", short = 'e', value_name = "ENV")]
        environment: Option<EnvKey>,
        #[command(flatten)]
        seen: SeenAt,
    },
    /// Say whether the rules of a file can be read, one a line, and how they are understood; asks no server
    ///
    /// Empty lines and those that begin with # are passed over. Ends with 1 if a rule cannot be read, and shows the
    /// place.
    Check {
        /// The file; - is standard input
        file: PathBuf,
    },
    /// Say what rules would have done on what was recorded: when each would have acted, and on what evidence
    ///
    /// Of a server's records of the last days (--last), or of a file: what --save wrote, a recording of evidence, or JSON lines of
    /// the batches that POST /v1/outcomes takes. Without --rule, the rules that are in force are tried. Slots of ten seconds are
    /// kept for two days while a flag divides units, sums of five minutes for 31. On sums only written bounds with a duration are
    /// judged, by whole sums: a bound is passed for all of the five minutes or for none of them. What cannot be judged is said
    /// to be not judged. A line of a file that cannot be read is named and left out; then it ends with 1, unless
    /// --skip-bad-lines is given.
    Backtest(BacktestOptions),
    /// Do for real what a rule does, to see that it works: the flag goes off, jobs are called, people are told
    ///
    /// Everybody who is called or told learns that it is a drill. Nothing comes back by itself: turn the flag on again
    /// with `tidegate flag on`.
    Drill(DrillOptions),
}

/// New rules.
#[derive(Args, Clone, Debug)]
pub struct SetOptions {
    /// The rules, in quotes
    #[arg(value_name = "RULE")]
    rules: Vec<String>,
    /// Of this flag; without it, the app's defaults
    #[arg(long, short = 'f', value_name = "KEY")]
    flag: Option<FlagKey>,
    /// Only in this environment
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
    /// The rules of this file, one a line; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "rules")]
    file: Option<PathBuf>,
    /// No rules: nothing is watched
    #[arg(long, conflicts_with_all = ["rules", "file"])]
    none: bool,
    #[command(flatten)]
    seen: SeenAt,
}

/// On which state a change is based.
#[derive(Args, Clone, Debug)]
pub struct SeenAt {
    /// Only if it is still at this revision; without it, at the one read a moment before
    #[arg(long, value_name = "N")]
    if_revision: Option<u64>,
    /// Store it as a proposal for others to approve and apply
    #[arg(long)]
    propose: bool,
}

/// What is tried out.
#[derive(Args, Clone, Debug)]
pub struct DrillOptions {
    /// The flag
    key: FlagKey,
    /// Where
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: EnvKey,
    /// Which of the rules that hold, from 1; may be left out where there is one
    #[arg(long, value_name = "N")]
    rule: Option<usize>,
    /// Only say what would be done, and to whom
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sure: Sure,
}

fn path(app: &AppKey, flag: Option<&FlagKey>) -> String {
    let app = encoded(app.as_str());
    match flag {
        Some(flag) => format!("/v1/apps/{app}/flags/{}/guardrails", encoded(flag.as_str())),
        None => format!("/v1/apps/{app}/guardrails"),
    }
}

/// Carries a command out.
pub(super) fn run(session: &mut Session, app: &AppKey, command: GuardrailCommand) -> Result<(), Failure> {
    match command {
        GuardrailCommand::List { key } => {
            let answer = session.client.get(&path(app, key.as_ref()))?.body;
            if session.json { session.print_json(&answer) } else { show(session, &answer) }
        }
        GuardrailCommand::Set(options) => set(session, app, options),
        GuardrailCommand::Clear { key, environment, seen } => clear(session, app, key, environment, &seen),
        GuardrailCommand::Check { .. } | GuardrailCommand::Backtest(_) => {
            Err(Failure::usage("a file is checked without a server"))
        }
        GuardrailCommand::Drill(options) => drill(session, app, &options),
    }
}

/// The rules that hold in each environment.
fn show(session: &mut Session, answer: &Value) -> Result<(), Failure> {
    let mut table = Table::new(["ENVIRONMENT", "RULE", "GUARDRAIL", "FROM"]);
    for (environment, in_force) in answer["in_force"].as_object().into_iter().flatten() {
        let from = text(in_force, "from").replace('_', " ");
        let rules = in_force["guardrails"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (nth, rule) in rules.iter().enumerate() {
            table.toned_row(vec![
                (environment.clone(), Tone::Plain),
                ((nth + 1).to_string(), Tone::Faint),
                (text(rule, "rule"), Tone::Plain),
                (from.clone(), Tone::Faint),
            ]);
        }
        if rules.is_empty() {
            table.toned_row(vec![
                (environment.clone(), Tone::Plain),
                (String::new(), Tone::Plain),
                ("nothing is watched".to_owned(), Tone::Alarm),
                (from, Tone::Faint),
            ]);
        }
    }
    Ok(table.write(&mut *session.out, session.style, "no environments")?)
}

/// Reads a rule; a mistake is shown at its place.
pub(super) fn rule(written: &str, json: bool) -> Result<Guardrail, Failure> {
    written.parse::<Guardrail>().map_err(|wrong| {
        if !json {
            wrong.pointed_at(written).lines().for_each(|line| note(format_args!("  {line}")));
        }
        Failure::usage(wrong.to_string())
    })
}

/// The lines of a file that hold rules, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(nth, line)| (nth + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn set(session: &mut Session, app: &AppKey, options: SetOptions) -> Result<(), Failure> {
    let written = match &options.file {
        Some(file) => {
            let text = typed_file(file)?;
            lines(&text).map(|(_, line)| line.to_owned()).collect()
        }
        None => options.rules,
    };
    if written.is_empty() && !options.none {
        return Err(Failure::usage(
            "name a rule such as 'error_rate > 3% for 5m -> flag off'; --none says that nothing is watched",
        ));
    }
    let rules = written.iter().map(|text| rule(text, session.json)).collect::<Result<Vec<_>, Failure>>()?;
    let flag = options.flag.as_ref();
    let seen = seen(session, app, flag, &options.seen)?;
    if options.seen.propose {
        let command = Command::SetGuardrails {
            app: app.clone(),
            flag: options.flag,
            environment: options.environment,
            guardrails: Some(rules),
        };
        return proposal::propose(session, &command, Some(seen));
    }
    let mut body = json!({ "guardrails": rules });
    if let Some(environment) = &options.environment {
        body["environment"] = environment.as_str().into();
    }
    let body = session.with_reason(body);
    let answer = session.client.change(Method::PUT, &path(app, flag), &body, Some(seen))?.body;
    if session.json { session.print_json(&answer) } else { show(session, &answer) }
}

/// The revision that a change is based on.
fn seen(session: &Session, app: &AppKey, flag: Option<&FlagKey>, at: &SeenAt) -> Result<u64, Failure> {
    if let Some(revision) = at.if_revision {
        return Ok(revision);
    }
    let answer = session.client.get(&path(app, flag))?.body;
    answer["revision"].as_u64().ok_or_else(|| session.client.strange("guardrails without a `revision`"))
}

fn clear(
    session: &mut Session,
    app: &AppKey,
    flag: Option<FlagKey>,
    environment: Option<EnvKey>,
    at: &SeenAt,
) -> Result<(), Failure> {
    let seen = seen(session, app, flag.as_ref(), at)?;
    if at.propose {
        let command = Command::SetGuardrails { app: app.clone(), flag, environment, guardrails: None };
        return proposal::propose(session, &command, Some(seen));
    }
    let mut path = path(app, flag.as_ref());
    if let Some(environment) = &environment {
        path = with_query(&path, "environment", environment.as_str());
    }
    if let Some(reason) = &session.reason {
        path = with_query(&path, "reason", reason);
    }
    let call = Call { if_match: Some(seen), ..Call::default() };
    let answer = session.client.call(Method::DELETE, &path, &call)?.body;
    if session.json { session.print_json(&answer) } else { show(session, &answer) }
}

/// Whether the rules of a file can be read.
pub(super) fn check(file: &Path, json: bool) -> Result<(), Failure> {
    use std::io::Write as _;
    let text = typed_file(file)?;
    let mut out = std::io::stdout().lock();
    let (mut read, mut wrong) = (Vec::new(), Vec::new());
    for (number, line) in lines(&text) {
        match line.parse::<Guardrail>() {
            Ok(rule) => read.push(rule),
            Err(mistake) => wrong.push((number, line, mistake)),
        }
    }
    if json {
        let mistakes: Vec<Value> = wrong
            .iter()
            .map(|(number, line, mistake)| {
                json!({ "line": number, "rule": line, "at": mistake.at, "problem": mistake.to_string() })
            })
            .collect();
        writeln!(out, "{:#}", json!({ "guardrails": read, "mistakes": mistakes }))?;
    } else {
        for rule in &read {
            writeln!(out, "{rule}")?;
        }
        for (number, line, mistake) in &wrong {
            note(format_args!("{}:{number}: {mistake}", file.display()));
            mistake.pointed_at(line).lines().for_each(|line| note(format_args!("  {line}")));
        }
    }
    match wrong.len() {
        0 => Ok(()),
        1 => Err(Failure::misread("1 rule cannot be read")),
        count => Err(Failure::misread(format!("{count} rules cannot be read"))),
    }
}

fn drill(session: &mut Session, app: &AppKey, options: &DrillOptions) -> Result<(), Failure> {
    let flag = format!("/v1/apps/{}/flags/{}", encoded(app.as_str()), encoded(options.key.as_str()));
    let path = format!("{flag}/environments/{}/drill", options.environment);
    let mut body = json!({ "dry_run": true });
    if let Some(rule) = options.rule {
        body["rule"] = rule.into();
    }
    let planned = session.client.change(Method::POST, &path, &body, None)?.body;
    if options.dry_run {
        return if session.json { session.print_json(&planned) } else { tell(session, &planned) };
    }
    if !session.json {
        tell(session, &planned)?;
    }
    options.sure.or_confirm("all of this is done now, for real")?;
    body["dry_run"] = false.into();
    let body = session.with_reason(body);
    let done = session.client.create(&path, &body, None)?.body;
    if session.json {
        return session.print_json(&done);
    }
    if done["revision"].is_null() {
        return session.say("nothing was left to do");
    }
    let effects = done["effects"].as_array().map_or(0, Vec::len);
    let more = if effects == 0 {
        String::new()
    } else {
        format!("; `tidegate effect list --app {app}` shows how what was asked for stands")
    };
    session.say(format_args!("done, as revision {}{more}", text(&done, "revision")))
}

/// What a drill does, line by line.
fn tell(session: &mut Session, drilled: &Value) -> Result<(), Failure> {
    session.say(text(drilled, "guardrail"))?;
    let lowered = drilled["lowered"].as_array().map(Vec::as_slice).unwrap_or_default();
    for one in lowered.iter().filter_map(Value::as_str) {
        session.say(format_args!("  {one}"))?;
    }
    let effects = drilled["effects"].as_array().map(Vec::as_slice).unwrap_or_default();
    for effect in effects {
        let target = text(effect, "target");
        let target = if target.is_empty() { target } else { format!(": {target}") };
        session.say(format_args!("  {}{target}", text(effect, "action")))?;
        let problem = text(effect, "problem");
        if !problem.is_empty() {
            session.say(format_args!("    PROBLEM: {problem}"))?;
        }
    }
    if lowered.is_empty() && effects.is_empty() {
        session.say("  nothing: what it lowers is low already, and it asks for nothing outside")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_rules_may_hold_remarks_and_its_lines_keep_their_numbers() {
        let text = "# of the shop\n\n error_rate > 3% for 5m -> flag off \nx\n";
        let read: Vec<(usize, &str)> = lines(text).collect();
        assert_eq!(read, [(3, "error_rate > 3% for 5m -> flag off"), (4, "x")]);
    }
}
