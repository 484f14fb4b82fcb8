//! Compiled segments, and the tables in which conditions find them.
//!
//! A condition holds the number of its segment's slot, so that a segment's change replaces one slot and
//! recompiles no flag. There is one table for each app and one of shared segments.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::compile::{Node, Slots, Warning, WarningCause};
use crate::condition::Condition;
use crate::context::Context;
use crate::flag::Segment;
use crate::ids::SegmentKey;
use crate::table::{Shards, sort_by};

/// A segment, ready to be asked who belongs.
#[derive(Clone)]
pub struct CompiledSegment {
    definition: Arc<Segment>,
    members: Shards<Arc<str>>,
    when: Option<Arc<Node>>,
    warnings: Arc<[Warning]>,
}

impl CompiledSegment {
    /// Compiles a segment without members.
    pub fn new(definition: Arc<Segment>) -> CompiledSegment {
        CompiledSegment {
            members: Shards::default(),
            when: None,
            warnings: Arc::from([]),
            definition: Arc::clone(&definition),
        }
        .with_definition(definition)
    }

    /// The segment with a new definition and the same members.
    #[must_use]
    pub fn with_definition(&self, definition: Arc<Segment>) -> CompiledSegment {
        let mut warnings = Vec::new();
        let mut warn = |cause| warnings.push(Warning { rule: None, cause });
        let when = definition.when.as_ref().and_then(|when| match Node::compile(when, Slots::Refused) {
            Ok((node, left_out)) => {
                left_out.into_iter().map(WarningCause::Value).for_each(warn);
                Some(Arc::new(node))
            }
            Err(error) => {
                warn(WarningCause::Condition(error));
                None
            }
        });
        let warnings = warnings.into();
        CompiledSegment { definition, members: self.members.clone(), when, warnings }
    }

    /// The segment with members come and gone; `remove` goes first. Copies only the parts it touches.
    #[must_use]
    pub fn with_members(&self, add: &[Arc<str>], remove: &[Arc<str>]) -> CompiledSegment {
        let members = self.members.changed(add.iter().cloned(), remove.iter().map(|unit| &**unit));
        CompiledSegment { members, ..self.clone() }
    }

    /// As people wrote it.
    pub fn definition(&self) -> &Arc<Segment> {
        &self.definition
    }

    /// How many members it has.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// Whether a unit is on the list of members.
    pub fn is_member(&self, unit: &str) -> bool {
        self.members.get(crate::table::hash_of(unit), unit).is_some()
    }

    /// The members, in no order that anything may depend on.
    pub fn members(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members.iter()
    }

    /// The members by name.
    pub fn sorted_members(&self) -> Vec<Arc<str>> {
        let mut members: Vec<_> = self.members().cloned().collect();
        sort_by(&mut members, |a, b| a.cmp(b));
        members
    }

    /// What is off because it cannot be used.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Who belongs besides the members, as people wrote it and ready to be asked; none if nothing is written
    /// or it cannot be used.
    pub(crate) fn when(&self) -> Option<(&Condition, &Node)> {
        self.definition.when.as_deref().zip(self.when.as_deref())
    }

    /// Whether somebody belongs.
    #[inline]
    pub(crate) fn holds(&self, context: &Context) -> bool {
        context.hashed_unit().is_some_and(|(hash, unit)| self.members.get(hash, unit).is_some())
            || self.when.as_ref().is_some_and(|node| node.holds(context, NONE))
    }
}

/// Conditions of segments name no segments.
pub(crate) const NONE: Segments<'static> = Segments { shared: None, app: None };

/// Where a condition finds its segments while it is evaluated.
#[derive(Clone, Copy)]
pub(crate) struct Segments<'a> {
    pub(crate) shared: Option<&'a SegmentTable>,
    pub(crate) app: Option<&'a SegmentTable>,
}

impl fmt::Debug for CompiledSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} members)", self.definition.key, self.member_count())
    }
}

/// The segments of an app, or the shared ones. A clone is cheap and shares everything.
#[derive(Clone, Default)]
pub struct SegmentTable {
    /// By key. Keys keep their slots, also after their segments are gone.
    by_key: Arc<Vec<(SegmentKey, u32)>>,
    slots: Arc<[Option<Arc<CompiledSegment>>]>,
}

