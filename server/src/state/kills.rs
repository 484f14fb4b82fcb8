//! Kills. They expect nothing of the log's head and overtake every other command; and if the log does not
//! take one in time, it is in effect all the same, as an overlay, until the log does.

use std::collections::BTreeMap;
use std::sync::Arc;

use rollout_rules::change::{Anchor, Entry};
use rollout_rules::decide::{Refusal, Verdict, WaitingKill, decide};
use rollout_rules::ids::{KillId, Revision};
use rollout_rules::time::DurationMs;

use super::command::{Reply, SubmitError, Task};
use super::killjournal::KillJournal;
use super::node::{Answer, Done, Node, Wake};
use super::published::{Event, Overlay, Readiness};
use crate::log::{AppendError, Expect};

/// How long the log has to take a kill before the node kills by overlay.
pub const PATIENCE: DurationMs = DurationMs(50);
/// How long the journal has to keep a kill before its caller is answered without.
const JOURNAL_PATIENCE: DurationMs = DurationMs(1000);
/// How often kills that the log refused are offered again.
const RETRY: DurationMs = DurationMs(250);

/// Most kills that the log has had no time to refuse. More wait in their lane, so that a healthy log
/// refuses none.
const MAX_UNDER_WAY: usize = 128;
/// Most kills in effect ahead of the log; more are refused. Those beyond the journal's places
/// ([`MAX_KILLS`](super::MAX_KILLS)) are in effect but not in the journal: a restart before the log
/// takes them loses them, and the server's log says so.
pub const MAX_OVERLAYS: usize = 1_000;

/// The kills that the log has not taken yet.
pub(super) struct Kills {
    waiting: BTreeMap<KillId, Waiting>,
    journal: Option<KillJournal>,
    overlays: Arc<[Overlay]>,
    /// The same, as decisions look at them.
    in_effect: Arc<[WaitingKill]>,
    retrying: bool,
}

struct Waiting {
    entry: Arc<Entry>,
    overlay: Overlay,
    /// In effect ahead of the log.
    overlaid: bool,
    /// Offered to the log, which has not answered.
    appending: bool,
    /// Its callers may be answered: the journal has it, or has had its time.
    kept: bool,
    /// The journal was asked to keep it.
    given_to_journal: bool,
    /// The journal has it.
    journaled: bool,
    replies: Vec<Reply>,
}

impl Kills {
    /// With what an earlier run left in the journal: in effect from the start.
    pub(super) fn new(journal: Option<KillJournal>, left: Vec<Entry>) -> Kills {
        let mut kills = Kills {
            waiting: BTreeMap::new(),
            journal,
            overlays: Arc::default(),
            in_effect: Arc::default(),
            retrying: false,
        };
        for entry in left {
            if let Some(overlay) = Overlay::of(&entry) {
                let mut waiting = Waiting::new(Arc::new(entry), overlay.clone());
                (waiting.overlaid, waiting.kept) = (true, true);
                (waiting.given_to_journal, waiting.journaled) = (true, true);
                kills.waiting.insert(overlay.kill_id, waiting);
            }
        }
        kills.collect();
        kills
    }

    /// The overlays in effect, oldest first.
    pub(super) fn overlays(&self) -> Arc<[Overlay]> {
        Arc::clone(&self.overlays)
    }

    /// The kills that are in effect as overlays, for decisions.
    pub(super) fn in_effect(&self) -> &[WaitingKill] {
        &self.in_effect
    }

    /// Waits until the journal has all that it was given.
    pub(super) fn finish(self) {
        if let Some(journal) = self.journal {
            journal.finish();
        }
    }

    /// Gives a kill to the journal, unless it has it. `false`: there is none, or it is behind.
    fn give_to_journal(&mut self, kill_id: &KillId) -> bool {
        let (Some(waiting), Some(journal)) = (self.waiting.get_mut(kill_id), &self.journal) else {
            return false;
        };
        if !waiting.given_to_journal {
            waiting.given_to_journal = journal.keep(kill_id, &waiting.entry);
        }
        waiting.given_to_journal
    }

