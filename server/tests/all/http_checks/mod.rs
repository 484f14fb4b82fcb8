//! Checks have two ways through the server: plain ones are answered in front of the app, everything else by it. Nobody may
//! be able to tell by the answers which way they went.

mod alike;
mod laws;
mod on_the_wire;

use rollout_rules::ids::LogId;
use tidegate::http::Settings;
use tidegate::log::memory::MemoryLog;

use crate::served::{Reply, Served, ungated};

/// The letters of requests' ids, lowest first.
const LETTERS: &str = "abcdefghjkmnpqrstuvwxyz023456789";
const ALL: &str = "/ofrep/v1/evaluate/flags";
const ADA: &str = r#"{"context":{"targetingKey":"ada"}}"#;

/// A shop with a flag `f` that is on, and its token for SDKs.
fn shop(settings: Settings) -> (Served, String) {
    shop_on(new_log(), settings)
}

/// The log of one, whose server has ended; and its token.
fn log_of_a_shop() -> (MemoryLog, String) {
    let log = new_log();
    let (served, token) = shop_on(log.clone(), Settings::default());
    served.stop();
    (log, token)
}

fn new_log() -> MemoryLog {
    MemoryLog::new(LogId::new("test-log").expect("a name"))
}

fn shop_on(log: MemoryLog, settings: Settings) -> (Served, String) {
    let served = Served::on(log, Settings { workers: 1, ..settings }, ungated());
    served.shop();
    served.flag_on("f");
    let token = served.token("sdk-server");
    (served, token)
}

/// A request, as a client sends it.
#[derive(Clone, Debug)]
struct Sent {
    method: &'static str,
    path: String,
    host: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Sent {
    /// A plain check of one flag, or of all.
    fn check(token: &str, key: Option<&str>, body: impl Into<Vec<u8>>) -> Sent {
        let path = key.map_or_else(|| ALL.to_owned(), |key| format!("{ALL}/{key}"));
        let headers =
            [("Authorization", format!("Bearer {token}")), ("Content-Type", "application/json".into())];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Sent { method: "POST", path, host: "flags.example", headers, body: body.into() }
    }

    fn with(mut self, name: &str, value: &str) -> Sent {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Sent {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// The bytes of it; of HTTP/1.1, and the last on its connection.
    fn bytes(&self) -> Vec<u8> {
        let Sent { method, path, host, .. } = self;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n", self.body.len()));
        [text.into_bytes(), self.body.clone()].concat()
    }
}

/// What the number is that a request's id writes.
fn number_of(reply: &Reply) -> u64 {
    let id = reply.header("x-request-id");
    assert_eq!(id.len(), 12, "{id}");
    id.chars()
        .rev()
        .fold(0, |number, letter| number << 5 | LETTERS.find(letter).expect("a letter of an id") as u64)
}

/// Whether the second of two answers in a row came from in front of the app: ids there follow each other, others are
/// drawn.
fn follow_each_other(one: &Reply, next: &Reply) -> bool {
    number_of(next) == (number_of(one) + 1) & ((1 << 60) - 1)
}

/// An answer without what differs from one to the next.
fn lasting(reply: &Reply) -> (u16, Vec<(String, String)>, &str) {
    let differs = |name: &str| ["date", "x-request-id"].contains(&name);
    let mut headers: Vec<_> = reply.headers.iter().filter(|(name, _)| !differs(name)).cloned().collect();
    headers.sort();
    (reply.status, headers, &reply.text)
}

/// The answer to a request, which is the same both ways, and whether it came from in front of the app.
#[track_caller]
fn both_ways(served: &Served, sent: &Sent) -> (Reply, bool) {
    let (first, again) = (served.raw(&sent.bytes()), served.raw(&sent.bytes()));
    let by_app = served.raw(&sent.clone().with("X-Request-ID", "by-app").bytes());
    assert_eq!(by_app.header("x-request-id"), "by-app");
    assert_eq!(lasting(&first), lasting(&by_app), "{sent:?}");
    assert_eq!(lasting(&first), lasting(&again), "{sent:?}");
    let in_front = follow_each_other(&first, &again);
    (first, in_front)
}
