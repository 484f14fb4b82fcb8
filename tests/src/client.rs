//! The real clients that nobody here wrote, each in a process of its own that speaks lines of JSON.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::prerequisites::repository;
use crate::{PATIENCE, Server};

/// What to ask a client for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The flag.
    pub key: &'a str,
    /// `boolean`, `string`, `integer`, `float` or `object`.
    pub kind: &'a str,
}

/// What to ask a client for: a flag, as this type.
#[must_use]
pub fn ask<'a>(key: &'a str, kind: &'a str) -> Question<'a> {
    Question { key, kind }
}

/// A client at work. Ended when dropped.
pub struct Client {
    process: Child,
    questions: Option<ChildStdin>,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Client {
    /// The OpenFeature SDK for Python with the OFREP provider.
    #[must_use]
    pub fn python(server: &Server, token: &str) -> Client {
        let mut command = Command::new(repository().join("target/clients/python/bin/python"));
        command.arg(script("python/client.py"));
        Client::start(command, server, token)
    }

    /// The OpenFeature server SDK for Node with the OFREP provider.
    #[must_use]
    pub fn node(server: &Server, token: &str) -> Client {
        let mut command = Command::new("node");
        command.arg(script("node/client.mjs"));
        Client::start(command, server, token)
    }

    /// The OpenFeature SDK for Rust with the OFREP provider.
    #[must_use]
    pub fn rust(server: &Server, token: &str) -> Client {
        let command = Command::new(repository().join("target/clients/rust/debug/tidegate-client-rust"));
        Client::start(command, server, token)
    }

    /// The OpenFeature web SDK with the OFREP web provider, listening to the event stream.
    #[must_use]
    pub fn web(server: &Server, token: &str, context: &Value) -> Client {
        let mut command = Command::new("node");
        command.arg(script("web/client.mjs")).env("CONTEXT", context.to_string());
        Client::launch(command, server, token)
    }

    /// The same, asking again every `poll_ms` instead.
    #[must_use]
    pub fn polling_web(server: &Server, token: &str, context: &Value, poll_ms: u32) -> Client {
        let mut command = Command::new("node");
        command.arg(script("web/client.mjs")).env("CONTEXT", context.to_string());
        command.env("POLL_MS", poll_ms.to_string());
        Client::launch(command, server, token)
    }

    fn start(command: Command, server: &Server, token: &str) -> Client {
        let mut client = Client::launch(command, server, token);
        client.event("ready");
        client
    }

    fn launch(mut command: Command, server: &Server, token: &str) -> Client {
        command.env("BASE_URL", server.url()).env("TOKEN", token);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("the client runs: make clients builds it");
        let (sender, lines) = channel();
        let output = BufReader::new(process.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let said = serde_json::from_str(&line).unwrap_or(json!({ "unreadable": line }));
                // The test may be over.
                let _ = sender.send(said);
            }
        });
        let questions = process.stdin.take();
        Client { process, questions, lines, seen: Vec::new() }
    }

    /// Evaluates a flag for a context, and hands back the client's details.
    ///
    /// # Panics
    /// When the client does not answer in time.
    #[track_caller]
    pub fn evaluate(&mut self, question: Question<'_>, context: &Value) -> Value {
        self.tell(&json!({"key": question.key, "type": question.kind, "context": context}));
        self.next("an answer", |line| line.get("value").is_some())
    }

    /// Evaluates a flag from what the web provider holds.
    ///
    /// # Panics
    /// When the client does not answer in time.
    #[track_caller]
    pub fn held(&mut self, question: Question<'_>) -> Value {
        self.tell(&json!({"key": question.key, "type": question.kind}));
        self.next("an answer", |line| line.get("value").is_some())
    }

    /// Changes the web provider's context, and waits until it has fetched anew.
    ///
    /// # Panics
    /// When that does not happen in time.
    #[track_caller]
    pub fn set_context(&mut self, context: &Value) {
        self.tell(&json!({ "context": context }));
        self.event("context set");
    }

    /// The next event of that name, of those not handed out yet; later ones stay for later.
    ///
    /// # Panics
    /// When none comes in time.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        self.next(name, |line| line["event"] == name)
    }

    /// The next bulk request that was answered with this status.
    ///
    /// # Panics
    /// When none is in time.
    #[track_caller]
    pub fn fetched(&mut self, status: u16) -> Value {
        self.next("a request", |line| line["event"] == "fetched" && line["status"] == status)
    }

    #[track_caller]
    fn next(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.seen.iter().position(&wanted) {
            return self.seen.remove(at);
        }
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no {what} from the client; it said besides: {:#?}", self.seen);
            };
            if wanted(&line) {
                return line;
            }
            self.seen.push(line);
        }
    }

    fn tell(&mut self, line: &Value) {
        let questions = self.questions.as_mut().expect("open until the drop");
        writeln!(questions, "{line}").expect("the client reads");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn script(path: &str) -> PathBuf {
    repository().join("tests/clients").join(path)
}
