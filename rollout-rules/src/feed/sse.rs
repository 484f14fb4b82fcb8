//! Reads a stream of server-sent events, however it is cut into pieces.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::MAX_FRAME_BYTES;
use crate::time::DurationMs;

/// Longest line, in bytes: one that carries a whole frame.
const MAX_LINE_BYTES: usize = MAX_FRAME_BYTES + 1024;
/// Longest name or id, in bytes; ours have less than a hundred. A larger one ends the stream.
const MAX_WORD_BYTES: usize = 1024;
/// Memory that is kept for the next event after a large one.
const KEPT_BYTES: usize = 64 * 1024;

/// Something that a stream said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An event with data.
    Event {
        /// Its name; `message` if it has none.
        name: String,
        /// Its data.
        data: Vec<u8>,
        /// The id of the stream as of this event.
        id: Option<String>,
    },
    /// The id moved, and nothing else.
    Id(String),
    /// The server asks for this delay before a new connection.
    Retry(DurationMs),
    /// A sign of life.
    Comment,
}

/// The stream holds more in one event than a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge;

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event on the feed is larger than {MAX_FRAME_BYTES} bytes")
    }
}

impl core::error::Error for EventTooLarge {}

/// Takes bytes as they come and gives messages as they are complete.
#[derive(Debug, Default)]
pub struct EventParser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    name: String,
    id: Option<String>,
    id_moved: bool,
    after_cr: bool,
    begun: bool,
}

impl EventParser {
    /// Takes the next bytes, and calls `say` for each message that they complete.
    pub fn push(&mut self, mut bytes: &[u8], mut say: impl FnMut(Message)) -> Result<(), EventTooLarge> {
        while let Some(first) = bytes.first() {
            if core::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
                return self.keep(bytes);
            };
            self.keep(&bytes[..end])?;
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            let line = core::mem::take(&mut self.line);
            let text = if core::mem::replace(&mut self.begun, true) {
                &line[..]
            } else {
                line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line)
            };
            self.take_line(text, &mut say)?;
            self.line = line;
            self.line.clear();
            self.line.shrink_to(KEPT_BYTES);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        if self.line.len() + bytes.len() > MAX_LINE_BYTES {
            return Err(EventTooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], say: &mut impl FnMut(Message)) -> Result<(), EventTooLarge> {
        if line.is_empty() {
            self.dispatch(say);
            return Ok(());
        }
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (field, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"" => say(Message::Comment),
            b"data" => {
                if self.data.len() + value.len() + 1 > MAX_FRAME_BYTES {
                    return Err(EventTooLarge);
                }
                if core::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
            b"event" | b"id" if value.len() > MAX_WORD_BYTES => return Err(EventTooLarge),
            b"event" => self.name = word(value),
            b"id" if !value.contains(&0) => {
                self.id = Some(word(value));
                self.id_moved = true;
            }
            b"retry" => {
                if let Some(ms) = core::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
                    say(Message::Retry(DurationMs(ms)));
                }
            }
            // The standard: fields that nobody knows are passed over.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, say: &mut impl FnMut(Message)) {
        let name = core::mem::take(&mut self.name);
        let id_moved = core::mem::take(&mut self.id_moved);
        if core::mem::take(&mut self.has_data) {
            let name = if name.is_empty() { String::from("message") } else { name };
            say(Message::Event { name, data: core::mem::take(&mut self.data), id: self.id.clone() });
        } else if let (true, Some(id)) = (id_moved, &self.id) {
            say(Message::Id(id.clone()));
        }
    }
}

/// A name or an id. Ours are plain letters: what is no text names nothing.
fn word(bytes: &[u8]) -> String {
    String::from(core::str::from_utf8(bytes).unwrap_or("\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Message> {
        let mut parser = EventParser::default();
        let mut messages = Vec::new();
        for piece in pieces {
            parser.push(piece, |message| messages.push(message)).expect("small events");
        }
        messages
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> Message {
        Message::Event { name: name.into(), data: data.as_bytes().to_vec(), id: id.map(ToString::to_string) }
    }

    #[test]
    fn an_event_reads_the_same_wherever_the_stream_is_cut() {
        let stream = b"\xEF\xBB\xBFevent: change\r\nid: l:7\r\ndata: {\"a\":1}\r\n\r\n: hb\rdata: x\rdata:y\r\rid: l:8\n\nretry: 250\n";
        let expected = vec![
            event("change", "{\"a\":1}", Some("l:7")),
            Message::Comment,
            event("message", "x\ny", Some("l:7")),
            Message::Id("l:8".into()),
            Message::Retry(DurationMs(250)),
        ];
        for cut in 0..stream.len() {
            for second in cut..stream.len() {
                let pieces = [&stream[..cut], &stream[cut..second], &stream[second..]];
                assert_eq!(read(&pieces), expected, "cut at {cut} and {second}");
            }
        }
    }

    #[test]
    fn an_unfinished_event_says_nothing() {
        assert_eq!(read(&[b"event: change\ndata: {\"half\":"]), vec![]);
        assert_eq!(read(&[b"data: whole\n"]), vec![]);
    }

    #[test]
    fn an_endless_line_is_given_up_at_the_bound() {
        let mut parser = EventParser::default();
        let mebibyte = vec![b'x'; 1024 * 1024];
        parser.push(b"data: ", |_| {}).expect("short");
        let pushed = (0..=64).map(|_| parser.push(&mebibyte, |_| {})).position(|result| result.is_err());
        assert_eq!(pushed, Some(64));
    }

    #[test]
    fn a_name_or_an_id_without_end_is_given_up_at_the_bound() {
        for field in ["id", "event"] {
            let line = |length: usize| alloc::format!("{field}: {}\n\n", "x".repeat(length));
            let mut parser = EventParser::default();
            assert_eq!(parser.push(line(MAX_WORD_BYTES).as_bytes(), |_| {}), Ok(()), "{field}");
            assert_eq!(
                parser.push(line(MAX_WORD_BYTES + 1).as_bytes(), |_| {}),
                Err(EventTooLarge),
                "{field}"
            );
        }
    }

    #[test]
    fn endless_data_lines_are_given_up_at_the_bound() {
        let mut parser = EventParser::default();
        let mut line = b"data: ".to_vec();
        line.resize(8 * 1024 * 1024, b'x');
        line.push(b'\n');
        let pushed = (0..9).map(|_| parser.push(&line, |_| {})).position(|result| result.is_err());
        assert_eq!(pushed, Some(8));
    }
}
