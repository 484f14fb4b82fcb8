//! Kills: they expect nothing of the log, overtake everything, and are in effect before the log has
//! them if it does not take them at once.

use std::rc::Rc;

use rollout_rules::change::{Anchor, Change, Command, Entry};
use rollout_rules::decide::{Refusal, Verdict, decide};
use rollout_rules::ids::{KillId, Revision};
use rollout_rules::time::{DurationMs, UnixMs};

use super::commit::Task;
use super::{Node, encode};
use crate::simulation::history::Answer;
use crate::simulation::log::{Ack, Expect};
use crate::simulation::mutation::Mutation;
use crate::simulation::outside::Outside;

/// How long the log has to take a kill before it is in effect without.
const PATIENCE: DurationMs = DurationMs(50);
/// How often it is offered to the log again.
const RETRY: DurationMs = DurationMs(5_000);

/// A kill that was taken and not seen in the log.
pub(super) struct Waiting {
    entry: Rc<Entry>,
    /// Who waits for an answer.
    asks: Vec<usize>,
    /// The request that made it.
    made_by: usize,
    since: UnixMs,
    overlaid: bool,
    kept: bool,
    offered: Option<UnixMs>,
    tickets: Vec<u64>,
}

/// A kill in the journal.
pub(super) struct Kept {
    entry: Rc<Entry>,
    made_by: usize,
}

impl Waiting {
    pub(super) fn is_overlaid(&self) -> bool {
        self.overlaid
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }
}

impl Node {
    pub(super) fn take_kill(&mut self, task: Task, outside: &mut Outside) {
        let Command::Kill { kill_id, reach, environment } = &task.request.command else { return };
        let kill_id = kill_id.clone();
        let verdict = decide(self.speculation(), &outside.rules, &task.request, self.clock(outside.now));
        if let Some(waiting) = self.waiting.get_mut(&kill_id) {
            if !matches!(&waiting.entry.change, Change::Killed { reach: past, environment: there, .. }
                if past == reach && there == environment)
            {
                let revision = waiting.entry.anchor.revision;
                return outside.answer(task.ask, Answer::Refused(Refusal::KillIdTaken { kill_id, revision }));
            }
            waiting.asks.push(task.ask);
            return self.answer_if_kept(&kill_id, outside);
        }
        let draft = match verdict {
            Ok(Verdict::Change(draft)) => draft,
            Ok(Verdict::AlreadyDone { revision }) => {
                return outside.answer(task.ask, Answer::Done { revision, already: true, durable: true });
            }
            Err(refusal) => return outside.answer(task.ask, Answer::Refused(refusal)),
        };
        let seen =
            if outside.errs(Mutation::AnchorOnSpeculation) { self.speculation() } else { &self.folded };
        let entry = draft.into_entry(Anchor { revision: seen.revision(), hash: seen.hash() });
        self.waiting.insert(
            kill_id.clone(),
            Waiting {
                entry: Rc::new(entry),
                asks: vec![task.ask],
                made_by: task.ask,
                since: outside.now,
                overlaid: false,
                kept: false,
                offered: None,
                tickets: Vec::new(),
            },
        );
        let ticket = self.offer(&kill_id, outside);
        if self.is_speculating() && self.is_ready() {
            let entry = Rc::clone(&self.waiting[&kill_id].entry);
            let bytes = encode(&entry);
            self.speculate(ticket, entry, &bytes, None, outside.now);
        }
    }

    fn offer(&mut self, kill_id: &KillId, outside: &mut Outside) -> u64 {
        let waiting = &self.waiting[kill_id];
        let (bytes, made_by) = (encode(&waiting.entry), waiting.made_by);
        let ticket = self.send(Expect::Any, bytes, Some(made_by), outside);
        if let Some(waiting) = self.waiting.get_mut(kill_id) {
            waiting.offered = Some(outside.now);
            waiting.tickets.push(ticket);
        }
        ticket
    }

