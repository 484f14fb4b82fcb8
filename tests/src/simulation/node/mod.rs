//! One server: it follows the log, decides commands, takes kills, and does its chores. What is durable
//! survives its end; everything else is lost with it.

mod chores;
mod commit;
mod guards;
mod jobs;
mod kills;

use std::collections::BTreeMap;
use std::rc::Rc;

use rollout_rules::change::{Anchor, Change, Command, Entry};
use rollout_rules::ids::{KillId, Revision};
use rollout_rules::snapshot::{Checkpoint, Snapshot};
use rollout_rules::time::UnixMs;

use self::chores::Chores;
use self::commit::{Pipeline, Task};
pub(in crate::simulation) use self::guards::served;
use self::guards::{Guards, without_acts};
use self::jobs::Jobs;
use self::kills::{Kept, Waiting};
use super::history::Answer;
use super::log::{Ack, Append, Expect, Route, Row};
use super::mutation::Mutation;
use super::outside::Outside;

/// A server.
pub(super) struct Node {
    pub(super) index: usize,
    pub(super) up: bool,
    /// How far its clock is ahead of the true time.
    pub(super) ahead_ms: i64,
    /// Whether it runs the newer program, which knows all entries.
    pub(super) newer: bool,
    /// It met an entry that it does not know.
    pub(super) stuck: bool,
    pub(super) folded: Snapshot,
    /// The row that it reads next.
    next_row: usize,
    ready_at: usize,
    /// How often it was started.
    life: u64,
    tickets: u64,
    pipeline: Pipeline,
    /// Kills that it has taken and not seen in the log.
    waiting: BTreeMap<KillId, Waiting>,
    /// On its disk.
    journal: BTreeMap<KillId, Kept>,
    chores: Chores,
    guards: Guards,
    jobs: Jobs,
}

impl Node {
    pub(super) fn new(index: usize) -> Node {
        Node {
            index,
            up: true,
            ahead_ms: 0,
            newer: false,
            stuck: false,
            folded: Snapshot::default(),
            next_row: 0,
            ready_at: 0,
            life: 0,
            tickets: 0,
            pipeline: Pipeline::default(),
            waiting: BTreeMap::new(),
            journal: BTreeMap::new(),
            chores: Chores::default(),
            guards: Guards::default(),
            jobs: Jobs::default(),
        }
    }

    /// The time by its own clock.
    pub(super) fn clock(&self, now: UnixMs) -> UnixMs {
        UnixMs(now.0.saturating_add_signed(self.ahead_ms))
    }

    /// Whether it has folded what there was when it started.
    pub(super) fn is_ready(&self) -> bool {
        self.up && !self.stuck && self.next_row >= self.ready_at
    }

    /// What it serves: the fold, with the kills that the log has not taken yet.
    pub(super) fn published(&self, outside: &Outside) -> Snapshot {
        let overlaid = self.waiting.values().filter(|kill| kill.is_overlaid());
        if outside.errs(Mutation::NoOverlay) {
            return self.folded.clone();
        }
        overlaid.fold(self.folded.clone(), |snapshot, kill| {
            snapshot.apply(snapshot.revision(), snapshot.hash(), kill.entry())
        })
    }

    /// Takes a request. A node that is not ready takes kills alone.
    pub(super) fn submit(&mut self, ask: usize, outside: &mut Outside) {
        outside.history.asks[ask].node = Some(self.index);
        let request = outside.history.asks[ask].request.clone();
        let is_kill = matches!(request.command, Command::Kill { .. });
        if !self.is_ready() && !is_kill {
            outside.answer(ask, Answer::Unavailable);
            return;
        }
        let task = Task { ask, request, attempts: 0 };
        if is_kill { self.pipeline.queue.push_front(task) } else { self.pipeline.queue.push_back(task) }
    }

    /// Does some of what is to be done.
    pub(super) fn work(&mut self, outside: &mut Outside) {
        if !self.up {
            return;
        }
        let rows = outside.dice.below(6);
        self.follow(rows, outside);
        self.give_up_waiting(outside);
        self.mend(outside);
        let commands = 1 + outside.dice.below(4);
        self.decide_waiting(commands, outside);
        self.tend_kills(outside);
        if self.is_ready() {
            self.do_chores(outside);
        }
    }

