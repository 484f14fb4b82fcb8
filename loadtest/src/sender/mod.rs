//! Requests that leave when they are due, whatever became of earlier ones, over connections that stay open. Their
//! time counts from when they were due: one that has to wait for a connection has begun, and one that nobody answers
//! is in the figures.
//!
//! The sender never sleeps: it looks at the clock, sends what is due, and reads what is there, on a core of its own.
//! To be woken up would take longer than a check, and would cost the server more for each answer. If it stood still all
//! the same, the machine gave its core to somebody else: what was due meanwhile is offered to nobody, as a burst
//! would load one side by chance, and what was under way is told apart.

mod answer;
mod ask;
mod connection;
mod lane;
mod running;
mod schedule;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

pub(crate) use answer::{AnswerReader, Length, value_of};
pub(crate) use ask::{Whole, ask};
use connection::{Came, Connection};
pub(crate) use lane::{Lane, Last};
use running::Running;
pub(crate) use schedule::{Arrivals, Pace};
pub(crate) use tally::{QUANTILES, Tally};

/// Between two looks at the clock lie a read and a write of some kilobytes; more than this is a standstill.
const STANDSTILL_NS: u64 = 500_000;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Sockets that are heard of at once.
const EVENTS: usize = 256;
/// Between two tries to reach a server that has gone away.
const AGAIN_NS: u64 = 5_000_000;
/// Connections of one lane that may be opened anew in a spell; one that closes after every answer is not measured.
const MAX_REOPENED: u64 = 1_000;

/// Why nothing can be sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Nobody takes connections there.
    Unreachable { address: SocketAddr, source: std::io::Error },
    /// The server closes connections again and again.
    ClosesAll { address: SocketAddr },
    /// What answers does not speak HTTP/1.1, or stops in the middle.
    Malformed { address: SocketAddr, what: &'static str },
    /// The system gives no epoll, or takes no socket into it.
    System(std::io::Error),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Unreachable { address, source } => {
                write!(f, "{address} takes no connection: {source}")
            }
            SendError::ClosesAll { address } => write!(
                f,
                "{address} closed more than {MAX_REOPENED} connections in one spell; it has to keep them alive"
            ),
            SendError::Malformed { address, what } => write!(f, "the answer of {address} {what}"),
            SendError::System(source) => write!(f, "the system refused: {source}"),
        }
    }
}

impl std::error::Error for SendError {}

impl From<rustix::io::Errno> for SendError {
    fn from(error: rustix::io::Errno) -> SendError {
        SendError::System(error.into())
    }
}

/// What is done between two looks at the clock: next to nothing, as it takes the sender's time.
pub(crate) trait Meanwhile {
    /// So long after the spell's start, when so many answers were there.
    fn step(&mut self, passed: Duration, answered: u64);
}

impl Meanwhile for () {
    fn step(&mut self, _: Duration, _: u64) {}
}

/// What a spell told.
#[derive(Debug)]
pub(crate) struct Spell {
    /// Of each lane, in their order.
    pub(crate) tallies: Vec<Tally>,
    /// How long requests were due.
    pub(crate) length: Duration,
    /// The share of the time in which the sender had something to do.
    pub(crate) busy: f64,
}

/// Lanes with their open connections.
pub(crate) struct Sender {
    epoll: OwnedFd,
    lanes: Vec<OpenLane>,
    /// The lane of each connection by the number that the system knows it by.
    places: Vec<(usize, usize)>,
}

struct OpenLane {
    lane: Lane,
    connections: Vec<Connection>,
    /// The number of its first connection.
    first: u64,
    /// A socket did not take a request whole.
    has_rests: bool,
    /// Connections whose server has gone away.
    away: VecDeque<usize>,
    /// When it is tried again, since the spell's start.
    again_ns: u64,
    /// Of the first answer's body.
    length: Option<Length>,
}

