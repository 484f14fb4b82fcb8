//! Some rules, judged by the same fold as those that act.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::report::{Closeness, Found, Near};
use super::rules::Rules;
use super::whole::{Seen, Whole};
use crate::ids::{FlagKey, SplitId, VariantKey};
use crate::sli::app::{AppSlot, AppWatch, Objectives, SplitSlot, most_asked};
use crate::sli::gauges::Gauges;
use crate::sli::guardrail::{Action, Guardrail, Sli, Test};
use crate::sli::input::Input;
use crate::sli::news::{Measurand, News};
use crate::sli::outcomes::Outcomes;
use crate::sli::recorded::{AppSum, SUM_SLOTS, Serves};
use crate::sli::slot::Slot;
use crate::sli::verdict::State;
use crate::time::UnixMs;

/// A pause of more slots is not gone through slot by slot, since nothing comes of it: two hours.
const MAX_EMPTY: u32 = 720;
/// The evidence of comparisons is looked at every so many slots: a minute.
const LOOKED_AT: u32 = 6;

/// What splits serve, as it stands.
pub(super) type Serving = BTreeMap<(FlagKey, SplitId), Serves>;

/// A rule would have acted.
#[derive(Clone, Debug)]
pub(super) struct Acts {
    pub(super) rule: Guardrail,
    pub(super) measured: Option<Measurand>,
    pub(super) found: Found,
}

/// Some rules at work.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    rules: Rules,
    objectives: Objectives,
    /// Flags and the app, slot by slot. Begins with the first slot.
    watch: Option<AppWatch>,
    /// The app alone: where sums are told as well, slots do not have all of its requests.
    own: Option<AppWatch>,
    /// The first slot of the current five minutes.
    began: Option<Slot>,
    /// The slots of the current five minutes, as far as they tell of the app itself.
    window: Vec<AppSlot>,
    whole: Whole,
    /// Variants that a rule took back: nothing more is said of them.
    taken_back: BTreeSet<(FlagKey, SplitId, VariantKey)>,
    /// Whether it is looked how near the only rule comes.
    looks: bool,
    pub(super) nearest: Option<(Closeness, Near)>,
    pub(super) acts: Vec<Acts>,
}

impl Trial {
    pub(super) fn new(rules: Rules, looks: bool) -> Trial {
        Trial {
            whole: Whole::new(rules.app()),
            rules,
            objectives: Objectives::default(),
            watch: None,
            own: None,
            began: None,
            window: Vec::new(),
            taken_back: BTreeSet::new(),
            looks,
            nearest: None,
            acts: Vec::new(),
        }
    }

    /// Everything is known from a moment on.
    pub(super) fn known_from(&mut self, known: UnixMs) {
        self.whole.known_from.get_or_insert(known);
    }

    pub(super) fn objectives(&mut self, objectives: Objectives) {
        self.objectives = objectives;
        let rules = self.rules.app().to_vec();
        if let Some(watch) = &mut self.watch {
            watch.fold(&Input::App { rules: rules.clone(), objectives });
        }
        if let Some(own) = &mut self.own {
            own.fold(&Input::App { rules, objectives });
        }
    }

    pub(super) fn serves(&mut self, serves: &Serves, before: Option<&Serves>) {
        let rules = self.rules.flag(&serves.flag);
        if rules.is_empty() {
            return;
        }
        let goes_on = before.filter(|before| serves.goes_on_from(before));
        self.whole.serves(rules, serves, goes_on.is_none());
        if goes_on.is_none() {
            self.taken_back.retain(|(flag, split, _)| *flag != serves.flag || *split != serves.split);
        }
        let rules = rules.to_vec();
        if let Some(watch) = &mut self.watch {
            tell(watch, &rules, serves, goes_on);
        }
    }

    pub(super) fn ends(&mut self, from: Slot, flag: &FlagKey, split: &SplitId) {
        self.whole.ends(from, flag, split);
        if let Some(watch) = &mut self.watch {
            watch.fold(&Input::Unwatch { flag: flag.clone(), split: split.clone() });
        }
    }

