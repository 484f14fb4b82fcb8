//! The single operations of a change, each applied to a client's state.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use rpds::RedBlackTreeMapSync;

use super::{Applied, ClientState, FrameError, check, empty, key_of};
use crate::condition::{Condition, SegmentRef};
use crate::evaluate::{AppFlags, SharedRules};
use crate::feed::{FeedHeight, Op, ServedSegment};
use crate::flag::Segment;
use crate::ids::FlagKey;
use crate::snapshot::collect_segments;

const UNKNOWN_FLAG: FrameError = FrameError::Inconsistent { what: "the frame speaks of an unknown flag" };
const UNKNOWN_SEGMENT: FrameError =
    FrameError::Inconsistent { what: "the frame speaks of an unknown segment" };

impl ClientState {
    pub(super) fn apply(&mut self, op: &Op, applied: &mut Applied) -> Result<(), FrameError> {
        match op {
            Op::PutFlag(flag) => {
                check(flag)?;
                self.note_kills(&flag.key, &flag.kills);
                self.environment.flags = self.environment.flags.with(self.compile(flag));
                applied.flags.insert(flag.key.clone());
            }
            Op::FlagKills { flag, kills, revision } => {
                let known = self.environment.flags.get(flag.as_str()).ok_or(UNKNOWN_FLAG)?.clone();
                self.note_kills(flag, kills);
                let compiled = self.compile_again(&known, *revision);
                self.environment.flags = self.environment.flags.with(compiled);
                applied.flags.insert(flag.clone());
            }
            Op::RemoveFlag { flag } => {
                self.environment.flags.get(flag.as_str()).ok_or(UNKNOWN_FLAG)?;
                self.flag_kills.remove_mut(flag);
                self.environment.flags = self.environment.flags.without(flag.as_str());
                applied.flags.insert(flag.clone());
            }
            Op::PutSegment(segment) => {
                self.put_segment(segment);
                self.touch_users(&segment.segment, applied);
            }
            Op::SegmentCondition { segment, when } => {
                self.known_segment(segment)?;
                self.conditions.insert_mut(segment.clone(), when.clone());
                let table = self.table(segment).put(definition(segment, when.clone()));
                self.set_table(segment, table);
                self.touch_users(segment, applied);
            }
            Op::SegmentMembers { segment, add, remove } => {
                self.known_segment(segment)?;
                let table = self.table(segment).change_members(key_of(segment), add, remove);
                self.set_table(segment, table);
                self.touch_users(segment, applied);
            }
            Op::RemoveSegment { segment } => {
                self.known_segment(segment)?;
                self.conditions.remove_mut(segment);
                let table = self.table(segment).remove(key_of(segment));
                self.set_table(segment, table);
                self.touch_users(segment, applied);
            }
            Op::Kills { height, kills } => {
                applied.everything = true;
                match height {
                    FeedHeight::Everything => self.everything = kills.clone(),
                    FeedHeight::App => self.app_kills = kills.clone(),
                }
            }
            Op::Environment { ends_at } => {
                applied.everything = true;
                self.environment.ends_at = *ends_at;
            }
            Op::EnvironmentGone => {
                applied.everything = true;
                self.clear();
            }
        }
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.gone = true;
        self.flag_kills = RedBlackTreeMapSync::new_sync();
        self.conditions = RedBlackTreeMapSync::new_sync();
        self.shared = SharedRules::default();
        self.app_flags = AppFlags::default();
        let none = self.environment.flags.of_only([]);
        self.environment = empty(self.environment.key.clone(), None, none);
    }

    pub(super) fn put_segment(&mut self, segment: &ServedSegment) {
        let name = &segment.segment;
        self.conditions.insert_mut(name.clone(), segment.when.clone());
        // Members of a segment that was there before do not stay.
        let table = self.table(name).remove(key_of(name)).put(definition(name, segment.when.clone()));
        let table = table.change_members(key_of(name), &segment.members, &[]);
        self.set_table(name, table);
    }

    pub(super) fn known_segment(&self, name: &SegmentRef) -> Result<(), FrameError> {
        if self.conditions.contains_key(name) { Ok(()) } else { Err(UNKNOWN_SEGMENT) }
    }

    /// Flags that name a segment may answer otherwise.
    pub(super) fn touch_users(&self, segment: &SegmentRef, applied: &mut Applied) {
        for flag in self.environment.flags.iter() {
            let mut named = BTreeSet::new();
            flag.state().targeting.rules.iter().for_each(|rule| collect_segments(&rule.when, &mut named));
            if named.contains(segment) {
                applied.flags.insert(flag.key().clone());
            }
        }
    }

    /// Flags that depend on those that changed may answer otherwise, too.
    pub(super) fn add_dependents(&self, changed: &mut BTreeSet<FlagKey>) {
        let mut grew = !changed.is_empty();
        while grew {
            let before = changed.len();
            for flag in self.environment.flags.iter() {
                let needed = &flag.state().targeting.prerequisites;
                if needed.iter().any(|other| changed.contains(&other.flag)) {
                    changed.insert(flag.key().clone());
                }
            }
            grew = changed.len() > before;
        }
    }
}

fn definition(name: &SegmentRef, when: Option<Box<Condition>>) -> Segment {
    Segment { key: key_of(name).clone(), description: alloc::string::String::new(), when }
}
