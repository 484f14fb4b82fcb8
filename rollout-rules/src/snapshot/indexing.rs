//! Keeping the indexes in step with the flags: who refers to what, and when answers change by themselves.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use super::app::{App, FlagRecord};
use super::uses::References;
use super::{Due, Snapshot};
use crate::condition::SegmentRef;
use crate::ids::{FlagKey, SegmentKey};

impl Snapshot {
    /// Puts a record in the place of the one before, and keeps every index in step. Checks do not see it.
    pub(super) fn index_flag(&mut self, app: &mut App, key: &FlagKey, record: FlagRecord) {
        let before = app.flags.get(key).map(Arc::clone);
        let empty = References::default();
        let (old, new) = (before.as_ref().map_or(empty, |record| record.references()), record.references());
        app.segment_uses.replace(key, &of_app(&old.segments), &of_app(&new.segments));
        app.dependents.replace(key, &old.flags, &new.flags);
        let (old_shared, new_shared) = (of_all(&old.segments), of_all(&new.segments));
        if !old_shared.is_empty() || !new_shared.is_empty() {
            let user = (app.info.key.clone(), key.clone());
            Arc::make_mut(&mut self.whole).segment_uses.replace(&user, &old_shared, &new_shared);
        }
        if let Some(before) = &before {
            self.index_moments(app, before, Some(&record), false);
        }
        self.index_moments(app, &record, before.as_deref(), true);
        self.rollouts.replace(&app.info.key, before.as_deref(), &record);
        app.flags.insert_mut(key.clone(), Arc::new(record));
    }

    /// Adds or removes the moments of a record's states, save of those that `other` shares with it.
    fn index_moments(&mut self, app: &mut App, record: &FlagRecord, other: Option<&FlagRecord>, add: bool) {
        if record.is_archived() {
            return;
        }
        let other = other.filter(|other| !other.is_archived());
        for (environment, state) in &record.states {
            let twin = other.and_then(|other| other.state(environment));
            if twin.is_some_and(|twin| twin.is_shared_with(state)) {
                continue;
            }
            let state = &state.state;
            let Some(shared) = app.environments.get_mut(environment) else { continue };
            let here = &mut Arc::make_mut(shared).instants;
            let steps = state.targeting.schedule.iter();
            for at in steps.clone().map(|step| step.at).chain([state.expires_at]) {
                if add {
                    here.insert(at);
                    self.instants.insert(at);
                } else {
                    here.remove(at);
                    self.instants.remove(at);
                }
            }
            for step in steps {
                let due = Due {
                    at: step.at,
                    app: app.info.key.clone(),
                    flag: record.flag.key.clone(),
                    environment: environment.clone(),
                    schedule: step.id.clone(),
                };
                if add {
                    self.schedule.insert_mut(due, ());
                } else {
                    self.schedule.remove_mut(&due);
                }
            }
        }
    }
}

impl FlagRecord {
    /// What it refers to; an archived flag refers to nothing.
    fn references(&self) -> References {
        let mut references = References::default();
        if !self.is_archived() {
            self.states.iter().for_each(|(_, state)| references.add(&state.state.targeting));
        }
        references
    }
}

fn of_app(segments: &BTreeSet<SegmentRef>) -> BTreeSet<SegmentKey> {
    let own = |segment: &SegmentRef| match segment {
        SegmentRef::App(key) => Some(key.clone()),
        SegmentRef::Shared(_) => None,
    };
    segments.iter().filter_map(own).collect()
}

fn of_all(segments: &BTreeSet<SegmentRef>) -> BTreeSet<SegmentKey> {
    let shared = |segment: &SegmentRef| match segment {
        SegmentRef::Shared(key) => Some(key.clone()),
        SegmentRef::App(_) => None,
    };
    segments.iter().filter_map(shared).collect()
}
