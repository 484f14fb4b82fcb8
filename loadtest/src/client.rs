//! A client over one bare socket that stays open.

use std::fmt::{self, Write as _};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// No answer may take longer between two reads of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest head of an answer, in bytes.
const MAX_HEAD_BYTES: u64 = 64 * 1024;
/// Longest body of an answer, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// Why there is no answer, or not the one that is needed.
#[derive(Debug)]
pub enum ClientError {
    /// The server takes no connection, or it breaks.
    Broken {
        /// The server's.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// What came is no answer of HTTP/1.1 with text, or one whose head is longer than 64 KiB or its body than 64 MiB.
    Malformed {
        /// The server's.
        address: String,
    },
    /// The server does not grant what was asked for; the head of its answer is left out.
    Refused {
        /// Of the answer.
        status: u16,
        /// Its reasons.
        body: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Broken { address, source } => write!(f, "{address} breaks off: {source}"),
            ClientError::Malformed { address } => write!(f, "what {address} answers is not to be read"),
            ClientError::Refused { status, body } => write!(f, "the server answers {status}: {body}"),
        }
    }
}

impl std::error::Error for ClientError {}

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
    ///
    /// # Panics
    /// When it does not.
    pub fn granted(&self) -> Value {
        self.if_granted().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, for who can go on without.
    ///
    /// # Errors
    /// When it does not grant it, or is no JSON.
    pub fn if_granted(&self) -> Result<Value, ClientError> {
        let refused = || ClientError::Refused { status: self.status, body: self.body.clone() };
        match self.status {
            200..300 if self.body.is_empty() => Ok(Value::Null),
            200..300 => serde_json::from_str(&self.body).map_err(|_| refused()),
            _ => Err(refused()),
        }
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
    ///
    /// # Panics
    /// When the server takes no connection.
    pub fn new(address: &str, token: &str) -> Client {
        Client::connect(address, token).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, for who can go on without.
    ///
    /// # Errors
    /// When the server takes no connection.
    pub fn connect(address: &str, token: &str) -> Result<Client, ClientError> {
        let open = || {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| broken(address, source))?;
        Ok(Client { address: address.to_owned(), token: token.to_owned(), reader: BufReader::new(socket) })
    }

    /// Asks, and waits for the answer: 30 s at most for each piece of it, after which the connection counts as broken. An
    /// answer that does not say its `content-length`, in chunks or not, counts as one without a body.
    ///
    /// # Panics
    /// When there is none, or one of more than 64 MiB.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.ask(method, path, headers, body).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same, for who can go on without.
    ///
    /// # Errors
    /// When there is none, or one of more than 64 MiB.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, ClientError> {
        let bytes = request(method, path, &self.address, &self.token, headers, body);
        self.ask_bytes(&bytes)
    }

    /// Sends a request as it stands, and waits for the answer.
    ///
    /// # Panics
    /// When there is none.
    pub fn send_bytes(&mut self, request: &[u8]) -> Answer {
        self.ask_bytes(request).unwrap_or_else(|error| panic!("{error}"))
    }

    fn ask_bytes(&mut self, request: &[u8]) -> Result<Answer, ClientError> {
        self.reader.get_mut().write_all(request).map_err(|source| broken(&self.address, source))?;
        self.answer()
    }

    /// Does something that has to be granted.
    ///
    /// # Panics
    /// When it is not.
    pub fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        self.send(method, path, &[], body).granted()
    }

    /// The head of an answer, and the socket on which the rest comes, which waits 30 s at most for each piece.
    ///
    /// # Errors
    /// When there is none, or one of more than 64 KiB.
    pub fn open(
        mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Answer, BufReader<TcpStream>), ClientError> {
        let bytes = request("GET", path, &self.address, &self.token, headers, &Value::Null);
        self.reader.get_mut().write_all(&bytes).map_err(|source| broken(&self.address, source))?;
        let (status, head) = self.head()?;
        Ok((Answer { status, head, body: String::new() }, self.reader))
    }

    fn malformed(&self) -> ClientError {
        ClientError::Malformed { address: self.address.clone() }
    }

    fn head(&mut self) -> Result<(u16, String), ClientError> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let room = MAX_HEAD_BYTES.saturating_sub(head.len() as u64);
            let read = self.reader.by_ref().take(room).read_line(&mut head);
            let read = read.map_err(|source| broken(&self.address, source))?;
            if room == 0 {
                return Err(self.malformed());
            }
            if read == 0 {
                return Err(broken(&self.address, ErrorKind::UnexpectedEof.into()));
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.ok_or_else(|| self.malformed())?, head))
    }

    fn answer(&mut self) -> Result<Answer, ClientError> {
        let (status, head) = self.head()?;
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").parse().unwrap_or(0);
        if length > MAX_BODY_BYTES {
            return Err(self.malformed());
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).map_err(|source| broken(&self.address, source))?;
        answer.body = String::from_utf8(body).map_err(|_| self.malformed())?;
        Ok(answer)
    }
}

fn broken(address: &str, source: std::io::Error) -> ClientError {
    ClientError::Broken { address: address.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What is made of an answer as it stands.
    fn read(answer: Vec<u8>) -> Result<Answer, ClientError> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one").to_string();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("a client");
            // Who has read enough closes.
            let _ = socket.write_all(&answer);
            let _ = socket.read(&mut [0; 1024]);
        });
        let asked = Client::connect(&address, "token")
            .and_then(|mut client| client.ask("GET", "/", &[], &Value::Null));
        server.join().expect("it only writes");
        asked
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_read() {
        let head = |rest: &str| format!("HTTP/1.1 200 OK\r\n{rest}").into_bytes();
        let whole = read(head("content-length: 2\r\n\r\n{}")).expect("it is whole");
        assert_eq!((whole.status, whole.body.as_str()), (200, "{}"));
        let endless = format!("content-length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
        assert!(matches!(read(head(&endless)), Err(ClientError::Malformed { .. })));
        let lines = "a: b\r\n".repeat(20_000);
        assert!(matches!(read(head(&lines)), Err(ClientError::Malformed { .. })));
        let chunks = read(head("transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"));
        assert_eq!(chunks.expect("its head is read").body, "");
    }
}
