//! What was measured, and what it is worth.

use std::time::Duration;

use crate::ratio::{Ratio, Verdict};
use crate::scenario::{Measure, Quoted, Scenario, Threshold, Who};
use crate::sender::{Spell as Sent, Tally};
use crate::show::Chart;

/// Requests of which the sender itself kept the time from being told, at most, for the rest to stand for all: the
/// later an answer is, the more probably the sender stood still meanwhile. It is half of what a p99 leaves out.
pub(crate) const MOST_DISTURBED: f64 = 0.005;

/// Errors of a scenario that are told; whoever reads so many looks at the first.
const MAX_ERRORS: usize = 20;

/// What a run is of.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) scenario: Scenario,
    pub(crate) is_short: bool,
    /// It was run before somebody else's server.
    pub(crate) is_of_target: bool,
    pub(crate) findings: Findings,
    pub(crate) judged: Vec<Judged>,
    /// Why it was not run at all.
    pub(crate) skipped: Option<String>,
    /// From its start to its end, with all that was prepared.
    pub(crate) took: Duration,
}

/// Figures of a scenario.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Every spell of every round, in the order in which they were.
    pub(crate) spells: Vec<Spell>,
    /// Latency by offered rates.
    pub(crate) points: Vec<Point>,
    pub(crate) standings: Vec<Standing>,
    /// What bars are about, and what is printed beside it.
    pub(crate) figures: Vec<Figure>,
    /// Whose figures there are none of, and why.
    pub(crate) missing: Vec<(Who, String)>,
    /// What is drawn of it, beside what is drawn of `points`.
    pub(crate) charts: Vec<Chart>,
    /// What the run itself had to say.
    pub(crate) notes: Vec<String>,
    /// What went wrong; figures beside it are worth nothing.
    pub(crate) errors: Vec<String>,
    /// Connections that servers closed and that were opened anew.
    pub(crate) reopened: u64,
}

/// A value that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) measure: Measure,
    pub(crate) who: Who,
    /// What `who` is called in tables and charts.
    pub(crate) label: String,
    /// In the measure's unit.
    pub(crate) value: f64,
    /// What it is compared with.
    pub(crate) beside: Vec<Beside>,
    /// Why nothing can be said for sure by it, if so.
    pub(crate) doubt: Option<String>,
}

/// Another value of the same measure, that a figure is divided by.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    pub(crate) of: Who,
    pub(crate) label: String,
    pub(crate) value: f64,
    /// The figure divided by it, pair by pair; none where there was one of each, and the values say all.
    pub(crate) ratio: Option<Ratio>,
    /// Why nothing can be said for sure by the two, if so.
    pub(crate) doubt: Option<String>,
}

/// A saturated spell of one contender.
#[derive(Clone, Debug)]
pub(crate) struct Spell {
    pub(crate) who: Who,
    pub(crate) round: u64,
    /// Its place in the round.
    pub(crate) order: usize,
    /// Answers a second.
    pub(crate) rate: f64,
    /// CPU time of the server for each answer.
    pub(crate) cpu_us: Option<f64>,
    pub(crate) rss_kib: Option<u64>,
    /// The share of the server's core that others had.
    pub(crate) foreign: Option<f64>,
    /// The share of the server's core that the hypervisor had.
    pub(crate) stolen: f64,
    /// The share of time in which the sender had something to do.
    pub(crate) sender_busy: f64,
    /// Others had too much of the server's core.
    pub(crate) is_disturbed: bool,
    /// An earlier one in its place was disturbed, and is not counted.
    pub(crate) is_repeated: bool,
}

/// A spell of one contender at a rate.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) who: Who,
    /// The share of what the floor can answer.
    pub(crate) share: f64,
    /// Requests a second that were to be sent.
    pub(crate) due: u32,
    /// Those that were: all but what fell due while the sender stood still.
    pub(crate) offered: f64,
    /// Answers a second, as long as requests were due.
    pub(crate) answered: f64,
    pub(crate) tally: Tally,
}

