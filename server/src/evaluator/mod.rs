//! Watches what each variant does to the requests of its app, and lowers exposure by itself.
//!
//! It follows the slots of outcomes as they close, folds them by the core's statistics, and asks for what the guardrails say, by
//! commands that are decided like everybody else's. An app is watched from the first slot that it reports on. What is known is
//! kept on disk, so that a restart goes on where it was, to the bit; what was found goes with what it was found from to
//! [`evidence`].
//!
//! Slots of an app that come after a pause, such as a restart, are folded at once; nothing is acted on that is watched no
//! more.

mod asks;
pub mod evidence;
mod kept;
mod told;
mod view;
mod wanted;
mod watching;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics::{counter, gauge, histogram};
use rollout_rules::change::Command;
use rollout_rules::decide::Refusal;
use rollout_rules::ids::{AppKey, EnvKey, EvidenceId};
use rollout_rules::sli::guardrail::Action;
use rollout_rules::sli::{AppSlot, SLOT, Slot, SplitSlot};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use self::asks::Ask;
use self::evidence::{Evidence, Store, Summary};
use self::kept::Kept;
use self::view::Views;
pub use self::view::{AppView, SplitView};
use self::wanted::Wanted;
use self::watching::{Done, Pending, Watching};
use crate::clock::Clock;
use crate::sli::{ClosedSlot, Follower, Sli};
use crate::state::{Applied, CommandHandle, Live, Readiness, SubmitError};

/// Most app environments that are watched at once. Of further ones nothing is known, which is said in the log.
pub const MAX_APPS: usize = 10_000;
/// Slots that were closed while nobody watched are made up for as far as this: an hour.
const MAX_CAUGHT_UP: u32 = 360;
/// A watch that is ahead of what closes by more slots was told of them by a clock that was wrong.
const AHEAD: u32 = 6;
/// Most people to be told of something that wait for the log, of one app.
const MAX_NOTICES: usize = 64;
/// Where watches are kept, in the evaluator's folder.
const WATCHES: &str = "watches";
/// Where evidence is, in the same.
const EVIDENCE: &str = "evidence";

/// The evaluator. Cheap to clone.
#[derive(Clone)]
pub struct Evaluator(Arc<Inner>);

struct Inner {
    /// None: nothing outlives the process, and no evidence is kept.
    folder: Option<PathBuf>,
    evidence: Option<Store>,
    watches: Mutex<BTreeMap<(AppKey, EnvKey), Watching>>,
    views: Views,
}

/// What there is to do once a slot was folded.
struct Due {
    app: AppKey,
    environment: EnvKey,
    ask: Ask,
    /// Which of the pending acts it is, by what it proposes.
    pending: Option<Pending>,
}

impl Evaluator {
    /// One that forgets all when the process ends.
    pub fn in_memory() -> Evaluator {
        Evaluator::new(None, None, BTreeMap::new())
    }

    /// One that keeps what it knows in a folder, made if it is not there, and goes on with what is there.
    pub fn open(folder: &Path) -> io::Result<Evaluator> {
        let evidence = Store::open(&folder.join(EVIDENCE))?;
        let folder = folder.join(WATCHES);
        let mut watches = BTreeMap::new();
        for (kept, base, inputs) in Kept::load_all(&folder)? {
            let watching = Watching::restored(kept, base, &inputs);
            watches.insert((watching.app.clone(), watching.environment.clone()), watching);
        }
        Ok(Evaluator::new(Some(folder), Some(evidence), watches))
    }

    fn new(
        folder: Option<PathBuf>,
        evidence: Option<Store>,
        watches: BTreeMap<(AppKey, EnvKey), Watching>,
    ) -> Evaluator {
        let views = Views::default();
        for ((app, environment), watching) in &watches {
            views.put(app, environment, watching.watch());
        }
        Evaluator(Arc::new(Inner { folder, evidence, watches: Mutex::new(watches), views }))
    }

    /// What is known of an app in an environment; none if it never reported anything.
    pub fn view(&self, app: &AppKey, environment: &EnvKey) -> Option<Arc<AppView>> {
        self.0.views.get(app, environment)
    }

    /// The evidence that is kept of an app, the newest first.
    pub fn evidence(&self, app: &AppKey) -> Vec<Summary> {
        self.0.evidence.as_ref().map(|store| store.list(app)).unwrap_or_default()
    }

    /// What one piece of evidence says.
    pub fn summary(&self, id: &EvidenceId) -> Option<Summary> {
        self.0.evidence.as_ref()?.summary(id)
    }

    /// What it was found from. Reads a file.
    pub fn recording(&self, id: &EvidenceId) -> io::Result<Option<Evidence>> {
        self.0.evidence.as_ref().map_or(Ok(None), |store| store.read(id))
    }