impl Sender {
    /// Opens all connections.
    pub(crate) fn connect(lanes: Vec<Lane>) -> Result<Sender, SendError> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut sender = Sender { epoll, lanes: Vec::with_capacity(lanes.len()), places: Vec::new() };
        for (at, lane) in lanes.into_iter().enumerate() {
            let first = sender.places.len() as u64;
            let mut connections = Vec::with_capacity(lane.connections);
            for place in 0..lane.connections {
                let connection = Connection::open(lane.address, lane.keeps_answers())?;
                sender.listen(&connection, first + place as u64)?;
                sender.places.push((at, place));
                connections.push(connection);
            }
            let (away, length) = (VecDeque::new(), None);
            sender.lanes.push(OpenLane {
                lane,
                connections,
                first,
                has_rests: false,
                away,
                again_ns: 0,
                length,
            });
        }
        Ok(sender)
    }

    fn listen(&self, connection: &Connection, number: u64) -> Result<(), SendError> {
        let data = EventData::new_u64(number);
        Ok(epoll::add(&self.epoll, &connection.socket, data, EventFlags::IN)?)
    }

    /// Sends, each lane at its pace, and waits for what is under way at the end.
    pub(crate) fn run(
        &mut self,
        paces: &[Pace],
        length: Duration,
        meanwhile: &mut dyn Meanwhile,
    ) -> Result<Spell, SendError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let before = self.renew_closed(&mut buffer)?;
        let length_ns = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        let lanes = self.lanes.iter().zip(paces);
        let lanes = lanes.map(|(open, pace)| (open.connections.len(), !open.lane.keeps_answers(), *pace));
        let mut running = Running::new(lanes, length_ns);
        for ((open, lane), before) in self.lanes.iter().zip(&mut running.lanes).zip(before) {
            lane.tally = before;
            lane.tally.times_ns = open.lane.may_go_away.then(Vec::new);
            lane.free.retain(|place| !open.away.contains(place));
        }
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let began_ns = running.now_ns;
            running.look();
            meanwhile.step(Duration::from_nanos(running.now_ns), running.answered());
            let has_sent = self.send_due(&mut running);
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            for event in &events {
                self.receive(&mut running, event.data.u64(), &mut buffer)?;
            }
            self.send_rests();
            self.try_again(&mut running)?;
            if !has_sent && events.is_empty() {
                running.look();
                // A core that was somebody else's was not idle.
                let passed_ns = running.now_ns - began_ns;
                running.idle_ns += if passed_ns > STANDSTILL_NS { 0 } else { passed_ns };
            }
            if running.has_ended(length_ns) {
                return self.told(running, length);
            }
        }
    }

    /// Opens anew what the server closed since the last spell: nobody was there to hear of it. Gives what there is to
    /// tell of it, by lanes.
    fn renew_closed(&mut self, buffer: &mut [u8]) -> Result<Vec<Tally>, SendError> {
        let mut tallies: Vec<Tally> = self.lanes.iter().map(|_| Tally::new()).collect();
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            if events.is_empty() {
                return Ok(tallies);
            }
            for event in &events {
                let (at, place) = self.place(event.data.u64());
                let came = self.lanes[at].connections[place].receive(buffer);
                tallies[at].broken += u64::from(matches!(came, Came::Broken(_)));
                if came != Came::Nothing {
                    self.reopen(&mut tallies[at], at, place)?;
                }
            }
        }
    }

    fn place(&self, number: u64) -> (usize, usize) {
        self.places[usize::try_from(number).expect("a number that was given")]
    }

    fn send_due(&mut self, running: &mut Running) -> bool {
        let mut has_sent = false;
        for (open, lane) in self.lanes.iter_mut().zip(&mut running.lanes) {
            while let Some((place, due_ns)) = lane.next_for_free(running.now_ns) {
                open.ask(place, due_ns);
                has_sent = true;
            }
        }
        has_sent
    }

    /// Requests that no socket took whole; only large ones ever are.
    fn send_rests(&mut self) {
        for open in self.lanes.iter_mut().filter(|open| open.has_rests) {
            let OpenLane { lane, connections, has_rests, .. } = open;
            connections.iter_mut().for_each(|connection| connection.send_rest(lane.same()));
            *has_rests = connections.iter().any(Connection::has_rest);
        }
    }

    /// Opens connections whose server had gone away, if it is back.
    fn try_again(&mut self, running: &mut Running) -> Result<(), SendError> {
        for at in 0..self.lanes.len() {
            let open = &mut self.lanes[at];
            if open.away.is_empty() || running.now_ns < open.again_ns {
                continue;
            }
            open.again_ns = running.now_ns + AGAIN_NS;
            while let Some(place) = self.lanes[at].away.pop_front() {
                if !self.reopen(&mut running.lanes[at].tally, at, place)? {
                    break;
                }
                running.lanes[at].free.push_back(place);
            }
        }
        Ok(())
    }

    fn receive(&mut self, running: &mut Running, number: u64, buffer: &mut [u8]) -> Result<(), SendError> {
        let (at, place) = self.place(number);
        let open = &mut self.lanes[at];
        let connection = &mut open.connections[place];
        let came = connection.receive(buffer);
        let was_under_way = connection.due_ns.is_some();
        let answered = match came {
            Came::Nothing => return Ok(()),
            Came::Answer(answered) => Some(answered),
            Came::Broken(_) | Came::Closed => None,
        };
        let length = connection.length;
        running.look();
        if !was_under_way && matches!(came, Came::Broken(_)) {
            // What nobody asked for is no answer to anything.
            running.lanes[at].tally.broken += 1;
        }
        if let Some(due_ns) = connection.due_ns.take() {
            running.note(at, due_ns, answered, open.lane.expected);
            let is_expected = answered.is_some_and(|answered| answered.status == open.lane.expected);
            if open.lane.is_even && is_expected && *open.length.get_or_insert(length) != length {
                running.lanes[at].tally.odd += 1;
            }
        }
        let mut is_there = true;
        if answered.is_none_or(|answered| answered.closes) {
            is_there = self.reopen(&mut running.lanes[at].tally, at, place)?;
            // A server that lets somebody wait for a connection stands still itself.
            running.look_again();
        }
        if was_under_way {
            let lane = &mut running.lanes[at];
            lane.under_way -= 1;
            lane.free.push_back(place);
        }
        if !is_there {
            running.lanes[at].free.retain(|free| *free != place);
        }
        // Whoever has an answer is asked again at once: that is what it would wait for.
        if let Some((free, due_ns)) = running.lanes[at].next_for_free(running.now_ns) {
            self.lanes[at].ask(free, due_ns);
        }
        Ok(())
    }

    /// Opens a connection anew; false if there is nobody, where that may be.
    fn reopen(&mut self, tally: &mut Tally, at: usize, place: usize) -> Result<bool, SendError> {
        let open = &mut self.lanes[at];
        let connection = match Connection::open(open.lane.address, open.lane.keeps_answers()) {
            Ok(connection) => connection,
            Err(SendError::Unreachable { .. }) if open.lane.may_go_away => {
                // After the first try it is not there any more.
                let _ = epoll::delete(&self.epoll, &open.connections[place].socket);
                open.away.push_back(place);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        tally.reopened += 1;
        if tally.reopened > MAX_REOPENED {
            return Err(SendError::ClosesAll { address: open.lane.address });
        }
        // The old socket leaves the epoll when it is closed.
        open.connections[place] = connection;
        let number = open.first + place as u64;
        self.listen(&self.lanes[at].connections[place], number)?;
        Ok(true)
    }

    /// What is still under way is lost, and its connections with it: an answer that came later would be taken for one
    /// of the next spell.
    fn told(&mut self, mut running: Running, length: Duration) -> Result<Spell, SendError> {
        for at in 0..self.lanes.len() {
            let lane = &mut running.lanes[at];
            lane.tally.offered += lane.waiting.len() as u64;
            let under_way = self.lanes[at].connections.iter().filter_map(|connection| connection.due_ns);
            for due_ns in under_way.chain(lane.waiting.drain(..)) {
                lane.tally.lost(running.now_ns.saturating_sub(due_ns) / 1_000);
            }
            for place in 0..self.lanes[at].connections.len() {
                if !self.lanes[at].connections[place].is_free() {
                    self.reopen(&mut running.lanes[at].tally, at, place)?;
                }
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "minutes of nanoseconds")]
        let busy = 1.0 - running.idle_ns as f64 / running.now_ns.max(1) as f64;
        let tallies = running.lanes.into_iter().map(|lane| lane.tally).collect();
        Ok(Spell { tallies, length, busy })
    }
}

impl OpenLane {
    fn ask(&mut self, place: usize, due_ns: u64) {
        let OpenLane { lane, connections, has_rests, .. } = self;
        let connection = &mut connections[place];
        lane.write(place, connection);
        connection.ask(lane.same(), due_ns);
        *has_rests |= connection.has_rest();
    }
}
