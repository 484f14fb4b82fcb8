//! The stream that an SDK reads.

use std::collections::BTreeSet;

use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::feed::machine::{Input, Machine, Output};
use rollout_rules::feed::sse::{EventParser, Message};
use rollout_rules::feed::{Applied, ClientState, Frame, FrameBody, ResumeToken};
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::{Value, json};

use crate::mutate::Chance;
use crate::run::{Outcome, Target};
use crate::shapes::shapes;
use crate::{reach, tree};

const FRAMES: &str = include_str!("../../../rollout-rules/golden/frames-v1.jsonl");
const CONDITIONS: &str = include_str!("../../../rollout-rules/golden/conditions-v1.jsonl");

/// Most bytes between two cuts of a stream that is cut often.
const SHORT: usize = 24;
/// Streams of up to so many bytes are also cut at every byte.
const SMALL: usize = 512;

const TOKENS: &[&str] = &[
    "\n\n",
    "\r\n",
    "\r",
    ": hb\n\n",
    "data: ",
    "data:\n",
    "event: overlay\n",
    "event: change\n",
    "event: snapshot\n",
    "event: news\n",
    "id: log-7f3a:99\n\n",
    "id: other:1\n\n",
    "id\n\n",
    "retry: 250\n",
    "retry: 99999999999999999999\n",
    "\u{feff}",
    "\"follows\":0",
    "\"ops\":[]",
    "null",
    "\0",
];

fn golden() -> Vec<Vec<u8>> {
    let event = |frame: &Frame| frame.encode_event().expect("small");
    let frames: Vec<Frame> =
        FRAMES.lines().map(|line| Frame::decode(line.as_bytes()).expect("a frame")).collect();
    let mut found: Vec<Vec<u8>> = frames.iter().map(event).collect();
    let events: Vec<Vec<u8>> = found.iter().map(|event| without_dfas(event)).collect();
    // Whole streams: what follows a snapshot applies. A few are long.
    let lengths = (1..events.len()).step_by(4).chain([events.len() - 1]);
    found.extend(lengths.map(|count| [b": hb\n\n", events[..=count].concat().as_slice()].concat()));
    // Each frame at once behind the snapshot.
    found.extend(events[1..].iter().map(|event| chained(&[events[0].as_slice(), event.as_slice()].concat())));
    found
}

/// The same event without what a reader here compiles itself: half of its bytes.
fn without_dfas(event: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(event).expect("our own text");
    let mut parts = text.split(",\"dfa\":[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(']').expect("a list").1).into_bytes()
}

/// The same stream with each change following what stands before it, so that it applies.
fn chained(stream: &[u8]) -> Vec<u8> {
    let mut last = 0;
    let mut chain = |line: &[u8]| {
        let Some(frame) = line.strip_prefix(b"data: ") else { return line.to_vec() };
        let Ok(mut frame) = serde_json::from_slice::<Value>(frame) else { return line.to_vec() };
        if let Some(change) = frame.pointer_mut("/body/change").and_then(Value::as_object_mut) {
            change.insert("follows".to_owned(), json!(last));
            frame["revision"] = json!(last + 1);
        }
        last = frame["revision"].as_u64().unwrap_or(last).min(1 << 40);
        [b"data: ", frame.to_string().as_bytes()].concat()
    };
    stream.split(|byte| *byte == b'\n').map(&mut chain).collect::<Vec<_>>().join(&b'\n')
}

/// The events of a stream, each with the blank line behind it.
fn events(stream: &[u8]) -> Vec<&[u8]> {
    let (mut events, mut rest) = (Vec::new(), stream);
    while let Some(end) = rest.windows(2).position(|two| two == b"\n\n") {
        let (event, after) = rest.split_at(end + 2);
        events.push(event);
        rest = after;
    }
    if !rest.is_empty() {
        events.push(rest);
    }
    events
}

/// Leaves out, repeats, moves or adds an event, or changes what one carries.
fn restructure(stream: &mut Vec<u8>, other: &[u8], words: &[tree::Word], chance: &mut Chance) -> bool {
    let lot = chance.below(8);
    if lot < 4 {
        if !tree::step(stream, other, words, chance) {
            return false;
        }
    } else {
        let (mut here, there) = (events(stream), events(other));
        let at = chance.below(here.len());
        match lot {
            4 if here.len() > 1 => drop(here.remove(at)),
            5 if !here.is_empty() => here.insert(chance.below(here.len() + 1), here[at]),
            6 if !here.is_empty() => {
                let with = chance.below(here.len());
                here.swap(at, with);
            }
            _ if there.is_empty() => return false,
            _ => here.insert(chance.below(here.len() + 1), there[chance.below(there.len())]),
        }
        *stream = here.concat();
    }
    if chance.below(4) != 0 {
        *stream = chained(stream);
    }
    true
}

/// A stream cut into pieces.
fn cut<'b>(bytes: &'b [u8], most: usize, chance: &mut Chance) -> Vec<&'b [u8]> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + chance.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// What a parser says, and whether it gives up.
fn messages(pieces: &[&[u8]]) -> (Vec<Message>, bool) {
    let mut parser = EventParser::default();
    let mut said = Vec::new();
    let gave_up = pieces.iter().any(|piece| parser.push(piece, |message| said.push(message)).is_err());
    (said, gave_up)
}

