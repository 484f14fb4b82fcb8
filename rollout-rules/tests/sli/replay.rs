//! Stored slots replay to the same verdicts to the bit, whatever becomes of the code that folds them.

use std::fmt::Write as _;

use rollout_rules::ids::{Revision, VariantKey};
use rollout_rules::sli::guardrail::{Bound, Operator, Sli, TWICE, Test};
use rollout_rules::sli::{
    Bucket, Outcomes, Part, Peers, Plan, Sample, Slot, SlotEntry, SlowUnits, UnitHash, UnitList, Watch,
};
use rollout_rules::time::DurationMs;

const START: Slot = Slot(180_000_000);
/// What the slots below were judged to be: a line for each verdict that is new, and all of them every ten minutes.
const VERDICTS: &str = include_str!("../../golden/verdicts-v1.jsonl");

/// Throws that are the same on every machine (splitmix64).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.throw() % end
    }
}

/// What happens in one stored stream of slots.
struct Story {
    name: &'static str,
    seed: u64,
    users: u64,
    requests: u64,
    /// Failed requests of the control and, from the slot of `breaks` on, of each variant, in a thousand.
    errors: [u64; 3],
    /// How long the variants' requests take from then on, in tenths of the control's.
    tenths: u64,
    breaks: u32,
    /// From which slot on which weights are served: control, new, newer.
    shares: &'static [(u32, [u32; 3])],
    listed: bool,
}

const STORIES: [Story; 4] = [
    Story {
        name: "errors rise late",
        seed: 11,
        users: 5_000,
        requests: 60,
        errors: [15, 45, 15],
        tenths: 10,
        breaks: 260,
        shares: &[(0, [90, 10, 0]), (150, [75, 25, 0]), (420, [50, 25, 25])],
        listed: true,
    },
    Story {
        name: "latency doubles for few users",
        seed: 12,
        users: 150,
        requests: 50,
        errors: [10, 10, 10],
        tenths: 20,
        breaks: 150,
        shares: &[(0, [90, 10, 0]), (90, [80, 20, 0])],
        listed: false,
    },
    Story {
        name: "nothing breaks",
        seed: 13,
        users: 900,
        requests: 40,
        errors: [30, 30, 30],
        tenths: 10,
        breaks: 0,
        shares: &[(0, [99, 1, 0]), (120, [50, 50, 0]), (300, [1, 1, 1])],
        listed: true,
    },
    Story {
        name: "a little slower",
        seed: 14,
        users: 20_000,
        requests: 120,
        errors: [5, 6, 5],
        tenths: 12,
        breaks: 60,
        shares: &[(0, [50, 50, 0])],
        listed: false,
    },
];

fn key(at: usize) -> VariantKey {
    VariantKey::new(["old", "new", "newer"][at]).unwrap()
}

fn tests() -> Vec<Test> {
    let worse = |sli| Test::WorseThanControl { sli, by_thousandths: TWICE };
    let (above, long) = (Operator::Above, Some(DurationMs(300_000)));
    vec![
        worse(Sli::ErrorRate),
        worse(Sli::LatencyP95),
        worse(Sli::LatencyP99),
        Test::Threshold {
            sli: Sli::ErrorRate,
            operator: above,
            bound: Bound::Millionths(80_000),
            sustained_ms: long,
        },
        Test::Threshold {
            sli: Sli::LatencyP95,
            operator: above,
            bound: Bound::TimesBaseline(2_500),
            sustained_ms: long,
        },
        Test::Threshold {
            sli: Sli::LatencyP95,
            operator: above,
            bound: Bound::Microseconds(2_000_000),
            sustained_ms: None,
        },
    ]
}

/// What a variant did in a slot: its numbers, its units and those of them that were bad, and how slow units were.
type OfVariant = (Outcomes, [Vec<u64>; 2], Vec<(UnitHash, Bucket)>);

impl Story {
    fn weights(&self, number: u32) -> (Revision, [u32; 3]) {
        let at = self.shares.iter().rposition(|(from, _)| *from <= number).unwrap_or(0);
        (Revision(at as u64 + 1), self.shares[at].1)
    }

