//! `GET /v1/page/stream`: what changes for an open page. It begins where the page is, or with everything anew.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use rollout_rules::feed::ResumeToken;
use rollout_rules::ids::Revision;
use rollout_rules::time::UnixMs;

use super::sessions::Page;
use super::{Named, Opened, RENEW_BEFORE_MS, page_of, telling, valid};
use crate::http::Shared;
use crate::http::audience::Query;
use crate::http::feed::channel::{Channel, Unheard};
use crate::http::feed::page_ring::Next;
use crate::http::feed::stream::{self, HEARTBEAT, Source, Step, StreamPlace};
use crate::http::feed::wakers::Wakeful;
use crate::http::problem::Problem;
use crate::http::stream_token::{PageId, StreamKey};
use crate::state::Published;

/// Answers with the stream of a page. `seen` is what the page has, as `<log>:<revision>`.
pub async fn follow(request: HttpRequest, shared: web::Data<Shared>) -> Result<HttpResponse, Problem> {
    let now = shared.clock.coarse();
    let query = Query::of(&request)?;
    query.only(&["token", "seen"])?;
    // First, so that no revocation after the look at the key is missed.
    let revocations = shared.hub.revocations();
    let Named { id, page, until } = page_of(&shared, &request, &query, now)?;
    let stay = Stay::enter(&shared, &page, now)?;
    let place = StreamPlace::take(&shared.open_streams, shared.settings.max_streams)?;
    let published = shared.published_full();
    let channel = shared.hub.channel(&page.of.app, &page.of.environment, &published, now).await?;
    // The page was told what was published then: its stream never begins before that.
    shared.hub.catch_up(&published).await?;
    // Entered before it begins: nothing is left out for want of somebody who listens.
    channel.entered(Unheard::Page);
    let (published, position) = shared.hub.begin_page(&channel);
    let seen = query.get("seen").and_then(ResumeToken::parse).filter(|seen| seen.log == *shared.log_id());
    let has_all = seen.as_ref().is_some_and(|seen| telling::has_all(&published, &page, seen.revision));
    let source = PageStream {
        revocations: Cell::new(revocations),
        shared: web::Data::clone(&shared),
        seen: Cell::new(seen.filter(|_| has_all).map_or(Revision::ZERO, |seen| seen.revision)),
        begins: Cell::new(if has_all { Begins::WhereItIs } else { Begins::Anew }),
        position: Cell::new(position),
        until: Cell::new(until),
        channel,
        page,
        id,
        _stay: stay,
    };
    Ok(stream::answer(Rc::new(source), &shared.hub.bell, place))
}

/// A stream of a page, from before it is waited for until it is gone.
struct Stay {
    shared: web::Data<Shared>,
    page: Arc<Page>,
    _place: StreamPlace,
}

impl Stay {
    /// A place for a stream. A quarter of all is kept for whoever is no page: anybody can open those.
    fn enter(shared: &web::Data<Shared>, page: &Arc<Page>, now: UnixMs) -> Result<Stay, Problem> {
        let most = shared.settings.max_streams;
        let place = StreamPlace::take(&shared.pages.streams, most - most / 4)?;
        page.enter(now)?;
        Ok(Stay { shared: web::Data::clone(shared), page: Arc::clone(page), _place: place })
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.page.left(self.shared.clock.coarse());
    }
}

/// What a stream says first.
#[derive(Clone, Copy)]
enum Begins {
    /// Everything.
    Anew,
    /// That the page has everything.
    WhereItIs,
    /// It has begun.
    Begun,
}

/// One open page.
struct PageStream {
    shared: web::Data<Shared>,
    channel: Arc<Channel>,
    page: Arc<Page>,
    id: PageId,
    begins: Cell<Begins>,
    position: Cell<u64>,
    /// What the page has seen of the log.
    seen: Cell<Revision>,
    /// When the addresses that the page has stop working.
    until: Cell<UnixMs>,
    revocations: Cell<u64>,
    _stay: Stay,
}

impl Wakeful for PageStream {
    fn has_news(&self) -> bool {
        self.channel.page_ring().end() > self.position.get()
            || self.shared.hub.revocations() != self.revocations.get()
            || self.shared.hub.is_closing()
            || self.channel.is_lost()
    }
}

impl Drop for PageStream {
    fn drop(&mut self) {
        self.channel.left(Unheard::Page);
    }
}

