//! Metrics and the log of the process.

use std::io::IsTerminal as _;
use std::time::Duration;

use dashmap::DashMap;
use metrics::{Counter, Histogram, counter, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogLevel};

/// Bounds of the latency histograms, in seconds: from a check in memory to a request that gives up.
const SECONDS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
/// Most combinations of route, method and status that are told apart. There are far fewer.
const MAX_SERIES: usize = 2_048;

/// Where the metrics are gathered.
#[derive(Clone)]
pub struct Telemetry {
    prometheus: PrometheusHandle,
}

impl Telemetry {
    /// Takes over the metrics of this process. In a process that has it already (tests that start
    /// several servers), all share the first.
    pub fn install() -> Result<Telemetry, BuildError> {
        static FIRST: std::sync::Mutex<Option<Telemetry>> = std::sync::Mutex::new(None);
        let mut first = FIRST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(telemetry) = &*first {
            return Ok(telemetry.clone());
        }
        let prometheus = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .install_recorder()?;
        describe();
        Ok(first.insert(Telemetry { prometheus }).clone())
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.sum_up();
        self.prometheus.render()
    }

    /// Sums up the samples that came since.
    pub fn sum_up(&self) {
        self.prometheus.run_upkeep();
    }
}

fn describe() {
    metrics::describe_counter!("tidegate_http_requests_total", "Requests by route, method and status.");
    metrics::describe_histogram!(
        "tidegate_http_request_seconds",
        "Time from request to answer, by route; of plain checks, from the end of their body."
    );
    metrics::describe_counter!("tidegate_checks_total", "Flags evaluated over OFREP.");
    metrics::describe_counter!(
        "tidegate_exposures_total",
        "Answers of flags that were summed, by who counted."
    );
    metrics::describe_counter!(
        "tidegate_exposures_dropped_total",
        "Answers, or requests, that were not counted: for want of room, here or in SDKs, or since they were told too late."
    );
    metrics::describe_counter!(
        "tidegate_exposures_write_failures_total",
        "Times that the disk did not take exposure counts; they are kept in memory and tried again."
    );
    metrics::describe_counter!(
        "tidegate_outcomes_total",
        "Requests that apps told of, once for each flag that was checked in them."
    );
    metrics::describe_counter!(
        "tidegate_outcome_summaries_refused_total",
        "Summaries of requests that were not taken, by why."
    );
    metrics::describe_counter!(
        "tidegate_outcome_slots_lost_total",
        "Closed slots of outcomes that the disk did not take in a minute."
    );
    metrics::describe_gauge!(
        "tidegate_stale_flags",
        "Flags that have become stale, by reason; up to a minute old."
    );
    metrics::describe_counter!("tidegate_commands_total", "Commands by outcome.");
    metrics::describe_histogram!("tidegate_command_seconds", "Time from command to durable and published.");
    metrics::describe_counter!("tidegate_failed_logins_total", "Requests with invalid tokens.");
    metrics::describe_counter!("tidegate_feed_slow_readers_total", "Feeds let go since they fell behind.");
    metrics::describe_histogram!(
        "tidegate_kill_delivery_seconds",
        "Time from a kill to its acknowledgement by an SDK that was connected."
    );
    metrics::describe_gauge!("tidegate_streams", "Event streams that are open.");
    metrics::describe_gauge!("tidegate_feed_clients", "SDKs that are connected and named themselves.");
    metrics::describe_gauge!(
        "tidegate_feed_clients_behind",
        "Connected SDKs that have not acknowledged what is served."
    );
    metrics::describe_counter!("tidegate_webhook_deliveries_total", "Deliveries by webhook and outcome.");
    metrics::describe_counter!("tidegate_webhook_dead_letters_total", "Entries given up, by webhook.");
    metrics::describe_gauge!("tidegate_webhook_lag_entries", "Entries that a webhook is behind the log.");
    metrics::describe_gauge!(
        "tidegate_pages",
        "Web pages that are open, or were left less than a minute ago."
    );
    metrics::describe_counter!(
        "tidegate_sdk_faults_total",
        "Errors inside the SDK that web pages told of; at most 1,000 of one report of an error."
    );
    metrics::describe_gauge!("tidegate_requests_in_flight", "Requests under way.");
    metrics::describe_gauge!("tidegate_revision", "The revision that is published.");
    metrics::describe_gauge!("tidegate_overlays", "Kills in effect that the log has not taken yet.");
    metrics::describe_gauge!(
        "tidegate_tls_certificate_expires_seconds",
        "When the TLS certificate in use expires, in seconds since 1970."
    );
    metrics::describe_counter!(
        "tidegate_tls_reloads_total",
        "TLS files that changed, by whether they could be used."
    );
    metrics::describe_counter!(
        "tidegate_tls_client_certificates_total",
        "Client certificates that were shown, by whether they were accepted."
    );
    metrics::describe_gauge!("tidegate_ready", "1 while the node can answer.");
}