    /// Folds a slot in, and those before it for which nobody reported anything.
    pub(super) fn slot(&mut self, slot: &AppSlot, serving: &Serving) {
        self.begin_window(first_of_window(slot.slot));
        let mut watch = self.watch.take().unwrap_or_else(|| {
            let mut watch = AppWatch::new(self.rules.app().to_vec(), self.objectives, slot.slot);
            for serves in serving.values() {
                let rules = self.rules.flag(&serves.flag);
                if !rules.is_empty() {
                    tell(&mut watch, rules, serves, None);
                }
            }
            watch
        });
        let missing = slot.slot.since(watch.next());
        if missing <= MAX_EMPTY {
            for _ in 0..missing {
                let news = watch.step(&empty(watch.next()));
                self.take(news, false);
            }
        }
        let news = watch.step(slot);
        self.take(news, false);
        if self.looks {
            self.look(&watch, slot);
        }
        self.watch = Some(watch);
        if !self.rules.app().is_empty() {
            self.window.push(slot.clone());
        }
    }

    /// Folds the sum of the current five minutes in, or of later ones.
    pub(super) fn sum(&mut self, sum: &AppSum) {
        self.begin_window(first_of_window(sum.slot));
        let mut seen = Vec::new();
        self.whole.take(sum, &mut |one| seen.push(one));
        seen.into_iter().for_each(|one| self.see(one));
        if !self.rules.app().is_empty() {
            self.end_window(Some(sum));
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        self.end_window(None);
    }

    /// What was told of earlier windows is complete.
    fn begin_window(&mut self, first: Slot) {
        if self.began == Some(first) {
            return;
        }
        self.began = Some(first);
        self.end_window(None);
        self.whole.begin_window(first);
    }

    /// Judges the app itself by the slots of the window; where sums were told as well, by all of the window's requests at
    /// once.
    fn end_window(&mut self, sum: Option<&AppSum>) {
        let slots = core::mem::take(&mut self.window);
        let Some(first) = slots.first().map(|slot| slot.slot).or(sum.map(|sum| sum.slot)) else { return };
        let first = first_of_window(first);
        // Where all requests were told slot by slot, sums of flags say nothing more of the app.
        let by_sum = sum.is_some() && slots.iter().all(|slot| slot.all.is_none());
        for slot in &slots {
            let new = || AppWatch::new(self.rules.app().to_vec(), self.objectives, slot.slot);
            let mut own = self.own.take().unwrap_or_else(new);
            let told = if by_sum {
                // What the app uses of its CPU is told slot by slot all the same.
                AppSlot { all: Some(Outcomes::default()), splits: Vec::new(), ..slot.clone() }
            } else {
                slot.clone()
            };
            let missing = told.slot.since(own.next());
            if missing <= MAX_EMPTY {
                for _ in 0..missing {
                    let news = own.step(&empty(own.next()));
                    self.take(news, true);
                }
            }
            let news = own.step(&told);
            self.take(news, true);
            if self.looks {
                self.look_at_own(&own, told.slot);
            }
            self.own = Some(own);
        }
        let all = all_requests(&slots, sum);
        let mut seen = Vec::new();
        if by_sum {
            self.whole.take_own(first, &all, &mut |one| seen.push(one));
        }
        self.whole.spend(first, all.cost_micros, self.objectives, &mut |one| seen.push(one));
        seen.into_iter().for_each(|one| self.see(one));
    }

    /// Takes in what a watch says: of the app itself only what the watch over it alone does.
    fn take(&mut self, news: Vec<News>, of_app: bool) {
        for one in news {
            let News::Act(proposed) = one else { continue };
            // Months are judged by sums.
            if proposed.measured.is_none() == of_app && proposed.sli != Sli::MonthlySpend {
                let found = Found { slot: proposed.slot, slots: 1, reason: proposed.reason };
                self.act(proposed.rule, proposed.measured, found);
            }
        }
    }

    fn see(&mut self, seen: Seen) {
        let Seen { rule, measured, found, acts } = seen;
        let state = if acts { State::Regressed } else { State::Ok };
        if self.looks {
            let of = measured.as_ref().map(|of| (of.flag.clone(), of.split.clone(), of.variant.clone()));
            self.near(rule.when(), Near { found: found.clone(), of, state });
        }
        if acts {
            self.act(rule, measured, found);
        }
    }

    fn act(&mut self, rule: Guardrail, measured: Option<Measurand>, found: Found) {
        let place = measured.as_ref().map(|of| (of.flag.clone(), of.split.clone(), of.variant.clone()));
        if place.as_ref().is_some_and(|place| self.taken_back.contains(place)) {
            return;
        }
        let lowers = |action: &Action| matches!(action, Action::FlagOff | Action::RolloutToZero);
        self.taken_back.extend(place.filter(|_| rule.then().iter().any(lowers)));
        if self.acts.len() < super::MAX_FIRED {
            self.acts.push(Acts { rule, measured, found });
        }
    }

    fn look(&mut self, watch: &AppWatch, slot: &AppSlot) {
        let Some(test) =
            self.rules.tried().first().filter(|tried| !tried.of_app).map(|tried| tried.rule.when())
        else {
            return;
        };
        let written = matches!(test, Test::Threshold { sustained_ms: Some(_), .. });
        if !written && !slot.slot.0.is_multiple_of(LOOKED_AT) {
            return;
        }
        for (flag, split, verdict) in watch.verdicts() {
            let of = Some((flag.clone(), split.clone(), verdict.variant));
            let found = Found { slot: slot.slot, slots: 1, reason: verdict.reason };
            self.near(test, Near { found, of, state: verdict.state });
        }
    }

    fn look_at_own(&mut self, own: &AppWatch, slot: Slot) {
        let first = self.rules.tried().into_iter().next().filter(|tried| tried.of_app);
        let Some(test) = first.map(|tried| tried.rule.when()) else { return };
        if test.sli() == Sli::MonthlySpend {
            return;
        }
        for (state, reason) in own.own() {
            self.near(test, Near { found: Found { slot, slots: 1, reason }, of: None, state });
        }
    }

    fn near(&mut self, test: Test, near: Near) {
        let Some(closeness) = Closeness::of(test, &near.found.reason) else { return };
        if self.nearest.as_ref().is_none_or(|(nearest, _)| *nearest < closeness) {
            self.nearest = Some((closeness, near));
        }
    }
}

/// Tells a watch what a split serves, as the evaluator does.
fn tell(watch: &mut AppWatch, rules: &[Guardrail], serves: &Serves, goes_on: Option<&Serves>) {
    let (flag, split) = (&serves.flag, &serves.split);
    if goes_on.is_none() {
        let (rules, rollout) = (rules.to_vec(), serves.rollout);
        watch.fold(&Input::Watch { flag: flag.clone(), split: split.clone(), rules, rollout });
    }
    if goes_on.is_none_or(|before| before.plan != serves.plan) {
        let plan = serves.plan.clone();
        watch.fold(&Input::Plan { flag: flag.clone(), split: split.clone(), plan });
    }
    if goes_on.is_none_or(|before| before.runs != serves.runs) {
        let runs = serves.runs;
        watch.fold(&Input::RolloutRuns { flag: flag.clone(), split: split.clone(), runs });
    }
}

/// The first slot of the five minutes that a slot is in.
fn first_of_window(slot: Slot) -> Slot {
    Slot(slot.0 / SUM_SLOTS * SUM_SLOTS)
}

fn empty(slot: Slot) -> AppSlot {
    AppSlot { slot, sources: 0, all: None, gauges: Gauges::default(), splits: Vec::new() }
}

/// The requests of a window: all that the app told, or those of the flag that was asked for most, if those are more.
fn all_requests(slots: &[AppSlot], sum: Option<&AppSum>) -> Outcomes {
    let mut told = Outcomes::default();
    let Some(sum) = sum else {
        slots.iter().for_each(|slot| told.merge(&slot.whole()));
        return told;
    };
    slots.iter().filter_map(|slot| slot.all.as_ref()).chain(&sum.all).for_each(|all| told.merge(all));
    let splits = slots.iter().flat_map(|slot| &slot.splits);
    let mut splits: Vec<&SplitSlot> = splits.chain(&sum.splits).collect();
    splits.sort_by(|a, b| a.flag.cmp(&b.flag));
    let most = most_asked(splits);
    if told.requests >= most.requests { told } else { most }
}
