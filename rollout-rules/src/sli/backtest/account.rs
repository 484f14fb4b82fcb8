//! How much each rule was judged by, and what of the recording could not be judged by it.

use alloc::collections::BTreeMap;

use super::rules::Tried;
use super::whole::{is_month_known, is_told_by_sums};
use crate::ids::FlagKey;
use crate::sli::app::{AppSlot, Objectives, SplitSlot};
use crate::sli::guardrail::{Bound, Sli, Test};
use crate::sli::intake::Part;
use crate::sli::outcomes::Outcomes;
use crate::sli::recorded::{AppSum, Serves};
use crate::sli::slot::Slot;
use crate::sli::units::UnitHash;
use crate::time::UnixMs;

/// Why something that was recorded does not tell a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyNot {
    /// It is a sum of five minutes: units, which the rule counts, are only told by slots of ten seconds.
    SumsHaveNoUnits,
    /// The app did not say which units failed or were slow.
    NoUnits,
    /// No variant is the control, or units were not divided between it and another.
    NoControl,
    /// The bound is relative to the control, and there is none.
    NoBaseline,
    /// The bound is relative to the release before, and recordings have no releases.
    NoReleases,
    /// The split was not planned to divide anybody: the flag was off, or on for all without a rollout.
    NotDivided,
    /// The app did not say how much CPU or memory it used, or it was not recorded.
    NotReported,
    /// How much CPU or memory an app used is kept for two days, and it is older.
    NotKept,
    /// The month began before what is known.
    MonthNotWhole,
    /// The app has no budget.
    NoBudget,
}

/// What was judged by a rule, or left out for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Slots of ten seconds.
    pub slots: u64,
    /// Sums of five minutes.
    pub sums: u64,
    /// Requests in them.
    pub requests: u64,
    /// The first slot, and the one after the last.
    pub range: Option<(Slot, Slot)>,
}

/// What became of all that was recorded for one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What was judged.
    pub judged: Amount,
    /// What could not be, by reason.
    pub not_judged: BTreeMap<WhyNot, Amount>,
    /// The last slot that was counted.
    last: Option<Slot>,
    /// From when on everything is known.
    known_from: Option<UnixMs>,
}

impl Amount {
    fn add(&mut self, (from, until): (Slot, Slot), requests: u64) {
        if until.since(from) == 1 {
            self.slots = self.slots.saturating_add(1);
        } else {
            self.sums = self.sums.saturating_add(1);
        }
        self.requests = self.requests.saturating_add(requests);
        let range = self.range.get_or_insert((from, until));
        *range = (range.0.min(from), range.1.max(until));
    }
}

impl Account {
    /// Whether anything was judged.
    pub fn is_judged(&self) -> bool {
        self.judged.range.is_some()
    }

    pub(super) fn known_from(&mut self, known: UnixMs) {
        self.known_from.get_or_insert(known);
    }

    fn of_app(&self, tried: &Tried, objectives: Objectives, slot: Slot, is_sum: bool) -> Option<WhyNot> {
        let of_month = tried.rule.when().sli() == Sli::MonthlySpend;
        let cut = (of_month && !is_month_known(self.known_from, slot)).then_some(WhyNot::MonthNotWhole);
        of_app(tried, objectives, is_sum).or(cut)
    }

    fn add(&mut self, why_not: Option<WhyNot>, range: (Slot, Slot), requests: u64) {
        match why_not {
            None => self.judged.add(range, requests),
            Some(why) => self.not_judged.entry(why).or_default().add(range, requests),
        }
    }

    /// Counts a slot.
    pub(super) fn slot(
        &mut self,
        tried: &Tried,
        slot: &AppSlot,
        objectives: Objectives,
        of: &dyn Fn(&SplitSlot) -> Option<Plans>,
    ) {
        let range = (slot.slot, slot.slot.plus(1));
        self.last = Some(slot.slot);
        if !tried.of_app {
            return self.flags(tried, &slot.splits, range, of);
        }
        let sli = tried.rule.when().sli();
        let requests = slot.whole().requests;
        match sli {
            Sli::Cpu | Sli::Memory => {
                let why = slot.gauges.value(sli).is_none().then_some(WhyNot::NotReported);
                self.add(why, range, requests);
            }
            _ if requests > 0 => {
                self.add(self.of_app(tried, objectives, slot.slot, false), range, requests);
            }
            _ => {}
        }
    }

