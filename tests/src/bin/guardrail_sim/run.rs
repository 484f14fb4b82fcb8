//! Runs of a scenario, and what they come to.

use std::ops::Range;

use rollout_rules::sli::{Peers, SlotEntry, State, Watch};

use crate::dice::Dice;
use crate::rivals::{Rivals, Seen};
use crate::scenario::{Bar, Scenario};
use crate::traffic::{START, World, variant};

/// Until a slot is judged after its end, in seconds: its grace.
const GRACE_S: f64 = 3.0;

/// What one rule did in all runs: when it acted, from the moment that something broke, in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acted {
    pub(crate) runs: u64,
    /// In order; those that acted before something broke are negative.
    pub(crate) after: Vec<f64>,
    /// Bad requests of the variant until then, in order.
    pub(crate) let_through: Vec<u64>,
}

/// What all rules did in a scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) ours: Acted,
    /// When a rollout was held, if not before.
    pub(crate) held: Acted,
    /// By the names of [`Rivals`].
    pub(crate) rivals: Vec<Acted>,
}

impl Outcome {
    fn merge(&mut self, other: Outcome) {
        self.ours.merge(other.ours);
        self.held.merge(other.held);
        self.rivals.iter_mut().zip(other.rivals).for_each(|(rival, other)| rival.merge(other));
    }
}

impl Acted {
    fn note(&mut self, after: Option<f64>, let_through: u64) {
        self.runs += 1;
        self.after.extend(after);
        self.let_through.push(let_through);
    }

    fn sort(&mut self) {
        self.after.sort_by(f64::total_cmp);
        self.let_through.sort_unstable();
    }

    /// The part of runs in which it acted within a time.
    pub(crate) fn within(&self, seconds: f64) -> f64 {
        self.after.partition_point(|after| *after <= seconds) as f64 / self.runs.max(1) as f64
    }

    /// The time within which it acted in a part of runs.
    pub(crate) fn quantile(&self, part: f64) -> Option<f64> {
        let at = (self.runs as f64 * part).ceil() as usize;
        self.after.get(at.saturating_sub(1)).copied()
    }

    pub(crate) fn let_through(&self, part: f64) -> u64 {
        let at = (self.let_through.len() as f64 * part).ceil() as usize;
        self.let_through.get(at.saturating_sub(1)).copied().unwrap_or(0)
    }

    /// The part of runs in which it acted, and its exact upper bound (Clopper and Pearson, one-sided, 95 %).
    pub(crate) fn rate(&self) -> (f64, f64) {
        let (runs, acted) = (self.runs.max(1), self.after.len() as u64);
        (acted as f64 / runs as f64, upper_bound(acted, runs))
    }

    pub(crate) fn merge(&mut self, other: Acted) {
        self.runs += other.runs;
        self.after.extend(other.after);
        self.let_through.extend(other.let_through);
    }
}

/// The probability at which so few of so many have a chance of 5 %.
fn upper_bound(few: u64, of: u64) -> f64 {
    let at_most = |part: f64| {
        let mut log = of as f64 * (1.0 - part).ln();
        let mut sum = log.exp();
        for count in 0..few {
            log += ((of - count) as f64 / (count + 1) as f64 * part / (1.0 - part)).ln();
            sum += log.exp();
        }
        sum
    };
    if few >= of {
        return 1.0;
    }
    let (mut low, mut high) = (few as f64 / of as f64, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// Runs a scenario, once for each seed. Rules of others are run along if asked for. What comes of it does not hang on the
/// number of threads.
pub(crate) fn run(scenario: &Scenario, seeds: Range<u64>, with_rivals: bool, threads: usize) -> Outcome {
    let none = || Outcome {
        rivals: if with_rivals { Rivals::NAMES.map(|_| Acted::default()).to_vec() } else { Vec::new() },
        ..Outcome::default()
    };
    let of_thread = |at: usize| {
        let mut outcome = none();
        let mine = seeds.clone().skip(at).step_by(threads);
        mine.for_each(|seed| one(scenario, seed, &mut outcome));
        outcome
    };
    let mut outcome = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|at| scope.spawn(move || of_thread(at))).collect();
        let mut all = of_thread(0);
        for other in others {
            all.merge(other.join().expect("a run ends"));
        }
        all
    });
    outcome.ours.sort();
    outcome.held.sort();
    outcome.rivals.iter_mut().for_each(Acted::sort);
    outcome
}

