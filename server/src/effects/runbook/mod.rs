//! What guardrails ask to be done outside: jobs that take something back, people who are told.
//!
//! The log is the outbox: what is asked for is in it before anybody is called, with the id that whoever is called gets
//! each time. A node claims it for a while, calls as often as it takes, and writes down how it ended: done, or
//! given up (a dead letter, which people can have tried again under the same id). Each has a task of its own, and each
//! target one call at a time: one that is slow or down holds up nobody but itself.

pub(super) mod mail;
mod message;
mod target;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use metrics::counter;
use rollout_rules::change::Command;
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{AppKey, NodeId, Revision};
use rollout_rules::runbook::{EffectId, Job, Run, RunState};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore};

use mail::MailOptions;
use message::Message;
pub use target::{Nobody, Target};

use super::backoff;
use super::courier::World;
use super::sender::{Attempt, Outcome};
use crate::secret;
use crate::state::{Readiness, Refusal, Request, SubmitError};

/// How long a node keeps what it claimed; it claims it again before that ends.
const LEASE: DurationMs = DurationMs(5 * 60 * 1_000);
/// What is left of a claim when it is renewed: more than one call takes.
const RENEW_BEFORE: DurationMs = DurationMs(60 * 1_000);
/// How long a log that takes nothing is left alone.
const ASK_AGAIN: DurationMs = DurationMs(1_000);

/// How something stands that is tried, as far as this server knows since it started.
#[derive(Clone, Debug, Default)]
pub struct Trying {
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again.
    pub next_at: Option<UnixMs>,
    /// Why the last attempt failed.
    pub problem: String,
}

/// What all runs share.
pub(super) struct Runbook {
    pub(super) world: Arc<World>,
    pub(super) node: NodeId,
    pub(super) mail: Option<MailOptions>,
    pub(super) mail_timeout: Duration,
    /// What was asked for up to here is of before the log came to this machine.
    pub(super) since: Revision,
    pub(super) trying: DashMap<EffectId, (Trying, Arc<Notify>)>,
    pub(super) lanes: DashMap<String, Arc<Semaphore>>,
    /// A task has ended. What is asked for again meanwhile gets another.
    pub(super) left: Notify,
}

impl Runbook {
    /// Starts a task for whatever is to be done, until the state ends.
    pub(super) async fn run(self: Arc<Self>) {
        let live = Arc::clone(&self.world.live);
        let (_, mut events) = live.subscribe();
        let mut readiness = live.watch_readiness();
        if live.settled().await != Readiness::Ready {
            return;
        }
        let mut at_work: HashMap<EffectId, tokio::task::JoinHandle<()>> = HashMap::new();
        loop {
            let folded = Arc::clone(&live.load().folded);
            at_work.retain(|_, task| !task.is_finished());
            for id in folded.waiting_runs() {
                at_work.entry(id).or_insert_with(|| tokio::spawn(Arc::clone(&self).pursue(id)));
            }
            self.lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
            tokio::select! {
                _ = readiness.wait_for(|now| *now == Readiness::Stopped) => return,
                () = self.left.notified() => tokio::task::yield_now().await,
                event = events.recv() => match event {
                    Err(RecvError::Closed) => return,
                    Err(RecvError::Lagged(_)) | Ok(_) => while events.try_recv().is_ok() {},
                },
            }
        }
    }

