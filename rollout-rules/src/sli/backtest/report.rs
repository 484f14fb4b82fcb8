//! What came of trying rules.

use alloc::vec::Vec;

use super::account::Account;
use super::rules::Tried;
use super::spans::Span;
use crate::ids::{FlagKey, SplitId, VariantKey};
use crate::sli::guardrail::{Operator, Test};
use crate::sli::nats::Nats;
use crate::sli::news::Measurand;
use crate::sli::recorded::Acted;
use crate::sli::slot::Slot;
use crate::sli::verdict::{Reason, State};
use crate::time::{DAY, UnixMs};

/// What was found, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The slot, or the first of a sum's.
    pub slot: Slot,
    /// How many slots were judged at once: 1, or 30.
    pub slots: u32,
    /// The numbers.
    pub reason: Reason,
}

impl Found {
    /// When it was known: the end of the slot, or of the sum.
    pub fn at(&self) -> UnixMs {
        self.slot.plus(self.slots.saturating_sub(1)).ends_at()
    }
}

/// A rule would have acted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fired {
    /// The rule, by its place.
    pub rule: usize,
    /// On what; none: the app itself.
    pub measured: Option<Measurand>,
    /// What was found.
    pub found: Found,
    /// What had been served by then.
    pub served: Served,
    /// What a guardrail really did then, by its place among the acts.
    pub really: Option<usize>,
}

/// What had been served of a variant since it was watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// When the first request of it was reported.
    pub first: Option<UnixMs>,
    /// Requests of the variant.
    pub requests: u64,
    /// Requests of all variants of the split.
    pub all: u64,
}

/// How near a rule came to acting.
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    /// What was found, and when.
    pub found: Found,
    /// Of which variant; none: of the app itself.
    pub of: Option<(FlagKey, SplitId, VariantKey)>,
    /// What it was held to be.
    pub state: State,
}

/// One rule, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleReport {
    /// The rule.
    pub tried: Tried,
    /// When it would have acted beside the other rules that were tried.
    pub fired: Vec<Fired>,
    /// When it would have acted alone, where others acted before it.
    pub alone: Vec<Fired>,
    /// Where it came nearest to acting.
    pub nearest: Option<Near>,
    /// What it was judged by, and what could not be judged.
    pub account: Account,
}

/// What came of it in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It would have acted.
    Fired,
    /// It would have, but for another rule that acted before.
    FiredAlone,
    /// It would not have.
    NotFired,
    /// What was recorded does not tell.
    NotJudged,
}

/// All that came of trying rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Each rule.
    pub rules: Vec<RuleReport>,
    /// What guardrails really did, in order.
    pub acted: Vec<Acted>,
    /// What is known from when to when.
    pub spans: Vec<Span>,
}

impl RuleReport {
    /// What came of it in one word.
    pub fn outcome(&self) -> Outcome {
        match (self.fired.is_empty(), self.alone.is_empty(), self.account.is_judged()) {
            (false, ..) => Outcome::Fired,
            (true, false, _) => Outcome::FiredAlone,
            (true, true, true) => Outcome::NotFired,
            (true, true, false) => Outcome::NotJudged,
        }
    }
}

impl Fired {
    /// Puts beside it what really happened: the act, and no notice or drill, on the same flag that is nearest in time, within a day and not before
    /// the variant was served.
    pub(super) fn set_beside(&mut self, acted: &[Acted]) {
        let (at, first) = (self.found.at(), self.served.first);
        let flag = self.measured.as_ref().map(|measured| &measured.flag);
        let distance = |act: &Acted| act.at.since(at).0.max(at.since(act.at).0);
        let is_it = |act: &Acted| {
            let near = act.is_action && distance(act) <= DAY.0;
            act.flag.as_ref() == flag && near && first.is_none_or(|first| act.at >= first)
        };
        let fitting = acted.iter().enumerate().filter(|(_, act)| is_it(act));
        self.really = fitting.min_by_key(|(_, act)| distance(act)).map(|(place, _)| place);
    }
}

/// How near numbers are to a rule's acting: what is compared by its evidence, a bound by for how long it was passed, and
/// then by how nearly it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Closeness(Nats, u64, u64);

impl Closeness {
    pub(super) fn of(test: Test, reason: &Reason) -> Option<Closeness> {
        match (reason, test) {
            (Reason::Compared { evidence, .. }, _) => Some(Closeness(evidence.log, 0, evidence.bad_units)),
            (Reason::Absolute { log, bad, .. }, _) => Some(Closeness(*log, 0, *bad)),
            (Reason::Threshold { measured, .. }, Test::Threshold { operator, .. }) => {
                let (over, under) = match operator {
                    Operator::Above | Operator::AtLeast => (measured.value, measured.bound),
                    Operator::Below | Operator::AtMost => (measured.bound, measured.value),
                };
                let part = u128::from(over) * 1_000_000 / u128::from(under.max(1));
                let part = u64::try_from(part).unwrap_or(u64::MAX);
                Some(Closeness(Nats(i64::MIN), measured.passed.0, part))
            }
            _ => None,
        }
    }
}
