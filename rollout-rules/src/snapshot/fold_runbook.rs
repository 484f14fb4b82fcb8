//! The fold of guardrails, jobs, channels, and of what guardrails did.

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Snapshot;
use super::app::App;
use super::apply::Stamp;
use super::fold_flags::Touched;
use super::runbook::{Kept, Runbook};
use crate::change::Change;
use crate::flag::{Hold, Targeting};
use crate::ids::{AppKey, EnvKey, FlagKey};
use crate::runbook::{Act, Acted, Cause, EffectId, Guardrails, KEPT_ACTED, Lowered, Run, RunState};
use crate::sli::guardrail::Guardrail;
use crate::time::DAY;

impl Snapshot {
    /// Guardrails, jobs, channels, acts and what becomes of them.
    pub(super) fn fold_runbook(&mut self, stamp: &Stamp<'_>) {
        let revision = stamp.revision();
        match &stamp.entry.change {
            Change::GuardrailsChanged { app, flag, environment, guardrails } => {
                self.guardrails_changed(app, flag.as_ref(), environment.as_ref(), guardrails.as_ref(), stamp);
            }
            Change::JobPut { app, job } => self.change_runbook(app, |runbook| {
                let kept = Kept { value: Clone::clone(&**job), revision };
                runbook.jobs.insert(job.name.clone(), Arc::new(kept));
            }),
            Change::JobRemoved { app, job } => self.change_runbook(app, |runbook| {
                runbook.jobs.remove(job);
            }),
            Change::ChannelPut { app, channel } => self.change_runbook(app, |runbook| {
                let kept = Kept { value: Clone::clone(&**channel), revision };
                runbook.channels.insert(channel.name.clone(), Arc::new(kept));
            }),
            Change::ChannelRemoved { app, channel } => self.change_runbook(app, |runbook| {
                runbook.channels.remove(channel);
            }),
            Change::GuardrailActed { act } => self.guardrail_acted(act, stamp),
            Change::EffectReplayed { id, .. } => self.runs.replayed(*id, revision),
            Change::EffectClaimed { request, nth: Some(nth), node, lease_until } => {
                let id = EffectId { request: *request, nth: *nth };
                self.runs.claimed(id, node, *lease_until, stamp.entry.at);
            }
            Change::EffectDone { request, nth: Some(nth), succeeded, outcome } => {
                let (succeeded, outcome) = (*succeeded, outcome.to_string());
                let state = RunState::Ended { revision, at: stamp.entry.at, succeeded, outcome };
                self.runs.ended(EffectId { request: *request, nth: *nth }, state);
            }
            // Everything else is in `fold` and `fold_around_flags`.
            _ => {}
        }
    }

    fn change_runbook(&mut self, app: &AppKey, change: impl FnOnce(&mut Runbook)) {
        if let Some(app) = self.apps.get_mut(app) {
            change(Arc::make_mut(app).runbook_mut());
        }
    }

    fn guardrails_changed(
        &mut self,
        app: &AppKey,
        flag: Option<&FlagKey>,
        environment: Option<&EnvKey>,
        list: Option<&Vec<Guardrail>>,
        stamp: &Stamp<'_>,
    ) {
        let Some(flag) = flag else {
            let Some(found) = self.apps.get_mut(app) else { return };
            let found = Arc::make_mut(found);
            found.runbook_mut().defaults.put(environment, list.cloned());
            return found.touch(stamp);
        };
        // Nothing is served anew: what was measured of the flag goes on counting.
        self.change_flag(app, flag, &Touched::Nothing, stamp, |_| true);
        if self.flag(app, flag).is_none_or(|view| view.record().is_archived()) {
            return;
        }
        self.change_runbook(app, |runbook| {
            let mut sets = runbook.of_flag(flag).cloned().unwrap_or_default();
            sets.put(environment, list.cloned());
            if sets.is_empty() {
                runbook.flags.remove_mut(flag);
            } else {
                runbook.flags.insert_mut(flag.clone(), Arc::new(sets));
            }
        });
    }

