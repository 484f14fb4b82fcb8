//! An answer that was found elsewhere: what a page is told of a flag whose rules it does not get.
//!
//! The server evaluates the flag for the page's context, for now and for each later moment at which its answer changes
//! by itself. Kills, holds, the flag's end and that it is off are not told but known, so that they act at once and come
//! before what is told, as everywhere.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::ids::{SplitId, VariantKey};
use crate::time::UnixMs;

/// What decides a flag's answer for one context, from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// What it answers while its reason is one that serves. None: it never will before something changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
    /// From when on which reason decides, by time. The first has come. Without any, something stops the flag that only
    /// a change takes away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<ToldStep>,
    /// Whether the flag has rules or lists: then what everyone else gets is a default, and not static.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub targeted: bool,
}

/// From when on which reason decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToldStep {
    /// From when on. Left out: from the beginning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at: UnixMs,
    /// Which.
    pub reason: ToldReason,
    /// The split that outcomes count for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitId>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(at: &UnixMs) -> bool {
    at.0 == 0
}

/// The reasons that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is documented on the reason of the same name")]
pub enum ToldReason {
    Off,
    PrerequisiteFailed,
    Target,
    Rule,
    RuleSplit,
    Split,
    Exposed,
    Default,
    NotExposed,
    NoUnit,
    Broken,
}

impl ToldReason {
    /// The reason; the place of a rule is not told.
    pub const fn reason(self) -> Reason {
        match self {
            ToldReason::Off => Reason::Off,
            ToldReason::PrerequisiteFailed => Reason::PrerequisiteFailed,
            ToldReason::Target => Reason::Target,
            ToldReason::Rule => Reason::Rule { index: 0 },
            ToldReason::RuleSplit => Reason::RuleSplit { index: 0 },
            ToldReason::Split => Reason::Split,
            ToldReason::Exposed => Reason::Exposed,
            ToldReason::Default => Reason::Default,
            ToldReason::NotExposed => Reason::NotExposed,
            ToldReason::NoUnit => Reason::NoUnit,
            ToldReason::Broken => Reason::Broken,
        }
    }

    /// How a reason is told. `None`: it is known, and not told.
    #[cfg(feature = "regex-build")]
    pub(crate) const fn of(reason: Reason) -> Option<ToldReason> {
        Some(match reason {
            Reason::Off => ToldReason::Off,
            Reason::PrerequisiteFailed => ToldReason::PrerequisiteFailed,
            Reason::Target => ToldReason::Target,
            Reason::Rule { .. } => ToldReason::Rule,
            Reason::RuleSplit { .. } => ToldReason::RuleSplit,
            Reason::Split => ToldReason::Split,
            Reason::Exposed => ToldReason::Exposed,
            Reason::Default => ToldReason::Default,
            Reason::NotExposed => ToldReason::NotExposed,
            Reason::NoUnit => ToldReason::NoUnit,
            Reason::Broken => ToldReason::Broken,
            Reason::Killed(_) | Reason::Held(_) | Reason::Expired | Reason::EnvironmentEnded => return None,
        })
    }
}

impl Told {
    /// What decides at a moment.
    pub(crate) fn step_at(&self, now: UnixMs) -> Option<&ToldStep> {
        self.steps.iter().rev().find(|step| step.at <= now)
    }

    /// The first moment after `now` at which another reason decides.
    pub(crate) fn next_after(&self, now: UnixMs) -> Option<UnixMs> {
        self.steps.iter().map(|step| step.at).find(|at| *at > now)
    }
}
