//! What a feed client is told, what it says, and how it stands.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::state::{Applied, ClientState, FrameError};
use super::super::{FrameCodecError, ResumeToken};
#[cfg(doc)]
use super::{MAX_ACK_KILLS, SILENCE};
use crate::ids::{KillId, Revision};
use crate::time::DurationMs;

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The connection stands; its bytes follow.
    Connected,
    /// Bytes arrived.
    Bytes(&'a [u8]),
    /// The connection was refused, or ended.
    Lost(Loss),
    /// Time passed.
    Tick,
    /// Nobody looks: go without a connection until told to wake.
    Rest,
    /// Somebody looks again.
    Wake,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The server ended the stream; others may be ready to take it.
    Ended,
    /// The server could not be reached, or the connection broke.
    Failed(String),
    /// The server answered, but not with a stream.
    Refused {
        /// The HTTP status.
        status: u16,
        /// How long to wait, if the server said so.
        retry_after: Option<DurationMs>,
    },
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a connection now, with this token as `Last-Event-ID` if there is one.
    Connect {
        /// Where to go on from.
        resume: Option<ResumeToken>,
    },
    /// Close the connection; nothing more is wanted from it.
    Disconnect,
    /// Answer checks from this state from now on, and keep it on disk.
    Serve {
        /// The state.
        state: Arc<ClientState>,
        /// What is new in it.
        applied: Applied,
    },
    /// Tell the server what is served, at once.
    Ack {
        /// Up to where.
        revision: Revision,
        /// Kills that came into effect with it. The first acknowledgement on a connection also names
        /// those that were in effect before, since its server may never have heard of them; up to
        /// [`MAX_ACK_KILLS`] in all, the latest.
        kill_ids: Vec<KillId>,
    },
    /// The standing changed.
    Standing(Standing),
    /// The server said something that only the driver knows what to do with.
    Said {
        /// The name of the server-sent event.
        name: String,
        /// What it carries.
        data: Vec<u8>,
    },
}

/// How a client stands with its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has never had a connection, and tries.
    Starting,
    /// What it serves is what the server serves.
    Live,
    /// It is cut off, and serves what it had last.
    Stale {
        /// Since when, on the driver's clock.
        since: DurationMs,
        /// What stands in the way.
        why: Trouble,
    },
}

/// What stands between a client and its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The stream ended; a new one is on its way.
    Ended,
    /// The server cannot be reached.
    Unreachable(String),
    /// The stream was silent for [`SILENCE`].
    Silent,
    /// The key is unknown, revoked, expired or not meant for feeds (401, 403).
    Unauthorized,
    /// The server refused for another reason.
    Refused {
        /// The HTTP status.
        status: u16,
    },
    /// What the server sent does not fit what the client has; it asks for a snapshot.
    OutOfStep(FrameError),
    /// What the server sent cannot be read.
    Unreadable(FrameCodecError),
    /// It rests, since nobody looks.
    Resting,
}
