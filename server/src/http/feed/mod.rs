//! The feed for server-side SDKs: a snapshot or what was missed, then each change as it becomes durable,
//! kills ahead of everything.

pub mod channel;
pub mod clients;
pub mod deliveries;
mod for_pages;
pub(super) mod fragments;
pub mod hub;
pub mod page_ring;
pub mod ring;
pub mod stream;
pub mod wakers;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use rollout_rules::feed::machine::MAX_ACK_KILLS;
use rollout_rules::feed::{Frame, ResumeToken};
use rollout_rules::governance::Scope;
use rollout_rules::ids::{AppKey, EnvKey, InstanceId, KillId, Revision, TokenId};
use schemars::JsonSchema;
use serde::Deserialize;

use self::channel::{Channel, Unheard};
use self::clients::{Acknowledgement, LiveClient, MAX_SDK_BYTES, Name};
use self::ring::Next;
use self::stream::{HEARTBEAT, Source, Step, StreamPlace};
use self::wakers::Wakeful;
use super::Shared;
use super::audience::{self, Query};
use super::auth::{self, Principal};
use super::body::Json;
use super::problem::{self, Problem};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A frame as an event; none if it cannot be sent.
fn encoded(frame: &Frame) -> Option<Bytes> {
    match frame.encode_event() {
        Ok(event) => Some(Bytes::from(event)),
        Err(error) => {
            // The client would ask again and again for what cannot be sent: better silent than flooding.
            tracing::error!(%error, revision = %frame.revision, "a frame cannot be sent");
            None
        }
    }
}

/// Whether a token may follow a feed: it carries the rules, so browsers' tokens may not.
pub(super) fn may_follow(who: &Principal) -> Result<(), Problem> {
    match who.scope {
        Scope::SdkBrowser => Err(Problem::new(
            problem::NOT_ALLOWED,
            "the feed carries the rules: it needs a token with the scope sdk-server or higher",
        )),
        _ => Ok(()),
    }
}

/// `GET /v1/feed`.
pub async fn feed(
    who: Principal,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    may_follow(&who)?;
    let query = Query::of(&request)?;
    query.only(&["app", "environment", "instance", "sdk"])?;
    let (app, environment) = audience::resolve(who.app.as_ref(), who.environment.as_ref(), &request, &query)?;
    let instance: Option<InstanceId> = query.parse("instance")?;
    let sdk = query.get("sdk").map(str::to_owned);
    if sdk.as_ref().is_some_and(|sdk| sdk.len() > MAX_SDK_BYTES || sdk.chars().any(char::is_control)) {
        let detail = format!("`sdk` may have at most {MAX_SDK_BYTES} bytes, as in `name/1.2.3`");
        return Err(Problem::new(problem::INVALID_PARAMETER, detail).with("parameter", "sdk"));
    }
    let now = shared.clock.coarse();
    let place = StreamPlace::take(&shared.open_streams, shared.settings.max_streams)?;
    let channel = shared.hub.channel(&app, &environment, &shared.published_full(), now).await?;
    let seen = request.headers().get(&LAST_EVENT_ID).and_then(|id| ResumeToken::parse(id.to_str().ok()?));
    let beginning = shared.hub.begin(&channel, seen).await?;
    let connection = shared.hub.next_connection();
    // Whoever is not kept in mind cannot acknowledge: it counts as if it had no name, and not as having everything.
    let name = instance
        .map(|instance| (app, environment, instance))
        .filter(|name| shared.clients.connected(name.clone(), sdk, connection, now));
    if name.is_none() {
        channel.entered(Unheard::UnnamedFeed);
    }
    let mut first = if beginning.events.is_empty() { vec![HEARTBEAT] } else { beginning.events };
    first.reverse();
    let source = Feed {
        revocations: Cell::new(shared.hub.revocations()),
        shared: web::Data::clone(&shared),
        channel,
        token: who.token,
        first: RefCell::new(first),
        position: Cell::new(beginning.position),
        connection,
        name,
    };
    Ok(stream::answer(Rc::new(source), &shared.hub.bell, place))
}

