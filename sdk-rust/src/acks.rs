//! Acknowledgements on their way to the server: what cannot be sent is kept and goes with the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use rollout_rules::feed::machine::{Loss, MAX_ACK_KILLS};
use rollout_rules::ids::{KillId, Revision};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::endpoint::Endpoint;

/// Most kill ids that wait to be acknowledged; the oldest go first.
const UNSENT_KILLS: usize = 1_000;
/// The longest pause after a failed try; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, also if a server asks for a longer one. What chance adds to that comes on top.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the server is still to be told.
#[derive(Default)]
pub(crate) struct Acks {
    unsent: watch::Sender<Unsent>,
}

/// What one acknowledgement, or several, will say.
#[derive(Default)]
struct Unsent {
    revision: Option<Revision>,
    kill_ids: VecDeque<KillId>,
}

impl Unsent {
    fn add(&mut self, revision: Revision, kill_ids: Vec<KillId>) {
        // A server that was restored from a backup has lower revisions than before.
        self.revision = Some(revision);
        // A new connection names again what may still wait here.
        for kill_id in kill_ids {
            if !self.kill_ids.contains(&kill_id) {
                self.kill_ids.push_back(kill_id);
            }
        }
        let surplus = self.kill_ids.len().saturating_sub(UNSENT_KILLS);
        self.kill_ids.drain(..surplus);
    }

    fn next(&self) -> Option<(Revision, Vec<KillId>)> {
        let kill_ids = self.kill_ids.iter().take(MAX_ACK_KILLS).cloned().collect();
        Some((self.revision?, kill_ids))
    }

    /// Forgets what was said. What came meanwhile stays.
    fn said(&mut self, revision: Revision, kill_ids: &[KillId]) {
        self.kill_ids.retain(|kept| !kill_ids.contains(kept));
        if self.revision == Some(revision) && self.kill_ids.is_empty() {
            self.revision = None;
        }
    }
}

impl Acks {
    /// Adds to what will be said; a kill is on its way at once.
    pub(crate) fn add(&self, revision: Revision, kill_ids: Vec<KillId>) {
        self.unsent.send_modify(|unsent| unsent.add(revision, kill_ids));
    }

    /// Sends what there is, one acknowledgement after another, for as long as the client lives.
    pub(crate) async fn send(self: Arc<Acks>, endpoint: Arc<Endpoint>) {
        let mut more = self.unsent.subscribe();
        let mut connection = None;
        let mut failures = 0;
        loop {
            let next = more.borrow_and_update().next();
            let Some((revision, kill_ids)) = next else {
                let _ = more.changed().await;
                continue;
            };
            let outcome = endpoint.acknowledge(&mut connection, revision, &kill_ids).await;
            failures = if outcome.is_ok() { 0 } else { failures + 1 };
            let random = rand::rng().random();
            match after(&outcome, failures, random) {
                Next::Forget => {
                    self.unsent.send_if_modified(|unsent| {
                        unsent.said(revision, &kill_ids);
                        false
                    });
                }
                Next::Pause(pause) => sleep(pause).await,
                Next::PauseOrMore(pause) => {
                    let _ = timeout(pause, more.changed()).await;
                }
                Next::More => {
                    let _ = more.changed().await;
                }
            }
        }
    }
}

/// What to do after a try.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It was said, or will never be taken.
    Forget,
    /// The server asked for a pause.
    Pause(Duration),
    /// Try again after a pause, or when there is more to say: the server may be back.
    PauseOrMore(Duration),
    /// It will not be taken before something else happens: the stream is gone, or the key is not valid.
    More,
}

