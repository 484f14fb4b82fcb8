//! Checks in process: the SDK beside rules written by hand and, if they are asked for, the engines of others; on one thread
//! and on two; and as WebAssembly in Node.

mod libraries;
mod node;
mod threads;

use std::time::Duration;

use crate::figures::median;
use crate::in_process::floor::Extended;
use crate::in_process::measure;
use crate::in_process::sdk::Sdk as Client;
use crate::in_process::world::{Asked, IN_LIST, OFF, PEOPLE, ROLLOUT, RULES, looped};
use crate::in_process::{Shown, are_right};
use crate::kinds::{Kind, named};
use crate::peers::LIBRARIES;
use crate::problem::Problem;
use crate::ratio::Ratio;
use crate::report::{Beside, Figure, Findings};
use crate::run::Runner;
use crate::scenario::{Measure, Reading, SPELL_MS, Scenario, Who};

/// Most pairs of samples, and most rounds of threads.
const MAX_PAIRS: u64 = 1_000;
/// What a pair of samples takes.
const PAIR: Duration = Duration::from_millis(8);
/// What both take to be warm.
const WARM_UP: Duration = Duration::from_millis(120);

/// What is checked: the hundred flags of the loop count as one check.
const CHECKS: [Check; 5] = [
    Check { who: Who::CheckOff, label: "a flag that is off", asked: Some(OFF) },
    Check { who: Who::CheckRollout, label: "a flag at 30 %", asked: Some(ROLLOUT) },
    Check { who: Who::CheckRules, label: "a flag with three rules", asked: Some(RULES) },
    Check { who: Who::CheckLoop, label: "a hundred flags", asked: None },
    Check { who: Who::CheckList, label: "a list of 10,000", asked: Some(IN_LIST) },
];

/// A way to check.
#[derive(Clone, Copy)]
struct Check {
    who: Who,
    label: &'static str,
    /// A flag; none: a hundred in a loop.
    asked: Option<Asked<'static>>,
}

/// The section.
#[derive(Debug)]
struct Sdk {
    full: Length,
    short: Length,
}

#[derive(Clone, Copy, Debug, Default)]
struct Length {
    /// Of samples, for each check.
    pairs: u64,
    /// Of one thread and two.
    rounds: u64,
    spell: Duration,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let length = |table: &mut Reading<'_>| Length {
        pairs: table.number("pairs", 1..=MAX_PAIRS),
        rounds: table.number("rounds", 1..=MAX_PAIRS),
        spell: table.millis("spell_ms", SPELL_MS),
    };
    Box::new(Sdk {
        full: table.table("full", length).unwrap_or_default(),
        short: table.table("short", length).unwrap_or_default(),
    })
}

impl Kind for Sdk {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let is_check = CHECKS.iter().any(|check| check.who == who);
        match measure {
            Measure::NsPerCheck if is_check => {
                of.is_none_or(|of| of == Who::ExtendedFloor || of.is_library())
            }
            Measure::NsPerCheck => {
                matches!(who, Who::Wasm | Who::WasmAgain)
                    && of.is_none_or(|of| matches!(of, Who::ByHand | Who::ByHandAsCode))
            }
            Measure::CheckRate => who == Who::TwoThreads && of.is_none_or(|of| of == Who::OneThread),
            _ => false,
        }
    }

    fn planned(&self, is_short: bool, against: Option<&[Who]>) -> Duration {
        let length = self.length(is_short);
        let times = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let beside = named(against, LIBRARIES).map_or(0, |libraries| libraries.len());
        let all = times(u64::try_from(1 + beside).unwrap_or(u64::MAX)).saturating_mul(5);
        let samples = (PAIR.saturating_mul(times(length.pairs)) + WARM_UP).saturating_mul(all);
        samples
            + length.spell.saturating_mul(times(u64::from(threads::SPELLS) * length.rounds))
            + node::takes(is_short)
    }

    fn words(&self, is_short: bool) -> String {
        let Length { pairs, rounds, spell } = self.length(is_short);
        let seconds = spell.as_secs_f64();
        format!("{pairs} pairs of samples, {rounds} rounds of {seconds:.1} s on one thread and two")
    }

    fn baselines(&self) -> &'static [(&'static str, Who)] {
        LIBRARIES
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        runner.progress.say("starting");
        // The SDK's own client, asked as an app asks it, on whichever thread; it counts every answer.
        let (ours, floor) = (Client::start()?, Extended::with_all());
        for engine in [&ours as &dyn Shown, &floor] {
            let shares = engine.shares();
            if !are_right(shares) {
                let name = engine.name();
                return Err(Problem::Wrong(format!("{name} does other work than it should: {shares:?}")));
            }
        }
        let mut findings = Findings::default();
        let length = self.length(runner.is_short);
        let mut libraries = libraries::start(runner, &mut findings);
        // To see that they are right it was asked for all people.
        let mut answers = 5 * PEOPLE;
        let pairs = usize::try_from(length.pairs).expect("a thousand");
        for check in CHECKS {
            let takes = PAIR * u32::try_from(length.pairs).unwrap_or(1) + WARM_UP;
            runner.progress.begin(check.label, "samples", takes);
            let mut samples = measure::counted_sampling(ours.work(check.asked));
            let mut so_far = 0;
            let mut sample = || {
                let calls = samples();
                so_far = calls.so_far;
                calls.ns
            };
            let mut of_floor = measure::sampling(floor.work(check.asked));
            let mut figure = beside(
                Measure::NsPerCheck,
                [(check.who, check.label), (Who::ExtendedFloor, "by hand in Rust")],
                &measure::pairs(&mut sample, &mut of_floor, pairs),
            );
            // One that has failed is not asked again.
            libraries.retain_mut(|library| {
                runner.progress.begin(check.label, library.who().name(), takes);
                let beside = libraries::beside(library, check, &mut sample, pairs, &mut findings);
                let is_sound = beside.is_some();
                figure.beside.extend(beside);
                is_sound
            });
            findings.figures.push(figure);
            answers += so_far * check.asked.map_or_else(|| looped().count(), |_| 1);
        }
        answers += threads::threads(&ours, &floor, length, runner, &mut findings);
        let told = ours.end();
        if u64::try_from(answers) != Ok(told) {
            findings.errors.push(format!("of {answers} answers the client told its server {told}"));
        }
        runner.progress.begin("Node", "WebAssembly", node::takes(runner.is_short));
        node::in_node(runner.is_short, &mut findings);
        Ok(findings)
    }
}

impl Sdk {
    fn length(&self, is_short: bool) -> Length {
        if is_short { self.short } else { self.full }
    }
}

/// A figure and what it is beside, of pairs of values.
fn beside(measure: Measure, [(who, label), (of, other)]: [(Who, &str); 2], pairs: &[(f64, f64)]) -> Figure {
    let value = median(&pairs.iter().map(|pair| pair.0).collect::<Vec<f64>>());
    Figure::new(measure, who, label, value).beside(what_beside((of, other), pairs))
}

/// What a figure is beside, of pairs of its values and the other's.
fn what_beside((of, label): (Who, &str), pairs: &[(f64, f64)]) -> Beside {
    let ratios: Vec<f64> = pairs.iter().map(|(one, other)| one / other).collect();
    let value = median(&pairs.iter().map(|pair| pair.1).collect::<Vec<f64>>());
    Beside { of, label: label.to_owned(), value, ratio: Ratio::of(&ratios), doubt: None }
}
