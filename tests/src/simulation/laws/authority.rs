//! Law 9: who asked, not who was written down, decides what may be raised.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::change::{Change, Command};
use rollout_rules::ids::{ProposalId, ScheduleId};
use rollout_rules::proposal::Approving;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use super::{Scene, Step, Violate, all_flags, level};
use crate::simulation::cast::{Who, bank, production};
use crate::simulation::history::Ask;
use crate::simulation::mutation::Law;

pub(super) fn check(scene: &Scene<'_>, violate: &mut Violate<'_>) {
    let mut papers = Papers::default();
    for step in scene.steps() {
        if let Some(ask) = scene.ask_of(step.row) {
            agents_only_propose(&step, ask, &papers, violate);
            others_approve(&step, ask, &papers, violate);
            papers.file(&step, ask);
        }
    }
}

/// Who wrote, proposed and approved what.
#[derive(Default)]
struct Papers<'a> {
    proposers: BTreeMap<&'a ProposalId, Who>,
    approvers: BTreeMap<&'a ProposalId, BTreeSet<Who>>,
    steps: BTreeMap<ScheduleId, Who>,
}

impl<'a> Papers<'a> {
    fn file(&mut self, step: &Step<'a>, ask: &'a Ask) {
        match &step.row.entry.change {
            Change::Proposed { id, .. } => {
                self.proposers.insert(id, ask.who);
            }
            Change::ProposalApproved(Approving { id, hash, .. })
                if ask.shown == Some(*hash) && ask.who.is_human() =>
            {
                self.approvers.entry(id).or_default().insert(ask.who);
            }
            Change::TargetingChanged { targeting, .. } => {
                for waiting in &targeting.schedule {
                    self.steps.entry(waiting.id.clone()).or_insert(ask.who);
                }
            }
            _ => {}
        }
    }
}

/// What production serves, flag by flag, raised by an entry.
fn raised(step: &Step<'_>, of: impl Fn(&Snapshot) -> Vec<u32>) -> bool {
    of(step.before).iter().zip(of(step.after)).any(|(before, after)| after > *before)
}

fn levels(
    snapshot: &Snapshot,
    flags: &[(rollout_rules::ids::AppKey, rollout_rules::ids::FlagKey)],
    now: UnixMs,
) -> Vec<u32> {
    flags.iter().map(|(app, flag)| level(snapshot, app, flag, &production(), now)).collect()
}

/// What is set for production, whether it is served or not.
fn written(
    snapshot: &Snapshot,
    flags: &[(rollout_rules::ids::AppKey, rollout_rules::ids::FlagKey)],
    now: UnixMs,
) -> Vec<u32> {
    let one = |(app, flag): &(_, _)| {
        let targeting = snapshot.flag(app, flag)?.targeting(&production(), now)?;
        Some(if targeting.on { targeting.exposure.milli_percent() } else { 0 })
    };
    flags.iter().map(|of| one(of).unwrap_or_default()).collect()
}

fn agents_only_propose(step: &Step<'_>, ask: &Ask, papers: &Papers<'_>, violate: &mut Violate<'_>) {
    let flags = all_flags(step.after);
    let at = step.entry().at;
    let by_agent = match &step.entry().change {
        // A timer does what somebody else wrote.
        Change::TargetingChanged { schedule: Some(id), .. } => papers.steps.get(id) == Some(&Who::Agent),
        _ => ask.who == Who::Agent,
    };
    let raises = by_agent
        && (raised(step, |snapshot| levels(snapshot, &flags, at))
            || raised(step, |snapshot| written(snapshot, &flags, at)));
    if raises {
        violate(Law::AgentsOnlyPropose, format!("an agent raised in production at entry {}", step.revision));
    }
}

fn others_approve(step: &Step<'_>, ask: &Ask, papers: &Papers<'_>, violate: &mut Violate<'_>) {
    let mut flags = all_flags(step.after);
    flags.retain(|(app, _)| *app == bank());
    let at = step.entry().at;
    // A timer does what was approved when it was written.
    if ask.who == Who::Timer || !raised(step, |snapshot| levels(snapshot, &flags, at)) {
        return;
    }
    let approved = match &ask.request.command {
        Command::ApplyProposal { id, .. } => {
            let proposer = papers.proposers.get(id).map(|who| who.person());
            let approvers = papers.approvers.get(id).into_iter().flatten();
            approvers.filter(|who| Some(who.person()) != proposer).count() > 0
        }
        _ => false,
    };
    if !approved {
        let what = format!("nobody else approved what entry {} raises", step.revision);
        violate(Law::OthersApprove, what);
    }
}
