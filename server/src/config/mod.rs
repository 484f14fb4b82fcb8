//! The server's settings, from a TOML file, the environment and flags. What is typed
//! ([`typed`]) is checked as a whole ([`validate`]), and every mistake is reported at once.
//!
//! Flags win over the environment, the environment over the file, the file over the defaults.

mod mail;
pub mod setting;
pub mod show;
pub mod typed;
pub mod validate;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollout_rules::governance::Rules;
use rollout_rules::ids::NodeId;
use rollout_rules::time::DurationMs;

pub use mail::{MailEncryption, MailServer};
use setting::Setting;
use typed::{Origin, Typed};

/// The settings of a server, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the log and its checkpoints live.
    pub data_dir: PathBuf,
    /// This server's name in the log.
    pub node_id: NodeId,
    /// Under which address clients reach the server, if it is not the one that they ask for.
    pub public_url: Option<String>,
    /// The files of TLS. None: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Threads that serve requests. None: one for each core.
    pub workers: Option<usize>,
    /// Whether an OFREP evaluation without a targeting key is refused.
    pub require_targeting_key: bool,
    /// How long requests in progress may take once the server is asked to stop.
    pub shutdown_grace: Duration,
    /// What is logged.
    pub log_level: LogLevel,
    /// How a log line looks.
    pub log_format: LogFormat,
    /// Who may read the metrics without a token.
    pub metrics_access: MetricsAccess,
    /// Whose pages may check flags.
    pub cors_origins: CorsOrigins,
    /// Whether webhooks may lead to addresses that are not of the public internet.
    pub webhooks_allow_private: bool,
    /// Whether webhooks are told of entries.
    pub webhooks_deliver: bool,
    /// The mail server that guardrails tell people by, if there is one.
    pub mail: Option<MailServer>,
    /// The bounds of what callers may ask for.
    pub limits: Limits,
    /// Expiry and approvals.
    pub rules: Rules,
    /// How long what the gate decided from is kept.
    pub keep_evidence: DurationMs,
}

/// Where TLS has its certificates and its key from, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those of its issuers after it.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// Whether clients show certificates too.
    pub clients: ClientCertificates,
}

/// Whether clients show certificates. One that is shown has to come from a CA of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None is asked for.
    Off,
    /// One is asked for, and who has none is served all the same.
    Optional(PathBuf),
    /// No connection without one.
    Required(PathBuf),
}

/// What is logged: this and everything graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What an operator should look at.
    Warn,
    /// What an operator should know.
    Info,
    /// Every request.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Its name, as `tracing` reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Who may read the metrics without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Callers on this machine.
    Loopback,
    /// Everyone.
    Everyone,
    /// Nobody: a viewer's token is needed.
    Nobody,
}

/// Whose pages may check flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigins {
    /// Every page.
    Any,
    /// Pages of these origins, each as a browser sends it: `https://app.example.org`.
    Only(Vec<String>),
}

/// The bounds of what callers may ask for. Passing one is refused, never queued without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections open at once.
    pub connections: usize,
    /// Most event streams open at once.
    pub streams: usize,
    /// Most requests worked on at once, streams aside.
    pub in_flight: usize,
    /// Largest request body.
    pub body_bytes: usize,
    /// Requests a second of one token. None: no limit.
    pub requests_per_second: Option<u32>,
    /// Requests that one token may make at once after a pause.
    pub burst: u32,
    /// Refused tokens a minute from one address.
    pub failed_logins_per_minute: u32,
    /// Pages a minute that one address may open.
    pub pages_per_minute: u32,
    /// How long a client may take for the TLS handshake, then to send the head, then the body, of a request.
    pub request_timeout: Duration,
    /// How long a client may take nothing of what it is sent.
    pub write_timeout: Duration,
    /// How long a quiet connection is kept.
    pub keep_alive: Duration,
}

