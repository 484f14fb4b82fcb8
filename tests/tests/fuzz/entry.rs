//! Entries of the log, one a line, folded on top of the golden ones. A line may also be a change alone.

use std::cell::RefCell;
use std::collections::BTreeSet;

use rollout_rules::change::Entry;
use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::feed::{Audience, ClientState, Frame, FrameBody};
use rollout_rules::ids::{AppKey, Digest, EnvKey, LogId};
use rollout_rules::project::{project, snapshot_frame};
use rollout_rules::snapshot::{Checkpoint, Snapshot};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

use crate::run::{Outcome, Target};

const ENTRIES: &str = include_str!("../../../rollout-rules/golden/entries-v1.jsonl");
const CONDITIONS: &str = include_str!("../../../rollout-rules/golden/conditions-v1.jsonl");

/// Most entries of one input.
const MAX_ENTRIES: usize = 8;
/// Most environments that are looked at after each.
const MAX_PLACES: usize = 6;

/// How many contexts of the golden conditions check every flag after each; others for each length.
const CONTEXTS: usize = 12;
/// Answers for these reasons have to come up: all that a flag can come to once nothing stops it.
const REASONS: [&str; 6] = ["rule", "rule_split", "split", "target", "exposed", "prerequisite_failed"];

/// One entry in so many goes through a stored copy, and one to a client: both compile every flag anew.
const STORED: usize = 16;
const FOLLOWED: usize = 8;

/// What stands around a change that is a line of its own. No flag of the golden entries has expired by then.
const ENVELOPE: &str = r#"{"v":1,"at":"2026-01-01T00:00:00.500Z","actor":{"type":"tidegate"},"anchor":{"revision":0,"hash":"0000000000000000000000000000000000000000000000000000000000000000"},"change":"#;

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

/// A flag's targeting in production, as a change. What `more` has goes on top of a split.
fn targeting(flag: &str, more: Value) -> String {
    let weights = json!([{"variant": "a", "weight": 1}, {"variant": "b", "weight": 3}]);
    let serve = json!({"split": {"id": "exp-1", "weights": weights, "control": "b"}});
    let mut targeting = json!({"on": true, "exposure": 50, "serve": serve});
    let fields = targeting.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("fields").clone());
    let place =
        json!({"kind": "targeting_changed", "app": "shop", "flag": flag, "environment": "production"});
    let mut change = place.as_object().expect("an object").clone();
    change.insert("targeting".to_owned(), targeting);
    change.insert("release_hold".to_owned(), true.into());
    Value::Object(change).to_string()
}

/// What brings the flags to life that the golden entries leave killed and archived.
fn revival() -> Vec<String> {
    let needed = json!({
        "kind": "flag_created", "app": "shop",
        "flag": {"key": "needed", "type": "boolean", "off_variant": "off", "critical": false, "extensions": 0,
                 "variants": [{"key": "on", "value": true}, {"key": "off", "value": false}],
                 "created_at": "2026-01-01T00:00:00.000Z"},
        "states": {"production": {"targeting": {"on": false, "exposure": 100, "serve": {"variant": "on"}},
                                  "expires_at": "2026-01-02T00:00:00.000Z", "targeting_revision": 0}},
    });
    let split =
        json!({"id": "exp-2", "weights": [{"variant": "a", "weight": 1}], "control": "a", "unit": "company"});
    let rules = json!([
        {"id": "r1", "when": {"attribute": "plan", "op": "in", "values": ["pro"]}, "serve": {"variant": "a"}},
        {"id": "r2", "when": {"attribute": "company", "op": "exists"}, "serve": {"split": split}},
    ]);
    let targets = json!([{"variant": "a", "units": ["ann"]}]);
    vec![
        json!({"kind": "revived", "reach": {"flag": {"app": "shop", "flag": "checkout/new"}}}).to_string(),
        needed.to_string(),
        targeting("needed", json!({"exposure": 100, "serve": {"variant": "on"}})),
        targeting("checkout/new", json!({"rules": rules, "targets": targets})),
    ]
}

