//! Law 6 and the timers' part of law 9: automation acts once for one cause, effects run once under a
//! claim, scheduled steps are made so once and when they are due.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::change::Change;
use rollout_rules::ids::Revision;

use super::{Scene, Violate};
use crate::simulation::cast::node_name;
use crate::simulation::history::EffectRun;
use crate::simulation::mutation::Law;

pub(super) fn check(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    acts_once(scene, violate);
    let mut runs: BTreeMap<Revision, Vec<&EffectRun>> = BTreeMap::new();
    for run in &scene.history.runs {
        runs_under_claim(scene, run, violate);
        runs.entry(run.request).or_default().push(run);
    }
    for (request, mut runs) in runs {
        runs.sort_by_key(|run| run.claim);
        runs_once(scene, request, &runs, violate);
    }
    steps_when_due(scene, violate);
}

/// One hold and one rollback for one cause.
fn acts_once(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut acts = BTreeSet::new();
    for step in scene.steps() {
        let Some(breach) = scene.ask_of(step.row).and_then(|ask| ask.breach) else { continue };
        if !acts.insert((breach, step.entry().change.kind())) {
            let kind = step.entry().change.kind();
            violate(
                Law::AutomationActsOnce,
                format!("{kind} comes twice, for one cause, at {}", step.revision),
            );
        }
    }
}

fn runs_under_claim(scene: &Scene<'_>, run: &EffectRun, violate: &mut Violate<'_>) {
    let node = run.node;
    let Some((claimed_at, lease_until)) = run.claim else {
        let what = format!("node {node} ran the rollback for cause {:?}, which nobody claimed", run.breach);
        return violate(Law::EffectsRunOnce, what);
    };
    let holds = scene.step(claimed_at).is_some_and(|step| {
        let claim = step.after.effect(run.request).and_then(|effect| effect.claim.as_ref());
        matches!(step.entry().change, Change::EffectClaimed { request, .. } if request == run.request)
            && claim.is_some_and(|claim| claim.node == node_name(node) && claim.lease_until == lease_until)
    });
    if !holds {
        let what = format!("node {node} ran effect {} without its claim in the log", run.request);
        violate(Law::EffectsRunOnce, what);
    }
}

/// The next run begins after the lease of the one before has ended.
fn runs_once(scene: &Scene<'_>, request: Revision, runs: &[&EffectRun], violate: &mut Violate<'_>) {
    for pair in runs.windows(2) {
        let (Some((_, lease_until)), Some((claimed_at, _))) = (pair[0].claim, pair[1].claim) else {
            continue;
        };
        let claimed = scene.step(claimed_at).map(|step| step.entry().at);
        if claimed.is_none_or(|at| at < lease_until) {
            let what = format!("effect {request} ran twice, the second time within the first's lease");
            violate(Law::EffectsRunOnce, what);
        }
    }
}

fn steps_when_due(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut made = BTreeSet::new();
    for step in scene.steps() {
        let Change::TargetingChanged { app, flag, environment, schedule: Some(id), .. } =
            &step.row.entry.change
        else {
            continue;
        };
        if !made.insert((app, flag, environment, id)) {
            violate(Law::StepsWhenDue, format!("step {id} is made so again at entry {}", step.revision));
        }
        let state = step.before.flag(app, flag).and_then(|view| view.record().state(environment));
        let waiting = state
            .and_then(|record| record.state().targeting.schedule.iter().find(|waiting| waiting.id == *id));
        if waiting.is_none_or(|waiting| waiting.at > step.entry().at) {
            violate(Law::StepsWhenDue, format!("step {id} was not due at entry {}", step.revision));
        }
    }
}
