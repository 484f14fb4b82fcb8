//! How often flags gave which answer, on its way to the server: counted as checks are answered, told about once
//! a minute and at the end. What the server did not take is told again, under the name that it had, until it is
//! taken; what is counted meanwhile waits for the next batch.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use rollout_rules::feed::machine::Loss;
use rollout_rules::ids::{FlagKey, VariantKey};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::acks::{LONGEST_PAUSE, Next, after};
use crate::endpoint::{Connection, Endpoint};
use crate::shared::Shared;

/// How often the server is told, if nothing else is said; a quarter more or less is left to chance.
pub(crate) const EVERY: Duration = Duration::from_secs(60);
/// How long a client that ends waits for the server to take the last batch.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);
/// Most counts in one batch: with the longest keys they are 150 KiB, well below what a server takes.
const BATCH: usize = 500;
/// Counts of this length of time are told together if they could not be told at once.
const SLOT: Duration = Duration::from_secs(600);
/// Most counts that wait; past it those of the oldest times are added together.
const MOST_WAITING: usize = 20_000;
/// Most that a server takes for the number of answers that were not counted.
const MOST_UNCOUNTED: u64 = 1_000_000_000_000;
/// A server does not take what is older.
const OLDEST: Duration = Duration::from_secs(48 * 3_600);

/// When (in slots since the client began), which flag, and what it gave.
type Key = (u64, FlagKey, Option<VariantKey>);

/// What is to be told.
pub(crate) struct Exposures {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    every: Duration,
    waiting: Waiting,
    connection: Option<Connection>,
    began: Instant,
}

impl Exposures {
    /// Nothing is to be told yet.
    pub(crate) fn new(shared: Arc<Shared>, endpoint: Arc<Endpoint>, every: Duration) -> Exposures {
        let waiting = Waiting::named(rand::rng().random());
        Exposures { shared, endpoint, every, waiting, connection: None, began: Instant::now() }
    }

    /// Tells the server for as long as the client lives, and once more when it ends.
    pub(crate) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut pause = self.jittered();
        loop {
            let ends = tokio::select! {
                // An error means that whoever could say so is gone.
                _ = closing.wait_for(|closing| *closing) => true,
                () = sleep(pause) => false,
            };
            self.collect();
            if ends {
                let _ = timeout(FAREWELL, self.tell()).await;
                return;
            }
            // What was asked for is a lower bound, also for what is counted meanwhile.
            pause = self.tell().await.map_or(self.jittered(), |asked| asked.max(self.jittered()));
        }
    }

    fn jittered(&self) -> Duration {
        self.every.mul_f64(rand::rng().random_range(0.75..1.25))
    }

    fn collect(&mut self) {
        let elapsed = self.began.elapsed();
        let collected = self.shared.collect();
        self.waiting.uncounted = self.waiting.uncounted.saturating_add(collected.uncounted);
        for one in collected.counts {
            self.waiting.add((slot(elapsed), one.flag, one.variant), one.count);
        }
        self.waiting.stay_within(elapsed);
    }

    /// Sends batches until nothing waits; answers with how long to leave the server alone if it took one not.
    async fn tell(&mut self) -> Option<Duration> {
        let mut failures = 0;
        loop {
            let (body, name) = self.waiting.next(self.began.elapsed())?;
            let uncounted = self.waiting.batch_uncounted;
            let outcome = self.endpoint.tell_exposures(&mut self.connection, &name, body, uncounted).await;
            failures += u32::from(outcome.is_err());
            match self.waiting.told(&outcome) {
                Told::Done => {}
                Told::Again => match after(&outcome, failures, rand::rng().random()) {
                    Next::Forget => {}
                    Next::Pause(pause) | Next::PauseOrMore(pause) => return Some(pause),
                    // The key is not valid, or not for this: it may be again.
                    Next::More => return Some(LONGEST_PAUSE),
                },
            }
        }
    }
}

fn slot(elapsed: Duration) -> u64 {
    elapsed.as_secs() / SLOT.as_secs()
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It was taken, never will be, or is sent in other pieces.
    Done,
    /// It is to be sent again as it is: it may have been taken.
    Again,
}

/// Counts that wait, and the batch that is under way.
struct Waiting {
    counts: BTreeMap<Key, u64>,
    /// Answers of which nobody can tell the flag, or that were not told in time.
    uncounted: u64,
    batch: Vec<(Key, u64)>,
    batch_uncounted: u64,
    run: u32,
    number: u64,
    most: usize,
}

