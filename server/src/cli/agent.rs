//! A language model at the command line: which one acts, for whom, and what its act came from.

use std::str::FromStr;

use clap::Args;
use rollout_rules::governance::MAX_WORK_FILES;
use serde_json::Value;

use super::client::encoded;
use super::failure::Failure;
use super::gate::artifact::{ArtifactError, digest_of};
use super::session::Given;

/// Who acts, if it is an agent.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Language models")]
pub(super) struct AgentOptions {
    /// Act as an agent: MODEL,TOOL,ON-BEHALF-OF
    #[arg(long, env = "TIDEGATE_AGENT", global = true, value_name = "MODEL,TOOL,FOR")]
    as_agent: Option<Given<AgentName>>,
    /// The prompt that the agent acts on: its file, of which only the SHA-256 is sent, or sha256: and 64 hexadecimal digits
    #[arg(long, env = "TIDEGATE_AGENT_PROMPT", hide_env_values = true, global = true, value_name = "FILE")]
    agent_prompt: Option<Given<String>>,
    /// A file that the agent wrote, by its name; may be repeated (in the variable: with commas)
    #[arg(
        long = "agent-file",
        env = "TIDEGATE_AGENT_FILES",
        global = true,
        value_name = "NAME",
        value_delimiter = ','
    )]
    agent_files: Vec<String>,
    /// Who looked at what the agent did
    #[arg(long, env = "TIDEGATE_AGENT_REVIEWER", global = true, value_name = "NAME")]
    agent_reviewer: Option<Given<String>>,
}

/// What every request says of the agent that acts, as its headers have it.
#[derive(Clone, Debug, Default)]
pub(super) struct Acting {
    /// Which: `Tidegate-Agent`.
    pub agent: Option<String>,
    /// What its act came from: `Tidegate-Agent-Work`.
    pub work: Option<String>,
}

impl AgentOptions {
    /// As the headers have it. A prompt's file is read for its digest.
    pub(super) fn acting(&self) -> Result<Acting, Failure> {
        let agent = Given::named(self.as_agent.clone()).as_ref().map(AgentName::header);
        let mut parts = Vec::new();
        if let Some(prompt) = Given::named(self.agent_prompt.clone()) {
            let digest = digest_of(&prompt).map_err(|error| not_a_prompt(&prompt, &error))?;
            parts.push(format!("prompt={digest}"));
        }
        let files: Vec<&String> = self.agent_files.iter().filter(|file| !file.is_empty()).collect();
        parts.extend(files.iter().take(MAX_WORK_FILES).map(|file| format!("file={}", encoded(file))));
        let unnamed = files.len().saturating_sub(MAX_WORK_FILES);
        if unnamed > 0 {
            parts.push(format!("more-files={unnamed}"));
        }
        if let Some(reviewer) = Given::named(self.agent_reviewer.clone()) {
            parts.push(format!("reviewer={}", encoded(&reviewer)));
        }
        Ok(Acting { agent, work: (!parts.is_empty()).then(|| parts.join("; ")) })
    }
}

/// What was given is not told again where it may be the prompt itself.
fn not_a_prompt(given: &str, error: &ArtifactError) -> Failure {
    let whole = "name the file that holds the prompt, or its digest: sha256: and 64 hexadecimal digits";
    Failure::usage(match error {
        ArtifactError::Unreadable { source, .. } if !given.contains(char::is_whitespace) => {
            format!("the prompt's file {given} cannot be read ({source}): {whole}")
        }
        _ => format!("that is no prompt of an agent: {whole}"),
    })
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
    fn header(&self) -> String {
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

impl FromStr for AgentName {
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
