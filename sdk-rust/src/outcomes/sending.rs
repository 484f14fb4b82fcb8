//! Tells the server what became of requests: when a slot is over, again until it is taken or the slot's grace is over,
//! and once more at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng as _;
use rollout_rules::feed::machine::Loss;
use rollout_rules::sli::{GRACE, SLOT, Slot};
use rollout_rules::time::UnixMs;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::batches::{Batch, batches};
use super::usage::Usage;
use crate::endpoint::{Connection, Endpoint};
use crate::exposures::FAREWELL;
use crate::shared::Shared;

/// A slot is told this long after its end at most, so that a fleet does not tell all at once; the rest of its grace is
/// for tries that fail.
const JITTER: Duration = Duration::from_millis(1_000);
/// A server that does not answer, or is busy, is asked again after this long at most.
const PAUSE: Duration = Duration::from_millis(400);
/// This much of the grace is left for the way.
const WAY: Duration = Duration::from_millis(200);

/// What a server says of a batch.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    now: Option<UnixMs>,
    #[serde(default)]
    refused: Vec<Refused>,
}

/// A summary that it did not take.
#[derive(Deserialize)]
struct Refused {
    index: usize,
}

/// Tells the server.
pub(crate) struct Sending {
    shared: Arc<Shared>,
    endpoint: Arc<Endpoint>,
    connection: Option<Connection>,
    run: u32,
    number: u64,
    usage: Usage,
}

impl Sending {
    pub(crate) fn new(shared: Arc<Shared>, endpoint: Arc<Endpoint>) -> Sending {
        shared.outcomes.tell();
        Sending {
            shared,
            endpoint,
            connection: None,
            run: rand::rng().random(),
            number: 0,
            usage: Usage::new(Instant::now()),
        }
    }

    /// Tells the server for as long as the client lives, and once more when it ends.
    pub(crate) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        loop {
            let now = self.server_time();
            let left = Duration::from_millis(Slot::at(now).ends_at().since(now).0);
            let jitter = JITTER.mul_f64(rand::rng().random());
            let ends = tokio::select! {
                // An error means that whoever could say so is gone.
                _ = closing.wait_for(|closing| *closing) => true,
                () = sleep(left + jitter) => false,
            };
            if !self.shared.outcomes.used.load(Ordering::Relaxed) {
                if ends {
                    return;
                }
                continue;
            }
            let now = self.server_time();
            if ends {
                // What there is of the slot that has begun as well.
                let _ = timeout(FAREWELL, self.tell(Slot::at(now).plus(1), now)).await;
                return;
            }
            self.tell(Slot::at(now), now).await;
        }
    }

    fn server_time(&self) -> UnixMs {
        self.shared.outcomes.by_the_server(self.shared.clock.now())
    }

    /// Tells all of the slots before `until`.
    async fn tell(&mut self, until: Slot, now: UnixMs) {
        let began = Instant::now();
        let summaries = self.shared.outcomes.take_before(until);
        let all = self.shared.outcomes.take_all_before(until);
        for batch in batches(&summaries, all, self.usage.read(began), until) {
            let closes = batch.slot.ends_at().plus(GRACE).since(now);
            let deadline = began + Duration::from_millis(closes.0).saturating_sub(WAY);
            self.number += 1;
            let name = format!("{:08x}-{}", self.run, self.number);
            let told = timeout_at(deadline, self.until_taken(&batch, &name)).await;
            if !told.unwrap_or(false) {
                count(&self.shared.outcomes.lost, batch.requests());
            }
        }
    }

    /// Whether a batch was taken; not, if it never will be.
    async fn until_taken(&mut self, batch: &Batch, name: &str) -> bool {
        let mut sender = json!({ "instance": self.endpoint.instance(), "batch": name });
        self.endpoint.name_audience(&mut sender);
        let body = batch.body(&sender);
        loop {
            let sent = self.endpoint.tell_outcomes(&mut self.connection, body.clone()).await;
            let pause = match sent {
                Ok(answer) => {
                    self.taken(batch, &answer);
                    return true;
                }
                Err(Loss::Refused { status: 429 | 503, retry_after: Some(asked) }) => {
                    Duration::from_millis(asked.0)
                }
                // The environment is gone, the key is not meant for this, or the server is older than this.
                Err(Loss::Refused { status: 400..=428, .. }) => return false,
                Err(_) => PAUSE.mul_f64(rand::rng().random_range(0.25..1.0)),
            };
            sleep(pause).await;
        }
    }

    fn taken(&self, batch: &Batch, answer: &[u8]) {
        let outcomes = &self.shared.outcomes;
        let answer: Answer =
            serde_json::from_slice(answer).unwrap_or(Answer { now: None, refused: Vec::new() });
        let refused = answer.refused.iter().filter_map(|one| batch.requests.get(one.index));
        let refused = refused.fold(0_u64, |sum, requests| sum.saturating_add(*requests));
        count(&outcomes.refused, refused);
        count(&outcomes.taken, batch.requests().saturating_sub(refused));
        if let Some(server) = answer.now {
            outcomes.note_time(server, self.shared.clock.now());
        }
    }
}

fn count(counter: &AtomicU64, requests: u64) {
    counter.fetch_add(requests, Ordering::Relaxed);
}

// A try that fails late in a slot's grace must not eat into the next slot's.
const _: () = assert!(GRACE.0 < SLOT.0);
