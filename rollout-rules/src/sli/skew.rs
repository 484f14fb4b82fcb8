//! Whether a split serves the shares that it was planned to. If not, its variants' units differ in more than the
//! variant, and nothing that is compared can be trusted.
//!
//! The sequential test of multinomial counts by Lindon and Malek (2022): the likelihood of the counts, averaged over
//! shares around the planned ones (a Dirichlet prior), against that of the planned shares. It reaches 1/alpha with a
//! probability of at most alpha, ever, if the shares are as planned.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::nats::Nats;
use super::seen::Seen;
use super::units::UnitHash;

/// One in so many splits that are served as planned is called skewed, at most.
pub const SKEW_ODDS: u32 = 1_000;
/// Most units that are remembered. Beyond, half of the units (by hash) count from then on.
pub const MAX_SERVED: usize = 32_768;
/// How closely the prior keeps to the planned shares: as if so many units had been seen.
const PRIOR_UNITS: f64 = 100.0;
/// A little less than the logarithm of [`SKEW_ODDS`].
const NEAR_SKEWED: f64 = 6.9;

/// The running test of one split. Every unit counts once, for the variant that it was served first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skew {
    seen: Seen,
    /// Units with a hash from here on do not count.
    below: u64,
    /// The planned weights, and the units counted since they were planned.
    weights: Vec<u32>,
    counts: Vec<u64>,
    /// What the counts at earlier weights said.
    before: Nats,
    /// The most that was ever said, of what came near to being too much.
    most: Nats,
}

impl Default for Skew {
    fn default() -> Self {
        Skew {
            seen: Seen::default(),
            below: u64::MAX,
            weights: Vec::new(),
            counts: Vec::new(),
            before: Nats::ZERO,
            most: Nats::ZERO,
        }
    }
}

impl Skew {
    /// Counts the units that a slot served, for each variant its planned weight and its units by hash. All lists have to be
    /// complete below the same hash.
    pub fn count<T>(&mut self, variants: &[(u32, &[(UnitHash, T)])]) {
        if !self.is_planned(variants.iter().map(|(weight, _)| *weight)) {
            self.before = self.log();
            self.weights = variants.iter().map(|(weight, _)| *weight).collect();
            self.counts = variants.iter().map(|_| 0).collect();
        }
        let mut counted = false;
        for (at, (_, units)) in variants.iter().enumerate() {
            if self.seen.has_all_at_hand(units) {
                continue;
            }
            for (unit, _) in units.iter().take_while(|(unit, _)| unit.0 < self.below) {
                // A unit that was served several variants at once says nothing of the split.
                let mut others = variants.iter().enumerate().filter(|(other, _)| *other != at);
                if self.seen.insert(*unit) && !others.any(|(_, (_, units))| has(units, *unit)) {
                    self.counts[at] += 1;
                    counted = true;
                }
            }
        }
        while self.seen.len() > MAX_SERVED {
            self.below /= 2;
            self.seen.keep_below(self.below);
        }
        if counted && self.could_be_skewed() {
            self.most = self.most.max(self.log());
        }
    }

    /// Whether the counts lie so far off that they are worth a closer look: no prior says more against the planned shares than
    /// the shares that fit best, and these no more than Pearson's sum of squares.
    fn could_be_skewed(&self) -> bool {
        let total: u64 = self.weights.iter().map(|weight| u64::from(*weight)).sum();
        let units: u64 = self.counts.iter().sum();
        let off = self.weights.iter().zip(&self.counts).map(|(weight, count)| {
            let expected = to_f64(units) * f64::from(*weight) / to_f64(total);
            let by = to_f64(*count) - expected;
            if *count == 0 && *weight == 0 { 0.0 } else { by * by / expected }
        });
        self.before.to_f64() + off.sum::<f64>() * 1.001 >= NEAR_SKEWED
    }

    /// Whether these are the weights that were planned last.
    pub(super) fn is_planned(&self, weights: impl Iterator<Item = u32>) -> bool {
        weights.eq(self.weights.iter().copied())
    }

    /// How strongly the counts speak against the planned shares.
    fn log(&self) -> Nats {
        let total: u64 = self.weights.iter().map(|weight| u64::from(*weight)).sum();
        let units: u64 = self.counts.iter().sum();
        if units == 0 {
            return self.before;
        }
        let planned = self.weights.iter().zip(&self.counts).filter(|(weight, _)| **weight > 0);
        let said: f64 = planned
            .map(|(weight, count)| {
                let (share, count) = (f64::from(*weight) / to_f64(total), to_f64(*count));
                let prior = PRIOR_UNITS * share;
                libm::lgamma(prior + count) - libm::lgamma(prior) - count * libm::log(share)
            })
            .sum();
        let all = libm::lgamma(PRIOR_UNITS) - libm::lgamma(PRIOR_UNITS + to_f64(units));
        self.before.plus(Nats::down(said + all))
    }

    /// Whether the split is skewed. Once it is, it stays so.
    pub fn is_skewed(&self) -> bool {
        self.most >= Nats::of(f64::from(SKEW_ODDS))
    }

    /// The most that ever spoke against the planned shares if that came near to being too much, or else what does so now.
    pub fn evidence(&self) -> Nats {
        self.most.max(self.log())
    }

    /// The planned weights and how many units have been counted at them.
    pub fn counts(&self) -> impl Iterator<Item = (u32, u64)> {
        self.weights.iter().copied().zip(self.counts.iter().copied())
    }
}

fn has<T>(units: &[(UnitHash, T)], unit: UnitHash) -> bool {
    units.binary_search_by_key(&unit, |(unit, _)| *unit).is_ok()
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
