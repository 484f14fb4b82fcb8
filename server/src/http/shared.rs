//! What all handlers share, and what the HTTP side is given to make it of.

use std::hash::RandomState;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::Guard;
use rollout_rules::governance::Rules;
use rollout_rules::ids::{LogId, Revision};
use rollout_rules::time::UnixMs;
use rustls::ServerConfig;
use tokio::sync::{broadcast, watch};

use super::feed::clients::LiveClients;
use super::feed::deliveries::{Deliveries, Sighting};
use super::feed::hub::Hub;
use super::limits::Limits;
use super::page::sessions::OpenPages;
use super::replays::Replays;
use super::sdk::Sdk;
use super::settings::Settings;
use super::stream_token::StreamKey;
use crate::clock::Clock;
use crate::effects::Webhooks;
use crate::evaluator::Evaluator;
use crate::exposures::Exposures;
use crate::gate::Gate;
use crate::log::ChangeLog;
use crate::sli::Sli;
use crate::state::{CommandHandle, Event, Live, Overlay, Past, Published, Readiness, State};
use crate::telemetry::{Telemetry, Traffic};

/// What the HTTP side is given of the rest of the server.
#[derive(Clone)]
pub struct Handles {
    /// Takes commands.
    pub commands: CommandHandle,
    /// What is published.
    pub live: Arc<Live>,
    /// The log, to be read.
    pub log: Arc<dyn ChangeLog>,
    /// Tells the time.
    pub clock: Clock,
    /// Lives and approvals, for what is shown of proposals.
    pub rules: Rules,
    /// Where the metrics are.
    pub telemetry: Telemetry,
    /// How connections are encrypted. None: they are not.
    pub tls: Option<ServerConfig>,
    /// The webhooks at work.
    pub webhooks: Webhooks,
    /// How often flags gave which answer; kept in memory alone unless it is put in place of.
    pub exposures: Exposures,
    /// What variants did to requests; kept in memory alone unless it is put in place of.
    pub sli: Sli,
    /// Watches what variants do; forgets all with the process unless it is put in place of.
    pub evaluator: Evaluator,
    /// The browser SDK that is handed out.
    pub sdk: Arc<Sdk>,
    /// The gate; keeps everything in memory unless it is put in place of. None: it cannot sign, and is closed.
    pub gate: Option<Gate>,
}

impl Handles {
    /// The handles of a running state.
    pub fn of(
        state: &State,
        clock: Clock,
        rules: Rules,
        telemetry: Telemetry,
        webhooks: Webhooks,
    ) -> Handles {
        Handles {
            exposures: Exposures::in_memory(clock.now()),
            sli: Sli::in_memory(clock.now()),
            evaluator: Evaluator::in_memory(),
            sdk: Arc::new(Sdk::built_in()),
            gate: Gate::in_memory().ok(),
            commands: state.commands.clone(),
            live: Arc::clone(&state.live),
            log: Arc::clone(&state.log),
            clock,
            rules,
            telemetry,
            tls: None,
            webhooks,
        }
    }
}

