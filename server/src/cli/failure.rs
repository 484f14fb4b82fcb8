//! Why a command did not do what was asked, what to say about it, and the exit code that scripts see.

use std::fmt;

use serde_json::{Map, Value, json};

use super::reading::{actor, moment, text};
use super::unanswered::{MAYBE_DONE, Unanswered};
use super::when;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// What was typed cannot be carried out.
    Usage {
        /// What is wrong and what to type.
        problem: String,
    },
    /// No answer came.
    Unreachable(Box<Unanswered>),
    /// What stands in front of the server answered in its place.
    Gateway {
        /// From where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// Whether something was to be changed.
        changes: bool,
    },
    /// The server said no.
    Refused(Box<Problem>),
    /// What is there is not what the caller was shown.
    Changed {
        /// How it differs, and what to do.
        problem: String,
    },
    /// A kill that no server acknowledged for as long as was asked.
    Unacknowledged {
        /// Its id.
        kill_id: String,
        /// Why the last attempt failed.
        last: Box<Failure>,
    },
    /// A long list that is sent in parts, and of which a part failed.
    Partly {
        /// How many parts are stored.
        stored: usize,
        /// How many there are.
        all: usize,
        /// Why the next one failed.
        last: Box<Failure>,
    },
    /// A kill was repeated that was taken back since: nothing is killed by it.
    TakenBack {
        /// What was not killed, and what to do.
        problem: String,
    },
    /// The answer is none that a Tidegate server gives.
    Strange {
        /// From where.
        url: String,
        /// What is strange about it.
        problem: String,
    },
    /// What the server sent in a stream is not whole.
    BrokeOff {
        /// What was not done, and what is missing.
        problem: String,
    },
    /// Of many changes some were not made.
    NotAll {
        /// How many there were to make.
        all: usize,
        /// How many of them were not made, or may not have been.
        missing: usize,
        /// What the shell sees: why, of the first that tells.
        code: ExitCode,
    },
    /// Asked whether things differ, and they do.
    Differs {
        /// How many changes would make them alike.
        changes: usize,
    },
    /// A set-up that was looked at and is not as it should be.
    Unsound {
        /// How many checks failed.
        failed: usize,
    },
    /// The output could not be written.
    Output(std::io::Error),
}

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

/// What a shell sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// The server refused.
    Refused = 1,
    /// What was typed makes no command.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// No answer from the server, or one that leaves open whether the change was made.
    Unreachable = 4,
    /// It changed since it was seen.
    Stale = 5,
    /// Approvals, a gate or a human are missing.
    NeedsApproval = 6,
    /// The token is missing, not valid, or does not allow this.
    Unauthorised = 7,
    /// Asked whether things differ, and they do.
    Differs = 8,
}

impl Failure {
    /// A mistake in what was typed.
    pub fn usage(problem: impl Into<String>) -> Failure {
        Failure::Usage { problem: problem.into() }
    }

    /// A webhook's receiver did not take what was sent to it.
    pub fn undelivered(detail: impl Into<String>) -> Failure {
        let problem = Problem {
            code: "not_delivered".to_owned(),
            title: "The receiver did not take it".to_owned(),
            detail: detail.into(),
            ..Problem::default()
        };
        Failure::Refused(Box::new(problem))
    }

    /// What a file says cannot be understood.
    pub fn misread(detail: impl Into<String>) -> Failure {
        let problem = Problem {
            code: "invalid".to_owned(),
            title: "It cannot be read".to_owned(),
            detail: detail.into(),
            ..Problem::default()
        };
        Failure::Refused(Box::new(problem))
    }

    /// What was named is not in what the server has just shown: the same as if the server had said so.
    pub fn missing(detail: impl Into<String>) -> Failure {
        let problem = Problem {
            status: 404,
            code: "not_found".to_owned(),
            title: "There is nothing here".to_owned(),
            detail: detail.into(),
            ..Problem::default()
        };
        Failure::Refused(Box::new(problem))
    }

