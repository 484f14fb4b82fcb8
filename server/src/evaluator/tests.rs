use std::path::Path;

use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision, SplitId, VariantKey};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{
    AppSlot, Estimate, Gauges, News, Objectives, Outcomes, Part, Plan, Slot, SplitSlot, State, UnitHash,
};
use rollout_rules::time::UnixMs;

use super::evidence::Store;
use super::kept::Kept;
use super::wanted::{Wanted, WantedSplit};
use super::watching::Watching;

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
    Wanted { rules: Vec::new(), objectives, elsewhere: Estimate::default(), splits: vec![split] }
}

fn part(variant: &str, slot: Slot, requests: u64, bad: u64, revision: u64) -> Part {
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
    let store = Store::open(&evidence).expect("opens");
    let mut watching = begin(&watches);
    watching.step(&wanted(7, 1), slot(0, 1, 7), Some(&store));
    watching.step(&wanted(7, 1), slot(1, 60, 7), Some(&store));
    let id = watching.pending[0].evidence.clone().expect("it is kept");
    let kept = store.read(&id).expect("reads").expect("is there");
    assert!(kept.news.iter().any(|one| matches!(one, News::Act(_))));
    assert_eq!(kept.recording.replay().1, kept.news);
    // Whoever opens the folder again finds it, unless somebody changed it.
    let summary = store.summary(&id).expect("a summary");
    let again = Store::open(&evidence).expect("opens");
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
