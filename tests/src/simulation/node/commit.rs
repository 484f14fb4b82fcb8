//! From commands to entries. Several are under way at one time, each decided on a fold of those before
//! it; if one fails, all that were decided after it are decided again.

use std::collections::VecDeque;
use std::rc::Rc;

use rollout_rules::change::{Anchor, Command, Entry};
use rollout_rules::decide::{Refusal, Request, Verdict, decide};
use rollout_rules::governance::Enforcement;
use rollout_rules::ids::Revision;
use rollout_rules::proposal::Hands;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};

use super::guards::measured_anew;
use super::{Node, encode};
use crate::simulation::cast::Who;
use crate::simulation::history::Answer;
use crate::simulation::log::{Ack, Expect, Failure};
use crate::simulation::mutation::Mutation;
use crate::simulation::outside::Outside;

const MAX_UNDER_WAY: usize = 6;
const MAX_ATTEMPTS: u8 = 20;
/// After so long without an acknowledgement, the outcome counts as unknown.
const PATIENCE: DurationMs = DurationMs(3_000);
/// How long the tail has to show an entry of unknown outcome.
const DOUBT: DurationMs = DurationMs(20_000);
/// How long the tail has to show what made an append lose its place: it may be lost before it is durable.
const CATCH_UP: DurationMs = DurationMs(10_000);
/// How far ahead a timer is that does not look at its clock.
const AHEAD: DurationMs = DurationMs(3_600_000);

/// A request that waits to be decided.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) ask: usize,
    pub(super) request: Request,
    pub(super) attempts: u8,
}

/// What is under way, in doubt and waiting.
#[derive(Default)]
pub(super) struct Pipeline {
    pub(super) queue: VecDeque<Task>,
    under_way: VecDeque<UnderWay>,
    doubts: Vec<Doubt>,
    /// Something under way failed: nothing is decided until all of it has come to an end.
    broken: bool,
    /// Nothing is decided before the fold has come so far, or this moment has.
    resume_at: Revision,
    resume_by: UnixMs,
}

/// An entry that was sent, and the fold in which it stands.
pub(super) struct UnderWay {
    ticket: u64,
    anchor: Anchor,
    pub(super) snapshot: Snapshot,
    entry: Rc<Entry>,
    /// None: a kill, which keeps track of itself.
    task: Option<Task>,
    since: UnixMs,
    progress: Progress,
    echoes: Vec<(Task, Result<Revision, Refusal>)>,
}

enum Progress {
    Waiting,
    Accepted(Anchor),
    Failed(Failure),
}

struct Doubt {
    anchor: Anchor,
    task: Task,
    until: UnixMs,
}

impl Pipeline {
    /// Takes the entry that has become durable, if it is one of ours. An entry of somebody else breaks
    /// the speculation.
    pub(super) fn take(&mut self, anchor: Anchor, loses_track: bool) -> Option<UnderWay> {
        let ours = self.under_way.iter().position(|under_way| under_way.anchor == anchor);
        match ours.filter(|_| !(loses_track && self.broken)) {
            Some(index) => {
                self.broken |= index > 0;
                self.under_way.remove(index)
            }
            None => {
                self.broken |= !self.under_way.is_empty();
                None
            }
        }
    }
}

impl UnderWay {
    /// Tells all who waited for it to be published.
    pub(super) fn tell(self, outside: &mut Outside) {
        if let Some(task) = self.task {
            let revision = self.anchor.revision;
            outside.answer(task.ask, Answer::Done { revision, already: false, durable: true });
        }
        for (task, outcome) in self.echoes {
            outside.answer(task.ask, outcome_of(outcome));
        }
    }
}

fn outcome_of(outcome: Result<Revision, Refusal>) -> Answer {
    match outcome {
        Ok(revision) => Answer::Done { revision, already: true, durable: true },
        Err(refusal) => Answer::Refused(refusal),
    }
}

impl Node {
    /// The fold to decide on.
    pub(super) fn speculation(&self) -> &Snapshot {
        match self.pipeline.under_way.back() {
            Some(last) if !self.pipeline.broken => &last.snapshot,
            _ => &self.folded,
        }
    }

    fn may_decide(&self) -> bool {
        !self.pipeline.broken
            && self.pipeline.resume_at <= self.folded.revision()
            && self.pipeline.under_way.len() < MAX_UNDER_WAY
    }

    pub(super) fn decide_waiting(&mut self, most: usize, outside: &mut Outside) {
        for _ in 0..most {
            let kill = |task: &Task| matches!(task.request.command, Command::Kill { .. });
            let kill_first = self.pipeline.queue.front().is_some_and(kill);
            // Kills wait for nothing but the first fold.
            let may = if kill_first { self.is_ready() || self.stuck } else { self.may_decide() };
            if !may {
                return;
            }
            let Some(task) = self.pipeline.queue.pop_front() else { return };
            if kill_first && !outside.errs(Mutation::KillBounded) {
                self.take_kill(task, outside);
            } else if self.is_ready() {
                self.decide_one(task, outside);
            } else {
                outside.answer(task.ask, Answer::Unavailable);
            }
        }
    }

