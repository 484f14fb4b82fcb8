mod acts;
mod releases;

use std::path::Path;

use rollout_rules::ids::{AppKey, EnvKey, EvidenceId, FlagKey, Revision, SplitId, VariantKey};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{
    AppSlot, Estimate, Gauges, Input, News, Objectives, Outcomes, Part, Plan, Slot, SplitSlot, State,
    UnitHash,
};
use rollout_rules::time::UnixMs;

use rollout_rules::snapshot::Snapshot;

use super::evidence::{Bounds, Store};
use super::kept::Kept;
use super::wanted::{Wanted, WantedSplit};
use super::watching::{Done, Watching};
use super::{Evaluator, asks};
use crate::sli::ClosedSlot;

const BEGAN: Slot = Slot(180_000_000);

fn key<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a key")
}

fn wanted(revision: u64, rollout: u64) -> Wanted {
    let rule: Guardrail = key("error_rate worse than control -> flag off");
    let weights = vec![(key::<VariantKey>("on"), 1), (key("off"), 1)];
    let split = WantedSplit {
        flag: key("checkout"),
        split: key(".exposure"),
        rules: vec![rule],
        plan: Plan { revision: Revision(revision), control: Some(key("off")), weights },
        rollout: Some(UnixMs(rollout)),
        runs: true,
    };
    let objectives = Objectives { good_millionths: Some(999_000), budget_micros: None };
    Wanted {
        rules: Vec::new(),
        objectives,
        elsewhere: Estimate::default(),
        artifact: None,
        splits: vec![split],
    }
}

pub(super) fn part(variant: &str, slot: Slot, requests: u64, bad: u64, revision: u64) -> Part {
    let unit = |nth: u64| UnitHash::of(&format!("{variant}-{}-{nth}", slot.0));
    let mut outcomes = Outcomes { units: requests, requests, bad_requests: bad, ..Outcomes::default() };
    let listed = |count: u64| (0..count).map(|nth| (unit(nth), ())).collect();
    (outcomes.served, outcomes.bad) = (listed(requests), listed(bad));
    Part { revision: Revision(revision), variant: key(variant), outcomes }
}

fn slot(number: u32, bad: u64, revision: u64) -> AppSlot {
    let slot = BEGAN.plus(number);
    let parts = vec![part("off", slot, 100, 1, revision), part("on", slot, 100, bad, revision)];
    let splits = vec![SplitSlot { flag: key("checkout"), split: key(".exposure"), parts }];
    AppSlot { slot, sources: 1, all: None, gauges: Gauges::default(), splits }
}

fn begin(folder: &Path) -> Watching {
    Watching::new(Some(folder), &key("shop"), &key("live"), BEGAN)
}

fn reloaded(folder: &Path) -> Watching {
    let mut all = Kept::load_all(folder).expect("reads");
    let (kept, base, inputs) = all.pop().expect("one");
    assert!(all.is_empty());
    Watching::restored(kept, base, &inputs)
}

/// The same, as far as it matters for what comes.
fn assert_same(one: &Watching, other: &Watching, when: &str) {
    assert!(one.watch() == other.watch(), "{when}");
    assert_eq!(one.told(), other.told(), "{when}");
    let proposed = |watching: &Watching| -> Vec<_> {
        watching.pending.iter().map(|pending| pending.proposed.clone()).collect()
    };
    assert_eq!(proposed(one), proposed(other), "{when}");
    assert_eq!(one.notices(), other.notices(), "{when}");
}

#[test]
fn whoever_is_restarted_at_any_moment_knows_what_it_knew_to_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut live = begin(folder.path());
    // Past the slot at which all is kept anew, through another revision, another rollout and a bad variant.
    for number in 0..200 {
        let revision = 7 + u64::from(number >= 40);
        let bad = if number == 190 { 60 } else { 1 };
        let rollout = if number >= 80 { 2 } else { 1 };
        live.step(&wanted(revision, rollout), slot(number, bad, revision), None);
        if number % 17 == 0 || number > 185 {
            assert_same(&live, &reloaded(folder.path()), &format!("slot {number}"));
        }
    }
    assert_eq!(live.pending.len(), 1, "it was found");
    // A line that was not written whole is as if it had not been told, and the next begins where it did.
    let tail = std::fs::read_dir(folder.path())
        .expect("reads")
        .map(|file| file.expect("a file").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tail"))
        .expect("a tail");
    let text = std::fs::read(&tail).expect("reads");
    std::fs::write(&tail, &text[..text.len() - 9]).expect("writes");
    let mut again = reloaded(folder.path());
    assert_eq!(again.next(), BEGAN.plus(199));
    again.step(&wanted(8, 2), slot(199, 1, 8), None);
    assert_same(&live, &again, "the last slot is told again");
    assert_same(&live, &reloaded(folder.path()), "and kept");
}

