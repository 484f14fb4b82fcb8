//! How often each flag gave which answer: counted as checks are answered over OFREP, told in batches by SDKs,
//! summed by hour and day, and kept on disk. From it comes which flags have become stale ([`stale`]).
//!
//! These are statistics, not changes: nothing of them is in the change log. A batch is acknowledged once it is
//! summed in memory; what is in memory reaches the disk every [`FLUSH_EVERY`] and when the server stops in
//! order, so that a crash loses that much at most.

mod answers;
pub mod batch;
pub mod lanes;
mod lines;
pub mod stale;
mod store;
mod sums;
mod tallies;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::counter;
use rollout_rules::evaluate::{Answer, Reason};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::table::FlagTable;
use rollout_rules::tally::Cell;
use rollout_rules::time::{DurationMs, UnixMs};

pub use self::answers::{AnswerSums, DAY_MS, FlagSums, HOUR_MS, KEPT_DAYS, KEPT_HOURS};
use self::batch::{Batch, Outcome, Recent};
pub use self::store::StoreError;
pub use self::sums::{Kept, MAX_SERIES, Place, Sums};
use self::tallies::{Tallied, Tallies};
use self::writer::Writer;
use crate::clock::Clock;

/// How often what was counted here is summed.
pub const COLLECT_EVERY: DurationMs = DurationMs(10_000);
/// How often the sums go to disk.
pub const FLUSH_EVERY: DurationMs = DurationMs(60_000);

/// The counts of this server. Cheap to clone.
#[derive(Clone)]
pub struct Exposures(Arc<Inner>);

struct Inner {
    tallies: Tallies,
    sums: Mutex<Sums>,
    recent: Mutex<Recent>,
    writer: Option<Writer>,
}

impl Exposures {
    /// Counts that are forgotten when the process ends.
    pub fn in_memory(now: UnixMs) -> Exposures {
        Exposures::new(Sums::since(now), None)
    }

    /// The counts of a file, made if it is not there.
    pub fn open(path: &Path, now: UnixMs) -> Result<Exposures, StoreError> {
        let (store, sums) = store::Store::open(path, now)?;
        let writer =
            Writer::start(store).map_err(|error| StoreError::new("starting its writer", path, error))?;
        Ok(Exposures::new(sums, Some(writer)))
    }

    fn new(sums: Sums, writer: Option<Writer>) -> Exposures {
        let inner =
            Inner { tallies: Tallies::default(), sums: Mutex::new(sums), recent: Mutex::default(), writer };
        Exposures(Arc::new(inner))
    }

    /// Where the checks of an environment are counted, for as long as its flags are these. One look-up for
    /// a request, however many flags it checks.
    pub fn counting(&self, app: &AppKey, environment: &EnvKey, flags: &FlagTable) -> Counting {
        let tallied = self.0.tallies.of(app, environment, flags);
        if tallied.is_none() {
            counter!("tidegate_exposures_dropped_total").increment(1);
        }
        Counting(tallied)
    }

    /// Sums what was counted here since the last time: in all environments, or in those of an app.
    pub fn collect(&self, of: Option<&AppKey>, snapshot: &Snapshot, now: UnixMs) {
        let mut taken = 0;
        self.0.tallies.collect(of, snapshot, |(app, environment), counted| {
            let mut sums = self.sums();
            for one in counted.asked {
                taken += one.count;
                sums.add(&place(app, environment, &one.flag), one.variant.as_ref(), one.count, now);
            }
            for one in counted.listed {
                taken += one.count;
                let place = place(app, environment, &one.flag);
                sums.add_listed(&place, one.variant.as_ref(), one.count, now, now);
            }
        });
        if taken > 0 {
            counter!("tidegate_exposures_total", "source" => "ofrep").increment(taken);
        }
    }

