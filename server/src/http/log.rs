//! The change log as people and tools read it: page by page, or as it grows.

use std::time::Duration;

use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::unfold;
use rollout_rules::change::Entry;
use rollout_rules::ids::{AppKey, EnvKey, Revision};
use rollout_rules::snapshot::{Snapshot, Subject};

use super::Shared;
use super::audience::Query;
use super::auth::{self, Principal};
use super::feed::stream::{HEARTBEAT, StreamPlace};
use super::feed::wakers::HEARTBEAT_SECONDS;
use super::paging;
use super::problem::{self, Problem};
use tokio::time::Instant;

use crate::entry_json;
use crate::log::{LogEntry, ReadError, Tail};

/// Most entries that are looked at for one page, whether they are shown or not. A page ends there, and
/// says where the next begins.
pub const MAX_LOOKED_AT: usize = 10_000;
/// A page ends with the entry that makes it longer than this, in bytes.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Which entries are asked for.
struct Wanted {
    after: Revision,
    /// Only what concerns this app, and what concerns all.
    app: Option<AppKey>,
    /// Only what concerns this environment, and what concerns all: the one that the token is bound to.
    environment: Option<EnvKey>,
}

impl Wanted {
    fn of(who: &Principal, query: &Query) -> Result<Wanted, Problem> {
        who.reads()?;
        let app: Option<AppKey> = query.parse("app")?;
        if let Some(app) = &app {
            who.reads_app(app)?;
        }
        let after = Revision(query.whole_number("after")?.unwrap_or(0));
        let environment = who.environment.clone();
        Ok(Wanted { after, app: app.or_else(|| who.app.clone()), environment })
    }

    fn includes(&self, snapshot: &Snapshot, entry: &LogEntry) -> bool {
        if self.app.is_none() && self.environment.is_none() {
            return true;
        }
        // What this program cannot read it cannot place; whoever reads everything sees it.
        let Ok(entry) = Entry::decode(&entry.bytes) else { return false };
        let subject = Subject::of(snapshot, &entry.change);
        subject.concerns_app(self.app.as_ref()) && subject.concerns_environment(self.environment.as_ref())
    }
}

fn unreadable(error: &ReadError) -> Problem {
    match error {
        ReadError::Ahead { head } => Problem::new(
            problem::INVALID_PARAMETER,
            format!("`after` is past the end of the log, which is {head}"),
        )
        .with("parameter", "after"),
        other => Problem::new(problem::LOG_UNAVAILABLE, other.to_string()).retry_after(2),
    }
}

/// `GET /v1/log?after=&limit=&app=`.
pub async fn list(
    who: Principal,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request)?;
    query.only(&["after", "limit", "app"])?;
    let wanted = Wanted::of(&who, &query)?;
    let limit = paging::limit(&query)?;
    // What is not published yet is not shown either.
    let published = shared.published_full();
    let end = published.revision();
    let mut body = b"{\"items\":[".to_vec();
    let (mut seen, mut shown, mut looked_at) = (wanted.after, 0, 0);
    let is_full = |shown, looked_at, bytes: &[u8]| {
        shown == limit || looked_at == MAX_LOOKED_AT || bytes.len() > MAX_PAGE_BYTES
    };
    let mut tail =
        if seen < end { Some(shared.log.tail(seen).map_err(|error| unreadable(&error))?) } else { None };
    'reading: while let Some(tail) = &mut tail {
        for entry in tail.next().await.map_err(|error| unreadable(&error))? {
            if entry.revision > end || is_full(shown, looked_at, &body) {
                break 'reading;
            }
            seen = entry.revision;
            looked_at += 1;
            if wanted.includes(&published.folded, &entry) {
                if shown > 0 {
                    body.push(b',');
                }
                entry_json::write(&mut body, &entry);
                shown += 1;
            }
        }
        if seen >= end || is_full(shown, looked_at, &body) {
            break;
        }
        // A long log is read at once and without waiting: others have their turn meanwhile.
        tokio::task::yield_now().await;
    }
    body.push(b']');
    if seen < end {
        body.extend_from_slice(format!(",\"next_after\":{seen}").as_bytes());
    }
    body.push(b'}');
    Ok(HttpResponse::Ok().content_type("application/json").body(body))
}

/// `GET /v1/log/stream?after=&app=`: entries as they become durable.
pub async fn stream(
    who: Principal,
    request: HttpRequest,
    shared: web::Data<Shared>,
) -> Result<HttpResponse, Problem> {
    let query = Query::of(&request)?;
    query.only(&["after", "app"])?;
    let mut wanted = Wanted::of(&who, &query)?;
    let last = request.headers().get(&LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
    if let Some(last) = last {
        wanted.after = Revision(last);
    }
    let place = StreamPlace::take(&shared.open_streams, shared.settings.max_streams)?;
    let tail = shared.log.tail(wanted.after).map_err(|error| unreadable(&error))?;
    let follower = Follower { shared, who, wanted, tail, _place: place, beat_due: None };
    let events = unfold(follower, |mut follower| async move {
        let chunk = follower.next().await?;
        Some((Ok::<Bytes, Problem>(chunk), follower))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache, no-transform"))
        .streaming(events))
}

struct Follower {
    shared: web::Data<Shared>,
    who: Principal,
    wanted: Wanted,
    tail: Box<dyn Tail>,
    _place: StreamPlace,
    /// When the client has to hear something again, entries or a heartbeat; `None`: at once.
    beat_due: Option<Instant>,
}

impl Follower {
    /// The next events or a heartbeat; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        let chunk = self.next_chunk().await?;
        self.beat_due = Some(Instant::now() + Duration::from_secs(HEARTBEAT_SECONDS as u64));
        Some(chunk)
    }

    async fn next_chunk(&mut self) -> Option<Bytes> {
        // What the stream leaves out does not put the heartbeat off.
        let Some(beat_due) = self.beat_due else { return Some(HEARTBEAT) };
        let mut closing = self.shared.closing.subscribe();
        loop {
            let entries = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return None,
                entries = self.tail.next() => entries.ok()?,
                () = tokio::time::sleep_until(beat_due) => Vec::new(),
            };
            let published = self.shared.published_full();
            let token = published.snapshot.token(&self.who.token)?;
            auth::still_valid(token, self.shared.clock.coarse()).ok()?;
            if entries.is_empty() {
                return Some(HEARTBEAT);
            }
            let mut events = Vec::new();
            for entry in entries.iter().filter(|entry| self.wanted.includes(&published.folded, entry)) {
                events.extend_from_slice(format!("event: entry\nid: {}\ndata: ", entry.revision).as_bytes());
                entry_json::write(&mut events, entry);
                events.extend_from_slice(b"\n\n");
            }
            if !events.is_empty() {
                return Some(Bytes::from(events));
            }
            if Instant::now() >= beat_due {
                return Some(HEARTBEAT);
            }
            // What is already in the log comes without waiting: others have their turn meanwhile.
            tokio::task::yield_now().await;
        }
    }
}
