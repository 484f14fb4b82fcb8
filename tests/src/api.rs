//! The documented REST API, as a test calls it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use ureq::http;

use crate::PATIENCE;

/// What the server answered.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body; null if there was none.
    pub body: Value,
}

impl Reply {
    /// The body, if the status is the expected one.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{:#}", self.body);
        self.body
    }

    /// A header's text, empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A server's API with the rights of one token.
#[derive(Clone)]
pub struct Api {
    agent: ureq::Agent,
    url: String,
    token: String,
}

impl Api {
    /// The API of the server at `url` (`http://127.0.0.1:PORT`), for the holder of `token`.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Api {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        Api { agent: config.into(), url: url.to_owned(), token: token.to_owned() }
    }

    /// The token that it calls with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends a request. `body` null sends none.
    ///
    /// # Panics
    /// When the server does not answer, or not with JSON.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answered = if body.is_null() {
            self.agent.run(request.body(()).expect("a well-formed request"))
        } else {
            let request = request.header("Content-Type", "application/json");
            self.agent.run(request.body(body.to_string()).expect("a well-formed request"))
        };
        let mut answer = answered.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text =
            answer.body_mut().read_to_string().unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        // Metrics are text; all else is JSON.
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        Reply { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
    }

    /// `GET`.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], &Value::Null)
    }

    /// `POST`.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], body)
    }

    /// Makes an app, with its environments as `(key, kind)`.
    #[track_caller]
    pub fn create_app(&self, app: &str, environments: &[(&str, &str)]) -> Value {
        let environments: Vec<Value> =
            environments.iter().map(|(key, kind)| json!({"key": key, "kind": kind})).collect();
        self.post("/v1/apps", &json!({"key": app, "environments": environments})).expect(201)
    }

    /// Makes a flag.
    #[track_caller]
    pub fn create_flag(&self, app: &str, flag: &Value) -> Value {
        self.post(&format!("/v1/apps/{app}/flags"), flag).expect(201)
    }

    /// Changes a flag in one environment, from the revision that it has now.
    #[track_caller]
    pub fn set_flag(&self, app: &str, flag: &str, environment: &str, patch: &Value) -> Value {
        let flag = format!("/v1/apps/{app}/flags/{}", encode(flag));
        let seen = self.get(&flag);
        let revision = seen.header("etag").to_owned();
        let path = format!("{flag}/environments/{environment}");
        self.send("PATCH", &path, &[("If-Match", &revision)], patch).expect(200)
    }

    /// Kills a flag in all environments.
    #[track_caller]
    pub fn kill_flag(&self, app: &str, flag: &str) -> Value {
        self.post(&format!("/v1/apps/{app}/flags/{}/kill", encode(flag)), &json!({})).expect(200)
    }

    /// Makes a token for an app's environment, and hands out its secret text. One for browsers is for any page.
    #[track_caller]
    pub fn create_token(&self, scope: &str, app: &str, environment: &str) -> String {
        let mut wanted = json!({"scope": scope, "app": app, "environment": environment});
        if scope == "sdk-browser" {
            wanted["origins"] = json!(["*"]);
        }
        let made = self.post("/v1/tokens", &wanted).expect(201);
        made["secret"].as_str().expect("a new token shows its secret once").to_owned()
    }
}

/// A key as one segment of a path: all but unreserved characters escaped, slashes too.
#[must_use]
pub fn encode(key: &str) -> String {
    key.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte.into());
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