fn one(scenario: &Scenario, seed: u64, outcome: &mut Outcome) {
    // What breaks does not wait for a slot to begin.
    let lag = if scenario.bar.harmless { 0.0 } else { Dice::new(!seed).part() * scenario.lag };
    let mut traffic = scenario.traffic.clone();
    for broken in [&mut traffic.broken, &mut traffic.slow].into_iter().flatten() {
        broken.0 += lag;
    }
    let from = scenario.from + lag;
    let mut watch = Watch::new(scenario.tests.clone(), None, START);
    traffic.plans().into_iter().for_each(|plan| watch.plan(plan));
    let mut rivals = Rivals::default();
    let mut world = World::new(traffic, seed);
    let (mut acted, mut held, mut bad) = (None, None, 0);
    let mut let_through: Option<(u64, u32)> = None;
    for number in 0..scenario.seconds / 10 {
        let entry = world.slot(number);
        let end = f64::from(number + 1) * 10.0;
        let seen = Seen::of(&entry, f64::from(world.traffic.share_at(number * 10)) / 100.0);
        bad += bad_of_variant(&entry);
        for verdict in watch.step(&entry, Peers::default()) {
            let after = end + GRACE_S - from;
            match verdict.state {
                State::Regressed => {
                    held = held.or(Some(after));
                    acted = acted.or(Some(after));
                    let_through = let_through.or(Some((bad, number + 1)));
                }
                State::Suspect | State::CommonMode => held = held.or(Some(after)),
                _ => {}
            }
        }
        let rivals_done = outcome.rivals.is_empty() || rivals.step(&seen, end + GRACE_S - from);
        if acted.is_some() && rivals_done {
            break;
        }
    }
    if let Some((bad, ended)) = let_through {
        // What fails during the grace is let through, too: of the next slot the first three seconds.
        let mut dice = Dice::new(seed ^ 0x6_2ace);
        let more = (0..bad_of_variant(&world.slot(ended))).filter(|_| dice.chance(GRACE_S / 10.0)).count();
        let_through = Some((bad + more as u64, ended));
    }
    outcome.ours.note(acted, let_through.map_or(bad, |(bad, _)| bad));
    outcome.held.note(held, 0);
    for (rival, acted) in outcome.rivals.iter_mut().zip(rivals.acted()) {
        rival.note(acted, 0);
    }
}

fn bad_of_variant(entry: &SlotEntry) -> u64 {
    let ours = entry.parts.iter().filter(|part| part.variant == variant());
    ours.map(|part| part.outcomes.bad_requests).sum()
}

/// What is missed of a bar, in words. With few runs, by no more than chance explains.
pub(crate) fn missed(bar: &Bar, acted: &Acted) -> Vec<String> {
    let mut missed = Vec::new();
    let slack = |part: f64| 3.0 * (part * (1.0 - part) / acted.runs.max(1) as f64).sqrt();
    let few = acted.runs < 1_000;
    if bar.harmless {
        let (part, upper) = acted.rate();
        let most = 0.01 + if few { slack(0.01) } else { 0.0 };
        // The upper bound means something only with enough runs.
        if part > most || (acted.runs >= 10_000 && upper > 0.013) {
            missed.push(format!("acted wrongly in {:.2} % (up to {:.2} %)", part * 100.0, upper * 100.0));
        }
    }
    for (part, bar) in [(0.5, bar.median), (0.9, bar.p90), (0.99, bar.nearly_all)] {
        if let Some(seconds) = bar {
            let asked = if few { part - slack(part) } else { part };
            let found = acted.within(seconds);
            if found < asked {
                missed.push(format!(
                    "{:.0} % within {seconds:.0} s, {:.0} % asked",
                    found * 100.0,
                    part * 100.0
                ));
            }
        }
    }
    if let Some((median, p90)) = bar.let_through
        && (acted.let_through(0.5) > median || acted.let_through(0.9) > p90)
    {
        missed.push(format!(
            "let {} and {} bad requests through",
            acted.let_through(0.5),
            acted.let_through(0.9)
        ));
    }
    missed
}