impl PageStream {
    /// Everything as it is now, in place of what the page has.
    fn anew(&self, now: UnixMs) -> Step {
        // Both under one lock: nothing comes between what is told and where the stream goes on.
        let (published, position) = self.shared.hub.begin_page(&self.channel);
        self.position.set(position);
        self.seen.set(published.revision());
        match telling::everything_as_event(&self.shared, &published, &self.page, now) {
            Ok(event) => Step::Send(event),
            // The environment is gone: the page learns that when it is opened again.
            Err(_) => Step::End,
        }
    }

    fn news(&self, now: UnixMs) -> Option<Step> {
        loop {
            match self.channel.page_ring().next(self.position.get(), self.seen.get()) {
                Next::Nothing(position) => {
                    self.position.set(position);
                    return None;
                }
                Next::Event(event, position) => {
                    self.position.set(position);
                    return Some(Step::Send(event));
                }
                // A kill ahead of the log, told by a node that has not handed out yet what the page has seen.
                Next::Values(_, values, _) if values.published.revision() < self.seen.get() => {
                    return Some(self.anew(now));
                }
                Next::Values(flags, values, position) => {
                    self.position.set(position);
                    if let Some(event) = telling::values(&self.shared, &flags, &values, &self.page, now) {
                        return Some(Step::Send(event));
                    }
                }
                Next::Everything | Next::Behind => return Some(self.anew(now)),
            }
        }
    }

    /// New addresses, so that the page can come back at any time.
    fn renewal(&self, now: UnixMs) -> Option<Bytes> {
        let published = self.shared.published();
        let token = valid(&published.snapshot, &self.page, now).ok()?;
        let opened = Opened::again(&self.shared, self.id, &self.page, token, String::new(), now);
        let data = serde_json::to_string(&opened).ok()?;
        self.until.set(StreamKey::end_of(now));
        Some(Bytes::from(format!("event: token\ndata: {data}\n\n")))
    }

    fn stands(&self, published: &Published, now: UnixMs) -> bool {
        valid(&published.snapshot, &self.page, now).is_ok()
    }
}

