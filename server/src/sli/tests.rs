#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use rollout_rules::ids::{FlagKey, IdempotencyKey, InstanceId, Revision, SplitId, VariantKey};
use rollout_rules::sli::{GRACE, Gauges, Outcomes, SlotEntry, Summary, Unacceptable, UnitHash};
use rollout_rules::time::DurationMs;
use serde_json::value::RawValue;

use super::*;

/// In the middle of a file's five minutes.
const NOW: UnixMs = UnixMs(1_800_000_130_000);

fn app(name: &str) -> AppKey {
    AppKey::new(name).unwrap()
}

fn live() -> EnvKey {
    EnvKey::new("live").unwrap()
}

fn watched(flag: &str) -> Watched {
    let (flag, split) = (FlagKey::new(flag).unwrap(), SplitId::new("main").unwrap());
    Watched { app: app("shop"), environment: live(), flag, split }
}

fn place(flag: &str) -> Place {
    Place { app: app("shop"), environment: live(), flag: FlagKey::new(flag).unwrap() }
}

fn outcomes(requests: u64, bad: u64, unit: &str) -> Outcomes {
    let mut outcomes = Outcomes { units: 1, requests, bad_requests: bad, ..Outcomes::default() };
    outcomes.latency.add(20_000, requests);
    outcomes.served = [(UnitHash::of(unit), ())].into_iter().collect();
    outcomes
}

fn summary(flag: &str, slot: Slot, requests: u64) -> Summary {
    Summary {
        flag: FlagKey::new(flag).unwrap(),
        flag_revision: Revision(4),
        split: SplitId::new("main").unwrap(),
        variant: VariantKey::new("on").unwrap(),
        slot,
        outcomes: outcomes(requests, 0, "ann"),
    }
}

impl Sli {
    /// Adds without looking whether the flag is there.
    fn add(&self, instance: &str, batch: &str, summary: &Summary, now: UnixMs) -> Result<bool, Refusal> {
        let instance = InstanceId::new(instance).unwrap();
        let open = &self.0.open;
        open.with(&app("shop"), &live(), |of_app| {
            let added = open.add(of_app, open.name(&instance, batch), summary, now);
            if added.is_ok() {
                open.heard(of_app, &instance, summary.slot, now);
            }
            added
        })
    }
}

fn close(sli: &Sli, now: UnixMs) {
    sli.close(&|watched| watched.flag.as_str() == "watched", now);
}

fn requests(sli: &Sli, flag: &str) -> u64 {
    let sums = sli.sums(&place(flag), Slot(0), Slot(u32::MAX)).unwrap();
    sums.iter().map(|one| one.sums.rate.requests).sum()
}

fn after_grace(slot: Slot) -> UnixMs {
    slot.ends_at().plus(GRACE)
}

#[test]
fn a_closed_slot_is_on_disk_whatever_happens_then_and_what_was_open_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (slot, next) = (Slot::at(NOW), Slot::at(NOW).plus(1));
    let sli = Sli::open(folder.path(), NOW).unwrap();
    assert_eq!(sli.add("a", "1", &summary("watched", slot, 5), NOW), Ok(true));
    assert_eq!(sli.add("b", "1", &summary("watched", slot, 7), NOW), Ok(true));
    close(&sli, UnixMs(after_grace(slot).0 - 1));
    assert_eq!(requests(&sli, "watched"), 0, "the grace is not over");
    close(&sli, after_grace(slot));
    assert_eq!(sli.add("a", "2", &summary("watched", next, 100), after_grace(slot)), Ok(true));
    let before = sli.slots(&watched("watched"), Slot(0), Slot(u32::MAX)).unwrap();
    // No farewell: as if the process was killed.
    std::mem::forget(sli);
    let again = Sli::open(folder.path(), after_grace(slot)).unwrap();
    assert_eq!(again.slots(&watched("watched"), Slot(0), Slot(u32::MAX)).unwrap(), before);
    let [SlotEntry { slot: of, sources: 2, parts }] = &before[..] else { panic!("{before:?}") };
    assert_eq!((*of, parts[0].outcomes.requests), (slot, 12));
    // It stays closed, and the one that was open takes reports again.
    let late = again.add("a", "3", &summary("watched", slot, 1), after_grace(slot));
    assert!(matches!(late, Err(Refusal::Unacceptable(Unacceptable::TooLate { .. }))), "{late:?}");
    assert_eq!(again.add("a", "2", &summary("watched", next, 1), after_grace(slot)), Ok(true));
    again.close_all(after_grace(slot));
    drop(again);
    assert_eq!(requests(&Sli::open(folder.path(), after_grace(next)).unwrap(), "watched"), 13);
}

