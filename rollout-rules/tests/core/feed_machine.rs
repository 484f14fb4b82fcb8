//! The feed client without I/O: what it does when connections come, go, fall silent and talk nonsense.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use rollout_rules::feed::machine::{
    ACK_BATCH, FIRST_BACKOFF, HEARTBEAT, Input, LONGEST_BACKOFF, Loss, Machine, Output, SILENCE, SLOW_RETRY,
    Standing, Trouble,
};
use rollout_rules::feed::{ClientState, Frame, FrameCodecError, FrameError};
use rollout_rules::ids::{KillId, LogId, Revision};
use rollout_rules::time::DurationMs;
use serde_json::json;

const START: DurationMs = DurationMs(1_000);

fn frame(value: serde_json::Value) -> Frame {
    Frame::decode(value.to_string().as_bytes()).unwrap()
}

fn snapshot(log: &str, revision: u64) -> Frame {
    frame(
        json!({"v": 1, "log": log, "revision": revision, "body": {"snapshot": {"app": "shop", "environment": "production",
        "flags": [{"key": "checkout", "type": "boolean", "variants": [{"key": "on", "value": true}, {"key": "off", "value": false}],
            "off_variant": "off", "targeting": {"on": true, "exposure": 100, "serve": {"variant": "on"}},
            "expires_at": 9_000_000_000_u64, "revision": 2}]}}}),
    )
}

pub(crate) fn change(follows: u64, revision: u64) -> Frame {
    frame(json!({"v": 1, "log": "l", "revision": revision, "body": {"change": {"follows": follows}}}))
}

pub(crate) fn kill(follows: u64, revision: u64) -> Frame {
    frame(
        json!({"v": 1, "log": "l", "revision": revision, "body": {"change": {"follows": follows, "kill_id": "k1",
        "ops": [{"flag_kills": {"flag": "checkout", "killed": {"id": "k1", "at": 5}, "revision": revision}}]}}}),
    )
}

fn overlay() -> Frame {
    frame(
        json!({"v": 1, "log": "l", "revision": 5, "body": {"overlay": {"kill_id": "k1", "reach": "everything", "at": 5}}}),
    )
}

fn state(log: &str, revision: u64) -> ClientState {
    ClientState::fold(None, &snapshot(log, revision)).unwrap().0
}

/// A machine under test with a clock and a constant chance.
pub(crate) struct Bench {
    pub(crate) machine: Machine,
    pub(crate) now: DurationMs,
    random: u64,
}

impl Bench {
    pub(crate) fn new(cached: Option<ClientState>) -> Bench {
        Bench { machine: Machine::new(cached, START), now: START, random: u64::MAX }
    }

    pub(crate) fn tell(&mut self, input: Input<'_>) -> Vec<Output> {
        self.machine.handle(input, self.random, self.now)
    }

    pub(crate) fn say(&mut self, frame: &Frame) -> Vec<Output> {
        let event = frame.encode_event().unwrap();
        self.tell(Input::Bytes(&event))
    }

    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Output> {
        self.now = DurationMs(self.now.0 + ms);
        self.tell(Input::Tick)
    }

    /// Lets time pass until the machine connects, and says how long that took and where it resumes.
    pub(crate) fn until_connect(&mut self) -> (u64, Option<String>) {
        let from = self.now.0;
        for _ in 0..100 {
            self.now = self.now.max(self.machine.wake_at());
            for output in self.tell(Input::Tick) {
                if let Output::Connect { resume } = output {
                    return (self.now.0 - from, resume.map(|token| token.to_string()));
                }
            }
        }
        panic!("it never connects: {:?}", self.machine)
    }

    /// Connected, with the first snapshot in effect.
    pub(crate) fn live() -> Bench {
        let mut bench = Bench::new(None);
        assert_eq!(bench.until_connect(), (0, None));
        assert!(bench.tell(Input::Connected).is_empty());
        let outputs = bench.say(&snapshot("l", 5));
        assert!(
            matches!(&outputs[..], [Output::Serve { .. }, Output::Standing(Standing::Live)]),
            "{outputs:?}"
        );
        bench
    }
}

pub(crate) fn served(outputs: &[Output]) -> Option<&Arc<ClientState>> {
    outputs.iter().find_map(|output| match output {
        Output::Serve { state, .. } => Some(state),
        _ => None,
    })
}

fn acks(outputs: &[Output]) -> Vec<(u64, Vec<KillId>)> {
    let ack = |output: &Output| match output {
        Output::Ack { revision, kill_ids } => Some((revision.0, kill_ids.clone())),
        _ => None,
    };
    outputs.iter().filter_map(ack).collect()
}

fn trouble(outputs: &[Output]) -> Option<&Trouble> {
    outputs.iter().find_map(|output| match output {
        Output::Standing(Standing::Stale { why, .. }) => Some(why),
        _ => None,
    })
}

