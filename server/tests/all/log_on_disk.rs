//! What the log on disk makes of restarts and damage. The damage is done through sled, behind its back.

use std::path::Path;
use std::sync::Arc;

use rollout_rules::ids::Revision;
use tidegate::log::sled::{SledLog, Verified, verify};
use tidegate::log::{Anchor, ChangeLog, Expect, MAX_ENTRY_BYTES, OpenError, StoredCheckpoint};

async fn append(log: &SledLog, text: &str) -> Anchor {
    log.append(Expect::Any, text.as_bytes().into()).await.expect("appended")
}

async fn texts(log: &SledLog) -> Vec<String> {
    let mut texts = Vec::new();
    if log.head().revision > Revision::ZERO {
        let mut tail = log.tail(Revision::ZERO).expect("a tail");
        while texts.len() < usize::try_from(log.head().revision.0).expect("few") {
            let entries = tail.next().await.expect("entries");
            texts.extend(entries.iter().map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned()));
        }
    }
    texts
}

/// One that shares its row with no other.
fn alone(n: u64) -> String {
    format!("entry {n} {}", "x".repeat(3_000))
}

/// A log of ten entries, each in a row by itself; the last one is large enough to lie in several.
async fn ten_entries(directory: &Path) -> Anchor {
    let log = SledLog::open(directory).expect("opens");
    for n in 1..10 {
        append(&log, &alone(n)).await;
    }
    append(&log, &"x".repeat(10_000)).await
}

/// A log of ten small entries, in rows of four, four and two.
async fn ten_small_entries(directory: &Path) -> Anchor {
    let log = SledLog::open(directory).expect("opens");
    for n in 1..10 {
        append(&log, &small(n)).await;
    }
    append(&log, &small(10)).await
}

fn small(n: u64) -> String {
    format!("entry {n} {}", "x".repeat(440))
}

type Damage = fn(&sled::Tree);

fn damage(directory: &Path, how: impl FnOnce(&sled::Tree)) {
    let db = sled::open(directory.join("log")).expect("opens");
    how(&db.open_tree("entries").expect("the tree"));
    db.flush().expect("flushed");
}

fn flip_byte(tree: &sled::Tree, revision: u8, part: u8) {
    let key = [0, 0, 0, 0, 0, 0, 0, revision, part];
    let mut value = tree.get(key).expect("readable").expect("there").to_vec();
    *value.last_mut().expect("not empty") ^= 1;
    tree.insert(key, value).expect("written");
}

/// Changes one byte of an entry in a row of several.
fn flip_entry(tree: &sled::Tree, row: u8, entry: u8) {
    let text = format!("entry {entry} ");
    change(tree, row, |value| {
        let place = value.windows(text.len()).position(|bytes| bytes == text.as_bytes());
        value[place.expect("is in it")] ^= 1;
    });
}

fn change(tree: &sled::Tree, row: u8, how: impl FnOnce(&mut Vec<u8>)) {
    let key = [0, 0, 0, 0, 0, 0, 0, row, 0];
    let mut value = tree.get(key).expect("readable").expect("there").to_vec();
    how(&mut value);
    tree.insert(key, value).expect("written");
}

fn remove(tree: &sled::Tree, revision: u8, part: u8) {
    tree.remove([0, 0, 0, 0, 0, 0, 0, revision, part]).expect("removed").expect("was there");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_the_chain_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let head = ten_entries(directory.path()).await;
    let log = SledLog::open(directory.path()).expect("opens again");
    let id = log.log_id().clone();
    assert_eq!(log.head(), head);
    let next = append(&log, "entry 11").await;
    assert_eq!(next.hash, head.hash.chain(b"entry 11"));
    assert_eq!(texts(&log).await[10], "entry 11");
    drop(log);
    assert_eq!(verify(directory.path()).expect("whole"), Verified { head: next, torn: false });
    assert_eq!(*SledLog::open(directory.path()).expect("opens").log_id(), id, "the id stays");
}

