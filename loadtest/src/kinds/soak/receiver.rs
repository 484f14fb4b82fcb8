//! Somebody who is told by a webhook.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Takes whatever it is told. Its threads end with the program.
pub(super) struct Receiver {
    url: String,
    told: Arc<AtomicU64>,
}

impl Receiver {
    pub(super) fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let told = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&told);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || receive(&socket, &counter));
            }
        });
        Receiver { url: format!("http://{address}/hook"), told }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// How many messages came.
    pub(super) fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }
}

/// Answers what comes on a connection until the sender closes it.
fn receive(socket: &TcpStream, told: &AtomicU64) {
    let mut reader = BufReader::new(socket);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if !matches!(reader.read_line(&mut line), Ok(read) if read > 0) {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            let header = line.split_once(':');
            if let Some((_, value)) = header.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        let mut socket = socket;
        let whole = reader.read_exact(&mut body);
        if whole.is_err() || socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
            return;
        }
        told.fetch_add(1, Ordering::Relaxed);
    }
}
