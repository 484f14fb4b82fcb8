//! What holds of automatic rollback: it acts on what it measured, once, not often in a day, and only ever lowers.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::change::{Change, Reach};
use rollout_rules::evaluate::{Reason, evaluate};
use rollout_rules::flag::EnvironmentKind;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision};
use rollout_rules::rollout::{RolloutEnd, RolloutStatus};
use rollout_rules::runbook::{Act, Cause, Lowered};
use rollout_rules::sli::guardrail::{Guardrail, Test};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DAY, DurationMs, HOUR, UnixMs};

use super::{PROBES, Scene, Step, Violate, all_flags, level, reaches, serves};
use crate::simulation::cast::{Who, environments};
use crate::simulation::history::{Answer, Harm};
use crate::simulation::mutation::Law;
use crate::simulation::node::Node;

/// Automation acts so often on an app within a day.
const MOST_A_DAY: usize = 3;
/// What is down is looked at so long after each entry, too.
const LATER: [DurationMs; 3] = [DurationMs(0), DAY, DurationMs(12 * DAY.0)];

pub(super) fn check(nodes: &[Node], scene: &Scene<'_>, violate: &mut Violate<'_>) {
    once_for_a_cause(scene, violate);
    left_to_people(scene, violate);
    on_what_was_measured(scene, violate);
    arrive(nodes, scene, violate);
    only_lowers(scene, violate);
    stays_down(scene, violate);
}

/// The acts of automation, in order.
fn acts<'a>(scene: &Scene<'a>) -> impl Iterator<Item = (Step<'a>, &'a Act)> {
    scene.steps().filter_map(|step| match &step.row.entry.change {
        Change::GuardrailActed { act } => Some((step, &**act)),
        _ => None,
    })
}

type Subject<'a> =
    (&'a AppKey, Option<&'a FlagKey>, Option<&'a EnvKey>, Option<Revision>, Cause, Option<Test>);

fn subject(act: &Act) -> Subject<'_> {
    let rule = act.guardrail.as_ref().map(Guardrail::when);
    (&act.app, act.flag.as_ref(), act.environment.as_ref(), act.measured, act.cause, rule)
}

/// On a revision of a flag once for a cause, by each rule, while the same build runs; on a whole app once in an hour.
fn once_for_a_cause(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut last: Vec<(Subject<'_>, UnixMs)> = Vec::new();
    let mut deployed: Vec<(&AppKey, &EnvKey, UnixMs)> = Vec::new();
    for step in scene.steps() {
        let at = step.entry().at;
        let act = match &step.row.entry.change {
            Change::ReleaseDeployed { app, environment, .. } => {
                deployed.push((app, environment, at));
                continue;
            }
            Change::GuardrailActed { act } => act,
            _ => continue,
        };
        let of_flag = act.flag.is_some() && act.measured.is_some();
        let other_build = |then: UnixMs| {
            let is_there = |app: &AppKey, environment: &EnvKey| {
                *app == act.app && Some(environment) == act.environment.as_ref()
            };
            deployed.iter().any(|(app, environment, at)| is_there(app, environment) && *at > then)
        };
        let again = |(before, then): &(Subject<'_>, UnixMs)| {
            *before == subject(act) && if of_flag { !other_build(*then) } else { at < then.plus(HOUR) }
        };
        let acted_before = last.iter().any(again);
        last.push((subject(act), at));
        if acted_before {
            let what = format!("entry {} acts again: {:?}", step.revision, subject(act));
            violate(Law::ActsOnceForACause, what);
        }
    }
}

fn left_to_people(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut acted: BTreeMap<(&AppKey, bool), Vec<UnixMs>> = BTreeMap::new();
    for (step, act) in acts(scene).filter(|(_, act)| act.is_action()) {
        let at = step.entry().at;
        let is_live =
            act.environment.as_ref().is_none_or(|there| is_production(step.before, &act.app, there));
        let before = acted.entry((&act.app, is_live)).or_default();
        let today = before.iter().filter(|before| before.plus(DAY) > at).count();
        if today >= MOST_A_DAY {
            let what =
                format!("entry {} acts on {}, the {}th time in a day", step.revision, act.app, today + 1);
            violate(Law::LeftToPeople, what);
        }
        before.push(at);
    }
}

/// Acts elsewhere are counted by themselves.
fn is_production(snapshot: &Snapshot, app: &AppKey, environment: &EnvKey) -> bool {
    let record = snapshot.app(app).and_then(|app| app.environment(environment));
    record.is_some_and(|record| record.environment().kind == EnvironmentKind::Production)
}

/// Between what was measured and the act nobody changed what is served, but for a rollout that brought it further.
fn on_what_was_measured(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    for (step, act) in acts(scene) {
        let found = scene.ask_of(step.row).and_then(|ask| ask.harm).map(|harm| &scene.history.harms[harm]);
        let Some(Harm { app, measured: Some((flag, measured)), environment, .. }) = found else { continue };
        // What another rule took back for the same is nobody's change.
        let is_alike = |other: &Step<'_>| {
            let Change::GuardrailActed { act } = &other.row.entry.change else { return false };
            act.flag.as_ref() == Some(flag)
                && act.environment.as_ref() == Some(environment)
                && act.measured == Some(*measured)
        };
        let mut since = scene.steps().filter(|other| other.revision > *measured && !is_alike(other));
        let changed =
            since.find(|other| other.revision < step.revision && changes(other, app, flag, environment));
        if let Some(changed) = changed {
            let what = format!(
                "entry {} acts on {flag} as of {measured}, though {} changed it: {act:?}",
                step.revision, changed.revision
            );
            violate(Law::ActsOnMeasured, what);
        }
    }
}

