//! Sums of what became of requests, by slot, flag and variant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use rollout_rules::ids::{FlagKey, Revision, SplitId, VariantKey};
use rollout_rules::sli::{Bucket, Histogram, Outcomes, Slot, SlowUnits, Summary, UnitHash, UnitList};
use rollout_rules::time::UnixMs;

use super::OutcomeCounts;
use super::lowest::Lowest;
use crate::shared::locked;

/// Units are divided among so many parts by their hash, so that threads seldom wait for each other: for what
/// others hold a part, an addition takes well below a microsecond.
const PARTS: usize = 16;
/// Most sums in one part. There are as many as variants of flags in two slots; past it outcomes are left out, counted.
const MOST_SERIES: usize = 20_000;
/// A clock that differs from the server's by less is right.
const TOLERATED_MS: u64 = 1_000;

/// What was served in a request, and by what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Served {
    pub(crate) flag: FlagKey,
    pub(crate) revision: Revision,
    pub(crate) split: SplitId,
    pub(crate) variant: VariantKey,
}

/// How a request ended, as it is summed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) bad: bool,
    pub(crate) cost_micros: u64,
    pub(crate) latency_us: u64,
}

/// The sums of this process.
pub(crate) struct Tallies {
    parts: [Mutex<HashMap<(Slot, Served), Series>>; PARTS],
    /// Of all requests, whatever they were served.
    all: [Mutex<BTreeMap<Slot, Series>>; PARTS],
    /// Whether anybody asked for a scope.
    pub(super) used: AtomicBool,
    /// Whether anybody tells the server; without, nothing is summed.
    telling: AtomicBool,
    /// What has to be added to this machine's time to have the server's.
    offset_ms: AtomicI64,
    pub(super) taken: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Series {
    requests: u64,
    bad_requests: u64,
    cost_micros: u64,
    latency: Histogram,
    served: Lowest<()>,
    bad: Lowest<()>,
    slow: Lowest<Bucket>,
}

impl Tallies {
    pub(crate) fn new() -> Tallies {
        Tallies {
            parts: std::array::from_fn(|_| Mutex::default()),
            all: std::array::from_fn(|_| Mutex::default()),
            used: AtomicBool::new(false),
            telling: AtomicBool::new(false),
            offset_ms: AtomicI64::new(0),
            taken: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }
    }

    /// From now on somebody tells the server.
    pub(crate) fn tell(&self) {
        self.telling.store(true, Ordering::Relaxed);
    }

    /// Somebody holds a scope.
    pub(super) fn use_them(&self) {
        // Written once: cores that serve requests do not take this line from each other.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Adds what became of a request of somebody that served all this.
    pub(super) fn add(
        &self,
        asked: Option<UnitHash>,
        served: impl Iterator<Item = (Served, Option<UnitHash>)>,
        ended: Ended,
        now: UnixMs,
    ) {
        if !self.telling.load(Ordering::Relaxed) {
            return;
        }
        let slot = Slot::at(self.by_the_server(now));
        locked(&self.all[place_of(asked)]).entry(slot).or_default().add_to_all(asked, ended);
        for (served, unit) in served {
            let mut part = locked(&self.parts[place_of(unit)]);
            let has_room = part.len() < MOST_SERIES;
            match part.entry((slot, served)) {
                std::collections::hash_map::Entry::Occupied(mut series) => series.get_mut().add(unit, ended),
                std::collections::hash_map::Entry::Vacant(place) if has_room => {
                    place.insert(Series::default()).add(unit, ended);
                }
                std::collections::hash_map::Entry::Vacant(_) => self.leave_out(),
            }
        }
    }

    pub(super) fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes out the sums of the slots before this one, by slot.
    pub(super) fn take_before(&self, slot: Slot) -> Vec<Summary> {
        let mut sums: HashMap<(Slot, Served), Outcomes> = HashMap::new();
        for part in &self.parts {
            let taken: Vec<_> = locked(part).extract_if(|(of, _), _| *of < slot).collect();
            for (place, series) in taken {
                sums.entry(place).or_default().merge(&series.outcomes());
            }
        }
        let summary = |((slot, served), outcomes): ((Slot, Served), Outcomes)| {
            let Served { flag, revision: flag_revision, split, variant } = served;
            Summary { flag, flag_revision, split, variant, slot, outcomes }
        };
        let mut summaries: Vec<Summary> = sums.into_iter().map(summary).collect();
        summaries.sort_by(|a, b| {
            (a.slot, &a.flag, a.flag_revision, &a.variant).cmp(&(
                b.slot,
                &b.flag,
                b.flag_revision,
                &b.variant,
            ))
        });
        summaries
    }

    /// Takes out what became of all requests of the slots before this one, by slot.
    pub(super) fn take_all_before(&self, slot: Slot) -> Vec<(Slot, Outcomes)> {
        let mut sums: BTreeMap<Slot, Outcomes> = BTreeMap::new();
        for part in &self.all {
            let mut part = locked(part);
            let later = part.split_off(&slot);
            for (of, series) in std::mem::replace(&mut *part, later) {
                let (served, slow) = (UnitList::unknown(), SlowUnits::unknown());
                let outcomes = Outcomes { served, slow, ..series.outcomes() };
                sums.entry(of).or_default().merge(&outcomes);
            }
        }
        sums.into_iter().collect()
    }

    /// The server's time at a moment of this machine's.
    pub(super) fn by_the_server(&self, now: UnixMs) -> UnixMs {
        UnixMs(now.0.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed)))
    }