    /// Counts a sum.
    pub(super) fn sum(
        &mut self,
        tried: &Tried,
        sum: &AppSum,
        objectives: Objectives,
        of: &dyn Fn(&SplitSlot) -> Option<Plans>,
    ) {
        let range = (sum.slot, sum.slot.plus(sum.slots));
        if !tried.of_app {
            return self.flags(tried, &sum.splits, range, of);
        }
        let requests = requests_of(&sum.splits).max(sum.all.as_ref().map_or(0, |all| all.requests));
        match tried.rule.when().sli() {
            // Where slots were told as well they had it.
            Sli::Cpu | Sli::Memory if self.last.is_some_and(|last| last >= sum.slot) => {}
            Sli::Cpu | Sli::Memory => self.add(Some(WhyNot::NotKept), range, requests),
            _ if requests > 0 => {
                self.add(self.of_app(tried, objectives, sum.slot, true), range, requests);
            }
            _ => {}
        }
    }

    /// Counts a slot or sum once for all flags that the rule is of: as judged, if any of them is.
    fn flags(
        &mut self,
        tried: &Tried,
        splits: &[SplitSlot],
        range: (Slot, Slot),
        of: &dyn Fn(&SplitSlot) -> Option<Plans>,
    ) {
        let is_sum = range.1.since(range.0) > 1;
        let mut told: BTreeMap<Option<WhyNot>, u64> = BTreeMap::new();
        for split in splits {
            let Some(plans) = of(split) else { continue };
            let requests = requests(&split.parts);
            if requests > 0 {
                let sum = told.entry(why_not(tried, &split.parts, &plans, is_sum)).or_default();
                *sum = sum.saturating_add(requests);
            }
        }
        told.into_iter().for_each(|(why, requests)| self.add(why, range, requests));
    }
}

/// What a split is planned to serve; nothing, if it divides nobody.
pub(super) struct Plans(pub(super) Option<Serves>);

fn of_app(tried: &Tried, objectives: Objectives, is_sum: bool) -> Option<WhyNot> {
    match tried.rule.when() {
        Test::Threshold { bound: Bound::OfBudget(_), .. } => {
            objectives.budget_micros.is_none().then_some(WhyNot::NoBudget)
        }
        Test::Threshold { bound: Bound::TimesBaseline(_), .. } => Some(WhyNot::NoReleases),
        Test::Threshold { sli: Sli::MonthlySpend, .. } => None,
        _ => (is_sum && !is_told_by_sums(&tried.rule)).then_some(WhyNot::SumsHaveNoUnits),
    }
}

fn why_not(tried: &Tried, parts: &[Part], plans: &Plans, is_sum: bool) -> Option<WhyNot> {
    let Some(serves) = &plans.0 else { return Some(WhyNot::NotDivided) };
    if is_sum && !is_told_by_sums(&tried.rule) {
        return Some(WhyNot::SumsHaveNoUnits);
    }
    let has_control = serves.plan.control.is_some();
    let divides = serves.plan.control.as_ref().is_some_and(|control| {
        let served = |is_control: bool| {
            serves.plan.weights.iter().any(|(of, weight)| *weight > 0 && (of == control) == is_control)
        };
        served(true) && served(false)
    });
    let units_are_told = |sli: Sli| parts.iter().all(|part| tells_units(sli, &part.outcomes));
    match tried.rule.when() {
        Test::WorseThanControl { .. } if !divides => Some(WhyNot::NoControl),
        Test::WorseThanControl { sli, .. } => (!units_are_told(sli)).then_some(WhyNot::NoUnits),
        Test::Threshold { bound: Bound::TimesBaseline(_), .. } if !has_control => Some(WhyNot::NoBaseline),
        Test::Threshold { sli: sli @ (Sli::ErrorRate | Sli::Availability), sustained_ms: None, .. } => {
            (!units_are_told(sli)).then_some(WhyNot::NoUnits)
        }
        Test::Threshold { .. } => None,
    }
}

/// Whether it is known which units failed, or were slow.
fn tells_units(sli: Sli, outcomes: &Outcomes) -> bool {
    let nothing = Some(UnitHash(0));
    match sli {
        Sli::LatencyP95 | Sli::LatencyP99 => {
            outcomes.latency.count() == 0 || outcomes.slow.complete_below() != nothing
        }
        _ => outcomes.bad_requests == 0 || outcomes.bad.complete_below() != nothing,
    }
}

pub(super) fn requests(parts: &[Part]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.outcomes.requests))
}

/// The requests of the flag that was asked for most.
fn requests_of(splits: &[SplitSlot]) -> u64 {
    let mut flags: BTreeMap<&FlagKey, u64> = BTreeMap::new();
    for split in splits {
        let sum = flags.entry(&split.flag).or_default();
        *sum = sum.saturating_add(requests(&split.parts));
    }
    flags.into_values().max().unwrap_or(0)
}
