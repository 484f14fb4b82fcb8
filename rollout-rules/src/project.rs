//! From the log to the feed: what an entry means to an audience.
//!
//! A frame can only be made from the whole state: a flag that begins to name a segment brings the
//! segment with it, and the last flag that forgets it takes it away. So projection looks at the
//! snapshot before and after the entry.

pub mod browser;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::change::{Change, Entry, Reach};
use crate::condition::{Condition, SegmentRef};
use crate::feed::{
    Audience, ChangeFrame, FeedHeight, Frame, FrameBody, Op, Overlay, Served, ServedFlag, ServedHold,
    ServedKills, ServedSegment,
};
use crate::flag::{SegmentScope, Targeting};
use crate::ids::{AppKey, EnvKey, FlagKey, KillId, LogId, Revision, SegmentKey};
use crate::runbook::{Act, Lowered};
use crate::snapshot::{App, FlagRecord, SegmentRecord, Snapshot, StateRecord, collect_segments};

/// What the entry that led from one snapshot to the next means to an audience. `None`: nothing. A client
/// that missed only such entries goes on from any resume token at or after
/// [`Snapshot::feed_revision`].
pub fn project(
    before: &Snapshot,
    after: &Snapshot,
    log: &LogId,
    entry: &Entry,
    audience: &Audience,
) -> Option<Frame> {
    let Audience::Server { app, environment } = audience;
    let (was, is) = (View::of(before, app, environment), View::of(after, app, environment));
    let (was, is) = match (was, is) {
        // Another environment under a key that is free again: nothing of the old one holds.
        (Some(_), Some(_)) if replaced(&entry.change, app, environment) => {
            return snapshot_frame(after, log, audience);
        }
        (Some(was), Some(is)) => (was, is),
        (None, Some(_)) => return snapshot_frame(after, log, audience),
        (None, None) => return None,
        (Some(was), None) => {
            let change =
                ChangeFrame { follows: was.revision(), kill_id: None, ops: vec![Op::EnvironmentGone] };
            return Some(frame(log, after.revision(), FrameBody::Change(change)));
        }
    };
    let kill_id = kill_that_concerns(&entry.change, app, environment);
    // A kill travels even if it changes nothing: it may replace an overlay.
    if was.revision() == is.revision() && kill_id.is_none() {
        return None;
    }
    let change = ChangeFrame { follows: was.revision(), kill_id, ops: ops(&was, &is, &entry.change) };
    Some(frame(log, after.revision(), FrameBody::Change(change)))
}

/// Everything that an audience needs; `None` if its environment does not exist.
pub fn snapshot_frame(snapshot: &Snapshot, log: &LogId, audience: &Audience) -> Option<Frame> {
    let Audience::Server { app, environment } = audience;
    let view = View::of(snapshot, app, environment)?;
    let mut named = BTreeSet::new();
    let mut flags = Vec::new();
    for record in view.app.flags(None) {
        if let Some(flag) = view.flag(record) {
            segments_of(&flag.targeting, &mut named);
            flags.push(Arc::new(with_dfas(flag)));
        }
    }
    let served = Served {
        app: app.clone(),
        environment: environment.clone(),
        gone: false,
        ends_at: view.ends_at(),
        everything: view.everything(),
        app_kills: view.app_kills(),
        flags,
        segments: named.iter().filter_map(|name| view.segment(name)).collect(),
        overlays: Vec::new(),
    };
    Some(frame(log, snapshot.revision(), FrameBody::Snapshot(served.into())))
}

/// A kill that the log could not take yet, if it concerns an audience. `revision` is where the log
/// stands.
pub fn overlay_frame(
    overlay: &Overlay,
    in_environment: Option<&EnvKey>,
    log: &LogId,
    revision: Revision,
    audience: &Audience,
) -> Option<Frame> {
    let Audience::Server { app, environment } = audience;
    if !concerns(&overlay.reach, in_environment, app, environment) {
        return None;
    }
    Some(frame(log, revision, FrameBody::Overlay(overlay.clone())))
}

