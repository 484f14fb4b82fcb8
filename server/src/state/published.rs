//! What everybody reads: the fold of the durable log, with the kills that the log has not taken yet.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use rollout_rules::change::{Change, ENTRY_VERSION, Entry, Reach};
use rollout_rules::decide::WaitingKill;
use rollout_rules::governance::Actor;
use rollout_rules::ids::{Digest, EnvKey, KillId, Revision};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use tokio::sync::{broadcast, watch};

/// Most events that a subscriber may be behind; one further back is told so and starts from the snapshot.
const EVENTS_KEPT: usize = 4096;

/// A kill, as it is in effect before the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// The caller's name for the act; the entry that replaces the overlay carries the same.
    pub kill_id: KillId,
    /// What is killed.
    pub reach: Reach,
    /// Only there; none: in all environments.
    pub environment: Option<EnvKey>,
    /// When it was killed.
    pub at: UnixMs,
}

/// What is served now. One value, so that a reader sees all of it at one moment.
pub struct Published {
    /// For checks: the fold with the overlays applied. Its revision is the fold's.
    pub snapshot: Arc<Snapshot>,
    /// The fold of the durable log alone. For whatever is compared between nodes or sent on as frames.
    pub folded: Arc<Snapshot>,
    /// The kills that the log has not taken yet, oldest first.
    pub overlays: Arc<[Overlay]>,
}

impl Published {
    pub(super) fn new(folded: Arc<Snapshot>, overlays: Arc<[Overlay]>) -> Published {
        let snapshot = match &overlays[..] {
            [] => Arc::clone(&folded),
            [first, rest @ ..] => {
                let first = first.over(&folded);
                Arc::new(rest.iter().fold(first, |snapshot, overlay| overlay.over(&snapshot)))
            }
        };
        Published { snapshot, folded, overlays }
    }

    /// The position of the last entry in it.
    pub fn revision(&self) -> Revision {
        self.folded.revision()
    }
}

impl Overlay {
    /// The kill that an entry makes; none if it makes none.
    pub fn of(entry: &Entry) -> Option<Overlay> {
        let Change::Killed { kill_id, reach, environment } = &entry.change else { return None };
        let (kill_id, reach, environment) = (kill_id.clone(), reach.clone(), environment.clone());
        Some(Overlay { kill_id, reach, environment, at: entry.at })
    }

    pub(super) fn as_waiting(&self) -> WaitingKill {
        let Overlay { kill_id, reach, environment, .. } = self.clone();
        WaitingKill { kill_id, reach, environment }
    }

    /// Whether another kill of this id is the same act, and not another one under a name that is taken.
    pub(super) fn is_same_act(&self, other: &Overlay) -> bool {
        (&self.kill_id, &self.reach, &self.environment) == (&other.kill_id, &other.reach, &other.environment)
    }

    /// A snapshot with this kill in effect. It keeps its revision: nothing was appended.
    fn over(&self, snapshot: &Snapshot) -> Snapshot {
        let entry = Entry {
            version: ENTRY_VERSION,
            at: self.at,
            actor: Actor::Tidegate,
            token: None,
            reason: String::new(),
            anchor: Default::default(),
            idempotency_key: None,
            request: None,
            proposal: None,
            plan: None,
            change: Change::Killed {
                kill_id: self.kill_id.clone(),
                reach: self.reach.clone(),
                environment: self.environment.clone(),
            },
        };
        snapshot.apply(snapshot.revision(), snapshot.hash(), &entry)
    }
}

/// Something that changed what is served.
#[derive(Clone)]
pub enum Event {
    /// An entry became durable and was folded in.
    Entry {
        /// Its position.
        revision: Revision,
        /// The chain hash after it.
        hash: Digest,
        /// The entry.
        entry: Arc<Entry>,
        /// The fold before it.
        before: Arc<Snapshot>,
        /// What is published since.
        published: Arc<Published>,
    },
    /// A kill took effect ahead of the log.
    Overlaid {
        /// The kill.
        overlay: Overlay,
        /// What is published since.
        published: Arc<Published>,
    },
    /// A moment came at which some answers changed by themselves: an expiry, a scheduled step, a
    /// preview's end. Nothing new is published; answers depend on the time.
    Boundary {
        /// The moment.
        at: UnixMs,
    },
}

/// Whether this node has what it needs to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The log is being folded; answers would be old.
    Folding {
        /// How far the fold has come.
        at: Revision,
        /// How far it has to come.
        until: Revision,
    },
    /// Folded, and following.
    Ready,
    /// The log holds an entry that this program does not know. It is never skipped: a newer program is
    /// needed.
    UnknownEntry {
        /// Where.
        revision: Revision,
        /// What is not known about it.
        problem: String,
    },
    /// The log cannot be read any more.
    LogLost {
        /// Why.
        problem: String,
    },
    /// The log hangs and was given up. Checks are answered and kills take effect, but only a new process can
    /// open the log again: this one has to end.
    LogHangs,
    /// The node is shutting down.
    Stopped,
}

/// Where readers find what is published, and are told of what is new.
pub struct Live {
    current: ArcSwap<Published>,
    events: broadcast::Sender<Event>,
    readiness: watch::Sender<Readiness>,
    /// Whether rollouts go on when their time comes.
    rollouts_go_on: watch::Sender<bool>,
}

impl Live {
    pub(super) fn new(published: Published, readiness: Readiness, rollouts_wait: bool) -> Arc<Live> {
        Arc::new(Live {
            current: ArcSwap::from_pointee(published),
            events: broadcast::Sender::new(EVENTS_KEPT),
            readiness: watch::Sender::new(readiness),
            rollouts_go_on: watch::Sender::new(!rollouts_wait),
        })
    }

    /// What is published now. One load, no lock.
    pub fn load(&self) -> Guard<Arc<Published>> {
        self.current.load()
    }

    /// What is published now, to be kept for a while.
    pub fn load_full(&self) -> Arc<Published> {
        self.current.load_full()
    }

    /// What is published now, and all that comes after it. Events of what is already in it may come
    /// again: pass over entries up to its revision.
    pub fn subscribe(&self) -> (Arc<Published>, broadcast::Receiver<Event>) {
        let events = self.events.subscribe();
        (self.load_full(), events)
    }

    /// Whether this node can answer, and why not.
    pub fn readiness(&self) -> Readiness {
        self.readiness.borrow().clone()
    }

    /// Readiness as it changes.
    pub fn watch_readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// Waits until the log is folded, or will not be.
    pub async fn settled(&self) -> Readiness {
        let mut readiness = self.readiness.subscribe();
        match readiness.wait_for(|now| !matches!(now, Readiness::Folding { .. })).await {
            Ok(settled) => settled.clone(),
            Err(_) => Readiness::Stopped,
        }
    }

    /// What was reported before this node started is judged: rollouts that
    /// [waited for that](super::StateConfig::rollouts_wait) go on when their time comes.
    pub fn rollouts_may_go_on(&self) {
        self.rollouts_go_on.send_if_modified(|goes_on| !std::mem::replace(goes_on, true));
    }

    pub(super) fn watch_rollouts_go_on(&self) -> watch::Receiver<bool> {
        self.rollouts_go_on.subscribe()
    }

    pub(super) fn publish(&self, published: Arc<Published>) {
        self.current.store(published);
    }

    pub(super) fn tell(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    pub(super) fn set_readiness(&self, readiness: Readiness) {
        self.readiness.send_if_modified(|now| {
            let changed = *now != readiness;
            *now = readiness;
            changed
        });
    }
}
