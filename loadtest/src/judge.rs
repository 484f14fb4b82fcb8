//! Figures held against bars.

use std::fmt;

use crate::ratio::Verdict;
use crate::report::{Figure, Findings, Judged};
use crate::scenario::{Measure, Threshold, Who};

/// Why nothing stands against a bar.
#[derive(Clone, Debug, PartialEq)]
enum NotMeasured {
    /// The run said why.
    Missing(String),
    /// There is no such figure of them, and nobody said why.
    NoFigure(Who),
    /// Of a pair, one has no figure.
    NoPair,
    /// The figure is no number.
    NoAnswer,
}

impl fmt::Display for NotMeasured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotMeasured::Missing(why) => f.write_str(why),
            NotMeasured::NoFigure(who) => write!(f, "there is no such figure of {}", who.name()),
            NotMeasured::NoPair => f.write_str("a pair has no figure of both"),
            NotMeasured::NoAnswer => f.write_str("nothing was answered"),
        }
    }
}

/// The circumstances of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    pub(crate) is_short: bool,
    pub(crate) is_of_target: bool,
}

/// What a bar's figure is worth.
pub(crate) fn judge(bar: &Threshold, findings: &Findings, circumstances: Circumstances) -> Judged {
    // Nobody sees the time of a target's process, if it does not say which it is.
    let outside = bar.measure.seen_from_outside().filter(|_| circumstances.is_of_target);
    let by = match findings.figure(bar.measure, bar.who) {
        None => outside.unwrap_or(bar.measure),
        Some(_) => bar.measure,
    };
    let (value, verdict) = match held(bar, by, findings) {
        Ok((value, _)) if !findings.errors.is_empty() => {
            (Some(value), Verdict::Unsure("something went wrong".to_owned()))
        }
        Ok((value, _)) if circumstances.is_short => {
            (Some(value), Verdict::Unsure("the short form judges nothing".to_owned()))
        }
        Ok((value, verdict)) => (Some(value), verdict),
        Err(why) => (None, Verdict::NotMeasured(why.to_string())),
    };
    Judged { bar: *bar, by, value, verdict }
}

/// The value that stands against the bar, and what it is worth; or why there is none.
fn held(bar: &Threshold, by: Measure, findings: &Findings) -> Result<(f64, Verdict), NotMeasured> {
    let figure = findings.figure(by, bar.who).ok_or_else(|| why_missing(bar.who, findings))?;
    let Some(of) = bar.of else { return of_itself(bar, figure) };
    let beside = figure.beside.iter().find(|beside| beside.of == of);
    let beside = beside.ok_or_else(|| why_missing(of, findings))?;
    let value = beside.times(figure);
    let doubt = figure.doubt.as_ref().or(beside.doubt.as_ref());
    let verdict = match (doubt, &beside.ratio) {
        (Some(doubt), _) => Verdict::Unsure(doubt.clone()),
        (None, Some(ratio)) => ratio.judged(bar.bar),
        (None, None) => by_value(bar, value),
    };
    let why = if beside.ratio.is_some() { NotMeasured::NoPair } else { NotMeasured::NoAnswer };
    is_number(value, why).map(|value| (value, verdict))
}

fn of_itself(bar: &Threshold, figure: &Figure) -> Result<(f64, Verdict), NotMeasured> {
    let verdict = match &figure.doubt {
        Some(doubt) => Verdict::Unsure(doubt.clone()),
        None => by_value(bar, figure.value),
    };
    is_number(figure.value, NotMeasured::NoAnswer).map(|value| (value, verdict))
}

fn is_number(value: f64, why: NotMeasured) -> Result<f64, NotMeasured> {
    if value.is_finite() { Ok(value) } else { Err(why) }
}

fn by_value(bar: &Threshold, value: f64) -> Verdict {
    if bar.bar.is_met_by(value) { Verdict::Met } else { Verdict::Missed }
}

