//! Chance, from a seed: the same seed throws the same for ever, on every machine.

/// A small generator (splitmix64). Its stream is part of what a seed means, so it is our own.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x1234_5678_9abc_def1))
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `end`; zero if that is zero.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.up_to(end.saturating_sub(1) as u64)).unwrap_or(0)
    }

    /// At most `last`.
    pub(super) fn up_to(&mut self, last: u64) -> u64 {
        self.throw() % last.saturating_add(1).max(1)
    }

    /// `percent` times out of a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.throw() % 100 < percent
    }

    /// One of several.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len())) }
    }
}
