//! Answers of HTTP/1.1, read as they come in, in pieces of any size. A connection has one request under way at a
//! time, so nothing may follow an answer.

/// Longest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Longest line inside a chunked body, in bytes: a size, or a trailer.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// What comes after the head.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    /// So many bytes more.
    Bytes(u64),
    Chunks(Chunks),
    /// All until the connection is closed.
    UntilClosed,
}

/// Where a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Chunks {
    /// In a line with a size.
    Size,
    /// So many bytes of a chunk are still to come.
    Data(u64),
    /// At the line's end behind a chunk.
    DataEnd,
    /// In the lines behind the last chunk.
    Trailer,
}

/// What is to be known of a whole answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    /// Whether the server closes the connection after it.
    pub(crate) closes: bool,
    /// Whether a server that has too much to do (429, 503) says when to come again, in whole seconds.
    pub(crate) says_when: bool,
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The first line is not one of HTTP/1.x, or a length is no number.
    Head,
    /// The head is longer than any may be.
    LongHead,
    /// A chunk's size is none.
    Chunk,
    /// Something came that nobody asked for.
    Unasked,
    /// The connection was closed before the end.
    CutShort,
}

impl Malformed {
    /// What is wrong, as part of a sentence about an answer.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Malformed::Head => "does not begin as HTTP/1.1 does",
            Malformed::LongHead => "has a head of more than 64 KiB",
            Malformed::Chunk => "has a chunk without a size",
            Malformed::Unasked => "is followed by bytes that nobody asked for",
            Malformed::CutShort => "ends too early",
        }
    }
}

/// Where the bytes of a body go.
pub(crate) trait Body {
    fn take(&mut self, bytes: &[u8]);
}

/// Bodies of which nobody knows more than how long they are, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Length(pub(crate) u64);

impl Body for Length {
    fn take(&mut self, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }
}

impl Body for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The answer that is being read on a connection.
#[derive(Debug, Default)]
pub(crate) struct AnswerReader {
    /// The head as far as it is there, or a line of a chunked body.
    unread: Vec<u8>,
    answered: Option<Answered>,
    rest: Option<Rest>,
}

impl AnswerReader {
    /// Takes in what came; gives the answer once it is whole.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        body: &mut impl Body,
    ) -> Result<Option<Answered>, Malformed> {
        while self.rest.is_none() {
            match self.head(bytes)? {
                Some(end) => bytes = &bytes[end..],
                None => return Ok(None),
            }
        }
        let left = self.body(bytes, body)?;
        match self.rest {
            Some(Rest::Bytes(0)) if left.is_empty() => Ok(self.whole()),
            Some(Rest::Bytes(0)) => Err(Malformed::Unasked),
            _ => Ok(None),
        }
    }

    /// Whether a part of an answer is there.
    pub(super) fn has_begun(&self) -> bool {
        self.answered.is_some() || !self.unread.is_empty()
    }

    /// The connection was closed: that may be an answer's end.
    pub(crate) fn closed(&mut self) -> Result<Answered, Malformed> {
        if self.rest != Some(Rest::UntilClosed) {
            return Err(Malformed::CutShort);
        }
        self.whole().ok_or(Malformed::CutShort)
    }

    fn whole(&mut self) -> Option<Answered> {
        self.rest = None;
        self.unread.clear();
        self.answered.take()
    }

    /// Where the head ends in these bytes; none if it does not yet. Heads that only announce an answer are passed over.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let held = self.unread.len();
        // Most heads come whole, and then nothing is copied.
        let whole = if held == 0 {
            bytes
        } else {
            self.unread.extend_from_slice(bytes);
            &self.unread
        };
        // An end may have begun in what was there before.
        let from = held.saturating_sub(3);
        let Some(end) = end_of_head(&whole[from..]).map(|end| from + end) else {
            if whole.len() > MAX_HEAD_BYTES {
                return Err(Malformed::LongHead);
            }
            if held == 0 {
                self.unread.extend_from_slice(bytes);
            }
            return Ok(None);
        };
        let (answered, rest) = read_head(&whole[..end])?;
        self.unread.clear();
        if !(100..200).contains(&answered.status) {
            (self.answered, self.rest) = (Some(answered), Some(rest));
        }
        Ok(Some(end - held))
    }

    /// Takes what belongs to the body, and gives what is left.
    fn body<'b>(&mut self, mut bytes: &'b [u8], body: &mut impl Body) -> Result<&'b [u8], Malformed> {
        loop {
            match &mut self.rest {
                None | Some(Rest::Bytes(0)) => return Ok(bytes),
                Some(Rest::UntilClosed) => {
                    body.take(bytes);
                    return Ok(&[]);
                }
                Some(Rest::Bytes(left) | Rest::Chunks(Chunks::Data(left))) if *left > 0 => {
                    let (now, later) =
                        bytes.split_at(bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                    body.take(now);
                    *left -= now.len() as u64;
                    bytes = later;
                    if *left > 0 {
                        return Ok(bytes);
                    }
                }
                Some(Rest::Bytes(_)) => return Ok(bytes),
                Some(Rest::Chunks(at)) => {
                    if let Chunks::Data(_) = at {
                        *at = Chunks::DataEnd;
                    }
                    let at = *at;
                    match self.line(&mut bytes)? {
                        Some(line) => self.rest = Some(after_line(at, &line)?),
                        None => return Ok(bytes),
                    }
                }
            }
        }
    }

    /// The next line without its end; none if it is not whole yet.
    fn line(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (now, later) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        self.unread.extend_from_slice(now);
        *bytes = later;
        if self.unread.len() > MAX_LINE_BYTES {
            return Err(Malformed::Chunk);
        }
        Ok(end.map(|_| std::mem::take(&mut self.unread).trim_ascii_end().to_vec()))
    }
}

