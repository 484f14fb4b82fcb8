//! Everything that is watched of one split of one flag, folded from its slots.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::comparison::{EPOCH_SLOTS, Rate};
use super::guardrail::{Sli, Test};
use super::intake::{Part, SlotEntry};
use super::lately::{Lately, Sums};
use super::mirror::Mirror;
use super::outcomes::Outcomes;
use super::running::{Marks, Running, Served, Side};
use super::skew::Skew;
use super::slot::Slot;
use super::stakes::Share;
use super::units::lower;
use super::verdict::{Reason, State, Verdict};
use crate::ids::{Revision, VariantKey};

/// A variant that is no worse than the control is taken back in one of so many rollouts, at most.
pub const ACT_ODDS: u32 = 100;
/// From this evidence on a rollout is held.
pub const HOLD_ODDS: u32 = 20;
/// Most tests of one flag.
pub const MAX_TESTS: usize = 16;
/// Most variants of one split that are watched; further ones are not.
pub const MAX_WATCHED: usize = 8;
/// Plans of so many revisions are remembered: batches may tell of a flag that changed since.
const PLANS: usize = 8;
/// Of fewer requests nothing is said but that they are few.
const LEAST_REQUESTS: u64 = 100;
/// After so many slots without a report the source is stale.
const STALE_SLOTS: u32 = 2;
/// After so many slots without requests, or sooner where many were expected, there is no data.
const QUIET_SLOTS: u32 = 60;
/// So many requests that are expected and do not come are no accident (one in ten thousand).
const MISSED_REQUESTS: u64 = 9;
/// The last slots in which the control may look worse than it usually does: two minutes.
const NOW_SLOTS: usize = 12;
/// So many times as many errors as usual are too many for the control.
const UNUSUAL_ERRORS: u128 = 3;
/// So many times its usual latency is too much.
const UNUSUAL_LATENCY: u64 = 2;
/// Of fewer bad requests nothing is said about the control.
const LEAST_UNUSUAL: u64 = 10;

/// What a revision of the flag serves the split's units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The revision.
    pub revision: Revision,
    /// The variant that others are compared with. None: nothing is.
    pub control: Option<VariantKey>,
    /// The weight of each variant.
    pub weights: Vec<(VariantKey, u32)>,
}

/// How the other flags of the app are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// Flags that are watched, this one included.
    pub watched: u32,
    /// Those whose rules acted or would have in the last minute.
    pub alarmed: u32,
}

impl Peers {
    /// Whether so many alarm at once that none of them is to blame: at least three, and more than one in five.
    pub fn share_a_cause(self) -> bool {
        self.alarmed >= 3 && u64::from(self.alarmed) * 5 > u64::from(self.watched)
    }
}

/// The watch over one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    tests: Vec<Test>,
    plans: Vec<Plan>,
    /// What was usual in these hours before, for tests that have no control.
    usual: Option<Sums>,
    began: Slot,
    next: Slot,
    control: Lately,
    variants: Vec<Watched>,
    skew: Skew,
    silent: u32,
    quiet: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Watched {
    variant: VariantKey,
    lately: Lately,
    tests: Vec<Running>,
    /// Among how many tests alpha is shared.
    sharing: u32,
    marks: Marks,
    mirror: Mirror,
    began: Slot,
    /// When the next bets begin.
    next_bets: Slot,
    requests: u64,
    control_requests: u64,
    /// What was told last.
    told: Option<(State, Option<u8>)>,
    /// What a rule acted on. It stays: nothing becomes good again by waiting.
    regressed: Option<Verdict>,
}

impl Watch {
    /// Begins to watch at a slot. Of more than 16 tests the first 16 are run. `usual` is what the release before did at these
    /// hours; thresholds that are relative need it where there is no control.
    pub fn new(mut tests: Vec<Test>, usual: Option<Sums>, began: Slot) -> Watch {
        tests.truncate(MAX_TESTS);
        Watch {
            tests,
            plans: Vec::new(),
            usual,
            began,
            next: began,
            control: Lately::default(),
            variants: Vec::new(),
            skew: Skew::default(),
            silent: 0,
            quiet: 0,
        }
    }

