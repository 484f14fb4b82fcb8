//! What an SDK tells of its checks, taken in once.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use rollout_rules::ids::{AppKey, EnvKey, FlagKey, IdempotencyKey, InstanceId, VariantKey};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DurationMs, UnixMs};
use schemars::JsonSchema;
use serde::Deserialize;

use super::place;
use super::sums::Sums;
use super::{HOUR_MS, KEPT_HOURS};

/// Most counts in one batch.
pub const MAX_COUNTS: usize = 1_000;
/// Most checks that one count stands for: a thread that does nothing else for an hour makes a tenth of it.
pub const MAX_COUNT: u64 = 1_000_000_000_000;
/// How many SDKs are remembered, each with its last batch.
pub const MAX_REMEMBERED: usize = 100_000;
/// For how long the last batch of an SDK is remembered at least, if there is room.
const REMEMBERED: DurationMs = DurationMs(HOUR_MS);

/// What an SDK counted since its last batch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Who counted.
    pub instance: InstanceId,
    /// Names this batch among those of the instance. Sent again under the same name, it is not counted again: the
    /// server remembers the last batch of each of 100,000 instances, for an hour at least, until it ends.
    pub batch: IdempotencyKey,
    /// At most 1,000.
    #[schemars(length(max = 1000))]
    pub counts: Vec<Count>,
    /// How many checks more it answered that it could not count, of whatever flags: at most 1,000,000,000,000. If there
    /// are any, flags of the app are judged by what is asked for from now on.
    #[serde(default)]
    #[schemars(range(max = 1_000_000_000_000_u64))]
    pub uncounted: u64,
    /// The app, if the token is bound to none.
    #[serde(default)]
    pub app: Option<AppKey>,
    /// The environment, if the token is bound to none.
    #[serde(default)]
    pub environment: Option<EnvKey>,
}

/// How often a flag gave an answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// The flag.
    pub flag: FlagKey,
    /// The answer; absent for checks that asked for the flag and got none of its variants.
    #[serde(default)]
    pub variant: Option<VariantKey>,
    /// How often: 1 to 1,000,000,000,000.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub count: u64,
    /// How many seconds before the batch was sent; so a wrong clock does no harm. More than 48 hours are not
    /// counted.
    #[serde(default)]
    pub age_s: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Checks that were summed.
    pub counted: u64,
    /// Checks of flags or variants that are not there (any more).
    pub unknown: u64,
    /// Checks of too long ago. They are not counted, and flags of the app are judged by what is asked for from now on.
    pub too_old: u64,
    /// Checks for which there was no room.
    pub dropped: u64,
    /// Whether it was the same batch again, of which nothing was counted.
    pub repeated: bool,
}

/// Adds counts of a batch to the sums, and to what became of it.
pub(super) fn sum(
    sums: &mut Sums,
    app: &AppKey,
    environment: &EnvKey,
    counts: &[Count],
    snapshot: &Snapshot,
    outcome: &mut Outcome,
    now: UnixMs,
) {
    for one in counts {
        let place = place(app, environment, &one.flag);
        let flag = snapshot.flag(app, &one.flag).map(|view| view.record());
        let flag = flag.filter(|flag| !flag.is_archived() && flag.state(environment).is_some());
        let known = flag.is_some_and(|flag| {
            one.variant.as_ref().is_none_or(|key| flag.flag().variants.iter().any(|known| known.key == *key))
        });
        let ago = DurationMs(one.age_s.saturating_mul(1_000));
        let sum = if ago.0 > KEPT_HOURS * HOUR_MS {
            &mut outcome.too_old
        } else if !known {
            &mut outcome.unknown
        } else if sums.add_from(&place, one.variant.as_ref(), one.count, ago, now) {
            &mut outcome.counted
        } else {
            &mut outcome.dropped
        };
        *sum = sum.saturating_add(one.count);
    }
}

/// The last batch of each SDK that was heard of.
#[derive(Default)]
pub(super) struct Recent {
    hasher: RandomState,
    /// By the hash of who, the hash of which and when.
    last: HashMap<u64, (u64, UnixMs)>,
}

impl Recent {
    /// Whether a batch is not the last one of its sender, which it is from now on.
    pub(super) fn is_new(&mut self, app: &AppKey, environment: &EnvKey, batch: &Batch, now: UnixMs) -> bool {
        let who = self.hasher.hash_one((app, environment, &batch.instance));
        let which = self.hasher.hash_one((app, environment, &batch.instance, &batch.batch));
        if self.last.len() >= MAX_REMEMBERED && !self.last.contains_key(&who) {
            self.last.retain(|_, (_, heard)| now.since(*heard) < REMEMBERED);
            if self.last.len() >= MAX_REMEMBERED {
                self.last.clear();
            }
        }
        self.last.insert(who, (which, now)).is_none_or(|(last, _)| last != which)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(instance: &str, name: &str) -> Batch {
        Batch {
            instance: InstanceId::new(instance).expect("a name"),
            batch: IdempotencyKey::new(name).expect("a name"),
            counts: Vec::new(),
            uncounted: 0,
            app: None,
            environment: None,
        }
    }

    #[test]
    fn the_last_batch_of_each_of_many_senders_is_known_again_and_memory_has_a_bound() {
        let (app, live) = (AppKey::new("shop").expect("a key"), EnvKey::new("live").expect("a key"));
        let trial = EnvKey::new("trial").expect("a key");
        let mut recent = Recent::default();
        let mut is_new = |environment: &EnvKey, instance: &str, name: &str, now: u64| {
            recent.is_new(&app, environment, &batch(instance, name), UnixMs(now))
        };
        assert!(is_new(&live, "a", "1", 0));
        assert!(!is_new(&live, "a", "1", 9));
        assert!(is_new(&trial, "a", "1", 9), "another environment");
        assert!(is_new(&live, "b", "1", 9), "another sender");
        for sender in 3..MAX_REMEMBERED {
            assert!(is_new(&live, &format!("i-{sender}"), "1", 10), "{sender}");
        }
        assert!(!is_new(&live, "a", "1", 10), "there was room for all");
        // An hour later those that were quiet make room.
        let later = REMEMBERED.0 + 10;
        assert!(!is_new(&live, "i-3", "1", later));
        assert!(is_new(&live, "newcomer", "1", later));
        assert!(!is_new(&live, "i-3", "1", later));
        assert!(is_new(&live, "a", "1", later), "forgotten");
        assert!(recent.last.len() < 10, "{}", recent.last.len());
    }
}
