//! An SDK reduced to its connection: it follows a feed, and says that it serves what it was told only when it
//! is asked to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use super::Server;

/// A connected client.
pub(crate) struct Feed {
    reader: BufReader<TcpStream>,
    host: String,
    token: String,
    instance: String,
    /// The revision of the last frame.
    revision: u64,
}

impl Feed {
    /// Connects, and reads the snapshot.
    pub(crate) fn open(server: &Server, token: &str, instance: &str) -> Feed {
        let host = server.url.strip_prefix("http://").expect("plain HTTP").to_owned();
        let mut stream = TcpStream::connect(&host).expect("connects");
        let request = format!(
            "GET /v1/feed?instance={instance}&sdk=raw/0.1 HTTP/1.1\r\nHost: {host}\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let (reader, token, instance) = (BufReader::new(stream), token.to_owned(), instance.to_owned());
        let mut feed = Feed { reader, host, token, instance, revision: 0 };
        feed.read_to("event: snapshot");
        feed
    }

    /// Reads until a line begins like this, and on to the id of the frame.
    fn read_to(&mut self, start: &str) {
        let mut found = false;
        loop {
            let mut line = String::new();
            assert!(self.reader.read_line(&mut line).expect("the stream goes on") > 0, "no {start}");
            found = found || line.starts_with(start);
            if let (true, Some(id)) = (found, line.strip_prefix("id: ")) {
                self.revision =
                    id.trim().rsplit(':').next().and_then(|id| id.parse().ok()).expect("a number");
                return;
            }
        }
    }

    /// Reads the next change.
    pub(crate) fn change(&mut self) {
        self.read_to("event: change");
    }

    /// Says that it serves what it has read.
    pub(crate) fn acknowledge(&self) {
        let body = format!(r#"{{"instance":"{}","revision":{}}}"#, self.instance, self.revision);
        let mut stream = TcpStream::connect(&self.host).expect("connects");
        let request = format!(
            "POST /v1/feed/ack HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
}
