//! A node in this process, and somebody who changes flags.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollout_rules::change::{Command, NewEnvironment, TargetingPatch};
use rollout_rules::flag::{EnvironmentKind, FlagKind};
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision};
use tidegate::clock::Clock;
use tidegate::log::ChangeLog;
use tidegate::log::sled::SledLog;
use tidegate::state::{Readiness, Request, State, StateConfig, SubmitError};

/// Commands under way while apps and flags are made.
const CREATING: usize = 256;

/// A running node.
pub struct Driver {
    state: State,
}

impl Driver {
    /// With the data of a directory, which a server started there has too.
    ///
    /// # Panics
    /// When the log cannot be opened, or makes no sense.
    pub async fn on_disk(directory: &Path) -> Driver {
        let log = SledLog::open(directory).expect("the log opens");
        Driver::start(Arc::new(log), Some(directory.join("kills"))).await
    }

    /// With a log.
    ///
    /// # Panics
    /// When it makes no sense.
    pub async fn start(log: Arc<dyn ChangeLog>, kill_journal: Option<PathBuf>) -> Driver {
        let config = StateConfig { kill_journal, ..StateConfig::default() };
        let state = State::start(config, log, Clock::system()).expect("the state starts");
        assert_eq!(state.live.settled().await, Readiness::Ready);
        Driver { state }
    }

    /// Stores a checkpoint and ends.
    pub async fn stop(self) {
        self.state.stop().await;
    }

    async fn submit(&self, command: Command, seen: Option<Revision>) -> Revision {
        loop {
            let request = request(command.clone(), seen);
            match self.state.commands.submit(request).await {
                Ok(applied) => return applied.revision,
                Err(SubmitError::Busy) => tokio::task::yield_now().await,
                Err(error) => panic!("{command:?}: {error}"),
            }
        }
    }

    /// Carries out many commands, as many at a time as a group commit likes.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn submit_all(&self, commands: impl Iterator<Item = Command>) {
        let mut pending = tokio::task::JoinSet::new();
        for command in commands {
            let handle = self.state.commands.clone();
            pending.spawn(async move { handle.submit(request(command, None)).await });
            if pending.len() >= CREATING {
                check(pending.join_next().await);
            }
        }
        while !pending.is_empty() {
            check(pending.join_next().await);
        }
    }

    /// Makes apps 0 to `count`, each with a sandbox and a production environment.
    pub async fn create_apps(&self, count: usize) {
        self.submit_all((0..count).map(create_app)).await;
    }

    /// Makes a flag of an app.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn create_flag(&self, app: usize, key: &str) -> Toggled {
        let (app, flag) = (app_key(app), FlagKey::new(key).expect("a key"));
        let revision = self.submit(create_flag(&app, &flag), None).await;
        Toggled { app, flag, revision, on: false }
    }
}

fn check(done: Option<Result<Result<tidegate::state::Applied, SubmitError>, tokio::task::JoinError>>) {
    if let Some(done) = done {
        done.expect("no panic").expect("made");
    }
}

/// A flag that is turned on and off in its sandbox.
pub struct Toggled {
    app: AppKey,
    flag: FlagKey,
    revision: Revision,
    on: bool,
}

impl Toggled {
    /// Turns it.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn toggle(&mut self, driver: &Driver) {
        self.on = !self.on;
        let patch = TargetingPatch { on: Some(self.on), ..TargetingPatch::default() };
        let command = Command::SetTargeting {
            app: self.app.clone(),
            flag: self.flag.clone(),
            environment: EnvKey::new("sandbox").expect("a key"),
            patch: Box::new(patch),
        };
        self.revision = driver.submit(command, Some(self.revision)).await;
    }

    /// Archives it.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn remove(self, driver: &Driver) {
        let command = Command::ArchiveFlag { app: self.app, flag: self.flag };
        driver.submit(command, Some(self.revision)).await;
    }
}

/// The key of an app by its number.
///
/// # Panics
/// Never: every number makes a key.
pub fn app_key(number: usize) -> AppKey {
    AppKey::new(&format!("app-{number:06}")).expect("a key")
}

fn create_app(number: usize) -> Command {
    let environment =
        |key: &str, kind| NewEnvironment { key: EnvKey::new(key).expect("a key"), kind, ends_at: None };
    Command::CreateApp {
        key: app_key(number),
        name: format!("App {number}"),
        owner: "bench@example.com".to_owned(),
        tier: Default::default(),
        monthly_budget_micros: None,
        currency: None,
        environments: Some(vec![
            environment("production", EnvironmentKind::Production),
            environment("sandbox", EnvironmentKind::Sandbox),
        ]),
        sensitive: Vec::new(),
    }
}

/// What makes a flag.
pub fn create_flag(app: &AppKey, flag: &FlagKey) -> Command {
    Command::CreateFlag {
        app: app.clone(),
        key: flag.clone(),
        kind: FlagKind::Boolean,
        variants: Vec::new(),
        off_variant: None,
        description: String::new(),
        owner: String::new(),
        critical: false,
        expires_at: None,
        browser: None,
    }
}

fn request(command: Command, seen: Option<Revision>) -> Request {
    let actor = Actor::Human { name: "bench".to_owned() };
    Request {
        caller: Caller { actor, scope: Scope::Admin, app: None, environment: None, token: None },
        command,
        seen,
        reason: "measuring".to_owned(),
        idempotency_key: None,
        plan: None,
    }
}
