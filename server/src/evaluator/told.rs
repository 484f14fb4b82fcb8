//! What a watch was told to watch, so that it is told only what is new.

use std::collections::BTreeMap;

use rollout_rules::ids::{FlagKey, SplitId, VariantKey};
use rollout_rules::release::ArtifactDigest;
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{Estimate, Input, Objectives, Plan};
use rollout_rules::time::UnixMs;

use super::wanted::{Wanted, WantedSplit};

/// What was told, as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    app: Option<(Vec<Guardrail>, Objectives)>,
    elsewhere: Estimate,
    artifact: Option<ArtifactDigest>,
    splits: BTreeMap<(FlagKey, SplitId), ToldSplit>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ToldSplit {
    rules: Vec<Guardrail>,
    rollout: Option<UnixMs>,
    plan: Option<Plan>,
    runs: bool,
}

impl Told {
    /// Takes in that an input was told.
    pub(super) fn note(&mut self, input: &Input) {
        match input {
            Input::App { rules, objectives } => self.app = Some((rules.clone(), *objectives)),
            Input::Watch { flag, split, rules, rollout } => {
                let told = ToldSplit { rules: rules.clone(), rollout: *rollout, ..ToldSplit::default() };
                self.splits.insert((flag.clone(), split.clone()), told);
            }
            Input::Rules { flag, split, rules } => {
                self.change(flag, split, |told| told.rules.clone_from(rules));
            }
            Input::Unwatch { flag, split } | Input::Forget { flag, split } => {
                self.splits.remove(&(flag.clone(), split.clone()));
            }
            Input::Plan { flag, split, plan } => {
                self.change(flag, split, |told| told.plan = Some(plan.clone()));
            }
            Input::RolloutRuns { flag, split, runs } => self.change(flag, split, |told| told.runs = *runs),
            Input::Elsewhere { spend } => self.elsewhere = *spend,
            Input::Released { artifact } => self.artifact = *artifact,
            Input::Slot(_) => {}
        }
    }

    fn change(&mut self, flag: &FlagKey, split: &SplitId, change: impl FnOnce(&mut ToldSplit)) {
        if let Some(told) = self.splits.get_mut(&(flag.clone(), split.clone())) {
            change(told);
        }
    }

    /// What has to be told so that what is wanted is watched.
    pub(super) fn missing(&self, wanted: &Wanted) -> Vec<Input> {
        let mut missing = Vec::new();
        let same = |(rules, objectives): &(Vec<Guardrail>, Objectives)| {
            *rules == wanted.rules && *objectives == wanted.objectives
        };
        if !self.app.as_ref().is_some_and(same) {
            missing.push(Input::App { rules: wanted.rules.clone(), objectives: wanted.objectives });
        }
        if self.elsewhere != wanted.elsewhere {
            missing.push(Input::Elsewhere { spend: wanted.elsewhere });
        }
        // Before another artifact is told: what is forgotten was found while the one before ran.
        for (flag, split) in self.places(true) {
            missing.push(Input::Forget { flag: flag.clone(), split: split.clone() });
        }
        // Before what is watched anew: whether it goes on where it was hangs on what runs.
        if self.artifact != wanted.artifact {
            missing.push(Input::Released { artifact: wanted.artifact });
        }
        for (flag, split) in self.places(false) {
            let at = wanted.splits.binary_search_by(|one| (&one.flag, &one.split).cmp(&(flag, split)));
            if at.is_err() {
                missing.push(Input::Unwatch { flag: flag.clone(), split: split.clone() });
            }
        }
        for one in &wanted.splits {
            let told = self.splits.get(&(one.flag.clone(), one.split.clone()));
            let told = told.filter(|told| !told.is_forgotten());
            one.add_missing(told, &mut missing);
        }
        missing
    }

    /// The splits that are to be forgotten, or those that are not.
    fn places(&self, forgotten: bool) -> impl Iterator<Item = &(FlagKey, SplitId)> {
        let some = self.splits.iter().filter(move |(_, told)| told.is_forgotten() == forgotten);
        some.map(|(place, _)| place)
    }

