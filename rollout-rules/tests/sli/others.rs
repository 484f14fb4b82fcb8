//! The other tests: skewed splits, going on, bounds without a control, budgets of errors and of money.

use proptest::prelude::*;
use rollout_rules::sli::{
    Absolute, BudgetState, EPOCH_SLOTS, ErrorBudget, MAX_SERVED, Mirror, Nats, Rate, Share, Skew, Slot,
    Spend, Traffic, UnitHash, is_little, needed,
};
use rollout_rules::time::{DAY, DurationMs, UnixMs};

const START: Slot = Slot(180_000_000);

fn units(range: std::ops::Range<u64>) -> Vec<(UnitHash, ())> {
    let mut all: Vec<_> =
        range.map(|unit| (UnitHash(unit.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ())).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_split_is_skewed_when_counts_say_so_at_whatever_shares_were_planned() {
    let mut skew = Skew::default();
    skew.count(&[(10, &units(0..1_000)[..]), (90, &units(10_000..19_000))]);
    assert!(!skew.is_skewed() && skew.evidence() >= Nats::ZERO);
    // The share was raised; users that are known say nothing of the new one.
    skew.count(&[(50, &units(0..1_000)[..]), (50, &units(10_000..19_000))]);
    skew.count(&[(50, &units(20_000..20_500)[..]), (50, &units(30_000..30_500))]);
    assert!(!skew.is_skewed());
    assert_eq!(skew.counts().collect::<Vec<_>>(), [(50, 500), (50, 500)]);
    skew.count(&[(50, &units(40_000..40_300)[..]), (50, &[])]);
    assert!(skew.is_skewed());
    skew.count(&[(50, &[]), (50, &units(50_000..50_300)[..])]);
    assert!(skew.is_skewed(), "it stays so");
}

#[test]
fn a_unit_whose_hash_is_zero_counts_like_any_other() {
    let mut skew = Skew::default();
    skew.count(&[(1, &units(1..3)[..]), (1, &units(10..12))]);
    for _ in 0..2 {
        skew.count(&[(1, &[(UnitHash(0), ())][..]), (1, &[])]);
        assert_eq!(skew.counts().collect::<Vec<_>>(), [(1, 3), (1, 2)]);
    }
}

#[test]
fn the_evidence_of_skew_is_that_of_the_dirichlet_prior() {
    let mut skew = Skew::default();
    skew.count(&[(1, &units(0..3)[..]), (3, &units(100..101))]);
    // Each unit in turn has the probability that the prior with 25 and 75 and the units before give it.
    let averaged = 25.0 / 100.0 * 26.0 / 101.0 * 27.0 / 102.0 * 75.0 / 103.0;
    let planned = 0.25_f64.powi(3) * 0.75;
    let expected: f64 = averaged / planned;
    assert!((skew.evidence().to_f64() - expected.ln()).abs() < 1e-6);
}

#[test]
fn units_that_are_remembered_for_skew_have_a_bound() {
    let mut skew = Skew::default();
    for batch in 0..400_u64 {
        skew.count(&[
            (1, &units(batch * 1_000..batch * 1_000 + 250)[..]),
            (1, &units(batch * 1_000 + 500..batch * 1_000 + 750)),
        ]);
    }
    let written = serde_json::to_value(&skew).unwrap();
    let seen = written["seen"].as_array().unwrap().len();
    assert!((MAX_SERVED / 4..=MAX_SERVED).contains(&seen) && !skew.is_skewed(), "{seen}");
}

/// The same sum with binomial coefficients, as it is defined.
fn mirrored(units: (u64, u64), bad: (u64, u64), size: f64) -> f64 {
    let choose = |n: u64, k: u64| (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64);
    let both = bad.0 + bad.1;
    let sum = |psi: f64| {
        let ways = (0..=both).filter(|of_variant| *of_variant <= units.0 && both - of_variant <= units.1);
        ways.map(|i| choose(units.0, i) * choose(units.1, both - i) * psi.powi(i as i32)).sum::<f64>()
    };
    (sum(size) / sum(1.0) / size.powi(bad.0 as i32)).ln()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_mirror_sums_exactly(a in 1..30_u64, b in 1..60_u64, bad in (0..9_u64, 0..9_u64)) {
        let bad = (bad.0.min(a), bad.1.min(b));
        let mut mirror = Mirror::new(2_000);
        mirror.count((a, b), bad);
        let expected = mirrored((a, b), bad, 2.0);
        prop_assert!((mirror.evidence().to_f64() - expected).abs() < 1e-6, "{} and {}", mirror.evidence().to_f64(), expected);
    }

    #[test]
    fn a_variant_that_is_as_bad_as_the_size_is_worth_one_on_average(a in 1..12_u64, b in 1..12_u64, both in 1..8_u64) {
        // Fisher's noncentral distribution at the size itself: the mean of the evidence is 1.
        let both = both.min(a + b);
        let range = both.saturating_sub(b)..=both.min(a);
        let choose = |n: u64, k: u64| (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64);
        let weights: Vec<(u64, f64)> = range.map(|i| (i, choose(a, i) * choose(b, both - i) * 2_f64.powi(i as i32))).collect();
        let all: f64 = weights.iter().map(|(_, weight)| weight).sum();
        let mean: f64 = weights.iter().map(|(i, weight)| {
            let mut mirror = Mirror::new(2_000);
            mirror.count((a, b), (*i, both - i));
            weight / all * mirror.evidence().to_f64().exp()
        }).sum();
        prop_assert!((mean - 1.0).abs() < 1e-6, "{}", mean);
    }

    #[test]
    fn windows_of_the_error_budget_are_those_of_brute_force(slots in proptest::collection::vec((0..50_u64, 0..9_u64), 1..1_500), minutes in 1..120_usize) {
        let mut budget = ErrorBudget::new(990_000);
        slots.iter().for_each(|(requests, bad)| budget.push(Rate { requests: requests + 9, bad: *bad }));
        let whole = slots.len() / 6 * 6;
        let from = whole.saturating_sub(minutes * 6);
        let sum = slots[from..whole].iter().fold(Rate::default(), |sum, (requests, bad)| sum.plus(Rate { requests: requests + 9, bad: *bad }));
        prop_assert_eq!(budget.last(minutes), sum);
        let burn = (sum.bad * 1_000_000_000).checked_div(sum.requests * 10_000).unwrap_or(0);
        prop_assert_eq!(budget.burn_thousandths(minutes), burn);
    }
}

#[test]
fn a_variant_goes_on_once_it_was_shown_to_be_good() {
    let run = |bad: &dyn Fn(u64) -> (u64, u64)| {
        let mut mirror = Mirror::new(2_000);
        (0..2_000).find(|slot| {
            mirror.count((100, 100), bad(*slot));
            mirror.is_shown()
        })
    };
    assert!(run(&|slot| (slot % 2, (slot + 1) % 2)).is_some_and(|slot| slot < 200));
    assert_eq!(run(&|_| (2, 1)), None, "twice as bad is not good");
    assert_eq!(run(&|_| (0, 0)), None, "nothing shows nothing");
}

#[test]
fn a_bound_without_control_is_tested_by_its_definition() {
    let mut absolute = Absolute::new(30_000, START);
    let slots = [(40_u64, 2_u64), (60, 5), (50, 9)];
    for (number, (all, bad)) in (0..).zip(slots) {
        absolute.count(START.plus(number), all, bad);
    }
    let bet = |p: f64| (p / 0.03).powi(16) * ((1.0 - p) / 0.97).powi(134);
    let expected: f64 = 0.5 * [0.05, 0.1, 0.2, 0.5].map(bet).iter().sum::<f64>() / 4.0;
    assert!((absolute.evidence().to_f64() - expected.ln()).abs() < 1e-5);
    // Days on the good side do not hide what breaks afterwards.
    let mut late = Absolute::new(30_000, START);
    (0..8_640).for_each(|number| late.count(START.plus(number), 100, 1));
    assert!(late.evidence() < Nats::ZERO);
    let found = (8_640..8_700).find(|number| {
        late.count(START.plus(*number), 100, 20);
        late.evidence() >= Nats::of(100.0)
    });
    assert!(found.is_some_and(|slot| slot < 8_640 + EPOCH_SLOTS + 5), "{found:?}");
    // Above half of all there is nothing to bet on.
    let mut most = Absolute::new(600_000, START);
    most.count(START, 100, 100);
    assert!(most.evidence() < Nats::ZERO);
}

#[test]
fn budgets_that_burn_fast_in_both_windows_are_broken() {
    let minutes = |budget: &mut ErrorBudget, minutes: u32, bad: u64| {
        (0..minutes * 6).for_each(|_| budget.push(Rate { requests: 1_000, bad }));
    };
    let mut budget = ErrorBudget::new(999_000);
    minutes(&mut budget, 60, 1);
    assert_eq!((budget.broken(), budget.burn_thousandths(60)), (None, 1_000));
    minutes(&mut budget, 59, 15);
    assert_eq!(budget.broken().map(|rule| rule.long_minutes), Some(60));
    // When it is over the short windows say so, one after the other.
    minutes(&mut budget, 5, 0);
    assert_eq!(budget.broken().map(|rule| rule.long_minutes), Some(360));
    minutes(&mut budget, 20, 0);
    assert_eq!(budget.broken(), None);
    let mut slow = ErrorBudget::new(999_000);
    minutes(&mut slow, 360, 7);
    assert_eq!(slow.broken().map(|rule| rule.long_minutes), Some(360));
    // Seven times as fast as allowed for six of 720 hours.
    assert_eq!(slow.spent_thousandths(), 7_000 * 6 / 720);
    let mut few = ErrorBudget::new(999_000);
    (0..360).for_each(|number| few.push(Rate { requests: 1, bad: u64::from(number % 60 == 59) }));
    assert_eq!(few.broken(), None, "six bad requests are no reason");
}

#[test]
fn a_month_is_estimated_from_its_days_and_their_trend() {
    let day = |day: u64| UnixMs::parse_rfc3339("2026-06-01T00:00:00Z").unwrap().plus(DurationMs(day * DAY.0));
    let steady = |days: u64| {
        let mut spend = Spend::default();
        (0..days).rev().for_each(|number| spend.add(10_000_000, day(number)));
        spend
    };
    // Ten whole days of 10 each, none of the eleventh yet: 100 so far, 300 in the month.
    let estimate = steady(10).estimate(day(10));
    assert_eq!((estimate.spent_micros, estimate.expected_micros), (100_000_000, 300_000_000));
    assert_eq!(estimate.against(300_000_000), BudgetState::Over);
    assert_eq!(estimate.against(300_000_001), BudgetState::Near);
    assert_eq!(estimate.against(375_000_002), BudgetState::Within);
    // Each day costs one more: 1 + 2 + ... + 30. Two weeks show it.
    let mut rising = Spend::default();
    (0..16).for_each(|number| rising.add((number + 1) * 1_000_000, day(number)));
    assert_eq!(rising.estimate(day(16)).expected_micros, 465_000_000);
    // 10 on each day of the week and 2 at its end, 244 in June 2026, which begins on a Monday: never far from it.
    let mut weekly = Spend::default();
    for number in 0..30 {
        weekly.add(if number % 7 < 5 { 10_000_000 } else { 2_000_000 }, day(number));
        let expected = weekly.estimate(UnixMs(day(number + 1).0 - 1)).expected_micros;
        assert!((200_000_000..=310_000_000).contains(&expected), "on day {number}: {expected}");
    }
    // A first day that is not whole says nothing once there are others.
    let mut late = Spend::default();
    [2_500_000, 10_000_000, 10_000_000]
        .into_iter()
        .zip(0..)
        .for_each(|(cost, number)| late.add(cost, day(number)));
    assert_eq!(late.estimate(day(3)).expected_micros, 22_500_000 + 270_000_000);
    // Half a day into the first day of all.
    let mut first = Spend::default();
    first.add(5_000_000, day(0));
    assert_eq!(
        first.estimate(day(0).plus(DurationMs(DAY.0 / 2))).expected_micros,
        5_000_000 + 5_000_000 + 290_000_000
    );
    // A new month begins with nothing; the days before still tell what a day costs.
    let estimate = steady(30).estimate(day(30));
    assert_eq!((estimate.spent_micros, estimate.expected_micros), (0, 310_000_000));
    assert_eq!(Spend::default().estimate(day(3)).expected_micros, 0);
}

#[test]
fn what_is_still_needed_says_that_half_and_half_is_quicker() {
    let traffic = Traffic { users_an_hour: 3_600, bad_millionths: 10_000 };
    let small = needed(traffic, Share { variant: 1, control: 99 }, 3_000).unwrap();
    let half = needed(traffic, Share { variant: 1, control: 1 }, 3_000).unwrap();
    assert!(half.users < small.users / 10 && half.time < small.time, "{half:?} {small:?}");
    assert!(half.time.0 > 0 && half.users > half.bad_users);
    assert_eq!(
        needed(Traffic { users_an_hour: 0, ..traffic }, Share { variant: 1, control: 1 }, 3_000),
        None
    );
    assert_eq!(
        needed(Traffic { bad_millionths: 0, ..traffic }, Share { variant: 1, control: 1 }, 3_000),
        None
    );
    assert_eq!(needed(traffic, Share { variant: 0, control: 1 }, 3_000), None);
    assert_eq!(needed(traffic, Share { variant: 1, control: 1 }, 1_000), None);
    assert!(is_little(4, 10_000) && is_little(100, 299) && !is_little(5, 300));
}
