//! The turns: everybody once in each round.

use std::time::Duration;

use crate::checks::Contender;
use crate::figures::{median, ms};
use crate::problem::Problem;
use crate::process::resident_kib;
use crate::ratio::Ratio;
use crate::report::{Beside, Figure, Findings, MOST_DISTURBED, per_second};
use crate::rounds::{LEAD_IN, Load};
use crate::run::Runner;
use crate::scenario::{Measure, Who};
use crate::sender::{Lane, Pace, Sender, Tally};

/// Of what is to be done beside checks, so much has to be done in time.
const LEAST_KEPT: f64 = 0.95;
/// Turns in which the machine was somebody else's, at most, for a verdict.
const MOST_TURNS_DISTURBED: f64 = 0.5;

/// Makes what is done beside checks in a turn.
type MakeLanes<'c> = Box<dyn FnMut() -> Result<Vec<(Lane, Pace)>, Problem> + 'c>;

/// Who has a turn: the checks, with what is done beside them.
pub(super) struct Company<'c> {
    pub(super) who: Who,
    pub(super) label: String,
    /// Whose server.
    pub(super) checks: Contender,
    /// What is done beside, made anew for each turn.
    pub(super) lanes: MakeLanes<'c>,
}

/// How long the turns are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    pub(super) rounds: u64,
    pub(super) turn: Duration,
}

/// What became of the checks of a turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) who: Who,
    round: u64,
    pub(super) tally: Tally,
    pub(super) length: Duration,
    sender_busy: f64,
    is_disturbed: bool,
    /// The share of the server's core that others had, those who write to the disk for it included.
    foreign: Option<f64>,
    /// The CPU time of the server, with whatever it did beside checks; none if nobody sees its process.
    cpu_ns: Option<u64>,
    /// The server's memory at the end.
    rss_kib: Option<u64>,
    /// The share of what was to be done beside checks that was done in time: the least of all lanes.
    kept: f64,
}

impl Turns {
    /// What so many companies take.
    pub(super) fn takes(&self, companies: u32) -> Duration {
        let rounds = u32::try_from(self.rounds).unwrap_or(u32::MAX);
        (self.turn + LEAD_IN).saturating_mul(rounds).saturating_mul(companies)
    }

    /// Runs them; `paces` says how many checks each server gets.
    pub(super) fn run(
        &self,
        companies: &mut [Company<'_>],
        pace: impl Fn(Who) -> Pace,
        runner: &mut Runner,
        findings: &mut Findings,
    ) -> Result<Vec<Turn>, Problem> {
        let mut turns = Vec::new();
        for round in 0..self.rounds {
            let mut order: Vec<usize> = (0..companies.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let company = &mut companies[at];
                let what = format!("round {}/{}", round + 1, self.rounds);
                runner.progress.begin(&company.label, &what, self.turn + LEAD_IN);
                let turn = self.turn(company, pace(company.who), runner, findings)?;
                turns.push(Turn { round, ..turn });
            }
        }
        Ok(turns)
    }

    fn turn(
        &self,
        company: &mut Company<'_>,
        pace: Pace,
        runner: &mut Runner,
        findings: &mut Findings,
    ) -> Result<Turn, Problem> {
        let (mut lanes, mut paces) = (vec![company.checks.lane()?], vec![pace]);
        for (lane, pace) in (company.lanes)()? {
            lanes.push(lane);
            paces.push(pace);
        }
        let mut sender = Sender::connect(lanes)?;
        let lead_in = sender.run(&paces, LEAD_IN, &mut runner.progress)?;
        findings.take_faults(&company.label, &lead_in);
        let load = Load::begin(company.checks.process, runner.cores.of_servers());
        let sent = sender.run(&paces, self.turn, &mut runner.progress)?;
        let load = load.end(self.turn);
        let rss_kib = company.checks.process.map(resident_kib);
        findings.take_faults(&company.label, &sent);
        let (length, sender_busy) = (sent.length, sent.busy);
        let mut tallies = sent.tallies.into_iter();
        let tally = tallies.next().expect("a lane of checks");
        // What fell due at the very end may be done behind it.
        let kept = tallies.map(|beside| share(beside.answered_in_time + 1, beside.offered + beside.skipped));
        let kept = kept.fold(1.0, f64::min);
        Ok(Turn {
            who: company.who,
            round: 0,
            tally,
            length,
            sender_busy,
            is_disturbed: load.is_disturbed(),
            foreign: load.foreign,
            cpu_ns: load.cpu_ns,
            rss_kib,
            kept,
        })
    }
}

fn share(part: u64, all: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "millions")]
    let share = part as f64 / all.max(1) as f64;
    share
}

