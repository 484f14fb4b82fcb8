//! Every error of the HTTP side: one table from code to status and title, and the two shapes in which
//! an error leaves (RFC 9457 everywhere, OFREP's own on its paths).

use std::borrow::Cow;
use std::fmt;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

/// One kind of error: its stable code, the status it travels with and a title for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Stable, snake case; clients branch on it.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it is called.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $code:literal $status:literal $title:literal;)*) => {
        $(#[doc = $title] pub const $name: &Kind = &Kind { code: $code, status: $status, title: $title };)*
        /// Every kind there is.
        pub const TABLE: &[&Kind] = &[$($name),*];
    };
}

kinds! {
    INVALID_JSON = "invalid_json" 400 "The body is not JSON";
    INVALID_BODY = "invalid_body" 400 "The body does not have the form that is asked for";
    INVALID_PARAMETER = "invalid_parameter" 400 "A parameter does not have the form that is asked for";
    INVALID_CONTEXT = "invalid_context" 400 "The evaluation context is not valid";
    TARGETING_KEY_MISSING = "targeting_key_missing" 400 "The evaluation context has no targeting key";
    AUDIENCE_MISSING = "audience_missing" 400 "The request does not say which app and environment it means";
    INVALID = "invalid" 400 "What was asked for is not valid";
    REASON_REQUIRED = "reason_required" 400 "A reason is needed";
    UNAUTHENTICATED = "unauthenticated" 401 "A valid token is needed";
    NOT_ALLOWED = "not_allowed" 403 "The token does not allow this";
    AGENTS_ONLY_PROPOSE = "agents_only_propose" 403 "Agents may only propose this";
    APPROVALS_NEEDED = "approvals_needed" 403 "Approvals are missing";
    ROLES_MISSING = "roles_missing" 403 "Approvals in roles are missing";
    ROLE_NEEDED = "role_needed" 403 "It takes a role";
    GATE_MISSING = "gate_missing" 403 "The gate does not stand";
    TIER_LIMIT = "tier_limit" 403 "The app's tier does not allow this";
    ORIGIN_NOT_ALLOWED = "origin_not_allowed" 403 "The token is not for this origin";
    OWN_APPROVAL = "own_approval" 403 "Nobody approves their own proposal";
    NOT_FOUND = "not_found" 404 "There is nothing here";
    FLAG_NOT_FOUND = "flag_not_found" 404 "There is no such flag";
    SDK_NOT_BUILT = "sdk_not_built" 404 "The browser SDK was not built in";
    METHOD_NOT_ALLOWED = "method_not_allowed" 405 "This method is not offered here";
    REQUEST_TIMEOUT = "request_timeout" 408 "The request took too long to arrive";
    ALREADY_EXISTS = "already_exists" 409 "It exists already";
    IDEMPOTENCY_KEY_TAKEN = "idempotency_key_taken" 409 "The idempotency key was used for another request";
    IN_USE = "in_use" 409 "Something else uses it";
    PREREQUISITE_CYCLE = "prerequisite_cycle" 409 "A flag would depend on itself";
    KILLED = "killed" 409 "A kill is in effect";
    NOT_KILLED = "not_killed" 409 "There is nothing to revive";
    KILLED_EVERYWHERE = "killed_everywhere" 409 "Everything is killed in all environments";
    KILL_ID_TAKEN = "kill_id_taken" 409 "The kill id names another kill";
    EXPIRED = "expired" 409 "The flag has expired";
    ENVIRONMENT_ENDED = "environment_ended" 409 "The preview has ended";
    HELD = "held" 409 "Automation holds the flag";
    PROPOSAL_CLOSED = "proposal_closed" 409 "The proposal is no longer open";
    PROPOSAL_CHANGED = "proposal_changed" 409 "The proposal is not the one that was shown";
    PROPOSAL_OUTDATED = "proposal_outdated" 409 "What the proposal was made on is no longer so";
    EFFECT_CLAIMED = "effect_claimed" 409 "Another node does this";
    NOT_DUE = "not_due" 409 "It is not due yet";
    ROLLOUT_RUNS = "rollout_runs" 409 "A rollout runs there already";
    NO_ROLLOUT = "no_rollout" 409 "No rollout runs there";
    ROLLOUT_NOT_PAUSED = "rollout_not_paused" 409 "The rollout is not paused";
    LEFT_TO_PEOPLE = "left_to_people" 409 "Automation has acted as often as it may";
    WEBHOOK_DISABLED = "webhook_disabled" 409 "The webhook is disabled";
    GLASS_SPENT = "glass_spent" 409 "The glass was broken for as long as it may be";
    WAIVER_OVER = "waiver_over" 409 "The waiver is over";
    PAGE_GONE = "page_gone" 410 "The page has to be opened anew";
    STALE = "stale" 412 "It changed since it was seen";
    TOO_LARGE = "too_large" 413 "It is too large";
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type" 415 "The body must be JSON";
    TOO_MANY = "too_many" 422 "A limit is reached";
    EXPIRY_BEYOND_CAP = "expiry_beyond_cap" 422 "The expiry is later than allowed";
    PAST_TOO_FAR = "past_too_far" 422 "That moment lies too far from what is stored";
    NOT_PROPOSABLE = "not_proposable" 422 "This cannot be proposed";
    REVISION_REQUIRED = "revision_required" 428 "The revision that was seen is needed";
    RATE_LIMITED = "rate_limited" 429 "Too many requests";
    TOO_MANY_FAILED_LOGINS = "too_many_failed_logins" 429 "Too many requests with invalid tokens";
    INTERNAL = "internal" 500 "Something went wrong on the server";
    BUSY = "busy" 503 "The server is busy";
    TOO_MANY_STREAMS = "too_many_streams" 503 "The server holds as many streams as it may";
    GATE_CLOSED = "gate_closed" 503 "The gate is closed";
    NOT_READY = "not_ready" 503 "The server is not ready";
    LOG_UNAVAILABLE = "log_unavailable" 503 "The change log cannot take changes now";
    OUTCOME_UNKNOWN = "outcome_unknown" 504 "Whether the change was stored is not known";
    LOG_FULL = "log_full" 507 "There is no space for changes";
}

