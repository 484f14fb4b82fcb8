//! The log that all nodes share: one total order. What it accepts becomes durable at a flush, and may be
//! lost before.

use std::rc::Rc;

use rollout_rules::change::{Anchor, ENTRY_VERSION, Entry, UnknownEntry};
use rollout_rules::ids::{Digest, Revision};
use rollout_rules::snapshot::Snapshot;

/// What an append asks of the log's head.
///
/// The predecessor is named by its hash, not only by its place: a node has several appends under way, and
/// if the first loses its place to another node's entry, the second must not follow that one, which its
/// decision has not seen. (An engine that compares places alone has to let a failed append fail all that
/// the same node sent after it.)
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    At(Anchor),
    Any,
}

/// How an append came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The log ends elsewhere; nothing was written.
    Conflict { head: Revision },
    /// It may or may not be there.
    Unknown,
    /// The log cannot be written now; nothing was written.
    Unavailable,
}

/// Who waits for an acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) node: usize,
    /// The life of the node that asked; a later one does not wait.
    pub(super) life: u64,
    pub(super) ticket: u64,
}

/// An entry on its way to the log.
#[derive(Clone, Debug)]
pub(super) struct Append {
    pub(super) route: Route,
    pub(super) expect: Expect,
    pub(super) bytes: Rc<[u8]>,
    /// Which request made it. Nobody in the simulated world knows; the laws do.
    pub(super) ask: Option<usize>,
    /// Late: it may arrive after all that was sent after it.
    pub(super) stray: bool,
}

/// An acknowledgement on its way back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) route: Route,
    pub(super) result: Result<Anchor, Failure>,
}

/// One accepted entry.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) hash: Digest,
    pub(super) bytes: Rc<[u8]>,
    /// As a program reads it that knows its version.
    pub(super) entry: Rc<Entry>,
    /// Set if this program does not know it.
    pub(super) unknown: Option<UnknownEntry>,
    pub(super) ask: Option<usize>,
    route: Option<Route>,
}

/// The log.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) rows: Vec<Row>,
    /// How many rows are durable.
    pub(super) flushed: usize,
    /// Nobody reaches it.
    pub(super) away: bool,
    pub(super) to_log: Vec<Append>,
    pub(super) from_log: Vec<Ack>,
    /// The true fold after each durable row; the first is empty.
    pub(super) folds: Vec<Snapshot>,
    /// A mistake: expectations name a place and not an entry.
    pub(super) by_place_only: bool,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            rows: Vec::new(),
            flushed: 0,
            away: false,
            to_log: Vec::new(),
            from_log: Vec::new(),
            folds: vec![Snapshot::default()],
            by_place_only: false,
        }
    }
}

impl Log {
    /// The last accepted entry.
    pub(super) fn head(&self) -> Anchor {
        self.anchor_at(self.rows.len()).unwrap_or_default()
    }

    /// The entry at a position, counted from 1; 0 is the empty log.
    pub(super) fn anchor_at(&self, position: usize) -> Option<Anchor> {
        let revision = Revision(position as u64);
        let hash = match position.checked_sub(1) {
            None => Digest::default(),
            Some(index) => self.rows.get(index)?.hash,
        };
        Some(Anchor { revision, hash })
    }

    /// The true fold of all that is durable.
    pub(super) fn truth(&self) -> &Snapshot {
        self.folds.last().expect("the first fold is the empty one")
    }

    /// An append arrives.
    pub(super) fn receive(&mut self, append: Append) {
        let ack = |result| Ack { route: append.route, result };
        if self.away {
            self.from_log.push(ack(Err(Failure::Unavailable)));
            return;
        }
        let head = self.head();
        let fits = match append.expect {
            Expect::Any => true,
            Expect::At(anchor) if self.by_place_only => anchor.revision == head.revision,
            Expect::At(anchor) => anchor == head,
        };
        if fits {
            self.accept(append.bytes, append.ask, Some(append.route));
        } else {
            self.from_log.push(ack(Err(Failure::Conflict { head: head.revision })));
        }
    }

    /// Puts an entry behind the last one.
    pub(super) fn accept(&mut self, bytes: Rc<[u8]>, ask: Option<usize>, route: Option<Route>) {
        let hash = self.head().hash.chain(&bytes);
        let (entry, unknown) = match Entry::decode(&bytes) {
            Ok(entry) => (entry, None),
            Err(unknown) => (decode_newer(&bytes), Some(unknown)),
        };
        self.rows.push(Row { hash, bytes, entry: Rc::new(entry), unknown, ask, route });
    }

    /// What was accepted becomes durable, and is acknowledged.
    pub(super) fn flush(&mut self) {
        while self.flushed < self.rows.len() {
            let row = &self.rows[self.flushed];
            let revision = Revision(self.flushed as u64 + 1);
            let next = self.folds[self.flushed].apply(revision, row.hash, &row.entry);
            self.folds.push(next);
            if let Some(route) = row.route {
                self.from_log.push(Ack { route, result: Ok(Anchor { revision, hash: row.hash }) });
            }
            self.flushed += 1;
        }
    }

    /// Acknowledges what is not durable, as a log must not.
    pub(super) fn acknowledge_early(&mut self) {
        for (index, row) in self.rows.iter_mut().enumerate().skip(self.flushed) {
            if let Some(route) = row.route.take() {
                let anchor = Anchor { revision: Revision(index as u64 + 1), hash: row.hash };
                self.from_log.push(Ack { route, result: Ok(anchor) });
            }
        }
    }

    /// The power fails: what was not durable is gone, and nobody is told.
    pub(super) fn lose_power(&mut self) -> usize {
        let lost = self.rows.len() - self.flushed;
        self.rows.truncate(self.flushed);
        lost
    }
}

const OURS: &str = "{\"v\":1,";
const NEWER: &str = "{\"v\":2,";

/// The bytes that a newer program would write for an entry.
pub(super) fn encode_newer(entry: &Entry) -> Rc<[u8]> {
    let bytes = entry.encode();
    let text = String::from_utf8(bytes).expect("an entry is JSON");
    assert!(ENTRY_VERSION == 1 && text.starts_with(OURS), "the version comes first");
    text.replacen(OURS, NEWER, 1).into_bytes().into()
}

fn decode_newer(bytes: &[u8]) -> Entry {
    let text = std::str::from_utf8(bytes).expect("an entry is JSON");
    Entry::decode(text.replacen(NEWER, OURS, 1).as_bytes()).expect("only its version is unknown")
}
