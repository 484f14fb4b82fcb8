//! Entries of the log, one a line, folded on top of the golden ones. A line may also be a change alone.

use std::cell::RefCell;
use std::collections::BTreeSet;

use rollout_rules::change::Entry;
use rollout_rules::context::Context;
use rollout_rules::evaluate::{Reason, evaluate};
use rollout_rules::feed::{Audience, ClientState, Frame, FrameBody};
use rollout_rules::ids::{AppKey, Digest, EnvKey, LogId};
use rollout_rules::project::{project, snapshot_frame};
use rollout_rules::snapshot::{Checkpoint, Snapshot};
use rollout_rules::time::UnixMs;
use serde_json::{Value, json};

use crate::mutate::{Chance, line};
use crate::run::{Outcome, Target};
use crate::shapes::shapes;
use crate::{reach, tree};

const ENTRIES: &str = include_str!("../../../rollout-rules/golden/entries-v1.jsonl");
const CONDITIONS: &str = include_str!("../../../rollout-rules/golden/conditions-v1.jsonl");
const FLAGS: &str = include_str!("../../../rollout-rules/golden/flags-v1.jsonl");

/// Most entries of one input.
const MAX_ENTRIES: usize = 8;
/// Most environments that are looked at after each.
const MAX_PLACES: usize = 6;

/// How many contexts of the golden vectors check every flag after each; others for each length.
const CONTEXTS: usize = 8;
/// How often the flag that has everything is in the corpus: most of what there is to reach is behind it.
const LADEN: usize = 40;
/// How many contexts check every flag always.
const FIRST: usize = 8;
/// Answers for these reasons have to come up: all that a flag can come to once nothing stops it.
const REASONS: [&str; 6] = ["rule", "rule_split", "split", "target", "exposed", "prerequisite_failed"];

/// One entry in so many goes through a stored copy, and one to a client: both compile every flag anew.
const STORED: usize = 16;
const FOLLOWED: usize = 8;

/// When a change was made that is a line of its own. No flag of the golden entries has expired by then.
const MADE_AT: &str = "2026-01-01T00:00:00.500Z";
/// What stands around it.
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