    /// Takes in what an SDK counted, once: the same batch again changes nothing.
    pub fn take(
        &self,
        app: &AppKey,
        environment: &EnvKey,
        batch: &Batch,
        snapshot: &Snapshot,
        now: UnixMs,
    ) -> Outcome {
        let mut recent = locked(&self.0.recent);
        if !recent.is_new(app, environment, batch, now) {
            return Outcome { repeated: true, ..Outcome::default() };
        }
        let outcome = batch::sum(&mut self.sums(), app, environment, batch, snapshot, now);
        counter!("tidegate_exposures_total", "source" => "sdk").increment(outcome.counted);
        outcome
    }

    /// The sums of one app environment's flag, and since when anything is counted at all.
    pub fn read<T>(&self, place: &Place, read: impl FnOnce(Option<&FlagSums>, UnixMs) -> T) -> T {
        let sums = self.sums();
        read(sums.get(place), sums.counting_since())
    }

    /// All sums, for as long as `read` takes; nothing is summed meanwhile.
    pub fn read_all<T>(&self, read: impl FnOnce(&Sums) -> T) -> T {
        read(&self.sums())
    }

    /// Has what is new written to disk. Does not wait for the disk.
    pub fn flush(&self, snapshot: &Snapshot, now: UnixMs) {
        let mut sums = self.sums();
        sums.forget(
            |place| {
                snapshot.flag(&place.app, &place.flag).is_some_and(|flag| {
                    !flag.record().is_archived() && flag.record().state(&place.environment).is_some()
                })
            },
            now,
        );
        match &self.0.writer {
            Some(writer) => writer.write(&mut sums),
            None => sums.forget_changes(),
        }
    }

    /// Sums and writes what is new, and waits for the disk, for two seconds at most.
    pub fn close(&self, snapshot: &Snapshot, now: UnixMs) {
        self.collect(None, snapshot, now);
        self.flush(snapshot, now);
        if let Some(writer) = &self.0.writer {
            writer.finish();
        }
    }

    /// Sums and writes for as long as it is polled. `snapshot` gives what is published.
    pub async fn keep(self, clock: Clock, snapshot: impl Fn() -> Arc<Snapshot>) {
        let mut flushed = clock.now();
        loop {
            clock.pass(COLLECT_EVERY).await;
            let now = clock.now();
            // A clock that was set back must not stop the flushing.
            let flushes = now.since(flushed) >= FLUSH_EVERY || now < flushed;
            if flushes {
                flushed = now;
            }
            let (exposures, folded) = (self.clone(), snapshot());
            // Where many flags are checked this takes a while, and kills are handed out by this thread.
            let work = tokio::task::spawn_blocking(move || {
                exposures.collect(None, &folded, now);
                if flushes {
                    exposures.flush(&folded, now);
                }
            });
            if let Err(error) = work.await {
                tracing::error!(%error, "exposures were not summed this time");
            }
        }
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        locked(&self.0.sums)
    }
}

/// What a panic left behind is whole: statistics, each number by itself.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the checks of one environment. `None` inside if as many environments as fit are counted already.
pub struct Counting(Option<Arc<Tallied>>);

impl Counting {
    /// Counts an answer to somebody who asked for the flag. A check that gave none of the flag's variants for want
    /// of a unit counts as such.
    #[inline]
    pub fn count(&self, answer: &Answer<'_>) {
        let Counting(Some(tallied)) = self else { return };
        tallied.asked().count(cell(answer), lanes::own());
    }

    /// Counts an answer among those of all flags, of which nobody can tell which were wanted.
    #[inline]
    pub fn count_listed(&self, answer: &Answer<'_>) {
        let Counting(Some(tallied)) = self else { return };
        tallied.listed().count(cell(answer), lanes::own());
    }
}

#[inline]
fn cell(answer: &Answer<'_>) -> Cell {
    match answer.reason {
        Reason::NoUnit => answer.flag().cells().no_variant(),
        _ => answer.cell(),
    }
}

/// The flag of an app environment.
pub fn place(app: &AppKey, environment: &EnvKey, flag: &FlagKey) -> Place {
    Place { app: app.clone(), environment: environment.clone(), flag: flag.clone() }
}
