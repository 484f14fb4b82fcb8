//! Starts the parts of a server in order, says where it is, and stops them in order.

use std::fmt;
use std::future::Future;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use rollout_rules::time::UnixMs;

use crate::allocator;
use crate::clock::Clock;
use crate::config::{Config, MailEncryption, MailServer};
use crate::descriptors;
use crate::effects::{self, Encryption, MailOptions, WebhookOptions, Webhooks};
use crate::evaluator::Evaluator;
use crate::exposures::Exposures;
use crate::first_token::{self, Occasion};
use crate::gate::Gate;
use crate::gate::named::Retention;
use crate::http::{self, Handles, Settings};
use crate::log::OpenError;
use crate::log::lock::DirectoryLock;
use crate::log::sled::SledLog;
use crate::sli::Sli;
use crate::state::{Readiness, StartError, State, StateConfig};
use crate::telemetry::Telemetry;
use crate::tls::{Tls, TlsError};

/// The journal of kills that the log has not taken, in the data directory.
const KILL_JOURNAL: &str = "kills";
/// How far each webhook has come, and what was given up, in the data directory.
const WEBHOOKS: &str = "webhooks";
/// How often flags gave which answer, in the data directory.
const EXPOSURES: &str = "exposures";
/// What variants did to requests, in the data directory.
const OUTCOMES: &str = "outcomes";
/// Evidence, facts, judgements and receipts of the gate, and the key that signs them, in the data directory.
const GATE: &str = "gate";
/// What is known of rollouts that are watched, and the evidence that was acted on, in the data directory.
const EVALUATOR: &str = "evaluator";

