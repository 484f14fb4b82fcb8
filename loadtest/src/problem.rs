//! Why a scenario cannot be run to its end.

use std::fmt;
use std::time::Duration;

use crate::client::ClientError;
use crate::feed::FeedError;
use crate::in_process::sdk::NoClient;
use crate::peers::PeerError;
use crate::sender::SendError;

/// The reasons.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A server cannot be asked.
    Send(SendError),
    /// Our own server does not do what prepares a run, or belongs to it.
    Prepare(ClientError),
    /// A server that is needed ends instead of listening.
    Start(std::io::Error),
    /// There is no client of the SDK.
    Client(NoClient),
    /// A peer cannot be measured.
    Peer(PeerError),
    /// A server does not grant what a scenario asks for.
    Refused { what: &'static str, status: u16 },
    /// A server gives no `ETag` with all flags.
    NoTag,
    /// What a server answers is not what it would have to.
    Wrong(String),
    /// Something takes too long.
    Late { what: String, after: Duration, then: &'static str },
    /// A crowd of clients cannot go on.
    Feed(FeedError),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Send(source) => source.fmt(f),
            Problem::Prepare(source) => write!(f, "our own server does not do what is needed: {source}"),
            Problem::Start(source) => write!(f, "a server could not be started: {source}"),
            Problem::Client(source) => source.fmt(f),
            Problem::Peer(source) => source.fmt(f),
            Problem::Refused { what, status: status @ (401 | 403) } => {
                write!(
                    f,
                    "asked for {what}, the server answers {status}: it wants another token (--token-file, LOADTEST_TOKEN)"
                )
            }
            Problem::Refused { what, status: 404 } => {
                write!(
                    f,
                    "asked for {what}, the server answers 404: is the flag (--flag) there, and does it speak OFREP?"
                )
            }
            Problem::Refused { what, status } => write!(f, "asked for {what}, the server answers {status}"),
            Problem::NoTag => {
                write!(f, "the server gives no ETag with all flags, so nothing can be unchanged")
            }
            Problem::Late { what, after, then } => {
                write!(f, "{what} took longer than {} s: {then}", after.as_secs())
            }
            Problem::Feed(source) => source.fmt(f),
            Problem::Wrong(what) => write!(f, "the server answers wrongly: {what}"),
        }
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Problem::Send(source) => Some(source),
            Problem::Feed(source) => Some(source),
            Problem::Prepare(source) => Some(source),
            Problem::Start(source) => Some(source),
            Problem::Client(source) => Some(source),
            Problem::Peer(source) => Some(source),
            _ => None,
        }
    }
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Problem {
        Problem::Send(error)
    }
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Problem {
        Problem::Feed(error)
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Problem {
        Problem::Prepare(error)
    }
}

impl From<NoClient> for Problem {
    fn from(error: NoClient) -> Problem {
        Problem::Client(error)
    }
}

impl From<PeerError> for Problem {
    fn from(error: PeerError) -> Problem {
        Problem::Peer(error)
    }
}

impl Problem {
    /// A server said nothing of where it listens.
    pub(crate) fn ended_early() -> Problem {
        Problem::Start(std::io::Error::other("it ended before it listened"))
    }
}
