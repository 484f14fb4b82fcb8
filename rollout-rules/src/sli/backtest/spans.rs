//! From when to when what was recorded is known, and how finely.

use alloc::vec::Vec;

use crate::sli::recorded::SUM_SLOTS;
use crate::sli::slot::Slot;
use crate::time::UnixMs;

/// A pause of more slots begins a new span: an hour.
const PAUSE_SLOTS: u32 = 360;
/// Most spans; further ones are told as one with the last.
const MAX_SPANS: usize = 200;

/// How finely a time is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// By slots of ten seconds, with units.
    Slots,
    /// By sums of five minutes, without units.
    Sums,
    /// Some flags by slots, others by sums.
    Both,
}

/// A stretch of time that is known equally finely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first slot.
    pub from: Slot,
    /// The slot after its last.
    pub until: Slot,
    /// How finely it is known.
    pub resolution: Resolution,
}

impl Span {
    /// When it begins and ends.
    pub fn times(&self) -> (UnixMs, UnixMs) {
        (self.from.starts_at(), self.until.starts_at())
    }
}

/// The spans so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Spans {
    done: Vec<Span>,
    /// The five minutes that are being told.
    window: Option<Span>,
}

impl Spans {
    pub(super) fn slot(&mut self, slot: Slot) {
        self.tell(slot, slot.plus(1), Resolution::Slots);
    }

    pub(super) fn sum(&mut self, first: Slot) {
        self.tell(first, first.plus(SUM_SLOTS), Resolution::Sums);
    }

    fn tell(&mut self, from: Slot, until: Slot, resolution: Resolution) {
        let number = |slot: Slot| slot.0 / SUM_SLOTS;
        if let Some(window) = self.window.as_mut().filter(|window| number(window.from) == number(from)) {
            if window.resolution != resolution {
                window.resolution = Resolution::Both;
            }
            window.from = window.from.min(from);
            window.until = window.until.max(until);
            return;
        }
        self.put_down();
        self.window = Some(Span { from, until, resolution });
    }

    fn put_down(&mut self) {
        let Some(window) = self.window.take() else { return };
        let full = self.done.len() >= MAX_SPANS;
        match self.done.last_mut() {
            Some(last)
                if full
                    || (last.resolution == window.resolution
                        && window.from.since(last.until) <= PAUSE_SLOTS) =>
            {
                last.until = last.until.max(window.until);
                if last.resolution != window.resolution {
                    last.resolution = Resolution::Both;
                }
            }
            _ => self.done.push(window),
        }
    }

    pub(super) fn all(mut self) -> Vec<Span> {
        self.put_down();
        self.done
    }
}
