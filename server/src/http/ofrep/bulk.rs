//! All flags of an environment for one context, with the tag that spares the work when nothing changed.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use rollout_rules::context::Context;
use rollout_rules::evaluate::{FlagSet, evaluate_all};
use rollout_rules::ids::KillId;
use rollout_rules::time::UnixMs;

use super::{Asking, answer, is_for, read_context, sent_context};
use crate::exposures::Counting;
use crate::http::Shared;
use crate::http::audience::{self, Query};
use crate::http::auth;
use crate::http::body::JsonBytes;
use crate::http::etag::{self, BodyTag, BodyTags};
use crate::http::problem::{self, Problem};
use crate::http::stream_token::StreamKey;

/// A page that is hidden for this long gives its stream up, in seconds. OFREP's own default.
const INACTIVITY_SECONDS: u32 = 120;
/// Everything in an answer besides the flags.
const FRAME_BYTES: usize = 512;
/// What most flags take in an answer.
const FLAG_BYTES: usize = 192;

/// `POST /ofrep/v1/evaluate/flags`.
pub async fn evaluate_flags(
    request: HttpRequest,
    shared: web::Data<Shared>,
    access: auth::Counted,
    body: JsonBytes,
) -> Result<HttpResponse, Problem> {
    let token = access.token()?;
    let query = Query::of(&request)?;
    check_last_modified(&query)?;
    let (app, environment) =
        &audience::resolve(token.app.as_ref(), token.environment.as_ref(), &request, &query)?;
    let sent = sent_context(&body.0)?;
    let now = shared.clock.coarse();
    let scope = token.scope;
    let asking =
        Asking { shared: &shared, published: access.published(), token, scope, app, environment, now };
    let Some(flags) = asking.published.snapshot.flag_set(app, environment) else {
        let detail = format!("there is no environment `{environment}` of an app `{app}`");
        return Err(Problem::new(problem::NOT_FOUND, detail));
    };
    let tag = tags(&asking).of(&body.0);
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    if let Some(known) = known.and_then(|known| etag::still_good(known, tag.as_str(), now)) {
        // The tag that the client has, with the end of the stream that it has.
        let quoted = format!("\"{known}\"");
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, quoted)).finish());
    }
    let context = read_context(sent, &shared)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::ETAG, whole_tag(tag, now)))
        .body(text(
            &asking,
            &flags,
            &context,
            &shared.exposures.counting(app, environment, &flags.environment.flags),
            &event_stream(&asking, &shared.settings.address_for(&request)),
        )))
}

/// What names the answers to bodies.
pub(in crate::http) fn tags(asking: &Asking<'_>) -> BodyTags {
    let Asking { shared, published, token, app, environment, now, .. } = *asking;
    let overlays: Vec<KillId> = etag::reaching(published, app, environment);
    BodyTags::new(
        &shared.tag_key,
        shared.log_id(),
        app,
        environment,
        published.snapshot.feed_revision(app, environment),
        published.snapshot.boundary(app, environment, now),
        &overlays,
        &shared.stream_key.name(app, environment, &token.id),
    )
}

/// The tag of an answer that is made now, with the end of its stream, as the header has it.
pub(in crate::http) fn whole_tag(tag: BodyTag, now: UnixMs) -> String {
    format!("\"{}\"", etag::with_end(tag.as_str(), StreamKey::end_of(now)))
}

/// The answer: all flags, each counted, and the stream that tells when to ask again.
pub(in crate::http) fn text(
    asking: &Asking<'_>,
    flags: &FlagSet<'_>,
    context: &Context,
    counting: &Counting,
    stream: &str,
) -> String {
    let Asking { shared, published, scope, now, .. } = *asking;
    let revision = published.snapshot.revision();
    let mut text = String::with_capacity(FRAME_BYTES + FLAG_BYTES * flags.environment.flags.len());
    text.push_str("{\"flags\":[");
    let mut checked = 0;
    for found in evaluate_all(flags, context, now).filter(|found| is_for(scope, found)) {
        counting.count_listed(&found);
        if checked > 0 {
            text.push(',');
        }
        checked += 1;
        answer::write(&mut text, &found, asking);
    }
    shared.traffic.record_checks(checked);
    text.push_str("],\"eventStreams\":[");
    text.push_str(stream);
    text.push_str("],\"metadata\":{\"tidegate.revision\":");
    text.push_str(itoa::Buffer::new().format(revision.0));
    text.push_str("}}");
    text
}

/// What an event stream said of the last change. Nothing here depends on it, since each answer is made
/// from the newest state; but what is no date is refused.
fn check_last_modified(query: &Query) -> Result<(), Problem> {
    let Some(text) = query.get("flagConfigLastModified") else { return Ok(()) };
    let seconds = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds || is_date_time(text) {
        return Ok(());
    }
    let detail =
        "`flagConfigLastModified` has to be seconds since 1970, or a date such as 2026-12-31T18:00:00Z";
    Err(Problem::new(problem::INVALID_PARAMETER, detail))
}

/// Whether a text has the form of RFC 3339. Years before 1970 and leap seconds have it too, and nothing
/// is computed from the date.
fn is_date_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let Some((whole, rest)) = text.as_bytes().split_at_checked(FORM.len()) else { return false };
    let fits = whole.iter().zip(FORM).all(|(found, form)| match form {
        b'0' => found.is_ascii_digit(),
        b'T' => matches!(found, b'T' | b't' | b' '),
        other => found == other,
    });
    let number = |at: usize| u32::from(whole[at] - b'0') * 10 + u32::from(whole[at + 1] - b'0');
    let in_range = || {
        (1..=12).contains(&number(5))
            && (1..=31).contains(&number(8))
            && number(11) < 24
            && number(14) < 60
            && number(17) <= 60
    };
    let rest = match rest.strip_prefix(b".") {
        None => rest,
        Some(rest) => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            &rest[digits..]
        }
    };
    let offset = match rest {
        b"Z" | b"z" => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    fits && in_range() && offset
}

/// What an answer says of its event stream. `base` is where the client reaches this server.
pub(in crate::http) fn event_stream(asking: &Asking<'_>, base: &str) -> String {
    let Asking { shared, token, app, environment, now, .. } = *asking;
    let granted = shared.stream_key.sign(app, environment, &token.id, now);
    let url = serde_json::Value::from(format!("{base}/ofrep/v1/events?token={granted}"));
    format!("{{\"type\":\"sse\",\"url\":{url},\"inactivityDelaySec\":{INACTIVITY_SECONDS}}}")
}

#[cfg(test)]
mod tests {
    use super::is_date_time;

    #[test]
    fn every_date_of_rfc_3339_is_taken_and_nothing_else() {
        for good in [
            "2026-02-20T21:28:18Z",
            "0124-03-08T21:14:41.6Z",
            "2026-02-20t21:28:18.123456+05:30",
            "1990-12-31T23:59:60Z",
        ] {
            assert!(is_date_time(good), "{good}");
        }
        for bad in [
            "",
            "2026-02-20",
            "2026-02-20T21:28:18",
            "2026-13-20T21:28:18Z",
            "2026-02-20T21:28:18.Z",
            "2026-02-20T21:28:18+5:30",
            "not a date at all, but long",
        ] {
            assert!(!is_date_time(bad), "{bad}");
        }
    }
}
