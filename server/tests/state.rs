//! The promises of the state, on a log in memory that misbehaves on request and a clock that is moved by
//! hand.

use std::sync::Arc;

use rollout_rules::change::{Anchor, Change, Command, ENTRY_VERSION, Entry, Reach};
use rollout_rules::flag::{AppInfo, Environment, EnvironmentKind, Tier};
use rollout_rules::governance::{Actor, Caller, GateStanding, Rules, Scope};
use rollout_rules::ids::{AppKey, EnvKey, KillId, LogId, Revision};
use rollout_rules::time::{DurationMs, UnixMs};

use tidegate::clock::TestClock;
use tidegate::log::memory::{Fault, MemoryLog};
use tidegate::log::{ChangeLog as _, Expect};
use tidegate::state::{
    Applied, Event, KILL_PATIENCE, Published, Readiness, Request, State, StateConfig, SubmitError,
};

const START: UnixMs = UnixMs(1_800_000_000_000);

struct Bench {
    clock: TestClock,
    log: MemoryLog,
    directory: tempfile::TempDir,
    state: State,
}

impl Bench {
    /// A ready node on an empty log.
    async fn new() -> Bench {
        let clock = TestClock::at(START);
        let log = MemoryLog::new(LogId::new("test").expect("a name"));
        let directory = tempfile::tempdir().expect("a directory");
        let state = start(&log, &clock, directory.path());
        assert_eq!(state.live.settled().await, Readiness::Ready);
        Bench { clock, log, directory, state }
    }

    async fn restart(self) -> Bench {
        let Bench { clock, log, directory, state } = self;
        state.stop().await;
        let state = start(&log, &clock, directory.path());
        Bench { clock, log, directory, state }
    }

    /// Lets time pass until something has happened.
    async fn let_time_pass_until<T>(&self, future: impl Future<Output = T>) -> T {
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

    async fn submit(&self, command: Command) -> Result<Applied, SubmitError> {
        self.state.commands.submit(request(command)).await
    }

    async fn append(&self, change: Change) -> Anchor {
        self.state.log.append(Expect::Any, entry(change).encode().into()).await.expect("appended")
    }

    /// Waits for the next event that is of interest.
    async fn published(&self, enough: impl Fn(&Published) -> bool) -> Arc<Published> {
        let (mut published, mut events) = self.state.live.subscribe();
        while !enough(&published) {
            let event = events.recv().await.expect("the state runs");
            if let Event::Entry { published: new, .. } | Event::Overlaid { published: new, .. } = event {
                published = new;
            }
        }
        published
    }
}

fn start(log: &MemoryLog, clock: &TestClock, directory: &std::path::Path) -> State {
    let kill_journal = Some(directory.join("kills"));
    let config = StateConfig { rules: Rules::default(), kill_journal };
    State::start(config, Arc::new(log.clone()), clock.clock()).expect("starts")
}

fn request(command: Command) -> Request {
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
        gate: GateStanding::NotRequired,
        reason: "because".to_owned(),
        idempotency_key: None,
        plan: None,
    }
}

fn entry(change: Change) -> Entry {
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

fn app(name: &str) -> AppKey {
    AppKey::new(name).expect("a key")
}

fn app_created(name: &str) -> Change {
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
    };
    Change::AppCreated { app, environments: vec![environment] }
}

fn kill_everything(id: &str) -> Command {
    let kill_id = KillId::new(id).expect("an id");
    Command::Kill { kill_id, reach: Reach::Everything, environment: None }
}

fn is_killed(published: &Published) -> bool {
    published.snapshot.kills().all.is_some()
}

#[tokio::test]
async fn a_kill_is_durable_and_published_when_it_is_answered() {
    let bench = Bench::new().await;
    let applied = bench.submit(kill_everything("k1")).await.expect("killed");
    assert_eq!((applied.revision, applied.durable, applied.already), (Revision(1), true, false));
    assert!(is_killed(&applied.published) && applied.published.overlays.is_empty());
    assert_eq!(bench.state.log.head().revision, Revision(1));
    let again = bench.submit(kill_everything("k1")).await.expect("killed already");
    assert_eq!((again.revision, again.durable, again.already), (Revision(1), true, true));
    assert_eq!(bench.state.log.head().revision, Revision(1), "the same kill is written once");
}

#[tokio::test]
async fn a_log_that_hangs_does_not_hold_up_a_kill() {
    let bench = Bench::new().await;
    let (_, mut events) = bench.state.live.subscribe();
    bench.log.hold();
    let started = bench.clock.clock().now();
    let applied = bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
    assert!(!applied.durable && bench.clock.clock().now().since(started) >= KILL_PATIENCE);
    assert!(is_killed(&applied.published));
    assert!(applied.published.folded.kills().all.is_none(), "the fold of the log knows nothing of it");
    assert!(
        matches!(events.recv().await, Ok(Event::Overlaid { overlay, .. }) if overlay.kill_id.as_str() == "k1")
    );
    bench.log.release();
    let replaced = bench.published(|published| published.revision() == Revision(1)).await;
    assert!(is_killed(&replaced) && replaced.overlays.is_empty());
    assert!(matches!(events.recv().await, Ok(Event::Entry { revision: Revision(1), .. })));
}