    fn decide_one(&mut self, task: Task, outside: &mut Outside) {
        let request = self.understood(&task.request, outside);
        let now = self.clock(outside.now);
        let hasty = outside.errs(Mutation::TimerAheadOfTime)
            && matches!(request.command, Command::ApplySchedule { .. } | Command::StepRollout { .. });
        let judged_at = if hasty { now.plus(AHEAD) } else { now };
        let remembered = self.remembered(&request.command, outside);
        let mut rules = outside.rules.clone();
        if outside.errs(Mutation::GateUnasked) {
            rules.gate = Enforcement::Report;
        }
        let outcome = match decide(&remembered, &rules, &request, judged_at) {
            Ok(Verdict::Change(draft)) => {
                let base = self.speculation();
                let anchor = Anchor { revision: base.revision(), hash: base.hash() };
                let mut entry = draft.into_entry(anchor);
                entry.at = now;
                self.run_before_durable(&task, outside);
                return self.append(Rc::new(entry), Expect::At(anchor), task, outside);
            }
            Ok(Verdict::AlreadyDone { revision }) => Ok(revision),
            Err(refusal) => Err(refusal),
        };
        match self.pipeline.under_way.back_mut() {
            // It is only true once those before it are durable.
            Some(last) => last.echoes.push((task, outcome)),
            None => outside.answer(task.ask, outcome_of(outcome)),
        }
    }

    /// Appends an entry for a task, and goes on as if it were there.
    pub(super) fn append(&mut self, entry: Rc<Entry>, expect: Expect, task: Task, outside: &mut Outside) {
        let bytes = encode(&entry);
        let ticket = self.send(expect, Rc::clone(&bytes), Some(task.ask), outside);
        self.speculate(ticket, entry, &bytes, Some(task), outside.now);
    }

    /// Decides whatever follows as if this entry were in the log.
    pub(super) fn speculate(
        &mut self,
        ticket: u64,
        entry: Rc<Entry>,
        bytes: &[u8],
        task: Option<Task>,
        now: UnixMs,
    ) {
        let base = self.speculation();
        let anchor = Anchor { revision: base.revision().next(), hash: base.hash().chain(bytes) };
        let snapshot = base.apply(anchor.revision, anchor.hash, &entry);
        let (progress, echoes) = (Progress::Waiting, Vec::new());
        self.pipeline.under_way.push_back(UnderWay {
            ticket,
            anchor,
            snapshot,
            entry,
            task,
            since: now,
            progress,
            echoes,
        });
    }

    pub(super) fn is_speculating(&self) -> bool {
        !self.pipeline.broken
    }

    pub(super) fn hear_of_append(&mut self, ack: Ack, outside: &mut Outside) {
        let pipeline = &mut self.pipeline;
        let found = pipeline.under_way.iter_mut().find(|it| it.ticket == ack.route.ticket);
        // Mostly it is gone: the tail was quicker.
        let Some(under_way) = found else { return };
        under_way.progress = match ack.result {
            Ok(anchor) => Progress::Accepted(anchor),
            Err(failure) => Progress::Failed(failure),
        };
        pipeline.broken |= ack.result != Ok(under_way.anchor);
        if let (Ok(anchor), Some(task), true) =
            (ack.result, &under_way.task, outside.errs(Mutation::AnswerBeforeDurable))
        {
            let done = Answer::Done { revision: anchor.revision, already: false, durable: true };
            outside.answer(task.ask, done);
        }
        self.mend(outside);
    }

    /// What nobody has answered for too long has an unknown outcome.
    pub(super) fn give_up_waiting(&mut self, outside: &mut Outside) {
        for under_way in &mut self.pipeline.under_way {
            let late = under_way.since.plus(PATIENCE) < outside.now;
            if late && matches!(under_way.progress, Progress::Waiting) {
                outside.history.count("appends of unknown outcome");
                under_way.progress = Progress::Failed(Failure::Unknown);
                self.pipeline.broken = true;
            }
        }
        if self.pipeline.resume_by < outside.now {
            self.pipeline.resume_at = self.folded.revision().min(self.pipeline.resume_at);
        }
        for doubt in std::mem::take(&mut self.pipeline.doubts) {
            if doubt.until < outside.now {
                outside.answer(doubt.task.ask, Answer::Unknown);
            } else {
                self.pipeline.doubts.push(doubt);
            }
        }
    }

    /// Once everything under way has come to an end after a failure: what failed is decided again, or
    /// looked for.
    pub(super) fn mend(&mut self, outside: &mut Outside) {
        let waiting = |under_way: &UnderWay| matches!(under_way.progress, Progress::Waiting);
        if !self.pipeline.broken || self.pipeline.under_way.iter().any(waiting) {
            return;
        }
        self.pipeline.broken = false;
        for under_way in std::mem::take(&mut self.pipeline.under_way) {
            let UnderWay { anchor, entry, task, progress, echoes, .. } = under_way;
            if let Some(task) = task {
                self.after_failure(anchor, &entry, progress, task, outside);
            }
            for (task, _) in echoes {
                self.again(task, outside);
            }
        }
    }

