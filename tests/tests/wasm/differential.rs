//! Random flag sets and contexts, answered by both: the module reads frames by its own reader, with regular expressions
//! compiled elsewhere, and checks contexts in binary form; the native core reads them by serde, and compiles itself.

use rollout_rules::context::{Context, ContextError};
use rollout_rules::evaluate::{Answer, Reason, evaluate};
use rollout_rules::feed::{ClientState, Frame};
use rollout_rules::flag::{Height, HoldCause};
use rollout_rules::time::UnixMs;
use serde_json::{Map, Value, json};

use crate::node::{Node, encoded};
use crate::random::{Lots, NOW, context, frames};

/// How many flag sets, and how many contexts ask each: a million and more pairs.
const SETS: usize = 8_000;
const CONTEXTS_EACH: usize = 126;
/// From how many contexts those are drawn.
const CONTEXTS: usize = 4_000;
/// Set to run other ones, as the last failure printed them.
const SEED_VARIABLE: &str = "TIDEGATE_SEED";

fn seed() -> u64 {
    let given = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    given.unwrap_or_else(|| u64::try_from(since.as_micros() % 1_000_000_007).expect("small"))
}

/// The state that a client has after these frames. What does not apply is left out by both.
pub(crate) fn folded(frames: &[String]) -> ClientState {
    let mut state: Option<ClientState> = None;
    for frame in frames {
        let frame = Frame::decode(frame.as_bytes()).expect("a frame");
        state = Some(ClientState::fold(state.as_ref(), &frame).expect("it applies").0);
    }
    state.expect("a snapshot")
}