    /// Says what a revision serves. Slots that tell of it come later.
    pub fn plan(&mut self, plan: Plan) {
        for (variant, weight) in &plan.weights {
            let known = self.variants.iter().any(|watched| watched.variant == *variant);
            if *weight > 0
                && !known
                && plan.control.as_ref() != Some(variant)
                && self.variants.len() < MAX_WATCHED
            {
                self.variants.push(Watched::new(variant.clone(), &self.tests, self.next));
            }
        }
        self.plans.retain(|known| known.revision != plan.revision);
        if self.plans.len() == PLANS {
            self.plans.remove(0);
        }
        self.plans.push(plan);
    }

    /// Folds a slot in and says what is new then: a verdict for each variant whose state changed. Slots come in
    /// order; one that comes again is passed over, and for those that are missing nothing was reported.
    pub fn step(&mut self, entry: &SlotEntry, peers: Peers) -> Vec<Verdict> {
        if entry.slot < self.next {
            return Vec::new();
        }
        let missing = entry.slot.since(self.next);
        if missing > 0 {
            self.silent = self.silent.saturating_add(missing);
            self.quiet = self.quiet.saturating_add(missing);
            for _ in 0..missing.min(u32::try_from(super::lately::RECENT_SLOTS).unwrap_or(60)) {
                self.push(&[]);
            }
        }
        self.next = entry.slot.plus(1);
        self.silent = if entry.sources == 0 { self.silent.saturating_add(1) } else { 0 };
        let requests: u64 =
            entry.parts.iter().fold(0, |sum, part| sum.saturating_add(part.outcomes.requests));
        self.quiet = if requests == 0 { self.quiet.saturating_add(1) } else { 0 };
        self.count(entry);
        let mut news = Vec::new();
        for at in 0..self.variants.len() {
            let (state, test) = self.judge(&self.variants[at], peers);
            let test = test.and_then(|test| u8::try_from(test).ok());
            if self.variants[at].told == Some((state, test)) {
                continue;
            }
            self.variants[at].told = Some((state, test));
            let verdict = self.verdict(&self.variants[at]);
            if state == State::Regressed {
                self.variants[at].regressed = Some(verdict.clone());
            }
            news.push(verdict);
        }
        news
    }

