//! What a server says when it refuses, and what to do about it.

use std::fmt;

use serde_json::{Map, Value};

use super::failure::ExitCode;
use super::reading::{actor, moment, text};
use super::unanswered::MAYBE_DONE;
use super::when;

/// Refusals that end when somebody approves, or when the gate lets the build pass.
const NEEDS_SOMEBODY: [&str; 8] = [
    "approvals_needed",
    "gate_missing",
    "roles_missing",
    "role_needed",
    "waiver_over",
    "agents_only_propose",
    "tier_limit",
    "own_approval",
];

/// What the server says when it refuses: RFC 9457.
#[derive(Debug, Default)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The stable name of the kind.
    pub code: String,
    /// The kind in words.
    pub title: String,
    /// What happened this time, and what to do.
    pub detail: String,
    /// Everything that was said, for programs.
    pub body: Map<String, Value>,
    /// After how many seconds to come back.
    pub retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn exit_code(&self) -> ExitCode {
        match (self.status, self.code.as_str()) {
            (_, code) if NEEDS_SOMEBODY.contains(&code) => ExitCode::NeedsApproval,
            (401 | 403, _) => ExitCode::Unauthorised,
            (404, _) => ExitCode::NotFound,
            (412, _) | (_, "proposal_changed" | "proposal_outdated") => ExitCode::Stale,
            _ if self.leaves_outcome_unknown() => ExitCode::Unreachable,
            _ => ExitCode::Refused,
        }
    }

    /// Whether the server itself does not know if the change was stored.
    pub(super) fn leaves_outcome_unknown(&self) -> bool {
        self.code == "outcome_unknown"
    }

    pub(super) fn advice(&self) -> Option<String> {
        if self.leaves_outcome_unknown() {
            return Some(MAYBE_DONE.to_owned());
        }
        if let Some(seconds) = self.retry_after {
            return Some(format!("try again in {seconds} s"));
        }
        match (self.exit_code(), self.code.as_str()) {
            // Approvals are missing besides.
            (_, "gate_missing") if self.body.contains_key("roles") => Some(
                "mend the build until the gate lets it pass; meanwhile add --propose to the change, and ask others to approve it"
                    .to_owned(),
            ),
            (_, "gate_missing") => {
                Some("once the gate lets the build pass, repeat the command; previews and sandboxes never ask for it".to_owned())
            }
            (_, "roles_missing") => Some(
                "add --propose to the change, and whoever has such a role approves it: \
                 `tidegate proposal approve ID --role ROLE`"
                    .to_owned(),
            ),
            // The text says who has it, or what to ask for.
            (_, "role_needed" | "waiver_over") => None,
            (ExitCode::NeedsApproval, code) if code != "own_approval" => Some(
                "add --propose to a change of a flag, and others can approve and apply it: \
                 `tidegate proposal approve ID`"
                    .to_owned(),
            ),
            (ExitCode::Unauthorised, _) if self.status == 401 => Some(
                "give a valid token in TIDEGATE_TOKEN (or --token); `tidegate serve --new-admin-token` makes one \
                 if all are lost"
                    .to_owned(),
            ),
            (ExitCode::Stale, _) => {
                Some("look at it again and repeat the command if it is still what you want".to_owned())
            }
            _ => None,
        }
    }
}

impl Problem {
    /// What goes above [`Problem::lines`]: the refusal without what they say.
    pub(super) fn headline(&self) -> String {
        match self.code.as_str() {
            "gate_missing" if !self.listed("missing").is_empty() => {
                "the gate does not let this through yet".to_owned()
            }
            // The text names the first of them.
            _ if !self.listed("problems").is_empty() => "it cannot be used as it is".to_owned(),
            _ => self.to_string(),
        }
    }

    /// What there is to list, one line each: what changed since it was seen, what the gate misses, what is wrong where.
    pub(super) fn lines(&self) -> Vec<String> {
        let changed = self.listed("changed").iter().map(change_line);
        let missing = self.listed("missing").iter().filter_map(Value::as_str).map(str::to_owned);
        let wrong = self
            .listed("problems")
            .iter()
            .map(|one| format!("{}: {}", text(one, "field"), text(one, "problem")));
        changed.chain(missing).chain(wrong).collect()
    }

    fn listed(&self, name: &str) -> &[Value] {
        self.body.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

fn change_line(change: &Value) -> String {
    let at = moment(change, "at").map_or_else(String::new, when::minute);
    let kind = match change.get("change").or_else(|| change.get("kind")) {
        Some(Value::String(kind)) => kind.clone(),
        Some(whole) => text(whole, "kind"),
        None => String::new(),
    };
    let kind = kind.replace('_', " ");
    format!("revision {}: {kind} by {}, {at}", text(change, "revision"), actor(&change["actor"]))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The detail says all that the title says, and what to do.
        match (self.detail.as_str(), self.title.as_str()) {
            ("", "") => write!(f, "the server answered {}", self.status),
            ("", title) => f.write_str(title),
            (detail, _) => f.write_str(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: &Value) -> Problem {
        let members = body.as_object().cloned().expect("an object");
        let said = |name: &str| text(body, name);
        Problem {
            status: 403,
            code: said("code"),
            detail: said("detail"),
            body: members,
            ..Problem::default()
        }
    }

    #[test]
    fn what_waits_for_the_gate_or_for_a_role_has_a_code_of_its_own() {
        for code in NEEDS_SOMEBODY {
            assert_eq!(refused(&json!({ "code": code })).exit_code() as u8, 6, "{code}");
        }
        assert_eq!(refused(&json!({ "code": "not_allowed" })).exit_code() as u8, 7);
    }

    #[test]
    fn what_the_gate_misses_is_listed_and_not_said_twice() {
        let problem = refused(&json!({
            "code": "gate_missing",
            "detail": "the gate has no passing decision; it misses: sbom: nothing shows it",
            "missing": ["sbom: nothing shows it", "what to do about it: `tidegate gate explain 7f`"],
        }));
        assert_eq!(problem.headline(), "the gate does not let this through yet");
        assert_eq!(
            problem.lines(),
            ["sbom: nothing shows it", "what to do about it: `tidegate gate explain 7f`"]
        );
        assert!(problem.advice().is_some_and(|advice| !advice.contains("--propose")));
        assert!(problem.to_string().contains("it misses"), "where nothing is listed below");
    }

    #[test]
    fn every_place_of_a_policy_that_is_wrong_is_listed() {
        let problem = refused(&json!({
            "code": "invalid",
            "detail": "tiers.tier1.coverage: a percentage is from 0 to 100",
            "problems": [{ "field": "tiers.tier1.coverage", "problem": "a percentage is from 0 to 100" }],
        }));
        assert_eq!(problem.headline(), "it cannot be used as it is");
        assert_eq!(problem.lines(), ["tiers.tier1.coverage: a percentage is from 0 to 100"]);
    }
}
