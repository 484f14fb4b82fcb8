//! The tool's side of the HTTP API: one request, its answer, and what a refusal means.

use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rollout_rules::ids::PlanId;
use serde_json::Value;
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response, Uri};
use ureq::{Agent, Body, SendBody};

use super::agent::Acting;
use super::failure::{Failure, Problem};
use super::form::Form;
use super::trust::{TlsOptions, Trust};
use super::unanswered::Unanswered;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a whole request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an event stream may take to begin, and a refusal in its place to end. Streams have no end of
/// their own, so the time of a whole request cannot bound them.
const STREAM_BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// Largest refusal in place of a stream that is read; of a longer one only the status is known.
const MAX_REFUSAL_BYTES: u64 = 1024 * 1024;
/// Items asked for at once when a list is read to its end.
const PAGE: usize = 500;
/// How often a creating request of unknown outcome is sent, under the same idempotency key.
const CREATE_ATTEMPTS: usize = 3;

/// Speaks to one server.
pub(super) struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
    acting: Acting,
    plan: Option<PlanId>,
}

/// What the server said.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON that came with it; null if there was none.
    pub body: Value,
    /// When it was made, by the server's clock, as HTTP writes dates.
    pub date: Option<String>,
}

/// One request.
#[derive(Default)]
pub(super) struct Call<'a> {
    /// Its body.
    pub body: Option<&'a Value>,
    /// The revision that was seen.
    pub if_match: Option<u64>,
    /// The caller's name for it.
    pub idempotency_key: Option<&'a str>,
    /// How long it may take; the usual time if none is given.
    pub timeout: Option<Duration>,
}

/// What is waited for, and how long.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// The whole answer, from the start of the request on.
    ForAll(Duration),
    /// The head of the answer, once the request is sent; its body may take for ever.
    ForHead(Duration),
}

