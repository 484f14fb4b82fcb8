//! What is known of an app, for whoever asks.

use std::sync::Arc;

use dashmap::DashMap;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, SplitId};
use rollout_rules::sli::guardrail::Guardrail;
use rollout_rules::sli::{AppWatch, ErrorBudget, Estimate, Needed, Objectives, Slot, Standing, Verdict};

/// What is known of an app in an environment at the end of a slot.
#[derive(Clone, Debug)]
pub struct AppView {
    /// The last slot that was folded in.
    pub slot: Slot,
    /// By flag and split.
    pub splits: Vec<SplitView>,
    /// What the app promises and may cost.
    pub objectives: Objectives,
    /// The errors that its objective allows, and what was used of them.
    pub errors: Option<ErrorBudget>,
    /// What the month costs here.
    pub spend: Estimate,
    /// What it costs in the app's other environments.
    pub elsewhere: Estimate,
    /// For how many slots in a row no process has reported anything.
    pub silent_slots: u32,
}

/// One split that is watched.
#[derive(Clone, Debug)]
pub struct SplitView {
    /// Of which flag.
    pub flag: FlagKey,
    /// Which.
    pub split: SplitId,
    /// The rules that it is watched by, in the order in which verdicts name them.
    pub rules: Vec<Guardrail>,
    /// What is known of each variant.
    pub verdicts: Vec<Verdict>,
    /// Whether a rollout of it may go on.
    pub standing: Standing,
    /// What the comparison still takes on average, if a variant does twice as badly as the control.
    pub needed: Option<Needed>,
}

/// What is known of all apps.
#[derive(Default)]
pub(super) struct Views(DashMap<(AppKey, EnvKey), Arc<AppView>>);

impl Views {
    pub(super) fn put(&self, app: &AppKey, environment: &EnvKey, watch: &AppWatch) {
        self.0.insert((app.clone(), environment.clone()), Arc::new(AppView::of(watch)));
    }

    pub(super) fn remove(&self, app: &AppKey, environment: &EnvKey) {
        self.0.remove(&(app.clone(), environment.clone()));
    }

    pub(super) fn get(&self, app: &AppKey, environment: &EnvKey) -> Option<Arc<AppView>> {
        self.0.get(&(app.clone(), environment.clone())).map(|view| Arc::clone(&view))
    }
}

impl AppView {
    /// What a watch knows.
    pub fn of(watch: &AppWatch) -> AppView {
        let mut splits: Vec<SplitView> = Vec::new();
        for (flag, split, verdict) in watch.verdicts() {
            match splits.last_mut().filter(|last| last.flag == *flag && last.split == *split) {
                Some(last) => last.verdicts.push(verdict),
                None => splits.push(SplitView {
                    flag: flag.clone(),
                    split: split.clone(),
                    rules: watch.rules(flag, split).to_vec(),
                    verdicts: vec![verdict],
                    standing: watch.standing(flag, split),
                    needed: watch.needed(flag, split),
                }),
            }
        }
        AppView {
            slot: Slot(watch.next().0.saturating_sub(1)),
            splits,
            objectives: watch.objectives(),
            errors: watch.errors().cloned(),
            spend: watch.estimate(),
            elsewhere: watch.elsewhere(),
            silent_slots: watch.silent_slots(),
        }
    }
}
