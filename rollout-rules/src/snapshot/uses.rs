//! Who refers to what: which flags name a segment, which flags have a flag as prerequisite.

use alloc::collections::BTreeSet;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::condition::{Condition, SegmentRef};
use crate::flag::Targeting;
use crate::ids::FlagKey;

/// For each thing, the set of those that refer to it. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Uses<K: Ord + Clone, V: Ord + Clone> {
    by: RedBlackTreeMapSync<K, RedBlackTreeSetSync<V>>,
}

impl<K: Ord + Clone, V: Ord + Clone> Default for Uses<K, V> {
    fn default() -> Self {
        Uses { by: RedBlackTreeMapSync::new_sync() }
    }
}

impl<K: Ord + Clone, V: Ord + Clone> Uses<K, V> {
    /// Those that refer to `what`, in order.
    pub(super) fn of<'a>(&'a self, what: &K) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
        self.by.get(what).into_iter().flat_map(RedBlackTreeSetSync::iter)
    }

    /// `user` referred to `before` and refers to `after` now.
    pub(super) fn replace(&mut self, user: &V, before: &BTreeSet<K>, after: &BTreeSet<K>) {
        for gone in before.difference(after) {
            let Some(users) = self.by.get_mut(gone) else { continue };
            users.remove_mut(user);
            if users.is_empty() {
                self.by.remove_mut(gone);
            }
        }
        for come in after.difference(before) {
            match self.by.get_mut(come) {
                Some(users) => users.insert_mut(user.clone()),
                None => {
                    let mut users = RedBlackTreeSetSync::new_sync();
                    users.insert_mut(user.clone());
                    self.by.insert_mut(come.clone(), users);
                }
            }
        }
    }
}

/// What a flag refers to.
#[derive(Default)]
pub(super) struct References {
    pub(super) segments: BTreeSet<SegmentRef>,
    pub(super) flags: BTreeSet<FlagKey>,
}

impl References {
    pub(super) fn add(&mut self, targeting: &Targeting) {
        for rule in &targeting.rules {
            collect_segments(&rule.when, &mut self.segments);
        }
        self.flags.extend(targeting.prerequisites.iter().map(|other| other.flag.clone()));
    }
}

/// Adds the segments that a condition names.
pub(crate) fn collect_segments(condition: &Condition, found: &mut BTreeSet<SegmentRef>) {
    match condition {
        Condition::All { all: parts } | Condition::Any { any: parts } => {
            parts.iter().for_each(|part| collect_segments(part, found));
        }
        Condition::Not { not } => collect_segments(not, found),
        Condition::Segment { segment } => {
            found.insert(segment.clone());
        }
        Condition::Test(_) => {}
    }
}