impl Client {
    /// A client for the server at `url`.
    pub(super) fn new(
        url: &str,
        token: Option<String>,
        acting: Acting,
        tls: &TlsOptions,
    ) -> Result<Client, Failure> {
        let base = url.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| bad_url(url))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(bad_url(url));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Failure::usage(
                "the server's address holds a name or password before its `@`: leave them out, the token says who calls",
            ));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(bad_url(url));
        }
        let agent = agent(&uri, tls)?;
        Ok(Client { agent, base, token, acting, plan: None })
    }

    /// From now on, every change says that it is part of this plan.
    pub(super) fn under_plan(&mut self, plan: PlanId) {
        self.plan = Some(plan);
    }

    /// Reads one thing.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::GET, path, &Call::default())
    }

    /// Reads a list to its end: the first page, with the items of all.
    pub(super) fn list(&self, path: &str) -> Result<Value, Failure> {
        let mut items = Vec::new();
        let mut first: Option<Value> = None;
        let mut cursor: Option<String> = None;
        loop {
            let mut page = with_query(path, "limit", &PAGE.to_string());
            if let Some(cursor) = &cursor {
                page = with_query(&page, "cursor", cursor);
            }
            let mut answer = self.get(&page)?;
            match answer.body.get_mut("items").map(Value::take) {
                Some(Value::Array(more)) => items.extend(more),
                _ => return Err(self.strange("a list without `items`")),
            }
            let next = answer.body.as_object_mut().and_then(|body| body.remove("next_cursor"));
            let list = first.get_or_insert(answer.body);
            match next.as_ref().and_then(Value::as_str) {
                Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
                Some(_) => return Err(self.strange("a list that does not end")),
                None => {
                    list["items"] = items.into();
                    return Ok(list.take());
                }
            }
        }
    }

    /// Creates something. A request of unknown outcome is sent again: its key makes it create once.
    pub(super) fn create(&self, path: &str, body: &Value, if_match: Option<u64>) -> Result<Answer, Failure> {
        let key = random_name("cli");
        let call = Call { body: Some(body), if_match, idempotency_key: Some(&key), ..Call::default() };
        let begun = Instant::now();
        let mut attempt = 1;
        loop {
            match self.call(Method::POST, path, &call) {
                // All attempts together take no longer than one request may, give or take the last one.
                Err(failure)
                    if failure.leaves_outcome_unknown()
                        && attempt < CREATE_ATTEMPTS
                        && begun.elapsed() < REQUEST_TIMEOUT =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Changes something.
    pub(super) fn change(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        if_match: Option<u64>,
    ) -> Result<Answer, Failure> {
        self.call(method, path, &Call { body: Some(body), if_match, ..Call::default() })
    }

    /// Sends a request and reads its answer; a refusal is an error.
    pub(super) fn call(&self, method: Method, path: &str, call: &Call<'_>) -> Result<Answer, Failure> {
        let timeout = call.timeout.unwrap_or(REQUEST_TIMEOUT);
        let changes = method != Method::GET;
        let response = self.send(method, path, call, Wait::ForAll(timeout))?;
        self.answered(response, changes)
    }

    /// Sends a form and reads its answer. The form is such that sending it twice does no harm; `bearer` acts in place of the token.
    pub(super) fn upload(
        &self,
        path: &str,
        form: Form,
        bearer: Option<&str>,
        timeout: Duration,
    ) -> Result<Answer, Failure> {
        let request = self
            .request(Method::POST, path, bearer.or(self.token.as_deref()))
            .header("content-type", form.content_type())
            .header("content-length", form.body_bytes());
        let request = request.body(SendBody::from_owned_reader(form)).map_err(bad_characters)?;
        let request = self.agent.configure_request(request).timeout_global(Some(timeout)).build();
        let response = self.agent.run(request).map_err(|error| self.unreachable(error, false))?;
        self.answered(response, false)
    }

    fn answered(&self, mut response: Response<Body>, changes: bool) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let date = response.headers().get("date").and_then(|date| Some(date.to_str().ok()?.to_owned()));
        let bytes = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|error| self.unreachable(error, changes))?;
        let body = match serde_json::from_slice(&bytes) {
            _ if bytes.is_empty() => Value::Null,
            Ok(body) => body,
            // What stands in front of the server speaks of its own when it cannot reach it.
            Err(_) if status == 429 || status >= 500 => Value::Null,
            Err(_) => return Err(self.strange(&format!("status {status} with a body that is no JSON"))),
        };
        match status {
            200..300 => Ok(Answer { status, body, date }),
            400.. => Err(self.refused(status, body, retry_after, changes)),
            _ => Err(self.strange(&format!("status {status}"))),
        }
    }

    /// What a status of 400 or above means.
    fn refused(&self, status: u16, body: Value, retry_after: Option<u64>, changes: bool) -> Failure {
        // Tidegate names the code of every problem; a server's error without one is not of its making.
        if status >= 500 && body.get("code").is_none() {
            return Failure::Gateway { url: self.base.clone(), status, changes };
        }
        Failure::Refused(Box::new(problem(status, body, retry_after)))
    }

    /// Opens an event stream; fails if it has not begun within 5 s.
    pub(super) fn stream(&self, path: &str) -> Result<Box<dyn BufRead + Send>, Failure> {
        let wait = Wait::ForHead(STREAM_BEGIN_TIMEOUT);
        let response = self.send(Method::GET, path, &Call::default(), wait)?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(Box::new(BufReader::new(response.into_body().into_reader())));
        }
        let retry_after = retry_after(&response);
        let body = refusal_within(response.into_body(), STREAM_BEGIN_TIMEOUT);
        Err(self.refused(status, body, retry_after, false))
    }

    /// A request with what all of them say: who asks, for whom, and under which plan.
    fn request(&self, method: Method, path: &str, bearer: Option<&str>) -> Builder {
        let changes = method != Method::GET;
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let Acting { agent, work } = &self.acting;
        for (name, said) in [("tidegate-agent", agent), ("tidegate-agent-work", work)] {
            if let Some(said) = said {
                request = request.header(name, said);
            }
        }
        if let Some(plan) = self.plan.as_ref().filter(|_| changes) {
            request = request.header("tidegate-plan", plan.as_str());
        }
        request
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        call: &Call<'_>,
        wait: Wait,
    ) -> Result<Response<Body>, Failure> {
        let changes = method != Method::GET;
        let mut request = self.request(method, path, self.token.as_deref());
        if let Some(revision) = call.if_match {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let (for_all, for_head) = match wait {
            Wait::ForAll(time) => (Some(time), None),
            Wait::ForHead(time) => (None, Some(time)),
        };
        let sent = match call.body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                let request =
                    self.agent.configure_request(request.body(body.to_string()).map_err(bad_characters)?);
                self.agent.run(request.timeout_global(for_all).timeout_recv_response(for_head).build())
            }
            None => {
                let request = self.agent.configure_request(request.body(()).map_err(bad_characters)?);
                self.agent.run(request.timeout_global(for_all).timeout_recv_response(for_head).build())
            }
        };
        sent.map_err(|error| self.unreachable(error, changes))
    }

    fn unreachable(&self, error: ureq::Error, changes: bool) -> Failure {
        let proxy = self.proxy();
        Failure::Unreachable(Box::new(Unanswered { url: self.base.clone(), proxy, changes, source: error }))
    }

    /// The server's name, its port, and whether TLS is spoken there.
    pub(super) fn place(&self) -> (String, u16, bool) {
        let uri: Uri = self.base.parse().unwrap_or_default();
        let encrypted = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        (host, uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 }), encrypted)
    }

    /// The proxy that requests go through.
    pub(super) fn proxy(&self) -> Option<String> {
        self.agent.config().proxy().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
    }

    /// An answer that a Tidegate server does not give.
    pub(super) fn strange(&self, problem: &str) -> Failure {
        Failure::Strange { url: self.base.clone(), problem: problem.to_owned() }
    }
}