    /// Kills in effect that would be lost if this process ended now, though there is a journal for them.
    pub(super) fn only_in_memory(&self) -> usize {
        match self.journal {
            Some(_) => self.waiting.values().filter(|waiting| !waiting.journaled).count(),
            None => 0,
        }
    }

    /// How many the log has neither taken nor had its time for.
    fn under_way(&self) -> usize {
        self.waiting.len() - self.overlays.len()
    }

    fn collect(&mut self) {
        let overlaid = self.waiting.values().filter(|waiting| waiting.overlaid);
        let mut overlays: Vec<Overlay> = overlaid.map(|waiting| waiting.overlay.clone()).collect();
        overlays.sort_by_key(|overlay| overlay.at);
        self.in_effect = overlays.iter().map(Overlay::as_waiting).collect();
        self.overlays = overlays.into();
    }
}

impl Waiting {
    fn new(entry: Arc<Entry>, overlay: Overlay) -> Waiting {
        Waiting {
            entry,
            overlay,
            overlaid: false,
            appending: false,
            kept: false,
            given_to_journal: false,
            journaled: false,
            replies: Vec::new(),
        }
    }
}

impl Node {
    pub(super) fn may_kill(&self) -> bool {
        !matches!(self.live.readiness(), Readiness::Folding { .. }) && self.kills.under_way() < MAX_UNDER_WAY
    }

    pub(super) fn on_kill(&mut self, task: Task) {
        // On what is durable: what is only under way may fail, and then a kill would be refused, or taken
        // for done, because of something that did not happen. A kill needs to know of nothing else: those
        // that wait themselves are compared below.
        let verdict = decide(&self.folded, &self.rules, &task.request, self.clock.now());
        let entry = match verdict {
            Ok(Verdict::Change(draft)) => {
                // An append that expects nothing cannot know its predecessor; it has seen the fold.
                let folded = &self.folded;
                draft.into_entry(Anchor { revision: folded.revision(), hash: folded.hash() })
            }
            Ok(Verdict::AlreadyDone { revision }) => {
                let done = Done::durable(revision, true);
                return self.answer([Answer { reply: task.reply, outcome: Ok(done) }]);
            }
            Err(refusal) => {
                let _ = task.reply.send(Err(SubmitError::Refused(refusal)));
                return;
            }
        };
        let Some(overlay) = Overlay::of(&entry) else {
            let _ = task.reply.send(Err(SubmitError::Unavailable));
            return;
        };
        let kill_id = overlay.kill_id.clone();
        if let Some(waiting) = self.kills.waiting.get_mut(&kill_id) {
            // It waits for the log, so it was not compared.
            if !waiting.overlay.is_same_act(&overlay) {
                let revision = waiting.entry.anchor.revision;
                let refusal = Refusal::KillIdTaken { kill_id, revision };
                let _ = task.reply.send(Err(SubmitError::Refused(refusal)));
                return;
            }
            waiting.replies.push(task.reply);
            return self.answer_if_kept(&kill_id);
        }
        if self.kills.waiting.len() >= MAX_OVERLAYS {
            let _ = task.reply.send(Err(SubmitError::Busy));
            return;
        }
        let mut waiting = Waiting::new(Arc::new(entry), overlay);
        waiting.replies.push(task.reply);
        self.kills.waiting.insert(kill_id.clone(), waiting);
        self.offer(&kill_id, true);
        self.wake_after(PATIENCE, Wake::KillWaited(kill_id));
    }

    /// Offers a kill to the log.
    fn offer(&mut self, kill_id: &KillId, first: bool) {
        let Some(waiting) = self.kills.waiting.get_mut(kill_id) else { return };
        waiting.appending = true;
        let entry = Arc::clone(&waiting.entry);
        let bytes: Arc<[u8]> = entry.encode().into();
        let append = self.log.append(Expect::Any, Arc::clone(&bytes));
        let ticket = self.await_append(append, Some(kill_id.clone()));
        if first && self.is_speculating() {
            self.speculate(ticket, entry, &bytes, None);
        }
    }

