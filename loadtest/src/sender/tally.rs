//! What became of the requests of one lane in one spell.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;

/// Longest latency that is told apart, in microseconds: what took longer counts as a minute.
const MAX_US: u64 = 60_000_000;
/// Digits of a latency.
const DIGITS: u8 = 3;
/// How long answers are waited for once the last request was due; then they are lost, and count as what they have been
/// waited for.
pub(crate) const PATIENCE_US: u64 = 10_000_000;
/// Shares of requests whose latency is told.
pub(crate) const QUANTILES: [f64; 12] =
    [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0];

/// The counts and times.
pub(crate) struct Tally {
    /// Sent, or due and never sent.
    pub(crate) offered: u64,
    /// Due while the sender stood still: offered to nobody.
    pub(crate) skipped: u64,
    /// Answered as expected.
    pub(crate) answered: u64,
    /// Of those, before the end of the spell, or of the lane's part of it.
    pub(crate) answered_in_time: u64,
    /// Answered otherwise, by status.
    pub(crate) wrong: BTreeMap<u16, u64>,
    /// Of those, by a server that has too much to do and says when to come again.
    pub(crate) told_when: u64,
    /// Under way when the server closed the connection, or answered by something that is no answer.
    pub(crate) broken: u64,
    /// Answered as expected, but for the length of the answer.
    pub(crate) odd: u64,
    /// When the first and the last was answered otherwise or broken off, in nanoseconds since the spell's start.
    pub(crate) failed_ns: Option<(u64, u64)>,
    /// When each that was answered as expected was due, and when it was answered, in nanoseconds since the spell's start;
    /// none where nobody asks.
    pub(crate) times_ns: Option<Vec<(u64, u64)>>,
    /// Not answered within [`PATIENCE_US`] of the spell's end.
    pub(crate) lost: u64,
    /// The sender stood still between the time at which they were due and their answer.
    pub(crate) overlapped: u64,
    /// Connections that were opened anew.
    pub(crate) reopened: u64,
    all_us: Histogram<u64>,
    steady_us: Histogram<u64>,
}

/// Without the thousands of counts by time.
impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { offered, skipped, answered, wrong, broken, odd, lost, overlapped, reopened, .. } = self;
        write!(
            f,
            "{offered} offered, {skipped} skipped, {answered} answered, wrong {wrong:?}, {broken} broken, \
             {odd} odd, {lost} lost, {overlapped} overlapped, {reopened} reopened"
        )
    }
}

impl Tally {
    pub(crate) fn new() -> Tally {
        let histogram = || Histogram::new_with_bounds(1, MAX_US, DIGITS).expect("the bounds are in order");
        Tally {
            offered: 0,
            skipped: 0,
            answered: 0,
            answered_in_time: 0,
            wrong: BTreeMap::new(),
            told_when: 0,
            broken: 0,
            odd: 0,
            failed_ns: None,
            times_ns: None,
            lost: 0,
            overlapped: 0,
            reopened: 0,
            all_us: histogram(),
            steady_us: histogram(),
        }
    }

    /// One was answered as expected, so long after it was due.
    pub(crate) fn answered(&mut self, passed_us: u64, is_in_time: bool, is_steady: bool) {
        self.answered += 1;
        self.answered_in_time += u64::from(is_in_time);
        self.all_us.saturating_record(passed_us.max(1));
        if is_steady {
            self.steady_us.saturating_record(passed_us.max(1));
        } else {
            self.overlapped += 1;
        }
    }

    /// One was answered otherwise or broken off, so long after the spell's start.
    pub(super) fn failed(&mut self, at_ns: u64) {
        let first = self.failed_ns.map_or(at_ns, |(first, _)| first);
        self.failed_ns = Some((first, at_ns));
    }

    /// One was never answered. It is in every figure, as what it has been waited for.
    pub(crate) fn lost(&mut self, passed_us: u64) {
        self.lost += 1;
        self.all_us.saturating_record(passed_us.max(1));
        self.steady_us.saturating_record(passed_us.max(1));
    }

