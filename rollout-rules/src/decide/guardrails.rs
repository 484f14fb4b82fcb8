//! Writing guardrails; acting on one, which only lowers; trying one out.

use alloc::borrow::ToOwned as _;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::authority::{Direction, Envs, Ground, Right};
use super::direction::{drop_new_raises, to_come};
use super::releases::{last_deployed, reversal};
use super::validate::{invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::Change;
use crate::flag::{Hold, HoldCause, MAX_TEXT_BYTES};
use crate::governance::Actor;
use crate::ids::{AppKey, ChannelName, EnvKey, FlagKey};
use crate::percent::Exposure;
use crate::runbook::{Act, Acting, Cause, Lowered, MAX_GUARDRAILS, OWNER, job_of};
use crate::sli::guardrail::{Action, Guardrail, Sli, Test};
use crate::snapshot::{App, FlagView, MAX_OPEN_EFFECTS, Runbook};

/// What waits to be done outside, from which on no drill adds to it: the other half is left to what is meant.
const MAX_WAITING_FOR_DRILLS: usize = MAX_OPEN_EFFECTS / 2;

impl<'a> Case<'a> {
    pub(super) fn set_guardrails(
        &self,
        app: &AppKey,
        flag: Option<&FlagKey>,
        environment: Option<&EnvKey>,
        list: Option<&Vec<Guardrail>>,
    ) -> Result<Decided, Refusal> {
        let right = if flag.is_some() { Right::Flags } else { Right::Structure };
        self.may(right, Some(app), environment.into())?;
        let found = self.app(app)?;
        let view = flag.map(|flag| self.flag(app, flag)).transpose()?;
        let ground = match environment {
            Some(environment) => Ground::of(self.environment(found, environment)?.kind),
            None => Ground::Production,
        };
        let current = view.map_or(found.revision(), |view| view.revision());
        match view {
            Some(view) => self.not_stale(view)?,
            None => self.not_older(current)?,
        }
        let runbook = found.runbook();
        let sets = match flag {
            Some(flag) => runbook.and_then(|runbook| runbook.of_flag(flag)),
            None => runbook.map(Runbook::defaults),
        };
        let written = sets.and_then(|sets| sets.written(environment));
        if written == list.map(Vec::as_slice) {
            return Ok(Decided::Already(current));
        }
        if let Some(view) = view {
            self.revision_named(view, Direction::Neutral)?;
        }
        if let Some(list) = list {
            check_list(found, list)?;
        }
        self.authorise(Direction::Neutral, ground, found.info().tier, false)?;
        Ok(Decided::Change(Change::GuardrailsChanged {
            app: app.clone(),
            flag: flag.cloned(),
            environment: environment.cloned(),
            guardrails: list.cloned(),
        }))
    }

    /// Automation acts. Once for one cause on one revision of a flag, and not more often in a day than it may.
    pub(super) fn act(&self, acting: &Acting) -> Result<Decided, Refusal> {
        if !matches!(self.caller.actor, Actor::Evaluator | Actor::Tidegate) {
            return Err(Refusal::NotAllowed {
                who_may: "Tidegate's evaluator (people try a guardrail with a drill)",
            });
        }
        let Acting { app, flag, environment, cause, .. } = acting;
        let found = self.app(app)?;
        let runbook = found.runbook();
        let view = flag.as_ref().map(|flag| self.flag(app, flag)).transpose()?;
        let served = match (view, environment) {
            (Some(view), Some(environment)) => Some(self.state(view, environment)?.revision()),
            _ => self.deployment_measured(found, acting)?,
        };
        // Without a word of it, what is served now was measured.
        let measured = acting.measured.or(served);
        let deployed_at = environment.as_ref().and_then(|environment| last_deployed(found, environment));
        let past = runbook.and_then(|runbook| {
            let rule = acting.guardrail.as_ref().map(Guardrail::when);
            let found = acting.found.unwrap_or(self.now).min(self.now);
            runbook.acted((flag.as_ref(), environment.as_ref()), measured, *cause, rule, (found, deployed_at))
        });
        if let Some(past) = past {
            return Ok(Decided::Already(past.revision));
        }
        // What did harm may be mended already: automation acts on what it measured. That a rollout brings it to more
        // units meanwhile is no mending, and what another rule took back for the same is nobody's change.
        if let (Some(view), Some(environment), Some(seen), Some(current)) =
            (view, environment, measured, served)
            && seen != current
            && !view.only_went_on_since(environment, seen)
            && !runbook.is_some_and(|runbook| runbook.acted_at(&view.record().flag().key, current, seen))
        {
            return Err(Refusal::Stale { seen, current, changed: view.changed_since(seen) });
        }
        let current = view.map_or(found.revision(), |view| view.revision());
        let actions = self.not_reverted_yet(found, acting, measured)?;
        let asked = Asked {
            flag: flag.as_ref(),
            environment: environment.as_ref(),
            guardrail: acting.guardrail.as_ref(),
            cause: *cause,
            actions: &actions,
        };
        let (lowered, effects) = self.carried_out(found, &asked)?;
        if lowered.is_empty() && effects.is_empty() {
            return Ok(Decided::Already(current));
        }
        let act = Act {
            app: app.clone(),
            flag: flag.clone(),
            environment: environment.clone(),
            guardrail: acting.guardrail.clone(),
            variant: acting.variant.clone(),
            cause: *cause,
            measured,
            evidence: acting.evidence.clone(),
            lowered,
            release: reversal(found, environment.as_ref(), &effects),
            effects,
        };
        let until = found.left_to_people_until(environment.as_ref(), self.now);
        match until.filter(|_| act.is_action()) {
            Some(until) => Err(Refusal::LeftToPeople { until }),
            None => Ok(Decided::Change(Change::GuardrailActed { act: Box::new(act) })),
        }
    }

    /// A person does for real what a rule does.
    pub(super) fn drill(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        guardrail: &Guardrail,
    ) -> Result<Decided, Refusal> {
        self.may(Right::Structure, Some(app), Envs::One(environment))?;
        self.no_agent()?;
        let view = self.flag(app, flag)?;
        let served = self.state(view, environment)?.revision();
        self.not_stale(view)?;
        if !view.app().guardrails(Some(flag), environment).rules.contains(guardrail) {
            return Err(invalid("guardrail", "none of the rules that hold for the flag there"));
        }
        let asked = Asked {
            flag: Some(flag),
            environment: Some(environment),
            guardrail: Some(guardrail),
            cause: Cause::Drill,
            actions: guardrail.then(),
        };
        let (lowered, effects) = self.carried_out(view.app(), &asked)?;
        if lowered.is_empty() && effects.is_empty() {
            return Ok(self.nothing_left(view));
        }
        let waiting = self.snapshot.waiting_run_count() + effects.len();
        too_many("effects of guardrails that wait", waiting, MAX_WAITING_FOR_DRILLS)?;
        let tier = view.app().info().tier;
        let ground = Ground::of(self.environment(view.app(), environment)?.kind);
        self.authorise(Direction::Lower, ground, tier, false)?;
        let act = Act {
            app: app.clone(),
            flag: Some(flag.clone()),
            environment: Some(environment.clone()),
            guardrail: Some(guardrail.clone()),
            variant: None,
            cause: Cause::Drill,
            measured: Some(served),
            evidence: None,
            lowered,
            release: reversal(view.app(), Some(environment), &effects),
            effects,
        };
        Ok(Decided::Change(Change::GuardrailActed { act: Box::new(act) }))
    }

    /// The reason that a drill is written down with: it says that it is one.
    pub(super) fn reason_of_drill(&self) -> String {
        if self.reason.trim().is_empty() { "drill".to_owned() } else { format!("drill: {}", self.reason) }
    }

    /// What actions come to now: what is lowered at once, and what is asked for outside. What is low already stays
    /// as it is.
    fn carried_out(&self, app: &App, asked: &Asked<'_>) -> Result<(Vec<Lowered>, Vec<Action>), Refusal> {
        let (mut lowered, mut effects) = (Vec::new(), Vec::new());
        too_many("actions of one rule", asked.actions.len(), crate::sli::guardrail::MAX_ACTIONS)?;
        for action in asked.actions {
            match action {
                Action::FlagOff => lowered.extend(self.flag_off(app, asked)?),
                Action::RolloutToZero => lowered.extend(self.rollout_to_zero(app, asked)?),
                Action::DisableNonCritical => {
                    if !app.held_by_budget(asked.environment).is_empty() {
                        lowered.push(Lowered::NonCritical { hold: self.hold_of(asked) });
                    }
                }
                Action::RevertRelease | Action::Notify(_) | Action::Run(_) => effects.push(action.clone()),
            }
        }
        Ok((lowered, effects))
    }

    fn flag_off(&self, app: &App, asked: &Asked<'_>) -> Result<Option<Lowered>, Refusal> {
        let (view, environment) = self.about(app, asked)?;
        let state = self.state(view, environment)?.state();
        let hold = self.hold_of(asked);
        let stays = hold.cause == HoldCause::Budget && view.record().flag().critical;
        Ok((state.hold.is_none() && !stays).then_some(Lowered::Held { hold }))
    }

    fn rollout_to_zero(&self, app: &App, asked: &Asked<'_>) -> Result<Option<Lowered>, Refusal> {
        let (view, environment) = self.about(app, asked)?;
        let mut before = self.standing(view, environment)?;
        before.schedule = to_come(&before.schedule, self.now);
        let mut after = before.clone();
        after.exposure = Exposure::NONE;
        drop_new_raises(&before, &mut after);
        // What would raise from nothing on goes too: the plan was for what did harm.
        after.schedule.retain(|step| step.exposure.is_none_or(|exposure| exposure == Exposure::NONE));
        let zero = before.exposure == Exposure::NONE && before.schedule == after.schedule;
        Ok((!zero).then(|| Lowered::Targeted { targeting: Box::new(after) }))
    }

    /// The flag and the environment that an action is about.
    fn about<'q>(&self, app: &App, asked: &Asked<'q>) -> Result<(FlagView<'a>, &'q EnvKey), Refusal> {
        let (Some(flag), Some(environment)) = (asked.flag, asked.environment) else {
            return Err(invalid(
                "actions",
                "`flag off` and `rollout to 0` are about a flag in an environment",
            ));
        };
        Ok((self.flag(&app.info().key, flag)?, environment))
    }

    fn hold_of(&self, asked: &Asked<'_>) -> Hold {
        let sli = asked.guardrail.map(|rule| match rule.when() {
            Test::WorseThanControl { sli, .. } | Test::Threshold { sli, .. } => sli,
        });
        let cause = if sli == Some(Sli::MonthlySpend) { HoldCause::Budget } else { HoldCause::Guardrail };
        let drill = if asked.cause == Cause::Drill { "drill of " } else { "" };
        let rule = asked.guardrail.map_or_else(|| "no rule".to_owned(), |rule| rule.when().to_string());
        let mut reason = format!("{drill}{rule}");
        if !self.reason.is_empty() {
            reason = format!("{reason}: {}", self.reason);
        }
        reason.truncate(reason.floor_char_boundary(MAX_TEXT_BYTES));
        Hold { cause, at: self.now, reason }
    }
}

