//! The service in front of the app, one for each thread that serves.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix_http::error::PayloadError;
use actix_http::{HttpMessage as _, Message, Request, RequestHead, Response};
use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Payload, Service, ServiceFactory, ServiceResponse};
use actix_web::web;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use futures_util::{Stream as _, StreamExt as _, stream};

use super::asked;
use super::turns::{Turn, Turns};
use super::worker::{Outcome, Worker};
use crate::http::Shared;
use crate::http::auth::RateTaken;

/// After so long, a request that nobody polled again is given to the app, which knows how long to wait for a body.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Makes the services of the threads.
pub(in crate::http) struct FrontFactory<F> {
    app: F,
    shared: web::Data<Shared>,
}

impl<F> FrontFactory<F> {
    pub(super) fn new(app: F, shared: web::Data<Shared>) -> FrontFactory<F> {
        FrontFactory { app, shared }
    }
}

impl<F> ServiceFactory<Request> for FrontFactory<F>
where
    F: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error>,
    F::Future: 'static,
    F::Service: 'static,
    F::InitError: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = Front<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let worker = Worker::new(web::Data::clone(&self.shared), config.secure());
        let app = self.app.new_service(config);
        Box::pin(async move {
            let parts =
                Rc::new(Parts { app: app.await?, worker, left: Cell::new(None), turns: Rc::default() });
            actix_web::rt::spawn(look_after(Rc::downgrade(&parts)));
            Ok(Front(parts))
        })
    }
}

/// The service of one thread.
pub(in crate::http) struct Front<S>(Rc<Parts<S>>);

struct Parts<S> {
    app: S,
    worker: Worker,
    /// Wakes the last request that waits for its second poll.
    left: Cell<Option<Waker>>,
    turns: Rc<Turns>,
}

/// Wakes what was left without a second poll, and lets go of what is not published any more, as long as the service is there.
async fn look_after<S>(parts: Weak<Parts<S>>) {
    let mut ticks = tokio::time::interval(LOOK_AFTER);
    loop {
        ticks.tick().await;
        let Some(parts) = parts.upgrade() else { return };
        if let Some(left) = parts.left.take() {
            left.wake();
        }
        let outdated = parts.worker.take_outdated();
        if !outdated.is_empty() {
            drop(tokio::task::spawn_blocking(move || drop(outdated)));
        }
    }
}

impl<S> Parts<S> {
    /// Nearly always the same task polls once more before any other runs, and finds the body. Not so a request that
    /// came in a row with others, and whose body is not there when its turn comes: it is woken by the next that waits,
    /// or after [`LOOK_AFTER`].
    fn leave(&self, waker: &Waker) {
        if let Some(left) = self.left.replace(Some(waker.clone())) {
            left.wake();
        }
    }

    /// The task of this waker has come again.
    fn came_again(&self, waker: &Waker) {
        self.left.set(self.left.take().filter(|left| !left.will_wake(waker)));
    }
}

impl<S> Service<Request> for Front<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
    S::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = Answering<S>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.app.poll_ready(context)
    }

    fn call(&self, mut request: Request) -> Answering<S> {
        // A body of HTTP/1 comes through the task that polls its request. One of another kind would have to wake it.
        if !asked::is_check(request.head()) || !matches!(request.payload(), Payload::H1 { .. }) {
            return Answering(Step::OfApp(Box::pin(self.0.app.call(request))));
        }
        // Nothing else of a request is there yet: no data of its connection, which none is given, and no extensions.
        let (head, payload) = request.into_parts();
        Answering(Step::Waiting(Some(Waiting { head, payload, parts: Rc::clone(&self.0), asked: false })))
    }
}

/// A request on its way through. As small as can be: every connection has room for one.
pub(in crate::http) struct Answering<S: Service<Request>>(Step<S>);

enum Step<S: Service<Request>> {
    /// For its body, which lies next to its head nearly always; none once it came.
    Waiting(Option<Waiting<S>>),
    /// For its turn. Few wait for one, so it does not lie in the connection.
    InTurn(Option<Box<InTurn<S>>>),
    OfApp(Pin<Box<S::Future>>),
}

struct Waiting<S> {
    head: Message<RequestHead>,
    payload: Payload,
    parts: Rc<Parts<S>>,
    /// Whether the body was asked for once.
    asked: bool,
}

/// A request that is there, and waits for its turn.
struct InTurn<S> {
    turn: Turn,
    waiting: Waiting<S>,
    body: Bytes,
    /// When the body was whole.
    since: Instant,
}

