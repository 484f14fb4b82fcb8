//! What names a state of the flags: the same tag means the same answers.

use std::hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState};

use actix_web::http::header::{self, HeaderName};
use rollout_rules::ids::{AppKey, EnvKey, KillId, LogId, Revision};
use rollout_rules::time::UnixMs;
use sha2::{Digest as _, Sha256};

use super::feed::channel::reaches;
use crate::state::Published;

/// Enough of a SHA-256 that no two states share it: 128 bits.
const TAG_BYTES: usize = 16;

/// The header that names a thing's revision, as `If-Match` gives it back.
pub fn header(revision: Revision) -> (HeaderName, String) {
    (header::ETAG, format!("\"{revision}\""))
}

/// Everything besides the context that answers depend on.
fn hash_configuration(
    log: &LogId,
    app: &AppKey,
    environment: &EnvKey,
    revision: Revision,
    boundary: UnixMs,
    overlays: &[KillId],
) -> Sha256 {
    let mut hash = Sha256::new();
    // No name holds a newline, so parts cannot run into each other.
    for part in [log.as_str(), app.as_str(), environment.as_str()] {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    hash.update(revision.0.to_le_bytes());
    hash.update(boundary.0.to_le_bytes());
    for kill in overlays {
        hash.update(kill.as_str().as_bytes());
        hash.update(b"\n");
    }
    hash
}

fn written(hash: Sha256) -> String {
    hash.finalize()[..TAG_BYTES].iter().flat_map(|byte| digits(*byte).map(char::from)).collect()
}

fn digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)])
}

/// The tag of what an environment serves at a moment, whoever asks.
pub fn configuration(
    log: &LogId,
    app: &AppKey,
    environment: &EnvKey,
    revision: Revision,
    boundary: UnixMs,
    overlays: &[KillId],
) -> String {
    written(hash_configuration(log, app, environment, revision, boundary, overlays))
}

/// Names the answers to a token's bodies while nothing changes besides them. Only for one process: the key is drawn at its
/// start.
#[derive(Clone)]
pub struct BodyTags(DefaultHasher);

impl BodyTags {
    /// As [`configuration`], with whose event stream stands in the answers. The key has to be the same for all.
    #[allow(clippy::too_many_arguments, reason = "each is a part that answers depend on")]
    pub fn new(
        key: &RandomState,
        log: &LogId,
        app: &AppKey,
        environment: &EnvKey,
        revision: Revision,
        boundary: UnixMs,
        overlays: &[KillId],
        stream: &str,
    ) -> BodyTags {
        let mut state = hash_configuration(log, app, environment, revision, boundary, overlays);
        state.update(b"\n");
        state.update(stream);
        let mut hash = key.build_hasher();
        hash.write(&state.finalize());
        BodyTags(hash)
    }

    /// The tag of what a body is answered, taken as it was sent, context and all. 128 bits of a keyed hash: clients cannot
    /// look for two bodies that share one.
    pub fn of(&self, body: &[u8]) -> BodyTag {
        let mut hash = self.0.clone();
        hash.write(body);
        let halves = [0, 1].map(|half| {
            let mut hash = hash.clone();
            hash.write_u8(half);
            hash.finish().to_be_bytes()
        });
        let mut text = [0; TAG_BYTES * 2];
        for (place, byte) in halves.as_flattened().iter().enumerate() {
            [text[2 * place], text[2 * place + 1]] = digits(*byte);
        }
        BodyTag(text)
    }
}

/// The tag of what a body is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyTag([u8; TAG_BYTES * 2]);

impl BodyTag {
    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

/// The tag of what a page is told for a context, which is hashed as it was sent.
pub fn page(
    log: &LogId,
    app: &AppKey,
    environment: &EnvKey,
    published: &Published,
    context: &[u8],
    now: UnixMs,
) -> String {
    let overlays: Vec<KillId> = reaching(published, app, environment);
    let revision = published.snapshot.feed_revision(app, environment);
    let boundary = published.snapshot.boundary(app, environment, now);
    let mut hash = hash_configuration(log, app, environment, revision, boundary, &overlays);
    hash.update(b"\npage\n");
    hash.update(context);
    written(hash)
}

/// The kills that the log has not taken yet and that reach an environment.
pub fn reaching(published: &Published, app: &AppKey, environment: &EnvKey) -> Vec<KillId> {
    let kills = published.overlays.iter().filter(|kill| reaches(kill, app, environment));
    kills.map(|kill| kill.kill_id.clone()).collect()
}

/// A tag with the moment until which its answer's event stream can be opened.
pub fn with_end(tag: &str, until: UnixMs) -> String {
    format!("{tag}.{:x}", until.0)
}

/// The first tag of an `If-None-Match` that names an answer with this tag whose event stream can still be
/// opened. A 304 brings no new address of one, so whoever holds only a dead one needs a whole answer.
pub fn still_good<'h>(header: &'h str, tag: &str, now: UnixMs) -> Option<&'h str> {
    given(header).find(|given| is_still_good(given.as_bytes(), tag, now))
}