fn why_missing(who: Who, findings: &Findings) -> NotMeasured {
    let known = findings.missing.iter().find(|(missing, _)| *missing == who);
    known.map_or(NotMeasured::NoFigure(who), |(_, why)| NotMeasured::Missing(why.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Ratio;
    use crate::report::Beside;
    use crate::scenario::Bar;

    const FULL: Circumstances = Circumstances { is_short: false, is_of_target: false };
    const CPU: Measure = Measure::ChecksPerCpuSecond;

    fn bar(of: Option<Who>, bar: Bar) -> Threshold {
        Threshold { measure: CPU, who: Who::Tidegate, of, bar }
    }

    fn findings(ratio: Option<Ratio>, doubt: Option<&str>) -> Findings {
        let doubt = doubt.map(str::to_owned);
        let beside = Beside { of: Who::Floor, label: "floor".to_owned(), value: 200.0, ratio, doubt };
        let figures = vec![Figure::new(CPU, Who::Tidegate, "tidegate", 150.0).beside(beside)];
        Findings { figures, ..Findings::default() }
    }

    #[test]
    fn a_figure_is_held_against_its_bar_by_pairs_where_there_are_some() {
        let of_floor = |least| bar(Some(Who::Floor), Bar::AtLeast(least));
        let pairs = Ratio::of(&[0.8; 8]);
        let judged = judge(&of_floor(0.8), &findings(pairs, None), FULL);
        assert_eq!((judged.value, judged.verdict), (Some(0.8), Verdict::Met));
        // One of each: the values say all.
        let judged = judge(&of_floor(0.8), &findings(None, None), FULL);
        assert_eq!((judged.value, judged.verdict), (Some(0.75), Verdict::Missed));
        let doubted = judge(&of_floor(0.8), &findings(pairs, Some("a doubt")), FULL);
        assert_eq!(doubted.verdict, Verdict::Unsure("a doubt".to_owned()));
        let short = judge(&of_floor(0.8), &findings(pairs, None), Circumstances { is_short: true, ..FULL });
        assert!(matches!(short.verdict, Verdict::Unsure(_)) && short.value.is_some(), "{short:?}");
    }

    #[test]
    fn pairs_that_are_no_numbers_are_not_replaced_by_the_middles() {
        let of_floor = bar(Some(Who::Floor), Bar::AtLeast(0.7));
        let judged = judge(&of_floor, &findings(Ratio::of(&[0.8, f64::NAN]), None), FULL);
        assert!(matches!(judged.verdict, Verdict::NotMeasured(_)) && judged.value.is_none(), "{judged:?}");
    }

    #[test]
    fn where_something_went_wrong_no_bar_is_met_or_missed() {
        let errors = vec!["1 never answered".to_owned()];
        for least in [0.7, 0.9] {
            let wrong = Findings { errors: errors.clone(), ..findings(Ratio::of(&[0.8; 8]), None) };
            let judged = judge(&bar(Some(Who::Floor), Bar::AtLeast(least)), &wrong, FULL);
            assert_eq!(judged.verdict, Verdict::Unsure("something went wrong".to_owned()));
        }
    }

    #[test]
    fn a_bar_in_its_own_unit_is_about_the_figure_alone() {
        for (most, verdict) in [(150.0, Verdict::Met), (149.0, Verdict::Missed)] {
            let judged = judge(&bar(None, Bar::AtMost(most)), &findings(None, None), FULL);
            assert_eq!((judged.value, judged.verdict), (Some(150.0), verdict));
        }
    }

    #[test]
    fn what_was_not_measured_says_why_and_a_target_is_judged_seen_from_outside() {
        let missing = vec![(Who::FloorGet, "it was not asked for".to_owned())];
        let without = Findings { missing, ..findings(None, None) };
        let judged = judge(&bar(Some(Who::FloorGet), Bar::AtLeast(1.0)), &without, FULL);
        assert_eq!(judged.verdict, Verdict::NotMeasured("it was not asked for".to_owned()));
        let target = Circumstances { is_of_target: true, ..FULL };
        let mut unseen = findings(None, None);
        unseen.figures[0].measure = Measure::Throughput;
        let judged = judge(&bar(Some(Who::Floor), Bar::AtLeast(0.7)), &unseen, target);
        assert_eq!((judged.by, judged.verdict), (Measure::Throughput, Verdict::Met));
        // Our own server has nothing to hide.
        let own = judge(&bar(Some(Who::Floor), Bar::AtLeast(0.7)), &unseen, FULL);
        assert!(matches!(own.verdict, Verdict::NotMeasured(_)), "{own:?}");
        let mut nothing = findings(None, None);
        nothing.figures[0].value = f64::NAN;
        let none = judge(&bar(None, Bar::AtLeast(0.7)), &nothing, FULL);
        assert!(matches!(none.verdict, Verdict::NotMeasured(_)), "{none:?}");
    }
}