/// What all handlers share.
pub struct Shared {
    /// What the HTTP side was told.
    pub settings: Settings,
    /// Takes commands.
    pub commands: CommandHandle,
    /// What is published.
    pub live: Arc<Live>,
    /// The log, to be read.
    pub log: Arc<dyn ChangeLog>,
    /// What was known at past moments.
    pub past: Past,
    /// Tells the time.
    pub clock: Clock,
    /// Lives and approvals.
    pub rules: Rules,
    /// The streams' source.
    pub hub: Hub,
    /// The connected SDKs.
    pub clients: LiveClients,
    /// Since when they are: whoever was connected before a restart and has not come back is not among them.
    pub counted_since: UnixMs,
    /// The kills of late, on their way to them.
    pub deliveries: Deliveries,
    /// Rates and failed logins.
    pub limits: Limits,
    /// Answers to creating requests.
    pub replays: Replays,
    /// The web pages that are open.
    pub pages: OpenPages,
    /// Signs the tokens of event streams.
    pub stream_key: StreamKey,
    /// The key of what names answers to all flags.
    pub tag_key: RandomState,
    /// Where the metrics are.
    pub telemetry: Telemetry,
    /// The webhooks at work.
    pub webhooks: Webhooks,
    /// How often flags gave which answer.
    pub exposures: Exposures,
    /// What variants did to requests.
    pub sli: Sli,
    /// Watches what variants do.
    pub evaluator: Evaluator,
    /// The browser SDK that is handed out.
    pub sdk: Arc<Sdk>,
    /// The gate; none: it is closed.
    pub gate: Option<Gate>,
    /// When stale flags were counted for the metrics.
    pub(super) stale_counted: Mutex<Option<UnixMs>>,
    /// Counts requests.
    pub traffic: Traffic,
    /// Requests under way.
    pub in_flight: AtomicUsize,
    /// Streams that are open.
    pub open_streams: Arc<AtomicUsize>,
    /// Backups that are being sent.
    pub open_backups: Arc<AtomicUsize>,
    /// Recordings that are being sent.
    pub open_recordings: Arc<AtomicUsize>,
    /// Set once the node was ready for the first time.
    was_ready: AtomicBool,
    /// Set when the server shuts down.
    pub closing: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(settings: Settings, handles: Handles) -> (Shared, broadcast::Receiver<Event>) {
        let (published, events) = handles.live.subscribe();
        let limits = Limits::new(&settings);
        let shared = Shared {
            hub: Hub::new(handles.log.log_id().clone(), published),
            commands: handles.commands,
            live: handles.live,
            past: Past::new(Arc::clone(&handles.log)),
            log: handles.log,
            counted_since: handles.clock.now(),
            clock: handles.clock,
            rules: handles.rules,
            clients: LiveClients::default(),
            deliveries: Deliveries::default(),
            limits,
            replays: Replays::default(),
            pages: OpenPages::default(),
            stream_key: StreamKey::random(),
            tag_key: RandomState::new(),
            telemetry: handles.telemetry,
            webhooks: handles.webhooks,
            exposures: handles.exposures,
            sli: handles.sli,
            evaluator: handles.evaluator,
            sdk: handles.sdk,
            gate: handles.gate,
            stale_counted: Mutex::new(None),
            traffic: Traffic::default(),
            in_flight: AtomicUsize::new(0),
            open_streams: Arc::new(AtomicUsize::new(0)),
            open_backups: Arc::new(AtomicUsize::new(0)),
            open_recordings: Arc::new(AtomicUsize::new(0)),
            was_ready: AtomicBool::new(false),
            closing: watch::Sender::new(false),
            settings,
        };
        // What an earlier run left in its journal is in effect from the start.
        for kill in shared.published().overlays.iter() {
            shared.note_kill(kill, None, None);
        }
        (shared, events)
    }

    /// Notes that a kill is in effect here, from now on at the latest, so that its way to the SDKs is timed.
    /// `accepted` is when a request for it came.
    pub fn note_kill(&self, kill: &Overlay, revision: Option<Revision>, accepted: Option<Instant>) {
        let seen = Sighting { revision, next_connection: self.hub.coming_connection(), accepted };
        self.deliveries.in_effect(kill, seen, Instant::now());
    }

    /// What is published now. One load, no lock.
    pub fn published(&self) -> Guard<Arc<Published>> {
        self.live.load()
    }

    /// What is published now, to be kept while something is waited for.
    pub fn published_full(&self) -> Arc<Published> {
        self.live.load_full()
    }

    /// Whether the log was folded once. Before that, what is published may lack a kill and must not be
    /// served. Afterwards the node answers with what it has, even if it cannot follow the log any more.
    pub fn was_ready(&self) -> bool {
        if self.was_ready.load(Ordering::Relaxed) {
            return true;
        }
        let ready = self.live.readiness() == Readiness::Ready;
        if ready {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        ready
    }

    /// Brings the gauges up to date; they are only right when somebody looks.
    pub fn refresh_gauges(&self) {
        let published = self.published();
        let gauge = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
        gauge("tidegate_streams", self.open_streams.load(Ordering::Relaxed) as u64);
        gauge("tidegate_pages", self.pages.count() as u64);
        gauge("tidegate_requests_in_flight", self.in_flight.load(Ordering::Relaxed) as u64);
        gauge("tidegate_revision", published.revision().0);
        gauge("tidegate_overlays", published.overlays.len() as u64);
        gauge("tidegate_ready", u64::from(self.live.readiness() == Readiness::Ready));
        let (connected, behind) = self.clients.count_behind(&published.folded);
        gauge("tidegate_feed_clients", connected);
        gauge("tidegate_feed_clients_behind", behind);
        for (webhook, lag) in self.webhooks.lags(published.revision()) {
            metrics::gauge!("tidegate_webhook_lag_entries", "webhook" => webhook.to_string()).set(lag as f64);
        }
    }

    /// The log's name.
    pub fn log_id(&self) -> &LogId {
        self.log.log_id()
    }
}
