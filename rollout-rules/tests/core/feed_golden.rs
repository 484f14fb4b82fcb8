//! Frames that were ever written are read for ever, and mean the same. Lines are added to
//! `golden/frames-v1.jsonl`, never changed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use rollout_rules::feed::{ClientState, FeedHeight, Frame, FrameBody, Op};

const GOLDEN: &str = include_str!("../../golden/frames-v1.jsonl");

fn name(op: &Op) -> &'static str {
    match op {
        Op::PutFlag(_) => "put_flag",
        Op::RemoveFlag { .. } => "remove_flag",
        Op::FlagKills { .. } => "flag_kills",
        Op::PutSegment(_) => "put_segment",
        Op::SegmentCondition { .. } => "segment_condition",
        Op::SegmentMembers { .. } => "segment_members",
        Op::RemoveSegment { .. } => "remove_segment",
        Op::Kills { height: FeedHeight::Everything, .. } => "kills of everything",
        Op::Kills { height: FeedHeight::App, .. } => "kills of the app",
        Op::Environment { .. } => "environment",
        Op::EnvironmentGone => "environment_gone",
    }
}

#[test]
fn every_golden_frame_is_read_and_written_as_it_stands() {
    for (number, line) in GOLDEN.lines().enumerate() {
        let frame =
            Frame::decode(line.as_bytes()).unwrap_or_else(|error| panic!("line {}: {error}", number + 1));
        assert_eq!(String::from_utf8(frame.encode().unwrap()).unwrap(), line, "line {}", number + 1);
    }
}

#[test]
fn the_golden_frames_know_every_kind() {
    let mut seen = BTreeSet::new();
    for line in GOLDEN.lines() {
        let frame = Frame::decode(line.as_bytes()).unwrap();
        seen.insert(frame.event_name());
        if let FrameBody::Change(change) = &frame.body {
            seen.extend(change.ops.iter().map(name));
        }
    }
    let every = BTreeSet::from([
        "snapshot",
        "change",
        "overlay",
        "put_flag",
        "remove_flag",
        "flag_kills",
        "put_segment",
        "segment_condition",
        "segment_members",
        "remove_segment",
        "kills of everything",
        "kills of the app",
        "environment",
        "environment_gone",
    ]);
    assert_eq!(seen, every);
}

#[test]
fn the_golden_frames_are_one_feed_that_a_client_can_follow() {
    let mut client: Option<ClientState> = None;
    for (number, line) in GOLDEN.lines().enumerate() {
        let frame = Frame::decode(line.as_bytes()).unwrap();
        let folded = ClientState::fold(client.as_ref(), &frame);
        client = Some(folded.unwrap_or_else(|error| panic!("line {}: {error}", number + 1)).0);
    }
    let client = client.unwrap();
    assert!(client.is_gone());
    assert_eq!(client.resume_token().to_string(), "log-7f3a:21");
}
