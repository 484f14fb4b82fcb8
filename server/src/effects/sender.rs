//! One delivery: a signed POST to an address that was checked, within a time, without following anything.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rollout_rules::time::UnixMs;
use rollout_rules::webhook::{Webhook, WebhookSecret};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Error};

use super::address::{self, CheckedResolver};
use super::signature;

/// How long a receiver may take for all of it: the connection, the request, the head of its answer. Standard
/// Webhooks advises 15 to 30 s; whoever has more to do acknowledges first.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may take, the name's resolution aside.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the rest of an answer is listened to. Its status has said everything.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Most of an answer's body that is read; the rest is not waited for.
const MAX_BODY_BYTES: u64 = 16 * 1024;
/// Largest head of an answer; one with more is a failure.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Longest description of a failure that is kept, in characters.
const MAX_PROBLEM: usize = 300;
/// The receiver does not want to be told any more.
const GONE: u16 = 410;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it: any status 2xx.
    Delivered {
        /// The status.
        status: u16,
    },
    /// The receiver wants no more: 410. The webhook is disabled.
    Gone,
    /// It did not.
    Failed {
        /// Why.
        problem: String,
    },
}

impl Outcome {
    /// Why it was not delivered; nothing if it was.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Outcome::Delivered { .. } => None,
            Outcome::Gone => Some("the receiver answered 410: it wants no more"),
            Outcome::Failed { problem } => Some(problem),
        }
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// What is sent.
pub(super) struct Call {
    /// Where.
    pub(super) url: String,
    /// What signs it.
    pub(super) secrets: Vec<WebhookSecret>,
    /// Its name: repeated, it is the same message.
    pub(super) id: String,
    /// Further headers.
    pub(super) more: Vec<(&'static str, String)>,
    /// JSON.
    pub(super) body: Vec<u8>,
}

/// Sends.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) allow_private: bool,
    timeout: Duration,
    agent: Arc<OnceLock<Agent>>,
}

impl Sender {
    pub(super) fn new(allow_private: bool, timeout: Duration) -> Sender {
        Sender { allow_private, timeout, agent: Arc::default() }
    }

    /// Sends a body under an id: repeated, it is the same message. Takes no longer than the timeout, as far as
    /// the system lets go of a name's resolution.
    pub(super) async fn send(&self, webhook: &Webhook, id: String, body: Vec<u8>, now: UnixMs) -> Attempt {
        let call =
            Call { url: webhook.url.clone(), secrets: webhook.secrets.clone(), id, more: Vec::new(), body };
        self.call(call, now).await
    }

    /// The same to any address.
    pub(super) async fn call(&self, call: Call, now: UnixMs) -> Attempt {
        let begun = Instant::now();
        let outcome = match address::check(&call.url, self.allow_private) {
            Err(unfit) => Outcome::Failed { problem: unfit.to_string() },
            Ok(()) => {
                let sender = self.clone();
                let sending = tokio::task::spawn_blocking(move || sender.post(&call, now));
                sending.await.unwrap_or_else(|error| Outcome::Failed { problem: error.to_string() })
            }
        };
        Attempt { outcome, took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX) }
    }

    fn post(&self, call: &Call, now: UnixMs) -> Outcome {
        let agent = self.agent.get_or_init(|| agent(self.allow_private, self.timeout));
        let timestamp_s = now.0 / 1_000;
        let mut request = agent
            .post(&call.url)
            .header("content-type", "application/json")
            .header("webhook-id", &call.id)
            .header("webhook-timestamp", timestamp_s.to_string());
        if !call.secrets.is_empty() {
            let signed = signature::sign(&call.secrets, &call.id, timestamp_s, &call.body);
            request = request.header("webhook-signature", signed);
        }
        for (name, value) in &call.more {
            request = request.header(*name, value);
        }
        match request.send(&*call.body) {
            Ok(answer) => {
                let status = answer.status().as_u16();
                // A receiver that is still writing is let finish, if it does so soon.
                let _ = answer.into_body().with_config().limit(MAX_BODY_BYTES).read_to_vec();
                match status {
                    200..=299 => Outcome::Delivered { status },
                    GONE => Outcome::Gone,
                    300..=399 => {
                        failed(format!("the receiver answered {status}: redirects are not followed"))
                    }
                    _ => failed(format!("the receiver answered {status}")),
                }
            }
            Err(Error::Timeout(during)) => {
                failed(format!("no answer within {} s ({during})", self.timeout.as_secs_f32()))
            }
            Err(Error::Other(error)) => failed(error.to_string()),
            Err(error) => failed(error.to_string()),
        }
    }
}

fn failed(problem: String) -> Outcome {
    let cut = problem.char_indices().nth(MAX_PROBLEM).map_or(problem.len(), |(at, _)| at);
    Outcome::Failed { problem: problem[..cut].to_owned() }
}

pub(super) fn agent(allow_private: bool, timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_body(Some(BODY_TIMEOUT))
        .max_response_header_size(MAX_HEAD_BYTES)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A proxy would resolve the name anew, where nobody checks it.
        .proxy(None)
        // Each delivery goes to an address that was checked for it.
        .max_idle_connections(0)
        .user_agent(concat!("tidegate-webhook/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls())
        .build();
    Agent::with_parts(config, DefaultConnector::default(), CheckedResolver::new(allow_private))
}

/// TLS that trusts the system's certificates (or those that `SSL_CERT_FILE` names).
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(String::new, ToString::to_string);
        tracing::warn!(why, "this machine has no certificates to trust: no webhook can be told over https");
    }
    let roots = found.certs.iter().map(|der| Certificate::from_der(der).to_owned());
    TlsConfig::builder()
        .root_certs(RootCerts::from(roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}
