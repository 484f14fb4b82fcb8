//! Changing what a flag does in an environment, now and on schedule; holding it.

use alloc::boxed::Box;
use alloc::string::ToString as _;

use super::authority::{Direction, Envs, Ground, Right, Row};
use super::direction::{Above, after_step, direction, drop_new_raises, to_come};
use super::validate::{check_targeting, invalid};
use super::{Case, Decided, Mode, Refusal, What};
use crate::change::{Change, TargetingPatch};
use crate::flag::{Hold, HoldCause, ScheduledChange, Targeting, Tier};
use crate::gate::policy::Way;
use crate::governance::Actor;
use crate::ids::{AppKey, EnvKey, FlagKey, Revision, ScheduleId};
use crate::snapshot::{FlagView, StateRecord};

impl<'a> Case<'a> {
    pub(super) fn set_targeting(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        patch: &TargetingPatch,
    ) -> Result<Decided, Refusal> {
        self.may(Right::Flags, Some(app), Envs::One(environment))?;
        let view = self.flag(app, flag)?;
        let record = self.state(view, environment)?;
        self.not_stale(view)?;
        let mut before = self.standing(view, environment)?;
        before.schedule = to_come(&before.schedule, self.now);
        let mut after = patched(&before, patch);
        if patch.schedule.is_none() {
            drop_new_raises(&before, &mut after);
        }
        let held = record.state().hold.is_some();
        let above = Above { held, releases: held && patch.on == Some(true) };
        let Some(direction) = direction(&before, &after, above) else {
            // Asking for what is set already is no answer while something above keeps the flag off.
            if patch.on == Some(true) {
                self.can_be_raised(view, record, environment)?;
            }
            return Ok(Decided::Already(view.revision()));
        };
        self.revision_named(view, direction)?;
        check_targeting(self, view, environment, &after, patch)?;
        let tier = view.app().info().tier;
        let ground = Ground::of(self.environment(view.app(), environment)?.kind);
        if direction == Direction::Raise {
            self.can_be_raised(view, record, environment)?;
            // What is held serves nobody yet.
            let served = Targeting { on: before.on && !held, ..before.clone() };
            self.within_tier_limits((&served, &after, Way::Set), tier, ground)?;
        }
        self.authorise_at(direction, (view.app(), environment), false)?;
        let ends_rollout = self.rollout_ended_by(view, environment, &before, &after, above.releases);
        Ok(Decided::Change(Change::TargetingChanged {
            app: app.clone(),
            flag: flag.clone(),
            environment: environment.clone(),
            targeting: Box::new(after),
            schedule: None,
            release_hold: above.releases,
            ends_rollout,
        }))
    }

    pub(super) fn standing(&self, view: FlagView<'a>, environment: &EnvKey) -> Result<Targeting, Refusal> {
        let what = || What::Environment(view.app().info().key.clone(), environment.clone());
        view.targeting(environment, self.now).ok_or_else(|| Refusal::NotFound { what: what() })
    }

    /// Whether a raise would have any effect: what lies above the targeting has to be cleared first.
    pub(super) fn can_be_raised(
        &self,
        view: FlagView<'a>,
        record: &StateRecord,
        environment: &EnvKey,
    ) -> Result<(), Refusal> {
        if let Some((height, kill_id)) = self.killed(view, environment) {
            return Err(Refusal::Killed { height, kill_id });
        }
        let ends_at = self.environment(view.app(), environment)?.ends_at;
        if let Some(at) = ends_at.filter(|at| *at <= self.now) {
            return Err(Refusal::EnvironmentEnded { at });
        }
        let at = record.state().expires_at;
        if at <= self.now { Err(Refusal::Expired { at }) } else { Ok(()) }
    }

