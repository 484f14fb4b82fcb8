//! What becomes of what was found: it is asked for until it is done, or until it is another matter.

use std::path::Path;

use rollout_rules::ids::Revision;
use rollout_rules::sli::State;
use rollout_rules::snapshot::Snapshot;

use super::super::wanted::Wanted;
use super::super::watching::{Done, Watching};
use super::super::{Evaluator, acts, settle};
use super::{BEGAN, begin, key, reloaded, slot, wanted};
use crate::sli::ClosedSlot;
use crate::state::{Refusal, SubmitError};

/// One that found what does harm in its first slot.
fn found(folder: &Path) -> Watching {
    let mut watching = begin(folder);
    watching.step(&wanted(7, 1), slot(0, 60, 7), None);
    assert_eq!(watching.pending.len(), 1);
    watching
}

#[test]
fn what_is_refused_as_stale_is_watched_anew_and_asked_for_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = found(folder.path());
    let (pending, now) = (watching.pending[0].clone(), BEGAN.plus(1).starts_at());
    let stale = Refusal::Stale { seen: Revision(7), current: Revision(9), changed: Vec::new() };
    settle(&mut watching, &pending, &Err(SubmitError::Refused(stale)), now);
    assert!(watching.pending.is_empty() && watching.notices().is_empty());
    watching.step(&wanted(9, 1), slot(1, 1, 9), None);
    let states: Vec<State> = watching.watch().verdicts().map(|(.., verdict)| verdict.state).collect();
    assert_eq!(states, [State::Ok]);
}

#[test]
fn what_the_log_does_not_take_now_is_asked_for_again_and_what_is_left_to_people_is_told_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = found(folder.path());
    let (pending, now) = (watching.pending[0].clone(), BEGAN.plus(1).starts_at());
    for error in [SubmitError::Busy, SubmitError::Full, SubmitError::Unavailable, SubmitError::Unknown] {
        settle(&mut watching, &pending, &Err(error), now);
        assert_eq!(acts(&mut watching).len(), 1, "with the next slot");
    }
    let until = now;
    settle(&mut watching, &pending, &Err(SubmitError::Refused(Refusal::LeftToPeople { until })), now);
    assert_eq!(acts(&mut watching).len(), 0);
    assert_eq!(watching.notices().len(), 1);
    assert!(
        watching.notices()[0].reason.contains("leaves the app to people until"),
        "{}",
        watching.notices()[0].reason
    );
}

#[test]
fn what_is_served_no_more_is_not_acted_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = found(folder.path());
    let mut gone = wanted(8, 1);
    gone.splits[0].plan.weights[0].1 = 0;
    watching.step(&gone, slot(1, 0, 8), None);
    assert_eq!(watching.pending.len(), 1, "it was found");
    assert!(acts(&mut watching).is_empty() && watching.pending.is_empty());
}

#[test]
fn whether_what_was_taken_back_is_served_is_looked_at_after_a_crash_too_and_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watching = found(folder.path());
    watching.look_for(Done {
        flag: key("checkout"),
        split: key(".exposure"),
        variant: key("on"),
        taken_back: Revision(8),
        at: BEGAN.ends_at(),
    });
    let none = Wanted { splits: Vec::new(), ..wanted(8, 1) };
    // Clients have half a minute to hear of it.
    assert!(watching.step(&none, slot(1, 0, 7), None).is_empty());
    let mut watching = reloaded(folder.path());
    for (number, revision, told) in [(2, 7, 0), (3, 7, 0), (4, 9, 0), (5, 7, 1), (6, 7, 0)] {
        let found = watching.step(&none, slot(number, 0, revision), None);
        assert_eq!(found.len(), told, "slot {number} of revision {revision}");
    }
}

#[test]
fn a_clock_that_was_set_back_begins_the_watch_anew_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = (key("shop"), key("live"));
    let next_after = |closed: u32| {
        let mut ahead = begin(folder.path());
        ahead.step(&wanted(7, 1), slot(100, 1, 7), None);
        let closed = ClosedSlot { slot: BEGAN.plus(closed), apps: Vec::new() };
        let now = closed.slot.ends_at();
        let snapshot = Snapshot::default();
        let judged = Evaluator::in_memory().judge(
            Some(ahead),
            &name,
            &wanted(7, 1),
            (&closed, closed.slot.plus(1)),
            &snapshot,
            now,
        );
        judged.0.next()
    };
    assert_eq!(next_after(95), BEGAN.plus(101), "a slot that comes late");
    assert_eq!(next_after(5), BEGAN.plus(6));
}

#[test]
fn a_server_that_starts_again_shows_what_it_knew() {
    let folder = tempfile::tempdir().expect("a folder");
    let watches = folder.path().join("watches");
    std::fs::create_dir_all(&watches).expect("a folder");
    found(&watches);
    let again = Evaluator::open(folder.path()).expect("opens");
    again.read().expect("reads");
    let view = again.view(&key("shop"), &key("live")).expect("it is known");
    assert_eq!(view.splits[0].verdicts[0].state, State::Regressed);
}
