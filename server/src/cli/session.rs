//! What every command of the tool shares: where the server is, who calls, and how to print.

use std::io::Write;

use clap::Args;
use rollout_rules::time::UnixMs;
use serde_json::Value;

use super::client::Client;
use super::failure::Failure;
use super::output::Style;
use crate::clock::Clock;

/// Options of every command that speaks to a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server and output")]
pub(super) struct CallOptions {
    /// Where the server is
    #[arg(long, env = "TIDEGATE_URL", default_value = "http://127.0.0.1:8080", global = true)]
    pub url: String,
    /// The token to act with; better in TIDEGATE_TOKEN, where other users of the machine cannot see it
    #[arg(long, env = "TIDEGATE_TOKEN", hide_env_values = true, hide_default_value = true, global = true)]
    pub token: Option<String>,
    /// Print what the server answered as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Why; the log keeps it
    #[arg(long, global = true, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Act as an agent: MODEL,TOOL,ON-BEHALF-OF
    #[arg(long, env = "TIDEGATE_AGENT", global = true, value_name = "MODEL,TOOL,FOR")]
    pub as_agent: Option<AgentName>,
}

/// A language model that acts for someone, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentName {
    model: String,
    tool: String,
    on_behalf_of: String,
}

impl AgentName {
    /// As the header `Tidegate-Agent` has it.
    pub(super) fn header(&self) -> String {
        format!("model={}; tool={}; on-behalf-of={}", self.model, self.tool, self.on_behalf_of)
    }

    /// As the API has an actor.
    pub(super) fn actor(&self) -> Value {
        serde_json::json!({
            "type": "agent", "model": self.model, "tool": self.tool, "on_behalf_of": self.on_behalf_of,
        })
    }
}

/// A text that names no agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotAnAgent;

impl std::fmt::Display for NotAnAgent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("write the model, the tool and for whom: claude-5,my-editor,ada@example.org")
    }
}

impl std::error::Error for NotAnAgent {}

impl std::str::FromStr for AgentName {
    type Err = NotAnAgent;

    fn from_str(text: &str) -> Result<AgentName, NotAnAgent> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let [model, tool, on_behalf_of] = parts[..] else { return Err(NotAnAgent) };
        let good = |part: &str| !part.is_empty() && part.is_ascii() && !part.contains([';', '\r', '\n']);
        if ![model, tool, on_behalf_of].into_iter().all(good) {
            return Err(NotAnAgent);
        }
        Ok(AgentName {
            model: model.to_owned(),
            tool: tool.to_owned(),
            on_behalf_of: on_behalf_of.to_owned(),
        })
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
        let agent = call.as_agent.as_ref().map(AgentName::header);
        let token = call.token.clone().filter(|token| !token.is_empty());
        Ok(Session {
            client: Client::new(&call.url, token, agent)?,
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
        if value.is_null() { self.say("{}") } else { self.say(format_args!("{value:#}")) }
    }

    /// Prints one line for people.
    pub(super) fn say(&mut self, line: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{line}")?)
    }

    /// Prints the answer as JSON if that is wanted, else the line.
    pub(super) fn answer(&mut self, body: &Value, line: impl std::fmt::Display) -> Result<(), Failure> {
        if self.json { self.print_json(body) } else { self.say(line) }
    }
}