impl Waiting {
    /// Batches have names that no other run of the program has.
    fn named(run: u32) -> Waiting {
        let (counts, batch) = Default::default();
        Waiting { counts, uncounted: 0, batch, batch_uncounted: 0, run, number: 0, most: BATCH }
    }

    fn add(&mut self, key: Key, count: u64) {
        let sum = self.counts.entry(key).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Keeps what waits within its bound: first times become less exact, counts stay what they are.
    fn stay_within(&mut self, elapsed: Duration) {
        let oldest = slot(elapsed.saturating_sub(OLDEST));
        while let Some(first) = self.counts.first_entry().filter(|first| first.key().0 < oldest) {
            self.uncounted = self.uncounted.saturating_add(first.remove());
        }
        while self.counts.len() > MOST_WAITING {
            let Some(&(first, ..)) = self.counts.keys().next() else { return };
            if self.counts.keys().next_back().is_none_or(|(last, ..)| *last == first) {
                // As many as there are answers; flags have bounds of their own.
                return;
            }
            while let Some(entry) = self.counts.first_entry().filter(|entry| entry.key().0 == first) {
                let ((_, flag, variant), count) = entry.remove_entry();
                self.add((first + 1, flag, variant), count);
            }
        }
    }

    /// The counts of the next batch as they are sent, and its name. One that is under way comes first, and
    /// again.
    fn next(&mut self, elapsed: Duration) -> Option<(Value, String)> {
        if self.batch.is_empty() && self.batch_uncounted == 0 {
            while self.batch.len() < self.most
                && let Some(entry) = self.counts.pop_first()
            {
                self.batch.push(entry);
            }
            self.batch_uncounted = mem::take(&mut self.uncounted).min(MOST_UNCOUNTED);
            self.number += 1;
        }
        let counts: Vec<Value> = self
            .batch
            .iter()
            .map(|((slot, flag, variant), count)| {
                // To the end of its slot, which may not have come.
                let age = elapsed.as_secs().saturating_sub((slot + 1) * SLOT.as_secs());
                let mut one = json!({ "flag": flag, "count": count, "age_s": age });
                if let Some(variant) = variant {
                    one["variant"] = variant.as_str().into();
                }
                one
            })
            .collect();
        (!counts.is_empty() || self.batch_uncounted > 0)
            .then(|| (counts.into(), format!("{:08x}-{}", self.run, self.number)))
    }

    /// What became of the batch under way.
    fn told(&mut self, outcome: &Result<(), Loss>) -> Told {
        match outcome {
            // Too large for this server: in smaller pieces.
            Err(Loss::Refused { status: 413, .. }) if self.batch.len() > 1 => {
                self.most = self.batch.len() / 2;
                for (key, count) in mem::take(&mut self.batch) {
                    self.add(key, count);
                }
                self.uncounted = self.uncounted.saturating_add(mem::take(&mut self.batch_uncounted));
                Told::Done
            }
            // 404: the environment is gone, or the server does not count.
            Ok(()) | Err(Loss::Refused { status: 400 | 404 | 413 | 422, .. }) => {
                self.batch.clear();
                self.batch_uncounted = 0;
                Told::Done
            }
            Err(_) => Told::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const NOW: Duration = Duration::from_secs(30);

    fn key(slot: u64, flag: &str) -> Key {
        (slot, FlagKey::new(flag).unwrap(), Some(VariantKey::new("on").unwrap()))
    }

    fn refused(status: u16) -> Result<(), Loss> {
        Err(Loss::Refused { status, retry_after: None })
    }

    fn sum(counts: &Value) -> u64 {
        counts.as_array().unwrap().iter().map(|one| one["count"].as_u64().unwrap()).sum()
    }

    #[test]
    fn a_batch_that_may_have_been_taken_is_sent_again_as_it_was_and_new_counts_wait() {
        let mut waiting = Waiting::named(7);
        assert!(waiting.next(NOW).is_none());
        waiting.add(key(0, "a"), 3);
        waiting.add(key(0, "a"), 2);
        let (first, name) = waiting.next(NOW).unwrap();
        assert_eq!(first, json!([{"flag": "a", "variant": "on", "count": 5, "age_s": 0}]));
        for doubt in [Err(Loss::Ended), refused(503), refused(429), refused(401)] {
            assert_eq!(waiting.told(&doubt), Told::Again);
            waiting.add(key(0, "a"), 1);
            assert_eq!(waiting.next(NOW).unwrap(), (first.clone(), name.clone()));
        }
        // An hour later it is older, and still the same batch.
        let (again, its_name) = waiting.next(NOW + Duration::from_secs(3_600)).unwrap();
        assert_eq!(
            (&again[0]["age_s"], &again[0]["count"], its_name),
            (&json!(3_030), &json!(5), name.clone())
        );
        assert_eq!(waiting.told(&Ok(())), Told::Done);
        let (rest, other) = waiting.next(NOW).unwrap();
        assert_eq!(rest[0]["count"], 4);
        assert_ne!(other, name);
        assert_eq!(waiting.told(&refused(404)), Told::Done);
        assert!(waiting.next(NOW).is_none());
    }

    #[test]
    fn how_many_answers_were_not_counted_is_told_until_it_is_taken_with_counts_or_without() {
        let mut waiting = Waiting::named(7);
        waiting.uncounted = 3;
        let (counts, name) = waiting.next(NOW).unwrap();
        assert_eq!((counts, waiting.batch_uncounted), (json!([]), 3));
        assert_eq!(waiting.told(&Err(Loss::Ended)), Told::Again);
        waiting.add(key(0, "a"), 1);
        waiting.uncounted += 4;
        let (counts, again) = waiting.next(NOW).unwrap();
        assert_eq!((counts, waiting.batch_uncounted, again), (json!([]), 3, name));
        assert_eq!(waiting.told(&Ok(())), Told::Done);
        waiting.add(key(0, "b"), 1);
        let (counts, _) = waiting.next(NOW).unwrap();
        assert_eq!((sum(&counts), waiting.batch_uncounted), (2, 4));
        // In two batches, as the server wishes, it is told once.
        assert_eq!(waiting.told(&refused(413)), Told::Done);
        let told: Vec<(u64, u64)> = std::iter::from_fn(|| {
            let (counts, _) = waiting.next(NOW)?;
            let told = (sum(&counts), waiting.batch_uncounted);
            assert_eq!(waiting.told(&Ok(())), Told::Done);
            Some(told)
        })
        .collect();
        assert_eq!(told, [(1, 4), (1, 0)]);
    }

    #[test]
    fn many_counts_go_in_batches_and_in_smaller_ones_if_a_server_takes_no_large_ones() {
        let mut waiting = Waiting::named(7);
        (0..1_200).for_each(|n| waiting.add(key(0, &format!("f-{n}")), 1));
        let (first, _) = waiting.next(NOW).unwrap();
        assert_eq!(first.as_array().unwrap().len(), BATCH);
        let mut taken = 0;
        while let Some((counts, _)) = waiting.next(NOW) {
            let fits = counts.as_array().unwrap().len() <= 100;
            taken += if fits { sum(&counts) } else { 0 };
            assert_eq!(waiting.told(&if fits { Ok(()) } else { refused(413) }), Told::Done);
        }
        assert_eq!(taken, 1_200);
    }

    #[test]
    fn what_waits_for_long_is_bounded_and_loses_its_hour_before_it_loses_a_count() {
        let mut waiting = Waiting::named(7);
        let each = MOST_WAITING as u64 / 10;
        for slot in 0..12 {
            (0..each).for_each(|n| waiting.add(key(slot, &format!("f-{n}")), 1));
        }
        waiting.stay_within(SLOT * 12);
        assert!(waiting.counts.len() <= MOST_WAITING, "{}", waiting.counts.len());
        assert_eq!(waiting.counts.values().sum::<u64>(), 12 * each);
        // More flags than that are told all the same.
        (0..=MOST_WAITING).for_each(|n| waiting.add(key(12, &format!("g-{n}")), 1));
        waiting.stay_within(SLOT * 13);
        assert_eq!(waiting.counts.values().sum::<u64>(), 12 * each + MOST_WAITING as u64 + 1);
        // Two days later no server takes them, and is only told how many they were.
        let all = waiting.counts.values().sum::<u64>();
        waiting.stay_within(OLDEST + SLOT * 14);
        assert_eq!((waiting.counts.len(), waiting.uncounted), (0, all));
    }
}
