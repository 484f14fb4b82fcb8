//! Sources that fail, a split that is skewed, variants that should go on or not, and what it all costs.

use std::ops::Range;

use rollout_rules::ids::Revision;
use rollout_rules::sli::guardrail::{Sli, TWICE, Test};
use rollout_rules::sli::{Intake, Outcomes, Part, Peers, Slot, SlotEntry, State, UnitHash, UnitList, Watch};
use rollout_rules::time::DurationMs;

use crate::apps;
use crate::dice::{Counts, Dice};
use crate::traffic::{START, Traffic, World, control, variant};

/// What came of something that is not a row of the table.
pub(crate) struct Told {
    pub(crate) id: &'static str,
    pub(crate) said: String,
    pub(crate) missed: bool,
}

/// The ids of what is run here.
pub(crate) const IDS: [&str; 5] = ["B8", "B9", "B10", "B13", "adv"];

pub(crate) fn run(id: &'static str, runs: u64, seed: u64) -> Vec<Told> {
    let some = seed..seed + runs.min(50);
    let many = seed..seed + runs.clamp(100, 10_000);
    let told = |said: String, missed: bool| Told { id, said, missed };
    let part = |name: &str, seeds: Range<u64>, is: &dyn Fn(u64) -> bool| {
        let (of, count) = (seeds.end - seeds.start, seeds.filter(|seed| is(*seed)).count());
        (count as f64 / of as f64, format!("{name}: {count} of {of}"))
    };
    // With few runs, no more is asked than chance allows.
    let slack = |part: f64, runs: u64| 3.0 * (part * (1.0 - part) / runs as f64).sqrt();
    match id {
        "B8" => Fault::ALL
            .into_iter()
            .map(|(name, fault)| {
                let wrong = some.clone().find_map(|seed| faulty(fault, seed));
                told(format!("{name}: {}", wrong.as_deref().unwrap_or("ok")), wrong.is_some())
            })
            .collect(),
        "B9" => {
            let (found, said) =
                part("10 % planned, 12 % seen, 20,000 exposures, invalid", many.clone(), &|seed| {
                    skewed(12, seed)
                });
            let (wrong, said_wrong) =
                part("10 % planned and seen, invalid", many.clone(), &|seed| skewed(10, seed));
            let runs = many.end - many.start;
            vec![
                told(said, found < 0.99 - slack(0.99, runs)),
                told(said_wrong, wrong > 0.001 + slack(0.001, runs)),
            ]
        }
        "B10" => vec![shared_outage(seed, runs.div_ceil(20).min(50))],
        "B13" => {
            let some = seed..seed + runs.div_ceil(20).min(20);
            let (same, said) = part("stored slots, folded again, the same to the bit", some, &apps::replays);
            vec![told(said, same < 1.0)]
        }
        _ => {
            let some = seed..seed + runs.min(200);
            let (wrong, said) = part("twice as bad, shown to be good within 6 h", some.clone(), &|seed| {
                shown_good(2.0, seed)
            });
            let (right, said_right) =
                part("as good as the control, shown to be so within 6 h", some.clone(), &|seed| {
                    shown_good(1.0, seed)
                });
            let runs = some.end - some.start;
            vec![told(said, wrong > 0.05 + slack(0.05, runs)), told(said_right, right < 0.5)]
        }
    }
}

