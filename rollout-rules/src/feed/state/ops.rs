//! The single operations of a change, each applied to a client's state.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use super::{Applied, ClientState, FrameError, Kept, check, empty, key_of};
use crate::change::Reach;
use crate::condition::{Condition, SegmentRef};
use crate::evaluate::{AppFlags, SharedRules};
use crate::feed::{FeedHeight, Op, ServedSegment};
use crate::flag::Segment;
use crate::ids::FlagKey;

const UNKNOWN_FLAG: FrameError = FrameError::Inconsistent { what: "the frame speaks of an unknown flag" };
const UNKNOWN_SEGMENT: FrameError =
    FrameError::Inconsistent { what: "the frame speaks of an unknown segment" };

impl ClientState {
    pub(super) fn apply(&mut self, op: &Op, applied: &mut Applied) -> Result<(), FrameError> {
        match op {
            Op::PutFlag(flag) => {
                check(flag)?;
                self.environment.flags = self.environment.flags.with(self.compile(flag));
                applied.flags.insert(flag.key.clone());
            }
            Op::FlagKills { flag, kills, revision } => {
                let known = self.environment.flags.get(flag.as_str()).ok_or(UNKNOWN_FLAG)?.clone();
                let guarded_until = known.kept().and_then(|kept| kept.guarded_until);
                let kept = Kept { kills: kills.clone(), guarded_until }.boxed();
                let compiled = self.compile_again(&known, kept, *revision);
                self.environment.flags = self.environment.flags.with(compiled);
                applied.flags.insert(flag.clone());
            }
            Op::RemoveFlag { flag } => {
                self.environment.flags.get(flag.as_str()).ok_or(UNKNOWN_FLAG)?;
                self.environment.flags = self.environment.flags.without(flag.as_str());
                // A kill of it that waits for the log goes too: its entry may not be told of a flag that is not known.
                self.overlays.retain(|overlay| {
                    !matches!(&overlay.reach, Reach::Flag { app, flag: killed } if *app == self.app && killed == flag)
                });
                applied.flags.insert(flag.clone());
            }
            Op::PutSegment(segment) => {
                self.put_segment(segment);
                self.touch_users(&segment.segment, applied);
            }
            Op::SegmentCondition { segment, when } => {
                self.known_segment(segment)?;
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
        self.shared = SharedRules::default();
        self.app_flags = AppFlags::default();
        let none = self.environment.flags.of_only([]);
        self.environment = empty(self.environment.key.clone(), None, none);
    }

    pub(super) fn put_segment(&mut self, segment: &ServedSegment) {
        let name = &segment.segment;
        // Members of a segment that was there before do not stay.
        let table = self.table(name).remove(key_of(name)).put(definition(name, segment.when.clone()));
        let table = table.change_members(key_of(name), &segment.members, &[]);
        self.set_table(name, table);
    }

    pub(super) fn known_segment(&self, name: &SegmentRef) -> Result<(), FrameError> {
        self.table(name).get(key_of(name)).map(|_| ()).ok_or(UNKNOWN_SEGMENT)
    }

    /// Flags that name a segment may answer otherwise.
    pub(super) fn touch_users(&self, segment: &SegmentRef, applied: &mut Applied) {
        for flag in self.environment.flags.iter() {
            if flag.state().targeting.rules.iter().any(|rule| names(&rule.when, segment)) {
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

/// Whether a condition names a segment.
fn names(condition: &Condition, segment: &SegmentRef) -> bool {
    match condition {
        Condition::All { all: parts } | Condition::Any { any: parts } => {
            parts.iter().any(|part| names(part, segment))
        }
        Condition::Not { not } => names(not, segment),
        Condition::Segment { segment: named } => named == segment,
        Condition::Test(_) => false,
    }
}
