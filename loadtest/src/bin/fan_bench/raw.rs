//! The floor: a server that does nothing but write the event to every socket, one after another.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ExitCode};

use tidegate_loadtest::server::start_self;

use crate::Server;

/// The argument that makes this program the floor.
pub(crate) const MODE: &str = "--be-raw";

/// Runs the floor: it says where it listens, and serves until it is killed.
pub(crate) fn serve() -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // As many may wait to be accepted as the system allows.
    rustix::net::listen(&listener, 16 * 1024).expect("a listening socket");
    println!("listening on http://{}", listener.local_addr().expect("a bound socket"));
    let mut clients: Vec<TcpStream> = Vec::new();
    for socket in listener.incoming().map_while(Result::ok) {
        let _ = socket.set_nodelay(true);
        answer(socket, &mut clients);
    }
    ExitCode::SUCCESS
}

fn answer(mut socket: TcpStream, clients: &mut Vec<TcpStream>) {
    let mut reader = BufReader::new(socket.try_clone().expect("a file to spare"));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    if head.starts_with("GET") {
        let began = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hb\n\n";
        if socket.write_all(began).is_ok() {
            let _ = socket.set_nonblocking(true);
            clients.push(socket);
        }
        return;
    }
    if head.starts_with("DELETE") {
        clients.clear();
        let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        return;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut event = vec![0; length.and_then(|text| text.parse().ok()).unwrap_or(0)];
    if reader.read_exact(&mut event).is_ok() {
        // Those that have gone since drop out here.
        clients.retain_mut(|client| client.write_all(&event).is_ok());
        let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    }
}

/// The floor in a process of its own.
pub(crate) struct Raw {
    process: Child,
    address: String,
    event_bytes: usize,
}

impl Raw {
    /// Starts it; it will send events of this length.
    pub(crate) fn start(event_bytes: usize) -> Raw {
        let (process, lines) = start_self(&[MODE]);
        let address = lines.into_iter().next().expect("the floor says where it listens");
        let address = address.trim_start_matches("listening on http://").to_owned();
        Raw { process, address, event_bytes }
    }
}

impl Server for Raw {
    fn address(&self) -> &str {
        &self.address
    }

    fn subscribe(&self, _client: usize) -> String {
        "GET /feed HTTP/1.1\r\nhost: raw\r\naccept: text/event-stream\r\n\r\n".to_owned()
    }

    fn publish(&mut self, marker: &str) -> Vec<u8> {
        let mut event = format!("event: change\ndata: {marker}");
        while event.len() + 2 < self.event_bytes {
            event.push('x');
        }
        event.push_str("\n\n");
        format!("POST /publish HTTP/1.1\r\nhost: raw\r\ncontent-length: {}\r\n\r\n{event}", event.len())
            .into()
    }

    fn process(&self) -> u32 {
        self.process.id()
    }

    fn settle(&mut self) {
        let mut socket = TcpStream::connect(&self.address).expect("the floor takes connections");
        let request = b"DELETE /clients HTTP/1.1\r\nhost: raw\r\n\r\n";
        socket.write_all(request).expect("the floor reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("the floor answers");
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
