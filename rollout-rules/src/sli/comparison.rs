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
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::nats::Nats;
use super::recall::{OCCASIONS, Recall};
use super::slot::Slot;
use super::stakes::{BETS, Share, Stakes, weights, worth, worth_at_most};
use super::units::UnitHash;

/// Slots between the beginnings of bets: five minutes.
pub const EPOCH_SLOTS: u32 = 30;
/// Most units that are remembered for one comparison. Beyond, the older half of the bets ends; if that makes
/// no room, only half of the units (by hash) count from then on.
pub const MAX_RECALLED: usize = 16_384;
/// So many bets are not ended for want of room.
const KEPT_EPOCHS: usize = 4;
/// Of the bets of the same age up to doubling, so many are kept, evenly.
const KEPT_OF_AN_AGE: u32 = 8;
/// The occasions on which a unit counts, with the percentage of alpha.
const COUNTED: [(usize, u8); 2] = [(1, 90), (OCCASIONS, 10)];
const LEVELS: usize = COUNTED.len();

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
    began: Slot,
    /// By their beginning.
    epochs: Vec<Epoch>,
    recall: Recall,
    stakes: Stakes,
    weights: [Nats; BETS],
    /// The part of alpha of each level.
    parts: [Nats; LEVELS],
    so_far: Pair<Rate>,
    /// No bet is worth more, weighed.
    at_most: Nats,
}

/// One bet. Small, since a bad unit goes through all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Epoch {
    start: Slot,
    levels: [Level; LEVELS],
    /// Units with a hash from here on do not count.
    below: u64,
    rest: Box<Rest>,
}

/// What is asked of a bet now and then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rest {
    number: u32,
    /// The part of alpha that this bet has.
    weight: Nats,
    /// What had been before.
    from: Pair<Rate>,
    /// Of a bet that was there when the share was moved.
    before: Option<Box<[Settled; LEVELS]>>,
}

/// The units that were counted at the share that is planned now. They say all: the bets' worth follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Level {
    bad: u32,
    of_variant: u32,
}

/// What had come of a level when the share was last moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Settled {
    bets: [Nats; BETS],
    bad: u64,
    of_variant: u64,
    expected_millionths: u64,
}

impl Epoch {
    /// All that has come of a level.
    fn settled(&self, at: usize, stakes: &Stakes) -> Settled {
        let before = self.rest.before.as_ref().map(|before| before[at]).unwrap_or_default();
        let Level { bad, of_variant } = self.levels[at];
        let (bad, of_variant) = (u64::from(bad), u64::from(of_variant));
        let expected = bad.saturating_mul(stakes.share().millionths());
        Settled {
            bets: stakes.settled(before.bets, bad, of_variant),
            bad: before.bad.saturating_add(bad),
            of_variant: before.of_variant.saturating_add(of_variant),
            expected_millionths: before.expected_millionths.saturating_add(expected),
        }
    }
}

/// The part of alpha of the `number`th bet, from 1 on. They add up to 1. The first has 0.6, since most that is broken is
/// so from the start; the rest falls off late and slowly.
fn weight(number: u32) -> f64 {
    let number = f64::from(number);
    if number < 1.5 { 0.6 } else { 0.4 * 6.0 / ((number + 4.0) * (number + 5.0)) }
}

impl Comparison {
    /// Begins the test with a slot.
    pub fn new(began: Slot) -> Comparison {
        Comparison {
            began,
            epochs: Vec::new(),
            recall: Recall::default(),
            stakes: Stakes::at(Share { variant: 1, control: 1 }),
            weights: weights(),
            parts: COUNTED.map(|(_, percent)| Nats::of(f64::from(percent) / 100.0)),
            so_far: Pair::default(),
            at_most: Nats::ZERO,
        }
    }

    /// Begins a slot: slots come in order, and none comes twice.
    pub fn begin(&mut self, slot: Slot) {
        let number = slot.since(self.began) / EPOCH_SLOTS + 1;
        if self.epochs.last().is_some_and(|last| last.rest.number >= number) {
            return;
        }
        let kept = |epoch: &Epoch| {
            let age = (number - epoch.rest.number) / KEPT_OF_AN_AGE;
            let step = if age < 2 { 1 } else { 1 << age.ilog2() };
            (epoch.rest.number - 1).is_multiple_of(step)
        };
        self.epochs.retain(kept);
        self.epochs.push(Epoch {
            start: self.began.plus((number - 1) * EPOCH_SLOTS),
            levels: [Level::default(); LEVELS],
            below: u64::MAX,
            rest: Box::new(Rest {
                number,
                weight: Nats::of(weight(number)),
                from: self.so_far,
                before: None,
            }),
        });
        // That fewer bets are left makes none of them worth more.
        self.at_most = self.at_most.max(self.epochs.last().map_or(self.at_most, |new| self.bound(new)));
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
        self.move_to(share);
        let mut raised = false;
        loop {
            let (ours, theirs) = (variant.peek().copied(), control.peek().copied());
            let unit = match (ours, theirs) {
                (Some(ours), Some(theirs)) => ours.min(theirs),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => break,
            };
            let (is_ours, is_theirs) = (ours == Some(unit), theirs == Some(unit));
            if is_ours {
                variant.next();
            }
            if is_theirs {
                control.next();
            }
            let before = self.recall.note(unit, slot);
            // A unit that was served both says nothing of either, and is not new any more.
            if let (Some(before), true) = (before, is_ours != is_theirs) {
                raised |= self.count_unit(unit, is_ours, slot, before);
            }
        }
        if self.recall.len() > MAX_RECALLED {
            self.make_room(slot);
        }
        // Bad units of the control make no bet worth more: what was found before is still no less.
        if raised {
            self.look();
        }
    }