/// The middle of all rounds.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) who: Who,
    /// What it is called in tables and charts.
    pub(crate) label: String,
    pub(crate) rate: f64,
    pub(crate) cpu_us: Option<f64>,
    /// The most.
    pub(crate) rss_kib: Option<u64>,
}

/// A bar and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) bar: Threshold,
    /// What it was judged by: another measure than the bar's where that is not to be had.
    pub(crate) by: Measure,
    /// What was held against the bar: a ratio, or the figure itself.
    pub(crate) value: Option<f64>,
    pub(crate) verdict: Verdict,
}

impl Figure {
    /// A value with nothing beside it.
    pub(crate) fn new(measure: Measure, who: Who, label: impl Into<String>, value: f64) -> Figure {
        Figure { measure, who, label: label.into(), value, beside: Vec::new(), doubt: None }
    }

    /// The same, beside another.
    pub(crate) fn beside(mut self, beside: Beside) -> Figure {
        self.beside.push(beside);
        self
    }
}

impl Beside {
    /// How many times the baseline a figure is.
    pub(crate) fn times(&self, figure: &Figure) -> f64 {
        self.ratio.map_or(figure.value / self.value, |ratio| ratio.middle)
    }
}

impl Report {
    /// Whether nobody has to look at it: no error, and every bar met. A short form judges nothing, and of a server
    /// that is not ours not everything can be measured.
    pub(crate) fn is_good(&self) -> bool {
        let is_good = |judged: &Judged| match judged.verdict {
            Verdict::Met => true,
            Verdict::NotMeasured(_) => self.is_short || self.is_of_target,
            Verdict::Unsure(_) => self.is_short,
            Verdict::Missed => false,
        };
        self.findings.errors.is_empty() && self.judged.iter().all(is_good)
    }

    /// Whether anything came out of it, good or bad.
    fn says_something(&self) -> bool {
        let is_measured = |judged: &Judged| !matches!(judged.verdict, Verdict::NotMeasured(_));
        self.skipped.is_none() && (self.judged.is_empty() || self.judged.iter().any(is_measured))
    }

    /// Figures that others published.
    pub(crate) fn quoted(&self) -> &[Quoted] {
        &self.scenario.quoted
    }
}

/// Whether nobody has to look at a run: something was measured, and all of it is good.
pub(crate) fn are_good(reports: &[Report]) -> bool {
    reports.iter().any(Report::says_something) && reports.iter().all(Report::is_good)
}

impl Findings {
    /// Takes in what went wrong in whatever was sent.
    pub(crate) fn take_faults(&mut self, label: &str, sent: &Sent) {
        for tally in &sent.tallies {
            self.take_faults_of(label, tally, false);
        }
    }

    /// The same of one lane; where more was offered than can be answered, what waits to the end is no fault.
    pub(crate) fn take_faults_of(&mut self, label: &str, tally: &Tally, may_be_lost: bool) {
        self.reopened += tally.reopened;
        if tally.wrong() + tally.lost == 0 {
            return;
        }
        let wrong = tally.wrong.iter().map(|(status, count)| (*count, format!("answers of status {status}")));
        let lost = if may_be_lost { 0 } else { tally.lost };
        let more = [
            (tally.broken, "broken off"),
            (tally.odd, "of another length than the first"),
            (lost, "never answered"),
        ];
        let all = wrong.chain(more.map(|(count, what)| (count, what.to_owned())));
        let faults: Vec<String> =
            all.filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let fault = format!("{label}: {}", faults.join(", "));
        if !faults.is_empty() && self.errors.len() < MAX_ERRORS && !self.errors.contains(&fault) {
            self.errors.push(fault);
        }
    }

    /// The spells of one contender, by rounds.
    pub(crate) fn of(&self, who: Who) -> impl Iterator<Item = &Spell> {
        self.spells.iter().filter(move |spell| spell.who == who)
    }

    /// The share of spells of these two in which others had too much of the server's core, second tries included.
    pub(crate) fn disturbed(&self, who: Who, of: Who) -> f64 {
        let both = || self.of(who).chain(self.of(of));
        #[allow(clippy::cast_precision_loss, reason = "some dozens")]
        let share = both().filter(|spell| spell.is_disturbed).count() as f64 / both().count().max(1) as f64;
        share
    }

