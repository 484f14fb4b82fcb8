//! An open event stream, read as a client reads it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;

use serde_json::Value;

/// One server-sent event.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: String,
    pub(crate) comment: bool,
}

impl Event {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// An open event stream.
pub(crate) struct Stream {
    reader: BufReader<TcpStream>,
    /// What was received and not taken yet, chunk framing removed.
    text: String,
}

impl Stream {
    /// What comes after the head of an answer.
    pub(super) fn of(reader: BufReader<TcpStream>) -> Stream {
        Stream { reader, text: String::new() }
    }

    /// The next block of the stream, comments too; `None` at its end.
    pub(crate) fn next_block(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                return Some(parse(&block));
            }
            let mut size = String::new();
            self.reader.read_line(&mut size).expect("a chunk in time");
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            if size == 0 {
                return None;
            }
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).expect("a whole chunk");
            chunk.truncate(size);
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The next event with data; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let mut beats = 0;
        loop {
            let block = self.next_block()?;
            if !block.data.is_empty() {
                return Some(block);
            }
            beats += usize::from(block.comment);
            assert!(beats < 3, "only heartbeats come");
        }
    }

    /// The next event with data.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Event {
        self.next().expect("an event before the end of the stream")
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(':') {
            Some(("", _)) => event.comment = true,
            Some(("event", value)) => event.name = value.trim().to_owned(),
            Some(("id", value)) => event.id = value.trim().to_owned(),
            Some(("data", value)) => event.data.push_str(value.trim()),
            _ => {}
        }
    }
    event
}
