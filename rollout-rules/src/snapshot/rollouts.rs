//! Rollouts in the fold: what stands of them, which are due, and where they are.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::app::{FlagRecord, after};
use super::apply::Stamp;
use super::fold_flags::Touched;
use super::{App, FlagView, KEPT_TOUCHES, Snapshot};
use crate::change::{Change, ChangeKind};
use crate::ids::{AppKey, EnvKey, FlagKey, Revision};
use crate::percent::Exposure;
use crate::rollout::{Rollout, RolloutEnd, RolloutStatus};
use crate::time::UnixMs;

/// Where a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RolloutPlace {
    /// The app.
    pub app: AppKey,
    /// The flag.
    pub flag: FlagKey,
    /// The environment.
    pub environment: EnvKey,
}

/// Which rollouts there are, those that ended included, and when the clocks that run say that one is due.
#[derive(Clone, Default)]
pub(super) struct Rollouts {
    places: RedBlackTreeMapSync<AppKey, RedBlackTreeMapSync<InApp, Option<UnixMs>>>,
    due: RedBlackTreeMapSync<UnixMs, RedBlackTreeSetSync<RolloutPlace>>,
}

/// Where in an app a rollout is.
type InApp = (FlagKey, EnvKey);

impl Rollouts {
    /// Puts the rollouts of a record in the place of those of the one before.
    pub(super) fn replace(&mut self, app: &AppKey, before: Option<&FlagRecord>, after: &FlagRecord) {
        let counts = |record: &&FlagRecord| record.rollouts.is_some() && !record.is_archived();
        if let Some(before) = before.filter(counts) {
            before.rollouts().for_each(|(environment, _)| self.remove(app, &before.flag.key, environment));
        }
        if let Some(after) = Some(after).filter(counts) {
            for (environment, rollout) in after.rollouts() {
                self.insert(app, &after.flag.key, environment, rollout.due_at());
            }
        }
    }

    fn insert(&mut self, app: &AppKey, flag: &FlagKey, environment: &EnvKey, due: Option<UnixMs>) {
        if let Some(at) = due {
            let mut then = self.due.get(&at).cloned().unwrap_or_default();
            then.insert_mut(RolloutPlace::new(app, flag, environment));
            self.due.insert_mut(at, then);
        }
        let mut here = self.places.get(app).cloned().unwrap_or_default();
        here.insert_mut((flag.clone(), environment.clone()), due);
        self.places.insert_mut(app.clone(), here);
    }

    fn remove(&mut self, app: &AppKey, flag: &FlagKey, environment: &EnvKey) {
        let Some(here) = self.places.get_mut(app) else { return };
        let place = (flag.clone(), environment.clone());
        if let Some(Some(at)) = here.get(&place).copied()
            && let Some(then) = self.due.get_mut(&at)
        {
            then.remove_mut(&RolloutPlace::new(app, flag, environment));
            if then.is_empty() {
                self.due.remove_mut(&at);
            }
        }
        here.remove_mut(&place);
        if here.is_empty() {
            self.places.remove_mut(app);
        }
    }
}

impl RolloutPlace {
    fn new(app: &AppKey, flag: &FlagKey, environment: &EnvKey) -> RolloutPlace {
        RolloutPlace { app: app.clone(), flag: flag.clone(), environment: environment.clone() }
    }
}

impl Snapshot {
    /// The rollouts whose stage was held for long enough, by the time at which it was.
    pub fn rollouts_due(&self, now: UnixMs) -> impl Iterator<Item = &RolloutPlace> {
        self.rollouts.due.range(..=now).flat_map(|(_, places)| places.iter())
    }

    /// The first moment after `now` at which a rollout is due, however many are due already.
    pub fn next_rollout_due(&self, now: UnixMs) -> Option<UnixMs> {
        self.rollouts.due.range((Bound::Excluded(now), Bound::Unbounded)).next().map(|(at, _)| *at)
    }

    /// When the stage of a rollout was or will be held for long enough, if its clock runs.
    pub fn rollout_due_at(&self, place: &RolloutPlace) -> Option<UnixMs> {
        self.flag(&place.app, &place.flag)?.record().rollout(&place.environment)?.due_at()
    }

