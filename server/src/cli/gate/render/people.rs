//! A decision for people at a terminal, or reading the log of a pipeline.

use rollout_rules::gate::decision::{Check, CheckState, Decision, Verdict};
use rollout_rules::gate::policy::Level;

use super::{Shown, assistant, beyond, counting, inert, line_of, title};
use crate::cli::output::{Style, Tone};

/// Most findings of a check that are shown; how many more there are is said.
const MAX_SHOWN: usize = 10;

/// A decision in words for somebody who is no engineer: what did not pass, why it matters and how to mend it, then what passed,
/// and a text to paste to an LLM assistant.
pub fn people(shown: &Shown<'_>) -> String {
    styled(shown, Style::default())
}

/// The same for standard output: with colours where that is a terminal that wants them.
pub fn people_on_stdout(shown: &Shown<'_>) -> String {
    styled(shown, Style::of_stdout())
}

fn styled(shown: &Shown<'_>, style: Style) -> String {
    let mut out = String::new();
    let (word, tone) = match shown.judgement.verdict {
        Verdict::Pass => ("PASSED", Tone::Live),
        Verdict::Warn => ("PASSED WITH WARNINGS", Tone::Live),
        Verdict::Deny => ("DENIED", Tone::Alarm),
    };
    let decision = shown.decision;
    say(&mut out, &format!("{}: {} for {}", style.paint(word, tone), shown.build(), decision.environment));
    let binding = format!("decision {}, tier {}, {}", decision.id, decision.tier as u8, decision.artifact);
    say(&mut out, &style.paint(&binding, Tone::Faint));
    say(&mut out, &shown.meaning());
    let authors: Vec<String> = shown.authors().collect();
    if !authors.is_empty() {
        say(&mut out, &format!("\n{}", style.paint("Written with language models", Tone::Head)));
    }
    authors.iter().for_each(|author| say(&mut out, &format!("  {author}")));
    for (level, head) in [
        (Level::Deny, "Has to be mended first"),
        (Level::Warn, "Should be mended"),
        (Level::Note, "Worth knowing"),
    ] {
        let mut checks = shown.at(level).peekable();
        if checks.peek().is_some() {
            say(&mut out, &format!("\n{}", style.paint(head, Tone::Head)));
        }
        let tone = if level == Level::Deny { Tone::Alarm } else { Tone::Head };
        checks.for_each(|check| unpassed(&mut out, check, style, tone, decision));
    }
    let passed: Vec<&Check> = shown.passed().collect();
    if !passed.is_empty() {
        say(&mut out, &format!("\n{}", style.paint("Passed", Tone::Head)));
    }
    for check in passed {
        say(&mut out, &format!("  {}: {}", style.paint(title(check.name), Tone::Live), inert(&check.found)));
        excused(&mut out, check);
    }
    let not_asked: Vec<&str> = shown.not_asked().map(|check| title(check.name)).collect();
    if !not_asked.is_empty() {
        let line = format!("\nNot asked of tier {}: {}", decision.tier as u8, not_asked.join(", "));
        say(&mut out, &style.paint(&line, Tone::Faint));
    }
    if let Some(text) = assistant(shown) {
        say(&mut out, &format!("\n{}", style.paint("Paste this to your LLM assistant", Tone::Head)));
        say(&mut out, "-------- from here --------");
        out.push_str(&text);
        say(&mut out, "-------- to here --------");
        say(&mut out, &format!("\nThen ask again: {}", shown.again()));
    }
    out
}

fn unpassed(out: &mut String, check: &Check, style: Style, tone: Tone, of: &Decision) {
    let proof = if check.state == CheckState::NoProof { " (nothing shows it)" } else { "" };
    say(out, &format!("  {}{proof}: {}", style.paint(title(check.name), tone), inert(&check.found)));
    say(out, &format!("    Why it matters: {}", inert(&check.why)));
    if !check.fix.is_empty() {
        say(out, &format!("    How to mend it: {}", inert(&check.fix)));
    }
    let lines: Vec<String> = counting(check).take(MAX_SHOWN).map(line_of).collect();
    lines.iter().for_each(|line| say(out, &format!("      - {line}")));
    let more = beyond(check, lines.len());
    if more > 0 && !lines.is_empty() {
        say(out, &format!("      - and {more} more: tidegate gate explain {} --app {}", of.id, of.app));
    }
    excused(out, check);
}

/// Findings that do not count are told: somebody answers for each.
fn excused(out: &mut String, check: &Check) {
    let listed = check.findings.iter().filter(|judged| judged.excused.is_some()).count() as u64;
    // Of many not all are listed; where the check passed, each is excused.
    let count = if check.state == CheckState::Passed { check.total.max(listed) } else { listed };
    if listed > 0 {
        say(out, &format!("      - {count} excused by a waiver or a signed statement"));
    }
}

fn say(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}