fn conditions() -> Vec<Value> {
    CONDITIONS.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// Changes of what the flag depends on: every golden condition, a split for everyone, a rollout, prerequisites
/// that answer so and otherwise.
fn targetings() -> Vec<String> {
    let rule = |row: &Value| json!([{"id": "r", "when": row["test"], "serve": {"variant": "a"}}]);
    let needs = |variant: &str| json!([{"flag": "needed", "variants": [variant]}]);
    let mut found: Vec<Value> = conditions().iter().map(|row| json!({ "rules": rule(row) })).collect();
    found.extend([json!({"exposure": 100}), json!({"exposure": 90, "serve": {"variant": "a"}})]);
    found.extend(["on", "off"].map(|variant| json!({ "prerequisites": needs(variant) })));
    found.into_iter().map(|more| targeting("checkout/new", more)).collect()
}

/// The golden entries, also a few at a time, and their changes alone; then what flags depend on.
fn golden() -> Vec<Vec<u8>> {
    let lines: Vec<&str> = ENTRIES.lines().collect();
    let change = |line: &&str| serde_json::from_str::<Value>(line).expect("JSON")["change"].to_string();
    let changes: Vec<String> = lines.iter().map(change).collect();
    let few = changes.chunks(4).map(|lines| lines.join("\n"));
    let all = lines.iter().map(ToString::to_string).chain(changes.iter().cloned()).chain(few);
    all.chain(revival()).chain(targetings()).map(String::into_bytes).collect()
}

/// The state after the golden entries, with flags that answer.
fn folded() -> Snapshot {
    let revival = revival().into_iter().map(|change| enveloped(change.as_bytes()));
    let lines = ENTRIES.lines().map(|line| line.as_bytes().to_vec()).chain(revival);
    lines.fold(Snapshot::default(), |snapshot, line| {
        let entry = Entry::decode(&line).expect("an entry");
        snapshot.apply(snapshot.revision().next(), snapshot.hash().chain(&line), &entry)
    })
}

/// Who checks flags: one who is on a list, nobody, one with all that conditions ask about, some who have only
/// a unit, so that a rollout reaches a few, and those of the golden conditions.
fn contexts() -> Vec<Context> {
    let full = json!({
        "targetingKey": "cat", "plan": "pro", "n": 1, "v": "x", "s": "1.2.3", "d": "2026-01-01T00:00:00Z",
        "ip": "10.1.2.3", "company": "tide", "a": "aba", "email": "cat@example.org",
    });
    let company = json!({"targetingKey": "dan", "company": "tide"});
    let ann = json!({"targetingKey": "ann", "email": "ann@example.org"});
    let nobody = json!({});
    let rows = conditions();
    let golden = rows.iter().map(|row| &row["context"]);
    let units = ["eve", "fay", "gus", "hal"].map(|unit| json!({ "targetingKey": unit }));
    let all = [&ann, &nobody, &full, &company].into_iter().chain(&units).chain(golden);
    all.map(|context| serde_json::from_value(context.clone()).expect("a context")).collect()
}

/// The first ones, and some of the others: which ones depends on the length of what was read.
fn chosen(all: &[Context], length: usize) -> impl Iterator<Item = &Context> + Clone {
    let (first, rows) = all.split_at(all.len() - CONDITIONS.lines().count());
    first.iter().chain(rows.iter().cycle().skip(length % rows.len()).take(CONTEXTS))
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

/// Gives the reasons of all answers.
fn check_every_flag<'c>(
    snapshot: &Snapshot,
    (app, environment): &(AppKey, EnvKey),
    contexts: impl Iterator<Item = &'c Context> + Clone,
    now: UnixMs,
) -> BTreeSet<&'static str> {
    let set = snapshot.flag_set(app, environment).expect("it is listed");
    let mut reasons = BTreeSet::new();
    for record in snapshot.app(app).expect("it is listed").flags(None) {
        let key = record.flag().key.as_str();
        for context in contexts.clone() {
            // Archived, or not in this environment: then there is nothing to answer.
            let Some(answer) = evaluate(&set, key, context, now) else { continue };
            let variants = &record.flag().variants;
            assert!(variants.iter().any(|variant| variant.key == *answer.variant()), "`{key}` answers");
            reasons.insert(answer.reason.code());
        }
    }
    reasons
}

