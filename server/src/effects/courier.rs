//! The task of one webhook: it follows the log and tells of one entry after the other, in order. An entry is
//! done once it was taken, or was given up as a dead letter; only then comes the next.

use std::sync::Arc;

use metrics::counter;
use rollout_rules::change::{Command, Entry};
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{LogId, Revision, WebhookId};
use rollout_rules::snapshot::Subject;
use rollout_rules::time::DurationMs;
use rollout_rules::webhook::{Webhook, WebhookPatch};
use tokio::sync::watch;

use super::backoff;
use super::outbox::{DeadLetter, Place};
use super::sender::{Attempt, Outcome, Sender};
use super::status::{Delivery, Status, Waiting};
use crate::clock::Clock;
use crate::entry_json;
use crate::log::{ChangeLog, LogEntry, ReadError, Tail};
use crate::state::{CommandHandle, Live, Request};

/// How long a log that cannot be read is left alone.
const READ_AGAIN: DurationMs = DurationMs(5_000);
/// Dead letters that a receiver does not take in a row, after which a replay ends and the rest stays dead: it is
/// not well yet, and what is new waits behind a replay.
const MAX_REPLAYS_FAILED: u32 = 3;
/// Entries that do not concern a webhook, after which its cursor is kept all the same: after a restart no more
/// than these are looked at again.
const KEEP_EVERY: u64 = 1_000;

/// What all webhooks share.
pub(super) struct World {
    pub(super) live: Arc<Live>,
    pub(super) log: Arc<dyn ChangeLog>,
    pub(super) commands: CommandHandle,
    pub(super) clock: Clock,
    pub(super) sender: Sender,
    /// How far the fold has come that everybody reads.
    pub(super) published: watch::Receiver<Revision>,
}

/// The task of one webhook.
pub(super) struct Courier {
    pub(super) id: WebhookId,
    pub(super) place: Place,
    pub(super) status: Arc<Status>,
    pub(super) world: Arc<World>,
    /// The cursor that is on disk.
    pub(super) kept: Revision,
}

/// What becomes of an entry.
enum End {
    /// It does not concern the webhook.
    Skipped,
    /// It was taken, or given up.
    Dealt,
}

