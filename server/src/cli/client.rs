//! The tool's side of the HTTP API: one request, its answer, and what a refusal means.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::{Method, Request, Response, Uri};
use ureq::{Agent, Body};

use super::failure::{Failure, Problem, Unanswered};
use super::trust;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a whole request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
/// Items asked for at once when a list is read to its end.
const PAGE: usize = 500;
/// How often a creating request that got no answer is sent again, under the same idempotency key.
const CREATE_ATTEMPTS: usize = 3;

/// Speaks to one server.
pub(super) struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
    acting_agent: Option<String>,
}

/// What the server said.
#[derive(Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON that came with it; null if there was none.
    pub body: Value,
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

impl Client {
    /// A client for the server at `url`.
    pub(super) fn new(
        url: &str,
        token: Option<String>,
        acting_agent: Option<String>,
        cacert: Option<&Path>,
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
            config = config.tls_config(trust::tls(cacert)?);
        }
        Ok(Client { agent: config.build().into(), base, token, acting_agent })
    }

    /// Reads one thing.
    pub(super) fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.call(Method::GET, path, &Call::default())
    }

    /// Reads a list to its end: `{"items": […]}` with the items of all pages.
    pub(super) fn list(&self, path: &str) -> Result<Value, Failure> {
        let mut items = Vec::new();
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
            match answer.body.get("next_cursor").and_then(Value::as_str) {
                Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
                Some(_) => return Err(self.strange("a list that does not end")),
                None => return Ok(serde_json::json!({ "items": items })),
            }
        }
    }

    /// Creates something. A request that got no answer is sent again: its key makes it create once.
    pub(super) fn create(&self, path: &str, body: &Value, if_match: Option<u64>) -> Result<Answer, Failure> {
        let key = random_name("cli");
        let call = Call { body: Some(body), if_match, idempotency_key: Some(&key), ..Call::default() };
        let begun = Instant::now();
        let mut attempt = 1;
        loop {
            match self.call(Method::POST, path, &call) {
                // All attempts together take no longer than one request may, give or take the last one.
                Err(Failure::Unreachable(_))
                    if attempt < CREATE_ATTEMPTS && begun.elapsed() < REQUEST_TIMEOUT =>
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
        let mut response = self.send(method, path, call, Some(timeout))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let bytes = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER_BYTES)
            .read_to_vec()
            .map_err(|error| self.unreachable(error, changes))?;
        let body = match serde_json::from_slice(&bytes) {
            _ if bytes.is_empty() => Value::Null,
            Ok(body) => body,
            // A proxy in front of the server speaks of its own when it cannot reach it.
            Err(_) if matches!(status, 429 | 502..=504) => Value::Null,
            Err(_) => return Err(self.strange(&format!("status {status} with a body that is no JSON"))),
        };
        match status {
            200..300 => Ok(Answer { status, body }),
            502..=504 if body.get("code").is_none() => {
                Err(Failure::Gateway { url: self.base.clone(), status, changes })
            }
            400.. => Err(Failure::Refused(Box::new(problem(status, body, retry_after)))),
            _ => Err(self.strange(&format!("status {status}"))),
        }
    }

    /// Opens an event stream.
    pub(super) fn stream(&self, path: &str) -> Result<Box<dyn BufRead + Send>, Failure> {
        let mut response = self.send(Method::GET, path, &Call::default(), None)?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(Box::new(BufReader::new(response.into_body().into_reader())));
        }
        let retry_after = retry_after(&response);
        let body = response.body_mut().read_to_string().unwrap_or_default();
        let body = serde_json::from_str(&body).unwrap_or_default();
        Err(Failure::Refused(Box::new(problem(status, body, retry_after))))
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        call: &Call<'_>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, Failure> {
        let changes = method != Method::GET;
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(agent) = &self.acting_agent {
            request = request.header("tidegate-agent", agent);
        }
        if let Some(revision) = call.if_match {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let bad =
            |_| Failure::usage("the token, the agent's name or a key holds characters that HTTP forbids");
        let sent = match call.body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                let request = request.body(body.to_string()).map_err(bad)?;
                let request = self.agent.configure_request(request).timeout_global(timeout).build();
                self.agent.run(request)
            }
            None => {
                let request = request.body(()).map_err(bad)?;
                let request = self.agent.configure_request(request).timeout_global(timeout).build();
                self.agent.run(request)
            }
        };
        sent.map_err(|error| self.unreachable(error, changes))
    }

    fn unreachable(&self, error: ureq::Error, changes: bool) -> Failure {
        let proxy = self.agent.config().proxy().map(|proxy| format!("{}:{}", proxy.host(), proxy.port()));
        Failure::Unreachable(Box::new(Unanswered { url: self.base.clone(), proxy, changes, source: error }))
    }

    /// An answer that a Tidegate server does not give.
    pub(super) fn strange(&self, problem: &str) -> Failure {
        Failure::Strange { url: self.base.clone(), problem: problem.to_owned() }
    }
}

fn bad_url(url: &str) -> Failure {
    Failure::usage(format!("`{url}` is no server's address: write it like http://127.0.0.1:8080"))
}

fn retry_after(response: &Response<Body>) -> Option<u64> {
    response.headers().get("retry-after")?.to_str().ok()?.parse().ok()
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
