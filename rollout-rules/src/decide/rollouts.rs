//! Rollouts: starting one, what people do to it, and the steps that Tidegate takes.

use alloc::boxed::Box;
use alloc::format;

use super::authority::{Direction, Envs, Ground, Right, Row};
use super::direction::to_come;
use super::validate::invalid;
use super::{Case, Decided, Mode, Refusal};
use crate::change::Change;
use crate::flag::{EnvironmentKind, Targeting, Tier};
use crate::gate::policy::Way;
use crate::governance::Actor;
use crate::ids::{AppKey, EnvKey, FlagKey};
use crate::percent::Exposure;
use crate::plan::RolloutPlan;
use crate::proposal::same_person;
use crate::rollout::{Finding, Rollout, RolloutEnd, RolloutStatus, WaitsFor};
use crate::snapshot::FlagView;
use crate::time::UnixMs;

/// A rollout that is not over, and where it is.
#[derive(Clone, Copy)]
struct Running<'a> {
    app: &'a AppKey,
    flag: &'a FlagKey,
    environment: &'a EnvKey,
    view: FlagView<'a>,
    rollout: &'a Rollout,
}

impl<'a> Case<'a> {
    pub(super) fn start_rollout(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        plan: &RolloutPlan,
    ) -> Result<Decided, Refusal> {
        self.may(Right::Flags, Some(app), Envs::One(environment))?;
        let view = self.flag(app, flag)?;
        let record = self.state(view, environment)?;
        self.not_stale(view)?;
        plan.check().map_err(|unfit| invalid(format!("plan.{}", unfit.field()), unfit.problem))?;
        self.no_other_rollout(view, environment)?;
        self.revision_named(view, Direction::Raise)?;
        self.can_be_raised(view, record, environment)?;
        let mut before = self.standing(view, environment)?;
        before.schedule = to_come(&before.schedule, self.now);
        let held = record.state().hold.is_some();
        let first = plan.stages.first().map_or(Exposure::NONE, |stage| stage.exposure);
        if before.on && !held && before.exposure > first {
            let problem = format!(
                "the flag serves {}% already, and the plan begins with {first}%: begin above, or turn the flag off first",
                before.exposure
            );
            return Err(invalid("plan.stages[0].exposure", problem));
        }
        if before.schedule.iter().any(|step| step.on != Some(false) || step.exposure.is_some()) {
            let problem = "scheduled changes would interfere: drop all that do more than turn the flag off";
            return Err(invalid("schedule", problem));
        }
        let (ends_at, expires_at) = (plan.ends_at(self.now), record.state().expires_at);
        if ends_at >= expires_at {
            let problem = format!(
                "the plan takes until {ends_at} and the flag expires at {expires_at}: extend the flag first, or take a shorter plan"
            );
            return Err(invalid("plan.stages", problem));
        }
        let (tier, ground) = self.tier_and_ground(view, environment)?;
        let after = Targeting { on: true, exposure: plan.highest(), ..before.clone() };
        self.within_tier_limits((&before, &after, Way::Plan(plan)), tier, ground)?;
        self.authorise_at(Direction::Raise, (view.app(), environment), false)?;
        let rollout = Rollout {
            plan: plan.clone(),
            stage: 0,
            since: self.now,
            status: RolloutStatus::Running,
            started_at: self.now,
            started_by: self.caller.actor.clone(),
            raised_at: self.now,
            turned_on: !before.on || held,
        };
        Ok(Decided::Change(Change::RolloutStarted {
            app: app.clone(),
            flag: flag.clone(),
            environment: environment.clone(),
            rollout: Box::new(rollout.entering(0, self.now)),
            exposure: first,
        }))
    }