/// What there is of a body.
enum Body {
    /// All of it.
    Whole(Bytes),
    /// Some, or an error, or nothing; the rest may follow.
    Pieces(Vec<Result<Bytes, PayloadError>>),
    /// Not looked for yet: actix reads the head, calls, and only then looks at what else it has read.
    NotYet,
}

impl<S> Waiting<S> {
    /// Takes what there is of the body, for the task of this waker. Nobody is woken for more: whatever comes, comes through
    /// the connection's own task, which polls its request then.
    fn body(&mut self, waker: &Waker) -> Body {
        if self.asked {
            self.parts.came_again(waker);
        }
        let mut unheard = Context::from_waker(Waker::noop());
        let first = match Pin::new(&mut self.payload).poll_next(&mut unheard) {
            Poll::Ready(Some(Ok(bytes))) => bytes,
            Poll::Ready(Some(error)) => return Body::Pieces(vec![error]),
            Poll::Ready(None) => return Body::Pieces(Vec::new()),
            Poll::Pending if self.asked => return Body::Pieces(Vec::new()),
            Poll::Pending => {
                self.asked = true;
                self.parts.leave(waker);
                return Body::NotYet;
            }
        };
        match Pin::new(&mut self.payload).poll_next(&mut unheard) {
            Poll::Ready(None) => Body::Whole(first),
            Poll::Ready(Some(next)) => Body::Pieces(vec![Ok(first), next]),
            Poll::Pending => Body::Pieces(vec![Ok(first)]),
        }
    }
}

impl<S> Waiting<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    /// Has the app answer, with the body put back.
    fn by_app(self, pieces: Vec<Result<Bytes, PayloadError>>, rate_taken: bool) -> Pin<Box<S::Future>> {
        let mut request = Request::from(self.head);
        *request.payload() = if pieces.is_empty() {
            self.payload
        } else {
            Payload::Stream { payload: Box::pin(stream::iter(pieces).chain(self.payload)) }
        };
        if rate_taken {
            request.extensions_mut().insert(RateTaken);
        }
        Box::pin(self.parts.app.call(request))
    }

    /// The answer, or what comes before it, in the task of this waker.
    fn answer(
        self,
        body: Bytes,
        is_in_turn: bool,
        waker: &Waker,
        since: Instant,
    ) -> Result<Response<BoxBody>, Step<S>> {
        let answer = || self.parts.worker.answer(&self.head, &body, is_in_turn, since);
        match catch_unwind(AssertUnwindSafe(answer)) {
            Ok(Outcome::Answered(answer)) => Ok(answer),
            Ok(Outcome::NotInTurn) => {
                let turn = self.parts.turns.join(waker);
                Err(Step::InTurn(Some(Box::new(InTurn { turn, waiting: self, body, since }))))
            }
            Ok(Outcome::ForApp { rate_taken }) => Err(Step::OfApp(self.by_app(vec![Ok(body)], rate_taken))),
            // The panic hook has written where and why; the app says so to whoever asked, if it comes there too. It may be
            // counted twice against its token's rate, and not never.
            Err(_panic) => Err(Step::OfApp(self.by_app(vec![Ok(body)], false))),
        }
    }
}

impl<S> Future for Answering<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    type Output = Result<Response<BoxBody>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Answering(step) = self.get_mut();
        let next = match step {
            Step::Waiting(place) => match place.take() {
                Some(mut waiting) => match waiting.body(context.waker()) {
                    Body::NotYet => {
                        *place = Some(waiting);
                        return Poll::Pending;
                    }
                    Body::Whole(body) => waiting.answer(body, false, context.waker(), Instant::now()),
                    Body::Pieces(pieces) => Err(Step::OfApp(waiting.by_app(pieces, false))),
                },
                // Answered: nobody polls for a second answer.
                None => return Poll::Pending,
            },
            Step::InTurn(place) => match place.take() {
                Some(request) if !request.waiting.parts.turns.has_come(&request.turn) => {
                    *place = Some(request);
                    return Poll::Pending;
                }
                Some(request) => {
                    let InTurn { waiting, body, since, .. } = *request;
                    waiting.answer(body, true, context.waker(), since)
                }
                None => return Poll::Pending,
            },
            Step::OfApp(answering) => return answering.as_mut().poll(context).map_ok(Into::into),
        };
        match next {
            Ok(answer) => return Poll::Ready(Ok(answer)),
            Err(next) => *step = next,
        }
        match step {
            Step::OfApp(answering) => answering.as_mut().poll(context).map_ok(Into::into),
            // Whatever it waits for wakes it.
            Step::Waiting(_) | Step::InTurn(_) => Poll::Pending,
        }
    }
}
