//! How far a tier lets flags go in production: the less a build had to show, the fewer are served by it.

use serde::{Deserialize, Serialize};

use crate::flag::Targeting;
use crate::percent::Exposure;
use crate::plan::RolloutPlan;
use crate::time::{DurationMs, HOUR};

/// The longest that a tier can let a flag live in production.
pub const MAX_FLAG_LIFE: DurationMs = DurationMs::days(3_650);

/// What a tier leaves to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FlagLimits {
    /// How far pipelines may take a flag in production by themselves.
    pub pipelines: Reach,
    /// How far people may, with the gate standing and the approvals that are asked.
    pub people: Reach,
    /// The longest life of a flag in production, from now, when it is made or extended: one hour to 3,650 days. None: as the setting
    /// `expiry.longest` says. Of both the shorter counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_life_ms: Option<DurationMs>,
}

/// How many a flag may be turned on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "FlagReach"))]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// For the units of one list of targets: no rules, and 0 % of everybody else.
    OneList,
    /// For targets, and for so many percent of everybody else. No rules, which no percentage bounds.
    UpTo(Exposure),
    /// For everybody, step by step: exposure and rules grow by a rollout plan of two stages or more.
    Staged,
    /// For everybody, at once.
    Everyone,
}

/// How a change takes a flag on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    /// By setting what it does, now or on schedule.
    Set,
    /// By the stages of a plan.
    Plan(&'a RolloutPlan),
}

/// A policy from before tiers had limits of their own: what held then.
impl Default for FlagLimits {
    fn default() -> FlagLimits {
        FlagLimits { pipelines: Reach::Everyone, people: Reach::Everyone, longest_life_ms: None }
    }
}

impl FlagLimits {
    /// Whether nothing is limited.
    pub(super) fn is_none(&self) -> bool {
        *self == FlagLimits::default()
    }

    pub(super) fn check(&self, say: &mut dyn FnMut(&str, &str)) {
        if self.longest_life_ms.is_some_and(|life| !(HOUR..=MAX_FLAG_LIFE).contains(&life)) {
            say("flags.longest_life_ms", "use one hour to 3,650 days, in milliseconds");
        }
        for (field, reach) in [("flags.pipelines", self.pipelines), ("flags.people", self.people)] {
            if reach == Reach::UpTo(Exposure::NONE) {
                say(field, "to turn flags on for listed users alone, say `one_list`");
            }
        }
    }
}

impl Reach {
    /// Whether it lets a flag be taken from one targeting to another that serves more.
    pub(crate) fn allows(self, before: &Targeting, after: &Targeting, way: Way<'_>) -> bool {
        let steps = after.schedule.iter().filter_map(|step| step.exposure);
        let highest = steps.fold(after.exposure, Exposure::max);
        // Rules are not gated by exposure: turning them on is a raise without measure.
        let rules_come = after.rules != before.rules || (!before.on && !after.rules.is_empty());
        let serve_moves = after.serve != before.serve || after.prerequisites != before.prerequisites;
        let unmeasured = rules_come || (serve_moves && before.on);
        match (self, way) {
            (Reach::Everyone, _) => true,
            (Reach::OneList, _) => {
                after.targets.len() <= 1 && after.rules.is_empty() && highest == Exposure::NONE
            }
            (Reach::UpTo(cap), _) => highest <= cap && !unmeasured,
            (Reach::Staged, Way::Plan(plan)) => plan.stages.len() > 1,
            (Reach::Staged, Way::Set) => {
                let served = if before.on { before.exposure } else { Exposure::NONE };
                highest <= served && !unmeasured
            }
        }
    }
}

impl core::fmt::Display for Reach {
    /// What may be done, as in "people may" do it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Reach::OneList => f.write_str("turn it on for one list of targets, with exposure 0 and no rules"),
            Reach::UpTo(cap) => write!(f, "raise its exposure to at most {cap} %, and touch no rules"),
            Reach::Staged => f.write_str("raise it by a rollout plan of at least two stages"),
            Reach::Everyone => f.write_str("turn it on for everybody"),
        }
    }
}
