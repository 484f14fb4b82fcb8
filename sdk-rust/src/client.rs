//! The client: checks, and how it stands.

use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rollout_rules::context::Context;
use rollout_rules::evaluate::{Answer, evaluate};
use rollout_rules::ids::Revision;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::builder::Builder;
use crate::detail::{Detail, ErrorKind, Json, Text};
use crate::lanes;
use crate::outcomes::{OutcomeCounts, Scope};
use crate::shared::{Change, Shared};
use crate::status::{NotReady, Problem, Status};

/// Checks flags. Clones are cheap and share one connection; when the last one is dropped, the connection
/// is closed, what is not yet on disk is written, and the server is told what was counted, for which it has a
/// second.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    runtime: Handle,
    background: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Client {
    /// Begins to make a client: the server's address, and the key of an app's environment.
    pub fn builder(url: &str, key: &str) -> Builder {
        Builder::new(url, key)
    }

    pub(crate) fn new(
        shared: Arc<Shared>,
        runtime: Handle,
        stop: oneshot::Sender<()>,
        thread: JoinHandle<()>,
    ) -> Client {
        Client { inner: Arc::new(Inner { shared, runtime, background: Mutex::new(Some((stop, thread))) }) }
    }

    /// A boolean flag's value, or the default.
    #[inline]
    pub fn bool(&self, key: &str, context: &Context, default: bool) -> bool {
        self.value(key, context, default, |answer| answer.value().as_bool())
    }

    /// A boolean flag's value with the story behind it.
    pub fn bool_detail(&self, key: &str, context: &Context, default: bool) -> Detail<bool> {
        self.detail(key, context, default, |answer| answer.value().as_bool())
    }

    /// A string flag's value, or the default. Reads as a `str`.
    #[inline]
    pub fn string<'d>(&self, key: &str, context: &Context, default: &'d str) -> Text<'d> {
        self.value(key, context, Text::default(default), Text::read)
    }

    /// A string flag's value with the story behind it.
    pub fn string_detail<'d>(&self, key: &str, context: &Context, default: &'d str) -> Detail<Text<'d>> {
        self.detail(key, context, Text::default(default), Text::read)
    }

    /// A number flag's value, or the default.
    #[inline]
    pub fn number(&self, key: &str, context: &Context, default: f64) -> f64 {
        self.value(key, context, default, |answer| answer.value().as_f64())
    }

    /// A number flag's value with the story behind it.
    pub fn number_detail(&self, key: &str, context: &Context, default: f64) -> Detail<f64> {
        self.detail(key, context, default, |answer| answer.value().as_f64())
    }

    /// The value of a flag of any type as JSON, or the default. Reads as a [`serde_json::Value`].
    #[inline]
    pub fn json<'d>(&self, key: &str, context: &Context, default: &'d Value) -> Json<'d> {
        self.value(key, context, Json::default(default), |answer| Some(Json::read(answer)))
    }

    /// The value of a flag of any type as JSON, with the story behind it.
    pub fn json_detail<'d>(&self, key: &str, context: &Context, default: &'d Value) -> Detail<Json<'d>> {
        self.detail(key, context, Json::default(default), |answer| Some(Json::read(answer)))
    }

    /// Begins the [scope](Scope) of a request: what is checked through it is remembered until it is known how the request
    /// ended.
    pub fn scope(&self, context: &Context) -> Scope {
        Scope::new(self.clone(), context.clone())
    }

    /// How many outcomes of requests went where.
    pub fn outcome_counts(&self) -> OutcomeCounts {
        self.inner.shared.outcomes.counts()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// One load of the state, one read of the clock, one look-up, one addition. An answer from which nothing can be
    /// read counts as none of the flag's variants: the caller has its own default.
    #[inline]
    pub(crate) fn check<V, T>(
        &self,
        key: &str,
        context: &Context,
        read: impl FnOnce(&Answer<'_>) -> Option<V>,
        then: impl FnOnce(Result<(Option<V>, &Answer<'_>), ErrorKind>) -> T,
    ) -> T {
        let shared = &*self.inner.shared;
        let loaded = shared.state.load();
        let Some(state) = &*loaded else { return then(Err(ErrorKind::NotReady)) };
        let answer = evaluate(&state.flag_set(), key, context, shared.clock.now());
        let Some(answer) = answer else { return then(Err(ErrorKind::FlagNotFound)) };
        let value = read(&answer);
        let cell = if value.is_some() { answer.cell() } else { answer.flag().cells().no_variant() };
        shared.tally.count(cell, lanes::own());
        then(Ok((value, &answer)))
    }

    #[inline]
    fn value<T>(
        &self,
        key: &str,
        context: &Context,
        default: T,
        read: impl FnOnce(&Answer<'_>) -> Option<T>,
    ) -> T {
        self.check(key, context, read, |found| found.ok().and_then(|(value, _)| value).unwrap_or(default))
    }

    fn detail<T>(
        &self,
        key: &str,
        context: &Context,
        default: T,
        read: impl FnOnce(&Answer<'_>) -> Option<T>,
    ) -> Detail<T> {
        self.check(key, context, read, |found| match found {
            Err(error) => Detail::default(default, error),
            Ok((Some(value), answer)) => Detail::served(value, answer),
            Ok((None, answer)) => Detail::default(default, ErrorKind::TypeMismatch { found: answer.kind() }),
        })
    }

    /// Calls `listener` after changes of flags, on a thread of the SDK's. Checks do not wait for it, nor
    /// does the feed; what changes while listeners run is told together when they are done. It stays for
    /// as long as the client; one that holds a clone of the client keeps it alive.
    pub fn on_change(&self, listener: impl Fn(&Change<'_>) + Send + Sync + 'static) {
        self.inner.shared.listen(Arc::new(listener));
    }

    /// How the client stands with its server.
    pub fn status(&self) -> Status {
        self.inner.shared.status.borrow().clone()
    }

    /// The revision of the log that checks are answered from; none without flags.
    pub fn revision(&self) -> Option<Revision> {
        self.inner.shared.state.load().as_ref().map(|state| state.revision())
    }

    /// Why the cache on disk could not be read or written the last time, if so.
    pub fn cache_problem(&self) -> Option<String> {
        self.inner.shared.cache_problem()
    }

    /// Waits until the client is live, or serves its cache because the server is not there. Gives up
    /// after `timeout`, or at once if the server refuses the key; the client itself goes on trying. Runs
    /// on any executor.
    pub async fn ready(&self, timeout: Duration) -> Result<Status, NotReady> {
        let mut status = self.inner.shared.status.subscribe();
        // Made inside, where there are timers: the caller's thread may have none.
        let mut timer = self.inner.runtime.spawn(async move { tokio::time::sleep(timeout).await });
        tokio::select! {
            _ = status.wait_for(is_settled) => {}
            _ = &mut timer => {}
        }
        timer.abort();
        self.outcome()
    }

    /// [`ready`](Client::ready) for programs without async: blocks the calling thread.
    pub fn wait_ready(&self, timeout: Duration) -> Result<Status, NotReady> {
        let mut status = self.inner.shared.status.subscribe();
        let (settled, waiting) = sync_channel(1);
        let watch = self.inner.runtime.spawn(async move {
            let _ = status.wait_for(is_settled).await;
            let _ = settled.send(());
        });
        if waiting.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
            watch.abort();
        }
        self.outcome()
    }

    fn outcome(&self) -> Result<Status, NotReady> {
        let status = self.status();
        if status.has_flags() { Ok(status) } else { Err(NotReady { status }) }
    }
}

/// Whether waiting longer is of no use.
fn is_settled(status: &Status) -> bool {
    match status {
        Status::Live { .. } => true,
        Status::FromCache { why, .. } => why.is_some(),
        Status::Offline { why, .. } => matches!(why, Problem::Unauthorized | Problem::Stopped),
        Status::Stale { why, .. } => matches!(why, Problem::Stopped),
        Status::Starting => false,
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.status())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let background = self.background.get_mut().ok().and_then(Option::take);
        let Some((stop, thread)) = background else { return };
        drop(stop);
        // A listener may own the last clone: the thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}
