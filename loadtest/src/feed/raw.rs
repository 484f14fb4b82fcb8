//! The floor: a server that does nothing but write the event to every socket, one after another.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

use super::floor::{BEGUN, CONNECTIONS};

/// The argument that makes this program the floor.
pub(super) const MODE: &str = "--be-raw";

/// Runs the floor: it says where it listens, and serves until it is killed.
pub(super) fn serve() -> ExitCode {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // As many may wait to be accepted as the system allows.
    rustix::net::listen(&listener, 16 * 1024).expect("a listening socket");
    println!("listening on http://{}", listener.local_addr().expect("a bound socket"));
    tidegate::descriptors::make_room(CONNECTIONS);
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