impl Courier {
    /// Runs until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let after = self.status.cursor().min(self.world.log.head().revision);
            let error = match self.world.log.tail(after) {
                Ok(tail) => self.follow(tail).await,
                Err(error) => error,
            };
            tracing::warn!(webhook = %self.id, %error, "a webhook cannot read the log");
            self.world.clock.pass(READ_AGAIN).await;
        }
    }

    async fn follow(&mut self, mut tail: Box<dyn Tail>) -> ReadError {
        loop {
            self.send_again().await;
            let entries = tokio::select! {
                () = self.status.woken() => continue,
                entries = tail.next() => entries,
            };
            let entries = match entries {
                Ok(entries) => entries,
                Err(error) => return error,
            };
            for stored in &entries {
                let mut published = self.world.published.clone();
                // An error means that the server stops, and this task with it.
                let _ = published.wait_for(|published| *published >= stored.revision).await;
                let end = self.deal_with(stored).await;
                self.status.advance(stored.revision);
                if matches!(end, End::Dealt) || stored.revision.0 >= self.kept.0 + KEEP_EVERY {
                    self.keep_cursor(stored.revision).await;
                }
            }
        }
    }

    async fn keep_cursor(&mut self, revision: Revision) {
        match self.place.keep_cursor(revision).await {
            Ok(()) => self.kept = revision,
            Err(error) => tracing::warn!(webhook = %self.id, %error,
                "how far a webhook has come was not written down; after a restart entries are sent twice"),
        }
    }

    /// Tells of an entry, as often as it takes.
    async fn deal_with(&self, stored: &LogEntry) -> End {
        // The fold has it, so it can be read.
        let Ok(entry) = Entry::decode(&stored.bytes) else { return End::Skipped };
        let mut attempts = 0;
        loop {
            self.send_again().await;
            let folded = Arc::clone(&self.world.live.load().folded);
            let Some(record) = folded.webhook(&self.id) else {
                // It was removed; so is this task, in a moment.
                return std::future::pending().await;
            };
            let webhook = &record.webhook;
            if !webhook.wants(&Subject::of(&folded, &entry.change), &entry.change) {
                return End::Skipped;
            }
            if !webhook.enabled {
                self.status.set_waiting(None);
                attempts = 0;
                self.status.woken().await;
                continue;
            }
            attempts += 1;
            let outcome = self.attempt(webhook, stored, attempts).await;
            let Some(problem) = outcome.problem() else { return End::Dealt };
            if outcome == Outcome::Gone && self.disable().await {
                continue;
            }
            if attempts >= backoff::MAX_ATTEMPTS && self.bury(stored.revision, attempts, problem).await {
                return End::Dealt;
            }
            self.wait(stored.revision, attempts, problem).await;
        }
    }

    async fn wait(&self, revision: Revision, attempts: u32, problem: &str) {
        let wait = backoff::wait_after(attempts);
        let next_at = self.world.clock.now().plus(wait);
        let problem = problem.to_owned();
        self.status.set_waiting(Some(Waiting { revision, attempts, next_at, problem }));
        tokio::select! {
            () = self.world.clock.pass(wait) => {}
            () = self.status.woken() => {}
        }
    }

    async fn attempt(&self, webhook: &Webhook, stored: &LogEntry, nth: u32) -> Outcome {
        let now = self.world.clock.now();
        let log = self.world.log.log_id();
        let (id, body) = (message_id(log, stored.revision), body(stored));
        let attempt = self.world.sender.send(webhook, id, body, now).await;
        count(&self.id, &attempt);
        let outcome = attempt.outcome.clone();
        if let Some(problem) = outcome.problem() {
            tracing::debug!(webhook = %self.id, revision = %stored.revision, problem, "a delivery failed");
        }
        self.status.note(Delivery { revision: stored.revision, at: now, nth, attempt });
        outcome
    }

    /// Gives an entry up. Not if that cannot be written down: then it goes on being tried.
    async fn bury(&self, revision: Revision, attempts: u32, problem: &str) -> bool {
        let letter =
            DeadLetter { revision, at: self.world.clock.now(), attempts, problem: problem.to_owned() };
        let buried = self.keep_dead(letter).await;
        if buried {
            counter!("tidegate_webhook_dead_letters_total", "webhook" => self.id.to_string()).increment(1);
            tracing::warn!(webhook = %self.id, %revision, attempts, problem,
                "an entry was given up; `tidegate webhook replay` sends it again");
        }
        buried
    }

    async fn keep_dead(&self, letter: DeadLetter) -> bool {
        let (dead, dropped) = self.status.dead_with(letter);
        if let Err(error) = self.place.keep_dead(dead.clone()).await {
            tracing::warn!(webhook = %self.id, %error, "a dead letter was not written down");
            return false;
        }
        self.status.set_dead(dead);
        if let Some(dropped) = dropped {
            tracing::warn!(webhook = %self.id, revision = %dropped.revision,
                "the oldest dead letter was dropped: there are too many");
        }
        true
    }

    /// Sends once more what somebody asked for, each once, until the receiver shows that it is not well.
    async fn send_again(&self) {
        let mut failed = 0;
        while let Some(letter) = self.status.next_asked() {
            let folded = Arc::clone(&self.world.live.load().folded);
            let Some(record) = folded.webhook(&self.id).filter(|record| record.webhook.enabled) else {
                return self.status.ask_no_more();
            };
            let Some(stored) = self.entry(letter.revision).await else { continue };
            let attempts = letter.attempts + 1;
            let outcome = self.attempt(&record.webhook, &stored, attempts).await;
            match outcome.problem() {
                None => {
                    failed = 0;
                    let left = self.status.dead_without(letter.revision);
                    if let Err(error) = self.place.keep_dead(left.clone()).await {
                        tracing::warn!(webhook = %self.id, %error, "a dead letter that was delivered stays");
                    }
                    self.status.set_dead(left);
                }
                Some(problem) => {
                    let (at, problem) = (self.world.clock.now(), problem.to_owned());
                    self.keep_dead(DeadLetter { at, attempts, problem, ..letter }).await;
                    failed += 1;
                    if outcome == Outcome::Gone {
                        self.disable().await;
                    }
                    if outcome == Outcome::Gone || failed == MAX_REPLAYS_FAILED {
                        return self.status.ask_no_more();
                    }
                }
            }
        }
    }

    async fn entry(&self, revision: Revision) -> Option<LogEntry> {
        let before = Revision(revision.0.checked_sub(1)?);
        let read = async { self.world.log.tail(before)?.next().await };
        match read.await {
            Ok(entries) => entries.into_iter().next(),
            Err(error) => {
                tracing::warn!(webhook = %self.id, %revision, %error, "a dead letter's entry cannot be read");
                None
            }
        }
    }

    /// The receiver wants no more: nothing is sent until somebody enables the webhook again.
    async fn disable(&self) -> bool {
        let caller =
            Caller { actor: Actor::Tidegate, scope: Scope::Admin, app: None, environment: None, token: None };
        let patch = WebhookPatch { enabled: Some(false), ..WebhookPatch::default() };
        let request = Request {
            caller,
            command: Command::UpdateWebhook { id: self.id.clone(), patch },
            seen: None,
            reason: "the receiver answered 410: it wants no more".to_owned(),
            idempotency_key: None,
            plan: None,
        };
        match self.world.commands.submit(request).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(webhook = %self.id, %error, "a webhook whose receiver is gone was not disabled");
                false
            }
        }
    }
}

/// The name of an entry's message: the same however often it is sent.
fn message_id(log: &LogId, revision: Revision) -> String {
    format!("{log}:{revision}")
}

/// What is sent: the kind of the change, when it was made, and the entry as readers of the log see it.
fn body(stored: &LogEntry) -> Vec<u8> {
    let (kind, at) = match Entry::decode(&stored.bytes) {
        Ok(entry) => (entry.change.kind().as_str(), entry.at.to_string()),
        Err(_) => ("", String::new()),
    };
    let mut body = format!("{{\"type\":\"{kind}\",\"timestamp\":\"{at}\",\"data\":").into_bytes();
    entry_json::write(&mut body, stored);
    body.push(b'}');
    body
}

fn count(webhook: &WebhookId, attempt: &Attempt) {
    let outcome = if attempt.outcome.problem().is_none() { "delivered" } else { "failed" };
    counter!("tidegate_webhook_deliveries_total", "webhook" => webhook.to_string(), "outcome" => outcome)
        .increment(1);
}
