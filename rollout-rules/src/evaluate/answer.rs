//! What a check answers, and why.

use alloc::sync::Arc;

use serde_json::Value;

use crate::compile::{CompiledFlag, CompiledServe, CompiledSplit, Definition, Unit};
use crate::context::Context;
use crate::flag::{FlagKind, Height, HoldCause, Variant};
use crate::ids::{FlagKey, Revision, RuleId, SplitId, VariantKey};
use crate::sli::UnitHash;
use crate::tally::Cell;

/// Why a flag answers as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was killed; the off variant.
    Killed(Height),
    /// Automation holds it at its off variant.
    Held(HoldCause),
    /// Its life is over; the off variant.
    Expired,
    /// The life of its preview is over; the off variant.
    EnvironmentEnded,
    /// It is off.
    Off,
    /// A flag that it depends on does not answer as it should; the off variant.
    PrerequisiteFailed,
    /// The unit is on a list.
    Target,
    /// A rule holds.
    Rule {
        /// Its place among the rules, from 0.
        index: u16,
    },
    /// A rule holds and splits its units.
    RuleSplit {
        /// Its place among the rules, from 0.
        index: u16,
    },
    /// The flag splits its units.
    Split,
    /// The rollout has reached the unit.
    Exposed,
    /// What everyone gets.
    Default,
    /// The rollout has not reached the unit; the off variant.
    NotExposed,
    /// There is no unit to decide by; the off variant.
    NoUnit,
    /// What it should serve cannot be used; the off variant.
    Broken,
}

impl Reason {
    /// Whether the answer is one that the flag's targeting gives, and not the off variant for want of one.
    pub const fn serves(self) -> bool {
        match self {
            Reason::Target
            | Reason::Rule { .. }
            | Reason::RuleSplit { .. }
            | Reason::Split
            | Reason::Exposed
            | Reason::Default => true,
            Reason::Killed(_)
            | Reason::Held(_)
            | Reason::Expired
            | Reason::EnvironmentEnded
            | Reason::Off
            | Reason::PrerequisiteFailed
            | Reason::NotExposed
            | Reason::NoUnit
            | Reason::Broken => false,
        }
    }

    /// The place of the rule that decided, if one did.
    pub(crate) const fn rule_index(self) -> Option<u16> {
        match self {
            Reason::Rule { index } | Reason::RuleSplit { index } => Some(index),
            _ => None,
        }
    }

    /// What kind of reason, for the metadata of answers: `tidegate.reason`.
    pub const fn cause(self) -> &'static str {
        match self {
            Reason::Killed(_) => "killed",
            Reason::Held(_) => "held",
            // These have no kinds of their own.
            _ => self.code(),
        }
    }

    /// A name for logs, metadata and golden vectors. It never changes.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::Killed(Height::Everything) => "killed_everything",
            Reason::Killed(Height::App) => "killed_app",
            Reason::Killed(Height::Flag) => "killed_flag",
            Reason::Held(HoldCause::Guardrail) => "held_guardrail",
            Reason::Held(HoldCause::Budget) => "held_budget",
            Reason::Held(HoldCause::Gate) => "held_gate",
            Reason::Expired => "expired",
            Reason::EnvironmentEnded => "environment_ended",
            Reason::Off => "off",
            Reason::PrerequisiteFailed => "prerequisite_failed",
            Reason::Target => "target",
            Reason::Rule { .. } => "rule",
            Reason::RuleSplit { .. } => "rule_split",
            Reason::Split => "split",
            Reason::Exposed => "exposed",
            Reason::Default => "default",
            Reason::NotExposed => "not_exposed",
            Reason::NoUnit => "no_unit",
            Reason::Broken => "broken",
        }
    }
}

/// A reason in OpenFeature's words. Its clients refuse words that they do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandardReason {
    /// Off, whoever asks.
    Disabled,
    /// A list or a rule named the unit.
    TargetingMatch,
    /// A bucket decided.
    Split,
    /// Everybody gets it, and nothing else is set.
    Static,
    /// Nothing else decided.
    Default,
    /// None that OpenFeature has a word for.
    Unknown,
}

impl StandardReason {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            StandardReason::Disabled => "DISABLED",
            StandardReason::TargetingMatch => "TARGETING_MATCH",
            StandardReason::Split => "SPLIT",
            StandardReason::Static => "STATIC",
            StandardReason::Default => "DEFAULT",
            StandardReason::Unknown => "UNKNOWN",
        }
    }
}

/// The split that units reached by a rollout and those that it has not reached form, where the flag itself has none:
/// the variant against the off variant. People's splits have other names.
pub const EXPOSURE_SPLIT: &str = ".exposure";

/// What the outcome of a request with an answer counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The split that chose the variant.
    pub split: SplitId,
    /// The unit that it chose for. None: everyone gets the variant, and nobody said who asks.
    pub unit: Option<UnitHash>,
}

/// What a flag answers.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    pub(super) flag: &'a CompiledFlag,
    pub(super) variant: u16,
    /// Why.
    pub reason: Reason,
}

