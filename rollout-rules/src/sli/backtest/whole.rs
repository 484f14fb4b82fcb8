//! Written bounds, judged by sums of five minutes: what is measured is measured over each sum as a whole, and a bound counts as
//! passed for all of its five minutes or for none of them.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use super::report::Found;
use crate::ids::{FlagKey, SplitId, VariantKey};
use crate::sli::app::Objectives;
use crate::sli::comparison::Rate;
use crate::sli::guardrail::{Guardrail, Sli, Test};
use crate::sli::lately::Sums;
use crate::sli::news::Measurand;
use crate::sli::outcomes::Outcomes;
use crate::sli::recorded::{AppSum, SUM_SLOTS, Serves};
use crate::sli::slot::Slot;
use crate::sli::spend::{Spend, month_began};
use crate::sli::threshold::{Clock, Measured, measure};
use crate::sli::verdict::Reason;
use crate::sli::watch::Watch;
use crate::time::{DurationMs, UnixMs};

/// A rule of the app that acted may do so again once the app was well for so many sums: an hour.
const WELL_SUMS: u32 = 12;

/// What is known from sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole {
    splits: BTreeMap<(FlagKey, SplitId), WholeSplit>,
    own: Vec<OwnRule>,
    spend: Spend,
    spent_micros: u64,
    /// From when on everything is known.
    pub(super) known_from: Option<UnixMs>,
}

#[derive(Clone, Debug)]
struct WholeSplit {
    rules: Vec<Guardrail>,
    watch: Watch,
    /// By variant, one for each rule.
    clocks: BTreeMap<VariantKey, Vec<Clock>>,
    /// From when on it serves nobody any more; the sum in which that happened is still judged.
    ended: Option<Slot>,
}

#[derive(Clone, Debug)]
struct OwnRule {
    rule: Guardrail,
    clock: Clock,
    acted: bool,
    well: u32,
}

/// What a rule was measured to be.
pub(super) struct Seen {
    pub(super) rule: Guardrail,
    pub(super) measured: Option<Measurand>,
    pub(super) found: Found,
    /// Whether it would have acted.
    pub(super) acts: bool,
}

impl Whole {
    pub(super) fn new(own: &[Guardrail]) -> Whole {
        let rule =
            |rule: &Guardrail| OwnRule { rule: rule.clone(), clock: Clock::default(), acted: false, well: 0 };
        Whole { own: own.iter().map(rule).collect(), ..Whole::default() }
    }

    pub(super) fn serves(&mut self, rules: &[Guardrail], serves: &Serves, is_new: bool) {
        let place = (serves.flag.clone(), serves.split.clone());
        if is_new || !self.splits.contains_key(&place) {
            let split = WholeSplit {
                rules: rules.to_vec(),
                watch: Watch::untested(serves.from),
                clocks: BTreeMap::new(),
                ended: None,
            };
            self.splits.insert(place.clone(), split);
        }
        if let Some(split) = self.splits.get_mut(&place) {
            split.ended = None;
            split.watch.plan(serves.plan.clone());
            split.watch.rollout_runs(serves.runs);
        }
    }

    pub(super) fn ends(&mut self, from: Slot, flag: &FlagKey, split: &SplitId) {
        if let Some(split) = self.splits.get_mut(&(flag.clone(), split.clone())) {
            split.ended = Some(from);
        }
    }

    /// What ended before these five minutes is served nothing in them.
    pub(super) fn begin_window(&mut self, first: Slot) {
        self.splits.retain(|_, split| split.ended.is_none_or(|ended| ended > first));
    }

