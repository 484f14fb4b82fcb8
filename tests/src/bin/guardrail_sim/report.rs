//! The table on the terminal, and as a picture.

use std::fmt::{self, Write as _};

use crate::rivals::Rivals;
use crate::run::{Acted, Outcome, missed};
use crate::scenario::Scenario;

/// One scenario with what came of it.
pub(crate) struct Row {
    id: &'static str,
    name: String,
    harmless: bool,
    outcome: Outcome,
    pub(crate) missed: Vec<String>,
}

impl Row {
    pub(crate) fn new(scenario: &Scenario, outcome: Outcome) -> Row {
        let missed = missed(&scenario.bar, &outcome.ours);
        Row { id: scenario.id, name: scenario.name.clone(), harmless: scenario.bar.harmless, outcome, missed }
    }

    fn told(&self, acted: &Acted) -> String {
        if self.harmless {
            let (part, upper) = acted.rate();
            return format!("{:.2} % wrong (<= {:.2} %)", part * 100.0, upper * 100.0);
        }
        let seconds = |part| acted.quantile(part).map_or("-".to_owned(), |seconds| format!("{seconds:.0} s"));
        let early =
            acted.after.iter().filter(|after| **after < 0.0).count() as f64 / acted.runs.max(1) as f64;
        let early = if early > 0.0 { format!(", {:.1} % early", early * 100.0) } else { String::new() };
        format!(
            "p50 {}, p90 {}, {:.1} % in 1 h{early}",
            seconds(0.5),
            seconds(0.9),
            acted.within(3_600.0) * 100.0
        )
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { ours, held, rivals } = &self.outcome;
        write!(f, "{:4} {} ({} runs): {}", self.id, self.name, ours.runs, self.told(ours))?;
        if !self.harmless {
            write!(f, "; bad let through {} / {}", ours.let_through(0.5), ours.let_through(0.9))?;
        }
        write!(f, "; held: {}", self.told(held))?;
        for missed in &self.missed {
            write!(f, "\n     MISSED: {missed}")?;
        }
        for (name, acted) in Rivals::NAMES.iter().zip(rivals) {
            write!(f, "\n       {name}: {}", self.told(acted))?;
        }
        Ok(())
    }
}

const RULES: [&str; 8] = [
    "Tidegate",
    "plain window",
    "PromQL for",
    "failure limit",
    "five checks",
    "Mann-Whitney",
    "z-test",
    "asympt. CS",
];

/// The table as SVG: a line for each scenario, a column for each rule. Harmless scenarios of one kind are one line, with the
/// worst that each rule did in any of them.
pub(crate) fn svg(rows: &[Row]) -> String {
    const LINE: usize = 18;
    const FIRST: usize = 380;
    const COLUMN: usize = 130;
    let groups: Vec<&[Row]> = rows.chunk_by(|a, b| a.harmless && b.harmless && a.id == b.id).collect();
    let (width, height) = (FIRST + COLUMN * RULES.len() + 10, LINE * (groups.len() + 2) + 10);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut text = |x: usize, line: usize, fill: &str, said: &str| {
        let said = said.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\" fill=\"{fill}\">{said}</text>", LINE * (line + 1));
    };
    for (at, name) in RULES.iter().enumerate() {
        text(FIRST + COLUMN * at, 0, "#000", name);
    }
    for (line, group) in (1..).zip(&groups) {
        let [row, others @ ..] = group else { continue };
        let more =
            if others.is_empty() { String::new() } else { format!(" (worst of {} like it)", group.len()) };
        let name = if others.is_empty() { row.name.as_str() } else { row.kind() };
        text(8, line, "#000", &format!("{} {name}{more}", row.id));
        for at in 0..RULES.len() {
            let told = group.iter().filter_map(|row| row.rule(at).map(|acted| (row, acted)));
            let worst = told.max_by(|(_, a), (_, b)| a.rate().0.total_cmp(&b.rate().0));
            if let Some((row, acted)) = worst {
                let (fill, said) = row.cell(acted);
                text(FIRST + COLUMN * at, line, fill, &said);
            }
        }
    }
    svg.push_str("</svg>\n");
    svg
}

impl Row {
    /// What one of [`RULES`] did, if it was run.
    fn rule(&self, at: usize) -> Option<&Acted> {
        if at == 0 { Some(&self.outcome.ours) } else { self.outcome.rivals.get(at - 1) }
    }

    /// What is alike in the names of its kind.
    fn kind(&self) -> &'static str {
        match self.id {
            "B1" => "no difference",
            "B2" => "shared outage",
            "B6" => "no difference in latency",
            "B7" => "bursts of 10 errors a user",
            _ => "a few users always fail, or are always slow",
        }
    }
}

impl Row {
    fn cell(&self, acted: &Acted) -> (&'static str, String) {
        if self.harmless {
            let (part, _) = acted.rate();
            return (if part > 0.01 { "#b00" } else { "#060" }, format!("{:.2} % wrong", part * 100.0));
        }
        let early =
            acted.after.iter().filter(|after| **after < 0.0).count() as f64 / acted.runs.max(1) as f64;
        match acted.quantile(0.5) {
            _ if early > 0.01 => ("#b00", format!("{:.0} % before it broke", early * 100.0)),
            Some(seconds) => ("#060", format!("p50 {seconds:.0} s")),
            None => ("#b00", format!("{:.0} % found", acted.within(f64::MAX) * 100.0)),
        }
    }
}
