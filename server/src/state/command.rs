//! How the rest of the server asks for changes.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rollout_rules::change::Command;
pub use rollout_rules::decide::{Refusal, Request};
use rollout_rules::ids::Revision;
use tokio::sync::{mpsc, oneshot};

use super::published::Published;

/// Most commands waiting to be decided; more are told to come back later.
pub const MAX_WAITING: usize = 1024;
/// Most kills waiting in the lane of their own.
pub const MAX_WAITING_KILLS: usize = 1024;

/// What became of a command.
#[derive(Clone)]
pub struct Applied {
    /// The entry that did it; of a kill that is not durable yet, the last entry before it.
    pub revision: Revision,
    /// Nothing was left to do: the same request or kill came before, or it asked for what is.
    pub already: bool,
    /// Whether it is in the log. A kill that is not is in effect all the same, and kept on disk until
    /// the log takes it, as long as the journal has [places](super::MAX_KILLS).
    pub durable: bool,
    /// Whether the journal of kills has it, so that a restart keeps it. Only of a kill that is not durable.
    pub journaled: bool,
    /// What is published, the command's effect included.
    pub published: Arc<Published>,
}

/// Why a command came to nothing, or may have.
#[derive(Clone, Debug)]
pub enum SubmitError {
    /// The rules say no.
    Refused(Refusal),
    /// Too many commands are waiting. Nothing was done; come back later.
    Busy,
    /// There is no space for the log. Nothing was done.
    Full,
    /// The log cannot be written or followed now. Nothing was done.
    Unavailable,
    /// It may or may not have been done: the log does not say. Look before trying again.
    Unknown,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Refused(refusal) => refusal.fmt(f),
            SubmitError::Busy => f.write_str("too many changes are waiting; try again in a moment"),
            SubmitError::Full => f.write_str("the disk is full; nothing was changed"),
            SubmitError::Unavailable => {
                f.write_str("changes cannot be written down now; nothing was changed")
            }
            SubmitError::Unknown => {
                f.write_str("it is not known whether the change was made; look before trying again")
            }
        }
    }
}

impl Error for SubmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SubmitError::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// The way back to whoever asked.
pub(super) type Reply = oneshot::Sender<Result<Applied, SubmitError>>;

/// A command on its way.
pub(super) struct Task {
    pub(super) request: Request,
    pub(super) reply: Reply,
    /// How often it lost a race and was decided again.
    pub(super) attempts: u8,
}

/// Takes commands. Cheap to clone.
#[derive(Clone)]
pub struct CommandHandle {
    commands: mpsc::Sender<Task>,
    kills: mpsc::Sender<Task>,
}

/// The other ends of the lanes.
pub(super) struct Lanes {
    pub(super) commands: mpsc::Receiver<Task>,
    pub(super) kills: mpsc::Receiver<Task>,
}

impl CommandHandle {
    pub(super) fn new() -> (CommandHandle, Lanes) {
        let (commands, waiting_commands) = mpsc::channel(MAX_WAITING);
        let (kills, waiting_kills) = mpsc::channel(MAX_WAITING_KILLS);
        (CommandHandle { commands, kills }, Lanes { commands: waiting_commands, kills: waiting_kills })
    }

    /// Asks for a change, and answers once it is durable and published, or refused. Kills overtake
    /// everything else. A command whose future is dropped is carried out all the same.
    pub async fn submit(&self, request: Request) -> Result<Applied, SubmitError> {
        let lane = match &request.command {
            Command::Kill { .. } => &self.kills,
            _ => &self.commands,
        };
        let (reply, answer) = oneshot::channel();
        match lane.try_send(Task { request, reply, attempts: 0 }) {
            Ok(()) => answer.await.unwrap_or(Err(SubmitError::Unknown)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(SubmitError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SubmitError::Unavailable),
        }
    }
}
