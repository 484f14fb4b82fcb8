//! A rollout as the API shows it, and how people see it.

use rollout_rules::percent::Exposure;
use rollout_rules::time::{DurationMs, UnixMs};
use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use super::output::{Style, Tone, harmless};
use super::reading::actor;
use super::session::Session;
use super::when;
use crate::duration;

/// The rollout of a flag in an environment as the API shows it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct StateView {
    /// The flag.
    pub flag: String,
    /// The environment.
    pub environment: String,
    /// What is followed if nobody names a plan.
    pub default_plan: String,
    /// The last rollout.
    pub rollout: Option<RolloutView>,
}

/// A rollout. Members that are not listed are of no use here.
#[derive(Clone, Debug, Deserialize)]
pub struct RolloutView {
    /// The plan in its short form.
    pub plan: String,
    /// Its stages.
    pub stages: Vec<StageView>,
    /// The stage that stands, from zero.
    pub stage: usize,
    /// Its exposure.
    pub exposure: Exposure,
    /// What it does, or how it ended.
    pub status: String,
    /// Since when.
    pub status_since: Option<UnixMs>,
    /// Why it waits, is held or is over.
    pub why: Option<String>,
    /// Whether it is not over.
    pub active: bool,
    /// When the stage was held for long enough.
    pub due_at: Option<UnixMs>,
    /// When it is completed, if nothing keeps it waiting.
    pub completes_at: Option<UnixMs>,
    /// When it was started.
    pub started_at: UnixMs,
    /// By whom.
    pub started_by: Value,
}

/// A stage. Members that are not listed are of no use here, and may come with newer servers.
#[derive(Clone, Debug, Deserialize)]
pub struct StageView {
    /// How many units get what the flag serves.
    pub exposure: Exposure,
    /// For how long, before the next.
    #[serde(default)]
    pub hold_ms: DurationMs,
    /// Whether a person has to bring the rollout here.
    #[serde(default)]
    pub approval: bool,
}

impl StateView {
    /// Reads it from an answer.
    pub(super) fn read(body: &Value, session: &Session) -> Result<StateView, Failure> {
        StateView::deserialize(body)
            .map_err(|error| session.client.strange(&format!("a rollout that says: {error}")))
    }
}

impl RolloutView {
    /// Reads it from an answer.
    pub(super) fn read(body: &Value, session: &Session) -> Result<RolloutView, Failure> {
        RolloutView::deserialize(body)
            .map_err(|error| session.client.strange(&format!("a rollout that says: {error}")))
    }

    /// `stage 2 of 5 (5%)`.
    pub(super) fn stage_in_words(&self) -> String {
        format!("stage {} of {} ({}%)", self.stage + 1, self.stages.len(), self.exposure)
    }

    /// `waiting for approval`, `taken over`.
    pub(super) fn status_in_words(&self) -> String {
        match self.status.as_str() {
            "waiting" => "waiting for approval".to_owned(),
            "held" => "held by the evaluator".to_owned(),
            other => other.replace('_', " "),
        }
    }

    /// What has to happen before it goes on.
    pub(super) fn waits_for(&self) -> String {
        let word = match self.status.as_str() {
            "paused" => "resume",
            "waiting" => "advance",
            "held" => "the evaluator",
            _ => "",
        };
        word.to_owned()
    }

    /// How it is to be seen.
    pub(super) fn tone(&self) -> Tone {
        match self.status.as_str() {
            "running" | "completed" => Tone::Live,
            "paused" | "waiting" => Tone::Plain,
            "taken_over" | "aborted" => Tone::Faint,
            _ => Tone::Alarm,
        }
    }

    /// One line: `running, stage 2 of 5 (5%), next in 42m`.
    pub(super) fn line(&self, now: UnixMs) -> String {
        let mut line = format!("{}, {}", self.status_in_words(), self.stage_in_words());
        match self.due_at {
            Some(due) if due > now => {
                let next = if self.stage + 1 == self.stages.len() { "completed" } else { "next" };
                line.push_str(&format!(", {next} in {}", duration::rough(due.since(now))));
            }
            Some(_) => line.push_str(", next at any moment"),
            None => {}
        }
        if let Some(why) = &self.why {
            line.push_str(&format!(": {why}"));
        }
        line
    }
}

