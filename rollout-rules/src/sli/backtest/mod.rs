//! What rules would have done on what was recorded: when each would have acted, and on what evidence.
//!
//! Rules are judged by the fold that judges them live, [`AppWatch`](super::AppWatch), told of the same plans at the same slots. Where
//! only sums of five minutes are left, written bounds are judged by those. What cannot be judged is said to be so; it is
//! never said that a rule would not have acted.

mod account;
mod report;
mod rules;
mod spans;
mod trial;
mod whole;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use self::account::Plans;
pub use self::account::{Account, Amount, WhyNot};
pub use self::report::{Fired, Found, Near, Outcome, Report, RuleReport, Served};
pub use self::rules::{Rules, Tried};
use self::spans::Spans;
pub use self::spans::{Resolution, Span};
use self::trial::{Acts, Serving, Trial};
use super::app::{Objectives, SplitSlot};
use super::recorded::{Acted, Recorded, Serves};
use super::slot::Slot;
use crate::ids::{FlagKey, SplitId, VariantKey};
use crate::time::UnixMs;

/// Most times that rules of one trial are said to have acted; further ones are left out.
pub const MAX_FIRED: usize = 10_000;
/// Most acts of guardrails that are remembered; further ones are left out.
pub const MAX_ACTED: usize = 10_000;

/// Rules that are tried on what was recorded, line by line.
#[derive(Clone, Debug)]
pub struct Backtest {
    rules: Rules,
    tried: Vec<Tried>,
    /// All rules together, then, if there are several, each alone.
    trials: Vec<Trial>,
    accounts: Vec<Account>,
    objectives: Objectives,
    serving: Serving,
    /// What served nobody any more from a slot on, as long as its five minutes are not told.
    ended: BTreeMap<(FlagKey, SplitId), (Slot, Serves)>,
    seen: BTreeMap<(FlagKey, SplitId), SeenSplit>,
    /// What each trial's acts were on.
    fired: Vec<Vec<Fired>>,
    acted: Vec<Acted>,
    spans: Spans,
}

/// What had been served of a split since it was watched.
#[derive(Clone, Debug, Default)]
struct SeenSplit {
    variants: BTreeMap<VariantKey, (Slot, u64)>,
    all: u64,
}

impl Backtest {
    /// Begins to try rules.
    pub fn new(rules: Rules) -> Backtest {
        let tried = rules.tried();
        let single = tried.len() == 1;
        let mut trials = alloc::vec![Trial::new(rules.clone(), single)];
        if !single {
            trials.extend(tried.iter().map(|one| Trial::new(rules.only(one), true)));
        }
        Backtest {
            rules,
            accounts: alloc::vec![Account::default(); tried.len()],
            tried,
            fired: alloc::vec![Vec::new(); trials.len()],
            trials,
            objectives: Objectives::default(),
            serving: Serving::new(),
            ended: BTreeMap::new(),
            seen: BTreeMap::new(),
            acted: Vec::new(),
            spans: Spans::default(),
        }
    }

    /// Takes in the next line.
    pub fn fold(&mut self, line: &Recorded) {
        match line {
            Recorded::Recording(about) => self.known_from(about.since),
            Recorded::End { .. } => {}
            Recorded::App(objectives) => {
                self.objectives = *objectives;
                self.trials.iter_mut().for_each(|trial| trial.objectives(*objectives));
            }
            Recorded::Serves(serves) => {
                let place = (serves.flag.clone(), serves.split.clone());
                let before = self.serving.get(&place);
                self.trials.iter_mut().for_each(|trial| trial.serves(serves, before));
                if before.is_none_or(|before| !serves.goes_on_from(before)) {
                    self.seen.insert(place.clone(), SeenSplit::default());
                    self.ended.remove(&place);
                }
                self.serving.insert(place, serves.clone());
            }
            Recorded::Ends { from, flag, split } => {
                self.trials.iter_mut().for_each(|trial| trial.ends(*from, flag, split));
                let place = (flag.clone(), split.clone());
                let ended = self.serving.remove(&place);
                self.ended.extend(ended.map(|serves| (place, (*from, serves))));
            }
            Recorded::Slot(slot) => {
                self.known_from(slot.slot.starts_at());
                self.spans.slot(slot.slot);
                self.see(slot.slot, &slot.splits);
                let (serving, objectives) = (&self.serving, self.objectives);
                for (tried, account) in self.tried.iter().zip(&mut self.accounts) {
                    account.slot(tried, slot, objectives, &|split| plans(&self.rules, tried, serving, split));
                }
                self.trials.iter_mut().for_each(|trial| trial.slot(slot, serving));
                self.note();
            }
            Recorded::Sum(sum) => {
                self.known_from(sum.slot.starts_at());
                self.spans.sum(sum.slot);
                self.see(sum.slot, &sum.splits);
                // What ended within the five minutes was served in them.
                let mut serving = self.serving.clone();
                self.ended.retain(|_, (ended, _)| *ended > sum.slot);
                let ended = self.ended.iter().map(|(place, (_, serves))| (place.clone(), serves.clone()));
                serving.extend(ended);
                let objectives = self.objectives;
                for (tried, account) in self.tried.iter().zip(&mut self.accounts) {
                    account.sum(tried, sum, objectives, &|split| plans(&self.rules, tried, &serving, split));
                }
                self.trials.iter_mut().for_each(|trial| trial.sum(sum));
                self.note();
            }
            Recorded::Acted(acted) => {
                if self.acted.len() < MAX_ACTED {
                    self.acted.push(acted.clone());
                }
            }
        }
    }

