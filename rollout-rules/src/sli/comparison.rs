//! Is a variant worse than the control that runs at the same time? A test that may be looked at all the time.
//!
//! A bet is placed on the label of each unit that turns bad. If the variant is no worse, that label is a
//! coin with the planned share, whatever the units' habits, however the error rate drifts: who is served what is
//! drawn by hash, and a unit's label counts once. The bets' worth reaches 1/alpha with a probability of at most
//! alpha then, ever (Ville 1939; for such bets on labels see Turner, Ly and Gruenwald, *Generic E-variables for exact sequential
//! k-sample tests that allow for optional stopping*, 2024).
//!
//! One such bet does not find everything, so there are several, each with a share of alpha:
//! - one begins every five minutes, since what breaks late is not seen in the units of before. Each counts a unit anew.
//! - one counts a unit when it turns bad for the first time, another when it does for the third time: where
//!   nearly every unit is slow once in a while, the first time says little, and the third much.
//!
//! # Why the largest of them and not their mean
//! The evidence is the *largest* of the bets' worths, each times its part `w` of alpha: the chance that any of them ever
//! reaches `1/(alpha w)` is at most the sum of all `alpha w`, which is alpha. Their weighed mean would be a little more, and
//! would be evidence as well if they knew the same; but they do not. What is new to a later bet is old to an earlier one: by the
//! time the later bet counts a unit, its label is known, and when to stop may be chosen by it. Two bets that pay 2 or 0 on a
//! fair coin show it: one unit is bad now, and again later, when the second bet counts it anew. Stop now if it is the
//! control's, with a mean worth of (0 + 1)/2; else wait, for (2 + 2)/2. On average that is 1.25, though each bet alone is
//! fair; so the mean is no e-process, and Ville's inequality does not hold for it. (Choe and Ramdas, *Combining Evidence
//! Across Filtrations*, arXiv 2402.09698, 2024, show that in general, and what lifting each bet into the common knowledge costs;
//! the union bound is cheaper here, since one bet dominates.) It is the same with several SLIs of one flag: whoever fails is often
//! slow, too. They share alpha in equal parts.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use super::bets::Bets;
use super::nats::Nats;
use super::slot::Slot;
use super::stakes::Share;
use super::units::UnitHash;

/// How many requests there were, and how many of them bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests.
    pub requests: u64,
    /// Those that were bad.
    pub bad: u64,
}

impl Rate {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Rate) -> Rate {
        Rate {
            requests: self.requests.saturating_add(other.requests),
            bad: self.bad.saturating_add(other.bad),
        }
    }

    /// What came since an earlier sum.
    #[must_use]
    pub fn since(self, earlier: Rate) -> Rate {
        Rate {
            requests: self.requests.saturating_sub(earlier.requests),
            bad: self.bad.saturating_sub(earlier.bad),
        }
    }
}

/// What the variant and the control had, in this order.
pub type Pair<T> = (T, T);

/// How strongly the bad units of a split speak against a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The logarithm of the bet's worth, weighed: the evidence.
    pub log: Nats,
    /// Since when the bet counts.
    pub since: Slot,
    /// On which of a unit's bad slots it counts a unit: the first or the third.
    pub occasion: u8,
    /// Bad units of the variant and the control together.
    pub bad_units: u64,
    /// Those of the variant.
    pub of_variant: u64,
    /// How many would be the variant's if it were no worse, in thousandths.
    pub expected_thousandths: u64,
    /// Requests of the variant since then.
    pub variant: Rate,
    /// Requests of the control since then.
    pub control: Rate,
}

/// The running test of one variant against the control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    so_far: Pair<Rate>,
    /// No bet is worth more, weighed.
    at_most: Nats,
    /// Elsewhere, since most slots have no bad unit, and none is judged by more than the bound.
    bets: Box<Bets>,
}

impl Comparison {
    /// Begins the test with a slot.
    pub fn new(began: Slot) -> Comparison {
        Comparison { so_far: Pair::default(), at_most: Nats::ZERO, bets: Box::new(Bets::new(began)) }
    }

    /// Begins a slot: slots come in order, and none comes twice.
    pub fn begin(&mut self, slot: Slot) {
        if let Some(bound) = self.bets.begin(slot, self.so_far) {
            // That fewer bets are left makes none of them worth more.
            self.at_most = self.at_most.max(bound);
        }
    }

    /// Counts the requests of a slot, which are told beside the evidence and say how large the effect is.
    pub fn count(&mut self, variant: Rate, control: Rate) {
        self.so_far = (self.so_far.0.plus(variant), self.so_far.1.plus(control));
    }

    /// Counts the bad units of a slot, by hash: those of the variant and those of the control, at the share that was
    /// planned then. Where lists were cut, both have to be complete below the same hash.
    pub fn count_units<T>(
        &mut self,
        slot: Slot,
        share: Share,
        variant: &[(UnitHash, T)],
        control: &[(UnitHash, T)],
    ) {
        let unit = |(unit, _): &(UnitHash, T)| *unit;
        self.count_in_order(slot, share, variant.iter().map(unit), control.iter().map(unit));
    }

    /// The same for units that come in the order of their hashes, each once.
    pub(super) fn count_in_order(
        &mut self,
        slot: Slot,
        share: Share,
        variant: impl Iterator<Item = UnitHash>,
        control: impl Iterator<Item = UnitHash>,
    ) {
        let (mut variant, mut control) = (variant.peekable(), control.peekable());
        if !share.compares() || (variant.peek().is_none() && control.peek().is_none()) {
            return;
        }
        // Bad units of the control make no bet worth more: what was found before is still no less.
        if self.bets.count(slot, share, variant, control) {
            self.at_most = self.bets.at_most();
        }
    }

    /// Whether the evidence is as strong as this.
    pub fn reaches(&self, evidence: Nats) -> bool {
        self.reaches_from(Slot(0), evidence)
    }

    /// Whether what began to count at a slot or later is as strong as this.
    pub(super) fn reaches_from(&self, from: Slot, evidence: Nats) -> bool {
        self.at_most >= evidence && self.bets.strongest(from).is_some_and(|(.., log)| log >= evidence)
    }

    /// Whether a unit was bad before, as far as units are remembered.
    pub(super) fn knows(&self, unit: UnitHash) -> bool {
        self.bets.knows(unit)
    }

    /// How strongly the units that were bad so far speak against the variant.
    pub fn evidence(&self) -> Evidence {
        self.evidence_from(Slot(0))
    }

    /// The same of what began to count at a slot or later.
    pub(super) fn evidence_from(&self, from: Slot) -> Evidence {
        self.bets.evidence(from, self.so_far)
    }
}
