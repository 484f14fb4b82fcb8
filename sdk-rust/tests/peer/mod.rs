//! A server made of a socket: the test says what it answers, so that it can do what a good server never
//! does.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses its part")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rollout_rules::feed::Frame;
use serde_json::{Value, json};
use tidegate_sdk::{Builder, Client, Status};

/// How long a test waits for what has to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A peer on a port of its own.
pub struct Peer {
    pub url: String,
    feeds: Receiver<Feed>,
    /// Each with the number of the connection on which it came.
    acks: Receiver<(usize, Value)>,
    /// What was told of how often flags gave which answer.
    exposures: Receiver<Value>,
    /// What was told of what became of requests.
    outcomes: Receiver<Value>,
    /// What acknowledgements are answered with, first things first; 204 after them.
    ack_answers: Arc<Mutex<VecDeque<String>>>,
    /// The same for batches of counts; 200 after them.
    exposure_answers: Arc<Mutex<VecDeque<String>>>,
    /// The same for batches of outcomes.
    outcome_answers: Arc<Mutex<VecDeque<String>>>,
}

/// A client that asked for the feed.
pub struct Feed {
    /// The request line and the headers, in lower case.
    pub head: String,
    socket: TcpStream,
}

impl Peer {
    pub fn start() -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (to_feeds, feeds) = channel();
        let (to_acks, acks) = channel();
        let (to_exposures, exposures) = channel();
        let (to_outcomes, outcomes) = channel();
        let ack_answers = Arc::<Mutex<VecDeque<String>>>::default();
        let exposure_answers = Arc::<Mutex<VecDeque<String>>>::default();
        let outcome_answers = Arc::<Mutex<VecDeque<String>>>::default();
        let answers = [&ack_answers, &exposure_answers, &outcome_answers].map(Arc::clone);
        thread::spawn(move || {
            for (number, socket) in listener.incoming().map_while(Result::ok).enumerate() {
                let (feeds, acks, answers) = (to_feeds.clone(), to_acks.clone(), answers.clone());
                let acks = move |ack| drop(acks.send((number, ack)));
                let exposures = to_exposures.clone();
                let exposures = move |told| drop(exposures.send(told));
                let outcomes = to_outcomes.clone();
                let outcomes = move |told| drop(outcomes.send(told));
                thread::spawn(move || serve(socket, &feeds, &[&acks, &exposures, &outcomes], &answers));
            }
        });
        Peer { url, feeds, acks, exposures, outcomes, ack_answers, exposure_answers, outcome_answers }
    }

    /// An address at which nobody answers.
    pub fn nowhere() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    pub fn builder(&self) -> Builder {
        Client::builder(&self.url, "tg_key")
    }

    /// The next client that asks for the feed.
    pub fn next_feed(&self) -> Feed {
        self.feeds.recv_timeout(PATIENCE).expect("a client asks for the feed")
    }

    /// Answers the next acknowledgement in another way: a status, and headers that end in a line break.
    pub fn answer_ack(&self, status: &str, headers: &str) {
        let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n");
        self.ack_answers.lock().unwrap().push_back(answer);
    }

    /// Answers the next batch of counts in another way; without a status, by closing the connection.
    pub fn answer_exposures(&self, status: &str, headers: &str) {
        let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n");
        let answer = if status.is_empty() { String::new() } else { answer };
        self.exposure_answers.lock().unwrap().push_back(answer);
    }

    /// The next batch of counts.
    pub fn next_exposures(&self) -> Value {
        self.exposures.recv_timeout(PATIENCE).expect("a client tells what it counted")
    }

    /// Answers the next batch of outcomes in another way: a status, headers that end in a line break, and a body.
    pub fn answer_outcomes(&self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
        self.outcome_answers.lock().unwrap().push_back(answer);
    }

    /// The next batch of outcomes.
    pub fn next_outcomes(&self) -> Value {
        self.outcomes.recv_timeout(PATIENCE).expect("a client tells what became of requests")
    }

    /// Whether there is no batch of outcomes that nobody looked at.
    pub fn has_no_outcomes(&self) -> bool {
        self.outcomes.try_recv().is_err()
    }

    /// Whether there is no batch of counts that nobody looked at.
    pub fn has_no_exposures(&self) -> bool {
        self.exposures.try_recv().is_err()
    }

    /// The next acknowledgement.
    pub fn next_ack(&self) -> Value {
        self.next_numbered_ack().1
    }

    /// The number of the connection on which the next acknowledgement comes, and the acknowledgement.
    pub fn next_numbered_ack(&self) -> (usize, Value) {
        self.acks.recv_timeout(PATIENCE).expect("a client acknowledges")
    }
}

