//! What a watch over an app says is new at the end of a slot.

use serde::{Deserialize, Serialize};

use super::burn::BurnRule;
use super::guardrail::{Guardrail, Sli};
use super::slot::Slot;
use super::verdict::{Reason, State, Verdict};
use crate::ids::{FlagKey, Revision, SplitId, VariantKey};

/// What is new at the end of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum News {
    /// What is known of a variant changed.
    Known {
        /// Of which flag.
        flag: FlagKey,
        /// Of which split.
        split: SplitId,
        /// What is known.
        verdict: Verdict,
    },
    /// What is known of a rule of the app itself changed.
    App {
        /// Which of its rules, by its place.
        rule: u8,
        /// What it is held to be.
        state: State,
        /// The numbers.
        reason: Reason,
    },
    /// A rule holds: what it says should be done. Told once for what is measured.
    Act(Proposed),
    /// Somebody has to be woken. Once for an incident, however much is part of it.
    Page(Page),
}

/// What a rule says should be done, with what it says so from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    /// The slot it was found in.
    pub slot: Slot,
    /// What was measured. Absent: the app itself.
    pub measured: Option<Measurand>,
    /// On what it acts.
    pub sli: Sli,
    /// The rule, with its actions.
    pub rule: Guardrail,
    /// The numbers.
    pub reason: Reason,
}

/// A variant as it was served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurand {
    /// The flag.
    pub flag: FlagKey,
    /// The split.
    pub split: SplitId,
    /// The variant.
    pub variant: VariantKey,
    /// The flag's last revision that changed what the split serves.
    pub revision: Revision,
}

/// Why somebody is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Page {
    /// Variants do badly, and something else is wrong at the same time that none of them can be blamed for.
    CommonMode {
        /// How many splits alarmed within the last minute.
        alarmed: u32,
    },
    /// A rule of the app itself acts.
    App,
    /// The errors that the app's objective allows are used up too fast.
    Burning(BurnRule),
}
