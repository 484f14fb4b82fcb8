//! What a scenario of checks says in its section.

use std::time::Duration;

use crate::kinds::{Kind, named};
use crate::problem::Problem;
use crate::report::Findings;
use crate::rounds::{LEAD_IN, Plan};
use crate::run::Runner;
use crate::scenario::{Measure, Reading, SPELL_MS, Scenario, Who};
use crate::sender::Arrivals;

/// Most flags that a scenario makes.
const MAX_FLAGS: u64 = 10_000;
/// Most connections that a sender opens.
const MAX_CONNECTIONS: u64 = 1_000;
/// Most rates at which latency is measured.
const MAX_RATES: usize = 16;
/// Latency may be asked for beyond what the floor can do, to show what becomes of it.
const MAX_SHARE: f64 = 1.5;

const REQUESTS: [(&str, Request); 3] =
    [("single", Request::Single), ("bulk", Request::Bulk), ("unchanged", Request::Unchanged)];
const ARRIVALS: [(&str, Arrivals); 2] = [("even", Arrivals::Even), ("poisson", Arrivals::Poisson)];
/// Who may be beside us.
const BESIDE: [(&str, Who); 6] = [
    ("tidegate-many", Who::TidegateMany),
    ("floor", Who::Floor),
    ("floor-get", Who::FloorGet),
    ("floor-same-length", Who::FloorSameLength),
    ("edge", Who::Edge),
    ("unleash", Who::Unleash),
];
/// Those of them that are no peers: what a file says runs everywhere, and has bars.
const IN_FILES: &[(&str, Who)] = BESIDE.split_at(4).0;
/// Those of them that the command line may ask for.
pub(crate) const BASELINES: &[(&str, Who)] = BESIDE.split_at(1).1;

/// What is asked again and again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Request {
    /// One flag.
    Single,
    /// All flags of the app.
    Bulk,
    /// All flags, by somebody who has them: answered with 304.
    Unchanged,
}

/// The section.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(crate) request: Request,
    /// Flags of the app whose flags are checked.
    pub(crate) flags: u64,
    pub(crate) connections: usize,
    pub(crate) arrivals: Arrivals,
    /// What is measured beside us in every round.
    pub(crate) beside: Vec<Who>,
    full: Length,
    short: Length,
}

/// How long it takes.
#[derive(Clone, Debug)]
pub(crate) struct Length {
    pub(crate) plan: Plan,
    /// Rates at which latency is measured, as shares of what the floor answers when saturated.
    pub(crate) at: Vec<f64>,
    pub(crate) at_length: Duration,
    /// Flags of the app with many, if there is one.
    pub(crate) many_flags: Option<u64>,
}

/// Reads the section.
pub(crate) fn read(table: &mut Reading<'_>) -> Box<dyn Kind> {
    let checks = Checks {
        request: table.one_of("request", &REQUESTS),
        flags: table.number("flags", 1..=MAX_FLAGS),
        connections: connections(table),
        arrivals: table.one_of_if_there("arrivals", &ARRIVALS).unwrap_or(Arrivals::Even),
        beside: table.names("beside", IN_FILES),
        full: table.table("full", length).unwrap_or_else(Length::none),
        short: table.table("short", length).unwrap_or_else(Length::none),
    };
    let has_many = checks.beside.contains(&Who::TidegateMany);
    for (form, length) in [("full", &checks.full), ("short", &checks.short)] {
        if has_many != length.many_flags.is_some() {
            table.note(&format!("{form}.many_flags"), "and `tidegate-many` in `beside` need each other");
        }
    }
    if !checks.beside.contains(&Who::Floor) {
        table.note("beside", "has no `floor`, of which rates are shares");
    }
    Box::new(checks)
}

/// Connections of a lane.
pub(crate) fn connections(table: &mut Reading<'_>) -> usize {
    usize::try_from(table.number("connections", 1..=MAX_CONNECTIONS)).expect("a thousand at most")
}

fn length(table: &mut Reading<'_>) -> Length {
    Length {
        plan: Plan::read(table),
        at: table.ratios("at", MAX_SHARE, MAX_RATES),
        at_length: table.millis("at_length_ms", SPELL_MS),
        many_flags: table.number_if_there("many_flags", 1..=MAX_FLAGS),
    }
}

impl Length {
    /// Where a form is missing, which is noted.
    fn none() -> Length {
        Length { plan: Plan::default(), at: Vec::new(), at_length: Duration::ZERO, many_flags: None }
    }
}

impl Checks {
    /// In its short or its full form.
    pub(crate) fn length(&self, is_short: bool) -> &Length {
        if is_short { &self.short } else { &self.full }
    }

    /// Who is measured beside: those that the command line names instead, if it does, and our own server with many flags,
    /// which it has no name for.
    pub(crate) fn beside(&self, against: Option<&[Who]>) -> Vec<Who> {
        let Some(against) = named(against, BASELINES) else { return self.beside.clone() };
        let own = self.beside.iter().filter(|who| **who == Who::TidegateMany);
        own.copied().chain(against).collect()
    }
}

impl Kind for Checks {
    fn gives(&self, measure: Measure, who: Who, of: Option<Who>) -> bool {
        let is_measured = |who| who == Who::Tidegate || self.beside.contains(&who);
        matches!(measure, Measure::ChecksPerCpuSecond | Measure::Throughput)
            && matches!(who, Who::Tidegate | Who::TidegateMany)
            && is_measured(who)
            && of.is_none_or(|of| of != who && is_measured(of))
    }

    fn planned(&self, is_short: bool, against: Option<&[Who]>) -> Duration {
        let length = self.length(is_short);
        // Latency is measured of two.
        let rates = u32::try_from(2 * length.at.len()).unwrap_or(u32::MAX);
        let at_rates = (length.at_length + LEAD_IN).saturating_mul(rates);
        length.plan.takes(self.beside(against).len() + 1).saturating_add(at_rates)
    }

    fn words(&self, is_short: bool) -> String {
        let Plan { rounds, saturate, .. } = self.length(is_short).plan;
        let (flags, connections, seconds) = (self.flags, self.connections, saturate.as_secs_f64());
        format!("{flags} flags, {connections} connections, {rounds} rounds of {seconds:.1} s")
    }

    fn takes_target(&self) -> bool {
        true
    }

    fn baselines(&self) -> &'static [(&'static str, Who)] {
        BASELINES
    }

    fn run(&self, _: &Scenario, runner: &mut Runner) -> Result<Findings, Problem> {
        super::run(self, runner)
    }
}