    /// What somebody is called.
    pub(crate) fn label(&self, who: Who) -> &str {
        let standings = self.standings.iter().map(|one| (one.who, &one.label));
        let figures = self.figures.iter().map(|one| (one.who, &one.label));
        let beside = self.figures.iter().flat_map(|one| &one.beside).map(|one| (one.of, &one.label));
        let mut known = standings.chain(figures).chain(beside);
        known.find(|(known, _)| *known == who).map_or(who.name(), |(_, label)| label)
    }

    /// One beside another, round by round; none where a figure is missing.
    pub(crate) fn ratio(&self, who: Who, of: Who, measure: Measure) -> Option<Ratio> {
        let of_round = |round: u64| self.of(of).find(|other| other.round == round);
        let pairs = self.of(who).filter_map(|ours| Some((ours, of_round(ours.round)?)));
        // A spell of which one figure is missing makes no pair.
        let ratio =
            |(ours, other): (&Spell, &Spell)| Some(ours.of_measure(measure)? / other.of_measure(measure)?);
        Ratio::of(&pairs.filter_map(ratio).collect::<Vec<f64>>())
    }

    /// The figure of a measure and somebody, if there is one.
    pub(crate) fn figure(&self, measure: Measure, who: Who) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.measure == measure && figure.who == who)
    }
}

impl Standing {
    /// Its value of a measure of spells.
    pub(crate) fn of_measure(&self, measure: Measure) -> Option<f64> {
        of_measure(measure, self.rate, self.cpu_us)
    }
}

impl Spell {
    /// Its value of a measure of spells.
    pub(crate) fn of_measure(&self, measure: Measure) -> Option<f64> {
        of_measure(measure, self.rate, self.cpu_us)
    }
}

fn of_measure(measure: Measure, rate: f64, cpu_us: Option<f64>) -> Option<f64> {
    match measure {
        Measure::ChecksPerCpuSecond => cpu_us.map(|cpu_us| 1e6 / cpu_us),
        Measure::Throughput => Some(rate),
        // Spells are of nothing else.
        _ => None,
    }
}

impl Point {
    /// The latency that such a share of requests does not pass, in microseconds: without those during which the sender
    /// stood still, if they are few enough. To be shown only with that of all requests beside it.
    pub(crate) fn us(&self, share: f64) -> u64 {
        if self.is_disturbed() { self.tally.all_us(share) } else { self.tally.steady_us(share) }
    }

    /// Whether the sender stood still during too many of the requests.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.tally.disturbed() > MOST_DISTURBED
    }
}