#[test]
fn in_whatever_order_batches_come_within_the_grace_the_slot_is_the_same() {
    let slot = Slot::at(NOW);
    let one = |order: &[u64]| {
        let sli = Sli::in_memory(NOW);
        for (turn, batch) in order.iter().enumerate() {
            // Some on time, some in the slot's grace, all twice.
            let now = if turn % 2 == 0 { NOW } else { UnixMs(after_grace(slot).0 - 1) };
            let mut told = summary("checkout", slot, 1 + batch);
            told.outcomes = outcomes(1 + batch, batch % 3, &format!("user-{batch}"));
            told.flag_revision = Revision(batch % 2);
            sli.add("a", &batch.to_string(), &told, now).unwrap();
            assert_eq!(sli.add("a", &batch.to_string(), &told, now), Ok(false));
        }
        close(&sli, after_grace(slot));
        sli.slots(&watched("checkout"), Slot(0), Slot(u32::MAX)).unwrap()
    };
    let first = one(&[0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(first[0].parts.len(), 2);
    for order in [[6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 1, 5, 2, 4], [1, 0, 3, 2, 5, 4, 6]] {
        assert_eq!(one(&order), first, "{order:?}");
    }
}

#[test]
fn a_file_that_is_torn_anywhere_keeps_the_slots_before_and_one_that_is_damaged_all_others() {
    let folder = tempfile::tempdir().unwrap();
    let first = Slot::at(NOW);
    let sli = Sli::open(folder.path(), NOW).unwrap();
    let slots = [first, first.plus(1), first.plus(2)];
    for slot in slots {
        sli.add("a", "1", &summary("watched", slot, 1), slot.starts_at()).unwrap();
        close(&sli, after_grace(slot));
    }
    drop(sli);
    let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = rows::blocks(&whole).whole.iter().map(|block| block.len()).collect();
    assert_eq!(ends.len(), 3);
    let last = whole.len() - ends[2];
    for end in (last - 20..whole.len()).step_by(7) {
        fs::write(&path, &whole[..end]).unwrap();
        let sli = Sli::open(folder.path(), after_grace(first.plus(2))).unwrap();
        assert_eq!(requests(&sli, "watched"), 2, "{end} of {}", whole.len());
        // What comes next is not lost in what is torn.
        let next = first.plus(3);
        sli.add("a", "1", &summary("watched", next, 40), next.starts_at()).unwrap();
        close(&sli, after_grace(next));
        drop(sli);
        assert_eq!(requests(&Sli::open(folder.path(), after_grace(next)).unwrap(), "watched"), 42);
    }
    let mut damaged = whole.clone();
    damaged[ends[0] / 2] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert_eq!(requests(&Sli::open(folder.path(), after_grace(first.plus(2))).unwrap(), "watched"), 2);
}

#[test]
fn slots_of_watched_flags_are_kept_two_days_the_rest_and_after_that_sums_and_in_the_end_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sli = Sli::open(folder.path(), NOW).unwrap();
    let first = Slot::at(NOW);
    for slot in [first, first.plus(1)] {
        for flag in ["watched", "other"] {
            sli.add("a", flag, &summary(flag, slot, 10), slot.starts_at()).unwrap();
        }
        close(&sli, after_grace(slot));
    }
    let each = |sli: &Sli, flag: &str| sli.slots(&watched(flag), Slot(0), Slot(u32::MAX)).unwrap();
    let was = each(&sli, "watched");
    assert_eq!((was.len(), each(&sli, "other").len()), (2, 2));
    let five_minutes = DurationMs(SLOT.0 * u64::from(WINDOW_SLOTS));
    close(&sli, NOW.plus(five_minutes).plus(GRACE));
    assert_eq!(each(&sli, "watched"), was, "to the bit");
    let others = each(&sli, "other");
    assert!(others.iter().all(|slot| slot.parts.is_empty()), "{others:?}");
    assert_eq!((requests(&sli, "watched"), requests(&sli, "other")), (20, 20));
    // A server that starts anew goes on where the other was.
    drop(sli);
    let later = NOW.plus(KEPT_SLOTS).plus(five_minutes).plus(five_minutes);
    let sli = Sli::open(folder.path(), later).unwrap();
    close(&sli, later.plus(SLOT).plus(GRACE));
    assert!(each(&sli, "watched").is_empty());
    let sums = sli.sums(&place("watched"), Slot(0), Slot(u32::MAX)).unwrap();
    assert_eq!(
        (sums[0].sums.rate.requests, sums[0].sums.latency.count(), requests(&sli, "other")),
        (20, 20, 20)
    );
    let text = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    assert!(
        !fs::read_to_string(text).unwrap().contains(&UnitHash::of("ann").to_string()),
        "units are forgotten"
    );
    let end = NOW.plus(KEPT_SUMS).plus(five_minutes).plus(five_minutes);
    close(&sli, end);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn whoever_follows_gets_each_closed_slot_once_in_order_from_disk_and_as_it_closes() {
    let folder = tempfile::tempdir().unwrap();
    let sli = Sli::open(folder.path(), NOW).unwrap();
    let first = Slot::at(NOW);
    let tell = |slot: Slot, requests: u64| {
        sli.add("a", "1", &summary("watched", slot, requests), slot.starts_at()).unwrap();
        close(&sli, after_grace(slot));
    };
    tell(first, 1);
    tell(first.plus(1), 2);
    let mut follower = sli.follow(first.plus(1)).unwrap();
    let mut all = sli.follow(Slot(0)).unwrap();
    tell(first.plus(5), 3);
    let entry = |closed: &ClosedSlot| {
        let entry = closed.entry(&watched("watched"));
        (entry.slot, entry.sources, entry.parts.first().map_or(0, |part| part.outcomes.requests))
    };
    let silent = [2, 3, 4].map(|slot| (first.plus(slot), 0, 0));
    for expected in [(first.plus(1), 1, 2)].into_iter().chain(silent).chain([(first.plus(5), 1, 3)]) {
        let closed = follower.next().await.unwrap();
        assert_eq!(entry(&closed), expected);
    }
    // One that fell far behind reads from disk, and misses none.
    for slot in 6..60 {
        tell(first.plus(slot), 1);
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&first.plus(59)) {
        seen.push(all.next().await.unwrap().slot);
        assert!(all.behind.len() < WINDOW_SLOTS as usize, "one file is read at a time");
        // Of the first two it has not heard yet that there are more.
        let is_behind = seen.len() > 2 && seen.last() != Some(&first.plus(59));
        assert_eq!(all.is_behind(), is_behind || seen.len() == 1, "{seen:?}");
    }
    assert!(seen.is_sorted() && seen.len() == 3 + 54, "{seen:?}");
    assert!(futures_util::FutureExt::now_or_never(all.next()).is_none(), "nothing is told again");
    assert_eq!(follower.next().await.unwrap().slot, first.plus(6));
    let other = watched("other");
    assert_eq!(sli.slots(&other, first, first.plus(2)).unwrap().len(), 2, "the app was there");
    assert!(sli.0.open.close(after_grace(first)).is_empty(), "nothing closes twice");
}

#[test]
fn memory_has_a_bound_which_new_variants_meet_and_known_ones_do_not() {
    let sli = Sli::in_memory(NOW);
    let slot = Slot::at(NOW);
    let of = |number: usize| {
        let mut one = summary(&format!("f-{}", number / 64), slot, 1);
        one.flag_revision = Revision(number as u64 % 64);
        one.outcomes = Outcomes { requests: 1, ..Outcomes::default() };
        one
    };
    for number in 0..MAX_SERIES_OF_APP {
        assert_eq!(sli.add("a", "1", &of(number), NOW), Ok(true), "{number}");
    }
    let one_more = sli.add("a", "1", &of(MAX_SERIES_OF_APP), NOW);
    assert_eq!(one_more, Err(Refusal::NoRoom { most: MAX_SERIES_OF_APP }));
    assert_eq!(sli.add("a", "2", &of(0), NOW), Ok(true), "merged into what is there");
    close(&sli, after_grace(slot));
    let next = Summary { slot: slot.plus(1), ..of(MAX_SERIES_OF_APP) };
    assert_eq!(sli.add("a", "1", &next, after_grace(slot)), Ok(true), "there is room again");
}

#[test]
fn a_clock_that_is_set_back_stops_nothing_for_long() {
    let sli = Sli::in_memory(NOW);
    let ahead = NOW.plus(DurationMs::days(1));
    sli.add("a", "1", &summary("checkout", Slot::at(ahead), 1), ahead).unwrap();
    close(&sli, after_grace(Slot::at(ahead)));
    let late = sli.add("a", "2", &summary("checkout", Slot::at(NOW), 1), NOW);
    assert!(matches!(late, Err(Refusal::Unacceptable(Unacceptable::TooLate { .. }))), "{late:?}");
    close(&sli, NOW);
    assert_eq!(sli.add("a", "2", &summary("checkout", Slot::at(NOW), 1), NOW), Ok(true));
    close(&sli, after_grace(Slot::at(NOW)));
    assert_eq!(requests(&sli, "checkout"), 2);
}

#[test]
fn slots_that_the_disk_does_not_take_wait_for_a_while_and_nobody_hears_of_them_before() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("outcomes");
    let sli = Sli::open(&inside, NOW).unwrap();
    let first = Slot::at(NOW);
    close(&sli, first.starts_at().plus(GRACE));
    let mut follower = sli.follow(Slot(0)).unwrap();
    fs::remove_dir(&inside).unwrap();
    for slot in 0..8 {
        sli.add("a", "1", &summary("watched", first.plus(slot), 1), first.plus(slot).starts_at()).unwrap();
        close(&sli, after_grace(first.plus(slot)));
    }
    assert!(futures_util::FutureExt::now_or_never(follower.next()).is_none());
    fs::create_dir(&inside).unwrap();
    close(&sli, after_grace(first.plus(8)));
    assert_eq!(requests(&sli, "watched"), MAX_UNWRITTEN as u64, "the oldest are lost");
    let closed = futures_util::FutureExt::now_or_never(follower.next()).unwrap().unwrap();
    assert_eq!(closed.slot, first.plus(2));
}

#[test]
fn a_batch_without_summaries_says_that_its_process_is_there() {
    let sli = Sli::in_memory(NOW);
    let (slot, nothing) = (Slot::at(NOW), Vec::<Box<RawValue>>::new());
    for instance in ["a", "b", "a"] {
        let (instance, batch) = (InstanceId::new(instance).unwrap(), IdempotencyKey::new("1").unwrap());
        let batch = Batch {
            instance,
            batch,
            slot: Some(NOW),
            gauges: Gauges::default(),
            all: None,
            summaries: nothing.clone(),
            app: None,
            environment: None,
        };
        let taken = sli.take(&app("shop"), &live(), &batch, &Snapshot::default(), NOW);
        assert_eq!(taken, Taken::default());
    }
    close(&sli, after_grace(slot));
    let entries = sli.slots(&watched("checkout"), Slot(0), Slot(u32::MAX)).unwrap();
    assert_eq!(entries, [SlotEntry { slot, sources: 2, parts: Vec::new() }]);
}

#[test]
fn what_became_of_all_requests_and_what_processes_used_is_on_disk_and_in_sums_later() {
    let folder = tempfile::tempdir().unwrap();
    let slot = Slot::at(NOW);
    let sli = Sli::open(folder.path(), NOW).unwrap();
    let all = |requests| Outcomes { requests, bad_requests: 1, cost_micros: 9, ..Outcomes::default() };
    let gauges = |cpu| Gauges { cpu_millionths: Some(cpu), memory_millionths: None };
    let instance = InstanceId::new("a").unwrap();
    for (nth, slot) in [(0, slot), (1, slot.plus(1))] {
        let (open, now) = (&sli.0.open, slot.starts_at());
        open.with(&app("shop"), &live(), |of_app| {
            open.heard(of_app, &instance, slot, now);
            open.measured(of_app, gauges(7 + nth), slot, now);
            // A batch counts once, and what two processes tell is added.
            for batch in [1, 1, 2] {
                assert_eq!(open.add_all(of_app, batch, slot, all(5), now), Ok(()));
            }
        });
    }
    let later = slot.plus(1);
    close(&sli, after_grace(later));
    let told = |sli: &Sli| {
        let mut rows = Vec::new();
        let of_app = ["{".to_owned()];
        let files = sli.0.files.as_ref().unwrap();
        files.read((Slot(0), Slot(u32::MAX)), &of_app, |row| rows.push(row)).unwrap();
        let of = |row: Row| (row.slots, row.all.map(|all| (all.requests, all.cost_micros)), row.gauges);
        rows.into_iter().map(of).collect::<Vec<_>>()
    };
    let each = [(1, Some((10, 18)), gauges(7)), (1, Some((10, 18)), gauges(8))];
    assert_eq!(told(&sli), each);
    let again = Sli::open(folder.path(), after_grace(later)).unwrap();
    assert_eq!(told(&again), each);
    // Three days later there is the sum of the five minutes.
    close(&again, after_grace(later).plus(DurationMs(3 * 86_400_000)));
    assert_eq!(told(&again), [(30, Some((20, 36)), gauges(8))]);
}

#[test]
fn five_minutes_are_told_by_slots_where_those_are_kept_by_sums_where_not_and_with_what_the_app_used() {
    let folder = tempfile::tempdir().unwrap();
    let sli = Sli::open(folder.path(), NOW).unwrap();
    let slot = Slot::at(NOW);
    let used = Gauges { cpu_millionths: Some(700_000), ..Gauges::default() };
    for flag in ["watched", "other"] {
        sli.add("a", flag, &summary(flag, slot, 10), NOW).unwrap();
    }
    sli.0.open.with(&app("shop"), &live(), |of_app| sli.0.open.measured(of_app, used, slot, NOW));
    close(&sli, after_grace(slot));
    let later = NOW.plus(DurationMs(SLOT.0 * u64::from(WINDOW_SLOTS))).plus(GRACE);
    close(&sli, later);
    // One that starts anew reads what the other wrote.
    drop(sli);
    let sli = Sli::open(folder.path(), later).unwrap();
    let first = Slot(slot.0 / WINDOW_SLOTS * WINDOW_SLOTS);
    assert_eq!(sli.windows(first.plus(WINDOW_SLOTS), Slot(u32::MAX)).unwrap(), []);
    assert_eq!(sli.windows(slot, Slot(u32::MAX)).unwrap(), [first]);
    let of = |flag: Option<&FlagKey>| {
        let window = sli.window((&app("shop"), &live()), flag, first, Slot(u32::MAX)).unwrap();
        let flags = |splits: &[rollout_rules::sli::SplitSlot]| -> Vec<String> {
            splits.iter().map(|split| split.flag.to_string()).collect()
        };
        let slots: Vec<_> =
            window.slots.iter().map(|told| (told.slot, told.gauges, flags(&told.splits))).collect();
        (slots, window.sum.map(|sum| (sum.slot, flags(&sum.splits))))
    };
    let watched = (slot, used, vec!["watched".to_owned()]);
    assert_eq!(of(None), (vec![watched.clone()], Some((first, vec!["other".to_owned()]))));
    let (one, other) = (FlagKey::new("watched").unwrap(), FlagKey::new("other").unwrap());
    assert_eq!(of(Some(&one)), (vec![watched], None));
    assert_eq!(of(Some(&other)), (vec![(slot, used, vec![])], Some((first, vec!["other".to_owned()]))));
    assert!(sli.window((&app("other"), &live()), None, first, Slot(u32::MAX)).unwrap().slots.is_empty());
}
