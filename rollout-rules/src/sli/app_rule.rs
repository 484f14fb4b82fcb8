//! The rules of an app itself, which are no variant's.

use serde::{Deserialize, Serialize};

use super::comparison::Rate;
use super::gauges::Gauges;
use super::guardrail::{Bound, Guardrail, Operator, Sli, Test};
use super::lately::Sums;
use super::outcomes::Outcomes;
use super::running::{Marks, Running, Served, Side};
use super::slot::Slot;
use super::spend::WARN_PERCENT;
use super::stakes::Share;
use super::threshold::{Clock, Measured};
use super::verdict::{Reason, State};
use crate::time::DurationMs;

/// A rule that acted may do so again once the app was well for so many slots: an hour.
const WELL_SLOTS: u32 = 360;

/// One rule with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AppRule {
    pub(super) rule: Guardrail,
    running: Running,
    clock: Clock,
    measured: Option<Measured>,
    pub(super) state: State,
    /// Whether it has acted. It does so once for a release, or until the app was well for an hour, a rule on spend once in a
    /// month.
    acted: bool,
    /// For how many slots in a row it was well.
    well: u32,
}

/// What a rule is judged by at the end of a slot.
pub(super) struct AppSeen<'a> {
    pub(super) slot: Slot,
    pub(super) outcomes: &'a Outcomes,
    pub(super) gauges: Gauges,
    /// What the app did lately, without this slot.
    pub(super) before: Side<'a>,
    /// What the month will have cost, and what it may.
    pub(super) expected_micros: u64,
    pub(super) budget_micros: Option<u64>,
}

impl AppRule {
    pub(super) fn new(rule: Guardrail, began: Slot) -> AppRule {
        let running = Running::new(rule.when(), began);
        AppRule {
            rule,
            running,
            clock: Clock::default(),
            measured: None,
            state: State::Ok,
            acted: false,
            well: 0,
        }
    }

    pub(super) fn sli(&self) -> Sli {
        self.rule.when().sli()
    }

    /// Whether it says that the app's requests fail or are slow, whatever they are served.
    pub(super) fn blames_the_app(&self) -> bool {
        let of_requests =
            matches!(self.sli(), Sli::ErrorRate | Sli::Availability | Sli::LatencyP95 | Sli::LatencyP99);
        of_requests && self.state == State::Regressed
    }

    /// Whether rollouts of the app wait for it. That the month comes near its budget is for people to know, and no reason.
    pub(super) fn holds_rollouts(&self) -> bool {
        match self.state {
            State::Ok => false,
            State::Regressed => true,
            _ => self.sli() != Sli::MonthlySpend,
        }
    }

    /// Counts a slot that is not among what the app did lately yet.
    pub(super) fn count(&mut self, seen: &AppSeen<'_>) {
        let Test::Threshold { sli, operator, bound, .. } = self.rule.when() else { return };
        match sli {
            Sli::Cpu | Sli::Memory => {
                let bound = bound.value(None).unwrap_or(u64::MAX);
                let value = seen.gauges.value(sli);
                if let Some(measured) = self.clock.step_value(value, operator, bound, Rate::default()) {
                    self.measured = Some(measured);
                }
            }
            Sli::MonthlySpend => self.measured = spent(bound, seen),
            _ => {
                let share = Share { variant: 1, control: 0 };
                let served = Served { share, variant: seen.outcomes, control: None };
                self.running.count(seen.slot, &served, &seen.before);
            }
        }
    }

    /// Ends a slot, which `lately` includes now. `true`: the rule acts.
    pub(super) fn end(&mut self, lately: &Side<'_>, usual: Option<&Sums>) -> bool {
        self.running.end(lately, usual, Marks::shared(1));
        self.state = match self.rule.when() {
            Test::Threshold { sli: sli @ (Sli::Cpu | Sli::Memory), sustained_ms, .. } => {
                let sustained = sustained_ms.unwrap_or(DurationMs(0));
                let holds = self.measured.is_some_and(|measured| measured.is_reason(sli, sustained));
                if holds { State::Regressed } else { State::Ok }
            }
            Test::Threshold { sli: Sli::MonthlySpend, operator, .. } => {
                self.measured.map_or(State::Ok, |measured| near(operator, measured))
            }
            _ => self.running.state(lately, Marks::shared(1)).unwrap_or(State::Ok),
        };
        self.well = if self.state == State::Ok { self.well.saturating_add(1) } else { 0 };
        if self.well >= WELL_SLOTS {
            self.arm(false);
        }
        let acts = self.state == State::Regressed && !self.acted;
        self.acted |= acts;
        acts
    }

    /// Another release runs: what was seen of the one before is not held against it, and the rule may act again. What the month
    /// costs goes on.
    pub(super) fn released(&mut self, at: Slot) {
        if self.sli() != Sli::MonthlySpend {
            *self = AppRule::new(self.rule.clone(), at);
        }
    }

    /// It may act again: the app was well for long enough, or another month has begun.
    pub(super) fn arm(&mut self, of_spend: bool) {
        if (self.sli() == Sli::MonthlySpend) == of_spend {
            self.acted = false;
        }
    }

    /// The numbers.
    pub(super) fn reason(&self, lately: &Side<'_>) -> Reason {
        match self.measured {
            Some(measured) => Reason::Threshold { sli: self.sli(), measured },
            None => self.running.reason(lately, 1),
        }
    }
}

fn spent(bound: Bound, seen: &AppSeen<'_>) -> Option<Measured> {
    let bound = bound.value(seen.budget_micros)?;
    let (value, passed, counted) = (seen.expected_micros, DurationMs(0), Rate::default());
    Some(Measured { value, bound, passed, counted })
}

/// People are warned from 80 % of the bound on.
fn near(operator: Operator, Measured { value, bound, .. }: Measured) -> State {
    let nearly = u128::from(value) * 100 >= u128::from(bound) * u128::from(WARN_PERCENT);
    if operator.holds(value, bound) {
        State::Regressed
    } else if bound > 0 && nearly {
        State::Suspect
    } else {
        State::Ok
    }
}