#[test]
fn whoever_is_to_be_told_of_something_is_told_after_a_restart_too_until_the_log_has_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = begin(folder.path());
    let mut skewed = slot(0, 1, 7);
    skewed.splits[0].parts[1] = part("on", BEGAN, 400, 1, 7);
    watching.step(&wanted(7, 1), skewed, None);
    let [told] = watching.notices() else { panic!("{:?}", watching.notices()) };
    let told = told.clone();
    assert!(told.reason.starts_with("on: invalid"), "{}", told.reason);
    assert_eq!(reloaded(folder.path()).notices(), std::slice::from_ref(&told), "after a crash");
    watching.close();
    assert_eq!(reloaded(folder.path()).notices(), std::slice::from_ref(&told), "after a stop in order");
    watching.was_told(&told);
    watching.close();
    assert!(reloaded(folder.path()).notices().is_empty());
}

#[test]
fn a_server_starts_without_having_read_what_is_known_of_apps() {
    let folder = tempfile::tempdir().expect("a folder");
    let watches = folder.path().join("watches");
    std::fs::create_dir_all(&watches).expect("a folder");
    begin(&watches).step(&wanted(7, 1), slot(0, 1, 7), None);
    let evaluator = Evaluator::open(folder.path()).expect("opens");
    assert!(evaluator.view(&key("shop"), &key("live")).is_none());
    evaluator.read().expect("reads");
    assert_eq!(evaluator.view(&key("shop"), &key("live")).expect("is known").slot, BEGAN);
}

#[test]
fn nothing_is_kept_after_something_that_could_not_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = begin(folder.path());
    watching.step(&wanted(7, 1), slot(0, 1, 7), None);
    // Neither the tail nor another base can be written: folders are where their files should be.
    let (tail, new) = (folder.path().join("shop.live.1.tail"), folder.path().join("shop.live.new"));
    let aside = folder.path().join("aside");
    std::fs::rename(&tail, &aside).expect("is there");
    [&tail, &new].into_iter().for_each(|path| std::fs::create_dir(path).expect("a folder"));
    watching.step(&wanted(8, 1), slot(1, 1, 8), None);
    // The tail can again.
    std::fs::remove_dir(&tail).expect("was empty");
    std::fs::rename(&aside, &tail).expect("is there");
    watching.step(&wanted(8, 1), slot(2, 1, 8), None);
    let (_, _, inputs) = Kept::load_all(folder.path()).map(|mut all| all.pop()).expect("reads").expect("one");
    let slots = inputs.iter().filter(|input| matches!(input, Input::Slot(_)));
    assert_eq!(slots.count(), 1, "what is folded again is what was folded without a gap");
}

#[test]
fn a_crash_while_a_watch_is_kept_anew_pairs_it_with_no_tail_of_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = begin(folder.path());
    watching.step(&wanted(7, 1), slot(0, 1, 7), None);
    // One that was begun anew earlier left its tail behind, and a folder is where the base should be.
    let (base, tail) = (folder.path().join("shop.live.base"), folder.path().join("shop.live.2.tail"));
    let aside = folder.path().join("aside");
    std::fs::write(&tail, "{}\n").expect("written");
    std::fs::rename(&base, &aside).expect("is there");
    std::fs::create_dir(&base).expect("a folder");
    watching.close();
    assert_eq!(std::fs::metadata(&tail).expect("is there").len(), 0, "before the base is in place");
}

#[test]
fn whoever_is_served_any_revision_from_before_something_was_taken_back_is_still_served() {
    for (revision, still_served) in [(7, true), (8, true), (9, false), (10, false)] {
        let mut watching = Watching::new(None, &key("shop"), &key("live"), BEGAN);
        // It was measured at 7, a stage came with 8, and 9 took it back.
        watching.look_for(Done {
            flag: key("checkout"),
            split: key(".exposure"),
            variant: key("on"),
            taken_back: Revision(9),
            at: BEGAN.starts_at(),
        });
        let found = watching.step(&wanted(9, 1), slot(4, 1, revision), None);
        assert_eq!(!found.is_empty(), still_served, "{revision}: {found:?}");
    }
}

#[test]
fn what_was_found_is_not_held_against_what_is_begun_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = begin(folder.path());
    watching.step(&wanted(7, 1), slot(0, 1, 7), None);
    watching.step(&wanted(7, 1), slot(1, 60, 7), None);
    assert_eq!(watching.pending.len(), 1);
    watching.step(&wanted(9, 2), slot(2, 1, 9), None);
    assert!(watching.pending.is_empty());
    assert!(reloaded(folder.path()).pending.is_empty());
}