    pub(super) fn hear_of_kill(&mut self, ack: Ack, outside: &mut Outside) {
        let mut kills = self.waiting.iter_mut();
        let Some((_, waiting)) = kills.find(|(_, kill)| kill.tickets.contains(&ack.route.ticket)) else {
            return;
        };
        if ack.result.is_err() {
            waiting.overlaid = true;
        } else if outside.errs(Mutation::OverlayEndsEarly) {
            waiting.overlaid = false;
        }
    }

    /// Puts kills in effect that the log has not taken in time, keeps them, and offers them again.
    pub(super) fn tend_kills(&mut self, outside: &mut Outside) {
        let ids: Vec<KillId> = self.waiting.keys().cloned().collect();
        for kill_id in ids {
            if let Some(past) = self.folded.past_kill(&kill_id) {
                let revision = past.revision;
                self.settle_kill(&kill_id, revision, outside);
                continue;
            }
            let Some(waiting) = self.waiting.get_mut(&kill_id) else { continue };
            let accepted_already = outside.errs(Mutation::OverlayEndsEarly) && waiting.kept;
            if !waiting.overlaid && waiting.since.plus(PATIENCE) < outside.now && !accepted_already {
                outside.history.count("kills in effect ahead of the log");
                waiting.overlaid = true;
            } else if waiting.overlaid && !waiting.kept {
                // A node that crashes before this has told nobody.
                waiting.kept = true;
                let kept = Kept { entry: Rc::clone(&waiting.entry), made_by: waiting.made_by };
                self.journal.insert(kill_id.clone(), kept);
                self.answer_if_kept(&kill_id, outside);
            } else if waiting.offered.is_none_or(|at| at.plus(RETRY) < outside.now) {
                outside.history.count("kills offered again");
                self.offer(&kill_id, outside);
            }
        }
    }

    fn answer_if_kept(&mut self, kill_id: &KillId, outside: &mut Outside) {
        let Some(waiting) = self.waiting.get_mut(kill_id).filter(|waiting| waiting.kept) else { return };
        let revision = self.folded.revision();
        for ask in std::mem::take(&mut waiting.asks) {
            outside.answer(ask, Answer::Done { revision, already: false, durable: false });
        }
    }

    /// A kill is in the log.
    pub(super) fn settle_kill(&mut self, kill_id: &KillId, revision: Revision, outside: &mut Outside) {
        let Some(waiting) = self.waiting.remove(kill_id) else { return };
        self.journal.remove(kill_id);
        for ask in waiting.asks {
            outside.answer(ask, Answer::Done { revision, already: false, durable: true });
        }
    }

    /// What the journal holds is in effect from the start.
    pub(super) fn load_journal(&mut self, outside: &mut Outside) {
        if outside.errs(Mutation::ForgetJournal) {
            self.journal.clear();
        }
        if outside.errs(Mutation::JournalRenamesKills) {
            self.rename_kills();
        }
        for (kill_id, kept) in &self.journal {
            outside.history.count("kills found in a journal");
            let waiting = Waiting {
                entry: Rc::clone(&kept.entry),
                asks: Vec::new(),
                made_by: kept.made_by,
                since: outside.now,
                overlaid: true,
                kept: true,
                offered: None,
                tickets: Vec::new(),
            };
            self.waiting.insert(kill_id.clone(), waiting);
        }
    }

    fn rename_kills(&mut self) {
        let journal = std::mem::take(&mut self.journal);
        for (kill_id, kept) in journal {
            let renamed = KillId::new(&format!("{kill_id}.again")).unwrap_or(kill_id);
            let mut entry = (*kept.entry).clone();
            if let Change::Killed { kill_id, .. } = &mut entry.change {
                *kill_id = renamed.clone();
            }
            self.journal.insert(renamed, Kept { entry: Rc::new(entry), made_by: kept.made_by });
        }
    }
}
