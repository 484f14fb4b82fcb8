//! For services of `tower` that answer HTTP requests, such as those of axum and tonic.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Waker, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::RequestScope;
use crate::client::Client;
use rollout_rules::context::Context;

/// Opens a [scope](RequestScope) for each request; handlers find it among the request's extensions.
///
/// The time of a request is that until its head is answered. A request whose future is dropped before counts as one that
/// went well, unless its thread panics.
///
/// ```no_run
/// # use tidegate_sdk::{Client, Context};
/// # fn layer(client: Client) -> impl Clone {
/// use tidegate_sdk::middleware::tower::OutcomesLayer;
///
/// OutcomesLayer::new(client, |request| {
///     let user = request.headers.get("x-user").and_then(|user| user.to_str().ok());
///     Context::new(user.unwrap_or_default())
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OutcomesLayer<C> {
    client: Client,
    context: C,
}

impl<C: Fn(&Parts) -> Context> OutcomesLayer<C> {
    /// With a client, and what says who asks.
    pub fn new(client: Client, context: C) -> OutcomesLayer<C> {
        OutcomesLayer { client, context }
    }
}

impl<S, C: Clone> Layer<S> for OutcomesLayer<C> {
    type Service = Outcomes<S, C>;

    fn layer(&self, inner: S) -> Outcomes<S, C> {
        Outcomes { inner, layer: self.clone() }
    }
}

/// A service whose requests have scopes.
#[derive(Clone, Debug)]
pub struct Outcomes<S, C> {
    inner: S,
    layer: OutcomesLayer<C>,
}

impl<S, C, A, B> Service<Request<A>> for Outcomes<S, C>
where
    S: Service<Request<A>, Response = Response<B>>,
    C: Fn(&Parts) -> Context,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, waker: &mut Waker<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(waker)
    }

    fn call(&mut self, request: Request<A>) -> Answering<S::Future> {
        let (mut parts, body) = request.into_parts();
        let context = (self.layer.context)(&parts);
        let scope = RequestScope::new(self.layer.client.scope(&context));
        parts.extensions.insert(scope.clone());
        Answering { inner: Box::pin(self.inner.call(Request::from_parts(parts, body))), scope }
    }
}

/// The answer to a request with a scope.
#[derive(Debug)]
pub struct Answering<F> {
    inner: Pin<Box<F>>,
    scope: RequestScope,
}

impl<F, B, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Self::Output> {
        let polled = self.inner.as_mut().poll(waker);
        if let Poll::Ready(answer) = &polled {
            self.scope.answered(answer.as_ref().map_or(true, |answer| answer.status().is_server_error()));
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::outcomes::testing;

    /// Answers with the status that the path names, after a check.
    #[derive(Clone)]
    struct Handler;

    impl Service<Request<()>> for Handler {
        type Response = Response<()>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<()>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Waker<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            let scope = request.extensions().get::<RequestScope>().expect("the layer puts it there");
            assert!(scope.bool("checkout", false));
            let status: u16 = request.uri().path()[1..].parse().expect("a number");
            let answer = Response::builder().status(status).body(());
            std::future::ready(Ok(answer.expect("a status")))
        }
    }

    #[test]
    fn a_request_that_is_answered_with_500_or_above_failed_and_others_did_not() {
        let client = testing::client();
        let layer = OutcomesLayer::new(client.clone(), |request: &Parts| {
            let user = request.headers.get("x-user").and_then(|user| user.to_str().ok());
            Context::new(user.unwrap_or_default())
        });
        let mut service = layer.layer(Handler);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for status in [200, 404, 500, 503] {
            let request = Request::builder().uri(format!("/{status}")).header("x-user", "ann");
            let answer = runtime.block_on(service.call(request.body(()).expect("a request")));
            assert_eq!(answer.map(|answer| answer.status().as_u16()), Ok(status));
        }
        // One that nobody waits for any more.
        drop(
            service.call(Request::builder().uri("/500").header("x-user", "bob").body(()).expect("a request")),
        );
        assert_eq!(testing::counted(&client), [("on".to_owned(), 5, 2, 2)]);
    }
}
