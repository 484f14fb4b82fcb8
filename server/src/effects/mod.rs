//! What others are told because of the log: webhooks, and what guardrails ask for (`runbook`).
//!
//! The log is the outbox. Each webhook has a task that follows it (`courier`) and keeps on disk how far it
//! has come (`outbox`): what was not delivered before a crash is delivered after it, in order, and what was
//! may come twice, under the same id. A receiver that is slow or down holds up nobody but itself.
//!
//! A log belongs to one process (its directory is locked), so no webhook is claimed before it is told, and how far
//! it has come is this machine's own to know. Nodes that shared a log would each tell, under the same ids: with
//! such an engine comes a claim with a lease for each webhook, and its cursor with it.

mod address;
mod backoff;
mod courier;
mod fetch;
mod outbox;
mod runbook;
mod sender;
mod signature;
mod status;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use rollout_rules::ids::{AppKey, NodeId, Revision, WebhookId};
use rollout_rules::runbook::EffectId;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::webhook::Webhook;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

pub use address::Unfit;
use courier::{Courier, World};
pub use outbox::{DeadLetter, MAX_DEAD};
use outbox::{Outbox, Place};
use runbook::Runbook;
pub use runbook::mail::{Encryption, MailOptions};
pub use runbook::{Nobody, Target, Trying};
pub use sender::{Attempt, Outcome, REQUEST_TIMEOUT};
pub use signature::draw_secret;
use status::Status;
pub use status::{Delivery, KEPT_ATTEMPTS, Progress, Waiting};

use crate::clock::Clock;
use crate::secret;
use crate::state::{Readiness, State};

/// Most tests of webhooks at one time; one more is told to come back later.
const MAX_TESTS: usize = 8;

/// What delivering needs to know.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Where is kept how far each webhook has come.
    pub directory: PathBuf,
    /// Whether addresses that are not of the public internet may be called, and over plain HTTP.
    pub allow_private: bool,
    /// Whether entries are told; what is not waits until a start with it.
    pub deliver: bool,
    /// How long a receiver may take.
    pub request_timeout: Duration,
    /// This server's name in the log: what guardrails ask for is claimed under it.
    pub node_id: NodeId,
    /// The mail server, if there is one.
    pub mail: Option<MailOptions>,
}

/// The webhooks at work. Cheap to clone; the work ends with the state that it was started on.
#[derive(Clone)]
pub struct Webhooks(Arc<Inner>);

struct Inner {
    world: Arc<World>,
    statuses: DashMap<WebhookId, Arc<Status>>,
    tests: Semaphore,
    runbook: Arc<Runbook>,
}

impl Webhooks {
    /// The text at an address that an operator named, of at most `limit` bytes; else why there is none. The same addresses are
    /// called as by webhooks.
    pub async fn fetch_text(&self, url: String, limit: u64) -> Result<String, String> {
        fetch::text(&self.0.world.sender, url, limit).await
    }

    /// Starts to deliver, once the log is folded, on a thread of its own.
    pub fn start(options: &WebhookOptions, state: &State, clock: Clock) -> io::Result<Webhooks> {
        let outbox = Outbox::open(&options.directory, state.log.log_id(), state.log.head().revision)?;
        let (publishing, published) = watch::channel(Revision::ZERO);
        let world = World {
            live: Arc::clone(&state.live),
            log: Arc::clone(&state.log),
            commands: state.commands.clone(),
            clock,
            sender: sender::Sender::new(options.allow_private, options.request_timeout),
            published,
        };
        let world = Arc::new(world);
        let runbook = Arc::new(Runbook {
            world: Arc::clone(&world),
            node: options.node_id.clone(),
            mail: options.mail.clone(),
            mail_timeout: options.request_timeout,
            since: outbox.since(),
            trying: DashMap::new(),
            lanes: DashMap::new(),
            left: Notify::new(),
        });
        let tests = Semaphore::new(MAX_TESTS);
        let inner = Arc::new(Inner { world, statuses: DashMap::new(), tests, runbook });
        if !options.deliver {
            tracing::warn!(
                "webhooks.deliver is false: webhooks are told nothing, guardrails call nobody, and what they are to be \
                 told waits"
            );
            return Ok(Webhooks(inner));
        }
        let runbook = Arc::clone(&inner.runbook);
        spawn("tidegate-runbook", move || runbook.run())?;
        let dispatcher =
            Dispatcher { inner: Arc::clone(&inner), outbox, publishing, at_work: HashMap::new() };
        spawn("tidegate-webhooks", move || dispatcher.run())?;
        Ok(Webhooks(inner))
    }

    /// How something stands that a guardrail asked for; none if this server does not try it.
    pub fn trying(&self, id: EffectId) -> Option<Trying> {
        self.0.runbook.trying.get(&id).map(|trying| trying.0.clone())
    }

    /// Has what waits between two attempts tried at once.
    pub fn try_now(&self, id: EffectId) {
        if let Some(trying) = self.0.runbook.trying.get(&id) {
            trying.1.notify_one();
        }
    }

