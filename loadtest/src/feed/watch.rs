//! Clients that watch: they connect all at once, wait for events that hold a marker, and never come back.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::time::{Duration, Instant};

use rollout_rules::feed::machine::Loss;

use super::crowd::{Crowd, Heard};
use super::{Feed, FeedError, patient};
use crate::sender::Meanwhile;

/// What has not happened after this does not happen any more.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether it is too late.
const LOOK: Duration = Duration::from_millis(100);
/// Clients that are heard of at once.
const AT_ONCE: usize = 512;
/// How an event ends.
const END: &[u8] = b"\n\n";
/// The rest of what streams begin with has come when nothing was heard for so long.
const QUIET: Duration = Duration::from_millis(300);

/// Many clients of one server.
pub(crate) struct Watchers {
    crowd: Crowd,
    clients: usize,
    event_bytes: usize,
}

impl Watchers {
    /// Connects so many clients, all at once, and waits until every one has the event that its stream begins with. How
    /// long each took since the first began, in order.
    pub(crate) fn storm(
        server: &dyn Feed,
        clients: usize,
        meanwhile: &mut dyn Meanwhile,
    ) -> Result<(Watchers, Vec<Duration>), FeedError> {
        let crowd = Crowd::new(server.address(), clients)?;
        let mut watchers = Watchers { crowd, clients, event_bytes: 0 };
        let mut took = Vec::with_capacity(clients);
        let mut start = Instant::now();
        while took.len() < clients {
            let these = took.len()..clients.min(took.len().saturating_add(server.at_once()));
            let requests: Vec<Vec<u8>> =
                these.clone().map(|client| server.subscribe(client)).collect::<Result<_, _>>()?;
            // To ask for what they are to send is not theirs.
            if took.is_empty() {
                start = Instant::now();
            }
            for (client, request) in these.clone().zip(requests) {
                watchers.crowd.connect(client, request);
            }
            took.extend(watchers.until_have(
                these,
                server.first_event(),
                start,
                "have no stream",
                meanwhile,
            )?);
        }
        watchers.until_quiet(PATIENCE)?;
        Ok((watchers, took))
    }

    /// Waits until nobody hears anything: an event is not heard by who still reads what was before it.
    fn until_quiet(&mut self, patience: Duration) -> Result<(), FeedError> {
        let start = Instant::now();
        let mut lost = None;
        while self.crowd.step(QUIET, AT_ONCE, &mut |_, heard| note_lost(heard, &mut lost))? > 0 {
            if start.elapsed() > patience {
                let what = "still hear something, unasked,";
                return Err(FeedError::Late { left: self.clients, of: self.clients, what, after: patience });
            }
        }
        nobody_lost(lost)
    }

    /// The length of the last event as clients heard it, on the average.
    pub(crate) fn event_bytes(&self) -> usize {
        self.event_bytes
    }

