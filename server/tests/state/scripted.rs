//! A log that a test plays by hand: what is written, and what is told of it, comes when the test says so and in
//! the order that it likes, as over a network. Left alone, it is a log like any other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rollout_rules::ids::{LogId, Revision};
use tidegate::log::memory::MemoryLog;
use tidegate::log::{
    Anchor, AppendError, BoxFuture, ChangeLog, CheckpointError, Expect, ReadError, StoredCheckpoint, Tail,
};
use tokio::sync::{oneshot, watch};

/// Clones are the same log.
#[derive(Clone)]
pub(crate) struct ScriptedLog {
    written: MemoryLog,
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    by_hand: AtomicBool,
    asked: Mutex<Vec<Asked>>,
    asked_count: watch::Sender<usize>,
    told_count: Arc<watch::Sender<usize>>,
}

struct Asked {
    expect: Expect,
    entry: Arc<[u8]>,
    reply: Option<oneshot::Sender<Result<Anchor, AppendError>>>,
}

impl ScriptedLog {
    pub(crate) fn new() -> ScriptedLog {
        let written = MemoryLog::new(LogId::new("test").expect("a name"));
        ScriptedLog { written, script: Arc::default() }
    }

    /// From now on, appends wait for the test.
    pub(crate) fn play_by_hand(&self) {
        self.script.by_hand.store(true, Ordering::SeqCst);
    }

    /// Waits until so many appends were asked for by hand, and gives the entry that the last one is to follow.
    pub(crate) async fn asked(&self, count: usize) -> Option<Revision> {
        let mut counts = self.script.asked_count.subscribe();
        counts.wait_for(|asked| *asked >= count).await.expect("the sender lives in `self`");
        match self.script.asked.lock().expect("no panic")[count - 1].expect {
            Expect::At(anchor) => Some(anchor.revision),
            Expect::Any => None,
        }
    }

    /// Writes what was asked for as the nth, or refuses it as a log does. The tail shows it at once.
    pub(crate) async fn write(&self, nth: usize) -> Result<Anchor, AppendError> {
        let (expect, entry) = {
            let asked = self.script.asked.lock().expect("no panic");
            (asked[nth].expect, Arc::clone(&asked[nth].entry))
        };
        self.written.append(expect, entry).await
    }

    /// Writes an entry of somebody else.
    pub(crate) async fn write_other(&self, entry: Vec<u8>) -> Anchor {
        self.written.append(Expect::Any, entry.into()).await.expect("written")
    }

    /// Tells whoever asked for the nth what became of it, and waits until the answer was taken.
    pub(crate) async fn tell(&self, nth: usize, answer: Result<Anchor, AppendError>) {
        let reply = self.script.asked.lock().expect("no panic")[nth].reply.take();
        let mut told = self.script.told_count.subscribe();
        let before = *told.borrow();
        reply.expect("each is told once").send(answer).expect("the node waits for it");
        told.wait_for(|told| *told > before).await.expect("the sender lives in `self`");
    }
}

impl ChangeLog for ScriptedLog {
    fn log_id(&self) -> &LogId {
        self.written.log_id()
    }

    fn head(&self) -> Anchor {
        self.written.head()
    }

    fn append(&self, expect: Expect, entry: Arc<[u8]>) -> BoxFuture<'static, Result<Anchor, AppendError>> {
        if !self.script.by_hand.load(Ordering::SeqCst) {
            return self.written.append(expect, entry);
        }
        let (reply, answer) = oneshot::channel();
        self.script.asked.lock().expect("no panic").push(Asked { expect, entry, reply: Some(reply) });
        self.script.asked_count.send_modify(|asked| *asked += 1);
        let told = Arc::clone(&self.script.told_count);
        Box::pin(async move {
            let answer = answer.await.unwrap_or(Err(AppendError::Unknown));
            told.send_modify(|told| *told += 1);
            answer
        })
    }

    fn tail(&self, after: Revision) -> Result<Box<dyn Tail>, ReadError> {
        self.written.tail(after)
    }

    fn load_checkpoint(&self, at_most: Revision) -> Result<Option<StoredCheckpoint>, CheckpointError> {
        self.written.load_checkpoint(at_most)
    }

    fn store_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), CheckpointError> {
        self.written.store_checkpoint(checkpoint)
    }
}
