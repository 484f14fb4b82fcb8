//! A decision as people and programs read it. Each is a text made from the decision alone.
//!
//! Texts from evidence are written by others: nothing in them may steer a terminal, a runner of pipelines, Markdown or XML.

mod assistant;
mod github;
mod junit;
mod people;
mod sarif;
mod summary;

use rollout_rules::gate::decision::{Check, CheckName, CheckState, Decision, Judged, Judgement, Verdict};
use rollout_rules::gate::policy::Level;

use crate::cli::output::harmless;
use crate::cli::when::minute;

pub use assistant::assistant;
pub use github::annotations;
pub use junit::junit;
pub use people::{people, people_on_stdout};
pub use sarif::sarif;
pub use summary::summary;

/// A decision to be shown: what the log keeps of it, and the whole judgement.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// What the log keeps.
    pub decision: &'a Decision,
    /// What each check found.
    pub judgement: &'a Judgement,
}

impl<'a> Shown<'a> {
    /// The checks that come to this, in their order.
    fn at(&self, level: Level) -> impl Iterator<Item = &'a Check> {
        self.judgement.checks.iter().filter(move |check| check.level == level && !is_done(check))
    }

    /// The checks of which nothing is to be told but that they passed.
    fn passed(&self) -> impl Iterator<Item = &'a Check> {
        self.judgement.checks.iter().filter(|check| check.state == CheckState::Passed && is_done(check))
    }

    /// The checks that the tier does not ask for, or whose outcome counts for nothing.
    fn not_asked(&self) -> impl Iterator<Item = &'a Check> {
        self.judgement.checks.iter().filter(|check| check.state != CheckState::Passed && is_done(check))
    }

    /// The build, as people call it: `discount 1.4.2`.
    fn build(&self) -> String {
        let app = self.decision.app.as_str();
        self.decision
            .version
            .as_ref()
            .map_or_else(|| app.to_owned(), |version| format!("{app} {}", inert(version)))
    }

    /// What the decision means, in a sentence.
    fn meaning(&self) -> String {
        let environment = &self.decision.environment;
        let until = minute(self.judgement.valid_until);
        match self.judgement.verdict {
            Verdict::Pass => format!("It may go to {environment}. The decision stands until {until}."),
            Verdict::Warn => format!(
                "It may go to {environment}, and something should be mended soon. The decision stands until {until}."
            ),
            Verdict::Deny => format!("It may not go to {environment} until what is named here is mended."),
        }
    }

    /// The language models that had a part in the build, and whether anybody reviewed what they did, a line each.
    fn authors(&self) -> impl Iterator<Item = String> {
        self.decision.agents.iter().map(|work| inert(&format!("{work:#}")))
    }

    /// The command that asks again.
    fn again(&self) -> String {
        let Decision { app, environment, .. } = self.decision;
        format!("tidegate gate check --app {app} --env {environment} --artifact FILE")
    }
}

/// Whether nothing of a check is to be mended or told.
fn is_done(check: &Check) -> bool {
    let passed =
        check.state == CheckState::Passed && check.level <= Level::Note && counting(check).next().is_none();
    passed || check.level == Level::Off || check.state == CheckState::NotAsked
}

/// The findings of a check that count for something, the worst first.
fn counting(check: &Check) -> impl Iterator<Item = &Judged> {
    check.findings.iter().filter(|judged| judged.excused.is_none() && judged.level != Level::Off)
}

/// How many findings there are beyond so many that are shown. What is excused is not among them.
fn beyond(check: &Check, shown: usize) -> u64 {
    let done =
        check.findings.iter().filter(|judged| judged.excused.is_some() || judged.level == Level::Off).count();
    check.total.saturating_sub((shown + done) as u64)
}

/// Where a finding is: `src/config.py:3`, or the package or resource.
fn place(judged: &Judged) -> Option<String> {
    let finding = &judged.finding;
    match (&finding.file, finding.line) {
        (Some(file), Some(line)) => Some(format!("{}:{line}", inert(file))),
        (Some(file), None) => Some(inert(file)),
        (None, _) => finding.subject.as_ref().map(|subject| inert(subject)),
    }
}

/// A finding in one line: where, what, by which rule, in which reports if there are several, and how to mend it.
fn line_of(judged: &Judged) -> String {
    let finding = &judged.finding;
    let mut line = place(judged).map(|place| format!("{place}: ")).unwrap_or_default();
    line.push_str(&inert(&finding.title));
    let named = !finding.rule.is_empty() && !finding.title.contains(&finding.rule);
    let rule = named.then(|| inert(&finding.rule));
    let beside: Vec<String> = rule.into_iter().chain(in_reports(judged)).collect();
    if !beside.is_empty() {
        line.push_str(&format!(" ({})", beside.join(", ")));
    }
    if let Some(fix) = &finding.fix {
        let stop = if line.ends_with(['.', '!', '?']) { "" } else { "." };
        line.push_str(&format!("{stop} To mend it: {}", inert(fix)));
    }
    line
}

/// `in a.json and b.sarif`, where several reports tell of a finding.
fn in_reports(judged: &Judged) -> Option<String> {
    let names: Vec<String> = judged.reports.iter().map(|name| inert(name)).collect();
    (names.len() > 1).then(|| format!("in {}", names.join(" and ")))
}

/// What a check is called where people read.
fn title(check: CheckName) -> &'static str {
    match check {
        CheckName::Evidence => "Reports that were handed in",
        CheckName::Identity => "Who asks",
        CheckName::Secrets => "Secrets in the code",
        CheckName::TestsPresent => "Tests for every file",
        CheckName::TestsPass => "Tests pass",
        CheckName::ContractTests => "Contract tests pass",
        CheckName::Coverage => "Code that tests run",
        CheckName::Code => "Faults in the code",
        CheckName::Infrastructure => "Infrastructure",
        CheckName::Sbom => "List of what it is made of",
        CheckName::Licences => "Licences",
        CheckName::Vulnerabilities => "Known vulnerabilities",
        CheckName::Signature => "Signature of the artifact",
        CheckName::Provenance => "How it was built",
    }
}

/// A text that stays on its line and is obeyed by nobody: neither by a terminal nor by GitHub's runner, which takes
/// `##[` anywhere in a line for a command.
fn inert(text: &str) -> String {
    harmless(text).replace("##[", "## [")
}
