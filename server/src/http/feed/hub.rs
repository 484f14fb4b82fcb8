//! Hands what the log says to whoever listens. One call for each entry: it encodes the entry once for
//! each audience, puts it into that audience's ring and rings the bell. Streams read the rings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rollout_rules::change::{Change, Entry};
use rollout_rules::feed::{Audience, FrameBody, ResumeToken};
use rollout_rules::ids::{AppKey, EnvKey, LogId, Revision};
use rollout_rules::project::{overlay_frame, project, snapshot_frame};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use tokio::sync::watch;

use super::channel::{Channel, Unheard, reaches, travelling};
use super::encoded;
use super::ring::Lag;
use super::wakers::Bell;
use crate::http::problem::{self, Problem};
use crate::state::{Event, Overlay as Standing, Published};

/// How long a stream waits for an environment that is published to be handed out too, which takes milliseconds.
const HANDING_OUT: Duration = Duration::from_secs(2);

/// What the streams of all audiences are fed from.
pub struct Hub {
    log: LogId,
    /// Wakes the streams.
    pub bell: Bell,
    state: Mutex<State>,
    /// Counts revocations of tokens, after which each stream looks whether its own still stands.
    revocations: AtomicU64,
    closing: AtomicBool,
    connections: AtomicU64,
    /// How far what is published has been handed out.
    reached: watch::Sender<Revision>,
}

struct State {
    /// What was handed out last.
    published: Arc<Published>,
    channels: BTreeMap<(AppKey, EnvKey), Arc<Channel>>,
}

impl State {
    /// Gives up channels that nobody will come back to.
    fn forget_unused(&mut self, now: UnixMs) {
        let published = &self.published;
        self.channels
            .retain(|(app, environment), channel| channel.is_used(exists(published, app, environment), now));
    }
}

/// How many streams are open from which nothing is heard.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnheardCounts {
    /// Feeds of SDKs that gave no name.
    pub unnamed: usize,
    /// OFREP's event streams.
    pub event_streams: usize,
    /// Web pages.
    pub pages: usize,
}

/// How a feed begins.
pub struct Beginning {
    /// Sent first.
    pub events: Vec<Bytes>,
    /// Where in the ring the stream goes on.
    pub position: u64,
}

fn exists(published: &Published, app: &AppKey, environment: &EnvKey) -> bool {
    published.folded.app(app).is_some_and(|app| app.environment(environment).is_some())
}

