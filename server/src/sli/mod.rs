//! What variants do to requests: reported by apps, summed by slots of ten seconds, closed in order, kept on disk, and handed to
//! whoever watches rollouts.
//!
//! A report is taken into memory. When a slot's grace is over it closes: it is written and synced, and only
//! then does anybody hear of it. A crash loses what was reported for slots that were still open, thirteen seconds at
//! most; processes do not tell it again. A server that stops in order closes them first.

mod batch;
mod closed;
mod follow;
mod open;
mod recorded;
mod rows;
mod sums;
mod windows;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::counter;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, IdempotencyKey, InstanceId};
use rollout_rules::sli::{SLOT, Slot, Summary};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use tokio::sync::broadcast;

pub use self::batch::{Batch, MAX_SUMMARIES, Refusal, Taken};
pub use self::closed::{AppSlot, ClosedSlot, SplitSlot, Watched};
pub use self::follow::Follower;
use self::open::Open;
pub use self::open::{MAX_SERIES, MAX_SERIES_OF_APP, MAX_SOURCES, MAX_SPLITS};
pub use self::recorded::Window;
use self::rows::Row;
pub use self::sums::{MAX_LOOKED_BACK, VariantSums};
use self::windows::{Files, Windows};
pub use self::windows::{KEPT_SLOTS, KEPT_SUMS, WINDOW_SLOTS};
use crate::clock::Clock;

/// Slots that followers may be behind before they read from storage; and those that are kept in all where there is no
/// storage: five minutes.
const RECENT: usize = 30;
/// Closed slots that wait for a disk that does not take them: a minute of them. The oldest are lost then, counted.
const MAX_UNWRITTEN: usize = 6;

/// The outcomes that this server was told. Cheap to clone.
#[derive(Clone)]
pub struct Sli(Arc<Inner>);

struct Inner {
    open: Open,
    /// The files, to be read while others are written.
    files: Option<Files>,
    stored: Mutex<Stored>,
    news: broadcast::Sender<Arc<ClosedSlot>>,
}

struct Stored {
    /// None: nothing outlives the process.
    windows: Option<Windows>,
    unwritten: VecDeque<ClosedSlot>,
    /// The last slots that were closed, where there are no files.
    recent: VecDeque<Arc<ClosedSlot>>,
    /// The last slot that files were brought up to date for.
    kept_up: Slot,
    fails: bool,
}

/// Where rows of a flag lie.
#[derive(Clone, Debug)]
pub struct Place {
    /// The app.
    pub app: AppKey,
    /// The environment.
    pub environment: EnvKey,
    /// The flag.
    pub flag: FlagKey,
}

impl Sli {
    /// Outcomes that are forgotten after five minutes, or when the process ends.
    pub fn in_memory(now: UnixMs) -> Sli {
        Sli::new(None, None, now)
    }

    /// The outcomes of a folder, made if it is not there.
    pub fn open(folder: &Path, now: UnixMs) -> io::Result<Sli> {
        let (windows, last) = Windows::open(folder)?;
        Ok(Sli::new(Some(windows), last, now))
    }

    fn new(windows: Option<Windows>, last: Option<Slot>, now: UnixMs) -> Sli {
        let (news, _) = broadcast::channel(RECENT);
        let (unwritten, recent) = Default::default();
        let files = windows.as_ref().map(Windows::files);
        let stored = Stored { windows, unwritten, recent, kept_up: Slot(0), fails: false };
        Sli(Arc::new(Inner { open: Open::new(last, now), files, stored: Mutex::new(stored), news }))
    }

