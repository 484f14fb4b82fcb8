//! From durable entries to what is published. What this node decided itself was folded in speculation and
//! is only published now; what others appended is decoded and folded here.

use std::sync::Arc;

use rollout_rules::change::{Change, Entry, UnknownEntry};
use rollout_rules::snapshot::Snapshot;

use super::command::Applied;
use super::node::{Answer, Node};
use super::published::{Event, Published, Readiness};
use crate::log::LogEntry;

impl Node {
    /// Folds entries in and publishes them. `false`: one of them is unknown, and following ends there.
    pub(super) fn on_entries(&mut self, entries: Vec<LogEntry>) -> bool {
        let mut answers = Vec::new();
        let mut events = Vec::with_capacity(entries.len());
        let mut unknown = None;
        for stored in entries {
            let before = Arc::clone(&self.folded);
            let entry = match self.fold(&stored, &mut answers) {
                Ok(entry) => entry,
                Err(error) => {
                    unknown = Some((stored.revision, error));
                    break;
                }
            };
            if let Change::Killed { kill_id, .. } = &entry.change {
                self.settle_kill(kill_id, stored.revision, &mut answers);
            }
            let published = Arc::new(Published::new(Arc::clone(&self.folded), self.kills.overlays()));
            let (revision, hash) = (stored.revision, stored.hash);
            events.push((Arc::clone(&published), Event::Entry { revision, hash, entry, before, published }));
        }
        if let Some((published, _)) = events.last() {
            self.live.publish(Arc::clone(published));
        }
        for (_, event) in events {
            self.live.tell(event);
        }
        self.answer(answers);
        self.mend();
        self.check_ready();
        if let Some((revision, error)) = unknown {
            tracing::error!(%revision, %error, "the log holds an entry that this program does not know");
            self.live.set_readiness(Readiness::UnknownEntry { revision, problem: error.to_string() });
            self.refuse_all();
            return false;
        }
        self.checkpoints.consider(&self.folded, self.clock.now());
        true
    }

    fn fold(&mut self, stored: &LogEntry, answers: &mut Vec<Answer>) -> Result<Arc<Entry>, UnknownEntry> {
        let anchor = stored.anchor();
        let entry = match self.pipeline.take(anchor) {
            Some(speculated) => {
                self.folded = Arc::clone(&speculated.snapshot);
                let entry = Arc::clone(&speculated.entry);
                answers.extend(speculated.answers());
                entry
            }
            None => {
                let entry = Arc::new(Entry::decode(&stored.bytes)?);
                let folded: Snapshot = self.folded.apply(stored.revision, stored.hash, &entry);
                self.folded = Arc::new(folded);
                entry
            }
        };
        self.resolve_doubts(anchor, answers);
        Ok(entry)
    }

    /// Sends answers, with what is published now.
    pub(super) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        for Answer { reply, outcome } in answers {
            let applied = outcome.map(|done| Applied {
                revision: done.revision,
                already: done.already,
                durable: done.durable,
                journaled: done.journaled,
                published: self.live.load_full(),
            });
            // Whoever asked may have gone.
            let _ = reply.send(applied);
        }
    }
}
