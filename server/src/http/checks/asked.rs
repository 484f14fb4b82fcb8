//! What a plain check looks like: the heads of requests that are answered in front of the app.

use std::borrow::Cow;

use actix_http::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};

use crate::http::body;
use crate::http::ofrep;
use crate::http::ofrep::single::BEFORE_KEY;
use crate::http::problem::percent_decoded;

/// Longest body that is answered in front, in bytes. With most heads it fits into what actix reads at once, so that it is
/// there when it is looked for; a longer one goes to the app.
pub(super) const MAX_BODY_BYTES: usize = 8 * 1024;

/// Longest `Host` that is taken: as long as a name may be, with a port. It is remembered with its token.
const MAX_HOST_BYTES: usize = 260;

/// Which flags are asked for.
pub(super) enum What<'h> {
    /// The one of this key.
    One(Cow<'h, str>),
    /// All.
    All,
}

/// What the head of a plain check says.
pub(super) struct Asked<'h> {
    /// Which flags.
    pub(super) what: What<'h>,
    /// The secret text of the token, if it is one.
    pub(super) secret: &'h [u8],
    /// The `If-None-Match`.
    pub(super) known: Option<&'h HeaderValue>,
    /// The `Host`, if nobody on the way says that the client used another.
    pub(super) host: Option<&'h HeaderValue>,
    /// How long the body is.
    pub(super) length: usize,
}

/// Whether the request is one for the value of flags.
pub(super) fn is_check(head: &RequestHead) -> bool {
    head.method == Method::POST && head.uri.path().starts_with(ofrep::ALL)
}

impl<'h> Asked<'h> {
    /// Reads the head of a request for which [`is_check`]; none if anything in it is out of the ordinary: a query, an
    /// origin or other words of browsers, an app or environment beside the token's, an id of the caller's own, another
    /// media type than JSON, a body that is long, of unknown length or waited for, or twice a header that matters here.
    pub(super) fn of(head: &'h RequestHead) -> Option<Asked<'h>> {
        if head.uri.query().is_some() || head.uri.scheme().is_some() {
            return None;
        }
        let path = head.uri.path();
        let what = match path.strip_prefix(BEFORE_KEY) {
            None if path == ofrep::ALL => What::All,
            None => return None,
            Some(key) if key.contains('%') => What::One(Cow::Owned(percent_decoded(key))),
            Some(key) => What::One(Cow::Borrowed(key)),
        };
        let [mut bearer, mut api_key, mut media_type, mut length, mut known, mut host] = [None; 6];
        let mut through_proxy = false;
        for (name, value) in head.headers() {
            let place = match *name {
                header::AUTHORIZATION => &mut bearer,
                header::CONTENT_TYPE => &mut media_type,
                header::CONTENT_LENGTH => &mut length,
                header::IF_NONE_MATCH => &mut known,
                header::HOST => &mut host,
                header::ORIGIN | header::EXPECT | header::TRANSFER_ENCODING | header::UPGRADE => return None,
                header::FORWARDED => {
                    through_proxy = true;
                    continue;
                }
                _ => match name.as_str() {
                    "x-api-key" => &mut api_key,
                    "x-request-id" | "sec-fetch-site" | "tidegate-app" | "tidegate-environment" => {
                        return None;
                    }
                    "x-forwarded-host" | "x-forwarded-proto" => {
                        through_proxy = true;
                        continue;
                    }
                    _ => continue,
                },
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        if media_type.is_some_and(|media_type| !body::is_json(media_type)) {
            return None;
        }
        Some(Asked {
            what,
            secret: match (bearer, api_key) {
                // As nearly everybody writes it. The app reads it in every way that it can be written.
                (Some(authorization), _) => authorization.as_bytes().strip_prefix(b"Bearer ")?,
                (None, api_key) => api_key?.as_bytes(),
            },
            known,
            host: host.filter(|host| !through_proxy && host.len() <= MAX_HOST_BYTES),
            length: length?.to_str().ok()?.parse().ok().filter(|length| *length <= MAX_BODY_BYTES)?,
        })
    }
}
