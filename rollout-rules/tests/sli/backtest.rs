//! Rules that are tried on what was recorded come to what they would have come to live, and say what they cannot tell.

use proptest::prelude::*;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision, SplitId, VariantKey};
use rollout_rules::sli::backtest::{Backtest, Outcome, Report, Resolution, RuleReport, Rules, WhyNot};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{
    About, AppSlot, AppSum, AppWatch, Gauges, Input, News, Objectives, Outcomes, Part, Plan, Proposed,
    RECORDING_VERSION, Reason, Recorded, Recording, RulesInForce, SUM_SLOTS, Serves, Slot, SplitSlot,
    UnitHash, UnitList,
};
use rollout_rules::time::UnixMs;

/// The first slot of five minutes.
const START: Slot = Slot(180_000_000);
const DAY: u32 = 8_640;
const WORSE: &str = "error_rate worse than control -> flag off";
const WRITTEN: &str = "error_rate > 3% for 5m -> flag off";

fn rule(text: &str) -> Guardrail {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn flag() -> FlagKey {
    FlagKey::new("checkout").unwrap()
}

fn split() -> SplitId {
    SplitId::new(".exposure").unwrap()
}

fn key(text: &str) -> VariantKey {
    VariantKey::new(text).unwrap()
}

fn plan(revision: u64, control: bool) -> Plan {
    let weights = vec![(key("on"), 50), (key("off"), 50)];
    Plan { revision: Revision(revision), control: control.then(|| key("off")), weights }
}

fn serves(from: Slot, plan: Plan) -> Recorded {
    Recorded::Serves(Serves { from, flag: flag(), split: split(), plan, rollout: None, runs: true })
}

/// Requests by as many users who were not there before.
fn outcomes(requests: u64, bad: u64, first: u64) -> Outcomes {
    let hash = |unit: u64| (UnitHash(unit.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ());
    let units: UnitList = (first..first + bad).map(hash).collect();
    let served: UnitList = (first..first + requests).map(hash).collect();
    Outcomes { units: requests, requests, bad_requests: bad, bad: units, served, ..Outcomes::default() }
}

fn without_units(outcomes: Outcomes) -> Outcomes {
    Outcomes { served: UnitList::unknown(), bad: UnitList::unknown(), ..outcomes }
}

fn told(on: Outcomes, off: Outcomes) -> Vec<SplitSlot> {
    let part = |variant, outcomes| Part { revision: Revision(1), variant: key(variant), outcomes };
    vec![SplitSlot { flag: flag(), split: split(), parts: vec![part("on", on), part("off", off)] }]
}

fn slot(number: u32, on: (u64, u64), off: (u64, u64)) -> AppSlot {
    let first = u64::from(number) * 100_000;
    let splits = told(outcomes(on.0, on.1, first), outcomes(off.0, off.1, first + 50_000));
    AppSlot { slot: START.plus(number), sources: 1, all: None, gauges: Gauges::default(), splits }
}

fn sum(number: u32, on: (u64, u64), off: (u64, u64)) -> Recorded {
    let of = |(requests, bad)| without_units(outcomes(requests, bad, 0));
    let slot = START.plus(number * SUM_SLOTS);
    Recorded::Sum(AppSum { slot, slots: SUM_SLOTS, all: None, splits: told(of(on), of(off)) })
}

fn tried(rules: &[&str], lines: impl IntoIterator<Item = Recorded>) -> Report {
    let rules: Vec<Guardrail> = rules.iter().map(|text| rule(text)).collect();
    let mut backtest = Backtest::new(Rules::given(&rules, None));
    lines.into_iter().for_each(|line| backtest.fold(&line));
    backtest.end()
}

/// When a rule would have acted beside the others: in which slots, and why.
fn fired(rule: &RuleReport) -> Vec<(Slot, Reason)> {
    rule.fired.iter().map(|fired| (fired.found.slot, fired.found.reason.clone())).collect()
}

/// What a watch proposes that is told of the same plan and slots.
fn live(rules: &[&str], slots: &[AppSlot]) -> Vec<Proposed> {
    let rules: Vec<Guardrail> = rules.iter().map(|text| rule(text)).collect();
    let mut watch = AppWatch::new(Vec::new(), Objectives::default(), slots[0].slot);
    watch.fold(&Input::Watch { flag: flag(), split: split(), rules, rollout: None });
    watch.fold(&Input::Plan { flag: flag(), split: split(), plan: plan(1, true) });
    watch.fold(&Input::RolloutRuns { flag: flag(), split: split(), runs: true });
    let mut proposed = Vec::new();
    for slot in slots {
        let mut news = Vec::new();
        while watch.next() < slot.slot {
            let (slot, gauges) = (watch.next(), Gauges::default());
            let empty = AppSlot { slot, sources: 0, all: None, gauges, splits: Vec::new() };
            news.extend(watch.fold(&Input::Slot(empty)));
        }
        news.extend(watch.fold(&Input::Slot(slot.clone())));
        proposed.extend(news.into_iter().filter_map(|news| match news {
            News::Act(proposed) => Some(proposed),
            _ => None,
        }));
    }
    // Both rules turn the flag off, after which it is watched no more.
    proposed.truncate(1);
    proposed
}

fn recorded(slots: &[AppSlot]) -> Vec<Recorded> {
    let begins = [serves(START, plan(1, true))];
    begins.into_iter().chain(slots.iter().cloned().map(Recorded::Slot)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_would_have_been_done_is_what_the_watch_does_in_the_same_slot_for_the_same_reason(
        breaks in 0_u32..120, bad in 0_u64..12, skipped in prop::collection::btree_set(1_u32..150, 0..40),
        both in any::<bool>(),
    ) {
        let slots: Vec<AppSlot> = (0..150)
            .filter(|number| !skipped.contains(number))
            .map(|number| slot(number, (20, if number < breaks { 0 } else { bad }), (20, u64::from(number % 7 == 0))))
            .collect();
        let rules: &[&str] = if both { &[WRITTEN, WORSE] } else { &[WORSE] };
        let proposed = live(rules, &slots);
        let report = tried(rules, recorded(&slots));
        for (tried, text) in report.rules.iter().filter(|tried| !tried.tried.of_app).zip(rules) {
            let mine = proposed.iter().filter(|proposed| proposed.rule == rule(text));
            let mine: Vec<(Slot, Reason)> = mine.map(|one| (one.slot, one.reason.clone())).collect();
            prop_assert_eq!(fired(tried), mine, "{}", text);
        }
    }

    #[test]
    fn a_bound_on_sums_of_five_minutes_is_what_counting_them_says(
        sums in prop::collection::vec((0_u64..400, 0_u64..30), 1..60), minutes in 1_u32..40,
    ) {
        let text = format!("error_rate > 3% for {minutes}m -> flag off");
        let lines = sums.iter().zip(0..).map(|((requests, bad), at)| sum(at, (*requests, *bad.min(requests)), (100, 0)));
        let report = tried(&[&text], [serves(START, plan(1, true))].into_iter().chain(lines));
        let (mut passed, mut requests_then, mut bad_then, mut first) = (0, 0, 0, None);
        for (at, (requests, bad)) in (0..).zip(&sums) {
            let bad = *bad.min(requests);
            if *requests == 0 {
                continue;
            }
            if bad * 1_000_000 / requests > 30_000 {
                (passed, requests_then, bad_then) = (passed + 5, requests_then + requests, bad_then + bad);
            } else {
                (passed, requests_then, bad_then) = (0, 0, 0);
            }
            if passed > 0 && passed >= minutes && requests_then >= 100 && bad_then >= 5 {
                first = first.or(Some(START.plus(at * SUM_SLOTS)));
            }
        }
        let found: Vec<Slot> = fired(&report.rules[0]).into_iter().map(|(slot, _)| slot).collect();
        prop_assert_eq!(found, first.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_stricter_rule_acts_earlier_and_a_laxer_one_says_how_near_it_came() {
    let slots: Vec<AppSlot> =
        (0..120).map(|number| slot(number, (100, if number < 40 { 0 } else { 4 }), (100, 1))).collect();
    let strict = "error_rate > 1% for 1m -> flag off";
    let lax = "error_rate > 5% for 5m -> flag off";
    let report = tried(&[strict, WRITTEN, lax], recorded(&slots));
    let [first, second, third] = &report.rules[..] else { panic!("{report:#?}") };
    assert_eq!((first.outcome(), first.fired.len()), (Outcome::Fired, 1));
    // Beside the stricter one it comes too late, for the flag is off by then.
    assert_eq!((second.outcome(), second.fired.len(), second.alone.len()), (Outcome::FiredAlone, 0, 1));
    assert!(second.alone[0].found.slot > first.fired[0].found.slot);
    // Five slots of the six that are measured have to be bad, for thirty slots.
    assert_eq!(second.alone[0].found.slot.since(START.plus(40)), 4 + 29);
    assert_eq!(third.outcome(), Outcome::NotFired);
    let nearest = third.nearest.as_ref().expect("it was near");
    assert!(nearest.found.reason.to_string().contains("error_rate 4% of 5%"), "{nearest:?}");
    let served = first.fired[0].served;
    assert_eq!(served.first, Some(START.starts_at()));
    let slots_until = u64::from(first.fired[0].found.slot.since(START)) + 1;
    assert_eq!((served.requests, served.all), (slots_until * 100, slots_until * 200));
    assert_eq!(third.account.judged.slots, 120);
    assert_eq!(third.account.judged.requests, 24_000);
}

#[test]
fn at_one_request_a_second_a_plain_window_takes_back_what_is_healthy_and_the_comparison_does_not() {
    let mut dice = 7_u64;
    let mut throw = || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % 100
    };
    let slots: Vec<AppSlot> = (0..DAY)
        .map(|number| {
            let mut ten = || (10, (0..10).map(|_| u64::from(throw() == 0)).sum());
            slot(number, ten(), ten())
        })
        .collect();
    let plain = "error_rate > 1.5% for 1m -> flag off";
    let report = tried(&[plain], recorded(&slots));
    assert_eq!(report.rules[0].outcome(), Outcome::Fired, "{:#?}", report.rules[0].nearest);
    let report = tried(&[WORSE], recorded(&slots));
    assert_eq!(report.rules[0].outcome(), Outcome::NotFired);
    assert!(report.rules[0].nearest.is_some());
}

#[test]
fn what_cannot_be_judged_is_said_to_be_so_and_why() {
    let sums = || (0..20).map(|at| sum(at, (1_000, 500), (1_000, 5)));
    let begins = |control| [serves(START, plan(1, control))];
    let of = |rules: &[&str], lines: Vec<Recorded>| tried(rules, lines).rules.remove(0);
    let why = |rule: &RuleReport| rule.account.not_judged.keys().copied().collect::<Vec<_>>();

    let compared = of(&[WORSE], begins(true).into_iter().chain(sums()).collect());
    assert_eq!((compared.outcome(), why(&compared)), (Outcome::NotJudged, vec![WhyNot::SumsHaveNoUnits]));
    assert_eq!(compared.account.not_judged[&WhyNot::SumsHaveNoUnits].sums, 20);
    let written = of(&[WRITTEN], begins(true).into_iter().chain(sums()).collect());
    assert_eq!(written.outcome(), Outcome::Fired);

    let slots: Vec<AppSlot> = (0..60).map(|number| slot(number, (100, 50), (100, 1))).collect();
    let alone =
        of(&[WORSE], begins(false).into_iter().chain(slots.iter().cloned().map(Recorded::Slot)).collect());
    assert_eq!((alone.outcome(), why(&alone)), (Outcome::NotJudged, vec![WhyNot::NoControl]));
    let nobody = Plan { weights: vec![(key("on"), 100), (key("off"), 0)], ..plan(1, true) };
    let nobody = [serves(START, nobody)].into_iter().chain(slots.iter().cloned().map(Recorded::Slot));
    let nobody = of(&[WORSE], nobody.collect());
    assert_eq!((nobody.outcome(), why(&nobody)), (Outcome::NotJudged, vec![WhyNot::NoControl]));
    let unplanned = of(&[WORSE], slots.iter().cloned().map(Recorded::Slot).collect());
    assert_eq!((unplanned.outcome(), why(&unplanned)), (Outcome::NotJudged, vec![WhyNot::NotDivided]));
    let silent = slots.iter().cloned().map(|mut slot| {
        for part in slot.splits.iter_mut().flat_map(|split| &mut split.parts) {
            part.outcomes = without_units(part.outcomes.clone());
        }
        Recorded::Slot(slot)
    });
    let silent = of(&[WORSE], begins(true).into_iter().chain(silent).collect());
    assert_eq!((silent.outcome(), why(&silent)), (Outcome::NotJudged, vec![WhyNot::NoUnits]));
    let cpu = of(&["cpu > 80% for 1m -> notify owner"], recorded(&slots));
    assert_eq!((cpu.outcome(), why(&cpu)), (Outcome::NotJudged, vec![WhyNot::NotReported]));
    let cpu = of(&["cpu > 80% for 1m -> notify owner"], begins(true).into_iter().chain(sums()).collect());
    assert_eq!((cpu.outcome(), why(&cpu)), (Outcome::NotJudged, vec![WhyNot::NotKept]));
    let before = of(&["latency_p95 > 1.5x baseline for 1m -> notify owner"], recorded(&slots));
    assert_eq!((before.outcome(), why(&before)), (Outcome::NotJudged, vec![WhyNot::NoReleases]));
    let spend = of(&["monthly_spend > budget -> notify owner"], recorded(&slots));
    assert_eq!((spend.outcome(), why(&spend)), (Outcome::NotJudged, vec![WhyNot::NoBudget]));
    let nothing = of(&[WORSE], Vec::new());
    assert_eq!((nothing.outcome(), why(&nothing)), (Outcome::NotJudged, Vec::new()));
}

#[test]
fn sums_and_slots_are_told_apart_and_what_ended_within_five_minutes_is_judged_for_them() {
    let end = START.plus(10 * SUM_SLOTS + 12);
    let ends = Recorded::Ends { from: end, flag: flag(), split: split() };
    let mut lines = vec![serves(START, plan(1, true))];
    lines.extend((0..10).map(|at| sum(at, (1_000, 0), (1_000, 0))));
    lines.extend([ends, sum(10, (1_000, 500), (1_000, 0)), sum(11, (1_000, 500), (1_000, 0))]);
    lines.push(Recorded::Slot(slot(600, (10, 0), (10, 0))));
    let report = tried(&[WRITTEN], lines);
    let [found] = &report.rules[0].fired[..] else { panic!("{report:#?}") };
    assert_eq!((found.found.slot, found.found.slots), (START.plus(300), SUM_SLOTS));
    let resolutions: Vec<Resolution> = report.spans.iter().map(|span| span.resolution).collect();
    assert_eq!(resolutions, [Resolution::Sums, Resolution::Slots]);
    assert_eq!(report.rules[0].account.not_judged[&WhyNot::NotDivided].sums, 1);
}

#[test]
fn a_new_rollout_is_judged_anew_and_a_raise_of_one_that_runs_is_not() {
    let again = |from: u32, revision, rollout| {
        Recorded::Serves(Serves {
            from: START.plus(from),
            flag: flag(),
            split: split(),
            plan: plan(revision, true),
            rollout: Some(UnixMs(rollout)),
            runs: true,
        })
    };
    let of = |number: u32, revision| {
        let mut slot = slot(number, (100, 50), (100, 0));
        slot.splits[0].parts.iter_mut().for_each(|part| part.revision = Revision(revision));
        Recorded::Slot(slot)
    };
    let mut lines = vec![again(0, 1, 5)];
    lines.extend((0..60).map(|number| of(number, 1)));
    lines.push(again(60, 2, 5));
    lines.extend((60..120).map(|number| of(number, 2)));
    assert_eq!(tried(&[WRITTEN], lines.clone()).rules[0].fired.len(), 1);
    lines.push(again(120, 3, 6));
    lines.extend((120..180).map(|number| of(number, 3)));
    let report = tried(&[WRITTEN], lines);
    let revisions: Vec<u64> = report.rules[0]
        .fired
        .iter()
        .map(|fired| fired.measured.as_ref().expect("a flag").revision.0)
        .collect();
    assert_eq!(revisions, [1, 3]);
    assert_eq!(report.rules[0].fired[1].served.first, Some(START.plus(120).starts_at()));
}

#[test]
fn a_rule_of_the_app_itself_acts_as_it_does_live_and_on_sums() {
    let own = "error_rate > 3% for 5m -> revert release";
    let slots: Vec<AppSlot> = (0..150).map(|number| slot(number, (100, 20), (100, 20))).collect();
    let mut watch = AppWatch::new(vec![rule(own)], Objectives::default(), START);
    let acts = slots.iter().flat_map(|slot| watch.step(slot)).filter_map(|news| match news {
        News::Act(proposed) => Some((proposed.slot, proposed.reason)),
        _ => None,
    });
    let acts: Vec<_> = acts.collect();
    assert_eq!(acts.len(), 1);
    let report = tried(&[own], recorded(&slots));
    let [of_app] = &report.rules[..] else { panic!("what judges the app judges no flag: {report:#?}") };
    assert!(of_app.tried.of_app);
    assert_eq!(fired(of_app), acts);

    let lines = (0..20).map(|at| sum(at, (1_000, 200), (1_000, 200)));
    let report = tried(&[own], [serves(START, plan(1, true))].into_iter().chain(lines));
    let of_app = report.rules.iter().find(|rule| rule.tried.of_app).expect("a rule of the app");
    assert_eq!(of_app.fired.len(), 1, "once, until it was well for an hour");
    assert_eq!(of_app.fired[0].found.slot, START);
}

#[test]
fn a_month_that_is_going_to_cost_too_much_is_found_from_sums_and_slots_alike() {
    let spend = "monthly_spend > budget -> notify owner";
    let budget = Recorded::App(Objectives { good_millionths: None, budget_micros: Some(1_000_000) });
    let costs = |at| {
        let Recorded::Sum(mut sum) = sum(at, (1_000, 0), (1_000, 0)) else { unreachable!() };
        sum.splits[0].parts[0].outcomes.cost_micros = 10_000;
        Recorded::Sum(sum)
    };
    // Five minutes before February and after it began: of January only its end is known.
    let (february, sums) = (4_800, 4_790..4_810);
    let report = tried(&[spend], [budget.clone()].into_iter().chain(sums.clone().map(costs)));
    assert_eq!(report.rules[0].fired.len(), 1, "{report:#?}");
    assert_eq!(report.rules[0].fired[0].found.slot, START.plus(february * SUM_SLOTS));
    let account = &report.rules[0].account;
    assert_eq!((account.judged.sums, account.not_judged[&WhyNot::MonthNotWhole].sums), (10, 10));
    let cheap = sums.map(|at| sum(at, (1_000, 0), (1_000, 0)));
    let report = tried(&[spend], [budget].into_iter().chain(cheap));
    assert_eq!(report.rules[0].outcome(), Outcome::NotFired);
}

#[test]
fn lines_are_read_back_as_they_were_written() {
    let about = About {
        version: RECORDING_VERSION,
        app: AppKey::new("shop").unwrap(),
        environment: EnvKey::new("live").unwrap(),
        flag: Some(flag()),
        since: UnixMs(7_000),
        rules: RulesInForce { app: vec![], flags: [(flag(), vec![rule(WORSE), rule(WRITTEN)])].into() },
    };
    let lines = [
        Recorded::Recording(about),
        Recorded::App(Objectives { good_millionths: Some(990_000), budget_micros: None }),
        serves(START, plan(1, true)),
        Recorded::Slot(slot(1, (5, 1), (5, 0))),
        sum(2, (5, 1), (5, 0)),
        Recorded::Ends { from: START, flag: flag(), split: split() },
        Recorded::End { until: UnixMs(9_000) },
    ];
    for line in lines {
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(serde_json::from_str::<Recorded>(&text).unwrap(), line, "{text}");
        assert!(!text.contains('\n'));
    }
}

#[test]
fn what_evidence_was_found_from_says_the_same_when_its_rules_are_tried_on_it() {
    let mut inputs = vec![
        Input::App { rules: vec![], objectives: Objectives::default() },
        Input::Watch { flag: flag(), split: split(), rules: vec![rule(WORSE)], rollout: None },
        Input::Plan { flag: flag(), split: split(), plan: plan(1, true) },
        Input::RolloutRuns { flag: flag(), split: split(), runs: true },
    ];
    inputs.extend(
        (0..60).map(|number| Input::Slot(slot(number, (100, if number < 30 { 1 } else { 20 }), (100, 1)))),
    );
    let mut watch = AppWatch::new(vec![], Objectives::default(), START);
    let base = watch.clone();
    let mut until = inputs.len();
    for (at, input) in inputs.iter().enumerate() {
        if watch.fold(input).iter().any(|news| matches!(news, News::Act(_))) {
            until = until.min(at + 1);
        }
    }
    inputs.truncate(until);
    let Some(Input::Slot(last)) = inputs.last() else { panic!("no rule acted") };
    let last = last.slot;
    let (rules, lines) = Recording { base, inputs }.recorded();
    let mut backtest = Backtest::new(Rules::in_force(&rules, None));
    lines.iter().for_each(|line| backtest.fold(line));
    let report = backtest.end();
    assert_eq!(report.rules[0].tried.rule, rule(WORSE));
    assert_eq!(report.rules[0].fired.iter().map(|fired| fired.found.slot).collect::<Vec<_>>(), [last]);
}
