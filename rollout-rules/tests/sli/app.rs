//! The watch over a whole app: its own rules, its flags at the same time, and whether rollouts may go on.

mod own;

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
