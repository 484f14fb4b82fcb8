//! The settings of the HTTP side, already validated. Each default says why.

use std::path::PathBuf;
use std::time::Duration;

use actix_web::HttpRequest;

use crate::config::{Config, CorsOrigins, MetricsAccess};

/// What the HTTP side is told at its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Threads that serve requests; 0: one per core.
    pub workers: usize,
    /// Connections held at once over all threads; beyond it new ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Requests being served at once, streams and kills left out; beyond it: 503.
    pub max_in_flight: usize,
    /// Open event streams; beyond it: 503.
    pub max_streams: usize,
    /// Largest body of a request, in bytes; beyond it: 413.
    pub max_body_bytes: usize,
    /// Requests that a token may make a second on average; beyond it and its burst: 429. Kills are free,
    /// and so is everything without a limit.
    pub requests_per_second: Option<u32>,
    /// Requests that a token may make at once after a pause.
    pub burst: u32,
    /// Requests with invalid tokens a minute that one address gets a 401 for; beyond it: 429.
    pub failed_logins_per_minute: u32,
    /// Pages a minute that one address may open; beyond it: 429.
    pub pages_per_minute: u32,
    /// How long a client may take for the TLS handshake, then to send the head, then the body, of a request.
    pub request_timeout: Duration,
    /// How long a client may take nothing of what it is sent; then its connection is closed.
    pub write_timeout: Duration,
    /// How long a quiet connection is kept for the next request.
    pub keep_alive: Duration,
    /// How long requests under way may take to end once the server is told to stop.
    pub shutdown_grace: Duration,
    /// Which web origins may read what checks and pages are answered.
    pub origins: CorsOrigins,
    /// The address under which clients reach this server, such as `https://flags.example`, for the
    /// event streams named in OFREP answers. Without it, the `Host` of the request is taken.
    pub public_url: Option<String>,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// Whether an evaluation context without a targeting key is refused, as OFREP 0.3 asks. Switched
    /// off, such a context is served what needs no unit.
    pub require_targeting_key: bool,
    /// Where the log is, for the space that is left there.
    pub data_dir: Option<PathBuf>,
}

impl Settings {
    /// Whether pages of an origin may read what checks and pages are answered.
    pub fn allows_origin(&self, origin: &str) -> bool {
        match &self.origins {
            CorsOrigins::Any => true,
            CorsOrigins::Only(list) => list.iter().any(|listed| listed == origin),
        }
    }
}

impl Settings {
    /// Where the client of a request reaches this server, without a slash at the end.
    pub fn address_for(&self, request: &HttpRequest) -> String {
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let connection = request.connection_info();
                format!("{}://{}", connection.scheme(), connection.host())
            }
        }
    }

    /// The server's own address, which names it to others; `urn:tidegate` where none is set.
    pub fn own_address(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| "urn:tidegate".to_owned())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            workers: 0,
            // Two file descriptors in three of the usual limit of 65,536 a service is given.
            max_connections: 40_000,
            // Checks take microseconds: this many at once means that something hangs.
            max_in_flight: 2_048,
            max_streams: 30_000,
            // Four times the largest entry of the log: room for JSON's white space and escapes.
            max_body_bytes: 256 * 1024,
            requests_per_second: None,
            burst: 1_000,
            // A misconfigured fleet shows in the log without filling it.
            failed_logins_per_minute: 120,
            // An office opens its pages anew within a minute after a restart.
            pages_per_minute: 12_000,
            request_timeout: Duration::from_secs(10),
            // Three heartbeats of a stream.
            write_timeout: Duration::from_secs(45),
            // Longer than the 60 s of common proxies, so that they close first and never hit a closing
            // connection.
            keep_alive: Duration::from_secs(75),
            shutdown_grace: Duration::from_secs(5),
            // Answers need a token in a header, never a cookie, so no page gains by them.
            origins: CorsOrigins::Any,
            public_url: None,
            metrics: MetricsAccess::Loopback,
            require_targeting_key: true,
            data_dir: None,
        }
    }
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Settings {
        let limits = config.limits;
        Settings {
            workers: config.workers.unwrap_or(0),
            max_connections: limits.connections,
            max_in_flight: limits.in_flight,
            max_streams: limits.streams,
            max_body_bytes: limits.body_bytes,
            requests_per_second: limits.requests_per_second,
            burst: limits.burst,
            failed_logins_per_minute: limits.failed_logins_per_minute,
            pages_per_minute: limits.pages_per_minute,
            request_timeout: limits.request_timeout,
            write_timeout: limits.write_timeout,
            keep_alive: limits.keep_alive,
            shutdown_grace: config.shutdown_grace,
            origins: config.cors_origins.clone(),
            public_url: config.public_url.clone(),
            metrics: config.metrics_access,
            require_targeting_key: config.require_targeting_key,
            data_dir: Some(config.data_dir.clone()),
        }
    }
}
