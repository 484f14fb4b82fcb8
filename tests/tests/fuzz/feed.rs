//! The stream that an SDK reads.

use rollout_rules::feed::machine::{Input, Machine, Output};
use rollout_rules::feed::sse::{EventParser, Message};
use rollout_rules::feed::{ClientState, Frame, FrameBody, ResumeToken};
use rollout_rules::ids::Digest;
use rollout_rules::time::DurationMs;

use crate::mutate::Chance;
use crate::run::{Outcome, Target};

const FRAMES: &str = include_str!("../../../rollout-rules/golden/frames-v1.jsonl");

/// Most bytes between two cuts of a stream that is cut often.
const SHORT: usize = 24;

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
    let event = |line: &str| Frame::decode(line.as_bytes()).expect("a frame").encode_event().expect("small");
    let events: Vec<Vec<u8>> = FRAMES.lines().map(event).collect();
    let mut found = events.clone();
    // Whole streams: what follows a snapshot applies.
    found.extend((1..events.len()).map(|count| [b": hb\n\n", events[..=count].concat().as_slice()].concat()));
    found
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

/// What a client does with a stream: everything in words, and the states that it serves.
fn follow(cached: Option<&ClientState>, pieces: &[&[u8]]) -> (Vec<String>, Vec<ClientState>) {
    let now = DurationMs(1_000);
    let mut machine = Machine::new(cached.cloned(), now);
    machine.handle(Input::Tick, 0, now);
    machine.handle(Input::Connected, 0, now);
    let (mut did, mut served) = (Vec::new(), Vec::new());
    for piece in pieces {
        for output in machine.handle(Input::Bytes(piece), 0, now) {
            did.push(match &output {
                Output::Serve { state, applied } => format!("{:?} {applied:?}", state.to_frame()),
                other => format!("{other:?}"),
            });
            if let Output::Serve { state, .. } = output {
                served.push(ClientState::clone(&state));
            }
        }
    }
    (did, served)
}

/// The states that a stream leads to, frame by frame: each whole, and none after the first that does not apply.
fn expected(cached: Option<&ClientState>, said: Vec<Message>) -> Vec<ClientState> {
    let (mut state, mut states) = (cached.cloned(), Vec::new());
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
                if applied.moved {
                    states.push(new.clone());
                }
                state = Some(new);
            }
            _ => {}
        }
    }
    states
}

/// A state that is kept on disk is the same state, and answers.
fn keep(state: &ClientState) {
    let frame = state.to_frame();
    let stored = frame.encode().expect("small");
    let read = Frame::decode(&stored).expect("what was stored is read");
    let (again, _) = ClientState::fold(None, &read).expect("what was served is served again");
    assert_eq!(again.to_frame(), frame);
    let context = rollout_rules::context::Context::new("ann").with("plan", "pro");
    for key in state.flag_keys() {
        let ask = |state: &ClientState| {
            let now = rollout_rules::time::UnixMs(1_800_000_000_000);
            rollout_rules::evaluate::evaluate(&state.flag_set(), key.as_str(), &context, now)
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
        let cuts = [
            cut(bytes, 1, &mut chance),
            cut(bytes, SHORT, &mut chance),
            cut(bytes, bytes.len(), &mut chance),
        ];
        for pieces in &cuts {
            assert_eq!(messages(pieces), (said.clone(), gave_up));
        }
        let mut all = 0;
        let mut kinds = String::new();
        for cached in [None, first.as_ref()] {
            let (did, served) = follow(cached, &[bytes]);
            for pieces in &cuts[1..] {
                assert_eq!(follow(cached, pieces).0, did);
            }
            let frames =
                |states: &[ClientState]| states.iter().map(ClientState::to_frame).collect::<Vec<_>>();
            assert_eq!(frames(&served), frames(&expected(cached, said.clone())));
            served.iter().for_each(keep);
            all += served.len();
            let words = did.iter().map(|text| text.split([' ', '{', '(']).next().unwrap_or_default());
            kinds.extend(words);
            kinds.push_str(&did.last().cloned().filter(|_| served.is_empty()).unwrap_or_default());
        }
        if all > 0 {
            Outcome::Taken(vec![Digest::of(kinds.as_bytes()).to_string()])
        } else {
            Outcome::Refused(kinds)
        }
    };
    Target { name: "feed", golden, tokens: TOKENS, inputs: 1_000, read: &read }.run();
}