    fn no_other_rollout(&self, view: FlagView<'a>, environment: &EnvKey) -> Result<(), Refusal> {
        match view.record().rollout(environment).filter(|rollout| rollout.is_active()) {
            Some(rollout) if self.rollout_over(view, environment).is_none() => Err(Refusal::RolloutRuns {
                status: rollout.status.as_str(),
                stage: usize::from(rollout.stage) + 1,
                stages: rollout.plan.stages.len(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn pause_rollout(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
    ) -> Result<Decided, Refusal> {
        let running = self.running(app, flag, environment)?;
        self.authorise_in(running, Direction::Lower)?;
        if matches!(running.rollout.status, RolloutStatus::Paused { .. }) {
            return Ok(self.nothing_left(running.view));
        }
        Ok(running.changed(running.rollout.paused(self.now)))
    }

    pub(super) fn resume_rollout(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
    ) -> Result<Decided, Refusal> {
        let running = self.running(app, flag, environment)?;
        match &running.rollout.status {
            RolloutStatus::Running => return Ok(self.nothing_left(running.view)),
            RolloutStatus::Paused { .. } => {}
            other => return Err(Refusal::RolloutNotPaused { status: other.as_str() }),
        }
        self.revision_named(running.view, Direction::Neutral)?;
        self.authorise_in(running, Direction::Neutral)?;
        Ok(running.changed(running.rollout.going_on(self.now)))
    }

    /// To 0 %, also where it is over and its exposure stands all the same.
    pub(super) fn abort_rollout(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
    ) -> Result<Decided, Refusal> {
        let running = match self.running(app, flag, environment) {
            Err(Refusal::NoRollout { ended: Some(how) }) if how.serves_nothing() => {
                return self.abort_ended(app, flag, environment, how);
            }
            other => other?,
        };
        self.authorise_in(running, Direction::Lower)?;
        let how = match self.caller.actor {
            Actor::Evaluator => RolloutEnd::TakenBack,
            _ => RolloutEnd::Aborted,
        };
        let rollout = running.rollout.ended(how, Some(self.now));
        let on = running.rollout.turned_on.then_some(false);
        Ok(running.ended(rollout, on, Some(Exposure::NONE)))
    }

    /// One that something else took back is as good as aborted, if nothing of it can be served again: what a hold
    /// or a date keeps off is served once that goes.
    fn abort_ended(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        how: RolloutEnd,
    ) -> Result<Decided, Refusal> {
        let view = self.flag(app, flag)?;
        let standing = self.standing(view, environment)?;
        let killed = self.killed(view, environment).is_some();
        if killed || !standing.on || standing.exposure == Exposure::NONE {
            return Ok(self.nothing_left(view));
        }
        let outlived = matches!(how, RolloutEnd::Expired | RolloutEnd::TakenBack);
        let rollout = view.record().rollout(environment);
        match rollout.filter(|rollout| outlived && rollout.exposure() == standing.exposure) {
            Some(rollout) => {
                let running = Running { app, flag, environment, view, rollout };
                self.authorise_in(running, Direction::Lower)?;
                let on = rollout.turned_on.then_some(false);
                let ended = view.rollout(environment, self.now).unwrap_or_else(|| rollout.clone());
                Ok(running.ended(ended, on, Some(Exposure::NONE)))
            }
            // Somebody set since what is served.
            None => Err(Refusal::NoRollout { ended: Some(how) }),
        }
    }

    /// A person brings it to its next stage, whatever it waits for.
    pub(super) fn advance_rollout(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
    ) -> Result<Decided, Refusal> {
        let running = self.running(app, flag, environment)?;
        let Some(next) = running.rollout.next() else {
            self.revision_named(running.view, Direction::Neutral)?;
            self.authorise_in(running, Direction::Neutral)?;
            return Ok(running.completed(self));
        };
        self.revision_named(running.view, Direction::Raise)?;
        self.can_be_raised(running.view, self.state(running.view, environment)?, environment)?;
        let (tier, ground) = self.tier_and_ground(running.view, environment)?;
        let before = self.standing(running.view, environment)?;
        let after = Targeting { exposure: next.exposure, ..before.clone() };
        self.within_tier_limits((&before, &after, Way::Plan(&running.rollout.plan)), tier, ground)?;
        self.authorise_at(Direction::Raise, (running.view.app(), environment), false)?;
        self.a_person_agrees(running.rollout, ground)?;
        Ok(running.advanced(next.exposure, self))
    }

    /// What waits for a person is for a person to advance. If the plan asks for approval, that is nobody's own in
    /// production, whatever the tier leaves to one alone: somebody approved, or another than who started it acts.
    fn a_person_agrees(&self, rollout: &Rollout, ground: Ground) -> Result<(), Refusal> {
        let waits = matches!(rollout.status, RolloutStatus::Waiting { .. });
        if matches!(self.mode, Mode::Proposing) || !(waits || rollout.asks_for_approval()) {
            return Ok(());
        }
        self.no_agent()?;
        if !matches!(self.caller.actor, Actor::Human { .. }) {
            return Err(Refusal::NotAllowed { who_may: "a human: the rollout waits for one to look at it" });
        }
        let another = !same_person(&self.caller.actor, &rollout.started_by);
        if ground == Ground::Trial || !rollout.asks_for_approval() || another {
            return Ok(());
        }
        self.approved_by(1)
    }

    /// Tidegate looks at a rollout. At most one stage comes of it, and each is held for its own time: however
    /// late this is, none is skipped.
    pub(super) fn step_rollout(
        &self,
        (app, flag, environment): (&AppKey, &FlagKey, &EnvKey),
        (started_at, stage): (UnixMs, u8),
        finding: &Finding,
    ) -> Result<Decided, Refusal> {
        self.only_tidegate()?;
        let view = self.flag(app, flag)?;
        self.state(view, environment)?;
        let seen = |it: &&Rollout| it.is_active() && it.started_at == started_at && it.stage == stage;
        let rollout = view.record().rollout(environment).filter(seen);
        let Some(rollout) = rollout else { return Ok(self.nothing_left(view)) };
        let running = Running { app, flag, environment, view, rollout };
        if let Some((how, at)) = self.rollout_over(view, environment) {
            return Ok(running.ended(rollout.ended(how, at.or(Some(self.now))), None, None));
        }
        match (&rollout.status, finding) {
            (RolloutStatus::Held { .. }, Finding::Held { .. }) | (RolloutStatus::Paused { .. }, _) => {
                Ok(self.nothing_left(view))
            }
            (_, Finding::Held { reason }) => {
                super::validate::check_text("reason", reason)?;
                let held = RolloutStatus::Held { at: self.now, reason: reason.clone() };
                Ok(running.changed(rollout.with(held)))
            }
            // Who held it lets it go on: a timer that looked before the hold does not.
            (RolloutStatus::Held { .. }, _) if self.row() == Row::Evaluator => {
                Ok(running.changed(rollout.going_on(self.now)))
            }
            (RolloutStatus::Running, _)
            | (RolloutStatus::Waiting { why: WaitsFor::Outcomes, .. }, Finding::ShownGood) => {
                self.step_on(running, finding)
            }
            _ => Ok(self.nothing_left(view)),
        }
    }

    /// The stage was held for long enough, or was not.
    fn step_on(&self, running: Running<'_>, finding: &Finding) -> Result<Decided, Refusal> {
        let rollout = running.rollout;
        if let Some(at) = rollout.due_at().filter(|due| *due > self.now) {
            return Err(Refusal::NotDue { at });
        }
        let Some(next) = rollout.next() else { return Ok(running.completed(self)) };
        let (tier, ground) = self.tier_and_ground(running.view, running.environment)?;
        let asks_person =
            *finding == Finding::NotEnoughData && tier == Tier::Two && ground == Ground::Production;
        let why = match (next.approval, asks_person) {
            (true, _) => Some(WaitsFor::Plan),
            (false, true) => Some(WaitsFor::Outcomes),
            (false, false) => None,
        };
        if let Some(why) = why {
            return Ok(running.changed(rollout.with(RolloutStatus::Waiting { at: self.now, why })));
        }
        // What an agent started in a preview or sandbox never becomes a raise in production.
        let written = ground == Ground::Trial || !matches!(rollout.started_by, Actor::Agent { .. });
        self.authorise_at(Direction::Raise, (running.view.app(), running.environment), written)?;
        Ok(running.advanced(next.exposure, self))
    }

    /// How a rollout that is not over in the log is over all the same, kills that the log does not have included.
    fn rollout_over(&self, view: FlagView<'_>, environment: &EnvKey) -> Option<(RolloutEnd, Option<UnixMs>)> {
        let over = view.rollout_over(environment, self.now);
        let known = matches!(over, Some((RolloutEnd::Killed, _)));
        if self.killed(view, environment).is_some() && !known {
            return Some((RolloutEnd::Killed, None));
        }
        over
    }

    /// How the rollout that runs ends with a change of what people set, if it does.
    pub(super) fn rollout_ended_by(
        &self,
        view: FlagView<'_>,
        environment: &EnvKey,
        before: &Targeting,
        after: &Targeting,
        releases_hold: bool,
    ) -> Option<RolloutEnd> {
        view.record().rollout(environment).filter(|rollout| rollout.is_active())?;
        if let Some((how, _)) = self.rollout_over(view, environment) {
            return Some(how);
        }
        let same = before.on == after.on
            && before.exposure == after.exposure
            && before.serve == after.serve
            && before.schedule == after.schedule
            && !releases_hold;
        (!same).then_some(RolloutEnd::TakenOver)
    }

    /// The rollout that runs there, if the caller may change flags there and saw what is.
    fn running<'k>(
        &self,
        app: &'k AppKey,
        flag: &'k FlagKey,
        environment: &'k EnvKey,
    ) -> Result<Running<'k>, Refusal>
    where
        'a: 'k,
    {
        self.may(Right::Flags, Some(app), Envs::One(environment))?;
        let view = self.flag(app, flag)?;
        self.state(view, environment)?;
        self.not_stale(view)?;
        let Some(rollout) = view.record().rollout(environment) else {
            return Err(Refusal::NoRollout { ended: None });
        };
        let over = match rollout.status {
            RolloutStatus::Ended { how, .. } => Some(how),
            _ => self.rollout_over(view, environment).map(|(how, _)| how),
        };
        match over {
            Some(how) => Err(Refusal::NoRollout { ended: Some(how) }),
            None => Ok(Running { app, flag, environment, view, rollout }),
        }
    }

    fn tier_and_ground(&self, view: FlagView<'a>, environment: &EnvKey) -> Result<(Tier, Ground), Refusal> {
        let kind: EnvironmentKind = self.environment(view.app(), environment)?.kind;
        Ok((view.app().info().tier, Ground::of(kind)))
    }

    fn authorise_in(&self, running: Running<'a>, direction: Direction) -> Result<(), Refusal> {
        self.authorise_at(direction, (running.view.app(), running.environment), false)
    }
}

impl Running<'_> {
    fn changed(&self, rollout: Rollout) -> Decided {
        Decided::Change(Change::RolloutChanged {
            app: self.app.clone(),
            flag: self.flag.clone(),
            environment: self.environment.clone(),
            rollout: Box::new(rollout),
        })
    }

    fn advanced(&self, exposure: Exposure, case: &Case<'_>) -> Decided {
        let rollout = self.rollout.entering(self.rollout.stage.saturating_add(1), case.now);
        if !rollout.is_active() {
            return self.ended(rollout, None, Some(exposure));
        }
        Decided::Change(Change::RolloutAdvanced {
            app: self.app.clone(),
            flag: self.flag.clone(),
            environment: self.environment.clone(),
            rollout: Box::new(rollout),
            exposure,
        })
    }

    fn completed(&self, case: &Case<'_>) -> Decided {
        self.ended(self.rollout.ended(RolloutEnd::Completed, Some(case.now)), None, None)
    }

    fn ended(&self, rollout: Rollout, on: Option<bool>, exposure: Option<Exposure>) -> Decided {
        Decided::Change(Change::RolloutEnded {
            app: self.app.clone(),
            flag: self.flag.clone(),
            environment: self.environment.clone(),
            rollout: Box::new(rollout),
            on,
            exposure,
        })
    }
}

impl RolloutEnd {
    /// Whether the rollout's exposure is gone with it.
    fn serves_nothing(self) -> bool {
        !matches!(self, RolloutEnd::Completed | RolloutEnd::TakenOver)
    }
}
