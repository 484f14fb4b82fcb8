//! Stands for the pipeline that a guardrail calls: it takes one request after another, and remembers their keys.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::super::failure::Failure;

/// How long a caller may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;

pub(super) struct Pipeline {
    url: String,
    calls: Receiver<String>,
}

impl Pipeline {
    pub(super) fn start() -> Result<Pipeline, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/rollback", listener.local_addr()?);
        let (sender, calls) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if let Some(key) = take(stream)
                    && sender.send(key).is_err()
                {
                    return;
                }
            }
        });
        Ok(Pipeline { url, calls })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The key of the next call.
    pub(super) fn called(&self, within: Duration) -> Option<String> {
        self.calls.recv_timeout(within).ok()
    }
}

/// Answers a request, and gives its key.
fn take(stream: TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    let (mut key, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "webhook-id" => key = Some(value.to_owned()),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length.min(MAX_BODY)]).ok()?;
    reader.into_inner().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").ok()?;
    key
}
