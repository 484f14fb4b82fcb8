//! One request by itself, whose whole answer is looked at.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::SendError;
use super::answer::{AnswerReader, Malformed, value_of};

/// No answer may take longer, whole.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A whole answer.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// All of it as it came.
    pub(super) bytes: Vec<u8>,
}

impl Whole {
    /// As good as new.
    pub(super) fn clear(&mut self) {
        self.body.clear();
        self.bytes.clear();
    }

    /// A header's value, if it is there and text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.bytes.split(|byte| *byte == b'\n').take_while(|line| !line.trim_ascii().is_empty());
        let mut values = lines.filter_map(|line| value_of(line, name.as_bytes()));
        values.next().and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// Asks over a connection of its own, and waits.
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> Result<Whole, SendError> {
    let unreachable = |source| SendError::Unreachable { address, source };
    let malformed = |malformed: Malformed| SendError::Malformed { address, what: malformed.what() };
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE).map_err(unreachable)?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(unreachable)?;
    socket.write_all(request).map_err(unreachable)?;
    let deadline = Instant::now() + PATIENCE;
    let (mut reader, mut body, mut bytes) = (AnswerReader::default(), Vec::new(), Vec::new());
    let mut buffer = [0; 16 * 1024];
    loop {
        // Each piece may take what is left: an answer that drips in has an end, too.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(SendError::Malformed { address, what: "takes more than 30 seconds" });
        }
        socket.set_read_timeout(Some(left)).map_err(unreachable)?;
        let length = socket.read(&mut buffer).map_err(unreachable)?;
        bytes.extend_from_slice(&buffer[..length]);
        let answered = match length {
            0 => Some(reader.closed().map_err(malformed)?),
            _ => reader.take(&buffer[..length], &mut body).map_err(malformed)?,
        };
        if let Some(answered) = answered {
            return Ok(Whole { status: answered.status, body, bytes });
        }
        if bytes.len() > MAX_BYTES {
            return Err(SendError::Malformed { address, what: "is longer than 64 MiB" });
        }
    }
}