    /// The flags and environments of an app that have or had a rollout, from after `cursor`.
    pub fn rollouts(
        &self,
        app: &AppKey,
        cursor: Option<&(FlagKey, EnvKey)>,
    ) -> impl Iterator<Item = (&FlagKey, &EnvKey)> {
        let here = self.rollouts.places.get(app);
        let places = here.into_iter().flat_map(move |here| here.range::<InApp, _>(after(cursor)));
        places.map(|((flag, environment), _)| (flag, environment))
    }

    /// A rollout started, went on or ended; with it, as far as the entry says so, what is served.
    pub(super) fn rollout_changed(
        &mut self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        rollout: &Rollout,
        stamp: &Stamp<'_>,
    ) {
        let (on, exposure) = serves(&stamp.entry.change);
        let started = matches!(stamp.entry.change, Change::RolloutStarted { .. });
        // Looked up before the revision that tells it is set.
        let revived = self.flag(app, flag).is_some_and(|view| view.was_revived(environment));
        let touched = match (on, exposure) {
            (None, None) => Touched::Nothing,
            _ => Touched::One(environment),
        };
        self.change_flag(app, flag, &touched, stamp, |record| {
            let Some(state) = record.state_mut(environment) else { return false };
            if on.is_some() || exposure.is_some() {
                let state = Arc::make_mut(&mut state.state);
                let targeting = &mut state.targeting;
                if revived {
                    // What was set before a kill is not what this was decided on.
                    targeting.on = false;
                    targeting.schedule.clear();
                }
                targeting.on = on.unwrap_or(targeting.on);
                targeting.exposure = exposure.unwrap_or(targeting.exposure);
                // Scheduled steps that had come are in what was decided.
                targeting.schedule.retain(|step| step.at > stamp.entry.at);
                state.targeting_revision = stamp.revision();
                if started {
                    state.hold = None;
                }
            }
            record.rollouts.get_or_insert_default().insert(environment.clone(), rollout.clone());
            true
        });
    }
}

impl Snapshot {
    /// How and when the rollout that runs somewhere ends as automation lowers the flag at `at`: it may have been over
    /// by then, with nobody having written it down.
    pub(super) fn taken_back(
        &self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        at: UnixMs,
    ) -> (RolloutEnd, UnixMs) {
        let over = self.flag(app, flag).and_then(|view| view.rollout_over(environment, at));
        over.map_or((RolloutEnd::TakenBack, at), |(how, known)| (how, known.unwrap_or(at)))
    }

    /// Rollouts in a preview that had ended by now do not go on once it is extended.
    pub(super) fn end_rollouts_of_ended(&mut self, app: &AppKey, environment: &EnvKey, now: UnixMs) {
        let Some(shared) = self.apps.get(app) else { return };
        let ended_at = shared.ends_at(environment);
        if ended_at > now {
            return;
        }
        let mut changed = App::clone(shared);
        let here = self.rollouts.places.get(app).into_iter().flat_map(|here| here.keys());
        let flags: Vec<FlagKey> =
            here.filter(|(_, there)| there == environment).map(|(flag, _)| flag.clone()).collect();
        for key in flags {
            let Some(record) = changed.flags.get(&key) else { continue };
            let mut record = FlagRecord::clone(record);
            record.end_rollout(environment, RolloutEnd::Expired, ended_at);
            self.index_flag(&mut changed, &key, record);
        }
        self.apps.insert_mut(app.clone(), Arc::new(changed));
    }
}

/// Whether a change brings a rollout further or leaves alone what is served. One that was ended is told by its status.
fn goes_on_with(change: ChangeKind) -> bool {
    matches!(
        change,
        ChangeKind::RolloutAdvanced
            | ChangeKind::RolloutChanged
            | ChangeKind::RolloutEnded
            | ChangeKind::GuardrailsChanged
    )
}

/// What an entry about a rollout says of the flag: whether it is on, and its exposure.
fn serves(change: &Change) -> (Option<bool>, Option<Exposure>) {
    match change {
        Change::RolloutStarted { exposure, .. } => (Some(true), Some(*exposure)),
        Change::RolloutAdvanced { exposure, .. } => (None, Some(*exposure)),
        Change::RolloutEnded { on, exposure, .. } => (*on, *exposure),
        _ => (None, None),
    }
}

