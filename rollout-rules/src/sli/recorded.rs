//! What was recorded of an app in an environment, as a server tells it and a file keeps it: a line for each slot, and
//! between them, where they took effect, what was planned to be served and what guardrails really did. Other rules
//! are tried on it by a [`Backtest`](super::backtest::Backtest).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::app::{AppSlot, Objectives, SplitSlot};
use super::guardrail::Guardrail;
use super::input::{Input, Recording};
use super::outcomes::Outcomes;
use super::slot::Slot;
use super::watch::Plan;
use crate::ids::{AppKey, EnvKey, FlagKey, Revision, SplitId, VariantKey};
use crate::runbook::Cause;
use crate::time::UnixMs;

/// The version of this form. A reader that finds another one does not guess.
pub const RECORDING_VERSION: u32 = 1;
/// How many slots a sum has: five minutes of them.
pub const SUM_SLOTS: u32 = 30;

/// One line. Lines are in the order of time; a sum follows the slots of its five minutes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Recorded {
    /// The first line: of what it is.
    Recording(About),
    /// What the app promises and may cost, from here on.
    App(Objectives),
    /// What a split serves from here on.
    Serves(Serves),
    /// A split serves nobody any more.
    Ends {
        /// From which slot on.
        from: Slot,
        /// Of which flag.
        flag: FlagKey,
        /// Which.
        split: SplitId,
    },
    /// Ten seconds. Slots that are left out are those for which nobody reported anything, or of which only a sum is kept.
    Slot(AppSlot),
    /// Five minutes, where no slots are kept.
    Sum(AppSum),
    /// A guardrail acted.
    Acted(Acted),
    /// The last line. Without it a recording is not whole.
    End {
        /// The end of the last slot that was closed.
        until: UnixMs,
    },
}

/// Of what a recording is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The version of the form.
    pub version: u32,
    /// The app.
    pub app: AppKey,
    /// The environment.
    pub environment: EnvKey,
    /// The flag; none: all of the app's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<FlagKey>,
    /// From when on it was asked for.
    pub since: UnixMs,
    /// The rules that were in force when it was made.
    pub rules: RulesInForce,
}

/// The rules of an app and its flags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesInForce {
    /// Those that the app itself is judged by.
    pub app: Vec<Guardrail>,
    /// Those of each flag that has any.
    pub flags: BTreeMap<FlagKey, Vec<Guardrail>>,
}

/// What a split serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serves {
    /// From which slot on.
    pub from: Slot,
    /// Of which flag.
    pub flag: FlagKey,
    /// Which.
    pub split: SplitId,
    /// Variants and their weights.
    pub plan: Plan,
    /// When the last rollout was started, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<UnixMs>,
    /// Whether it runs.
    pub runs: bool,
}

/// Five minutes of an app in an environment, without units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSum {
    /// The first of its slots.
    pub slot: Slot,
    /// How many it has: [`SUM_SLOTS`].
    pub slots: u32,
    /// What became of all of the app's requests, if that was told and is not kept slot by slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Outcomes>,
    /// Splits with requests, in the order of flags and splits.
    pub splits: Vec<SplitSlot>,
}

/// What a guardrail really did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acted {
    /// When.
    pub at: UnixMs,
    /// The entry of the log.
    pub revision: Revision,
    /// To which flag; none: the app itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<FlagKey>,
    /// For which variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantKey>,
    /// The revision of the flag that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Revision>,
    /// Why.
    pub cause: Cause,
    /// Whether it did more than tell somebody, and was no drill.
    #[serde(default = "did_something")]
    pub is_action: bool,
    /// What was done, in words.
    pub words: String,
    /// What it was found from, in words.
    pub reason: String,
}

/// Of what was recorded before that was noted.
fn did_something() -> bool {
    true
}

impl Recording {
    /// What evidence was found from, as other rules are tried on it, with the rules that were in force. What was known before
    /// it begins is not in it.
    pub fn recorded(&self) -> (RulesInForce, Vec<Recorded>) {
        let mut rules =
            RulesInForce { app: self.base.own_rules().cloned().collect(), ..RulesInForce::default() };
        let mut lines = vec![Recorded::App(self.base.objectives())];
        let mut known: BTreeMap<(FlagKey, SplitId), Serves> = BTreeMap::new();
        let from = self.base.next();
        for (flag, split, of_flag, (plans, runs)) in self.base.told() {
            rules.flags.insert(flag.clone(), of_flag.to_vec());
            for plan in plans {
                let (flag, split, plan) = (flag.clone(), split.clone(), plan.clone());
                let serves = Serves { from, flag, split, plan, rollout: None, runs };
                known.insert((serves.flag.clone(), serves.split.clone()), serves.clone());
                lines.push(Recorded::Serves(serves));
            }
        }
        let mut from = from;
        let mut rollouts: BTreeMap<(FlagKey, SplitId), Option<UnixMs>> = BTreeMap::new();
        for input in &self.inputs {
            match input {
                Input::App { rules: own, objectives } => {
                    rules.app.clone_from(own);
                    lines.push(Recorded::App(*objectives));
                }
                Input::Watch { flag, split, rules: of_flag, rollout } => {
                    rules.flags.insert(flag.clone(), of_flag.clone());
                    rollouts.insert((flag.clone(), split.clone()), *rollout);
                }
                Input::Rules { flag, rules: of_flag, .. } => {
                    rules.flags.insert(flag.clone(), of_flag.clone());
                }
                Input::Unwatch { flag, split } | Input::Forget { flag, split } => {
                    known.remove(&(flag.clone(), split.clone()));
                    lines.push(Recorded::Ends { from, flag: flag.clone(), split: split.clone() });
                }
                Input::Plan { flag, split, plan } => {
                    let place = (flag.clone(), split.clone());
                    let before = known.get(&place);
                    let rollout = rollouts.get(&place).copied().or(before.map(|before| before.rollout));
                    let (rollout, runs) = (rollout.flatten(), before.is_some_and(|before| before.runs));
                    let (flag, split, plan) = (flag.clone(), split.clone(), plan.clone());
                    let serves = Serves { from, flag, split, plan, rollout, runs };
                    known.insert(place, serves.clone());
                    lines.push(Recorded::Serves(serves));
                }
                Input::RolloutRuns { flag, split, runs } => {
                    if let Some(serves) = known.get_mut(&(flag.clone(), split.clone())) {
                        (serves.runs, serves.from) = (*runs, from);
                        lines.push(Recorded::Serves(serves.clone()));
                    }
                }
                // What is spent elsewhere, and what another artifact did, is not tried again.
                Input::Elsewhere { .. } | Input::Released { .. } => {}
                Input::Slot(slot) => {
                    from = slot.slot.plus(1);
                    lines.push(Recorded::Slot(slot.clone()));
                }
            }
        }
        lines.push(Recorded::End { until: from.starts_at() });
        (rules, lines)
    }
}

impl Serves {
    /// Whether what was seen until now counts for this as well: another rollout is another experiment, and so is another
    /// control.
    pub(super) fn goes_on_from(&self, before: &Serves) -> bool {
        let same_control = before.plan.control == self.plan.control || self.plan.control.is_none();
        before.rollout == self.rollout && same_control
    }
}
