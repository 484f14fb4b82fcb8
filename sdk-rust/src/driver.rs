//! The background thread: does what the feed machine says.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use rand::Rng as _;
use rollout_rules::feed::machine::{Input, Loss, Machine, Output, Standing};
use rollout_rules::feed::{Applied, ClientState};
use rollout_rules::time::{DurationMs, UnixMs};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::acks::Acks;
use crate::cache::Cache;
use crate::clock::system_ms;
use crate::endpoint::Endpoint;
use crate::exposures::{self, Exposures};
use crate::outcomes::Sending;
use crate::shared::Shared;
use crate::status::Status;

/// Changes within this time are written to disk together; kills at once.
const STORE_DEBOUNCE: Duration = Duration::from_secs(1);
/// After this, what could not be written is tried again.
const STORE_RETRY: Duration = Duration::from_secs(30);
/// Most flags that listeners are told of one by one; of more they are told that everything changed.
const UNTOLD_FLAGS: usize = 10_000;
/// Most kills that listeners are told of together; the oldest go first.
const UNTOLD_KILLS: usize = 1_000;

/// Follows the feed until it is told to stop.
pub(crate) struct Driver {
    endpoint: Arc<Endpoint>,
    shared: Arc<Shared>,
    machine: Machine,
    epoch: Instant,
    stream: Stream,
    store: Store,
    news: News,
    saved_at: Option<UnixMs>,
    was_live: bool,
    cut_off_since: Option<UnixMs>,
    telling: Option<Exposures>,
    tells: bool,
    sending: Option<Sending>,
}

impl Driver {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        shared: Arc<Shared>,
        machine: Machine,
        cache: Option<Cache>,
        saved_at: Option<UnixMs>,
    ) -> Driver {
        Driver {
            endpoint,
            shared,
            machine,
            epoch: Instant::now(),
            stream: Stream::None,
            store: Store { cache, dirty: None, due: None, writing: None, running: None },
            news: News::default(),
            saved_at,
            was_live: false,
            cut_off_since: None,
            telling: None,
            tells: false,
            sending: None,
        }
    }

    /// Tells the server so often how often flags gave which answer.
    pub(crate) fn telling_exposures(mut self, every: Duration) -> Driver {
        self.tells = true;
        self.telling = Some(Exposures::new(Arc::clone(&self.shared), Arc::clone(&self.endpoint), every));
        self
    }

    /// Tells the server what became of requests.
    pub(crate) fn telling_outcomes(mut self) -> Driver {
        self.sending = Some(Sending::new(Arc::clone(&self.shared), Arc::clone(&self.endpoint)));
        self
    }

    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let acks = Arc::new(Acks::default());
        tokio::spawn(Arc::clone(&acks).send(Arc::clone(&self.endpoint)));
        let (close, closing) = watch::channel(false);
        let sending = self.sending.take().map(|sending| tokio::spawn(sending.run(closing.clone())));
        let telling = self.telling.take().map(|telling| tokio::spawn(telling.run(closing)));
        loop {
            let wake = self.epoch + Duration::from_millis(self.machine.wake_at().0);
            let wake = self.store.wakes_at().map_or(wake, |due| due.min(wake));
            let happened = tokio::select! {
                biased;
                _ = &mut stop => break,
                happened = self.stream.next() => happened,
                outcome = self.store.finished() => {
                    self.shared.note_cache(outcome);
                    continue;
                }
                () = self.news.told() => {
                    self.news.tell(&self.shared);
                    continue;
                }
                () = sleep_until(wake) => Happened::Nothing,
            };
            let now = DurationMs(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX));
            let random = rand::rng().random();
            let outputs = match &happened {
                Happened::Connected => self.machine.handle(Input::Connected, random, now),
                Happened::Bytes(bytes) => self.machine.handle(Input::Bytes(bytes), random, now),
                Happened::Lost(loss) => self.machine.handle(Input::Lost(loss.clone()), random, now),
                Happened::Nothing => self.machine.handle(Input::Tick, random, now),
            };
            self.act(outputs, &acks);
            self.store.begin_if_due(self.shared.clock.reading());
        }
        close.send_replace(true);
        let telling = async {
            // At the same time: each has its farewell.
            for told in [telling, sending].into_iter().flatten() {
                let _ = timeout(2 * exposures::FAREWELL, told).await;
            }
        };
        tokio::join!(self.store.finish(self.shared.clock.reading()), telling);
    }

    fn act(&mut self, outputs: Vec<Output>, acks: &Acks) {
        for output in outputs {
            match output {
                Output::Connect { resume } => {
                    let endpoint = Arc::clone(&self.endpoint);
                    self.stream = Stream::Opening(Box::pin(async move { endpoint.open_feed(resume).await }));
                }
                Output::Disconnect => self.stream = Stream::None,
                Output::Serve { state, applied } => {
                    self.shared.replace(&state, &applied, self.tells);
                    self.store.keep(state, !applied.kill_ids.is_empty());
                    if *self.machine.standing() == Standing::Live {
                        self.report();
                    }
                    self.news.add(applied);
                }
                Output::Ack { revision, kill_ids } => acks.add(revision, kill_ids),
                Output::Standing(_) => self.report(),
                // Nothing that is said to servers needs more than the machine.
                Output::Said { .. } => {}
            }
        }
        self.news.tell(&self.shared);
    }

    fn report(&mut self) {
        let status = match self.machine.standing() {
            Standing::Live => {
                self.was_live = true;
                self.cut_off_since = None;
                let revision = self.shared.state.load().as_ref().map(|state| state.revision());
                Status::Live { revision: revision.unwrap_or_default() }
            }
            Standing::Starting => return,
            Standing::Stale { why, .. } => {
                let since = *self.cut_off_since.get_or_insert_with(system_ms);
                match self.saved_at {
                    _ if self.was_live => Status::Stale { since, why: why.into() },
                    Some(saved_at) => Status::FromCache { saved_at, why: Some(why.into()) },
                    None => Status::Offline { since, why: why.into() },
                }
            }
        };
        self.shared.status.send_replace(status);
    }
}

