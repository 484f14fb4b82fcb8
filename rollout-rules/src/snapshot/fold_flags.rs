//! The fold of what happens to apps, environments and flags.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rpds::RedBlackTreeMapSync;

use super::app::{App, EnvironmentRecord, FlagRecord, StateRecord, Touches};
use super::apply::Stamp;
use super::instants::Instants;
use super::uses::Uses;
use super::{PreviewEnd, Snapshot};
use crate::change::Change;
use crate::decide::{PREVIEW_ENDED, is_of};
use crate::evaluate::{AppFlags, EnvironmentFlags};
use crate::flag::{AppInfo, Environment, EnvironmentKind, Flag, FlagState, Hold, Kills, Targeting, Variant};
use crate::ids::{AppKey, EnvKey, FlagKey, Revision, VariantKey};
use crate::rollout::RolloutEnd;
use crate::table::FlagTable;
use crate::time::UnixMs;

/// Which states of a flag an entry touched.
pub(super) enum Touched<'a> {
    All,
    One(&'a EnvKey),
    Some(&'a [EnvKey]),
    /// None: what is served is the same.
    Nothing,
}

/// What becomes of the kills in an environment that goes. They stay when another of its key takes its place:
/// making one is no revival.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KillsOfGone {
    Stay,
    Go,
}

impl Snapshot {
    pub(super) fn app_created(&mut self, info: &AppInfo, environments: &[Environment], stamp: &Stamp<'_>) {
        if self.apps.contains_key(&info.key) {
            return;
        }
        let mut app = App {
            info: Arc::new(info.clone()),
            rules: AppFlags::default(),
            revision: stamp.revision(),
            kills_revision: Revision::ZERO,
            served_revision: stamp.revision(),
            touches: Touches::default(),
            environments: BTreeMap::new(),
            flags: RedBlackTreeMapSync::new_sync(),
            segments: RedBlackTreeMapSync::new_sync(),
            segment_uses: Uses::default(),
            dependents: Uses::default(),
            runbook: None,
            gate: None,
        };
        app.touches.push(&stamp.touch);
        for environment in environments {
            self.put_environment(&mut app, environment, stamp.revision());
        }
        self.apps.insert_mut(info.key.clone(), Arc::new(app));
    }

    pub(super) fn app_updated(&mut self, info: &AppInfo, stamp: &Stamp<'_>) {
        let Some(app) = self.apps.get_mut(&info.key) else { return };
        let app = Arc::make_mut(app);
        if app.info.sensitive != info.sensitive {
            // Flags may travel to pages in another form.
            app.served_revision = stamp.revision();
        }
        app.info = Arc::new(info.clone());
        app.touch(stamp);
    }

    /// With `replaced`, another of its key has just gone: whoever saw a flag in that one has not seen this.
    pub(super) fn environment_created(
        &mut self,
        app: &AppKey,
        environment: &Environment,
        expires_at: UnixMs,
        replaced: bool,
        stamp: &Stamp<'_>,
    ) {
        let Some(shared) = self.apps.get(app).filter(|app| !app.environments.contains_key(&environment.key))
        else {
            return;
        };
        let mut changed = App::clone(shared);
        self.put_environment(&mut changed, environment, stamp.revision());
        changed.touch(stamp);
        let keys: Vec<FlagKey> = changed.flags.keys().cloned().collect();
        for key in keys {
            let Some(record) = changed.flags.get(&key) else { continue };
            let mut record = FlagRecord::clone(record);
            let targeting = Targeting::off(variant_when_on(&record.flag));
            let state = FlagState { targeting, expires_at, targeting_revision: stamp.revision(), hold: None };
            record.put_state(
                environment.key.clone(),
                StateRecord { state: Arc::new(state), revision: stamp.revision() },
            );
            if replaced {
                record.revision = stamp.revision();
                record.touches.push(&stamp.touch);
            }
            self.index_flag(&mut changed, &key, record);
        }
        self.serve_all(&mut changed, Some(&environment.key));
        self.apps.insert_mut(app.clone(), Arc::new(changed));
        // What belonged to one that had its key is its own now.
        self.untold_ends.remove_mut(&(app.clone(), environment.key.clone()));
    }

