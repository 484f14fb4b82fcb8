//! A server in this process, on a log in memory and a port of its own, and a client that sends exactly
//! what a test says.
#![allow(dead_code, reason = "each test file uses the part that it needs")]

pub(crate) mod contract;
mod events;
mod shop;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use rollout_rules::change::Command;
use rollout_rules::governance::{Actor, Caller, Enforcement, Rules, Scope, Token};
use rollout_rules::ids::LogId;
use rollout_rules::time::{DurationMs, UnixMs};
use serde_json::Value;
use tidegate::clock::TestClock;
use tidegate::effects::{WebhookOptions, Webhooks};
use tidegate::evaluator::Evaluator;
use tidegate::exposures::Exposures;
use tidegate::gate::Gate;
use tidegate::http::sdk::Sdk;
use tidegate::http::{self, Handles, Settings};
use tidegate::log::memory::MemoryLog;
use tidegate::secret;
use tidegate::state::{Live, Readiness, Request, State, StateConfig};
use tidegate::telemetry::Telemetry;
use tokio::sync::oneshot;

#[allow(unused_imports, reason = "each test file uses the part that it needs")]
pub(crate) use self::events::{Event, Stream};

/// When the clock of a test begins.
pub(crate) const START: UnixMs = UnixMs(1_800_000_000_000);
/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the receivers of webhooks have.
const RECEIVERS_TIME: Duration = Duration::from_secs(2);

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// The JSON, if the status is this one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Asserts that it is a problem of this status and code, in the right form.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("/problems/{code}"));
        assert!(!body["detail"].as_str().unwrap_or("").is_empty(), "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        body
    }
}

/// A running server.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) admin: String,
    pub(crate) clock: TestClock,
    pub(crate) log: MemoryLog,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<(JoinHandle<()>, Receiver<()>)>,
}

/// Rules of a server whose gate binds nobody: for tests of everything else.
pub(crate) fn ungated() -> Rules {
    Rules { gate: Enforcement::Report, ..Rules::default() }
}

impl Served {
    pub(crate) fn start() -> Served {
        Served::with(Settings { workers: 1, ..Settings::default() }, ungated())
    }

    pub(crate) fn with(settings: Settings, rules: Rules) -> Served {
        Served::on(MemoryLog::new(LogId::new("test-log").expect("a name")), settings, rules)
    }

    /// Counting what flags answer where the test says.
    pub(crate) fn counting(log: MemoryLog, exposures: Exposures) -> Served {
        let settings = Settings { workers: 1, ..Settings::default() };
        Served::put_together(log, settings, ungated(), |handles| handles.exposures = exposures)
    }

    /// Keeping what its evaluator knows, and evidence, in a folder.
    pub(crate) fn watching(folder: &std::path::Path) -> Served {
        let log = MemoryLog::new(LogId::new("test-log").expect("a name"));
        let settings = Settings { workers: 1, ..Settings::default() };
        let evaluator = Evaluator::open(folder).expect("a folder");
        Served::put_together(log, settings, ungated(), |handles| handles.evaluator = evaluator)
    }

    /// Handing out this browser SDK.
    pub(crate) fn handing_out(sdk: Sdk) -> Served {
        let log = MemoryLog::new(LogId::new("test-log").expect("a name"));
        let settings = Settings { workers: 1, ..Settings::default() };
        Served::put_together(log, settings, ungated(), |handles| handles.sdk = Arc::new(sdk))
    }

    /// With this gate; sends out what it publishes.
    pub(crate) fn judging(gate: Gate) -> (Served, Arc<Live>) {
        let log = MemoryLog::new(LogId::new("test-log").expect("a name"));
        let settings = Settings { workers: 1, ..Settings::default() };
        let (published, live) = std::sync::mpsc::channel();
        let served = Served::put_together(log, settings, ungated(), move |handles| {
            handles.gate = Some(gate);
            published.send(Arc::clone(&handles.live)).expect("the test waits");
        });
        (served, live.recv().expect("the server started"))
    }

    /// On a log that may hold something; without an admin if the node does not become ready.
    pub(crate) fn on(log: MemoryLog, settings: Settings, rules: Rules) -> Served {
        Served::put_together(log, settings, rules, |_| ())
    }

    /// With a clock that begins at some other moment.
    pub(crate) fn from(start: UnixMs, rules: Rules) -> Served {
        let log = MemoryLog::new(LogId::new("test-log").expect("a name"));
        Served::beginning(start, log, Settings { workers: 1, ..Settings::default() }, rules, |_| ())
    }

    fn put_together(
        log: MemoryLog,
        settings: Settings,
        rules: Rules,
        change: impl FnOnce(&mut Handles) + Send + 'static,
    ) -> Served {
        Served::beginning(START, log, settings, rules, change)
    }