    /// The log refused a kill, or did not say whether it took it.
    pub(super) fn on_kill_failed(&mut self, kill_id: &KillId, error: &AppendError) {
        let Some(waiting) = self.kills.waiting.get_mut(kill_id) else { return };
        waiting.appending = false;
        if !waiting.overlaid {
            tracing::warn!(%kill_id, %error, "the log did not take a kill; killing by overlay");
        }
        self.overlay(kill_id);
        if !self.kills.retrying {
            self.kills.retrying = true;
            self.wake_after(RETRY, Wake::RetryKills);
        }
    }

    /// Puts a kill in effect ahead of the log, if the log has not taken it.
    pub(super) fn overlay(&mut self, kill_id: &KillId) {
        let Some(waiting) = self.kills.waiting.get_mut(kill_id) else { return };
        if std::mem::replace(&mut waiting.overlaid, true) {
            return;
        }
        let overlay = waiting.overlay.clone();
        self.kills.collect();
        let published = self.republish();
        self.live.tell(Event::Overlaid { overlay, published });
        if self.kills.give_to_journal(kill_id) {
            self.wake_after(JOURNAL_PATIENCE, Wake::JournalWaited(kill_id.clone()));
        } else {
            if self.kills.journal.is_some() {
                tracing::error!(%kill_id, "the journal is behind: a restart would lose a kill");
            }
            self.on_kept(kill_id, false);
        }
    }

    /// The journal has a kill, or could not write it, or has had its time.
    pub(super) fn on_kept(&mut self, kill_id: &KillId, journaled: bool) {
        if let Some(waiting) = self.kills.waiting.get_mut(kill_id) {
            waiting.kept = true;
            waiting.journaled |= journaled;
            self.give_up_if_hanging();
            self.answer_if_kept(kill_id);
        }
    }

    fn answer_if_kept(&mut self, kill_id: &KillId) {
        let Some(waiting) = self.kills.waiting.get_mut(kill_id).filter(|waiting| waiting.kept) else {
            return;
        };
        let (revision, journaled) = (self.folded.revision(), waiting.journaled);
        let done = Done { revision, already: false, durable: false, journaled };
        let replies = std::mem::take(&mut waiting.replies);
        self.answer(replies.into_iter().map(|reply| Answer { reply, outcome: Ok(done) }));
    }

    /// A kill is in the log: its overlay goes, and whoever still waits hears of it.
    pub(super) fn settle_kill(&mut self, kill_id: &KillId, revision: Revision, answers: &mut Vec<Answer>) {
        let Some(waiting) = self.kills.waiting.remove(kill_id) else { return };
        let done = Done::durable(revision, false);
        answers.extend(waiting.replies.into_iter().map(|reply| Answer { reply, outcome: Ok(done) }));
        if waiting.overlaid {
            self.kills.collect();
        }
        if let (true, Some(journal)) = (waiting.given_to_journal, &self.kills.journal) {
            journal.forget(kill_id);
        }
    }

    /// Offers the kills again that the log has refused; those that it turns out to have are settled.
    pub(super) fn retry_kills(&mut self) {
        self.kills.retrying = false;
        let idle = self.kills.waiting.iter().filter(|(_, waiting)| !waiting.appending);
        let ids: Vec<KillId> = idle.map(|(kill_id, _)| kill_id.clone()).collect();
        let mut answers = Vec::new();
        let mut settled = false;
        for kill_id in ids {
            match self.folded.past_kill(&kill_id).map(|past| past.revision) {
                Some(revision) => {
                    settled = true;
                    self.settle_kill(&kill_id, revision, &mut answers);
                }
                None => {
                    self.kills.give_to_journal(&kill_id);
                    self.offer(&kill_id, false);
                }
            }
        }
        if settled {
            self.republish();
        }
        self.answer(answers);
    }
}
