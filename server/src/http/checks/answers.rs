//! What the answers to a token have in common, which is put together once and kept with it.

use rollout_rules::time::UnixMs;

use crate::http::etag::BodyTags;
use crate::http::ofrep::{Asking, bulk};
use crate::http::stream_token::StreamKey;

/// What the answers to a token have in common.
pub(super) struct Answers<'k> {
    /// What names them.
    pub(super) standing: &'k mut Option<Box<Standing>>,
    /// The event stream that they name.
    pub(super) stream: &'k mut Option<Box<Stream>>,
}

/// What names the answers to a token while nothing changes that it is served.
pub(super) struct Standing {
    /// Between these moments nothing changes by itself.
    since: UnixMs,
    until: UnixMs,
    tags: BodyTags,
}

impl Answers<'_> {
    /// What names the answers to bodies, for an environment that is there.
    pub(super) fn tags(&mut self, asking: &Asking<'_>) -> &BodyTags {
        let stands = |standing: &Standing| (standing.since..standing.until).contains(&asking.now);
        if !self.standing.as_deref().is_some_and(stands) {
            *self.standing = None;
        }
        &self.standing.get_or_insert_with(|| Box::new(Standing::of(asking))).tags
    }

    /// What an answer says of its event stream. The client reaches this server at `base`, or where there is a host, there by
    /// that scheme.
    pub(super) fn stream(&mut self, asking: &Asking<'_>, base: &str, host: Option<&str>) -> &str {
        let until = StreamKey::end_of(asking.now);
        let is_this =
            |stream: &Stream| stream.until == until && stream.base == base && stream.host.as_deref() == host;
        if !self.stream.as_deref().is_some_and(is_this) {
            *self.stream = None;
        }
        let stream = self.stream.get_or_insert_with(|| {
            let whole = host.map_or_else(|| base.to_owned(), |host| format!("{base}://{host}"));
            let text = bulk::event_stream(asking, &whole);
            Box::new(Stream { until, base: base.to_owned(), host: host.map(str::to_owned), text })
        });
        &stream.text
    }
}

/// The event stream that answers name, for as long as its address stays the same.
#[derive(Default)]
pub(super) struct Stream {
    until: UnixMs,
    base: String,
    host: Option<String>,
    text: String,
}

impl Standing {
    fn of(asking: &Asking<'_>) -> Standing {
        let Asking { published, app, environment, now, .. } = *asking;
        let snapshot = &published.snapshot;
        Standing {
            since: snapshot.boundary(app, environment, now),
            until: snapshot.next_boundary_in(app, environment, now).unwrap_or(UnixMs::NEVER),
            tags: bulk::tags(asking),
        }
    }
}
