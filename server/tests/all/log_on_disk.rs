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

/// A log of ten entries; the last one is large enough to lie in several rows.
async fn ten_entries(directory: &Path) -> Anchor {
    let log = SledLog::open(directory).expect("opens");
    for n in 1..10 {
        append(&log, &format!("entry {n}")).await;
    }
    append(&log, &"x".repeat(10_000)).await
}

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
    let tears: [fn(&sled::Tree); 3] =
        [|tree| flip_byte(tree, 10, 2), |tree| remove(tree, 10, 2), |tree| remove(tree, 10, 0)];
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
async fn a_broken_middle_is_refused_naming_the_last_good_entry() {
    let breaks: [fn(&sled::Tree); 3] = [
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
    let ours = Anchor { revision: Revision(1), hash: Anchor::default().hash.chain(b"entry 1") };
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
