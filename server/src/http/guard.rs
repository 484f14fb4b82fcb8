//! What surrounds every request: its id, CORS, the bound on requests under way, the 500 instead of a
//! panic, the form of every error, and its line in the metrics.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::Shared;
use super::kept_body::KeptBody;
use super::problem::{self, Problem};
use crate::secret;

/// The header that names a request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from the caller, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 64;
const ALLOWED_HEADERS: &str =
    "Authorization, Content-Type, If-None-Match, X-API-Key, Last-Event-ID, X-Request-ID, Cache-Control";
const ANY_ORIGIN: &str = "*";
const EXPOSED_HEADERS: &str = "ETag, Retry-After, X-Request-ID";

/// Wraps the service of every request.
pub async fn guard<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Ok(answer_problem(request, &Problem::internal("the server is not put together")));
    };
    let started = Instant::now();
    let id = request_id(&request);
    let origin = shared_origin(&shared, &request);
    let method = request.method().clone();
    let body = KeptBody::of(&mut request);
    let served = if is_preflight(&request) {
        Ok(preflight(request, origin.is_some()))
    } else {
        let span = tracing::info_span!("request", id, %method, path = request.path());
        answer(&shared, request, next).instrument(span).await
    };
    let took = started.elapsed();
    if let Some(body) = body {
        body.drain().await;
    }
    let record = |route: Option<String>, status: StatusCode| {
        shared.traffic.record(route, method_word(&method), status.as_u16(), took);
    };
    match served {
        Ok(mut response) => {
            mark(response.headers_mut(), &id, origin);
            record(response.request().match_pattern(), response.status());
            Ok(response)
        }
        // The request is gone, and with it its route.
        Err(Failed { problem, mut answer }) => {
            mark(answer.headers_mut(), &id, origin);
            record(None, answer.status());
            Err(InternalError::from_response(problem, answer).into())
        }
    }
}

/// Gives an answer what every one bears: the request's id, and who may read it.
fn mark(headers: &mut HeaderMap, id: &str, origin: Option<HeaderValue>) {
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(origin) = origin {
        if origin != ANY_ORIGIN {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
}

async fn answer<B: MessageBody + 'static>(
    shared: &Shared,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Failed> {
    if !shared.was_ready() && !is_health(&request) {
        let folding = "the server is reading its log and does not answer before it has read it all";
        return Ok(answer_problem(request, &Problem::new(problem::NOT_READY, folding).retry_after(1)));
    }
    // A kill is never turned away because others keep the server busy, nor is whoever asks how it is: a server that
    // is restarted for being busy serves nobody.
    let always = is_kill(request.method(), request.path()) || is_health(&request);
    let _place = match InFlight::enter(&shared.in_flight, shared.settings.max_in_flight, always) {
        Some(place) => place,
        None => {
            let busy = "too many requests are under way; try again in a moment";
            return Ok(answer_problem(request, &Problem::new(problem::BUSY, busy).retry_after(1)));
        }
    };
    let path = request.path().to_owned();
    let called = AssertUnwindSafe(async { next.call(request).await });
    let response = match called.catch_unwind().await {
        Ok(Ok(response)) => response.map_into_boxed_body(),
        Ok(Err(error)) => return Err(Failed::at(&path, problem::from_framework(&error))),
        // The panic hook has written where and why.
        Err(_panic) => return Err(Failed::at(&path, Problem::internal("a handler panicked"))),
    };
    match response.response().error().map(|error| shaped(error).answer(&path)) {
        Some(answer) => Ok(response.into_response(answer)),
        None => Ok(response),
    }
}

/// An answer to a request that is gone already.
struct Failed {
    problem: Problem,
    answer: HttpResponse,
}

impl Failed {
    fn at(path: &str, problem: Problem) -> Failed {
        Failed { answer: problem.answer(path), problem }
    }
}

/// Either the problem's own answer or one made of a framework's error.
enum Shaped<'e> {
    Ours(&'e Problem),
    Framework(Problem),
}

impl Shaped<'_> {
    fn answer(&self, path: &str) -> HttpResponse {
        match self {
            Shaped::Ours(problem) => problem.answer(path),
            Shaped::Framework(problem) => problem.answer(path),
        }
    }
}

fn shaped(error: &Error) -> Shaped<'_> {
    match error.as_error::<Problem>() {
        Some(problem) => Shaped::Ours(problem),
        None => Shaped::Framework(problem::from_framework(error)),
    }
}

