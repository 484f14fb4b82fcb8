//! Everything that is watched of one split of one flag, folded from its slots.

mod again;
mod judging;
mod whole;

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::advice::{Needed, Traffic, needed};
use super::guardrail::{TWICE, Test};
use super::intake::{Part, SlotEntry};
use super::lately::{Lately, Sums};
use super::outcomes::Outcomes;
use super::running::{Served, Side};
use super::skew::Skew;
use super::slot::Slot;
use super::stakes::Share;
use super::standing::{Held, Standing};
use super::units::lower;
use super::unusual::is_unusual;
use super::verdict::{State, Verdict};
use super::watched::Watched;
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
/// Written thresholds act for so many slots after the share was raised last, or while the rollout runs: a day.
const GUARDED_SLOTS: u32 = 8_640;
/// Of fewer requests nothing is said but that they are few.
pub(super) const LEAST_REQUESTS: u64 = 100;
/// An hour.
const SLOTS_OF_AN_HOUR: u64 = 360;
/// After so many slots without a report the source is stale.
const STALE_SLOTS: u32 = 2;
/// After so many slots without requests, or sooner where many were expected, there is no data; that units which turned bad were
/// not told is over after so many without any.
pub(super) const QUIET_SLOTS: u32 = 60;
/// So many requests that are expected and do not come are no accident (one in ten thousand).
const MISSED_REQUESTS: u64 = 9;

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
    /// What is wrong is known to be common to all.
    pub const COMMON: Peers = Peers { watched: 3, alarmed: 3 };

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
    /// Whether a rollout runs, and when a share was raised last.
    rollout_runs: bool,
    raised: Slot,
    /// When it was begun again with what was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resumed: Option<Slot>,
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
            rollout_runs: false,
            raised: began,
            resumed: None,
        }
    }

    /// Says whether a rollout runs. Written thresholds act while it does and for a day after a share was raised last;
    /// afterwards they hold and notify.
    pub fn rollout_runs(&mut self, runs: bool) {
        self.rollout_runs = runs;
    }

    /// Says what is usual at these hours from now on.
    pub fn usual(&mut self, usual: Option<Sums>) {
        self.usual = usual;
    }

    /// The last revision that said what is served.
    pub fn revision(&self) -> Option<Revision> {
        self.plans.last().map(|plan| plan.revision)
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
        let raises = |(variant, weight): &(VariantKey, u32)| {
            let of = |plan: &Plan| plan.weights.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>();
            self.plans.last().is_some_and(|last| {
                let before =
                    last.weights.iter().find(|(known, _)| known == variant).map_or(0, |(_, before)| *before);
                u64::from(*weight) * of(last) > u64::from(before) * of(&plan)
            })
        };
        if plan.weights.iter().any(|of| plan.control.as_ref() != Some(&of.0) && raises(of)) {
            self.raised = self.next;
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
        if self.take(entry.slot, entry.sources, &entry.parts) { self.tell(peers) } else { Vec::new() }
    }

    /// Folds a slot in, without judging it yet. `false` if it was there already.
    pub(super) fn take(&mut self, slot: Slot, sources: u32, parts: &[Part]) -> bool {
        if slot < self.next {
            return false;
        }
        let missing = slot.since(self.next);
        if missing > 0 {
            self.silent = self.silent.saturating_add(missing);
            self.quiet = self.quiet.saturating_add(missing);
            for _ in 0..missing.min(u32::try_from(super::lately::RECENT_SLOTS).unwrap_or(60)) {
                self.push(&[]);
            }
        }
        self.next = slot.plus(1);
        self.silent = if sources == 0 { self.silent.saturating_add(1) } else { 0 };
        let requests: u64 = parts.iter().fold(0, |sum, part| sum.saturating_add(part.outcomes.requests));
        self.quiet = if requests == 0 { self.quiet.saturating_add(1) } else { 0 };
        self.count(slot, parts);
        true
    }

    /// Whether a compared rule would act, were it alone, and has not acted before.
    pub(super) fn alarms(&self) -> bool {
        self.variants.iter().filter(|watched| watched.regressed.is_none()).any(|watched| {
            let side = self.side(&watched.lately);
            let mut compared = watched.tests.iter().filter(|running| running.compares());
            compared.any(|running| running.state(&side, watched.marks) == Some(State::Regressed))
        })
    }

    /// Since when it is watched, or was begun again with what was known.
    pub(super) fn began(&self) -> Slot {
        self.resumed.unwrap_or(self.began)
    }

    /// Whether it was begun again with what was known, so many slots ago at most.
    pub(super) fn resumed_within(&self, slots: u32) -> bool {
        self.resumed.is_some_and(|resumed| self.next.since(resumed) <= slots)
    }

    /// Whether a rollout of the split may go on, as far as its variants and control tell.
    pub fn standing(&self) -> Standing {
        let served = self.variants.iter().filter(|watched| self.serves(&watched.variant));
        let (mut shown, mut any) = (true, false);
        for watched in served {
            any = true;
            shown &= watched.mirror.is_shown();
            let state = watched.told.map_or(State::Warming, |(state, _)| state);
            if !matches!(state, State::Ok | State::Warming) {
                return Standing::Held(Held::Variant(watched.variant.clone(), state));
            }
            let mut compared = watched.tests.iter().filter(|running| running.compares());
            if compared.any(|running| is_unusual(running.test.sli(), &self.control)) {
                return Standing::Held(Held::Control);
            }
        }
        if any && shown { Standing::ShownGood } else { Standing::NotEnoughData }
    }

    /// What the comparison still takes on average, by what the control did within the last hour, if a variant does twice
    /// as badly.
    pub(super) fn needed(&self) -> Option<Needed> {
        let plan = self.plans.last()?;
        let control = plan.control.as_ref()?;
        let weight = |wanted: &dyn Fn(&VariantKey) -> bool| {
            plan.weights.iter().find(|(key, weight)| *weight > 0 && wanted(key)).map(|(_, weight)| *weight)
        };
        let share =
            Share { variant: weight(&|key| key != control)?, control: weight(&|key| key == control)? };
        let hour = self.control.hour();
        let slots = u64::from(self.next.since(self.began)).clamp(1, SLOTS_OF_AN_HOUR);
        let of_both = u128::from(hour.units) * (u128::from(share.variant) + u128::from(share.control))
            / u128::from(share.control);
        let users = of_both * u128::from(SLOTS_OF_AN_HOUR) / u128::from(slots);
        let bad = (u128::from(hour.rate.bad) * 1_000_000).checked_div(u128::from(hour.rate.requests))?;
        let traffic = Traffic {
            users_an_hour: u64::try_from(users).unwrap_or(u64::MAX),
            bad_millionths: u64::try_from(bad).unwrap_or(u64::MAX),
        };
        needed(traffic, share, TWICE)
    }

    fn serves(&self, variant: &VariantKey) -> bool {
        let last = self.plans.last();
        last.is_some_and(|plan| plan.weights.iter().any(|(known, weight)| known == variant && *weight > 0))
    }

    /// What is known of each variant, as of the last slot.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> {
        self.variants.iter().map(|watched| self.verdict(watched))
    }

    fn count(&mut self, slot: Slot, all: &[Part]) {
        self.variants.iter_mut().for_each(|watched| watched.begin(slot));
        for parts in all.chunk_by(|a, b| a.revision == b.revision) {
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
                watched.count(slot, &served, &self.control);
            }
        }
        self.push(all);
        let has_control = self.plans.last().is_some_and(|plan| plan.control.is_some());
        for watched in &mut self.variants {
            let Watched { lately, tests, marks, .. } = watched;
            let side =
                Side { variant: lately, control: has_control.then_some(&self.control), now: self.next };
            tests.iter_mut().for_each(|test| test.end(&side, self.usual.as_ref(), *marks));
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

    /// Whether written thresholds act.
    pub(super) fn is_guarded(&self) -> bool {
        self.rollout_runs || self.next.since(self.raised) <= GUARDED_SLOTS
    }
}

/// Counts the units that each variant of a plan served.
fn count_served(skew: &mut Skew, plan: &Plan, parts: &[Part]) {
    let weights = plan.weights.iter().map(|(_, weight)| *weight);
    if skew.is_planned(weights) && parts.iter().all(|part| part.outcomes.served.units().is_empty()) {
        return;
    }
    let of = |variant: &VariantKey| {
        parts.iter().find(|part| part.variant == *variant).map(|part| &part.outcomes.served)
    };
    let lists = plan.weights.iter().filter_map(|(variant, _)| of(variant));
    let bound = lists.fold(None, |bound, list| lower(bound, list.complete_below()));
    let units: Vec<_> = plan
        .weights
        .iter()
        .map(|(variant, weight)| (*weight, of(variant).map_or(&[][..], |list| list.below(bound))))
        .collect();
    skew.count(&units);
}
