//! Thousands of clients of one server on one thread: each connects when told to, asks for its stream, and hears what
//! comes of it. What clients make of it is theirs.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rollout_rules::feed::machine::Loss;
use rollout_rules::time::DurationMs;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::FeedError;
use crate::sender::{AnswerReader, value_of};

/// Most clients that have begun to connect and are not answered yet: a queue of new connections holds 4,096 by
/// default, and what does not fit in it is tried again by the system a second later.
const MAX_UNDER_WAY: usize = 2_000;
/// Longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// What a client hears.
#[derive(Debug)]
pub(crate) enum Heard<'b> {
    /// The server answers with a stream.
    Opened,
    /// More of the stream, without what HTTP puts around it.
    Bytes(&'b [u8]),
    /// There is no connection, or no more.
    Lost(Loss),
}

/// Where a client is.
#[derive(Debug)]
enum Link {
    Off,
    Connecting { socket: TcpStream, request: Vec<u8> },
    Asking { socket: TcpStream, reader: AnswerReader, head: Vec<u8> },
    Open { socket: TcpStream, reader: AnswerReader },
}

/// The clients, by numbers from 0.
pub(crate) struct Crowd {
    address: SocketAddr,
    epoll: OwnedFd,
    links: Vec<Link>,
    /// Those that want to connect, with what they ask, longest first.
    queue: VecDeque<(usize, Vec<u8>)>,
    /// Those that are connecting or not answered yet.
    under_way: usize,
    most_under_way: usize,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

impl Crowd {
    /// So many clients, none of them connected.
    pub(crate) fn new(address: SocketAddr, clients: usize) -> Result<Crowd, FeedError> {
        Ok(Crowd {
            address,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            links: (0..clients).map(|_| Link::Off).collect(),
            queue: VecDeque::new(),
            under_way: 0,
            most_under_way: 0,
            buffer: vec![0; BUFFER_BYTES],
            body: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    /// A client wants to connect and to ask this; it waits while too many others are on their way.
    pub(crate) fn connect(&mut self, client: usize, request: Vec<u8>) {
        self.close(client);
        self.queue.push_back((client, request));
    }

    /// A client wants nothing more of its connection.
    pub(crate) fn close(&mut self, client: usize) {
        let link = std::mem::replace(&mut self.links[client], Link::Off);
        self.under_way -= usize::from(matches!(link, Link::Connecting { .. } | Link::Asking { .. }));
    }

    /// The most that were on their way at once.
    pub(crate) fn most_under_way(&self) -> usize {
        self.most_under_way
    }

    /// Lets so many clients connect at most, and so many hear something, and waits that long at most for something to
    /// happen. How many heard something.
    pub(crate) fn step(
        &mut self,
        wait: Duration,
        most: usize,
        heard: &mut dyn FnMut(usize, Heard<'_>),
    ) -> Result<usize, FeedError> {
        for _ in 0..most.min(MAX_UNDER_WAY.saturating_sub(self.under_way)) {
            let Some((client, request)) = self.queue.pop_front() else { break };
            self.begin(client, request, heard)?;
        }
        let is_waiting = self.queue.is_empty() || self.under_way == MAX_UNDER_WAY;
        let wait = if is_waiting { wait } else { Duration::ZERO };
        let mut events = Vec::with_capacity(most);
        let wait = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let client = usize::try_from(event.data.u64()).expect("a number that was given");
            self.on_event(client, heard)?;
        }
        Ok(events.len())
    }

    fn begin(
        &mut self,
        client: usize,
        request: Vec<u8>,
        heard: &mut dyn FnMut(usize, Heard<'_>),
    ) -> Result<(), FeedError> {
        let family = if self.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = TcpStream::from(socket_with(family, SocketType::STREAM, flags, None)?);
        socket.set_nodelay(true)?;
        match connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error @ (Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE)) => return Err(error.into()),
            Err(error) => {
                heard(client, Heard::Lost(failed(&error)));
                return Ok(());
            }
        }
        let number = EventData::new_u64(client as u64);
        epoll::add(&self.epoll, &socket, number, EventFlags::OUT)?;
        self.links[client] = Link::Connecting { socket, request };
        self.under_way += 1;
        self.most_under_way = self.most_under_way.max(self.under_way);
        Ok(())
    }

    fn on_event(&mut self, client: usize, heard: &mut dyn FnMut(usize, Heard<'_>)) -> Result<(), FeedError> {
        if let Link::Connecting { socket, request } = &self.links[client] {
            let connected = sockopt::socket_error(socket)?.map_err(|error| failed(&error));
            let asked = connected.and_then(|()| send(socket, request));
            if let Err(loss) = asked {
                self.lose(client, loss, heard);
                return Ok(());
            }
            epoll::modify(&self.epoll, socket, EventData::new_u64(client as u64), EventFlags::IN)?;
            if let Link::Connecting { socket, .. } = std::mem::replace(&mut self.links[client], Link::Off) {
                self.links[client] =
                    Link::Asking { socket, reader: AnswerReader::default(), head: Vec::new() };
            }
            return Ok(());
        }
        let (Link::Asking { socket, .. } | Link::Open { socket, .. }) = &mut self.links[client] else {
            return Ok(());
        };
        match socket.read(&mut self.buffer) {
            Ok(0) => self.lose(client, Loss::Ended, heard),
            Ok(length) => self.take(client, length, heard),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.lose(client, failed(&error), heard),
        }
        Ok(())
    }

    /// Takes in what was read.
    fn take(&mut self, client: usize, length: usize, heard: &mut dyn FnMut(usize, Heard<'_>)) {
        let bytes = &self.buffer[..length];
        self.body.clear();
        let (reader, is_open) = match &mut self.links[client] {
            Link::Asking { reader, head, .. } => {
                head.extend_from_slice(bytes);
                match Answer::of(head) {
                    Answer::NotYet => {
                        // The reader keeps what it needs of it, too.
                        let _ = reader.take(bytes, &mut self.body);
                        return;
                    }
                    Answer::Stream => (reader, false),
                    Answer::Refused(loss) => return self.lose(client, loss, heard),
                }
            }
            Link::Open { reader, .. } => (reader, true),
            Link::Off | Link::Connecting { .. } => return,
        };
        let taken = reader.take(bytes, &mut self.body);
        if !is_open
            && let Link::Asking { socket, reader, .. } = std::mem::replace(&mut self.links[client], Link::Off)
        {
            self.links[client] = Link::Open { socket, reader };
            self.under_way -= 1;
            heard(client, Heard::Opened);
        }
        if !self.body.is_empty() {
            heard(client, Heard::Bytes(&self.body));
        }
        match taken {
            Ok(None) => {}
            Ok(Some(_)) => self.lose(client, Loss::Ended, heard),
            Err(malformed) => {
                self.lose(client, Loss::Failed(format!("the stream {}", malformed.what())), heard);
            }
        }
    }

    fn lose(&mut self, client: usize, loss: Loss, heard: &mut dyn FnMut(usize, Heard<'_>)) {
        self.close(client);
        heard(client, Heard::Lost(loss));
    }
}

fn failed(error: &dyn std::fmt::Display) -> Loss {
    Loss::Failed(error.to_string())
}

/// A request of some hundred bytes goes into an empty socket whole.
fn send(mut socket: &TcpStream, request: &[u8]) -> Result<(), Loss> {
    socket.write_all(request).map_err(|error| failed(&error))
}

/// What the head of an answer says.
#[derive(Debug, PartialEq)]
enum Answer {
    /// Not all of it is there.
    NotYet,
    /// A stream follows.
    Stream,
    /// None follows.
    Refused(Loss),
}

impl Answer {
    fn of(bytes: &[u8]) -> Answer {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            let is_endless = bytes.len() > MAX_HEAD_BYTES;
            let loss = || Answer::Refused(Loss::Failed("the head of an answer has no end".to_owned()));
            return if is_endless { loss() } else { Answer::NotYet };
        };
        let status = bytes.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        match status {
            Some(200) => Answer::Stream,
            Some(status) => {
                let mut values = bytes[..end]
                    .split(|byte| *byte == b'\n')
                    .filter_map(|line| value_of(line, b"retry-after"));
                let seconds = values.next().and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
                let retry_after = seconds.map(|seconds: u64| DurationMs(seconds.saturating_mul(1_000)));
                Answer::Refused(Loss::Refused { status, retry_after })
            }
            None => Answer::Refused(Loss::Failed("what answers does not speak HTTP/1.1".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What each client hears in order, from a server on which every connection is answered by the same text.
    fn heard_of(answer: &'static str, clients: usize) -> Vec<Vec<String>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..clients {
                let (mut socket, _) = listener.accept().unwrap();
                let mut request = [0; 64];
                let length = socket.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /"), "it asks first");
                // In pieces, as networks cut where they like.
                for piece in answer.as_bytes().chunks(7) {
                    // Who was refused has gone before the end.
                    let _ = socket.write_all(piece);
                }
            }
        });
        let mut crowd = Crowd::new(address, clients).unwrap();
        (0..clients).for_each(|client| crowd.connect(client, format!("GET /{client}\r\n\r\n").into()));
        let mut lines: Vec<Vec<String>> = vec![Vec::new(); clients];
        let mut lost = 0;
        while lost < clients {
            crowd
                .step(Duration::from_secs(10), 64, &mut |client, heard| {
                    let lines = &mut lines[client];
                    match heard {
                        Heard::Opened => lines.push("opened".to_owned()),
                        Heard::Bytes(bytes) => {
                            let text = String::from_utf8_lossy(bytes);
                            match lines.last_mut() {
                                Some(last) if last.starts_with("said ") => last.push_str(&text),
                                _ => lines.push(format!("said {text}")),
                            }
                        }
                        Heard::Lost(loss) => {
                            lost += 1;
                            lines.push(format!("{loss:?}"));
                        }
                    }
                })
                .unwrap();
        }
        server.join().unwrap();
        assert_eq!(crowd.under_way, 0);
        lines
    }

    #[test]
    fn a_stream_is_heard_without_its_chunks_by_everybody_until_it_ends() {
        let answer =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\n: hb\n\n\r\nB\r\ndata: 1234\n\r\n";
        for lines in heard_of(answer, 50) {
            assert_eq!(lines, ["opened", "said : hb\n\ndata: 1234\n", "Ended"]);
        }
    }

    #[test]
    fn a_refusal_is_told_with_the_time_that_it_asks_for() {
        let answer = "HTTP/1.1 503 Busy\r\nRetry-After: 5\r\ncontent-length: 2\r\n\r\n{}";
        let refused = Loss::Refused { status: 503, retry_after: Some(DurationMs(5_000)) };
        assert_eq!(heard_of(answer, 2), [[format!("{refused:?}")], [format!("{refused:?}")]]);
        let nonsense = heard_of("SSH-2.0\r\n\r\n", 1).concat().concat();
        assert!(nonsense.contains("does not speak HTTP/1.1"), "{nonsense}");
    }

    #[test]
    fn nobody_there_is_told_to_each_client_that_tried() {
        // A port that was free a moment ago, and nobody listens at.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut crowd = Crowd::new(address, 3).unwrap();
        (0..3).for_each(|client| crowd.connect(client, b"GET /\r\n\r\n".to_vec()));
        let mut lost = Vec::new();
        while lost.len() < 3 {
            crowd
                .step(Duration::from_secs(10), 64, &mut |client, heard| match heard {
                    Heard::Lost(Loss::Failed(_)) => lost.push(client),
                    other => panic!("{other:?}"),
                })
                .unwrap();
        }
        assert_eq!(crowd.under_way, 0);
    }
}