/// Gives what comes of an entry, and the reasons that flags have then.
fn apply(
    before: &Snapshot,
    entry: &Entry,
    bytes: &[u8],
    contexts: &[Context],
) -> (Snapshot, BTreeSet<&'static str>) {
    let hash: Digest = before.hash().chain(bytes);
    let after = before.apply(before.revision().next(), hash, entry);
    assert_eq!((after.revision(), after.hash()), (before.revision().next(), hash));
    if bytes.len().is_multiple_of(STORED) {
        let stored = after.to_checkpoint().encode();
        let read = Snapshot::from_checkpoint(Checkpoint::decode(&stored).expect("what was stored is read"));
        assert_eq!(read.to_checkpoint().encode(), stored, "the stored copy is the same snapshot");
    }
    let places = places(&after);
    let check = |place| check_every_flag(&after, place, chosen(contexts, bytes.len()), entry.at);
    let reasons = places.iter().flat_map(check).collect();
    if bytes.len() % FOLLOWED == 1 {
        // Another one for each length.
        places.iter().cycle().skip(bytes.len() / FOLLOWED % MAX_PLACES).take(1).for_each(|place| {
            follow(before, &after, entry, place);
        });
    }
    (after, reasons)
}

/// The paths of what is in a change, each with what kind of value is there. Names that are made up, and what
/// is in values that nobody looks into, make no difference.
fn shapes(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let ends = |names: &[&str]| names.iter().any(|name| path.ends_with(name));
    let tag = match value {
        Value::Object(fields) => {
            let of_any_name = ends(&[".states", ".expires_at"]);
            for (name, field) in fields.iter().filter(|_| !ends(&[".value", ".payload"])) {
                let name = if of_any_name { "*" } else { name.as_str() };
                shapes(field, &format!("{path}.{name}"), found);
            }
            "object".to_owned()
        }
        Value::Array(items) => {
            items.iter().for_each(|item| shapes(item, &format!("{path}[]"), found));
            format!("list of {}", items.len().min(2))
        }
        Value::String(text) if text.is_empty() || ends(&[".kind", ".op", ".do"]) => format!("`{text}`"),
        Value::String(_) => "text".to_owned(),
        Value::Number(number) => format!("number of {}", number.to_string().len().min(20)),
        Value::Bool(_) | Value::Null => value.to_string(),
    };
    found.insert(format!("{path} {tag}"));
}

#[test]
fn whatever_is_in_the_log_is_an_entry_to_the_byte_and_applies_or_is_refused() {
    let (start, contexts) = (folded(), contexts());
    let seen = RefCell::new(BTreeSet::new());
    let read = |bytes: &[u8]| {
        let mut snapshot = start.clone();
        let (mut features, mut why) = (BTreeSet::new(), String::new());
        for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).take(MAX_ENTRIES) {
            let whole = if line.starts_with(b"{\"v\"") { line.to_vec() } else { enveloped(line) };
            match Entry::decode(&whole) {
                Ok(entry) => {
                    let written = entry.encode();
                    let again = Entry::decode(&written).expect("what was written is read");
                    assert_eq!(again, entry);
                    assert_eq!(again.encode(), written);
                    let (after, reasons) = apply(&snapshot, &entry, &written, &contexts);
                    snapshot = after;
                    let kind = entry.change.kind().as_str();
                    let written: Value = serde_json::from_slice(&written).expect("an entry is JSON");
                    shapes(&written["change"], kind, &mut features);
                    features.extend(reasons.iter().map(|reason| format!("{kind}, then {reason}")));
                    seen.borrow_mut().extend(reasons);
                }
                Err(error) => why = error.to_string(),
            }
        }
        if features.is_empty() {
            Outcome::Refused(why)
        } else {
            Outcome::Taken(features.into_iter().collect())
        }
    };
    Target { name: "entry", golden: golden(), tokens: TOKENS, inputs: 5_000, read: &read }.run();
    for reason in REASONS {
        assert!(seen.borrow().contains(reason), "no flag gave an answer for the reason `{reason}`");
    }
}
