//! When requests are due: set before the first is sent, whatever becomes of any.

use std::time::Duration;

use crate::chance::Chance;

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrivals {
    /// At even distances.
    Even,
    /// By chance, as those of many people who know nothing of each other.
    Poisson,
}

/// How many requests there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// As many as are answered: the next is due once there is a connection for it. Tells how many can be answered, and
    /// nothing of latency.
    Saturate,
    /// So many a second; chance begins with the seed.
    Rate { per_second: u32, arrivals: Arrivals, seed: u64 },
    /// So many a second, at even distances, in a part of the spell: lanes may follow each other without a pause.
    Between { per_second: u32, from: Duration, until: Duration },
}

/// The requests of one spell as they fall due; times are nanoseconds from its start.
#[derive(Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    begin_ns: u64,
    /// The time from which on nothing is due.
    pub(super) end_ns: u64,
    count: u64,
    next_ns: u64,
    chance: Chance,
}

impl Schedule {
    pub(crate) fn new(pace: Pace, length_ns: u64) -> Schedule {
        let chance = Chance::new(if let Pace::Rate { seed, .. } = pace { seed } else { 0 });
        let (begin_ns, end_ns) = match pace {
            Pace::Between { from, until, .. } => (ns(from), length_ns.min(ns(until))),
            Pace::Saturate | Pace::Rate { .. } => (0, length_ns),
        };
        let mut schedule = Schedule { pace, begin_ns, end_ns, count: 0, next_ns: begin_ns, chance };
        if let Pace::Rate { arrivals: Arrivals::Poisson, .. } = pace {
            schedule.step();
        }
        schedule
    }

    /// The next request that is due by now, with the time at which it was.
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<u64> {
        let due = match self.pace {
            Pace::Saturate => now_ns,
            Pace::Rate { .. } | Pace::Between { .. } => self.next_ns,
        };
        if due > now_ns || due >= self.end_ns {
            return None;
        }
        self.step();
        Some(due)
    }

    /// Whether nothing more will be due.
    pub(crate) fn has_ended(&self, now_ns: u64) -> bool {
        match self.pace {
            Pace::Saturate => now_ns >= self.end_ns,
            Pace::Rate { .. } | Pace::Between { .. } => self.next_ns >= self.end_ns,
        }
    }

    fn step(&mut self) {
        self.count += 1;
        let (per_second, arrivals) = match self.pace {
            Pace::Saturate => return,
            Pace::Rate { per_second, arrivals, .. } => (per_second, arrivals),
            Pace::Between { per_second, .. } => (per_second, Arrivals::Even),
        };
        let per_second = per_second.max(1);
        self.next_ns = match arrivals {
            // Of the start, not of the last one: thousands of fractions would add up.
            Arrivals::Even => {
                let ns = u128::from(self.count) * 1_000_000_000 / u128::from(per_second);
                self.begin_ns.saturating_add(u64::try_from(ns).unwrap_or(u64::MAX))
            }
            Arrivals::Poisson => {
                let gap_s = -(1.0 - self.draw()).ln() / f64::from(per_second);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive time")]
                let gap_ns = (gap_s * 1e9) as u64;
                self.next_ns.saturating_add(gap_ns)
            }
        };
    }

    /// A number from 0, below 1.
    fn draw(&mut self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
        let share = (self.chance.draw() >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn all(arrivals: Arrivals, per_second: u32, seed: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(Pace::Rate { per_second, arrivals, seed }, SECOND);
        std::iter::from_fn(|| schedule.due(u64::MAX)).collect()
    }

    #[test]
    fn even_requests_are_due_at_their_places_and_nothing_adds_up() {
        let due = all(Arrivals::Even, 3, 1);
        assert_eq!(due, [0, 333_333_333, 666_666_666]);
        let due = all(Arrivals::Even, 70_001, 1);
        assert_eq!((due.len(), due[70_000]), (70_001, 70_000 * SECOND / 70_001));
    }

    #[test]
    fn nothing_is_due_early_or_after_the_end_and_what_is_late_keeps_its_time() {
        let mut schedule =
            Schedule::new(Pace::Rate { per_second: 10, arrivals: Arrivals::Even, seed: 1 }, SECOND);
        assert_eq!(schedule.due(0), Some(0));
        assert_eq!(schedule.due(99_999_999), None);
        // Nobody looked for a while: both are due, each at its own time.
        let late = 250_000_000;
        assert_eq!(
            [schedule.due(late), schedule.due(late), schedule.due(late)],
            [Some(SECOND / 10), Some(SECOND / 5), None]
        );
        assert!(!schedule.has_ended(10 * SECOND));
        assert_eq!(std::iter::from_fn(|| schedule.due(10 * SECOND)).count(), 7);
        assert!(schedule.has_ended(10 * SECOND));
    }

    #[test]
    fn chance_keeps_the_rate_and_comes_again_with_its_seed() {
        let due = all(Arrivals::Poisson, 10_000, 7);
        assert!((9_600..10_400).contains(&due.len()), "{}", due.len());
        assert!(due.is_sorted() && due != all(Arrivals::Poisson, 10_000, 8));
        assert_eq!(due, all(Arrivals::Poisson, 10_000, 7));
        // Two in a row are closer than the mean in 1 - 1/e of all cases.
        let close = due.windows(2).filter(|two| two[1] - two[0] < SECOND / 10_000).count();
        assert!((6_000..6_650).contains(&(close * 10_000 / due.len())), "{close}");
    }

    #[test]
    fn a_part_of_a_spell_begins_where_the_one_before_ends_and_may_be_none() {
        let part = |from_ms, until_ms| {
            let [from, until] = [from_ms, until_ms].map(Duration::from_millis);
            let mut schedule = Schedule::new(Pace::Between { per_second: 10, from, until }, SECOND);
            let due = std::iter::from_fn(|| schedule.due(u64::MAX)).map(|ns| ns / 1_000_000);
            let due: Vec<u64> = due.collect();
            assert!(schedule.has_ended(0), "nothing more will be due");
            due
        };
        assert_eq!(part(0, 300), [0, 100, 200]);
        assert_eq!(part(300, 600), [300, 400, 500]);
        // The spell ends before its part does.
        assert_eq!(part(850, 1_500), [850, 950]);
        assert_eq!(part(0, 0), [0; 0]);
        let from = Duration::from_millis(300);
        let pace = Pace::Between { per_second: 10, from, until: from * 2 };
        let mut schedule = Schedule::new(pace, SECOND);
        assert_eq!((schedule.due(299_999_999), schedule.due(300_000_000)), (None, Some(300_000_000)));
    }

    #[test]
    fn saturation_is_due_at_any_time_until_the_end() {
        let mut schedule = Schedule::new(Pace::Saturate, SECOND);
        assert_eq!([schedule.due(5), schedule.due(5), schedule.due(SECOND)], [Some(5), Some(5), None]);
        assert!(schedule.has_ended(SECOND) && !schedule.has_ended(SECOND - 1));
    }
}
