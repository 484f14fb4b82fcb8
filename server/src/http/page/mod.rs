//! Web pages: a page gives its context once and is told what the flags marked for browsers answer for it; its stream
//! then tells what changes, and takes what became of its requests.
//!
//! The context comes in a body, never in an address. What the page gets in return are addresses with a token that lives
//! for minutes, since a stream's request bears no header of its own.

mod faults;
pub mod outcomes;
pub mod sessions;
pub mod stream;
mod telling;

use std::cell::RefCell;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use rollout_rules::evaluate::evaluate_all;
use rollout_rules::feed::{Frame, FrameCodecError, MAX_FRAME_BYTES};
use rollout_rules::governance::{Scope, Token};
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::sessions::{Opener, Page};
use super::Shared;
use super::audience::Query;
use super::auth::{self, Counted};
use super::body::Json;
use super::etag;
use super::ofrep::context_of;
use super::origin::{self, Source};
use super::problem::{self, Problem};
use super::stream_token::{PageId, StreamKey};
use crate::state::Published;

/// So long before its addresses stop working a page is given new ones, so that it can come back at any time. An address
/// works for two and a half to five minutes.
pub(super) const RENEW_BEFORE_MS: u64 = 60_000;

/// Of what a large answer was written in, so much is kept after the next, in bytes.
const MOST_KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    /// What frames and whole answers are written in.
    static WRITING: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// A page as it is opened.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "PageOpening")]
#[serde(deny_unknown_fields)]
pub struct OpenBody {
    /// Whom the flags are evaluated for: a `targetingKey`, which may be absent, and attributes.
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    context: Box<RawValue>,
    /// The `tag` of what the page kept from its last visit, for this context.
    #[serde(default)]
    tag: Option<String>,
}

/// Where a page goes on.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OpenPage")]
pub struct Opened<'f> {
    /// Where changes are told. It is good for some minutes; an open stream gives a new one a minute before it is not.
    stream: String,
    /// Where the page tells of errors inside the SDK and, if `takes_outcomes`, of what became of its requests.
    outcomes: String,
    /// Whether the page may tell what became of its requests: its key has to be made for that.
    takes_outcomes: bool,
    /// After this long the addresses should not be used any more: a minute later they stop working.
    renew_in_ms: u64,
    /// The time here.
    #[schemars(with = "String")]
    now: UnixMs,
    /// Names what the page is told. Opened with it again, the page is spared what it has.
    tag: String,
    /// What the flags answer: a frame as JSON in a text. Null: what `tag` named is still so.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<Option<&'f str>>,
}

impl Opened<'_> {
    /// For a page that is open, without its frame.
    fn again(shared: &Shared, id: PageId, page: &Page, token: &Token, tag: String, now: UnixMs) -> Self {
        debug_assert_eq!(page.of.token, token.id);
        let granted = shared.stream_key.sign_page(id, now);
        Opened {
            stream: format!("/v1/page/stream?token={granted}"),
            outcomes: format!("/v1/page/outcomes?token={granted}"),
            takes_outcomes: token.takes_outcomes_of_pages(),
            renew_in_ms: StreamKey::end_of(now).since(now).0.saturating_sub(RENEW_BEFORE_MS),
            now,
            tag,
            frame: None,
        }
    }
}

/// Whose flags a browser's key is for.
fn bound(token: &Token) -> Result<(AppKey, EnvKey), Problem> {
    match (token.scope, &token.app, &token.environment) {
        (Scope::SdkBrowser, Some(app), Some(environment)) => Ok((app.clone(), environment.clone())),
        _ => Err(Problem::new(
            problem::NOT_ALLOWED,
            "pages are opened with a browser's key: a token with the scope sdk-browser",
        )),
    }
}

