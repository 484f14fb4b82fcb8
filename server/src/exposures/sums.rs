//! All sums: of each flag in each environment, as far as there is room.

use std::collections::BTreeSet;
use std::ops::Bound;

use rollout_rules::ids::{AppKey, FlagKey, VariantKey};
use rollout_rules::time::{DurationMs, UnixMs};

use super::answers::{AHEAD, DAY_MS, FlagSums, KEPT_DAYS};
use super::kept::{About, Change, Kept, Place, Still};
use super::room::Room;

/// Most answers (of a flag in an environment) that are summed; they take up to 1.5 KiB each. Further ones are
/// dropped, and counted as dropped, until some have not been given for [`KEPT_DAYS`]; when that happened to an app
/// last is remembered, since it makes flags look as if nobody asked for them.
pub const MAX_SERIES: usize = 65_536;
/// Most of them for one app, so that one leaves room for others: a thousand flags with two answers in four
/// environments. Past it, further answers of this app are dropped in the same way.
pub const MAX_SERIES_OF_APP: usize = 8_192;

/// After about so many answers were copied or looked at, those who wait for the sums have their turn: checks and
/// batches are summed all the time, and kills are handed out by threads that may be waiting.
pub(super) const AT_A_TIME: usize = 256;

/// All sums of a server.
#[derive(Debug)]
pub struct Sums {
    counting_since: UnixMs,
    kept: Kept,
    series: Room,
    /// What is not on disk as it is here.
    changed: BTreeSet<About>,
}

impl Sums {
    /// No sums yet: counting begins now.
    pub fn since(now: UnixMs) -> Sums {
        Sums::restored(now, Kept::default(), now)
    }