enum Happened {
    Connected,
    Bytes(Bytes),
    Lost(Loss),
    Nothing,
}

enum Stream {
    None,
    Opening(Pin<Box<dyn Future<Output = Result<Incoming, Loss>> + Send>>),
    Open(Incoming),
}

impl Stream {
    /// The next thing that happens; nothing is lost if it is not waited for to the end.
    async fn next(&mut self) -> Happened {
        match self {
            Stream::None => pending().await,
            Stream::Opening(opening) => match opening.await {
                Ok(body) => {
                    *self = Stream::Open(body);
                    Happened::Connected
                }
                Err(loss) => self.lost(loss),
            },
            Stream::Open(body) => match body.frame().await {
                Some(Ok(frame)) => Happened::Bytes(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => self.lost(Loss::Failed(error.to_string())),
                None => self.lost(Loss::Ended),
            },
        }
    }

    fn lost(&mut self, loss: Loss) -> Happened {
        *self = Stream::None;
        Happened::Lost(loss)
    }
}

/// Brings states to disk, one at a time.
struct Store {
    cache: Option<Cache>,
    dirty: Option<Arc<ClientState>>,
    due: Option<Instant>,
    /// What `running` writes.
    writing: Option<Arc<ClientState>>,
    running: Option<JoinHandle<io::Result<()>>>,
}

impl Store {
    fn keep(&mut self, state: Arc<ClientState>, at_once: bool) {
        if self.cache.is_none() {
            return;
        }
        self.dirty = Some(state);
        let due = Instant::now() + if at_once { Duration::ZERO } else { STORE_DEBOUNCE };
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    fn wakes_at(&self) -> Option<Instant> {
        self.due.filter(|_| self.running.is_none())
    }

    fn begin_if_due(&mut self, now: UnixMs) {
        if self.wakes_at().is_none_or(|due| due > Instant::now()) {
            return;
        }
        self.due = None;
        if let (Some(state), Some(cache)) = (self.dirty.take(), self.cache.clone()) {
            self.writing = Some(Arc::clone(&state));
            self.running = Some(tokio::task::spawn_blocking(move || cache.store(&state, now)));
        }
    }

    async fn finished(&mut self) -> io::Result<()> {
        let Some(running) = &mut self.running else { return pending().await };
        let outcome = running.await;
        self.running = None;
        let outcome = outcome.unwrap_or_else(|error| Err(io::Error::other(error)));
        let written = self.writing.take();
        if outcome.is_err() {
            // A full disk has space again some day, and a kill must be on it by then.
            self.dirty = self.dirty.take().or(written);
            self.due = self.due.or(Some(Instant::now() + STORE_RETRY));
        }
        outcome
    }

    /// The last state reaches the disk before the thread ends.
    async fn finish(&mut self, now: UnixMs) {
        if self.running.is_some() {
            let _ = self.finished().await;
        }
        self.due = self.dirty.as_ref().map(|_| Instant::now());
        self.begin_if_due(now);
        if self.running.is_some() {
            let _ = self.finished().await;
        }
    }
}

/// Tells listeners what changed, on a thread that may take its time: the feed does not wait for it. What
/// changes meanwhile is told together.
#[derive(Default)]
struct News {
    untold: Option<Applied>,
    telling: Option<JoinHandle<()>>,
}

impl News {
    fn add(&mut self, applied: Applied) {
        let Some(untold) = &mut self.untold else {
            self.untold = Some(applied);
            return;
        };
        untold.revision = applied.revision;
        untold.everything |= applied.everything;
        untold.flags.extend(applied.flags);
        untold.kill_ids.extend(applied.kill_ids);
        // A listener that never comes back must not fill the memory.
        if untold.flags.len() > UNTOLD_FLAGS {
            untold.everything = true;
            untold.flags.clear();
        }
        let surplus = untold.kill_ids.len().saturating_sub(UNTOLD_KILLS);
        untold.kill_ids.drain(..surplus);
    }