    pub(super) fn put_environment(&mut self, app: &mut App, environment: &Environment, revision: Revision) {
        let mut instants = Instants::default();
        let mut flags = FlagTable::default();
        let (mut releases, mut decisions) = (None, None);
        if let Some(before) = app.environments.get(&environment.key) {
            instants = before.instants.clone();
            flags = before.flags.flags.clone();
            (releases, decisions) = (before.releases.clone(), before.decisions.clone());
            if let Some(ends_at) = before.environment.ends_at {
                instants.remove(ends_at);
                self.instants.remove(ends_at);
                self.preview_ends.remove_mut(&end_of(app, environment, ends_at));
            }
        }
        if let Some(ends_at) = environment.ends_at {
            instants.insert(ends_at);
            self.instants.insert(ends_at);
            self.preview_ends.insert_mut(end_of(app, environment, ends_at));
        }
        let record = EnvironmentRecord {
            environment: environment.clone(),
            revision,
            instants,
            flags: EnvironmentFlags { key: environment.key.clone(), ends_at: environment.ends_at, flags },
            releases,
            decisions,
        };
        app.environments.insert(environment.key.clone(), Arc::new(record));
    }

    pub(super) fn environment_updated(&mut self, app: &AppKey, environment: &Environment, stamp: &Stamp<'_>) {
        self.end_rollouts_of_ended(app, &environment.key, stamp.entry.at);
        let Some(shared) = self.apps.get(app).filter(|app| app.environments.contains_key(&environment.key))
        else {
            return;
        };
        let mut changed = App::clone(shared);
        self.put_environment(&mut changed, environment, stamp.revision());
        changed.touch(stamp);
        self.apps.insert_mut(app.clone(), Arc::new(changed));
    }

    pub(super) fn environment_removed(
        &mut self,
        app: &AppKey,
        environment: &EnvKey,
        kills: KillsOfGone,
        stamp: &Stamp<'_>,
    ) {
        let go = kills == KillsOfGone::Go;
        let gone = self.app(app).and_then(|app| app.environment(environment));
        if gone.is_some_and(|gone| gone.environment.kind == EnvironmentKind::Production) {
            self.production_removed(app, environment);
        }
        let Some(shared) = self.apps.get(app).filter(|app| app.environments.contains_key(environment)) else {
            return;
        };
        let mut changed = App::clone(shared);
        let keys: Vec<FlagKey> = changed.flags.keys().cloned().collect();
        for key in keys {
            let Some(record) = changed.flags.get(&key) else { continue };
            let mut record = FlagRecord::clone(record);
            record.states.retain(|(state, _)| state != environment);
            record.forget_rollout(environment);
            if let Some(kills) = record.kills.as_mut().filter(|_| go) {
                kills.environments.remove(environment);
                kills.off_before_in.remove(environment);
            }
            record.kills.take_if(|kills| **kills == Kills::default());
            self.index_flag(&mut changed, &key, record);
        }
        if let Some(gone) = changed.environments.remove(environment)
            && let Some(ends_at) = gone.environment.ends_at
        {
            self.instants.remove(ends_at);
            self.preview_ends.remove_mut(&end_of(&changed, &gone.environment, ends_at));
        }
        self.preview_went(app, environment);
        changed.forget_guardrails_in(environment);
        if go {
            changed.rules.kills.environments.remove(environment);
            changed.rules.kills.off_before_in.remove(environment);
        }
        changed.touch(stamp);
        self.apps.insert_mut(app.clone(), Arc::new(changed));
    }

