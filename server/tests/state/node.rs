//! A node on a log in memory that misbehaves on request, and a clock that is moved by hand.

use std::sync::Arc;

use rollout_rules::change::{Anchor, Change, Command, ENTRY_VERSION, Entry, Reach};
use rollout_rules::flag::{AppInfo, Environment, EnvironmentKind, Tier};
use rollout_rules::governance::{Actor, Caller, Rules, Scope};
use rollout_rules::ids::{AppKey, EnvKey, KillId, LogId};
use rollout_rules::time::{DurationMs, UnixMs};

use tidegate::clock::TestClock;
use tidegate::log::Expect;
use tidegate::log::memory::MemoryLog;
use tidegate::state::{Applied, Event, Published, Readiness, Request, State, StateConfig, SubmitError};

pub(crate) const START: UnixMs = UnixMs(1_800_000_000_000);

pub(crate) struct Bench {
    pub(crate) clock: TestClock,
    pub(crate) log: MemoryLog,
    directory: tempfile::TempDir,
    pub(crate) state: State,
}

impl Bench {
    /// A ready node on an empty log.
    pub(crate) async fn new() -> Bench {
        let clock = TestClock::at(START);
        let log = MemoryLog::new(LogId::new("test").expect("a name"));
        let directory = tempfile::tempdir().expect("a directory");
        let state = start(&log, &clock, directory.path());
        assert_eq!(state.live.settled().await, Readiness::Ready);
        Bench { clock, log, directory, state }
    }

    /// A second node on the same log, with a journal of its own.
    pub(crate) async fn another_node(&self) -> State {
        let directory = self.directory.path().join("other");
        std::fs::create_dir(&directory).expect("made");
        let state = start(&self.log, &self.clock, &directory);
        assert_eq!(state.live.settled().await, Readiness::Ready);
        state
    }

    pub(crate) async fn restart(self) -> Bench {
        self.restart_as(false).await
    }

    /// The same, on a node whose rollouts may have to wait until somebody says that they go on.
    pub(crate) async fn restart_as(self, rollouts_wait: bool) -> Bench {
        let Bench { clock, log, directory, state } = self;
        state.stop().await;
        let state = start_as(&log, &clock, directory.path(), rollouts_wait);
        Bench { clock, log, directory, state }
    }

    /// Lets time pass until something has happened.
    pub(crate) async fn let_time_pass_until<T>(&self, future: impl Future<Output = T>) -> T {
        let time = async {
            loop {
                self.clock.advance(DurationMs(10));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = future => done,
            () = time => unreachable!("time does not end"),
        }
    }

    pub(crate) async fn submit(&self, command: Command) -> Result<Applied, SubmitError> {
        self.state.commands.submit(request(command)).await
    }

    pub(crate) async fn append(&self, change: Change) -> Anchor {
        self.state.log.append(Expect::Any, entry(change).encode().into()).await.expect("appended")
    }

    /// Waits until what is published is of interest.
    pub(crate) async fn published(&self, enough: impl Fn(&Published) -> bool) -> Arc<Published> {
        published(&self.state, enough).await
    }
}

pub(crate) async fn published(state: &State, enough: impl Fn(&Published) -> bool) -> Arc<Published> {
    let (mut published, mut events) = state.live.subscribe();
    while !enough(&published) {
        let event = events.recv().await.expect("the state runs");
        if let Event::Entry { published: new, .. } | Event::Overlaid { published: new, .. } = event {
            published = new;
        }
    }
    published
}

pub(crate) fn start(log: &MemoryLog, clock: &TestClock, directory: &std::path::Path) -> State {
    start_as(log, clock, directory, false)
}

fn start_as(log: &MemoryLog, clock: &TestClock, directory: &std::path::Path, rollouts_wait: bool) -> State {
    let kill_journal = Some(directory.join("kills"));
    let config = StateConfig {
        rules: Rules { gate: rollout_rules::governance::Enforcement::Report, ..Rules::default() },
        kill_journal,
        rollouts_wait,
    };
    State::start(config, Arc::new(log.clone()), clock.clock()).expect("starts")
}

pub(crate) fn request(command: Command) -> Request {
    Request {
        caller: Caller {
            actor: Actor::Human { name: "ada".to_owned() },
            scope: Scope::Admin,
            app: None,
            environment: None,
            token: None,
        },
        command,
        seen: None,
        reason: "because".to_owned(),
        idempotency_key: None,
        plan: None,
    }
}

pub(crate) fn entry(change: Change) -> Entry {
    Entry {
        version: ENTRY_VERSION,
        at: START,
        actor: Actor::Human { name: "grace".to_owned() },
        token: None,
        reason: String::new(),
        anchor: Anchor::default(),
        idempotency_key: None,
        request: None,
        proposal: None,
        plan: None,
        change,
    }
}

pub(crate) fn app(name: &str) -> AppKey {
    AppKey::new(name).expect("a key")
}

pub(crate) fn app_created(name: &str) -> Change {
    let environment = Environment {
        key: EnvKey::new("production").expect("a key"),
        kind: EnvironmentKind::Production,
        created_at: START,
        ends_at: None,
    };
    let app = AppInfo {
        key: app(name),
        name: String::new(),
        owner: String::new(),
        tier: Tier::Zero,
        monthly_budget_micros: None,
        currency: None,
        created_at: START,
        sensitive: Vec::new(),
    };
    Change::AppCreated { app, environments: vec![environment] }
}

pub(crate) fn create_app(name: &str) -> Command {
    Command::CreateApp {
        key: app(name),
        name: String::new(),
        owner: "ada@example.com".to_owned(),
        tier: Tier::Zero,
        monthly_budget_micros: None,
        currency: None,
        environments: None,
        sensitive: Vec::new(),
    }
}

pub(crate) fn kill_everything(id: &str) -> Command {
    let kill_id = KillId::new(id).expect("an id");
    Command::Kill { kill_id, reach: Reach::Everything, environment: None }
}

pub(crate) fn is_killed(published: &Published) -> bool {
    published.snapshot.kills().all.is_some()
}