    /// Sends a message that tells nothing to a job or a channel, once, and waits for what becomes of it. `None`: too
    /// many do so.
    pub async fn test_target(&self, app: &AppKey, target: &Target) -> Option<Attempt> {
        let _place = self.0.tests.try_acquire().ok()?;
        Some(self.0.runbook.test(app, target).await)
    }

    /// Why a target cannot be reached as the server is set up, if that can be told.
    pub fn unreachable(&self, target: &Target) -> Option<String> {
        self.0.runbook.unreachable(target)
    }

    /// What can be told of an address from its text.
    pub fn check_url(&self, url: &str) -> Result<(), Unfit> {
        address::check(url, self.0.world.sender.allow_private)
    }

    /// How a webhook's deliveries stand; none if it is not known (yet).
    pub fn progress(&self, id: &WebhookId) -> Option<Progress> {
        Some(self.0.statuses.get(id)?.progress())
    }

    /// Has dead letters sent again, one or all, and what waits tried at once. How many dead letters that is.
    pub fn replay(&self, id: &WebhookId, which: Option<Revision>) -> usize {
        self.0.statuses.get(id).map_or(0, |status| status.ask(which))
    }

    /// Sends a message of the type `test`, once, and waits for what becomes of it. `None`: too many do so.
    pub async fn test(&self, webhook: &Webhook) -> Option<Attempt> {
        let _place = self.0.tests.try_acquire().ok()?;
        let world = &self.0.world;
        let now = world.clock.now();
        let id = format!("{}:test-{}", world.log.log_id(), secret::random_id());
        let body = json!({"type": "test", "timestamp": now, "data": {"webhook": webhook.id}}).to_string();
        Some(world.sender.send(webhook, id, body.into_bytes(), now).await)
    }

    /// How many entries each webhook is behind a revision, those that do not concern it included.
    pub fn lags(&self, head: Revision) -> Vec<(WebhookId, u64)> {
        let lag = |status: &Status| head.0.saturating_sub(status.cursor().0);
        self.0.statuses.iter().map(|status| (status.key().clone(), lag(status.value()))).collect()
    }
}

/// Works on a thread of its own.
fn spawn<F: Future<Output = ()>>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(work());
        // A receiver that hangs does not hold up the end of the server; it is asked again after it.
        runtime.shutdown_background();
    })?;
    Ok(())
}

/// Starts and ends the tasks of webhooks as they come and go.
struct Dispatcher {
    inner: Arc<Inner>,
    outbox: Outbox,
    publishing: watch::Sender<Revision>,
    at_work: HashMap<WebhookId, AtWork>,
}

struct AtWork {
    task: JoinHandle<()>,
    place: Place,
    /// The last change of the webhook that its task was told of.
    revision: Revision,
}

impl Dispatcher {
    async fn run(mut self) {
        let live = Arc::clone(&self.inner.world.live);
        let (_, mut events) = live.subscribe();
        let mut readiness = live.watch_readiness();
        if live.settled().await != Readiness::Ready {
            return;
        }
        let folded = Arc::clone(&live.load().folded);
        let known = |id: &str| WebhookId::new(id).is_ok_and(|id| folded.webhook(&id).is_some());
        if let Err(error) = self.outbox.sweep(known) {
            tracing::warn!(%error, "files of webhooks that are no more were not removed");
        }
        loop {
            let folded = Arc::clone(&live.load().folded);
            self.match_tasks(&folded);
            self.publishing.send_replace(folded.revision());
            tokio::select! {
                _ = readiness.wait_for(|now| *now == Readiness::Stopped) => return,
                event = events.recv() => match event {
                    Err(RecvError::Closed) => return,
                    Err(RecvError::Lagged(_)) | Ok(_) => while events.try_recv().is_ok() {},
                },
            }
        }
    }

    fn match_tasks(&mut self, folded: &Snapshot) {
        let gone: Vec<WebhookId> =
            self.at_work.keys().filter(|id| folded.webhook(id).is_none()).cloned().collect();
        for id in gone {
            if let Some(at_work) = self.at_work.remove(&id) {
                at_work.task.abort();
                at_work.place.remove();
                self.inner.statuses.remove(&id);
            }
        }
        for record in folded.webhooks(None) {
            let id = &record.webhook.id;
            match self.at_work.get_mut(id) {
                Some(at_work) if at_work.revision == record.revision => {}
                Some(at_work) => {
                    at_work.revision = record.revision;
                    if let Some(status) = self.inner.statuses.get(id) {
                        status.wake();
                    }
                }
                None => self.set_to_work(id, record.made, record.revision),
            }
        }
    }

    fn set_to_work(&mut self, id: &WebhookId, made: Revision, revision: Revision) {
        let (place, cursor, dead) = self.outbox.place(id, made);
        let status = Arc::new(Status::new(cursor, dead));
        self.inner.statuses.insert(id.clone(), Arc::clone(&status));
        let world = Arc::clone(&self.inner.world);
        let courier = Courier { id: id.clone(), place: place.clone(), status, world, kept: cursor };
        let task = tokio::spawn(courier.run());
        self.at_work.insert(id.clone(), AtWork { task, place, revision });
    }
}
