//! What a snapshot knows of an app's guardrails, jobs and channels, and of what was asked to be done outside.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};

use super::app::App;
use super::{Claim, Snapshot};
use crate::flag::EnvironmentKind;
use crate::ids::{AppKey, ChannelName, EnvKey, FlagKey, JobName, NodeId, Revision};
use crate::runbook::{
    Acted, Cause, Channel, EffectId, Guardrails, InForce, Job, KEPT_CLOSED_RUNS, MAX_AUTOMATIC_A_DAY, Run,
    RunState,
};
use crate::sli::guardrail::{Action, Guardrail, Test};
use crate::time::{DAY, HOUR, UnixMs};

/// A job or a channel as the fold knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept<T> {
    /// As it is now.
    pub value: T,
    /// The entry that last changed it.
    pub revision: Revision,
}

/// What an app has prepared. Most apps have nothing.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Runbook {
    #[serde(default, skip_serializing_if = "Guardrails::is_empty")]
    pub(super) defaults: Guardrails,
    #[serde(default, skip_serializing_if = "RedBlackTreeMapSync::is_empty")]
    pub(super) flags: RedBlackTreeMapSync<FlagKey, Arc<Guardrails>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) jobs: BTreeMap<JobName, Arc<Kept<Job>>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) channels: BTreeMap<ChannelName, Arc<Kept<Channel>>>,
    /// Oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) acted: Vec<Acted>,
}

impl Runbook {
    /// The app's defaults.
    pub fn defaults(&self) -> &Guardrails {
        &self.defaults
    }

    /// What is written for a flag.
    pub fn of_flag(&self, flag: &FlagKey) -> Option<&Guardrails> {
        self.flags.get(flag).map(|sets| &**sets)
    }

    /// The flags for which something is written, by key.
    pub fn flags(&self) -> impl Iterator<Item = (&FlagKey, &Guardrails)> {
        self.flags.iter().map(|(flag, sets)| (flag, &**sets))
    }

    /// The jobs, by name.
    pub fn jobs(&self) -> impl ExactSizeIterator<Item = &Kept<Job>> {
        self.jobs.values().map(|kept| &**kept)
    }

    /// One job.
    pub fn job(&self, name: &JobName) -> Option<&Kept<Job>> {
        self.jobs.get(name).map(|kept| &**kept)
    }

    /// The channels, by name; the app's owner is not among them.
    pub fn channels(&self) -> impl ExactSizeIterator<Item = &Kept<Channel>> {
        self.channels.values().map(|kept| &**kept)
    }

    /// One channel.
    pub fn channel(&self, name: &ChannelName) -> Option<&Kept<Channel>> {
        self.channels.get(name).map(|kept| &**kept)
    }

    /// The act of automation on one revision of a flag for a cause and by a rule, if it is remembered; it is for no more than what is
    /// found until another release is `deployed`. One on a whole app, on the deployment that was measured or on none, is for
    /// what is found within an hour of it, that people were left to for a day.
    pub fn acted(
        &self,
        (flag, environment): (Option<&FlagKey>, Option<&EnvKey>),
        measured: Option<Revision>,
        cause: Cause,
        rule: Option<Test>,
        (found, deployed): (UnixMs, Option<UnixMs>),
    ) -> Option<&Acted> {
        let again = if cause == Cause::LeftToPeople { DAY } else { HOUR };
        let deployed = deployed.filter(|deployed| flag.is_some() && *deployed <= found);
        self.acted.iter().find(|acted| {
            deployed.is_none_or(|deployed| acted.at >= deployed)
                && ((flag.is_some() && measured.is_some()) || acted.at.plus(again) > found)
                && acted.flag.as_ref() == flag
                && acted.environment.as_ref() == environment
                && acted.measured == measured
                && acted.cause == cause
                && (acted.rule.is_none() || acted.rule == rule)
        })
    }

    /// Whether a change of a flag was an act of automation on what it had measured.
    pub fn acted_at(&self, flag: &FlagKey, revision: Revision, measured: Revision) -> bool {
        let is_it = |acted: &Acted| {
            acted.flag.as_ref() == Some(flag)
                && acted.revision == revision
                && acted.measured == Some(measured)
        };
        self.acted.iter().any(is_it)
    }

    /// Whether automation has acted on a whole app for a cause since a deployment.
    pub fn acted_on(&self, environment: &EnvKey, deployed: Revision, cause: Cause) -> bool {
        self.acted.iter().any(|acted| {
            acted.flag.is_none()
                && acted.environment.as_ref() == Some(environment)
                && acted.measured == Some(deployed)
                && acted.cause == cause
        })
    }
}

impl App {
    /// Its guardrails, jobs and channels; none if it has none and nothing was done for it.
    pub fn runbook(&self) -> Option<&Runbook> {
        self.runbook.as_deref()
    }

    /// Until when automation leaves the app to people, since it has acted as often as it may within a day: in production, or,
    /// if the environment is none, in those that are not.
    pub fn left_to_people_until(&self, environment: Option<&EnvKey>, now: UnixMs) -> Option<UnixMs> {
        let acted = self.runbook()?.acted.iter().filter(|acted| acted.is_action);
        let is_live = self.is_production(environment);
        let alike = acted.filter(|acted| self.is_production(acted.environment.as_ref()) == is_live);
        let mut running: Vec<UnixMs> =
            alike.map(|acted| acted.at.plus(DAY)).filter(|end| *end > now).collect();
        running.sort_unstable();
        let first = running.len().checked_sub(MAX_AUTOMATIC_A_DAY)?;
        running.get(first).copied()
    }