/// What is posted goes to the first of `hear` if it is an acknowledgement, to the second if it is a batch of counts, to the
/// third if it is one of outcomes.
fn serve(
    socket: TcpStream,
    feeds: &Sender<Feed>,
    hear: &[&dyn Fn(Value); 3],
    answers: &[Arc<Mutex<VecDeque<String>>>; 3],
) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_lowercase();
        if head.starts_with("get ") {
            let _ = feeds.send(Feed { head, socket });
            return;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let mut body = vec![0; length.map_or(0, |text| text.trim().parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        // Chosen before the test hears of it: what the test says then is for the next one.
        let which =
            ["post /v1/exposures ", "post /v1/outcomes "].iter().position(|path| head.starts_with(path));
        let which = which.map_or(0, |which| which + 1);
        let answer = answers[which].lock().unwrap().pop_front();
        hear[which](serde_json::from_slice(&body).unwrap());
        let answer = answer.unwrap_or_else(|| "HTTP/1.1 204 No Content\r\n\r\n".to_owned());
        if answer.is_empty() {
            return;
        }
        (&socket).write_all(answer.as_bytes()).unwrap();
    }
}

impl Feed {
    /// Answers with a stream.
    pub fn open(mut self) -> Feed {
        self.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        self
    }

    /// Answers with a stream that begins with a snapshot.
    pub fn open_with(self, frame: &Frame) -> Feed {
        let mut feed = self.open();
        feed.send(frame);
        feed
    }

    /// Answers with something else, and closes.
    pub fn refuse(mut self, status: &str, headers: &str) {
        self.raw(format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n").as_bytes());
    }

    pub fn send(&mut self, frame: &Frame) {
        self.chunk(&frame.encode_event().unwrap());
    }

    pub fn chunk(&mut self, bytes: &[u8]) {
        self.raw(format!("{:x}\r\n", bytes.len()).as_bytes());
        self.raw(bytes);
        self.raw(b"\r\n");
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Ends the stream as a server does that shuts down.
    pub fn end(mut self) {
        self.raw(b"0\r\n\r\n");
    }

    /// Breaks the connection.
    pub fn cut(self) {
        self.socket.shutdown(Shutdown::Both).unwrap();
    }

    /// Waits until the client has closed the connection.
    pub fn wait_for_close(mut self) {
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        match self.socket.read(&mut [0]) {
            Ok(0) => {}
            // It closed before it had read everything.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("the client closes: {other:?}"),
        }
    }
}

/// A frame from its JSON.
pub fn frame(revision: u64, body: &Value) -> Frame {
    let json = json!({"v": 1, "log": "l", "revision": revision, "body": body});
    Frame::decode(json.to_string().as_bytes()).unwrap()
}

/// A flag that is on for everyone, until 2100.
pub fn flag(key: &str, kind: &str, on: &Value, off: &Value) -> Value {
    json!({"key": key, "type": kind, "variants": [{"key": "on", "value": on}, {"key": "off", "value": off}],
        "off_variant": "off", "targeting": {"on": true, "exposure": 100, "serve": {"variant": "on"}},
        "expires_at": "2100-01-01T00:00:00Z", "targeting_revision": 2, "revision": 3})
}

/// One flag of each type.
pub fn shop(revision: u64) -> Frame {
    let mut split = flag("split", "boolean", &json!(true), &json!(false));
    split["targeting"]["exposure"] = json!(50);
    let mut staff = flag("staff", "string", &json!("yes"), &json!("no"));
    staff["targeting"]["rules"] =
        json!([{"id": "is-staff", "when": {"segment": "staff"}, "serve": {"variant": "on"}}]);
    staff["targeting"]["exposure"] = json!(0);
    frame(
        revision,
        &json!({"snapshot": {"app": "shop", "environment": "production",
            "segments": [{"segment": "staff", "members": ["ann"]}],
            "flags": [
                flag("checkout", "boolean", &json!(true), &json!(false)),
                flag("colour", "string", &json!("blue"), &json!("grey")),
                flag("limit", "number", &json!(2.5), &json!(0)),
                flag("layout", "object", &json!({"columns": 3, "gap": null, "tags": ["a", 1.5]}), &json!({})),
                split, staff]}}),
    )
}

/// The kill of one flag.
pub fn kill(flag: &str, follows: u64, revision: u64) -> Frame {
    frame(
        revision,
        &json!({"change": {"follows": follows, "kill_id": format!("kill-{revision}"), "ops": [{"flag_kills":
            {"flag": flag, "killed": {"id": format!("kill-{revision}"), "at": 5}, "revision": revision}}]}}),
    )
}

/// A client that is live, and its feed.
pub fn live(peer: &Peer) -> (Client, Feed) {
    let client = peer.builder().start().unwrap();
    let feed = peer.next_feed().open_with(&shop(5));
    assert!(client.wait_ready(PATIENCE).unwrap().is_live());
    (client, feed)
}

/// Tells when something changed.
pub fn changes(client: &Client) -> Receiver<u64> {
    let (sender, receiver) = channel();
    client.on_change(move |change| {
        let _ = sender.send(change.revision.0);
    });
    receiver
}

/// Waits for a change that leads to a revision.
pub fn until(changes: &Receiver<u64>, revision: u64) {
    while changes.recv_timeout(PATIENCE).expect("a change comes") < revision {}
}

/// The client says that it is cut off, and what in its status says so.
pub fn is_cut_off(status: &Status) -> bool {
    status.problem().is_some()
}
