//! The state of a node: commands go in, entries come out of the log, and one published value is what
//! everybody reads.
//!
//! One thread runs it all (`node`): it decides commands on a speculative fold and appends what comes out
//! (`commit`), follows the log and publishes what has become durable (`follow`), and puts kills in
//! effect that the log does not take (`kills`).

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rollout_rules::governance::Rules;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::log::{ChangeLog, CheckpointError};

mod checkpoint;
mod command;
mod commit;
mod follow;
mod killjournal;
mod kills;
mod node;
mod past;
mod published;
mod rollouts;
mod timers;

pub use command::{Applied, CommandHandle, MAX_WAITING, MAX_WAITING_KILLS, Refusal, Request, SubmitError};
#[cfg(test)]
pub(crate) use commit::MAX_UNDER_WAY;
pub use killjournal::MAX_KILLS;
pub use kills::{MAX_OVERLAYS, PATIENCE as KILL_PATIENCE};
pub use past::{MAX_AT_ONCE, MAX_FOLDED, Moment, Past, PastError, PastState};
pub use published::{Event, Live, Overlay, Published, Readiness};

/// What a node's state needs to know.
#[derive(Clone, Debug, Default)]
pub struct StateConfig {
    /// Lives of flags and approvals, for commands decided here.
    pub rules: Rules,
    /// Where kills are kept that the log has not taken. None: only in memory.
    pub kill_journal: Option<PathBuf>,
    /// Whether rollouts wait with their next stage until [`Live::rollouts_may_go_on`]: set where somebody watches what they
    /// do, so that no stage is begun before what was reported until the start is judged.
    pub rollouts_wait: bool,
}

/// Why the state does not start.
#[derive(Debug)]
pub enum StartError {
    /// The journal of kills cannot be opened.
    KillJournal(std::io::Error),
    /// The checkpoints cannot be read.
    Checkpoints(CheckpointError),
    /// The system refuses a thread.
    Thread(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::KillJournal(error) => write!(f, "the journal of kills does not open: {error}"),
            StartError::Checkpoints(error) => error.fmt(f),
            StartError::Thread(error) => write!(f, "no thread could be started: {error}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StartError::KillJournal(error) | StartError::Thread(error) => Some(error),
            StartError::Checkpoints(error) => Some(error),
        }
    }
}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> StartError {
        StartError::Thread(error)
    }
}

/// A running state. Dropping it stops it, without waiting.
pub struct State {
    /// Takes commands.
    pub commands: CommandHandle,
    /// What is published.
    pub live: Arc<Live>,
    /// The log below, for whoever reads entries.
    pub log: Arc<dyn ChangeLog>,
    stop: watch::Sender<bool>,
    stopped: oneshot::Receiver<()>,
}

impl State {
    /// Loads the newest checkpoint and starts to follow the log from there. It returns before the log is
    /// folded: see [`Live::settled`].
    pub fn start(config: StateConfig, log: Arc<dyn ChangeLog>, clock: Clock) -> Result<State, StartError> {
        let folded = Arc::new(checkpoint::load(log.as_ref()).map_err(StartError::Checkpoints)?);
        let (kept_sender, kept) = mpsc::channel(MAX_KILLS);
        let journal = config.kill_journal.as_deref();
        let journal = journal.map(|path| killjournal::KillJournal::open(path, kept_sender)).transpose();
        let (journal, left) = journal.map_err(StartError::KillJournal)?.unzip();
        let kills = kills::Kills::new(journal, left.unwrap_or_default());
        let ready_at = log.head().revision;
        let readiness = Readiness::Folding { at: folded.revision(), until: ready_at };
        let published = Published::new(Arc::clone(&folded), kills.overlays());
        let live = Live::new(published, readiness, config.rollouts_wait);
        let now = clock.now();
        let checkpoints =
            checkpoint::Checkpoints::start(Arc::clone(&log), folded.revision(), clock.clone(), now)?;
        let (commands, lanes) = CommandHandle::new();
        let node = node::Node {
            log: Arc::clone(&log),
            clock: clock.clone(),
            rules: Arc::new(config.rules),
            live: Arc::clone(&live),
            folded,
            pipeline: commit::Pipeline::default(),
            kills,
            checkpoints,
            wakes: tokio::task::JoinSet::new(),
            log_hangs: false,
            ready_at,
        };
        let (stop, stopping) = watch::channel(false);
        let (done, stopped) = oneshot::channel();
        let timers = timers::run(Arc::clone(&live), commands.clone(), clock, now);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        std::thread::Builder::new().name("tidegate-state".to_owned()).spawn(move || {
            runtime.block_on(async {
                let timers = tokio::spawn(timers);
                node.run(lanes, kept, stopping).await;
                timers.abort();
            });
            drop(runtime);
            let _ = done.send(());
        })?;
        Ok(State { commands, live, log, stop, stopped })
    }

    /// Finishes what is under way, stores a checkpoint and stops. Commands are refused from now on.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // An error means that it stopped by itself.
        let _ = self.stopped.await;
    }
}
