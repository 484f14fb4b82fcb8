//! The one task that decides, follows and publishes. Everything that changes what is served passes
//! through here in turn, so nothing here takes a lock.

use std::sync::Arc;

use rollout_rules::governance::Rules;
use rollout_rules::ids::{KillId, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::checkpoint::Checkpoints;
use super::command::{Lanes, Reply, SubmitError};
use super::commit::{Pipeline, Ticket};
use super::kills::Kills;
use super::published::{Live, Published, Readiness};
use crate::clock::Clock;
use crate::log::{Anchor, AppendError, ChangeLog, LogEntry, ReadError, Tail};

/// Most commands decided in one go before the log's news are looked at.
const BURST: usize = 64;
/// How long commands are decided in one go, beside the last one: some compile regular expressions, and kills
/// have 50 ms.
const BURST_TIME: DurationMs = DurationMs(10);
/// How long shutting down waits for what is under way.
const FAREWELL: DurationMs = DurationMs(2000);
/// How long to wait before reading a log again that could not be read.
const READ_AGAIN: DurationMs = DurationMs(200);

/// Something that was waited for.
pub(super) enum Wake {
    /// An append came to an end.
    Appended { ticket: Ticket, kill_id: Option<KillId>, result: Result<Anchor, AppendError> },
    /// The log has had its time to take a kill.
    KillWaited(KillId),
    /// The journal has had its time to keep a kill, and was not heard of.
    JournalWaited(KillId),
    /// Kills that the log refused are offered again.
    RetryKills,
    /// The log has had its time to show an entry of which nobody knows.
    DoubtEnded(Ticket),
    /// The fold has had its time to catch up with an entry that won a race.
    CatchUpEnded(Revision),
    /// The log is to be read again.
    ReadAgain,
}

pub(super) struct Node {
    pub(super) log: Arc<dyn ChangeLog>,
    pub(super) clock: Clock,
    pub(super) rules: Arc<Rules>,
    pub(super) live: Arc<Live>,
    pub(super) folded: Arc<Snapshot>,
    pub(super) pipeline: Pipeline,
    pub(super) kills: Kills,
    pub(super) checkpoints: Checkpoints,
    pub(super) wakes: JoinSet<Wake>,
    /// The log was given up: only a new process can open it again.
    pub(super) log_hangs: bool,
    /// Where the log ended when this node started: it is ready once it has folded so far.
    pub(super) ready_at: Revision,
}

/// An answer that may go out once the fold that it speaks of is published.
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) outcome: Result<Done, SubmitError>,
}

/// What was done, before it is known what is published since.
#[derive(Clone, Copy)]
pub(super) struct Done {
    pub(super) revision: Revision,
    pub(super) already: bool,
    pub(super) durable: bool,
    pub(super) journaled: bool,
}

impl Done {
    /// It is in the log.
    pub(super) fn durable(revision: Revision, already: bool) -> Done {
        Done { revision, already, durable: true, journaled: false }
    }
}

impl Node {
    pub(super) async fn run(
        mut self,
        mut lanes: Lanes,
        mut kept: mpsc::Receiver<(KillId, bool)>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut tail = self.follow_from_here();
        self.republish();
        self.check_ready();
        let mut kept_kills_offered = false;
        loop {
            // Not while folding: the log may yet turn out to have them.
            if !kept_kills_offered && self.may_kill() {
                kept_kills_offered = true;
                self.retry_kills();
            }
            tokio::select! {
                biased;
                read = next(&mut tail) => self.on_read(read, &mut tail),
                Some(task) = lanes.kills.recv(), if self.may_kill() => self.on_kill(task),
                Some((kill_id, journaled)) = kept.recv() => self.on_kept(&kill_id, journaled),
                Some(Ok(wake)) = self.wakes.join_next() => self.on_wake(wake, &mut tail),
                _ = stop.changed() => break,
                // Those that lost a race were there first.
                () = std::future::ready(()), if self.has_to_decide_again() => {}
                Some(task) = lanes.commands.recv(), if self.may_decide() => {
                    self.on_command(task);
                    self.drain(&mut lanes);
                }
            }
            self.decide_again(&lanes);
        }
        drop(kept);
        self.stop(lanes, tail).await;
    }

    /// Decides what has queued, so that one flush of the log serves many.
    fn drain(&mut self, lanes: &mut Lanes) {
        let began = self.clock.now();
        for _ in 0..BURST {
            if !self.may_decide() || self.has_to_look_up(lanes, began) {
                return;
            }
            let Ok(task) = lanes.commands.try_recv() else { return };
            self.on_command(task);
        }
    }

