//! The laws, checked on the whole history by somebody who knows all of it.

mod acts;
mod authority;
mod automation;
mod commands;
mod gate;
mod jobs;
mod kills;
mod rollouts;

use rollout_rules::change::{Change, Command, Entry, Reach};
use rollout_rules::context::Context;
use rollout_rules::evaluate::evaluate;
use rollout_rules::ids::{AppKey, EnvKey, FlagKey, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use super::cast::apps;
use super::history::{Ask, History};
use super::log::{Log, Row};
use super::mutation::Law;
use super::node::Node;
use super::outside::Outside;

/// What is checked at every step, while nodes live.
pub(super) fn check_promises(nodes: &[Node], outside: &mut Outside) {
    kills::check_promises(nodes, outside);
    for node in nodes.iter().filter(|node| node.up) {
        let place = usize::try_from(node.folded.revision().0).unwrap_or(usize::MAX);
        let stands = outside.log.anchor_at(place).is_some_and(|anchor| anchor.hash == node.folded.hash());
        if !stands {
            let what = format!("node {} published revision {place}, which is not in the log", node.index);
            outside.history.violate(Law::PublishedIsDurable, what);
        }
    }
}

/// What is checked when a node stops: what it had folded is what the log says.
pub(super) fn check_fold(node: &Node, outside: &mut Outside) {
    let revision = node.folded.revision();
    let place = usize::try_from(revision.0).unwrap_or(usize::MAX);
    let truth = outside.log.folds.get(place);
    if truth.is_some_and(|truth| truth.to_checkpoint().encode() != node.folded.to_checkpoint().encode()) {
        let what = format!("node {} differs from the log at revision {revision}", node.index);
        outside.history.violate(Law::FoldAlike, what);
    }
}

/// What is checked in the end, when everything is mended.
pub(super) fn check(nodes: &[Node], outside: &mut Outside) {
    let mut found = Vec::new();
    let scene = Scene { log: &outside.log, history: &outside.history, rules: &outside.rules };
    let mut violate = |law: Law, what: String| found.push((law, what));
    fold_alike(nodes, outside, &mut violate);
    anchors(&scene, &mut violate);
    commands::check(&scene, &mut violate);
    kills::check(&scene, &mut violate);
    automation::check(&scene, &mut violate);
    authority::check(&scene, &mut violate);
    gate::check(&scene, &mut violate);
    rollouts::check(&scene, &mut violate);
    acts::check(nodes, &scene, &mut violate);
    jobs::check(&scene, &mut violate);
    for (law, what) in found {
        outside.history.violate(law, what);
    }
}

/// Where a law reports what breaks it.
type Violate<'a> = dyn FnMut(Law, String) + 'a;

/// What the laws look at.
struct Scene<'a> {
    log: &'a Log,
    history: &'a History,
    rules: &'a rollout_rules::governance::Rules,
}

/// One durable entry with the true folds around it.
struct Step<'a> {
    revision: Revision,
    row: &'a Row,
    before: &'a Snapshot,
    after: &'a Snapshot,
}

impl Step<'_> {
    fn entry(&self) -> &Entry {
        &self.row.entry
    }
}

impl<'a> Scene<'a> {
    fn steps(&self) -> impl Iterator<Item = Step<'a>> {
        let log = self.log;
        log.rows[..log.flushed].iter().enumerate().map(move |(index, row)| Step {
            revision: Revision(index as u64 + 1),
            row,
            before: &log.folds[index],
            after: &log.folds[index + 1],
        })
    }

    fn step(&self, revision: Revision) -> Option<Step<'a>> {
        let index = usize::try_from(revision.0).ok()?.checked_sub(1)?;
        self.steps().nth(index)
    }

    fn ask_of(&self, row: &Row) -> Option<&'a Ask> {
        row.ask.map(|ask| &self.history.asks[ask])
    }
}

/// Law 1: whatever a node has folded, in whichever lives, is what the log says.
fn fold_alike(nodes: &[Node], outside: &Outside, violate: &mut Violate<'_>) {
    let truth = |revision: Revision| {
        let place = usize::try_from(revision.0).unwrap_or(usize::MAX);
        outside.log.folds.get(place).map(|fold| fold.to_checkpoint().encode())
    };
    let last = outside.log.truth();
    let expected = last.to_checkpoint().encode();
    for node in nodes {
        if node.folded.revision() != last.revision() {
            let (at, end) = (node.folded.revision(), last.revision());
            violate(Law::FoldAlike, format!("node {} ends at revision {at} of {end}", node.index));
        } else if node.folded.to_checkpoint().encode() != expected {
            violate(Law::FoldAlike, format!("node {} differs from the log at its end", node.index));
        }
    }
    for (revision, bytes) in &outside.checkpoints {
        if truth(*revision).as_ref() != Some(bytes) {
            violate(Law::FoldAlike, format!("a checkpoint differs from the log at revision {revision}"));
        }
    }
}

