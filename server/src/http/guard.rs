//! What surrounds every request: its id, CORS, the bound on requests under way, the 500 instead of a
//! panic, the form of every error, and its line in the metrics.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpResponse, web};
use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::Shared;
use super::problem::{self, Problem};
use crate::secret;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from the caller, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 64;
const ALLOWED_HEADERS: &str =
    "Authorization, Content-Type, If-None-Match, X-API-Key, Last-Event-ID, X-Request-ID, Cache-Control";
const EXPOSED_HEADERS: &str = "ETag, Retry-After, X-Request-ID";

/// A request's id: it stands in the answer, in the log's lines and nowhere else.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Wraps the service of every request.
pub async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Ok(answer_problem(request, &Problem::internal("the server is not put together")));
    };
    let started = Instant::now();
    let id = request_id(&request);
    let origin = shared_origin(&shared, &request);
    let method = request.method().clone();
    let mut response = if is_preflight(&request) {
        preflight(request, origin.is_some())
    } else {
        request.extensions_mut().insert(RequestId(id.clone()));
        let span = tracing::info_span!("request", id, %method, path = request.path());
        serve(&shared, request, next).instrument(span).await?
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
    let route = response.request().match_pattern();
    shared.traffic.record(route, method_word(&method), response.status().as_u16(), started.elapsed());
    Ok(response)
}

async fn serve<B: MessageBody + 'static>(
    shared: &Shared,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !shared.was_ready() && !is_health(&request) {
        let folding = "the server is reading its log and does not answer before it has read it all";
        return Ok(answer_problem(request, &Problem::new(problem::NOT_READY, folding).retry_after(1)));
    }
    // A kill is never turned away because others keep the server busy.
    let _place = match InFlight::enter(&shared.in_flight, shared.settings.max_in_flight, is_kill(&request)) {
        Some(place) => place,
        None => {
            let busy = "too many requests are under way; try again in a moment";
            return Ok(answer_problem(request, &Problem::new(problem::BUSY, busy).retry_after(1)));
        }
    };
    let path = request.path().to_owned();
    let response = match AssertUnwindSafe(next.call(request)).catch_unwind().await {
        Ok(Ok(response)) => response.map_into_boxed_body(),
        Ok(Err(error)) => return Err(Located { path, problem: problem::from_framework(&error) }.into()),
        Err(_panic) => {
            // The panic hook has written where and why.
            return Err(Located { path, problem: Problem::internal("a handler panicked") }.into());
        }
    };
    match response.response().error().map(|error| shaped(error).answer(&path)) {
        Some(answer) => Ok(response.into_response(answer)),
        None => Ok(response),
    }
}

/// An answer to a request that is gone already.
#[derive(Debug)]
struct Located {
    path: String,
    problem: Problem,
}

impl std::fmt::Display for Located {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.problem.fmt(f)
    }
}

impl actix_web::ResponseError for Located {
    fn status_code(&self) -> StatusCode {
        self.problem.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.problem.answer(&self.path)
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

fn is_kill(request: &ServiceRequest) -> bool {
    request.method() == Method::POST && request.path().ends_with("/kill")
}

fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && is_cross_origin_path(request.path())
}

fn is_cross_origin_path(path: &str) -> bool {
    path.starts_with("/ofrep/")
}

/// The origin that may read the answer, if the request comes from one.
fn shared_origin(shared: &Shared, request: &ServiceRequest) -> Option<HeaderValue> {
    if !is_cross_origin_path(request.path()) {
        return None;
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
struct InFlight<'c>(&'c AtomicUsize);

impl<'c> InFlight<'c> {
    fn enter(count: &'c AtomicUsize, most: usize, always: bool) -> Option<InFlight<'c>> {
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