    fn slot(&self, number: u32, dice: &mut Dice) -> SlotEntry {
        let (revision, weights) = self.weights(number);
        let all = u64::from(weights.iter().sum::<u32>());
        let mut parts: Vec<OfVariant> = (0..3).map(|_| Default::default()).collect();
        for _ in 0..self.requests / 2 + dice.below(self.requests) {
            let user = dice.below(self.users);
            let mut place = user * 0x51_7cc1 % 1_000 * all / 1_000;
            let at = (0..3).find(|at| {
                let weight = u64::from(weights[*at]);
                let mine = place < weight;
                place = place.saturating_sub(weight);
                mine
            });
            let at = at.unwrap_or(0);
            let broken = at > 0 && number >= self.breaks;
            let (outcomes, [served, bad], slow) = &mut parts[at];
            outcomes.requests += 1;
            served.push(user);
            if dice.below(1_000) < self.errors[if broken { at } else { 0 }] {
                outcomes.bad_requests += 1;
                bad.push(user);
            }
            let tail = dice.below(64);
            let us =
                (40_000 + dice.below(40_000) + tail * tail * 60) * if broken { self.tenths } else { 10 } / 10;
            outcomes.latency.add(us, 1);
            outcomes.cost_micros += 1_000 + us / 100;
            if us >= 140_000 {
                slow.push((hash(user), Bucket::of(us)));
            }
        }
        let parts = parts.into_iter().enumerate().filter(|(_, (outcomes, ..))| outcomes.requests > 0);
        let parts = parts.map(|(at, (mut outcomes, [served, bad], slow))| {
            let list = |units: &[u64]| units.iter().map(|user| (hash(*user), ())).collect::<UnitList>();
            let served = list(&served);
            outcomes.units = served.units().len() as u64;
            outcomes.served = if self.listed { served } else { Sample::unknown() };
            outcomes.bad = list(&bad);
            outcomes.slow = SlowUnits::from_iter(slow);
            outcomes.slow_from_us = 140_000;
            Part { revision, variant: key(at), outcomes }
        });
        SlotEntry { slot: START.plus(number), sources: 1, parts: parts.collect() }
    }

    fn told(&self) -> String {
        let mut told = String::new();
        let mut dice = Dice(self.seed);
        let mut watch = Watch::new(tests(), None, START);
        for number in 0..720 {
            let (revision, weights) = self.weights(number);
            if self.shares.iter().any(|(from, _)| *from == number) {
                let weights = (0..3).map(|at| (key(at), weights[at])).collect();
                watch.plan(Plan { revision, control: Some(key(0)), weights });
            }
            let entry = self.slot(number, &mut dice);
            // A source is silent for a while, and some slots are never told of.
            let (silent, lost) = ((600..606).contains(&number), (640..650).contains(&number));
            let entry = if silent { SlotEntry { sources: 0, parts: vec![], ..entry } } else { entry };
            let news = if lost { vec![] } else { watch.step(&entry, Peers::default()) };
            let all = number % 60 == 59;
            let verdicts = news.into_iter().chain(watch.verdicts().filter(|_| all));
            for verdict in verdicts {
                let verdict = serde_json::to_string(&verdict).unwrap();
                writeln!(told, "{{\"story\":\"{}\",\"at\":{number},\"verdict\":{verdict}}}", self.name)
                    .unwrap();
            }
        }
        told
    }
}

fn hash(user: u64) -> UnitHash {
    UnitHash(Dice(user).throw())
}

#[test]
fn stored_slots_are_judged_as_they_were_when_they_were_stored() {
    let told: String = STORIES.iter().map(Story::told).collect();
    if told == VERDICTS {
        return;
    }
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/verdicts-v1.jsonl");
    std::fs::write(file, &told).unwrap();
    let first = told.lines().zip(VERDICTS.lines()).find(|(now, then)| now != then);
    panic!("verdicts are others than they were (all of them: {file}): {first:#?}");
}