/// What is to be carried out, and why.
struct Asked<'q> {
    flag: Option<&'q FlagKey>,
    environment: Option<&'q EnvKey>,
    guardrail: Option<&'q Guardrail>,
    cause: Cause,
    actions: &'q [Action],
}

/// Whether a list can be kept: not too long, nothing twice, and everybody it calls is there.
fn check_list(app: &App, list: &[Guardrail]) -> Result<(), Refusal> {
    too_many("guardrails of one list", list.len(), MAX_GUARDRAILS)?;
    for (nth, rule) in list.iter().enumerate() {
        if list[..nth].iter().any(|other| other.when() == rule.when()) {
            let problem = format!("`{}` is there twice: put what it does into one rule", rule.when());
            return Err(invalid(format!("guardrails[{nth}]"), problem));
        }
        let asks_budget =
            matches!(rule.when(), Test::Threshold { bound: crate::sli::guardrail::Bound::OfBudget(_), .. });
        if asks_budget && app.info().monthly_budget_micros.is_none() {
            let problem = "the app has no budget: set one with `tidegate app update --monthly-budget`";
            return Err(invalid(format!("guardrails[{nth}].when"), problem));
        }
        for (place, action) in rule.then().iter().enumerate() {
            let field = || format!("guardrails[{nth}].then[{place}]");
            let runbook = app.runbook();
            if let Some(job) = job_of(action)
                && runbook.and_then(|runbook| runbook.job(&job)).is_none()
            {
                let problem =
                    format!("there is no job `{job}`: make it first, with `tidegate job create {job}`");
                return Err(invalid(field(), problem));
            }
            if let Action::Notify(channel) = action
                && channel.as_str() != OWNER
                && runbook.and_then(|runbook| runbook.channel(channel)).is_none()
            {
                let problem = format!(
                    "there is no channel `{channel}`: make it first, with `tidegate channel create {channel}`"
                );
                return Err(invalid(field(), problem));
            }
        }
    }
    Ok(())
}

/// Who is meant by a channel that an app has not.
pub(super) fn no_channel(channel: &ChannelName) -> Refusal {
    Refusal::NotFound { what: What::Other("channel", channel.to_string()) }
}
