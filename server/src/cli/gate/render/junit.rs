//! A decision as JUnit XML: each check is a case.

use rollout_rules::gate::decision::{Check, CheckState};
use rollout_rules::gate::policy::Level;

use super::{Shown, beyond, counting, line_of};
use crate::cli::gate::DRIVER;

/// Most findings of a check that are written into its case.
const MAX_LISTED: usize = 20;

/// The report: a check that denies is a case that failed, one that is not asked for a case that was skipped. JUnit knows no warnings:
/// they are written to the output of a case that passed.
pub fn junit(shown: &Shown<'_>) -> String {
    let decision = shown.decision;
    let checks = &shown.judgement.checks;
    let failures = checks.iter().filter(|check| fails(check)).count();
    let skipped = checks.iter().filter(|check| is_skipped(check)).count();
    let counts =
        format!("tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"", checks.len());
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{DRIVER}\" {counts}>\n  <testsuite \
         name=\"{DRIVER}\" {counts}>\n"
    );
    let class = xml(&format!("gate.{}.{}", decision.app, decision.environment));
    for check in checks {
        out.push_str(&format!("    <testcase classname=\"{class}\" name=\"{}\"", check.name));
        let inside = inside(check);
        if inside.is_empty() {
            out.push_str("/>\n");
        } else {
            out.push_str(&format!(">\n      {inside}\n    </testcase>\n"));
        }
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn fails(check: &Check) -> bool {
    check.level == Level::Deny && !super::is_done(check)
}

fn is_skipped(check: &Check) -> bool {
    check.state != CheckState::Passed && super::is_done(check)
}

fn inside(check: &Check) -> String {
    if is_skipped(check) {
        return format!("<skipped message=\"{}\"/>", xml(&check.found));
    }
    if super::is_done(check) {
        return String::new();
    }
    let told = xml(&told(check));
    match check.level {
        Level::Deny => {
            format!("<failure type=\"deny\" message=\"{}\">{told}</failure>", xml(&check.found))
        }
        level => {
            let word = if level == Level::Warn { "warning" } else { "note" };
            format!("<system-out>{word}: {}\n{told}</system-out>", xml(&check.found))
        }
    }
}

fn told(check: &Check) -> String {
    let mut told = format!("Why it matters: {}\n", check.why);
    if !check.fix.is_empty() {
        told.push_str(&format!("How to mend it: {}\n", check.fix));
    }
    let lines: Vec<String> = counting(check).take(MAX_LISTED).map(line_of).collect();
    lines.iter().for_each(|line| told.push_str(&format!("- {line}\n")));
    let more = beyond(check, lines.len());
    if more > 0 && !lines.is_empty() {
        told.push_str(&format!("- and {more} more\n"));
    }
    told
}

/// Text for XML. What XML cannot hold is replaced.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