    /// Judges the variants of flags by their sums of five minutes.
    pub(super) fn take(&mut self, sum: &AppSum, each: &mut dyn FnMut(Seen)) {
        for told in &sum.splits {
            let Some(split) = self.splits.get_mut(&(told.flag.clone(), told.split.clone())) else { continue };
            let WholeSplit { rules, watch, clocks, .. } = split;
            let revision = watch.revision();
            let mut seen = Vec::new();
            for whole in watch.take_whole(sum.slot, &told.parts) {
                let fresh = || vec![Clock::default(); rules.len()];
                let clocks = clocks.entry(whole.variant.clone()).or_insert_with(fresh);
                for (rule, clock) in rules.iter().zip(clocks) {
                    if let Some(measured) = pass(clock, rule, &whole.sums, whole.control.as_ref()) {
                        seen.push((rule.clone(), whole.variant.clone(), measured));
                    }
                }
            }
            let guarded = watch.is_guarded();
            for (rule, variant, measured) in seen {
                let (flag, split) = (told.flag.clone(), told.split.clone());
                let measurand = revision.map(|revision| Measurand { flag, split, variant, revision });
                let acts = guarded && is_reason(&rule, measured) && measurand.is_some();
                each(seen_of(rule, measurand, sum.slot, measured, acts));
            }
        }
    }

    /// Judges the app itself: by five minutes of its requests, where they were not told slot by slot.
    pub(super) fn take_own(&mut self, first: Slot, all: &Outcomes, each: &mut dyn FnMut(Seen)) {
        let mut sums = Sums::default();
        sums.add(all);
        for own in &mut self.own {
            if own.rule.when().sli().is_of_app() {
                continue;
            }
            let Some(measured) = pass(&mut own.clock, &own.rule, &sums, None) else { continue };
            let holds = is_reason(&own.rule, measured);
            own.well = if holds { 0 } else { own.well.saturating_add(1) };
            if own.well >= WELL_SUMS {
                own.acted = false;
            }
            let acts = holds && !own.acted;
            own.acted |= acts;
            each(seen_of(own.rule.clone(), None, first, measured, acts));
        }
    }

    /// What the month is going to cost after five more minutes. Of a month that began before what is known nothing is said.
    pub(super) fn spend(
        &mut self,
        first: Slot,
        cost_micros: u64,
        objectives: Objectives,
        each: &mut dyn FnMut(Seen),
    ) {
        self.spend.add(cost_micros, first.starts_at());
        let estimate = self.spend.estimate(first.plus(SUM_SLOTS - 1).ends_at());
        let new_month = estimate.spent_micros < self.spent_micros;
        self.spent_micros = estimate.spent_micros;
        if !is_month_known(self.known_from, first) {
            return;
        }
        for own in &mut self.own {
            let Test::Threshold { sli: Sli::MonthlySpend, operator, bound, .. } = own.rule.when() else {
                continue;
            };
            let Some(bound) = bound.value(objectives.budget_micros) else { continue };
            own.acted &= !new_month;
            let value = estimate.expected_micros;
            let measured = Measured { value, bound, passed: DurationMs(0), counted: Rate::default() };
            let acts = operator.holds(value, bound) && !own.acted;
            own.acted |= acts;
            each(seen_of(own.rule.clone(), None, first, measured, acts));
        }
    }
}

/// Whether all of a slot's month until then is known.
pub(super) fn is_month_known(known_from: Option<UnixMs>, slot: Slot) -> bool {
    known_from.is_some_and(|known| known <= month_began(slot.starts_at()))
}

/// Whether sums of five minutes can tell a rule: a written bound that has to hold for some time.
pub(super) fn is_told_by_sums(rule: &Guardrail) -> bool {
    matches!(rule.when(), Test::Threshold { sustained_ms: Some(_), .. })
}

fn pass(clock: &mut Clock, rule: &Guardrail, sums: &Sums, control: Option<&Sums>) -> Option<Measured> {
    let Test::Threshold { sli, operator, bound, sustained_ms: Some(_) } = rule.when() else { return None };
    let normal = control.and_then(|control| measure(sli, control));
    clock.step_slots(SUM_SLOTS, measure(sli, sums), operator, bound.value(normal)?, sums.rate)
}

fn is_reason(rule: &Guardrail, measured: Measured) -> bool {
    let Test::Threshold { sli, sustained_ms: Some(sustained), .. } = rule.when() else { return false };
    measured.is_reason(sli, sustained)
}

fn seen_of(rule: Guardrail, measured: Option<Measurand>, first: Slot, numbers: Measured, acts: bool) -> Seen {
    let reason = Reason::Threshold { sli: rule.when().sli(), measured: numbers };
    let found = Found { slot: first, slots: SUM_SLOTS, reason };
    Seen { rule, measured, found, acts }
}
