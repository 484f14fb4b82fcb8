//! All sums: of each flag in each environment, as far as there is room.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::ids::{AppKey, EnvKey, FlagKey, VariantKey};
use rollout_rules::time::{DurationMs, UnixMs};
use serde::{Deserialize, Serialize};

use super::answers::{AHEAD, DAY_MS, FlagSums, KEPT_DAYS};

/// Most answers (of a flag in an environment) that are summed; they take up to 1.5 KiB each. Further ones are
/// dropped, and counted as dropped, until some have not been given for [`KEPT_DAYS`]; when that happened to an app
/// last is remembered, since it makes flags look as if nobody asked for them.
pub const MAX_SERIES: usize = 65_536;

/// A flag in an environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The app.
    pub app: AppKey,
    /// The flag.
    pub flag: FlagKey,
    /// The environment.
    pub environment: EnvKey,
}

/// What is kept of the sums on disk.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The sums of each flag.
    pub flags: BTreeMap<Place, FlagSums>,
    /// When there was last no room for an answer of an app.
    pub dropped: BTreeMap<AppKey, UnixMs>,
}

/// What a line on disk is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    Dropped(AppKey),
    Flag(Place),
}

/// Something as it is now; none: it is gone.
pub(super) enum Change<'s> {
    Dropped(AppKey, Option<UnixMs>),
    Flag(Place, Option<&'s FlagSums>),
}

impl Change<'_> {
    pub(super) fn about(&self) -> About {
        match self {
            Change::Dropped(app, _) => About::Dropped(app.clone()),
            Change::Flag(place, _) => About::Flag(place.clone()),
        }
    }
}

/// All sums of a server.
#[derive(Debug)]
pub struct Sums {
    counting_since: UnixMs,
    kept: Kept,
    series: usize,
    /// What is not on disk as it is here.
    changed: BTreeSet<About>,
}

impl Sums {
    /// No sums yet: counting begins now.
    pub fn since(now: UnixMs) -> Sums {
        Sums { counting_since: now, kept: Kept::default(), series: 0, changed: BTreeSet::new() }
    }

    /// Sums as they were written, without what a clock that was ahead at the time put into the future.
    pub fn restored(counting_since: UnixMs, mut kept: Kept, now: UnixMs) -> Sums {
        let counting_since = counting_since.min(now);
        kept.flags.values_mut().for_each(|sums| sums.hold_to(now));
        kept.dropped.values_mut().for_each(|at| *at = now.min(*at));
        let series = kept.flags.values().map(|sums| sums.answers().len()).sum();
        Sums { counting_since, kept, series, changed: BTreeSet::new() }
    }

    /// Since when this server counts: before that, that nobody asked says nothing.
    pub fn counting_since(&self) -> UnixMs {
        self.counting_since
    }

    /// The sums of a flag in an environment, if it was ever asked for.
    pub fn get(&self, place: &Place) -> Option<&FlagSums> {
        self.kept.flags.get(place)
    }

    /// When there was last no room for an answer of an app, if that is not too long ago to matter: before that, that
    /// nobody asked or no other answer was given says nothing.
    pub fn dropped_at(&self, app: &AppKey) -> Option<UnixMs> {
        self.kept.dropped.get(app).copied()
    }

    /// Adds answers given at `now` to those who asked for the flag; `false` if there is no room for a new series.
    pub fn add(&mut self, place: &Place, variant: Option<&VariantKey>, count: u64, now: UnixMs) -> bool {
        self.add_from(place, variant, count, DurationMs(0), now)
    }

    /// Adds answers given `ago` to those who asked for the flag; `false` if there is no room for a new series.
    pub fn add_from(
        &mut self,
        place: &Place,
        variant: Option<&VariantKey>,
        count: u64,
        ago: DurationMs,
        now: UnixMs,
    ) -> bool {
        let at = UnixMs(now.0.saturating_sub(ago.0));
        let added = self.add_listed(place, variant, count, at, now);
        if let Some(sums) = self.kept.flags.get_mut(place) {
            sums.asked(at);
            self.changed.insert(About::Flag(place.clone()));
        }
        added
    }

    /// Adds answers given `at` a time to those who fetched all flags; `false` if there is no room for a new series.
    pub fn add_listed(
        &mut self,
        place: &Place,
        variant: Option<&VariantKey>,
        count: u64,
        at: UnixMs,
        now: UnixMs,
    ) -> bool {
        let room = self.series < MAX_SERIES;
        let known = match self.kept.flags.get_mut(place) {
            Some(known) => known,
            None if room => self.kept.flags.entry(place.clone()).or_default(),
            None => return self.dropped(place, count, now),
        };
        known.hold_to(now);
        let Some((answer, begun)) = known.of(variant, at, room) else {
            return self.dropped(place, count, now);
        };
        self.series += usize::from(begun);
        answer.add(count, at, now);
        self.changed.insert(About::Flag(place.clone()));
        true
    }

    fn dropped(&mut self, place: &Place, count: u64, now: UnixMs) -> bool {
        metrics::counter!("tidegate_exposures_dropped_total").increment(count);
        self.kept.dropped.insert(place.app.clone(), now);
        self.changed.insert(About::Dropped(place.app.clone()));
        false
    }