#[tokio::test]
async fn a_full_disk_refuses_no_kill_and_takes_it_when_there_is_space() {
    for fault in [Fault::Full, Fault::Unavailable, Fault::LoseEntry] {
        let bench = Bench::new().await;
        bench.log.fail_always(Some(fault));
        let applied = bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
        assert!(is_killed(&applied.published) && !applied.durable, "{fault:?}");
        let again = bench.submit(kill_everything("k1")).await.expect("killed already");
        assert!(!again.durable, "{fault:?}");
        bench.log.fail_always(None);
        let durable = bench.published(|published| published.revision() == Revision(1));
        let durable = bench.let_time_pass_until(durable).await;
        assert!(is_killed(&durable) && durable.overlays.is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_of_a_kill_writes_it_once() {
    let bench = Bench::new().await;
    bench.log.fail_next(Fault::LoseAcknowledgement);
    bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
    let bench = bench.restart().await;
    bench.let_time_pass_until(bench.state.live.settled()).await;
    bench.submit(kill_everything("k2")).await.expect("killed");
    assert_eq!(bench.state.log.head().revision, Revision(2));
}

#[tokio::test]
async fn a_kill_that_the_log_has_not_taken_survives_a_restart() {
    let bench = Bench::new().await;
    bench.log.fail_always(Some(Fault::Unavailable));
    bench.let_time_pass_until(bench.submit(kill_everything("k1"))).await.expect("killed");
    let bench = bench.restart().await;
    assert!(is_killed(&bench.state.live.load()), "in effect before anything else is done");
    bench.log.fail_always(None);
    let durable = bench.published(|published| published.revision() == Revision(1));
    assert!(is_killed(&*bench.let_time_pass_until(durable).await));
    let bench = bench.restart().await;
    assert!(bench.state.live.load().overlays.is_empty(), "the journal has forgotten it");
    assert_eq!(bench.state.log.head().revision, Revision(1));
}

#[tokio::test]
async fn what_others_append_is_published_in_order_with_the_fold_before_and_after() {
    let bench = Bench::new().await;
    let (_, mut events) = bench.state.live.subscribe();
    for name in ["a", "b", "c"] {
        bench.append(app_created(name)).await;
    }
    for (revision, name) in [(1, "a"), (2, "b"), (3, "c")] {
        let Ok(Event::Entry { revision: found, before, published, .. }) = events.recv().await else {
            panic!("an entry")
        };
        assert_eq!(found, Revision(revision));
        assert!(before.app(&app(name)).is_none() && published.folded.app(&app(name)).is_some());
    }
}

#[tokio::test]
async fn an_unknown_entry_stops_the_fold_and_is_never_skipped() {
    let bench = Bench::new().await;
    bench.append(app_created("a")).await;
    let unknown = br#"{"v":9999,"at":0,"change":{"kind":"miracle"}}"#;
    bench.state.log.append(Expect::Any, unknown[..].into()).await.expect("appended");
    bench.append(app_created("b")).await;
    let mut readiness = bench.state.live.watch_readiness();
    let stopped = readiness.wait_for(|now| *now != Readiness::Ready).await.expect("told").clone();
    assert!(matches!(stopped, Readiness::UnknownEntry { revision: Revision(2), .. }), "{stopped:?}");
    let published = bench.state.live.load_full();
    assert_eq!(published.revision(), Revision(1));
    assert!(published.snapshot.app(&app("b")).is_none());
    let command = Command::ArchiveFlag { app: app("a"), flag: "f".parse().expect("a key") };
    assert!(matches!(bench.submit(command).await, Err(SubmitError::Unavailable)));
}

#[tokio::test]
async fn a_restart_goes_on_from_the_checkpoint_and_folds_to_the_same() {
    let bench = Bench::new().await;
    for name in ["a", "b", "c"] {
        bench.append(app_created(name)).await;
    }
    let before = bench.published(|published| published.revision() == Revision(3)).await;
    let bench = bench.restart().await;
    let stored = bench.state.log.load_checkpoint(Revision(9)).expect("loads").expect("stored at the end");
    assert_eq!(stored.anchor.revision, Revision(3));
    let after = bench.state.live.load_full();
    assert_eq!((after.revision(), after.folded.hash()), (Revision(3), before.folded.hash()));
    assert_eq!(after.folded.to_checkpoint().encode(), before.folded.to_checkpoint().encode());
}
