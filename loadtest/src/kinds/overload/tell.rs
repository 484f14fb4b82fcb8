//! What the storms were like.

use std::time::Duration;

use super::operator::Operated;
use super::settings::{Length, Settings};
use super::{Long, Turn, recovery, shed};
use crate::figures::{Trend, median, ms, quantile};
use crate::ratio::Ratio;
use crate::report::{Beside, Figure, Findings, MOST_DISTURBED, per_second};
use crate::scenario::{Measure, Who};
use crate::sender::Tally;

/// What tables call the server in the long storm.
const LONG_STORM: &str = "tidegate in the long storm";

/// All figures.
pub(super) fn all(
    settings: &Settings,
    length: &Length,
    turns: &[Turn],
    long: &Long,
    before_kib: u64,
) -> Findings {
    let mut figures = vec![
        goodput(settings, length, turns),
        long_goodput(settings, length, long),
        p99("those taken in a storm", Who::Tidegate, turns, |one| &one.storm.tally),
        p99("from 1 s after a storm", Who::AfterStorm, turns, |one| &one.after),
        long_p99(turns, long),
        recovered(turns, long),
        told_when(turns),
    ];
    figures.extend(memory(long, before_kib));
    figures.extend(operator(&long.operated));
    let mut findings = Findings { figures, ..Findings::default() };
    let storm = &long.storm.tally;
    findings.notes.push(format!(
        "in the long storm {} were taken and {} shed; an operator was at work, who killed {} times",
        storm.answered,
        shed(storm),
        long.operated.kills_us.len(),
    ));
    if let Some(trend) = Trend::of_least(&long.memory) {
        let tenths = long.memory.chunks(long.memory.len().div_ceil(10)).filter_map(|tenth| tenth.first());
        let tenths: Vec<String> = tenths.map(|at| format!("{:.0}", at.1)).collect();
        findings.notes.push(format!(
            "memory {before_kib} KiB before the first storm, then by tenths of the long one {}: what stays grows by {:+.0} KiB a minute, +-{:.0}; of that its program takes {} KiB before and {} after",
            tenths.join(" "),
            trend.slope * 60.0,
            trend.margin * 60.0,
            long.files_kib[0],
            long.files_kib[1]
        ));
    }
    let steady = |of: fn(&Turn) -> &Tally| {
        median(&turns.iter().map(|turn| ms(of(turn).steady_us(0.99))).collect::<Vec<f64>>())
    };
    findings.notes.push(format!(
        "without the checks during which the sender stood still, p99 is {:.2} ms in a storm and {:.2} ms in a quiet spell",
        steady(|turn| &turn.storm.tally),
        steady(|turn| &turn.quiet)
    ));
    findings
}

/// What may be taken in a storm of this length: the rate, and the burst once.
fn allowed(settings: &Settings, length: Duration) -> f64 {
    f64::from(settings.capacity) + f64::from(settings.burst) / length.as_secs_f64()
}

/// What is answered before a storm ends beside what may be.
fn goodput(settings: &Settings, length: &Length, turns: &[Turn]) -> Figure {
    let allowed = allowed(settings, length.storm);
    let rate = |turn: &Turn| per_second(turn.storm.tally.answered_in_time, length.storm);
    let rates: Vec<f64> = turns.iter().map(rate).collect();
    let pairs: Vec<f64> = rates.iter().map(|rate| rate / allowed).collect();
    Figure::new(Measure::Throughput, Who::Tidegate, "tidegate in a storm", median(&rates)).beside(Beside {
        of: Who::Capacity,
        label: "what it may take".to_owned(),
        value: allowed,
        ratio: Ratio::of(&pairs),
        doubt: None,
    })
}

/// The same of the long storm, by itself: among a dozen short ones nobody would see what only shows after a while.
fn long_goodput(settings: &Settings, length: &Length, long: &Long) -> Figure {
    let rate = per_second(long.storm.tally.answered_in_time, length.long_storm);
    Figure::new(Measure::Throughput, Who::LongStorm, LONG_STORM, rate).beside(Beside {
        of: Who::Capacity,
        label: "what it may take".to_owned(),
        value: allowed(settings, length.long_storm),
        ratio: None,
        doubt: None,
    })
}

