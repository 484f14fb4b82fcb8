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
mod keeping;
mod kept;
pub mod recorded;
mod told;
mod view;
mod wanted;
mod watching;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics::{counter, gauge, histogram};
use rollout_rules::decide::Refusal;
use rollout_rules::ids::{AppKey, EnvKey, EvidenceId};
use rollout_rules::sli::guardrail::Action;
use rollout_rules::sli::{AppSlot, Slot, SplitSlot};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use self::asks::Ask;
use self::evidence::{Bounds, Evidence, Store, Summary};
use self::view::Views;
pub use self::view::{AppView, SplitView};
use self::wanted::Wanted;
use self::watching::{Done, Pending, Watching};
use crate::sli::{self, ClosedSlot};
use crate::state::{Applied, SubmitError};

/// Most app environments that are watched at once. Of further ones nothing is known, which is said in the log.
pub const MAX_APPS: usize = 10_000;
/// Slots that were closed while nobody watched are made up for as far as this: an hour.
const MAX_CAUGHT_UP: u32 = 360;
/// A watch that is ahead of what closes by more slots was told of them by a clock that was wrong.
const AHEAD: u32 = 6;
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
    /// Held while a slot is folded, by which the watches are taken out meanwhile.
    folding: Mutex<()>,
    watches: Mutex<BTreeMap<Name, Watching>>,
    views: Views,
}

/// An app in an environment.
type Name = (AppKey, EnvKey);

