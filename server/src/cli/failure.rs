//! Why a command did not do what was asked, what to say about it, and the exit code that scripts see.

use std::fmt;

use serde_json::{Value, json};

pub(super) use super::problem::Problem;
use super::unanswered::{MAYBE_DONE, Unanswered};

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
    /// The gate judged, and what it said is no reason to go on.
    Judged(Judged),
    /// What was to be shown to the gate cannot be.
    NoEvidence {
        /// What, and what to do.
        problem: String,
    },
    /// The output could not be written.
    Output(std::io::Error),
}

/// What the gate said that is no reason to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It may not go to production.
    Denied,
    /// It may not, for nothing but evidence that is missing or cannot be read.
    Lacking,
    /// It may, with warnings, and those were to count.
    Warned,
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

impl ExitCode {
    /// Of `gate check --fail-on-warn`: it passes, with warnings.
    pub const WARNED: ExitCode = ExitCode::Usage;
    /// Of `gate check`: evidence is missing or cannot be read.
    pub const NO_EVIDENCE: ExitCode = ExitCode::NotFound;
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

    /// What was to be shown to the gate cannot be.
    pub fn no_evidence(problem: impl Into<String>) -> Failure {
        Failure::NoEvidence { problem: problem.into() }
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
            Failure::Judged(Judged::Denied) => ExitCode::Refused,
            Failure::Judged(Judged::Warned) => ExitCode::WARNED,
            Failure::Judged(Judged::Lacking) | Failure::NoEvidence { .. } => ExitCode::NO_EVIDENCE,
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
            Failure::Judged(Judged::Denied) => "denied",
            Failure::Judged(Judged::Lacking) | Failure::NoEvidence { .. } => "no_evidence",
            Failure::Judged(Judged::Warned) => "warned",
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
            Failure::Judged(Judged::Denied | Judged::Lacking) => {
                Some("mend what is shown above, and ask again with the same command".to_owned())
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

impl Judged {
    fn words(self) -> &'static str {
        match self {
            Judged::Denied => "the gate denies this build",
            Judged::Lacking => "the gate denies this build: evidence is missing or cannot be read",
            Judged::Warned => "the gate lets this build pass with warnings, and --fail-on-warn counts them",
        }
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
            Failure::BrokeOff { problem } | Failure::NoEvidence { problem } => f.write_str(problem),
            Failure::NotAll { all, missing, .. } => {
                let noun = if *all == 1 { "change" } else { "changes" };
                write!(f, "{missing} of {all} {noun} could not be made")
            }
            Failure::Differs { changes } => {
                let noun = if *changes == 1 { "change" } else { "changes" };
                write!(f, "the server differs from the file by {changes} {noun}")
            }
            Failure::Judged(said) => f.write_str(said.words()),
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
