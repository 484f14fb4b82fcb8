//! What an entry means to pages.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::travels::{Travels, travels};
use super::{hashed, hashed_kill_id, page_frame};
use crate::change::{Change, Entry, Reach};
use crate::feed::{FeedHeight, Frame, Op, ServedFlag};
use crate::flag::{BrowserForm, SegmentScope};
use crate::ids::{AppKey, EnvKey, FlagKey, KillId, LogId, SegmentKey};
use crate::project::{View, kill_that_concerns, name_of, replaced};
use crate::runbook::{Act, Lowered};
use crate::snapshot::{App, Snapshot, StateRecord};
use crate::time::UnixMs;

/// What an entry, or a kill ahead of it, means to the pages of an app environment.
#[derive(Clone, Debug, PartialEq)]
pub enum BrowserChange {
    /// Nothing.
    Nothing,
    /// Every page needs a snapshot.
    Anew,
    /// Some of what they have changes.
    Ops {
        /// What is the same for all of them. It goes first: kills are here.
        shared: Option<Frame>,
        /// The flags whose values are to be found for each of them.
        values: BTreeSet<FlagKey>,
    },
}

impl BrowserChange {
    pub(super) fn of(shared: Option<Frame>, values: BTreeSet<FlagKey>) -> BrowserChange {
        if shared.is_none() && values.is_empty() {
            return BrowserChange::Nothing;
        }
        BrowserChange::Ops { shared, values }
    }
}

/// What the entry that led from one snapshot to the next means to the pages of an app environment.
pub fn browser_change(
    before: &Snapshot,
    after: &Snapshot,
    log: &LogId,
    entry: &Entry,
    app: &AppKey,
    environment: &EnvKey,
) -> BrowserChange {
    let (was, is) = (View::of(before, app, environment), View::of(after, app, environment));
    let (was, is) = match (was, is) {
        (Some(was), Some(is)) if !replaced(&entry.change, app, environment) => (was, is),
        (Some(_), Some(_)) => return BrowserChange::Anew,
        (None, Some(_)) => return BrowserChange::Anew,
        (None, None) => return BrowserChange::Nothing,
        (Some(_), None) => {
            let gone = page_frame(log, after.revision(), None, Vec::from([Op::EnvironmentGone]));
            return BrowserChange::of(Some(gone), BTreeSet::new());
        }
    };
    let kill_id = kill_for_pages(&was, &is, log, &entry.change);
    if was.revision() == is.revision() && kill_id.is_none() {
        return BrowserChange::Nothing;
    }
    let (ops, values) = (Vec::new(), BTreeSet::new());
    let mut change = Changing { was: &was, is: &is, log, now: entry.at, ops, values };
    change.high(&entry.change);
    let touched = with_dependents(is.app, touched(&was, &is, &entry.change));
    if touched.iter().any(|key| may_hide_a_kill(&was, &is, key)) {
        return BrowserChange::Anew;
    }
    for key in touched {
        change.flag(&key, &entry.change);
    }
    let Changing { ops, values, .. } = change;
    // A kill travels even if it changes nothing: it may replace an overlay.
    let is_shared = !ops.is_empty() || kill_id.is_some();
    let shared = is_shared.then(|| page_frame(log, after.revision(), kill_id, ops));
    BrowserChange::of(shared, values)
}

/// The flags that are told and depend on one, over others or not.
pub(super) fn told_of_dependents(view: &View<'_>, flag: &FlagKey) -> BTreeSet<FlagKey> {
    let mut reached = with_dependents(view.app, BTreeSet::from([flag.clone()]));
    reached.remove(flag);
    let is_told =
        |key: &FlagKey| matches!(travels(view.app, view.environment, key), Some(Travels::Values { .. }));
    reached.retain(is_told);
    reached
}

/// Whether pages begin to get a flag that was there before: a kill of it may wait for the log, of which pages were
/// not told, and which is not among what the log says of the flag.
fn may_hide_a_kill(was: &View<'_>, is: &View<'_>, key: &FlagKey) -> bool {
    was.app.flag(key).is_some()
        && travels(was.app, was.environment, key).is_none()
        && travels(is.app, is.environment, key).is_some()
}

