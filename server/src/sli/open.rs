//! Slots that still take reports, by app environment. Nothing here is shared with checks of flags.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, InstanceId, SplitId};
use rollout_rules::sli::{
    FUTURE, GRACE, Gauges, Intake, MAX_BATCHES, Outcomes, SLOT, Slot, SlowUnits, Summary, Unacceptable,
    UnitList,
};
use rollout_rules::time::{DurationMs, UnixMs};

use super::batch::Refusal;
use super::closed::{AppSlot, ClosedSlot, SplitSlot};

/// Most variants and revisions of flags in the open slots of all apps. With few units each takes about 1 KiB, with the
/// longest lists of units 24 KiB.
pub const MAX_SERIES: usize = 100_000;
/// Most of them in one environment of one app, so that no app takes the room of all.
pub const MAX_SERIES_OF_APP: usize = 50_000;
/// Most splits of one flag in open slots.
pub const MAX_SPLITS: usize = 64;
/// Most processes that are counted in one slot of one app environment; more count as so many.
pub const MAX_SOURCES: usize = 10_000;
/// Most empty slots that are told of in a row: whoever folds them knows after these that nobody reports.
const MAX_EMPTY: u32 = 6;
/// A clock that was set back by more is taken for right.
const SET_BACK: DurationMs = DurationMs(60_000);

/// The open slots.
pub(super) struct Open {
    apps: DashMap<(AppKey, EnvKey), Arc<Mutex<AppOpen>>>,
    series: AtomicUsize,
    /// Every slot before it is closed.
    closed_until: AtomicU32,
    hasher: RandomState,
}

/// Those of one app environment.
#[derive(Default)]
pub(super) struct AppOpen {
    flags: BTreeMap<FlagKey, BTreeMap<SplitId, Intake>>,
    sources: BTreeMap<Slot, HashSet<u64>>,
    told: BTreeMap<Slot, Told>,
    series: usize,
}

/// What processes told of themselves in a slot.
#[derive(Default)]
struct Told {
    gauges: Gauges,
    all: Option<Outcomes>,
    /// Batches with all requests.
    batches: HashSet<u64>,
}

impl Open {
    /// Takes reports for slots after `closed`, and none whose grace was over when the server started.
    pub(super) fn new(closed: Option<Slot>, now: UnixMs) -> Open {
        let first = over(now);
        let after = closed.map(|closed| closed.plus(1)).filter(|after| *after <= Slot::at(now).plus(1));
        Open {
            apps: DashMap::new(),
            series: AtomicUsize::new(0),
            closed_until: AtomicU32::new(after.map_or(first, |after| after.max(first)).0),
            hasher: RandomState::new(),
        }
    }

    /// The first slot that is not closed.
    pub(super) fn closed_until(&self) -> Slot {
        Slot(self.closed_until.load(Ordering::SeqCst))
    }

    /// When the next slot closes.
    pub(super) fn closes_at(&self) -> UnixMs {
        self.closed_until().ends_at().plus(GRACE)
    }

    /// A number for a batch of a sender.
    pub(super) fn name(&self, instance: &InstanceId, batch: &str) -> u64 {
        self.hasher.hash_one((instance, batch))
    }