fn number(answer: &Answer<'_>) -> u32 {
    let reason = match answer.reason {
        Reason::Killed(Height::Everything) => 0,
        Reason::Killed(Height::App) => 1,
        Reason::Killed(Height::Flag) => 2,
        Reason::Held(HoldCause::Guardrail) => 3,
        Reason::Held(HoldCause::Budget) => 4,
        Reason::Held(HoldCause::Gate) => 5,
        Reason::Expired => 6,
        Reason::EnvironmentEnded => 7,
        Reason::Off => 8,
        Reason::PrerequisiteFailed => 9,
        Reason::Target => 10,
        Reason::Rule { .. } => 11,
        Reason::RuleSplit { .. } => 12,
        Reason::Split => 13,
        Reason::Exposed => 14,
        Reason::Default => 15,
        Reason::NotExposed => 16,
        Reason::NoUnit => 17,
        Reason::Broken => 18,
    };
    u32::from(answer.index()) | (reason << 16) | (u32::from(answer.reason.serves()) << 24)
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn a_million_flag_sets_and_contexts_are_answered_as_the_native_core_answers_them() {
    let seed = seed();
    println!("{SEED_VARIABLE}={seed}");
    let mut lots = Lots(seed);
    let given: Vec<Map<String, Value>> = (0..CONTEXTS).map(|_| context(&mut lots)).collect();
    let contexts: Vec<Context> =
        given.iter().map(|given| Context::try_from(given).expect("within all bounds")).collect();
    let encoded: Vec<Vec<u8>> = given.iter().map(encoded).collect();
    let mut nodes = Node::both();
    for node in &mut nodes {
        assert!(node.contexts(&encoded).iter().all(|code| *code == 0), "{SEED_VARIABLE}={seed}");
    }
    let (mut pairs, mut reasons) = (0, [0_u32; 19]);
    for set in 0..SETS {
        let frames = frames(&mut lots);
        let picks: Vec<(usize, u64)> =
            (0..CONTEXTS_EACH).map(|_| (lots.below(CONTEXTS), NOW - 2 + lots.next() % 5)).collect();
        let state = folded(&frames);
        let expected = picks.iter().flat_map(|(context, now)| {
            let (state, context) = (&state, &contexts[*context]);
            state.flag_keys().map(move |key| {
                evaluate(&state.flag_set(), key.as_str(), context, UnixMs(*now))
                    .as_ref()
                    .map_or(u32::MAX, number)
            })
        });
        let expected: Vec<u32> = expected.collect();
        // The modules take turns.
        let found: Vec<u32> = nodes[set % 2].ask(&json!({"frames": frames, "picks": picks}));
        if found != expected {
            let flags = state.flag_keys().count();
            let at = (0..expected.len()).find(|at| found.get(*at) != Some(&expected[*at])).unwrap_or(0);
            let (context, now) = picks[at / flags];
            panic!(
                "{SEED_VARIABLE}={seed}: set {set}, flag {}: {:x?} instead of {:x}\nat {now} for {}\n{}",
                at % flags,
                found.get(at),
                expected[at],
                Value::from(given[context].clone()),
                frames.join("\n")
            );
        }
        pairs += picks.len();
        expected.iter().for_each(|answer| reasons[(answer >> 16 & 0xff) as usize] += 1);
    }
    println!("{pairs} pairs alike; answers by reason: {reasons:?}");
    assert!(pairs >= 1_000_000);
    assert!(reasons.iter().take(18).all(|count| *count > 100), "some reasons were hardly met: {reasons:?}");
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn a_state_that_is_kept_answers_as_the_one_that_was_folded() {
    let seed = seed();
    let mut lots = Lots(seed);
    let given: Vec<Map<String, Value>> = (0..50).map(|_| context(&mut lots)).collect();
    let mut node = Node::start();
    node.contexts(&given.iter().map(encoded).collect::<Vec<_>>());
    let picks: Vec<(usize, u64)> = (0..given.len()).map(|at| (at, NOW)).collect();
    for _ in 0..200 {
        let frames = frames(&mut lots);
        let before: Vec<u32> = node.ask(&json!({"frames": frames, "picks": picks}));
        let kept: String = node.ask(&json!({"kept": true}));
        let native = folded(&frames).to_frame().encode().expect("it fits");
        let same: Value = serde_json::from_str(&kept).expect("JSON");
        assert_eq!(same, serde_json::from_slice::<Value>(&native).expect("JSON"), "{SEED_VARIABLE}={seed}");
        let after: Vec<u32> = node.ask(&json!({"frames": [], "cached": kept, "picks": picks}));
        assert_eq!(after, before, "{SEED_VARIABLE}={seed}");
    }
}

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn contexts_are_refused_for_the_reasons_for_which_json_is() {
    let deep = (0..9).fold(json!(1), |inner, _| json!([inner]));
    let wide: Map<String, Value> = (0..65).map(|at| (format!("a{at}"), json!(1))).collect();
    let cases = [
        (json!({"a": deep}), Some(ContextError::TooDeep)),
        (json!({"a": "x".repeat(33_000)}), Some(ContextError::TooLarge)),
        (Value::from(wide), Some(ContextError::TooManyAttributes)),
        (json!({"targetingKey": 7}), Some(ContextError::TargetingKeyNotText)),
        (json!({"targetingKey": null, "a": null}), None),
        (json!({"a": {"b": {"c": [1, [2, {"d": "e"}]]}}}), None),
    ];
    let objects: Vec<&Map<String, Value>> = cases.iter().filter_map(|(case, _)| case.as_object()).collect();
    let mut bytes: Vec<Vec<u8>> = objects.iter().map(|object| encoded(object)).collect();
    // Twice the same name, a text that is cut, one that is no text, one byte too many, a tag that is none.
    let twice = [&2_u16.to_le_bytes()[..], b"\x01\0a\0", b"\x01\0a\0"].concat();
    let hostile = [
        &b"\x01\0\x01\0a\x04\xff\xff\xff\xff"[..],
        b"\x01\0\x01\0\xff\0",
        b"\0\0\0",
        b"\x01\0\x01\0a\x09",
        b"",
    ];
    bytes.push(twice);
    bytes.extend(hostile.iter().map(|bytes| bytes.to_vec()));
    let codes = Node::start().contexts(&bytes);
    for ((case, error), code) in cases.iter().zip(&codes) {
        let object = case.as_object().expect("an object");
        assert_eq!(Context::try_from(object).err().as_ref(), error.as_ref());
        let expected = match error {
            None => 0,
            Some(ContextError::TooManyAttributes) => -2,
            Some(ContextError::TooDeep) => -3,
            Some(ContextError::TooLarge) => -4,
            Some(ContextError::TargetingKeyNotText) => -5,
            Some(ContextError::Repeated(_)) => -6,
        };
        assert_eq!(*code, expected, "{error:?}");
    }
    assert_eq!(codes[cases.len()..], [-6, -1, -1, -1, -1, -1]);
}
