//! Changing segments. A segment that production flags name is part of what production serves.

use alloc::collections::BTreeSet;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::authority::{Direction, Envs, Ground, Right};
use super::awaited::gate_first;
use super::flags::NAMED_USERS;
use super::validate::{check_text, check_unit, invalid, too_many};
use super::{Case, Decided, Mode, Refusal, What};
use crate::change::Change;
use crate::condition::SegmentRef;
use crate::flag::{MAX_SEGMENT_MEMBERS, MAX_SEGMENTS, Segment, SegmentScope, Tier};
use crate::ids::{FlagKey, SegmentKey};
use crate::snapshot::{FlagView, SegmentRecord, collect_segments};

impl<'a> Case<'a> {
    pub(super) fn put_segment(&self, scope: &SegmentScope, segment: &Segment) -> Result<Decided, Refusal> {
        self.may_change(scope)?;
        check_text("description", &segment.description)?;
        if let Some(when) = &segment.when {
            when.validate_in_segment().map_err(|error| invalid("when", error.to_string()))?;
        }
        match self.snapshot.segment(scope, &segment.key) {
            Some(before) => {
                self.not_older(before.revision())?;
                if before.segment() == segment {
                    return Ok(Decided::Already(before.revision()));
                }
                self.authorise_users(scope, &segment.key)?;
            }
            None => {
                let count = match scope {
                    SegmentScope::Shared => self.snapshot.shared_segments(None).count(),
                    SegmentScope::App(app) => self.app(app)?.segments(None).count(),
                };
                let what = "segments of one app, and shared segments";
                too_many(what, count + 1, MAX_SEGMENTS)?;
            }
        }
        Ok(Decided::Change(Change::SegmentPut { scope: scope.clone(), segment: segment.clone() }))
    }

    pub(super) fn change_segment_members(
        &self,
        scope: &SegmentScope,
        key: &SegmentKey,
        add: &[Arc<str>],
        remove: &[Arc<str>],
    ) -> Result<Decided, Refusal> {
        self.may_change(scope)?;
        let record = self.segment(scope, key)?;
        self.not_older(record.revision())?;
        let (coming, going): (BTreeSet<&Arc<str>>, BTreeSet<&Arc<str>>) =
            (add.iter().collect(), remove.iter().collect());
        for unit in coming.iter().chain(&going) {
            check_unit("add, remove", unit)?;
        }
        if let Some(both) = coming.intersection(&going).next() {
            return Err(invalid("remove", alloc::format!("`{both}` is to come and to go")));
        }
        let add: Vec<Arc<str>> =
            coming.into_iter().filter(|unit| !record.has_member(unit)).cloned().collect();
        let remove: Vec<Arc<str>> =
            going.into_iter().filter(|unit| record.has_member(unit)).cloned().collect();
        if add.is_empty() && remove.is_empty() {
            return Ok(Decided::Already(record.revision()));
        }
        let members = record.member_count() - remove.len() + add.len();
        too_many("members of one segment", members, MAX_SEGMENT_MEMBERS)?;
        self.authorise_users(scope, key)?;
        let (scope, segment) = (scope.clone(), key.clone());
        Ok(Decided::Change(Change::SegmentMembersChanged { scope, segment, add, remove }))
    }

    pub(super) fn remove_segment(&self, scope: &SegmentScope, key: &SegmentKey) -> Result<Decided, Refusal> {
        self.may_change(scope)?;
        let record = self.segment(scope, key)?;
        self.not_older(record.revision())?;
        let by: Vec<FlagKey> =
            self.users(scope, key).take(NAMED_USERS).map(|view| view.record().flag().key.clone()).collect();
        if !by.is_empty() {
            return Err(Refusal::InUse { what: What::Other("segment", key.to_string()), by });
        }
        Ok(Decided::Change(Change::SegmentRemoved { scope: scope.clone(), segment: key.clone() }))
    }

    fn may_change(&self, scope: &SegmentScope) -> Result<(), Refusal> {
        match scope {
            SegmentScope::Shared => self.may(Right::Whole, None, Envs::All),
            SegmentScope::App(app) => {
                self.may(Right::Structure, Some(app), Envs::All)?;
                self.app(app).map(|_| ())
            }
        }
    }

    fn segment(&self, scope: &SegmentScope, key: &SegmentKey) -> Result<&'a SegmentRecord, Refusal> {
        let what = || What::Other("segment", key.to_string());
        self.snapshot.segment(scope, key).ok_or_else(|| Refusal::NotFound { what: what() })
    }

    fn users(&self, scope: &SegmentScope, key: &SegmentKey) -> impl Iterator<Item = FlagView<'a>> {
        let snapshot = self.snapshot;
        let (own, shared) = match scope {
            SegmentScope::App(app) => {
                let users = snapshot.app(app).into_iter().flat_map(|found| found.users_of_segment(key));
                let app = app.clone();
                (Some(users.filter_map(move |flag| snapshot.flag(&app, flag))), None)
            }
            SegmentScope::Shared => {
                let users = snapshot.users_of_shared_segment(key);
                (None, Some(users.filter_map(|(app, flag)| snapshot.flag(app, flag))))
            }
        };
        own.into_iter().flatten().chain(shared.into_iter().flatten())
    }

    /// Whether the caller may change what the users of a segment serve: to raise it where they are on.
    fn authorise_users(&self, scope: &SegmentScope, key: &SegmentKey) -> Result<(), Refusal> {
        let named = match scope {
            SegmentScope::App(_) => SegmentRef::App(key.clone()),
            SegmentScope::Shared => SegmentRef::Shared(key.clone()),
        };
        let mut tier = Tier::Zero;
        let mut worst: Option<(Ground, Direction)> = None;
        let mut gate = Ok(());
        for view in self.users(scope, key) {
            for (environment, record) in view.record().states() {
                let mut segments = BTreeSet::new();
                let rules = &record.state().targeting.rules;
                rules.iter().for_each(|rule| collect_segments(&rule.when, &mut segments));
                if !segments.contains(&named) {
                    continue;
                }
                let ground = Ground::of(self.environment(view.app(), environment)?.kind);
                let live = self.is_live(view, environment);
                let direction = if live { Direction::Raise } else { Direction::Neutral };
                if ground == Ground::Production {
                    tier = tier.max(view.app().info().tier);
                }
                worst = worst.max(Some((ground, direction)));
                if (ground, direction) == (Ground::Production, Direction::Raise)
                    && !matches!(self.mode, Mode::Proposing)
                {
                    gate = gate.and_then(|()| self.gate_stands(&view.app().info().key, environment));
                }
            }
        }
        let (ground, direction) = worst.unwrap_or((Ground::Trial, Direction::Neutral));
        gate_first(gate, self.authorise(direction, ground, tier, false))
    }
}
