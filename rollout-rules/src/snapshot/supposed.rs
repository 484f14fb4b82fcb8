//! What would be, if something were changed: for whoever wants to know before they change it.

use alloc::string::String;

use super::Snapshot;
use crate::change::{Anchor, Change, ENTRY_VERSION, Entry};
use crate::governance::Actor;
use crate::time::UnixMs;

impl Snapshot {
    /// This snapshot, as it would be after a change that nobody decides. It is in no log: its revision and hash name nothing.
    pub fn supposing(&self, change: Change, now: UnixMs) -> Snapshot {
        let entry = Entry {
            version: ENTRY_VERSION,
            at: now,
            actor: Actor::Tidegate,
            token: None,
            reason: String::new(),
            anchor: Anchor { revision: self.revision, hash: self.hash },
            idempotency_key: None,
            request: None,
            proposal: None,
            plan: None,
            change,
        };
        self.apply(self.revision.next(), self.hash, &entry)
    }
}
