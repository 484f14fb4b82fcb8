//! For actix-web.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;

use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest, error};
use rollout_rules::context::Context;

use super::RequestScope;
use crate::client::Client;

/// Opens a [scope](RequestScope) for each request; handlers take it as an argument.
///
/// The time of a request is that until its head is answered.
///
/// ```no_run
/// use actix_web::{App, HttpResponse, web};
/// use tidegate_sdk::middleware::{RequestScope, actix::Outcomes};
/// use tidegate_sdk::{Client, Context};
///
/// async fn pay(scope: RequestScope) -> HttpResponse {
///     if scope.bool("checkout", false) { HttpResponse::Ok() } else { HttpResponse::NotFound() }.finish()
/// }
///
/// # fn app(client: Client) {
/// App::new()
///     .wrap(Outcomes::new(client, |request| {
///         let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
///         Context::new(user.unwrap_or_default())
///     }))
///     .route("/pay", web::post().to(pay));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Outcomes<C> {
    client: Client,
    context: C,
}

impl<C: Fn(&ServiceRequest) -> Context> Outcomes<C> {
    /// With a client, and what says who asks.
    pub fn new(client: Client, context: C) -> Outcomes<C> {
        Outcomes { client, context }
    }
}

impl<S, B, C> Transform<S, ServiceRequest> for Outcomes<C>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    C: Fn(&ServiceRequest) -> Context + Clone + 'static,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = Scoping<S, C>;
    type InitError = ();
    type Future = Ready<Result<Scoping<S, C>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(Scoping { inner: Rc::new(inner), outcomes: self.clone() }))
    }
}

/// A service whose requests have scopes.
#[derive(Debug)]
pub struct Scoping<S, C> {
    inner: Rc<S>,
    outcomes: Outcomes<C>,
}

impl<S, B, C> Service<ServiceRequest> for Scoping<S, C>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    S::Future: 'static,
    C: Fn(&ServiceRequest) -> Context,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<ServiceResponse<B>, Error>>>>;

    fn poll_ready(&self, waker: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Error>> {
        self.inner.poll_ready(waker)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let context = (self.outcomes.context)(&request);
        let scope = RequestScope::new(self.outcomes.client.scope(&context));
        request.extensions_mut().insert(scope.clone());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let answer = answering.await;
            let status = match &answer {
                Ok(answer) => answer.status(),
                Err(error) => error.as_response_error().status_code(),
            };
            scope.answered(status.is_server_error());
            answer
        })
    }
}

impl FromRequest for RequestScope {
    type Error = Error;
    type Future = Ready<Result<RequestScope, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let scope = request.extensions().get::<RequestScope>().cloned();
        ready(scope.ok_or_else(|| error::ErrorInternalServerError("the app is not wrapped in `Outcomes`")))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::{App, HttpResponse, test, web};

    use super::*;
    use crate::outcomes::testing;

    async fn answer(scope: RequestScope, status: web::Path<u16>) -> Result<HttpResponse, Error> {
        assert!(scope.bool("checkout", false));
        match *status {
            // An error that a handler gives back instead of an answer.
            502 => Err(error::ErrorBadGateway("no answer")),
            status => Ok(HttpResponse::build(StatusCode::from_u16(status).expect("a status")).finish()),
        }
    }

    #[test]
    fn a_request_that_is_answered_with_500_or_above_failed_and_others_did_not() {
        let client = testing::client();
        let its = client.clone();
        let work = async move {
            let app = App::new()
                .wrap(Outcomes::new(its, |_| Context::new("ann")))
                .route("/{status}", web::get().to(answer));
            let app = test::init_service(app).await;
            for status in [200, 404, 500, 502] {
                let request = test::TestRequest::get().uri(&format!("/{status}")).to_request();
                assert_eq!(test::call_service(&app, request).await.status().as_u16(), status);
            }
        };
        actix_web::rt::System::new().block_on(work);
        assert_eq!(testing::counted(&client), [("on".to_owned(), 4, 2, 1)]);
    }
}