    fn tell(&mut self, shared: &Arc<Shared>) {
        if !shared.has_listeners() {
            self.untold = None;
        }
        if self.telling.is_none()
            && let Some(applied) = self.untold.take()
        {
            let shared = Arc::clone(shared);
            self.telling = Some(tokio::task::spawn_blocking(move || shared.tell(&applied)));
        }
    }

    async fn told(&mut self) {
        let Some(telling) = &mut self.telling else { return pending().await };
        let _ = telling.await;
        self.telling = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use rollout_rules::feed::Frame;
    use rollout_rules::ids::{FlagKey, KillId, Revision};

    use super::*;

    #[test]
    fn what_could_not_be_written_is_kept_and_tried_again_after_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let blocked = directory.path().join("blocked");
        std::fs::write(&blocked, "in the way").unwrap();
        let frame = serde_json::json!({"v": 1, "log": "l", "revision": 6,
            "body": {"snapshot": {"app": "shop", "environment": "production", "flags": []}}});
        let frame = Frame::decode(frame.to_string().as_bytes()).unwrap();
        let state = Arc::new(ClientState::fold(None, &frame).unwrap().0);
        let cache = Cache::new(&blocked, "http://host", "tg_key", None);
        let mut store =
            Store { cache: Some(cache.clone()), dirty: None, due: None, writing: None, running: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            store.keep(Arc::clone(&state), true);
            store.begin_if_due(UnixMs(7));
            let before = Instant::now();
            store.finished().await.unwrap_err();
            let again = store.wakes_at().unwrap();
            assert!((before + STORE_RETRY..=Instant::now() + STORE_RETRY).contains(&again));
            assert_eq!(store.dirty.as_ref().map(|dirty| dirty.revision()), Some(Revision(6)));
            // Not at once, but a kill does not wait for that moment.
            store.begin_if_due(UnixMs(8));
            assert!(store.running.is_none());
            std::fs::remove_file(&blocked).unwrap();
            store.keep(state, true);
            store.begin_if_due(UnixMs(9));
            store.finished().await.unwrap();
            assert_eq!(store.wakes_at(), None);
            assert_eq!(cache.load().unwrap().unwrap().saved_at, UnixMs(9));
        });
    }

    fn change(revision: u64) -> Applied {
        Applied {
            revision: Revision(revision),
            flags: [FlagKey::new(&format!("flag-{revision}")).unwrap()].into(),
            kill_ids: vec![KillId::new(&format!("kill-{revision}")).unwrap()],
            ..Applied::default()
        }
    }

    #[test]
    fn what_waits_for_a_listener_that_never_comes_back_is_bounded() {
        let mut news = News::default();
        (1..=UNTOLD_FLAGS as u64).for_each(|revision| news.add(change(revision)));
        let untold = news.untold.as_ref().unwrap();
        assert_eq!((untold.everything, untold.flags.len()), (false, UNTOLD_FLAGS));
        assert_eq!(untold.kill_ids.len(), UNTOLD_KILLS);
        assert_eq!(untold.kill_ids.last().unwrap().as_str(), "kill-10000");
        news.add(change(UNTOLD_FLAGS as u64 + 1));
        let untold = news.untold.unwrap();
        assert!(untold.everything && untold.flags.is_empty());
        assert_eq!(untold.revision, Revision(10_001));
    }
}
