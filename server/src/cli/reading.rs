//! Reading members of an answer that may or may not be there, and the files that were named.

use std::path::Path;

use rollout_rules::governance::Work;
use rollout_rules::time::UnixMs;
use serde::Deserialize as _;
use serde_json::Value;

use super::failure::Failure;

/// The items of a list's answer.
pub(super) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A member as text, however it is written; nothing if it is absent.
pub(super) fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A member as a moment.
pub(super) fn moment(value: &Value, name: &str) -> Option<UnixMs> {
    UnixMs::parse_rfc3339(value.get(name)?.as_str()?)
}

/// The text of a file that was named on the command line; `-` is standard input.
pub(super) fn typed_file(path: &Path) -> Result<String, Failure> {
    let read = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Who acted, in a word or two: `ada`, `service deploy`, `agent claude-5 via editor for ada`; of an agent also what its act came from, if
/// it said so.
pub(super) fn actor(actor: &Value) -> String {
    match actor["type"].as_str() {
        Some("human") => text(actor, "name"),
        Some("service") => format!("service {}", text(actor, "name")),
        Some("agent") => {
            let who = format!(
                "agent {} via {} for {}",
                text(actor, "model"),
                text(actor, "tool"),
                text(actor, "on_behalf_of")
            );
            work(actor).map_or_else(|| who.clone(), |work| format!("{who}: {work}"))
        }
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

/// What an agent's act came from, if it said so.
pub(super) fn work(actor: &Value) -> Option<Work> {
    Work::deserialize(actor.get("work")?).ok()
}