    /// Keeps the end of a preview that goes untold: when it ended, or went before that.
    pub(super) fn note_untold_end(&mut self, app: &AppKey, environment: &EnvKey, stamp: &Stamp<'_>) {
        let Some(record) = self.apps.get(app).and_then(|app| app.environments.get(environment)) else {
            return;
        };
        let went_at = stamp.entry.at;
        let ended_at = record.environment.ends_at.map_or(went_at, |ends_at| ends_at.min(went_at));
        self.untold_ends.insert_mut((app.clone(), environment.clone()), ended_at);
    }

    /// With a preview goes the request to destroy what belongs to it: it was told, and waits for nobody.
    fn preview_went(&mut self, app: &AppKey, environment: &EnvKey) {
        let told = self
            .effects
            .iter()
            .filter(|(_, effect)| effect.effect == PREVIEW_ENDED && is_of(&effect.payload, app, environment));
        let told: Vec<Revision> = told.map(|(revision, _)| *revision).collect();
        for revision in told {
            self.effects.remove_mut(&revision);
        }
    }

    pub(super) fn flag_created(
        &mut self,
        app: &AppKey,
        flag: &Flag,
        states: &BTreeMap<EnvKey, FlagState>,
        stamp: &Stamp<'_>,
    ) {
        let Some(shared) = self.apps.get(app).filter(|app| !app.flags.contains_key(&flag.key)) else {
            return;
        };
        let mut changed = App::clone(shared);
        let mut record = FlagRecord {
            flag: Arc::new(flag.clone()),
            kills: None,
            revision: stamp.revision(),
            states: Vec::with_capacity(states.len()),
            rollouts: None,
            touches: Touches::default(),
        };
        record.touches.push(&stamp.touch);
        for (environment, state) in states {
            if changed.environments.contains_key(environment) {
                let mut state = state.clone();
                state.targeting_revision = stamp.revision();
                record.put_state(
                    environment.clone(),
                    StateRecord { state: Arc::new(state), revision: stamp.revision() },
                );
            }
        }
        self.replace_flag(&mut changed, &flag.key, record);
        changed.touch_environments(&Touched::All, stamp.revision());
        self.apps.insert_mut(app.clone(), Arc::new(changed));
    }

    pub(super) fn flag_updated(&mut self, app: &AppKey, flag: &Flag, stamp: &Stamp<'_>) {
        self.change_flag(app, &flag.key, &Touched::All, stamp, |record| {
            // An archived flag comes back by no update.
            let archived_at = record.flag.archived_at;
            record.flag = Arc::new(Flag { archived_at, ..flag.clone() });
            true
        });
    }

    pub(super) fn targeting_changed(
        &mut self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        stamp: &Stamp<'_>,
    ) {
        let Change::TargetingChanged { targeting, release_hold, ends_rollout, .. } = &stamp.entry.change
        else {
            return;
        };
        self.change_flag(app, flag, &Touched::One(environment), stamp, |record| {
            let Some(state) = record.state_mut(environment) else { return false };
            let state = Arc::make_mut(&mut state.state);
            state.targeting = Targeting::clone(targeting);
            state.targeting_revision = stamp.revision();
            if *release_hold {
                state.hold = None;
            }
            if let Some(how) = ends_rollout {
                record.end_rollout(environment, *how, stamp.entry.at);
            }
            true
        });
    }

    pub(super) fn flag_extended(
        &mut self,
        app: &AppKey,
        flag: &FlagKey,
        expires_at: &BTreeMap<EnvKey, UnixMs>,
        stamp: &Stamp<'_>,
    ) {
        self.change_flag(app, flag, &Touched::All, stamp, |record| {
            let mut known = false;
            for (environment, expires_at) in expires_at {
                let Some(state) = record.state_mut(environment) else { continue };
                let expired_at =
                    core::mem::replace(&mut Arc::make_mut(&mut state.state).expires_at, *expires_at);
                if expired_at <= stamp.entry.at {
                    // What the flag did when it expired is served again; its rollout does not go on.
                    record.end_rollout(environment, RolloutEnd::Expired, expired_at);
                }
                known = true;
            }
            if known {
                let flag = Arc::make_mut(&mut record.flag);
                flag.extensions = flag.extensions.saturating_add(1);
            }
            known
        });
    }

