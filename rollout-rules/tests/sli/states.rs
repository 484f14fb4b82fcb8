//! What a variant is held to be, for every form of rule and in every state; and that nothing but what is comparable is compared.

use proptest::prelude::*;
use rollout_rules::ids::{Revision, VariantKey};
use rollout_rules::sli::guardrail::{Guardrail, Test};
use rollout_rules::sli::{
    Bucket, Outcomes, Part, Peers, Plan, Sample, Slot, SlotEntry, SlowUnits, State, UnitHash, Watch,
};

const START: Slot = Slot(180_000_000);
/// A day.
const DAY_SLOTS: u32 = 8_640;
const FORMS: [&str; 5] = [
    "error_rate worse than control",
    "latency_p95 worse than control",
    "error_rate > 30% for 1m",
    "latency_p95 > 2x baseline for 1m",
    "error_rate > 3%",
];

fn test(form: &str) -> Test {
    let rule: Guardrail = format!("{form} -> flag off").parse().unwrap();
    rule.when()
}

fn key(text: &str) -> VariantKey {
    VariantKey::new(text).unwrap()
}

fn plan(revision: u64, percent: u32) -> Plan {
    let weights = vec![(key("new"), percent), (key("old"), 100 - percent)];
    Plan { revision: Revision(revision), control: Some(key("old")), weights }
}

fn watch(form: &str) -> Watch {
    let mut watch = Watch::new(vec![test(form)], None, START);
    watch.plan(plan(1, 10));
    watch
}

/// What becomes of the requests of one variant in a slot: so many of them fail, and so many take so long.
#[derive(Clone, Copy)]
struct Does {
    requests: u64,
    bad: u64,
    slow: u64,
    us: u64,
}

const NEW: Does = Does { requests: 10, bad: 0, slow: 1, us: 300_000 };
const OLD: Does = Does { requests: 90, bad: 1, slow: 9, us: 300_000 };
const BROKEN: Does = Does { bad: 5, slow: 4, us: 900_000, ..NEW };

