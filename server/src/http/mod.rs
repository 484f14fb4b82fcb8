//! The HTTP side: REST, OFREP and the feeds, over what is published and the way to ask for changes.
//!
//! Handlers are not generic: all they share is [`Shared`]. Each reads what is published once.

pub mod apps;
pub mod audience;
pub mod auth;
pub mod backup;
pub mod body;
pub mod clients;
pub mod commands;
pub mod contract;
pub mod creating;
pub mod delivery;
pub mod differences;
pub mod etag;
pub mod explain;
pub mod exposures;
pub mod feed;
pub mod flags;
pub mod guard;
pub mod health;
pub mod history;
mod kept_body;
pub mod kill;
pub mod limits;
pub mod log;
pub mod ofrep;
pub mod paging;
pub mod problem;
pub mod proposals;
pub mod reading;
pub mod replays;
pub mod revert;
mod routes;
pub mod segments;
pub mod server_info;
pub mod settings;
pub mod stream_token;
pub mod tokens;
pub mod views;
pub mod webhooks;
pub mod whoami;

use std::future::Future;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, middleware, web};
use arc_swap::Guard;
use rollout_rules::governance::Rules;
use rollout_rules::ids::{LogId, Revision};
use rollout_rules::time::UnixMs;
use rustls::ServerConfig;
use tokio::sync::{broadcast, watch};

use self::feed::clients::LiveClients;
use self::feed::deliveries::{Deliveries, Sighting};
use self::feed::hub::Hub;
use self::limits::Limits;
use self::replays::Replays;
pub use self::settings::Settings;
use self::stream_token::StreamKey;
use crate::clock::Clock;
use crate::effects::Webhooks;
use crate::exposures::Exposures;
use crate::log::ChangeLog;
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
    /// Signs the tokens of event streams.
    pub stream_key: StreamKey,
    /// Where the metrics are.
    pub telemetry: Telemetry,
    /// The webhooks at work.
    pub webhooks: Webhooks,
    /// How often flags gave which answer.
    pub exposures: Exposures,
    /// When stale flags were counted for the metrics.
    stale_counted: Mutex<Option<UnixMs>>,
    /// Counts requests.
    pub traffic: Traffic,
    /// Requests under way.
    pub in_flight: AtomicUsize,
    /// Streams that are open.
    pub open_streams: Arc<AtomicUsize>,
    /// Backups that are being sent.
    pub open_backups: Arc<AtomicUsize>,
    /// Set once the node was ready for the first time.
    was_ready: AtomicBool,
    /// Set when the server shuts down.
    pub closing: watch::Sender<bool>,
}

impl Shared {
    fn new(settings: Settings, handles: Handles) -> (Shared, broadcast::Receiver<Event>) {
        let (published, events) = handles.live.subscribe();
        let limits =
            Limits::new(settings.requests_per_second, settings.burst, settings.failed_logins_per_minute);
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
            stream_key: StreamKey::random(),
            telemetry: handles.telemetry,
            webhooks: handles.webhooks,
            exposures: handles.exposures,
            stale_counted: Mutex::new(None),
            traffic: Traffic::default(),
            in_flight: AtomicUsize::new(0),
            open_streams: Arc::new(AtomicUsize::new(0)),
            open_backups: Arc::new(AtomicUsize::new(0)),
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

/// Serves requests until `shutdown` comes; then ends the streams, lets requests under way finish, and
/// returns.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    mut handles: Handles,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let_many_wait(&listener)?;
    let_go_of_who_does_not_read(&listener, settings.write_timeout)?;
    let tls = handles.tls.take();
    let (shared, events) = Shared::new(settings, handles);
    let shared = web::Data::new(shared);
    let workers = match shared.settings.workers {
        0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        given => given,
    };
    let data = web::Data::clone(&shared);
    let settings = &shared.settings;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::clone(&data))
            .app_data(routes::path_config())
            .wrap(middleware::from_fn(guard::guard))
            .configure(routes::routes)
            .default_service(web::to(routes::nothing_here))
    })
    .workers(workers)
    .max_connections(settings.max_connections.div_ceil(workers))
    .max_connection_rate(MAX_CONNECTION_RATE)
    // An event is small and has to leave at once.
    .tcp_nodelay(true)
    // A stream whose client has hung up gives its place back at once, not at a heartbeat that fails.
    .h1_allow_half_closed(false)
    .client_request_timeout(settings.request_timeout)
    .keep_alive(settings.keep_alive)
    .shutdown_timeout(settings.shutdown_grace.as_secs().max(1))
    .disable_signals()
    .tls_handshake_timeout(settings.request_timeout);
    let server = match tls {
        // Adds HTTP/1.1 to the protocols that clients may choose from (ALPN).
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    }
    .run();
    let handle = server.handle();
    let handing_out = tokio::spawn(hand_out(web::Data::clone(&shared), events));
    let upkeep = tokio::spawn(keep_metrics(shared.telemetry.clone()));
    let counting = tokio::spawn(keep_exposures(web::Data::clone(&shared)));
    tokio::pin!(server);
    let outcome = tokio::select! {
        outcome = &mut server => outcome,
        () = shutdown => {
            shared.closing.send_replace(true);
            shared.hub.close();
            let stopping = handle.stop(true);
            let (outcome, ()) = tokio::join!(server, stopping);
            outcome
        }
    };
    handing_out.abort();
    upkeep.abort();
    counting.abort();
    close_exposures(&shared);
    outcome
}

