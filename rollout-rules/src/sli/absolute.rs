//! Whether something happens more often than it may, where there is no control to compare with.
//!
//! If of all requests at most a part `p0` is bad, whatever happened before, then `(p/p0)^k ((1-p)/(1-p0))^(n-k)` is at
//! most 1 on average for every `p` above `p0`. Such a bet on each of a few `p` begins every five minutes; they all
//! know the same, so they may be added up.

use serde::{Deserialize, Serialize};

use super::bets::EPOCH_SLOTS;
use super::nats::{Nats, log_mean};
use super::slot::Slot;

/// The parts that are bet on, those above the bound.
const PARTS: [f64; 4] = [0.05, 0.1, 0.2, 0.5];

/// The running test of one bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absolute {
    began: Slot,
    bound_millionths: u64,
    epochs: u32,
    /// For each part what all its bets are worth together; nothing yet.
    worth: [Option<Nats>; PARTS.len()],
    counted: (u64, u64),
}

impl Absolute {
    /// Tests whether more than a part, in millionths, is bad. From a half on it never finds out.
    pub fn new(bound_millionths: u64, began: Slot) -> Absolute {
        Absolute { began, bound_millionths, epochs: 0, worth: [None; PARTS.len()], counted: (0, 0) }
    }

    #[allow(clippy::cast_precision_loss, reason = "a bound is a million at most")]
    fn bound(&self) -> f64 {
        // A bound of nothing at all would make the first bad one proof.
        self.bound_millionths.clamp(1, 1_000_000) as f64 / 1_000_000.0
    }

    /// Counts a slot: how many there were, and how many of them bad. Slots come in order.
    pub fn count(&mut self, slot: Slot, all: u64, bad: u64) {
        let bound = self.bound();
        let used = PARTS.iter().filter(|part| **part > bound).count();
        if used == 0 {
            return;
        }
        let bad = bad.min(all);
        self.counted = (self.counted.0.saturating_add(all), self.counted.1.saturating_add(bad));
        let epochs = slot.since(self.began) / EPOCH_SLOTS + 1;
        while self.epochs < epochs {
            self.epochs += 1;
            let number = f64::from(self.epochs);
            // The parts of alpha of all bets that ever begin add up to 1.
            let stake =
                Nats::of(1.0 / (number * (number + 1.0)) / f64::from(u8::try_from(used).unwrap_or(4)));
            for (_, worth) in PARTS.iter().zip(&mut self.worth).filter(|(part, _)| **part > bound) {
                let old = worth.map(|worth| (Nats::ZERO, worth));
                *worth = Some(log_mean(old.into_iter().chain([(Nats::ZERO, stake)])));
            }
        }
        for (part, worth) in PARTS.iter().zip(&mut self.worth).filter(|(part, _)| **part > bound) {
            let win = Nats::of(part / bound).times(bad);
            let cost = Nats::of((1.0 - part) / (1.0 - bound)).times(all - bad);
            *worth = worth.map(|worth| worth.plus(win).plus(cost));
        }
    }

    /// How strongly what was counted speaks against the bound being kept.
    pub fn evidence(&self) -> Nats {
        log_mean(self.worth.iter().flatten().map(|worth| (Nats::ZERO, *worth)))
    }

    /// How many were counted, and how many of them bad.
    pub fn counted(&self) -> (u64, u64) {
        self.counted
    }
}