fn rows(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// Changes of what the flag depends on: every golden condition, a split for everyone, a rollout, prerequisites
/// that answer so and otherwise.
fn targetings() -> Vec<String> {
    let rule = |row: &Value| json!([{"id": "r", "when": row["test"], "serve": {"variant": "a"}}]);
    let needs = |variant: &str| json!([{"flag": "needed", "variants": [variant]}]);
    let mut found: Vec<Value> = rows(CONDITIONS).iter().map(|row| json!({ "rules": rule(row) })).collect();
    found.extend([json!({"exposure": 100}), json!({"exposure": 90, "serve": {"variant": "a"}})]);
    found.extend(["on", "off"].map(|variant| json!({ "prerequisites": needs(variant) })));
    found.into_iter().map(|more| targeting("checkout/new", more)).collect()
}

/// The golden flags with the segments that they name, as changes that bring them to life in production.
fn worlds() -> Vec<String> {
    let world = |row: Value| {
        let mut changes = Vec::new();
        for (name, scope) in [("app", json!({"app": "shop"})), ("shared", json!("shared"))] {
            for one in row["segments"][name].as_array().into_iter().flatten() {
                let key = &one["segment"]["key"];
                changes.push(json!({"kind": "segment_put", "scope": scope, "segment": one["segment"]}));
                changes.push(json!({"kind": "segment_members_changed", "scope": scope, "segment": key,
                                    "add": one["members"]}));
            }
        }
        for one in row["flags"].as_array().into_iter().flatten() {
            let mut flag = json!({"critical": false, "extensions": 0});
            flag.as_object_mut().expect("an object").extend(one["flag"].as_object().expect("a flag").clone());
            let states = json!({"production": one["state"]});
            changes.push(json!({"kind": "flag_created", "app": "shop", "flag": flag, "states": states}));
        }
        // As of the moment that the row is about: what is due by then is due.
        let now: UnixMs = serde_json::from_value(row["now"].clone()).expect("a moment");
        let envelope = ENVELOPE.replace(MADE_AT, &now.to_string());
        changes.iter().map(|change| format!("{envelope}{change}}}")).collect::<Vec<_>>().join("\n")
    };
    rows(FLAGS).into_iter().map(world).collect()
}

/// A flag with everything that one can have, and one that waits for it.
fn laden() -> String {
    let weights =
        json!([{"variant": "a", "weight": 1}, {"variant": "b", "weight": 5}, {"variant": "c", "weight": 2}]);
    let split = json!({"id": "s", "weights": weights, "control": "a", "unit": "user.team", "seed": "seed"});
    let serves =
        [json!({"split": split}), json!({"variant": "b"}), json!({"split": {"id": "t", "weights": weights}})];
    let tests = [
        json!({"all": [{"attribute": "n", "op": "num_gt", "values": [1, 2, 3]}, {"not": {"segment": "beta"}}]}),
        json!({"not": {"any": [{"attribute": "plan", "op": "in", "values": ["pro"]}, {"segment": "shared:staff"}]}}),
        json!({"any": [{"attribute": ["user", "version"], "op": "semver_gte", "values": ["1.2.3", "2.0.0-rc.1"]},
                       {"all": [{"attribute": "email", "op": "ends_with", "values": ["@example.org"], "ci": true}]}]}),
    ];
    let rules = tests.iter().zip(&serves).enumerate();
    let rules: Vec<Value> = rules
        .map(|(nth, (test, serve))| json!({"id": format!("r{nth}"), "when": test, "serve": serve}))
        .collect();
    let targeting = json!({
        "on": true, "exposure": 60, "serve": {"split": split}, "rules": rules,
        "targets": [{"variant": "a", "units": ["ann", "bob"]}, {"variant": "c", "units": ["cat", "dan"]}],
        "prerequisites": [{"flag": "needed", "variants": ["on", "off"]}],
        "schedule": [{"id": "s1", "at": "2026-01-01T00:00:00.400Z", "exposure": 50},
                     {"id": "s2", "at": "2026-01-01T12:00:00.000Z", "on": false}],
    });
    let variants =
        [("a", 1), ("b", -2), ("c", 3), ("off", 0)].map(|(key, value)| json!({"key": key, "value": value}));
    let created = |key: &str, targeting: &Value| {
        json!({
            "kind": "flag_created", "app": "shop",
            "flag": {"key": key, "type": "number", "off_variant": "off", "critical": false, "extensions": 0,
                     "variants": variants, "created_at": "2026-01-01T00:00:00.000Z"},
            "states": {"production": {"targeting": targeting, "expires_at": "2026-01-02T00:00:00.000Z",
                                      "targeting_revision": 0}},
        })
    };
    let waits = json!({"on": true, "exposure": 100, "serve": {"variant": "a"},
                       "prerequisites": [{"flag": "laden", "variants": ["a", "b", "c"]}]});
    format!("{}\n{}", created("laden", &targeting), created("waiting", &waits))
}

/// The golden entries, also a few at a time, and their changes alone; then what flags depend on, and other flags.
fn golden() -> Vec<Vec<u8>> {
    let lines: Vec<&str> = ENTRIES.lines().collect();
    let change = |line: &&str| serde_json::from_str::<Value>(line).expect("JSON")["change"].to_string();
    let changes: Vec<String> = lines.iter().map(change).collect();
    let few = changes.chunks(4).map(|lines| lines.join("\n"));
    let all = lines.iter().map(ToString::to_string).chain(changes.iter().cloned()).chain(few);
    all.chain(revival())
        .chain(targetings())
        .chain(worlds())
        .chain(vec![laden(); LADEN])
        .map(String::into_bytes)
        .collect()
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
/// a unit, so that a rollout reaches a few, and those of the golden vectors.
fn contexts() -> Vec<Context> {
    let full = json!({
        "targetingKey": "cat", "plan": "pro", "n": 1, "v": "x", "s": "1.2.3", "d": "2026-01-01T00:00:00Z",
        "ip": "10.1.2.3", "company": "tide", "a": "aba", "email": "cat@example.org",
    });
    let company = json!({"targetingKey": "dan", "company": 17});
    let ann = json!({"targetingKey": "ann", "email": "ann@example.org"});
    let nobody = json!({});
    let rows = [rows(CONDITIONS), rows(FLAGS)].concat();
    let golden = rows.iter().map(|row| &row["context"]);
    let units = ["eve", "fay", "gus", "hal"].map(|unit| json!({ "targetingKey": unit }));
    let all = [&ann, &nobody, &full, &company].into_iter().chain(&units).chain(golden);
    all.map(|context| serde_json::from_value(context.clone()).expect("a context")).collect()
}

/// The first ones, and some of the others: which ones depends on the length of what was read.
fn chosen(all: &[Context], length: usize) -> impl Iterator<Item = &Context> + Clone {
    let (first, rows) = all.split_at(FIRST);
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

/// An answer, as far as it is another one: its reason, which rule gave it, and the place of its variant.
type Kind = (&'static str, u16, usize);

/// Gives the kinds of all answers.
fn check_every_flag<'c>(
    snapshot: &Snapshot,
    (app, environment): &(AppKey, EnvKey),
    contexts: impl Iterator<Item = &'c Context> + Clone,
    now: UnixMs,
) -> BTreeSet<Kind> {
    let set = snapshot.flag_set(app, environment).expect("it is listed");
    let mut reasons = BTreeSet::new();
    for record in snapshot.app(app).expect("it is listed").flags(None) {
        let key = record.flag().key.as_str();
        for context in contexts.clone() {
            // Archived, or not in this environment: then there is nothing to answer.
            let Some(answer) = evaluate(&set, key, context, now) else { continue };
            let variants = &record.flag().variants;
            let place = variants.iter().position(|variant| variant.key == *answer.variant());
            let index = match answer.reason {
                Reason::Rule { index } | Reason::RuleSplit { index } => index,
                _ => 0,
            };
            reasons.insert((answer.reason.code(), index, place.expect("one of its variants")));
        }
    }
    reasons
}

/// Gives what comes of an entry, and what flags answer then.
fn apply(before: &Snapshot, entry: &Entry, bytes: &[u8], contexts: &[Context]) -> (Snapshot, BTreeSet<Kind>) {
    let hash: Digest = before.hash().chain(bytes);
    let after = before.apply(before.revision().next(), hash, entry);
    assert_eq!((after.revision(), after.hash()), (before.revision().next(), hash));
    if bytes.len().is_multiple_of(STORED) {
        let stored = after.to_checkpoint().encode();
        let read = Snapshot::from_checkpoint(Checkpoint::decode(&stored).expect("what was stored is read"));
        assert_eq!(read.to_checkpoint().encode(), stored, "the stored copy is the same snapshot");
    }
    let places = places(&after);
    let written: Value = serde_json::from_slice(bytes).expect("an entry is JSON");
    let reached = reach::contexts(&written["change"]);
    let contexts = chosen(contexts, bytes.len()).chain(&reached);
    let check = |place| check_every_flag(&after, place, contexts.clone(), entry.at);
    let reasons = places.iter().flat_map(check).collect();
    if bytes.len() % FOLLOWED == 1 {
        // Another one for each length.
        places.iter().cycle().skip(bytes.len() / FOLLOWED % MAX_PLACES).take(1).for_each(|place| {
            follow(before, &after, entry, place);
        });
    }
    (after, reasons)
}

/// Adds a line of another input, at the beginning or the end.
fn join(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) -> bool {
    let added = &other[line(other, chance.below(other.len() + 1))];
    *bytes = if chance.below(2) == 0 {
        [bytes, b"\n".as_slice(), added].concat()
    } else {
        [added, b"\n", bytes].concat()
    };
    true
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
                    features.extend(reasons.iter().map(|reason| format!("{kind}, then {reason:?}")));
                    seen.borrow_mut().extend(reasons.iter().map(|(code, ..)| *code));
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
    let words = tree::words(&[ENTRIES, CONDITIONS, FLAGS].concat());
    let restructure = |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| {
        // A line of the other comes before or after.
        if chance.below(8) == 0 {
            return join(bytes, other, chance);
        }
        tree::step(bytes, other, &words, chance)
    };
    let golden = golden();
    Target { name: "entry", golden, tokens: TOKENS, restructure: &restructure, inputs: 4_000, read: &read }
        .run();
    for reason in REASONS {
        assert!(seen.borrow().contains(reason), "no flag gave an answer for the reason `{reason}`");
    }
}
