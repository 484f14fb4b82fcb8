//! What SDKs acknowledge, on its way to the server. Each SDK has a connection for it; a crowd, whose every client takes
//! a socket already, shares a few.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::sender::{AnswerReader, Length};

/// Connections that are shared.
const CONNECTIONS: usize = 16;
/// Longest answer that is read at once, in bytes.
const BUFFER_BYTES: usize = 4 * 1024;

/// One of the connections.
#[derive(Debug, Default)]
struct Line {
    socket: Option<TcpStream>,
    reader: AnswerReader,
    is_asked: bool,
}

/// The connections, and what waits for one.
#[derive(Debug)]
pub(super) struct Acks {
    address: SocketAddr,
    lines: Vec<Line>,
    waiting: VecDeque<Vec<u8>>,
    /// Answered, by status.
    pub(super) answered: BTreeMap<u16, u64>,
    /// Under way when the connection ended, or never sent since nobody was there.
    pub(super) lost: u64,
}

impl Acks {
    pub(super) fn new(address: SocketAddr) -> Acks {
        Acks {
            address,
            lines: (0..CONNECTIONS).map(|_| Line::default()).collect(),
            waiting: VecDeque::new(),
            answered: BTreeMap::new(),
            lost: 0,
        }
    }

    /// One more is to be sent.
    pub(super) fn add(&mut self, request: Vec<u8>) {
        self.waiting.push_back(request);
    }

    /// How many are to be sent, or not answered yet.
    pub(super) fn open(&self) -> usize {
        self.waiting.len() + self.lines.iter().filter(|line| line.is_asked).count()
    }

    /// Reads what was answered and sends what waits, without waiting itself.
    pub(super) fn step(&mut self) {
        for line in &mut self.lines {
            if line.is_asked {
                match line.answer() {
                    Some(Ok(status)) => *self.answered.entry(status).or_default() += 1,
                    Some(Err(Gone)) => self.lost += 1,
                    None => continue,
                }
            }
            let Some(request) = self.waiting.pop_front() else { continue };
            if line.ask(self.address, &request).is_err() {
                self.lost += 1;
            }
        }
    }
}

/// The connection has ended.
#[derive(Debug, PartialEq)]
struct Gone;

impl Line {
    fn ask(&mut self, address: SocketAddr, request: &[u8]) -> Result<(), Gone> {
        if self.socket.is_none() {
            let open = || {
                let socket = TcpStream::connect(address)?;
                socket.set_nodelay(true)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            };
            let opened: std::io::Result<TcpStream> = open();
            self.socket = Some(opened.map_err(|_| Gone)?);
        }
        let sent = self.socket.as_mut().map(|socket| socket.write_all(request));
        if !matches!(sent, Some(Ok(()))) {
            self.end();
            return Err(Gone);
        }
        self.is_asked = true;
        Ok(())
    }

    /// The status of what was asked for, once it is answered.
    fn answer(&mut self) -> Option<Result<u16, Gone>> {
        let mut buffer = [0; BUFFER_BYTES];
        let read = self.socket.as_mut()?.read(&mut buffer);
        let length = match read {
            Ok(length) if length > 0 => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
            _ => {
                self.end();
                return Some(Err(Gone));
            }
        };
        match self.reader.take(&buffer[..length], &mut Length::default()) {
            Ok(None) => None,
            Ok(Some(answered)) => {
                self.is_asked = false;
                if answered.closes {
                    self.end();
                }
                Some(Ok(answered.status))
            }
            Err(_) => {
                self.end();
                Some(Err(Gone))
            }
        }
    }

    fn end(&mut self) {
        *self = Line::default();
    }
}