/// Why the server does not start, or ended.
#[derive(Debug)]
pub enum ServeError {
    /// The address is taken or not this machine's.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The files of TLS cannot be used.
    Tls(TlsError),
    /// The log does not open.
    Log(OpenError),
    /// The state does not start.
    State(StartError),
    /// Webhooks cannot be delivered.
    Webhooks(std::io::Error),
    /// The password of the mail server cannot be read.
    MailPassword {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The metrics are taken.
    Telemetry(String),
    /// Serving requests failed.
    Http(std::io::Error),
    /// The log hangs: whoever started this process has to start it again.
    LogHangs,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Listen { address, source } => {
                write!(f, "cannot listen on {address}: {source}; another address is chosen with --listen")
            }
            ServeError::Tls(error) => error.fmt(f),
            ServeError::Log(error @ OpenError::Locked { .. }) => {
                write!(f, "{error}; stop it first, or choose another directory with --data-dir")
            }
            ServeError::Log(error) => error.fmt(f),
            ServeError::State(error) => error.fmt(f),
            ServeError::Webhooks(error) => {
                write!(f, "how far webhooks have come cannot be kept in the data directory: {error}")
            }
            ServeError::MailPassword { path, source } => write!(
                f,
                "{}: the password of the mail server cannot be read ({source}); check the path and its rights",
                path.display()
            ),
            ServeError::Telemetry(problem) => write!(f, "the metrics cannot be gathered: {problem}"),
            ServeError::LogHangs => f.write_str(
                "the disk does not answer, or the database hangs; nothing that the log acknowledged is lost, and \
                 kills in effect are in the journal. The server has ended so that it can be started again",
            ),
            ServeError::Http(error) => write!(f, "requests can no longer be served: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// Runs a server until `shutdown` comes, then stops it in order. What people need to know is written
/// to `out`.
pub async fn serve(
    config: &Config,
    occasion: Occasion,
    out: &mut dyn Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    allocator::keep_less();
    let tls = config.tls.clone().map(Tls::load).transpose().map_err(ServeError::Tls)?;
    let listener = TcpListener::bind(config.listen)
        .map_err(|source| ServeError::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(ServeError::Http)?;
    let _lock = DirectoryLock::take(&config.data_dir).map_err(ServeError::Log)?;
    let log = Arc::new(SledLog::open(&config.data_dir).map_err(ServeError::Log)?);
    let clock = Clock::system();
    let state = StateConfig {
        rules: config.rules.clone(),
        kill_journal: Some(config.data_dir.join(KILL_JOURNAL)),
        rollouts_wait: true,
    };
    let state = State::start(state, log, clock.clone()).map_err(ServeError::State)?;
    let telemetry = Telemetry::install().map_err(|error| ServeError::Telemetry(error.to_string()))?;
    let webhooks = WebhookOptions {
        directory: config.data_dir.join(WEBHOOKS),
        allow_private: config.webhooks_allow_private,
        deliver: config.webhooks_deliver,
        request_timeout: effects::REQUEST_TIMEOUT,
        node_id: config.node_id.clone(),
        mail: config.mail.as_ref().map(mail_options).transpose()?,
    };
    let webhooks = Webhooks::start(&webhooks, &state, clock.clone()).map_err(ServeError::Webhooks)?;
    let mut handles = Handles::of(&state, clock.clone(), config.rules.clone(), telemetry, webhooks);
    open_kept(&mut handles, config, clock.now());
    let encryption = tls.as_ref().map(Tls::server_config).transpose();
    handles.tls = encryption.map_err(|error| ServeError::Http(std::io::Error::other(error)))?;
    let url = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
    say(out, &format!("listening on {url}\n"));
    let greeting = async {
        match first_token::make(&state, occasion, &clock).await {
            Ok(minted) => {
                let revision = state.live.load().revision();
                tracing::info!(%revision, data_dir = %config.data_dir.display(), "ready");
                if let Some(minted) = minted {
                    let url = config.public_url.clone().filter(|_| tls.is_some()).unwrap_or(url);
                    say(out, &greeting(&url, occasion, &minted.text));
                }
            }
            Err(error) => tracing::error!("not ready: {error}"),
        }
    };
    let mut settings = Settings::from(config);
    limit_to_descriptors(&mut settings);
    let mut readiness = state.live.watch_readiness();
    let shutdown = async {
        tokio::select! {
            () = shutdown => {}
            // An error means that the state has stopped, which is not for this to judge.
            Ok(_) = readiness.wait_for(|now| *now == Readiness::LogHangs) => {}
        }
    };
    let http = http::run(listener, settings, handles, shutdown);
    let keeping_up = async {
        match &tls {
            Some(tls) => tls.keep_up(&clock).await,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        outcome = until_served(http, greeting) => outcome,
        () = keeping_up => Ok(()),
    };
    if state.live.readiness() == Readiness::LogHangs {
        // Without stopping in order: a checkpoint would wait for the same disk.
        return Err(ServeError::LogHangs);
    }
    state.stop().await;
    outcome.map_err(ServeError::Http)
}

/// Opens what is kept besides the log. Flags are served and killed also without it.
fn open_kept(handles: &mut Handles, config: &Config, now: UnixMs) {
    match Exposures::open(&config.data_dir.join(EXPOSURES), now) {
        Ok(exposures) => handles.exposures = exposures,
        Err(error) => tracing::warn!("{error}; they are kept in memory alone until the server starts anew"),
    }
    match Sli::open(&config.data_dir.join(OUTCOMES), now) {
        Ok(sli) => handles.sli = sli,
        Err(error) => tracing::error!(
            "the outcomes in the data directory cannot be used: {error}; they are kept in memory until the server starts anew"
        ),
    }
    handles.gate = match Gate::open(&config.data_dir.join(GATE), Retention(config.keep_evidence)) {
        Ok(gate) => Some(gate),
        Err(error) => {
            tracing::error!(
                "{error}; the gate is closed: builds are not judged, and nothing can be raised in production"
            );
            None
        }
    };
    match Evaluator::open(&config.data_dir.join(EVALUATOR)) {
        Ok(evaluator) => handles.evaluator = evaluator,
        Err(error) => tracing::error!(
            "what is known of rollouts cannot be kept in the data directory: {error}; they are watched anew, and no evidence is kept"
        ),
    }
}

/// The mail server with its password.
fn mail_options(server: &MailServer) -> Result<MailOptions, ServeError> {
    let login = server.login.as_ref().map(|(user, path)| {
        let read = std::fs::read_to_string(path);
        let password = read.map_err(|source| ServeError::MailPassword { path: path.clone(), source })?;
        Ok((user.clone(), password.trim_end_matches(['\r', '\n']).to_owned()))
    });
    Ok(MailOptions {
        host: server.host.clone(),
        port: server.port,
        encryption: match server.encryption {
            MailEncryption::Tls => Encryption::Tls,
            MailEncryption::Starttls => Encryption::Starttls,
            MailEncryption::Off => Encryption::Off,
        },
        from: server.from.clone(),
        login: login.transpose()?,
    })
}

/// Serves, and greets meanwhile. Whoever asks the server to stop does not wait for a greeting that has to
/// wait itself, for a long log to be read or a disk to take a token.
async fn until_served<T>(http: impl Future<Output = T>, greeting: impl Future<Output = ()>) -> T {
    let mut http = std::pin::pin!(http);
    tokio::select! {
        outcome = &mut http => return outcome,
        () = greeting => {}
    }
    http.await
}

/// Takes no more connections than there are file descriptors: an accept that fails helps nobody.
fn limit_to_descriptors(settings: &mut Settings) {
    let wanted = settings.max_connections;
    let room = descriptors::make_room(wanted);
    if room < wanted {
        tracing::warn!(
            wanted,
            room,
            "the system allows fewer connections than limits.connections; raise the limit of open files"
        );
        settings.max_connections = room;
        // As between the settings themselves: streams leave some for requests.
        settings.max_streams = settings.max_streams.min(room - room / 4);
    }
}

/// Writes for people; that nobody reads is no reason not to serve.
fn say(out: &mut dyn Write, text: &str) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The token, and what to type next. The lines can be copied as they are.
fn greeting(url: &str, occasion: Occasion, token: &str) -> String {
    let called = std::env::args().next().filter(|name| !name.is_empty());
    let tidegate = called.unwrap_or_else(|| "tidegate".to_owned());
    let mut text = format!("admin token: {token}\n");
    text.push_str("It is shown this once; the log keeps only its hash.");
    if occasion == Occasion::Asked {
        text.push_str(" Tokens made before still work: `tidegate token list`, `tidegate token revoke ID`.");
    }
    text.push_str(" In another terminal:\n\n");
    if url != DEFAULT_URL {
        text.push_str(&format!("  export TIDEGATE_URL={url}\n"));
    }
    text.push_str(&format!("  export TIDEGATE_TOKEN={token}\n"));
    if occasion == Occasion::FirstStart {
        text.push_str("  export TIDEGATE_APP=hello\n");
        for next in [
            "app create hello",
            "flag create greeting",
            "flag on greeting --env sandbox --exposure 30%",
            "token create --scope sdk-server --env sandbox",
            "flag kill greeting",
        ] {
            text.push_str(&format!("  {tidegate} {next}\n"));
        }
    } else {
        text.push_str(&format!("  {tidegate} whoami\n"));
    }
    text.push('\n');
    text
}

/// The address that the tool assumes.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

#[cfg(test)]
mod tests {
    use super::until_served;

    #[tokio::test]
    async fn a_server_that_was_asked_to_stop_waits_for_no_greeting() {
        assert_eq!(until_served(std::future::ready(7), std::future::pending()).await, 7);
        assert_eq!(until_served(std::future::ready(7), async {}).await, 7);
    }
}