/// Answers a second.
pub(crate) fn per_second(count: u64, length: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "millions")]
    let rate = count as f64 / length.as_secs_f64();
    rate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::built_in;

    fn spell(who: Who, rate: f64, cpu_us: Option<f64>) -> Spell {
        Spell {
            who,
            round: 0,
            order: 0,
            rate,
            cpu_us,
            rss_kib: None,
            foreign: None,
            stolen: 0.0,
            sender_busy: 0.5,
            is_disturbed: false,
            is_repeated: false,
        }
    }

    fn report(is_short: bool, is_of_target: bool, verdict: Verdict) -> Report {
        let scenario = built_in().remove(0);
        let bar = scenario.thresholds[0];
        let judged = vec![Judged { bar, by: bar.measure, value: None, verdict }];
        let findings = Findings::default();
        let took = Duration::ZERO;
        Report { scenario, is_short, is_of_target, findings, judged, skipped: None, took }
    }

    #[test]
    fn what_was_measured_in_the_same_round_makes_a_pair_and_less_time_is_more_for_each_second() {
        let of = |who, cpu_us: [f64; 3]| {
            let spells = cpu_us.map(|cpu_us| spell(who, 100.0 / cpu_us, Some(cpu_us)));
            (0..).zip(spells).map(|(round, spell)| Spell { round, ..spell }).collect::<Vec<_>>()
        };
        // The machine is slower in the second round, for both alike; the order says nothing.
        let mut spells = of(Who::Tidegate, [10.0, 20.0, 11.0]);
        spells.extend(of(Who::Floor, [6.0, 12.0, 6.6]).into_iter().rev());
        let findings = Findings { spells, ..Findings::default() };
        for measure in [Measure::ChecksPerCpuSecond, Measure::Throughput] {
            let ratio = findings.ratio(Who::Tidegate, Who::Floor, measure).expect("there are pairs");
            assert!(
                (ratio.low - 0.6).abs() < 1e-9 && (ratio.high - 0.6).abs() < 1e-9,
                "{measure:?}: {ratio:?}"
            );
            assert_eq!(ratio.pairs, 3);
        }
        let spells = vec![spell(Who::Tidegate, 1.0, None), spell(Who::Floor, 2.0, Some(1.0))];
        let unseen = Findings { spells, ..Findings::default() };
        assert_eq!(unseen.ratio(Who::Tidegate, Who::Floor, Measure::ChecksPerCpuSecond), None);
        assert!(unseen.ratio(Who::Tidegate, Who::Floor, Measure::Throughput).is_some());
        assert_eq!(unseen.ratio(Who::Tidegate, Who::FloorGet, Measure::Throughput), None);
    }

    #[test]
    fn whoever_is_unsure_has_to_look_but_for_the_short_form() {
        let why = || "a reason".to_owned();
        for (verdict, is_good) in [
            (Verdict::Met, [true, true, true]),
            (Verdict::NotMeasured(why()), [false, true, true]),
            (Verdict::Unsure(why()), [false, false, true]),
            (Verdict::Missed, [false, false, false]),
        ] {
            // In full, of a target in full, and in short.
            let found = [(false, false), (false, true), (true, false)]
                .map(|(is_short, is_of_target)| report(is_short, is_of_target, verdict.clone()).is_good());
            assert_eq!(found, is_good, "{verdict:?}");
        }
        let mut wrong = report(true, false, Verdict::Met);
        wrong.findings.errors.push(why());
        assert!(!wrong.is_good());
    }

    #[test]
    fn a_run_that_measured_nothing_is_not_good() {
        let why = || "a reason".to_owned();
        let skipped =
            || Report { skipped: Some(why()), judged: Vec::new(), ..report(false, true, Verdict::Met) };
        assert!(!are_good(&[skipped()]) && !are_good(&[]));
        assert!(!are_good(&[report(false, true, Verdict::NotMeasured(why())), skipped()]));
        assert!(are_good(&[skipped(), report(false, true, Verdict::Met)]));
        assert!(are_good(&[report(true, false, Verdict::Unsure(why()))]));
        assert!(!are_good(&[report(false, false, Verdict::Met), report(false, false, Verdict::Missed)]));
    }

    #[test]
    fn latency_is_of_all_requests_where_leaving_out_would_leave_the_quick_ones() {
        let point = |overlapped: u64| {
            let mut tally = Tally::new();
            (0..1_000 - overlapped).for_each(|_| tally.answered(50, true, true));
            (0..overlapped).for_each(|_| tally.answered(9_000, true, false));
            tally.offered = 1_000;
            Point { who: Who::Floor, share: 0.5, due: 1_000, offered: 1e3, answered: 1e3, tally }
        };
        assert_eq!(point(5).us(1.0), 50);
        assert!(point(6).us(1.0) >= 9_000 && point(6).is_disturbed());
    }

    #[test]
    fn second_tries_that_were_disturbed_too_are_counted_of_both() {
        let spoilt = |who| Spell { is_disturbed: true, is_repeated: true, ..spell(who, 1.0, Some(1.0)) };
        let calm = |who| spell(who, 1.0, Some(1.0));
        let spells = vec![
            spoilt(Who::Tidegate),
            calm(Who::Floor),
            calm(Who::Tidegate),
            calm(Who::Floor),
            spoilt(Who::FloorGet),
        ];
        let findings = Findings { spells, ..Findings::default() };
        assert!((findings.disturbed(Who::Tidegate, Who::Floor) - 0.25).abs() < 1e-9);
        assert!((Findings::default().disturbed(Who::Tidegate, Who::Floor)).abs() < 1e-9);
    }
}