/// The latency of the long storm's checks beside that of a middling quiet spell: of all checks, or of those during which
/// the sender did not stand still, whichever says the worse of the server. If nothing was answered there is none.
fn long_p99(turns: &[Turn], long: &Long) -> Figure {
    let storm = &long.storm.tally;
    let of = |us: fn(&Tally) -> u64| {
        let quiet = median(&turns.iter().map(|turn| ms(us(&turn.quiet))).collect::<Vec<f64>>());
        (if storm.answered == 0 { f64::NAN } else { ms(us(storm)) }, quiet)
    };
    let (all, steady) = (of(|tally| tally.all_us(0.99)), of(|tally| tally.steady_us(0.99)));
    let (value, quiet) = if steady.0 / steady.1 > all.0 / all.1 { steady } else { all };
    let quiet_disturbed = median(&turns.iter().map(|turn| turn.quiet.disturbed()).collect::<Vec<f64>>());
    Figure::new(Measure::P99Ms, Who::LongStorm, LONG_STORM, value).beside(Beside {
        of: Who::Quiet,
        label: "quiet".to_owned(),
        value: quiet,
        ratio: None,
        doubt: stood_still(storm.disturbed(), "the long storm")
            .or_else(|| stood_still(quiet_disturbed, "a middling quiet spell")),
    })
}

/// Why latencies say nothing for sure, if so, by the share of checks during which the sender stood still.
fn stood_still(disturbed: f64, spell: &str) -> Option<String> {
    (disturbed > MOST_DISTURBED)
        .then(|| format!("the sender stood still during {:.1} % of the checks of {spell}", 100.0 * disturbed))
}

/// The latency of checks beside that of the quiet spell of the same turn. Both sides of a pair are of all checks, or
/// both of those during which the sender did not stand still, whichever says the worse of the server: leaving out
/// leaves the quick ones, and standstills in both make them alike.
fn p99(label: &str, who: Who, turns: &[Turn], of: fn(&Turn) -> &Tally) -> Figure {
    let all_ms = |tally: &Tally| ms(tally.all_us(0.99));
    let values: Vec<f64> = turns.iter().map(|turn| all_ms(of(turn))).collect();
    let quiet: Vec<f64> = turns.iter().map(|turn| all_ms(&turn.quiet)).collect();
    let pairs: Vec<f64> = turns.iter().map(|turn| times(of(turn), &turn.quiet)).collect();
    let disturbed = turns.iter().flat_map(|turn| [of(turn).disturbed(), turn.quiet.disturbed()]);
    let doubt = stood_still(median(&disturbed.collect::<Vec<f64>>()), "a middling spell");
    Figure::new(Measure::P99Ms, who, label, median(&values)).beside(Beside {
        of: Who::Quiet,
        label: "quiet".to_owned(),
        value: median(&quiet),
        ratio: Ratio::of(&pairs),
        doubt,
    })
}

/// How many times the p99 of the other a p99 is, at most by what was seen; no number if one has none.
fn times(tally: &Tally, other: &Tally) -> f64 {
    let of = |us: fn(&Tally) -> u64| ms(us(tally)) / ms(us(other));
    let (all, steady) = (of(|tally| tally.all_us(0.99)), of(|tally| tally.steady_us(0.99)));
    // The greater of the two is the other one where one is no number.
    if all.is_finite() && steady.is_finite() { all.max(steady) } else { f64::NAN }
}

fn recovered(turns: &[Turn], long: &Long) -> Figure {
    let storms = turns.iter().map(|turn| &turn.storm).chain([&long.storm]);
    let storms: Vec<&[Tally]> = storms.map(|storm| storm.windows.as_slice()).collect();
    recovery::figure(&storms, &turns.iter().map(|turn| &turn.quiet).collect::<Vec<&Tally>>())
}

fn told_when(turns: &[Turn]) -> Figure {
    let told = |turn: &Turn| share(turn.storm.tally.told_when, turn.storm.tally.offered);
    let shares: Vec<f64> = turns.iter().map(told).collect();
    let mut figure = Figure::new(Measure::ToldWhen, Who::Tidegate, "tidegate in a storm", median(&shares));
    // What is offered less leaves less to be shed.
    let skipped = |turn: &Turn| {
        let Tally { skipped, offered, .. } = &turn.storm.tally;
        share(*skipped, offered + skipped)
    };
    let skipped = median(&turns.iter().map(skipped).collect::<Vec<f64>>());
    figure.doubt = (skipped > MOST_DISTURBED).then(|| {
        format!("{:.0} % of a middling storm was never offered, as the sender stood still", 100.0 * skipped)
    });
    figure
}

fn memory(long: &Long, before_kib: u64) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Some(trend) = Trend::of_least(&long.memory) {
        // What it may be at most, as far as such a series tells.
        let most = (trend.slope + trend.margin) * 60.0;
        let mut figure = Figure::new(Measure::KibPerMinute, Who::Tidegate, LONG_STORM, most);
        if most.is_nan() {
            figure.doubt = Some("memory was not seen".to_owned());
        }
        figures.push(figure);
    }
    let most = long.memory.iter().map(|(_, kib)| *kib).reduce(f64::max);
    #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
    if let Some(most) = most {
        let taken = most - before_kib as f64;
        figures.push(Figure::new(Measure::KibTaken, Who::Tidegate, "all storms", taken));
    }
    figures
}