    /// Does something with the open slots of one app environment, which nobody else has meanwhile.
    pub(super) fn with<T>(
        &self,
        app: &AppKey,
        environment: &EnvKey,
        work: impl FnOnce(&mut AppOpen) -> T,
    ) -> T {
        let open = Arc::clone(&self.apps.entry((app.clone(), environment.clone())).or_default());
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut open)
    }

    /// Notes that a process reported for a slot; not for one that is closed or has not begun.
    pub(super) fn heard(&self, open: &mut AppOpen, instance: &InstanceId, slot: Slot, now: UnixMs) {
        if !self.is_open(slot, now) {
            return;
        }
        let sources = open.sources.entry(slot).or_default();
        if sources.len() < MAX_SOURCES {
            sources.insert(self.hasher.hash_one(instance));
        }
    }

    /// Takes what a process used of what it has.
    pub(super) fn measured(&self, open: &mut AppOpen, gauges: Gauges, slot: Slot, now: UnixMs) {
        if gauges != Gauges::default() && self.is_open(slot, now) {
            open.told.entry(slot).or_default().gauges.merge(gauges);
        }
    }

    /// Adds what became of all requests of a process, once for a batch.
    pub(super) fn add_all(
        &self,
        open: &mut AppOpen,
        batch: u64,
        slot: Slot,
        mut all: Outcomes,
        now: UnixMs,
    ) -> Result<(), Refusal> {
        all.check()?;
        if slot < self.closed_until() {
            return Err(Unacceptable::TooLate { slot, now }.into());
        }
        if slot.starts_at() > now.plus(FUTURE) {
            return Err(Unacceptable::FromTheFuture { slot, now }.into());
        }
        let told = open.told.entry(slot).or_default();
        if told.batches.len() >= MAX_BATCHES {
            return Err(Unacceptable::TooManyBatches { most: MAX_BATCHES }.into());
        }
        if told.batches.insert(batch) {
            all.complete_what_is_empty();
            // An app is compared with nothing: who was served, or slow, is not asked.
            (all.served, all.slow) = (UnitList::unknown(), SlowUnits::unknown());
            told.all.get_or_insert_default().merge(&all);
        }
        Ok(())
    }

    fn is_open(&self, slot: Slot, now: UnixMs) -> bool {
        slot >= self.closed_until() && slot <= Slot::at(now).plus(1)
    }

    /// Adds what a batch tells of a variant; `false` if it told so before.
    pub(super) fn add(
        &self,
        open: &mut AppOpen,
        batch: u64,
        summary: &Summary,
        now: UnixMs,
    ) -> Result<bool, Refusal> {
        let Summary { slot, flag_revision, variant, outcomes, .. } = summary;
        if *slot < self.closed_until() {
            return Err(Unacceptable::TooLate { slot: *slot, now }.into());
        }
        let known = open.flags.get(&summary.flag);
        let known_intake = known.and_then(|splits| splits.get(&summary.split));
        if known_intake.is_none() && known.is_some_and(|splits| splits.len() >= MAX_SPLITS) {
            return Err(Refusal::TooManySplits { most: MAX_SPLITS });
        }
        if !known_intake.is_some_and(|intake| intake.holds(*slot, *flag_revision, variant)) {
            if open.series >= MAX_SERIES_OF_APP {
                return Err(Refusal::NoRoom { most: MAX_SERIES_OF_APP });
            }
            if self.series.load(Ordering::Relaxed) >= MAX_SERIES {
                return Err(Refusal::NoRoom { most: MAX_SERIES });
            }
        }
        // Of the first report of a flag the slot may be over, and in its grace.
        let oldest = UnixMs(now.0.saturating_sub(GRACE.0));
        let splits = open.flags.entry(summary.flag.clone()).or_default();
        let intake = splits.entry(summary.split.clone()).or_insert_with(|| Intake::new(oldest));
        let before = intake.parts();
        let added = intake.add(batch, *slot, (*flag_revision, variant), outcomes, now);
        let more = intake.parts() - before;
        open.series += more;
        self.series.fetch_add(more, Ordering::Relaxed);
        Ok(added?)
    }

    /// Closes the slots whose grace is over, in order. Those for which nobody reported anything are empty; of many in a row
    /// the last [`MAX_EMPTY`] are told.
    pub(super) fn close(&self, now: UnixMs) -> Vec<ClosedSlot> {
        self.close_before(over(now), now)
    }

    /// Closes all slots, when the server stops in order.
    pub(super) fn close_all(&self, now: UnixMs) -> Vec<ClosedSlot> {
        let end = Slot::at(now).plus(2);
        self.close_before(end, end.ends_at().plus(GRACE))
    }

    fn close_before(&self, over: Slot, now: UnixMs) -> Vec<ClosedSlot> {
        let before = self.closed_until();
        if before.starts_at().since(now) > SET_BACK {
            tracing::warn!("the clock was set back: outcomes are taken by the time that it has now");
        } else if over <= before {
            return Vec::new();
        }
        // First: what is told of these slots from now on is refused.
        self.closed_until.store(over.0, Ordering::SeqCst);
        let apps: Vec<_> = self.apps.iter().map(|one| (one.key().clone(), Arc::clone(one.value()))).collect();
        let first = before.max(Slot(over.0.saturating_sub(MAX_EMPTY)));
        let mut slots: BTreeMap<Slot, Vec<AppSlot>> =
            (first.0..over.0).map(|slot| (Slot(slot), Vec::new())).collect();
        for ((app, environment), open) in apps {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            let freed = open.series;
            let mut told = open.close_told(over);
            for (slot, sources, splits) in open.close(over, now) {
                let (app, environment) = (app.clone(), environment.clone());
                let Told { gauges, all, .. } = told.remove(&slot).unwrap_or_default();
                let slot = slots.entry(slot).or_default();
                slot.push(AppSlot { app, environment, sources, all, gauges, splits });
            }
            self.series.fetch_sub(freed - open.series, Ordering::Relaxed);
        }
        // Whoever is about to add something holds it as well.
        self.apps.retain(|_, open| {
            let unused = Arc::strong_count(open) == 1;
            !unused || !open.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
        });
        let closed = |(slot, mut apps): (Slot, Vec<AppSlot>)| {
            apps.sort_by(|a, b| (&a.app, &a.environment).cmp(&(&b.app, &b.environment)));
            ClosedSlot { slot, apps }
        };
        slots.into_iter().map(closed).collect()
    }
}

/// The first slot whose grace is not over.
fn over(now: UnixMs) -> Slot {
    Slot::at(UnixMs(now.0.saturating_sub(GRACE.0)))
}

impl AppOpen {
    fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.sources.is_empty()
    }

    fn close_told(&mut self, over: Slot) -> BTreeMap<Slot, Told> {
        let later = self.told.split_off(&over);
        std::mem::replace(&mut self.told, later)
    }

    fn close(&mut self, over: Slot, now: UnixMs) -> Vec<(Slot, u32, Vec<SplitSlot>)> {
        let later = self.sources.split_off(&over);
        let sources = std::mem::replace(&mut self.sources, later);
        let mut slots: BTreeMap<Slot, (u32, Vec<SplitSlot>)> = sources
            .into_iter()
            .map(|(slot, sources)| (slot, (u32::try_from(sources.len()).unwrap_or(u32::MAX), Vec::new())))
            .collect();
        for (flag, splits) in &mut self.flags {
            for (split, intake) in splits.iter_mut() {
                // Who reported is known of the app.
                let entries = intake.close(|_| 0, now).into_iter().filter(|entry| !entry.parts.is_empty());
                for entry in entries {
                    let (flag, split) = (flag.clone(), split.clone());
                    let (_, splits) = slots.entry(entry.slot).or_insert((1, Vec::new()));
                    splits.push(SplitSlot { flag, split, parts: entry.parts });
                }
            }
            splits.retain(|_, intake| intake.parts() > 0);
        }
        self.flags.retain(|_, splits| !splits.is_empty());
        self.series = self.flags.values().flat_map(BTreeMap::values).map(Intake::parts).sum();
        slots.into_iter().map(|(slot, (sources, splits))| (slot, sources, splits)).collect()
    }
}

// A slot that closes must not be closed again as the last of those that come after.
const _: () = assert!(GRACE.0 < SLOT.0);
