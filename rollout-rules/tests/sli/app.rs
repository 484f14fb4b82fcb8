//! The watch over a whole app: its own rules, its flags at the same time, and whether rollouts may go on.

use proptest::prelude::*;
use rollout_rules::ids::{FlagKey, Revision, SplitId, VariantKey};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{
    AppSlot, AppWatch, BudgetState, Estimate, Gauges, Held, Input, News, Objectives, Outcomes, Page, Part,
    Plan, Proposed, Reason, Slot, SplitSlot, Standing, State, Sums, UnitHash, UnitList, Week,
};
use rollout_rules::time::UnixMs;

/// 2027-01-15T08:00:00Z.
const START: Slot = Slot(180_000_000);
const HOUR: u32 = 360;

fn rule(text: &str) -> Guardrail {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn rules(texts: &[&str]) -> Vec<Guardrail> {
    texts.iter().map(|text| rule(text)).collect()
}

fn flag(at: u32) -> FlagKey {
    FlagKey::new(&format!("flag-{at:03}")).unwrap()
}

fn split() -> SplitId {
    SplitId::new("all").unwrap()
}

fn key(text: &str) -> VariantKey {
    VariantKey::new(text).unwrap()
}

fn plan(revision: u64, percent: u32) -> Plan {
    let weights = vec![(key("new"), percent), (key("old"), 100 - percent)];
    Plan { revision: Revision(revision), control: Some(key("old")), weights }
}

fn outcomes(requests: u64, bad: u64, first: u64) -> Outcomes {
    let hash = |unit: u64| (UnitHash(unit.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ());
    let bad_units: UnitList = (first..first + bad).map(hash).collect();
    let served: UnitList = (first..first + requests).map(hash).collect();
    Outcomes { units: requests, requests, bad_requests: bad, bad: bad_units, served, ..Outcomes::default() }
}

/// A slot of one flag with 100 requests of the variant and the control together, a tenth or half of them the variant's.
fn of_flag(at: u32, number: u32, share: u64, bad: (u64, u64)) -> SplitSlot {
    let first = u64::from(number) * 1_000 + u64::from(at) * 10_000_000;
    let part = |variant, outcomes| Part { revision: Revision(1), variant: key(variant), outcomes };
    let parts = vec![
        part("new", outcomes(share, bad.0, first)),
        part("old", outcomes(100 - share, bad.1, first + 500)),
    ];
    SplitSlot { flag: flag(at), split: split(), parts }
}

fn slot(number: u32, all: Outcomes, splits: Vec<SplitSlot>) -> AppSlot {
    AppSlot { slot: START.plus(number), sources: 1, all: Some(all), gauges: Gauges::default(), splits }
}

fn own(number: u32, requests: u64, bad: u64) -> AppSlot {
    slot(number, outcomes(requests, bad, u64::from(number) * 1_000), vec![])
}

fn app(texts: &[&str]) -> AppWatch {
    AppWatch::new(rules(texts), Objectives::default(), START)
}

fn watched(flags: u32, percent: u32, texts: &[&str]) -> AppWatch {
    let mut watch = app(&[]);
    for at in 0..flags {
        watch.watch(flag(at), split(), rules(texts), None);
        watch.plan(&flag(at), &split(), plan(1, percent));
    }
    watch
}

fn artifact(nth: u8) -> Option<ArtifactDigest> {
    Some(format!("sha256:{nth:064x}").parse().expect("a digest"))
}

fn acts(news: &[News]) -> Vec<&Proposed> {
    news.iter()
        .filter_map(|news| if let News::Act(proposed) = news { Some(proposed) } else { None })
        .collect()
}

fn pages(news: &[News]) -> Vec<Page> {
    news.iter().filter_map(|news| if let News::Page(page) = news { Some(*page) } else { None }).collect()
}

const WORSE: &str = "error_rate worse than control -> flag off, run rollback";

#[test]
fn a_rule_of_a_flag_proposes_its_actions_once_with_what_was_measured() {
    let mut watch = watched(3, 10, &["latency_p95 > 2s for 5m -> notify owner", WORSE]);
    let mut news = vec![];
    for number in 0..200 {
        let broken = if number < 60 { 0 } else { 6 };
        let splits =
            (0..3).map(|at| of_flag(at, number, 10, (if at == 1 { broken } else { 0 }, 1))).collect();
        news.extend(watch.step(&slot(number, outcomes(300, 3, 0), splits)));
    }
    let acts = acts(&news);
    let [act] = acts[..] else { panic!("{acts:?}") };
    let measured = act.measured.as_ref().expect("a variant");
    assert_eq!((&measured.flag, &measured.variant, measured.revision), (&flag(1), &key("new"), Revision(1)));
    assert_eq!(act.rule, rule(WORSE));
    assert!(act.slot.since(START) < 66, "{act:?}");
    assert_eq!(pages(&news), [], "one variant is no incident");
    let states: Vec<State> = watch.verdicts().map(|(_, _, verdict)| verdict.state).collect();
    assert_eq!(states, [State::Ok, State::Regressed, State::Ok]);
}

#[test]
fn a_rule_that_only_tells_somebody_keeps_no_other_from_acting() {
    let mut watch = watched(1, 50, &["error_rate > 3% for 1m -> notify owner", WORSE]);
    let mut news = vec![];
    for number in 0..200 {
        // The control fails as often at first; then the variant much more often.
        let bad = if number < 100 { (3, 3) } else { (30, 3) };
        news.extend(watch.step(&slot(number, outcomes(300, 3, 0), vec![of_flag(0, number, 50, bad)])));
    }
    let acts: Vec<(String, bool)> =
        acts(&news).iter().map(|act| (act.rule.to_string(), act.slot.since(START) < 100)).collect();
    assert_eq!(
        acts,
        [("error_rate > 3% for 1m -> notify owner".to_owned(), true), (WORSE.to_owned(), false)]
    );
}

#[test]
fn flags_that_break_at_the_same_time_are_held_and_somebody_is_woken_once() {
    let mut watch = watched(10, 10, &[WORSE]);
    let mut news = vec![];
    for number in 0..90 {
        let bad = if number < 60 { 0 } else { 6 };
        let splits = (0..10).map(|at| of_flag(at, number, 10, (bad, 1))).collect();
        news.extend(watch.step(&slot(number, outcomes(300, 3, 0), splits)));
    }
    assert_eq!(acts(&news), Vec::<&Proposed>::new());
    assert!(matches!(pages(&news)[..], [Page::CommonMode { alarmed: 3.. }]), "{:?}", pages(&news));
    assert!(watch.verdicts().all(|(_, _, verdict)| verdict.state == State::CommonMode));
    assert_eq!(
        watch.standing(&flag(0), &split()),
        Standing::Held(Held::Variant(key("new"), State::CommonMode))
    );
}

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

#[test]
fn without_a_control_the_release_before_says_what_is_usual_at_this_hour() {
    let timed = |number: u32, us: u64| {
        let mut all = outcomes(50, 0, 0);
        all.latency.add(us, 50);
        slot(number, all, vec![])
    };
    let mut watch = app(&["latency_p95 > 2x baseline for 3m -> revert release"]);
    let day = 24 * HOUR;
    let act = |news: Vec<News>| acts(&news).len();
    // At night everything takes four times as long, and nothing is compared with the release itself.
    for number in 0..day {
        let us = if number % day < 8 * HOUR { 400_000 } else { 100_000 };
        assert_eq!(act(watch.step(&timed(number, us))), 0, "{number}");
    }
    watch.released(artifact(1));
    assert_eq!((day..day + HOUR).map(|number| act(watch.step(&timed(number, 700_000)))).sum::<usize>(), 0);
    let later = day + 10 * HOUR;
    let found = (later..later + HOUR).find(|number| act(watch.step(&timed(*number, 400_000))) > 0);
    assert_eq!(found, Some(later + 17), "four times as long as at this hour, for three minutes");
}

#[test]
fn a_week_forgets_what_is_older_and_other_hours() {
    let mut week = Week::default();
    let one = |requests: u64| Outcomes { requests, ..Outcomes::default() };
    let hour = |hour: u32| START.plus(hour * HOUR);
    (0..240).for_each(|at| week.add(hour(at), &one(u64::from(at) + 1)));
    assert_eq!(week.usual(hour(240)), None, "this release is not compared with itself");
    week.released(artifact(1));
    week.released(artifact(2));
    let sum = |sums: Option<Sums>| sums.map(|sums| sums.rate.requests);
    // Of the hours 72, 96 and so on until 216 the seven last at the same hour of the day.
    assert_eq!(sum(week.usual(hour(240))), Some((72..240).step_by(24).map(|at| at + 1).sum()));
    assert_eq!(
        sum(week.usual(hour(240 + 24 * 30))),
        sum(week.usual(hour(240))),
        "however long the next one runs"
    );
    assert_eq!(sum(week.usual(hour(241))), Some((73..240).step_by(24).map(|at| at + 1).sum()));
}

#[test]
fn a_written_threshold_on_a_flag_acts_during_its_rollout_and_a_day_after_its_last_raise() {
    let run = |quiet_hours: u32, runs: bool, raised: bool| {
        let mut watch = watched(1, 10, &["error_rate > 30% for 1m -> flag off"]);
        watch.rollout_runs(&flag(0), &split(), runs);
        let step = |watch: &mut AppWatch, number: u32, bad: u64| {
            let mut of_flag = of_flag(0, number, 10, (bad, 0));
            // Who was served is not told: the shares that are planned below are not these.
            of_flag.parts.iter_mut().for_each(|part| part.outcomes.served = UnitList::unknown());
            watch.step(&slot(number, Outcomes::default(), vec![of_flag]))
        };
        let from = quiet_hours * HOUR;
        (0..30).for_each(|number| drop(step(&mut watch, number, 0)));
        step(&mut watch, from, 0);
        watch.plan(&flag(0), &split(), plan(1, if raised { 20 } else { 5 }));
        let news: Vec<News> = (from + 1..from + 30).flat_map(|number| step(&mut watch, number, 9)).collect();
        let held = news
            .iter()
            .any(|news| matches!(news, News::Known { verdict, .. } if verdict.state == State::Suspect));
        (acts(&news).len(), held)
    };
    assert_eq!(run(23, false, false), (1, false));
    assert_eq!(run(25, false, false), (0, true), "a day is over: it is held, and people are told");
    assert_eq!(run(25, true, false), (1, false), "the rollout runs");
    assert_eq!(run(25, false, true), (1, false), "it was raised just now");
}

#[test]
fn a_rollout_goes_on_when_shown_good_or_by_its_tier_and_waits_while_anything_speaks_against_it() {
    let run = |texts: &[&str], slots: u32, bad: &dyn Fn(u32) -> (u64, u64), own: u64| {
        let mut watch = AppWatch::new(rules(texts), Objectives::default(), START);
        watch.watch(flag(0), split(), rules(&[WORSE]), None);
        watch.plan(&flag(0), &split(), plan(1, 50));
        for number in 0..slots {
            let splits = vec![of_flag(0, number, 50, bad(number))];
            watch.step(&slot(number, outcomes(100, own, 0), splits));
        }
        watch.standing(&flag(0), &split())
    };
    let even = |number: u32| (u64::from(number.is_multiple_of(2)), u64::from(!number.is_multiple_of(2)));
    let app = ["error_rate > 5% for 1m -> revert release"];
    assert_eq!(run(&app, 5, &even, 0), Standing::NotEnoughData);
    assert_eq!(run(&app, 400, &even, 0), Standing::ShownGood);
    assert_eq!(run(&app, 400, &even, 20), Standing::Held(Held::App));
    let outage = |number: u32| if number < 390 { even(number) } else { (20, 20) };
    assert_eq!(run(&app, 400, &outage, 0), Standing::Held(Held::Control));
    let worse = |number: u32| if number < 60 { even(number) } else { (4, 1) };
    assert_eq!(run(&app, 200, &worse, 0), Standing::Held(Held::Variant(key("new"), State::Regressed)));
    let watch = watched(1, 50, &[WORSE]);
    assert_eq!(watch.standing(&flag(1), &split()), Standing::Held(Held::Unwatched));
}

#[test]
fn without_sums_of_the_app_the_flag_that_is_asked_for_most_stands_for_it() {
    let mut watch = app(&["error_rate > 3% for 1m -> revert release"]);
    let news: Vec<News> = (0..20)
        .flat_map(|number| {
            let splits = vec![of_flag(0, number, 10, (1, 9)), of_flag(1, number, 0, (0, 0))];
            watch.step(&AppSlot { all: None, ..slot(number, Outcomes::default(), splits) })
        })
        .collect();
    assert_eq!(acts(&news).len(), 1);
    assert_eq!(watch.lately().recent().rate.requests, 2_000);
}

fn some_slots() -> impl Strategy<Value = Vec<AppSlot>> {
    let one = (0..5_u32, 0..2_u32, 0..7_u64, 0..9_u64, proptest::option::of(0..2_000_000_u32), 0..40_u64);
    proptest::collection::vec(one, 1..120).prop_map(|slots| {
        let mut number = 0;
        let made = |(skip, sources, new, old, gauge, bad): (u32, u32, u64, u64, Option<u32>, u64)| {
            number += 1 + skip / 4;
            let splits = (0..4).map(|at| of_flag(at, number, 10, (new, old))).collect();
            let all = Outcomes { cost_micros: bad * 1_000_000, ..outcomes(100, bad, 0) };
            let gauges = Gauges { cpu_millionths: gauge, memory_millionths: None };
            AppSlot { sources, gauges, ..slot(number, all, splits) }
        };
        slots.into_iter().map(made).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn replayed_slots_make_the_same_news_and_a_stored_watch_goes_on_where_it_was(slots in some_slots(), at in 0..120_usize) {
        let objectives = Objectives { good_millionths: Some(990_000), budget_micros: Some(500_000_000) };
        let begin = || {
            let own = ["error_rate > 20% for 1m -> revert release", "cpu > 50% for 1m -> notify owner",
                "monthly_spend > budget -> disable non-critical", "error_rate > 10% -> notify owner"];
            let mut watch = AppWatch::new(rules(&own), objectives, START);
            for at in 0..4 {
                watch.watch(flag(at), split(), rules(&[WORSE, "error_rate > 30% for 1m -> flag off"]), None);
                watch.plan(&flag(at), &split(), plan(1, 10));
            }
            watch
        };
        let (mut live, mut replayed) = (begin(), begin());
        for (number, entry) in slots.iter().enumerate() {
            if number == at {
                live = serde_json::from_str(&serde_json::to_string(&live).unwrap()).unwrap();
            }
            let stored: AppSlot = serde_json::from_str(&serde_json::to_string(entry).unwrap()).unwrap();
            let news = live.step(entry);
            prop_assert_eq!(&replayed.step(&stored), &news);
            prop_assert_eq!(replayed.step(&stored), vec![], "a slot that comes again changes nothing");
            let written = serde_json::to_string(&news).unwrap();
            prop_assert_eq!(serde_json::from_str::<Vec<News>>(&written).unwrap(), news);
        }
        prop_assert_eq!(&replayed, &live);
    }
}
