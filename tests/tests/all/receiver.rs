//! Whoever a job calls: it hands on the key of each call, and answers as a test says.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_tests::PATIENCE;

/// How long silence counts as silence.
const A_WHILE: Duration = Duration::from_millis(500);

/// What it does with a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Does {
    /// Answers with a status.
    Answers(u16),
    /// Takes the call and says nothing, until whoever called is gone.
    Hangs,
}

/// A receiver on a port of its own.
pub(crate) struct Receiver {
    pub(crate) url: String,
    next: Arc<Mutex<VecDeque<Does>>>,
    keys: Channel<String>,
}

impl Receiver {
    /// One that does this, in order, and takes every call after that.
    pub(crate) fn that(does: &[Does]) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/job", listener.local_addr().expect("an address"));
        let next = Arc::new(Mutex::new(does.iter().copied().collect()));
        let (sender, keys) = channel();
        let script = Arc::clone(&next);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, sender) = (Arc::clone(&script), sender.clone());
                std::thread::spawn(move || serve(stream, &script, &sender));
            }
        });
        Receiver { url, next, keys }
    }

    /// The idempotency key of the next call.
    #[track_caller]
    pub(crate) fn called(&self) -> String {
        self.keys.recv_timeout(PATIENCE).expect("it is called")
    }

    /// Asserts that it was told all that it was to be, and is called no more.
    #[track_caller]
    pub(crate) fn is_left_alone(&self) {
        let left = self.next.lock().expect("no panic").len();
        assert_eq!(left, 0, "it was not called so often");
        if let Ok(key) = self.keys.recv_timeout(A_WHILE) {
            panic!("it is called again: {key}");
        }
    }
}

/// A connection that breaks off tells nobody anything.
fn serve(stream: TcpStream, script: &Mutex<VecDeque<Does>>, sender: &Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut key, mut length, mut line) = (String::new(), 0, String::new());
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
            "idempotency-key" => value.clone_into(&mut key),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    let does = script.lock().ok()?.pop_front().unwrap_or(Does::Answers(200));
    // The test may be over.
    sender.send(key).ok()?;
    let mut stream = reader.into_inner();
    match does {
        Does::Answers(status) => {
            let head = format!("HTTP/1.1 {status} As told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).ok()
        }
        Does::Hangs => stream.read_to_end(&mut Vec::new()).ok().map(drop),
    }
}
