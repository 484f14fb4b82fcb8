//! What a snapshot knows of one app: its environments, flags and segments.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};

use super::gate::{AppGate, Decisions};
use super::instants::Instants;
use super::runbook::Runbook;
use super::uses::Uses;
use crate::change::ChangeKind;
use crate::evaluate::{AppFlags, EnvironmentFlags};
use crate::flag::{AppInfo, Environment, Flag, FlagState, Kills, Segment};
use crate::governance::Actor;
use crate::ids::{EnvKey, FlagKey, Revision, SegmentKey};
use crate::release::Releases;
use crate::rollout::Rollout;
use crate::time::UnixMs;

/// How many of the last changes a flag, an app and the whole remember, to say what changed since
/// somebody looked.
pub const KEPT_TOUCHES: usize = 8;

/// That something was changed: what a stale writer is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Touch {
    /// The revision of the change.
    pub revision: Revision,
    /// When.
    pub at: UnixMs,
    /// By whom.
    pub actor: Arc<Actor>,
    /// What kind of change.
    pub change: ChangeKind,
}

/// The last few changes of one thing, oldest first.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Touches(pub(super) Vec<Touch>);

impl Touches {
    pub(super) fn push(&mut self, touch: &Touch) {
        if self.0.len() == KEPT_TOUCHES {
            self.0.remove(0);
        }
        self.0.push(touch.clone());
    }
}

/// An app and everything in it.
#[derive(Clone)]
pub struct App {
    pub(super) info: Arc<AppInfo>,
    pub(super) rules: AppFlags,
    /// Last change of the app itself, its environments or kills of it.
    pub(super) revision: Revision,
    /// Last kill or revival of the whole app.
    pub(super) kills_revision: Revision,
    /// Last change that all environments serve: kills of the app, its segments, what is sensitive.
    pub(super) served_revision: Revision,
    pub(super) touches: Touches,
    pub(super) environments: BTreeMap<EnvKey, Arc<EnvironmentRecord>>,
    pub(super) flags: RedBlackTreeMapSync<FlagKey, Arc<FlagRecord>>,
    pub(super) segments: RedBlackTreeMapSync<SegmentKey, Arc<SegmentRecord>>,
    /// Which flags name a segment of the app.
    pub(super) segment_uses: Uses<SegmentKey, FlagKey>,
    /// Which flags have a flag as prerequisite.
    pub(super) dependents: Uses<FlagKey, FlagKey>,
    /// None for most.
    pub(super) runbook: Option<Arc<Runbook>>,
    /// None for most.
    pub(super) gate: Option<Arc<AppGate>>,
}

impl App {
    /// Its description.
    pub fn info(&self) -> &Arc<AppInfo> {
        &self.info
    }

    /// Kills and revivals of the whole app.
    pub fn kills(&self) -> &Kills {
        &self.rules.kills
    }

    /// Whether the app or a flag of it is killed in this environment alone: such kills would go with it.
    pub fn has_kill_in(&self, environment: &EnvKey) -> bool {
        self.rules.kills.environments.contains_key(environment)
            || self.flags.values().any(|record| record.kills().environments.contains_key(environment))
    }

    /// The last change of the app itself: description, environments, kills. Flags have their own.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Its environments, by key.
    pub fn environments(&self) -> impl DoubleEndedIterator<Item = &EnvironmentRecord> + ExactSizeIterator {
        self.environments.values().map(|record| &**record)
    }

    /// One environment.
    pub fn environment(&self, key: &EnvKey) -> Option<&EnvironmentRecord> {
        self.environments.get(key).map(|record| &**record)
    }

    /// How many flags it has, archived ones included.
    pub fn flag_count(&self) -> usize {
        self.flags.size()
    }

    /// Its flags by key, archived ones included, from after `cursor`.
    pub fn flags(&self, cursor: Option<&FlagKey>) -> impl DoubleEndedIterator<Item = &FlagRecord> {
        self.flags.range::<FlagKey, _>(after(cursor)).map(|(_, record)| &**record)
    }

    /// One flag, archived or not.
    pub fn flag(&self, key: &FlagKey) -> Option<&FlagRecord> {
        self.flags.get(key).map(|record| &**record)
    }

    /// Its segments by key, from after `cursor`.
    pub fn segments(&self, cursor: Option<&SegmentKey>) -> impl DoubleEndedIterator<Item = &SegmentRecord> {
        self.segments.range::<SegmentKey, _>(after(cursor)).map(|(_, record)| &**record)
    }

    /// One segment.
    pub fn segment(&self, key: &SegmentKey) -> Option<&SegmentRecord> {
        self.segments.get(key).map(|record| &**record)
    }

    /// The flags that name a segment of the app.
    pub fn users_of_segment(&self, key: &SegmentKey) -> impl Iterator<Item = &FlagKey> {
        self.segment_uses.of(key)
    }

    /// The flags that have this flag as a prerequisite.
    pub fn dependents(&self, key: &FlagKey) -> impl Iterator<Item = &FlagKey> {
        self.dependents.of(key)
    }
}

