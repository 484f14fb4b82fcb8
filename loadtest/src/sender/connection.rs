//! One connection, with at most one request under way.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::SendError;
use super::answer::{AnswerReader, Answered, Length, Malformed};
use super::ask::Whole;

/// How long a connection may take to be opened.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status with which a server closes a connection on which it waited too long for a request.
const WAITS_NO_LONGER: u16 = 408;

/// What reading from a connection led to.
#[derive(Debug, PartialEq)]
pub(crate) enum Came {
    /// Nothing whole yet.
    Nothing,
    Answer(Answered),
    /// The server closed the connection in the middle of an answer, or what came is none. The connection is of no
    /// more use.
    Broken(Malformed),
    /// The server closed a connection on which nothing was under way, or says that it does.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: TcpStream,
    reader: AnswerReader,
    /// When the request under way was due, in nanoseconds of the spell.
    pub(crate) due_ns: Option<u64>,
    /// How much of the request is not sent yet: the last so many bytes.
    unsent: usize,
    /// Of the answer's body, as far as it is there.
    pub(crate) length: Length,
    /// Where every request is another, and somebody looks at the answers.
    written: Option<Box<Written>>,
}

/// A request of a connection's own, and what was answered.
#[derive(Debug, Default)]
struct Written {
    request: Vec<u8>,
    answer: Whole,
    /// The answer is whole.
    is_answered: bool,
}

impl Connection {
    /// Opens one; `is_written` says whether it has requests of its own.
    pub(crate) fn open(address: SocketAddr, is_written: bool) -> Result<Connection, SendError> {
        let open = || {
            let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = open().map_err(|source| SendError::Unreachable { address, source })?;
        let written = is_written.then(Box::default);
        Ok(Connection {
            socket,
            reader: AnswerReader::default(),
            due_ns: None,
            unsent: 0,
            length: Length::default(),
            written,
        })
    }

    pub(crate) fn is_free(&self) -> bool {
        self.due_ns.is_none()
    }

    /// An empty buffer for the next request, and the last answer.
    pub(super) fn next_request(&mut self) -> (&mut Vec<u8>, Option<&Whole>) {
        let Written { request, answer, is_answered } = &mut **self.written.get_or_insert_default();
        request.clear();
        (request, is_answered.then_some(answer))
    }

    /// Sends a request that was due then: the one that all have, or its own. What the socket does not take yet follows
    /// with [`Connection::send_rest`].
    pub(crate) fn ask(&mut self, same: Option<&[u8]>, due_ns: u64) {
        debug_assert!(self.is_free(), "one request at a time");
        self.due_ns = Some(due_ns);
        self.length = Length::default();
        if let Some(written) = &mut self.written {
            written.is_answered = false;
            written.answer.clear();
        }
        self.unsent = self.request(same).len();
        self.send_rest(same);
    }

    fn request<'r>(&'r self, same: Option<&'r [u8]>) -> &'r [u8] {
        same.or(self.written.as_ref().map(|written| &*written.request)).unwrap_or_default()
    }

    /// Sends what is left of the request under way. What cannot be sent shows when the answer is read.
    pub(crate) fn send_rest(&mut self, same: Option<&[u8]>) {
        let request = self.request(same);
        if self.unsent > 0
            && let Ok(sent) = (&self.socket).write(&request[request.len() - self.unsent..])
        {
            self.unsent -= sent;
        }
    }

    pub(crate) fn has_rest(&self) -> bool {
        self.unsent > 0
    }

    /// Reads what is there.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Came {
        match self.socket.read(buffer) {
            Ok(0) if self.is_free() => self.closed_unasked(),
            Ok(0) => match self.reader.closed() {
                Ok(answered) => Came::Answer(Answered { closes: true, ..answered }),
                Err(malformed) => Came::Broken(malformed),
            },
            Ok(length) if self.is_free() => self.take_unasked(&buffer[..length]),
            Ok(length) => match self.take(&buffer[..length]) {
                Ok(Some(answered)) => Came::Answer(answered),
                Ok(None) => Came::Nothing,
                Err(malformed) => Came::Broken(malformed),
            },
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Came::Nothing
            }
            Err(_) if self.is_free() => Came::Closed,
            Err(_) => Came::Broken(Malformed::CutShort),
        }
    }

    /// What came though nothing was under way: that the server waits no longer (408) is the end of the connection, as if
    /// it had been closed without a word; nothing else is any answer.
    fn take_unasked(&mut self, bytes: &[u8]) -> Came {
        match self.reader.take(bytes, &mut Length::default()) {
            Ok(None) => Came::Nothing,
            Ok(Some(answered)) => after_unasked(answered),
            Err(_) => Came::Broken(Malformed::Unasked),
        }
    }

    /// The server closed the connection though nothing was under way.
    fn closed_unasked(&mut self) -> Came {
        if !self.reader.has_begun() {
            return Came::Closed;
        }
        self.reader.closed().map_or(Came::Broken(Malformed::Unasked), after_unasked)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<Option<Answered>, Malformed> {
        let Some(written) = &mut self.written else { return self.reader.take(bytes, &mut self.length) };
        written.answer.bytes.extend_from_slice(bytes);
        let answered = self.reader.take(bytes, &mut written.answer.body)?;
        if let Some(answered) = answered {
            written.answer.status = answered.status;
            written.is_answered = true;
        }
        Ok(answered)
    }
}

/// What an answer to nothing means.
fn after_unasked(answered: Answered) -> Came {
    if answered.status == WAITS_NO_LONGER { Came::Closed } else { Came::Broken(Malformed::Unasked) }
}