    /// Takes in what became of the requests of another spell; not when some failed, which each counts from its own start.
    pub(crate) fn add(&mut self, other: &Tally) {
        self.offered += other.offered;
        self.skipped += other.skipped;
        self.answered += other.answered;
        self.answered_in_time += other.answered_in_time;
        for (status, count) in &other.wrong {
            *self.wrong.entry(*status).or_default() += count;
        }
        self.told_when += other.told_when;
        self.broken += other.broken;
        self.odd += other.odd;
        self.lost += other.lost;
        self.overlapped += other.overlapped;
        self.reopened += other.reopened;
        let same = "histograms of the same bounds";
        self.all_us.add(&other.all_us).expect(same);
        self.steady_us.add(&other.steady_us).expect(same);
    }

    /// The latency that such a share of requests does not pass, in microseconds: of those during which the sender did
    /// not stand still.
    pub(crate) fn steady_us(&self, share: f64) -> u64 {
        self.steady_us.value_at_quantile(share)
    }

    /// The same of all.
    pub(crate) fn all_us(&self, share: f64) -> u64 {
        self.all_us.value_at_quantile(share)
    }

    /// The share of requests of which the sender itself kept the time from being told.
    pub(crate) fn disturbed(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "millions")]
        let share = (self.skipped + self.overlapped) as f64 / (self.offered + self.skipped).max(1) as f64;
        share
    }

    /// Requests that were not answered as expected, and not given up.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong.values().sum::<u64>() + self.broken + self.odd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_answered_is_in_every_figure() {
        let mut tally = Tally::new();
        (0..98).for_each(|_| tally.answered(100, true, true));
        // Twelve seconds and eleven: the spell took two.
        [PATIENCE_US + 2_000_000, PATIENCE_US + 1_000_000].into_iter().for_each(|us| tally.lost(us));
        assert_eq!((tally.lost, tally.answered), (2, 98));
        for us in [tally.all_us(0.99), tally.steady_us(0.99)] {
            assert!(us.abs_diff(PATIENCE_US + 1_000_000) < PATIENCE_US / 500, "{us}");
        }
        assert_eq!(tally.steady_us(0.5), 100);
    }

    #[test]
    fn what_overlapped_a_standstill_is_told_apart_and_counted() {
        let mut tally = Tally::new();
        tally.offered = 95;
        tally.skipped = 5;
        (0..90).for_each(|_| tally.answered(50, true, true));
        (0..5).for_each(|_| tally.answered(7_000, false, false));
        assert_eq!((tally.answered, tally.answered_in_time, tally.overlapped), (95, 90, 5));
        assert!(tally.steady_us(1.0) == 50 && tally.all_us(1.0) >= 7_000);
        assert!((tally.disturbed() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_latency_keeps_three_digits_and_a_minute_is_the_most() {
        let mut tally = Tally::new();
        tally.answered(123_456, true, true);
        assert!(tally.all_us(0.5).abs_diff(123_456) < 124, "{}", tally.all_us(0.5));
        tally.answered(u64::MAX, true, true);
        assert!(tally.all_us(1.0).abs_diff(MAX_US) < MAX_US / 500);
        assert_eq!(Tally::new().steady_us(0.99), 0);
    }

    #[test]
    fn a_tally_that_takes_in_another_tells_of_the_requests_of_both() {
        let spell = |status: u16, us: u64| {
            let mut tally = Tally::new();
            (tally.offered, tally.skipped, tally.told_when) = (9, 1, 2);
            (tally.broken, tally.odd, tally.reopened) = (3, 4, 5);
            tally.wrong.insert(503, 1);
            *tally.wrong.entry(status).or_default() += 1;
            tally.answered(us, true, true);
            tally.answered(us, false, false);
            tally.lost(us);
            tally.failed(us);
            tally
        };
        let mut both = spell(503, 100);
        both.add(&spell(429, 900));
        assert_eq!((both.offered, both.skipped, both.told_when), (18, 2, 4));
        assert_eq!((both.answered, both.answered_in_time, both.overlapped, both.lost), (4, 2, 2, 2));
        assert_eq!((both.broken, both.odd, both.reopened, both.wrong()), (6, 8, 10, 4 + 14));
        assert_eq!(both.wrong, BTreeMap::from([(429, 1), (503, 3)]));
        assert_eq!(
            [both.all_us(0.5), both.all_us(1.0), both.steady_us(0.5), both.steady_us(1.0)],
            [100, 900, 100, 900]
        );
        assert_eq!(both.failed_ns, Some((100, 100)), "that of the first alone");
    }
}