fn answer_problem(request: ServiceRequest, problem: &Problem) -> ServiceResponse<BoxBody> {
    let answer = problem.answer(request.path());
    request.into_response(answer)
}

fn method_word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        // Anybody may invent one: they share a name.
        _ => "other",
    }
}

fn request_id(request: &ServiceRequest) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    match given {
        Some(id)
            if (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) =>
        {
            id.to_owned()
        }
        _ => secret::random_id(),
    }
}

fn is_health(request: &ServiceRequest) -> bool {
    matches!(request.path(), "/healthz" | "/readyz" | "/metrics")
}

/// Whether a request kills. A flag may be called `kill` too, and checking it is no kill.
pub(super) fn is_kill(method: &Method, path: &str) -> bool {
    method == Method::POST && path.starts_with("/v1/") && path.ends_with("/kill")
}

fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && is_cross_origin_path(request.path())
}

/// Whether pages of other origins come here: for checks, for what is pushed to them, and for the SDK itself.
fn is_cross_origin_path(path: &str) -> bool {
    path.starts_with("/ofrep/") || path == "/v1/page" || path.starts_with("/v1/page/") || is_of_sdk(path)
}

/// The SDK is the same for everybody, and there is nothing in it to be kept from anybody.
fn is_of_sdk(path: &str) -> bool {
    path == "/sdk" || path.starts_with("/sdk/")
}

/// The origin that may read the answer, if the request comes from one.
fn shared_origin(shared: &Shared, request: &ServiceRequest) -> Option<HeaderValue> {
    if !is_cross_origin_path(request.path()) {
        return None;
    }
    if is_of_sdk(request.path()) {
        return Some(HeaderValue::from_static(ANY_ORIGIN));
    }
    let origin = request.headers().get(header::ORIGIN)?;
    shared.settings.allows_origin(origin.to_str().ok()?).then(|| origin.clone())
}

fn preflight(request: ServiceRequest, allowed: bool) -> ServiceResponse<BoxBody> {
    if !allowed {
        let problem = Problem::new(problem::NOT_ALLOWED, "this origin is not among the ones in the settings");
        return answer_problem(request, &problem);
    }
    let answer = HttpResponse::build(StatusCode::NO_CONTENT)
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"))
        .finish();
    request.into_response(answer)
}

/// A place among the requests under way; given back when dropped.
pub(super) struct InFlight<'c>(&'c AtomicUsize);

impl<'c> InFlight<'c> {
    /// Takes a place; none if all are taken, unless one is `always` given.
    pub(super) fn enter(count: &'c AtomicUsize, most: usize, always: bool) -> Option<InFlight<'c>> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let place = InFlight(count);
        (always || before < most).then_some(place)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::{TestRequest, init_service, try_call_service};
    use actix_web::{App, middleware};

    use super::*;
    use crate::http::tests::Node;

    async fn panics() -> HttpResponse {
        panic!("as tests do")
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_a_500_with_the_id_under_which_the_log_has_it() {
        let node = Node::start().await;
        let shared = node.shared();
        let app = App::new()
            .app_data(web::Data::clone(&shared))
            .wrap(middleware::from_fn(guard))
            .route("/ofrep/v1/panics", web::get().to(panics));
        let service = init_service(app).await;
        let request = || {
            let request = TestRequest::get().uri("/ofrep/v1/panics");
            request.insert_header((REQUEST_ID, "r-1")).insert_header((header::ORIGIN, "https://a.example"))
        };
        let answer = match try_call_service(&service, request().to_request()).await {
            Ok(answer) => answer.into_parts().1.map_into_boxed_body(),
            Err(error) => error.error_response(),
        };
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers().get(REQUEST_ID).expect("an id"), "r-1");
        let origin = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(origin.expect("the page may read it"), "https://a.example");
        let body = actix_web::body::to_bytes(answer.into_body()).await.expect("a body");
        assert!(String::from_utf8_lossy(&body).contains("GENERAL"), "{body:?}");
        assert!(shared.telemetry.render().contains(r#"status="500""#));
        node.state.stop().await;
    }
}