    /// Does one thing, as often as it takes, and writes down how it ended.
    async fn pursue(self: Arc<Self>, id: EffectId) {
        let wake = Arc::new(Notify::new());
        self.trying.insert(id, (Trying::default(), Arc::clone(&wake)));
        let mut attempts = 0;
        while let Some(run) = self.waiting(id) {
            if let RunState::Waiting { since } = run.state
                && since <= self.since
            {
                let old = "it was asked for before this log was restored from a backup: replay it if it is still wanted";
                self.end(id, false, old.to_owned()).await;
                break;
            }
            if !self.claim(id, &run).await {
                continue;
            }
            attempts += 1;
            let (end, for_good) = self.attempt(id, &run).await;
            match end {
                Ok(outcome) => {
                    self.end(id, true, outcome).await;
                    break;
                }
                Err(problem) if for_good || attempts >= backoff::MAX_ATTEMPTS => {
                    self.end(id, false, problem).await;
                    break;
                }
                Err(problem) => {
                    let wait = backoff::wait_after(attempts);
                    let next_at = Some(self.world.clock.now().plus(wait));
                    self.trying.insert(id, (Trying { attempts, next_at, problem }, Arc::clone(&wake)));
                    tokio::select! {
                        () = self.world.clock.pass(wait) => {}
                        () = wake.notified() => {}
                    }
                }
            }
        }
        self.trying.remove(&id);
        self.left.notify_one();
    }

    fn waiting(&self, id: EffectId) -> Option<Run> {
        let folded = Arc::clone(&self.world.live.load().folded);
        folded.run(id).filter(|run| run.is_open()).cloned()
    }

    /// Takes it on for this node, if it is not taken on for long enough. Not if another node has it.
    async fn claim(&self, id: EffectId, run: &Run) -> bool {
        let now = self.world.clock.now();
        let ours = run.claim.as_ref().filter(|claim| claim.node == self.node);
        if ours.is_some_and(|claim| claim.lease_until > now.plus(RENEW_BEFORE)) {
            return true;
        }
        let (request, nth, node) = (id.request, Some(id.nth), self.node.clone());
        let command = Command::ClaimEffect { request, nth, node, lease_until: now.plus(LEASE) };
        match self.submit(command, String::new()).await {
            Ok(()) => true,
            Err(SubmitError::Refused(Refusal::EffectClaimed { until })) => {
                self.world.clock.pass(until.since(now)).await;
                false
            }
            Err(error) => {
                tracing::debug!(effect = %id, %error, "an effect was not claimed");
                self.world.clock.pass(ASK_AGAIN).await;
                false
            }
        }
    }

    /// Calls once. What came back, or why not, and whether it never will.
    async fn attempt(&self, id: EffectId, run: &Run) -> (Result<String, String>, bool) {
        let folded = Arc::clone(&self.world.live.load().folded);
        let target = match target_of(&folded, run) {
            Ok(target) => target,
            Err(nobody) => return (Err(nobody.to_string()), true),
        };
        let lane = Arc::clone(
            &self.lanes.entry(lane_of(&run.act.app, &target)).or_insert_with(|| Arc::new(Semaphore::new(1))),
        );
        // It is never closed.
        let _turn = lane.acquire().await;
        let key = format!("{}:{id}", self.world.log.log_id());
        let (outcome, for_good) = self.deliver(&target, Message::of(run, key)).await;
        let told = if outcome.is_ok() { "delivered" } else { "failed" };
        counter!("tidegate_effect_attempts_total", "outcome" => told).increment(1);
        if let Err(problem) = &outcome {
            tracing::warn!(effect = %id, app = %run.act.app, problem, "what a guardrail asked for failed");
        }
        (outcome, for_good)
    }

    async fn deliver(&self, target: &Target, message: Message) -> (Result<String, String>, bool) {
        let now = self.world.clock.now();
        let attempt = match target {
            Target::Job(job) => self.world.sender.call(message.to_job(job), now).await,
            Target::Chat { url } => self.world.sender.call(message.to_chat(url), now).await,
            Target::Mail { to } => return self.mail(to.clone(), message).await,
        };
        let for_good = attempt.outcome == Outcome::Gone;
        let outcome = match attempt.outcome {
            Outcome::Delivered { status } => Ok(format!("the receiver answered {status}")),
            ref other => Err(other.problem().unwrap_or_default().to_owned()),
        };
        (outcome, for_good)
    }