/// Whether an `If-None-Match` is such a tag as it was given, and nothing besides.
pub fn is_given_back(header: &[u8], tag: &str, now: UnixMs) -> bool {
    let given = header.strip_prefix(b"\"").and_then(|header| header.strip_suffix(b"\""));
    given.is_some_and(|given| is_still_good(given, tag, now))
}

fn is_still_good(given: &[u8], tag: &str, now: UnixMs) -> bool {
    let until = given.strip_prefix(tag.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
    let until = until.filter(|until| until.iter().all(u8::is_ascii_hexdigit));
    let until = until.and_then(|until| u64::from_str_radix(std::str::from_utf8(until).ok()?, 16).ok());
    until.is_some_and(|until| now < UnixMs(until))
}

/// The tags in an `If-None-Match`, without quotes; weak and strong forms are the same here. `*` is none:
/// whoever has no answer yet needs one, and one that is made from a wrong context has to be refused.
fn given(header: &str) -> impl Iterator<Item = &str> {
    let tags = header.split(',').map(str::trim);
    tags.map(|given| given.strip_prefix("W/").unwrap_or(given).trim_matches('"'))
}

/// The revision in an `If-Match`: `"7"`, also without quotes.
pub fn revision(header: &str) -> Option<Revision> {
    header.trim().trim_matches('"').parse().ok().map(Revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_state_makes_another_tag() {
        let log = LogId::new("log").unwrap();
        let (app, environment) = (AppKey::new("shop").unwrap(), EnvKey::new("production").unwrap());
        let kill = [KillId::new("k").unwrap()];
        let key = RandomState::new();
        let tag = |revision, boundary, overlays: &[KillId], stream: &str, body: &[u8]| {
            let (revision, boundary) = (Revision(revision), UnixMs(boundary));
            BodyTags::new(&key, &log, &app, &environment, revision, boundary, overlays, stream).of(body)
        };
        let all = [
            tag(1, 0, &[], "s", b"{}"),
            tag(2, 0, &[], "s", b"{}"),
            tag(1, 1, &[], "s", b"{}"),
            tag(1, 0, &kill, "s", b"{}"),
            tag(1, 0, &[], "s", b"{ }"),
            tag(1, 0, &[], "t", b"{}"),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
        assert_eq!(tag(1, 0, &[], "s", b"{}"), all[0]);
        assert_eq!(all[0].as_str().len(), TAG_BYTES * 2);
    }

    #[test]
    fn a_list_of_tags_matches_if_one_does_and_its_stream_can_still_be_opened() {
        let good = |header| still_good(header, "b", UnixMs(0x20));
        assert_eq!(good("\"a.21\", W/\"b.21\""), Some("b.21"));
        assert_eq!(good("b.21"), Some("b.21"));
        for bad in ["*", "\"bb.21\"", "\"b\"", "\"b.20\"", "\"b.\"", "\"b.x\"", ""] {
            assert_eq!(good(bad), None, "{bad}");
        }
        let back = |header: &str| is_given_back(header.as_bytes(), "b", UnixMs(0x20));
        assert!(back("\"b.21\""));
        for other in
            ["b.21", "W/\"b.21\"", "\"a.21\", \"b.21\"", "\"\"b.21\"\"", "\"b.20\"", "\"b.+21\"", "\"", ""]
        {
            assert!(!back(other), "{other}");
        }
        assert_eq!(still_good(&with_end("b", UnixMs(0x21)), "b", UnixMs(0x20)), Some("b.21"));
        assert_eq!(revision("\"12\""), Some(Revision(12)));
        assert_eq!(revision("twelve"), None);
    }
}