fn frame(log: &LogId, revision: Revision, body: FrameBody) -> Frame {
    Frame::new(log.clone(), revision, body)
}

fn concerns(reach: &Reach, only: Option<&EnvKey>, app: &AppKey, environment: &EnvKey) -> bool {
    let there = match reach {
        Reach::Everything => true,
        Reach::App { app: killed } | Reach::Flag { app: killed, .. } => killed == app,
    };
    there && only.is_none_or(|only| only == environment)
}

/// Whether an environment made room for another one of its own key.
fn replaced(change: &Change, app: &AppKey, key: &EnvKey) -> bool {
    matches!(change, Change::EnvironmentCreated { app: changed, environment, replaces, .. }
        if changed == app && environment.key == *key && replaces.contains(key))
}

fn kill_that_concerns(change: &Change, app: &AppKey, environment: &EnvKey) -> Option<KillId> {
    match change {
        Change::Killed { kill_id, reach, environment: only } => {
            concerns(reach, only.as_ref(), app, environment).then(|| kill_id.clone())
        }
        _ => None,
    }
}

/// What the change did for an environment that was there before and still is.
fn ops(was: &View<'_>, is: &View<'_>, change: &Change) -> Vec<Op> {
    match change {
        Change::FlagCreated { app, flag, .. } | Change::FlagUpdated { app, flag } if app == is.app_key() => {
            flag_ops(was, is, &flag.key)
        }
        Change::TargetingChanged { app, flag, .. }
        | Change::FlagExtended { app, flag, .. }
        | Change::FlagArchived { app, flag }
        | Change::HoldChanged { app, flag, .. }
        | Change::RolloutStarted { app, flag, .. }
        | Change::RolloutAdvanced { app, flag, .. }
        | Change::RolloutEnded { app, flag, .. }
            if app == is.app_key() =>
        {
            flag_ops(was, is, flag)
        }
        Change::GuardrailActed { act } if act.app == *is.app_key() => act_ops(was, is, act),
        Change::Killed { reach, .. } | Change::Revived { reach, .. } => kill_ops(was, is, reach),
        Change::EnvironmentUpdated { .. } if was.ends_at() != is.ends_at() => {
            vec![Op::Environment { ends_at: is.ends_at() }]
        }
        Change::SegmentPut { scope, segment } => segment_ops(was, is, scope, &segment.key),
        Change::SegmentRemoved { scope, segment } => segment_ops(was, is, scope, segment),
        Change::SegmentMembersChanged { scope, segment, add, remove } => {
            member_ops(was, is, scope, segment, add, remove)
        }
        _ => Vec::new(),
    }
}

fn flag_ops(was: &View<'_>, is: &View<'_>, key: &FlagKey) -> Vec<Op> {
    let (old, new) = (was.flag_of(key), is.flag_of(key));
    if old == new {
        return Vec::new();
    }
    let (mut named_before, mut named_now) = (BTreeSet::new(), BTreeSet::new());
    if let Some(old) = &old {
        segments_of(&old.targeting, &mut named_before);
    }
    if let Some(new) = &new {
        segments_of(&new.targeting, &mut named_now);
    }
    // The segments come before the flag that names them, and go after it.
    let mut ops: Vec<Op> = named_now
        .difference(&named_before)
        .filter(|name| !was.names(name))
        .filter_map(|name| is.segment(name).map(Op::PutSegment))
        .collect();
    match new {
        Some(new) => ops.push(Op::PutFlag(Arc::new(with_dfas(new)))),
        None => ops.push(Op::RemoveFlag { flag: key.clone() }),
    }
    for name in named_before.difference(&named_now) {
        if was.segment_record(name).is_some() && !is.names(name) {
            ops.push(Op::RemoveSegment { segment: name.clone() });
        }
    }
    ops
}