impl Hub {
    /// A hub that begins at what is published now.
    pub fn new(log: LogId, published: Arc<Published>) -> Hub {
        Hub {
            log,
            bell: Bell::default(),
            reached: watch::Sender::new(published.revision()),
            state: Mutex::new(State { published, channels: BTreeMap::new() }),
            revocations: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out what happened.
    pub fn hand_out(&self, event: Event, now: UnixMs) {
        match event {
            Event::Entry { revision, entry, before, published, .. } => {
                self.entry(revision, &entry, &before, published, now);
            }
            Event::Overlaid { overlay, published } => self.overlay(&overlay, published, now),
            Event::Boundary { at } => self.moment(at, now),
        }
    }

    fn entry(
        &self,
        revision: Revision,
        entry: &Entry,
        before: &Snapshot,
        published: Arc<Published>,
        now: UnixMs,
    ) {
        let mut state = self.state();
        if revision <= state.published.revision() {
            return;
        }
        state.published = published;
        let after = &state.published.folded;
        for channel in state.channels.values() {
            if let Some(ring) = channel.ring.get()
                && let Some(frame) = project(before, after, &self.log, entry, &channel.audience)
                && let Some(event) = encoded(&frame)
            {
                ring.push(Some(frame.revision), event, now);
            }
            channel.tell_pages(&self.log, entry, revision, before, &state.published);
            let served = after.feed_revision(&channel.app, &channel.environment);
            if served != before.feed_revision(&channel.app, &channel.environment) {
                channel.notify(&self.log, &state.published, now);
            }
        }
        if matches!(entry.change, Change::EnvironmentRemoved { .. }) {
            state.forget_unused(now);
        }
        drop(state);
        self.reached.send_replace(revision);
        if matches!(entry.change, Change::TokenRevoked { .. }) {
            self.revocations.fetch_add(1, Ordering::Release);
        }
        self.bell.ring();
    }

    fn overlay(&self, kill: &Standing, published: Arc<Published>, now: UnixMs) {
        let mut state = self.state();
        state.published = published;
        let revision = state.published.revision();
        for channel in state.channels.values() {
            if !reaches(kill, &channel.app, &channel.environment) {
                continue;
            }
            if let Some(ring) = channel.ring.get()
                && let Some(event) = self.overlay_event(kill, revision, &channel.audience)
            {
                ring.push(None, event, now);
            }
            channel.tell_pages_of_kill(&self.log, kill, &state.published);
            channel.notify(&self.log, &state.published, now);
        }
        drop(state);
        // Whoever waits for it looks again.
        self.reached.send_modify(|_| {});
        self.bell.ring();
    }

    /// A moment came at which some answers changed by themselves.
    fn moment(&self, at: UnixMs, now: UnixMs) {
        let mut state = self.state();
        let published = Arc::clone(&state.published);
        // SDKs judge the moment themselves; OFREP's clients are told to fetch again.
        for channel in state.channels.values() {
            let boundary = published.folded.boundary(&channel.app, &channel.environment, at.max(now));
            if boundary.0 > channel.boundary.swap(boundary.0, Ordering::Relaxed) {
                channel.notify(&self.log, &published, now);
            }
        }
        state.forget_unused(now);
        drop(state);
        self.bell.ring();
    }

    /// Starts anew from what is published now, since events were missed: every stream ends, and clients
    /// come back for what they lack.
    pub fn start_anew(&self, published: Arc<Published>) {
        let mut state = self.state();
        let revision = published.revision();
        state.published = published;
        for (_, channel) in std::mem::take(&mut state.channels) {
            channel.lost.store(true, Ordering::Release);
        }
        drop(state);
        self.reached.send_replace(revision);
        self.bell.ring();
    }

    /// The channel of an app environment. One that was published a moment ago may not have been handed out yet:
    /// then it is waited for, since whoever was told that it is made may ask at once.
    pub async fn channel(
        &self,
        app: &AppKey,
        environment: &EnvKey,
        published: &Published,
        now: UnixMs,
    ) -> Result<Arc<Channel>, Problem> {
        if let Some(channel) = self.known_channel(app, environment, now) {
            return Ok(channel);
        }
        if exists(published, app, environment) {
            let mut reached = self.reached.subscribe();
            let until = reached.wait_for(|reached| *reached >= published.revision());
            if !matches!(tokio::time::timeout(HANDING_OUT, until).await, Ok(Ok(_))) {
                let detail = "the environment is new, and its stream is not ready yet";
                return Err(Problem::new(problem::NOT_READY, detail).retry_after(1));
            }
        }
        self.known_channel(app, environment, now).ok_or_else(|| {
            let detail = format!("there is no environment `{environment}` of an app `{app}`");
            Problem::new(problem::NOT_FOUND, detail)
        })
    }

    fn known_channel(&self, app: &AppKey, environment: &EnvKey, now: UnixMs) -> Option<Arc<Channel>> {
        let mut state = self.state();
        if !exists(&state.published, app, environment) {
            return None;
        }
        let folded = &state.published.folded;
        let name = (app.clone(), environment.clone());
        if let Some(channel) = state.channels.get(&name) {
            return Some(Arc::clone(channel));
        }
        let boundary = folded.boundary(app, environment, now);
        let channel = Arc::new(Channel::new(app, environment, boundary, now));
        // Nobody watched until now, so it counts as changed now.
        channel.notify(&self.log, &state.published, now);
        state.forget_unused(now);
        state.channels.insert(name, Arc::clone(&channel));
        Some(channel)
    }

    /// How a client begins that has seen what its resume token says: with what it missed if that is
    /// still here, else with a snapshot.
    pub async fn begin(
        &self,
        channel: &Arc<Channel>,
        seen: Option<ResumeToken>,
    ) -> Result<Beginning, Problem> {
        if let Some(beginning) = seen.and_then(|seen| self.resume(channel, &seen)) {
            return Ok(beginning);
        }
        let mut kept = channel.encoded.lock().await;
        if let Some((event, position)) = &*kept
            && channel.ring().bytes_after(*position).is_some_and(|bytes| bytes <= event.len())
        {
            return Ok(Beginning { events: vec![event.clone()], position: *position });
        }
        // Position and fold belong together; encoding takes its time without holding anybody up.
        let (snapshot, overlays, position) = {
            let state = self.state();
            let folded = &state.published.folded;
            let position = channel.open_ring(folded).end();
            (Arc::clone(folded), channel.overlays(&state.published), position)
        };
        let (log, audience) = (self.log.clone(), channel.audience.clone());
        let event = tokio::task::spawn_blocking(move || {
            let mut frame = snapshot_frame(&snapshot, &log, &audience)?;
            if let FrameBody::Snapshot(served) = &mut frame.body {
                served.overlays = overlays;
            }
            encoded(&frame)
        })
        .await
        .map_err(Problem::internal)?
        .ok_or_else(|| {
            Problem::new(problem::NOT_FOUND, "the environment is gone, or too large to be sent")
        })?;
        *kept = Some((event.clone(), position));
        Ok(Beginning { events: vec![event], position })
    }

    fn resume(&self, channel: &Channel, seen: &ResumeToken) -> Option<Beginning> {
        if seen.log != self.log {
            return None;
        }
        let state = self.state();
        let revision = state.published.revision();
        // A client of a node that is ahead has seen what this one has not.
        if seen.revision > revision {
            return None;
        }
        let position = channel.open_ring(&state.published.folded).resume(seen.revision)?;
        let standing = channel.standing(&state.published);
        let events =
            standing.filter_map(|kill| self.overlay_event(kill, revision, &channel.audience)).collect();
        Some(Beginning { events, position })
    }

    fn overlay_event(&self, kill: &Standing, revision: Revision, audience: &Audience) -> Option<Bytes> {
        let frame =
            overlay_frame(&travelling(kill), kill.environment.as_ref(), &self.log, revision, audience)?;
        encoded(&frame)
    }

    /// A number for a new connection.
    pub fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// The number that the next connection gets.
    pub fn coming_connection(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How far a client of an app environment is behind that serves a revision; `None` if it is not, or if
    /// nobody can say.
    pub fn lag(&self, app: &AppKey, environment: &EnvKey, served: Revision) -> Option<Lag> {
        let channel = self.state().channels.get(&(app.clone(), environment.clone())).map(Arc::clone)?;
        channel.ring.get()?.lag(served)
    }

    /// Waits until what is published is handed out too, which takes milliseconds.
    pub async fn catch_up(&self, published: &Published) -> Result<(), Problem> {
        if self.has_all(published) {
            return Ok(());
        }
        let mut reached = self.reached.subscribe();
        let until = reached.wait_for(|_| self.has_all(published));
        match tokio::time::timeout(HANDING_OUT, until).await {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let detail = "what was published last is not handed out yet";
                Err(Problem::new(problem::NOT_READY, detail).retry_after(1))
            }
        }
    }

    /// Whether something that is published is handed out, with every kill ahead of the log.
    fn has_all(&self, published: &Published) -> bool {
        let handed_out = Arc::clone(&self.state().published);
        let (here, there) = (handed_out.revision(), published.revision());
        let has = |kill: &Standing| handed_out.overlays.iter().any(|known| known.kill_id == kill.kill_id);
        here > there || (here == there && published.overlays.iter().all(has))
    }

    /// Where a page goes on from what is handed out: nothing comes between the two.
    pub fn begin_page(&self, channel: &Channel) -> (Arc<Published>, u64) {
        let state = self.state();
        (Arc::clone(&state.published), channel.page_ring().end())
    }

    /// How many streams of each kind from which nothing is heard are open in the app environments that are wanted.
    pub fn count_unheard(&self, wanted: impl Fn(&AppKey, &EnvKey) -> bool) -> UnheardCounts {
        let state = self.state();
        let channels = state.channels.values();
        let wanted = channels.filter(|channel| wanted(&channel.app, &channel.environment));
        wanted.fold(UnheardCounts::default(), |counts, channel| UnheardCounts {
            unnamed: counts.unnamed + channel.count(Unheard::UnnamedFeed),
            event_streams: counts.event_streams + channel.count(Unheard::EventStream),
            pages: counts.pages + channel.count(Unheard::Page),
        })
    }

    /// Changes whenever a token was revoked.
    pub fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::Acquire)
    }

