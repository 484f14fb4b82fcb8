//! `tidegate flag explain`: why a flag answers somebody so, step by step.

use std::path::PathBuf;

use clap::Args;
use rollout_rules::context::TARGETING_KEY;
use rollout_rules::explain::{Explanation, Found, LookedAt, Picked, Served, Step, Trace};
use rollout_rules::flag::{Height, Hold};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::percent::Exposure;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use ureq::http::Method;

use super::failure::Failure;
use super::flag::{path, read};
use super::reading::{moment, text, typed_file};
use super::rollout_view::RolloutView;
use super::session::Session;
use super::when::{self, Ago};

/// Who asks, where and when.
#[derive(Args, Clone, Debug)]
pub struct ExplainOptions {
    /// Which flag
    key: FlagKey,
    /// In which environment; may be left out where there is only one
    #[arg(long = "env", short = 'e', value_name = "ENV")]
    environment: Option<EnvKey>,
    /// Who asks, as the app says it: {"targetingKey":"u","plan":"pro"}
    #[arg(long, value_name = "JSON", conflicts_with = "context_file")]
    context: Option<String>,
    /// The same from a file; - reads standard input
    #[arg(long, value_name = "FILE")]
    context_file: Option<PathBuf>,
    /// The targeting key of who asks
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
    /// An attribute of who asks: plan=pro, or age:=30 where it is JSON; may be repeated
    #[arg(long = "attr", value_name = "NAME=VALUE")]
    attributes: Vec<AttributeText>,
    /// As it was then: a date, or a length of time ago such as 2h
    #[arg(long, value_name = "WHEN", conflicts_with = "revision")]
    at: Option<Ago>,
    /// As it was right after this entry of the log
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
}

/// `plan=pro` or `age:=30` as typed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AttributeText {
    name: String,
    value: Value,
}

