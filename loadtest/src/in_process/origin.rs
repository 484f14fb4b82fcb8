//! A server for one client of the SDK: it says a snapshot, and is silent from then on. What the client tells it, it adds up.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

/// Largest body that is read, in bytes; a batch of counts of a hundred flags is a tenth of it.
const MAX_BODY_BYTES: usize = 256 * 1024;
/// Where clients say what they serve.
const ACK: &str = "POST /v1/feed/ack ";
/// Where they say what they counted.
const EXPOSURES: &str = "POST /v1/exposures ";

/// The server, in threads of its own that sleep while nothing comes; when dropped it takes no more connections, and each of
/// those that are open ends with its client.
pub(super) struct Origin {
    address: SocketAddr,
    told: Arc<Told>,
    /// What takes connections.
    door: Option<JoinHandle<()>>,
}

/// What it was told.
#[derive(Default)]
struct Told {
    /// Nobody is to come any more.
    is_over: AtomicBool,
    /// Answers of flags.
    counted: AtomicU64,
    is_acked: Mutex<bool>,
    acked: Condvar,
}

impl Origin {
    /// Starts it; it says this event to whoever asks for the feed.
    pub(super) fn start(event: Vec<u8>) -> io::Result<Origin> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let told = Arc::new(Told::default());
        let (event, hears) = (Arc::new(event), Arc::clone(&told));
        let door = std::thread::spawn(move || {
            let is_over = || hears.is_over.load(Relaxed);
            for socket in listener.incoming().map_while(Result::ok).take_while(|_| !is_over()) {
                let (event, hears) = (Arc::clone(&event), Arc::clone(&hears));
                // A connection that breaks is the client's to make anew.
                std::thread::spawn(move || drop(serve(&socket, &event, &hears)));
            }
        });
        Ok(Origin { address, told, door: Some(door) })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until a client has said that it serves the snapshot; whether it has within so long.
    pub(super) fn is_acked_within(&self, patience: Duration) -> bool {
        let is_acked = self.told.is_acked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.acked.wait_timeout_while(is_acked, patience, |is_acked| !*is_acked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// How many answers clients have told.
    pub(super) fn counted(&self) -> u64 {
        self.told.counted.load(Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.told.is_over.store(true, Relaxed);
        // It waits for somebody to come.
        if let (Ok(_), Some(door)) = (TcpStream::connect(self.address), self.door.take()) {
            // It does nothing that could panic.
            let _ = door.join();
        }
    }
}

/// Answers what comes over one connection.
fn serve(mut socket: &TcpStream, event: &[u8], told: &Told) -> io::Result<()> {
    let mut reader = BufReader::new(socket);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if head.starts_with("GET ") {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")?;
            socket.write_all(event)?;
            // Nothing more is said until the client goes.
            return io::copy(&mut reader, &mut io::sink()).map(drop);
        }
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let length = lines.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|(_, length)| length.trim().parse().ok()).unwrap_or(0);
        let mut body = vec![0; MAX_BODY_BYTES.min(length)];
        reader.read_exact(&mut body)?;
        told.hear(&head, &body);
        socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}

impl Told {
    fn hear(&self, head: &str, body: &[u8]) {
        if head.starts_with(EXPOSURES) {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let counts = body["counts"].as_array().into_iter().flatten();
            let counted: u64 = counts.filter_map(|one| one["count"].as_u64()).sum();
            self.counted.fetch_add(counted, Relaxed);
        } else if head.starts_with(ACK) {
            *self.is_acked.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.acked.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_let_in_once_it_is_dropped() {
        let origin = Origin::start(Vec::new()).expect("it starts");
        let address = origin.address;
        TcpStream::connect(address).expect("it takes connections");
        drop(origin);
        let refused = TcpStream::connect(address).expect_err("nobody is there");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