    /// What is known of each variant, as of the last slot.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.variants.iter().map(|watched| self.verdict(watched))
    }

    fn count(&mut self, entry: &SlotEntry) {
        self.variants.iter_mut().for_each(|watched| watched.begin(entry.slot));
        for parts in entry.parts.chunk_by(|a, b| a.revision == b.revision) {
            let Some(plan) = self.plans.iter().find(|plan| plan.revision == parts[0].revision) else {
                continue;
            };
            let outcomes = |variant: &VariantKey| {
                parts.iter().find(|part| part.variant == *variant).map(|part| &part.outcomes)
            };
            let empty = Outcomes::default();
            let weight = |variant: &VariantKey| {
                plan.weights.iter().find(|(known, _)| known == variant).map_or(0, |(_, weight)| *weight)
            };
            let of_control = plan.control.as_ref().map(|key| (outcomes(key).unwrap_or(&empty), weight(key)));
            count_served(&mut self.skew, plan, parts);
            for watched in &mut self.variants {
                let share = Share {
                    variant: weight(&watched.variant),
                    control: of_control.map_or(0, |(_, weight)| weight),
                };
                let variant = outcomes(&watched.variant).unwrap_or(&empty);
                let served = Served { share, variant, control: of_control.map(|(outcomes, _)| outcomes) };
                watched.count(entry.slot, &served, &self.control);
            }
        }
        self.push(&entry.parts);
        let has_control = self.plans.last().is_some_and(|plan| plan.control.is_some());
        for watched in &mut self.variants {
            let Watched { lately, tests, .. } = watched;
            let side =
                Side { variant: lately, control: has_control.then_some(&self.control), now: self.next };
            tests.iter_mut().for_each(|test| test.end(&side, self.usual.as_ref()));
        }
    }

    /// Adds a slot to what both did lately.
    fn push(&mut self, parts: &[Part]) {
        let plan_of = |part: &Part| self.plans.iter().find(|plan| plan.revision == part.revision);
        let of_control = parts
            .iter()
            .filter(|part| plan_of(part).is_some_and(|plan| plan.control.as_ref() == Some(&part.variant)));
        let control_requests =
            of_control.clone().fold(0, |sum: u64, part| sum.saturating_add(part.outcomes.requests));
        self.control.push(of_control.map(|part| &part.outcomes));
        for watched in &mut self.variants {
            let ours = parts.iter().filter(|part| part.variant == watched.variant && plan_of(part).is_some());
            let requests = ours.clone().fold(0, |sum: u64, part| sum.saturating_add(part.outcomes.requests));
            watched.requests = watched.requests.saturating_add(requests);
            watched.control_requests = watched.control_requests.saturating_add(control_requests);
            watched.lately.push(ours.map(|part| &part.outcomes));
        }
    }

    fn side<'a>(&'a self, variant: &'a Lately) -> Side<'a> {
        let has_control = self.plans.last().is_some_and(|plan| plan.control.is_some());
        Side { variant, control: has_control.then_some(&self.control), now: self.next }
    }

    /// What a variant is held to be, and which test says so.
    fn judge(&self, watched: &Watched, peers: Peers) -> (State, Option<usize>) {
        if let Some(verdict) = &watched.regressed {
            return (State::Regressed, verdict.test.map(usize::from));
        }
        if self.skew.is_skewed() {
            return (State::Invalid, None);
        }
        if self.silent >= STALE_SLOTS {
            return (State::Stale, None);
        }
        if self.is_quiet(watched) {
            return (State::NoData, None);
        }
        let side = self.side(&watched.lately);
        let mut worst = (State::Ok, None);
        for (at, running) in watched.tests.iter().enumerate() {
            let Some(mut state) = running.state(&side, watched.marks) else { continue };
            if state == State::Regressed
                && let Test::WorseThanControl { sli, .. } = running.test
                && (peers.share_a_cause() || is_unusual(sli, &self.control))
            {
                state = State::CommonMode;
            }
            if severity(state) > severity(worst.0) {
                worst = (state, Some(at));
            }
        }
        let compared = side.control.is_some() && watched.tests.iter().any(Running::compares);
        let few =
            watched.requests < LEAST_REQUESTS || (compared && watched.control_requests < LEAST_REQUESTS);
        if worst.0 == State::Ok && few { (State::Warming, None) } else { worst }
    }

    fn verdict(&self, watched: &Watched) -> Verdict {
        let slot = Slot(self.next.0.saturating_sub(1));
        if let Some(verdict) = &watched.regressed {
            return Verdict { slot, ..verdict.clone() };
        }
        let (state, test) = watched.told.unwrap_or((State::Warming, None));
        let reason = match state {
            State::Invalid => self.skewed(&watched.variant),
            State::Stale => Reason::Silence { slots: self.silent },
            State::NoData => Reason::Silence { slots: self.quiet },
            _ => {
                let side = self.side(&watched.lately);
                let running = watched.tests.get(usize::from(test.unwrap_or(0)));
                running.map_or(Reason::Nothing, |running| running.reason(&side, watched.sharing))
            }
        };
        let variant = watched.variant.clone();
        Verdict { slot, variant, state, test, reason, shown_good: watched.mirror.is_shown() }
    }

    /// Whether requests stay away that were expected.
    fn is_quiet(&self, watched: &Watched) -> bool {
        let seen = self.next.since(self.began).min(60);
        let busy = u64::from(seen.saturating_sub(self.quiet).max(1));
        let recent = |lately: &Lately| lately.recent().rate.requests;
        let requests = recent(&self.control).saturating_add(recent(&watched.lately));
        let expected = requests.saturating_mul(u64::from(self.quiet)) / busy;
        let ever = watched.requests.saturating_add(watched.control_requests) > 0;
        self.quiet >= QUIET_SLOTS || (self.quiet >= STALE_SLOTS && (!ever || expected >= MISSED_REQUESTS))
    }

    fn skewed(&self, variant: &VariantKey) -> Reason {
        let plan = self.plans.last();
        let place = plan.and_then(|plan| plan.weights.iter().position(|(known, _)| known == variant));
        let all = self.skew.counts().fold(0, |sum, (_, count)| sum + count);
        let ours = place.and_then(|place| self.skew.counts().nth(place)).map_or(0, |(_, count)| count);
        Reason::Skewed { log: self.skew.evidence(), variant: ours, all }
    }
}

