//! Sources that fail, a split that is skewed, variants that should go on or not, and what it all costs.

use rollout_rules::ids::Revision;
use rollout_rules::sli::guardrail::{Sli, TWICE, Test};
use rollout_rules::sli::{Intake, Outcomes, Part, Peers, Slot, SlotEntry, State, UnitHash, UnitList, Watch};
use rollout_rules::time::DurationMs;

use crate::dice::Dice;
use crate::traffic::{START, Traffic, World, control, variant};

/// Each with what was missed, if something was.
pub(crate) fn all(runs: u64) -> Vec<(&'static str, &'static str, String)> {
    let some = runs.min(50);
    let mut all = Vec::new();
    for (name, fault) in [
        ("no traffic for 30 min is no data", Fault::Traffic),
        ("a source that is down for 30 min is stale", Fault::Source),
        ("batches that are late, repeated or 60 s off do no harm", Fault::Batches),
    ] {
        let missed: Vec<String> = (0..some).filter_map(|seed| faulty(fault, seed)).collect();
        all.push(("B8", name, missed.first().cloned().unwrap_or_default()));
    }
    let invalid = (0..some.max(100)).filter(|seed| skewed(12, *seed)).count() as f64 / some.max(100) as f64;
    let missed = if invalid < 0.99 - if runs < 1_000 { 0.03 } else { 0.0 } {
        format!("invalid in {invalid:.3}")
    } else {
        String::new()
    };
    all.push(("B9", "10 % planned, 12 % seen, 20,000 exposures: invalid", missed));
    let invalid = (0..some).filter(|seed| skewed(10, *seed)).count();
    all.push((
        "B9",
        "10 % planned and seen: not invalid",
        if invalid > 1 { format!("{invalid} of {some}") } else { String::new() },
    ));
    let wrongly = (0..some).filter(|seed| shown_good(2.0, *seed)).count();
    let missed = if wrongly as f64 > some as f64 * 0.05 + 3.0 * (some as f64 * 0.0475).sqrt() {
        format!("{wrongly} of {some}")
    } else {
        String::new()
    };
    all.push(("adv", "twice as bad: goes on in 5 % of runs at most", missed));
    let rightly = (0..some).filter(|seed| shown_good(1.0, *seed)).count();
    let missed = if rightly * 2 < some as usize { format!("{rightly} of {some}") } else { String::new() };
    all.push(("adv", "as good as the control: goes on within 6 h in half of the runs", missed));
    all
}

/// Whether a variant with so many errors, in percent, is shown to be no worse than twice the control's 1 %, within six hours
/// at half of 10 requests a second from 2,000 users.
fn shown_good(percent: f64, seed: u64) -> bool {
    let mut dice = Dice::new(seed);
    let mut watch =
        Watch::new(vec![Test::WorseThanControl { sli: Sli::ErrorRate, by_thousandths: TWICE }], None, START);
    Traffic::calm(10.0, 50).plans().into_iter().for_each(|plan| watch.plan(plan));
    let users: Vec<(UnitHash, bool)> =
        (0..2_000).map(|_| (UnitHash(dice.throw()), dice.chance(0.5))).collect();
    for number in 0..2_160 {
        let mut sides = [(0, Vec::new(), Vec::new()), (0, Vec::new(), Vec::new())];
        let mut failed = [0, 0];
        for _ in 0..dice.poisson(100.0) {
            let (unit, is_variant) = users[dice.below(users.len())];
            let at = usize::from(!is_variant);
            sides[at].0 += 1;
            sides[at].1.push((unit, ()));
            if dice.chance(if is_variant { percent / 100.0 } else { 0.01 }) {
                sides[at].2.push((unit, ()));
                failed[at] += 1;
            }
        }
        let parts = sides.into_iter().zip(failed).zip([variant(), control()]);
        let parts = parts.map(|(((requests, served, bad), bad_requests), variant)| {
            let (served, bad) = (UnitList::from_iter(served), UnitList::from_iter(bad));
            let units = served.units().len() as u64;
            let outcomes = Outcomes { units, requests, bad_requests, served, bad, ..Outcomes::default() };
            Part { revision: Revision(1), variant, outcomes }
        });
        watch.step(
            &SlotEntry { slot: START.plus(number), sources: 1, parts: parts.collect() },
            Peers::default(),
        );
        if watch.verdicts().any(|verdict| verdict.shown_good) {
            return true;
        }
    }
    false
}