/// A text that is no attribute.
#[derive(Clone, Debug)]
pub(super) struct NotAnAttribute(&'static str);

impl std::fmt::Display for NotAnAttribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotAnAttribute {}

impl std::str::FromStr for AttributeText {
    type Err = NotAnAttribute;

    fn from_str(text: &str) -> Result<AttributeText, NotAnAttribute> {
        let wrong = NotAnAttribute("write NAME=TEXT such as plan=pro, or NAME:=JSON such as age:=30");
        let (name, typed) = text.split_once('=').ok_or(wrong.clone())?;
        let (name, value) = match name.strip_suffix(':') {
            Some(name) => {
                let not_json = NotAnAttribute("what follows := has to be JSON, such as 30, true or [\"a\"]");
                (name, serde_json::from_str(typed).map_err(|_| not_json)?)
            }
            None => (name, Value::from(typed)),
        };
        if name.is_empty() {
            return Err(wrong);
        }
        Ok(AttributeText { name: name.to_owned(), value })
    }
}

impl ExplainOptions {
    fn context(&self) -> Result<Map<String, Value>, Failure> {
        let typed = match (&self.context, &self.context_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => typed_file(path)?,
            (None, None) => "{}".to_owned(),
        };
        let mut context: Map<String, Value> = serde_json::from_str(&typed).map_err(|error| {
            Failure::usage(format!(
                "the context has to be a JSON object such as {{\"targetingKey\":\"u\"}}: {error}"
            ))
        })?;
        if let Some(unit) = &self.unit {
            context.insert(TARGETING_KEY.to_owned(), unit.clone().into());
        }
        for typed in &self.attributes {
            context.insert(typed.name.clone(), typed.value.clone());
        }
        Ok(context)
    }
}

/// Asks, and shows what the server says.
pub(super) fn run(session: &mut Session, app: &AppKey, options: &ExplainOptions) -> Result<(), Failure> {
    let environment = match &options.environment {
        Some(named) => named.to_string(),
        None => read(session, app, &options.key)?.state(None)?.0.to_owned(),
    };
    let mut body = json!({ "context": options.context()? });
    if let Some(at) = options.at {
        body["at"] = at.before(session.now).to_string().into();
    }
    if let Some(revision) = options.revision {
        body["revision"] = revision.into();
    }
    let path = format!("{}/environments/{environment}/explain", path(app, &options.key));
    let answer = session.client.change(Method::POST, &path, &body, None)?;
    if session.json {
        return session.print_json(&answer.body);
    }
    let told = Explanation::deserialize(&answer.body["explanation"])
        .map_err(|error| session.client.strange(&format!("an explanation that says: {error}")))?;
    show(session, &told, &answer.body)
}

fn show(session: &mut Session, told: &Explanation, body: &Value) -> Result<(), Failure> {
    let Explanation { flag, environment, variant, value, reason, revision, .. } = told;
    let rule = told.rule.as_ref().map_or_else(String::new, |rule| format!(" {rule}"));
    session.say(format_args!("{flag} in {environment} answers {variant} = {value}"))?;
    session.say(format_args!("because: {}{rule}", reason.replace('_', " ")))?;
    let at = moment(body, "at").map_or_else(String::new, when::second);
    let log = text(body, "log_revision");
    session.say(format_args!("as of {at} UTC, log revision {log}; the flag changed last at {revision}"))?;
    if let Ok(rollout) = RolloutView::deserialize(&body["rollout"])
        && rollout.status != "completed"
    {
        session.say(format_args!("rollout: {}", rollout.line(moment(body, "at").unwrap_or(session.now))))?;
    }
    session.say("")?;
    let mut lines = Lines::default();
    lines.steps(&told.steps, 0);
    lines.lines.iter().try_for_each(|line| session.say(line))
}

/// The steps as lines, each as far in as it is deep.
#[derive(Default)]
struct Lines {
    lines: Vec<String>,
}

impl Lines {
    fn push(&mut self, depth: usize, line: impl std::fmt::Display) {
        self.lines.push(format!("{}{line}", "  ".repeat(depth)));
    }

    fn steps(&mut self, steps: &[Step], depth: usize) {
        for (place, step) in steps.iter().enumerate() {
            let mark = if step.decides { "  <- decides" } else { "" };
            self.push(depth, format_args!("{:>2}. {}{mark}", place + 1, title(&step.looked_at)));
            self.details(&step.looked_at, depth + 2);
        }
    }

    fn details(&mut self, step: &LookedAt, depth: usize) {
        match step {
            LookedAt::Prerequisite { steps, .. } => self.steps(steps, depth),
            LookedAt::Rule { when, problems, serves, .. } => {
                problems.iter().for_each(|problem| self.push(depth, problem));
                if let Some(when) = when {
                    self.trace(when, depth);
                }
                if let Some(serves) = serves {
                    self.push(depth, serve(serves));
                }
            }
            LookedAt::Broken { problems } => problems.iter().for_each(|problem| self.push(depth, problem)),
            _ => {}
        }
    }

    fn trace(&mut self, trace: &Trace, depth: usize) {
        let end = if trace.holds() { "yes" } else { "no" };
        match trace {
            Trace::All { parts, .. } => {
                self.push(depth, format_args!("{end}: all of"));
                parts.iter().for_each(|part| self.trace(part, depth + 1));
            }
            Trace::Any { parts, .. } => {
                self.push(depth, format_args!("{end}: any of"));
                parts.iter().for_each(|part| self.trace(part, depth + 1));
            }
            Trace::Not { part, .. } => {
                self.push(depth, format_args!("{end}: not"));
                self.trace(part, depth + 1);
            }
            Trace::Segment { segment, exists: false, .. } => {
                self.push(depth, format_args!("{end}: segment {segment}, which does not exist"));
            }
            Trace::Segment { segment, member, when, .. } => {
                let listed = if *member { "on its list" } else { "not on its list" };
                self.push(depth, format_args!("{end}: segment {segment}, {listed}"));
                if let Some(when) = when {
                    self.trace(when, depth + 1);
                }
            }
            Trace::Test { attribute, found, op, ci, values, more_values, .. } => {
                let op = serde_json::to_value(op).ok().and_then(|op| op.as_str().map(str::to_owned));
                let op = op.unwrap_or_default();
                let ci = if *ci { " (ignoring case)" } else { "" };
                let mut wanted: Vec<String> = values.iter().map(Value::to_string).collect();
                if *more_values > 0 {
                    wanted.push(format!("and {more_values} more"));
                }
                let found = match found {
                    Found::Missing => "it is missing".to_owned(),
                    Found::Value(value) => format!("it is {value}"),
                    Found::Cut(value) => format!("it begins with {value}"),
                };
                let test = format!("{attribute} {op}{ci} {}", wanted.join(", "));
                self.push(depth, format_args!("{end}: {}; {found}", test.trim_end()));
            }
            Trace::LeftOut { .. } => self.push(depth, format_args!("{end}: (too much to tell)")),
        }
    }
}

/// What a step looked at, and what it found.
fn title(step: &LookedAt) -> String {
    match step {
        LookedAt::Kill { height, killed: false, .. } => format!("kill of {}: none", of(*height)),
        LookedAt::Kill { height, kill: Some(kill), .. } => {
            format!("kill of {}: {} since {}", of(*height), kill.id, when::second(kill.at))
        }
        LookedAt::Kill { height, kill: None, .. } => format!("kill of {}: in effect", of(*height)),
        LookedAt::Hold { held } => format!("hold by guardrail or budget: {}", hold(held.as_ref())),
        LookedAt::GateHold { held } => format!("hold by the gate: {}", hold(held.as_ref())),
        LookedAt::Expiry { expires_at, expired } => {
            let word = if *expired { "expired at" } else { "lives until" };
            format!("expiry: {word} {}", when::second(*expires_at))
        }
        LookedAt::EnvironmentEnd { ends_at: None, .. } => "environment: has no end".to_owned(),
        LookedAt::EnvironmentEnd { ends_at: Some(at), ended } => {
            format!("environment: {} {}", if *ended { "ended at" } else { "lives until" }, when::second(*at))
        }
        LookedAt::Switch { on: false, .. } => "switch: off".to_owned(),
        LookedAt::Switch { revived: Some(height), .. } => {
            format!("switch: off, since a kill of {} was taken back after it was turned on", of(*height))
        }
        LookedAt::Switch { .. } => "switch: on".to_owned(),
        LookedAt::Schedule { id, at, off: true, .. } => {
            format!("scheduled {id}: turned it off at {}", when::second(*at))
        }
        LookedAt::Schedule { id, at, exposure, .. } => {
            let to = exposure.map_or_else(String::new, |to| format!(" to {to}%"));
            format!("scheduled {id}: lowered the exposure{to} at {}", when::second(*at))
        }
        LookedAt::Prerequisite { flag, wanted, variant, reason, satisfied, .. } => {
            let wanted: Vec<&str> = wanted.iter().map(AsRef::as_ref).collect();
            let answer = variant.as_ref().map_or_else(
                || format!("has no answer ({})", reason.replace('_', " ")),
                |variant| format!("answers {variant} ({})", reason.replace('_', " ")),
            );
            let end = if *satisfied { "satisfied" } else { "not satisfied" };
            format!("prerequisite {flag}: {answer}, wanted {}: {end}", wanted.join(" or "))
        }
        LookedAt::Targets { units, unit, variant } => match (unit, variant) {
            (Some(unit), Some(variant)) => format!("target lists: {unit} gets {variant}"),
            (Some(unit), None) => format!("target lists: {unit} is not among the {units} on them"),
            (None, _) => "target lists: nobody asks, the context has no targeting key".to_owned(),
        },
        LookedAt::Rule { id, description, holds, when, .. } => {
            let what = if description.is_empty() { String::new() } else { format!(" ({description})") };
            let end = match (when, holds) {
                (None, _) => "off",
                (_, true) => "holds",
                (_, false) => "does not hold",
            };
            format!("rule {id}{what}: {end}")
        }
        LookedAt::Exposure { exposure, attribute, unit, bucket, reached } => {
            exposed(*exposure, attribute, unit.as_deref(), *bucket, *reached)
        }
        LookedAt::Serve { serves } => serve(serves),
        LookedAt::Broken { .. } => "what it should serve cannot be used".to_owned(),
    }
}

fn of(height: Height) -> &'static str {
    match height {
        Height::Everything => "everything",
        Height::App => "the app",
        Height::Flag => "the flag",
    }
}

