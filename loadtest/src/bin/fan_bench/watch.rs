//! The clients: sockets on one thread, which see when a marker arrives.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::Server;

/// Clients that connect at the same time: few enough for any queue of new connections.
const AT_ONCE: usize = 64;
/// The streams have begun when nothing was heard for this long.
const QUIET: Duration = Duration::from_millis(300);
/// An event that has not arrived after this is lost.
const GIVE_UP: Duration = Duration::from_secs(30);

/// Many clients of one server.
pub(crate) struct Watchers {
    epoll: OwnedFd,
    sockets: Vec<TcpStream>,
    buffer: Vec<u8>,
}

/// When a marker arrived.
pub(crate) struct Seen {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

impl Watchers {
    /// Connects so many clients and waits until their streams have begun.
    pub(crate) fn connect(server: &dyn Server, clients: usize) -> Watchers {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("the system gives an epoll");
        let mut watchers =
            Watchers { epoll, sockets: Vec::with_capacity(clients), buffer: vec![0; 64 * 1024] };
        while watchers.sockets.len() < clients {
            let begin = watchers.sockets.len();
            for client in begin..clients.min(begin + AT_ONCE) {
                let mut socket = TcpStream::connect(server.address())
                    .expect("the server takes connections (does the limit on open files allow them?)");
                socket.set_nodelay(true).expect("a socket");
                socket.write_all(server.subscribe(client).as_bytes()).expect("the server reads");
                watchers.sockets.push(socket);
            }
            for at in begin..watchers.sockets.len() {
                watchers.begin(at);
            }
        }
        while watchers.drain(QUIET, |_, _| {}) > 0 {}
        watchers
    }

    /// Reads the head of the answer, and listens to the rest.
    fn begin(&mut self, at: usize) {
        let socket = &mut self.sockets[at];
        socket.set_read_timeout(Some(GIVE_UP)).expect("a socket");
        let length = socket.read(&mut self.buffer).expect("the server answers");
        let head = String::from_utf8_lossy(&self.buffer[..length]);
        assert!(head.starts_with("HTTP/1.1 200 "), "no stream: {head}");
        socket.set_nonblocking(true).expect("a socket");
        let number = u64::try_from(at).expect("few sockets");
        epoll::add(&self.epoll, socket, EventData::new_u64(number), EventFlags::IN | EventFlags::ET)
            .expect("a new socket");
    }

    /// Sends the request and waits until every client has seen the marker.
    pub(crate) fn publish_and_wait(&mut self, address: &str, request: &[u8], marker: &[u8]) -> Seen {
        let mut tails: Vec<Option<Vec<u8>>> = vec![Some(Vec::new()); self.sockets.len()];
        let mut left = tails.len();
        let (mut first, mut last) = (None, Duration::ZERO);
        let start = Instant::now();
        let mut operator = TcpStream::connect(address).expect("the server takes connections");
        operator.write_all(request).expect("the server reads");
        while left > 0 {
            assert!(start.elapsed() < GIVE_UP, "{left} clients have not seen the event");
            self.drain(Duration::from_millis(100), |at, bytes| {
                let Some(tail) = &mut tails[at] else { return };
                // Nearly always the event comes in one piece.
                let found = (tail.is_empty() && holds(bytes, marker)) || {
                    tail.extend_from_slice(bytes);
                    holds(tail, marker)
                };
                if found {
                    tails[at] = None;
                    left -= 1;
                    last = start.elapsed();
                    first.get_or_insert(last);
                }
            });
        }
        let mut answer = String::new();
        operator.set_read_timeout(Some(GIVE_UP)).expect("a socket");
        operator.read_to_string(&mut answer).expect("the operator gets an answer");
        assert!(answer.starts_with("HTTP/1.1 2"), "the kill was refused: {answer}");
        Seen { first: first.unwrap_or(last), last }
    }

    /// Waits for bytes, and hands them on. How many clients got some.
    fn drain(&mut self, wait: Duration, mut take: impl FnMut(usize, &[u8])) -> usize {
        let mut events = Vec::with_capacity(1024);
        let wait = Timespec::try_from(wait).expect("a short time");
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)).expect("a wait");
        for event in &events {
            let at = usize::try_from(event.data.u64()).expect("few sockets");
            while let Ok(length) = self.sockets[at].read(&mut self.buffer) {
                assert!(length > 0, "the server closed a stream");
                take(at, &self.buffer[..length]);
            }
        }
        events.len()
    }
}

fn holds(text: &[u8], marker: &[u8]) -> bool {
    text.windows(marker.len()).any(|window| window == marker)
}