impl Watched {
    fn new(variant: VariantKey, tests: &[Test], began: Slot) -> Watched {
        let sizes = tests.iter().filter_map(|test| match test {
            Test::WorseThanControl { sli: Sli::ErrorRate, by_thousandths } => Some(*by_thousandths),
            _ => None,
        });
        let size = sizes.min().unwrap_or(super::guardrail::TWICE).max(1_001);
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
        }
    }

    fn begin(&mut self, slot: Slot) {
        if slot >= self.next_bets {
            self.tests.iter_mut().for_each(|test| test.begin(slot));
            self.next_bets = self.began.plus((slot.since(self.began) / EPOCH_SLOTS + 1) * EPOCH_SLOTS);
        }
    }

    fn count(&mut self, slot: Slot, served: &Served<'_>, control: &Lately) {
        if let Some((units, bad)) = self.tests.iter().find_map(|running| running.turned_bad(served)) {
            self.mirror.count(units, bad);
        }
        let before = Side { variant: &self.lately, control: served.control.map(|_| control), now: slot };
        self.tests.iter_mut().for_each(|test| test.count(slot, served, &before));
    }
}

/// Counts the units that each variant of a plan served.
fn count_served(skew: &mut Skew, plan: &Plan, parts: &[Part]) {
    let weights = plan.weights.iter().map(|(_, weight)| *weight);
    if skew.is_planned(weights) && parts.iter().all(|part| part.outcomes.served.units().is_empty()) {
        return;
    }
    let empty = super::units::UnitList::default();
    let lists: Vec<_> = plan
        .weights
        .iter()
        .map(|(variant, weight)| {
            let part = parts.iter().find(|part| part.variant == *variant);
            (*weight, part.map_or(&empty, |part| &part.outcomes.served))
        })
        .collect();
    let bound = lists.iter().fold(None, |bound, (_, list)| lower(bound, list.complete_below()));
    let units: Vec<_> = lists.iter().map(|(weight, list)| (*weight, list.below(bound))).collect();
    skew.count(&units);
}

/// Which of two states is told of.
fn severity(state: State) -> u8 {
    match state {
        State::Regressed => 3,
        State::CommonMode => 2,
        State::Suspect => 1,
        _ => 0,
    }
}

/// Whether the control does much worse than it usually does, just now.
fn is_unusual(sli: Sli, control: &Lately) -> bool {
    match sli {
        Sli::LatencyP95 | Sli::LatencyP99 => {
            let per_mille = if sli == Sli::LatencyP99 { 990 } else { 950 };
            let (now, usual) = (control.last(NOW_SLOTS).latency, control.hour().latency);
            let (Some(now_us), Some(usual_us)) = (now.quantile_us(per_mille), usual.quantile_us(per_mille))
            else {
                return false;
            };
            now.count() >= LEAST_REQUESTS && now_us >= usual_us.saturating_mul(UNUSUAL_LATENCY)
        }
        _ => {
            let now = control.last_rate(NOW_SLOTS);
            let hour = control.earlier().rate.plus(control.recent().rate);
            let before = hour.since(now);
            now.bad >= LEAST_UNUSUAL && before.requests >= LEAST_REQUESTS && is_more(now, before)
        }
    }
}

fn is_more(recent: Rate, before: Rate) -> bool {
    let cross = |a: u64, b: u64| u128::from(a) * u128::from(b);
    cross(recent.bad, before.requests) >= UNUSUAL_ERRORS.saturating_mul(cross(before.bad, recent.requests))
}
