//! The feed client of a page that nobody looks at, and what it says that is for the driver alone.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::feed_machine::{Bench, change, kill, served};

use rollout_rules::feed::machine::{
    FIRST_BACKOFF, Input, Loss, NEVER, Output, REST_LIVE, Standing, Trouble, WAKE_SPREAD,
};
use rollout_rules::ids::Revision;
use rollout_rules::time::DurationMs;

fn stands_as_resting(bench: &Bench) -> bool {
    matches!(bench.machine.standing(), Standing::Stale { why: Trouble::Resting, .. })
}

#[test]
fn a_client_that_rests_lets_its_connection_go_and_is_live_for_one_heartbeat_more() {
    let mut bench = Bench::live();
    let began = bench.now;
    assert!(matches!(bench.tell(Input::Rest)[..], [Output::Disconnect]));
    assert_eq!(bench.machine.wake_at(), DurationMs(began.0 + REST_LIVE.0));
    assert!(bench.pass(REST_LIVE.0 - 1).is_empty());
    let outputs = bench.pass(1);
    let [Output::Standing(Standing::Stale { since, why: Trouble::Resting })] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(*since, began);
    assert_eq!(bench.machine.wake_at(), NEVER);
    assert!(bench.pass(1_000_000_000).is_empty(), "nothing happens until it wakes");
    assert!(bench.tell(Input::Rest).is_empty(), "it rests already");
}

#[test]
fn a_client_that_wakes_connects_within_a_moment_from_where_it_was() {
    let mut bench = Bench::live();
    bench.tell(Input::Rest);
    bench.pass(1_000_000);
    assert!(bench.tell(Input::Wake).is_empty());
    let (waited, resume) = bench.until_connect();
    assert!(waited <= WAKE_SPREAD.0, "{waited}");
    assert_eq!(resume.as_deref(), Some("l:5"));
    assert!(stands_as_resting(&bench), "it has heard nothing yet");
    bench.tell(Input::Connected);
    let outputs = bench.say(&kill(0, 9));
    assert_eq!(served(&outputs).unwrap().revision(), Revision(9));
    assert_eq!(*bench.machine.standing(), Standing::Live);
}

#[test]
fn a_client_that_wakes_before_its_heartbeat_was_live_all_the_time() {
    let mut bench = Bench::live();
    bench.tell(Input::Rest);
    bench.pass(REST_LIVE.0 / 2);
    bench.tell(Input::Wake);
    bench.until_connect();
    assert_eq!(*bench.machine.standing(), Standing::Live);
}

#[test]
fn what_still_comes_of_a_connection_that_was_let_go_is_passed_over() {
    let mut bench = Bench::live();
    bench.tell(Input::Rest);
    assert!(served(&bench.say(&change(5, 6))).is_none());
    assert!(bench.tell(Input::Connected).is_empty());
    assert!(bench.tell(Input::Lost(Loss::Failed("reset".into()))).is_empty());
    assert_eq!(*bench.machine.standing(), Standing::Live);
}

#[test]
fn waking_is_nothing_to_a_client_that_does_not_rest() {
    let mut bench = Bench::live();
    bench.tell(Input::Lost(Loss::Ended));
    let planned = bench.machine.wake_at();
    assert!(bench.tell(Input::Wake).is_empty());
    assert_eq!(bench.machine.wake_at(), planned, "what a failure asks to wait is waited");
    assert!(planned.0 <= bench.now.0 + FIRST_BACKOFF.0);
}

#[test]
fn a_client_that_is_cut_off_rests_without_a_word_and_stays_cut_off() {
    let mut bench = Bench::live();
    bench.tell(Input::Lost(Loss::Failed("gone".into())));
    assert!(bench.tell(Input::Rest).is_empty());
    assert_eq!(bench.machine.wake_at(), NEVER);
    let Standing::Stale { why, .. } = bench.machine.standing() else { panic!("it is cut off") };
    assert_eq!(*why, Trouble::Unreachable("gone".into()));
}

#[test]
fn a_client_that_rests_and_wakes_still_waits_what_it_was_asked_to() {
    let minute = DurationMs(60_000);
    for refusal in [
        Loss::Refused { status: 503, retry_after: Some(minute) },
        Loss::Refused { status: 401, retry_after: Some(minute) },
    ] {
        let mut bench = Bench::live();
        bench.tell(Input::Lost(refusal));
        let planned = bench.machine.wake_at();
        assert!(planned.0 >= bench.now.0 + minute.0);
        bench.tell(Input::Rest);
        bench.tell(Input::Wake);
        assert_eq!(bench.machine.wake_at(), planned);
        // Once that is over, a wake is a wake.
        bench.tell(Input::Rest);
        bench.pass(2 * minute.0);
        bench.tell(Input::Wake);
        assert!(bench.until_connect().0 <= WAKE_SPREAD.0);
    }
}

#[test]
fn a_client_that_rests_and_wakes_again_and_again_is_not_live_without_having_heard_anything() {
    let mut bench = Bench::live();
    let let_go = bench.now;
    bench.tell(Input::Rest);
    bench.pass(REST_LIVE.0 - 1_000);
    bench.tell(Input::Wake);
    bench.until_connect();
    bench.tell(Input::Rest);
    assert_eq!(bench.machine.wake_at(), DurationMs(let_go.0 + REST_LIVE.0));
    bench.pass(1_000);
    assert!(stands_as_resting(&bench));

    // Neither is one whose server does not answer.
    let mut bench = Bench::live();
    let let_go = bench.now;
    bench.tell(Input::Rest);
    bench.tell(Input::Wake);
    bench.until_connect();
    assert_eq!(bench.machine.wake_at(), DurationMs(let_go.0 + REST_LIVE.0));
    bench.now = bench.machine.wake_at();
    let outputs = bench.tell(Input::Tick);
    let [Output::Standing(Standing::Stale { since, why: Trouble::Ended })] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(*since, let_go);
}