fn disconnects(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Disconnect))
}

#[test]
fn what_was_kept_is_resumed_from() {
    let mut bench = Bench::new(Some(state("l", 7)));
    assert_eq!(bench.until_connect(), (0, Some("l:7".into())));
    bench.tell(Input::Connected);
    assert_eq!(bench.machine.standing(), &Standing::Starting);
    let outputs = bench.tell(Input::Bytes(b": hb\n\n"));
    assert!(matches!(outputs[..], [Output::Standing(Standing::Live)]));
    assert_eq!(served(&bench.say(&change(7, 9))).unwrap().revision(), Revision(9));
}

#[test]
fn a_resumed_stream_with_nothing_to_say_counts_as_live_after_a_second() {
    let mut bench = Bench::new(Some(state("l", 7)));
    bench.until_connect();
    bench.tell(Input::Connected);
    assert!(bench.pass(999).is_empty());
    assert!(matches!(bench.pass(1)[..], [Output::Standing(Standing::Live)]));
}

#[test]
fn a_stream_that_owes_a_snapshot_is_not_live_by_its_heartbeats() {
    let mut bench = Bench::new(None);
    bench.until_connect();
    bench.tell(Input::Connected);
    assert!(bench.tell(Input::Bytes(b": hb\n\n")).is_empty());
    assert!(bench.pass(HEARTBEAT.0).is_empty());
    assert_eq!(bench.machine.standing(), &Standing::Starting);
}

#[test]
fn an_id_without_an_event_moves_the_token_so_that_nothing_is_fetched_again() {
    let mut bench = Bench::live();
    bench.tell(Input::Bytes(b": hb\nid: l:400\n\n"));
    bench.tell(Input::Lost(Loss::Ended));
    assert_eq!(bench.until_connect().1.as_deref(), Some("l:400"));
}

#[test]
fn a_frame_in_pieces_applies_when_it_is_whole_and_not_before() {
    let mut bench = Bench::live();
    let event = kill(5, 6).encode_event().unwrap();
    let (last, begin) = event.split_last().unwrap();
    for byte in begin {
        assert!(bench.tell(Input::Bytes(&[*byte])).is_empty());
    }
    assert_eq!(served(&bench.tell(Input::Bytes(&[*last]))).unwrap().revision(), Revision(6));
    // Half an event dies with its connection.
    bench.tell(Input::Bytes(&kill(6, 7).encode_event().unwrap()[..40]));
    bench.tell(Input::Lost(Loss::Ended));
    assert_eq!(bench.until_connect().1.as_deref(), Some("l:6"));
    bench.tell(Input::Connected);
    assert_eq!(served(&bench.say(&change(6, 8))).unwrap().revision(), Revision(8));
}

#[test]
fn kills_are_acknowledged_at_once_and_the_rest_together() {
    let mut bench = Bench::live();
    let batch = bench.machine.wake_at().0 - bench.now.0;
    assert!((ACK_BATCH.0..=2 * ACK_BATCH.0).contains(&batch), "{batch}");
    assert!(acks(&bench.say(&change(5, 6))).is_empty());
    assert!(acks(&bench.say(&change(6, 7))).is_empty());
    assert_eq!(acks(&bench.pass(batch)), [(7, vec![])]);
    assert!(acks(&bench.pass(2 * ACK_BATCH.0)).is_empty(), "said once");
    assert_eq!(acks(&bench.say(&kill(7, 8))), [(8, vec![KillId::new("k1").unwrap()])]);
}

#[test]
fn an_overlay_is_served_and_acknowledged_at_once() {
    let mut bench = Bench::live();
    let outputs = bench.say(&overlay());
    assert_eq!(served(&outputs).unwrap().overlays().len(), 1);
    assert_eq!(acks(&outputs), [(5, vec![KillId::new("k1").unwrap()])]);
}

#[test]
fn a_new_connection_acknowledges_again_what_is_served() {
    let mut bench = Bench::live();
    assert_eq!(acks(&bench.pass(2 * ACK_BATCH.0)), [(5, vec![])]);
    bench.tell(Input::Lost(Loss::Ended));
    bench.until_connect();
    bench.tell(Input::Connected);
    bench.tell(Input::Bytes(b": hb\n\n"));
    assert_eq!(acks(&bench.pass(2 * ACK_BATCH.0)), [(5, vec![])]);
}

/// A snapshot in which so many flags were killed, one after another.
fn with_kills(count: usize) -> Frame {
    let flag = |i: usize| {
        json!({"key": format!("flag-{i}"), "type": "boolean", "off_variant": "off", "expires_at": 9_000_000_000_u64,
            "variants": [{"key": "off", "value": false}], "revision": 2, "killed": {"id": format!("k{i}"), "at": i},
            "targeting": {"on": false, "exposure": 0, "serve": {"variant": "off"}}})
    };
    let flags: Vec<_> = (1..=count).map(flag).collect();
    let served = json!({"app": "shop", "environment": "production", "flags": flags});
    frame(json!({"v": 1, "log": "l", "revision": 7, "body": {"snapshot": served}}))
}