/// Sends the log of the process to standard error.
pub fn start_log(level: LogLevel, format: LogFormat) {
    let filter = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // The web server tells of its threads what nobody who runs Tidegate needs to know.
    let quiet = if filter > LevelFilter::INFO { filter } else { filter.min(LevelFilter::WARN) };
    // What somebody sends that is not HTTP, or breaks off, is no error of the server: a port scan
    // would fill the log.
    let clients_faults = if filter > LevelFilter::INFO { filter } else { LevelFilter::OFF };
    let targets = Targets::new()
        .with_default(filter)
        .with_target("actix_server", quiet)
        .with_target("actix_http", clients_faults);
    let registry = tracing_subscriber::registry().with(targets);
    // A second start in one process keeps the first.
    let _ = match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colour);
            registry.with(layer).try_init()
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    };
}

/// Where the requests of one route, method and status are counted. Cheap to clone.
#[derive(Clone)]
pub struct Series {
    requests: Counter,
    seconds: Histogram,
}

impl Series {
    /// Counts a request.
    pub fn record(&self, took: Duration) {
        self.requests.increment(1);
        self.seconds.record(took);
    }
}

/// Counts requests, checks and commands, with the handles of each series looked up once.
pub struct Traffic {
    series: DashMap<(String, &'static str, u16), Series>,
    checks: Counter,
}

impl Default for Traffic {
    fn default() -> Self {
        Traffic { series: DashMap::new(), checks: counter!("tidegate_checks_total") }
    }
}

impl Traffic {
    /// Counts a request. `route` is the pattern, never the path: paths have no bound.
    pub fn record(&self, route: Option<String>, method: &'static str, status: u16, took: Duration) {
        let key = (route.unwrap_or_else(|| "none".to_owned()), method, status);
        let known = self.series.get(&key).map(|series| series.record(took));
        if known.is_none()
            && let Some(series) = self.begin(key)
        {
            series.record(took);
        }
    }

    /// Where the requests of a route are counted, for whoever counts many; none where there are as many series as are
    /// told apart.
    pub fn series(&self, route: &'static str, method: &'static str, status: u16) -> Option<Series> {
        let key = (route.to_owned(), method, status);
        let known = self.series.get(&key).map(|series| series.clone());
        known.or_else(|| self.begin(key))
    }

    fn begin(&self, key: (String, &'static str, u16)) -> Option<Series> {
        if self.series.len() >= MAX_SERIES {
            return None;
        }
        let (route, method, status) = key.clone();
        let requests = counter!("tidegate_http_requests_total", "route" => route.clone(), "method" => method, "status" => status.to_string());
        let seconds = histogram!("tidegate_http_request_seconds", "route" => route, "method" => method);
        let series = Series { requests, seconds };
        self.series.insert(key, series.clone());
        Some(series)
    }

    /// Counts flags that were evaluated for an OFREP answer.
    pub fn record_checks(&self, flags: usize) {
        self.checks.increment(flags as u64);
    }

    /// Counts a command by its outcome: `done`, or the code of why not.
    pub fn record_command(&self, outcome: &'static str, took: Duration) {
        counter!("tidegate_commands_total", "outcome" => outcome).increment(1);
        if outcome == "done" {
            histogram!("tidegate_command_seconds").record(took);
        }
    }
}
