//! The rules of an app itself, its budget and what it promises.

use super::*;

#[test]
fn a_rule_of_the_app_acts_once_for_a_release() {
    let mut watch = app(&["error_rate > 3% for 5m -> revert release, notify owner"]);
    let mut news = vec![];
    (0..400).for_each(|number| news.extend(watch.step(&own(number, 100, if number < 100 { 1 } else { 9 }))));
    let first: Vec<u32> = acts(&news).iter().map(|act| act.slot.since(START)).collect();
    // The minute that is measured is over 3 % in its second bad slot; thirty slots make five minutes.
    assert_eq!(first, [130]);
    assert_eq!(pages(&news), [Page::App]);
    watch.released(artifact(1));
    let again: Vec<News> = (400..460).flat_map(|number| watch.step(&own(number, 100, 9))).collect();
    let again_at: Vec<u32> = acts(&again).iter().map(|act| act.slot.since(START)).collect();
    assert_eq!(again_at, [429], "another release, another act, once it did badly for five minutes itself");
    assert_eq!(pages(&again), [], "the same incident");
}

#[test]
fn while_the_app_itself_does_badly_none_of_its_variants_is_blamed() {
    let run = |own: u64| {
        let mut watch = app(&["error_rate > 5% for 1m -> revert release"]);
        watch.watch(flag(0), split(), rules(&[WORSE]), None);
        watch.plan(&flag(0), &split(), plan(1, 10));
        let news: Vec<News> = (0..90)
            .flat_map(|number| {
                let (own, bad) = if number < 60 { (0, 0) } else { (own, 6 * u64::from(number >= 75)) };
                watch.step(&slot(number, outcomes(300, own, 0), vec![of_flag(0, number, 10, (bad, 1))]))
            })
            .collect();
        acts(&news).iter().map(|act| act.measured.is_some()).collect::<Vec<bool>>()
    };
    assert_eq!(run(0), [true], "the variant alone is bad");
    assert_eq!(run(60), [false], "the release is taken back, and the variant is not");
}

#[test]
fn a_rule_of_the_app_that_stays_goes_on_when_others_are_written() {
    let bad = "error_rate > 3% for 5m -> revert release";
    let mut watch = app(&[bad]);
    let mut news = vec![];
    for number in 0..60 {
        if number == 20 {
            let rules = rules(&["cpu > 90% for 1m -> notify owner", bad]);
            watch.fold(&Input::App { rules, objectives: Objectives::default() });
        }
        news.extend(watch.step(&own(number, 100, 9)));
    }
    assert_eq!(acts(&news).iter().map(|act| act.slot.since(START)).collect::<Vec<_>>(), [29]);
}

#[test]
fn an_hour_after_an_incident_the_next_one_wakes_somebody_anew() {
    let mut watch = app(&["error_rate > 3% for 1m -> revert release"]);
    let mut woken = vec![];
    for number in 0..1_200 {
        let broken = (100..200).contains(&number) || (900..1_000).contains(&number);
        let news = watch.step(&own(number, 100, if broken { 9 } else { 0 }));
        woken.extend(pages(&news).iter().map(|_| number));
        if number == 500 {
            watch.released(artifact(1));
        }
    }
    assert_eq!(woken, [107, 907]);
}

#[test]
fn cpu_and_memory_are_what_the_app_says_of_itself() {
    let mut watch = app(&["cpu > 90% for 1m -> notify owner", "memory >= 80% for 1m -> notify owner"]);
    let step = |watch: &mut AppWatch, number: u32, cpu: Option<u32>, memory: Option<u32>| {
        let gauges = Gauges { cpu_millionths: cpu, memory_millionths: memory };
        let news = watch.step(&AppSlot { gauges, ..own(number, 100, 0) });
        acts(&news).iter().map(|act| act.rule.to_string()).collect::<Vec<_>>()
    };
    for number in 0..20 {
        assert_eq!(step(&mut watch, number, Some(900_000), Some(799_999)), Vec::<String>::new());
    }
    for number in 20..25 {
        assert_eq!(step(&mut watch, number, Some(900_001), Some(800_000)), Vec::<String>::new(), "{number}");
    }
    // A slot in which nothing was told stops the clock and does not set it back.
    assert_eq!(step(&mut watch, 25, None, None), Vec::<String>::new());
    assert_eq!(step(&mut watch, 26, Some(900_001), Some(800_000)).len(), 2);
    let mut worst = Gauges { cpu_millionths: Some(5), memory_millionths: None };
    worst.merge(Gauges { cpu_millionths: Some(3), memory_millionths: Some(9) });
    assert_eq!(worst, Gauges { cpu_millionths: Some(5), memory_millionths: Some(9) });
}

#[test]
fn a_budget_warns_at_80_percent_and_acts_once_in_a_month() {
    let objectives = Objectives { budget_micros: Some(31_000_000), ..Objectives::default() };
    let text = "monthly_spend >= budget -> disable non-critical, notify owner";
    // 2027-03-01T00:00:00Z: a month of 31 days.
    let first = Slot::at(UnixMs::parse_rfc3339("2027-03-01T00:00:00Z").unwrap());
    let mut watch = AppWatch::new(rules(&[text]), objectives, first);
    let mut told = vec![];
    let mut step = |watch: &mut AppWatch, day: u32, micros: u64| {
        for minute in 0..24 * 60 {
            let all = Outcomes { cost_micros: micros, requests: 1, units: 1, ..Outcomes::default() };
            let entry = AppSlot { slot: first.plus(day * 24 * HOUR + minute * 6), ..slot(0, all, vec![]) };
            for news in watch.step(&entry) {
                match news {
                    News::App { state, .. } => told.push((day, format!("{state}"))),
                    News::Act(act) => {
                        assert!(
                            matches!(act.reason, Reason::Threshold { measured, .. } if measured.value >= measured.bound)
                        );
                        told.push((day, "acts".into()));
                    }
                    _ => {}
                }
            }
        }
    };
    // A day costs 0.86 where one may cost 1, and 1.44 later.
    (0..4).for_each(|day| step(&mut watch, day, 600));
    assert_eq!(watch.estimate().against(31_000_000), BudgetState::Near);
    (4..40).for_each(|day| step(&mut watch, day, 1_000));
    assert_eq!(told[0], (0, "suspect".to_owned()), "{told:?}");
    let acts: Vec<u32> = told.iter().filter(|(_, what)| what == "acts").map(|(day, _)| *day).collect();
    assert!(matches!(acts[..], [4..10, 31]), "once in each of two months: {told:?}");
}