    fn after_failure(
        &mut self,
        anchor: Anchor,
        entry: &Rc<Entry>,
        progress: Progress,
        task: Task,
        outside: &mut Outside,
    ) {
        let blind = outside.errs(Mutation::RepeatWithoutLooking);
        let stubborn = outside.errs(Mutation::AppendWithoutDecidingAgain) && is_automation(&task);
        let until = outside.now.plus(DOUBT);
        match progress {
            Progress::Waiting => {}
            Progress::Accepted(anchor) => self.pipeline.doubts.push(Doubt { anchor, task, until }),
            Progress::Failed(Failure::Conflict { .. }) if stubborn => {
                self.append_anyway(entry, task, outside);
            }
            Progress::Failed(Failure::Conflict { head }) => {
                outside.history.count("races lost");
                self.pipeline.resume_at = self.pipeline.resume_at.max(head);
                self.pipeline.resume_by = outside.now.plus(CATCH_UP);
                self.again(task, outside);
            }
            Progress::Failed(Failure::Unknown) if blind => self.append_anyway(entry, task, outside),
            // Had it come to its place, the tail would have shown it: another one is there.
            Progress::Failed(Failure::Unknown) if anchor.revision <= self.folded.revision() => {
                self.again(task, outside);
            }
            Progress::Failed(Failure::Unknown) => self.pipeline.doubts.push(Doubt { anchor, task, until }),
            Progress::Failed(Failure::Unavailable) => outside.answer(task.ask, Answer::Unavailable),
        }
    }

    fn append_anyway(&mut self, entry: &Rc<Entry>, task: Task, outside: &mut Outside) {
        let anchor = Anchor { revision: self.folded.revision(), hash: self.folded.hash() };
        let entry = Entry { anchor, ..(**entry).clone() };
        self.append(Rc::new(entry), Expect::Any, task, outside);
    }

    fn again(&mut self, mut task: Task, outside: &mut Outside) {
        task.attempts += 1;
        let kill = matches!(task.request.command, Command::Kill { .. });
        if task.attempts > if kill { 2 } else { MAX_ATTEMPTS } {
            outside.answer(task.ask, Answer::Busy);
        } else {
            self.pipeline.queue.push_front(task);
        }
    }

    /// An entry came to its place: what was in doubt about that place is so no more.
    pub(super) fn resolve_doubts(&mut self, anchor: Anchor, outside: &mut Outside) {
        for doubt in std::mem::take(&mut self.pipeline.doubts) {
            if doubt.anchor == anchor {
                outside.history.count("doubts resolved: it was written");
                let done = Answer::Done { revision: anchor.revision, already: false, durable: true };
                outside.answer(doubt.task.ask, done);
            } else if doubt.anchor.revision == anchor.revision {
                outside.history.count("doubts resolved: it was not written");
                self.again(doubt.task, outside);
            } else {
                self.pipeline.doubts.push(doubt);
            }
        }
    }

    /// Tells everybody who waits that nothing is known, or nothing was done.
    pub(super) fn refuse_all(&mut self, outside: &mut Outside) {
        let pipeline = std::mem::take(&mut self.pipeline);
        for under_way in pipeline.under_way {
            if let Some(task) = under_way.task {
                outside.answer(task.ask, Answer::Unknown);
            }
            for (task, _) in under_way.echoes {
                outside.answer(task.ask, Answer::Unavailable);
            }
        }
        for doubt in pipeline.doubts {
            outside.answer(doubt.task.ask, Answer::Unknown);
        }
        for task in pipeline.queue {
            // A kill is taken even so.
            match task.request.command {
                Command::Kill { .. } => self.pipeline.queue.push_back(task),
                _ => outside.answer(task.ask, Answer::Unavailable),
            }
        }
    }

    /// The request, as a node understands it that may be wrong.
    fn understood(&self, request: &Request, outside: &Outside) -> Request {
        let mut request = request.clone();
        let snapshot = self.speculation();
        if outside.errs(Mutation::RefreshSeen)
            && request.seen.is_some()
            && let Some((app, flag)) = crate::simulation::laws::flag_of(&request.command)
        {
            request.seen = snapshot.flag(app, flag).map(|view| view.revision());
        }
        if outside.errs(Mutation::ActOnWhatIs) {
            measured_anew(&mut request.command, snapshot);
        }
        let who = &mut request.caller;
        if outside.errs(Mutation::AgentPassesForHuman) && *who == Who::Agent.caller() {
            *who = Who::Ada.caller();
        }
        if outside.errs(Mutation::ApproveForOthers) && matches!(request.command, Command::ApproveProposal(_))
        {
            *who = Who::Bob.caller();
            let hands = Hands { actor: &who.actor, token: who.token.as_ref() };
            if snapshot.proposals(None).any(|proposal| proposal.is_own(hands, snapshot)) {
                *who = Who::Ada.caller();
            }
        }
        request
    }
}

fn is_automation(task: &Task) -> bool {
    matches!(
        task.request.command,
        Command::Hold { .. }
            | Command::RequestEffect { .. }
            | Command::ApplySchedule { .. }
            | Command::Act { .. }
            | Command::FinishEffect { nth: Some(_), .. }
    )
}