    /// Sums as they were written, without what a clock that was ahead at the time put into the future.
    pub fn restored(counting_since: UnixMs, mut kept: Kept, now: UnixMs) -> Sums {
        let counting_since = counting_since.min(now);
        kept.flags.values_mut().for_each(|sums| sums.hold_to(now));
        kept.gaps.values_mut().for_each(|at| *at = now.min(*at));
        let mut series = Room::of(MAX_SERIES, MAX_SERIES_OF_APP);
        kept.flags.iter().for_each(|(place, sums)| series.take(&place.app, sums.size()));
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

    /// Whether anybody ever asked for a flag by its name, be it where it is no more.
    pub fn was_asked(&self, app: &AppKey, flag: &FlagKey) -> bool {
        let first = Place { app: app.clone(), flag: flag.clone(), environment: None };
        let flags = self.kept.flags.range(&first..);
        let mut all = flags.take_while(|(place, _)| place.app == *app && place.flag == *flag);
        all.any(|(_, sums)| sums.last_asked_at().is_some())
    }

    /// When something of an app was last not counted or was lost, if that is not too long ago to matter: before that,
    /// that nobody asked or no other answer was given says nothing.
    pub fn gap_at(&self, app: &AppKey) -> Option<UnixMs> {
        let gaps = &self.kept.gaps;
        gaps.get(&Some(app.clone())).max(gaps.get(&None)).copied()
    }

    /// From now on it counts what is known of an app, or of all.
    pub(super) fn note_gap(&mut self, app: Option<AppKey>, now: UnixMs) {
        self.kept.gaps.insert(app.clone(), now);
        self.changed.insert(About::Gap(app));
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
        let room = self.series.is_left(&place.app);
        let known = match self.kept.flags.get_mut(place) {
            Some(known) => known,
            None if room => self.kept.flags.entry(place.clone()).or_default(),
            None => return self.dropped(place, count, now),
        };
        known.hold_to(now);
        let Some((answer, begun)) = known.of(variant, at, room) else {
            return self.dropped(place, count, now);
        };
        self.series.take(&place.app, usize::from(begun));
        answer.add(count, at, now);
        self.changed.insert(About::Flag(place.clone()));
        true
    }

    fn dropped(&mut self, place: &Place, count: u64, now: UnixMs) -> bool {
        self.drop_counts(&place.app, count, now);
        false
    }

    /// So many answers of an app are not counted.
    pub(super) fn drop_counts(&mut self, app: &AppKey, count: u64, now: UnixMs) {
        metrics::counter!("tidegate_exposures_dropped_total").increment(count);
        self.note_gap(Some(app.clone()), now);
    }

    /// The next places after one, with [`AT_A_TIME`] answers or a few more.
    pub(super) fn places_after(&self, after: Option<&Place>) -> Vec<Place> {
        let mut answers = 0;
        let next = self.kept.flags.range((after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        next.take_while(|(_, sums)| {
            let has_room = answers < AT_A_TIME;
            answers += sums.size();
            has_room
        })
        .map(|(place, _)| place.clone())
        .collect()
    }

    /// Forgets those of some places that are no more, and of the others answers that were not given for so long that
    /// no day of them is kept, while their flag gave others.
    pub(super) fn forget(&mut self, places: impl IntoIterator<Item = (Place, Still)>, now: UnixMs) {
        for (place, still) in places {
            let about = About::Flag(place);
            // What was counted lately may have been made anew since it was looked up whether it is there.
            let still = if self.changed.contains(&about) { Still::There } else { still };
            let About::Flag(place) = about else { continue };
            let Some(sums) = self.kept.flags.get_mut(&place) else { continue };
            let before = sums.size();
            let last = sums.last_given_at().max(sums.last_asked_at());
            let was_ahead = last.is_some_and(|at| at > now.plus(AHEAD));
            if was_ahead {
                sums.hold_to(now);
            }
            sums.forget_old(now);
            let (after, asked_at) = (sums.size(), sums.last_asked_at());
            if still == Still::There {
                self.series.give_back(&place.app, before - after);
                if was_ahead || after < before {
                    self.changed.insert(About::Flag(place));
                }
                continue;
            }
            self.kept.flags.remove(&place);
            self.series.give_back(&place.app, before);
            self.changed.insert(About::Flag(place.clone()));
            if let Some(at) = asked_at.filter(|_| still == Still::FlagAlone) {
                self.keep_in_mind(Place { environment: None, ..place }, at);
            }
        }
    }

    /// That a flag was asked for where it is no more. It takes the room of one answer: less than was given back.
    fn keep_in_mind(&mut self, gone: Place, asked_at: UnixMs) {
        if !self.kept.flags.contains_key(&gone) {
            self.series.take(&gone.app, 1);
        }
        self.kept.flags.entry(gone.clone()).or_default().asked(asked_at);
        self.changed.insert(About::Flag(gone));
    }

    /// Forgets when something was not counted, once that is too long ago to matter.
    pub(super) fn forget_gaps(&mut self, now: UnixMs) {
        self.counting_since = self.counting_since.min(now);
        let changed = &mut self.changed;
        self.kept.gaps.retain(|app, at| {
            *at = now.min(*at);
            let stays = now.since(*at).0 <= KEPT_DAYS * DAY_MS;
            if !stays {
                changed.insert(About::Gap(app.clone()));
            }
            stays
        });
    }

    /// What is not on disk as it is here; from now on it counts as written.
    pub(super) fn take_changed(&mut self) -> BTreeSet<About> {
        std::mem::take(&mut self.changed)
    }

    /// The first of these as they are now, with [`AT_A_TIME`] answers or a few more; they are taken out.
    pub(super) fn copies(&self, of: &mut BTreeSet<About>) -> Vec<Change> {
        let mut copies = Vec::new();
        let mut size = 0;
        while size < AT_A_TIME
            && let Some(about) = of.pop_first()
        {
            let change = match about {
                About::Gap(app) => {
                    let at = self.kept.gaps.get(&app).copied();
                    Change::Gap(app, at)
                }
                About::Flag(place) => {
                    let sums = self.get(&place).cloned();
                    Change::Flag(place, sums)
                }
            };
            size += change.size();
            copies.push(change);
        }
        copies
    }

    /// What was taken could not be written.
    pub(super) fn changed_still(&mut self, changes: impl Iterator<Item = About>) {
        self.changed.extend(changes);
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::ids::EnvKey;

    use super::*;
    use crate::exposures::HOUR_MS;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn checkout() -> Place {
        Place {
            app: AppKey::new("shop").expect("a key"),
            flag: FlagKey::new("checkout").expect("a key"),
            environment: Some(EnvKey::new("live").expect("a key")),
        }
    }

    /// Forgets what is of the past, while all flags are there.
    fn forget(sums: &mut Sums, now: UnixMs) {
        sums.forget_gaps(now);
        let places = sums.places_after(None);
        sums.forget(places.into_iter().map(|place| (place, Still::There)), now);
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
        forget(&mut running, NOW);
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
        sums.series.take(&checkout().app, MAX_SERIES_OF_APP);
        let later = NOW.plus(DurationMs(HOUR_MS));
        assert!(!sums.add(&checkout(), Some(&VariantKey::new("on").expect("a key")), 1, later));
        let shop = checkout().app;
        assert_eq!((sums.gap_at(&shop), sums.counting_since()), (Some(later), NOW));
        assert_eq!(
            sums.get(&checkout()).and_then(FlagSums::last_asked_at),
            Some(later),
            "asked for all the same"
        );
        let other = Place { flag: FlagKey::new("other").expect("a key"), ..checkout() };
        assert!(!sums.add(&other, None, 1, later) && sums.get(&other).is_none());
        let kept_until = later.plus(DurationMs(KEPT_DAYS * DAY_MS));
        forget(&mut sums, kept_until);
        assert_eq!(sums.gap_at(&shop), Some(later));
        forget(&mut sums, kept_until.plus(DurationMs(1)));
        assert_eq!(sums.gap_at(&shop), None);
    }

    #[test]
    fn that_a_flag_was_asked_for_is_kept_for_as_long_as_the_flag_wherever_it_was() {
        let mut sums = Sums::since(NOW);
        let there = checkout();
        let preview = Place { environment: Some(EnvKey::new("pr-7").expect("a key")), ..checkout() };
        let gone = Place { environment: None, ..checkout() };
        let later = NOW.plus(DurationMs(HOUR_MS));
        assert!(sums.add(&preview, None, 1, later));
        assert!(sums.add_listed(&there, None, 1, NOW, NOW));
        let is_known = |sums: &Sums| sums.was_asked(&there.app, &there.flag);
        assert!(is_known(&sums));
        // Counted since it was last written: its environment may have come back meanwhile.
        sums.forget([(preview.clone(), Still::FlagAlone)], later);
        assert!(sums.get(&preview).is_some());
        sums.take_changed();
        sums.forget([(preview.clone(), Still::FlagAlone)], later);
        assert_eq!(
            (sums.get(&preview), sums.get(&gone).and_then(FlagSums::last_asked_at)),
            (None, Some(later))
        );
        assert!(is_known(&sums));
        let changed = sums.take_changed();
        assert!([preview, gone.clone()].into_iter().all(|place| changed.contains(&About::Flag(place))));
        sums.forget([(gone, Still::Gone), (there.clone(), Still::There)], later);
        assert!(!is_known(&sums), "listed only");
        // All its room was given back, but for what is left.
        assert!((1..MAX_SERIES_OF_APP).all(|n| {
            let flag = FlagKey::new(&format!("f-{n}")).expect("a key");
            sums.add(&Place { flag, ..checkout() }, None, 1, later)
        }));
        assert!(!sums.add(&Place { flag: FlagKey::new("f").expect("a key"), ..checkout() }, None, 1, later));
    }

    #[test]
    fn an_app_that_fills_its_share_leaves_others_theirs_and_may_go_on_when_flags_of_it_are_gone() {
        let mut sums = Sums::since(NOW);
        let flag = |app: &str, number: usize| {
            let flag = FlagKey::new(&format!("f-{number}")).expect("a key");
            Place { app: AppKey::new(app).expect("a key"), flag, ..checkout() }
        };
        assert!((0..MAX_SERIES_OF_APP).all(|number| sums.add(&flag("shop", number), None, 1, NOW)));
        let one_more = flag("shop", MAX_SERIES_OF_APP);
        assert!(!sums.add(&one_more, None, 1, NOW) && sums.add(&flag("shop", 0), None, 1, NOW));
        assert!((0..9).all(|number| sums.add(&flag("zoo", number), None, 1, NOW)));
        let gap_at = |app: &str| sums.gap_at(&AppKey::new(app).expect("a key"));
        assert_eq!((gap_at("shop"), gap_at("zoo")), (Some(NOW), None));
        // What was written is known again, and so is how much of it there is.
        let mut sums = Sums::restored(NOW, sums.kept, NOW);
        assert!(!sums.add(&one_more, None, 1, NOW));
        sums.forget([(flag("shop", 7), Still::Gone)], NOW);
        assert!(sums.add(&one_more, None, 1, NOW) && !sums.add(&flag("shop", 7), None, 1, NOW));
        // Apps together have no more than there is.
        let apps = (1..).map(|number| format!("a-{number}"));
        let fits = |app: &String| (0..MAX_SERIES_OF_APP).all(|n| sums.add(&flag(app, n), None, 1, NOW));
        assert_eq!(apps.take_while(fits).count(), MAX_SERIES / MAX_SERIES_OF_APP - 2);
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_costs_nothing() {
        let mut sums = Sums::since(NOW);
        assert!(sums.add(&checkout(), None, 7, NOW.plus(DurationMs(HOUR_MS))));
        assert!(sums.add(&checkout(), None, 1, NOW));
        assert_eq!(days(&sums, NOW).iter().sum::<u64>(), 8);
    }

    #[test]
    fn sums_are_walked_and_copied_in_portions_that_cover_each_flag_once() {
        let mut sums = Sums::since(NOW);
        let variants = ["a", "b", "c"].map(|key| VariantKey::new(key).expect("a key"));
        for number in 0..1_000 {
            let flag = FlagKey::new(&format!("f-{number}")).expect("a key");
            for variant in &variants {
                assert!(sums.add(&Place { flag: flag.clone(), ..checkout() }, Some(variant), 1, NOW));
            }
        }
        let most = AT_A_TIME / variants.len() + 1;
        let (mut walked, mut portion) = (Vec::new(), sums.places_after(None));
        while let Some(last) = portion.last().cloned() {
            assert!(portion.len() <= most, "{}", portion.len());
            walked.extend(portion);
            portion = sums.places_after(Some(&last));
        }
        let (mut copied, mut changed) = (Vec::new(), sums.take_changed());
        while !changed.is_empty() {
            let copies = sums.copies(&mut changed);
            assert!(copies.len() <= most, "{}", copies.len());
            copied.extend(copies.into_iter().map(|change| change.about()));
        }
        let all: Vec<Place> = sums.kept.flags.keys().cloned().collect();
        assert_eq!(walked, all);
        assert_eq!(copied, all.into_iter().map(About::Flag).collect::<Vec<_>>());
        assert!(sums.take_changed().is_empty());
    }
}