#[test]
fn what_changed_under_an_act_is_begun_anew_or_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    for goes_on in [true, false] {
        let mut watching = begin(folder.path());
        watching.step(&wanted(7, 1), slot(0, 60, 7), None);
        let states = |watching: &Watching| -> Vec<State> {
            watching.watch().verdicts().map(|(.., verdict)| verdict.state).collect()
        };
        assert_eq!(states(&watching), [State::Regressed]);
        watching.begin_anew(&key("checkout"), &key(".exposure"));
        let next = if goes_on { wanted(9, 1) } else { Wanted { splits: Vec::new(), ..wanted(9, 1) } };
        watching.step(&next, slot(1, 1, 9), None);
        assert!(watching.pending.is_empty());
        assert_eq!(states(&watching), if goes_on { vec![State::Ok] } else { Vec::new() });
    }
}

#[test]
fn evidence_is_what_was_stored_or_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (watches, evidence) = (folder.path().join("watches"), folder.path().join("evidence"));
    std::fs::create_dir_all(&watches).expect("a folder");
    let store = Store::open(&evidence, Bounds::default()).expect("opens");
    let mut watching = begin(&watches);
    watching.step(&wanted(7, 1), slot(0, 1, 7), Some(&store));
    watching.step(&wanted(7, 1), slot(1, 60, 7), Some(&store));
    let id = watching.pending[0].evidence.clone().expect("it is kept");
    let kept = store.read(&id).expect("reads").expect("is there");
    assert!(kept.news.iter().any(|one| matches!(one, News::Act(_))));
    assert_eq!(kept.recording.replay().1, kept.news);
    // Whoever opens the folder again finds it, unless somebody changed it.
    let summary = store.summary(&id).expect("a summary");
    let again = Store::open(&evidence, Bounds::default()).expect("opens");
    assert_eq!(again.list(&key::<AppKey>("shop")), std::slice::from_ref(&summary));
    assert_eq!(
        (summary.environment, summary.flag),
        (key::<EnvKey>("live"), Some(key::<FlagKey>("checkout")))
    );
    assert_eq!(summary.split, Some(key::<SplitId>(".exposure")));
    let path = evidence.join(format!("{id}.json"));
    let text = std::fs::read_to_string(&path).expect("reads");
    std::fs::write(&path, text.replacen("\"bad_requests\":60", "\"bad_requests\":6", 1)).expect("writes");
    assert!(again.read(&id).is_err());
}

#[test]
fn an_app_that_is_ahead_of_others_that_are_caught_up_on_is_begun_anew_only_if_the_clock_was_set_back() {
    let evaluator = Evaluator::in_memory();
    let name = (key("shop"), key("live"));
    let judged = |until: Slot| {
        let mut known = Watching::new(None, &name.0, &name.1, BEGAN);
        (0..20).for_each(|number| drop(known.step(&wanted(7, 1), slot(number, 1, 7), None)));
        let closed = ClosedSlot { slot: BEGAN.plus(2), apps: Vec::new() };
        let now = until.ends_at();
        let (watching, ..) =
            evaluator.judge(Some(known), &name, &wanted(7, 1), (&closed, until), &Snapshot::default(), now);
        watching.next()
    };
    assert_eq!(judged(BEGAN.plus(20)), BEGAN.plus(20), "what is told is what it knows");
    assert_eq!(judged(BEGAN.plus(3)), BEGAN.plus(3), "what it knows will not come for long");
}

/// A piece of evidence in `store`, of an act at a slot; none if it is not kept.
fn found(store: &Store, folder: &Path, number: u32) -> Option<EvidenceId> {
    let mut watching = begin(folder);
    watching.step(&wanted(7, 1), slot(number, 60, 7), Some(store));
    watching.pending[0].evidence.clone()
}

#[test]
fn evidence_takes_so_much_room_and_the_oldest_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (watches, evidence) = (folder.path().join("watches"), folder.path().join("evidence"));
    std::fs::create_dir_all(&watches).expect("a folder");
    let all = Store::open(&evidence, Bounds::default()).expect("opens");
    let first = found(&all, &watches, 0).expect("it is kept");
    let bytes = std::fs::metadata(evidence.join(format!("{first}.json"))).expect("is there").len();
    let room = |bytes: u64| Bounds { all: (10, bytes), of_app: (10, bytes) };
    let two = Store::open(&evidence, room(bytes * 5 / 2)).expect("opens");
    let second = found(&two, &watches, 1).expect("it is kept");
    assert!(two.summary(&first).is_some());
    found(&two, &watches, 2).expect("it is kept");
    assert_eq!(two.summary(&first), None, "there is room for two");
    assert!(two.read(&second).expect("reads").is_some());
    assert_eq!(std::fs::read_dir(&evidence).expect("reads").count(), 2);
    let none = Store::open(&evidence, room(bytes / 2)).expect("opens");
    assert_eq!(found(&none, &watches, 3), None, "one that has no room is not kept");
    assert!(none.summary(&second).is_some());
}