    /// Everything is known from the first such moment on.
    fn known_from(&mut self, known: UnixMs) {
        self.trials.iter_mut().for_each(|trial| trial.known_from(known));
        self.accounts.iter_mut().for_each(|account| account.known_from(known));
    }

    /// Counts what was served.
    fn see(&mut self, slot: Slot, splits: &[SplitSlot]) {
        for told in splits {
            let seen = self.seen.entry((told.flag.clone(), told.split.clone())).or_default();
            for part in told.parts.iter().filter(|part| part.outcomes.requests > 0) {
                let served = seen.variants.entry(part.variant.clone()).or_insert((slot, 0));
                served.1 = served.1.saturating_add(part.outcomes.requests);
                seen.all = seen.all.saturating_add(part.outcomes.requests);
            }
        }
    }

    /// Puts down what rules would have done, with what had been served by then.
    fn note(&mut self) {
        for (trial, fired) in self.trials.iter_mut().zip(&mut self.fired) {
            for Acts { rule, measured, found } in core::mem::take(&mut trial.acts) {
                let is_it = |tried: &Tried| tried.rule == rule && tried.of_app == measured.is_none();
                let Some(rule) = self.tried.iter().position(is_it) else { continue };
                let of = measured.as_ref().and_then(|of| {
                    let split = self.seen.get(&(of.flag.clone(), of.split.clone()))?;
                    let (first, requests) = split.variants.get(&of.variant).copied()?;
                    Some(Served { first: Some(first.starts_at()), requests, all: split.all })
                });
                if fired.len() < MAX_FIRED {
                    fired.push(Fired { rule, measured, found, served: of.unwrap_or_default(), really: None });
                }
            }
        }
    }

    /// What came of it.
    pub fn end(mut self) -> Report {
        self.trials.iter_mut().for_each(Trial::end);
        self.note();
        self.fired.iter_mut().flatten().for_each(|fired| fired.set_beside(&self.acted));
        let mut nearest = self.trials.into_iter().map(|trial| trial.nearest.map(|(_, near)| near));
        let mut fired = self.fired.into_iter();
        let together = fired.next().unwrap_or_default();
        if self.tried.len() > 1 {
            nearest.next();
        }
        let reports = self.tried.into_iter().zip(self.accounts).enumerate().map(|(at, (tried, account))| {
            let of = |fired: &Fired| fired.rule == at;
            let beside: Vec<Fired> = together.iter().filter(|fired| of(fired)).cloned().collect();
            // What it does beside the others is told already.
            let same = |alone: &Fired| beside.iter().any(|fired| fired.measured == alone.measured);
            let alone = fired.next().unwrap_or_default();
            let alone = alone.into_iter().filter(|alone| !same(alone)).collect();
            RuleReport { tried, fired: beside, alone, nearest: nearest.next().flatten(), account }
        });
        Report { rules: reports.collect(), acted: self.acted, spans: self.spans.all() }
    }
}

/// What a split was planned to serve, if a rule is of its flag.
fn plans(rules: &Rules, tried: &Tried, serving: &Serving, split: &SplitSlot) -> Option<Plans> {
    if !rules.flag(&split.flag).contains(&tried.rule) {
        return None;
    }
    Some(Plans(serving.get(&(split.flag.clone(), split.split.clone())).cloned()))
}
