//! What pages are told, as it stands in golden files: read for ever, and meaning the same for whoever asks. Lines are added
//! to `golden/frames-v2.jsonl` and `golden/flags-told-v1.jsonl`, never changed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::feed::{ClientState, Frame, FrameCodecError};
use rollout_rules::ids::FlagKey;
use rollout_rules::time::UnixMs;
use serde::Deserialize;
use serde_json::Value;

const FRAMES: &str = include_str!("../../golden/frames-v2.jsonl");
const TOLD: &str = include_str!("../../golden/flags-told-v1.jsonl");

/// Frames in their order, and what is answered after them.
#[derive(Deserialize)]
struct Case {
    name: String,
    frames: Vec<Value>,
    asks: Vec<Ask>,
}

#[derive(Deserialize)]
struct Ask {
    now: UnixMs,
    answers: BTreeMap<FlagKey, Answer>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Answer {
    variant: String,
    reason: String,
    standard: String,
    split: Option<String>,
}

fn fold(base: Option<&ClientState>, line: &str) -> ClientState {
    let frame = Frame::decode(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
    ClientState::fold(base, &frame).unwrap_or_else(|error| panic!("{line}: {error}")).0
}

#[test]
fn every_golden_frame_of_pages_is_read_and_written_as_it_stands() {
    let mut client: Option<ClientState> = None;
    for line in FRAMES.lines() {
        let frame = Frame::decode(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(String::from_utf8(frame.encode().unwrap()).unwrap(), line);
        let made = Frame::new(frame.log.clone(), frame.revision, frame.body.clone());
        assert_eq!(made.version, frame.version, "it is of the lowest version that can say it: {line}");
        client = Some(fold(client.as_ref(), line));
    }
    // What a page keeps is what it was told.
    let client = client.unwrap();
    let kept = String::from_utf8(client.to_frame().encode().unwrap()).unwrap();
    assert!(kept.starts_with(r#"{"v":2,"#), "{kept}");
    assert_eq!(fold(None, &kept).to_frame(), client.to_frame());
}

#[test]
fn what_is_told_is_answered_to_whoever_asks_as_the_golden_cases_say() {
    for line in TOLD.lines() {
        let case: Case = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut client: Option<ClientState> = None;
        for frame in &case.frames {
            client = Some(fold(client.as_ref(), &frame.to_string()));
        }
        let client = client.unwrap();
        for (Ask { now, answers }, context) in
            case.asks.iter().zip([Context::anonymous(), Context::new("ann")].iter().cycle())
        {
            for (key, expected) in answers {
                let set = client.flag_set();
                let answer = evaluate(&set, key.as_str(), context, *now).unwrap();
                let split = answer.assigned(context).map(|assigned| assigned.split.to_string());
                let found = Answer {
                    variant: answer.variant().to_string(),
                    reason: answer.reason.code().to_owned(),
                    standard: answer.standard_reason().as_str().to_owned(),
                    split,
                };
                assert_eq!(found, *expected, "{}: {key} at {now}", case.name);
                assert_eq!(answer.rule(), None);
                assert!(answer.flag().told().is_some() && set.needs(key.as_str()).is_empty());
            }
        }
    }
}

#[test]
fn a_page_that_hears_of_guarded_flags_keeps_until_when() {
    let client = fold(None, FRAMES.lines().next().unwrap());
    let until = |key: &str| client.guarded_until(&FlagKey::new(key).unwrap());
    assert_eq!(until("checkout"), UnixMs::parse_rfc3339("2026-03-02T00:00:00Z"));
    assert_eq!(until("open"), UnixMs::parse_rfc3339("9999-12-31T23:59:59.999Z"));
    assert_eq!(until("plain"), None);
}

#[test]
fn frames_newer_than_these_are_not_read_and_older_ones_are() {
    let line = FRAMES.lines().next().unwrap();
    let newer = line.replacen(r#""v":2"#, r#""v":3"#, 1);
    assert_eq!(Frame::decode(newer.as_bytes()), Err(FrameCodecError::UnknownVersion { version: 3 }));
    let none = line.replacen(r#""v":2"#, r#""v":0"#, 1);
    assert_eq!(Frame::decode(none.as_bytes()), Err(FrameCodecError::UnknownVersion { version: 0 }));
    assert!(
        Frame::decode(include_str!("../../golden/frames-v1.jsonl").lines().next().unwrap().as_bytes())
            .is_ok()
    );
}