/// Whether a variant with so many errors, in percent, is shown to be no worse than twice the control's 1 %, within six hours
/// at half of 10 requests a second from 2,000 users.
fn shown_good(percent: f64, seed: u64) -> bool {
    let (mut dice, mut counts) = (Dice::new(seed), Counts::default());
    let mut watch =
        Watch::new(vec![Test::WorseThanControl { sli: Sli::ErrorRate, by_thousandths: TWICE }], None, START);
    Traffic::calm(10.0, 50).plans().into_iter().for_each(|plan| watch.plan(plan));
    let users: Vec<(UnitHash, bool)> =
        (0..2_000).map(|_| (UnitHash(dice.throw()), dice.chance(0.5))).collect();
    for number in 0..2_160 {
        let mut sides = [(0, Vec::new(), Vec::new()), (0, Vec::new(), Vec::new())];
        let mut failed = [0, 0];
        for _ in 0..counts.draw(100.0, &mut dice) {
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

/// An outage that 200 flags share, in so many runs.
fn shared_outage(seed: u64, runs: u64) -> Told {
    const FLAGS: usize = 200;
    let acts: Vec<apps::Acts> = (seed..seed + runs).map(|seed| apps::outage(FLAGS, seed)).collect();
    let once = acts.iter().filter(|acts| acts.app == 1).count();
    let woken = acts.iter().filter(|acts| acts.pages == 1).count();
    let (during, else_) = acts.iter().fold((0, 0), |sum, acts| (sum.0 + acts.flags.0, sum.1 + acts.flags.1));
    let said = format!(
        "one outage of {FLAGS} flags: the app's rule acts once in {once}, one page in {woken} of {runs} runs; compared \
         rules that act in it: {during}, at another time: {else_} of {}",
        FLAGS as u64 * runs
    );
    Told { id: "B10", said, missed: once < acts.len() || woken < acts.len() || during > 0 }
}

/// What a flag's slot costs for each of three tests, over ten thousand flags with a request a second each of 200 users, every
/// list filled as the SDK does, when an hour has passed: the mean of the processor time that the thread had, where the system
/// tells that, and the median of what passed on the clock, in nanoseconds.
///
/// Most of it is waiting for memory: 30 flags, which stay near the processor, take 300 ns; ten thousand, half a gigabyte with their
/// made-up users, 1,050 to 1,400 ns on two virtual cores that others use too (1,060 with huge pages). Of these a fifth goes to the
/// window of latencies, a sixth to the units seen for skew, a sixth to the units that turned bad, and most of the rest to the first
/// look at what the slot tells.
pub(crate) fn cost() -> (Option<u64>, u64) {
    const FLAGS: u64 = 10_000;
    const ROUNDS: u32 = 60;
    let sides = [Sli::ErrorRate, Sli::LatencyP95, Sli::LatencyP99];
    let tests = sides.map(|sli| Test::WorseThanControl { sli, by_thousandths: TWICE });
    let traffic = Traffic { slow: Some((0.0, 1.0)), listed: true, users: 200, ..Traffic::calm(1.0, 10) };
    let mut worlds: Vec<World> = (0..FLAGS).map(|seed| World::new(traffic.clone(), seed)).collect();
    let mut watches: Vec<Watch> = (0..FLAGS).map(|_| Watch::new(tests.to_vec(), None, START)).collect();
    watches.iter_mut().for_each(|watch| traffic.plans().into_iter().for_each(|plan| watch.plan(plan)));
    let (mut rounds, mut worked) = (Vec::new(), Some(0));
    let mut news = 0;
    for number in 0..360 + ROUNDS {
        let entries: Vec<SlotEntry> = worlds.iter_mut().map(|world| world.slot(number)).collect();
        let (had, began) = (processor_ns(), std::time::Instant::now());
        for (watch, entry) in watches.iter_mut().zip(&entries) {
            news += watch.step(entry, Peers::default()).len();
        }
        if number >= 360 {
            rounds.push(began.elapsed().as_nanos() as u64 / (FLAGS * 3));
            worked = worked.and_then(|sum| Some(sum + processor_ns()?.saturating_sub(had?)));
        }
    }
    assert!(news > 0, "something is said");
    rounds.sort_unstable();
    (worked.map(|worked| worked / (FLAGS * 3 * u64::from(ROUNDS))), rounds[rounds.len() / 2])
}

/// The processor time that this thread has had, as Linux tells it.
fn processor_ns() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_ascii_whitespace().next()?.parse().ok()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Traffic,
    Source,
    Restarts,
    Batches,
}

impl Fault {
    const ALL: [(&'static str, Fault); 4] = [
        ("no traffic for 30 min is no data", Fault::Traffic),
        ("a source that is down for 30 min is stale", Fault::Source),
        ("a source that begins to count anew every minute does no harm", Fault::Restarts),
        ("batches that are late, repeated or 60 s off do no harm", Fault::Batches),
    ];
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
            // What it had counted in the slot is lost, and so is who it knew.
            Fault::Restarts if wrong && number % 6 == 0 => vec![SlotEntry { parts: Vec::new(), ..whole }],
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
            Fault::Restarts | Fault::Batches => continue,
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