#[test]
fn a_budget_that_is_used_up_elsewhere_alone_acts_once_in_a_month_too() {
    let first = Slot::at(UnixMs::parse_rfc3339("2027-03-30T00:00:00Z").unwrap());
    let budget = Objectives { budget_micros: Some(1_000), ..Objectives::default() };
    let mut watch = AppWatch::new(rules(&["monthly_spend > budget -> notify owner"]), budget, first);
    watch.fold(&Input::Elsewhere { spend: Estimate { spent_micros: 2_000, expected_micros: 2_000 } });
    let found = (0..4 * 24 * HOUR).filter(|number| {
        let entry = AppSlot { slot: first.plus(*number), ..slot(0, outcomes(0, 0, 0), vec![]) };
        !acts(&watch.step(&entry)).is_empty()
    });
    // With its second hour: until then others may still tell of the month before.
    assert_eq!(found.collect::<Vec<_>>(), [0, 2 * 24 * HOUR + HOUR]);
}

#[test]
fn a_budget_that_is_raised_is_one_against_which_nothing_was_done_and_one_that_is_near_holds_no_rollout() {
    let first = Slot::at(UnixMs::parse_rfc3339("2027-03-01T00:00:00Z").unwrap());
    let text = "monthly_spend > budget -> notify owner";
    let budget = |micros| Objectives { budget_micros: Some(micros), ..Objectives::default() };
    let mut watch = AppWatch::new(rules(&[text]), budget(31_000_000), first);
    let set = |watch: &mut AppWatch, micros| {
        watch.fold(&Input::App { rules: rules(&[text]), objectives: budget(micros) });
    };
    watch.watch(flag(1), split(), rules(&[WORSE]), None);
    watch.plan(&flag(1), &split(), plan(1, 50));
    let day = |watch: &mut AppWatch, day: u32, cost_micros: u64| {
        let minutes = (0..24 * 60).flat_map(|minute| {
            let number = day * 24 * HOUR + minute * 6;
            let all = Outcomes { cost_micros, ..outcomes(100, 0, 0) };
            let entry = slot(number, all, vec![of_flag(1, number, 50, (0, 0))]);
            watch.step(&AppSlot { slot: first.plus(number), ..entry })
        });
        let news: Vec<News> = minutes.collect();
        acts(&news).len()
    };
    // 90 % of the budget.
    assert_eq!(day(&mut watch, 0, 625), 0);
    assert_eq!(watch.standing(&flag(1), &split()), Standing::NotEnoughData);
    let first_days: usize = (1..6).map(|number| day(&mut watch, number, 2_000)).sum();
    assert_eq!(first_days, 1, "past it, once");
    assert_eq!(watch.standing(&flag(1), &split()), Standing::Held(Held::App));
    set(&mut watch, 200_000_000);
    assert_eq!(day(&mut watch, 6, 2_000), 0);
    assert_eq!((7..16).map(|number| day(&mut watch, number, 9_000)).sum::<usize>(), 1, "past that as well");
}

#[test]
fn that_an_app_uses_much_of_its_cpu_keeps_nobody_asleep_when_its_errors_burn() {
    let objectives = Objectives { good_millionths: Some(999_000), ..Objectives::default() };
    let mut watch = AppWatch::new(rules(&["cpu > 80% for 1m -> notify owner"]), objectives, START);
    let gauges = Gauges { cpu_millionths: Some(900_000), memory_millionths: None };
    let mut woken = vec![];
    for number in 0..2 * HOUR {
        let bad = if number < HOUR / 2 { 0 } else { 200 };
        woken.extend(pages(&watch.step(&AppSlot { gauges, ..own(number, 1_000, bad) })));
    }
    assert!(matches!(woken[..], [Page::Burning(_)]), "{woken:?}");
}

#[test]
fn errors_that_an_objective_allows_are_counted_and_burning_them_wakes_somebody() {
    let objectives = Objectives { good_millionths: Some(999_000), ..Objectives::default() };
    let mut watch = AppWatch::new(vec![], objectives, START);
    let mut woken = vec![];
    for number in 0..3 * HOUR {
        let news = watch.step(&own(number, 1_000, if number < HOUR { 1 } else { 30 }));
        woken.extend(pages(&news));
    }
    // Of the six hours only one has been seen: five percent are used up before two percent within an hour are.
    assert!(matches!(woken[..], [Page::Burning(rule)] if rule.long_minutes == 360), "{woken:?}");
    let errors = watch.errors().expect("something is promised");
    assert_eq!(errors.burn_thousandths(60), 30_000);
    assert_eq!(errors.spent_thousandths(), (30 + 30 + 1) * 1_000 / 3 * 3 / 720);
    // What is not told of passes all the same.
    watch.step(&own(10 * HOUR, 1_000, 0));
    assert_eq!(watch.errors().map(|errors| errors.burn_thousandths(360)), Some(0));
}