fn kill_ids(numbers: impl IntoIterator<Item = usize>) -> Vec<KillId> {
    numbers.into_iter().map(|i| KillId::new(&format!("k{i}")).unwrap()).collect()
}

#[test]
fn a_new_connection_hears_again_which_kills_are_in_effect() {
    let mut bench = Bench::live();
    assert_eq!(acks(&bench.say(&kill(5, 6))), [(6, kill_ids([1]))]);
    assert!(acks(&bench.pass(2 * ACK_BATCH.0)).is_empty(), "said once");
    bench.tell(Input::Lost(Loss::Ended));
    bench.until_connect();
    bench.tell(Input::Connected);
    let outputs = bench.tell(Input::Bytes(b": hb\n\n"));
    assert!(acks(&outputs).is_empty(), "in no hurry");
    assert_eq!(acks(&bench.pass(2 * ACK_BATCH.0)), [(6, kill_ids([1]))]);
}

#[test]
fn a_start_from_what_was_kept_says_which_kills_are_in_effect_and_the_latest_if_they_are_many() {
    let (cached, _) = ClientState::fold(None, &with_kills(40)).unwrap();
    let mut bench = Bench::new(Some(cached));
    bench.until_connect();
    bench.tell(Input::Connected);
    bench.tell(Input::Bytes(b": hb\n\n"));
    // The oldest first: a server that remembers so many of a client forgets those.
    assert_eq!(acks(&bench.pass(2 * ACK_BATCH.0)), [(7, kill_ids(9..=40))]);
}

#[test]
fn a_kill_that_opens_a_connection_takes_those_before_it_along() {
    let (cached, _) = ClientState::fold(None, &with_kills(40)).unwrap();
    let mut bench = Bench::new(Some(cached));
    bench.until_connect();
    bench.tell(Input::Connected);
    let overlay = json!({"kill_id": "k41", "reach": "everything", "at": 41});
    let overlay = frame(json!({"v": 1, "log": "l", "revision": 7, "body": {"overlay": overlay}}));
    assert_eq!(acks(&bench.say(&overlay)), [(7, kill_ids(10..=41))]);
    assert!(acks(&bench.pass(2 * ACK_BATCH.0)).is_empty(), "said once");
}

#[test]
fn a_silent_stream_is_given_up_after_three_heartbeats() {
    let mut bench = Bench::live();
    bench.pass(2 * ACK_BATCH.0);
    bench.tell(Input::Bytes(b": hb\n\n"));
    assert_eq!(bench.machine.wake_at(), DurationMs(bench.now.0 + SILENCE.0));
    assert!(bench.pass(SILENCE.0 - 1).is_empty());
    let outputs = bench.pass(1);
    assert!(disconnects(&outputs));
    assert_eq!(trouble(&outputs), Some(&Trouble::Silent));
    assert_eq!(bench.until_connect().1.as_deref(), Some("l:5"));
}

#[test]
fn a_connection_that_never_stands_is_given_up_as_well() {
    let mut bench = Bench::new(None);
    bench.until_connect();
    let outputs = bench.pass(SILENCE.0);
    assert!(disconnects(&outputs));
    assert_eq!(trouble(&outputs), Some(&Trouble::Silent));
}

#[test]
fn delays_double_up_to_a_bound_and_are_drawn_from_the_whole_range() {
    let longest = |random: u64| {
        let mut bench = Bench::new(None);
        bench.random = random;
        bench.until_connect();
        let mut delays = vec![];
        for _ in 0..8 {
            bench.tell(Input::Lost(Loss::Failed("refused".into())));
            delays.push(bench.until_connect().0);
        }
        delays
    };
    assert_eq!(longest(0), [0; 8]);
    // One number that is the largest draw of each range.
    let ranges: Vec<u64> = (0..8).map(|n| (FIRST_BACKOFF.0 << n).min(LONGEST_BACKOFF.0)).collect();
    for (place, range) in ranges.iter().enumerate() {
        assert_eq!(longest(*range)[place], *range, "failure {place}");
    }
}

#[test]
fn a_success_ends_the_doubling() {
    let mut bench = Bench::live();
    bench.random = FIRST_BACKOFF.0;
    bench.tell(Input::Lost(Loss::Ended));
    assert_eq!(bench.until_connect().0, FIRST_BACKOFF.0);
    bench.tell(Input::Connected);
    bench.say(&change(5, 6));
    bench.tell(Input::Lost(Loss::Ended));
    assert_eq!(bench.until_connect().0, FIRST_BACKOFF.0);
}

