//! One connection that stays open, and requests whose every byte is known: what is counted depends on them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::PATIENCE;

/// A connection to a server.
pub(crate) struct Wire {
    reader: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value; empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value.trim())
    }
}

/// A request with a token and further lines of its head, each of which ends with its line's end; a body that is empty is none.
pub(crate) fn request(method: &str, path: &str, token: &str, lines: &str, body: &str) -> Vec<u8> {
    let body = match body {
        "" => "\r\n".to_owned(),
        body => format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
    };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{lines}{body}")
        .into()
}

impl Wire {
    pub(crate) fn connect(address: &str) -> Wire {
        let socket = TcpStream::connect(address).expect("the server takes connections");
        socket.set_nodelay(true).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Wire { reader: BufReader::new(socket) }
    }

    /// Sends a request, and reads the whole answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request);
        let mut answer = self.head();
        let length = answer.header("content-length").parse().unwrap_or(0);
        answer.body.resize(length, 0);
        self.reader.read_exact(&mut answer.body).expect("a whole body");
        answer
    }

    pub(crate) fn send(&mut self, request: &[u8]) {
        self.reader.get_mut().write_all(request).expect("the server reads");
    }

    /// The head of an answer, whose body comes bit by bit.
    pub(crate) fn head(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.reader.read_line(&mut head).expect("the server answers");
            assert!(read > 0, "the server closed the connection: {head}");
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { status, head, body: Vec::new() }
    }

    /// Reads until a text has come.
    pub(crate) fn read_until(&mut self, text: &str) {
        let (mut seen, text) = (Vec::new(), text.as_bytes());
        while !seen.windows(text.len()).any(|window| window == text) {
            let bytes = self.reader.fill_buf().expect("the server sends");
            assert!(!bytes.is_empty(), "the server closed the connection");
            let length = bytes.len();
            // It may have begun with what came before.
            seen.drain(..seen.len().saturating_sub(text.len()));
            seen.extend_from_slice(bytes);
            self.reader.consume(length);
        }
    }
}