    /// Folds up to so many rows.
    pub(super) fn follow(&mut self, rows: usize, outside: &mut Outside) {
        for _ in 0..rows {
            let published_early = outside.errs(Mutation::PublishBeforeDurable);
            let end = if published_early { outside.log.rows.len() } else { outside.log.flushed };
            if outside.log.away || self.stuck || self.next_row >= end {
                return;
            }
            let row = outside.log.rows[self.next_row].clone();
            if outside.errs(Mutation::SkipEntry) && outside.dice.chance(3) {
                self.next_row += 1;
                continue;
            }
            if row.unknown.is_some() && !self.newer {
                outside.history.count("unknown entries met");
                if outside.errs(Mutation::SkipUnknownEntry) {
                    self.next_row += 1;
                    continue;
                }
                outside.note(|| format!("node {} does not know entry {}", self.index, self.next_row + 1));
                self.stuck = true;
                self.refuse_all(outside);
                return;
            }
            self.fold(&row, outside);
        }
    }

    fn fold(&mut self, row: &Row, outside: &mut Outside) {
        self.next_row += 1;
        let anchor = Anchor { revision: Revision(self.next_row as u64), hash: row.hash };
        let speculated = self.pipeline.take(anchor, outside.errs(Mutation::LoseTrack));
        self.folded = match &speculated {
            Some(under_way) => under_way.snapshot.clone(),
            None => self.folded.apply(anchor.revision, anchor.hash, &row.entry),
        };
        if let Some(under_way) = speculated {
            under_way.tell(outside);
        }
        self.resolve_doubts(anchor, outside);
        if let Change::Killed { kill_id, .. } = &row.entry.change {
            self.settle_kill(kill_id, anchor.revision, outside);
        }
    }

    /// An acknowledgement arrives.
    pub(super) fn hear(&mut self, ack: Ack, outside: &mut Outside) {
        if self.up && ack.route.life == self.life {
            self.hear_of_kill(ack, outside);
            self.hear_of_append(ack, outside);
        }
    }

    /// Sends an entry to the log; answers with the ticket of the acknowledgement.
    fn send(&mut self, expect: Expect, bytes: Rc<[u8]>, ask: Option<usize>, outside: &mut Outside) -> u64 {
        self.tickets += 1;
        let route = Route { node: self.index, life: self.life, ticket: self.tickets };
        outside.log.to_log.push(Append { route, expect, bytes, ask, stray: false });
        self.tickets
    }

    /// Stores what it has folded.
    pub(super) fn store_checkpoint(&self, outside: &mut Outside) {
        if self.is_ready() {
            let bytes = self.folded.to_checkpoint().encode();
            outside.checkpoints.push((self.folded.revision(), bytes));
            outside.history.count("checkpoints stored");
        }
    }

    /// It stops without a word.
    pub(super) fn crash(&mut self, outside: &mut Outside) {
        outside.note(|| format!("node {} crashes at revision {}", self.index, self.folded.revision()));
        self.up = false;
        self.pipeline = Pipeline::default();
        self.waiting.clear();
        self.chores = Chores::default();
        self.guards.clear();
        self.jobs.clear();
    }

    /// It starts, from a checkpoint if there is one, and from its journal.
    pub(super) fn start(&mut self, outside: &mut Outside) {
        self.up = true;
        self.life += 1;
        self.stuck = false;
        self.folded = match choose_checkpoint(outside) {
            Some(bytes) if outside.errs(Mutation::CheckpointWithoutActs) => without_acts(&bytes),
            Some(bytes) => {
                let checkpoint = Checkpoint::decode(&bytes).expect("a stored checkpoint is whole");
                Snapshot::from_checkpoint(checkpoint)
            }
            None => Snapshot::default(),
        };
        self.next_row = usize::try_from(self.folded.revision().0).unwrap_or(usize::MAX);
        self.ready_at = outside.log.flushed;
        self.load_journal(outside);
        let (index, revision, kills) = (self.index, self.folded.revision(), self.waiting.len());
        outside.note(|| {
            format!("node {index} starts at revision {revision} with {kills} kill(s) of its journal")
        });
    }
}

fn choose_checkpoint(outside: &mut Outside) -> Option<Vec<u8>> {
    let newest = outside.checkpoints.len().checked_sub(1)?;
    let chosen = match outside.dice.below(8) {
        0 => return None,
        1 | 2 => outside.dice.below(newest + 1),
        _ => newest,
    };
    Some(outside.checkpoints[chosen].1.clone())
}

fn encode(entry: &Entry) -> Rc<[u8]> {
    entry.encode().into()
}
