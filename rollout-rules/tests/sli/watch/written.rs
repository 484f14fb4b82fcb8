//! Bounds that are written, and what is not told of units.

use super::*;

#[test]
fn a_written_threshold_acts_as_written() {
    let above = Test::Threshold {
        sli: Sli::ErrorRate,
        operator: Operator::Above,
        bound: Bound::Millionths(100_000),
        sustained_ms: Some(DurationMs(300_000)),
    };
    let run = |test: Test, bad: &dyn Fn(u32) -> u64| {
        let mut watch = watch(&[test]);
        (0..60).find(|number| {
            let news = watch.step(&slot(*number, bad(*number), 1), Peers::default());
            news.iter().any(|verdict| verdict.state == State::Regressed)
        })
    };
    assert_eq!(run(above, &|_| 1), None, "10 % is not above 10 %");
    assert_eq!(run(above, &|_| 2), Some(29), "five minutes are thirty slots");
    assert_eq!(run(above, &|number| if number == 20 { 0 } else { 2 }), Some(29), "a slot is not a minute");
    assert_eq!(run(above, &|number| 2 * u64::from(!(12..18).contains(&number))), Some(50));
    let Test::Threshold { sli, bound, sustained_ms, .. } = above else { unreachable!() };
    let at_least = Test::Threshold { sli, operator: Operator::AtLeast, bound, sustained_ms };
    assert_eq!(run(at_least, &|_| 1), Some(29));
    let no_time = Test::Threshold { sli, operator: Operator::Above, bound, sustained_ms: None };
    assert!(run(no_time, &|_| 9).is_some_and(|slot| slot < 5), "without a time the evidence decides");
    assert_eq!(run(no_time, &|number| u64::from(number % 3 == 0)), None);
}

#[test]
fn every_rule_that_holds_is_told_once_though_another_held_before_it() {
    let above = Test::Threshold {
        sli: Sli::ErrorRate,
        operator: Operator::Above,
        bound: Bound::Millionths(100_000),
        sustained_ms: Some(DurationMs(300_000)),
    };
    let slow = Test::Threshold {
        sli: Sli::LatencyP95,
        operator: Operator::Above,
        bound: Bound::Microseconds(1_000),
        sustained_ms: Some(DurationMs(60_000)),
    };
    let mut watch = watch(&[above, ERRORS, slow]);
    let mut told = vec![];
    for number in 0..120 {
        let bad = if number < 60 { u64::from(number % 10 == 0) } else { 5 };
        let mut entry = slot(number, bad, 1);
        // From the second minute on it is slow.
        let us = if number < 12 { 100 } else { 90_000 };
        entry.parts.iter_mut().for_each(|part| part.outcomes.latency.add(us, part.outcomes.requests));
        let news = watch.step(&entry, Peers::default());
        told.extend(
            news.into_iter().filter(|one| one.state == State::Regressed).map(|one| (number, one.test)),
        );
    }
    let tests: Vec<Option<u8>> = told.iter().map(|(_, test)| *test).collect();
    assert_eq!(tests, [Some(2), Some(1), Some(0)], "{told:?}");
    assert!(told[0].0 < 25 && told[1].0 > 60 && told[2].0 > told[1].0, "{told:?}");
    assert_eq!(watch.verdicts().next().unwrap().test, Some(2), "what it was first found by");
}

#[test]
fn where_requests_fail_and_whose_is_not_told_nothing_is_compared_and_nobody_is_called_well() {
    let silent = |bad: u64| {
        let told = |requests, bad| Outcomes { bad: UnitList::unknown(), ..outcomes(requests, bad, 0) };
        move |number| entry(number, told(10, bad.min(10)), told(90, 1))
    };
    let mut watch = watch(&[ERRORS]);
    for number in 0..60 {
        watch.step(&silent(10)(number), Peers::default());
    }
    let verdict = watch.verdicts().next().unwrap();
    assert_eq!((verdict.state, &verdict.reason), (State::NoData, &Reason::Unlisted));
    assert!(verdict.to_string().contains("send the lists"), "{verdict}");
    // Once it is told, it is compared again.
    calm(&mut watch, 60..90);
    assert_eq!(state(&watch), State::Ok);
    // So it is when nothing fails any more for ten minutes.
    let mut watch = self::watch(&[ERRORS]);
    watch.step(&silent(10)(0), Peers::default());
    let lapsed = (1..200).find(|number| {
        watch.step(&slot(*number, 0, 0), Peers::default());
        *number > 20 && state(&watch) == State::Ok
    });
    assert_eq!(lapsed, Some(60));
    // A bound that is written holds by requests then.
    let above = Test::Threshold {
        sli: Sli::ErrorRate,
        operator: Operator::Above,
        bound: Bound::Millionths(100_000),
        sustained_ms: None,
    };
    let mut watch = self::watch(&[above]);
    let found = (0..30).find(|number| {
        let news = watch.step(&silent(8)(*number), Peers::default());
        news.iter().any(|verdict| verdict.state == State::Regressed)
    });
    assert!(found.is_some_and(|slot| slot < 6), "{found:?}");
}

#[test]
fn a_bound_is_kept_or_not_by_those_units_that_are_listed_where_lists_are_cut() {
    let above = Test::Threshold {
        sli: Sli::ErrorRate,
        operator: Operator::Above,
        bound: Bound::Millionths(30_000),
        sustained_ms: None,
    };
    let run = |bad: u64| {
        let mut watch = watch(&[above]);
        (0..30).find(|number| {
            let hash = |unit: u64| {
                UnitHash((u64::from(*number) * 100_000 + unit).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            };
            let many = Outcomes {
                served: (0..20_000).map(|unit| (hash(unit), ())).collect(),
                bad: (0..20_000).filter(|unit| unit % 100 < bad).map(|unit| (hash(unit), ())).collect(),
                ..outcomes(20_000, 200 * bad, 0)
            };
            let news = watch.step(&entry(*number, many, outcomes(90, 1, 0)), Peers::default());
            news.iter().any(|verdict| verdict.state == State::Regressed)
        })
    };
    assert!(run(10).is_some_and(|slot| slot < 20), "{:?}", run(10));
    assert_eq!(run(2), None);
}

#[test]
fn a_threshold_may_be_relative_to_the_control_and_needs_requests() {
    let twice = Test::Threshold {
        sli: Sli::LatencyP95,
        operator: Operator::Above,
        bound: Bound::TimesBaseline(2_000),
        sustained_ms: Some(DurationMs(180_000)),
    };
    let run = |us: u64| {
        let mut watch = watch(&[twice]);
        (0..60).find(|number| {
            let news = watch.step(&slow_slot(*number, us, 4), Peers::default());
            news.iter().any(|verdict| verdict.state == State::Regressed)
        })
    };
    assert_eq!(run(900_000), Some(17));
    assert_eq!(run(500_000), None);
}
