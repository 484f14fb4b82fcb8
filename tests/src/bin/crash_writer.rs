//! A server without HTTP, to be killed: it makes flags and kills as fast as it can, and prints a line for
//! each acknowledgement. The crash test reads the lines, kills it, and looks whether it told the truth.
//!
//! `crash-writer DIRECTORY ROUND [slow]`. With `slow`, the log takes a while for each append, so that kills
//! take effect ahead of it.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rollout_rules::change::{Command, Reach};
use rollout_rules::ids::{AppKey, LogId, Revision};
use tidegate::clock::Clock;
use tidegate::log::lock::DirectoryLock;
use tidegate::log::sled::SledLog;
use tidegate::log::{
    Anchor, AppendError, BoxFuture, ChangeLog, CheckpointError, Expect, ReadError, StoredCheckpoint, Tail,
};
use tidegate::state::{CommandHandle, Readiness, Refusal, Request, State, StateConfig, SubmitError};
use tidegate_tests::ask::{create_flag, kill, request};

/// Commands under way at one time.
const WRITERS: usize = 16;
/// How long the slow log takes: longer than a kill waits for it.
const SLOWNESS: Duration = Duration::from_millis(80);

/// A log that takes its time before it begins to append.
struct SlowLog(Arc<SledLog>);

impl ChangeLog for SlowLog {
    fn log_id(&self) -> &LogId {
        self.0.log_id()
    }

    fn head(&self) -> Anchor {
        self.0.head()
    }

    fn append(&self, expect: Expect, entry: Arc<[u8]>) -> BoxFuture<'static, Result<Anchor, AppendError>> {
        let log = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::time::sleep(SLOWNESS).await;
            log.append(expect, entry).await
        })
    }

    fn tail(&self, after: Revision) -> Result<Box<dyn Tail>, ReadError> {
        self.0.tail(after)
    }

    fn load_checkpoint(&self, at_most: Revision) -> Result<Option<StoredCheckpoint>, CheckpointError> {
        self.0.load_checkpoint(at_most)
    }

    fn store_checkpoint(&self, checkpoint: &StoredCheckpoint) -> Result<(), CheckpointError> {
        self.0.store_checkpoint(checkpoint)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, round, rest @ ..] = &arguments[..] else {
        eprintln!("usage: crash-writer DIRECTORY ROUND [slow]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime needs nothing that could be missing");
    runtime.block_on(write_until_killed(Path::new(directory), round, !rest.is_empty()));
    ExitCode::FAILURE
}

async fn write_until_killed(directory: &Path, round: &str, slow: bool) {
    let _lock = DirectoryLock::take(directory).expect("the last one was killed");
    say("opening 0 -");
    let sled = SledLog::open(directory).expect("the log opens after every crash");
    let log: Arc<dyn ChangeLog> = if slow { Arc::new(SlowLog(Arc::new(sled))) } else { Arc::new(sled) };
    let config = StateConfig { kill_journal: Some(directory.join("kills")), ..StateConfig::default() };
    let state = State::start(config, log, Clock::system()).expect("the state starts after every crash");
    assert_eq!(state.live.settled().await, Readiness::Ready);
    create_app(&state.commands).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let commands = state.commands.clone();
        let name = format!("r{round}-w{writer}");
        if writer == 0 {
            writers.spawn(kill_for_ever(commands, name));
        } else {
            writers.spawn(create_flags_for_ever(commands, name));
        }
    }
    writers.join_next().await;
}

async fn create_app(commands: &CommandHandle) {
    let command = Command::CreateApp {
        key: app(),
        name: String::new(),
        owner: String::new(),
        tier: Default::default(),
        monthly_budget_micros: None,
        currency: None,
        environments: None,
        sensitive: Vec::new(),
    };
    match commands.submit(ask(command)).await {
        Ok(_) | Err(SubmitError::Refused(Refusal::AlreadyExists { .. })) => {}
        Err(error) => panic!("no app: {error}"),
    }
}

async fn create_flags_for_ever(commands: CommandHandle, name: String) {
    for number in 0.. {
        let key = format!("{name}-{number}");
        let command = create_flag(app(), key.parse().expect("a key"));
        let applied = commands.submit(ask(command)).await.expect("created");
        say(&format!("flag {} {key}", applied.revision));
    }
}

async fn kill_for_ever(commands: CommandHandle, name: String) {
    for number in 0.. {
        let kill_id = format!("{name}-{number}");
        let command = kill(&kill_id, Reach::App { app: app() });
        let applied = commands.submit(ask(command)).await.expect("killed");
        let how = if applied.durable { "kill" } else { "overlay" };
        say(&format!("{how} {} {kill_id}", applied.revision));
    }
}

/// One write for one line: a line is read whole or not at all.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).expect("somebody reads");
}

fn app() -> AppKey {
    AppKey::new("shop").expect("a key")
}

fn ask(command: Command) -> Request {
    request("crash-writer", command)
}
