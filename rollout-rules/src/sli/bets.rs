//! The bets of a comparison: when each begins, which units it counts, and what it is worth.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter::Peekable;

use serde::{Deserialize, Serialize};

use super::comparison::{Evidence, Pair, Rate};
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
const COUNTED: [(usize, u8); 2] = [(1, 95), (OCCASIONS, 5)];
const LEVELS: usize = COUNTED.len();

/// All bets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bets {
    began: Slot,
    /// By their beginning.
    epochs: Vec<Epoch>,
    recall: Recall,
    stakes: Stakes,
    weights: [Nats; BETS],
    /// The part of alpha of each level.
    parts: [Nats; LEVELS],
}

/// One bet. Small, since a bad unit goes through all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Epoch {
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

/// The part of alpha of the `number`th bet, from 1 on. They add up to 1. The first has 0.66, since most that is broken is
/// so from the start; the rest falls off late and slowly. With this and 95 % for first occasions, four bad units of a variant
/// that has a tenth of the users are enough beside one of the control's.
fn weight(number: u32) -> f64 {
    let number = f64::from(number);
    if number < 1.5 { 0.66 } else { 0.34 * 6.0 / ((number + 4.0) * (number + 5.0)) }
}

impl Bets {
    /// Begins them with a slot.
    pub(super) fn new(began: Slot) -> Bets {
        Bets {
            began,
            epochs: Vec::new(),
            recall: Recall::default(),
            stakes: Stakes::at(Share { variant: 1, control: 1 }),
            weights: weights(),
            parts: COUNTED.map(|(_, percent)| Nats::of(f64::from(percent) / 100.0)),
        }
    }

    /// Begins a slot: slots come in order, and none comes twice.
    /// Tells what the bet that begins then is worth at most, if one does.
    pub(super) fn begin(&mut self, slot: Slot, so_far: Pair<Rate>) -> Option<Nats> {
        let number = slot.since(self.began) / EPOCH_SLOTS + 1;
        if self.epochs.last().is_some_and(|last| last.rest.number >= number) {
            return None;
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
            rest: Box::new(Rest { number, weight: Nats::of(weight(number)), from: so_far, before: None }),
        });
        self.epochs.last().map(|new| self.bound(new))
    }

    /// Counts units by hash, each once. `true` if a bet may be worth more then.
    pub(super) fn count(
        &mut self,
        slot: Slot,
        share: Share,
        mut variant: Peekable<impl Iterator<Item = UnitHash>>,
        mut control: Peekable<impl Iterator<Item = UnitHash>>,
    ) -> bool {
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
        raised
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

    /// No bet is worth more, weighed. Takes no logarithm: most of the time that is far from enough.
    pub(super) fn at_most(&self) -> Nats {
        self.epochs.iter().map(|epoch| self.bound(epoch)).max().unwrap_or_default()
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

    /// The strongest bet of those that began at a slot or later: its epoch, its level, and how strong it is.
    pub(super) fn strongest(&self, from: Slot) -> Option<(&Epoch, usize, Nats)> {
        let bets = self.epochs.iter().filter(|epoch| epoch.start >= from).flat_map(|epoch| {
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
    pub(super) fn evidence(&self, from: Slot, so_far: Pair<Rate>) -> Evidence {
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
        self.strongest(from).map_or(none, |(epoch, at, log)| {
            let level = epoch.settled(at, &self.stakes);
            Evidence {
                log,
                since: epoch.start,
                occasion: u8::try_from(COUNTED[at].0).unwrap_or(1),
                bad_units: level.bad,
                of_variant: level.of_variant,
                expected_thousandths: level.expected_millionths / 1_000,
                variant: so_far.0.since(epoch.rest.from.0),
                control: so_far.1.since(epoch.rest.from.1),
            }
        })
    }
}
