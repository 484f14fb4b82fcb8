//! Evidence on a logarithmic scale, in integers: sums of it do not depend on their order.

use serde::{Deserialize, Serialize};

/// A natural logarithm in steps of 2^-32. It stops at its ends, which stand for e to the power of 2 billion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nats(pub i64);

const STEPS: f64 = 4_294_967_296.0;

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "casts stop at the ends")]
impl Nats {
    /// The logarithm of 1.
    pub const ZERO: Nats = Nats(0);

    /// The logarithm of a positive number, not larger than it is.
    pub fn of(number: f64) -> Nats {
        Nats::down(libm::log(number))
    }

    /// The largest that is not larger. Evidence is rounded down, what it costs [up](Nats::up).
    pub(super) fn down(logarithm: f64) -> Nats {
        Nats(libm::floor(logarithm * STEPS) as i64)
    }

    /// The smallest that is not smaller.
    pub(super) fn up(logarithm: f64) -> Nats {
        Nats(libm::ceil(logarithm * STEPS) as i64)
    }

    /// As a floating-point number.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / STEPS
    }

    /// The sum; stops at the ends.
    #[must_use]
    pub const fn plus(self, other: Nats) -> Nats {
        Nats(self.0.saturating_add(other.0))
    }

    /// The difference; stops at the ends.
    #[must_use]
    pub const fn minus(self, other: Nats) -> Nats {
        Nats(self.0.saturating_sub(other.0))
    }

    /// So many times this; stops at the ends.
    #[must_use]
    pub fn times(self, count: u64) -> Nats {
        Nats(self.0.saturating_mul(i64::try_from(count).unwrap_or(i64::MAX)))
    }

    /// What this is the logarithm of, in thousandths: as people read evidence.
    pub fn in_thousandths(self) -> u64 {
        libm::floor(libm::exp(self.to_f64()) * 1_000.0) as u64
    }
}

/// The logarithm of a weighted mean, given the logarithms of weights and values; not larger than it is.
pub(super) fn log_mean(parts: impl Iterator<Item = (Nats, Nats)> + Clone) -> Nats {
    let sums = parts.map(|(weight, value)| weight.plus(value));
    let Some(largest) = sums.clone().max() else { return Nats(i64::MIN) };
    let rest: f64 = sums.map(|sum| libm::exp(sum.minus(largest).to_f64())).sum();
    largest.plus(Nats::down(libm::log(rest)))
}