/// What the turns of all companies took of the server: CPU time for each check, and memory. No bar is about them.
pub(super) fn taken(companies: &[Company<'_>], turns: &[Turn]) -> Vec<Figure> {
    let cpu =
        figures(Measure::CpuUsPerCheck, companies, turns, |turn, _| turn.cpu_us_per_check(), had_no_core);
    let memory = figures(Measure::RssKib, companies, turns, |turn, _| turn.rss_kib(), |_| None);
    // Where nobody saw any turn there is no figure.
    cpu.into_iter().chain(memory).filter(|figure| figure.value.is_finite()).collect()
}

/// A figure of every company, those but the first beside it. The value of a turn is asked for together with the turn that
/// makes a pair with it; where nobody saw one there is no pair.
pub(super) fn figures(
    measure: Measure,
    companies: &[Company<'_>],
    turns: &[Turn],
    value: impl Fn(&Turn, &Turn) -> Option<f64>,
    doubt: impl Fn(&[&Turn]) -> Option<String>,
) -> Vec<Figure> {
    let of = |who: Who| turns.iter().filter(move |turn| turn.who == who);
    let Some(alone) = companies.first() else { return Vec::new() };
    let beside = |turn: &Turn| of(alone.who).find(|other| other.round == turn.round);
    let middle = |who: Who| {
        let seen = of(who).filter_map(|turn| value(turn, beside(turn).unwrap_or(turn)));
        median(&seen.collect::<Vec<f64>>())
    };
    let figure = |company: &Company<'_>| {
        let figure = Figure::new(measure, company.who, company.label.clone(), middle(company.who));
        if company.who == alone.who {
            return figure;
        }
        let pair = |turn: &Turn| {
            let other = beside(turn)?;
            Some(value(turn, other)? / value(other, turn)?)
        };
        let pairs: Vec<f64> = of(company.who).filter_map(pair).collect();
        let both: Vec<&Turn> = of(company.who).chain(of(alone.who)).collect();
        figure.beside(Beside {
            of: alone.who,
            label: alone.label.clone(),
            value: middle(alone.who),
            ratio: Ratio::of(&pairs),
            doubt: was_left_out(&both).or_else(|| doubt(&both)),
        })
    };
    companies.iter().map(figure).collect()
}

impl Turn {
    /// Answers a second.
    pub(super) fn rate(&self) -> f64 {
        per_second(self.tally.answered_in_time, self.length)
    }

    /// What 99 of 100 answers do not pass, in milliseconds; without those during which the sender stood still, if they are
    /// few enough both in this turn and in the one that makes a pair with it: of a pair both are told alike.
    pub(super) fn p99_ms(&self, pair: &Turn) -> f64 {
        if [self, pair].iter().any(|turn| turn.tally.disturbed() > MOST_DISTURBED) {
            return self.p99_of_all_ms();
        }
        ms(self.tally.steady_us(0.99))
    }

    /// The same of all answers.
    pub(super) fn p99_of_all_ms(&self) -> f64 {
        ms(self.tally.all_us(0.99))
    }

    /// CPU time of the server for each check that was answered, with whatever it did beside.
    #[allow(clippy::cast_precision_loss, reason = "seconds of nanoseconds")]
    fn cpu_us_per_check(&self) -> Option<f64> {
        Some(self.cpu_ns? as f64 / 1e3 / self.tally.answered as f64)
    }

    /// The server's memory.
    #[allow(clippy::cast_precision_loss, reason = "kibibytes of a process are far below 2^52")]
    fn rss_kib(&self) -> Option<f64> {
        Some(self.rss_kib? as f64)
    }
}

/// How much of its core others than the server had in the turns of each company; none where nobody saw it.
pub(super) fn others(companies: &[Company<'_>], turns: &[Turn]) -> Option<String> {
    let share = |company: &Company<'_>| {
        let seen = turns.iter().filter(|turn| turn.who == company.who).filter_map(|turn| turn.foreign);
        let share = median(&seen.collect::<Vec<f64>>());
        share.is_finite().then(|| format!("{:.1} % {}", 100.0 * share, company.label))
    };
    let shares: Vec<String> = companies.iter().filter_map(share).collect();
    let told = shares.join(", ");
    (!told.is_empty()).then(|| {
        format!("others than the server, the kernel's own threads and what it does for disk and net among them, had of its core: {told}")
    })
}

/// Why these turns are not beside what they should be beside, if so.
fn was_left_out(turns: &[&Turn]) -> Option<String> {
    let with = turns.iter().filter(|turn| turn.kept < 1.0).map(|turn| turn.kept).collect::<Vec<f64>>();
    let kept = median(&with);
    (kept < LEAST_KEPT)
        .then(|| format!("only {:.0} % of what is to be done beside was done in time", 100.0 * kept))
}

/// Why latencies of these turns say nothing for sure, if so.
pub(super) fn stood_still(turns: &[&Turn]) -> Option<String> {
    let disturbed = median(&turns.iter().map(|turn| turn.tally.disturbed()).collect::<Vec<f64>>());
    (disturbed > MOST_DISTURBED).then(|| {
        format!(
            "the sender stood still during {:.1} % of the requests: run it on a quieter machine",
            100.0 * disturbed
        )
    })
}

/// Why rates of these turns say nothing for sure, if so.
pub(super) fn had_no_core(turns: &[&Turn]) -> Option<String> {
    let disturbed = turns.iter().filter(|turn| turn.is_disturbed).count();
    let busy = median(&turns.iter().map(|turn| turn.sender_busy).collect::<Vec<f64>>());
    if busy > crate::rounds::MOST_SENDER_BUSY {
        Some("the sender is the limit, not the server".to_owned())
    } else if share(disturbed as u64, turns.len() as u64) > MOST_TURNS_DISTURBED {
        Some("others had too much of the server's core in most turns: run it on a quieter machine".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(who: Who, round: u64, quick_us: u64, stood_still: u64) -> Turn {
        let mut tally = Tally::new();
        (stood_still..1_000).for_each(|_| tally.answered(quick_us, true, true));
        (0..stood_still).for_each(|_| tally.answered(9_000, true, false));
        tally.offered = 1_000;
        let length = Duration::from_secs(1);
        Turn {
            who,
            round,
            tally,
            length,
            sender_busy: 0.5,
            is_disturbed: false,
            foreign: Some(0.01),
            cpu_ns: Some(20_000_000),
            rss_kib: Some(30_000),
            kept: 1.0,
        }
    }

    #[test]
    fn a_turn_tells_what_the_server_took_for_each_check_and_nothing_where_nobody_saw_it() {
        let seen = turn(Who::Alone, 0, 100, 0);
        assert_eq!((seen.cpu_us_per_check(), seen.rss_kib()), (Some(20.0), Some(30_000.0)));
        let unseen = Turn { cpu_ns: None, rss_kib: None, ..seen };
        assert_eq!((unseen.cpu_us_per_check(), unseen.rss_kib()), (None, None));
    }

    #[test]
    fn both_turns_of_a_pair_are_told_by_the_same_measure() {
        let (calm, spoilt) = (turn(Who::Alone, 0, 100, 0), turn(Who::WithChanges, 0, 200, 20));
        // The slow ones are among the last hundredth, of both or of neither.
        assert!(spoilt.p99_ms(&calm) > 8.9, "{}", spoilt.p99_ms(&calm));
        // Six of a thousand are slow by themselves, and five by the sender: a hundredth only together.
        let mut few = turn(Who::Alone, 0, 100, 5);
        (0..6).for_each(|_| few.tally.answered(300, true, true));
        few.tally.offered += 6;
        assert!((few.p99_ms(&calm) - 0.1).abs() < 0.01, "{}", few.p99_ms(&calm));
        assert!((few.p99_ms(&spoilt) - 0.3).abs() < 0.01, "{}", few.p99_ms(&spoilt));
        assert!(stood_still(&[&few, &calm]).is_none() && stood_still(&[&spoilt, &spoilt]).is_some());
    }
}
