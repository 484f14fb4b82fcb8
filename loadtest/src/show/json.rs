//! The same for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Chart, Line, Machine, Panel};
use crate::ratio::Ratio;
use crate::report::{Beside, Figure, Judged, Point, Report, Spell, Standing, are_good};
use crate::scenario::Who;
use crate::sender::QUANTILES;

/// Of this document; a reader that knows another does not guess.
const FORMAT: u32 = 1;

/// Everything that was measured; scenarios of these names are still to come.
pub(crate) fn json(reports: &[Report], to_come: &[String], machine: &Machine) -> Value {
    json!({
        "format": FORMAT,
        "machine": machine.json(),
        "commit": machine.commit(),
        "rustc": env!("LOADTEST_RUSTC"),
        "optimised": Machine::is_optimised(),
        "good": are_good(reports) && to_come.is_empty(),
        "to_come": to_come,
        "took_s": reports.iter().map(|report| report.took).sum::<Duration>().as_secs_f64(),
        "scenarios": reports.iter().map(scenario).collect::<Vec<Value>>(),
    })
}

fn scenario(report: &Report) -> Value {
    let findings = &report.findings;
    let standing = |standing: &Standing| {
        json!({
            "who": standing.who.name(),
            "label": standing.label,
            "peer": standing.who.peer().is_some(),
            "rate": standing.rate,
            "cpu_us": standing.cpu_us,
            "rss_kib": standing.rss_kib,
        })
    };
    json!({
        "name": report.scenario.name,
        "title": report.scenario.title,
        "length": if report.is_short { "short" } else { "full" },
        "measured": report.scenario.kind.words(report.is_short),
        "took_s": report.took.as_secs_f64(),
        "skipped": report.skipped,
        "errors": findings.errors,
        "figures": findings.figures.iter().map(figure).collect::<Vec<Value>>(),
        "missing": findings.missing.iter()
            .map(|(who, why)| json!({"who": who.name(), "why": why})).collect::<Vec<Value>>(),
        "verdicts": report.judged.iter().map(judged).collect::<Vec<Value>>(),
        "standings": findings.standings.iter().map(standing).collect::<Vec<Value>>(),
        "rounds": findings.spells.iter().map(spell).collect::<Vec<Value>>(),
        "latency": findings.points.iter().map(point).collect::<Vec<Value>>(),
        "charts": findings.charts.iter().map(chart).collect::<Vec<Value>>(),
        "quoted": report.quoted().iter()
            .map(|quoted| json!({"text": quoted.text, "source": quoted.source})).collect::<Vec<Value>>(),
        "reopened": findings.reopened,
        "notes": findings.notes,
        "says": report.scenario.says,
    })
}

fn spell(spell: &Spell) -> Value {
    json!({
        "who": spell.who.name(),
        "round": spell.round,
        "order": spell.order,
        "rate": spell.rate,
        "cpu_us": spell.cpu_us,
        "rss_kib": spell.rss_kib,
        "foreign": spell.foreign,
        "stolen": spell.stolen,
        "sender_busy": spell.sender_busy,
        "disturbed": spell.is_disturbed,
        "repeated": spell.is_repeated,
    })
}

fn point(point: &Point) -> Value {
    let tally = &point.tally;
    let curve = |us: &dyn Fn(f64) -> u64| QUANTILES.map(|share| json!([share, us(share)])).to_vec();
    json!({
        "who": point.who.name(),
        "share": point.share,
        "due": point.due,
        "offered": point.offered,
        "answered": point.answered,
        "offered_count": tally.offered,
        "answered_count": tally.answered,
        "lost": tally.lost,
        "skipped": tally.skipped,
        "overlapped": tally.overlapped,
        "reopened": tally.reopened,
        "steady_us": curve(&|share| tally.steady_us(share)),
        "all_us": curve(&|share| tally.all_us(share)),
    })
}

fn ratio(ratio: &Ratio) -> Value {
    json!({"middle": ratio.middle, "low": ratio.low, "high": ratio.high, "pairs": ratio.pairs})
}

fn figure(figure: &Figure) -> Value {
    let beside = |beside: &Beside| {
        json!({
            "of": beside.of.name(),
            "label": beside.label,
            "value": beside.value,
            "times": beside.times(figure),
            "ratio": beside.ratio.as_ref().map(ratio),
            "doubt": beside.doubt,
        })
    };
    json!({
        "measure": figure.measure.name(),
        "unit": figure.measure.unit().sign(),
        "who": figure.who.name(),
        "label": figure.label,
        "value": figure.value,
        "beside": figure.beside.iter().map(beside).collect::<Vec<Value>>(),
        "doubt": figure.doubt,
    })
}

fn chart(chart: &Chart) -> Value {
    let Panel { title, x, y, lines } = &chart.panel;
    let line = |line: &Line| json!({"label": line.label, "points": line.points});
    json!({
        "title": title,
        "x": x.title,
        "y": y.title,
        "lines": lines.iter().map(line).collect::<Vec<Value>>(),
    })
}

fn judged(judged: &Judged) -> Value {
    let bar = &judged.bar;
    json!({
        "who": bar.who.name(),
        "of": bar.of.map(Who::name),
        "measure": bar.measure.name(),
        "by": judged.by.name(),
        bar.bar.name(): bar.bar.value(),
        "value": judged.value,
        "verdict": judged.verdict.word(),
        "why": judged.verdict.why(),
    })
}
