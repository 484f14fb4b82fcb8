//! The table for the terminal.

use std::fmt::Write as _;

use super::Machine;
use crate::report::{Beside, Figure, Findings, Judged, Point, Report};
use crate::scenario::Scenario;

/// Everything that there is to say.
pub(crate) fn table(reports: &[Report], machine: &Machine) -> String {
    let mut text = format!("{}\n", machine.line());
    if !Machine::is_optimised() {
        text.push_str(
            "This build is not optimised: its figures only show that it works (cargo run --release).\n",
        );
    }
    for report in reports {
        text.push('\n');
        one(&mut text, report);
    }
    verdicts(&mut text, reports);
    text
}

fn one(text: &mut String, report: &Report) {
    let Scenario { name, title, kind, .. } = &report.scenario;
    let _ = writeln!(text, "{name}: {title} ({})", kind.words(report.is_short));
    if let Some(why) = &report.skipped {
        let _ = writeln!(text, "  skipped: {why}");
        return;
    }
    let findings = &report.findings;
    if !findings.standings.is_empty() {
        standings(text, findings);
    }
    if !findings.points.is_empty() {
        points(text, findings);
    }
    findings.figures.iter().for_each(|one| figure(text, one));
    for quoted in report.quoted() {
        let _ = writeln!(text, "  quoted, not measured here: {} ({})", quoted.text, quoted.source);
    }
    for note in findings.notes.iter().chain(&report.scenario.says) {
        let _ = writeln!(text, "  note: {note}");
    }
    for error in &findings.errors {
        let _ = writeln!(text, "  ERROR: {error}");
    }
}

fn standings(text: &mut String, findings: &Findings) {
    let _ = writeln!(text, "  {:<30} {:>9} {:>12} {:>9}", "saturated", "answers/s", "CPU us each", "RSS MiB");
    for standing in &findings.standings {
        let cpu_us = standing.cpu_us.map_or("-".to_owned(), |cpu_us| format!("{cpu_us:.2}"));
        #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
        let rss = standing.rss_kib.map_or("-".to_owned(), |kib| format!("{:.1}", kib as f64 / 1024.0));
        let peer = if standing.who.peer().is_some() { "   a peer, its own protocol" } else { "" };
        let _ = writeln!(text, "  {:<30} {:>9.0} {cpu_us:>12} {rss:>9}{peer}", standing.label, standing.rate);
    }
}

fn points(text: &mut String, findings: &Findings) {
    let _ = writeln!(
        text,
        "  {:<30} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7} | {:>7} {:>7}  stood still",
        "latency in us at",
        "offered/s",
        "answered",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "p99 all",
        "max all"
    );
    for point in &findings.points {
        let Point { who, offered, answered, tally, .. } = point;
        let [p50, p90, p99, p999, max] = [0.5, 0.9, 0.99, 0.999, 1.0].map(|share| point.us(share));
        let [all_p99, all_max] = [0.99, 1.0].map(|share| tally.all_us(share));
        let _ = writeln!(
            text,
            "  {:<30} {offered:>9.0} {answered:>9.0} {p50:>7} {p90:>7} {p99:>7} {p999:>7} {max:>7} | {all_p99:>7} {all_max:>7}  {:.1} %",
            findings.label(*who),
            100.0 * tally.disturbed()
        );
    }
}

fn figure(text: &mut String, figure: &Figure) {
    let said = |value: f64| figure.measure.unit().said(value);
    let (label, words) = (&figure.label, figure.measure.words());
    // Why stands with the verdict.
    let doubt = |doubt: &Option<String>| if doubt.is_some() { "  unsure" } else { "" };
    let why = doubt(&figure.doubt);
    let _ = writeln!(text, "  {label:<38} {words:<24} {:>12}{why}", said(figure.value));
    for beside in &figure.beside {
        let bounds = beside.ratio.map_or(String::new(), |ratio| {
            format!("  ({:.2} to {:.2}, {} pairs)", ratio.low, ratio.high, ratio.pairs)
        });
        let Beside { label, value, .. } = beside;
        let (times, why) = (beside.times(figure), doubt(&beside.doubt));
        let _ = writeln!(text, "    beside {label:<54} {:>12}  {times:>6.2} x{bounds}{why}", said(*value));
    }
}

fn verdicts(text: &mut String, reports: &[Report]) {
    text.push('\n');
    for report in reports {
        let name = &report.scenario.name;
        for judged in &report.judged {
            let verdict = &judged.verdict;
            let why = if verdict.why().is_empty() { String::new() } else { format!(": {}", verdict.why()) };
            let (what, value, bar) = words_of(judged, &report.findings);
            let _ = writeln!(text, "{name:<10} {what:<64} {value:>10}  bar {bar}  {}{why}", verdict.word());
        }
        if !report.findings.errors.is_empty() {
            let _ = writeln!(text, "{name:<10} {} errors, see above", report.findings.errors.len());
        }
    }
}

/// What a bar is about, what was held against it, and the bar.
fn words_of(judged: &Judged, findings: &Findings) -> (String, String, String) {
    let bar = &judged.bar;
    let (who, words) = (findings.label(bar.who), judged.by.words());
    let said = |value: f64| match bar.of {
        Some(_) => format!("{value:.2}"),
        None => judged.by.unit().said(value),
    };
    let what = match bar.of {
        Some(of) => format!("{who} / {}, {words}", findings.label(of)),
        None => format!("{who}, {words}"),
    };
    let value = judged.value.map_or("-".to_owned(), said);
    (what, value, format!("{} {}", bar.bar.sign(), said(bar.bar.value())))
}
