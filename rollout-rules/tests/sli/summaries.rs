//! Summaries merge in any order, stay within their bounds, and what contradicts itself is refused.

use proptest::collection::vec;
use proptest::prelude::*;
use rollout_rules::sli::{
    Bucket, Histogram, MAX_COST_MICROS, MAX_LATENCY_US, MAX_LISTED, MAX_REQUESTS, Outcomes, Sample,
    SlowUnits, Summary, Unacceptable, UnitHash, UnitList,
};
use serde_json::{Value, json};

fn summary(outcomes: &Value) -> Result<Summary, serde_json::Error> {
    serde_json::from_value(json!({
        "flag": "checkout", "flag_revision": 7, "split": "s", "variant": "on",
        "slot": "2026-01-01T00:00:13Z", "outcomes": outcomes,
    }))
}

fn outcomes(value: &Value) -> Outcomes {
    summary(value).unwrap().outcomes
}

fn units(hashes: impl IntoIterator<Item = u64>) -> UnitList {
    hashes.into_iter().map(|hash| (UnitHash(hash), ())).collect()
}

fn some_outcomes() -> impl Strategy<Value = Outcomes> {
    // Few hashes, so that lists share units; long ones, so that they are cut.
    let listed = || vec(0..900_u64, 0..400);
    let slow = vec((0..900_u64, 1..5_000_000_u64), 0..400);
    let latency = vec((0..MAX_LATENCY_US * 2, 1..9_u64), 0..40);
    (any::<[u32; 4]>(), any::<bool>(), listed(), listed(), slow, latency, 0..9_u64).prop_map(
        |([a, b, c, d], huge, served, bad, slow, latency, slow_from_us)| {
            let scale = if huge { u64::MAX / u64::from(u32::MAX) } else { 1 };
            let mut all = Outcomes {
                units: u64::from(a) * scale,
                requests: u64::from(b) * scale,
                bad_requests: u64::from(c) * scale,
                cost_micros: u64::from(d) * scale,
                served: units(served),
                bad: units(bad),
                slow: slow.into_iter().map(|(unit, us)| (UnitHash(unit), Bucket::of(us))).collect(),
                slow_from_us,
                ..Outcomes::default()
            };
            latency.into_iter().for_each(|(us, count)| all.latency.add(us, count));
            all
        },
    )
}

fn merged(all: &[&Outcomes]) -> Outcomes {
    let mut sum = Outcomes::default();
    all.iter().for_each(|one| sum.merge(one));
    sum
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_associative_and_commutative(a in some_outcomes(), b in some_outcomes(), c in some_outcomes()) {
        let (mut ab, mut bc) = (a.clone(), b.clone());
        ab.merge(&b);
        bc.merge(&c);
        let mut ab_c = ab.clone();
        ab_c.merge(&c);
        let mut a_bc = a.clone();
        a_bc.merge(&bc);
        prop_assert_eq!(&ab_c, &a_bc);
        prop_assert_eq!(&ab_c, &merged(&[&c, &b, &a]));
        prop_assert_eq!(&merged(&[&a]), &a);
        let written = serde_json::to_string(&ab_c).unwrap();
        prop_assert_eq!(serde_json::from_str::<Outcomes>(&written).unwrap(), ab_c);
    }

    #[test]
    fn a_list_of_units_is_complete_below_its_bound(lists in vec(vec(0..2_000_u64, 0..400), 1..5)) {
        let mut list = UnitList::default();
        lists.iter().for_each(|more| list.merge(&units(more.iter().copied())));
        let mut all: Vec<u64> = lists.concat();
        all.sort_unstable();
        all.dedup();
        let bound = list.complete_below().map_or(u64::MAX, |bound| bound.0);
        let expected: Vec<UnitHash> = all.iter().filter(|hash| **hash < bound).map(|hash| UnitHash(*hash)).collect();
        let told: Vec<UnitHash> = list.units().iter().map(|(unit, ())| *unit).collect();
        prop_assert_eq!(told, expected);
        prop_assert_eq!(list.complete_below().is_some(), all.len() > MAX_LISTED);
    }

    #[test]
    fn a_quantile_is_wrong_by_a_sixteenth_at_most(mut latencies in vec(1..MAX_LATENCY_US, 1..200), per_mille in 1..=1_000_u16) {
        let mut histogram = Histogram::default();
        latencies.iter().for_each(|us| histogram.add(*us, 1));
        latencies.sort_unstable();
        let rank = (latencies.len() * usize::from(per_mille)).div_ceil(1_000).max(1);
        let (exact, told) = (latencies[rank - 1], histogram.quantile_us(per_mille).unwrap());
        prop_assert!(told.abs_diff(exact) <= exact / 16 + 1, "{} instead of {}", told, exact);
        let from = Bucket::of(exact).from_us();
        prop_assert_eq!(histogram.count_from(Bucket::of(exact)), latencies.iter().filter(|us| **us >= from).count() as u64);
    }

    #[test]
    fn what_is_taken_from_a_histogram_was_never_there(a in some_outcomes(), b in some_outcomes()) {
        let mut both = a.latency.clone();
        both.merge(&b.latency);
        both.remove(&b.latency);
        prop_assert_eq!(both, a.latency);
    }
}

