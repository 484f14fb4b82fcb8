//! A decision as the summary of a job, in GitHub's Markdown.

use rollout_rules::gate::decision::{Check, CheckState, Verdict};
use rollout_rules::gate::policy::Level;

use super::{Shown, assistant, beyond, counting, line_of, title};

/// Most findings of a check that are listed. GitHub takes a summary of 1 MiB.
const MAX_LISTED: usize = 20;

/// The summary: the verdict, a table of all checks, what to mend, and a text for an LLM assistant.
pub fn summary(shown: &Shown<'_>) -> String {
    let decision = shown.decision;
    let word = match shown.judgement.verdict {
        Verdict::Pass => "passed",
        Verdict::Warn => "passed with warnings",
        Verdict::Deny => "denied",
    };
    let mut out =
        format!("## Gate: {} for {} {word}\n\n", cell(&shown.build()), cell(decision.environment.as_str()));
    out.push_str(&format!("{}\n\n", cell(&shown.meaning())));
    out.push_str("| Check | Outcome | Found |\n| --- | --- | --- |\n");
    for check in &shown.judgement.checks {
        out.push_str(&format!("| {} | {} | {} |\n", title(check.name), outcome(check), cell(&check.found)));
    }
    for check in [Level::Deny, Level::Warn].into_iter().flat_map(|level| shown.at(level)) {
        details(&mut out, check);
    }
    let authors: Vec<String> = shown.authors().collect();
    if !authors.is_empty() {
        out.push_str("\n### Written with language models\n\n");
    }
    authors.iter().for_each(|author| out.push_str(&format!("- {}\n", cell(author))));
    if let Some(text) = assistant(shown) {
        let fence = fence_for(&text);
        out.push_str("\n<details><summary>Paste this to your LLM assistant</summary>\n\n");
        out.push_str(&format!("{fence}text\n{text}{fence}\n\n</details>\n"));
    }
    let binding = format!("Decision {}, tier {}, {}", decision.id, decision.tier as u8, decision.artifact);
    out.push_str(&format!("\n<sub>{}</sub>\n", cell(&binding)));
    out
}

fn outcome(check: &Check) -> &'static str {
    match check.level {
        _ if super::is_done(check) && check.state == CheckState::Passed => "passed",
        _ if super::is_done(check) => "not asked",
        Level::Deny => "**denied**",
        Level::Warn => "warning",
        Level::Note | Level::Off => "note",
    }
}

fn details(out: &mut String, check: &Check) {
    out.push_str(&format!("\n### {}\n\n{}\n\n", title(check.name), cell(&check.why)));
    if !check.fix.is_empty() {
        out.push_str(&format!("**How to mend it:** {}\n\n", cell(&check.fix)));
    }
    let lines: Vec<String> = counting(check).take(MAX_LISTED).map(line_of).collect();
    lines.iter().for_each(|line| out.push_str(&format!("- {}\n", cell(line))));
    let more = beyond(check, lines.len());
    if more > 0 && !lines.is_empty() {
        out.push_str(&format!("- and {more} more\n"));
    }
}

/// A text that means nothing to Markdown or HTML, in a cell of a table or anywhere else: neither markup nor a link nor a mention.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            // A colon makes a link of an address.
            '&' | '<' | '>' | '|' | '`' | '[' | ']' | '*' | '_' | '\\' | '#' | '!' | '~' | '$' | '@'
            | ':' => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A fence that is longer than any row of backticks in the text.
fn fence_for(text: &str) -> String {
    let mut longest = 0;
    let mut row = 0;
    for c in text.chars() {
        row = if c == '`' { row + 1 } else { 0 };
        longest = longest.max(row);
    }
    "`".repeat((longest + 1).max(3))
}