    /// Goes on at another share. What came of the bets so far is put down.
    fn move_to(&mut self, share: Share) {
        if self.stakes.share() == share {
            return;
        }
        for epoch in &mut self.epochs {
            if epoch.rest.before.is_some() || epoch.levels != [Level::default(); LEVELS] {
                let settled = core::array::from_fn(|at| epoch.settled(at, &self.stakes));
                epoch.rest.before = Some(Box::new(settled));
                epoch.levels = [Level::default(); LEVELS];
            }
        }
        self.stakes = Stakes::at(share);
    }

    /// Adds a unit to every bet to which it is new, or has just been bad often enough. `true` if that made one worth more.
    fn count_unit(
        &mut self,
        unit: UnitHash,
        is_variant: bool,
        slot: Slot,
        before: [Slot; OCCASIONS],
    ) -> bool {
        let mut raised = false;
        for (level, (occasion, _)) in COUNTED.iter().enumerate() {
            // In a bet that began in this range, this is the occasion.
            let until = if *occasion == 1 { slot } else { before[occasion - 2] };
            let after = before[occasion - 1];
            if until == Slot(0) {
                continue;
            }
            for epoch in self.epochs.iter_mut().rev() {
                if epoch.start <= after && after > Slot(0) {
                    break;
                }
                if epoch.start <= until && unit.0 < epoch.below {
                    let level = &mut epoch.levels[level];
                    level.bad = level.bad.saturating_add(1);
                    level.of_variant = level.of_variant.saturating_add(u32::from(is_variant));
                    raised |= is_variant;
                }
            }
        }
        raised
    }

    /// Forgets units and with them bets, or lets fewer units count; neither hangs on the units' labels.
    fn make_room(&mut self, slot: Slot) {
        while self.recall.len() > MAX_RECALLED {
            if self.epochs.len() > KEPT_EPOCHS {
                self.epochs.drain(..self.epochs.len() / 2);
            } else {
                self.epochs.iter_mut().for_each(|epoch| epoch.below /= 2);
            }
            let from = self.epochs.first().map_or(slot, |epoch| epoch.start);
            let below = self.epochs.iter().map(|epoch| epoch.below).max().unwrap_or(u64::MAX);
            self.recall.keep(from, below);
        }
    }

    /// Bounds what the bets are worth, without a logarithm: most of the time that is far from enough.
    fn look(&mut self) {
        self.at_most = self.epochs.iter().map(|epoch| self.bound(epoch)).max().unwrap_or_default();
    }

    /// No bet of an epoch is worth more, weighed.
    fn bound(&self, epoch: &Epoch) -> Nats {
        let bounds = self.parts.iter().enumerate().map(|(at, part)| {
            let bets = if self.loses(epoch, at) { [Nats::ZERO; BETS] } else { self.bets(epoch, at) };
            part.plus(epoch.rest.weight).plus(worth_at_most(&self.weights, &bets))
        });
        bounds.max().unwrap_or_default()
    }

    /// Whether a level has no more of the variant's units than are expected, and never had another share: since
    /// `1 - share + share psi` is at least `psi` to the power of `share`, no bet has won anything then.
    fn loses(&self, epoch: &Epoch, at: usize) -> bool {
        let (Level { bad, of_variant }, share) = (epoch.levels[at], self.stakes.share());
        let whole = u64::from(share.variant) + u64::from(share.control);
        let expected = u128::from(bad) * u128::from(share.variant);
        epoch.rest.before.is_none() && u128::from(of_variant) * u128::from(whole) <= expected
    }

    /// The bets of an epoch's level.
    fn bets(&self, epoch: &Epoch, at: usize) -> [Nats; BETS] {
        let before = epoch.rest.before.as_ref().map_or([Nats::ZERO; BETS], |before| before[at].bets);
        let Level { bad, of_variant } = epoch.levels[at];
        self.stakes.settled(before, u64::from(bad), u64::from(of_variant))
    }

    /// Whether the evidence is as strong as this.
    pub fn reaches(&self, evidence: Nats) -> bool {
        self.at_most >= evidence && self.strongest().is_some_and(|(.., log)| log >= evidence)
    }

    /// The strongest bet: its epoch, its level, and how strong it is.
    fn strongest(&self) -> Option<(&Epoch, usize, Nats)> {
        let bets = self.epochs.iter().flat_map(|epoch| {
            self.parts.iter().enumerate().map(move |(at, part)| {
                (epoch, at, part.plus(epoch.rest.weight).plus(worth(&self.weights, &self.bets(epoch, at))))
            })
        });
        // Of several that are as strong the first, which has seen most.
        bets.reduce(|best, bet| if bet.2 > best.2 { bet } else { best })
    }

    /// Whether a unit was bad before, as far as units are remembered.
    pub(super) fn knows(&self, unit: UnitHash) -> bool {
        self.recall.knows(unit)
    }

    /// How strongly the units that were bad so far speak against the variant.
    pub fn evidence(&self) -> Evidence {
        let none = Evidence {
            log: Nats::ZERO,
            since: self.began,
            occasion: 1,
            bad_units: 0,
            of_variant: 0,
            expected_thousandths: 0,
            variant: Rate::default(),
            control: Rate::default(),
        };
        self.strongest().map_or(none, |(epoch, at, log)| {
            let level = epoch.settled(at, &self.stakes);
            Evidence {
                log,
                since: epoch.start,
                occasion: u8::try_from(COUNTED[at].0).unwrap_or(1),
                bad_units: level.bad,
                of_variant: level.of_variant,
                expected_thousandths: level.expected_millionths / 1_000,
                variant: self.so_far.0.since(epoch.rest.from.0),
                control: self.so_far.1.since(epoch.rest.from.1),
            }
        })
    }
}
