//! One suite for every log: what a `ChangeLog` promises, as tests. `check_every_promise` takes a way to make a
//! fresh log.

use std::sync::Arc;

use rollout_rules::ids::{Digest, Revision};

use super::{
    Anchor, AppendError, ChangeLog, Expect, LogEntry, MAX_ENTRY_BYTES, ReadError, StoredCheckpoint, Tail,
};

type Log = Arc<dyn ChangeLog>;

fn entry(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

async fn append(log: &Log, expect: Expect, text: &str) -> Result<Anchor, AppendError> {
    log.append(expect, entry(text)).await
}

async fn take(tail: &mut dyn Tail, count: usize) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(tail.next().await.expect("the tail goes on"));
    }
    entries
}

fn texts(entries: &[LogEntry]) -> Vec<&str> {
    entries.iter().map(|entry| std::str::from_utf8(&entry.bytes).expect("text")).collect()
}

pub(crate) async fn check_every_promise(fresh: impl Fn() -> Log) {
    the_chain_begins_at_zero_and_grows_by_one(fresh()).await;
    an_append_that_expects_another_head_is_refused_and_writes_nothing(fresh()).await;
    appends_under_way_may_expect_each_other(fresh()).await;
    one_of_many_racers_wins_each_position(fresh()).await;
    a_tail_sees_the_past_and_then_the_present(fresh()).await;
    a_tail_that_is_dropped_while_waiting_loses_nothing(fresh()).await;
    a_tail_beyond_the_end_is_refused(fresh()).await;
    a_slow_tail_reads_what_is_no_longer_recent(fresh()).await;
    entries_up_to_the_limit_come_back_as_they_were(fresh()).await;
    the_newest_checkpoint_in_range_is_loaded(fresh()).await;
    a_closed_log_ends_its_tails(fresh()).await;
}

async fn the_chain_begins_at_zero_and_grows_by_one(log: Log) {
    assert_eq!(log.head(), Anchor::default());
    let first = append(&log, Expect::Any, "one").await.expect("appended");
    assert_eq!(first.revision, Revision(1));
    assert_eq!(first.hash, Digest::default().chain(b"one"));
    let second = append(&log, Expect::At(first), "two").await.expect("appended");
    assert_eq!(second, Anchor { revision: Revision(2), hash: first.hash.chain(b"two") });
    assert_eq!(log.head(), second, "an acknowledged entry is at the head");
}

async fn an_append_that_expects_another_head_is_refused_and_writes_nothing(log: Log) {
    let first = append(&log, Expect::At(Anchor::default()), "one").await.expect("appended");
    let at = |revision| Anchor { revision: Revision(revision), ..first };
    let another = Anchor { hash: Digest::default().chain(b"another"), ..first };
    for wrong in [Anchor::default(), at(2), at(99), another] {
        let refused = append(&log, Expect::At(wrong), "no").await.expect_err("refused");
        assert!(matches!(refused, AppendError::Conflict { head: Revision(1) }), "{refused:?}");
    }
    assert_eq!(log.head().revision, Revision(1));
}

async fn appends_under_way_may_expect_each_other(log: Log) {
    let mut last = Anchor::default();
    let mut pending = Vec::new();
    for n in 0..50 {
        let text = n.to_string();
        pending.push(log.append(Expect::At(last), entry(&text)));
        last = Anchor { revision: last.revision.next(), hash: last.hash.chain(text.as_bytes()) };
    }
    for (n, append) in pending.into_iter().enumerate() {
        let anchor = append.await.expect("each fits onto the one before");
        assert_eq!(anchor.revision.0, n as u64 + 1);
    }
}

async fn one_of_many_racers_wins_each_position(log: Log) {
    let racers: Vec<_> = (0..8)
        .map(|racer| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut won = 0;
                for attempt in 0..40 {
                    let text = format!("{racer} {attempt}");
                    won += u64::from(append(&log, Expect::At(log.head()), &text).await.is_ok());
                    tokio::task::yield_now().await;
                }
                won
            })
        })
        .collect();
    let mut won = 0;
    for racer in racers {
        won += racer.await.expect("no panic");
    }
    assert_eq!(log.head().revision, Revision(won), "as many entries as victories");
}