fn hold(held: Option<&Hold>) -> String {
    held.map_or_else(
        || "none".to_owned(),
        |hold| {
            let cause = serde_json::to_value(hold.cause).ok();
            let cause = cause.as_ref().and_then(Value::as_str).unwrap_or_default();
            format!("{cause} since {}: {}", when::second(hold.at), hold.reason)
        },
    )
}

fn exposed(
    exposure: Exposure,
    attribute: &str,
    unit: Option<&str>,
    bucket: Option<u32>,
    reached: bool,
) -> String {
    let end = if reached { "reached" } else { "not reached" };
    match (unit, bucket) {
        (Some(unit), Some(bucket)) => {
            let least = exposure.milli_percent();
            let sign = if reached { "below" } else { "not below" };
            format!("exposure {exposure}%: bucket of {unit} is {bucket} of 100000, {sign} {least}: {end}")
        }
        _ if exposure == Exposure::ALL && reached => "exposure 100%: everyone".to_owned(),
        _ if exposure == Exposure::NONE => "exposure 0%: nobody".to_owned(),
        _ => format!("exposure {exposure}%: no unit, the context has no usable {attribute}: {end}"),
    }
}

fn serve(served: &Served) -> String {
    match (&served.variant, &served.split) {
        (Some(variant), None) => format!("serves {variant}"),
        (Some(variant), Some(picked)) => format!("serves {variant}: {}", split(picked)),
        (None, Some(picked)) => format!("serves nobody here: {}", split(picked)),
        (None, None) => "serves nothing".to_owned(),
    }
}

