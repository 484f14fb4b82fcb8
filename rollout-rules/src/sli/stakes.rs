//! What one bad unit says of a variant, given the share of units that it is planned to have.

use serde::{Deserialize, Serialize};

use super::nats::{Nats, log_mean};

/// How many times the odds of a bad unit to be the variant's are what the planned share gives: the effects that
/// the test bets on, with the percentage of the stake that goes on each. How the stake is spread is free: it moves power
/// between effects, and the guarantee is the same for every spread that was chosen beforehand. Equal stakes would find one of
/// three only after nine minutes; tenfold and thirtyfold effects have so much that one bad unit less is let through.
pub(super) const EFFECTS: [(f64, u8); 6] = [(1.5, 3), (2.0, 16), (3.0, 37), (5.0, 27), (10.0, 7), (30.0, 10)];
/// How many effects there are.
pub(super) const BETS: usize = EFFECTS.len();

/// The variant's planned part against the control's: 10 and 90, say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The weight of the variant under test.
    pub variant: u32,
    /// The weight of the control.
    pub control: u32,
}

impl Share {
    /// The probability that a unit of the two is the variant's.
    pub fn probability(self) -> f64 {
        f64::from(self.variant) / (f64::from(self.variant) + f64::from(self.control))
    }

    /// Whether both have units, without which nothing can be compared.
    pub fn compares(self) -> bool {
        self.variant > 0 && self.control > 0
    }

    /// The same in millionths.
    pub fn millionths(self) -> u64 {
        let whole = u64::from(self.variant) + u64::from(self.control);
        u64::from(self.variant) * 1_000_000 / whole.max(1)
    }
}

/// What the bets win and lose at one share. With `k` bad units, `k1` of them the variant's, the bet on an effect of
/// `psi` is worth `psi^k1 / (1 - share + share psi)^k`: at most 1 on average when the variant is no worse,
/// since each bad unit is then the variant's with the planned share as its probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stakes {
    share: Share,
    /// Won by a bad unit of the variant, rounded down.
    wins: [Nats; BETS],
    /// Paid for every bad unit, rounded up.
    costs: [Nats; BETS],
}

impl Stakes {
    pub(super) fn at(share: Share) -> Stakes {
        let part = share.probability();
        Stakes {
            share,
            wins: EFFECTS.map(|(psi, _)| Nats::of(psi)),
            costs: EFFECTS.map(|(psi, _)| Nats::up(libm::log(1.0 - part + part * psi))),
        }
    }

    pub(super) fn share(&self) -> Share {
        self.share
    }

    /// What becomes of bets with `bad` more units, `variant` of them the variant's.
    pub(super) fn settled(&self, mut bets: [Nats; BETS], bad: u64, variant: u64) -> [Nats; BETS] {
        for (bet, (win, cost)) in bets.iter_mut().zip(self.wins.iter().zip(&self.costs)) {
            *bet = bet.plus(win.times(variant)).minus(cost.times(bad));
        }
        bets
    }
}

/// Logarithms of the part of the stake that goes on each effect.
pub(super) fn weights() -> [Nats; BETS] {
    EFFECTS.map(|(_, percent)| Nats::of(f64::from(percent) / 100.0))
}

/// The worth of all bets together.
pub(super) fn worth(weights: &[Nats; BETS], bets: &[Nats; BETS]) -> Nats {
    log_mean(weights.iter().copied().zip(bets.iter().copied()))
}

/// No less than [`worth`], and quick.
pub(super) fn worth_at_most(weights: &[Nats; BETS], bets: &[Nats; BETS]) -> Nats {
    let largest = weights.iter().zip(bets).map(|(weight, bet)| weight.plus(*bet)).max();
    // A little more than ln 6, since there are six.
    largest.unwrap_or_default().plus(Nats(7_700_000_000))
}