    /// How far a tier lets the caller take a flag in production.
    pub(super) fn within_tier_limits(
        &self,
        (before, after, way): (&Targeting, &Targeting, Way<'_>),
        tier: Tier,
        ground: Ground,
    ) -> Result<(), Refusal> {
        let limits = &self.snapshot.policy().of(tier).flags;
        let (reach, who) = match self.row() {
            Row::Pipeline => (limits.pipelines, "a pipeline"),
            Row::Person if self.caller.actor != Actor::Tidegate => (limits.people, "a person"),
            _ => return Ok(()),
        };
        let is_free = ground == Ground::Trial || matches!(self.mode, Mode::Proposing);
        if is_free || reach.allows(before, after, way) {
            return Ok(());
        }
        Err(Refusal::TierLimit { tier, who, reach })
    }

    /// A scheduled step fell due. All steps that did take effect in their order; what would raise does so
    /// only if nothing was killed, held or expired meanwhile: such a step lapses. What the gate bars waits for it, and lapses after
    /// [`STEP_WAITS`](crate::flag::STEP_WAITS).
    pub(super) fn apply_schedule(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        schedule: &ScheduleId,
    ) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        let view = self.flag(app, flag)?;
        let state = self.state(view, environment)?.state();
        let Some(step) = state.targeting.schedule.iter().find(|step| step.id == *schedule) else {
            return Ok(Decided::Already(view.revision()));
        };
        if step.at > self.now {
            return Err(Refusal::NotDue { at: step.at });
        }
        let mut after = self.standing(view, environment)?;
        after.schedule = to_come(&after.schedule, self.now);
        let lowered = (after.on, after.exposure);
        let lapses = self.killed(view, environment).is_some()
            || view.was_revived(environment)
            || state.hold.is_some()
            || state.expires_at <= self.now;
        if !lapses {
            let due = state.targeting.schedule.iter().filter(|step| step.at <= self.now);
            let start = (state.targeting.on, state.targeting.exposure);
            (after.on, after.exposure) = due.fold(start, after_step);
        }
        let raises = (after.on && !lowered.0) || after.exposure > lowered.1;
        let direction = if raises { Direction::Raise } else { Direction::Lower };
        match self.authorise_at(direction, (view.app(), environment), true) {
            Err(barred @ Refusal::GateMissing { .. }) => match state.targeting.step_lapses_at(self.now) {
                Some(lapses_at) if self.now < lapses_at => {
                    return self.step_waits(view, environment, state, barred);
                }
                // It lapses.
                _ => (after.on, after.exposure) = lowered,
            },
            other => other?,
        }
        let before = Targeting { schedule: after.schedule.clone(), ..state.targeting.clone() };
        let ends_rollout = self.rollout_ended_by(view, environment, &before, &after, false);
        Ok(Decided::Change(Change::TargetingChanged {
            app: app.clone(),
            flag: flag.clone(),
            environment: environment.clone(),
            targeting: Box::new(after),
            schedule: Some(schedule.clone()),
            release_hold: false,
            ends_rollout,
        }))
    }

    pub(super) fn hold(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        cause: HoldCause,
    ) -> Result<Decided, Refusal> {
        if !matches!(self.caller.actor, Actor::Evaluator | Actor::Tidegate) {
            return Err(Refusal::NotAllowed {
                who_may: "Tidegate's evaluator (people turn a flag off, or kill it)",
            });
        }
        let view = self.flag(app, flag)?;
        let state = self.state(view, environment)?.state();
        if state.hold.is_some() {
            return Ok(Decided::Already(view.revision()));
        }
        // What did harm may be mended already: automation acts on the revision that it measured, and once.
        self.not_stale(view)?;
        if cause == HoldCause::Budget && view.record().flag().critical {
            return Err(invalid("cause", "a critical flag stays when a budget is spent"));
        }
        let hold = Hold { cause, at: self.now, reason: self.reason.to_string() };
        Ok(Decided::Change(Change::HoldChanged {
            app: app.clone(),
            flag: flag.clone(),
            environment: environment.clone(),
            hold: Some(hold),
        }))
    }

    /// Whether a flag serves something in an environment, or a scheduled step will make it.
    pub(super) fn is_live(&self, view: FlagView<'a>, environment: &EnvKey) -> bool {
        view.targeting(environment, self.now).is_some_and(|targeting| {
            targeting.on || super::direction::raising_steps(&targeting).next().is_some()
        })
    }

    /// The revision that changed a flag last, to answer that nothing is left to do.
    pub(super) fn nothing_left(&self, view: FlagView<'_>) -> Decided {
        let revision: Revision = view.revision();
        Decided::Already(revision)
    }
}

fn patched(before: &Targeting, patch: &TargetingPatch) -> Targeting {
    let mut after = before.clone();
    if let Some(on) = patch.on {
        after.on = on;
    }
    if let Some(exposure) = patch.exposure {
        after.exposure = exposure;
    }
    if let Some(serve) = &patch.serve {
        after.serve = serve.clone();
    }
    if let Some(targets) = &patch.targets {
        after.targets.clone_from(targets);
    }
    if let Some(rules) = &patch.rules {
        after.rules.clone_from(rules);
    }
    if let Some(prerequisites) = &patch.prerequisites {
        after.prerequisites.clone_from(prerequisites);
    }
    if let Some(schedule) = &patch.schedule {
        after.schedule.clone_from(schedule);
        after.schedule.sort_by(|a: &ScheduledChange, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
    }
    after
}
