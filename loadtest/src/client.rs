//! A client over one bare socket that stays open.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// No answer may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client with a token.
pub struct Client {
    address: String,
    token: String,
    reader: BufReader<TcpStream>,
}

/// What the server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value.trim())
    }

    /// The JSON of an answer that grants what was asked for.
    pub fn granted(&self) -> Value {
        assert!((200..300).contains(&self.status), "refused: {self:?}");
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.body).expect("every answer is JSON")
    }
}

/// A request as it is sent; null sends no body.
pub fn request(
    method: &str,
    path: &str,
    host: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Vec<u8> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if !body.is_empty() {
        let _ = write!(text, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    let _ = write!(text, "\r\n{body}");
    text.into()
}

impl Client {
    /// Connects.
    pub fn new(address: &str, token: &str) -> Client {
        let socket = TcpStream::connect(address).expect("the server takes connections");
        socket.set_nodelay(true).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Client { address: address.to_owned(), token: token.to_owned(), reader: BufReader::new(socket) }
    }

    /// Asks, and waits for the answer.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let bytes = request(method, path, &self.address, &self.token, headers, body);
        self.send_bytes(&bytes)
    }

    /// Sends a request as it stands, and waits for the answer.
    pub fn send_bytes(&mut self, request: &[u8]) -> Answer {
        self.reader.get_mut().write_all(request).expect("the server reads");
        self.answer()
    }

    /// Does something that has to be granted.
    pub fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        self.send(method, path, &[], body).granted()
    }

    /// The head of an answer, and the socket on which the rest comes.
    pub fn open(mut self, path: &str, headers: &[(&str, &str)]) -> (Answer, BufReader<TcpStream>) {
        let bytes = request("GET", path, &self.address, &self.token, headers, &Value::Null);
        self.reader.get_mut().write_all(&bytes).expect("the server reads");
        let (status, head) = self.head();
        (Answer { status, head, body: String::new() }, self.reader)
    }

    fn head(&mut self) -> (u16, String) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = self.reader.read_line(&mut head).expect("the server answers");
            assert!(read > 0, "the server closed the connection: {head}");
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), head)
    }

    fn answer(&mut self) -> Answer {
        let (status, head) = self.head();
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").parse().unwrap_or(0);
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("a whole body");
        answer.body = String::from_utf8(body).expect("text");
        answer
    }
}
