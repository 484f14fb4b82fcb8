//! The test that compares a variant with the control, against its definition.

use proptest::collection::vec;
use proptest::prelude::*;
use rollout_rules::sli::{Comparison, EPOCH_SLOTS, MAX_RECALLED, Nats, Rate, Share, Slot, UnitHash};

const START: Slot = Slot(180_000_000);
const TENTH: Share = Share { variant: 10, control: 90 };
/// The effects that are bet on, and the parts of the stake.
const EFFECTS: [(f64, f64); 6] =
    [(1.5, 0.03), (2.0, 0.16), (3.0, 0.37), (5.0, 0.27), (10.0, 0.07), (30.0, 0.1)];

/// A slot: the bad units of the variant and of the control.
type BadUnits = (Vec<u64>, Vec<u64>);

fn listed(units: &[u64]) -> Vec<(UnitHash, ())> {
    let mut all: Vec<_> = units.iter().map(|unit| (UnitHash(*unit), ())).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn run(slots: &[BadUnits], share: Share) -> Comparison {
    let mut comparison = Comparison::new(START);
    for (number, (variant, control)) in (0..).zip(slots) {
        let slot = START.plus(number);
        comparison.begin(slot);
        comparison.count_units(slot, share, &listed(variant), &listed(control));
    }
    comparison
}

/// The definition: for each start and occasion, units count once, when that occasion comes after the start.
fn by_definition(slots: &[BadUnits], share: Share) -> f64 {
    let pi = share.probability();
    let mut best = f64::MIN;
    for (occasion, part) in [(1, 0.95), (3, 0.05)] {
        for (epoch, start) in (0..slots.len()).step_by(EPOCH_SLOTS as usize).enumerate() {
            let mut times = std::collections::HashMap::<u64, u32>::new();
            let (mut k, mut k1) = (0, 0);
            for (variant, control) in &slots[start..] {
                let all: std::collections::BTreeSet<u64> = variant.iter().chain(control).copied().collect();
                for unit in all {
                    let seen = times.entry(unit).or_default();
                    *seen += 1;
                    let both = variant.contains(&unit) && control.contains(&unit);
                    if *seen == occasion && !both {
                        k += 1;
                        k1 += i32::from(variant.contains(&unit));
                    }
                }
            }
            let bet = |(psi, part): (f64, f64)| part * psi.powi(k1) / (1.0 - pi + pi * psi).powi(k);
            let number = epoch as f64 + 1.0;
            let weight = if epoch == 0 { 0.66 } else { 0.34 * 6.0 / ((number + 4.0) * (number + 5.0)) };
            best = best.max((part * weight * EFFECTS.map(bet).iter().sum::<f64>()).ln());
        }
    }
    best
}

fn some_slots() -> impl Strategy<Value = Vec<BadUnits>> {
    // Few units, so that they come again and again.
    vec((vec(0..40_u64, 0..3), vec(0..40_u64, 0..4)), 1..130)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_evidence_is_what_the_definition_says(slots in some_slots(), variant in 1..60_u32) {
        let share = Share { variant, control: 60 };
        let told = run(&slots, share).evidence().log.to_f64();
        let defined = by_definition(&slots, share);
        prop_assert!((told - defined).abs() < 1e-6 && told <= defined + 1e-9, "{} instead of {}", told, defined);
    }

    #[test]
    fn the_quick_answer_is_that_of_the_evidence(slots in some_slots(), thousandths in -2_000..8_000_i64) {
        let comparison = run(&slots, Share { variant: 1, control: 1 });
        let asked = Nats(thousandths * 4_294_967);
        prop_assert_eq!(comparison.reaches(asked), comparison.evidence().log >= asked);
    }

    #[test]
    fn a_share_that_moves_is_counted_as_it_was_at_each_moment(slots in some_slots()) {
        // Units that come once only: what two shares say adds up.
        let once = |offset: u64| -> Vec<BadUnits> {
            (0..).zip(&slots[..slots.len().min(25)]).map(|(number, (variant, control))| {
                let unique = |units: &Vec<u64>, side: u64| {
                    (0..units.len() as u64).map(|at| offset + number * 64 + at * 2 + side).collect()
                };
                (unique(variant, 0), unique(control, 1))
            }).collect()
        };
        let mut moved = Comparison::new(START);
        moved.begin(START);
        let shares = [Share { variant: 1, control: 99 }, Share { variant: 1, control: 1 }];
        let mut expected = [0.0; 6];
        for (share, offset) in shares.into_iter().zip([0, 1 << 40]) {
            for (variant, control) in once(offset) {
                moved.count_units(START, share, &listed(&variant), &listed(&control));
                let (k1, k) = (variant.len() as i32, (variant.len() + control.len()) as i32);
                let pi = share.probability();
                for (log, (psi, _)) in expected.iter_mut().zip(EFFECTS) {
                    *log += f64::from(k1) * psi.ln() - f64::from(k) * (1.0 - pi + pi * psi).ln();
                }
            }
        }
        let sum: f64 = expected.iter().zip(EFFECTS).map(|(log, (_, part))| part * log.exp()).sum();
        // The bet on third times has seen nothing, and is worth what was put on it.
        let expected = (0.627 * sum).max(0.033).ln();
        prop_assert!((moved.evidence().log.to_f64() - expected).abs() < 1e-6);
    }
}

#[test]
fn numbers_of_the_evidence_are_those_that_people_would_count() {
    // 12 of 40 bad units are the variant's where 4 would be.
    let slots: Vec<BadUnits> = (0..20)
        .map(|slot: u64| {
            (
                if slot < 12 { vec![slot] } else { vec![] },
                if slot < 8 { vec![100 + slot, 200 + slot] } else { vec![100 + slot] },
            )
        })
        .collect();
    let mut comparison = run(&slots, TENTH);
    comparison.count(Rate { requests: 440, bad: 12 }, Rate { requests: 3_750, bad: 28 });
    let evidence = comparison.evidence();
    assert_eq!((evidence.bad_units, evidence.of_variant, evidence.expected_thousandths), (40, 12, 4_000));
    assert_eq!((evidence.since, evidence.occasion), (START, 1));
    assert_eq!((evidence.variant.requests, evidence.control.bad), (440, 28));
    let bet = |(psi, part): (f64, f64)| part * psi.powi(12) / (0.9 + 0.1 * psi).powi(40);
    let worth = 0.627 * EFFECTS.map(bet).iter().sum::<f64>() * 1_000.0;
    assert!(evidence.log.in_thousandths().abs_diff(worth as u64) <= 1, "{worth}");
}

#[test]
fn a_unit_that_fails_again_and_again_counts_once() {
    let again: Vec<BadUnits> = (0..30).map(|_| (vec![1, 2, 3], vec![])).collect();
    let evidence = run(&again, TENTH).evidence();
    assert_eq!((evidence.bad_units, evidence.of_variant), (3, 3));
}

#[test]
fn a_unit_that_was_served_both_variants_says_nothing_and_is_known_from_then_on() {
    let mut comparison = run(&[(vec![1, 2], vec![1]), (vec![1], vec![])], TENTH);
    assert_eq!(comparison.evidence().bad_units, 1);
    comparison.count_units(START.plus(1), TENTH, &listed(&[2, 7]), &[]);
    assert_eq!(comparison.evidence().bad_units, 2, "only 7 is new");
}

#[test]
fn where_all_units_were_bad_before_a_later_bet_finds_what_broke_since() {
    // Of 300 units each is bad once in 50 minutes, whatever it is served; after two hours the variant's 30 are so every
    // five minutes.
    let slots: Vec<BadUnits> = (0..1_200_u64)
        .map(|slot| {
            let number = slot * 7 % 300;
            let mut bad: BadUnits = if number < 30 { (vec![number], vec![]) } else { (vec![], vec![number]) };
            if slot >= 720 {
                bad.0.push(slot % 30);
            }
            bad
        })
        .collect();
    let before = run(&slots[..720], TENTH);
    assert!(!before.reaches(Nats::of(20.0)));
    let after = run(&slots, TENTH).evidence();
    assert!(after.log >= Nats::of(100.0) && after.since >= START.plus(600), "{after:?}");
}

#[test]
fn memory_has_a_bound_and_what_is_new_stays_new() {
    let mut comparison = Comparison::new(START);
    let mut next = 0_u64;
    for number in 0..400 {
        let slot = START.plus(number);
        comparison.begin(slot);
        // 512 units a slot that never came before: 200,000 in all.
        let mut fresh = || {
            (0..256)
                .map(|_| {
                    next += 1;
                    next.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                })
                .collect::<Vec<_>>()
        };
        let (variant, control) = (fresh(), fresh());
        comparison.count_units(slot, Share { variant: 1, control: 1 }, &listed(&variant), &listed(&control));
    }
    let written = serde_json::to_string(&comparison).unwrap();
    let units = written.split("\"recall\":").nth(1).unwrap().split('}').next().unwrap().matches('[').count();
    assert!(units <= MAX_RECALLED, "{units}");
    assert_eq!(serde_json::from_str::<Comparison>(&written).unwrap(), comparison);
    assert!(!comparison.reaches(Nats::of(2.0)), "both had as many");
    // What breaks now is found all the same.
    let (slot, broken) =
        (START.plus(420), (0..200).map(|unit: u64| unit * 3 + (1 << 50)).collect::<Vec<_>>());
    comparison.begin(slot);
    comparison.count_units(slot, Share { variant: 1, control: 1 }, &listed(&broken), &[]);
    assert!(comparison.reaches(Nats::of(100.0)));
}

#[test]
fn bets_of_days_take_the_room_of_a_few_dozen() {
    let mut comparison = Comparison::new(START);
    (0..60 * 8_640).for_each(|number| comparison.begin(START.plus(number)));
    let written = serde_json::to_value(&comparison).unwrap();
    let starts = written["bets"]["epochs"].as_array().unwrap();
    assert!((60..=128).contains(&starts.len()), "{}", starts.len());
    assert_eq!(starts[0]["rest"]["number"], 1, "the first is kept");
    // Whenever something breaks, a bet began not long before, for its age.
    let ages: Vec<u64> =
        starts.iter().map(|epoch| 17_280 - epoch["rest"]["number"].as_u64().unwrap()).collect();
    assert!(ages.windows(2).all(|two| two[0] - two[1] <= 1 + two[1] / 4), "{ages:?}");
}

#[test]
fn nothing_is_compared_with_a_share_of_nothing() {
    for share in [Share { variant: 0, control: 100 }, Share { variant: 100, control: 0 }] {
        let comparison = run(&[((0..200).collect(), vec![])], share);
        assert_eq!(comparison.evidence().bad_units, 0);
    }
}
