//! Kills on their way to the SDKs: when each was in effect here, and when the last SDK said that it is in
//! effect there too. All times are monotonic, so that a clock that is set meanwhile changes none of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rollout_rules::ids::{KillId, Revision};

use super::channel::reaches;
use super::clients::{Acknowledgement, LiveClient};
use crate::state::Overlay as Kill;

/// Most kills that are timed at once. Of older ones it is still known who has them, but not after how long.
pub const MAX_TIMED_KILLS: usize = 256;

/// The kills of late.
#[derive(Default)]
pub struct Deliveries {
    /// The newest last.
    recent: RwLock<VecDeque<Arc<Delivery>>>,
}

/// One kill, and what is known of its way.
pub struct Delivery {
    /// What was killed.
    kill: Kill,
    /// The entry that did it; zero while it is in effect ahead of the log.
    revision: AtomicU64,
    /// Connections with a lower number were there before the kill. Whoever comes later gets it in a
    /// snapshot, and says nothing of how long a kill takes.
    first_later_connection: u64,
    marks: Mutex<Marks>,
}

/// When what happened.
#[derive(Clone, Copy, Debug)]
struct Marks {
    /// A request for it was accepted here; none if it came another way.
    accepted: Option<Instant>,
    in_effect: Instant,
    last_acknowledged: Option<Instant>,
}

/// How a kill came to be known.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// The entry that did it, if the log has it.
    pub revision: Option<Revision>,
    /// The number of the next connection.
    pub next_connection: u64,
    /// When a request for it was accepted here.
    pub accepted: Option<Instant>,
}

impl Deliveries {
    /// Notes that a kill is in effect since `now` at the latest. Repeated, it adds what was not known.
    pub fn in_effect(&self, kill: &Kill, seen: Sighting, now: Instant) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = recent.iter().rev().find(|known| known.kill.kill_id == kill.kill_id) {
            return known.add(seen, now);
        }
        if recent.len() == MAX_TIMED_KILLS {
            recent.pop_front();
        }
        recent.push_back(Arc::new(Delivery {
            kill: kill.clone(),
            revision: AtomicU64::new(seen.revision.map_or(0, |revision| revision.0)),
            first_later_connection: seen.next_connection,
            marks: Mutex::new(Marks { accepted: seen.accepted, in_effect: now, last_acknowledged: None }),
        }));
    }

    /// The way of a kill, if it is one of the last [`MAX_TIMED_KILLS`] since this server started.
    pub fn find(&self, id: &KillId) -> Option<Arc<Delivery>> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        recent.iter().rev().find(|delivery| delivery.kill.kill_id == *id).cloned()
    }

    /// Times the kills that a client has from now on and had not before.
    pub fn heard(&self, client: &LiveClient, said: &Acknowledgement, now: Instant) {
        let nothing_new = said.revision <= client.revision
            && said.kill_ids.iter().all(|kill_id| client.kill_ids.contains(kill_id));
        if nothing_new {
            return;
        }
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        for delivery in recent.iter().rev().filter(|delivery| delivery.is_timed_by(client)) {
            let (kill_id, revision) = (&delivery.kill.kill_id, delivery.revision());
            if !client.has(kill_id, revision) && said.has(kill_id, revision) {
                delivery.acknowledged(now);
            }
        }
    }
}

impl Delivery {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, seen: Sighting, now: Instant) {
        if let Some(revision) = seen.revision {
            // The same act may be in the log twice; the first did it.
            let _ = self.revision.compare_exchange(0, revision.0, Ordering::AcqRel, Ordering::Acquire);
        }
        let mut marks = self.marks();
        marks.in_effect = marks.in_effect.min(now);
        marks.accepted = match (marks.accepted, seen.accepted) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn is_timed_by(&self, client: &LiveClient) -> bool {
        client.connection < self.first_later_connection
            && reaches(&self.kill, &client.app, &client.environment)
    }

    fn acknowledged(&self, now: Instant) {
        let mut marks = self.marks();
        let last = marks.last_acknowledged.map_or(now, |last| last.max(now));
        marks.last_acknowledged = Some(last);
        let took = now.saturating_duration_since(marks.begun());
        drop(marks);
        metrics::histogram!("tidegate_kill_delivery_seconds").record(took);
    }

    /// What was killed.
    pub fn kill(&self) -> &Kill {
        &self.kill
    }

    /// The entry that did it; none while it is in effect ahead of the log.
    pub fn revision(&self) -> Option<Revision> {
        Some(self.revision.load(Ordering::Acquire)).filter(|revision| *revision > 0).map(Revision)
    }

    /// From its acceptance to its effect here; none if no request to this server caused it.
    pub fn in_effect_after(&self) -> Option<Duration> {
        let marks = *self.marks();
        Some(marks.in_effect.saturating_duration_since(marks.accepted?))
    }

    /// From its acceptance, or else its effect here, to the last acknowledgement of a client that was
    /// connected then; none if none has come yet.
    pub fn last_acknowledged_after(&self) -> Option<Duration> {
        let marks = *self.marks();
        Some(marks.last_acknowledged?.saturating_duration_since(marks.begun()))
    }
}

impl Marks {
    fn begun(&self) -> Instant {
        self.accepted.unwrap_or(self.in_effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollout_rules::change::Reach;
    use rollout_rules::time::UnixMs;

    fn kill(id: &str) -> Kill {
        let kill_id = KillId::new(id).unwrap();
        Kill { kill_id, reach: Reach::Everything, environment: None, at: UnixMs(1) }
    }

    fn seen(revision: Option<u64>, accepted: Option<Instant>) -> Sighting {
        Sighting { revision: revision.map(Revision), next_connection: 1, accepted }
    }

    #[test]
    fn a_kill_that_is_seen_on_two_ways_is_one_with_the_earliest_times() {
        let deliveries = Deliveries::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        deliveries.in_effect(&kill("k"), seen(None, None), at(9));
        deliveries.in_effect(&kill("k"), seen(Some(7), Some(at(2))), at(12));
        deliveries.in_effect(&kill("k"), seen(Some(8), Some(at(3))), at(5));
        let known = deliveries.find(&KillId::new("k").unwrap()).unwrap();
        assert_eq!(known.revision(), Some(Revision(7)));
        assert_eq!(known.in_effect_after(), Some(Duration::from_millis(3)));
        assert_eq!(known.last_acknowledged_after(), None);
    }

    #[test]
    fn the_oldest_kill_makes_room_for_the_newest() {
        let deliveries = Deliveries::default();
        for index in 0..=MAX_TIMED_KILLS {
            deliveries.in_effect(&kill(&format!("k-{index}")), seen(None, None), Instant::now());
        }
        let known = |id: &str| deliveries.find(&KillId::new(id).unwrap()).is_some();
        assert!(!known("k-0") && known("k-1") && known(&format!("k-{MAX_TIMED_KILLS}")));
    }
}