/// What a client does.
#[derive(Debug, PartialEq)]
enum Did {
    Serve(Box<Frame>, Applied),
    Other(String),
}

/// What a client does with a stream, and the states that it serves.
fn follow(cached: Option<&ClientState>, pieces: &[&[u8]]) -> (Vec<Did>, Vec<ClientState>) {
    let now = DurationMs(1_000);
    let mut machine = Machine::new(cached.cloned(), now);
    machine.handle(Input::Tick, 0, now);
    machine.handle(Input::Connected, 0, now);
    let (mut did, mut served) = (Vec::new(), Vec::new());
    for piece in pieces {
        for output in machine.handle(Input::Bytes(piece), 0, now) {
            match output {
                Output::Serve { state, applied } => {
                    did.push(Did::Serve(Box::new(state.to_frame()), applied));
                    served.push(ClientState::clone(&state));
                }
                other => did.push(Did::Other(format!("{other:?}"))),
            }
        }
    }
    (did, served)
}

/// The states that a stream leads to, frame by frame: each whole, and none after the first that does not apply.
/// Says of each frame that applies what it is made of.
fn expected(cached: Option<&ClientState>, said: Vec<Message>, features: &mut BTreeSet<String>) -> Vec<Frame> {
    let (mut state, mut states, mut last) = (cached.cloned(), Vec::new(), String::new());
    for message in said {
        match message {
            Message::Id(id) => {
                let (Some(token), Some(known)) = (ResumeToken::parse(&id), &mut state) else { continue };
                if known.advance(&token).is_err() {
                    break;
                }
            }
            Message::Event { name, data, .. }
                if matches!(name.as_str(), "snapshot" | "change" | "overlay") =>
            {
                let Ok(frame) = Frame::decode(&data) else { break };
                let Ok((new, applied)) = ClientState::fold(state.as_ref(), &frame) else { break };
                last = note(&frame, &last, &new, &applied, features);
                if applied.moved {
                    states.push(new.to_frame());
                }
                state = Some(new);
            }
            _ => {}
        }
    }
    states
}

/// What a frame is made of, what came of it, and what stood before it. Gives what it is for the next one.
fn note(
    frame: &Frame,
    before: &str,
    state: &ClientState,
    applied: &Applied,
    features: &mut BTreeSet<String>,
) -> String {
    let body = serde_json::to_value(&frame.body).expect("a frame is JSON");
    shapes(&body, "", features);
    let name = match &frame.body {
        FrameBody::Snapshot(_) => "snapshot".to_owned(),
        FrameBody::Overlay(overlay) => format!("overlay {}", kind_of(&json!(overlay.reach))),
        FrameBody::Change(change) => change.ops.iter().take(3).map(|op| kind_of(&json!(op))).collect(),
    };
    features.insert(format!(
        "{before}, then {name}: {} overlays, {} kills, {} flags, everything: {}, moved: {}",
        state.overlays().len().min(4),
        applied.kill_ids.len().min(3),
        applied.flags.len().min(4),
        applied.everything,
        applied.moved
    ));
    name
}