/// One connected SDK.
struct Feed {
    shared: web::Data<Shared>,
    channel: Arc<Channel>,
    token: TokenId,
    /// Sent before anything else, the last first.
    first: RefCell<Vec<Bytes>>,
    position: Cell<u64>,
    revocations: Cell<u64>,
    connection: u64,
    name: Option<Name>,
}

impl Wakeful for Feed {
    fn has_news(&self) -> bool {
        self.channel.ring().end() > self.position.get()
            || self.shared.hub.revocations() != self.revocations.get()
            || self.shared.hub.is_closing()
            || self.channel.is_lost()
    }
}

impl Feed {
    fn stands(&self) -> bool {
        let published = self.shared.published();
        let token = published.snapshot.token(&self.token);
        token.is_some_and(|token| auth::still_valid(token, self.shared.clock.coarse()).is_ok())
    }
}

impl Source for Feed {
    fn step(&self, beat: bool) -> Step {
        let revocations = self.shared.hub.revocations();
        if self.shared.hub.is_closing() || self.channel.is_lost() {
            return Step::End;
        }
        let look = revocations != self.revocations.replace(revocations) || beat;
        if look && !self.stands() {
            return Step::End;
        }
        let first = self.first.borrow_mut().pop();
        if let Some(event) = first {
            return Step::Send(event);
        }
        match self.channel.ring().at(self.position.get()) {
            Next::Event(event) => {
                self.position.set(self.position.get() + 1);
                Step::Send(event)
            }
            Next::Nothing if beat => Step::Send(HEARTBEAT),
            Next::Nothing => Step::Sleep,
            Next::Behind => {
                metrics::counter!("tidegate_feed_slow_readers_total").increment(1);
                tracing::info!(app = %self.channel.app(), "a feed's reader was too slow and was let go");
                Step::End
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        match &self.name {
            Some(name) => {
                self.shared.clients.disconnected(name, self.connection, self.shared.clock.coarse());
            }
            None => self.channel.left(Unheard::UnnamedFeed),
        }
    }
}

/// What an SDK says that it serves.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AckBody {
    /// Its own name for itself.
    instance: InstanceId,
    /// The revision that it serves.
    revision: Revision,
    /// The kills that are in effect in it.
    #[serde(default)]
    kill_ids: Vec<KillId>,
    /// Whose flags it serves, if its token does not say so.
    #[serde(default)]
    app: Option<AppKey>,
    /// In which environment, if its token does not say so.
    #[serde(default)]
    environment: Option<EnvKey>,
}

/// `POST /v1/feed/ack`.
pub async fn acknowledge(
    who: Principal,
    request: HttpRequest,
    shared: web::Data<Shared>,
    Json(body): Json<AckBody>,
) -> Result<HttpResponse, Problem> {
    may_follow(&who)?;
    if body.kill_ids.len() > MAX_ACK_KILLS {
        let detail = format!("`kill_ids` may have at most {MAX_ACK_KILLS} items");
        return Err(Problem::new(problem::TOO_MANY, detail).with("field", "kill_ids"));
    }
    let query = Query::of(&request)?;
    let app = who.app.as_ref().or(body.app.as_ref());
    let environment = who.environment.as_ref().or(body.environment.as_ref());
    let (app, environment) = audience::resolve(app, environment, &request, &query)?;
    let end = shared.published().revision();
    if body.revision > end {
        // It would count as having every kill that is yet to come.
        let detail = format!("`revision` is past the end of the log, which is {end}: it is of another log");
        return Err(Problem::new(problem::INVALID, detail).with("field", "revision"));
    }
    let said = Acknowledgement { instance: body.instance, revision: body.revision, kill_ids: body.kill_ids };
    let note = |client: &LiveClient, said: &Acknowledgement| {
        shared.deliveries.heard(client, said, Instant::now());
    };
    shared.clients.acknowledge(app, environment, said, note, shared.clock.coarse())?;
    Ok(HttpResponse::NoContent().finish())
}
