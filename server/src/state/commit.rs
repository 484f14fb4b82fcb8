//! From commands to entries. A command is decided on a speculative fold: the durable one with the entries
//! that are under way. What comes out of that is told to nobody before those entries are durable; if one
//! of them fails, everything decided after it is decided again.

use std::collections::VecDeque;
use std::sync::Arc;

use rollout_rules::change::{Anchor, Entry};
use rollout_rules::decide::{Draft, Refusal, Verdict, decide_under};
use rollout_rules::ids::{KillId, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::DurationMs;

use super::command::{Lanes, SubmitError, Task};
use super::node::{Answer, Done, Node, Wake};
use super::published::Readiness;
use crate::log::{AppendError, BoxFuture, Expect};

/// Most entries under way at one time. More commands wait in their queue.
pub(crate) const MAX_UNDER_WAY: usize = 512;
/// How often a command that lost the race is decided again before its caller is told to come back later.
const MAX_ATTEMPTS: u8 = 20;
/// How long the log has to show an entry of which the append did not say whether it was written.
const DOUBT: DurationMs = DurationMs(2000);
/// How long the fold has to catch up with the entry that won a race.
const CATCH_UP: DurationMs = DurationMs(1000);

/// Names one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// The entries under way, and the commands that have to be decided again.
#[derive(Default)]
pub(super) struct Pipeline {
    under_way: VecDeque<UnderWay>,
    /// One of them failed or was overtaken: nothing is decided until all have come to an end.
    broken: bool,
    /// Appended, and nobody knows whether it is in the log.
    doubts: Vec<Doubt>,
    again: VecDeque<Task>,
    /// Nothing is decided before the fold has come so far.
    resume_at: Revision,
    tickets: u64,
}

/// An entry that is appended and not yet durable.
pub(super) struct UnderWay {
    ticket: Ticket,
    anchor: Anchor,
    pub(super) entry: Arc<Entry>,
    pub(super) snapshot: Arc<Snapshot>,
    /// Who asked; kills keep track of that themselves.
    task: Option<Task>,
    progress: Progress,
    echoes: Vec<Echo>,
}

enum Progress {
    Waiting,
    Written(Anchor),
    Failed(AppendError),
}

struct Doubt {
    ticket: Ticket,
    anchor: Anchor,
    task: Task,
}

/// An outcome that needs no entry of its own, but is only true once those before it are durable.
struct Echo {
    task: Task,
    outcome: Result<Revision, Refusal>,
}

impl Pipeline {
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.doubts.is_empty()
    }

    /// Takes the entry that has become durable, if it is one of those under way, also after another one
    /// failed: else it would count as lost, and be decided again. An entry of somebody else means that
    /// the speculation was wrong.
    pub(super) fn take(&mut self, anchor: Anchor) -> Option<UnderWay> {
        let ours = self.under_way.iter().position(|under_way| under_way.anchor == anchor);
        self.broken |= !self.under_way.is_empty() && ours != Some(0);
        self.under_way.remove(ours?)
    }
}

impl UnderWay {
    /// What can be told once this entry is published.
    pub(super) fn answers(self) -> impl Iterator<Item = Answer> {
        let done = Done::durable(self.anchor.revision, false);
        let own = self.task.map(|task| Answer { reply: task.reply, outcome: Ok(done) });
        own.into_iter().chain(self.echoes.into_iter().map(Echo::answer))
    }
}

impl Echo {
    fn answer(self) -> Answer {
        let done = |revision| Done::durable(revision, true);
        Answer { reply: self.task.reply, outcome: self.outcome.map(done).map_err(SubmitError::Refused) }
    }
}

impl Node {
    pub(super) fn may_decide(&self) -> bool {
        !matches!(self.live.readiness(), Readiness::Folding { .. })
            && !self.pipeline.broken
            && self.pipeline.resume_at <= self.folded.revision()
            && self.pipeline.under_way.len() < MAX_UNDER_WAY
    }

    /// The fold to decide on.
    pub(super) fn speculation(&self) -> &Arc<Snapshot> {
        match self.pipeline.under_way.back() {
            Some(last) if !self.pipeline.broken => &last.snapshot,
            _ => &self.folded,
        }
    }

