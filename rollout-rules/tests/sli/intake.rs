//! Slots take reports until their grace is over, in any order, each once.

use proptest::prelude::*;
use rollout_rules::ids::{Revision, VariantKey};
use rollout_rules::sli::{GRACE, Intake, MAX_PARTS, Outcomes, Slot, SlotEntry, Unacceptable, UnitHash};
use rollout_rules::time::{DurationMs, UnixMs};

const START: Slot = Slot(180_000_000);

fn variant(key: &str) -> VariantKey {
    VariantKey::new(key).unwrap()
}

fn some(number: u64) -> Outcomes {
    let bad = std::iter::once((UnitHash(number * 7), ())).collect();
    let mut all = Outcomes { units: 2, requests: 3 + number, bad_requests: 1, bad, ..Outcomes::default() };
    all.latency.add(number * 100, 1);
    all
}

fn at(slot: Slot, ms: u64) -> UnixMs {
    slot.starts_at().plus(DurationMs(ms))
}

fn closed(intake: &mut Intake, now: UnixMs) -> Vec<SlotEntry> {
    intake.close(|_| 1, now)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_batches_does_not_matter_within_the_grace(
        batches in proptest::collection::vec((0..3_u32, 0..3_u64, any::<bool>(), 0..12_999_u64), 1..30).prop_shuffle(),
    ) {
        // Each is sent twice, at a moment of its slot or its grace; those of a later slot may come before.
        let told = |order: &mut dyn Iterator<Item = usize>| {
            let mut intake = Intake::new(START.starts_at());
            let mut counted = 0;
            for at_index in order {
                let (slot, revision, on, _) = batches[at_index];
                let key = variant(if on { "on" } else { "off" });
                let now = at(START.plus(2), 9_000);
                let part = (Revision(revision), &key);
                let now = now.min(at(START.plus(slot), 12_999));
                counted += u32::from(intake.add(at_index as u64, START.plus(slot), part, &some(at_index as u64), now).unwrap());
            }
            (counted, closed(&mut intake, at(START.plus(3), 3_000)))
        };
        let once = told(&mut (0..batches.len()));
        let again = told(&mut (0..batches.len()).rev().chain(0..batches.len()));
        prop_assert_eq!(&once, &again);
        prop_assert_eq!(once.0 as usize, batches.len());
        let slots: Vec<u32> = once.1.iter().map(|entry| entry.slot.since(START)).collect();
        prop_assert_eq!(slots, vec![0, 1, 2]);
        for entry in once.1 {
            let written = serde_json::to_string(&entry).unwrap();
            prop_assert_eq!(serde_json::from_str::<SlotEntry>(&written).unwrap(), entry);
        }
    }
}

#[test]
fn a_slot_closes_when_its_grace_is_over_and_not_before() {
    let (mut intake, on) = (Intake::new(at(START, 4_000)), variant("on"));
    let part = (Revision(1), &on);
    assert_eq!(intake.add(1, START, part, &some(1), at(START, 12_999)), Ok(true));
    assert_eq!(closed(&mut intake, at(START, 12_999)), []);
    let entries = closed(&mut intake, at(START, 10_000 + GRACE.0));
    assert_eq!((entries.len(), entries[0].slot, entries[0].parts.len()), (1, START, 1));
    let late = intake.add(2, START, part, &some(1), at(START, 12_999));
    assert_eq!(late, Err(Unacceptable::TooLate { slot: START, now: at(START, 12_999) }));
    // Though nobody closed it yet.
    let late = intake.add(2, START.plus(1), part, &some(1), at(START.plus(1), 13_000));
    assert_eq!(late.unwrap_err().code(), "too_late");
}

#[test]
fn future_and_ancient_slots_are_refused() {
    let (mut intake, on) = (Intake::new(START.starts_at()), variant("on"));
    let part = (Revision(1), &on);
    let mut add =
        |slot: Slot| intake.add(1, slot, part, &some(1), at(START, 5_000)).map_err(|error| error.code());
    assert_eq!(add(Slot(0)), Err("too_late"));
    assert_eq!(add(Slot(START.0 - 1)), Err("too_late"));
    assert_eq!(add(START.plus(1)), Ok(true), "clocks differ by a little");
    assert_eq!(add(START.plus(2)), Err("from_the_future"));
    assert_eq!(add(Slot(u32::MAX)), Err("from_the_future"));
}

#[test]
fn a_million_variants_take_the_room_of_a_few() {
    let (mut intake, now) = (Intake::new(START.starts_at()), at(START, 5_000));
    for number in 0..1_000_u64 {
        let key = variant(&format!("v{number}"));
        let added = intake.add(number, START, (Revision(1), &key), &some(1), now);
        if (number as usize) < MAX_PARTS {
            assert_eq!(added, Ok(true));
        } else {
            assert_eq!(added, Err(Unacceptable::TooManyParts { most: MAX_PARTS }));
        }
    }
    assert_eq!(closed(&mut intake, at(START, 13_000))[0].parts.len(), MAX_PARTS);
}

#[test]
fn after_a_pause_every_slot_of_the_last_ten_minutes_is_told_though_nothing_was_reported() {
    let mut intake = Intake::new(START.starts_at());
    let entries = closed(&mut intake, at(START.plus(3), 3_000));
    assert_eq!(
        entries.iter().map(|entry| entry.slot).collect::<Vec<_>>(),
        [START, START.plus(1), START.plus(2)]
    );
    assert!(entries.iter().all(|entry| entry.parts.is_empty() && entry.sources == 1));
    let entries = closed(&mut intake, at(START.plus(1_000), 3_000));
    assert_eq!((entries.len(), entries[0].slot), (60, START.plus(940)));
    // A clock that is set back closes nothing twice.
    assert_eq!(closed(&mut intake, at(START, 3_000)), []);
}