impl FlagRecord {
    /// Its last rollout in each environment that had one.
    pub fn rollouts(&self) -> impl Iterator<Item = (&EnvKey, &Rollout)> {
        self.rollouts.iter().flat_map(|all| all.iter())
    }

    /// Its last rollout in an environment, as the log tells it.
    pub fn rollout(&self, environment: &EnvKey) -> Option<&Rollout> {
        self.rollouts.as_ref()?.get(environment)
    }

    /// Ends the rollout that runs in an environment, if one does.
    pub(super) fn end_rollout(&mut self, environment: &EnvKey, how: RolloutEnd, at: UnixMs) {
        let running = self.rollouts.as_mut().and_then(|all| all.get_mut(environment));
        if let Some(running) = running.filter(|rollout| rollout.is_active()) {
            running.status = RolloutStatus::Ended { at: Some(at), how };
        }
    }

    /// Ends all that run.
    pub(super) fn end_rollouts(&mut self, how: RolloutEnd, at: UnixMs) {
        let running = self.rollouts.iter_mut().flat_map(|all| all.values_mut());
        for rollout in running.filter(|rollout| rollout.is_active()) {
            rollout.status = RolloutStatus::Ended { at: Some(at), how };
        }
    }

    /// An environment is gone.
    pub(super) fn forget_rollout(&mut self, environment: &EnvKey) {
        if let Some(all) = &mut self.rollouts {
            all.remove(environment);
        }
        self.rollouts.take_if(|all: &mut Box<BTreeMap<EnvKey, Rollout>>| all.is_empty());
    }
}

impl FlagView<'_> {
    /// How the rollout that runs in an environment is over by now, though nobody has written it down: time and
    /// what lies above the flag say so.
    pub fn rollout_over(&self, environment: &EnvKey, now: UnixMs) -> Option<(RolloutEnd, Option<UnixMs>)> {
        let rollout = self.record().rollout(environment).filter(|rollout| rollout.is_active())?;
        let state = self.record().state(environment)?.state();
        if let Some((_, kill)) = self.killed(environment) {
            return Some((RolloutEnd::Killed, Some(kill.at)));
        }
        if self.was_revived(environment) {
            return Some((RolloutEnd::Killed, None));
        }
        if let Some(hold) = &state.hold {
            return Some((RolloutEnd::TakenBack, Some(hold.at)));
        }
        let expires_at = state.expires_at.min(self.app().ends_at(environment));
        if expires_at <= now {
            return Some((RolloutEnd::Expired, Some(expires_at)));
        }
        // Nothing but a scheduled step that has come can have lowered it.
        let (on, exposure) = state.targeting.lowered(now);
        (!on || exposure != rollout.exposure()).then_some((RolloutEnd::TakenOver, None))
    }

    /// Whether nothing changed of the flag since a revision but how far a rollout brought it: what was served there
    /// then is served now, to more. Denied where more happened since than is remembered ([`KEPT_TOUCHES`]).
    pub fn only_went_on_since(&self, environment: &EnvKey, seen: Revision) -> bool {
        let goes_on = match self.record().rollout(environment).map(|rollout| &rollout.status) {
            Some(RolloutStatus::Ended { how, .. }) => *how == RolloutEnd::Completed,
            other => other.is_some(),
        };
        let touches = &self.record().touches.0;
        let remembered =
            touches.len() < KEPT_TOUCHES || touches.first().is_some_and(|it| it.revision <= seen);
        let mut since = touches.iter().filter(|touch| touch.revision > seen);
        goes_on && remembered && since.all(|touch| goes_on_with(touch.change))
    }

    /// The last rollout in an environment, as it is now.
    pub fn rollout(&self, environment: &EnvKey, now: UnixMs) -> Option<Rollout> {
        let rollout = self.record().rollout(environment)?;
        Some(match self.rollout_over(environment, now) {
            Some((how, at)) => rollout.ended(how, at),
            None => rollout.clone(),
        })
    }
}

impl App {
    fn ends_at(&self, environment: &EnvKey) -> UnixMs {
        self.environment(environment).and_then(|record| record.environment().ends_at).unwrap_or(UnixMs::NEVER)
    }
}
