//! Whether a variant is good enough to go on: the mirror of the test that takes it back.
//!
//! It tests that the odds of the variant's units to turn bad are not `size` times those of the control's. Which of
//! `k` units that turned bad in a slot are the variant's follows Fisher's noncentral hypergeometric distribution then;
//! the evidence is the likelihood of no difference against that of the size. The sums have to be exact here: the closed form
//! that the other test has from Hoeffding's inequality errs on this one's wrong side.

use serde::{Deserialize, Serialize};

use super::comparison::Pair;
use super::nats::{Nats, log_mean};

/// A variant that is `size` times as bad as the control goes on in one of so many rollouts, at most.
pub const ADVANCE_ODDS: u32 = 20;

/// The running test of one variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    size_thousandths: u64,
    log: Nats,
    most: Nats,
    /// Units that turned bad.
    bad: Pair<u64>,
}

impl Mirror {
    /// A test of being `size` thousandths as bad as the control, above 1,000.
    pub fn new(size_thousandths: u64) -> Mirror {
        Mirror { size_thousandths, log: Nats::ZERO, most: Nats::ZERO, bad: (0, 0) }
    }

    /// Counts a slot: the units of the variant and the control that had not been bad, and how many of them turned bad. (If
    /// those that had been bad were among the units, a variant that has spoilt most of its units would look good.)
    pub fn count(&mut self, units: Pair<u64>, bad: Pair<u64>) {
        let bad = (bad.0.min(units.0), bad.1.min(units.1));
        let both = bad.0 + bad.1;
        if both == 0 || units.0 == 0 || units.1 == 0 {
            return;
        }
        self.bad = (self.bad.0.saturating_add(bad.0), self.bad.1.saturating_add(bad.1));
        let size = Nats::of(to_f64(self.size_thousandths) / 1_000.0);
        let gain = log_sum(units, both, size).minus(log_sum(units, both, Nats::ZERO));
        self.log = self.log.plus(gain).minus(size.times(bad.0));
        self.most = self.most.max(self.log);
    }

    /// Whether the variant has been shown to be better than so bad. Once it has, it stays so.
    pub fn is_shown(&self) -> bool {
        self.most >= Nats::of(f64::from(ADVANCE_ODDS))
    }

    /// How strongly it speaks for the variant.
    pub fn evidence(&self) -> Nats {
        self.log
    }

    /// Units of the variant and the control that turned bad.
    pub fn bad_units(&self) -> Pair<u64> {
        self.bad
    }
}

/// The logarithm of the sum over all ways in which `bad` units can be the variant's or the control's, each weighed with
/// the effect to the power of the variant's, up to a factor that does not depend on the effect.
fn log_sum((variant, control): Pair<u64>, bad: u64, effect: Nats) -> Nats {
    let (least, most) = (bad.saturating_sub(control), bad.min(variant));
    let mut way = effect.times(least);
    let ways = (least..=most).map(|of_variant| {
        let this = way;
        if of_variant < most {
            let more = to_f64(variant - of_variant) * to_f64(bad - of_variant);
            let fewer = to_f64(of_variant + 1) * to_f64(control + of_variant + 1 - bad);
            way = way.plus(Nats::of(more / fewer)).plus(effect);
        }
        (Nats::ZERO, this)
    });
    let ways: alloc::vec::Vec<_> = ways.collect();
    log_mean(ways.iter().copied())
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
