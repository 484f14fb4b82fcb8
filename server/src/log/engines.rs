//! The engines keep what a log promises.

use std::sync::Arc;

use rollout_rules::ids::{LogId, Revision};

use super::conformance::check_every_promise;
use super::memory::{Fault, MemoryLog};
use super::sled::SledLog;
use super::{Anchor, AppendError, ChangeLog, Expect};

fn entry(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

async fn append(log: &Arc<dyn ChangeLog>, expect: Expect, text: &str) -> Result<Anchor, AppendError> {
    log.append(expect, entry(text)).await
}

#[tokio::test]
async fn the_log_in_memory_keeps_every_promise() {
    check_every_promise(|| Arc::new(MemoryLog::new(LogId::new("test").expect("a name")))).await;
}

#[tokio::test]
async fn the_log_on_disk_keeps_every_promise() {
    let directory = tempfile::tempdir().expect("a directory");
    let count = std::cell::Cell::new(0);
    check_every_promise(|| {
        count.set(count.get() + 1);
        let place = directory.path().join(count.get().to_string());
        Arc::new(SledLog::open(&place).expect("opens"))
    })
    .await;
}

#[tokio::test]
async fn the_log_in_memory_misbehaves_as_told() {
    let memory = MemoryLog::new(LogId::new("test").expect("a name"));
    let log: Arc<dyn ChangeLog> = Arc::new(memory.clone());
    memory.fail_next(Fault::LoseAcknowledgement);
    memory.fail_next(Fault::LoseEntry);
    memory.fail_next(Fault::Full);
    assert!(matches!(append(&log, Expect::Any, "a").await, Err(AppendError::Unknown)));
    assert_eq!(log.head().revision, Revision(1));
    assert!(matches!(append(&log, Expect::Any, "b").await, Err(AppendError::Unknown)));
    assert_eq!(log.head().revision, Revision(1));
    assert!(matches!(append(&log, Expect::Any, "c").await, Err(AppendError::Full)));
    memory.fail_always(Some(Fault::Unavailable));
    assert!(matches!(append(&log, Expect::Any, "d").await, Err(AppendError::Unavailable(_))));
    memory.fail_always(None);
    memory.hold();
    let head = log.head();
    let held = log.append(Expect::At(head), entry("e"));
    let next = Anchor { revision: head.revision.next(), hash: head.hash.chain(b"e") };
    let behind = log.append(Expect::At(next), entry("f"));
    assert_eq!(log.head().revision, Revision(1));
    memory.release();
    assert_eq!(held.await.expect("appended").revision, Revision(2));
    assert_eq!(behind.await.expect("appended").revision, Revision(3));
}
