//! Nothing is raised in production without a decision on what runs there that passes, has not lapsed, and was made by
//! what holds: whoever raises, and however late they are. So a denial of what runs is followed by no raise until it passes.

use rollout_rules::governance::Enforcement;
use rollout_rules::ids::AppKey;

use super::{Scene, Step, Violate, all_flags, level};
use crate::simulation::cast::production;
use crate::simulation::mutation::Law;

pub(super) fn check(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    if scene.rules.gate == Enforcement::Report {
        return;
    }
    for step in scene.steps() {
        // The stage was set before the gate bound anybody.
        if scene.ask_of(step.row).is_none() {
            continue;
        }
        let at = step.entry().at;
        let raised = all_flags(step.after).into_iter().find(|(app, flag)| {
            let level = |snapshot| level(snapshot, app, flag, &production(), at);
            level(step.after) > level(step.before) && !is_let(&step, app)
        });
        if let Some((app, flag)) = raised {
            let what = format!("entry {} raises {app}/{flag}, and the gate does not stand", step.revision);
            violate(Law::GateStands, what);
        }
    }
}

/// Whether the gate lets what runs into production, by what was there before the entry.
fn is_let(step: &Step<'_>, app: &AppKey) -> bool {
    let (before, production) = (step.before, production());
    let Some(current) = before.releases(app, &production).and_then(|releases| releases.current()) else {
        return false;
    };
    let Some(decided) = before.decision(app, &production, &current.artifact) else { return false };
    let decision = &decided.decision;
    decision.verdict.passes()
        && decision.valid_until > step.entry().at
        && decision.policy == before.policy_digest()
        && before.app(app).is_some_and(|found| found.info().tier == decision.tier)
}