    /// Forgets flags that are no more, and answers that were not given for so long that no day of them is kept,
    /// while their flag gave others.
    pub(super) fn forget(&mut self, still_there: impl Fn(&Place) -> bool, now: UnixMs) {
        self.counting_since = self.counting_since.min(now);
        let changed = &mut self.changed;
        let series = &mut self.series;
        self.kept.flags.retain(|place, sums| {
            if sums.last_given_at().is_some_and(|at| at > now.plus(AHEAD)) {
                sums.hold_to(now);
                changed.insert(About::Flag(place.clone()));
            }
            let before = sums.answers().len();
            sums.forget_old(now);
            let stays = still_there(place);
            let gone = if stays { before - sums.answers().len() } else { before };
            *series -= gone;
            if gone > 0 {
                changed.insert(About::Flag(place.clone()));
            }
            stays
        });
        self.kept.dropped.retain(|app, at| {
            *at = now.min(*at);
            let stays = now.since(*at).0 <= KEPT_DAYS * DAY_MS;
            if !stays {
                changed.insert(About::Dropped(app.clone()));
            }
            stays
        });
    }

    /// What changed since it was taken the last time, as it is.
    pub(super) fn take_changes(&mut self) -> Vec<Change<'_>> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|about| match about {
                About::Dropped(app) => {
                    let at = self.dropped_at(&app);
                    Change::Dropped(app, at)
                }
                About::Flag(place) => {
                    let sums = self.get(&place);
                    Change::Flag(place, sums)
                }
            })
            .collect()
    }

    /// What was taken could not be written.
    pub(super) fn changed_still(&mut self, changes: impl Iterator<Item = About>) {
        self.changed.extend(changes);
    }

    /// Nothing is to be written.
    pub(super) fn forget_changes(&mut self) {
        self.changed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposures::HOUR_MS;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn checkout() -> Place {
        Place {
            app: AppKey::new("shop").expect("a key"),
            flag: FlagKey::new("checkout").expect("a key"),
            environment: EnvKey::new("live").expect("a key"),
        }
    }

    fn days(sums: &Sums, now: UnixMs) -> Vec<u64> {
        let answers = sums.get(&checkout()).map_or(&[][..], FlagSums::answers);
        answers.iter().flat_map(|answer| answer.days(now)).map(|(_, count)| count).collect()
    }

    #[test]
    fn a_clock_that_was_ahead_once_leaves_nothing_behind() {
        let ahead = NOW.plus(DurationMs(365 * DAY_MS));
        let on = VariantKey::new("on").expect("a key");
        let mut sums = Sums::since(ahead);
        assert!(sums.add(&checkout(), Some(&on), 7, ahead));
        let kept = sums.kept.clone();
        assert!(sums.add(&checkout(), None, 1, NOW));
        let loaded = Sums::restored(ahead, kept.clone(), NOW);
        let mut running = Sums::restored(ahead, kept, ahead);
        running.forget(|_| true, NOW);
        assert_eq!((loaded.counting_since(), running.counting_since()), (NOW, NOW));
        for (sums, counted) in [(sums, vec![1]), (loaded, vec![]), (running, vec![])] {
            assert_eq!(days(&sums, NOW), counted);
            let flag = sums.get(&checkout()).expect("known");
            assert_eq!((flag.last_asked_at(), flag.answers()[0].last_at), (Some(NOW), NOW));
        }
    }

    #[test]
    fn when_there_was_no_room_for_an_answer_is_remembered_for_as_long_as_it_matters() {
        let mut sums = Sums::since(NOW);
        assert!(sums.add(&checkout(), None, 1, NOW));
        sums.series = MAX_SERIES;
        let later = NOW.plus(DurationMs(HOUR_MS));
        assert!(!sums.add(&checkout(), Some(&VariantKey::new("on").expect("a key")), 1, later));
        let shop = checkout().app;
        assert_eq!((sums.dropped_at(&shop), sums.counting_since()), (Some(later), NOW));
        assert_eq!(
            sums.get(&checkout()).and_then(FlagSums::last_asked_at),
            Some(later),
            "asked for all the same"
        );
        let other = Place { flag: FlagKey::new("other").expect("a key"), ..checkout() };
        assert!(!sums.add(&other, None, 1, later) && sums.get(&other).is_none());
        let kept_until = later.plus(DurationMs(KEPT_DAYS * DAY_MS));
        sums.forget(|_| true, kept_until);
        assert_eq!(sums.dropped_at(&shop), Some(later));
        sums.forget(|_| true, kept_until.plus(DurationMs(1)));
        assert_eq!(sums.dropped_at(&shop), None);
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_costs_nothing() {
        let mut sums = Sums::since(NOW);
        assert!(sums.add(&checkout(), None, 7, NOW.plus(DurationMs(HOUR_MS))));
        assert!(sums.add(&checkout(), None, 1, NOW));
        assert_eq!(days(&sums, NOW).iter().sum::<u64>(), 8);
    }
}
