//! The floor: a server that does nothing but write the event to every socket, one after another.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ExitCode};

use super::{Feed, FeedError, patient};
use crate::problem::Problem;
use crate::server::start_floor;

/// The argument that makes this program the floor.
pub(super) const MODE: &str = "--be-raw";
/// Clients for which files are asked of the system.
pub(super) const MAX_CLIENTS: usize = 30_000;
/// What a client hears at once.
const BEGUN: &[u8] = b": hb\n\n";

/// Runs the floor: it says where it listens, and serves until it is killed.
pub(super) fn serve() -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // As many may wait to be accepted as the system allows.
    rustix::net::listen(&listener, 16 * 1024).expect("a listening socket");
    println!("listening on http://{}", listener.local_addr().expect("a bound socket"));
    tidegate::descriptors::make_room(MAX_CLIENTS);
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
        let began = [&b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"[..], BEGUN].concat();
        if socket.write_all(&began).is_ok() {
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

/// The floor in a process of its own; killed when dropped.
pub(crate) struct Raw {
    process: Child,
    address: SocketAddr,
    event_bytes: usize,
}

impl Raw {
    /// Starts it; it will send events of this length.
    pub(crate) fn start(event_bytes: usize) -> Result<Raw, Problem> {
        let (process, address) = start_floor(&[MODE])?;
        Ok(Raw { process, address, event_bytes })
    }
}

impl Feed for Raw {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn process(&self) -> u32 {
        self.process.id()
    }

    fn subscribe(&self, _client: usize) -> Result<Vec<u8>, FeedError> {
        Ok(subscription())
    }

    fn first_event(&self) -> Option<&'static [u8]> {
        Some(BEGUN)
    }

    fn publish(&mut self, marker: &str) -> Vec<u8> {
        publication(marker, self.event_bytes)
    }

    fn settle(&mut self) -> Result<(), FeedError> {
        let_go(self.address)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a client of a floor sends.
pub(super) fn subscription() -> Vec<u8> {
    b"GET /feed HTTP/1.1\r\nhost: floor\r\naccept: text/event-stream\r\n\r\n".to_vec()
}

/// What makes a floor send an event of this length.
pub(super) fn publication(marker: &str, event_bytes: usize) -> Vec<u8> {
    let mut event = format!("event: change\ndata: {marker}");
    while event.len() + 2 < event_bytes {
        event.push('x');
    }
    event.push_str("\n\n");
    let length = event.len();
    format!(
        "POST /publish HTTP/1.1\r\nhost: floor\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{event}"
    )
    .into()
}

/// Tells a floor that its clients have gone.
pub(super) fn let_go(floor: SocketAddr) -> Result<(), FeedError> {
    let mut socket = patient(floor)?;
    socket.write_all(b"DELETE /clients HTTP/1.1\r\nhost: floor\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(())
}