async fn a_tail_sees_the_past_and_then_the_present(log: Log) {
    for text in ["a", "b", "c"] {
        append(&log, Expect::Any, text).await.expect("appended");
    }
    let mut tail = log.tail(Revision(1)).expect("a tail");
    let past = take(&mut *tail, 2).await;
    assert_eq!(texts(&past), ["b", "c"]);
    let (_, present) = tokio::join!(append(&log, Expect::Any, "d"), take(&mut *tail, 1));
    assert_eq!(texts(&present), ["d"]);
    assert_eq!(present[0].anchor(), log.head());
    assert_eq!(present[0].hash, past[1].hash.chain(b"d"));
}

async fn a_tail_that_is_dropped_while_waiting_loses_nothing(log: Log) {
    let mut tail = log.tail(Revision(0)).expect("a tail");
    tokio::select! {
        biased;
        _ = tail.next() => panic!("the log is empty"),
        () = tokio::task::yield_now() => {}
    }
    append(&log, Expect::Any, "a").await.expect("appended");
    append(&log, Expect::Any, "b").await.expect("appended");
    assert_eq!(texts(&take(&mut *tail, 2).await), ["a", "b"]);
}

async fn a_tail_beyond_the_end_is_refused(log: Log) {
    append(&log, Expect::Any, "a").await.expect("appended");
    log.tail(Revision(1)).expect("the end itself is fine");
    let refused = log.tail(Revision(2)).err();
    assert!(matches!(refused, Some(ReadError::Ahead { head: Revision(1) })), "{refused:?}");
}

async fn a_slow_tail_reads_what_is_no_longer_recent(log: Log) {
    let mut tail = log.tail(Revision(0)).expect("a tail");
    let count = 5000;
    let mut pending = Vec::new();
    for n in 0..count {
        pending.push(log.append(Expect::Any, entry(&format!("entry {n}"))));
        if pending.len() == 1000 {
            for append in pending.drain(..) {
                append.await.expect("appended");
            }
        }
    }
    let entries = take(&mut *tail, count).await;
    let mut hash = Digest::default();
    for (n, entry) in entries.iter().enumerate() {
        assert_eq!(entry.bytes[..], *format!("entry {n}").as_bytes());
        hash = hash.chain(&entry.bytes);
        assert_eq!((entry.revision.0, entry.hash), (n as u64 + 1, hash));
    }
}

async fn entries_up_to_the_limit_come_back_as_they_were(log: Log) {
    let sizes = [0, 1, 3999, 4000, 4001, 8000, MAX_ENTRY_BYTES - 1, MAX_ENTRY_BYTES];
    let bytes = |size: usize| (0..size).map(|n| (n * 7 + size) as u8).collect::<Arc<[u8]>>();
    for size in sizes {
        log.append(Expect::Any, bytes(size)).await.expect("appended");
    }
    let refused = log.append(Expect::Any, bytes(MAX_ENTRY_BYTES + 1)).await.expect_err("too large");
    assert!(matches!(refused, AppendError::TooLarge { bytes } if bytes == MAX_ENTRY_BYTES + 1));
    let mut tail = log.tail(Revision(0)).expect("a tail");
    let entries = take(&mut *tail, sizes.len()).await;
    for (entry, size) in entries.iter().zip(sizes) {
        assert!(entry.bytes == bytes(size), "{size}");
    }
}

async fn the_newest_checkpoint_in_range_is_loaded(log: Log) {
    assert_eq!(log.load_checkpoint(Revision(u64::MAX)).expect("loads"), None);
    let checkpoint = |anchor: Anchor| StoredCheckpoint { anchor, bytes: anchor.hash.0.to_vec() };
    let first = append(&log, Expect::Any, "a").await.expect("appended");
    let second = append(&log, Expect::Any, "b").await.expect("appended");
    log.store_checkpoint(&checkpoint(first)).expect("stored");
    log.store_checkpoint(&checkpoint(second)).expect("stored");
    let newest = log.load_checkpoint(Revision(u64::MAX)).expect("loads");
    assert_eq!(newest, Some(checkpoint(second)));
    assert_eq!(log.load_checkpoint(Revision(1)).expect("loads"), Some(checkpoint(first)));
    assert_eq!(log.load_checkpoint(Revision(0)).expect("loads"), None);
}

async fn a_closed_log_ends_its_tails(log: Log) {
    let mut tail = log.tail(Revision(0)).expect("a tail");
    drop(log);
    assert!(matches!(tail.next().await, Err(ReadError::Closed)));
}