/// The kind with a code; `None` if the table has no such row.
pub fn kind_of(code: &str) -> Option<&'static Kind> {
    TABLE.iter().copied().find(|kind| kind.code == code)
}

/// An error as it leaves the server.
#[derive(Debug)]
pub struct Problem {
    kind: &'static Kind,
    detail: Cow<'static, str>,
    extensions: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// An error of a kind, with what happened this time and what to do, in words for people.
    pub fn new(kind: &'static Kind, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { kind, detail: detail.into(), extensions: Map::new(), headers: Vec::new() }
    }

    /// Adds a member for programs.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to come back, in whole seconds.
    pub fn retry_after(self, seconds: u64) -> Problem {
        let value = HeaderValue::from(seconds.max(1));
        self.header(header::RETRY_AFTER, value)
    }

    /// Adds a header to the answer.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// The kind, to branch on.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// An internal error: the cause goes to the log, the caller only learns that it happened.
    pub fn internal(cause: impl fmt::Display) -> Problem {
        tracing::error!(%cause, "a request failed inside the server");
        Problem::new(INTERNAL, "the cause is in the server's log, under the request id of this answer")
    }

    /// The status it travels with.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The answer for a request of this path: OFREP's form under `/ofrep/`, else RFC 9457.
    pub fn answer(&self, path: &str) -> HttpResponse {
        let mut response = HttpResponse::build(self.status());
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if path.starts_with("/v1/page") || path.starts_with("/sdk") {
            // What a page is refused now it may be given in a moment, and some caches keep what does not forbid it.
            response.insert_header((header::CACHE_CONTROL, "no-store"));
        }
        if path.starts_with("/ofrep/") {
            return response.content_type("application/json").body(self.ofrep_body(path));
        }
        response.content_type("application/problem+json").body(self.problem_body())
    }

    fn problem_body(&self) -> String {
        let mut body = Map::new();
        body.insert("type".into(), format!("/problems/{}", self.kind.code).into());
        body.insert("title".into(), self.kind.title.into());
        body.insert("status".into(), self.kind.status.into());
        body.insert("detail".into(), (*self.detail).into());
        body.insert("code".into(), self.kind.code.into());
        for (name, value) in &self.extensions {
            body.insert(name.clone(), value.clone());
        }
        Value::Object(body).to_string()
    }

    fn ofrep_body(&self, path: &str) -> String {
        let mut body = json!({ "errorCode": ofrep_code(self.kind), "errorDetails": self.detail });
        if let Some(key) = path.strip_prefix("/ofrep/v1/evaluate/flags/") {
            body["key"] = percent_decoded(key).into();
        }
        body.to_string()
    }
}

/// What OFREP calls a kind.
pub fn ofrep_code(kind: &Kind) -> &'static str {
    match kind.code {
        "invalid_json" => "PARSE_ERROR",
        "invalid_body" | "invalid_context" => "INVALID_CONTEXT",
        "targeting_key_missing" => "TARGETING_KEY_MISSING",
        "flag_not_found" => "FLAG_NOT_FOUND",
        _ => "GENERAL",
    }
}

/// A path as people wrote it: `%2F` and its like undone.
pub fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').filter(is_hex);
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl actix_web::ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.answer("")
    }
}

/// Gives errors of the framework (payloads, extractors, panicking layers) our own form.
pub fn from_framework(error: &actix_web::Error) -> Problem {
    let status = error.as_response_error().status_code();
    let detail = error.to_string();
    match status.as_u16() {
        413 => Problem::new(TOO_LARGE, detail),
        415 => Problem::new(UNSUPPORTED_MEDIA_TYPE, detail),
        404 => Problem::new(NOT_FOUND, detail),
        400..=499 => Problem::new(INVALID_PARAMETER, detail),
        _ => Problem::internal(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kinds_share_a_code_and_each_status_is_an_error() {
        for (index, kind) in TABLE.iter().enumerate() {
            assert!((400..600).contains(&kind.status), "{}", kind.code);
            assert!(!TABLE[..index].iter().any(|other| other.code == kind.code), "{} twice", kind.code);
            assert!(kind.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", kind.code);
        }
    }

    #[test]
    fn an_ofrep_path_gets_the_form_its_clients_read() {
        let problem = Problem::new(FLAG_NOT_FOUND, "no flag `a/b`");
        let body: Value =
            serde_json::from_str(&problem.ofrep_body("/ofrep/v1/evaluate/flags/a%2Fb")).unwrap();
        assert_eq!(
            body,
            json!({"key": "a/b", "errorCode": "FLAG_NOT_FOUND", "errorDetails": "no flag `a/b`"})
        );
    }

    #[test]
    fn a_broken_escape_stays_as_it_was_written() {
        assert_eq!(percent_decoded("a%2Fb%zz%"), "a/b%zz%");
        assert_eq!(percent_decoded("%é%41"), "%éA");
    }
}
