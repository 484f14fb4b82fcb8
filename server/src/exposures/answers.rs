//! The sums of one flag in one environment: how often each answer was given, by hour and by day.

use rollout_rules::ids::VariantKey;
use rollout_rules::time::{DurationMs, UnixMs};
use serde::{Deserialize, Serialize};

/// An hour, in milliseconds.
pub const HOUR_MS: u64 = 60 * 60 * 1_000;
/// A day, in milliseconds.
pub const DAY_MS: u64 = 24 * HOUR_MS;
/// Hours that are told apart, the one that runs included; of older ones there are days.
pub const KEPT_HOURS: u64 = 48;
/// Days (in UTC) that are told apart, the one that runs included. When an answer was given first and last is
/// known beyond.
pub const KEPT_DAYS: u64 = 35;
/// Counts of later than this are of a clock that was ahead, and are forgotten once it is right again.
pub(super) const AHEAD: DurationMs = DurationMs(DAY_MS);

/// How often a flag answered in an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagSums {
    answers: Vec<AnswerSums>,
    /// When somebody asked for this flag by its name last, and not for all flags there are.
    asked_at: Option<UnixMs>,
}

/// How often one answer was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerSums {
    /// The variant; none for checks that asked for the flag and got none of its variants.
    pub variant: Option<VariantKey>,
    /// When it was given first, as far as is known.
    pub first_at: UnixMs,
    /// When it was given last, to within the time between two batches.
    pub last_at: UnixMs,
    /// Hours since 1970 with their counts, ascending.
    hours: Vec<(u64, u64)>,
    /// Days since 1970 with their counts, ascending.
    days: Vec<(u64, u64)>,
}

impl AnswerSums {
    /// Forgets what a clock that was ahead has said.
    fn hold_to(&mut self, now: UnixMs) {
        self.first_at = self.first_at.min(now);
        self.last_at = self.last_at.min(now);
        // Days and hours that have not ended, by a clock that is a little ahead of this one, are no harm.
        let last = now.plus(AHEAD);
        self.hours.retain(|(at, _)| *at <= last.0 / HOUR_MS);
        self.days.retain(|(at, _)| *at <= last.0 / DAY_MS);
    }

    pub(super) fn add(&mut self, count: u64, at: UnixMs, now: UnixMs) {
        self.first_at = self.first_at.min(at);
        self.last_at = self.last_at.max(at);
        let since = |length_ms: u64, kept: u64| (now.0 / length_ms + 1).saturating_sub(kept);
        add(&mut self.hours, at.0 / HOUR_MS, count, since(HOUR_MS, KEPT_HOURS));
        add(&mut self.days, at.0 / DAY_MS, count, since(DAY_MS, KEPT_DAYS));
    }

    /// The hours that are still told apart, by their beginning, ascending; those without any count left out.
    pub fn hours(&self, now: UnixMs) -> impl Iterator<Item = (UnixMs, u64)> {
        kept(&self.hours, HOUR_MS, KEPT_HOURS, now)
    }

    /// The same for days.
    pub fn days(&self, now: UnixMs) -> impl Iterator<Item = (UnixMs, u64)> {
        kept(&self.days, DAY_MS, KEPT_DAYS, now)
    }
}

fn add(sums: &mut Vec<(u64, u64)>, at: u64, count: u64, oldest: u64) {
    sums.retain(|(known, _)| *known >= oldest);
    if at < oldest {
        return;
    }
    match sums.binary_search_by_key(&at, |(known, _)| *known) {
        Ok(place) => sums[place].1 = sums[place].1.saturating_add(count),
        Err(place) => sums.insert(place, (at, count)),
    }
}

fn kept(sums: &[(u64, u64)], length_ms: u64, kept: u64, now: UnixMs) -> impl Iterator<Item = (UnixMs, u64)> {
    let oldest = (now.0 / length_ms + 1).saturating_sub(kept);
    let since = sums.iter().filter(move |(at, _)| *at >= oldest);
    since.map(move |(at, count)| (UnixMs(at.saturating_mul(length_ms)), *count))
}

impl FlagSums {
    /// Sums as they were written.
    pub fn restored(answers: Vec<AnswerSums>, asked_at: Option<UnixMs>) -> FlagSums {
        FlagSums { answers, asked_at }
    }

    /// Every answer that was given, in the order in which they were given first.
    pub fn answers(&self) -> &[AnswerSums] {
        &self.answers
    }

    /// How much room it takes, in answers.
    pub(super) fn size(&self) -> usize {
        self.answers.len().max(1)
    }

    /// Every answer, as it is written.
    pub(super) fn into_answers(self) -> Vec<AnswerSums> {
        self.answers
    }

    /// The sums of an answer, begun at `at` if there are none and there is room; and whether they were begun.
    pub(super) fn of(
        &mut self,
        variant: Option<&VariantKey>,
        at: UnixMs,
        room: bool,
    ) -> Option<(&mut AnswerSums, bool)> {
        let known = self.answers.iter().position(|answer| answer.variant.as_ref() == variant);
        if known.is_none() {
            if !room {
                return None;
            }
            let (variant, hours, days) = (variant.cloned(), Vec::new(), Vec::new());
            self.answers.push(AnswerSums { variant, first_at: at, last_at: at, hours, days });
        }
        let place = known.unwrap_or(self.answers.len() - 1);
        Some((&mut self.answers[place], known.is_none()))
    }

    /// Somebody asked for the flag by its name.
    pub(super) fn asked(&mut self, at: UnixMs) {
        self.asked_at = self.asked_at.max(Some(at));
    }

    /// Forgets answers that were not given for so long that no day of them is kept, while others were.
    pub(super) fn forget_old(&mut self, now: UnixMs) {
        let last = self.last_given_at();
        let old = |answer: &AnswerSums| now.since(answer.last_at).0 > KEPT_DAYS * DAY_MS;
        self.answers.retain(|answer| Some(answer.last_at) == last || !old(answer));
    }

    /// Forgets what a clock that was ahead has said.
    pub(super) fn hold_to(&mut self, now: UnixMs) {
        self.answers.iter_mut().for_each(|answer| answer.hold_to(now));
        self.asked_at = self.asked_at.map(|at| at.min(now));
    }

    /// When the flag was asked for last, by its name: whoever fetches all flags of an environment need not know of it.
    pub fn last_asked_at(&self) -> Option<UnixMs> {
        self.asked_at
    }

    /// When any answer was given last.
    pub(super) fn last_given_at(&self) -> Option<UnixMs> {
        self.answers.iter().map(|answer| answer.last_at).max()
    }

    /// The answer that was given last, and since when no other was.
    pub fn only_answer(&self) -> Option<(&AnswerSums, UnixMs)> {
        let last = self.answers.iter().max_by_key(|answer| answer.last_at)?;
        let others = self.answers.iter().filter(|answer| answer.variant != last.variant);
        let since = others.map(|other| other.last_at).max();
        Some((last, since.unwrap_or(last.first_at)))
    }
}
