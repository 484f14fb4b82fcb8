//! What was recorded and what rules would have done, drawn over time: a line for each.

use rollout_rules::sli::backtest::{Report, Resolution, RuleReport};
use rollout_rules::time::UnixMs;

use crate::cli::when;

/// How wide a line is, in characters.
const WIDTH: usize = 64;

/// The drawing, line by line; nothing if nothing was recorded.
pub(super) fn drawing(report: &Report) -> Vec<String> {
    let begins = report.spans.first().map(|span| span.times().0);
    let ends = report.spans.iter().map(|span| span.times().1).max();
    let Some(scale) = begins.zip(ends).filter(|(from, until)| from < until) else { return Vec::new() };
    let scale = Scale { from: scale.0, until: scale.1 };
    let mut lines = vec![format!("recorded   {}", scale.recorded(report))];
    if !report.acted.is_empty() {
        let marks = report.acted.iter().map(|act| (act.at, '!'));
        lines.push(format!("really     {}", scale.marked(marks)));
    }
    for (nth, rule) in report.rules.iter().enumerate() {
        lines.push(format!("{:<11}{}", format!("rule {}", nth + 1), scale.marked(marks(rule))));
    }
    let (from, until) = (when::second(scale.from), when::second(scale.until));
    let gap = WIDTH.saturating_sub(from.len() + until.len());
    lines.push(format!("{:11}{from}{}{until}", "", " ".repeat(gap)));
    lines.push(format!(
        "{:11}= slots of ten seconds, - sums of five minutes; X would have acted, x alone, ! did act",
        ""
    ));
    lines
}

fn marks(rule: &RuleReport) -> impl Iterator<Item = (UnixMs, char)> {
    let alone = rule.alone.iter().map(|fired| (fired.found.at(), 'x'));
    alone.chain(rule.fired.iter().map(|fired| (fired.found.at(), 'X')))
}

/// From when to when is drawn.
struct Scale {
    from: UnixMs,
    until: UnixMs,
}

impl Scale {
    /// The place of a moment.
    fn place(&self, at: UnixMs) -> usize {
        let (passed, whole) = (u128::from(at.since(self.from).0), u128::from(self.until.since(self.from).0));
        let place = (passed * WIDTH as u128).checked_div(whole).unwrap_or(0);
        usize::try_from(place).unwrap_or(WIDTH).min(WIDTH - 1)
    }

    fn recorded(&self, report: &Report) -> String {
        let mut line = vec![' '; WIDTH];
        for span in &report.spans {
            let (from, until) = span.times();
            let mark = match span.resolution {
                Resolution::Slots | Resolution::Both => '=',
                Resolution::Sums => '-',
            };
            let last = self.place(UnixMs(until.0.saturating_sub(1)));
            line[self.place(from)..=last].fill(mark);
        }
        line.into_iter().collect()
    }

    fn marked(&self, marks: impl Iterator<Item = (UnixMs, char)>) -> String {
        let mut line = vec!['.'; WIDTH];
        for (at, mark) in marks {
            line[self.place(at)] = mark;
        }
        line.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::sli::Slot;
    use rollout_rules::sli::backtest::Span;

    use super::*;

    #[test]
    fn what_is_known_finely_and_coarsely_stands_where_it_was() {
        let span = |from, until, resolution| Span { from: Slot(from), until: Slot(until), resolution };
        let spans = vec![span(0, 320, Resolution::Sums), span(480, 640, Resolution::Slots)];
        let report = Report { rules: Vec::new(), acted: Vec::new(), spans };
        let lines = drawing(&report);
        let wanted = format!("recorded   {}{}{}", "-".repeat(32), " ".repeat(16), "=".repeat(16));
        assert_eq!(lines[0], wanted);
        assert!(lines[1].starts_with("           1970-01-01 00:00:00"), "{lines:?}");
        assert!(lines[1].ends_with("1970-01-01 01:46:40"), "{lines:?}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(drawing(&Report { rules: Vec::new(), acted: Vec::new(), spans: Vec::new() }).is_empty());
    }
}
