//! What a watch over an app is made of: what it is told to watch, and slots, in the order in which they came. The same
//! inputs make the same news to the bit, so they are what is stored as evidence.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::app::{AppSlot, AppWatch, Objectives};
use super::guardrail::Guardrail;
use super::news::News;
use super::spend::Estimate;
use super::watch::Plan;
use crate::ids::{FlagKey, SplitId};
use crate::release::ArtifactDigest;
use crate::time::UnixMs;

/// One thing that a watch over an app is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Input {
    /// The rules of the app itself and what it promises, from now on.
    App {
        /// All of them.
        rules: Vec<Guardrail>,
        /// What it promises.
        objectives: Objectives,
    },
    /// A split is watched from now on; one that was already begins anew. Where the same artifact runs as when it was watched
    /// before, what was found then goes on counting.
    Watch {
        /// Of which flag.
        flag: FlagKey,
        /// Which.
        split: SplitId,
        /// The rules that hold for it.
        rules: Vec<Guardrail>,
        /// When the rollout was started that it is watched for, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rollout: Option<UnixMs>,
    },
    /// A split's rules do something else when they hold; when they do is the same. What was seen goes on counting.
    Rules {
        /// Of which flag.
        flag: FlagKey,
        /// Which.
        split: SplitId,
        /// The rules, in the same order.
        rules: Vec<Guardrail>,
    },
    /// A split is watched no more.
    Unwatch {
        /// Of which flag.
        flag: FlagKey,
        /// Which.
        split: SplitId,
    },
    /// A split is watched no more, and nothing that was found of it while the current artifact ran counts again: somebody
    /// changed what it serves.
    Forget {
        /// Of which flag.
        flag: FlagKey,
        /// Which.
        split: SplitId,
    },
    /// What a revision of a flag serves the units of a split.
    Plan {
        /// Of which flag.
        flag: FlagKey,
        /// Which.
        split: SplitId,
        /// Variants and their weights.
        plan: Plan,
    },
    /// Whether a rollout of a split runs.
    RolloutRuns {
        /// Of which flag.
        flag: FlagKey,
        /// Which.
        split: SplitId,
        /// Whether it does.
        runs: bool,
    },
    /// What the month costs in the app's other environments: its budget is for all of them.
    Elsewhere {
        /// Their sum.
        spend: Estimate,
    },
    /// Another artifact runs from now on; none: it is not known which.
    Released {
        /// Which.
        artifact: Option<ArtifactDigest>,
    },
    /// A slot closed.
    Slot(AppSlot),
}

/// A watch, and what it was told since. Where it stands follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The watch as it was.
    pub base: AppWatch,
    /// What it was told since, in order.
    pub inputs: Vec<Input>,
}

impl AppWatch {
    /// Folds an input in and says what is new then.
    pub fn fold(&mut self, input: &Input) -> Vec<News> {
        match input {
            Input::App { rules, objectives } => self.obey(rules, *objectives),
            Input::Watch { flag, split, rules, .. } => {
                let usual = self.usual().cloned();
                self.watch(flag.clone(), split.clone(), rules.clone(), usual);
            }
            Input::Rules { flag, split, rules } => self.act_by(flag, split, rules.clone()),
            Input::Unwatch { flag, split } => self.unwatch(flag, split),
            Input::Forget { flag, split } => self.forget(flag, split),
            Input::Plan { flag, split, plan } => self.plan(flag, split, plan.clone()),
            Input::RolloutRuns { flag, split, runs } => self.rollout_runs(flag, split, *runs),
            Input::Elsewhere { spend } => self.spent_elsewhere(*spend),
            Input::Released { artifact } => self.released(*artifact),
            Input::Slot(slot) => return self.step(slot),
        }
        Vec::new()
    }
}

impl Recording {
    /// Folds all again: the watch as it stands then, and what was new at the last input.
    pub fn replay(&self) -> (AppWatch, Vec<News>) {
        let mut watch = self.base.clone();
        let mut news = Vec::new();
        for input in &self.inputs {
            news = watch.fold(input);
        }
        (watch, news)
    }
}