    /// What a shell sees.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage { .. } => ExitCode::Usage,
            Failure::Unreachable(_)
            | Failure::Gateway { .. }
            | Failure::Strange { .. }
            | Failure::BrokeOff { .. } => ExitCode::Unreachable,
            Failure::NotAll { code, .. } => *code,
            Failure::Differs { .. } => ExitCode::Differs,
            Failure::Changed { .. } => ExitCode::Stale,
            Failure::TakenBack { .. } | Failure::Unsound { .. } | Failure::Output(_) => ExitCode::Refused,
            Failure::Unacknowledged { last, .. } | Failure::Partly { last, .. } => last.exit_code(),
            Failure::Refused(problem) => problem.exit_code(),
        }
    }

    /// Whether the same request may well succeed a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Failure::Unreachable(_) | Failure::Gateway { .. } => true,
            Failure::Refused(problem) => problem.status == 429 || problem.status >= 500,
            _ => false,
        }
    }

    /// Whether the request may have been carried out all the same.
    pub fn leaves_outcome_unknown(&self) -> bool {
        match self {
            Failure::Unreachable(_) | Failure::Gateway { .. } => true,
            Failure::Refused(problem) => problem.leaves_outcome_unknown(),
            _ => false,
        }
    }

    /// Whether an answer was waited for in vain.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Failure::Unreachable(unanswered) if matches!(unanswered.source, ureq::Error::Timeout(_)))
    }

    /// For `--json`: one object.
    pub fn as_json(&self) -> Value {
        let code = self.exit_code() as u8;
        match self {
            Failure::Refused(problem) => {
                let mut body = problem.body.clone();
                body.entry("code").or_insert_with(|| "refused".into());
                body.entry("status").or_insert_with(|| problem.status.into());
                body.entry("detail").or_insert_with(|| problem.to_string().into());
                body.insert("exit_code".to_owned(), code.into());
                Value::Object(body)
            }
            Failure::Unacknowledged { kill_id, last } => {
                let mut body = last.as_json();
                body["kill_id"] = kill_id.as_str().into();
                body
            }
            Failure::Partly { stored, all, last } => {
                let mut body = last.as_json();
                body["stored_parts"] = (*stored).into();
                body["all_parts"] = (*all).into();
                body
            }
            other => json!({"code": other.kind(), "detail": other.to_string(), "exit_code": code}),
        }
    }

    /// The kind's stable name, for what the server does not name itself.
    fn kind(&self) -> &'static str {
        match self {
            Failure::Usage { .. } => "usage",
            Failure::Unreachable(_) | Failure::Gateway { .. } => "no_answer",
            Failure::Refused(_) => "refused",
            Failure::Unacknowledged { last, .. } | Failure::Partly { last, .. } => last.kind(),
            Failure::Changed { .. } => "changed",
            Failure::TakenBack { .. } => "taken_back",
            Failure::Strange { .. } => "strange_answer",
            Failure::BrokeOff { .. } => "broke_off",
            Failure::NotAll { .. } => "not_all",
            Failure::Differs { .. } => "differs",
            Failure::Unsound { .. } => "unsound",
            Failure::Output(_) => "output",
        }
    }

    /// What to do about it, where the tool knows more than the server's text says.
    pub fn advice(&self) -> Option<String> {
        match self {
            Failure::Unreachable(unanswered) => Some(unanswered.advice()),
            Failure::Gateway { changes: true, .. } => Some(MAYBE_DONE.to_owned()),
            Failure::Gateway { .. } => Some("try again in a moment".to_owned()),
            Failure::Unacknowledged { kill_id, last } => {
                let cause = last.advice_if_safe_to_repeat();
                Some(format!(
                    "no server acknowledged the kill: it may or may not be in effect. Repeat it with \
                     --kill-id {kill_id}, which is safe{cause}"
                ))
            }
            Failure::Partly { stored, all, last } => {
                let cause = last.advice_if_safe_to_repeat();
                Some(format!("{stored} of {all} parts were stored; repeating the command is safe{cause}"))
            }
            Failure::Refused(problem) => problem.advice(),
            Failure::NotAll { code: ExitCode::NeedsApproval, .. } => Some(
                "what is done stays done; --propose stores the rest as proposals, for others to approve and apply"
                    .to_owned(),
            ),
            Failure::NotAll { .. } => {
                Some("what is done stays done: the same command later does only what is missing".to_owned())
            }
            _ => None,
        }
    }

    /// What else to do where repeating does no harm, to follow on that.
    fn advice_if_safe_to_repeat(&self) -> String {
        let advice = self.advice().filter(|advice| advice != MAYBE_DONE);
        advice.map_or_else(String::new, |advice| format!("; {advice}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage { problem } | Failure::Changed { problem } | Failure::TakenBack { problem } => {
                f.write_str(problem)
            }
            Failure::Unacknowledged { last, .. } | Failure::Partly { last, .. } => last.fmt(f),
            Failure::Unreachable(unanswered) => unanswered.fmt(f),
            Failure::Gateway { url, status, .. } => {
                write!(f, "no answer from the server behind {url}: what stands before it says {status}")
            }
            Failure::Refused(problem) => problem.fmt(f),
            Failure::Strange { url, problem } => write!(f, "{url} does not answer like Tidegate: {problem}"),
            Failure::BrokeOff { problem } => f.write_str(problem),
            Failure::NotAll { all, missing, .. } => {
                let noun = if *all == 1 { "change" } else { "changes" };
                write!(f, "{missing} of {all} {noun} could not be made")
            }
            Failure::Differs { changes } => {
                let noun = if *changes == 1 { "change" } else { "changes" };
                write!(f, "the server differs from the file by {changes} {noun}")
            }
            Failure::Unsound { failed: 1 } => f.write_str("one check failed"),
            Failure::Unsound { failed } => write!(f, "{failed} checks failed"),
            Failure::Output(error) => write!(f, "the output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl Problem {
    fn exit_code(&self) -> ExitCode {
        match (self.status, self.code.as_str()) {
            (
                _,
                "approvals_needed" | "gate_missing" | "agents_only_propose" | "tier_limit" | "own_approval",
            ) => ExitCode::NeedsApproval,
            (401 | 403, _) => ExitCode::Unauthorised,
            (404, _) => ExitCode::NotFound,
            (412, _) | (_, "proposal_changed") => ExitCode::Stale,
            _ if self.leaves_outcome_unknown() => ExitCode::Unreachable,
            _ => ExitCode::Refused,
        }
    }

    /// Whether the server itself does not know if the change was stored.
    fn leaves_outcome_unknown(&self) -> bool {
        self.code == "outcome_unknown"
    }

    fn advice(&self) -> Option<String> {
        if self.leaves_outcome_unknown() {
            return Some(MAYBE_DONE.to_owned());
        }
        if let Some(seconds) = self.retry_after {
            return Some(format!("try again in {seconds} s"));
        }
        match (self.exit_code(), self.code.as_str()) {
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
    /// What changed since it was seen, one line each; a stale refusal says it.
    pub fn changes(&self) -> Vec<String> {
        let changed = self.body.get("changed").and_then(Value::as_array).map(Vec::as_slice);
        changed.unwrap_or_default().iter().map(change_line).collect()
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