    /// Ends every stream, so that clients reconnect elsewhere.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Whether streams are to end.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::change::{Command, NewEnvironment};
    use rollout_rules::flag::EnvironmentKind;
    use rollout_rules::time::DurationMs;

    use super::*;
    use crate::http::tests::{Node, START};

    #[tokio::test]
    async fn a_channel_of_an_environment_that_is_gone_is_kept_only_while_somebody_listens() {
        let node = Node::start().await;
        let app = node.shop().await;
        let pr = |number: usize| EnvKey::new(&format!("pr-{number}")).expect("a key");
        for number in 0..3 {
            let environment =
                NewEnvironment { key: pr(number), kind: EnvironmentKind::Preview, ends_at: None };
            node.submit(Command::CreateEnvironment { app: app.clone(), environment }).await;
        }
        let (shared, mut events) = node.listening();
        let published = shared.published_full();
        let left = shared.hub.channel(&app, &pr(0), &published, START).await.expect("it exists");
        let heard = shared.hub.channel(&app, &pr(1), &published, START).await.expect("it exists");
        shared.hub.channel(&app, &pr(2), &published, START).await.expect("it exists");
        drop(left);
        for number in 0..2 {
            let environment = pr(number);
            node.submit(Command::RemoveEnvironment { app: app.clone(), environment }).await;
            loop {
                let event = events.recv().await.expect("an event");
                let is_removal = matches!(&event, Event::Entry { entry, .. }
                    if matches!(entry.change, Change::EnvironmentRemoved { .. }));
                shared.hub.hand_out(event, START);
                if is_removal {
                    break;
                }
            }
        }
        let kept = || shared.hub.state().channels.keys().map(|(_, key)| key.clone()).collect::<Vec<_>>();
        assert_eq!(kept(), [pr(1), pr(2)], "one is listened to, one is there");
        drop(heard);
        shared.hub.hand_out(Event::Boundary { at: START }, START);
        assert_eq!(kept(), [pr(2)]);
        let later = START.plus(DurationMs(3_600_000));
        shared.hub.hand_out(Event::Boundary { at: later }, later);
        assert_eq!(kept(), []);
        node.state.stop().await;
    }
}
