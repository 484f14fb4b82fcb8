//! Whom to ask, and what: the same request again and again, or one that is written anew each time.

use std::fmt;
use std::net::SocketAddr;

use super::ask::Whole;
use super::connection::Connection;

/// What whoever writes a request is told.
#[derive(Debug)]
pub(crate) struct Last<'c> {
    /// Which of the lane's connections it goes over, from 0: each has one request under way at most.
    pub(crate) connection: usize,
    /// The last answer on it; none at first, or if it never came.
    pub(crate) answer: Option<&'c Whole>,
}

/// Writes a request into an empty buffer.
pub(crate) type Write = Box<dyn FnMut(&mut Vec<u8>, Last<'_>)>;

/// A lane.
pub(crate) struct Lane {
    pub(crate) address: SocketAddr,
    /// The status of every answer.
    pub(crate) expected: u16,
    pub(crate) connections: usize,
    /// Every answer is as long as the first.
    pub(super) is_even: bool,
    /// The server may go away in a spell, and come back.
    pub(super) may_go_away: bool,
    requests: Requests,
}

enum Requests {
    Same(Vec<u8>),
    Written(Write),
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections to {}", self.connections, self.address)
    }
}

impl Lane {
    /// One that asks the same all the time.
    pub(crate) fn of_same(address: SocketAddr, request: Vec<u8>, expected: u16, connections: usize) -> Lane {
        Lane::of(address, Requests::Same(request), expected, connections)
    }

    /// One whose every request is written when it is due and a connection is free. What falls due while the sender stands
    /// still is sent after it: such a lane is there for what it gives the server to do, not for its own latency.
    pub(crate) fn of_written(address: SocketAddr, write: Write, expected: u16, connections: usize) -> Lane {
        Lane::of(address, Requests::Written(write), expected, connections)
    }

    fn of(address: SocketAddr, requests: Requests, expected: u16, connections: usize) -> Lane {
        Lane { address, expected, connections, is_even: false, may_go_away: false, requests }
    }

    /// The same, where an answer of another length than the first is a wrong one.
    pub(crate) fn even(mut self) -> Lane {
        self.is_even = true;
        self
    }

    /// The same, where the server may go away in a spell and come back: what is due meanwhile waits for it, and when each
    /// was due and answered is kept.
    pub(crate) fn through_restarts(mut self) -> Lane {
        self.may_go_away = true;
        self
    }

    /// The request, if it is always the same.
    pub(super) fn same(&self) -> Option<&[u8]> {
        match &self.requests {
            Requests::Same(request) => Some(request),
            Requests::Written(_) => None,
        }
    }

    /// Whether somebody looks at what is answered.
    pub(super) fn keeps_answers(&self) -> bool {
        matches!(self.requests, Requests::Written(_))
    }

    /// Writes the connection's next request, if it is a new one each time.
    pub(super) fn write(&mut self, place: usize, connection: &mut Connection) {
        if let Requests::Written(write) = &mut self.requests {
            let (request, answer) = connection.next_request();
            write(request, Last { connection: place, answer });
        }
    }
}