    /// Nothing happens for so long.
    pub(crate) fn idle(&mut self, length: Duration, meanwhile: &mut dyn Meanwhile) -> Result<(), FeedError> {
        let start = Instant::now();
        let mut lost = None;
        while let Some(left) = length.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            meanwhile.step(start.elapsed(), 0);
            self.crowd.step(left.min(LOOK), AT_ONCE, &mut |_, heard| note_lost(heard, &mut lost))?;
        }
        nobody_lost(lost)
    }

    /// Sends the request and waits until every client has seen the marker. How long each took since the request began,
    /// in order.
    pub(crate) fn publish(
        &mut self,
        server: &mut dyn Feed,
        marker: &str,
        meanwhile: &mut dyn Meanwhile,
    ) -> Result<Vec<Duration>, FeedError> {
        let request = server.publish(marker);
        let marker = server.seen_as(marker);
        let start = Instant::now();
        let mut operator = patient(server.address())?;
        operator.write_all(&request)?;
        let all = 0..self.clients;
        let took =
            self.until_have(all, Some(marker.as_bytes()), start, "have not seen the event", meanwhile)?;
        let mut answer = String::new();
        operator.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 2") {
            return Ok(took);
        }
        let status = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_default();
        Err(FeedError::Refused { what: "an event", status })
    }

    /// Waits until each of these clients has an event that holds the marker, or at least a stream, if there is none.
    fn until_have(
        &mut self,
        these: Range<usize>,
        marker: Option<&[u8]>,
        start: Instant,
        what: &'static str,
        meanwhile: &mut dyn Meanwhile,
    ) -> Result<Vec<Duration>, FeedError> {
        let tail = |client| these.contains(&client).then(Vec::new);
        let mut tails: Vec<Option<Vec<u8>>> = (0..self.clients).map(tail).collect();
        let mut took = Vec::with_capacity(these.len());
        let began = Instant::now();
        let mut event_bytes = 0;
        let mut lost = None;
        while took.len() < these.len() && lost.is_none() {
            if began.elapsed() > PATIENCE {
                let left = these.len() - took.len();
                return Err(FeedError::Late { left, of: these.len(), what, after: PATIENCE });
            }
            meanwhile.step(start.elapsed(), took.len() as u64);
            self.crowd.step(LOOK, AT_ONCE, &mut |client, heard| {
                let has_it = match (heard, &mut tails[client], marker) {
                    (Heard::Lost(loss), ..) => {
                        lost.get_or_insert(loss);
                        false
                    }
                    (Heard::Opened, tail, marker) => tail.is_some() && marker.is_none(),
                    (Heard::Bytes(bytes), Some(tail), Some(marker)) => {
                        // Nearly always the event comes in one piece.
                        let is_whole = tail.is_empty() && has_event(bytes, marker);
                        if !is_whole {
                            tail.extend_from_slice(bytes);
                        }
                        let text = if is_whole { bytes } else { tail.as_slice() };
                        let has_it = is_whole || has_event(text, marker);
                        if has_it {
                            event_bytes += bytes_of_event(text, marker);
                        }
                        has_it
                    }
                    (Heard::Bytes(_), ..) => false,
                };
                if has_it {
                    tails[client] = None;
                    took.push(start.elapsed());
                }
            })?;
        }
        nobody_lost(lost)?;
        self.event_bytes = event_bytes / took.len().max(1);
        Ok(took)
    }
}

fn note_lost(heard: Heard<'_>, lost: &mut Option<Loss>) {
    if let Heard::Lost(loss) = heard {
        lost.get_or_insert(loss);
    }
}

fn nobody_lost(lost: Option<Loss>) -> Result<(), FeedError> {
    let Some(loss) = lost else { return Ok(()) };
    Err(FeedError::Lost { what: "a client has no stream any more", why: format!("{loss:?}") })
}

/// Whether an event that holds the marker is there to its end.
fn has_event(text: &[u8], marker: &[u8]) -> bool {
    let Some(from) = place_of(text, marker) else { return false };
    text.ends_with(END) || place_of(&text[from..], END).is_some()
}

/// The length of the event that holds the marker, with its end; 0 if it is not there.
fn bytes_of_event(text: &[u8], marker: &[u8]) -> usize {
    let mut rest = text;
    while let Some(end) = place_of(rest, END).map(|end| end + END.len()) {
        let (event, more) = rest.split_at(end);
        if place_of(event, marker).is_some() {
            return event.len();
        }
        rest = more;
    }
    0
}

/// Where something begins in a text. All clients share a core with this, so whole windows are compared only where the
/// first byte is right.
fn place_of(text: &[u8], part: &[u8]) -> Option<usize> {
    let first = *part.first()?;
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == first) {
        from += at;
        if text[from..].starts_with(part) {
            return Some(from);
        }
        from += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_there_once_its_end_is() {
        let event = b": hb\n\nevent: change\ndata: {\"kill\":\"evt-1-2-\"}\n\n";
        let is_there = |length: usize| has_event(&event[..length], b"evt-1-2-");
        assert!(is_there(event.len()) && has_event(&[event, &b": hb"[..]].concat(), b"evt-1-2-"));
        // An end before it is another's.
        assert!((0..event.len()).all(|length| !is_there(length)), "only the whole is one");
        assert!(!has_event(event, b"evt-1-3-"));
        // What was before it, and what comes after, is not its length.
        let more = [event, &b": hb\n\n"[..]].concat();
        assert_eq!(bytes_of_event(&more, b"evt-1-2-"), event.len() - b": hb\n\n".len());
        assert_eq!(bytes_of_event(&more, b"evt-1-3-"), 0);
    }
}