#[test]
fn every_latency_has_one_bucket_whose_edges_are_close() {
    let mut next = 0;
    while next <= MAX_LATENCY_US {
        let bucket = Bucket::of(next);
        assert_eq!(bucket.from_us(), next);
        assert_eq!(Bucket::of(bucket.until_us() - 1), Bucket::of(next));
        assert!(bucket.until_us() - next <= (next / 16).max(1), "{next}");
        next = bucket.until_us();
    }
    assert_eq!(Bucket::of(u64::MAX), Bucket::of(MAX_LATENCY_US));
}

#[test]
fn a_units_hash_never_changes() {
    for (unit, hash) in
        [("", "f52a15e9a9b5e89b"), ("user-17", "7d0abcd8e2111067"), ("ünïcode", "0b64693a7f39300f")]
    {
        assert_eq!(UnitHash::of(unit).to_string(), hash, "{unit}");
    }
}

#[test]
fn lists_that_are_left_out_are_not_known() {
    let few = outcomes(&json!({"units": 3, "requests": 5, "bad_requests": 1}));
    assert_eq!(
        (few.bad.complete_below(), few.served.complete_below()),
        (Some(UnitHash(0)), Some(UnitHash(0)))
    );
    // Whatever is merged with it, nothing is known of which units there were.
    let mut both = outcomes(
        &json!({"units": 1, "requests": 1, "bad_requests": 1, "bad": {"units": ["00000000000000ff"]}}),
    );
    both.merge(&few);
    assert_eq!((both.bad.units().len(), both.bad.complete_below()), (0, Some(UnitHash(0))));
}

#[test]
fn of_a_unit_that_was_slow_twice_the_slower_request_is_told() {
    let slow = |us| SlowUnits::from_iter([(UnitHash(5), Bucket::of(us))]);
    let mut both = slow(1_000);
    both.merge(&slow(9_000));
    assert_eq!(both, slow(9_000));
    both.merge(&Sample::unknown());
    assert!(both.units().is_empty());
}

#[test]
fn numbers_that_no_app_reaches_or_that_contradict_each_other_are_refused() {
    let mut latency = Histogram::default();
    latency.add(5, 11);
    let good = Outcomes { units: 10, requests: 10, bad_requests: 10, ..Outcomes::default() };
    assert_eq!(good.check(), Ok(()));
    let eleven = || units(0..11);
    let cases = [
        (Outcomes { requests: MAX_REQUESTS + 1, ..good.clone() }, "too_many", "`requests` is 1000000001"),
        (Outcomes { cost_micros: MAX_COST_MICROS + 1, ..good.clone() }, "too_many", "`cost_micros`"),
        (
            Outcomes { units: 11, ..good.clone() },
            "more_than_whole",
            "`units` is 11, more than `requests`, which is 10",
        ),
        (Outcomes { bad_requests: 11, ..good.clone() }, "more_than_whole", "`bad_requests`"),
        (Outcomes { latency, ..good.clone() }, "more_than_whole", "`latency`"),
        (Outcomes { served: eleven(), ..good.clone() }, "more_than_whole", "`served`"),
        (Outcomes { bad: eleven(), ..good.clone() }, "more_than_whole", "`bad`"),
        (Outcomes { bad: units(0..2), bad_requests: 1, ..good.clone() }, "more_than_whole", "`bad_requests`"),
    ];
    for (outcomes, code, said) in cases {
        let refused = outcomes.check().unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    let slow = eleven().units().iter().map(|(unit, ())| (*unit, Bucket::of(9))).collect();
    assert!(matches!(
        Outcomes { slow, ..good }.check(),
        Err(Unacceptable::MoreThanWhole { part: "slow", .. })
    ));
}

#[test]
fn what_is_no_summary_is_refused_in_words() {
    let many: Vec<String> = (0..=MAX_LISTED).map(|hash| format!("{hash:016x}")).collect();
    let pairs: Vec<[u64; 2]> = (0..500).map(|us| [us, 1]).collect();
    for (value, said) in [
        (json!({"units": -1, "requests": 1}), "invalid value: integer `-1`"),
        (json!({"units": 1.5, "requests": 1}), "floating point `1.5`"),
        (json!({"units": 1, "requests": 1e30}), "floating point"),
        (json!({"units": 1, "requests": null}), "null"),
        (json!({"units": 1, "requests": 1, "p95": 3}), "unknown field `p95`"),
        (json!({"units": 1}), "missing field `requests`"),
        (
            json!({"units": 1, "requests": 1, "bad": {"units": ["ada"]}}),
            "`ada` is not a unit's hash: use 16 hex",
        ),
        (json!({"units": 999, "requests": 999, "bad": {"units": many}}), "257 units: list the 256"),
        (
            json!({"units": 1, "requests": 1, "bad": {"units": ["ff00000000000000"], "complete_below": "0f00000000000000"}}),
            "unit ff00000000000000 is not below",
        ),
        (json!({"units": 1, "requests": 1, "latency": pairs}), "at most 459 pairs"),
        (json!({"units": 1, "requests": 1, "latency": [["1s", 1]]}), "invalid type: string"),
    ] {
        let error = summary(&value).unwrap_err().to_string();
        assert!(error.contains(said), "{error} does not say {said}");
    }
    let read = summary(&json!({"units": 1, "requests": 1, "latency": [[250_000, 1]]})).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap()["slot"], "2026-01-01T00:00:10.000Z");
    assert_eq!(read.outcomes.latency.quantile(950), Some(Bucket::of(250_000)));
}