    /// A split is watched anew from the next slot on, or no more, if nobody wants it then: nothing that was found of it counts.
    pub(super) fn forget(&mut self, flag: &FlagKey, split: &SplitId) {
        // It stays known, so that it can be ended.
        self.change(flag, split, |told| *told = ToldSplit::default());
    }

    /// The revision whose plan was told last.
    pub(super) fn plan(&self, flag: &FlagKey, split: &SplitId) -> Option<&Plan> {
        self.splits.get(&(flag.clone(), split.clone()))?.plan.as_ref()
    }

    /// What runs, if that was told.
    pub(super) fn artifact(&self) -> Option<ArtifactDigest> {
        self.artifact
    }

    /// What is watched.
    pub(super) fn splits(&self) -> impl Iterator<Item = &(FlagKey, SplitId)> {
        self.splits.keys()
    }
}

impl ToldSplit {
    /// Whether what was found of it is to be forgotten: who is watched was told a plan.
    fn is_forgotten(&self) -> bool {
        self.plan.is_none()
    }
}

impl WantedSplit {
    fn add_missing(&self, told: Option<&ToldSplit>, missing: &mut Vec<Input>) {
        let control = |plan: &Option<Plan>| -> Option<VariantKey> { plan.as_ref()?.control.clone() };
        // Another rollout is another experiment, and so is another control: what was seen before does not count.
        let goes_on = told.filter(|told| {
            let same_control = control(&told.plan) == self.plan.control || self.plan.control.is_none();
            let tests = |rules: &[Guardrail]| rules.iter().map(Guardrail::when).collect::<Vec<_>>();
            tests(&told.rules) == tests(&self.rules) && told.rollout == self.rollout && same_control
        });
        let (flag, split) = (&self.flag, &self.split);
        if goes_on.is_none() {
            missing.push(Input::Watch {
                flag: flag.clone(),
                split: split.clone(),
                rules: self.rules.clone(),
                rollout: self.rollout,
            });
        }
        if goes_on.is_some_and(|told| told.rules != self.rules) {
            let (flag, split, rules) = (flag.clone(), split.clone(), self.rules.clone());
            missing.push(Input::Rules { flag, split, rules });
        }
        if goes_on.and_then(|told| told.plan.as_ref()) != Some(&self.plan) {
            missing.push(Input::Plan { flag: flag.clone(), split: split.clone(), plan: self.plan.clone() });
        }
        if goes_on.is_some_and(|told| told.runs) != self.runs {
            missing.push(Input::RolloutRuns { flag: flag.clone(), split: split.clone(), runs: self.runs });
        }
    }
}

impl Told {
    /// The inputs that it comes of.
    pub(super) fn inputs(&self) -> Vec<Input> {
        let app = self.app.iter().map(|(rules, objectives)| {
            let (rules, objectives) = (rules.clone(), *objectives);
            Input::App { rules, objectives }
        });
        let splits = self.splits.iter().flat_map(|((flag, split), told)| {
            let (flag, split) = (flag.clone(), split.clone());
            let watch = Input::Watch {
                flag: flag.clone(),
                split: split.clone(),
                rules: told.rules.clone(),
                rollout: told.rollout,
            };
            let plan = told.plan.iter().cloned();
            let plan = plan.map(|plan| Input::Plan { flag: flag.clone(), split: split.clone(), plan });
            let runs = Input::RolloutRuns { flag: flag.clone(), split: split.clone(), runs: told.runs };
            [watch].into_iter().chain(plan).chain([runs]).collect::<Vec<_>>()
        });
        let elsewhere = [Input::Elsewhere { spend: self.elsewhere }];
        let released = self.artifact.map(|artifact| Input::Released { artifact: Some(artifact) });
        app.chain(elsewhere).chain(released).chain(splits).collect()
    }
}