    async fn mail(&self, to: Vec<String>, message: Message) -> (Result<String, String>, bool) {
        let Some(options) = self.mail.clone() else {
            return (Err(NO_MAIL.to_owned()), true);
        };
        let timeout = self.mail_timeout;
        let sending = tokio::task::spawn_blocking(move || mail::send(&options, &to, &message, timeout));
        match sending.await {
            Ok(Ok(outcome)) => (Ok(outcome), false),
            Ok(Err(not_sent)) => (Err(not_sent.problem), not_sent.for_good),
            Err(error) => (Err(error.to_string()), false),
        }
    }

    /// Writes down how it ended; until that is in the log it has not.
    async fn end(&self, id: EffectId, succeeded: bool, outcome: String) {
        let level = if succeeded { "done" } else { "given up" };
        loop {
            let (request, nth, node) = (id.request, Some(id.nth), self.node.clone());
            let outcome = outcome.clone();
            let command = Command::FinishEffect { request, nth, node, succeeded, outcome };
            match self.submit(command, String::new()).await {
                Ok(()) => break,
                // Whoever ended it, it is ended; or it is claimed anew and then ended.
                Err(SubmitError::Refused(Refusal::NotFound { .. })) => break,
                Err(SubmitError::Refused(_)) => {
                    let Some(run) = self.waiting(id) else { break };
                    self.claim(id, &run).await;
                }
                Err(error) => {
                    tracing::debug!(effect = %id, %error, "how an effect ended was not written down yet");
                    self.world.clock.pass(ASK_AGAIN).await;
                }
            }
        }
        tracing::info!(effect = %id, outcome, "what a guardrail asked for is {level}");
    }

    async fn submit(&self, command: Command, reason: String) -> Result<(), SubmitError> {
        let caller =
            Caller { actor: Actor::Tidegate, scope: Scope::Admin, app: None, environment: None, token: None };
        let request = Request { caller, command, seen: None, reason, idempotency_key: None, plan: None };
        self.world.commands.submit(request).await.map(|_| ())
    }

    /// Sends a message that tells nothing, once.
    pub(super) async fn test(&self, app: &AppKey, target: &Target) -> Attempt {
        let begun = std::time::Instant::now();
        let now = self.world.clock.now();
        let id = format!("{}:test-{}", self.world.log.log_id(), secret::random_id());
        let message = Message::test(app, id, now);
        let call = match target {
            Target::Job(job) => message.to_job(job),
            Target::Chat { url } => message.to_chat(url),
            Target::Mail { to } => {
                let (outcome, _) = self.mail(to.clone(), message).await;
                let outcome = match outcome {
                    Ok(_) => Outcome::Delivered { status: 250 },
                    Err(problem) => Outcome::Failed { problem },
                };
                let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Attempt { outcome, took_ms };
            }
        };
        self.world.sender.call(call, now).await
    }

    /// Why a target cannot be reached as the server is set up, if that can be told.
    pub(super) fn unreachable(&self, target: &Target) -> Option<String> {
        match target {
            Target::Job(Job { url, .. }) | Target::Chat { url } => {
                super::address::check(url, self.world.sender.allow_private)
                    .err()
                    .map(|unfit| unfit.to_string())
            }
            Target::Mail { .. } => self.mail.is_none().then(|| NO_MAIL.to_owned()),
        }
    }
}

/// Why no mail is sent.
const NO_MAIL: &str =
    "the server sends no mail: name a mail server with the setting `mail.server`, then replay this";

fn target_of(folded: &Snapshot, run: &Run) -> Result<Target, Nobody> {
    let app = folded.app(&run.act.app).ok_or(Nobody::Nothing)?;
    Target::of(app, run.action().ok_or(Nobody::Nothing)?)
}

/// Calls of one lane come one after the other.
fn lane_of(app: &AppKey, target: &Target) -> String {
    match target {
        Target::Job(job) => format!("{app} job {}", job.name),
        Target::Chat { url } => format!("{app} chat {url}"),
        Target::Mail { to } => format!("{app} mail {}", to.join(" ")),
    }
}