    fn beginning(
        start: UnixMs,
        log: MemoryLog,
        settings: Settings,
        rules: Rules,
        change: impl FnOnce(&mut Handles) + Send + 'static,
    ) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let clock = TestClock::at(start);
        let (stop, stopping) = oneshot::channel::<()>();
        let (ready, started) = std::sync::mpsc::channel();
        let (ended, end) = std::sync::mpsc::channel();
        let (its_clock, its_log) = (clock.clock(), log.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let config = StateConfig { rules: rules.clone(), kill_journal: None, rollouts_wait: true };
                let state = State::start(config, Arc::new(its_log), its_clock.clone()).expect("starts");
                let admin = match state.live.settled().await {
                    Readiness::Ready => first_token(&state).await,
                    _ => String::new(),
                };
                let telemetry = Telemetry::install().expect("metrics");
                let outbox = tempfile::tempdir().expect("a directory");
                let options = WebhookOptions {
                    directory: outbox.path().to_owned(),
                    allow_private: true,
                    deliver: true,
                    request_timeout: RECEIVERS_TIME,
                    node_id: rollout_rules::ids::NodeId::new("node-1").expect("a name"),
                    mail: None,
                };
                let webhooks = Webhooks::start(&options, &state, its_clock.clone()).expect("starts");
                let mut handles = Handles::of(&state, its_clock, rules, telemetry, webhooks);
                change(&mut handles);
                ready.send(admin).expect("the test waits");
                let shutdown = async {
                    let _ = stopping.await;
                };
                http::run(listener, settings, handles, shutdown).await.expect("serves");
                state.stop().await;
            });
            // The test may be gone.
            let _ = ended.send(());
        });
        let admin = started.recv().expect("the server starts");
        Served { address, admin, clock, log, stop: Some(stop), thread: Some((thread, end)) }
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some((thread, end)) = self.thread.take() {
            // What it waits for at its end is measured by the clock of the test.
            while let Err(RecvTimeoutError::Timeout) = end.recv_timeout(Duration::from_millis(5)) {
                self.clock.advance(DurationMs(100));
            }
            let outcome = thread.join();
            if !std::thread::panicking() {
                outcome.expect("the server ends well");
            }
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends bytes as they are and reads one answer.
    pub(crate) fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request).expect("sent");
        next_reply(&mut BufReader::new(stream))
    }

    /// Sends bytes as they are, and reads the head and the body of one answer, whatever that is.
    pub(crate) fn raw_bytes(&self, request: &[u8]) -> (Vec<(String, String)>, Vec<u8>) {
        let mut stream = self.connect();
        stream.write_all(request).expect("sent");
        let mut reader = BufReader::new(stream);
        let (_, headers) = read_head(&mut reader);
        let mut body = Vec::new();
        reader.read_to_end(&mut body).expect("the body");
        (headers, body)
    }

    /// Sends a request with these headers; an empty body sends none.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        let reply = self.raw(request.as_bytes());
        contract::hold(method, path, &reply);
        reply
    }

    /// The same as [`Served::call`] without waiting for the end of a stream: of one, only the head is read. An empty
    /// token sends none.
    pub(crate) fn knock(
        &self,
        token: &str,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: &Value,
    ) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !token.is_empty() {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        extra.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        request.push_str("Content-Type: application/json\r\n");
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        let mut reply = Reply { status, headers, text: String::new() };
        if reply.header("content-type") == "text/event-stream" || method == "HEAD" {
            return reply;
        }
        let length = reply.header("content-length").parse().unwrap_or(0);
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).expect("the body");
        reply.text = String::from_utf8(bytes).expect("text");
        contract::hold(method, path, &reply);
        reply
    }

    /// Sends JSON with a token; null sends no body.
    pub(crate) fn call(
        &self,
        token: &str,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: &Value,
    ) -> Reply {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend_from_slice(extra);
        if body.is_null() {
            return self.send(method, path, &headers, "");
        }
        headers.push(("Content-Type", "application/json"));
        self.send(method, path, &headers, &body.to_string())
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.call(&self.admin, "GET", path, &[], &Value::Null)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(&self.admin, "POST", path, &[], body)
    }

    pub(crate) fn patch(&self, path: &str, revision: &str, body: &Value) -> Reply {
        let extra = [("If-Match", revision)];
        self.call(&self.admin, "PATCH", path, if revision.is_empty() { &[] } else { &extra }, body)
    }

    /// Opens an event stream.
    #[track_caller]
    pub(crate) fn stream(&self, token: &str, path: &str, extra: &[(&str, &str)]) -> Stream {
        Served::begun(self.ask_for_stream(token, path, extra))
    }

    /// Asks for an event stream, of which nothing is read.
    pub(crate) fn ask_for_stream(&self, token: &str, path: &str, extra: &[(&str, &str)]) -> TcpStream {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !token.is_empty() {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for (name, value) in extra {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    }

    /// The event stream that was asked for.
    #[track_caller]
    pub(crate) fn begun(stream: TcpStream) -> Stream {
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        assert_eq!(status, 200, "{headers:?}");
        Stream::of(reader)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
    }
}

async fn first_token(state: &State) -> String {
    let minted = secret::mint(Scope::Admin);
    let actor = Actor::Human { name: "ada".to_owned() };
    let token = Token {
        id: minted.id,
        hash: minted.hash,
        scope: Scope::Admin,
        app: None,
        environment: None,
        actor,
        created_at: START,
        expires_at: None,
        revoked_at: None,
        origins: Vec::new(),
        outcomes: None,
    };
    let request = Request {
        caller: Caller {
            actor: Actor::Tidegate,
            scope: Scope::Admin,
            app: None,
            environment: None,
            token: None,
        },
        command: Command::CreateToken { token },
        seen: None,
        reason: String::new(),
        idempotency_key: None,
        plan: None,
    };
    state.commands.submit(request).await.expect("the first token");
    minted.text
}

fn read_head(reader: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => return (status, headers),
        }
    }
}

/// The next answer of a connection, which stays open if the answer says how long it is.
pub(crate) fn next_reply(reader: &mut BufReader<TcpStream>) -> Reply {
    let (status, headers) = read_head(reader);
    let mut reply = Reply { status, headers, text: String::new() };
    match reply.header("content-length").parse() {
        Ok(length) => {
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes).expect("the body");
            reply.text = String::from_utf8(bytes).expect("text");
        }
        Err(_) => {
            let mut bytes = Vec::new();
            // A connection that the server resets after its answer has said all it had to say.
            let _ = reader.read_to_end(&mut bytes);
            reply.text = String::from_utf8(bytes).expect("text");
        }
    }
    reply
}
