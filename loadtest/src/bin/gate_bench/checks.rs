//! Checks of a flag, one after another on each of some connections, as fast as they are answered.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Connections over which they come.
const CONNECTIONS: usize = 4;

/// What became of them.
pub(crate) struct Checked {
    pub(crate) per_second: f64,
    /// How long each took.
    pub(crate) us: Vec<u32>,
}

struct Connection {
    socket: TcpStream,
    asked: Instant,
    unread: Vec<u8>,
}

/// Asks for so long. Looks at all connections all the time: waking up would take longer than a check.
pub(crate) fn ask(address: &str, request: &[u8], length: Duration) -> Checked {
    let connect = |_| {
        let socket = TcpStream::connect(address).expect("the server takes connections");
        socket.set_nodelay(true).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Connection { socket, asked: Instant::now(), unread: Vec::new() }
    };
    let mut connections: Vec<Connection> = (0..CONNECTIONS).map(connect).collect();
    connections.iter_mut().for_each(|connection| connection.ask(request));
    let (start, mut us) = (Instant::now(), Vec::new());
    while start.elapsed() < length {
        for connection in &mut connections {
            if connection.is_answered() {
                us.push(u32::try_from(connection.asked.elapsed().as_micros()).unwrap_or(u32::MAX));
                connection.ask(request);
            }
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let per_second = us.len() as f64 / start.elapsed().as_secs_f64();
    Checked { per_second, us }
}

impl Connection {
    fn ask(&mut self, request: &[u8]) {
        self.asked = Instant::now();
        let sent = self.socket.write(request).expect("the server keeps the connection");
        assert_eq!(sent, request.len(), "a small request fits whole");
    }

    /// Whether the answer is there; it has to be one that grants.
    fn is_answered(&mut self) -> bool {
        let mut buffer = [0; 4 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("the server closed a connection: {error}"),
        }
        let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        let head = std::str::from_utf8(&self.unread[..end]).expect("the head of an answer is text");
        assert_eq!(head.get(9..12), Some("200"), "a check is granted");
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.and_then(|(_, value)| value.trim().parse().ok()).expect("a length");
        let is_whole = self.unread.len() >= end + 4 + length;
        if is_whole {
            self.unread.clear();
        }
        is_whole
    }
}