#[test]
fn a_delay_that_the_server_asks_for_is_kept() {
    for status in [429, 503] {
        let mut bench = Bench::new(None);
        bench.random = 0;
        bench.until_connect();
        let retry_after = Some(DurationMs(7_000));
        let outputs = bench.tell(Input::Lost(Loss::Refused { status, retry_after }));
        assert_eq!(trouble(&outputs), Some(&Trouble::Refused { status }));
        assert_eq!(bench.until_connect().0, 7_000);
    }
    let mut bench = Bench::live();
    bench.random = 0;
    bench.tell(Input::Bytes(b"retry: 3000\n\n"));
    bench.tell(Input::Lost(Loss::Ended));
    assert_eq!(bench.until_connect().0, 3_000);
}

#[test]
fn a_server_that_asks_for_no_delay_is_not_asked_all_the_time() {
    let mut bench = Bench::new(None);
    let delays: Vec<u64> = (0..6)
        .map(|_| {
            let delay = bench.until_connect().0;
            let refused = Loss::Refused { status: 503, retry_after: Some(DurationMs(0)) };
            bench.tell(Input::Lost(refused));
            bench.random = LONGEST_BACKOFF.0.min(FIRST_BACKOFF.0 << 5);
            delay
        })
        .collect();
    assert!(delays.last().unwrap() > &(2 * FIRST_BACKOFF.0), "{delays:?}");
    // Nor does a wrong key become right sooner.
    let mut bench = Bench::new(None);
    bench.random = 0;
    bench.until_connect();
    let retry_after = Some(DurationMs(2_000));
    bench.tell(Input::Lost(Loss::Refused { status: 401, retry_after }));
    assert_eq!(bench.until_connect().0, SLOW_RETRY.0 / 2);
}

#[test]
fn a_wrong_key_is_reported_and_tried_slowly() {
    for status in [401, 403] {
        let mut bench = Bench::new(None);
        bench.random = 0;
        bench.until_connect();
        let outputs = bench.tell(Input::Lost(Loss::Refused { status, retry_after: None }));
        assert_eq!(trouble(&outputs), Some(&Trouble::Unauthorized));
        assert_eq!(bench.until_connect().0, SLOW_RETRY.0 / 2);
    }
}

#[test]
fn what_does_not_fit_leads_to_a_snapshot_and_what_was_served_stays() {
    for (frame, error) in [
        (change(9, 10), FrameError::Gap { have: Revision(5), follows: Revision(9) }),
        (
            Frame { log: LogId::new("other").unwrap(), ..change(5, 6) },
            FrameError::OtherLog { found: LogId::new("other").unwrap() },
        ),
    ] {
        let mut bench = Bench::live();
        let outputs = bench.say(&frame);
        assert!(disconnects(&outputs) && served(&outputs).is_none());
        assert_eq!(trouble(&outputs), Some(&Trouble::OutOfStep(error)));
        assert_eq!(bench.until_connect().1, None, "it does not resume");
        bench.tell(Input::Connected);
        // Until the snapshot is there, it is not live.
        assert!(bench.tell(Input::Bytes(b": hb\n\n")).is_empty());
        let outputs = bench.say(&snapshot("other", 3));
        assert_eq!(served(&outputs).unwrap().resume_token().to_string(), "other:3");
        assert!(matches!(bench.machine.standing(), Standing::Live));
    }
}

#[test]
fn a_newer_version_is_reported_loudly_and_what_was_served_stays() {
    let mut bench = Bench::live();
    let outputs = bench.tell(Input::Bytes(b"event: change\ndata: {\"v\":3,\"news\":true}\n\n"));
    let error = FrameCodecError::UnknownVersion { version: 3 };
    assert!(served(&outputs).is_none());
    assert_eq!(trouble(&outputs), Some(&Trouble::Unreadable(error)));
    assert!(bench.until_connect().0 >= SLOW_RETRY.0 / 2);
}

#[test]
fn events_of_other_names_are_passed_on_and_change_nothing() {
    let mut bench = Bench::live();
    let outputs = bench.tell(Input::Bytes(b"event: weather\ndata: sunny\n\n"));
    let [Output::Said { name, data }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((name.as_str(), &data[..]), ("weather", &b"sunny"[..]));
    assert_eq!(served(&bench.say(&change(5, 6))).unwrap().revision(), Revision(6));
}

#[test]
fn the_moment_of_the_cut_is_remembered_through_failures() {
    let mut bench = Bench::live();
    bench.tell(Input::Lost(Loss::Ended));
    let cut = bench.now;
    bench.until_connect();
    bench.tell(Input::Lost(Loss::Failed("refused".into())));
    let Standing::Stale { since, why } = bench.machine.standing() else { panic!("it is cut off") };
    assert_eq!((*since, why), (cut, &Trouble::Unreachable("refused".into())));
}
