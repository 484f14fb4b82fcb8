//! The log that tests play by hand passes the suite that every engine passes, while it is left alone.

use tidegate::log::{
    Anchor, AppendError, ChangeLog, Expect, LogEntry, MAX_ENTRY_BYTES, ReadError, StoredCheckpoint, Tail,
};

#[path = "../../src/log/conformance.rs"]
mod conformance;

#[tokio::test]
async fn a_log_played_by_hand_keeps_every_promise_while_it_is_left_alone() {
    conformance::check_every_promise(|| std::sync::Arc::new(crate::scripted::ScriptedLog::new())).await;
}