/// What calls the place of an address, and follows it nowhere else.
pub(super) fn agent(uri: &Uri, tls: &TlsOptions) -> Result<Agent, Failure> {
    let host = uri.host().unwrap_or_default();
    let here = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        // A redirect would carry the token to wherever it points.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
    if here {
        config = config.proxy(None);
    }
    if uri.scheme_str() == Some("https") {
        config = config.tls_config(Trust::read(tls)?.of_requests());
    }
    Ok(config.build().into())
}

fn bad_characters(_: ureq::http::Error) -> Failure {
    Failure::usage("the token, the agent's name or a key holds characters that HTTP forbids")
}

fn bad_url(url: &str) -> Failure {
    Failure::usage(format!("`{url}` is no server's address: write it like http://127.0.0.1:8080"))
}

fn retry_after(response: &Response<Body>) -> Option<u64> {
    response.headers().get("retry-after")?.to_str().ok()?.parse().ok()
}

/// The JSON of a refusal; null if it has none, is too large or does not come in time.
fn refusal_within(mut body: Body, time: Duration) -> Value {
    let (sender, read) = mpsc::sync_channel(1);
    // A read that has no bound of its own can only be left behind.
    std::thread::spawn(move || {
        let bytes = body.with_config().limit(MAX_REFUSAL_BYTES).read_to_vec().unwrap_or_default();
        // Whoever asked may have gone on by now.
        let _ = sender.send(serde_json::from_slice(&bytes).unwrap_or_default());
    });
    read.recv_timeout(time).unwrap_or_default()
}

fn problem(status: u16, body: Value, retry_after: Option<u64>) -> Problem {
    let Value::Object(body) = body else {
        return Problem { status, retry_after, ..Problem::default() };
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Problem { status, code: text("code"), title: text("title"), detail: text("detail"), retry_after, body }
}

/// A path with one more query parameter.
pub(super) fn with_query(path: &str, name: &str, value: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{name}={}", encoded(value))
}

/// A text as one part of a path or query.
pub(super) fn encoded(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            safe.push(char::from(byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

/// A name that nobody else draws: `cli-` and 16 letters.
pub(super) fn random_name(prefix: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let drawn: [u8; 16] = rand::random();
    let letters: String = drawn.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    format!("{prefix}-{letters}")
}
