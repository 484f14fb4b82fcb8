//! A form of parts and files as `multipart/form-data` sends it (RFC 7578), and how far it is sent.

use std::collections::VecDeque;
use std::io::{self, Cursor, IsTerminal as _, Read, Write as _};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::random_name;

/// Longest file name that is sent, in bytes; of a longer one the end.
const MAX_NAME_BYTES: usize = 100;
/// From then on a person who waits is told how far it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often.
const TOLD_EVERY: Duration = Duration::from_millis(500);
const MEGABYTE: u64 = 1_000_000;

/// A form. Reading it gives the body that is sent.
pub(super) struct Form {
    boundary: String,
    pieces: VecDeque<Cursor<Vec<u8>>>,
    progress: Progress,
}

impl Form {
    /// A form without parts.
    pub(super) fn new() -> Form {
        // Drawn, so that no file holds it.
        let boundary = random_name("tidegate");
        Form { boundary, pieces: VecDeque::new(), progress: Progress::new() }
    }

    /// Adds a part that is JSON.
    pub(super) fn json(&mut self, name: &str, value: &Value) {
        let head = format!(
            "--{}\r\ncontent-disposition: form-data; name=\"{name}\"\r\ncontent-type: application/json\r\n\r\n",
            self.boundary
        );
        self.part(head, value.to_string().into_bytes());
    }

    /// Adds a file.
    pub(super) fn file(&mut self, name: &str, file_name: &str, bytes: Vec<u8>) {
        let head = format!(
            "--{}\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\n\
             content-type: application/octet-stream\r\n\r\n",
            self.boundary,
            quoted(end_of(file_name))
        );
        self.part(head, bytes);
    }

    fn part(&mut self, head: String, bytes: Vec<u8>) {
        for piece in [head.into_bytes(), bytes, b"\r\n".to_vec()] {
            self.progress.all += piece.len() as u64;
            self.pieces.push_back(Cursor::new(piece));
        }
    }

    /// Ends it: no part follows.
    pub(super) fn ended(mut self) -> Form {
        let end = format!("--{}--\r\n", self.boundary).into_bytes();
        self.progress.all += end.len() as u64;
        self.pieces.push_back(Cursor::new(end));
        self
    }

    /// As the header says it.
    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// How long it is.
    pub(super) fn body_bytes(&self) -> u64 {
        self.progress.all
    }
}

impl Read for Form {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(front) = self.pieces.front_mut() {
            let read = front.read(buffer)?;
            if read > 0 {
                self.progress.sent(read);
                return Ok(read);
            }
            self.pieces.pop_front();
        }
        Ok(0)
    }
}

/// What a person at a terminal sees of a long upload.
struct Progress {
    all: u64,
    sent: u64,
    begun: Instant,
    /// When it was told last; None: nothing was.
    told: Option<Instant>,
    is_watched: bool,
}

impl Progress {
    fn new() -> Progress {
        let is_watched = io::stderr().is_terminal();
        Progress { all: 0, sent: 0, begun: Instant::now(), told: None, is_watched }
    }

    fn sent(&mut self, bytes: usize) {
        if self.sent == 0 {
            self.begun = Instant::now();
        }
        self.sent += bytes as u64;
        let is_done = self.sent >= self.all;
        if !self.is_watched || self.begun.elapsed() < PATIENCE {
            return;
        }
        if is_done || self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
            self.told = Some(Instant::now());
            let (sent, all) = (self.sent / MEGABYTE, self.all.div_ceil(MEGABYTE));
            let end = if is_done { ", the gate judges\n" } else { "" };
            // Nobody may be looking.
            let _ = write!(io::stderr(), "\rsent {sent} of {all} MB{end}");
        }
    }
}

/// A name as it stands between quotes in a header: what would end it is written as browsers do.
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' => quoted.push_str("%22"),
            '\\' => quoted.push('/'),
            c if c.is_control() => quoted.push('_'),
            c => quoted.push(c),
        }
    }
    quoted
}

/// As much of a name, from its end, as is sent.
fn end_of(name: &str) -> &str {
    let mut from = name.len().saturating_sub(MAX_NAME_BYTES);
    while !name.is_char_boundary(from) {
        from += 1;
    }
    &name[from..]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sent(form: Form) -> (u64, String) {
        let (length, mut form, mut body) = (form.body_bytes(), form, String::new());
        form.read_to_string(&mut body).expect("text in memory");
        (length, body)
    }

    #[test]
    fn parts_follow_each_other_between_boundaries_and_the_length_is_known_before() {
        let mut form = Form::new();
        form.json("request", &json!({ "artifact": "sha256:00" }));
        form.file("evidence", "reports/junit.xml", b"<testsuite/>".to_vec());
        let form = form.ended();
        let boundary =
            form.content_type().strip_prefix("multipart/form-data; boundary=").expect("one").to_owned();
        let (length, body) = sent(form);
        assert_eq!(length, body.len() as u64);
        assert_eq!(
            body,
            format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"request\"\r\ncontent-type: application/json\r\n\r\n\
                 {{\"artifact\":\"sha256:00\"}}\r\n\
                 --{boundary}\r\ncontent-disposition: form-data; name=\"evidence\"; filename=\"reports/junit.xml\"\r\n\
                 content-type: application/octet-stream\r\n\r\n<testsuite/>\r\n--{boundary}--\r\n"
            )
        );
    }

    #[test]
    fn a_file_name_cannot_end_its_header() {
        let mut form = Form::new();
        form.file("evidence", "a\"; name=\"request\r\nx: y\\z.xml", Vec::new());
        let (_, body) = sent(form.ended());
        assert!(body.contains("filename=\"a%22; name=%22request__x: y/z.xml\"\r\n"), "{body}");
    }

    #[test]
    fn of_a_long_name_the_end_is_sent() {
        let name = format!("{}é{}", "a".repeat(50), "b".repeat(99));
        assert_eq!(end_of(&name), "b".repeat(99), "no half of a letter");
        assert_eq!(end_of("junit.xml"), "junit.xml");
    }
}