/// `POST /v1/page`.
pub async fn open(
    request: HttpRequest,
    shared: web::Data<Shared>,
    access: Counted,
    Json(body): Json<OpenBody>,
) -> Result<HttpResponse, Problem> {
    let token = access.token()?;
    let (app, environment) = bound(token)?;
    let now = shared.clock.coarse();
    shared.limits.count_page(request.peer_addr().map(|peer| peer.ip()), now)?;
    let size_bytes = body.context.get().len();
    // What is worked out for a page that cannot be kept would be for nothing.
    shared.pages.ask(size_bytes, shared.settings.max_streams, now)?;
    let context = context_of(&body.context)?;
    let published = access.published();
    let tag = etag::page(shared.log_id(), &app, &environment, published, body.context.get().as_bytes(), now);
    let origin = Source::of(&request).origin;
    let opener = Opener { app, environment, token: token.id.clone(), origin: origin.map(Box::from) };
    let page = Page::new(shared.pages.opener(opener), context, size_bytes, now);
    let frame = match &body.tag {
        Some(known) if *known == tag => None,
        _ => {
            count(&shared, published, &page, now);
            Some(telling::everything(&shared, published, &page, now)?)
        }
    };
    let opened = Arc::new(page);
    let id = shared.pages.open(Arc::clone(&opened));
    let answer = Opened::again(&shared, id, &opened, token, tag, now);
    let written = written(answer, frame.as_ref())?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store")).content_type("application/json");
    Ok(response.body(written))
}

/// An answer as it is written, with its frame. It is written where others were before: what is taken for it and given
/// back would be spread under the connections that come then, and each of these would take several pages of memory more.
fn written(answer: Opened<'_>, frame: Option<&Frame>) -> Result<Bytes, Problem> {
    WRITING.with_borrow_mut(|(text, whole)| {
        for buffer in [&mut *text, &mut *whole] {
            buffer.clear();
            buffer.shrink_to(MOST_KEPT_BYTES);
        }
        let mut frame_as_text = None;
        if let Some(frame) = frame {
            serde_json::to_writer(&mut *text, frame).map_err(Problem::internal)?;
            if text.len() > MAX_FRAME_BYTES {
                return Err(Problem::internal(FrameCodecError::TooLarge { bytes: text.len() }));
            }
            frame_as_text = Some(std::str::from_utf8(text).map_err(Problem::internal)?);
        }
        let answer = Opened { frame: Some(frame_as_text), ..answer };
        serde_json::to_writer(&mut *whole, &answer).map_err(Problem::internal)?;
        Ok(Bytes::copy_from_slice(whole))
    })
}

/// Counts what the flags answer a page, as of all flags that are fetched at once.
fn count(shared: &Shared, published: &Published, page: &Page, now: UnixMs) {
    let Some(flags) = published.snapshot.flag_set(&page.of.app, &page.of.environment) else { return };
    let counting = shared.exposures.counting(&page.of.app, &page.of.environment, &flags.environment.flags);
    let marked =
        evaluate_all(&flags, &page.context, now).filter(|found| found.definition().flag().browser.is_some());
    let checked = marked.inspect(|found| counting.count_listed(found)).count();
    shared.traffic.record_checks(checked);
}

/// A page whose token is in a request's address.
struct Named {
    id: PageId,
    page: Arc<Page>,
    /// When the address stops working.
    until: UnixMs,
}

/// The page whose token is in a request's address, if it may still be used from where the request comes.
fn page_of(shared: &Shared, request: &HttpRequest, query: &Query, now: UnixMs) -> Result<Named, Problem> {
    let text = query.get("token").ok_or_else(|| {
        Problem::new(problem::UNAUTHENTICATED, "the address has no token: open the page with `POST /v1/page`")
    })?;
    let known = shared.stream_key.check_page(text, now);
    // No failed login is counted: after a restart every page of an office comes with a token of the run before.
    let known = known.and_then(|(id, until)| Some(Named { id, page: shared.pages.find(id, now)?, until }));
    let named = known.ok_or_else(|| {
        Problem::new(problem::PAGE_GONE, "the page of this token is not open here any more: open it anew")
    })?;
    let source = Source::of(request);
    let published = shared.published();
    let token = valid(&published.snapshot, &named.page, now)?;
    origin::check(token, source)?;
    match (&named.page.of.origin, source.origin) {
        (Some(opened), Some(asks)) if **opened != *asks => {
            let detail = format!("the page was opened from `{opened}`, and not from `{asks}`");
            Err(Problem::new(problem::ORIGIN_NOT_ALLOWED, detail))
        }
        _ => Ok(named),
    }
}

/// The key that opened a page, if it still works.
fn valid<'s>(
    snapshot: &'s rollout_rules::snapshot::Snapshot,
    page: &Page,
    now: UnixMs,
) -> Result<&'s Token, Problem> {
    let token = snapshot.token(&page.of.token);
    let standing = token.ok_or("the key of this page is not valid any more");
    standing
        .and_then(|token| auth::still_valid(token, now).map(|()| token))
        .map_err(|why| Problem::new(problem::UNAUTHENTICATED, why))
}