/// The name of a kill, if pages get what it kills.
fn kill_for_pages(was: &View<'_>, is: &View<'_>, log: &LogId, change: &Change) -> Option<KillId> {
    let id = kill_that_concerns(change, is.app_key(), is.environment)?;
    if let Change::Killed { reach: Reach::Flag { flag, .. }, .. } = change
        && travels(was.app, was.environment, flag).is_none()
    {
        return None;
    }
    Some(hashed_kill_id(log, &id))
}

/// The flags that a change is about, marked or not.
fn touched(was: &View<'_>, is: &View<'_>, change: &Change) -> BTreeSet<FlagKey> {
    let all = || is.app.flags(None).map(|record| &record.flag().key);
    match change {
        Change::FlagCreated { app, flag, .. } | Change::FlagUpdated { app, flag } if app == is.app_key() => {
            BTreeSet::from([flag.key.clone()])
        }
        Change::TargetingChanged { app, flag, .. }
        | Change::FlagExtended { app, flag, .. }
        | Change::FlagArchived { app, flag }
        | Change::HoldChanged { app, flag, .. }
        | Change::RolloutStarted { app, flag, .. }
        | Change::RolloutAdvanced { app, flag, .. }
        | Change::RolloutEnded { app, flag, .. }
        | Change::Killed { reach: Reach::Flag { app, flag }, .. }
        | Change::Revived { reach: Reach::Flag { app, flag }, .. }
            if app == is.app_key() =>
        {
            BTreeSet::from([flag.clone()])
        }
        Change::GuardrailActed { act } if act.app == *is.app_key() => lowered(was, is, act),
        // What a flag would serve is told up to the environment's end only.
        Change::EnvironmentUpdated { .. } if was.ends_at() != is.ends_at() => all().cloned().collect(),
        Change::AppUpdated { .. } if was.app.info().sensitive != is.app.info().sensitive => {
            let marked = |key: &&FlagKey| {
                is.app.flag(key).is_some_and(|record| record.flag().browser == Some(BrowserForm::Rules))
            };
            all().filter(marked).cloned().collect()
        }
        Change::SegmentPut { scope, segment } => users(is, scope, &segment.key),
        Change::SegmentRemoved { scope, segment } | Change::SegmentMembersChanged { scope, segment, .. } => {
            users(is, scope, segment)
        }
        _ => BTreeSet::new(),
    }
}

/// A guardrail lowers its flag, or many of the app.
fn lowered(was: &View<'_>, is: &View<'_>, act: &Act) -> BTreeSet<FlagKey> {
    let is_wide = |lowered: &Lowered| matches!(lowered, Lowered::NonCritical { .. } | Lowered::All { .. });
    if !act.lowered.iter().any(is_wide) {
        return act.flag.iter().cloned().collect();
    }
    let seen = |view: &View<'_>, key: &FlagKey| {
        view.app.flag(key).and_then(|record| record.state(view.environment)).map(StateRecord::revision)
    };
    let keys = is.app.flags(None).map(|record| &record.flag().key);
    keys.filter(|key| seen(was, key) != seen(is, key)).cloned().collect()
}

/// The flags here that name a segment.
fn users(is: &View<'_>, scope: &SegmentScope, key: &SegmentKey) -> BTreeSet<FlagKey> {
    if name_of(scope, key, is.app_key()).is_none() {
        return BTreeSet::new();
    }
    match scope {
        SegmentScope::App(_) => is.app.users_of_segment(key).cloned().collect(),
        SegmentScope::Shared => {
            let users = is.snapshot.users_of_shared_segment(key);
            users.filter(|(app, _)| app == is.app_key()).map(|(_, flag)| flag.clone()).collect()
        }
    }
}

