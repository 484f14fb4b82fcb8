//! What every command of the tool shares: where the server is, who calls, and how to print.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use rollout_rules::time::UnixMs;
use serde_json::Value;

use super::agent::AgentOptions;
use super::client::Client;
use super::failure::Failure;
use super::output::{Style, harmless};
use super::trust::TlsOptions;
use crate::clock::Clock;

/// Where a server is if nobody says.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// What an option or its variable names; an empty text names nothing, as scripts expect of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given<T>(Option<T>);

impl<T> Given<T> {
    /// What is named, if anything is.
    pub(super) fn named(given: Option<Given<T>>) -> Option<T> {
        given.and_then(|given| given.0)
    }
}

impl<T: FromStr> FromStr for Given<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Given<T>, T::Err> {
        if text.is_empty() { Ok(Given(None)) } else { text.parse().map(|named| Given(Some(named))) }
    }
}

/// Options of every command that speaks to a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server and output")]
pub(super) struct CallOptions {
    /// Where the server is
    #[arg(long, env = "TIDEGATE_URL", default_value = DEFAULT_URL, global = true)]
    pub url: String,
    /// The token to act with; better in TIDEGATE_TOKEN, where other users of the machine cannot see it
    #[arg(long, env = "TIDEGATE_TOKEN", hide_env_values = true, hide_default_value = true, global = true)]
    pub token: Option<String>,
    /// Trust the CA certificates of this PEM file when the server is https, in place of the system's
    #[arg(long, env = "TIDEGATE_CACERT", global = true, value_name = "FILE")]
    pub cacert: Option<Given<PathBuf>>,
    /// Show this certificate (PEM) where an https server asks for one
    #[arg(id = "client_cert", long = "cert", env = "TIDEGATE_CERT", global = true, value_name = "FILE")]
    pub cert: Option<Given<PathBuf>>,
    /// The certificate's private key (PEM), if it is not in the same file
    #[arg(id = "client_key", long = "key", env = "TIDEGATE_KEY", global = true, value_name = "FILE")]
    pub key: Option<Given<PathBuf>>,
    /// Print what the server answered as JSON on standard output, and a failure as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Why; the log keeps it
    #[arg(long, global = true, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub agent: AgentOptions,
}

impl CallOptions {
    /// The files of TLS that are named.
    pub(super) fn tls(&self) -> TlsOptions {
        TlsOptions {
            cacert: Given::named(self.cacert.clone()),
            cert: Given::named(self.cert.clone()),
            key: Given::named(self.key.clone()),
        }
    }
}

/// One run of the tool.
pub(super) struct Session {
    /// Speaks to the server.
    pub client: Client,
    /// Where the output goes.
    pub out: Box<dyn Write>,
    /// How it looks.
    pub style: Style,
    /// Whether JSON is wanted.
    pub json: bool,
    /// Why, for the log.
    pub reason: Option<String>,
    /// When this began.
    pub now: UnixMs,
}

impl Session {
    /// A session as the options say, writing to standard output.
    pub(super) fn open(call: &CallOptions) -> Result<Session, Failure> {
        // Files that hold a token often end with a line break.
        let token = call.token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        let url = if call.url.is_empty() { DEFAULT_URL } else { &call.url };
        Ok(Session {
            client: Client::new(url, token.map(str::to_owned), call.agent.acting()?, &call.tls())?,
            out: Box::new(std::io::stdout().lock()),
            style: Style::of_stdout(),
            json: call.json,
            reason: call.reason.clone(),
            now: Clock::system().now(),
        })
    }

    /// A body with the reason that was given.
    pub(super) fn with_reason(&self, mut body: Value) -> Value {
        if let (Some(reason), Some(members)) = (&self.reason, body.as_object_mut()) {
            members.insert("reason".to_owned(), reason.clone().into());
        }
        body
    }

    /// Prints JSON for programs.
    pub(super) fn print_json(&mut self, value: &Value) -> Result<(), Failure> {
        // An answer without a body says that it is done.
        Ok(if value.is_null() { writeln!(self.out, "{{}}") } else { writeln!(self.out, "{value:#}") }?)
    }

    /// Prints one line for people.
    pub(super) fn say(&mut self, line: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{}", harmless(&line.to_string()))?)
    }

    /// Prints the answer as JSON if that is wanted, else the line.
    pub(super) fn answer(&mut self, body: &Value, line: impl std::fmt::Display) -> Result<(), Failure> {
        if self.json { self.print_json(body) } else { self.say(line) }
    }
}
