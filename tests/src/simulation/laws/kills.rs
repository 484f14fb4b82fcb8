//! Laws 4 and 8: kills arrive, count once and hold.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::change::{Change, Command, Reach};
use rollout_rules::decide::Refusal;
use rollout_rules::flag::Kills;
use rollout_rules::ids::{EnvKey, KillId, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::{DAY, UnixMs};

use super::{Scene, Step, Violate, all_flags, level, reaches, serves};
use crate::simulation::cast::environments;
use crate::simulation::history::Answer;
use crate::simulation::mutation::Law;
use crate::simulation::node::Node;
use crate::simulation::outside::Outside;

/// A kill that a node said is in effect is in effect there from then on, restarts included.
pub(super) fn check_promises(nodes: &[Node], outside: &mut Outside) {
    let promises = std::mem::take(&mut outside.history.promises);
    let mut shown: BTreeMap<usize, Snapshot> = BTreeMap::new();
    for number in promises {
        let ask = &outside.history.asks[number];
        let (Command::Kill { kill_id, reach, environment }, Some(index)) = (&ask.request.command, ask.node)
        else {
            continue;
        };
        let node = &nodes[index];
        if node.up && node.folded.past_kill(kill_id).is_some() {
            // From here on the log tells what is in effect.
            continue;
        }
        if !node.up {
            outside.history.promises.push(number);
            continue;
        }
        let shown = shown.entry(index).or_insert_with(|| node.published(outside));
        let at = node.clock(outside.now);
        let reached = reached_by(environment.as_ref());
        let serving = || reached.iter().any(|one| serving(shown, reach, one, at).is_some());
        if is_killed(shown, reach, environment.as_ref()) && !serving() {
            outside.history.promises.push(number);
        } else {
            let what = format!("node {index} said that kill {kill_id} is in effect, and it is not");
            outside.history.violate(Law::KillsHold, what);
        }
    }
}

fn is_killed(snapshot: &Snapshot, reach: &Reach, environment: Option<&EnvKey>) -> bool {
    let kills: Option<&Kills> = match reach {
        Reach::Everything => Some(snapshot.kills()),
        Reach::App { app } => snapshot.app(app).map(|app| app.kills()),
        Reach::Flag { app, flag } => match snapshot.flag(app, flag) {
            // What is archived serves nothing.
            Some(view) if view.record().is_archived() => return true,
            view => view.map(|view| view.record().kills()),
        },
    };
    // A node that restarted may not have folded so far that it knows what is killed.
    let Some(kills) = kills else { return true };
    let killed = |environment: &EnvKey| kills.in_environment(environment).is_some();
    environment.map_or_else(|| environments().iter().all(killed), killed)
}

pub(super) fn check(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    arrive(scene, violate);
    count_once(scene, violate);
    hold(scene, violate);
}

/// A kill is refused for nothing but rights and wrong names; and once it is answered, it is in the log.
fn arrive(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let in_log: BTreeSet<&KillId> = scene
        .steps()
        .filter_map(|step| match &step.row.entry.change {
            Change::Killed { kill_id, .. } => Some(kill_id),
            _ => None,
        })
        .collect();
    for (number, ask) in scene.history.asks.iter().enumerate() {
        let Command::Kill { kill_id, .. } = &ask.request.command else { continue };
        match &ask.answer {
            None | Some(Answer::Refused(Refusal::NotFound { .. } | Refusal::NotAllowed { .. })) => {}
            Some(Answer::Done { .. }) if in_log.contains(kill_id) => {}
            Some(Answer::Done { .. }) => {
                let what = format!("kill {kill_id} was answered and is not in the log");
                violate(Law::KillsArrive, what);
            }
            Some(other) => {
                violate(Law::KillsArrive, format!("kill {kill_id} (request {number}) got {other:?}"));
            }
        }
    }
}

/// The second entry of one kill changes nothing: neither a revival in between nor what people must see.
fn count_once(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut known: BTreeSet<usize> = BTreeSet::new();
    for step in scene.steps() {
        let (Change::Killed { kill_id, .. }, Some(ask)) = (&step.row.entry.change, step.row.ask) else {
            continue;
        };
        if !known.insert(scene.history.origin(ask)) && differs(&step) {
            violate(Law::KillsCountOnce, format!("kill {kill_id} counts again at entry {}", step.revision));
        }
    }
}

fn differs(step: &Step<'_>) -> bool {
    all_flags(step.after).iter().any(|(app, flag)| {
        let state = |snapshot: &Snapshot| {
            let view = snapshot.flag(app, flag)?;
            let killed = environments().map(|environment| view.killed(&environment).is_some());
            Some((killed, view.revision()))
        };
        state(step.before) != state(step.after)
    })
}

/// What was killed serves nothing, now and later, until that kill is taken back; and nothing just then.
fn hold(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut known: BTreeSet<&KillId> = BTreeSet::new();
    let mut dead: BTreeMap<(ReachName, EnvKey), Revision> = BTreeMap::new();
    for step in scene.steps() {
        match &step.row.entry.change {
            Change::Killed { kill_id, reach, environment } if known.insert(kill_id) => {
                if !is_known(step.before, reach) {
                    continue;
                }
                for reached in reached_by(environment.as_ref()) {
                    dead.entry((name(reach), reached)).or_insert(step.revision);
                }
            }
            Change::Revived { reach, environment } => {
                for reached in reached_by(environment.as_ref()) {
                    dead.remove(&(name(reach), reached.clone()));
                    if let Some(flag) = serving(step.after, reach, &reached, step.entry().at) {
                        let what = format!("{flag} is on at entry {}, which revived it", step.revision);
                        violate(Law::KillsHold, what);
                    }
                }
            }
            _ => {}
        }
        for ((reach, environment), since) in &dead {
            let at = step.entry().at;
            for now in [at, at.plus(DAY)] {
                if let Some(flag) = serving(step.after, &reach.0, environment, now) {
                    let what = format!("{flag} serves at entry {}, killed at {since}", step.revision);
                    violate(Law::KillsHold, what);
                }
            }
        }
    }
}

/// Orders reaches by what they name.
#[derive(Clone, PartialEq, Eq)]
struct ReachName(Reach);

impl ReachName {
    fn parts(&self) -> (u8, &str, &str) {
        match &self.0 {
            Reach::Everything => (0, "", ""),
            Reach::App { app } => (1, app.as_str(), ""),
            Reach::Flag { app, flag } => (2, app.as_str(), flag.as_str()),
        }
    }
}

impl Ord for ReachName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for ReachName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn name(reach: &Reach) -> ReachName {
    ReachName(reach.clone())
}

fn is_known(snapshot: &Snapshot, reach: &Reach) -> bool {
    match reach {
        Reach::Everything => true,
        Reach::App { app } => snapshot.app(app).is_some(),
        Reach::Flag { app, flag } => snapshot.flag(app, flag).is_some(),
    }
}

fn reached_by(environment: Option<&EnvKey>) -> Vec<EnvKey> {
    environment.map_or_else(|| environments().to_vec(), |one| vec![one.clone()])
}

/// A flag under this reach that serves something.
fn serving(snapshot: &Snapshot, reach: &Reach, environment: &EnvKey, now: UnixMs) -> Option<String> {
    let mut flags = all_flags(snapshot).into_iter().filter(|(app, flag)| reaches(reach, app, flag));
    flags
        .find(|(app, flag)| {
            level(snapshot, app, flag, environment, now) > 0 || serves(snapshot, app, flag, environment, now)
        })
        .map(|(app, flag)| format!("{app}/{flag} in {environment}"))
}