    /// Everywhere is production, too; what is gone is not.
    fn is_production(&self, environment: Option<&EnvKey>) -> bool {
        let is_it = |environment| {
            self.environment(environment)
                .is_some_and(|record| record.environment().kind == EnvironmentKind::Production)
        };
        environment.is_none_or(is_it)
    }

    /// The rules that hold for a flag in an environment; without a flag, those of the app.
    pub fn guardrails(&self, flag: Option<&FlagKey>, environment: &EnvKey) -> InForce<'_> {
        let runbook = self.runbook();
        let of_flag = flag.and_then(|flag| runbook?.of_flag(flag));
        InForce::of(of_flag, runbook.map(Runbook::defaults), self.info().tier, environment)
    }

    /// Whether a rule of the app, or of a flag that is not archived, has an action; the flags that do, and whether the
    /// defaults do.
    pub fn users_of_action(&self, is: impl Fn(&Action) -> bool) -> (Vec<&FlagKey>, bool) {
        let Some(runbook) = self.runbook() else { return (Vec::new(), false) };
        let names = |sets: &Guardrails| sets.all().flat_map(Guardrail::then).any(&is);
        let flags = runbook
            .flags()
            .filter(|(key, sets)| self.flag(key).is_some_and(|record| !record.is_archived()) && names(sets));
        (flags.map(|(key, _)| key).collect(), names(&runbook.defaults))
    }

    pub(super) fn runbook_mut(&mut self) -> &mut Runbook {
        Arc::make_mut(self.runbook.get_or_insert_default())
    }
}

/// What was asked to be done outside, by the revision of the act and the place in it.
#[derive(Clone, Default)]
pub(super) struct Runs {
    all: RedBlackTreeMapSync<EffectId, Arc<Run>>,
    /// By the entry that ended it.
    ended: RedBlackTreeSetSync<(Revision, EffectId)>,
    waiting: RedBlackTreeSetSync<EffectId>,
}

impl Runs {
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (EffectId, &Arc<Run>)> {
        self.all.iter().map(|(id, run)| (*id, run))
    }

    pub(super) fn put(&mut self, id: EffectId, run: Arc<Run>) {
        if let Some(before) = self.all.get(&id) {
            match &before.state {
                RunState::Waiting { .. } => {
                    self.waiting.remove_mut(&id);
                }
                RunState::Ended { revision, .. } => {
                    self.ended.remove_mut(&(*revision, id));
                }
            }
        }
        match &run.state {
            RunState::Waiting { .. } => self.waiting.insert_mut(id),
            RunState::Ended { revision, .. } => self.ended.insert_mut((*revision, id)),
        }
        self.all.insert_mut(id, run);
        while self.ended.size() > KEPT_CLOSED_RUNS
            && let Some(oldest) = self.ended.first().copied()
        {
            self.ended.remove_mut(&oldest);
            self.all.remove_mut(&oldest.1);
        }
    }

    /// Changes one that waits.
    fn change(&mut self, id: EffectId, change: impl FnOnce(&mut Run)) {
        let Some(run) = self.all.get(&id).filter(|run| run.is_open()) else { return };
        let mut run = Run::clone(run);
        change(&mut run);
        self.put(id, Arc::new(run));
    }

    pub(super) fn claimed(&mut self, id: EffectId, node: &NodeId, lease_until: UnixMs, at: UnixMs) {
        self.change(id, |run| {
            // The first of several claims counts: the others are not alone in the log.
            if run.claim.as_ref().is_none_or(|held| held.allows(node, at)) {
                run.claim = Some(Claim { node: node.clone(), lease_until });
            }
        });
    }

    pub(super) fn ended(&mut self, id: EffectId, state: RunState) {
        self.change(id, |run| {
            run.claim = None;
            run.state = state;
        });
    }

    pub(super) fn replayed(&mut self, id: EffectId, since: Revision) {
        let Some(run) = self.all.get(&id).filter(|run| !run.is_open()) else { return };
        let run = Run { state: RunState::Waiting { since }, ..Run::clone(run) };
        self.put(id, Arc::new(run));
    }
}

impl Snapshot {
    /// What guardrails asked to be done outside: what waits, and the last that ended, by id, from after `cursor`.
    pub fn runs(&self, cursor: Option<EffectId>) -> impl DoubleEndedIterator<Item = (EffectId, &Run)> {
        let start = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        self.runs.all.range((start, Bound::Unbounded)).map(|(id, run)| (*id, &**run))
    }

    /// One of them.
    pub fn run(&self, id: EffectId) -> Option<&Run> {
        self.runs.all.get(&id).map(|run| &**run)
    }

    /// Those of them that wait, by id.
    pub fn waiting_runs(&self) -> impl Iterator<Item = EffectId> {
        self.runs.waiting.iter().copied()
    }

    /// How many of them wait.
    pub fn waiting_run_count(&self) -> usize {
        self.runs.waiting.size()
    }

    /// The rules that hold for a flag in an environment.
    pub fn guardrails(&self, app: &AppKey, flag: &FlagKey, environment: &EnvKey) -> Option<InForce<'_>> {
        Some(self.app(app)?.guardrails(Some(flag), environment))
    }
}