/// The keys after a cursor; all without one.
pub(super) fn after<K>(cursor: Option<&K>) -> (Bound<&K>, Bound<&K>) {
    (cursor.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

/// An environment of an app.
#[derive(Clone)]
pub struct EnvironmentRecord {
    pub(super) environment: Environment,
    /// Last change of anything that is served in it and nowhere else.
    pub(super) revision: Revision,
    pub(super) instants: Instants,
    pub(super) flags: EnvironmentFlags,
    /// None for most.
    pub(super) releases: Option<Arc<Releases>>,
    /// None for most.
    pub(super) decisions: Option<Arc<Decisions>>,
}

impl EnvironmentRecord {
    /// Its definition.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Whether it is a preview whose end has come.
    pub fn ended(&self, now: UnixMs) -> bool {
        self.environment.ends_at.is_some_and(|ends_at| ends_at <= now)
    }

    /// What was deployed to it.
    pub fn releases(&self) -> &Releases {
        self.releases.as_deref().unwrap_or(Releases::none())
    }
}

/// A flag with its states.
#[derive(Clone, Serialize, Deserialize)]
pub struct FlagRecord {
    pub(super) flag: Arc<Flag>,
    /// None for nearly all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kills: Option<Box<Kills>>,
    /// The last change of the flag itself. What writers compare is [`FlagView::revision`](super::FlagView::revision),
    /// which knows of kills above it too.
    pub(super) revision: Revision,
    /// By environment, sorted.
    pub(super) states: Vec<(EnvKey, StateRecord)>,
    /// The last rollout by environment; none for most flags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[allow(clippy::box_collection, reason = "a word where there is none, which is nearly everywhere")]
    pub(super) rollouts: Option<Box<BTreeMap<EnvKey, Rollout>>>,
    pub(super) touches: Touches,
}

static NO_KILLS: Kills = Kills {
    all: None,
    environments: BTreeMap::new(),
    off_before: Revision::ZERO,
    off_before_in: BTreeMap::new(),
};

/// A flag's state in one environment.
#[derive(Clone, Serialize, Deserialize)]
pub struct StateRecord {
    pub(super) state: Arc<FlagState>,
    /// The last change of the flag that is seen in this environment.
    #[serde(rename = "served_revision")]
    pub(super) revision: Revision,
}

impl StateRecord {
    /// What people set, and what happened to it.
    pub fn state(&self) -> &Arc<FlagState> {
        &self.state
    }

    /// The last change of the flag that is seen in this environment.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether nothing happened to the one that did not happen to the other.
    pub(super) fn is_shared_with(&self, other: &StateRecord) -> bool {
        Arc::ptr_eq(&self.state, &other.state) && self.revision == other.revision
    }
}

impl FlagRecord {
    /// Its definition.
    pub fn flag(&self) -> &Arc<Flag> {
        &self.flag
    }

    /// Kills and revivals of this flag alone.
    pub fn kills(&self) -> &Kills {
        self.kills.as_deref().unwrap_or(&NO_KILLS)
    }

    /// Whether it is archived.
    pub fn is_archived(&self) -> bool {
        self.flag.archived_at.is_some()
    }

    /// When it was changed to this revision: the moment of the change, or, where that is forgotten ([`KEPT_TOUCHES`]), of the
    /// oldest later one that is remembered.
    #[cfg(feature = "regex-build")]
    pub(crate) fn changed_by(&self, revision: Revision) -> Option<UnixMs> {
        self.touches.0.iter().find(|touch| touch.revision >= revision).map(|touch| touch.at)
    }

    /// Its states by environment.
    pub fn states(&self) -> impl DoubleEndedIterator<Item = (&EnvKey, &StateRecord)> + ExactSizeIterator {
        self.states.iter().map(|(key, record)| (key, record))
    }

    /// Its state in an environment.
    pub fn state(&self, environment: &EnvKey) -> Option<&StateRecord> {
        let place = self.states.binary_search_by(|(key, _)| key.cmp(environment)).ok()?;
        Some(&self.states[place].1)
    }

    pub(super) fn state_mut(&mut self, environment: &EnvKey) -> Option<&mut StateRecord> {
        let place = self.states.binary_search_by(|(key, _)| key.cmp(environment)).ok()?;
        Some(&mut self.states[place].1)
    }
}

/// A segment with its members.
#[derive(Clone)]
pub struct SegmentRecord {
    pub(super) segment: Segment,
    pub(super) members: RedBlackTreeSetSync<Arc<str>>,
    pub(super) revision: Revision,
}

impl SegmentRecord {
    /// Its definition.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The revision that last changed it or its members.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// How many members it has.
    pub fn member_count(&self) -> usize {
        self.members.size()
    }

    /// Whether a unit is a member.
    pub fn has_member(&self, unit: &str) -> bool {
        self.members.contains(unit)
    }

    /// Its members in order, from after `cursor`.
    pub fn members(&self, cursor: Option<&str>) -> impl Iterator<Item = &Arc<str>> {
        let start = cursor.map_or(Bound::Unbounded, Bound::Excluded);
        self.members.range::<str, _>((start, Bound::Unbounded))
    }
}