/// Shows a rollout in full, as an answer has it.
pub(super) fn show(session: &mut Session, answer: &Value) -> Result<(), Failure> {
    let state = StateView::read(answer, session)?;
    let lines = lines(&state, session.style, session.now);
    lines.iter().try_for_each(|line| Ok(writeln!(session.out, "{line}")?))
}

/// A rollout, drawn: each stage on a line of its own, with what it waits for.
pub(super) fn lines(state: &StateView, style: Style, now: UnixMs) -> Vec<String> {
    let (flag, environment) = (harmless(&state.flag), harmless(&state.environment));
    let Some(rollout) = &state.rollout else {
        let default = harmless(&state.default_plan);
        return vec![
            format!("{flag} has no rollout in {environment}"),
            format!("its default would be {default}: `tidegate rollout start {flag} --env {environment}`"),
        ];
    };
    let status = style.paint(&harmless(&rollout.status_in_words()), rollout.tone());
    let since = rollout.status_since.filter(|_| rollout.status != "running");
    let since = since.map_or_else(String::new, |at| format!(" since {}", when::shown(at, now)));
    let mut lines = vec![format!("{flag} in {environment}: {status}{since}, {}", rollout.stage_in_words())];
    if let Some(why) = &rollout.why {
        lines.push(harmless(why).into_owned());
    }
    let wide = |cells: &mut dyn Iterator<Item = String>| cells.map(|cell| cell.len()).max().unwrap_or(0);
    let exposures = wide(&mut rollout.stages.iter().map(|stage| stage.exposure.to_string()));
    for (nth, stage) in rollout.stages.iter().enumerate() {
        let mark = if nth == rollout.stage { ">" } else { " " };
        let hold = if stage.hold_ms.0 == 0 { String::new() } else { duration::exact(stage.hold_ms) };
        let (note, tone) = note(rollout, nth, now);
        let bar = bar(stage.exposure);
        let line = format!("{mark} {:>exposures$}%  {bar}  {hold:<8}  {note}", stage.exposure.to_string());
        lines.push(style.paint(line.trim_end(), tone));
    }
    let who = actor(&rollout.started_by);
    let started = rollout.started_at;
    lines.push(format!(
        "started {} ({}) by {}",
        when::minute(started),
        when::ago(started, now),
        harmless(&who)
    ));
    if let Some(at) = rollout.completes_at {
        lines.push(format!("will be completed {} if nothing keeps it waiting", when::shown(at, now)));
    }
    lines
}

/// Ten marks for the exposure of a stage; one at least, and all ten only for everyone.
fn bar(exposure: Exposure) -> String {
    let most = if exposure == Exposure::ALL { 10 } else { 9 };
    let marks = (exposure.milli_percent().div_ceil(Exposure::SCALE / 10) as usize).min(most);
    format!("{}{}", "#".repeat(marks), ".".repeat(10_usize.saturating_sub(marks)))
}

/// What is to be said of a stage.
fn note(rollout: &RolloutView, nth: usize, now: UnixMs) -> (String, Tone) {
    let stage = &rollout.stages[nth];
    if nth < rollout.stage || rollout.status == "completed" {
        return ("done".to_owned(), Tone::Faint);
    }
    if nth == rollout.stage {
        let note = match (rollout.status.as_str(), rollout.due_at) {
            ("running", Some(due)) if due > now => format!("{} left", duration::rough(due.since(now))),
            ("running", _) => "held for long enough".to_owned(),
            ("waiting", _) => {
                "held for long enough; `rollout advance` brings it to the next stage".to_owned()
            }
            ("paused", _) => "its clock stands; `rollout resume` lets it go on".to_owned(),
            _ => rollout.status_in_words(),
        };
        return (note, rollout.tone());
    }
    let note = if stage.approval { "after approval" } else { "" };
    (note.to_owned(), Tone::Plain)
}