#[tokio::test]
async fn a_torn_tail_is_dropped() {
    let tears: [Damage; 3] = [
        |tree| flip_byte(tree, 10, 2),
        |tree| remove(tree, 10, 2),
        |tree| [1, 2].into_iter().for_each(|part| remove(tree, 10, part)),
    ];
    for tear in tears {
        let directory = tempfile::tempdir().expect("a directory");
        ten_entries(directory.path()).await;
        damage(directory.path(), tear);
        assert!(verify(directory.path()).expect("all but the tail").torn);
        let log = SledLog::open(directory.path()).expect("opens");
        assert_eq!(log.head().revision, Revision(9));
        assert_eq!(append(&log, "again").await.revision, Revision(10));
        let texts = texts(&log).await;
        assert_eq!((texts.len(), texts[9].as_str()), (10, "again"));
        drop(log);
        assert!(!verify(directory.path()).expect("whole").torn);
    }
}

#[tokio::test]
async fn a_last_entry_whose_beginning_is_gone_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    ten_entries(directory.path()).await;
    damage(directory.path(), |tree| remove(tree, 10, 0));
    let refused = SledLog::open(directory.path()).err().expect("refused");
    assert!(matches!(refused, OpenError::Broken { last_good: Revision(9), .. }), "{refused}");
}

#[tokio::test]
async fn a_broken_middle_is_refused_naming_the_last_good_entry() {
    let breaks: [Damage; 3] = [
        |tree| remove(tree, 5, 0),
        |tree| flip_byte(tree, 5, 0),
        |tree| {
            remove(tree, 5, 0);
            remove(tree, 7, 0);
        },
    ];
    for damage_it in breaks {
        let directory = tempfile::tempdir().expect("a directory");
        ten_entries(directory.path()).await;
        damage(directory.path(), damage_it);
        let refused = SledLog::open(directory.path()).err().expect("refused");
        assert!(matches!(refused, OpenError::Broken { last_good: Revision(4), .. }), "{refused}");
        assert!(refused.to_string().contains("the last good entry is revision 4"), "{refused}");
        let refused = verify(directory.path()).expect_err("refused as well");
        assert!(matches!(refused, OpenError::Broken { last_good: Revision(4), .. }), "{refused}");
    }
}

#[tokio::test]
async fn small_entries_share_rows_and_each_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let head = ten_small_entries(directory.path()).await;
    let mut rows = 0;
    damage(directory.path(), |tree| rows = tree.len());
    assert_eq!(rows, 3);
    for after in 0..10 {
        let log = SledLog::open(directory.path()).expect("opens");
        assert_eq!(log.head(), head);
        let entries = log.tail(Revision(after)).expect("a tail").next().await.expect("entries");
        assert_eq!(entries[0].revision, Revision(after + 1));
        assert_eq!(&entries[0].bytes[..], small(after + 1).as_bytes());
    }
    // What comes next finds room in the last row, and what is large does not.
    let log = SledLog::open(directory.path()).expect("opens");
    // The second part of the large one looks like the beginning of a row that is shared.
    let (eleven, large, last) = (small(11), "x".repeat(4_000) + "\u{2}\u{1}", small(13));
    for text in [&eleven, &large, &last] {
        append(&log, text).await;
    }
    let texts = texts(&log).await;
    assert_eq!(texts[10..], [eleven, large, last]);
    drop(log);
    damage(directory.path(), |tree| rows = tree.len());
    assert_eq!(rows, 6);
    assert!(!verify(directory.path()).expect("whole").torn);
}

#[tokio::test]
async fn entries_that_come_at_once_lie_as_those_that_come_one_by_one() {
    let (apart, at_once) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let sizes =
        [0, 1, 1_963, 1_964, 1_965, 1_966, 1_967, 2_000, 4_000, 4_001, 9_000, 10, 10, 10, 500, 1_400, 90];
    let bytes: Vec<Arc<[u8]>> = (0..10).flat_map(|_| sizes).map(|size| vec![7; size].into()).collect();
    let log = SledLog::open(apart.path()).expect("opens");
    for bytes in &bytes {
        log.append(Expect::Any, Arc::clone(bytes)).await.expect("appended");
    }
    drop(log);
    let log = SledLog::open(at_once.path()).expect("opens");
    let appends: Vec<_> = bytes.iter().map(|bytes| log.append(Expect::Any, Arc::clone(bytes))).collect();
    for append in appends {
        append.await.expect("appended");
    }
    drop(log);
    let rows = |directory: &Path| {
        let mut rows = Vec::new();
        damage(directory, |tree| rows = tree.iter().map(|row| row.expect("is read")).collect());
        rows
    };
    assert!(rows(apart.path()) == rows(at_once.path()), "the same rows");
    let found = verify(at_once.path()).expect("whole");
    assert_eq!((found.head.revision, found.torn), (Revision(170), false));
}

