//! What one app environment has to hear, and who listens without a word.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use rollout_rules::change::Reach;
use rollout_rules::feed::{Audience, Overlay};
use rollout_rules::ids::{AppKey, EnvKey, KillId, LogId};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use super::page_ring::PageRing;
use super::ring::Ring;
use crate::http::etag;
use crate::state::{Overlay as Standing, Published};

/// A channel that nobody listened to for this long is given up.
const IDLE_CHANNEL_MS: u64 = 10 * 60 * 1000;

/// Whether a kill reaches an app environment.
pub fn reaches(kill: &Standing, app: &AppKey, environment: &EnvKey) -> bool {
    let in_app = match &kill.reach {
        Reach::Everything => true,
        Reach::App { app: killed } | Reach::Flag { app: killed, .. } => killed == app,
    };
    in_app && kill.environment.as_ref().is_none_or(|only| only == environment)
}

/// What one app environment has to hear.
pub struct Channel {
    pub(super) app: AppKey,
    pub(super) environment: EnvKey,
    pub(super) audience: Audience,
    /// Frames for SDKs, from the first SDK on.
    pub(super) ring: OnceLock<Ring>,
    /// What pages have to hear, from the first page on.
    pages: OnceLock<PageRing>,
    /// The last snapshot that was encoded, and the position in the ring from which it goes on.
    pub(super) encoded: tokio::sync::Mutex<Option<(Bytes, u64)>>,
    /// Counts changes of what is served, for OFREP's event streams.
    changes: AtomicU64,
    notice: Mutex<Notice>,
    /// The last moment that was told of at which answers changed by themselves.
    pub(super) boundary: AtomicU64,
    used_at: AtomicU64,
    pub(super) lost: AtomicBool,
    unnamed_feeds: AtomicUsize,
    event_streams: AtomicUsize,
    open_pages: AtomicUsize,
}

/// A stream whose client cannot say what it serves.
#[derive(Clone, Copy, Debug)]
pub enum Unheard {
    /// A feed of an SDK that gave no name.
    UnnamedFeed,
    /// An OFREP event stream: its client is told to fetch again, and nobody knows whether it does.
    EventStream,
    /// A web page: it is told what changes, and nobody knows when it has taken it in.
    Page,
}

/// What OFREP's event streams say of the last change.
#[derive(Clone)]
pub struct Notice {
    /// The data of the event, as a line.
    pub data: Bytes,
    /// When the change came.
    pub at: UnixMs,
}

impl Channel {
    /// A channel that nobody has listened to; `boundary` is the last moment at which its answers changed.
    pub(super) fn new(app: &AppKey, environment: &EnvKey, boundary: UnixMs, now: UnixMs) -> Channel {
        Channel {
            app: app.clone(),
            environment: environment.clone(),
            audience: Audience::Server { app: app.clone(), environment: environment.clone() },
            ring: OnceLock::new(),
            pages: OnceLock::new(),
            encoded: tokio::sync::Mutex::new(None),
            changes: AtomicU64::new(0),
            notice: Mutex::new(Notice { data: Bytes::new(), at: UnixMs(0) }),
            boundary: AtomicU64::new(boundary.0),
            used_at: AtomicU64::new(now.0),
            lost: AtomicBool::new(false),
            unnamed_feeds: AtomicUsize::new(0),
            event_streams: AtomicUsize::new(0),
            open_pages: AtomicUsize::new(0),
        }
    }

    /// The app.
    pub fn app(&self) -> &AppKey {
        &self.app
    }

    /// The environment.
    pub fn environment(&self) -> &EnvKey {
        &self.environment
    }

    /// The frames for SDKs. Only for whoever has [begun](super::hub::Hub::begin).
    pub fn ring(&self) -> &Ring {
        self.ring.get().expect("a stream begins before it reads, and beginning makes the ring")
    }

    pub(super) fn open_ring(&self, snapshot: &Snapshot) -> &Ring {
        self.ring.get_or_init(|| Ring::new(snapshot.feed_revision(&self.app, &self.environment)))
    }

    /// What pages have to hear.
    pub fn page_ring(&self) -> &PageRing {
        self.pages.get_or_init(PageRing::default)
    }

    /// The same, if there has been a page.
    pub(super) fn opened_page_ring(&self) -> Option<&PageRing> {
        self.pages.get()
    }

    /// Counts a stream from which nothing will be heard.
    pub fn entered(&self, stream: Unheard) {
        self.counter(stream).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts it no longer.
    pub fn left(&self, stream: Unheard) {
        self.counter(stream).fetch_sub(1, Ordering::Relaxed);
    }

    /// How many of them are open.
    pub fn count(&self, stream: Unheard) -> usize {
        self.counter(stream).load(Ordering::Relaxed)
    }

    fn counter(&self, stream: Unheard) -> &AtomicUsize {
        match stream {
            Unheard::UnnamedFeed => &self.unnamed_feeds,
            Unheard::EventStream => &self.event_streams,
            Unheard::Page => &self.open_pages,
        }
    }

    /// Counts changes of what is served.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What to say of the last change.
    pub fn notice(&self) -> Notice {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its events were missed: then its streams end.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Whether anybody listens, or did a while ago to an environment that is still there.
    pub(super) fn is_used(self: &Arc<Self>, exists: bool, now: UnixMs) -> bool {
        // One is the hub's own.
        if Arc::strong_count(self) > 1 {
            self.used_at.store(now.0, Ordering::Relaxed);
            return true;
        }
        exists && now.since(UnixMs(self.used_at.load(Ordering::Relaxed))).0 < IDLE_CHANNEL_MS
    }

    pub(super) fn standing<'p>(&'p self, published: &'p Published) -> impl Iterator<Item = &'p Standing> {
        published.overlays.iter().filter(|kill| reaches(kill, &self.app, &self.environment))
    }

    pub(super) fn overlays(&self, published: &Published) -> Vec<Overlay> {
        self.standing(published).map(travelling).collect()
    }

    pub(super) fn notify(&self, log: &LogId, published: &Published, now: UnixMs) {
        let standing: Vec<KillId> = self.standing(published).map(|kill| kill.kill_id.clone()).collect();
        let tag = etag::configuration(
            log,
            &self.app,
            &self.environment,
            published.folded.feed_revision(&self.app, &self.environment),
            published.folded.boundary(&self.app, &self.environment, now),
            &standing,
        );
        let seconds = now.0 / 1000;
        let data = format!(
            "data: {{\"type\":\"refetchEvaluation\",\"etag\":\"\\\"{tag}\\\"\",\"lastModified\":{seconds}}}\n\n"
        );
        let notice = Notice { data: Bytes::from(data), at: now };
        *self.notice.lock().unwrap_or_else(PoisonError::into_inner) = notice;
        self.changes.fetch_add(1, Ordering::Release);
    }
}

/// A kill as frames carry it.
pub fn travelling(kill: &Standing) -> Overlay {
    Overlay { kill_id: kill.kill_id.clone(), reach: kill.reach.clone(), at: kill.at }
}
