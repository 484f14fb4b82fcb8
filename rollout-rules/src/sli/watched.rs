//! One variant that is watched, with its tests.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::bets::EPOCH_SLOTS;
use super::guardrail::{Sli, TWICE, Test};
use super::lately::Lately;
use super::mirror::Mirror;
use super::running::{Marks, Running, Served, Side};
use super::slot::Slot;
use super::verdict::{State, Verdict};
use super::watch::QUIET_SLOTS;
use crate::ids::VariantKey;

/// What is known of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watched {
    pub(super) variant: VariantKey,
    pub(super) lately: Lately,
    pub(super) tests: Vec<Running>,
    /// Among how many tests alpha is shared.
    pub(super) sharing: u32,
    pub(super) marks: Marks,
    pub(super) mirror: Mirror,
    began: Slot,
    /// When the next bets begin.
    next_bets: Slot,
    pub(super) requests: u64,
    pub(super) control_requests: u64,
    /// What was told last.
    pub(super) told: Option<(State, Option<u8>)>,
    /// What a rule acted on. It stays: nothing becomes good again by waiting.
    pub(super) regressed: Option<Box<Verdict>>,
    /// The tests that were told to hold, a bit each: each acts once.
    #[serde(default)]
    acted: u16,
    /// Whether units turned bad or slow, when any did last, and which was not told: then nothing is compared.
    #[serde(default)]
    pub(super) blind: bool,
    /// For how many slots with requests nothing was bad since.
    #[serde(default, skip_serializing_if = "is_none")]
    clear_slots: u32,
}

impl Watched {
    /// Begins all tests at a slot.
    pub(super) fn new(variant: VariantKey, tests: &[Test], began: Slot) -> Watched {
        let sizes = tests.iter().filter_map(|test| match test {
            Test::WorseThanControl { sli: Sli::ErrorRate, by_thousandths } => Some(*by_thousandths),
            _ => None,
        });
        let size = sizes.min().unwrap_or(TWICE).max(1_001);
        let tests: Vec<Running> = tests.iter().map(|test| Running::new(*test, began)).collect();
        let compare = tests.iter().filter(|running| running.compares()).count();
        let sharing = u32::try_from(compare).unwrap_or(1).max(1);
        Watched {
            variant,
            lately: Lately::default(),
            tests,
            sharing,
            marks: Marks::shared(sharing),
            mirror: Mirror::new(size),
            began,
            next_bets: began,
            requests: 0,
            control_requests: 0,
            told: None,
            regressed: None,
            acted: 0,
            blind: false,
            clear_slots: 0,
        }
    }

    /// Begins a slot.
    pub(super) fn begin(&mut self, slot: Slot) {
        if slot >= self.next_bets {
            self.tests.iter_mut().for_each(|test| test.begin(slot));
            self.next_bets = self.began.plus((slot.since(self.began) / EPOCH_SLOTS + 1) * EPOCH_SLOTS);
        }
    }

    /// Goes on with what its tests found. All of them may act again, and clocks and requests are counted from now on.
    pub(super) fn go_on(&mut self) {
        self.tests.iter_mut().for_each(Running::stop_clock);
        (self.told, self.regressed) = (None, None);
        (self.acted, self.blind, self.clear_slots) = (0, false, 0);
        (self.requests, self.control_requests) = (0, 0);
    }

    /// Notes that a test was told to hold.
    pub(super) fn acts_by(&mut self, test: u8) {
        self.acted |= bit(test);
    }

    /// Whether a test was told to hold.
    pub(super) fn acted_by(&self, test: u8) -> bool {
        self.acted & bit(test) != 0
    }

    /// Counts what a slot served.
    pub(super) fn count(&mut self, slot: Slot, served: &Served<'_>, control: &Lately) {
        if let Some((units, bad)) = self.tests.iter().find_map(|running| running.turned_bad(served)) {
            self.mirror.count(units, bad);
        }
        // A slot in which nothing failed and nothing was slow says nothing of it.
        let told: Vec<bool> = self.tests.iter().filter_map(|running| running.is_told(served)).collect();
        if !told.is_empty() {
            (self.blind, self.clear_slots) = (told.contains(&false), 0);
        } else if self.blind && served.requests() > 0 {
            // Long enough without, and it is as good as over.
            self.clear_slots = self.clear_slots.saturating_add(1);
            self.blind = self.clear_slots < QUIET_SLOTS;
        }
        let before = Side { variant: &self.lately, control: served.control.map(|_| control), now: slot };
        self.tests.iter_mut().for_each(|test| test.count(slot, served, &before));
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(slots: &u32) -> bool {
    *slots == 0
}

/// Tests are [`MAX_TESTS`](super::watch::MAX_TESTS) at most: a bit each.
fn bit(test: u8) -> u16 {
    1_u16.checked_shl(u32::from(test)).unwrap_or(0)
}