    /// Notes what time the server has. Slots are its, so that outcomes of a machine whose clock is wrong count as
    /// well; from the next request on, since what is summed already is.
    pub(super) fn note_time(&self, server: UnixMs, now: UnixMs) {
        let far = server.0.abs_diff(now.0);
        let offset = i64::try_from(far).unwrap_or(0);
        let offset = if server < now { -offset } else { offset };
        self.offset_ms.store(if far < TOLERATED_MS { 0 } else { offset }, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> OutcomeCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        OutcomeCounts {
            taken: read(&self.taken),
            lost: read(&self.lost),
            refused: read(&self.refused),
            left_out: read(&self.left_out),
        }
    }
}

/// Where a unit is counted.
fn place_of(unit: Option<UnitHash>) -> usize {
    usize::try_from(unit.map_or(0, |unit| unit.0) % PARTS as u64).unwrap_or(0)
}

impl Series {
    /// Counts a request of a variant.
    fn add(&mut self, unit: Option<UnitHash>, ended: Ended) {
        self.add_to_all(unit, ended);
        if let Some(unit) = unit {
            self.slow.add(unit, Bucket::of(ended.latency_us));
        }
    }

    /// Counts a request, without which units are slow: an app itself is compared with nothing.
    fn add_to_all(&mut self, unit: Option<UnitHash>, ended: Ended) {
        self.requests = self.requests.saturating_add(1);
        self.bad_requests = self.bad_requests.saturating_add(u64::from(ended.bad));
        self.cost_micros = self.cost_micros.saturating_add(ended.cost_micros);
        self.latency.add(ended.latency_us, 1);
        let Some(unit) = unit else { return };
        self.served.add(unit, ());
        if ended.bad {
            self.bad.add(unit, ());
        }
    }

