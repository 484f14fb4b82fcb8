//! How often each flag gave which answer: counted as checks are answered over OFREP, told in batches by SDKs,
//! summed by hour and day, and kept on disk. From it comes which flags have become stale ([`stale`]).
//!
//! These are statistics, not changes: nothing of them is in the change log. A batch is acknowledged once it is
//! summed in memory; what is in memory reaches the disk every [`FLUSH_EVERY`] and when the server stops in
//! order, so that a crash loses that much at most.
//!
//! Where something is not counted, that is noted as a gap of the app, and its flags are judged from then on. Nobody
//! knows of what a crash has lost, or what an SDK had not told when it ended without being heard.

mod answers;
pub mod batch;
mod kept;
pub mod lanes;
mod lines;
mod room;
pub mod stale;
mod store;
mod sums;
mod tallies;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::counter;
use rollout_rules::evaluate::{Answer, Reason};
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::snapshot::{App, FlagRecord, Snapshot};
use rollout_rules::table::FlagTable;
use rollout_rules::tally::Cell;
use rollout_rules::time::{DurationMs, UnixMs};

pub use self::answers::{AnswerSums, DAY_MS, FlagSums, HOUR_MS, KEPT_DAYS, KEPT_HOURS};
use self::batch::{Batch, Outcome, Recent};
use self::kept::Still;
pub use self::kept::{Kept, Place};
use self::stale::Finding;
pub use self::store::StoreError;
use self::sums::AT_A_TIME;
pub use self::sums::{MAX_SERIES, MAX_SERIES_OF_APP, Sums};
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
    /// Held from when counts are taken out of the tallies until they are in the sums: whoever reads the sums then, or
    /// writes them for the last time, has them.
    collecting: Mutex<()>,
    sums: Mutex<Sums>,
    recent: Mutex<Recent>,
    /// How many requests for checks of an app were not counted.
    left_out: Mutex<BTreeMap<AppKey, u64>>,
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
        let (tallies, collecting, recent, left_out) = Default::default();
        let sums = Mutex::new(sums);
        Exposures(Arc::new(Inner { tallies, collecting, sums, recent, left_out, writer }))
    }

    /// Where the checks of an environment are counted, for as long as its flags are these. One look-up, however many flags
    /// are checked; and whoever keeps it keeps the memory of it.
    pub fn counting(&self, app: &AppKey, environment: &EnvKey, flags: &FlagTable) -> Counting {
        let tallied = self.0.tallies.of(app, environment, flags);
        if tallied.is_none() {
            *locked(&self.0.left_out).entry(app.clone()).or_default() += 1;
        }
        Counting(tallied)
    }

    /// Sums what was counted here since the last time: in all environments, or in those of an app.
    pub fn collect(&self, of: Option<&AppKey>, snapshot: &Snapshot, clock: &Clock) {
        let _collecting = locked(&self.0.collecting);
        let mut taken = 0;
        self.0.tallies.collect(of, snapshot, |(app, environment), counted| {
            for counted in counted.asked.chunks(AT_A_TIME) {
                let (mut sums, now) = self.sums_at(clock);
                for one in counted {
                    taken += one.count;
                    sums.add(&place(app, environment, &one.flag), one.variant.as_ref(), one.count, now);
                }
            }
            for counted in counted.listed.chunks(AT_A_TIME) {
                let (mut sums, now) = self.sums_at(clock);
                for one in counted {
                    taken += one.count;
                    let place = place(app, environment, &one.flag);
                    sums.add_listed(&place, one.variant.as_ref(), one.count, now, now);
                }
            }
            if counted.uncounted > 0 {
                self.drop_counts(app, counted.uncounted, clock);
            }
        });
        // Not held while the sums are waited for: requests note here what they do not count.
        let left_out = std::mem::take(&mut *locked(&self.0.left_out));
        for (app, requests) in left_out {
            self.drop_counts(&app, requests, clock);
        }
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
        clock: &Clock,
    ) -> Outcome {
        let is_new = locked(&self.0.recent).is_new(app, environment, batch, clock.now());
        if !is_new {
            return Outcome { repeated: true, ..Outcome::default() };
        }
        let mut outcome = Outcome::default();
        for counts in batch.counts.chunks(AT_A_TIME) {
            let (mut sums, now) = self.sums_at(clock);
            batch::sum(&mut sums, app, environment, counts, snapshot, &mut outcome, now);
        }
        counter!("tidegate_exposures_total", "source" => "sdk").increment(outcome.counted);
        let missing = batch.uncounted.saturating_add(outcome.too_old);
        if missing > 0 {
            self.drop_counts(app, missing, clock);
        }
        outcome
    }

    fn drop_counts(&self, app: &AppKey, count: u64, clock: &Clock) {
        let (mut sums, now) = self.sums_at(clock);
        sums.drop_counts(app, count, now);
    }

    /// The sums of one app environment's flag, and since when anything is counted at all.
    pub fn read<T>(&self, place: &Place, read: impl FnOnce(Option<&FlagSums>, UnixMs) -> T) -> T {
        let sums = self.sums();
        read(sums.get(place), sums.counting_since())
    }

    /// What is stale about a flag, in the environments of `only` or all.
    pub fn findings(
        &self,
        app: &App,
        record: &FlagRecord,
        only: impl Fn(&EnvKey) -> bool,
        now: UnixMs,
    ) -> Vec<Finding> {
        stale::findings(app, record, &self.sums(), only, now)
    }

    /// Has what is new written to disk. Does not wait for the disk, and lets others have the sums in between.
    pub fn flush(&self, snapshot: &Snapshot, clock: &Clock) {
        let still_there = |place: &Place| {
            let flag = snapshot.flag(&place.app, &place.flag).map(|view| view.record());
            match (flag.filter(|flag| !flag.is_archived()), &place.environment) {
                (None, _) => Still::Gone,
                (Some(flag), Some(environment)) if flag.state(environment).is_none() => Still::FlagAlone,
                (Some(_), _) => Still::There,
            }
        };
        self.forget(still_there, clock);
        match &self.0.writer {
            Some(writer) => writer.write(&self.0.sums),
            None => drop(self.sums().take_changed()),
        }
    }

    fn forget(&self, still_there: impl Fn(&Place) -> Still, clock: &Clock) {
        let (mut sums, now) = self.sums_at(clock);
        sums.forget_gaps(now);
        let mut places = sums.places_after(None);
        drop(sums);
        while let Some(last) = places.last().cloned() {
            let look_up = |place| {
                let still = still_there(&place);
                (place, still)
            };
            let looked_up: Vec<(Place, Still)> = places.into_iter().map(look_up).collect();
            let (mut sums, now) = self.sums_at(clock);
            sums.forget(looked_up, now);
            places = sums.places_after(Some(&last));
        }
    }

    /// Sums and writes what is new, and waits for the disk, for two seconds at most.
    pub fn close(&self, snapshot: &Snapshot, clock: &Clock) {
        self.collect(None, snapshot, clock);
        self.flush(snapshot, clock);
        if let Some(writer) = &self.0.writer {
            writer.finish(&self.0.sums);
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
            let (exposures, clock, folded) = (self.clone(), clock.clone(), snapshot());
            // Where many flags are checked this takes a while, and kills are handed out by this thread.
            let work = tokio::task::spawn_blocking(move || {
                exposures.collect(None, &folded, &clock);
                if flushes {
                    exposures.flush(&folded, &clock);
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

    /// The sums, to be changed, and the time by a clock that is read once nobody else has them. As of a moment that had
    /// passed for the one before, what that one wrote would seem the work of a clock that was ahead.
    fn sums_at(&self, clock: &Clock) -> (MutexGuard<'_, Sums>, UnixMs) {
        let sums = self.sums();
        let now = clock.now();
        (sums, now)
    }
}

/// What a panic left behind is whole: statistics, each number by itself.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the checks of one environment. `None` inside if as many environments as fit are counted already.
pub struct Counting(Option<Arc<Tallied>>);

impl Counting {
    /// Whether there was no room for another environment.
    pub fn is_nowhere(&self) -> bool {
        self.0.is_none()
    }

    /// Counts an answer to somebody who asked for one flag. A check that gave none of the flag's variants for want of a unit
    /// counts as such.
    #[inline]
    pub fn count_asked(&self, answer: &Answer<'_>) {
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
    Place { app: app.clone(), environment: Some(environment.clone()), flag: flag.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    #[test]
    fn an_app_with_more_environments_than_are_counted_has_its_flags_judged_from_then_on() {
        let exposures = Exposures::in_memory(NOW);
        let (live, flags) = (EnvKey::new("live").expect("a key"), FlagTable::default());
        let app = |number: usize| AppKey::new(&format!("a-{number}")).expect("a key");
        for number in 0..=tallies::MAX_TALLIES {
            exposures.counting(&app(number), &live, &flags);
        }
        let clock = TestClock::at(NOW);
        exposures.collect(None, &Snapshot::default(), &clock.clock());
        let gap_at = |number: usize| exposures.sums().gap_at(&app(number));
        assert_eq!((gap_at(0), gap_at(tallies::MAX_TALLIES)), (None, Some(NOW)));
        clock.advance(COLLECT_EVERY);
        exposures.collect(None, &Snapshot::default(), &clock.clock());
        assert_eq!(gap_at(tallies::MAX_TALLIES), Some(NOW), "told once");
    }

    #[test]
    fn whoever_collects_waits_for_what_another_has_taken_out_and_not_summed_yet() {
        let exposures = Exposures::in_memory(NOW);
        let (app, live) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        let counting = exposures.counting(&app, &live, &FlagTable::default());
        counting.0.as_ref().expect("there is room").asked().count(Cell::NONE, lanes::own());
        let clock = TestClock::at(NOW).clock();
        let collect = || exposures.collect(None, &Snapshot::default(), &clock);
        std::thread::scope(|scope| {
            let sums = exposures.sums();
            scope.spawn(collect);
            let began = std::time::Instant::now();
            while exposures.0.collecting.try_lock().is_ok() {
                assert!(began.elapsed() < std::time::Duration::from_secs(20), "nobody is told to wait");
                std::thread::yield_now();
            }
            let other = scope.spawn(|| {
                collect();
                exposures.sums().gap_at(&app)
            });
            drop(sums);
            assert_eq!(other.join().expect("no panic"), Some(NOW));
        });
    }

    #[test]
    fn others_get_at_the_sums_while_it_is_looked_up_which_flags_are_there() {
        let exposures = Exposures::in_memory(NOW);
        let (app, live) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        let flag =
            |number: usize| place(&app, &live, &FlagKey::new(&format!("f-{number:04}")).expect("a key"));
        for number in 0..1_000 {
            assert!(exposures.sums().add(&flag(number), None, 1, NOW));
        }
        exposures.sums().take_changed();
        let looked_up = std::cell::Cell::new(0);
        let is_there = |place: &Place| {
            assert!(exposures.0.sums.try_lock().is_ok(), "the sums are held");
            looked_up.set(looked_up.get() + 1);
            if place.flag.as_str() >= "f-0500" { Still::There } else { Still::Gone }
        };
        exposures.forget(is_there, &TestClock::at(NOW).clock());
        assert_eq!(looked_up.get(), 1_000);
        let known = |number: usize| exposures.read(&flag(number), |sums, _| sums.is_some());
        assert!((0..1_000).all(|number| known(number) == (number >= 500)));
    }
}