/// What became of an app in a slot.
struct Judged {
    name: Name,
    watching: Watching,
    lowers: Vec<Due>,
    tells: Vec<Due>,
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
        Evaluator::new(None, None)
    }

    /// One that keeps what it knows in a folder, made if it is not there. What is there already is read when it begins to
    /// [keep](Evaluator::keep) watch: that may take a while, in which flags are served.
    pub fn open(folder: &Path) -> io::Result<Evaluator> {
        let evidence = Store::open(&folder.join(EVIDENCE), Bounds::default())?;
        let folder = folder.join(WATCHES);
        std::fs::create_dir_all(&folder)?;
        Ok(Evaluator::new(Some(folder), Some(evidence)))
    }

    fn new(folder: Option<PathBuf>, evidence: Option<Store>) -> Evaluator {
        let (folding, watches, views) = Default::default();
        Evaluator(Arc::new(Inner { folder, evidence, folding, watches, views }))
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

    /// Folds a slot of all apps in, and says what there is to do then: what lowers first. Slots before `until` are closed.
    fn fold(&self, closed: &ClosedSlot, until: Slot, snapshot: &Snapshot, now: UnixMs) -> Vec<Due> {
        let began = Instant::now();
        let _folding = self.folding();
        let queue = Mutex::new(self.to_fold(closed, snapshot).into_iter());
        let work = || {
            let mut judged = Vec::new();
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((name, known)) = next else { return judged };
                judged.extend(self.judged(name, known, (closed, until), snapshot, now));
            }
        };
        // Half of the cores are left to checks.
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).div_ceil(2);
        let mut judged = std::thread::scope(|scope| {
            let others = (1..threads).map(|_| std::thread::Builder::new().spawn_scoped(scope, work));
            // Where the system refuses a thread, those that there are do all of it.
            let others: Vec<_> = others.filter_map(Result::ok).collect();
            let mut judged = work();
            judged.extend(others.into_iter().flat_map(|other| other.join().unwrap_or_default()));
            judged
        });
        judged.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let mut watches = self.watches();
        let (mut acts, mut told) = (Vec::new(), Vec::new());
        for Judged { name, watching, lowers, tells } in judged {
            watches.insert(name, watching);
            acts.extend(lowers);
            told.extend(tells);
        }
        gauge!("tidegate_watched_apps").set(u32::try_from(watches.len()).unwrap_or(u32::MAX));
        histogram!("tidegate_evaluation_seconds").record(began.elapsed());
        acts.extend(told);
        acts
    }

    /// All that is watched or begins to be with a slot. Nothing of it is left behind.
    fn to_fold(&self, closed: &ClosedSlot, snapshot: &Snapshot) -> Vec<(Name, Option<Watching>)> {
        let known = std::mem::take(&mut *self.watches());
        let mut all: BTreeMap<Name, Option<Watching>> =
            known.into_iter().map(|(name, watching)| (name, Some(watching))).collect();
        for sli::AppSlot { app, environment, .. } in &closed.apps {
            let name = (app.clone(), environment.clone());
            let is_there = snapshot.app(app).is_some_and(|app| app.environment(environment).is_some());
            if !is_there || all.contains_key(&name) {
                continue;
            }
            if all.len() >= MAX_APPS {
                tracing::error!(%app, %environment, "too many apps are watched: nothing is known of this one");
                continue;
            }
            all.insert(name, None);
        }
        all.into_iter().collect()
    }

    /// Folds a slot of one app in; none if it is watched no more, or could not be judged.
    fn judged(
        &self,
        name: Name,
        known: Option<Watching>,
        (closed, until): (&ClosedSlot, Slot),
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Option<Judged> {
        let (app, environment) = &name;
        // What goes wrong with one app is no reason to leave the others alone: it is watched anew.
        let judge = || {
            let (views, slot) = (&self.0.views, closed.slot);
            let found = snapshot.app(app);
            let Some(wanted) =
                found.and_then(|app| wanted::wanted(snapshot, app, environment, views, slot, now))
            else {
                if let Some(mut gone) = known {
                    gone.forget();
                    views.remove(app, environment);
                }
                return None;
            };
            let judged = self.judge(known, &name, &wanted, (closed, until), snapshot, now);
            views.put(app, environment, judged.0.watch());
            Some(judged)
        };
        let Ok(judged) = catch_unwind(AssertUnwindSafe(judge)) else {
            counter!("tidegate_evaluation_failures_total").increment(1);
            tracing::error!(%app, %environment, "what is known of an app could not be judged, and is given up");
            return None;
        };
        judged.map(|(watching, lowers, tells)| Judged { name, watching, lowers, tells })
    }

    /// Folds a slot of one app in: what lowers, and what else there is to ask for.
    fn judge(
        &self,
        known: Option<Watching>,
        (app, environment): &Name,
        wanted: &Wanted,
        (closed, until): (&ClosedSlot, Slot),
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> (Watching, Vec<Due>, Vec<Due>) {
        let anew = || Watching::new(self.0.folder.as_deref(), app, environment, closed.slot);
        // A clock that was ahead and was set back: slots that were told of then will not come for long. An app that is ahead of
        // others which are caught up on is told nothing until they are where it is.
        let known = known.filter(|known| {
            let is_ahead = known.next() > closed.slot.plus(AHEAD) && known.next() > until;
            if is_ahead {
                tracing::warn!(%app, %environment, "the clock was set back: what the app does is watched anew");
            }
            !is_ahead
        });
        let mut watching = known.unwrap_or_else(anew);
        let slot = slot_of(closed, app, environment);
        for still in watching.step(wanted, slot, self.0.evidence.as_ref()) {
            counter!("tidegate_guardrail_alarms_total").increment(1);
            tracing::error!(%app, %environment, flag = %still.done.flag, variant = %still.done.variant,
                requests = still.requests, "what was taken back is still served");
        }
        let caught_up = watching.next() >= until;
        let (lowers, tells) = due(&mut watching, snapshot, caught_up, now);
        (watching, lowers, tells)
    }

    /// What was left to be done when the process before this one ended.
    fn left_over(&self, snapshot: &Snapshot, now: UnixMs) -> Vec<Due> {
        let (mut acts, mut told) = (Vec::new(), Vec::new());
        for watching in self.watches().values_mut() {
            // What was reported meanwhile may speak against it.
            let (lowers, tells) = due(watching, snapshot, false, now);
            acts.extend(lowers);
            told.extend(tells);
        }
        acts.extend(told);
        acts
    }

    /// Keeps all that is known, when the server stops in order.
    pub fn close(&self) {
        let _folding = self.folding();
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

    fn folding(&self) -> MutexGuard<'_, ()> {
        self.0.folding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watches(&self) -> MutexGuard<'_, BTreeMap<Name, Watching>> {
        self.0.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What there is to do for an app: what lowers, and what else there is to ask for. Until it is caught up on no rollout goes on.
/// What was found of a release is held against none that came after it: slots of that one say what becomes of it.
fn due(watching: &mut Watching, snapshot: &Snapshot, caught_up: bool, now: UnixMs) -> (Vec<Due>, Vec<Due>) {
    let releases = snapshot.releases(&watching.app, &watching.environment);
    let runs = releases.and_then(|releases| releases.current()).map(|current| current.artifact);
    let is_it = watching.told().artifact() == runs;
    let acts = if is_it { acts(watching) } else { Vec::new() };
    let mut asks = watching.notices().to_vec();
    if is_it {
        asks.extend(asks::steps(watching, snapshot, caught_up, now));
    }
    let due = |(ask, pending)| {
        let (app, environment) = (watching.app.clone(), watching.environment.clone());
        Due { app, environment, ask, pending }
    };
    let lowers = acts.into_iter().map(|(ask, pending)| due((ask, Some(pending)))).collect();
    (lowers, asks.into_iter().map(|ask| due((ask, None))).collect())
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
            watching.tell(told);
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
fn again(watching: &mut Watching, ask: &Ask, answer: &Result<Applied, SubmitError>) {
    let (app, environment) = (&watching.app, &watching.environment);
    match answer {
        Ok(_) => {}
        Err(error @ SubmitError::Refused(_)) => {
            tracing::info!(%app, %environment, %error, "the evaluator's request was not taken");
        }
        Err(error) => {
            tracing::error!(%app, %environment, %error, "what the evaluator asks for has to wait");
            return;
        }
    }
    watching.was_told(ask);
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