#[test]
fn automation_acts_three_times_a_day_and_so_many_pieces_of_evidence_are_stored_of_a_slot() {
    let folder = tempfile::tempdir().expect("a folder");
    let (watches, evidence) = (folder.path().join("watches"), folder.path().join("evidence"));
    std::fs::create_dir_all(&watches).expect("a folder");
    let store = Store::open(&evidence, Bounds::default()).expect("opens");
    let (mut all, mut told) = (wanted(7, 1), slot(0, 60, 7));
    for nth in 0..4 {
        let (flag, split) = (key::<FlagKey>(&format!("other-{nth}")), &all.splits[0]);
        let (rules, plan) = (vec![key("error_rate > 3% -> flag off")], split.plan.clone());
        let other = WantedSplit { flag: flag.clone(), split: split.split.clone(), rules, plan, ..*split };
        all.splits.push(other);
        let of_flag = SplitSlot { flag, ..told.splits[0].clone() };
        told.splits.push(of_flag);
    }
    let mut watching = begin(&watches);
    watching.step(&all, told, Some(&store));
    let with_evidence = watching.pending.iter().filter(|pending| pending.evidence.is_some());
    assert_eq!((watching.pending.len(), with_evidence.count()), (5, 3));
    assert_eq!(std::fs::read_dir(&evidence).expect("reads").count(), 3);
}

#[test]
fn a_watch_that_was_told_much_is_kept_anew_before_its_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = begin(folder.path());
    let wide = |number: u32| {
        let mut told = slot(number, 100, 7);
        let other = |nth: u32| SplitSlot { flag: key(&format!("other-{nth}")), ..told.splits[0].clone() };
        let mut others: Vec<SplitSlot> = (1_000..2_000).map(other).collect();
        told.splits.append(&mut others);
        told
    };
    let written = |number: u32, watching: &mut Watching| {
        watching.step(&wanted(7, 1), wide(number), None);
        let files = std::fs::read_dir(folder.path()).expect("reads").map(|file| file.expect("a file"));
        let tails = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "tail"));
        tails.map(|tail| tail.metadata().expect("is there").len()).sum::<u64>()
    };
    let lengths: Vec<u64> = (0..6).map(|number| written(number, &mut watching)).collect();
    assert!(lengths[0] > 0 && lengths.contains(&0), "{lengths:?}");
    assert_eq!(reloaded(folder.path()).next(), BEGAN.plus(6));
}

#[test]
fn who_was_served_what_nobody_watches_is_not_kept_and_who_was_bad_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = begin(folder.path());
    let mut told = slot(0, 1, 7);
    let other = SplitSlot { flag: key("other"), ..told.splits[0].clone() };
    told.splits.push(other);
    watching.step(&wanted(7, 1), told, None);
    let (_, _, inputs) = Kept::load_all(folder.path()).map(|mut all| all.pop()).expect("reads").expect("one");
    let Some(Input::Slot(kept)) = inputs.last() else { panic!("{inputs:?}") };
    let units = |split: usize| {
        let outcomes = &kept.splits[split].parts[0].outcomes;
        (outcomes.requests, outcomes.served.units().len(), outcomes.bad.units().len())
    };
    assert_eq!((units(0), units(1)), ((100, 100, 1), (100, 0, 1)));
}

/// An evaluator that has just found out that a variant does harm, and what there is to do.
pub(super) fn found_out() -> (Evaluator, Vec<super::Due>) {
    let evaluator = Evaluator::in_memory();
    let mut watching = Watching::new(None, &key("shop"), &key("live"), BEGAN);
    watching.step(&wanted(7, 1), slot(0, 60, 7), None);
    let (acts, _) = super::due(&mut watching, &Snapshot::default(), true, BEGAN.ends_at());
    assert_eq!(acts.len(), 1);
    evaluator.watches().insert((key("shop"), key("live")), watching);
    (evaluator, acts)
}

#[test]
fn whoever_is_woken_because_many_do_badly_is_told_how_many_only_if_they_are_many() {
    let many = "3 flags do badly at the same time: none of them is to blame";
    assert_eq!(asks::in_common(3), many);
    for few in [0, 1, 2] {
        assert!(asks::in_common(few).starts_with("the control, or the app itself,"), "{few}");
    }
}