    fn outcomes(self) -> Outcomes {
        Outcomes {
            units: self.served.distinct().min(self.requests),
            requests: self.requests,
            bad_requests: self.bad_requests,
            cost_micros: self.cost_micros,
            latency: self.latency,
            served: self.served.sample(),
            bad: self.bad.sample(),
            slow: self.slow.sample(),
            // Every unit with its slowest request: what is slow is known only once the control's latency is.
            slow_from_us: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::sli::MAX_COST_MICROS;

    use super::*;

    fn served(variant: &str) -> Served {
        Served {
            flag: FlagKey::new("checkout").expect("a key"),
            revision: Revision(7),
            split: SplitId::new("main").expect("a name"),
            variant: VariantKey::new(variant).expect("a key"),
        }
    }

    fn tallies() -> Tallies {
        let tallies = Tallies::new();
        tallies.tell();
        tallies
    }

    const AT: UnixMs = UnixMs(1_800_000_000_000);

    fn add(tallies: &Tallies, variant: &str, unit: &str, bad: bool, ms: u64, now: UnixMs) {
        let ended = Ended { bad, cost_micros: 5, latency_us: ms * 1_000 };
        let unit = Some(UnitHash::of(unit));
        tallies.add(unit, std::iter::once((served(variant), unit)), ended, now);
    }

    #[test]
    fn requests_are_summed_by_slot_and_variant_and_units_count_once() {
        let tallies = tallies();
        for (unit, bad, ms) in [("ann", false, 10), ("ann", true, 90), ("bob", false, 20)] {
            add(&tallies, "on", unit, bad, ms, AT);
        }
        add(&tallies, "off", "eve", false, 10, AT);
        let later = Slot::at(AT).ends_at();
        add(&tallies, "on", "ann", false, 10, later);
        assert!(tallies.take_before(Slot::at(AT)).is_empty());
        let summaries = tallies.take_before(Slot::at(later));
        let [off, on] = &summaries[..] else { panic!("{summaries:?}") };
        assert_eq!((off.variant.as_str(), off.outcomes.requests), ("off", 1));
        assert_eq!((on.slot, on.flag_revision), (Slot::at(AT), Revision(7)));
        let of = &on.outcomes;
        assert_eq!((of.units, of.requests, of.bad_requests, of.cost_micros), (2, 3, 1, 15));
        assert_eq!(of.latency.count(), 3);
        assert_eq!(of.bad.units(), [(UnitHash::of("ann"), ())]);
        let slowest = of.slow.units().iter().find(|(unit, _)| *unit == UnitHash::of("ann"));
        assert_eq!(slowest.map(|(_, bucket)| *bucket), Some(Bucket::of(90_000)));
        assert_eq!(tallies.take_before(Slot(u32::MAX)).len(), 1, "the later slot was still there");
        assert!(tallies.take_before(Slot(u32::MAX)).is_empty());
    }

    #[test]
    fn what_many_units_did_is_a_summary_that_servers_take() {
        let tallies = tallies();
        for unit in 0..30_000 {
            add(&tallies, "on", &format!("user-{unit}"), unit % 3 == 0, unit % 800, AT);
        }
        let summaries = tallies.take_before(Slot(u32::MAX));
        let [on] = &summaries[..] else { panic!("{summaries:?}") };
        on.outcomes.check().expect("no part is more than its whole");
        assert!(on.outcomes.cost_micros < MAX_COST_MICROS);
        assert!(on.outcomes.units.abs_diff(30_000) < 3_000, "{}", on.outcomes.units);
        let mut hashes: Vec<UnitHash> =
            (0..30_000).map(|unit| UnitHash::of(&format!("user-{unit}"))).collect();
        hashes.sort();
        assert_eq!(on.outcomes.served.complete_below(), Some(hashes[256]));
    }

    #[test]
    fn a_request_counts_once_among_all_however_many_flags_it_served_and_if_it_served_none() {
        let tallies = tallies();
        let ended = |bad| Ended { bad, cost_micros: 5, latency_us: 1_000 };
        let (ann, bob) = (Some(UnitHash::of("ann")), Some(UnitHash::of("bob")));
        tallies.add(ann, ["on", "off"].map(|variant| (served(variant), ann)).into_iter(), ended(true), AT);
        tallies.add(bob, std::iter::empty(), ended(false), AT);
        tallies.add(None, std::iter::empty(), ended(false), Slot::at(AT).ends_at());
        let all = tallies.take_all_before(Slot::at(AT).plus(1));
        let [(slot, of)] = &all[..] else { panic!("{all:?}") };
        assert_eq!(
            (*slot, of.units, of.requests, of.bad_requests, of.cost_micros),
            (Slot::at(AT), 2, 2, 1, 10)
        );
        assert_eq!((of.latency.count(), of.bad.units()), (2, &[(UnitHash::of("ann"), ())][..]));
        of.check().expect("no part is more than its whole");
        assert_eq!(tallies.take_all_before(Slot(u32::MAX)).len(), 1, "the later slot was still there");
        assert!(tallies.take_all_before(Slot(u32::MAX)).is_empty());
    }

    #[test]
    fn without_a_unit_a_request_counts_and_nobody_is_listed() {
        let tallies = tallies();
        let ended = Ended { bad: true, cost_micros: 0, latency_us: 1 };
        tallies.add(None, std::iter::once((served("on"), None)), ended, AT);
        let summaries = tallies.take_before(Slot(u32::MAX));
        let of = &summaries[0].outcomes;
        assert_eq!((of.units, of.requests, of.bad_requests, of.bad.units().len()), (0, 1, 1, 0));
    }

    #[test]
    fn past_the_bound_outcomes_are_left_out_and_counted() {
        let tallies = tallies();
        let ended = Ended { bad: false, cost_micros: 0, latency_us: 1 };
        let of = |number: usize| Served { revision: Revision(number as u64), ..served("on") };
        tallies.add(None, (0..=MOST_SERIES).map(|number| (of(number), None)), ended, AT);
        tallies.add(None, std::iter::once((of(0), None)), ended, AT);
        assert_eq!(tallies.counts().left_out, 1);
        assert_eq!(tallies.take_before(Slot(u32::MAX)).len(), MOST_SERIES);
    }

    #[test]
    fn slots_are_those_of_the_server_however_wrong_the_clock_here_is() {
        let tallies = tallies();
        let server = UnixMs(AT.0 + 60_000);
        tallies.note_time(server, AT);
        add(&tallies, "on", "ann", false, 1, AT);
        tallies.note_time(UnixMs(AT.0 - 999), AT);
        add(&tallies, "on", "ann", false, 1, AT);
        let slots: Vec<Slot> = tallies.take_before(Slot(u32::MAX)).iter().map(|one| one.slot).collect();
        assert_eq!(slots, [Slot::at(AT), Slot::at(server)]);
        tallies.note_time(UnixMs(AT.0 - 90_000), AT);
        assert_eq!(tallies.by_the_server(AT), UnixMs(AT.0 - 90_000));
    }
}