/// Law 7: every anchor names an earlier entry, and the chain can be walked.
fn anchors(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut hash = rollout_rules::ids::Digest::default();
    for step in scene.steps() {
        let anchor = step.entry().anchor;
        let place = usize::try_from(anchor.revision.0).unwrap_or(usize::MAX);
        let named = scene.log.anchor_at(place);
        if anchor.revision >= step.revision || named != Some(anchor) {
            let what = format!("entry {} is anchored on revision {place}, which is another", step.revision);
            violate(Law::AnchorsHold, what);
        }
        hash = hash.chain(&step.row.bytes);
        if hash != step.row.hash {
            violate(Law::AnchorsHold, format!("the chain breaks at entry {}", step.revision));
        }
    }
}

/// How many units a flag serves something else than its off variant, in thousandths of a percent.
pub(super) fn level(
    snapshot: &Snapshot,
    app: &AppKey,
    flag: &FlagKey,
    environment: &EnvKey,
    now: UnixMs,
) -> u32 {
    let Some(view) = snapshot.flag(app, flag) else { return 0 };
    let Some(state) = view.record().state(environment).map(|record| record.state()) else { return 0 };
    let dead = view.record().is_archived()
        || view.killed(environment).is_some()
        || state.hold.is_some()
        || state.expires_at <= now;
    match view.targeting(environment, now) {
        Some(targeting) if !dead && targeting.on => targeting.exposure.milli_percent(),
        _ => 0,
    }
}

/// Whether a check of the flag answers anybody with something else than the off variant.
fn serves(snapshot: &Snapshot, app: &AppKey, flag: &FlagKey, environment: &EnvKey, now: UnixMs) -> bool {
    let Some(set) = snapshot.flag_set(app, environment) else { return false };
    PROBES.with(|probes| {
        let answers = |unit| evaluate(&set, flag.as_str(), unit, now);
        probes.iter().filter_map(answers).any(|answer| answer.variant().as_str() != "off")
    })
}

thread_local! {
    /// Units that are asked for.
    static PROBES: [Context; 3] = ["ann", "ben", "cid"].map(Context::new);
}

/// Every flag that there is.
fn all_flags(snapshot: &Snapshot) -> Vec<(AppKey, FlagKey)> {
    let mut flags = Vec::new();
    for app in apps() {
        let found = snapshot.app(&app).into_iter().flat_map(|found| found.flags(None));
        flags.extend(found.map(|record| (app.clone(), record.flag().key.clone())));
    }
    flags
}

/// The flag that a command changes, if it changes one that exists.
pub(super) fn flag_of(command: &Command) -> Option<(&AppKey, &FlagKey)> {
    match command {
        Command::UpdateFlag { app, flag, .. }
        | Command::SetTargeting { app, flag, .. }
        | Command::ExtendFlag { app, flag, .. }
        | Command::ArchiveFlag { app, flag }
        | Command::Hold { app, flag, .. }
        | Command::StartRollout { app, flag, .. }
        | Command::PauseRollout { app, flag, .. }
        | Command::ResumeRollout { app, flag, .. }
        | Command::AbortRollout { app, flag, .. }
        | Command::AdvanceRollout { app, flag, .. }
        | Command::Revive { reach: Reach::Flag { app, flag }, .. } => Some((app, flag)),
        _ => None,
    }
}

/// Whether a change is about a flag, or about what lies above it.
fn concerns(change: &Change, app: &AppKey, flag: &FlagKey) -> bool {
    match change {
        Change::FlagCreated { app: of, flag: made, .. } => of == app && made.key == *flag,
        Change::FlagUpdated { app: of, flag: made } => of == app && made.key == *flag,
        Change::TargetingChanged { app: of, flag: one, .. }
        | Change::FlagExtended { app: of, flag: one, .. }
        | Change::FlagArchived { app: of, flag: one }
        | Change::HoldChanged { app: of, flag: one, .. }
        | Change::RolloutStarted { app: of, flag: one, .. }
        | Change::RolloutAdvanced { app: of, flag: one, .. }
        | Change::RolloutChanged { app: of, flag: one, .. }
        | Change::RolloutEnded { app: of, flag: one, .. } => of == app && one == flag,
        Change::Killed { reach, .. } | Change::Revived { reach, .. } => reaches(reach, app, flag),
        _ => false,
    }
}

fn reaches(reach: &Reach, app: &AppKey, flag: &FlagKey) -> bool {
    match reach {
        Reach::Everything => true,
        Reach::App { app: of } => of == app,
        Reach::Flag { app: of, flag: one } => of == app && one == flag,
    }
}