fn hash(unit: u64) -> UnitHash {
    UnitHash(unit.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn outcomes(does: Does, first: u64) -> Outcomes {
    let Does { requests, bad, slow, us } = does;
    let mut outcomes = Outcomes {
        units: requests,
        requests,
        bad_requests: bad,
        bad: (first..first + bad).map(|unit| (hash(unit), ())).collect(),
        served: Sample::unknown(),
        slow: SlowUnits::from_iter((first..first + slow).map(|unit| (hash(unit), Bucket::of(us)))),
        slow_from_us: 150_000,
        ..Outcomes::default()
    };
    outcomes.latency.add(100_000, requests - slow);
    outcomes.latency.add(us, slow);
    outcomes
}

fn entry(number: u32, new: Does, old: Does) -> SlotEntry {
    let first = u64::from(number) * 10_000;
    let part = |variant, outcomes| Part { revision: Revision(1), variant: key(variant), outcomes };
    let parts = vec![part("new", outcomes(new, first)), part("old", outcomes(old, first + 5_000))];
    SlotEntry { slot: START.plus(number), sources: 1, parts }
}

fn state(watch: &Watch) -> State {
    watch.verdicts().next().unwrap().state
}

/// What happens, after a hundred slots in which nothing did.
type Happens = fn(&mut Watch);

fn pass(watch: &mut Watch, slots: std::ops::Range<u32>, new: Does, old: Does, peers: Peers) {
    slots.for_each(|number| drop(watch.step(&entry(number, new, old), peers)));
}

fn nobody_asks(watch: &mut Watch, sources: u32) {
    for number in 100..102 {
        let slot = START.plus(number);
        watch.step(&SlotEntry { slot, sources, parts: vec![] }, Peers::default());
    }
}

fn too_many_are_served(watch: &mut Watch) {
    for number in 100..160 {
        let mut entry = entry(number, BROKEN, OLD);
        for (part, units) in entry.parts.iter_mut().zip([0..50_u64, 50..200]) {
            part.outcomes.served = units.map(|unit| (hash(u64::from(number) * 1_000 + unit), ())).collect();
        }
        watch.step(&entry, Peers::default());
    }
}

#[test]
fn every_form_of_rule_has_its_state_whatever_happens() {
    use State::{CommonMode, Invalid, NoData, Ok, Regressed, Stale, Suspect};
    let alone = Peers::default;
    let happenings: [(&str, Happens, [State; 5]); 8] = [
        ("nothing", |watch| pass(watch, 100..101, NEW, OLD, Peers::default()), [Ok; 5]),
        ("it breaks", |watch| pass(watch, 100..130, BROKEN, OLD, Peers::default()), [Regressed; 5]),
        ("no requests", |watch| nobody_asks(watch, 1), [NoData; 5]),
        ("no word", |watch| nobody_asks(watch, 0), [Stale; 5]),
        ("another share", too_many_are_served, [Invalid; 5]),
        (
            "an outage",
            |watch| {
                let (new, old) = (
                    Does { bad: 9, slow: 9, us: 3_000_000, ..NEW },
                    Does { bad: 20, slow: 20, us: 900_000, ..OLD },
                );
                pass(watch, 100..112, new, old, Peers::default());
            },
            [CommonMode, CommonMode, Regressed, Regressed, Regressed],
        ),
        (
            "many break at once",
            |watch| pass(watch, 100..130, BROKEN, OLD, Peers::COMMON),
            [CommonMode, CommonMode, Regressed, Regressed, Regressed],
        ),
        // What is written acts while it is new; what compares acts on.
        (
            "it breaks a day later",
            |watch| {
                let later = 101 + DAY_SLOTS;
                pass(watch, later..later + 30, NEW, OLD, Peers::default());
                pass(watch, later + 30..later + 60, BROKEN, OLD, Peers::default());
            },
            [Regressed, Regressed, Suspect, Suspect, Suspect],
        ),
    ];
    for (at, form) in FORMS.into_iter().enumerate() {
        let mut young = watch(form);
        pass(&mut young, 0..9, NEW, OLD, alone());
        assert_eq!(state(&young), State::Warming, "{form}: 90 requests of the variant are few");
        for (what, happens, expected) in &happenings {
            let mut watch = watch(form);
            pass(&mut watch, 0..100, NEW, OLD, alone());
            happens(&mut watch);
            assert_eq!(state(&watch), expected[at], "{form}: {what}");
        }
    }
}

#[test]
fn between_well_and_bad_a_variant_is_suspect_where_evidence_decides() {
    // So many requests fail, or are slow, in every slot: more than at the control, and too few to act at once.
    let seen = |form: &str, new: Does| {
        let mut watch = watch(form);
        let news = (0..200).flat_map(|number| watch.step(&entry(number, new, OLD), Peers::default()));
        let states = news.map(|verdict| verdict.state);
        states.filter(|state| !matches!(state, State::Warming | State::Ok)).collect::<Vec<_>>()
    };
    let (bad, slow) = (Does { bad: 1, ..NEW }, Does { us: 900_000, ..NEW });
    assert_eq!(seen(FORMS[0], bad), [State::Suspect, State::Regressed]);
    assert_eq!(seen(FORMS[1], slow), [State::Suspect, State::Regressed]);
    assert_eq!(seen(FORMS[4], bad), [State::Suspect, State::Regressed]);
    assert_eq!(seen(FORMS[2], Does { bad: 4, ..NEW }), [State::Regressed], "what is written has no between");
}

#[test]
fn a_variant_that_is_slower_but_not_twice_as_slow_is_held() {
    let run = |us: u64| {
        let mut watch = watch(FORMS[1]);
        pass(&mut watch, 0..120, Does { slow: 4, us, ..NEW }, OLD, Peers::default());
        state(&watch)
    };
    assert_eq!((run(450_000), run(650_000)), (State::Suspect, State::Regressed));
}

#[test]
fn units_that_one_side_does_not_list_are_not_held_against_the_other() {
    // The control lists only what takes longer than a second: how many of its units are slow is not known.
    let mut slow = watch(FORMS[1]);
    for number in 0..200 {
        let mut entry = entry(number, Does { us: 350_000, ..NEW }, OLD);
        entry.parts[1].outcomes.slow = SlowUnits::default();
        entry.parts[1].outcomes.slow_from_us = 1_000_000;
        slow.step(&entry, Peers::default());
    }
    assert_eq!(state(&slow), State::Ok);
    // A list that is full names the units with the smallest hashes alone.
    let mut bad = watch(FORMS[0]);
    let (new, old) = (Does { requests: 1_000, bad: 100, ..NEW }, Does { requests: 9_000, bad: 900, ..OLD });
    pass(&mut bad, 0..60, new, old, Peers::default());
    assert_eq!(state(&bad), State::Ok, "one in ten fails on both sides");
}

#[test]
fn batches_that_tell_of_the_revision_before_still_count() {
    let mut watch = watch(FORMS[0]);
    pass(&mut watch, 0..60, NEW, OLD, Peers::default());
    watch.plan(plan(2, 20));
    pass(&mut watch, 60..70, BROKEN, OLD, Peers::default());
    assert_eq!(state(&watch), State::Regressed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// The window of a minute and the clock, counted by brute force from all slots.
    #[test]
    fn a_written_threshold_acts_when_brute_force_says_so(
        slots in proptest::collection::vec((1..60_u64, 0..12_u64), 1..120),
        percent in 5..25_u64,
        sustained in 1..18_usize,
    ) {
        let form = format!("error_rate > {percent}% for {}s", sustained * 10);
        let (mut watch, mut passed) = (watch(&form), Vec::new());
        for (number, (requests, bad)) in slots.iter().enumerate() {
            let new = Does { requests: *requests, bad: *bad.min(requests), ..NEW };
            let new = Does { slow: 0, ..new };
            let told = watch.step(&entry(number as u32, new, OLD), Peers::default());
            let acts = told.iter().any(|verdict| verdict.state == State::Regressed);
            let sum = |part: &[(u64, u64)]| part.iter().fold((0, 0), |(all, bad), slot| (all + slot.0, bad + slot.1.min(slot.0)));
            let minute = sum(&slots[number.saturating_sub(5)..=number]);
            if minute.1 * 1_000_000 / minute.0 > percent * 10_000 { passed.push((*requests, *bad)) } else { passed.clear() }
            let (all, failed) = sum(&passed);
            let expected = passed.len() >= sustained && all >= 100 && failed >= 5;
            prop_assert_eq!(acts, expected, "slot {}: {:?}", number, passed);
            if acts {
                return Ok(());
            }
        }
    }
}
