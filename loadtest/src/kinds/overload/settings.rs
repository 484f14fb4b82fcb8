//! What a scenario of overload says in its section.

use std::time::Duration;

use super::recovery;
use crate::kinds::Kind;
use crate::problem::Problem;
use crate::report::Findings;
use crate::run::Runner;
use crate::scenario::{Measure, Reading, SPELL_MS, Scenario, Who};

/// Most that the server may be allowed to take, and most times as much that is offered.
const MAX_CAPACITY: u64 = 5_000;
const MAX_TIMES: u64 = 20;
/// Most connections over which it comes.
const MAX_CONNECTIONS: u64 = 1_000;
/// Most turns.
const MAX_TURNS: u64 = 50;
/// Most kills that fill what is kept.
const MAX_KILLS: u64 = 100_000;

/// The section.
#[derive(Debug)]
pub(super) struct Settings {
    /// Checks a second that the server takes.
    pub(super) capacity: u32,
    /// Checks that it takes at once after a pause.
    pub(super) burst: u32,
    /// So many times the capacity is offered.
    pub(super) times: u32,
    pub(super) connections: usize,
    full: Length,
    short: Length,
}

/// How long it takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Length {
    /// Kills before anything is measured.
    pub(super) kills: usize,
    pub(super) warm_up: Duration,
    pub(super) turns: usize,
    pub(super) quiet: Duration,
    pub(super) storm: Duration,
    pub(super) long_storm: Duration,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let mut number = |key, most| u32::try_from(table.number(key, 1..=most)).expect("within its bounds");
    let (capacity, burst) = (number("capacity", MAX_CAPACITY), number("burst", MAX_CAPACITY));
    let times = number("times", MAX_TIMES);
    let connections = table.number("connections", 1..=MAX_CONNECTIONS);
    Box::new(Settings {
        capacity,
        burst,
        times,
        connections: usize::try_from(connections).expect("within its bounds"),
        full: table.table("full", length).unwrap_or_default(),
        short: table.table("short", length).unwrap_or_default(),
    })
}

fn length(table: &mut Reading<'_>) -> Length {
    let count = |number: u64| usize::try_from(number).expect("within its bounds");
    Length {
        kills: count(table.number("kills", 0..=MAX_KILLS)),
        warm_up: table.millis("warm_up_ms", SPELL_MS),
        turns: count(table.number("turns", 1..=MAX_TURNS)),
        quiet: table.millis("quiet_ms", SPELL_MS),
        storm: table.millis("storm_ms", SPELL_MS),
        long_storm: table.millis("long_storm_ms", SPELL_MS),
    }
}

impl Settings {
    /// In its short or its full form.
    pub(super) fn length(&self, is_short: bool) -> &Length {
        if is_short { &self.short } else { &self.full }
    }
}

#[cfg(test)]
impl Settings {
    /// For tests that need no lengths.
    pub(super) fn of(capacity: u32, burst: u32) -> Settings {
        let (full, short) = (Length::default(), Length::default());
        Settings { capacity, burst, times: 10, connections: 1, full, short }
    }
}

impl Length {
    /// How long a turn takes.
    pub(super) fn turn(&self) -> Duration {
        self.quiet + self.storm + recovery::length() + self.quiet / 2
    }
}

impl Kind for Settings {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        match (measure, who, of) {
            (Measure::P99Ms, Who::Tidegate | Who::AfterStorm | Who::LongStorm, of) => {
                of.is_none_or(|of| of == Who::Quiet)
            }
            (Measure::Throughput, Who::Tidegate | Who::LongStorm, of) => {
                of.is_none_or(|of| of == Who::Capacity)
            }
            (
                Measure::RecoveryS
                | Measure::KibPerMinute
                | Measure::KibTaken
                | Measure::ToldWhen
                | Measure::KillMs
                | Measure::HealthMs,
                Who::Tidegate,
                None,
            ) => true,
            _ => false,
        }
    }

    fn planned(&self, is_short: bool, _: Option<&[Who]>) -> Duration {
        let length = self.length(is_short);
        let turns = length.turn().saturating_mul(u32::try_from(length.turns).unwrap_or(u32::MAX));
        turns + length.warm_up + length.long_storm + recovery::length() * 2
    }

    fn words(&self, is_short: bool) -> String {
        let Settings { capacity, times, connections, .. } = self;
        let Length { turns, storm, long_storm, .. } = self.length(is_short);
        format!(
            "{times} times the {capacity} checks a second that are allowed, {connections} connections, {turns} storms of {:.1} s and one of {:.0} s",
            storm.as_secs_f64(),
            long_storm.as_secs_f64()
        )
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        super::run(self, runner)
    }
}
