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

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metrics::{counter, gauge, histogram};
use rollout_rules::decide::Refusal;
use rollout_rules::ids::{AppKey, EnvKey, EvidenceId};
use rollout_rules::sli::{AppSlot, Gauges, Slot, SplitSlot};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use self::asks::Ask;
use self::evidence::{Evidence, Store, Summary};
use self::kept::Kept;
use self::view::Views;
pub use self::view::{AppView, SplitView};
use self::watching::{Done, Pending, Watching};
use crate::clock::Clock;
use crate::sli::{ClosedSlot, Sli};
use crate::state::{CommandHandle, Live, Readiness, SubmitError};

/// Most app environments that are watched at once. Of further ones nothing is known, which is said in the log.
pub const MAX_APPS: usize = 10_000;
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
        let from = self.watches().values().map(Watching::next).min();
        let mut follower = match sli.follow(from.unwrap_or_else(|| sli.closed_until())) {
            Ok(follower) => follower,
            Err(error) => {
                tracing::error!("outcomes cannot be read, and rollouts are not watched: {error}");
                return;
            }
        };
        loop {
            let closed = match follower.next().await {
                Ok(closed) => closed,
                Err(error) => {
                    tracing::error!(
                        "outcomes cannot be read any more, and rollouts are not watched: {error}"
                    );
                    return;
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

    /// Folds a slot of all apps in, and says what there is to do then.
    fn fold(&self, closed: &ClosedSlot, snapshot: &Snapshot, now: UnixMs) -> Vec<Due> {
        let began = Instant::now();
        let mut watches = self.watches();
        let mut names: BTreeSet<(AppKey, EnvKey)> = watches.keys().cloned().collect();
        names.extend(closed.apps.iter().map(|app| (app.app.clone(), app.environment.clone())));
        let mut due = Vec::new();
        for name in names {
            let (app, environment) = &name;
            let wanted = snapshot.app(app).and_then(|app| wanted::wanted(snapshot, app, environment, now));
            let Some(wanted) = wanted else {
                if let Some(mut gone) = watches.remove(&name) {
                    gone.forget();
                    self.0.views.remove(app, environment);
                }
                continue;
            };
            if watches.len() >= MAX_APPS && !watches.contains_key(&name) {
                tracing::error!(%app, %environment, "too many apps are watched: nothing is known of this one");
                continue;
            }
            let folder = self.0.folder.as_deref();
            let watching = watches
                .entry(name.clone())
                .or_insert_with(|| Watching::new(folder, app, environment, closed.slot));
            let slot = slot_of(closed, app, environment);
            let stepped = watching.step(&wanted, slot, self.0.evidence.as_ref());
            let asks = asks::notices(watching, &stepped.news).into_iter();
            let alarms = stepped.still_served.iter().filter_map(|still| {
                counter!("tidegate_guardrail_alarms_total").increment(1);
                tracing::error!(%app, %environment, flag = %still.done.flag, variant = %still.done.variant,
                    requests = still.requests, "what was taken back is still served");
                asks::alarm(watching, still)
            });
            let steps = asks::steps(watching, snapshot, now);
            let (of_app, of_environment) = (app.clone(), environment.clone());
            let told = asks.chain(alarms).chain(steps).map(|ask| Due {
                app: of_app.clone(),
                environment: of_environment.clone(),
                ask,
                pending: None,
            });
            let told: Vec<Due> = told.collect();
            // What lowers goes first.
            due.extend(acts(watching));
            due.extend(told);
            self.0.views.put(app, environment, watching.watch());
        }
        gauge!("tidegate_watched_apps").set(u32::try_from(watches.len()).unwrap_or(u32::MAX));
        histogram!("tidegate_evaluation_seconds").record(began.elapsed());
        due
    }

    async fn carry_out(&self, due: Vec<Due>, commands: &CommandHandle, clock: &Clock) {
        for Due { app, environment, ask, pending } in due {
            let answer = commands.submit(ask.request(&app)).await;
            let Some(pending) = pending else {
                if let Err(error) = answer {
                    tracing::info!(%app, %environment, %error, "the evaluator's request was not taken");
                }
                continue;
            };
            let again = match &answer {
                Ok(applied) => {
                    let measured = pending.proposed.measured.as_ref();
                    if !applied.already {
                        counter!("tidegate_guardrail_acts_total").increment(1);
                        tracing::warn!(%app, %environment, revision = %applied.revision,
                            flag = measured.map(|measured| measured.flag.to_string()),
                            rule = %pending.proposed.rule, "a guardrail acted{}", pending.proposed.reason);
                    }
                    if let Some(measured) = measured.filter(|_| !applied.already) {
                        let done = Done {
                            flag: measured.flag.clone(),
                            split: measured.split.clone(),
                            variant: measured.variant.clone(),
                            revision: applied.revision,
                            at: clock.now(),
                        };
                        self.with(&app, &environment, |watching| watching.look_for(done));
                    }
                    false
                }
                // The flag has just changed: by what it is then.
                Err(SubmitError::Refused(Refusal::Stale { .. })) => true,
                Err(SubmitError::Refused(Refusal::LeftToPeople { until })) => {
                    let ask = self.with(&app, &environment, |watching| {
                        asks::left_to_people(watching, &pending, *until)
                    });
                    if let Some(ask) = ask.flatten()
                        && let Err(error) = commands.submit(ask.request(&app)).await
                    {
                        tracing::error!(%app, %environment, %error, "nobody is told that automation stopped");
                    }
                    false
                }
                Err(SubmitError::Refused(refusal)) => {
                    tracing::error!(%app, %environment, %refusal, rule = %pending.proposed.rule,
                        "what a guardrail asks for is refused");
                    false
                }
                Err(error) => {
                    tracing::error!(%app, %environment, %error, "what a guardrail asks for has to wait");
                    true
                }
            };
            if !again {
                self.with(&app, &environment, |watching| watching.pending.retain(|one| *one != pending));
            }
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
        // What a panic left behind is one app's, and as whole as before its slot.
        self.0.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits to be done; what is watched no more waits no longer.
fn acts(watching: &mut Watching) -> Vec<Due> {
    let mut due = Vec::new();
    for pending in std::mem::take(&mut watching.pending) {
        if let Some(ask) = asks::act(watching, &pending) {
            let (app, environment) = (watching.app.clone(), watching.environment.clone());
            due.push(Due { app, environment, ask, pending: Some(pending.clone()) });
            watching.pending.push(pending);
        }
    }
    due
}

/// An app's part of a closed slot; an empty one if it reported nothing.
fn slot_of(closed: &ClosedSlot, app: &AppKey, environment: &EnvKey) -> AppSlot {
    let told = closed.apps.iter().find(|one| one.app == *app && one.environment == *environment);
    let splits = told.into_iter().flat_map(|told| &told.splits).map(|split| SplitSlot {
        flag: split.flag.clone(),
        split: split.split.clone(),
        parts: split.parts.clone(),
    });
    AppSlot {
        slot: Slot(closed.slot.0),
        sources: told.map_or(0, |told| told.sources),
        all: None,
        gauges: Gauges::default(),
        splits: splits.collect(),
    }
}
