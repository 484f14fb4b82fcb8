//! How soon after a storm all is as before: while the storm's last requests may still wait, half of what the server
//! takes comes over connections of its own, each tenth of a second counted by itself. Every request belongs to the
//! window in which it is due, and its time counts from then, so a server that is still slow is seen to be.

use std::time::Duration;

use super::settings::Settings;
use crate::figures::median;
use crate::report::Figure;
use crate::scenario::{Measure, Who};
use crate::sender::{Pace, Tally};

/// A look at whether all is as before.
const WINDOW: Duration = Duration::from_millis(100);
/// Looks after a storm: what was to be as before in a second has a little more.
pub(super) const WINDOWS: u32 = 11;
/// Connections of each window.
pub(super) const CONNECTIONS: usize = 4;
/// So many times the p99 of quiet spells is slow.
const SLOW: f64 = 2.0;

/// How long it is looked.
pub(super) fn length() -> Duration {
    WINDOW * WINDOWS
}

/// The paces of all windows, the first from so long after a spell's start on.
pub(super) fn paces(settings: &Settings, from: Duration) -> impl Iterator<Item = Pace> {
    let per_second = settings.capacity / 2;
    (0..WINDOWS).map(move |at| {
        let from = from + WINDOW * at;
        Pace::Between { per_second, from, until: from + WINDOW }
    })
}

/// The same where there are none.
pub(super) fn none() -> impl Iterator<Item = Pace> {
    let never = Pace::Between { per_second: 1, from: Duration::ZERO, until: Duration::ZERO };
    (0..WINDOWS).map(move |_| never)
}

/// From the last request of a storm to the end of the last window in which any storm still had something refused, or in
/// which p99 of all storms' checks was slow: a single window has too few for one. Without the checks during which the
/// sender stood still it may be shorter, but not sooner than what the others say.
pub(super) fn figure(storms: &[&[Tally]], quiet: &[&Tally]) -> Figure {
    let windows: Vec<Tally> = (0..WINDOWS as usize)
        .map(|at| {
            let mut all = Tally::new();
            storms.iter().filter_map(|windows| windows.get(at)).for_each(|window| all.add(window));
            all
        })
        .collect();
    let refused = last(&windows, |window| window.wrong() + window.lost > 0);
    let slow = |us: fn(&Tally) -> u64| {
        #[allow(clippy::cast_precision_loss, reason = "a minute of microseconds")]
        let us = |tally: &Tally| us(tally) as f64;
        let limit_us = SLOW * median(&quiet.iter().map(|tally| us(tally)).collect::<Vec<f64>>());
        // A limit that is no number is kept by nobody.
        last(&windows, |window| us(window) >= limit_us || limit_us.is_nan())
    };
    let steady = refused.max(slow(|tally| tally.steady_us(0.99)));
    let unseen = last(&windows, |window| window.answered == 0);
    let all = steady.max(slow(|tally| tally.all_us(0.99))).max(unseen);
    let label = "tidegate after a storm";
    let mut figure = Figure::new(Measure::RecoveryS, Who::Tidegate, label, all.as_secs_f64());
    if all > steady && all == length() {
        figure.doubt = Some(format!(
            "as far as the sender did not stand still, all was as before after {:.1} s",
            steady.as_secs_f64()
        ));
    }
    figure
}

/// The end of the last window that is so, from the end of the storm; nothing if none is.
fn last(windows: &[Tally], is_so: impl Fn(&Tally) -> bool) -> Duration {
    let last = (1..).zip(windows).filter(|(_, window)| is_so(window)).last();
    last.map_or(Duration::ZERO, |(count, _)| WINDOW * count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window whose checks all take so long.
    fn window(us: u64, is_steady: bool) -> Tally {
        let mut tally = Tally::new();
        tally.offered = 12;
        (0..12).for_each(|_| tally.answered(us, true, is_steady));
        tally
    }

    fn windows() -> Vec<Tally> {
        (0..WINDOWS).map(|_| window(1_000, true)).collect()
    }

    /// What is found after a dozen calm storms, and one that is not.
    fn found(other: &[Tally]) -> (f64, bool) {
        let calm: Vec<Vec<Tally>> = (0..12).map(|_| windows()).collect();
        let storms: Vec<&[Tally]> = calm.iter().map(Vec::as_slice).chain([other]).collect();
        let quiet = window(1_000, true);
        let figure = figure(&storms, &[&quiet, &quiet]);
        (figure.value, figure.doubt.is_some())
    }

    #[test]
    fn all_is_as_before_once_nothing_is_refused_and_nothing_slow() {
        assert_eq!(found(&windows()), (0.0, false));
        let mut refused = windows();
        refused[3].wrong.insert(429, 1);
        assert_eq!(found(&refused), (0.4, false));
        // Slow, though nothing is refused: a storm of thirteen is enough.
        let mut slow = windows();
        slow[10] = window(2_100, true);
        assert_eq!(found(&slow), (1.1, false));
        slow[10] = window(1_900, true);
        assert_eq!(found(&slow), (0.0, false));
        // Never answered is no sooner.
        slow[6].lost(12_000_000);
        assert_eq!(found(&slow), (0.7, false));
    }

    #[test]
    fn what_only_the_sender_may_have_delayed_is_a_doubt_and_no_miss() {
        let mut delayed = windows();
        delayed[10] = window(9_000, false);
        assert_eq!(found(&delayed), (1.1, true));
        delayed[10] = window(9_000, true);
        assert_eq!(found(&delayed), (1.1, false));
    }

    #[test]
    fn windows_in_which_nothing_was_seen_and_no_quiet_spell_say_nothing_good() {
        let empty: Vec<Tally> = (0..WINDOWS).map(|_| Tally::new()).collect();
        let quiet = window(1_000, true);
        let unseen = figure(&[&empty], &[&quiet]);
        assert!(unseen.doubt.is_some() && unseen.value > 1.0, "{unseen:?}");
        assert!(figure(&[&windows()], &[]).value > 1.0, "there is nothing to be as before");
    }
}
