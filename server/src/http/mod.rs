//! The HTTP side: REST, OFREP and the feeds, over what is published and the way to ask for changes.
//!
//! Handlers are not generic: all they share is [`Shared`]. Each reads what is published once.

mod agent;
pub mod apps;
pub mod audience;
pub mod auth;
pub mod backup;
mod backup_files;
pub mod body;
mod checks;
pub mod clients;
pub mod commands;
pub mod contract;
pub mod creating;
pub mod delivery;
pub mod differences;
pub mod effects;
pub mod etag;
pub mod evidence;
pub mod explain;
pub mod exposures;
pub mod feed;
pub mod flags;
pub mod gate;
pub mod guard;
pub mod guardrails;
pub mod health;
pub mod history;
mod kept_body;
pub mod kill;
pub mod limits;
pub mod log;
pub mod ofrep;
pub mod origin;
pub mod outcomes;
pub mod page;
pub mod paging;
pub mod problem;
pub mod proposals;
pub mod reading;
pub mod recording;
pub mod releases;
pub mod replays;
pub mod revert;
pub mod rollouts;
mod routes;
pub mod runbook;
pub mod sdk;
pub mod segments;
pub mod server_info;
pub mod settings;
mod shared;
pub mod stream_token;
pub mod tokens;
mod unrepeated;
pub mod views;
pub mod watched;
pub mod webhooks;
pub mod whoami;

use std::future::Future;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, middleware, web};
use tokio::sync::broadcast;

pub use self::settings::Settings;
pub use self::shared::{Handles, Shared};
use crate::gate::keeper;
use crate::sli::Watched;
use crate::state::{Event, Overlay, Readiness};

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
        let app = App::new()
            .app_data(web::Data::clone(&data))
            .app_data(routes::path_config())
            .wrap(middleware::from_fn(guard::guard))
            .configure(routes::routes)
            .default_service(web::to(routes::nothing_here));
        checks::in_front_of(app, web::Data::clone(&data))
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
    let upkeep = tokio::spawn(keep_up(web::Data::clone(&shared)));
    let counting = tokio::spawn(keep_exposures(web::Data::clone(&shared)));
    let closing_slots = tokio::spawn(keep_outcomes(web::Data::clone(&shared)));
    let watching = tokio::spawn(shared.evaluator.clone().keep(
        Arc::clone(&shared.live),
        shared.commands.clone(),
        shared.sli.clone(),
        shared.clock.clone(),
    ));
    let gate = shared.gate.clone();
    let keeping_gate = gate.map(|gate| {
        let (live, commands) = (Arc::clone(&shared.live), shared.commands.clone());
        tokio::spawn(keeper::run(gate, live, commands, shared.clock.clone(), shared.settings.own_address()))
    });
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
    closing_slots.abort();
    watching.abort();
    keeping_gate.iter().for_each(|keeping| keeping.abort());
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

/// Closes slots of outcomes as their time comes.
async fn keep_outcomes(shared: web::Data<Shared>) {
    let its = web::Data::clone(&shared);
    let is_watched =
        move |watched: &Watched| outcomes::is_watched(&its.published().snapshot, watched, its.clock.now());
    shared.sli.clone().keep(shared.clock.clone(), is_watched).await;
}

/// Has the last sums written, and the slots that are open. Not on a disk that hangs.
fn close_exposures(shared: &Shared) {
    if shared.was_ready() && shared.live.readiness() != Readiness::LogHangs {
        shared.exposures.close(&shared.published().snapshot, &shared.clock);
        shared.sli.close_all(shared.clock.now());
        shared.evaluator.close();
    }
}

/// Histograms keep samples until they are summed up: done here, whether anybody reads them or not. And the contexts of
/// pages that were left are forgotten, whether others are opened or not.
async fn keep_up(shared: web::Data<Shared>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        shared.telemetry.sum_up();
        shared.pages.forget_left(shared.clock.coarse());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rollout_rules::change::Command;
    use rollout_rules::flag::Tier;
    use rollout_rules::governance::{Actor, Caller, Rules, Scope};
    use rollout_rules::ids::{AppKey, LogId};
    use rollout_rules::time::UnixMs;
    use tempfile::TempDir;

    use super::*;
    use crate::clock::TestClock;
    use crate::effects::{REQUEST_TIMEOUT, WebhookOptions, Webhooks};
    use crate::log::memory::MemoryLog;
    use crate::state::{Request, State, StateConfig};
    use crate::telemetry::Telemetry;

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
            let rules = Rules { gate: rollout_rules::governance::Enforcement::Report, ..Rules::default() };
            let config = StateConfig { rules: rules.clone(), ..StateConfig::default() };
            let state = State::start(config, log, clock.clone()).expect("starts");
            state.live.settled().await;
            let telemetry = Telemetry::install().expect("metrics");
            let outbox = tempfile::tempdir().expect("a directory");
            let options = WebhookOptions {
                directory: outbox.path().to_owned(),
                allow_private: false,
                deliver: true,
                request_timeout: REQUEST_TIMEOUT,
                node_id: rollout_rules::ids::NodeId::new("node-1").expect("a name"),
                mail: None,
            };
            let webhooks = Webhooks::start(&options, &state, clock.clone()).expect("starts");
            let handles = Handles::of(&state, clock, rules, telemetry, webhooks);
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
                reason: String::new(),
                idempotency_key: None,
                plan: None,
            };
            self.state.commands.submit(request).await.expect("it is done");
        }

        /// Makes an app `shop` with the environments that apps have by themselves.
        pub(crate) async fn shop(&self) -> AppKey {
            let app = AppKey::new("shop").expect("a key");
            self.submit(Command::CreateApp {
                key: app.clone(),
                name: String::new(),
                owner: "ada".to_owned(),
                tier: Tier::Zero,
                monthly_budget_micros: None,
                currency: None,
                environments: None,
                sensitive: Vec::new(),
            })
            .await;
            app
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