    /// Whether something is more urgent than the next command of a burst that began then.
    pub(super) fn has_to_look_up(&self, lanes: &Lanes, began: UnixMs) -> bool {
        (self.may_kill() && !lanes.kills.is_empty()) || self.clock.now().since(began) >= BURST_TIME
    }

    fn on_read(&mut self, read: Result<Vec<LogEntry>, ReadError>, tail: &mut Option<Box<dyn Tail>>) {
        match read {
            Ok(entries) => {
                if !self.on_entries(entries) {
                    *tail = None;
                }
            }
            Err(ReadError::Unavailable(cause)) => {
                tracing::warn!(error = %cause, "the log cannot be read; trying again");
                *tail = None;
                self.wake_after(READ_AGAIN, Wake::ReadAgain);
            }
            Err(error) => {
                *tail = None;
                self.lose_log(&error);
            }
        }
    }

    fn on_wake(&mut self, wake: Wake, tail: &mut Option<Box<dyn Tail>>) {
        match wake {
            Wake::Appended { ticket, kill_id, result } => {
                if let (Some(kill_id), Err(error)) = (&kill_id, &result) {
                    self.on_kill_failed(kill_id, error);
                }
                self.on_appended(ticket, result);
            }
            Wake::KillWaited(kill_id) => self.overlay(&kill_id),
            Wake::JournalWaited(kill_id) => self.on_kept(&kill_id, false),
            Wake::RetryKills => self.retry_kills(),
            Wake::DoubtEnded(ticket) => self.on_doubt_ended(ticket),
            Wake::CatchUpEnded(revision) => self.on_catch_up_ended(revision),
            Wake::ReadAgain => *tail = self.follow_from_here(),
        }
    }

    fn follow_from_here(&mut self) -> Option<Box<dyn Tail>> {
        match self.log.tail(self.folded.revision()) {
            Ok(tail) => Some(tail),
            Err(error) => {
                self.lose_log(&error);
                None
            }
        }
    }

    fn lose_log(&mut self, error: &ReadError) {
        tracing::error!(%error, "the log is lost; this node follows no more");
        if matches!(error, ReadError::Hangs) {
            self.log_hangs = true;
            self.give_up_if_hanging();
        } else {
            self.live.set_readiness(Readiness::LogLost { problem: error.to_string() });
        }
        self.refuse_all();
    }

    /// Says that a log that hangs needs a new process, which would end this one: not before every kill in
    /// effect here is in the journal, where the new one finds it.
    pub(super) fn give_up_if_hanging(&self) {
        if !self.log_hangs || self.live.readiness() == Readiness::LogHangs {
            return;
        }
        match self.kills.only_in_memory() {
            0 => self.live.set_readiness(Readiness::LogHangs),
            kills => self.live.set_readiness(Readiness::LogLost {
                problem: format!(
                    "it hangs, and needs a new process; this one stays, since an end would lose {kills} {} in \
                     effect here that neither log nor journal has",
                    if kills == 1 { "kill" } else { "kills" }
                ),
            }),
        }
    }

    pub(super) fn check_ready(&mut self) {
        if matches!(self.live.readiness(), Readiness::Folding { .. }) {
            let at = self.folded.revision();
            let ready = at >= self.ready_at;
            let now = Readiness::Folding { at, until: self.ready_at };
            self.live.set_readiness(if ready { Readiness::Ready } else { now });
        }
    }

    pub(super) fn wake_after(&mut self, length: DurationMs, wake: Wake) {
        let clock = self.clock.clone();
        self.wakes.spawn(async move {
            clock.pass(length).await;
            wake
        });
    }

    /// Publishes the fold and the overlays as they are.
    pub(super) fn republish(&self) -> Arc<Published> {
        let published = Arc::new(Published::new(Arc::clone(&self.folded), self.kills.overlays()));
        self.live.publish(Arc::clone(&published));
        published
    }

    async fn stop(mut self, mut lanes: Lanes, mut tail: Option<Box<dyn Tail>>) {
        self.live.set_readiness(Readiness::Stopped);
        lanes.commands.close();
        lanes.kills.close();
        let farewell = self.clock.clone();
        let farewell = farewell.pass(FAREWELL);
        tokio::pin!(farewell);
        while !self.pipeline.is_idle() && tail.is_some() {
            tokio::select! {
                biased;
                read = next(&mut tail) => self.on_read(read, &mut tail),
                Some(Ok(wake)) = self.wakes.join_next() => self.on_wake(wake, &mut tail),
                () = &mut farewell => break,
            }
        }
        self.refuse_all();
        self.checkpoints.finish(&self.folded);
        self.kills.finish();
    }
}

async fn next(tail: &mut Option<Box<dyn Tail>>) -> Result<Vec<LogEntry>, ReadError> {
    match tail {
        Some(tail) => tail.next().await,
        None => std::future::pending().await,
    }
}
