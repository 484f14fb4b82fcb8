//! From what was typed to [`Config`]. Every value is looked at, whatever is wrong with the others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rollout_rules::governance::{ByKind, ByTier, Enforcement, Rules};
use rollout_rules::ids::NodeId;
use rollout_rules::time::DurationMs;

use super::mail::mail;
use super::setting::{Setting, find};
use super::typed::{Origin, Typed};
use super::{
    ClientCertificates, Config, ConfigProblem, CorsOrigins, Limits, LogFormat, LogLevel, MetricsAccess,
    TlsFiles, Warning,
};
use crate::duration;

/// Most approvals that a setting may ask for: more than a company has people awake.
const MAX_APPROVALS: u64 = 20;
/// Longest life that a setting may allow a flag: ten years.
const MAX_LIFE: DurationMs = DurationMs::days(3_650);
/// Shortest time that evidence may be kept: a build is judged again from it, and waits days for approvals and its deployment.
const MIN_KEEP_EVIDENCE: DurationMs = DurationMs::days(7);
/// Longest time that evidence may be kept: ten years.
const MAX_KEEP_EVIDENCE: DurationMs = DurationMs::days(3_650);
/// Longest grace at shutdown: ten minutes.
const MAX_GRACE: DurationMs = DurationMs(600_000);
/// Longest time that a quiet connection may be kept: an hour.
const MAX_KEEP_ALIVE: DurationMs = DurationMs(3_600_000);
/// Most threads that serve requests: more than machines have cores.
const MAX_WORKERS: u64 = 1_024;
/// Most of anything that is counted: more than a machine has.
const MAX_COUNT: u64 = 10_000_000;
/// Largest request body that a setting may allow: entries and members' chunks are far smaller.
const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;
/// Smallest request body that a setting may ask for, so that the API stays usable.
const MIN_BODY_BYTES: u64 = 1024;