/// What follows a line inside a chunked body.
fn after_line(at: Chunks, line: &[u8]) -> Result<Rest, Malformed> {
    match at {
        Chunks::Size => {
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let digits = std::str::from_utf8(digits).map_err(|_| Malformed::Chunk)?;
            let size = u64::from_str_radix(digits, 16).map_err(|_| Malformed::Chunk)?;
            Ok(Rest::Chunks(if size == 0 { Chunks::Trailer } else { Chunks::Data(size) }))
        }
        Chunks::Data(_) | Chunks::DataEnd if line.is_empty() => Ok(Rest::Chunks(Chunks::Size)),
        Chunks::Data(_) | Chunks::DataEnd => Err(Malformed::Chunk),
        Chunks::Trailer if line.is_empty() => Ok(Rest::Bytes(0)),
        Chunks::Trailer => Ok(Rest::Chunks(Chunks::Trailer)),
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn read_head(head: &[u8]) -> Result<(Answered, Rest), Malformed> {
    let (first, _) = head.split_first_chunk::<12>().ok_or(Malformed::Head)?;
    if !first.starts_with(b"HTTP/1.") {
        return Err(Malformed::Head);
    }
    let code = std::str::from_utf8(&first[9..]).ok().and_then(|code| code.parse().ok());
    let status: u16 = code.ok_or(Malformed::Head)?;
    let mut answered = Answered { status, closes: first[7] == b'0', says_when: false };
    let (mut length, mut is_chunked) = (None, false);
    for line in head.split(|byte| *byte == b'\n') {
        if let Some(value) = value_of(line, b"content-length") {
            let text = std::str::from_utf8(value).map_err(|_| Malformed::Head)?;
            length = Some(text.parse().map_err(|_| Malformed::Head)?);
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            is_chunked = value.to_ascii_lowercase().ends_with(b"chunked");
        } else if let Some(value) = value_of(line, b"connection") {
            answered.closes = value.eq_ignore_ascii_case(b"close");
        } else if matches!(status, 429 | 503)
            && let Some(value) = value_of(line, b"retry-after")
        {
            answered.says_when = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        }
    }
    let rest = match length {
        _ if matches!(status, 204 | 304) => Rest::Bytes(0),
        _ if is_chunked => Rest::Chunks(Chunks::Size),
        Some(length) => Rest::Bytes(length),
        None => Rest::UntilClosed,
    };
    Ok((answered, rest))
}

/// The value of a header, if the line is one of this name.
pub(crate) fn value_of<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer and its body, however the bytes are cut; all cuts have to agree.
    fn read(text: &str) -> Result<(Option<u16>, String), Malformed> {
        let in_pieces = |size: usize| {
            let (mut reader, mut body, mut status) = (AnswerReader::default(), Vec::new(), None);
            for piece in text.as_bytes().chunks(size) {
                if status.is_some() {
                    return Err(Malformed::Unasked);
                }
                status = reader.take(piece, &mut body)?.map(|answered| answered.status);
            }
            Ok((status, String::from_utf8(body).unwrap()))
        };
        let whole = in_pieces(text.len());
        for size in 1..text.len() {
            assert_eq!(in_pieces(size), whole, "in pieces of {size} bytes: {text}");
        }
        whole
    }

    #[test]
    fn an_answer_is_whole_at_its_last_byte_however_it_is_cut() {
        let told = |status, body: &str| Ok((Some(status), body.to_owned()));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"), told(200, "abcde"));
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length:0\r\nx: y\r\n\r\n"), told(200, ""));
        assert_eq!(read("HTTP/1.1 304 Not Modified\r\ncontent-length: 900\r\n\r\n"), told(304, ""));
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n"), told(204, ""));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(read(chunked), told(200, "abc0123456789"));
        let trailed =
            chunked.replace("0\r\n\r\n", "0\r\nx: y\r\n\r\n").replace("0123456789\r\n0", "0123456789\r\n00");
        assert_eq!(read(&trailed), told(200, "abc0123456789"));
        assert_eq!(
            read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 No\r\ncontent-length: 1\r\n\r\nx"),
            told(429, "x")
        );
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"), Ok((None, "abc".to_owned())));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert_eq!(read("SSH-2.0-server 1\r\n\r\n"), Err(Malformed::Head));
        assert_eq!(read("HTTP/1.1 abc\r\n\r\n"), Err(Malformed::Head));
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n"), Err(Malformed::Head));
        assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"), Err(Malformed::Unasked));
        assert_eq!(read("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n"), Err(Malformed::Chunk));
        assert_eq!(
            read("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n"),
            Err(Malformed::Chunk)
        );
        let endless = vec![b'a'; MAX_HEAD_BYTES + 1];
        assert_eq!(AnswerReader::default().take(&endless, &mut Length::default()), Err(Malformed::LongHead));
    }

    #[test]
    fn whoever_has_too_much_to_do_says_when_to_come_again_in_whole_seconds() {
        let says_when = |status: u16, header: &str| {
            let text = format!("HTTP/1.1 {status} No\r\n{header}content-length: 0\r\n\r\n");
            let answered = AnswerReader::default().take(text.as_bytes(), &mut Length::default());
            answered.unwrap().unwrap().says_when
        };
        assert!(says_when(429, "Retry-After: 1\r\n") && says_when(503, "retry-after:  20\r\n"));
        assert!(!says_when(429, "") && !says_when(429, "retry-after: soon\r\n"));
        assert!(!says_when(429, "retry-after:\r\n") && !says_when(200, "retry-after: 1\r\n"));
    }

    #[test]
    fn a_closed_connection_ends_only_an_answer_that_has_no_other_end() {
        let (mut reader, mut body) = (AnswerReader::default(), Vec::new());
        assert_eq!(reader.take(b"HTTP/1.0 200 OK\r\n\r\nall", &mut body), Ok(None));
        assert_eq!(reader.closed(), Ok(Answered { status: 200, closes: true, says_when: false }));
        assert_eq!(body, b"all");
        assert_eq!(reader.take(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall", &mut body), Ok(None));
        assert_eq!(reader.closed(), Err(Malformed::CutShort));
        let closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n";
        let answered = AnswerReader::default().take(closing, &mut body);
        assert_eq!(answered, Ok(Some(Answered { status: 200, closes: true, says_when: false })));
    }
}
