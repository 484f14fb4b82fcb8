//! What names a state of the flags: the same tag means the same answers.

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
    use std::fmt::Write as _;
    let mut text = String::with_capacity(TAG_BYTES * 2);
    for byte in &hash.finalize()[..TAG_BYTES] {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
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

/// The tag of what one context is served: as [`configuration`], with the context as it was sent, and with
/// whose event stream stands in the answer.
#[allow(clippy::too_many_arguments, reason = "each is a part that answers depend on")]
pub fn bulk(
    log: &LogId,
    app: &AppKey,
    environment: &EnvKey,
    revision: Revision,
    boundary: UnixMs,
    overlays: &[KillId],
    stream: &str,
    context: &[u8],
) -> String {
    let mut hash = hash_configuration(log, app, environment, revision, boundary, overlays);
    hash.update(b"\n");
    hash.update(stream);
    hash.update(b"\n");
    hash.update(context);
    written(hash)
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
    given(header).find(|given| {
        given.split_once('.').is_some_and(|(state, until)| {
            let is_hex = until.bytes().all(|byte| byte.is_ascii_hexdigit());
            let until = u64::from_str_radix(until, 16).ok().filter(|_| is_hex);
            state == tag && until.is_some_and(|until| now < UnixMs(until))
        })
    })
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
        let tag = |revision, boundary, overlays: &[KillId], stream: &str, context: &[u8]| {
            bulk(&log, &app, &environment, Revision(revision), UnixMs(boundary), overlays, stream, context)
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
    }

    #[test]
    fn a_list_of_tags_matches_if_one_does_and_its_stream_can_still_be_opened() {
        let good = |header| still_good(header, "b", UnixMs(0x20));
        assert_eq!(good("\"a.21\", W/\"b.21\""), Some("b.21"));
        assert_eq!(good("b.21"), Some("b.21"));
        for bad in ["*", "\"bb.21\"", "\"b\"", "\"b.20\"", "\"b.\"", "\"b.x\"", ""] {
            assert_eq!(good(bad), None, "{bad}");
        }
        assert_eq!(still_good(&with_end("b", UnixMs(0x21)), "b", UnixMs(0x20)), Some("b.21"));
        assert_eq!(revision("\"12\""), Some(Revision(12)));
        assert_eq!(revision("twelve"), None);
    }
}
