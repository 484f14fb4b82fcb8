//! The gate over HTTP: what is sent to it, what it says, and what becomes of that.

mod asking;
mod audits;
mod binding;
mod kept;
mod pipelines;
mod retention;
mod rules;

use std::path::Path;

use rollout_rules::governance::Rules;
use rollout_rules::ids::Digest;
use serde_json::{Value, json};

use crate::served::{Reply, Served, Stream, contract};

pub(crate) const LIVE: &str = "/v1/apps/shop/environments/live/gate";
pub(crate) const TRIAL: &str = "/v1/apps/shop/environments/trial/gate";
const BOUNDARY: &str = "----a-boundary-that-no-evidence-holds";

/// A part of a form.
pub(crate) struct Part<'p> {
    name: &'p str,
    file: Option<&'p str>,
    bytes: Vec<u8>,
}

impl<'p> Part<'p> {
    /// What is asked.
    pub(crate) fn request(text: &str) -> Part<'p> {
        Part { name: "request", file: None, bytes: text.as_bytes().to_vec() }
    }

    fn evidence(file: &'p str, bytes: impl Into<Vec<u8>>) -> Part<'p> {
        Part { name: "evidence", file: Some(file), bytes: bytes.into() }
    }
}

fn body(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for Part { name, file, bytes } in parts {
        let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    body
}

/// Sends bytes as a form with a token; an empty token sends none.
fn send_bytes(served: &Served, token: &str, path: &str, media: &str, body: &[u8]) -> Reply {
    let who = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n{who}Content-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let reply = served.raw(&[head.as_bytes(), body].concat());
    contract::hold("POST", path, &reply);
    reply
}

/// Sends a form.
pub(crate) fn send(served: &Served, token: &str, path: &str, parts: &[Part<'_>]) -> Reply {
    send_bytes(served, token, path, &format!("multipart/form-data; boundary={BOUNDARY}"), &body(parts))
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/gate").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{error}: {}", path.display()))
}

fn artifact(nth: u8) -> String {
    format!("sha256:{nth:064x}")
}

/// Evidence that any tier would look at.
const SET: [&str; 8] = [
    "junit.xml",
    "coverage.cobertura.xml",
    "detect-secrets.json",
    "semgrep.sarif",
    "checkov.json",
    "tfplan.json",
    "sbom.cdx1.6.json",
    "grype.json",
];

/// The request for an artifact, with further members.
fn wanted(nth: u8, more: &Value) -> String {
    let mut asked = json!({ "artifact": artifact(nth) });
    more.as_object().into_iter().flatten().for_each(|(name, value)| asked[name] = value.clone());
    asked.to_string()
}

/// The parts of a request with one of the sets.
fn set(kind: &str, request: &str) -> Vec<Part<'static>> {
    let files = SET.iter().map(|name| Part::evidence(name, fixture(&format!("{kind}/evidence/{name}"))));
    std::iter::once(Part::request(request)).chain(files).collect()
}

/// What the tool that runs in the app's folder says of it.
fn of_the_folder() -> [Part<'static>; 2] {
    let file = |path: &str, test: &str| json!({ "path": path, "functions": 2, "tests": [test] });
    let files = [file("src/app.py", "test_health"), file("src/discount.py", "test_happy_path")];
    let presence = json!({ "format": "tidegate.test-presence/1", "files": files });
    let inventory = json!({
        "format": "tidegate.inventory/1", "files": 9, "sources": 2, "infrastructure": ["infra/main.tf"],
        "manifests": ["requirements.txt"],
    });
    [
        Part::evidence("presence.json", presence.to_string()),
        Part::evidence("inventory.json", inventory.to_string()),
    ]
}

/// Asks with the clean set, and with what the tool says.
fn passing(served: &Served, nth: u8) -> Value {
    let mut parts = set("clean", &wanted(nth, &Value::Null));
    parts.extend(of_the_folder());
    let answer = send(served, &served.admin, LIVE, &parts).expect(200);
    assert_ne!(answer["decision"]["verdict"], "deny", "{}", denied(&answer));
    answer
}

/// The checks that deny, and what they found.
fn denied(answer: &Value) -> String {
    let checks = answer["judgement"]["checks"].as_array().expect("checks").iter();
    let denied = checks.filter(|check| check["level"] == "deny");
    denied.map(|check| format!("{}: {}; ", check["name"], check["found"])).collect()
}

/// The names of the checks that deny.
fn denied_checks(answer: &Value) -> Vec<String> {
    let checks = answer["decision"]["checks"].as_array().expect("checks").iter();
    let denied = checks.filter(|check| check["level"] == "deny");
    denied.map(|check| check["name"].as_str().expect("a name").to_owned()).collect()
}

fn deployed(served: &Served, nth: u8) {
    let path = "/v1/apps/shop/environments/live/releases";
    served.post(path, &json!({ "artifact": artifact(nth) })).expect(200);
}

/// A server whose gate binds, with a shop.
fn gated() -> Served {
    let served = Served::with(
        tidegate::http::Settings { workers: 1, ..tidegate::http::Settings::default() },
        Rules::default(),
    );
    served.shop();
    served
}

/// A shop on a server whose gate only reports.
fn open_shop() -> Served {
    let served = Served::start();
    served.shop();
    served
}

/// A token of a person.
fn person(served: &Served, name: &str, scope: &str) -> String {
    let wanted = json!({ "scope": scope, "actor": { "type": "human", "name": name } });
    served.post("/v1/tokens", &wanted).expect(201)["secret"].as_str().expect("a secret").to_owned()
}

/// The log from here on.
fn log(served: &Served) -> Stream {
    let head = served.get("/v1/server").expect(200)["revision"].clone();
    served.stream(&served.admin, &format!("/v1/log/stream?after={head}"), &[])
}

/// Waits for an entry of this kind.
#[track_caller]
fn entry(stream: &mut Stream, kind: &str) -> Value {
    loop {
        let event = stream.event().json();
        if event["change"]["kind"] == kind {
            return event["change"].clone();
        }
    }
}

/// Puts a policy with these changes in place of the one in effect.
fn set_policy(served: &Served, change: impl FnOnce(&mut Value)) -> Reply {
    let seen = served.get("/v1/gate/policy");
    let mut policy = seen.expect(200)["policy"].clone();
    change(&mut policy);
    let extra = [("If-Match", seen.header("etag"))];
    let body = json!({ "policy": policy, "reason": "as a test asks" });
    served.call(&served.admin, "PUT", "/v1/gate/policy", &extra, &body)
}

fn digest_of(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}
