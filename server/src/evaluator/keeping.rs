//! Keeps the evaluator going: what it knew is read, closed slots are followed, and what comes of them is asked for.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use metrics::counter;
use rollout_rules::sli::{SLOT, Slot};
use rollout_rules::time::DurationMs;

use super::kept::Kept;
use super::watching::Watching;
use super::{Due, Evaluator, MAX_CAUGHT_UP, again, settle};
use crate::clock::Clock;
use crate::sli::{Follower, Sli};
use crate::state::{CommandHandle, Live, Readiness, SubmitError};

/// What takes something back and finds too many commands waiting is asked for again after so long.
const WAIT: DurationMs = DurationMs(100);
/// Most times that it waits so, for one slot of all apps: for a second in all.
const MAX_WAITS: u32 = 10;

impl Evaluator {
    /// Watches for as long as it is polled.
    pub async fn keep(self, live: Arc<Live>, commands: CommandHandle, sli: Sli, clock: Clock) {
        if live.settled().await != Readiness::Ready {
            return;
        }
        self.load(&clock).await;
        let left = self.left_over(&live.load_full().folded, clock.now());
        self.carry_out(left, &commands, &clock).await;
        let mut follower = self.follow(&sli, &clock).await;
        loop {
            // What was reported before is judged, and what came of it is in the log.
            if !follower.is_behind() {
                live.rollouts_may_go_on();
            }
            let closed = match follower.next().await {
                Ok(closed) => closed,
                Err(error) => {
                    tracing::error!(
                        "outcomes cannot be read, and rollouts are not watched meanwhile: {error}"
                    );
                    clock.pass(SLOT).await;
                    follower = self.follow(&sli, &clock).await;
                    continue;
                }
            };
            let (evaluator, folded, now) = (self.clone(), Arc::clone(&live.load().folded), clock.now());
            let until = sli.closed_until();
            // Folding takes a while where there are many flags, and kills are handed out by this thread.
            let work = tokio::task::spawn_blocking(move || evaluator.fold(&closed, until, &folded, now));
            match work.await {
                Ok(due) => self.carry_out(due, &commands, &clock).await,
                Err(error) => tracing::error!(%error, "a slot was not judged"),
            }
        }
    }