/// Connections that a worker sets up at once.
const MAX_CONNECTION_RATE: usize = 4_096;
/// Connections that the kernel holds until they are accepted: a fleet that reconnects comes all at once. The
/// system may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 16_384;

/// Has the kernel hold many connections until they are accepted. The standard library's listeners hold 128;
/// whoever comes when all places are taken tries again after a second, and then after more.
pub fn let_many_wait(listener: &TcpListener) -> std::io::Result<()> {
    Ok(rustix::net::listen(listener, BACKLOG)?)
}

/// Has the kernel close connections whose client takes nothing of what it is sent, or does not answer at all.
/// Nothing else can: what waits in the kernel to be sent is out of the server's hands, and a stream is not
/// asked for more before it is gone. Connections inherit it from their listener.
fn let_go_of_who_does_not_read(listener: &TcpListener, after: Duration) -> std::io::Result<()> {
    let ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(listener, ms)?)
}

/// Brings events from the log to the streams.
async fn hand_out(shared: web::Data<Shared>, mut events: broadcast::Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(event) => {
                // First: nobody acknowledges a kill that is not known yet.
                match &event {
                    Event::Overlaid { overlay, .. } => shared.note_kill(overlay, None, None),
                    Event::Entry { revision, entry, .. } => {
                        if let Some(kill) = Overlay::of(entry) {
                            shared.note_kill(&kill, Some(*revision), None);
                        }
                    }
                    Event::Boundary { .. } => {}
                }
                shared.hub.hand_out(event, shared.clock.now());
            }
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                tracing::warn!(missed, "the streams fell behind the log and start anew");
                let (published, fresh) = shared.live.subscribe();
                events = fresh;
                shared.hub.start_anew(published);
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Sums what checks gave, and has the sums written. Not before the log was folded: until then flags that have
/// sums seem not to be there.
async fn keep_exposures(shared: web::Data<Shared>) {
    if shared.live.settled().await == Readiness::Ready {
        let snapshot = || Arc::clone(&shared.published().snapshot);
        shared.exposures.clone().keep(shared.clock.clone(), snapshot).await;
    }
}

/// Has the last sums written. Not on a disk that hangs.
fn close_exposures(shared: &Shared) {
    if shared.was_ready() && shared.live.readiness() != Readiness::LogHangs {
        shared.exposures.close(&shared.published().snapshot, shared.clock.now());
    }
}

/// Histograms keep samples until they are summed up: done here, whether anybody reads them or not.
async fn keep_metrics(telemetry: Telemetry) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        telemetry.sum_up();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rollout_rules::change::Command;
    use rollout_rules::governance::{Actor, Caller, GateStanding, Scope};
    use tempfile::TempDir;

    use super::*;
    use crate::clock::TestClock;
    use crate::effects::{REQUEST_TIMEOUT, WebhookOptions};
    use crate::log::memory::MemoryLog;
    use crate::state::{Request, StateConfig};

    /// When the clock of a test stands still.
    pub(crate) const START: UnixMs = UnixMs(1_800_000_000_000);

    /// What handlers need, on a log in memory.
    pub(crate) struct Node {
        pub(crate) state: State,
        handles: Handles,
        _outbox: TempDir,
    }

    impl Node {
        pub(crate) async fn start() -> Node {
            let clock = TestClock::at(START).clock();
            let log = Arc::new(MemoryLog::new(LogId::new("test").expect("a name")));
            let state = State::start(StateConfig::default(), log, clock.clone()).expect("starts");
            state.live.settled().await;
            let telemetry = Telemetry::install().expect("metrics");
            let outbox = tempfile::tempdir().expect("a directory");
            let options = WebhookOptions {
                directory: outbox.path().to_owned(),
                allow_private: false,
                deliver: true,
                request_timeout: REQUEST_TIMEOUT,
            };
            let webhooks = Webhooks::start(&options, &state, clock.clone()).expect("starts");
            let handles = Handles::of(&state, clock, Rules::default(), telemetry, webhooks);
            Node { state, handles, _outbox: outbox }
        }

        /// Does something in a human's name.
        pub(crate) async fn submit(&self, command: Command) {
            let actor = Actor::Human { name: "ada".to_owned() };
            let caller = Caller { actor, scope: Scope::Admin, app: None, environment: None, token: None };
            let request = Request {
                caller,
                command,
                seen: None,
                gate: GateStanding::NotRequired,
                reason: String::new(),
                idempotency_key: None,
                plan: None,
            };
            self.state.commands.submit(request).await.expect("it is done");
        }

        /// What handlers share, from what is published now.
        pub(crate) fn shared(&self) -> web::Data<Shared> {
            self.listening().0
        }

        /// The same, and what happens from then on.
        pub(crate) fn listening(&self) -> (web::Data<Shared>, broadcast::Receiver<Event>) {
            let (shared, events) = Shared::new(Settings::default(), self.handles.clone());
            (web::Data::new(shared), events)
        }
    }
}