#[tokio::test]
async fn a_shared_row_that_is_not_what_was_written_is_refused_and_loses_nothing() {
    let breaks: [(&str, Damage, u64); 13] = [
        ("an entry in the middle", |tree| flip_entry(tree, 5, 6), 5),
        ("an entry before the last", |tree| flip_entry(tree, 9, 9), 8),
        ("the last entry", |tree| flip_entry(tree, 9, 10), 9),
        ("a row cut short", |tree| change(tree, 5, |value| value.truncate(value.len() - 1)), 4),
        ("the last row cut short", |tree| change(tree, 9, |value| value.truncate(value.len() - 1)), 8),
        ("something behind it", |tree| change(tree, 9, |value| value.push(0)), 8),
        ("fewer entries", |tree| change(tree, 9, |value| value[1] = 1), 8),
        ("no entry", |tree| change(tree, 9, |value| value[1] = 0), 8),
        ("more entries", |tree| change(tree, 9, |value| value[1] = 3), 8),
        ("another format", |tree| change(tree, 9, |value| value[0] = 3), 8),
        ("the format of an entry by itself", |tree| change(tree, 9, |value| value[0] = 1), 8),
        ("a row that is gone", |tree| remove(tree, 5, 0), 4),
        ("the first row", |tree| remove(tree, 1, 0), 0),
    ];
    for (what, damage_it, last) in breaks {
        let directory = tempfile::tempdir().expect("a directory");
        ten_small_entries(directory.path()).await;
        damage(directory.path(), damage_it);
        let refused = SledLog::open(directory.path()).err().expect(what);
        assert!(
            matches!(refused, OpenError::Broken { last_good, .. } if last_good == Revision(last)),
            "{what}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_row_in_the_place_of_another_is_refused() {
    for (place, part) in [(6_u64, 0), (9, 1), (11, 0), (1 << 40, 0), (u64::MAX, 0)] {
        let directory = tempfile::tempdir().expect("a directory");
        ten_small_entries(directory.path()).await;
        damage(directory.path(), |tree| {
            let value = tree.remove([0, 0, 0, 0, 0, 0, 0, 9, 0]).expect("removed").expect("was there");
            tree.insert([&place.to_be_bytes()[..], &[part]].concat(), value).expect("written");
        });
        let refused = SledLog::open(directory.path()).err().expect("refused");
        assert!(matches!(refused, OpenError::Broken { last_good: Revision(8), .. }), "{place}: {refused}");
    }
}

#[tokio::test]
async fn a_log_of_before_small_entries_shared_rows_is_read_and_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(SledLog::open(directory.path()).expect("opens"));
    let large = "x".repeat(4_000 + 17);
    let mut head = Anchor::default();
    damage(directory.path(), |tree| {
        let mut put = |n: u8, parts: &[&str]| {
            head =
                Anchor { revision: head.revision.next(), hash: head.hash.chain(parts.concat().as_bytes()) };
            let first = [&[1, parts.len() as u8], &head.hash.0[..], parts[0].as_bytes()].concat();
            tree.insert([0, 0, 0, 0, 0, 0, 0, n, 0], first).expect("written");
            for (part, bytes) in (0..).zip(parts).skip(1) {
                tree.insert([0, 0, 0, 0, 0, 0, 0, n, part], bytes.as_bytes()).expect("written");
            }
        };
        put(1, &["old 1"]);
        put(2, &["old 2"]);
        put(3, &[&large[..4_000], &large[4_000..]]);
    });
    let log = SledLog::open(directory.path()).expect("opens");
    assert_eq!(log.head(), head);
    append(&log, "new 4").await;
    let last = append(&log, "new 5").await;
    let all = ["old 1", "old 2", &large, "new 4", "new 5"];
    assert_eq!(texts(&log).await, all);
    drop(log);
    assert_eq!(verify(directory.path()).expect("whole"), Verified { head: last, torn: false });
    assert_eq!(texts(&SledLog::open(directory.path()).expect("opens")).await, all);
}

#[tokio::test]
async fn a_break_before_the_newest_checkpoint_is_refused_at_start_and_by_the_check() {
    let directory = tempfile::tempdir().expect("a directory");
    let head = ten_entries(directory.path()).await;
    let log = SledLog::open(directory.path()).expect("opens");
    log.store_checkpoint(&StoredCheckpoint { anchor: head, bytes: b"fold".to_vec() }).expect("stored");
    drop(log);
    damage(directory.path(), |tree| flip_byte(tree, 5, 0));
    let refused = SledLog::open(directory.path()).err().expect("refused");
    assert!(matches!(refused, OpenError::Broken { last_good: Revision(4), .. }), "{refused}");
    let found = verify(directory.path()).expect_err("found");
    assert!(matches!(found, OpenError::Broken { last_good: Revision(4), .. }), "{found}");
}

#[tokio::test]
async fn a_checkpoint_of_another_log_gives_way_to_an_older_one_of_this_log() {
    let directory = tempfile::tempdir().expect("a directory");
    let head = ten_entries(directory.path()).await;
    let log = SledLog::open(directory.path()).expect("opens");
    let ours = Anchor { revision: Revision(1), hash: Anchor::default().hash.chain(alone(1).as_bytes()) };
    let ours = StoredCheckpoint { anchor: ours, bytes: b"fold".to_vec() };
    log.store_checkpoint(&ours).expect("stored");
    let strange = Anchor { revision: head.revision, hash: head.hash.chain(b"something else") };
    log.store_checkpoint(&StoredCheckpoint { anchor: strange, bytes: b"strange".to_vec() }).expect("stored");
    drop(log);
    let log = SledLog::open(directory.path()).expect("opens");
    let loaded = log.load_checkpoint(Revision(u64::MAX)).expect("loads").expect("one");
    assert_eq!(loaded.anchor, ours.anchor);
}

#[tokio::test]
async fn a_log_that_ends_before_its_checkpoint_has_lost_durable_entries_and_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let head = ten_entries(directory.path()).await;
    let log = SledLog::open(directory.path()).expect("opens");
    log.store_checkpoint(&StoredCheckpoint { anchor: head, bytes: b"fold".to_vec() }).expect("stored");
    drop(log);
    damage(directory.path(), |tree| (0..3).for_each(|part| remove(tree, 10, part)));
    let refused = SledLog::open(directory.path()).err().expect("refused");
    assert!(matches!(refused, OpenError::Broken { last_good: Revision(9), .. }), "{refused}");
}

#[tokio::test]
async fn an_opening_that_was_cut_short_does_not_keep_the_log_shut() {
    let directory = tempfile::tempdir().expect("a directory");
    let head = ten_entries(directory.path()).await;
    let unfinished = directory.path().join("log/snap.7FFFFFFFFFFFFFFF.generating");
    std::fs::write(&unfinished, b"the beginning of a snapsh").expect("written");
    assert_eq!(SledLog::open(directory.path()).expect("opens").head(), head);
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn the_largest_entries_never_go_to_files_that_are_not_synced() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = SledLog::open(directory.path()).expect("opens");
    let appends: Vec<_> =
        (0..200).map(|n| log.append(Expect::Any, Arc::from(vec![n as u8; MAX_ENTRY_BYTES]))).collect();
    for append in appends {
        append.await.expect("appended");
    }
    let blobs = std::fs::read_dir(directory.path().join("log/blobs")).expect("sled makes it");
    assert_eq!(blobs.count(), 0);
    let size = std::fs::metadata(directory.path().join("log/db")).expect("there").len();
    let written = 200 * MAX_ENTRY_BYTES as u64;
    assert!(size < 4 * written, "{size} bytes for {written} bytes of entries");
}