/// One mistake in the settings.
#[derive(Clone, Debug)]
pub enum ConfigProblem {
    /// The file that was named cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: std::io::ErrorKind,
    },
    /// A place in a file that is no TOML.
    NotToml {
        /// Where.
        origin: Origin,
        /// What the parser says.
        problem: String,
    },
    /// A name that is no setting's.
    Unknown {
        /// As typed.
        name: String,
        /// Where.
        origin: Origin,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// A table or a date where a value is needed.
    NotAValue {
        /// Of which setting.
        setting: &'static Setting,
        /// Where.
        origin: Origin,
    },
    /// A value that cannot be understood.
    Invalid {
        /// Of which setting.
        setting: &'static Setting,
        /// Where.
        origin: Origin,
        /// As typed.
        found: String,
        /// What to write.
        expected: String,
    },
    /// Values that do not go together.
    Conflict {
        /// Of which settings, and where each stands.
        between: Vec<(&'static Setting, Origin)>,
        /// What is wrong and what to write.
        problem: String,
    },
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigProblem::Unreadable { path, problem } => {
                write!(f, "{}: cannot be read ({problem}); check the path and its rights", path.display())
            }
            ConfigProblem::NotToml { origin, problem } => write!(f, "{origin}: not TOML: {problem}"),
            ConfigProblem::Unknown { name, origin, nearest } => {
                write!(f, "{origin}: there is no setting `{name}`")?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean `{nearest}`?"),
                    None => f.write_str("; `tidegate serve --print-config` lists them all"),
                }
            }
            ConfigProblem::NotAValue { setting, origin } => {
                write!(f, "{origin}: `{}` needs a value such as `{}`", setting.path, setting.default)
            }
            ConfigProblem::Invalid { setting, origin, found, expected } => {
                write!(f, "{origin}: `{}` cannot be `{found}`: write {expected}", setting.path)
            }
            ConfigProblem::Conflict { between, problem } => {
                for (index, (setting, origin)) in between.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}`{}` ({origin})", setting.path)?;
                }
                write!(f, ": {problem}")
            }
        }
    }
}

/// All mistakes in the settings.
#[derive(Clone, Debug)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<ConfigProblem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the settings have a mistake:")?,
            n => write!(f, "the settings have {n} mistakes:")?,
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// Something that is allowed and should be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A variable that begins with `TIDEGATE_` and means nothing here.
    UnknownVariable(String),
    /// Other machines reach the server over plain HTTP.
    InsecureHttp(SocketAddr),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UnknownVariable(name) => {
                write!(f, "environment variable {name} is no setting of the server and was ignored")
            }
            Warning::InsecureHttp(address) => write!(
                f,
                "listening on {address} over plain HTTP: whoever can read the network can read the tokens"
            ),
        }
    }
}

/// Checked settings, with what should be said about them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What was typed where, for [`show`].
    pub typed: Typed,
    /// What should be known.
    pub warnings: Vec<Warning>,
}

/// Where settings may stand.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that was named, if one was.
    pub file: Option<PathBuf>,
    /// The variables of the environment.
    pub env: Vec<(OsString, OsString)>,
    /// The flags that were given: the setting's path and the text.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// Reads and checks everything; all mistakes come back together.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let mut typed = Typed::default();
        if let Some(path) = &self.file {
            read_file(path, &mut typed, &mut problems);
        }
        let env = self.env.into_iter().filter_map(|(name, text)| {
            // A name that is no text is nobody's setting; a value that is none fails its own check.
            Some((name.into_string().ok()?, text.to_string_lossy().into_owned()))
        });
        typed.read_env(env, &mut problems, &mut warnings);
        for (path, text) in self.flags {
            let flag = setting::find(path).map_or_else(String::new, Setting::flag_name);
            typed.set(path, text, Origin::Flag(format!("--{flag}")));
        }
        match validate::check(&typed, &mut problems, &mut warnings) {
            Some(config) if problems.is_empty() => Ok(Loaded { config, typed, warnings }),
            _ => Err(ConfigError { problems }),
        }
    }
}

fn read_file(path: &Path, typed: &mut Typed, problems: &mut Vec<ConfigProblem>) {
    match std::fs::read_to_string(path) {
        Ok(text) => typed.read_toml(path, &text, problems),
        Err(error) => {
            problems.push(ConfigProblem::Unreadable { path: path.to_owned(), problem: error.kind() });
        }
    }
}