    pub(super) fn on_command(&mut self, task: Task) {
        if self.live.readiness() != Readiness::Ready {
            let _ = task.reply.send(Err(SubmitError::Unavailable));
            return;
        }
        let (now, waiting) = (self.clock.now(), self.kills.in_effect());
        let outcome = match decide_under(self.speculation(), waiting, &self.rules, &task.request, now) {
            Ok(Verdict::Change(draft)) => return self.append(*draft, task),
            Ok(Verdict::AlreadyDone { revision }) => Ok(revision),
            Err(refusal) => Err(refusal),
        };
        let echo = Echo { task, outcome };
        match self.pipeline.under_way.back_mut() {
            Some(last) => last.echoes.push(echo),
            None => self.answer([echo.answer()]),
        }
    }

    fn append(&mut self, draft: Draft, task: Task) {
        let base = Arc::clone(self.speculation());
        let anchor = Anchor { revision: base.revision(), hash: base.hash() };
        let entry = Arc::new(draft.into_entry(anchor));
        let bytes: Arc<[u8]> = entry.encode().into();
        let appending = self.log.append(Expect::At(anchor), Arc::clone(&bytes));
        let ticket = self.await_append(appending, None);
        self.speculate(ticket, entry, &bytes, Some(task));
    }

    /// Waits for an append beside everything else.
    pub(super) fn await_append(
        &mut self,
        append: BoxFuture<'static, Result<Anchor, AppendError>>,
        kill_id: Option<KillId>,
    ) -> Ticket {
        self.pipeline.tickets += 1;
        let ticket = Ticket(self.pipeline.tickets);
        self.wakes.spawn(async move { Wake::Appended { ticket, kill_id, result: append.await } });
        ticket
    }

    /// Decides whatever follows as if this entry were in the log.
    pub(super) fn speculate(&mut self, ticket: Ticket, entry: Arc<Entry>, bytes: &[u8], task: Option<Task>) {
        let base = self.speculation();
        let anchor = Anchor { revision: base.revision().next(), hash: base.hash().chain(bytes) };
        let snapshot = Arc::new(base.apply(anchor.revision, anchor.hash, &entry));
        let progress = Progress::Waiting;
        let echoes = Vec::new();
        let under_way = UnderWay { ticket, anchor, entry, snapshot, task, progress, echoes };
        self.pipeline.under_way.push_back(under_way);
    }

    pub(super) fn is_speculating(&self) -> bool {
        !self.pipeline.broken
    }

    pub(super) fn on_appended(&mut self, ticket: Ticket, result: Result<Anchor, AppendError>) {
        let under_way = self.pipeline.under_way.iter_mut().find(|under_way| under_way.ticket == ticket);
        // Mostly it is gone: the tail was quicker.
        let Some(under_way) = under_way else { return };
        let failed = result.is_err();
        under_way.progress = match result {
            Ok(anchor) => Progress::Written(anchor),
            Err(error) => Progress::Failed(error),
        };
        self.pipeline.broken |= failed;
        self.mend();
    }

    /// Once everything under way has come to an end after a failure: tells those whose entry failed, and
    /// decides the others again.
    pub(super) fn mend(&mut self) {
        let waiting = |under_way: &UnderWay| matches!(under_way.progress, Progress::Waiting);
        if !self.pipeline.broken || self.pipeline.under_way.iter().any(waiting) {
            return;
        }
        for under_way in std::mem::take(&mut self.pipeline.under_way) {
            if let Some(task) = under_way.task {
                self.after_failure(under_way.ticket, under_way.anchor, under_way.progress, task);
            }
            for echo in under_way.echoes {
                self.again(echo.task);
            }
        }
        self.pipeline.broken = false;
        if self.pipeline.resume_at > self.folded.revision() {
            self.wake_after(CATCH_UP, Wake::CatchUpEnded(self.pipeline.resume_at));
        }
    }