/// These flags and all that depend on them, over others or not.
fn with_dependents(app: &App, flags: BTreeSet<FlagKey>) -> BTreeSet<FlagKey> {
    let mut waiting: Vec<FlagKey> = flags.iter().cloned().collect();
    let mut reached = flags;
    while let Some(key) = waiting.pop() {
        for user in app.dependents(&key) {
            if reached.insert(user.clone()) {
                waiting.push(user.clone());
            }
        }
    }
    reached
}

/// A change as it is put together.
struct Changing<'s, 'a> {
    was: &'s View<'a>,
    is: &'s View<'a>,
    log: &'s LogId,
    now: UnixMs,
    ops: Vec<Op>,
    values: BTreeSet<FlagKey>,
}

impl Changing<'_, '_> {
    /// What changed above single flags.
    fn high(&mut self, change: &Change) {
        let (was, is) = (self.was, self.is);
        let op = match change {
            Change::Killed { reach: Reach::Everything, .. }
            | Change::Revived { reach: Reach::Everything, .. }
                if was.everything() != is.everything() =>
            {
                Op::Kills { height: FeedHeight::Everything, kills: hashed(self.log, is.everything()) }
            }
            Change::Killed { reach: Reach::App { app }, .. }
            | Change::Revived { reach: Reach::App { app }, .. }
                if app == is.app_key() && was.app_kills() != is.app_kills() =>
            {
                Op::Kills { height: FeedHeight::App, kills: hashed(self.log, is.app_kills()) }
            }
            Change::EnvironmentUpdated { .. } if was.ends_at() != is.ends_at() => {
                Op::Environment { ends_at: is.ends_at() }
            }
            _ => return,
        };
        self.ops.push(op);
    }

    fn flag(&mut self, key: &FlagKey, change: &Change) {
        let (was, is) = (self.was, self.is);
        let before = travels(was.app, was.environment, key);
        // A kill has to be small: it goes to every page at once, and nothing is found anew for it.
        let is_of_kills = matches!(change, Change::Killed { .. } | Change::Revived { .. });
        match travels(is.app, is.environment, key) {
            None if before.is_none() => {}
            None => self.ops.push(Op::RemoveFlag { flag: key.clone() }),
            Some(Travels::Rules) => {
                let old = before.filter(|before| *before == Travels::Rules);
                let mut old = old.and_then(|_| was.rules_for_pages(key, self.log, self.now));
                let Some(new) = is.rules_for_pages(key, self.log, self.now) else { return };
                if let Some(old) = old.as_mut().filter(|_| is_of_kills) {
                    // Whoever depends on what is killed hears of it by that flag's kills.
                    old.guarded_until = new.guarded_until;
                }
                if old.as_ref() != Some(&new) {
                    let kills = old.and_then(|old| only_kills(old, &new));
                    self.ops.push(kills.unwrap_or_else(|| Op::PutFlag(Arc::new(new))));
                }
            }
            Some(Travels::Values { .. }) => {
                let (old, new) = (was.flag_of(key), is.flag_of(key));
                let kills = old.zip(new.as_ref()).filter(|_| is_of_kills && before.is_some());
                match kills.map(|(old, new)| (old == *new, only_kills(old, new))) {
                    Some((false, Some(kills))) => self.ops.push(hashed_op(self.log, kills)),
                    _ => {
                        self.values.insert(key.clone());
                    }
                }
            }
        }
    }
}

/// What changed of a flag, if that is nothing but its kills.
fn only_kills(mut old: ServedFlag, new: &ServedFlag) -> Option<Op> {
    old.kills = new.kills.clone();
    old.revision = new.revision;
    // Its touches changed with it, and with them until when it is guarded.
    old.guarded_until = new.guarded_until;
    let ServedFlag { key: flag, kills, revision, .. } = new;
    (old == *new).then(|| Op::FlagKills { flag: flag.clone(), kills: kills.clone(), revision: *revision })
}

fn hashed_op(log: &LogId, op: Op) -> Op {
    match op {
        Op::FlagKills { flag, kills, revision } => {
            Op::FlagKills { flag, kills: hashed(log, kills), revision }
        }
        other => other,
    }
}