    pub(super) fn guardrail_acted(&mut self, act: &Act, stamp: &Stamp<'_>) {
        for lowered in &act.lowered {
            match (lowered, &act.flag, &act.environment) {
                (Lowered::Held { hold }, Some(flag), Some(environment)) => {
                    self.hold_changed(&act.app, flag, environment, Some(hold), stamp);
                }
                (Lowered::Targeted { targeting }, Some(flag), Some(environment)) => {
                    self.exposure_taken(&act.app, flag, environment, targeting, stamp);
                }
                (Lowered::NonCritical { hold }, _, environment) => {
                    self.hold_non_critical(&act.app, environment.as_ref(), hold, stamp);
                }
                (Lowered::All { hold }, _, Some(environment)) => {
                    self.hold_all(&act.app, environment, hold, stamp);
                }
                // Of which flag, or where, is not said: it applies to nothing.
                _ => {}
            }
        }
        if act.cause != Cause::Drill {
            if let (Some(release), Some(environment)) = (&act.release, &act.environment) {
                self.release_acted_on(&act.app, environment, release.current.revision, stamp.revision());
            }
            self.change_runbook(&act.app, |runbook| {
                if runbook.acted.len() == KEPT_ACTED {
                    // That somebody was told goes first: of what was done today it has to be known how often.
                    let is_old = |acted: &Acted| !acted.is_action || acted.at.plus(DAY) <= stamp.entry.at;
                    runbook.acted.remove(runbook.acted.iter().position(is_old).unwrap_or(0));
                }
                runbook.acted.push(Acted {
                    revision: stamp.revision(),
                    at: stamp.entry.at,
                    flag: act.flag.clone(),
                    environment: act.environment.clone(),
                    measured: act.measured,
                    cause: act.cause,
                    rule: act.guardrail.as_ref().map(Guardrail::when),
                    is_action: act.is_action(),
                });
            });
        }
        let act = Arc::new(act.clone());
        for nth in 0..u8::try_from(act.effects.len()).unwrap_or(u8::MAX) {
            let run = Run {
                act: Arc::clone(&act),
                nth,
                actor: stamp.entry.actor.clone(),
                reason: stamp.entry.reason.clone(),
                at: stamp.entry.at,
                claim: None,
                state: RunState::Waiting { since: stamp.revision() },
            };
            self.runs.put(EffectId { request: stamp.revision(), nth }, Arc::new(run));
        }
    }

    /// The flag has no exposure any more, and a rollout of it goes no further.
    fn exposure_taken(
        &mut self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        targeting: &Targeting,
        stamp: &Stamp<'_>,
    ) {
        let (how, at) = self.taken_back(app, flag, environment, stamp.entry.at);
        self.change_flag(app, flag, &Touched::One(environment), stamp, |record| {
            let Some(state) = record.state_mut(environment) else { return false };
            let state = Arc::make_mut(&mut state.state);
            state.targeting = targeting.clone();
            state.targeting_revision = stamp.revision();
            record.end_rollout(environment, how, at);
            true
        });
    }

    /// Like each flag's own hold.
    fn hold_all(&mut self, app: &AppKey, environment: &EnvKey, hold: &Hold, stamp: &Stamp<'_>) {
        let flags = self.apps.get(app).map(|found| found.live_flags(environment)).unwrap_or_default();
        for flag in flags {
            self.hold_changed(app, &flag, environment, Some(hold), stamp);
        }
    }

    fn hold_non_critical(&mut self, app: &AppKey, only: Option<&EnvKey>, hold: &Hold, stamp: &Stamp<'_>) {
        let Some(found) = self.apps.get(app) else { return };
        for (flag, environments) in found.held_by_budget(only) {
            let ends: Vec<_> = environments
                .iter()
                .map(|environment| (environment, self.taken_back(app, &flag, environment, stamp.entry.at)))
                .collect();
            self.change_flag(app, &flag, &Touched::Some(&environments), stamp, |record| {
                for (environment, (how, at)) in &ends {
                    let Some(state) = record.state_mut(environment) else { continue };
                    Arc::make_mut(&mut state.state).hold = Some(Box::new(hold.clone()));
                    record.end_rollout(environment, *how, *at);
                }
                true
            });
        }
    }
}

impl App {
    /// The flags that are held when all that are not critical are disabled, and where: those that are on, or will
    /// be on schedule, and not held.
    pub(crate) fn held_by_budget(&self, only: Option<&EnvKey>) -> Vec<(FlagKey, Vec<EnvKey>)> {
        let is_live = |targeting: &Targeting| targeting.on || !targeting.schedule.is_empty();
        let flags = self.flags(None).filter(|record| !record.flag().critical && !record.is_archived());
        let held = flags.filter_map(|record| {
            let states = record.states().filter(|(environment, record)| {
                let state = record.state();
                only.is_none_or(|only| only == *environment)
                    && state.hold.is_none()
                    && is_live(&state.targeting)
            });
            let environments: Vec<EnvKey> = states.map(|(environment, _)| environment.clone()).collect();
            (!environments.is_empty()).then(|| (record.flag().key.clone(), environments))
        });
        held.collect()
    }

    /// With an environment go the rules that were written for it.
    pub(super) fn forget_guardrails_in(&mut self, environment: &EnvKey) {
        let names = |sets: &Guardrails| sets.environments.contains_key(environment);
        let Some(runbook) = self.runbook() else { return };
        let named: Vec<FlagKey> =
            runbook.flags().filter(|(_, sets)| names(sets)).map(|(flag, _)| flag.clone()).collect();
        if named.is_empty() && !names(&runbook.defaults) {
            return;
        }
        let runbook = self.runbook_mut();
        runbook.defaults.put(Some(environment), None);
        for flag in named {
            let Some(mut sets) = runbook.of_flag(&flag).cloned() else { continue };
            sets.put(Some(environment), None);
            if sets.is_empty() {
                runbook.flags.remove_mut(&flag);
            } else {
                runbook.flags.insert_mut(flag, Arc::new(sets));
            }
        }
    }
}