    /// Watches for as long as it is polled.
    pub async fn keep(self, live: Arc<Live>, commands: CommandHandle, sli: Sli, clock: Clock) {
        if live.settled().await != Readiness::Ready {
            return;
        }
        let mut follower = self.follow(&sli, &clock).await;
        loop {
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
            // Folding takes a while where there are many flags, and kills are handed out by this thread.
            let work = tokio::task::spawn_blocking(move || evaluator.fold(&closed, &folded, now));
            match work.await {
                Ok(due) => self.carry_out(due, &commands, &clock).await,
                Err(error) => tracing::error!(%error, "a slot was not judged"),
            }
        }
    }

    /// Follows closed slots from where the watches are; tries again for as long as they cannot be read.
    async fn follow(&self, sli: &Sli, clock: &Clock) -> Follower {
        loop {
            let until = sli.closed_until();
            let oldest = Slot(until.0.saturating_sub(MAX_CAUGHT_UP));
            let next = self.watches().values().map(Watching::next).min();
            let from = next.unwrap_or(until).max(oldest).min(until);
            let sli = sli.clone();
            // It may read many files.
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

    /// Folds a slot of all apps in, and says what there is to do then: what lowers first.
    fn fold(&self, closed: &ClosedSlot, snapshot: &Snapshot, now: UnixMs) -> Vec<Due> {
        let began = Instant::now();
        let mut watches = self.watches();
        let mut names: BTreeSet<(AppKey, EnvKey)> = watches.keys().cloned().collect();
        names.extend(closed.apps.iter().map(|app| (app.app.clone(), app.environment.clone())));
        let (mut acts, mut told) = (Vec::new(), Vec::new());
        for name in names {
            let (app, environment) = &name;
            let wanted = snapshot
                .app(app)
                .and_then(|app| wanted::wanted(snapshot, app, environment, &self.0.views, now));
            let known = watches.remove(&name);
            let Some(wanted) = wanted else {
                if let Some(mut gone) = known {
                    gone.forget();
                    self.0.views.remove(app, environment);
                }
                continue;
            };
            if known.is_none() && watches.len() >= MAX_APPS {
                tracing::error!(%app, %environment, "too many apps are watched: nothing is known of this one");
                continue;
            }
            // What goes wrong with one app is no reason to leave the others alone: it is watched anew.
            let judged =
                catch_unwind(AssertUnwindSafe(|| self.judge(known, &name, &wanted, closed, snapshot, now)));
            match judged {
                Ok((watching, lowers, tells)) => {
                    self.0.views.put(app, environment, watching.watch());
                    watches.insert(name, watching);
                    acts.extend(lowers);
                    told.extend(tells);
                }
                Err(_) => {
                    counter!("tidegate_evaluation_failures_total").increment(1);
                    tracing::error!(%app, %environment, "what is known of an app could not be judged, and is given up");
                }
            }
        }
        gauge!("tidegate_watched_apps").set(u32::try_from(watches.len()).unwrap_or(u32::MAX));
        histogram!("tidegate_evaluation_seconds").record(began.elapsed());
        acts.extend(told);
        acts
    }

    /// Folds a slot of one app in: what lowers, and what else there is to ask for.
    fn judge(
        &self,
        known: Option<Watching>,
        (app, environment): &(AppKey, EnvKey),
        wanted: &Wanted,
        closed: &ClosedSlot,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> (Watching, Vec<Due>, Vec<Due>) {
        let anew = || Watching::new(self.0.folder.as_deref(), app, environment, closed.slot);
        // A clock that was ahead and was set back: slots that were told of then will not come for long.
        let known = known.filter(|known| {
            let is_ahead = known.next() > closed.slot.plus(AHEAD);
            if is_ahead {
                tracing::warn!(%app, %environment, "the clock was set back: what the app does is watched anew");
            }
            !is_ahead
        });
        let mut watching = known.unwrap_or_else(anew);
        let slot = slot_of(closed, app, environment);
        let stepped = watching.step(wanted, slot, self.0.evidence.as_ref());
        let mut asks = std::mem::take(&mut watching.notices);
        asks.extend(asks::notices(&watching, &stepped.news));
        for still in &stepped.still_served {
            counter!("tidegate_guardrail_alarms_total").increment(1);
            tracing::error!(%app, %environment, flag = %still.done.flag, variant = %still.done.variant,
                requests = still.requests, "what was taken back is still served");
            asks.extend(asks::alarm(&watching, still));
        }
        asks.extend(asks::steps(&watching, snapshot, now));
        let due = |(ask, pending)| {
            let (app, environment) = (app.clone(), environment.clone());
            Due { app, environment, ask, pending }
        };
        let told = asks.into_iter().map(|ask| due((ask, None))).collect();
        let acts = acts(&mut watching).into_iter().map(|(ask, pending)| due((ask, Some(pending)))).collect();
        (watching, acts, told)
    }

    async fn carry_out(&self, due: Vec<Due>, commands: &CommandHandle, clock: &Clock) {
        for Due { app, environment, ask, pending } in due {
            let answer = commands.submit(ask.clone().request(&app)).await;
            self.with(&app, &environment, |watching| match pending {
                Some(pending) => settle(watching, &pending, &answer, clock.now()),
                None => again(watching, ask, &answer),
            });
        }
    }

    /// Keeps all that is known, when the server stops in order.
    pub fn close(&self) {
        self.watches().values_mut().for_each(Watching::close);
    }

    fn with<T>(
        &self,
        app: &AppKey,
        environment: &EnvKey,
        work: impl FnOnce(&mut Watching) -> T,
    ) -> Option<T> {
        self.watches().get_mut(&(app.clone(), environment.clone())).map(work)
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<(AppKey, EnvKey), Watching>> {
        // Of an app whose judgement panicked nothing is left behind.
        self.0.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits to be done; what is served no more waits no longer.
fn acts(watching: &mut Watching) -> Vec<(Ask, Pending)> {
    let mut due = Vec::new();
    for pending in std::mem::take(&mut watching.pending) {
        if let Some(ask) = asks::act(watching, &pending) {
            due.push((ask, pending.clone()));
            watching.pending.push(pending);
        }
    }
    due
}

/// What became of an act.
fn settle(watching: &mut Watching, pending: &Pending, answer: &Result<Applied, SubmitError>, now: UnixMs) {
    let (app, environment) = (watching.app.clone(), watching.environment.clone());
    let (proposed, measured) = (&pending.proposed, pending.proposed.measured.as_ref());
    match answer {
        Ok(applied) => {
            if !applied.already {
                counter!("tidegate_guardrail_acts_total").increment(1);
                tracing::warn!(%app, %environment, revision = %applied.revision,
                    flag = measured.map(|measured| measured.flag.to_string()),
                    rule = %proposed.rule, "a guardrail acted{}", proposed.reason);
            }
            let lowers = |action: &Action| matches!(action, Action::FlagOff | Action::RolloutToZero);
            if let Some(measured) = measured.filter(|_| proposed.rule.then().iter().any(lowers)) {
                watching.look_for(Done {
                    flag: measured.flag.clone(),
                    split: measured.split.clone(),
                    variant: measured.variant.clone(),
                    revision: measured.revision,
                    taken_back: applied.revision,
                    at: now,
                });
            }
        }
        // Somebody changed it meanwhile: what it is now is watched from now on.
        Err(SubmitError::Refused(Refusal::Stale { .. })) => {
            if let Some(measured) = measured {
                watching.begin_anew(&measured.flag, &measured.split);
            }
        }
        Err(SubmitError::Refused(refusal)) => {
            tracing::error!(%app, %environment, %refusal, rule = %proposed.rule,
                "what a guardrail asks for is refused");
            let told = match refusal {
                Refusal::LeftToPeople { until } => asks::left_to_people(watching, pending, *until),
                other => asks::refused(watching, pending, &other.to_string()),
            };
            watching.notices.extend(told);
        }
        // The log does not take it now: with the next slot.
        Err(error) => {
            tracing::error!(%app, %environment, %error, "what a guardrail asks for has to wait");
            return;
        }
    }
    watching.pending.retain(|one| one != pending);
}

/// What is not taken by the log now is asked for with the next slot; what is refused is looked at anew then.
fn again(watching: &mut Watching, ask: Ask, answer: &Result<Applied, SubmitError>) {
    let (app, environment) = (&watching.app, &watching.environment);
    match answer {
        Ok(_) => {}
        Err(error @ SubmitError::Refused(_)) => {
            tracing::info!(%app, %environment, %error, "the evaluator's request was not taken");
        }
        Err(error) => {
            tracing::error!(%app, %environment, %error, "what the evaluator asks for has to wait");
            // Rollouts are looked at anew with each slot.
            if matches!(ask.command, Command::Act { .. }) && watching.notices.len() < MAX_NOTICES {
                watching.notices.push(ask);
            }
        }
    }
}

/// An app's part of a closed slot; an empty one if it reported nothing.
fn slot_of(closed: &ClosedSlot, app: &AppKey, environment: &EnvKey) -> AppSlot {
    let place = closed.apps.binary_search_by(|one| (&one.app, &one.environment).cmp(&(app, environment)));
    let told = place.ok().map(|at| &closed.apps[at]);
    let splits = told.into_iter().flat_map(|told| &told.splits).map(|split| SplitSlot {
        flag: split.flag.clone(),
        split: split.split.clone(),
        parts: split.parts.clone(),
    });
    AppSlot {
        slot: Slot(closed.slot.0),
        sources: told.map_or(0, |told| told.sources),
        all: told.and_then(|told| told.all.clone()),
        gauges: told.map(|told| told.gauges).unwrap_or_default(),
        splits: splits.collect(),
    }
}