    pub(super) fn flag_archived(&mut self, app: &AppKey, flag: &FlagKey, stamp: &Stamp<'_>) {
        self.change_flag(app, flag, &Touched::All, stamp, |record| {
            Arc::make_mut(&mut record.flag).archived_at = Some(stamp.entry.at);
            record.end_rollouts(RolloutEnd::TakenOver, stamp.entry.at);
            true
        });
    }

    pub(super) fn hold_changed(
        &mut self,
        app: &AppKey,
        flag: &FlagKey,
        environment: &EnvKey,
        hold: Option<&Hold>,
        stamp: &Stamp<'_>,
    ) {
        let (how, at) = self.taken_back(app, flag, environment, stamp.entry.at);
        self.change_flag(app, flag, &Touched::One(environment), stamp, |record| {
            let Some(state) = record.state_mut(environment) else { return false };
            Arc::make_mut(&mut state.state).hold = hold.cloned().map(Box::new);
            if hold.is_some() {
                record.end_rollout(environment, how, at);
            }
            true
        });
    }

    /// Changes a flag that exists and is not archived, if `change` finds what it is about.
    pub(super) fn change_flag(
        &mut self,
        app: &AppKey,
        flag: &FlagKey,
        touched: &Touched<'_>,
        stamp: &Stamp<'_>,
        change: impl FnOnce(&mut FlagRecord) -> bool,
    ) {
        let Some(shared) = self.apps.get(app) else { return };
        let Some(before) = shared.flags.get(flag).filter(|record| !record.is_archived()) else { return };
        let mut record = FlagRecord::clone(before);
        if !change(&mut record) {
            return;
        }
        record.revision = stamp.revision();
        record.touches.push(&stamp.touch);
        for (environment, state) in &mut record.states {
            if touched.holds(environment) {
                state.revision = stamp.revision();
            }
        }
        let mut changed = App::clone(shared);
        self.replace_flag(&mut changed, flag, record);
        changed.touch_environments(touched, stamp.revision());
        self.apps.insert_mut(app.clone(), Arc::new(changed));
    }

    /// Puts a record in the place of the one before, for checks too.
    pub(super) fn replace_flag(&mut self, app: &mut App, key: &FlagKey, record: FlagRecord) {
        self.serve_flag(app, key, &record, app.flags.get(key).map(Arc::clone).as_deref());
        self.index_flag(app, key, record);
    }
}

impl Touched<'_> {
    pub(super) fn holds(&self, environment: &EnvKey) -> bool {
        match self {
            Touched::All => true,
            Touched::One(one) => *one == environment,
            Touched::Some(some) => some.contains(environment),
            Touched::Nothing => false,
        }
    }
}

impl App {
    pub(super) fn touch(&mut self, stamp: &Stamp<'_>) {
        self.revision = stamp.revision();
        self.touches.push(&stamp.touch);
    }

    pub(super) fn touch_environments(&mut self, touched: &Touched<'_>, revision: Revision) {
        for (key, record) in &mut self.environments {
            if touched.holds(key) {
                Arc::make_mut(record).revision = revision;
            }
        }
    }
}

impl FlagRecord {
    fn put_state(&mut self, environment: EnvKey, state: StateRecord) {
        match self.states.binary_search_by(|(key, _)| key.cmp(&environment)) {
            Ok(place) => self.states[place].1 = state,
            Err(place) => self.states.insert(place, (environment, state)),
        }
    }
}

/// What a flag serves once it is turned on and nobody said more: its first variant that is not the off
/// variant.
pub(crate) fn variant_when_on(flag: &Flag) -> VariantKey {
    let other = flag.variants.iter().find(|variant| variant.key != flag.off_variant);
    other.map_or_else(|| flag.off_variant.clone(), |Variant { key, .. }| key.clone())
}

fn end_of(app: &App, environment: &Environment, at: UnixMs) -> PreviewEnd {
    PreviewEnd { at, app: app.info.key.clone(), environment: environment.key.clone() }
}