/// Checks everything. `None` if a value is missing because it could not be understood; then
/// `problems` holds why.
pub fn check(
    typed: &Typed,
    problems: &mut Vec<ConfigProblem>,
    warnings: &mut Vec<Warning>,
) -> Option<Config> {
    let mut reader = Reader { typed, problems };
    let tls = tls(&mut reader);
    let encrypted = reader.is_given("tls.certificate");
    let listen = listen(&mut reader, encrypted, warnings);
    let data_dir = reader.read("data_dir", "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)));
    let node_id =
        reader.read("node_id", "1 to 64 letters, digits, `.`, `_` or `-`", |text| NodeId::new(text).ok());
    let public_url = reader.read(
        "public_url",
        "an address such as https://flags.example.org, without a path, or nothing",
        public_url,
    );
    let workers = reader.count("workers", 0, MAX_WORKERS);
    let require_targeting_key =
        reader.read("ofrep.require_targeting_key", "true or false", |text| text.parse().ok());
    let grace = reader.duration("shutdown_grace", DurationMs(0), MAX_GRACE);
    let log_level = reader.read("log.level", "error, warn, info, debug or trace", level);
    let log_format = reader.read("log.format", "text or json", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let metrics_access = reader.read("metrics.access", "loopback, everyone or nobody", |text| match text {
        "loopback" => Some(MetricsAccess::Loopback),
        "everyone" => Some(MetricsAccess::Everyone),
        "nobody" => Some(MetricsAccess::Nobody),
        _ => None,
    });
    let cors_origins = reader.read(
        "cors.origins",
        "* alone, or origins such as https://app.example.org separated by commas, without paths",
        origins,
    );
    let webhooks_allow_private =
        reader.read("webhooks.allow_private", "true or false", |text| text.parse().ok());
    let webhooks_deliver = reader.read("webhooks.deliver", "true or false", |text| text.parse().ok());
    let mail = mail(&mut reader);
    let limits = limits(&mut reader);
    let rules = rules(&mut reader);
    let keep_evidence = reader.duration("gate.keep_evidence", MIN_KEEP_EVIDENCE, MAX_KEEP_EVIDENCE);
    Some(Config {
        listen: listen?,
        data_dir: data_dir?,
        node_id: node_id?,
        public_url: public_url?,
        tls: tls?,
        workers: usize::try_from(workers?).ok().filter(|workers| *workers > 0),
        require_targeting_key: require_targeting_key?,
        shutdown_grace: Duration::from_millis(grace?.0),
        log_level: log_level?,
        log_format: log_format?,
        metrics_access: metrics_access?,
        cors_origins: cors_origins?,
        webhooks_allow_private: webhooks_allow_private?,
        webhooks_deliver: webhooks_deliver?,
        mail: mail?,
        limits: limits?,
        rules: rules?,
        keep_evidence: keep_evidence?,
    })
}

/// Reads one setting after the other.
pub(super) struct Reader<'a> {
    typed: &'a Typed,
    problems: &'a mut Vec<ConfigProblem>,
}

impl Reader<'_> {
    /// The text of a setting and where it stands.
    fn text(&self, path: &'static str) -> (&'static Setting, String, Origin) {
        let setting = find(path).expect("every path read here is in the table of settings");
        match self.typed.get(path) {
            Some(value) => (setting, value.text.trim().to_owned(), value.origin.clone()),
            None => (setting, setting.default.to_owned(), Origin::Default),
        }
    }

    pub(super) fn read<T>(
        &mut self,
        path: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (setting, text, origin) = self.text(path);
        let value = parse(&text);
        if value.is_none() {
            let expected = expected.to_owned();
            self.problems.push(ConfigProblem::Invalid { setting, origin, found: text, expected });
        }
        value
    }

    fn count(&mut self, path: &'static str, least: u64, most: u64) -> Option<u64> {
        self.read(path, &format!("a whole number from {least} to {most}"), |text| {
            let number: u64 = text.replace('_', "").parse().ok()?;
            (least..=most).contains(&number).then_some(number)
        })
    }

    fn duration(&mut self, path: &'static str, least: DurationMs, most: DurationMs) -> Option<DurationMs> {
        let expected =
            format!("{}, from {} to {}", duration::EXPECTED, duration::exact(least), duration::exact(most));
        self.read(path, &expected, |text| {
            duration::parse(text).filter(|length| (least..=most).contains(length))
        })
    }

    /// What is typed, if anything is.
    pub(super) fn given(&self, path: &'static str) -> Option<String> {
        Some(self.text(path).1).filter(|text| !text.is_empty())
    }

    fn is_given(&self, path: &'static str) -> bool {
        !self.text(path).1.is_empty()
    }

    pub(super) fn conflict(&mut self, paths: &[&'static str], problem: String) {
        let between = paths
            .iter()
            .map(|path| {
                let (setting, _, origin) = self.text(path);
                (setting, origin)
            })
            .collect();
        self.problems.push(ConfigProblem::Conflict { between, problem });
    }
}

/// The files of TLS, if they are named. Whether they are sound is seen when they are read.
#[allow(clippy::option_option, reason = "outside: whether it can be read; inside: whether there is TLS")]
fn tls(reader: &mut Reader<'_>) -> Option<Option<TlsFiles>> {
    let [certificate, key, client_ca] = ["tls.certificate", "tls.key", "tls.client_ca"]
        .map(|path| Some(reader.text(path).1).filter(|text| !text.is_empty()).map(PathBuf::from));
    let asked = reader.read("tls.client_certificates", "off, optional or required", |text| match text {
        "off" => Some(None),
        "optional" => Some(Some(ClientCertificates::Optional as fn(PathBuf) -> ClientCertificates)),
        "required" => Some(Some(ClientCertificates::Required as fn(PathBuf) -> ClientCertificates)),
        _ => None,
    })?;
    let mut wrong = |paths: &[&'static str], problem: &str| {
        reader.conflict(paths, problem.to_owned());
        None
    };
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if asked.is_none() && client_ca.is_none() => return Some(None),
        (None, None) => {
            let problem = "clients can only be asked for certificates over TLS: name the server's own with \
                           `tls.certificate` and `tls.key`";
            return wrong(&["tls.client_certificates", "tls.certificate"], problem);
        }
        _ => {
            return wrong(
                &["tls.certificate", "tls.key"],
                "one is nothing without the other: name both files",
            );
        }
    };
    let clients = match (asked, client_ca) {
        (None, None) => ClientCertificates::Off,
        (Some(of), Some(path)) => of(path),
        (Some(_), None) => {
            let problem = "name the CA whose certificates clients may show with `tls.client_ca`";
            return wrong(&["tls.client_certificates", "tls.client_ca"], problem);
        }
        (None, Some(_)) => {
            let problem = "a CA is named and no client is asked for a certificate: set `tls.client_certificates` to \
                           optional or required, or leave the CA out";
            return wrong(&["tls.client_ca", "tls.client_certificates"], problem);
        }
    };
    Some(Some(TlsFiles { certificate, key, clients }))
}