fn split(picked: &Picked) -> String {
    let shares: Vec<String> =
        picked.weights.iter().map(|share| format!("{}={}", share.variant, share.weight)).collect();
    let place = match (&picked.unit, picked.bucket) {
        (Some(unit), Some(bucket)) => format!("bucket of {unit} is {bucket} of {}", picked.total),
        _ => format!("no unit, the context has no usable {}", picked.attribute),
    };
    let seed = picked.seed.as_ref().map_or_else(String::new, |seed| format!(", seed {seed}"));
    format!("split {} ({}{seed}), {place}", picked.id, shares.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollout_rules::flag::Kill;
    use rollout_rules::time::UnixMs;

    #[test]
    fn an_attribute_is_a_text_unless_it_is_said_to_be_json() {
        let read = |text: &str| text.parse::<AttributeText>().map(|typed| (typed.name, typed.value)).ok();
        assert_eq!(read("plan=pro"), Some(("plan".to_owned(), json!("pro"))));
        assert_eq!(read("version=1.10"), Some(("version".to_owned(), json!("1.10"))));
        assert_eq!(read("age:=30"), Some(("age".to_owned(), json!(30))));
        assert_eq!(read("q=a=b"), Some(("q".to_owned(), json!("a=b"))));
        for bad in ["plan", "=pro", ":=1", "age:=old"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_kill_is_named_where_it_is_known_and_said_to_be_in_effect_where_it_is_not() {
        let kill: Kill =
            serde_json::from_value(json!({"id": "k1", "at": "2026-11-25T03:00:00.000Z"})).expect("a kill");
        let told = |kill: Option<Kill>| {
            let mut lines = Lines::default();
            let step = LookedAt::Kill { height: Height::Flag, killed: true, kill };
            lines.steps(&[Step { looked_at: step, decides: true }], 0);
            lines.lines
        };
        assert_eq!(told(Some(kill)), [" 1. kill of the flag: k1 since 2026-11-25 03:00:00  <- decides"]);
        assert_eq!(told(None), [" 1. kill of the flag: in effect  <- decides"]);
        let step = LookedAt::Expiry { expires_at: UnixMs(0), expired: true };
        assert_eq!(title(&step), "expiry: expired at 1970-01-01 00:00:00");
    }
}
