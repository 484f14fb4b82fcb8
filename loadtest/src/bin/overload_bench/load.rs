//! Open-loop load: a request leaves when it is due, over any connection that waits for no answer; if all do, it
//! leaves with the first that gets one, and its time counts from when it was due.
//!
//! The load never waits for anything. If it stood still all the same, the machine gave its core to somebody else:
//! what was due meanwhile is not offered in one burst afterwards, and what was on its way is told apart. Quiet and
//! overload are treated alike.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long answers are waited for once the last request is due.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at the clock lie a read and a write of a few hundred bytes; more than this is a standstill.
const STANDSTILL: Duration = Duration::from_micros(500);

/// What is offered.
#[derive(Clone, Copy)]
pub(crate) struct Offer {
    /// Requests a second.
    pub(crate) rate: u32,
    pub(crate) connections: usize,
    pub(crate) length: Duration,
}

/// What became of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) offered: usize,
    /// Those that were due while the load stood still.
    pub(crate) skipped: usize,
    /// Those that were answered with 200.
    pub(crate) accepted: usize,
    /// From the moment such a request was due to the whole answer.
    pub(crate) accepted_us: Vec<u32>,
    /// Of those, what was answered without a standstill of the load meanwhile.
    pub(crate) steady_us: Vec<u32>,
    /// The others that said when to come again, by status.
    pub(crate) shed: BTreeMap<u16, usize>,
    /// The rest.
    pub(crate) untyped: usize,
    /// Those that nobody answered.
    pub(crate) lost: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, more: Tally) {
        self.offered += more.offered;
        self.skipped += more.skipped;
        self.accepted += more.accepted;
        self.accepted_us.extend(more.accepted_us);
        self.steady_us.extend(more.steady_us);
        for (status, count) in more.shed {
            *self.shed.entry(status).or_default() += count;
        }
        self.untyped += more.untyped;
        self.lost += more.lost;
    }
}

struct Connection {
    socket: TcpStream,
    /// When the request that waits for an answer was due.
    due: Option<Duration>,
    unread: Vec<u8>,
}

/// Requests as they fall due.
struct Schedule {
    offer: Offer,
    start: Instant,
    next: Duration,
    /// When the clock was last looked at.
    now: Duration,
    /// When the load last stood still, the end of that.
    stood_until: Duration,
    backlog: VecDeque<Duration>,
}

impl Schedule {
    fn look(&mut self, tally: &mut Tally) {
        let now = self.start.elapsed();
        let stood = now - self.now > STANDSTILL;
        if stood {
            self.stood_until = now;
        }
        self.now = now;
        let between = Duration::from_secs(1) / self.offer.rate;
        while self.next <= now && self.next < self.offer.length {
            if stood {
                tally.skipped += 1;
            } else {
                tally.offered += 1;
                self.backlog.push_back(self.next);
            }
            self.next += between;
        }
    }

    fn has_ended(&self) -> bool {
        self.next >= self.offer.length
    }
}

/// Offers a request again and again. Looks at all connections all the time, on a core of its own: waking up
/// would take longer than a check.
pub(crate) fn offer(address: &str, request: &[u8], offer: &Offer) -> Tally {
    let connect = |_| {
        let socket = TcpStream::connect(address).expect("the server takes connections");
        socket.set_nodelay(true).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Connection { socket, due: None, unread: Vec::new() }
    };
    let mut connections: Vec<Connection> = (0..offer.connections).map(connect).collect();
    let mut tally = Tally::default();
    let mut schedule = Schedule {
        offer: *offer,
        start: Instant::now(),
        next: Duration::ZERO,
        now: Duration::ZERO,
        stood_until: Duration::ZERO,
        backlog: VecDeque::new(),
    };
    loop {
        for connection in &mut connections {
            schedule.look(&mut tally);
            if connection.due.is_some() {
                connection.receive(&mut tally, &schedule);
            } else if let Some(due) = schedule.backlog.pop_front() {
                connection.ask(request, due);
            }
        }
        let asked = connections.iter().filter(|connection| connection.due.is_some()).count();
        let waiting = schedule.backlog.len() + asked;
        if schedule.has_ended() && (waiting == 0 || schedule.now > offer.length + PATIENCE) {
            tally.lost += waiting;
            return tally;
        }
    }
}

impl Connection {
    fn ask(&mut self, request: &[u8], due: Duration) {
        let sent = self.socket.write(request).expect("the server keeps the connection");
        assert_eq!(sent, request.len(), "a small request fits whole");
        self.due = Some(due);
    }

    fn receive(&mut self, tally: &mut Tally, schedule: &Schedule) {
        let mut buffer = [0; 4 * 1024];
        match self.socket.read(&mut buffer) {
            Ok(0) => panic!("the server closed a connection"),
            Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the server closed a connection: {error}"),
        }
        let Some(answer) = Answered::first(&self.unread) else { return };
        let due = self.due.take().expect("an answer answers a request");
        match answer.status {
            200 => {
                tally.accepted += 1;
                let now = schedule.start.elapsed();
                let passed_us = u32::try_from((now - due).as_micros()).unwrap_or(u32::MAX);
                tally.accepted_us.push(passed_us);
                if due >= schedule.stood_until && now - schedule.now <= STANDSTILL {
                    tally.steady_us.push(passed_us);
                }
            }
            429 | 503 if answer.says_when => *tally.shed.entry(answer.status).or_default() += 1,
            _ => tally.untyped += 1,
        }
        self.unread.drain(..answer.length);
    }
}

/// What is to be known of an answer.
struct Answered {
    status: u16,
    /// Whether it says when to come again, in whole seconds.
    says_when: bool,
    length: usize,
}

impl Answered {
    fn first(bytes: &[u8]) -> Option<Answered> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end]).expect("the head of an answer is text");
        let header = |wanted: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(name, value)| {
                name.eq_ignore_ascii_case(wanted).then(|| value.trim().parse::<usize>())
            })
        };
        let length = end + header("content-length").and_then(Result::ok).unwrap_or(0);
        (bytes.len() >= length).then(|| Answered {
            status: head.get(9..12).and_then(|code| code.parse().ok()).expect("a status"),
            says_when: header("retry-after").is_some_and(|seconds| seconds.is_ok()),
            length,
        })
    }
}