/// A guardrail lowers its flag, or every flag that is not critical; the gate, every flag.
fn act_ops(was: &View<'_>, is: &View<'_>, act: &Act) -> Vec<Op> {
    let is_wide = |lowered: &Lowered| matches!(lowered, Lowered::NonCritical { .. } | Lowered::All { .. });
    if !act.lowered.iter().any(is_wide) {
        return act.flag.iter().flat_map(|flag| flag_ops(was, is, flag)).collect();
    }
    let seen = |view: &View<'_>, key: &FlagKey| {
        view.app.flag(key).and_then(|record| record.state(view.environment)).map(StateRecord::revision)
    };
    let flags = is.app.flags(None).map(|record| &record.flag().key);
    flags.filter(|key| seen(was, key) != seen(is, key)).flat_map(|key| flag_ops(was, is, key)).collect()
}

fn kill_ops(was: &View<'_>, is: &View<'_>, reach: &Reach) -> Vec<Op> {
    match reach {
        Reach::Everything if was.everything() != is.everything() => {
            vec![Op::Kills { height: FeedHeight::Everything, kills: is.everything() }]
        }
        Reach::App { app } if app == is.app_key() && was.app_kills() != is.app_kills() => {
            vec![Op::Kills { height: FeedHeight::App, kills: is.app_kills() }]
        }
        Reach::Flag { app, flag } if app == is.app_key() => match (was.flag_of(flag), is.flag_of(flag)) {
            (Some(mut old), Some(new)) if old != new => {
                old.kills = new.kills.clone();
                old.revision = new.revision;
                if old == new {
                    // A kill has to be small: it goes to everybody at once.
                    let ServedFlag { key: flag, kills, revision, .. } = new;
                    vec![Op::FlagKills { flag, kills, revision }]
                } else {
                    flag_ops(was, is, flag)
                }
            }
            _ => flag_ops(was, is, flag),
        },
        _ => Vec::new(),
    }
}

/// The segment as this audience's conditions name it; `None` if it is another app's.
fn name_of(scope: &SegmentScope, key: &SegmentKey, app: &AppKey) -> Option<SegmentRef> {
    match scope {
        SegmentScope::Shared => Some(SegmentRef::Shared(key.clone())),
        SegmentScope::App(owner) if owner == app => Some(SegmentRef::App(key.clone())),
        SegmentScope::App(_) => None,
    }
}

fn segment_ops(was: &View<'_>, is: &View<'_>, scope: &SegmentScope, key: &SegmentKey) -> Vec<Op> {
    let Some(name) = name_of(scope, key, is.app_key()).filter(|name| is.names(name)) else {
        return Vec::new();
    };
    match (was.segment_record(&name), is.segment_record(&name)) {
        (Some(old), Some(new)) if old.segment().when != new.segment().when => {
            vec![Op::SegmentCondition { segment: name, when: condition_of(new) }]
        }
        (None, Some(_)) => is.segment(&name).map(Op::PutSegment).into_iter().collect(),
        (Some(_), None) => vec![Op::RemoveSegment { segment: name }],
        _ => Vec::new(),
    }
}

fn member_ops(
    was: &View<'_>,
    is: &View<'_>,
    scope: &SegmentScope,
    key: &SegmentKey,
    add: &[Arc<str>],
    remove: &[Arc<str>],
) -> Vec<Op> {
    let Some(name) = name_of(scope, key, is.app_key()).filter(|name| is.names(name)) else {
        return Vec::new();
    };
    let (Some(old), Some(new)) = (was.segment_record(&name), is.segment_record(&name)) else {
        return Vec::new();
    };
    // What came and left in fact, each once, whatever the entry repeats.
    let moved = |units: &[Arc<str>], from: &SegmentRecord, to: &SegmentRecord| -> Vec<Arc<str>> {
        let units: BTreeSet<&Arc<str>> = units.iter().collect();
        units.into_iter().filter(|unit| !from.has_member(unit) && to.has_member(unit)).cloned().collect()
    };
    let (add, remove) = (moved(add, old, new), moved(remove, new, old));
    if add.is_empty() && remove.is_empty() {
        return Vec::new();
    }
    vec![Op::SegmentMembers { segment: name, add, remove }]
}