impl Source for PageStream {
    fn step(&self, beat: bool) -> Step {
        let now = self.shared.clock.coarse();
        let revocations = self.shared.hub.revocations();
        if self.shared.hub.is_closing() || self.channel.is_lost() {
            return Step::End;
        }
        let look = revocations != self.revocations.replace(revocations) || beat;
        if look && !self.stands(&self.shared.published(), now) {
            return Step::End;
        }
        match self.begins.replace(Begins::Begun) {
            Begins::Anew => return self.anew(now),
            Begins::WhereItIs => {
                let id = ResumeToken { log: self.shared.log_id().clone(), revision: self.seen.get() };
                return Step::Send(Bytes::from(format!("id: {id}\n\n")));
            }
            Begins::Begun => {}
        }
        if let Some(step) = self.news(now) {
            return step;
        }
        // Whatever woke it: a heartbeat that meets news is used up by them.
        let is_due = self.until.get().since(now).0 <= RENEW_BEFORE_MS;
        match is_due.then(|| self.renewal(now)).flatten() {
            Some(event) => Step::Send(event),
            None if beat => Step::Send(HEARTBEAT),
            None => Step::Sleep,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::task::Poll;

    use actix_web::body::{BoxBody, MessageBody};
    use actix_web::test::TestRequest;
    use rollout_rules::change::Command;
    use rollout_rules::context::Context;
    use rollout_rules::ids::{EnvKey, TokenId};
    use serde_json::{Value, json};
    use tokio::sync::broadcast::Receiver;
    use tokio::task::LocalSet;

    use super::super::sessions::Opener;
    use super::*;
    use crate::http::feed::page_ring::MAX_ITEMS;
    use crate::http::tests::{Node, START};
    use crate::state::Event;

    /// A page that was told of a flag which is published, and not handed out.
    struct Early {
        node: Node,
        shared: web::Data<Shared>,
        events: Receiver<Event>,
        told: Revision,
        request: HttpRequest,
    }

    async fn submit(node: &Node, command: Value) {
        node.submit(serde_json::from_value::<Command>(command).expect("a command")).await;
    }

    impl Early {
        async fn start() -> Early {
            let node = Node::start().await;
            let (app, environment) = (node.shop().await, EnvKey::new("production").expect("a key"));
            let token = json!({
                "id": "page", "hash": "00".repeat(32), "scope": "sdk-browser", "app": "shop", "environment": "production",
                "actor": { "type": "service", "name": "page" }, "created_at": START, "origins": ["*"],
            });
            submit(&node, json!({ "do": "create_token", "token": token })).await;
            let (shared, events) = node.listening();
            submit(&node, json!({ "do": "create_flag", "app": "shop", "key": "a", "browser": "values" }))
                .await;
            let opener =
                Opener { app, environment, token: TokenId::new("page").expect("an id"), origin: None };
            let page = Page::new(shared.pages.opener(opener), Context::new("ann"), 0, START);
            let granted = shared.stream_key.sign_page(shared.pages.open(Arc::new(page)), START);
            let (log, told) = (shared.log_id().clone(), shared.published().revision());
            let path = format!("/v1/page/stream?token={granted}&seen={log}:{told}");
            let request = TestRequest::get().uri(&path).to_http_request();
            Early { node, shared, events, told, request }
        }

        fn follow(&self) -> Pin<Box<impl Future<Output = Result<HttpResponse, Problem>> + use<>>> {
            Box::pin(follow(self.request.clone(), web::Data::clone(&self.shared)))
        }

        /// Hands out what was published up to a revision.
        async fn hand_out(&mut self, until: Revision) {
            let mut reached = Revision::ZERO;
            while reached < until {
                let event = self.events.recv().await.expect("an event");
                if let Event::Entry { revision, .. } = &event {
                    reached = *revision;
                }
                self.shared.hub.hand_out(event, START);
            }
        }
    }

    async fn waits<F: Future>(future: &mut Pin<Box<F>>) -> bool {
        poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }

    /// What a stream says next, whole; none: it ends.
    async fn next(body: &mut BoxBody) -> Option<String> {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            let chunk = poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await?;
            text.push_str(&String::from_utf8_lossy(&chunk.expect("bytes")));
        }
        Some(text)
    }

    async fn is_silent(body: &mut BoxBody) -> bool {
        poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_next(context).is_pending())).await
    }

    #[tokio::test]
    async fn a_stream_never_begins_with_an_older_state_than_its_page_was_told() {
        let play = async {
            let mut early = Early::start().await;
            let mut following = early.follow();
            assert!(waits(&mut following).await, "what the page was told is not handed out yet");
            early.hand_out(early.told).await;
            let answer = following.await.expect("a stream");
            let id = format!("id: {}:{}\n\n", early.shared.log_id(), early.told);
            assert_eq!(next(&mut answer.into_body()).await, Some(id), "the page has everything");
            early.node.state.stop().await;
        };
        LocalSet::new().run_until(play).await;
    }

    #[tokio::test]
    async fn a_key_that_is_revoked_while_a_stream_is_opened_with_it_opens_nothing() {
        let play = async {
            let mut early = Early::start().await;
            let mut following = early.follow();
            assert!(waits(&mut following).await, "the key is good until here");
            submit(&early.node, json!({ "do": "revoke_token", "token": "page" })).await;
            early.hand_out(early.told.next()).await;
            let answer = following.await.expect("it was good when it came");
            assert_eq!(next(&mut answer.into_body()).await, None, "nothing is told");
            early.node.state.stop().await;
        };
        LocalSet::new().run_until(play).await;
    }

    #[tokio::test]
    async fn a_page_whose_socket_takes_nothing_is_sent_how_things_stand_and_not_all_that_happened() {
        let play = async {
            let mut early = Early::start().await;
            let following = early.follow();
            early.hand_out(early.told).await;
            let mut body = following.await.expect("a stream").into_body();
            next(&mut body).await.expect("it begins");
            let mut last = early.told;
            // Fewer than are kept for pages that lag, then more.
            for (count, name) in [(10, "change"), (MAX_ITEMS + 1, "snapshot")] {
                for _ in 0..count {
                    last = last.next();
                    let key = format!("f{last}");
                    submit(
                        &early.node,
                        json!({ "do": "create_flag", "app": "shop", "key": key, "browser": "values" }),
                    )
                    .await;
                    early.hand_out(last).await;
                }
                let event = next(&mut body).await.expect("an event");
                assert!(
                    event.starts_with(&format!("event: {name}\nid: {}:{last}\n", early.shared.log_id())),
                    "{event}"
                );
                for nth in 0..count as u64 {
                    assert!(event.contains(&format!("\"key\":\"f{}\"", last.0 - nth)), "{event}");
                }
                assert!(is_silent(&mut body).await, "there is nothing more");
            }
            early.node.state.stop().await;
        };
        LocalSet::new().run_until(play).await;
    }
}
