//! How a client stands with its server, in words for people and in types for programs.

use std::fmt;

use rollout_rules::feed::machine::Trouble;
use rollout_rules::ids::Revision;
use rollout_rules::time::UnixMs;

/// How a client stands with its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It has no flags yet, and its first connection is on its way: checks answer their defaults.
    Starting,
    /// It serves what the server serves.
    Live {
        /// Up to which revision of the log.
        revision: Revision,
    },
    /// It serves what an earlier run kept on disk, and has not heard from the server since.
    FromCache {
        /// When that was kept.
        saved_at: UnixMs,
        /// What stands in the way; nothing while the first connection is on its way.
        why: Option<Problem>,
    },
    /// It was live and is cut off: it serves what it had last, and goes on honouring expiry.
    Stale {
        /// Since when.
        since: UnixMs,
        /// What stands in the way.
        why: Problem,
    },
    /// It has no flags and no connection: checks answer their defaults.
    Offline {
        /// Since when.
        since: UnixMs,
        /// What stands in the way.
        why: Problem,
    },
}

/// What stands between a client and its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The server ended the stream, as it does when it shuts down; a new one is on its way.
    Ended,
    /// The server cannot be reached.
    Unreachable {
        /// What the system said.
        detail: String,
    },
    /// Nothing was heard for 45 seconds on an open stream.
    Silent,
    /// The key is unknown, revoked, expired or not meant for feeds. It is tried again slowly.
    Unauthorized,
    /// The server refused for another reason.
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// What the server sent did not fit or could not be read.
    Unusable {
        /// What was wrong with it.
        detail: String,
    },
    /// The SDK's own thread was ended by a panic, be it of the clock that the program gave it. Nothing is
    /// heard from the server until the program makes a new client.
    Stopped,
}

impl Status {
    /// Whether checks are answered from flags, fresh or not, and not from their defaults.
    pub fn has_flags(&self) -> bool {
        !matches!(self, Status::Starting | Status::Offline { .. })
    }

    /// Whether what is served is what the server serves.
    pub fn is_live(&self) -> bool {
        matches!(self, Status::Live { .. })
    }

    /// What stands in the way, if anything does.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Status::Starting | Status::Live { .. } => None,
            Status::FromCache { why, .. } => why.as_ref(),
            Status::Stale { why, .. } | Status::Offline { why, .. } => Some(why),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Starting => f.write_str("starting: no flags yet, checks answer their defaults"),
            Status::Live { revision } => write!(f, "live at revision {revision}"),
            Status::FromCache { saved_at, why: None } => write!(f, "serving what was kept at {saved_at}"),
            Status::FromCache { saved_at, why: Some(why) } => {
                write!(f, "serving what was kept at {saved_at}: {why}")
            }
            Status::Stale { since, why } => write!(f, "serving what was known at {since}: {why}"),
            Status::Offline { since, why } => {
                write!(f, "no flags since {since}, checks answer their defaults: {why}")
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Ended => f.write_str("the server ended the stream"),
            Problem::Unreachable { detail } => write!(f, "the server cannot be reached ({detail})"),
            Problem::Silent => f.write_str("the server has fallen silent"),
            Problem::Unauthorized => f.write_str("the server does not accept the key"),
            Problem::Refused { status } => write!(f, "the server refuses with status {status}"),
            Problem::Stopped => f.write_str("the SDK's thread has stopped: make a new client"),
            Problem::Unusable { detail } => write!(f, "the server sent what cannot be used ({detail})"),
        }
    }
}

impl From<&Trouble> for Problem {
    fn from(trouble: &Trouble) -> Problem {
        match trouble {
            // A server never rests.
            Trouble::Ended | Trouble::Resting => Problem::Ended,
            Trouble::Unreachable(detail) => Problem::Unreachable { detail: detail.clone() },
            Trouble::Silent => Problem::Silent,
            Trouble::Unauthorized => Problem::Unauthorized,
            Trouble::Refused { status } => Problem::Refused { status: *status },
            Trouble::OutOfStep(error) => Problem::Unusable { detail: error.to_string() },
            Trouble::Unreadable(error) => Problem::Unusable { detail: error.to_string() },
        }
    }
}

/// A client that has no flags when it was to be ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// How it stands. It goes on trying.
    pub status: Status,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not ready: {}", self.status)
    }
}

impl std::error::Error for NotReady {}