impl SegmentTable {
    /// The table with a segment made or redefined. Members stay; a new segment has none.
    #[must_use]
    pub fn put(&self, segment: Segment) -> SegmentTable {
        let definition = Arc::new(segment);
        let compiled = match self.get(&definition.key) {
            Some(old) => old.with_definition(Arc::clone(&definition)),
            None => CompiledSegment::new(Arc::clone(&definition)),
        };
        self.with(&definition.key, Some(Arc::new(compiled)))
    }

    /// The table with members come to and gone from a segment. Without the segment nothing changes.
    #[must_use]
    pub fn change_members(&self, key: &SegmentKey, add: &[Arc<str>], remove: &[Arc<str>]) -> SegmentTable {
        match self.get(key) {
            Some(segment) => self.with(key, Some(Arc::new(segment.with_members(add, remove)))),
            None => self.clone(),
        }
    }

    /// The table without a segment. Its slot matches nobody, and is its own again if it comes back.
    #[must_use]
    pub fn remove(&self, key: &SegmentKey) -> SegmentTable {
        if self.get(key).is_none() { self.clone() } else { self.with(key, None) }
    }

    /// The segment of this key.
    pub fn get(&self, key: &SegmentKey) -> Option<&Arc<CompiledSegment>> {
        self.at(self.slot(key)?)
    }

    /// The segments that exist, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<CompiledSegment>> {
        self.by_key.iter().filter_map(|(_, slot)| self.at(*slot))
    }

    /// How many segments exist.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The slot of a key that ever had a segment.
    pub(crate) fn slot(&self, key: &SegmentKey) -> Option<u32> {
        self.place(key).ok().map(|place| self.by_key[place].1)
    }

    fn place(&self, key: &SegmentKey) -> Result<usize, usize> {
        self.by_key.binary_search_by(|(known, _)| known.cmp(key))
    }

    #[inline]
    pub(crate) fn at(&self, slot: u32) -> Option<&Arc<CompiledSegment>> {
        self.slots.get(slot as usize)?.as_ref()
    }

    fn with(&self, key: &SegmentKey, segment: Option<Arc<CompiledSegment>>) -> SegmentTable {
        let mut slots = self.slots.to_vec();
        let mut by_key = Arc::clone(&self.by_key);
        match self.place(key) {
            Ok(place) => slots[self.by_key[place].1 as usize] = segment,
            Err(place) => {
                let slot = u32::try_from(slots.len()).expect("segments are counted in thousands");
                Arc::make_mut(&mut by_key).insert(place, (key.clone(), slot));
                slots.push(segment);
            }
        }
        SegmentTable { by_key, slots: slots.into() }
    }
}

impl fmt::Debug for SegmentTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SegmentKey {
        SegmentKey::new(text).expect("a key")
    }

    fn segment(name: &str) -> Segment {
        Segment { key: key(name), description: "".into(), when: None }
    }

    #[test]
    fn members_stay_when_a_segment_is_redefined_and_go_with_it() {
        let table = SegmentTable::default().put(segment("beta"));
        let table = table.change_members(&key("beta"), &["ann".into(), "bob".into()], &[]);
        let redefined = table.put(Segment { description: "testers".into(), ..segment("beta") });
        assert_eq!(redefined.get(&key("beta")).expect("it exists").member_count(), 2);
        let again = redefined.remove(&key("beta")).put(segment("beta"));
        assert_eq!(again.get(&key("beta")).expect("it exists").member_count(), 0);
        assert_eq!(again.slot(&key("beta")), table.slot(&key("beta")));
    }

    #[test]
    fn changing_members_of_what_does_not_exist_changes_nothing() {
        let table = SegmentTable::default().change_members(&key("beta"), &["ann".into()], &[]);
        assert!(table.is_empty());
        assert!(table.put(segment("other")).remove(&key("beta")).get(&key("other")).is_some());
    }

    #[test]
    fn a_unit_that_leaves_and_comes_in_one_change_is_a_member() {
        let ann: Arc<str> = "ann".into();
        let table = SegmentTable::default().put(segment("beta"));
        let table =
            table.change_members(&key("beta"), core::slice::from_ref(&ann), core::slice::from_ref(&ann));
        assert!(table.get(&key("beta")).expect("it exists").is_member("ann"));
    }
}