/// Clients that failed at the same moment must not come back at the same moment: a pause is anything from
/// nothing to the whole, and what a server asks for is a lower bound, to which a second or a tenth is added.
pub(crate) fn after(outcome: &Result<(), Loss>, failures: u32, random: u64) -> Next {
    let share = |whole: Duration| {
        let whole = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(random % (whole + 1))
    };
    let backoff = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE);
    match outcome {
        Ok(()) | Err(Loss::Refused { status: 400 | 413 | 422, .. }) => Next::Forget,
        Err(Loss::Refused { retry_after: Some(asked), .. }) => {
            let asked = Duration::from_millis(asked.0).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            Next::Pause(asked + share(FIRST_PAUSE.max(asked / 10)))
        }
        Err(Loss::Refused { status: 401..=428, .. }) => Next::More,
        Err(_) => Next::PauseOrMore(share(backoff)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rollout_rules::time::DurationMs;

    use super::*;

    fn kills(ids: std::ops::Range<usize>) -> Vec<KillId> {
        ids.map(|id| KillId::new(&format!("kill-{id}")).unwrap()).collect()
    }

    #[test]
    fn kills_that_could_not_be_acknowledged_go_with_the_next_acknowledgement() {
        let mut unsent = Unsent::default();
        unsent.add(Revision(7), kills(0..40));
        let (revision, first) = unsent.next().unwrap();
        assert_eq!((revision, &first[..]), (Revision(7), &kills(0..MAX_ACK_KILLS)[..]));
        unsent.add(Revision(8), kills(40..41));
        unsent.said(revision, &first);
        assert_eq!(unsent.next().unwrap(), (Revision(8), kills(MAX_ACK_KILLS..41)));
        unsent.said(Revision(8), &kills(MAX_ACK_KILLS..41));
        assert!(unsent.next().is_none());
    }

    #[test]
    fn what_came_while_an_acknowledgement_was_on_its_way_is_still_to_be_said() {
        let mut unsent = Unsent::default();
        unsent.add(Revision(7), Vec::new());
        unsent.add(Revision(8), Vec::new());
        unsent.said(Revision(7), &[]);
        assert_eq!(unsent.next().unwrap().0, Revision(8));
    }

    #[test]
    fn what_waits_for_a_server_that_never_comes_back_is_bounded() {
        let mut unsent = Unsent::default();
        unsent.add(Revision(1), kills(0..UNSENT_KILLS));
        unsent.add(Revision(2), kills(UNSENT_KILLS..UNSENT_KILLS + 3));
        assert_eq!(unsent.kill_ids.len(), UNSENT_KILLS);
        assert_eq!(unsent.kill_ids.back().unwrap().as_str(), "kill-1002");
    }

    #[test]
    fn a_server_that_asks_for_patience_gets_it_and_one_that_is_away_is_asked_ever_less() {
        let refused = |status, seconds: Option<u64>| {
            Err(Loss::Refused { status, retry_after: seconds.map(|s| DurationMs(s * 1000)) })
        };
        // A number that is the whole of each range of chance: these are the longest pauses.
        let longest = |outcome, failures, whole: Duration| {
            after(&outcome, failures, u64::try_from(whole.as_millis()).unwrap())
        };
        let (second, minute) = (FIRST_PAUSE, LONGEST_PAUSE);
        assert_eq!(longest(refused(429, Some(7)), 1, second), Next::Pause(Duration::from_secs(8)));
        assert_eq!(longest(refused(503, Some(0)), 1, second), Next::Pause(2 * second));
        assert_eq!(longest(refused(429, Some(86_400)), 1, minute / 10), Next::Pause(minute + minute / 10));
        assert_eq!(after(&refused(404, None), 1, 0), Next::More);
        assert_eq!(after(&refused(400, None), 1, 0), Next::Forget);
        assert_eq!(longest(Err(Loss::Ended), 1, second), Next::PauseOrMore(second));
        assert_eq!(longest(Err(Loss::Ended), 4, 8 * second), Next::PauseOrMore(8 * second));
        assert_eq!(longest(Err(Loss::Ended), 400, minute), Next::PauseOrMore(minute));
    }

    #[test]
    fn clients_that_failed_together_do_not_try_again_together() {
        let busy = Err(Loss::Refused { status: 503, retry_after: Some(DurationMs(7000)) });
        for random in [0, 1, 999] {
            let share = Duration::from_millis(random);
            assert_eq!(after(&busy, 1, random), Next::Pause(Duration::from_secs(7) + share));
            assert_eq!(after(&Err(Loss::Ended), 1, random), Next::PauseOrMore(share));
        }
    }

    #[test]
    fn a_kill_that_waits_already_is_said_once() {
        let mut unsent = Unsent::default();
        unsent.add(Revision(7), kills(0..3));
        unsent.add(Revision(7), kills(1..5));
        assert_eq!(unsent.next().unwrap(), (Revision(7), kills(0..5)));
    }
}
