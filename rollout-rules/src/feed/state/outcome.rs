//! What a frame did to a client's state, or why it does not apply.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::{FlagKey, KillId, LogId, Revision};

/// Why a frame does not apply. The state stays as it was, and the client asks for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// A change came before any snapshot.
    NoState,
    /// It comes from another log.
    OtherLog {
        /// The log of the frame.
        found: LogId,
    },
    /// A frame between was missed.
    Gap {
        /// How far the client is.
        have: Revision,
        /// How far it would have to be.
        follows: Revision,
    },
    /// It speaks of something that the client does not have, or of nothing that can be served.
    Inconsistent {
        /// What, in words.
        what: &'static str,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::NoState => f.write_str("a change came before a snapshot"),
            FrameError::OtherLog { found } => write!(f, "the frame belongs to another log, {found}"),
            FrameError::Gap { have, follows } => {
                write!(f, "a frame is missing: this client is at {have}, the frame follows {follows}")
            }
            FrameError::Inconsistent { what } => f.write_str(what),
        }
    }
}

impl core::error::Error for FrameError {}

/// What a frame did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Where the client is now.
    pub revision: Revision,
    /// Any flag may answer otherwise now.
    pub everything: bool,
    /// Flags that may answer otherwise now, those that depend on them included.
    pub flags: BTreeSet<FlagKey>,
    /// Kills that are in effect now because of it.
    pub kill_ids: Vec<KillId>,
    /// Whether anything is different, be it only the revision.
    pub moved: bool,
}