    /// Takes in what a process tells, once: the same batch again changes nothing.
    pub fn take(
        &self,
        app: &AppKey,
        environment: &EnvKey,
        batch: &Batch,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Taken {
        let taken = batch::take(&self.0.open, (app, environment), batch, snapshot, now);
        counter!("tidegate_outcomes_total").increment(taken.requests);
        for (_, refusal) in &taken.refused {
            counter!("tidegate_outcome_summaries_refused_total", "why" => refusal.code()).increment(1);
        }
        taken
    }

    /// Takes in what is told of one variant, of a flag and variant that are there, under a name that was not used before.
    pub fn take_one(
        &self,
        app: &AppKey,
        environment: &EnvKey,
        instance: &InstanceId,
        batch: &IdempotencyKey,
        summary: &Summary,
        now: UnixMs,
    ) -> Result<(), Refusal> {
        let open = &self.0.open;
        let name = open.name(instance, batch.as_str());
        let added = open.with(app, environment, |of_app| {
            let added = open.add(of_app, name, summary, now);
            if added.is_ok() {
                open.heard(of_app, instance, summary.slot, now);
            }
            added
        });
        match &added {
            Ok(_) => counter!("tidegate_outcomes_total").increment(summary.outcomes.requests),
            Err(refusal) => {
                counter!("tidegate_outcome_summaries_refused_total", "why" => refusal.code()).increment(1);
            }
        }
        added.map(|_| ())
    }

    /// Every slot before this one is closed, and what was reported for it is on disk, or lost.
    pub fn closed_until(&self) -> Slot {
        self.0.open.closed_until()
    }

    /// Closes the slots whose grace is over, puts them on disk and tells of them. `is_watched` says of which splits each slot
    /// is wanted for two days.
    pub fn close(&self, is_watched: &dyn Fn(&Watched) -> bool, now: UnixMs) {
        let mut stored = self.stored();
        let closed = self.0.open.close(now);
        self.store(&mut stored, closed);
        let until = self.closed_until();
        let is_due = until.0 / WINDOW_SLOTS != stored.kept_up.0 / WINDOW_SLOTS;
        if let Some(windows) = stored.windows.as_mut().filter(|_| is_due) {
            if let Err(error) = windows.keep_up(until, is_watched) {
                tracing::warn!(%error, "the outcomes of the past take more room on disk than they need");
            }
            stored.kept_up = until;
        }
    }

    /// Closes all slots, when the server stops in order: what comes for them later would be refused anyway.
    pub fn close_all(&self, now: UnixMs) {
        let mut stored = self.stored();
        let closed = self.0.open.close_all(now);
        self.store(&mut stored, closed);
    }

    fn store(&self, stored: &mut Stored, closed: Vec<ClosedSlot>) {
        stored.unwritten.extend(closed);
        while let Some(next) = stored.unwritten.front() {
            // That nobody reported anything needs no place.
            let windows = stored.windows.as_mut().filter(|_| !next.apps.is_empty());
            if let Some(Err(error)) = windows.map(|windows| windows.append(next)) {
                if !stored.fails {
                    tracing::error!(%error, "outcomes are not written: what rollouts do is not watched meanwhile");
                }
                stored.fails = true;
                break;
            }
            stored.fails = false;
            let Some(next) = stored.unwritten.pop_front().map(Arc::new) else { break };
            if stored.windows.is_none() && !next.apps.is_empty() {
                stored.recent.push_back(Arc::clone(&next));
                let surplus = stored.recent.len().saturating_sub(RECENT);
                stored.recent.drain(..surplus);
            }
            // Nobody may be listening.
            let _ = self.0.news.send(next);
        }
        let surplus = stored.unwritten.len().saturating_sub(MAX_UNWRITTEN);
        counter!("tidegate_outcome_slots_lost_total").increment(surplus as u64);
        stored.unwritten.drain(..surplus);
    }

    /// Closes slots for as long as it is polled.
    pub async fn keep(
        self,
        clock: Clock,
        is_watched: impl Fn(&Watched) -> bool + Clone + Send + Sync + 'static,
    ) {
        loop {
            tokio::select! {
                () = clock.reach(self.0.open.closes_at()) => {}
                // A clock that was set back must not stop it.
                () = clock.pass(SLOT) => {}
            }
            let (sli, is_watched, now) = (self.clone(), is_watched.clone(), clock.now());
            // The disk may take a while, and kills are handed out by this thread.
            let work = tokio::task::spawn_blocking(move || sli.close(&is_watched, now));
            if let Err(error) = work.await {
                tracing::error!(%error, "outcomes were not summed this time");
            }
        }
    }

    /// What is kept of a flag's slots from `from` on and before `until`, in order. May read many files.
    fn rows(&self, place: &Place, from: Slot, until: Slot, mut each: impl FnMut(Row)) -> io::Result<()> {
        if let Some(files) = &self.0.files {
            let beginnings = rows::beginnings(&place.app, &place.environment, &place.flag);
            return files.read((from, until), &beginnings, each);
        }
        let stored = self.stored();
        let recent = stored.recent.iter().filter(|closed| closed.slot >= from && closed.slot < until);
        let lines = recent.flat_map(|closed| rows::lines(closed)).filter(|line| line.concerns(place));
        lines.for_each(|line| each(line.row()));
        Ok(())
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        // What a panic left behind is whole: each slot is moved by itself.
        self.0.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