fn listen(reader: &mut Reader<'_>, encrypted: bool, warnings: &mut Vec<Warning>) -> Option<SocketAddr> {
    let address: Option<SocketAddr> =
        reader.read("listen", "an IP address and a port such as 127.0.0.1:8080 or [::1]:8080", |text| {
            match text.strip_prefix("localhost:") {
                Some(port) => format!("127.0.0.1:{port}").parse().ok(),
                None => text.parse().ok(),
            }
        });
    let insecure_http = reader.read("insecure_http", "true or false", |text| text.parse().ok());
    let (address, insecure_http) = (address?, insecure_http?);
    if encrypted || address.ip().is_loopback() {
        return Some(address);
    }
    if insecure_http {
        warnings.push(Warning::InsecureHttp(address));
        return Some(address);
    }
    reader.conflict(
        &["listen", "insecure_http"],
        format!(
            "{address} can be reached from other machines, and without a certificate the server speaks plain HTTP. \
             Name one with `tls.certificate` and `tls.key`, listen on 127.0.0.1 behind a TLS proxy, or set \
             `insecure_http = true` inside a network that you trust"
        ),
    );
    None
}

fn level(text: &str) -> Option<LogLevel> {
    use LogLevel::{Debug, Error, Info, Trace, Warn};
    [Error, Warn, Info, Debug, Trace].into_iter().find(|level| level.as_str() == text)
}

fn origins(text: &str) -> Option<CorsOrigins> {
    if text == "*" {
        return Some(CorsOrigins::Any);
    }
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let good = |part: &&str| {
        let host = part.strip_prefix("https://").or_else(|| part.strip_prefix("http://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#', ' ', '@']))
    };
    parts
        .iter()
        .all(good)
        .then(|| CorsOrigins::Only(parts.iter().map(|part| part.to_ascii_lowercase()).collect()))
}

/// An origin, or nothing.
#[allow(clippy::option_option, reason = "outside: whether it can be read; inside: whether there is one")]
fn public_url(text: &str) -> Option<Option<String>> {
    match (text, origins(text)) {
        ("", _) => Some(None),
        (_, Some(CorsOrigins::Only(mut one))) if one.len() == 1 => Some(one.pop()),
        _ => None,
    }
}

/// A number of bytes: plain, or with KiB or MiB.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix("KiB") {
        Some(number) => (number, 1024),
        None => match text.strip_suffix("MiB") {
            Some(number) => (number, 1024 * 1024),
            None => (text, 1),
        },
    };
    number.trim().replace('_', "").parse::<u64>().ok()?.checked_mul(unit)
}

fn limits(reader: &mut Reader<'_>) -> Option<Limits> {
    let connections = reader.count("limits.connections", 1, MAX_COUNT);
    let streams = reader.count("limits.streams", 1, MAX_COUNT);
    let in_flight = reader.count("limits.in_flight", 1, MAX_COUNT);
    let expected = format!("a size from {MIN_BODY_BYTES} to {MAX_BODY_BYTES} bytes, such as 256KiB or 1MiB");
    let body = reader.read("limits.body", &expected, |text| {
        bytes(text).filter(|size| (MIN_BODY_BYTES..=MAX_BODY_BYTES).contains(size))
    });
    let rate = reader.count("limits.requests_per_second", 0, MAX_COUNT);
    let failed = reader.count("limits.failed_logins_per_minute", 1, MAX_COUNT);
    let pages = reader.count("limits.pages_per_minute", 1, MAX_COUNT);
    let burst = reader.count("limits.burst", 1, MAX_COUNT);
    let request_timeout = reader.duration("limits.request_timeout", DurationMs(100), MAX_GRACE);
    let write_timeout = reader.duration("limits.write_timeout", DurationMs(1_000), MAX_KEEP_ALIVE);
    let keep_alive = reader.duration("limits.keep_alive", DurationMs(1_000), MAX_KEEP_ALIVE);
    if let (Some(connections), Some(streams)) = (connections, streams)
        && streams >= connections
    {
        reader.conflict(
            &["limits.streams", "limits.connections"],
            format!("{streams} streams leave none of {connections} connections for requests; allow fewer"),
        );
    }
    let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Some(Limits {
        connections: size(connections?),
        streams: size(streams?),
        in_flight: size(in_flight?),
        body_bytes: size(body?),
        requests_per_second: Some(rate?).filter(|rate| *rate > 0).map(small),
        failed_logins_per_minute: small(failed?),
        pages_per_minute: small(pages?),
        burst: small(burst?),
        request_timeout: Duration::from_millis(request_timeout?.0),
        write_timeout: Duration::from_millis(write_timeout?.0),
        keep_alive: Duration::from_millis(keep_alive?.0),
    })
}