/// The name of a variant, as it is written.
fn kind_of(value: &Value) -> String {
    let name = value.as_object().and_then(|fields| fields.keys().next());
    name.cloned().unwrap_or_else(|| value.to_string())
}

/// A state that is kept on disk is the same state, and answers.
fn keep(state: &ClientState, frame: &Frame) {
    let stored = frame.encode().expect("small");
    let read = Frame::decode(&stored).expect("what was stored is read");
    let (again, _) = ClientState::fold(None, &read).expect("what was served is served again");
    assert_eq!(again.to_frame(), *frame);
    let mut contexts = reach::contexts(&serde_json::from_slice(&stored).expect("JSON"));
    contexts.push(Context::new("ann").with("plan", "pro"));
    for (key, context) in state.flag_keys().flat_map(|key| contexts.iter().map(move |context| (key, context)))
    {
        let ask = |state: &ClientState| {
            let now = UnixMs(1_800_000_000_000);
            evaluate(&state.flag_set(), key.as_str(), context, now)
                .map(|answer| (answer.variant().to_string(), answer.reason))
        };
        assert_eq!(ask(state), ask(&again), "`{key}`");
    }
}

#[test]
fn a_stream_says_the_same_wherever_it_is_cut_and_each_frame_applies_whole_or_not_at_all() {
    let golden = golden();
    let first = FRAMES.lines().find_map(|line| {
        let frame = Frame::decode(line.as_bytes()).expect("a frame");
        matches!(frame.body, FrameBody::Snapshot(_))
            .then(|| ClientState::fold(None, &frame).expect("applies").0)
    });
    let read = |bytes: &[u8]| {
        let mut chance =
            Chance::new(u64::from_le_bytes(std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(7))));
        let (said, gave_up) = messages(&[bytes]);
        let cuts = [1, SHORT, bytes.len()].map(|most| cut(bytes, most, &mut chance));
        let from = if bytes.len() <= SMALL { 0 } else { 1 };
        for pieces in &cuts[from..] {
            assert_eq!(messages(pieces), (said.clone(), gave_up));
        }
        let (mut features, mut known, mut outputs) = (BTreeSet::new(), Vec::new(), Vec::new());
        for cached in [None, first.as_ref()] {
            // What a client had before makes little difference once there was a snapshot.
            if cached.is_some() && !known.is_empty() && chance.below(4) != 0 {
                continue;
            }
            let (did, served) = follow(cached, &[bytes]);
            assert_eq!(follow(cached, &cuts[1 + chance.below(2)]).0, did);
            let frames = expected(cached, said.clone(), &mut features);
            let serves = did.iter().filter_map(|did| match did {
                Did::Serve(frame, _) => Some(&**frame),
                Did::Other(_) => None,
            });
            assert!(serves.eq(&frames), "{did:?} and not {frames:?}");
            for (state, frame) in served.iter().zip(frames) {
                if !known.contains(&frame) {
                    keep(state, &frame);
                    known.push(frame);
                }
            }
            outputs.extend(did.iter().map(|did| match did {
                Did::Serve(..) => "Serve".to_owned(),
                Did::Other(text) => text.split([' ', '{', '(']).next().unwrap_or_default().to_owned(),
            }));
            // How it stands where nothing is served tells one refusal from another.
            outputs.extend(did.last().filter(|_| served.is_empty()).map(|did| format!("{did:?}")));
        }
        if known.is_empty() {
            Outcome::Refused(outputs.concat())
        } else {
            features.insert(outputs.concat());
            Outcome::Taken(features.into_iter().collect())
        }
    };
    let words = tree::words(&[FRAMES, CONDITIONS].concat());
    let restructure =
        |stream: &mut Vec<u8>, other: &[u8], chance: &mut Chance| restructure(stream, other, &words, chance);
    Target { name: "feed", golden, tokens: TOKENS, restructure: &restructure, inputs: 600, read: &read }
        .run();
}
