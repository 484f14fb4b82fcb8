//! Every entry ever written is read for ever, to the byte. A new form gets a new line; no line changes.

use std::collections::BTreeSet;

use rollout_rules::change::{Anchor, ChangeKind, ENTRY_VERSION, Entry, UnknownEntry};
use rollout_rules::ids::{Digest, Revision};
use rollout_rules::snapshot::{Checkpoint, Snapshot};

/// One entry a line, in the order of a log that begins with the first.
const ENTRIES: &str = include_str!("../../golden/entries-v1.jsonl");
/// What the first 49 of them made, as it was stored before there were webhooks.
const CHECKPOINT_V1: &str = include_str!("../../golden/checkpoint-v1.json");
/// The chain hash after the last of them.
const CHAIN: &str = "985b752f1301e017f293a02f83536e39c7c1d4888b7f2fc4fcfdc5d7420bcfff";

#[test]
fn every_old_entry_is_read_and_written_to_the_byte() {
    for line in ENTRIES.lines() {
        let entry = Entry::decode(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(String::from_utf8(entry.encode()).expect("text"), line);
    }
}

#[test]
fn every_kind_of_change_has_a_line() {
    let kind = |line: &str| Entry::decode(line.as_bytes()).expect("an entry").change.kind();
    let seen: BTreeSet<ChangeKind> = ENTRIES.lines().map(kind).collect();
    let missing: Vec<_> = ChangeKind::ALL.iter().filter(|kind| !seen.contains(kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What the first of the entries make, as many as are asked for.
fn fold(count: usize) -> (Snapshot, Anchor) {
    let mut snapshot = Snapshot::default();
    let mut anchor = Anchor::default();
    for line in ENTRIES.lines().take(count) {
        let entry = Entry::decode(line.as_bytes()).expect("an entry");
        assert_eq!(entry.anchor, anchor, "each line is anchored in the one before");
        let hash = anchor.hash.chain(line.as_bytes());
        anchor = Anchor { revision: anchor.revision.next(), hash };
        snapshot = snapshot.apply(anchor.revision, hash, &entry);
    }
    (snapshot, anchor)
}

/// The picture changes only when the fold learns to keep more; then it is drawn anew, knowingly, and the format
/// of checkpoints is raised.
#[test]
fn old_entries_fold_to_what_they_folded_to() {
    let (snapshot, anchor) = fold(usize::MAX);
    assert_eq!(anchor.hash, CHAIN.parse::<Digest>().expect("a digest"));
    assert_eq!(snapshot.revision(), Revision(ENTRIES.lines().count() as u64));
    let stored: serde_json::Value = serde_json::from_slice(&snapshot.to_checkpoint().encode()).expect("json");
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../../golden/entries-v1.folded.json")).expect("json");
    assert_eq!(stored, golden);
}

#[test]
fn a_checkpoint_of_a_former_format_is_what_its_entries_make() {
    let stored = Checkpoint::decode(CHECKPOINT_V1.as_bytes()).expect("it is read");
    let (folded, anchor) = fold(49);
    assert_eq!((stored.revision(), stored.hash()), (anchor.revision, anchor.hash));
    let text = |snapshot: &Snapshot| String::from_utf8(snapshot.to_checkpoint().encode()).expect("text");
    assert_eq!(text(&Snapshot::from_checkpoint(stored)), text(&folded));
}

#[test]
fn a_newer_entry_and_an_unknown_kind_are_never_skipped() {
    let line = ENTRIES.lines().next().expect("a line");
    let newer = line.replacen(r#""v":1"#, r#""v":2,"from":"the future""#, 1);
    let unknown = line.replacen(r#""kind":"token_created""#, r#""kind":"token_painted""#, 1);
    assert_eq!(Entry::decode(newer.as_bytes()), Err(UnknownEntry::Version { found: ENTRY_VERSION + 1 }));
    assert!(matches!(Entry::decode(unknown.as_bytes()), Err(UnknownEntry::Malformed { .. })));
    let both = newer.replacen(r#""kind":"token_created""#, r#""kind":"token_painted""#, 1);
    assert_eq!(Entry::decode(both.as_bytes()), Err(UnknownEntry::Version { found: ENTRY_VERSION + 1 }));
    assert!(matches!(Entry::decode(b"{}"), Err(UnknownEntry::Malformed { .. })));
    // What is added to a version may be read by older code of that version: fields it does not know.
    let more = line.replacen(r#""v":1"#, r#""v":1,"mood":"calm""#, 1);
    assert!(Entry::decode(more.as_bytes()).is_ok());
}