/// Whether an entry makes of a flag in an environment something else than was measured.
fn changes(step: &Step<'_>, app: &AppKey, flag: &FlagKey, environment: &EnvKey) -> bool {
    let here = |of: &AppKey, one: &FlagKey, there: &EnvKey| of == app && one == flag && there == environment;
    match &step.row.entry.change {
        Change::FlagUpdated { app: of, flag: made } => of == app && made.key == *flag,
        Change::FlagArchived { app: of, flag: one } => of == app && one == flag,
        Change::TargetingChanged { app: of, flag: one, environment: there, .. }
        | Change::HoldChanged { app: of, flag: one, environment: there, .. }
        | Change::RolloutStarted { app: of, flag: one, environment: there, .. } => here(of, one, there),
        // That it was over by then, somebody may note later: it says nothing of what is served.
        Change::RolloutEnded { app: of, flag: one, environment: there, rollout, on, exposure } => {
            let completed = matches!(rollout.status, RolloutStatus::Ended { how: RolloutEnd::Completed, .. });
            here(of, one, there) && !completed && (on.is_some() || exposure.is_some())
        }
        Change::GuardrailActed { .. } => {
            lowered(step).contains(&(app.clone(), flag.clone(), environment.clone()))
        }
        _ => false,
    }
}

/// What an act lowered, flag by flag.
pub(super) fn lowered(step: &Step<'_>) -> BTreeSet<(AppKey, FlagKey, EnvKey)> {
    let Change::GuardrailActed { act } = &step.row.entry.change else { return BTreeSet::new() };
    let mut lowered = BTreeSet::new();
    for one in &act.lowered {
        match (one, &act.flag, &act.environment) {
            (Lowered::Held { .. } | Lowered::Targeted { .. }, Some(flag), Some(environment)) => {
                lowered.insert((act.app.clone(), flag.clone(), environment.clone()));
            }
            (Lowered::NonCritical { .. }, _, only) => {
                let is_held =
                    |snapshot: &rollout_rules::snapshot::Snapshot, flag: &FlagKey, there: &EnvKey| {
                        let state = snapshot.flag(&act.app, flag).and_then(|view| view.record().state(there));
                        state.is_some_and(|state| state.state().hold.is_some())
                    };
                for (_, flag) in all_flags(step.after).into_iter().filter(|(app, _)| *app == act.app) {
                    let there = environments().into_iter();
                    let there = there.filter(|there| only.as_ref().is_none_or(|only| only == there));
                    let new = there.filter(|there| {
                        is_held(step.after, &flag, there) && !is_held(step.before, &flag, there)
                    });
                    lowered.extend(new.map(|there| (act.app.clone(), flag.clone(), there)));
                }
            }
            _ => {}
        }
    }
    lowered
}

