//! The charts of a run: a panel for each scenario that was measured at several rates.

use super::svg::{Axis, Line, Panel, Scale, draw};
use crate::report::{Findings, Point, Report};
use crate::scenario::Who;
use crate::sender::QUANTILES;

/// Shares of what the floor can do at which whole curves of latency are drawn.
const SHOWN: [f64; 2] = [0.5, 0.8];

/// A file with a chart: each scenario that has something for it has a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Picture {
    /// Latency by how many requests are quicker.
    Latency,
    /// What is answered of what is offered, and how late.
    Throughput,
    /// How many clients have an event, by time.
    Kill,
}

/// A panel of a kind of its own.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) picture: Picture,
    pub(crate) panel: Panel,
}

impl Picture {
    const ALL: [Picture; 3] = [Picture::Latency, Picture::Throughput, Picture::Kill];

    fn file(self) -> &'static str {
        match self {
            Picture::Latency => "latency.svg",
            Picture::Throughput => "throughput.svg",
            Picture::Kill => "kill.svg",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Picture::Latency => "Latency by percentile",
            Picture::Throughput => "Answers and latency by offered load",
            Picture::Kill => "Clients that have an event, by time",
        }
    }
}

/// Every picture for which something was measured, with its file's name.
pub(crate) fn charts(reports: &[Report]) -> Vec<(&'static str, String)> {
    let drawn = |picture: Picture| {
        let rows = rows(picture, reports);
        (!rows.is_empty()).then(|| (picture.file(), draw(picture.title(), &rows)))
    };
    Picture::ALL.into_iter().filter_map(drawn).collect()
}

fn rows(picture: Picture, reports: &[Report]) -> Vec<Vec<Panel>> {
    let mut rows = match picture {
        Picture::Latency => vec![panels(reports, latency_panel)],
        Picture::Throughput => vec![panels(reports, answered_panel), panels(reports, late_panel)],
        Picture::Kill => Vec::new(),
    };
    let charts = reports.iter().flat_map(|report| &report.findings.charts);
    rows.extend(charts.filter(|chart| chart.picture == picture).map(|chart| vec![chart.panel.clone()]));
    rows.retain(|row| !row.is_empty());
    rows
}

fn panels(reports: &[Report], panel: impl Fn(&Report) -> Panel) -> Vec<Panel> {
    reports.iter().filter(|report| !report.findings.points.is_empty()).map(panel).collect()
}

fn axis(title: &str, scale: Scale) -> Axis {
    Axis { title: title.to_owned(), scale }
}

/// The contenders that have points, in the order in which they are listed.
fn shown(findings: &Findings) -> impl Iterator<Item = (usize, Who)> {
    let whos = findings.standings.iter().map(|standing| standing.who);
    whos.filter(|who| findings.points.iter().any(|point| point.who == *who)).enumerate()
}

fn latency_panel(report: &Report) -> Panel {
    let findings = &report.findings;
    let nearest = |wanted: f64| {
        let shares = findings.points.iter().map(|point| point.share);
        shares.min_by(|a, b| (a - wanted).abs().total_cmp(&(b - wanted).abs()))
    };
    let mut shares: Vec<f64> = SHOWN.into_iter().filter_map(nearest).collect();
    shares.dedup_by(|a, b| (*a - *b).abs() < f64::EPSILON);
    let mut lines = Vec::new();
    for (colour, who) in shown(findings) {
        for (place, share) in shares.iter().enumerate() {
            let is_it = |point: &&Point| point.who == who && (point.share - share).abs() < f64::EPSILON;
            let Some(point) = findings.points.iter().find(is_it) else { continue };
            #[allow(clippy::cast_precision_loss, reason = "a minute of microseconds")]
            let at = |quantile: f64| (quantile, point.tally.all_us(quantile) as f64 / 1e3);
            lines.push(Line {
                label: format!("{} at {} k/s", findings.label(who), thousands(point.due)),
                colour,
                is_dashed: place > 0,
                points: QUANTILES.into_iter().map(at).collect(),
            });
        }
    }
    Panel {
        title: report.scenario.title.clone(),
        x: axis("percentile", Scale::Nines),
        y: axis("ms", Scale::Log),
        lines,
    }
}

fn answered_panel(report: &Report) -> Panel {
    by_offered(report, "answered/s", &Scale::Linear, |point| point.answered)
}

fn late_panel(report: &Report) -> Panel {
    #[allow(clippy::cast_precision_loss, reason = "a minute of microseconds")]
    let p99_ms = |point: &Point| point.tally.all_us(0.99) as f64 / 1e3;
    by_offered(report, "p99, ms", &Scale::Log, p99_ms)
}

fn by_offered(report: &Report, title: &str, scale: &Scale, value: impl Fn(&Point) -> f64) -> Panel {
    let findings = &report.findings;
    let line = |(colour, who): (usize, Who)| {
        let points = findings.points.iter().filter(|point| point.who == who);
        let mut points: Vec<(f64, f64)> = points.map(|point| (point.offered, value(point))).collect();
        // Less may have been offered than was to be.
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { label: findings.label(who).to_owned(), colour, is_dashed: false, points }
    };
    Panel {
        title: report.scenario.title.clone(),
        x: axis("offered/s", Scale::Linear),
        y: axis(title, scale.clone()),
        lines: shown(findings).map(line).collect(),
    }
}

fn thousands(count: u32) -> f64 {
    (f64::from(count) / 100.0).round() / 10.0
}
