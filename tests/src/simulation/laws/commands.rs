//! Laws 3 and 5, as far as single requests go: nothing stale, nothing twice, and true answers.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::change::{Change, Command, Reach};
use rollout_rules::decide::{Verdict, decide};
use rollout_rules::ids::{AppKey, FlagKey, KillId, Revision};

use super::acts::lowered;
use super::{Scene, Step, Violate, concerns, flag_of, level};
use crate::simulation::cast::environments;
use crate::simulation::history::{Answer, Ask};
use crate::simulation::mutation::Law;

pub(super) fn check(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    nothing_stale(scene, violate);
    decided_where_it_stands(scene, violate);
    one_request_one_entry(scene, violate);
    answers_are_true(scene, violate);
}

/// A command with what its author saw: the proposer, if it was proposed.
struct Meant<'a> {
    command: &'a Command,
    saw: Option<Revision>,
}

fn meant<'a>(step: &Step<'a>, ask: &'a Ask, violate: &mut Violate<'_>) -> Option<Meant<'a>> {
    let Command::ApplyProposal { id, .. } = &ask.request.command else {
        return Some(Meant { command: &ask.request.command, saw: ask.request.seen });
    };
    let proposal = step.before.proposal(id)?;
    if ask.shown != Some(proposal.hash) {
        violate(Law::NothingStale, format!("entry {} applies what was not shown", step.revision));
    }
    Some(Meant { command: &proposal.command, saw: proposal.seen })
}

/// Whoever does more than lower had seen the last change before theirs.
fn nothing_stale(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut first_kills: BTreeSet<&KillId> = BTreeSet::new();
    // Repeated kills change nothing.
    let mut changes: Vec<(Revision, &Change)> = Vec::new();
    let mut taken_back: BTreeMap<(AppKey, FlagKey), Revision> = BTreeMap::new();
    for step in scene.steps() {
        let change = &step.row.entry.change;
        let repeated = matches!(change, Change::Killed { kill_id, .. } if !first_kills.insert(kill_id));
        if let Some(ask) = scene.ask_of(step.row)
            && let Some(meant) = meant(&step, ask, violate)
        {
            let last = |about: &dyn Fn(&Change) -> bool| {
                let mut earlier = changes.iter().rev();
                earlier.find(|(_, change)| about(change)).map_or(Revision::ZERO, |(revision, _)| *revision)
            };
            if let Some((app, flag)) = flag_of(meant.command) {
                let acted = taken_back.get(&(app.clone(), flag.clone())).copied();
                let current = last(&|change| concerns(change, app, flag)).max(acted.unwrap_or_default());
                stale_about_flag(&step, &meant, (app, flag), current, violate);
            }
            if let Command::Revive { reach: reach @ (Reach::App { .. } | Reach::Everything), .. } =
                meant.command
            {
                let same =
                    |change: &Change| matches!(change, Change::Killed { reach: of, .. } if of == reach);
                let current = last(&same);
                if meant.saw.is_some_and(|saw| saw < current) {
                    let what = format!("entry {} takes back kill {current}, unseen", step.revision);
                    violate(Law::NothingStale, what);
                }
            }
        }
        if !repeated {
            changes.push((step.revision, change));
        }
        let lowered = lowered(&step).into_iter();
        taken_back.extend(lowered.map(|(app, flag, _)| ((app, flag), step.revision)));
    }
}

fn stale_about_flag(
    step: &Step<'_>,
    meant: &Meant<'_>,
    (app, flag): (&AppKey, &FlagKey),
    current: Revision,
    violate: &mut Violate<'_>,
) {
    let at = step.entry().at;
    match meant.saw {
        Some(saw) if saw < current => {
            let what = format!("entry {} saw revision {saw} of a flag at {current}", step.revision);
            violate(Law::NothingStale, what);
        }
        Some(_) => {}
        None => {
            let raised = environments().iter().any(|environment| {
                let level = |snapshot| level(snapshot, app, flag, environment, at);
                level(step.after) > level(step.before)
            });
            if raised {
                let what = format!("entry {} raises, and its author had not looked", step.revision);
                violate(Law::NothingStale, what);
            }
        }
    }
}

/// The request, decided on exactly what lies before its entry, becomes exactly this entry.
fn decided_where_it_stands(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    for step in scene.steps() {
        let Some(ask) = scene.ask_of(step.row) else { continue };
        let entry = step.entry();
        if matches!(entry.change, Change::Killed { .. }) {
            continue;
        }
        match decide(step.before, scene.rules, &ask.request, entry.at) {
            Ok(Verdict::Change(draft)) if *draft.change() == entry.change => {}
            other => {
                let other = match other {
                    Ok(Verdict::Change(_)) => "another change".to_owned(),
                    Ok(Verdict::AlreadyDone { .. }) => "nothing to do".to_owned(),
                    Err(refusal) => refusal.code().to_owned(),
                };
                let kind = entry.change.kind();
                let what = format!("entry {} is {kind}, and should be: {other}", step.revision);
                violate(Law::DecidedWhereItStands, what);
            }
        }
    }
}

fn one_request_one_entry(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut made: BTreeMap<usize, Revision> = BTreeMap::new();
    for step in scene.steps() {
        let Some(ask) = step.row.ask else { continue };
        if matches!(step.entry().change, Change::Killed { .. }) {
            continue;
        }
        let origin = scene.history.origin(ask);
        if let Some(first) = made.insert(origin, step.revision) {
            let what = format!("request {origin} made the entries {first} and {}", step.revision);
            violate(Law::OneRequestOneEntry, what);
        }
    }
}

/// Who was told that it is done finds it in the log; who was told that it is not does not.
fn answers_are_true(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let made: BTreeMap<usize, Revision> =
        scene.steps().filter_map(|step| Some((step.row.ask?, step.revision))).collect();
    for (number, ask) in scene.history.asks.iter().enumerate() {
        let is_kill = matches!(ask.request.command, Command::Kill { .. });
        match &ask.answer {
            Some(Answer::Done { revision, already: false, durable: true }) => {
                let row = scene.step(*revision).map(|step| step.row);
                let own = |of: usize| scene.history.origin(of) == scene.history.origin(number);
                if !row.is_some_and(|row| row.ask.is_some_and(own)) {
                    let what = format!("request {number} was answered revision {revision}, which is another");
                    violate(Law::AnswersAreTrue, what);
                }
            }
            Some(Answer::Refused(_) | Answer::Unavailable | Answer::Busy) if !is_kill => {
                if let Some(revision) = made.get(&number) {
                    let what =
                        format!("request {number} was not done, it was told, and made entry {revision}");
                    violate(Law::AnswersAreTrue, what);
                }
            }
            _ => {}
        }
    }
}
