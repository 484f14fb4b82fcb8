//! A receiver of webhooks that behaves as a test says, and hands on what it is told.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::collections::VecDeque;
pub(crate) mod authority;

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use sha2::Sha256;

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a receiver's silence counts as silence.
const A_WHILE: Duration = Duration::from_millis(300);
/// Between two bytes of a receiver that dribbles.
const A_DRIBBLE: Duration = Duration::from_millis(20);
/// Between two looks at what has come.
const A_MOMENT: Duration = Duration::from_millis(5);

/// What a receiver does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Answers with a status.
    Answers(u16),
    /// Sends elsewhere.
    Redirects(String),
    /// Hangs up without an answer.
    Closes,
    /// Says nothing, ever.
    Hangs,
    /// Answers 200 with a body that does not end.
    Babbles,
    /// Begins to answer 200, byte by byte, and comes to no end of it.
    Dribbles,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) signature: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a message is JSON")
    }

    pub(crate) fn revision(&self) -> u64 {
        let (_, revision) = self.id.rsplit_once(':').expect("log and revision");
        revision.parse().expect("a revision")
    }

    pub(crate) fn kind(&self) -> String {
        self.json()["type"].as_str().expect("a type").to_owned()
    }

    /// Whether a secret signed it: the check that receivers make.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).expect("base64");
        self.signature.split(' ').any(|signature| {
            let signature = signature.strip_prefix("v1,").expect("a version");
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
            mac.update(format!("{}.{}.{}", self.id, self.timestamp, self.body).as_bytes());
            mac.verify_slice(&STANDARD.decode(signature).expect("base64")).is_ok()
        })
    }
}

/// A receiver on a port of its own.
pub(crate) struct Receiver {
    pub(crate) url: String,
    script: Arc<Mutex<(VecDeque<Does>, Does)>>,
    messages: Channel<Message>,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) fn start() -> Receiver {
        Receiver::that(Does::Answers(204))
    }

    /// One that does the same with everything.
    pub(crate) fn that(does: Does) -> Receiver {
        Receiver::on("http", does, Some)
    }

    /// One that takes everything, over TLS.
    pub(crate) fn over_tls(config: Arc<ServerConfig>) -> Receiver {
        Receiver::on("https", Does::Answers(204), move |stream| {
            Some(StreamOwned::new(ServerConnection::new(Arc::clone(&config)).ok()?, stream))
        })
    }

    fn on<S: Read + Write + 'static>(
        scheme: &str,
        does: Does,
        wrap: impl Fn(TcpStream) -> Option<S> + Send + Sync + 'static,
    ) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("{scheme}://{}/hook", listener.local_addr().expect("an address"));
        let wrap = Arc::new(wrap);
        let script = Arc::new(Mutex::new((VecDeque::new(), does)));
        let (sender, messages) = channel();
        let its_script = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, sender, wrap) = (Arc::clone(&its_script), sender.clone(), Arc::clone(&wrap));
                std::thread::spawn(move || serve(wrap(stream)?, &script, &sender));
            }
        });
        Receiver { url, script, messages }
    }

    /// Sets what it does next, and what it does after that with everything.
    pub(crate) fn then(&self, next: &[Does], after: Does) {
        *self.script.lock().expect("no panic") = (next.iter().cloned().collect(), after);
    }

    /// The next message; meanwhile `passing` lets time pass.
    #[track_caller]
    pub(crate) fn next_while(&self, mut passing: impl FnMut()) -> Message {
        let begun = Instant::now();
        loop {
            if let Ok(message) = self.messages.recv_timeout(A_MOMENT) {
                return message;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing came");
            passing();
        }
    }

    #[track_caller]
    pub(crate) fn next(&self) -> Message {
        self.next_while(|| {})
    }

    /// Forgets what came, until nothing comes any more.
    pub(crate) fn forgets(&self) {
        while self.messages.recv_timeout(A_WHILE).is_ok() {}
    }

    /// Asserts that nothing comes.
    #[track_caller]
    pub(crate) fn hears_nothing(&self) {
        if let Ok(message) = self.messages.recv_timeout(A_WHILE) {
            panic!("it was told of {message:?}");
        }
    }
}

/// A connection that breaks off tells nobody anything.
fn serve(
    stream: impl Read + Write,
    script: &Mutex<(VecDeque<Does>, Does)>,
    sender: &Sender<Message>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut message = Message {
        id: String::new(),
        timestamp: String::new(),
        signature: String::new(),
        authorization: String::new(),
        body: String::new(),
    };
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "webhook-id" => value.clone_into(&mut message.id),
            "webhook-timestamp" => value.clone_into(&mut message.timestamp),
            "webhook-signature" => value.clone_into(&mut message.signature),
            "authorization" => value.clone_into(&mut message.authorization),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    message.body = String::from_utf8(body).ok()?;
    let does = {
        let mut script = script.lock().ok()?;
        script.0.pop_front().unwrap_or_else(|| script.1.clone())
    };
    // The test may be over.
    sender.send(message).ok()?;
    let mut stream = reader.into_inner();
    let head = |line: String| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    match does {
        Does::Answers(status) => stream.write_all(head(format!("{status} As told")).as_bytes()).ok(),
        Does::Redirects(to) => stream.write_all(head(format!("302 Found\r\nLocation: {to}")).as_bytes()).ok(),
        Does::Closes => None,
        Does::Hangs => stream.read_to_end(&mut Vec::new()).ok().map(|_| ()),
        Does::Babbles => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            while stream.write_all(&[b'x'; 1024]).is_ok() {}
            None
        }
        Does::Dribbles => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nSlow: ").ok()?;
            // Nobody wakes it: it only takes its time.
            while stream.write_all(b"x").is_ok() {
                std::thread::park_timeout(A_DRIBBLE);
            }
            None
        }
    }
}