/// What a flag's slot costs for each of three tests, in nanoseconds: the median of several rounds over a thousand flags with
/// a request a second each.
pub(crate) fn cost() -> u64 {
    let sides = [Sli::ErrorRate, Sli::LatencyP95, Sli::LatencyP99];
    let tests = sides.map(|sli| Test::WorseThanControl { sli, by_thousandths: TWICE });
    let traffic = Traffic { slow: Some((0.0, 1.0)), ..Traffic::calm(1.0, 10) };
    let mut worlds: Vec<World> =
        (0..1_000).map(|seed| World::new(Traffic { users: 200, ..traffic.clone() }, seed)).collect();
    let mut watches: Vec<Watch> = (0..1_000).map(|_| Watch::new(tests.to_vec(), None, START)).collect();
    watches.iter_mut().for_each(|watch| traffic.plans().into_iter().for_each(|plan| watch.plan(plan)));
    let mut rounds = Vec::new();
    for number in 0..360 {
        let entries: Vec<SlotEntry> = worlds.iter_mut().map(|world| world.slot(number)).collect();
        let began = spent_ns();
        let news: usize = watches
            .iter_mut()
            .zip(&entries)
            .map(|(watch, entry)| watch.step(entry, Peers::default()).len())
            .sum();
        rounds.push((spent_ns() - began) / 3_000 + news as u64 / 1_000_000);
    }
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// What this process has used of a core, in nanoseconds; where the system does not tell, the time that has passed.
fn spent_ns() -> u64 {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let told = told.and_then(|told| told.split(' ').next()?.parse().ok());
    told.unwrap_or_else(|| BEGAN.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Traffic,
    Source,
    Batches,
}

fn watch() -> Watch {
    let tests =
        [Sli::ErrorRate, Sli::LatencyP95].map(|sli| Test::WorseThanControl { sli, by_thousandths: TWICE });
    let mut watch = Watch::new(tests.to_vec(), None, START);
    Traffic::calm(10.0, 10).plans().into_iter().for_each(|plan| watch.plan(plan));
    watch
}

/// Two hours, of which half an hour goes wrong.
fn faulty(fault: Fault, seed: u64) -> Option<String> {
    let mut watch = watch();
    let mut world = World::new(Traffic::calm(10.0, 10), seed);
    let mut dice = Dice::new(seed ^ 0x5eed);
    let mut intake = Intake::new(START.starts_at());
    let mut state = State::Warming;
    for number in 0..720 {
        let wrong = (360..540).contains(&number);
        let whole = world.slot(number);
        let entries: Vec<SlotEntry> = match fault {
            Fault::Traffic if wrong => vec![SlotEntry { parts: Vec::new(), ..whole }],
            Fault::Source if wrong => vec![SlotEntry { parts: Vec::new(), sources: 0, ..whole }],
            Fault::Batches if wrong => sent(&mut intake, &whole, &mut dice),
            Fault::Batches => sent_well(&mut intake, &whole),
            _ => vec![whole],
        };
        for verdict in entries.iter().flat_map(|entry| watch.step(entry, Peers::default())) {
            state = verdict.state;
            if state == State::Regressed {
                return Some(format!("seed {seed}: {verdict}"));
            }
        }
        let expected = match fault {
            Fault::Traffic => State::NoData,
            Fault::Source => State::Stale,
            Fault::Batches => continue,
        };
        if wrong && number >= 361 && state != expected {
            return Some(format!("seed {seed}: {state:?} at {number}"));
        }
        if !wrong && number > 541 && !matches!(state, State::Ok | State::Suspect) {
            return Some(format!("seed {seed}: still {state:?} at {number}"));
        }
    }
    None
}

fn sent_well(intake: &mut Intake, slot: &SlotEntry) -> Vec<SlotEntry> {
    let now = slot.slot.ends_at();
    for (at, part) in slot.parts.iter().enumerate() {
        let name = u64::from(slot.slot.0) << 8 | at as u64;
        let _ = intake.add(name, slot.slot, (part.revision, &part.variant), &part.outcomes, now);
    }
    intake.close(|_| 1, now.plus(DurationMs(3_000)))
}

/// Half of the batches come twice, a tenth too late, a tenth with a clock that is a minute off.
fn sent(intake: &mut Intake, slot: &SlotEntry, dice: &mut Dice) -> Vec<SlotEntry> {
    let now = slot.slot.ends_at();
    for (at, part) in slot.parts.iter().enumerate() {
        let name = u64::from(slot.slot.0) << 8 | at as u64;
        let (late, off) = (dice.chance(0.1), dice.chance(0.1));
        let told = match (off, dice.chance(0.5)) {
            (true, true) => slot.slot.plus(6),
            (true, false) => Slot(slot.slot.0 - 6),
            _ => slot.slot,
        };
        let now = if late { now.plus(DurationMs(20_000)) } else { now };
        for _ in 0..1 + u32::from(dice.chance(0.5)) {
            let _ = intake.add(name, told, (part.revision, &part.variant), &part.outcomes, now);
        }
    }
    intake.close(|_| 1, now.plus(DurationMs(3_000)))
}

/// Whether 20,000 users of whom so many percent are served the variant, where 10 % are planned, make the split invalid.
fn skewed(percent: u64, seed: u64) -> bool {
    let mut dice = Dice::new(seed);
    let mut watch = watch();
    for number in 0..100 {
        let mut served = [Vec::new(), Vec::new()];
        for _ in 0..200 {
            served[usize::from(!dice.chance(percent as f64 / 100.0))].push((UnitHash(dice.throw()), ()));
        }
        let parts = served.into_iter().zip([variant(), control()]).map(|(units, variant)| {
            let count = units.len() as u64;
            let served = UnitList::from_iter(units);
            let outcomes = Outcomes { units: count, requests: count, served, ..Outcomes::default() };
            Part { revision: Revision(1), variant, outcomes }
        });
        let entry = SlotEntry { slot: START.plus(number), sources: 1, parts: parts.collect() };
        watch.step(&entry, Peers::default());
    }
    watch.verdicts().any(|verdict| verdict.state == State::Invalid)
}
