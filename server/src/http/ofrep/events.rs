//! `GET /ofrep/v1/events`: tells OFREP clients to fetch again, on each change of what their environment
//! serves and when something expires. Kills come at once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::http::header::HeaderName;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;

use crate::http::Shared;
use crate::http::audience::Query;
use crate::http::auth;
use crate::http::feed::channel::{Channel, Unheard};
use crate::http::feed::stream::{self, HEARTBEAT, Source, Step, StreamPlace};
use crate::http::feed::wakers::Wakeful;
use crate::http::origin;
use crate::http::problem::{self, Problem};
use crate::http::stream_token::{MAX_LIFE_MS, StreamGrant};
use rollout_rules::time::{DurationMs, UnixMs};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What a client waits before it reconnects, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// Answers with the stream, if the URL's token, or the one that the stream gave out last, still stands.
pub async fn events(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    let now = shared.clock.coarse();
    let query = Query::of(&request)?;
    let last = request.headers().get(&LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let candidates = [last, query.get("token")];
    let grant = candidates.into_iter().flatten().find_map(|text| shared.stream_key.check(text, now));
    let Some(grant) = grant else {
        shared.limits.count_failed_login(request.peer_addr().map(|peer| peer.ip()), now)?;
        return Err(Problem::new(
            problem::UNAUTHENTICATED,
            "the token of this stream is not valid any more: evaluate the flags again for a new one",
        ));
    };
    if !stands(&shared, &grant, now) {
        return Err(Problem::new(problem::UNAUTHENTICATED, "the token behind this stream was revoked"));
    }
    if let Some(token) = shared.published().snapshot.token(&grant.token) {
        origin::check(token, origin::Source::of(&request))?;
    }
    let place = StreamPlace::take(&shared.open_streams, shared.settings.max_streams)?;
    let channel = shared.hub.channel(&grant.app, &grant.environment, &shared.published_full(), now).await?;
    // The count first: a change that comes between here and the first look is then seen as new.
    let changes = channel.changes();
    // What changed after the URL was made may have been missed; so may anything, by one who comes back.
    let made_at = UnixMs(grant.until.0.saturating_sub(MAX_LIFE_MS));
    let missed = last.is_some() || channel.notice().at >= made_at;
    channel.entered(Unheard::EventStream);
    let source = Events {
        shared: web::Data::clone(&shared),
        seen: Cell::new(if missed { changes.wrapping_sub(1) } else { changes }),
        channel,
        renewed_at: Cell::new(UnixMs(0)),
        revocations: Cell::new(shared.hub.revocations()),
        grant,
    };
    Ok(stream::answer(Rc::new(source), &shared.hub.bell, place))
}

/// Whether the token behind a grant still works.
fn stands(shared: &Shared, grant: &StreamGrant, now: UnixMs) -> bool {
    let published = shared.published();
    let token = published.snapshot.token(&grant.token);
    token.is_some_and(|token| auth::still_valid(token, now).is_ok())
}

struct Events {
    shared: web::Data<Shared>,
    channel: Arc<Channel>,
    grant: StreamGrant,
    seen: Cell<u64>,
    /// When the client was last given the right to come back.
    renewed_at: Cell<UnixMs>,
    revocations: Cell<u64>,
}

impl Wakeful for Events {
    fn has_news(&self) -> bool {
        self.channel.changes() != self.seen.get()
            || self.shared.hub.revocations() != self.revocations.get()
            || self.shared.hub.is_closing()
            || self.channel.is_lost()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.channel.left(Unheard::EventStream);
    }
}

impl Events {
    /// The line that gives the right to come back.
    fn id_line(&self, now: UnixMs) -> String {
        self.renewed_at.set(now);
        let StreamGrant { app, environment, token, .. } = &self.grant;
        format!("id: {}\n", self.shared.stream_key.sign(app, environment, token, now))
    }
}

impl Source for Events {
    fn step(&self, beat: bool) -> Step {
        let now = self.shared.clock.coarse();
        let revocations = self.shared.hub.revocations();
        // Of a channel that missed events nothing is heard any more: who comes back gets the one that took its place.
        if self.shared.hub.is_closing() || self.channel.is_lost() {
            return Step::End;
        }
        let look = revocations != self.revocations.replace(revocations) || beat;
        if look && !stands(&self.shared, &self.grant, now) {
            return Step::End;
        }
        let changes = self.channel.changes();
        if self.seen.replace(changes) != changes {
            let mut event = self.id_line(now).into_bytes();
            event.extend_from_slice(&self.channel.notice().data);
            return Step::Send(Bytes::from(event));
        }
        if self.renewed_at.get() == UnixMs(0) {
            // An id without data is no event: browsers only remember it.
            return Step::Send(Bytes::from(format!("retry: {RETRY_MS}\n{}\n", self.id_line(now))));
        }
        if beat && now.since(self.renewed_at.get()) >= DurationMs(MAX_LIFE_MS / 2) {
            return Step::Send(Bytes::from(format!("{}\n", self.id_line(now))));
        }
        if beat { Step::Send(HEARTBEAT) } else { Step::Sleep }
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::ids::{EnvKey, TokenId};

    use super::*;
    use crate::http::tests::{Node, START};

    #[tokio::test]
    async fn a_stream_whose_channel_missed_events_ends_and_does_not_go_deaf() {
        let node = Node::start().await;
        let (app, environment) = (node.shop().await, EnvKey::new("production").expect("a key"));
        let shared = node.shared();
        let channel =
            shared.hub.channel(&app, &environment, &shared.published_full(), START).await.expect("it exists");
        channel.entered(Unheard::EventStream);
        let token = TokenId::new("token").expect("an id");
        let events = Events {
            seen: Cell::new(channel.changes()),
            channel,
            renewed_at: Cell::new(START),
            revocations: Cell::new(shared.hub.revocations()),
            grant: StreamGrant { app, environment, token, until: START.plus(DurationMs(MAX_LIFE_MS)) },
            shared: web::Data::clone(&shared),
        };
        assert!(!events.has_news() && matches!(events.step(false), Step::Sleep));
        shared.hub.start_anew(shared.published_full());
        assert!(events.has_news() && matches!(events.step(false), Step::End));
        node.state.stop().await;
    }
}
