//! Spells in which everybody is saturated in turn. In every other round the order is turned round, so that whatever
//! drifts meets all alike; what is of the same round makes pairs. While one is measured the others are up and idle.

use std::time::Duration;

use crate::checks::Contender;
use crate::problem::Problem;
use crate::process::{CoreTime, CpuTime, resident_kib};
use crate::report::{Findings, Spell, per_second};
use crate::run::Runner;
use crate::scenario::{Reading, SPELL_MS};
use crate::sender::{Pace, Sender};

/// What each spell begins with that is not measured: connections are taken, caches filled.
pub(crate) const LEAD_IN: Duration = Duration::from_millis(200);
/// Most rounds of a scenario.
const MAX_ROUNDS: u64 = 64;
/// Above this share of its time the sender has too much to do to tell what a server can.
pub(crate) const MOST_SENDER_BUSY: f64 = 0.95;
/// Others may have so much of the server's core; a tick of the system's clock is a hundredth of a second.
const MOST_FOREIGN: f64 = 0.05;
/// The hypervisor may have so much of it.
const MOST_STOLEN: f64 = 0.02;

/// One in so many spells may be repeated: on a machine that others use all the time no second try is better.
const REPEATED: u64 = 4;

/// How many rounds there are, and how long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    /// Everybody is saturated once in each.
    pub(crate) rounds: u64,
    pub(crate) saturate: Duration,
    /// Once for everybody, before anything is measured.
    pub(crate) warm_up: Duration,
}

impl Plan {
    /// Reads `rounds`, `saturate_ms` and `warm_up_ms`.
    pub(crate) fn read(table: &mut Reading<'_>) -> Plan {
        Plan {
            rounds: table.number("rounds", 1..=MAX_ROUNDS),
            saturate: table.millis("saturate_ms", SPELL_MS),
            warm_up: table.millis("warm_up_ms", SPELL_MS),
        }
    }

    /// What so many contenders take, repetitions not counted.
    pub(crate) fn takes(&self, contenders: usize) -> Duration {
        let everybody = u32::try_from(contenders).unwrap_or(u32::MAX);
        let rounds = u32::try_from(self.rounds).unwrap_or(u32::MAX);
        let saturated = (self.saturate + LEAD_IN).saturating_mul(rounds).saturating_mul(everybody);
        saturated.saturating_add(self.warm_up.saturating_mul(everybody))
    }
}

/// Warms everybody up and runs all rounds. A disturbed spell is repeated once, but for the short form.
pub(crate) fn run(
    contenders: &mut [Contender],
    plan: Plan,
    runner: &mut Runner,
    findings: &mut Findings,
) -> Result<(), Problem> {
    for contender in contenders.iter_mut() {
        runner.progress.begin(&contender.label, "warm-up", plan.warm_up);
        let mut sender = Sender::connect(vec![contender.lane()?])?;
        let sent = sender.run(&[Pace::Saturate], plan.warm_up, &mut runner.progress)?;
        findings.take_faults(&contender.label, &sent);
    }
    let mut tries_left = if runner.is_short { 0 } else { plan.rounds * contenders.len() as u64 / REPEATED };
    for round in 0..plan.rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (place, at) in order.into_iter().enumerate() {
            let contender = &mut contenders[at];
            let what = format!("round {}/{}", round + 1, plan.rounds);
            runner.progress.begin(&contender.label, &what, plan.saturate + LEAD_IN);
            let mut spell = saturate(contender, plan.saturate, runner, findings)?;
            if spell.is_disturbed && tries_left > 0 {
                tries_left -= 1;
                runner.progress.add(plan.saturate + LEAD_IN);
                spell = saturate(contender, plan.saturate, runner, findings)?;
                spell.is_repeated = true;
            }
            findings.spells.push(Spell { round, order: place, ..spell });
        }
    }
    Ok(())
}

fn saturate(
    contender: &mut Contender,
    length: Duration,
    runner: &mut Runner,
    findings: &mut Findings,
) -> Result<Spell, Problem> {
    let mut sender = Sender::connect(vec![contender.lane()?])?;
    let lead_in = sender.run(&[Pace::Saturate], LEAD_IN, &mut runner.progress)?;
    findings.take_faults(&contender.label, &lead_in);
    let load = Load::begin(contender.process, runner.cores.of_servers());
    let sent = sender.run(&[Pace::Saturate], length, &mut runner.progress)?;
    let load = load.end(length);
    findings.take_faults(&contender.label, &sent);
    let busy = sent.busy;
    let tally = sent.tallies.into_iter().next().expect("one lane");
    #[allow(clippy::cast_precision_loss, reason = "millions")]
    let each_us = |ns: u64| ns as f64 / 1e3 / tally.answered as f64;
    Ok(Spell {
        who: contender.who,
        round: 0,
        order: 0,
        rate: per_second(tally.answered_in_time, length),
        cpu_us: load.cpu_ns.map(each_us),
        rss_kib: contender.process.map(resident_kib),
        foreign: load.foreign,
        stolen: load.stolen,
        sender_busy: busy,
        is_disturbed: load.is_disturbed(),
        is_repeated: false,
    })
}

/// A look at a server's core and its process, before something is measured.
pub(crate) struct Before {
    process: Option<u32>,
    core: usize,
    core_time: CoreTime,
    cpu: Option<CpuTime>,
}

/// Who had the server's core meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// What the server had of all cores; none if nobody sees its process.
    pub(crate) cpu_ns: Option<u64>,
    /// The share that others had.
    pub(crate) foreign: Option<f64>,
    /// The share that the hypervisor had.
    pub(crate) stolen: f64,
}

impl Load {
    pub(crate) fn begin(process: Option<u32>, core: usize) -> Before {
        Before { process, core, core_time: CoreTime::of(core), cpu: process.map(CpuTime::of) }
    }

    /// Whether figures of that time are those of another machine.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.stolen > MOST_STOLEN || self.foreign.is_some_and(|foreign| foreign > MOST_FOREIGN)
    }
}

impl Before {
    /// Looks again, so long after.
    pub(crate) fn end(self, length: Duration) -> Load {
        let (core_time, cpu) = (CoreTime::of(self.core), self.process.map(CpuTime::of));
        let cpu_ns = self.cpu.zip(cpu).and_then(|(before, after)| after.ns_since(&before));
        let (core_busy, stolen) = core_time.shares_since(&self.core_time).unwrap_or_default();
        #[allow(clippy::cast_precision_loss, reason = "minutes of nanoseconds")]
        let share = |ns: u64| ns as f64 / length.as_nanos() as f64;
        let foreign = cpu_ns.map(|ns| (core_busy - share(ns)).max(0.0));
        Load { cpu_ns, foreign, stolen }
    }
}
