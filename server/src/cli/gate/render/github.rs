//! A decision as annotations of GitHub Actions, beside the lines that they are about.

use rollout_rules::gate::decision::{Check, Judged};
use rollout_rules::gate::policy::Level;

use super::{Shown, beyond, counting, title};

/// Most annotations of each kind: GitHub shows no more of one step.
const MAX_OF_A_KIND: usize = 10;
/// Longest message, in characters; GitHub cuts it somewhere at 4 KiB.
const MAX_MESSAGE_CHARS: usize = 1_000;

/// Workflow commands, one a line: errors for what denies, warnings, and notices for the rest.
pub fn annotations(shown: &Shown<'_>) -> String {
    let mut out = String::new();
    for (level, kind) in [(Level::Deny, "error"), (Level::Warn, "warning"), (Level::Note, "notice")] {
        let all: Vec<String> =
            shown.judgement.checks.iter().flat_map(|check| of_check(check, level, kind)).collect();
        let kept = if all.len() > MAX_OF_A_KIND { MAX_OF_A_KIND - 1 } else { all.len() };
        all[..kept].iter().for_each(|line| out.push_str(line));
        if kept < all.len() {
            let more = all.len() - kept;
            let text = format!(
                "{more} more are in the job's summary, and in: tidegate gate explain {} --app {}",
                shown.decision.id, shown.decision.app
            );
            out.push_str(&format!("::{kind} title={}::{}\n", property("Tidegate gate"), data(&text)));
        }
    }
    out
}

/// What a check found that comes to this level; one that lists nothing is told as a whole.
fn of_check(check: &Check, level: Level, kind: &str) -> Vec<String> {
    if super::is_done(check) {
        return Vec::new();
    }
    let listed: Vec<&Judged> = counting(check).collect();
    let mut lines: Vec<String> = listed
        .iter()
        .filter(|judged| judged.level == level)
        .map(|judged| of_finding(check, judged, kind))
        .collect();
    let untold = listed.is_empty() || beyond(check, listed.len()) > 0;
    if check.level == level && untold {
        let stop = if check.found.ends_with(['.', '!', '?']) { "" } else { "." };
        let text = format!("{}{stop} {} {}", check.found, check.why, check.fix);
        lines.push(format!("::{kind} title={}::{}\n", property(title(check.name)), data(text.trim())));
    }
    lines
}

fn of_finding(check: &Check, judged: &Judged, kind: &str) -> String {
    let finding = &judged.finding;
    let mut properties = Vec::new();
    if let Some(file) = &finding.file {
        properties.push(format!("file={}", property(file)));
        properties.extend(finding.line.map(|line| format!("line={line}")));
    }
    properties.push(format!("title={}", property(title(check.name))));
    let fix = finding.fix.as_deref().unwrap_or(&check.fix);
    let subject = finding.subject.as_ref().map(|subject| format!("{subject}: ")).unwrap_or_default();
    format!(
        "::{kind} {}::{}\n",
        properties.join(","),
        data(format!("{subject}{}\n{fix}", finding.title).trim())
    )
}

/// A message, as the runner takes it: one line.
fn data(text: &str) -> String {
    let cut: String = text.chars().take(MAX_MESSAGE_CHARS).collect();
    escaped(&cut)
}

/// A property, as the runner takes it.
fn property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}