    /// Goes on with what is in the folder; tries again for as long as that cannot be read.
    async fn load(&self, clock: &Clock) {
        loop {
            let evaluator = self.clone();
            // There may be much of it.
            let work = tokio::task::spawn_blocking(move || evaluator.read());
            match work.await.map_err(io::Error::other).flatten() {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(
                        "what is known of rollouts cannot be read, and they are not watched meanwhile: {error}"
                    );
                    clock.pass(SLOT).await;
                }
            }
        }
    }

    /// Reads what is in the folder.
    pub(super) fn read(&self) -> io::Result<()> {
        let Some(folder) = &self.0.folder else { return Ok(()) };
        for (kept, base, inputs) in Kept::load_all(folder)? {
            let (app, environment) = (base.app.clone(), base.environment.clone());
            let restore = || Watching::restored(kept, base, &inputs);
            let Ok(watching) = catch_unwind(AssertUnwindSafe(restore)) else {
                counter!("tidegate_evaluation_failures_total").increment(1);
                tracing::error!(%app, %environment, "what was known of an app cannot be judged, and is given up");
                continue;
            };
            self.0.views.put(&app, &environment, watching.watch());
            self.watches().insert((app, environment), watching);
        }
        Ok(())
    }

    /// Follows closed slots from where the watches are; tries again for as long as they cannot be read.
    async fn follow(&self, sli: &Sli, clock: &Clock) -> Follower {
        loop {
            let until = sli.closed_until();
            let oldest = Slot(until.0.saturating_sub(MAX_CAUGHT_UP));
            let next = self.watches().values().map(Watching::next).min();
            let from = next.unwrap_or(until).max(oldest).min(until);
            let sli = sli.clone();
            // It reads files.
            let work = tokio::task::spawn_blocking(move || sli.follow(from));
            match work.await.map_err(io::Error::other).flatten() {
                Ok(follower) => return follower,
                Err(error) => {
                    tracing::error!(
                        "outcomes cannot be read, and rollouts are not watched meanwhile: {error}"
                    );
                    clock.pass(SLOT).await;
                }
            }
        }
    }

    pub(super) async fn carry_out(&self, due: Vec<Due>, commands: &CommandHandle, clock: &Clock) {
        let mut waits = 0..MAX_WAITS;
        for Due { app, environment, ask, pending } in due {
            let mut answer = commands.submit(ask.clone().request(&app)).await;
            while pending.is_some() && matches!(answer, Err(SubmitError::Busy)) && waits.next().is_some() {
                clock.pass(WAIT).await;
                answer = commands.submit(ask.clone().request(&app)).await;
            }
            self.with(&app, &environment, |watching| match pending {
                Some(pending) => settle(watching, &pending, &answer, clock.now()),
                None => again(watching, &ask, &answer),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use rollout_rules::change::Command;
    use rollout_rules::governance::{Actor, Caller, Enforcement, Rules, Scope};
    use rollout_rules::ids::{AppKey, EnvKey, FlagKey, IdempotencyKey, InstanceId, LogId, SplitId};
    use rollout_rules::plan::RolloutPlan;
    use rollout_rules::rollout::Finding;
    use rollout_rules::sli::{GRACE, Gauges, Part, Summary};
    use rollout_rules::time::UnixMs;
    use serde_json::{Value, json};

    use super::super::asks::{self, Ask};
    use super::super::tests::{found_out, part};
    use super::*;
    use crate::clock::TestClock;
    use crate::log::memory::MemoryLog;
    use crate::sli::Batch;
    use crate::state::{Event, MAX_UNDER_WAY, MAX_WAITING, Published, Request, State, StateConfig};

    const START: UnixMs = UnixMs(1_800_000_000_000);

    fn request(command: Value) -> Request {
        let actor = Actor::Human { name: "ada".to_owned() };
        Request {
            caller: Caller { actor, scope: Scope::Admin, app: None, environment: None, token: None },
            command: serde_json::from_value(command).expect("a command"),
            seen: None,
            reason: String::new(),
            idempotency_key: None,
            plan: None,
        }
    }

    fn create_app(name: &str) -> Request {
        request(json!({ "do": "create_app", "key": name, "owner": "ada", "tier": 0 }))
    }

    async fn started(log: &MemoryLog, clock: &TestClock, rollouts_wait: bool) -> State {
        let rules = Rules { gate: Enforcement::Report, ..Rules::default() };
        let config = StateConfig { rules, rollouts_wait, ..StateConfig::default() };
        let state = State::start(config, Arc::new(log.clone()), clock.clock()).expect("starts");
        state.live.settled().await;
        state
    }

    /// Starts a rollout that is due in half an hour, of a variant whose users fail in its first slot.
    async fn rolling(state: &State, sli: &Sli) {
        let submit = |request| async { state.commands.submit(request).await.expect("is done").published };
        submit(create_app("shop")).await;
        submit(request(json!({ "do": "create_flag", "app": "shop", "key": "checkout" }))).await;
        let (app, flag) = (AppKey::new("shop").expect("a key"), FlagKey::new("checkout").expect("a key"));
        let revision = |published: &Published| published.folded.flag(&app, &flag).map(|view| view.revision());
        let plan: RolloutPlan = "50%/30m,100%".parse().expect("a plan");
        let start = request(json!({
            "do": "start_rollout", "app": app, "flag": flag, "environment": "production", "plan": plan,
        }));
        let seen = revision(&state.live.load());
        let started = submit(Request { seen, ..start }).await;
        let slot = Slot::at(START);
        let summary = |part: Part| {
            let (flag, flag_revision) = (flag.clone(), part.revision);
            let split = SplitId::new(".exposure").expect("an id");
            let summary =
                Summary { flag, flag_revision, split, variant: part.variant, slot, outcomes: part.outcomes };
            serde_json::value::to_raw_value(&summary).expect("is written")
        };
        let revision = revision(&started).expect("is there").0;
        let parts = [part("off", slot, 200, 2, revision), part("on", slot, 200, 100, revision)];
        let batch = Batch {
            instance: InstanceId::new("web-1").expect("a name"),
            batch: IdempotencyKey::new("1").expect("a name"),
            slot: None,
            gauges: Gauges::default(),
            all: None,
            summaries: parts.into_iter().map(summary).collect(),
            app: None,
            environment: None,
        };
        let production = EnvKey::new("production").expect("a key");
        let taken = sli.take(&app, &production, &batch, &started.folded, START);
        assert_eq!(taken.added, 2, "{taken:?}");
        sli.close(&|_| true, slot.ends_at().plus(GRACE));
    }

    #[tokio::test]
    async fn a_rollout_that_does_harm_is_held_before_its_next_stage_that_came_due_while_the_server_was_down()
    {
        let folder = tempfile::tempdir().expect("a folder");
        let outcomes = folder.path().join("outcomes");
        let (clock, log) = (TestClock::at(START), MemoryLog::new(LogId::new("test").expect("a name")));
        let state = started(&log, &clock, true).await;
        // It ends before the slot is judged.
        rolling(&state, &Sli::open(&outcomes, START).expect("opens")).await;
        let evaluator = Evaluator::open(folder.path()).expect("opens");
        let (app, production) =
            (AppKey::new("shop").expect("a key"), EnvKey::new("production").expect("a key"));
        drop(Watching::new(evaluator.0.folder.as_deref(), &app, &production, Slot::at(START)));
        state.stop().await;
        clock.set(START.plus(DurationMs(31 * 60_000)));
        let state = started(&log, &clock, true).await;
        let sli = Sli::open(&outcomes, clock.clock().now()).expect("opens");
        let (mut published, mut events) = state.live.subscribe();
        let watching =
            tokio::spawn(evaluator.keep(Arc::clone(&state.live), state.commands.clone(), sli, clock.clock()));
        let flag = FlagKey::new("checkout").expect("a key");
        let (stage, is_held) = loop {
            let view = published.folded.flag(&app, &flag).expect("is there");
            let stage = view.record().rollout(&production).expect("is there").stage;
            let is_held = view.record().state(&production).is_some_and(|state| state.state().hold.is_some());
            if is_held || stage > 0 {
                break (stage, is_held);
            }
            if let Event::Entry { published: new, .. } = events.recv().await.expect("the state runs") {
                published = new;
            }
        };
        assert_eq!((stage, is_held), (0, true));
        watching.abort();
        state.stop().await;
    }

    #[tokio::test]
    async fn a_rollout_that_is_held_does_not_go_on_while_slots_are_caught_up_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (clock, log) = (TestClock::at(START), MemoryLog::new(LogId::new("test").expect("a name")));
        let state = started(&log, &clock, false).await;
        rolling(&state, &Sli::open(folder.path(), START).expect("opens")).await;
        let (app, flag) = (AppKey::new("shop").expect("a key"), FlagKey::new("checkout").expect("a key"));
        let production = EnvKey::new("production").expect("a key");
        let folded = Arc::clone(&state.live.load_full().folded);
        let view = folded.flag(&app, &flag).expect("is there");
        let rollout = view.record().rollout(&production).expect("is there");
        let command = Command::StepRollout {
            app: app.clone(),
            flag: flag.clone(),
            environment: production.clone(),
            started_at: rollout.started_at,
            stage: rollout.stage,
            finding: Finding::Held { reason: "on: regressed".to_owned() },
        };
        let ask = Ask { command, reason: "held".to_owned() };
        state.commands.submit(ask.request(&app)).await.expect("is done");
        let folded = Arc::clone(&state.live.load_full().folded);
        // Nothing speaks against it as far as slots were judged.
        let watching = Watching::new(None, &app, &production, Slot::at(START));
        let steps = |caught_up: bool| asks::steps(&watching, &folded, caught_up, START).len();
        assert_eq!((steps(false), steps(true)), (0, 1));
        state.stop().await;
    }

    #[tokio::test]
    async fn what_takes_something_back_is_asked_for_again_while_too_many_commands_wait() {
        let (evaluator, due) = found_out();
        let (clock, log) = (TestClock::at(START), MemoryLog::new(LogId::new("test").expect("a name")));
        let state = started(&log, &clock, false).await;
        log.hold();
        let submit = |nth: usize| {
            let commands = state.commands.clone();
            async move { commands.submit(create_app(&format!("app-{nth}"))).await }
        };
        // None more is decided on until the log takes these, and no more than so many wait for that.
        let mut waiting = Vec::new();
        for nth in 0..MAX_UNDER_WAY + MAX_WAITING {
            let mut one = Box::pin(submit(nth));
            assert!((&mut one).now_or_never().is_none(), "{nth}");
            waiting.push(one);
            if nth + 1 == MAX_UNDER_WAY {
                log.held(MAX_UNDER_WAY).await;
            }
        }
        let its_clock = clock.clock();
        let acts = evaluator.carry_out(due, &state.commands, &its_clock);
        let room_again = async {
            log.release();
            futures_util::future::join_all(waiting).await;
            clock.advance(WAIT);
        };
        tokio::join!(acts, room_again);
        // There is no such app, which is an answer.
        assert!(evaluator.watches().values().all(|watching| watching.pending.is_empty()));
        state.stop().await;
    }
}