/// The paths of one life's default and longest value, for each tier and kind.
const LIVES: [[[&str; 2]; 3]; 3] = [
    [
        ["expiry.default.tier0.preview", "expiry.longest.tier0.preview"],
        ["expiry.default.tier0.sandbox", "expiry.longest.tier0.sandbox"],
        ["expiry.default.tier0.production", "expiry.longest.tier0.production"],
    ],
    [
        ["expiry.default.tier1.preview", "expiry.longest.tier1.preview"],
        ["expiry.default.tier1.sandbox", "expiry.longest.tier1.sandbox"],
        ["expiry.default.tier1.production", "expiry.longest.tier1.production"],
    ],
    [
        ["expiry.default.tier2.preview", "expiry.longest.tier2.preview"],
        ["expiry.default.tier2.sandbox", "expiry.longest.tier2.sandbox"],
        ["expiry.default.tier2.production", "expiry.longest.tier2.production"],
    ],
];

fn rules(reader: &mut Reader<'_>) -> Option<Rules> {
    let tiers = LIVES.map(|kinds| kinds.map(|paths| life(reader, paths)));
    let approvals = ["approvals.tier0", "approvals.tier1", "approvals.tier2"]
        .map(|path| reader.count(path, 0, MAX_APPROVALS).and_then(|count| u8::try_from(count).ok()));
    let proposal_life = reader.duration("approvals.proposal_life", DurationMs(60_000), MAX_LIFE);
    let gate = reader.read("gate.enforcement", "enforce or report", |text| match text {
        "enforce" => Some(Enforcement::Enforce),
        "report" => Some(Enforcement::Report),
        _ => None,
    });
    let preview = life(reader, ["previews.default_life", "previews.longest_life"]);
    let kinds = |pick: fn(&Life) -> DurationMs, tier: usize| {
        let [preview, sandbox, production] = &tiers[tier];
        Some(ByKind {
            preview: pick(preview.as_ref()?),
            sandbox: pick(sandbox.as_ref()?),
            production: pick(production.as_ref()?),
        })
    };
    let lives = |pick: fn(&Life) -> DurationMs| {
        Some(ByTier { tier0: kinds(pick, 0)?, tier1: kinds(pick, 1)?, tier2: kinds(pick, 2)? })
    };
    let preview = preview?;
    Some(Rules {
        default_life: lives(|life| life.default)?,
        longest_life: lives(|life| life.longest)?,
        approvals: ByTier { tier0: approvals[0]?, tier1: approvals[1]?, tier2: approvals[2]? },
        proposal_life: proposal_life?,
        default_preview_life: preview.default,
        longest_preview_life: preview.longest,
        gate: gate?,
    })
}

struct Life {
    default: DurationMs,
    longest: DurationMs,
}

/// A default and a longest life; the default may not be the longer.
fn life(reader: &mut Reader<'_>, [default_path, longest_path]: [&'static str; 2]) -> Option<Life> {
    let default = reader.duration(default_path, DurationMs(60_000), MAX_LIFE);
    let longest = reader.duration(longest_path, DurationMs(60_000), MAX_LIFE);
    let (default, longest) = (default?, longest?);
    if default > longest {
        let (default, longest) = (duration::exact(default), duration::exact(longest));
        reader.conflict(
            &[default_path, longest_path],
            format!("the default of {default} is longer than the longest life of {longest}"),
        );
    }
    Some(Life { default, longest })
}