impl<'a> Answer<'a> {
    /// The variant's name.
    pub fn variant(&self) -> &'a VariantKey {
        &self.whole().key
    }

    /// What the app receives.
    pub fn value(&self) -> &'a Value {
        &self.whole().value
    }

    /// The reason in OpenFeature's words.
    pub fn standard_reason(&self) -> StandardReason {
        let targeting = &self.flag.state.targeting;
        match self.reason {
            Reason::Killed(_)
            | Reason::Held(_)
            | Reason::Expired
            | Reason::EnvironmentEnded
            | Reason::Off => StandardReason::Disabled,
            Reason::Target | Reason::Rule { .. } => StandardReason::TargetingMatch,
            Reason::RuleSplit { .. } | Reason::Split | Reason::Exposed => StandardReason::Split,
            Reason::Default
                if targeting.rules.is_empty()
                    && targeting.targets.is_empty()
                    && self.flag.told().is_none_or(|told| !told.targeted) =>
            {
                StandardReason::Static
            }
            Reason::Default | Reason::PrerequisiteFailed | Reason::NotExposed | Reason::NoUnit => {
                StandardReason::Default
            }
            Reason::Broken => StandardReason::Unknown,
        }
    }

    /// The variant's place within the flag.
    pub fn index(&self) -> u16 {
        self.variant
    }

    /// Where an answer like this is counted.
    #[inline]
    pub fn cell(&self) -> Cell {
        self.flag.first_cell.after(self.variant)
    }

    /// The flag's name.
    pub fn key(&self) -> &'a FlagKey {
        &self.flag.key
    }

    /// The log revision that last changed the flag.
    pub fn revision(&self) -> Revision {
        self.flag.revision
    }

    /// What the flag's values are.
    pub fn kind(&self) -> FlagKind {
        self.flag.flag.kind
    }

    /// The flag that answers.
    pub fn flag(&self) -> &'a CompiledFlag {
        self.flag
    }

    /// The flag's definition, with the serialized answers.
    pub fn definition(&self) -> &'a Arc<Definition> {
        &self.flag.definition
    }

    /// The middle of the OFREP answer, without braces: `"key":"k","variant":"on","value":true`. In WebAssembly, where nobody
    /// asks by OFREP, there is none.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn serialized(&self) -> &'a str {
        self.definition().answer(self.variant)
    }

    /// The rule that decided.
    pub fn rule(&self) -> Option<&'a RuleId> {
        let index = self.reason.rule_index()?;
        self.flag.state.targeting.rules.get(usize::from(index)).map(|rule| &rule.id)
    }

    /// The split that decided.
    pub fn split(&self) -> Option<&'a SplitId> {
        match self.reason {
            Reason::Split | Reason::RuleSplit { .. } if self.flag.told().is_some() => self.told_split(),
            _ => self.compiled_split().map(|split| &split.id),
        }
    }

    fn told_split(&self) -> Option<&'a SplitId> {
        let steps = &self.flag.told()?.steps;
        steps.iter().find(|step| step.reason.reason() == self.reason)?.split.as_ref()
    }

    /// The variant that the others of the split are compared with.
    pub fn control(&self) -> Option<&'a VariantKey> {
        let control = self.compiled_split()?.control?;
        Some(&self.flag.flag.variants[usize::from(control)].key)
    }

    /// What the outcome of a request with this answer to this context counts for. `None` if neither a split nor the
    /// exposure chose the variant: people on lists, and those that a rule names, differ from the rest.
    ///
    /// Of an answer that was found elsewhere the unit is known there, and not here.
    pub fn assigned(&self, context: &Context) -> Option<Assigned> {
        if self.flag.told().is_some() {
            return self.told_split().map(|split| Assigned { split: split.clone(), unit: None });
        }
        match self.reason {
            Reason::Split | Reason::RuleSplit { .. } => {
                let split = self.compiled_split()?;
                let unit = split.unit(context).and_then(Unit::of)?;
                Some(Assigned { split: split.id.clone(), unit: Some(unit.reported()) })
            }
            Reason::Exposed | Reason::NotExposed | Reason::Default => {
                // Of a split's units those that are not reached yet are in none of its shares.
                let CompiledServe::Variant(_) = self.flag.serve.as_ref()? else { return None };
                let unit = context.unit().and_then(Unit::of).map(Unit::reported);
                SplitId::new(EXPOSURE_SPLIT).ok().map(|split| Assigned { split, unit })
            }
            _ => None,
        }
    }

    fn compiled_split(&self) -> Option<&'a CompiledSplit> {
        let serve = match self.reason {
            Reason::Split => self.flag.serve.as_ref(),
            Reason::RuleSplit { index } => {
                let rules = &self.flag.program.as_ref()?.rules;
                rules.iter().find(|rule| rule.index == index).map(|rule| &rule.serve)
            }
            _ => None,
        };
        match serve {
            Some(CompiledServe::Split(split)) => Some(split),
            _ => None,
        }
    }

    fn whole(&self) -> &'a Variant {
        &self.flag.flag.variants[usize::from(self.variant)]
    }
}
