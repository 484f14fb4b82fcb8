//! The fold of kills and revivals.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Snapshot;
use super::app::{App, FlagRecord};
use super::apply::Stamp;
use super::fold_flags::Touched;
use super::recall::PastKill;
use crate::change::Reach;
use crate::flag::{Kill, Kills};
use crate::ids::{EnvKey, KillId, Revision};

impl Snapshot {
    pub(super) fn killed(&mut self, id: &KillId, past: PastKill, stamp: &Stamp<'_>) {
        let again = self.recalled.kills.get(id);
        // The same act may come twice: from a caller that heard nothing, or from a node's journal. The
        // second must not undo a revival in between.
        if again.is_some_and(|again| again.reach == past.reach && again.environment == past.environment) {
            return;
        }
        let kill = Kill { id: id.clone(), at: stamp.entry.at };
        let environment = past.environment.clone();
        self.change_kills(&past.reach, environment.as_ref(), stamp, |kills, _| {
            match &environment {
                None => kills.all.get_or_insert_with(|| kill.clone()),
                Some(environment) => {
                    kills.environments.entry(environment.clone()).or_insert_with(|| kill.clone())
                }
            };
            true
        });
        self.recalled.kills.remember(id.clone(), past);
    }

    pub(super) fn revived(&mut self, reach: &Reach, environment: Option<&EnvKey>, stamp: &Stamp<'_>) {
        let revision = stamp.revision();
        self.change_kills(reach, environment, stamp, |kills, known| match environment {
            None => kills.revive_all(revision),
            Some(environment) => kills.revive_in(environment, known, revision),
        });
    }

    /// Changes the kills at one height, if what they are about is there and `change` finds something to do.
    /// It gets the app's environments; none at the height of everything, which has no list of them.
    fn change_kills(
        &mut self,
        reach: &Reach,
        environment: Option<&EnvKey>,
        stamp: &Stamp<'_>,
        change: impl FnOnce(&mut Kills, Option<&[EnvKey]>) -> bool,
    ) {
        match reach {
            Reach::Everything => {
                let mut whole = (*self.whole).clone();
                if change(&mut whole.rules.kills, None) {
                    whole.kills_revision = stamp.revision();
                    whole.served_revision = stamp.revision();
                    whole.touches.push(&stamp.touch);
                    self.whole = Arc::new(whole);
                }
            }
            Reach::App { app } => {
                let Some(shared) = self.apps.get_mut(app) else { return };
                let mut changed = App::clone(shared);
                let known: Vec<EnvKey> = changed.environments.keys().cloned().collect();
                if environment.is_some_and(|environment| !known.contains(environment)) {
                    return;
                }
                if change(&mut changed.rules.kills, Some(&known)) {
                    changed.kills_revision = stamp.revision();
                    changed.served_revision = stamp.revision();
                    changed.touch(stamp);
                    *shared = Arc::new(changed);
                }
            }
            Reach::Flag { app, flag } => {
                let touched = environment.map_or(Touched::All, Touched::One);
                let known: Vec<EnvKey> = match self.apps.get(app) {
                    Some(app) => app.environments.keys().cloned().collect(),
                    None => return,
                };
                if environment.is_some_and(|environment| !known.contains(environment)) {
                    return;
                }
                self.change_flag(app, flag, &touched, stamp, |record: &mut FlagRecord| {
                    change(record.kills.get_or_insert_default(), Some(&known))
                });
            }
        }
    }
}

impl Kills {
    fn revive_all(&mut self, revision: Revision) -> bool {
        if self.all.is_none() && self.environments.is_empty() {
            return false;
        }
        self.all = None;
        self.environments.clear();
        self.off_before = revision;
        self.off_before_in.clear();
        true
    }

    /// Revives one environment. A kill of all becomes kills of each other environment that is known.
    fn revive_in(&mut self, environment: &EnvKey, known: Option<&[EnvKey]>, revision: Revision) -> bool {
        match (self.all.take(), known) {
            (None, _) => {
                if self.environments.remove(environment).is_none() {
                    return false;
                }
            }
            (Some(kill), None) => {
                self.all = Some(kill);
                return false;
            }
            (Some(kill), Some(known)) => {
                for other in known {
                    self.environments.entry(other.clone()).or_insert_with(|| kill.clone());
                }
                self.environments.remove(environment);
            }
        }
        self.off_before_in.insert(environment.clone(), revision);
        true
    }
}
