//! Rollouts go stage by stage: automation raises nothing beyond the next stage of what people started, and each
//! stage is held for its own time by the stamps of the log.

use rollout_rules::change::Change;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey};
use rollout_rules::rollout::{Rollout, RolloutStatus};
use rollout_rules::snapshot::Snapshot;

use super::{Scene, Step, Violate, level};
use crate::simulation::mutation::Law;

pub(super) fn check(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    for step in scene.steps() {
        let (app, flag, environment) = match &step.entry().change {
            Change::RolloutAdvanced { app, flag, environment, .. }
            | Change::RolloutChanged { app, flag, environment, .. }
            | Change::RolloutEnded { app, flag, environment, .. } => (app, flag, environment),
            _ => continue,
        };
        let there = (app, flag, environment);
        let (Some(before), Some(after)) = (rollout(step.before, there), rollout(step.after, there)) else {
            violate(Law::StageByStage, format!("entry {} is of no rollout", step.revision));
            continue;
        };
        if let Some(what) = broken(&step, there, before, after) {
            violate(Law::StageByStage, format!("{what} at entry {}", step.revision));
        }
    }
}

type Place<'a> = (&'a AppKey, &'a FlagKey, &'a EnvKey);

fn rollout<'a>(snapshot: &'a Snapshot, (app, flag, environment): Place<'_>) -> Option<&'a Rollout> {
    snapshot.flag(app, flag)?.record().rollout(environment)
}

fn broken(step: &Step<'_>, there: Place<'_>, before: &Rollout, after: &Rollout) -> Option<&'static str> {
    let at = step.entry().at;
    let (app, flag, environment) = there;
    let level = |snapshot| level(snapshot, app, flag, environment, at);
    let (was, is) = (level(step.before), level(step.after));
    if !before.is_active() {
        // What it left behind may be taken away.
        let goes_on = after.is_active() || is > was;
        return goes_on.then_some("a rollout that was over goes on");
    }
    if after.stage == before.stage {
        return (is > was).then_some("a rollout raises what it serves within a stage");
    }
    if after.stage != before.stage + 1 {
        return Some("a stage is skipped");
    }
    if is > after.exposure().milli_percent() {
        return Some("more is served than the stage says");
    }
    if step.entry().actor == Actor::Timer {
        let held = before.due_at().is_some_and(|due| due <= at);
        if before.status != RolloutStatus::Running || !held {
            return Some("the clock brings a rollout on before its time");
        }
        if after.current().is_some_and(|stage| stage.approval) {
            return Some("the clock brings a rollout to a stage that asks for approval");
        }
    }
    None
}