fn segments_of(targeting: &Targeting, found: &mut BTreeSet<SegmentRef>) {
    targeting.rules.iter().for_each(|rule| collect_segments(&rule.when, found));
}

fn condition_of(record: &SegmentRecord) -> Option<alloc::boxed::Box<Condition>> {
    record.segment().when.as_ref().map(|when| when.with_dfas().into())
}

/// SDKs cannot compile regular expressions: they get them compiled.
fn with_dfas(mut flag: ServedFlag) -> ServedFlag {
    for rule in &mut flag.targeting.rules {
        rule.when = rule.when.with_dfas();
    }
    flag
}

/// A snapshot as an audience sees it.
struct View<'a> {
    snapshot: &'a Snapshot,
    app: &'a App,
    environment: &'a EnvKey,
}

impl<'a> View<'a> {
    fn of(snapshot: &'a Snapshot, app: &AppKey, environment: &'a EnvKey) -> Option<View<'a>> {
        let app = snapshot.app(app)?;
        app.environment(environment)?;
        Some(View { snapshot, app, environment })
    }

    fn app_key(&self) -> &'a AppKey {
        &self.app.info().key
    }

    fn revision(&self) -> Revision {
        self.snapshot.feed_revision(self.app_key(), self.environment)
    }

    fn ends_at(&self) -> Option<crate::time::UnixMs> {
        self.app.environment(self.environment).and_then(|record| record.environment().ends_at)
    }

    fn everything(&self) -> ServedKills {
        ServedKills::of(self.snapshot.kills(), self.environment)
    }

    fn app_kills(&self) -> ServedKills {
        ServedKills::of(self.app.kills(), self.environment)
    }

    fn flag_of(&self, key: &FlagKey) -> Option<ServedFlag> {
        self.flag(self.app.flag(key)?)
    }

    /// A flag without its compiled expressions; `None` if it is not served here.
    fn flag(&self, record: &FlagRecord) -> Option<ServedFlag> {
        let state = record.state(self.environment).filter(|_| !record.is_archived())?;
        let (flag, revision, state) = (record.flag(), state.revision(), state.state());
        let mut targeting = state.targeting.clone();
        targeting.rules.iter_mut().for_each(|rule| rule.description.clear());
        Some(ServedFlag {
            key: flag.key.clone(),
            kind: flag.kind,
            variants: flag.variants.clone(),
            off_variant: flag.off_variant.clone(),
            targeting,
            expires_at: state.expires_at,
            targeting_revision: state.targeting_revision,
            hold: state.hold.as_ref().map(|hold| ServedHold { cause: hold.cause, at: hold.at }),
            kills: ServedKills::of(record.kills(), self.environment),
            revision,
            told: None,
            guarded_until: None,
        })
    }

    fn segment_record(&self, name: &SegmentRef) -> Option<&'a SegmentRecord> {
        match name {
            SegmentRef::App(key) => self.app.segment(key),
            SegmentRef::Shared(key) => self.snapshot.segment(&SegmentScope::Shared, key),
        }
    }

    fn segment(&self, name: &SegmentRef) -> Option<ServedSegment> {
        let record = self.segment_record(name)?;
        let members = record.members(None).cloned().collect();
        Some(ServedSegment { segment: name.clone(), when: condition_of(record), members })
    }

    /// Whether a flag that is served here names the segment.
    fn names(&self, name: &SegmentRef) -> bool {
        let served_here = |key: &FlagKey| {
            let Some(record) = self.app.flag(key).filter(|record| !record.is_archived()) else {
                return false;
            };
            let Some(state) = record.state(self.environment) else { return false };
            let mut named = BTreeSet::new();
            segments_of(&state.state().targeting, &mut named);
            named.contains(name)
        };
        match name {
            SegmentRef::App(key) => self.app.users_of_segment(key).any(served_here),
            SegmentRef::Shared(key) => {
                let users = self.snapshot.users_of_shared_segment(key);
                users.filter(|(app, _)| app == self.app_key()).any(|(_, flag)| served_here(flag))
            }
        }
    }
}
