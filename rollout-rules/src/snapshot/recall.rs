//! What a snapshot remembers so that a repeated request does not act twice.

use rpds::{QueueSync, RedBlackTreeMapSync};
use serde::{Deserialize, Serialize};

use crate::change::Reach;
use crate::ids::{Digest, EnvKey, IdempotencyKey, KillId, Revision, TokenId};

/// How many idempotency keys are remembered; older ones are forgotten first.
pub const KEPT_IDEMPOTENCY_KEYS: usize = 10_000;
/// How many kill ids are remembered; older ones are forgotten first.
pub const KEPT_KILL_IDS: usize = 10_000;

/// Whose key: two callers may use the same one.
pub(super) type RequestName = (Option<TokenId>, IdempotencyKey);

/// What a request with an idempotency key did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastRequest {
    /// The entry that it made.
    pub revision: Revision,
    /// The fingerprint of its command.
    pub command: Option<Digest>,
}

/// An act of killing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastKill {
    /// The entry that it made.
    pub revision: Revision,
    /// What it killed.
    pub reach: Reach,
    /// Where; none: in all environments.
    pub environment: Option<EnvKey>,
}

/// Remembers the last so many things by name. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Recall<K: Ord + Clone, V: Clone> {
    known: RedBlackTreeMapSync<K, V>,
    order: QueueSync<K>,
    kept: usize,
}

impl<K: Ord + Clone, V: Clone> Recall<K, V> {
    pub(super) fn new(kept: usize) -> Self {
        Recall { known: RedBlackTreeMapSync::new_sync(), order: QueueSync::new_sync(), kept }
    }

    pub(super) fn get(&self, name: &K) -> Option<&V> {
        self.known.get(name)
    }

    /// Remembers the first thing of a name; a later one of the same name changes nothing.
    pub(super) fn remember(&mut self, name: K, what: V) {
        if self.known.contains_key(&name) {
            return;
        }
        self.known.insert_mut(name.clone(), what);
        self.order.enqueue_mut(name);
        while self.order.len() > self.kept {
            if let Some(oldest) = self.order.peek() {
                self.known.remove_mut(oldest);
            }
            self.order.dequeue_mut();
        }
    }

    /// Everything that is remembered, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.iter().filter_map(|name| self.known.get_key_value(name))
    }
}

/// The two things a snapshot recalls.
#[derive(Clone)]
pub(super) struct Recalled {
    pub(super) requests: Recall<RequestName, PastRequest>,
    pub(super) kills: Recall<KillId, PastKill>,
}

impl Default for Recalled {
    fn default() -> Self {
        Recalled { requests: Recall::new(KEPT_IDEMPOTENCY_KEYS), kills: Recall::new(KEPT_KILL_IDS) }
    }
}