fn operator(operated: &Operated) -> [Figure; 2] {
    let worst = |values: &[u32]| f64::from(quantile(&mut values.to_vec(), 1.0)) / 1e3;
    let label = "an operator in the long storm";
    [
        Figure::new(Measure::KillMs, Who::Tidegate, label, worst(&operated.kills_us)),
        Figure::new(Measure::HealthMs, Who::Tidegate, label, worst(&operated.health_us)),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "thousands")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Circumstances, judge};
    use crate::ratio::Verdict;
    use crate::scenario::{Threshold, built_in};

    /// Ninety checks, and ten during which the sender stood still.
    fn tally(steady_us: u64, overlapped_us: u64) -> Tally {
        let mut tally = Tally::new();
        (0..90).for_each(|_| tally.answered(steady_us, true, true));
        (0..10).for_each(|_| tally.answered(overlapped_us, true, false));
        tally
    }

    #[test]
    fn neither_leaving_out_slow_checks_nor_standstills_on_both_sides_hide_what_a_storm_does() {
        let near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.01;
        // The slow ones are those that are left out.
        let slow = times(&tally(1_000, 9_000), &tally(1_000, 1_000));
        assert!(near(slow, 9.0), "{slow}");
        // Both stood still for the same time, which is the p99 of both.
        let alike = times(&tally(3_000, 9_000), &tally(1_000, 9_000));
        assert!(near(alike, 3.0), "{alike}");
        assert!(times(&Tally::new(), &tally(1, 1)).abs() < 1e-9);
        assert!(times(&tally(1, 1), &Tally::new()).is_nan());
    }

    #[test]
    fn what_is_answered_behind_the_end_of_a_storm_is_not_taken_in_it() {
        let late = |in_time: u64| {
            let mut tally = Tally::new();
            (0..275).for_each(|at| tally.answered(1_000, at < in_time, true));
            super::super::Storm { tally, windows: Vec::new() }
        };
        let settings = Settings::of(250, 25);
        let second = Duration::from_secs(1);
        let length = Length { storm: second, long_storm: second, ..Length::default() };
        let turn = |in_time| Turn { quiet: Tally::new(), storm: late(in_time), after: Tally::new() };
        let figure = goodput(&settings, &length, &[turn(220), turn(220)]);
        let ratio = figure.beside[0].ratio.expect("there are pairs");
        assert!((ratio.low - 0.8).abs() < 1e-9 && (ratio.high - 0.8).abs() < 1e-9, "{figure:?}");
        assert!((figure.value - 220.0).abs() < 1e-9);
    }

    /// What becomes of a bar of the file that comes with the program.
    fn judged(figures: Vec<Figure>, measure: Measure) -> Verdict {
        let scenario = built_in().into_iter().find(|one| one.name == "overload").expect("it comes with it");
        let is_bar = |bar: &&Threshold| (bar.measure, bar.who) == (measure, Who::LongStorm);
        let bar = scenario.thresholds.iter().find(is_bar).expect("a bar for the long storm");
        let circumstances = Circumstances { is_short: false, is_of_target: false };
        judge(bar, &Findings { figures, ..Findings::default() }, circumstances).verdict
    }

    #[test]
    fn a_long_storm_that_takes_too_little_or_too_long_misses_by_itself_whatever_short_ones_do() {
        let storm = |checks: u64, us| {
            let mut tally = Tally::new();
            tally.offered = checks;
            (0..checks).for_each(|_| tally.answered(us, true, true));
            super::super::Storm { tally, windows: Vec::new() }
        };
        let found = |checks, us| {
            let (settings, second) = (Settings::of(250, 25), Duration::from_secs(1));
            let length = Length { storm: second, long_storm: second, ..Length::default() };
            let quiet = || storm(125, 1_000).tally;
            let turn = || Turn { quiet: quiet(), storm: storm(275, 1_000), after: quiet() };
            let long = Long {
                storm: storm(checks, us),
                memory: Vec::new(),
                files_kib: [0; 2],
                operated: Operated::default(),
            };
            let figures = all(&settings, &length, &[turn(), turn()], &long, 0).figures;
            [Measure::Throughput, Measure::P99Ms].map(|measure| judged(figures.clone(), measure))
        };
        assert_eq!(found(250, 1_900), [Verdict::Met, Verdict::Met]);
        assert_eq!(found(240, 2_100), [Verdict::Missed, Verdict::Missed]);
        let [goodput, p99] = found(0, 0);
        assert_eq!(goodput, Verdict::Missed);
        assert!(matches!(p99, Verdict::NotMeasured(_)), "{p99:?}");
    }
}