/// Whoever asked for an act and was told that it is done finds it on every node.
fn arrive(nodes: &[Node], scene: &Scene<'_>, violate: &mut Violate<'_>) {
    for ask in &scene.history.asks {
        let (Some(harm), Some(Answer::Done { revision, already: false, .. })) = (ask.harm, &ask.answer)
        else {
            continue;
        };
        let Harm { app, measured, environment, cause, rule, .. } = &scene.history.harms[harm];
        let flag = measured.as_ref().map(|(flag, _)| flag.clone());
        let step = scene.step(*revision);
        let at = step.as_ref().map_or(UnixMs(0), |step| step.entry().at);
        // Of a whole app the deployment was measured, if one is known.
        let measured = step.as_ref().and_then(|step| match &step.row.entry.change {
            Change::GuardrailActed { act } => act.measured,
            _ => None,
        });
        // Another build is measured anew.
        let current = step.as_ref().and_then(|step| step.before.releases(app, environment)?.current());
        let deployed = current.map(|release| release.deployed_at);
        for node in nodes {
            let runbook = node.folded.app(app).and_then(|app| app.runbook());
            let place = (flag.as_ref(), Some(environment));
            let rule = Some(rule.when());
            // The clock that stamped the deployment may be ahead of the one that stamped the act.
            let acted = |deployed| runbook?.acted(place, measured, *cause, rule, (at, deployed));
            let known = [deployed, None].map(acted);
            if !known.iter().flatten().any(|acted| acted.revision == *revision) {
                let what = format!("node {} does not know the act at {revision}: {known:?}", node.index);
                violate(Law::ActsArrive, what);
            }
        }
    }
}

/// No act raises what anybody is served, now or when its schedule comes due; and a kill beats it.
fn only_lowers(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    for (step, act) in acts(scene) {
        for (app, flag) in all_flags(step.after) {
            for environment in environments() {
                for now in LATER.map(|later| step.entry().at.plus(later)) {
                    let level = |snapshot| level(snapshot, &app, &flag, &environment, now);
                    if level(step.after) > level(step.before) {
                        let what = format!("entry {} raises {flag} in {environment}: {act:?}", step.revision);
                        violate(Law::AutomationOnlyLowers, what);
                    }
                }
                let killed =
                    step.after.flag(&app, &flag).is_some_and(|view| view.killed(&environment).is_some());
                if killed && !is_answered_as_killed(&step, &app, &flag, &environment) {
                    let what =
                        format!("entry {} hides that {flag} in {environment} is killed", step.revision);
                    violate(Law::KillsHold, what);
                }
            }
        }
    }
}

fn is_answered_as_killed(step: &Step<'_>, app: &AppKey, flag: &FlagKey, environment: &EnvKey) -> bool {
    let Some(set) = step.after.flag_set(app, environment) else { return false };
    PROBES.with(|probes| {
        let answers = probes.iter().filter_map(|unit| evaluate(&set, flag.as_str(), unit, step.entry().at));
        let mut answers = answers.map(|answer| answer.reason);
        // What is archived is not answered at all.
        answers.all(|reason| matches!(reason, Reason::Killed(_)))
    })
}

/// What automation took down stays down until somebody outside brings it back.
fn stays_down(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut down: BTreeMap<(AppKey, FlagKey, EnvKey), Revision> = BTreeMap::new();
    for step in scene.steps() {
        let who = scene.ask_of(step.row).map(|ask| ask.who);
        if who.is_some_and(|who| Who::OUTSIDE.contains(&who)) {
            down.retain(|(app, flag, environment), _| !brings_back(&step, app, flag, environment));
        }
        for ((app, flag, environment), since) in &down {
            for now in LATER.map(|later| step.entry().at.plus(later)) {
                let is_up = level(step.after, app, flag, environment, now) > 0
                    || serves(step.after, app, flag, environment, now);
                if is_up {
                    let what = format!(
                        "{flag} in {environment}, taken down at {since}, is served by entry {}, {}",
                        step.revision,
                        step.entry().change.kind()
                    );
                    violate(Law::AutomationOnlyLowers, what);
                }
            }
        }
        down.extend(lowered(&step).into_iter().map(|place| (place, step.revision)));
        if let Change::HoldChanged { app, flag, environment, hold: Some(_) } = &step.row.entry.change {
            down.insert((app.clone(), flag.clone(), environment.clone()), step.revision);
        }
    }
}

/// Whether an entry of somebody outside says what a flag serves there from now on, or later.
fn brings_back(step: &Step<'_>, app: &AppKey, flag: &FlagKey, environment: &EnvKey) -> bool {
    match &step.row.entry.change {
        Change::TargetingChanged { app: of, flag: one, environment: there, .. }
        | Change::RolloutStarted { app: of, flag: one, environment: there, .. } => {
            of == app && one == flag && there == environment
        }
        Change::Revived { reach: reach @ Reach::Flag { .. }, .. } => reaches(reach, app, flag),
        _ => false,
    }
}