    fn after_failure(&mut self, ticket: Ticket, anchor: Anchor, progress: Progress, task: Task) {
        let refuse = |task: Task, error| drop(task.reply.send(Err(error)));
        match progress {
            Progress::Waiting => {}
            // Written elsewhere than it was meant to be, and folded already: no tail will show it again.
            Progress::Written(anchor) if anchor.revision <= self.folded.revision() => {
                let done = Done::durable(anchor.revision, false);
                self.answer([Answer { reply: task.reply, outcome: Ok(done) }]);
            }
            Progress::Written(anchor) => self.pipeline.doubts.push(Doubt { ticket, anchor, task }),
            Progress::Failed(AppendError::Conflict { head }) => {
                self.pipeline.resume_at = self.pipeline.resume_at.max(head);
                self.again(task);
            }
            // Another entry has its place, so it is not in the log.
            Progress::Failed(AppendError::Unknown) if anchor.revision <= self.folded.revision() => {
                self.again(task);
            }
            Progress::Failed(AppendError::Unknown) => {
                self.pipeline.doubts.push(Doubt { ticket, anchor, task });
                self.wake_after(DOUBT, Wake::DoubtEnded(ticket));
            }
            Progress::Failed(AppendError::Full) => refuse(task, SubmitError::Full),
            Progress::Failed(error @ (AppendError::Unavailable(_) | AppendError::TooLarge { .. })) => {
                tracing::warn!(%error, source = ?std::error::Error::source(&error), "an append failed");
                refuse(task, SubmitError::Unavailable);
            }
        }
    }

    fn again(&mut self, mut task: Task) {
        task.attempts += 1;
        if task.attempts > MAX_ATTEMPTS {
            let _ = task.reply.send(Err(SubmitError::Busy));
        } else {
            self.pipeline.again.push_back(task);
        }
    }

    pub(super) fn has_to_decide_again(&self) -> bool {
        !self.pipeline.again.is_empty() && self.may_decide()
    }

    /// Decides the commands that lost a race, as soon as that can be done.
    pub(super) fn decide_again(&mut self, lanes: &Lanes) {
        let began = self.clock.now();
        while self.may_decide() && !self.has_to_look_up(lanes, began) {
            let Some(task) = self.pipeline.again.pop_front() else { return };
            self.on_command(task);
        }
    }

    /// An entry came to its place in the log: what was in doubt about that place is so no more.
    pub(super) fn resolve_doubts(&mut self, anchor: Anchor, answers: &mut Vec<Answer>) {
        for doubt in std::mem::take(&mut self.pipeline.doubts) {
            if doubt.anchor == anchor {
                let done = Done::durable(anchor.revision, false);
                answers.push(Answer { reply: doubt.task.reply, outcome: Ok(done) });
            } else if doubt.anchor.revision == anchor.revision {
                self.again(doubt.task);
            } else {
                self.pipeline.doubts.push(doubt);
            }
        }
    }

    pub(super) fn on_doubt_ended(&mut self, ticket: Ticket) {
        let doubts = &mut self.pipeline.doubts;
        if let Some(index) = doubts.iter().position(|doubt| doubt.ticket == ticket) {
            let doubt = doubts.remove(index);
            let _ = doubt.task.reply.send(Err(SubmitError::Unknown));
        }
    }

    pub(super) fn on_catch_up_ended(&mut self, revision: Revision) {
        if self.pipeline.resume_at == revision {
            self.pipeline.resume_at = self.folded.revision();
        }
    }

    /// Tells everybody who waits that nothing will come of it.
    pub(super) fn refuse_all(&mut self) {
        for under_way in std::mem::take(&mut self.pipeline.under_way) {
            if let Some(task) = under_way.task {
                let _ = task.reply.send(Err(SubmitError::Unknown));
            }
            for echo in under_way.echoes {
                let _ = echo.task.reply.send(Err(SubmitError::Unavailable));
            }
        }
        for doubt in std::mem::take(&mut self.pipeline.doubts) {
            let _ = doubt.task.reply.send(Err(SubmitError::Unknown));
        }
        for task in std::mem::take(&mut self.pipeline.again) {
            let _ = task.reply.send(Err(SubmitError::Unavailable));
        }
    }
}
