//! Entries of the log, one a line, folded on top of the golden ones. A line may also be a change alone.

use rollout_rules::change::Entry;
use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::feed::{Audience, ClientState, Frame, FrameBody};
use rollout_rules::ids::{AppKey, Digest, EnvKey, LogId};
use rollout_rules::project::{project, snapshot_frame};
use rollout_rules::snapshot::{Checkpoint, Snapshot};

use crate::run::{Outcome, Target};

const ENTRIES: &str = include_str!("../../../rollout-rules/golden/entries-v1.jsonl");

/// Most entries of one input.
const MAX_ENTRIES: usize = 8;
/// Most environments that are looked at after each.
const MAX_PLACES: usize = 6;

/// One entry in so many goes through a stored copy, and one to a client: both compile every flag anew.
const STORED: usize = 16;
const FOLLOWED: usize = 8;

/// What stands around a change that is a line of its own.
const ENVELOPE: &str = r#"{"v":1,"at":"2026-02-01T00:00:00.000Z","actor":{"type":"tidegate"},"anchor":{"revision":0,"hash":"0000000000000000000000000000000000000000000000000000000000000000"},"change":"#;

const TOKENS: &[&str] = &[
    "\"kind\":\"killed\"",
    "\"kind\":\"flag_archived\"",
    "\"reach\":\"everything\"",
    "\"environment\":\"sandbox\"",
    "\"replaces\":[\"sandbox\"]",
    "\"v\":2,",
    "\"weights\":[]",
    "\"variants\":[]",
    "\"rules\":[]",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\"2026-01-01T00:00:00.000Z\"",
    "\"9999-12-31T23:59:59.999Z\"",
    "\\u0000",
];

fn enveloped(change: &[u8]) -> Vec<u8> {
    [ENVELOPE.as_bytes(), change, b"}"].concat()
}

/// The golden entries, also a few at a time, and their changes alone.
fn golden() -> Vec<Vec<u8>> {
    let lines: Vec<&str> = ENTRIES.lines().collect();
    let change =
        |line: &&str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["change"].to_string();
    let changes: Vec<String> = lines.iter().map(change).collect();
    let few = changes.chunks(4).map(|lines| lines.join("\n"));
    let all = lines.iter().map(ToString::to_string).chain(changes.iter().cloned()).chain(few);
    all.map(String::into_bytes).collect()
}

/// The state after the golden entries.
fn folded() -> Snapshot {
    ENTRIES.lines().fold(Snapshot::default(), |snapshot, line| {
        let entry = Entry::decode(line.as_bytes()).expect("a golden entry");
        snapshot.apply(snapshot.revision().next(), snapshot.hash().chain(line.as_bytes()), &entry)
    })
}

fn places(snapshot: &Snapshot) -> Vec<(AppKey, EnvKey)> {
    let all = snapshot.apps(None).flat_map(|app| {
        app.environments().map(|record| (app.info().key.clone(), record.environment().key.clone()))
    });
    all.take(MAX_PLACES).collect()
}

/// What a client holds that begins now; `None` if it refuses to.
fn client(snapshot: &Snapshot, log: &LogId, audience: &Audience) -> Option<ClientState> {
    let frame = snapshot_frame(snapshot, log, audience)?;
    ClientState::fold(None, &through_json(&frame)).ok().map(|(state, _)| state)
}

fn through_json(frame: &Frame) -> Frame {
    let read = Frame::decode(&frame.encode().expect("a small frame")).expect("what was written is read");
    assert_eq!(read, *frame);
    read
}

fn body(state: &ClientState) -> FrameBody {
    state.to_frame().body
}

/// A client that follows comes to hold what one holds that begins afterwards.
fn follow(before: &Snapshot, after: &Snapshot, entry: &Entry, (app, environment): &(AppKey, EnvKey)) {
    let log = LogId::new("log").expect("a name");
    let audience = Audience::Server { app: app.clone(), environment: environment.clone() };
    let Some(old) = client(before, &log, &audience) else { return };
    // What nobody could have begun with, nobody has to follow to.
    let Some(new) = client(after, &log, &audience) else { return };
    match project(before, after, &log, entry, &audience) {
        None => assert_eq!(body(&old), body(&new), "an entry that is said to mean nothing"),
        Some(frame) => {
            let folded = ClientState::fold(Some(&old), &through_json(&frame));
            assert_eq!(body(&folded.expect("it can be followed").0), body(&new));
        }
    }
}

fn check_every_flag(snapshot: &Snapshot, entry: &Entry, (app, environment): &(AppKey, EnvKey)) {
    let set = snapshot.flag_set(app, environment).expect("it is listed");
    for record in snapshot.app(app).expect("it is listed").flags(None) {
        let key = record.flag().key.as_str();
        for context in [Context::new("ann").with("email", "ann@example.org"), Context::anonymous()] {
            // Archived, or not in this environment: then there is nothing to answer.
            let Some(answer) = evaluate(&set, key, &context, entry.at) else { continue };
            let variants = &record.flag().variants;
            assert!(variants.iter().any(|variant| variant.key == *answer.variant()), "`{key}` answers");
        }
    }
}

fn apply(before: &Snapshot, entry: &Entry, bytes: &[u8]) -> Snapshot {
    let hash: Digest = before.hash().chain(bytes);
    let after = before.apply(before.revision().next(), hash, entry);
    assert_eq!((after.revision(), after.hash()), (before.revision().next(), hash));
    if bytes.len().is_multiple_of(STORED) {
        let stored = after.to_checkpoint().encode();
        let read = Snapshot::from_checkpoint(Checkpoint::decode(&stored).expect("what was stored is read"));
        assert_eq!(read.to_checkpoint().encode(), stored, "the stored copy is the same snapshot");
    }
    let places = places(&after);
    places.iter().for_each(|place| check_every_flag(&after, entry, place));
    if bytes.len() % FOLLOWED == 1 {
        // Another one for each length.
        places.iter().cycle().skip(bytes.len() / FOLLOWED % MAX_PLACES).take(1).for_each(|place| {
            follow(before, &after, entry, place);
        });
    }
    after
}

#[test]
fn whatever_is_in_the_log_is_an_entry_to_the_byte_and_applies_or_is_refused() {
    let start = folded();
    let read = |bytes: &[u8]| {
        let mut snapshot = start.clone();
        let (mut kinds, mut why) = (Vec::new(), String::new());
        for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).take(MAX_ENTRIES) {
            let whole = if line.starts_with(b"{\"v\"") { line.to_vec() } else { enveloped(line) };
            match Entry::decode(&whole) {
                Ok(entry) => {
                    let written = entry.encode();
                    let again = Entry::decode(&written).expect("what was written is read");
                    assert_eq!(again, entry);
                    assert_eq!(again.encode(), written);
                    snapshot = apply(&snapshot, &entry, &written);
                    kinds.push(format!("{:?}", entry.change.kind()));
                }
                Err(error) => why = error.to_string(),
            }
        }
        if kinds.is_empty() { Outcome::Refused(why) } else { Outcome::Taken(vec![kinds.concat()]) }
    };
    Target { name: "entry", golden: golden(), tokens: TOKENS, inputs: 5_000, read: &read }.run();
}
