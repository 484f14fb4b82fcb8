//! The answers to plain checks, as one thread gives them.

use std::cell::{OnceCell, RefCell};
use std::time::Instant;

use actix_http::{RequestHead, Response};
use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web;
use rollout_rules::evaluate::FlagSet;
use rollout_rules::time::UnixMs;

use super::answers::Answers;
use super::asked::{Asked, What};
use super::known::{Audience, Counted, Found, Holder, Known};
use crate::http::Shared;
use crate::http::etag::{self, BodyTag};
use crate::http::guard::{InFlight, REQUEST_ID};
use crate::http::ofrep::single::Checked;
use crate::http::ofrep::{self, Asking, bulk, good_context};
use crate::secret::Ids;
use crate::telemetry::Series;

/// What became of a request.
pub(super) enum Outcome {
    /// It is answered.
    Answered(Response<BoxBody>),
    /// The app answers it.
    ForApp {
        /// Whether it was counted against its token's rate.
        rate_taken: bool,
    },
    /// Its token has little left of what it may ask for, and others may have come later: it is asked again in its turn.
    NotInTurn,
}

/// What was taken of what a token may ask for.
enum Rate {
    Nothing,
    OneRequest,
    /// Nothing, as there is little left.
    Scarce,
}

/// What one thread keeps to answer with.
pub(super) struct Worker {
    shared: web::Data<Shared>,
    /// How clients speak to this server, if they speak to it themselves.
    scheme: &'static str,
    ids: Ids,
    known: RefCell<Known>,
    one: OnceCell<Option<Series>>,
    all: OnceCell<Option<Series>>,
    unchanged: OnceCell<Option<Series>>,
    refused_one: OnceCell<Option<Series>>,
    refused_all: OnceCell<Option<Series>>,
}

impl Worker {
    /// One that nothing was asked yet.
    pub(super) fn new(shared: web::Data<Shared>, is_encrypted: bool) -> Worker {
        Worker {
            shared,
            scheme: if is_encrypted { "https" } else { "http" },
            ids: Ids::from_a_random_one(),
            known: RefCell::new(Known::nobody()),
            one: OnceCell::new(),
            all: OnceCell::new(),
            unchanged: OnceCell::new(),
            refused_one: OnceCell::new(),
            refused_all: OnceCell::new(),
        }
    }

    /// Takes out what it remembers of what is not published any more. Freeing it may take a while.
    pub(super) fn take_outdated(&self) -> Vec<Found> {
        self.known.borrow_mut().take_outdated(&self.shared.published())
    }

    /// Answers a request with its whole body, which was there since a moment, in its turn or before.
    pub(super) fn answer(
        &self,
        head: &RequestHead,
        body: &[u8],
        is_in_turn: bool,
        since: Instant,
    ) -> Outcome {
        let mut rate = Rate::Nothing;
        match self.answered(head, body, is_in_turn, &mut rate) {
            Some((mut answer, series)) => {
                let headers = answer.headers_mut();
                if let Ok(id) = HeaderValue::from_bytes(&self.ids.next_id()) {
                    headers.insert(REQUEST_ID, id);
                }
                if let Some(series) = series {
                    series.record(since.elapsed());
                }
                Outcome::Answered(answer)
            }
            None => match rate {
                Rate::Nothing => Outcome::ForApp { rate_taken: false },
                Rate::OneRequest => Outcome::ForApp { rate_taken: true },
                Rate::Scarce => Outcome::NotInTurn,
            },
        }
    }

    /// The answer, and where it is counted; none if it is not for here, or not for now.
    fn answered(
        &self,
        head: &RequestHead,
        body: &[u8],
        is_in_turn: bool,
        rate: &mut Rate,
    ) -> Option<(Response<BoxBody>, Option<&Series>)> {
        let shared = &self.shared;
        let asked = Asked::of(head)?;
        if body.len() != asked.length || body.len() > shared.settings.max_body_bytes || !shared.was_ready() {
            return None;
        }
        let _place = InFlight::enter(&shared.in_flight, shared.settings.max_in_flight, false)?;
        let published = shared.published();
        let now = shared.clock.coarse();
        let mut known = self.known.borrow_mut();
        let Holder { token, scope, audience, rate: bucket, counted, mut answers } =
            known.token(asked.secret, &published, now)?;
        let Audience { app, environment, served } = audience?;
        let flags = served.flag_set();
        let is_taken = if is_in_turn {
            shared.limits.count_request_kept(bucket, &token.id, now).map(|()| true)
        } else {
            shared.limits.count_of_plenty(bucket, &token.id, now)
        };
        match is_taken {
            Ok(true) => {}
            Ok(false) => {
                *rate = Rate::Scarce;
                return None;
            }
            Err(problem) => {
                let series = match asked.what {
                    What::One(_) => self.series(&self.refused_one, ofrep::ONE, problem.status()),
                    What::All => self.series(&self.refused_all, ofrep::ALL, problem.status()),
                };
                return Some((problem.answer(head.uri.path()).into(), series));
            }
        }
        *rate = Rate::OneRequest;
        let asking = Asking { shared, published: &published, token, scope, app, environment, now };
        match &asked.what {
            What::One(key) => {
                let context = good_context(body, shared)?;
                let checked =
                    Checked::of(key, &context, &flags, asking).filter(|checked| !checked.lacks_unit())?;
                checked.count(counted.at(&asking, &flags));
                Some((json(checked.text()), self.series(&self.one, ofrep::ONE, StatusCode::OK)))
            }
            What::All => {
                let tag = answers.tags(&asking).of(body);
                self.all((&asked, body), &asking, &flags, tag, (counted, answers))
            }
        }
    }

    fn all(
        &self,
        (asked, body): (&Asked<'_>, &[u8]),
        asking: &Asking<'_>,
        flags: &FlagSet<'_>,
        tag: BodyTag,
        (counted, mut answers): (&mut Counted, Answers<'_>),
    ) -> Option<(Response<BoxBody>, Option<&Series>)> {
        let Asking { shared, now, .. } = *asking;
        if let Some(quoted) = asked.known.and_then(|known| still_good(known, tag, now)) {
            let mut answer = Response::with_body(StatusCode::NOT_MODIFIED, BoxBody::new(()));
            answer.headers_mut().insert(header::ETAG, quoted);
            return Some((answer, self.series(&self.unchanged, ofrep::ALL, StatusCode::NOT_MODIFIED)));
        }
        let stream = match &shared.settings.public_url {
            Some(url) => answers.stream(asking, url.trim_end_matches('/'), None),
            None => {
                let host = asked.host?.to_str().ok().filter(|host| !host.is_empty())?;
                answers.stream(asking, self.scheme, Some(host))
            }
        };
        let context = good_context(body, shared)?;
        let tag = HeaderValue::try_from(bulk::whole_tag(tag, now)).ok()?;
        let mut answer = json(bulk::text(asking, flags, &context, counted.at(asking, flags), stream));
        answer.headers_mut().insert(header::ETAG, tag);
        Some((answer, self.series(&self.all, ofrep::ALL, StatusCode::OK)))
    }

    /// Where answers of a kind are counted, looked up at the first of them.
    fn series<'w>(
        &'w self,
        place: &'w OnceCell<Option<Series>>,
        route: &'static str,
        status: StatusCode,
    ) -> Option<&'w Series> {
        place.get_or_init(|| self.shared.traffic.series(route, "POST", status.as_u16())).as_ref()
    }
}

/// The tag that a client has, in quotes, if its answer is still good.
fn still_good(known: &HeaderValue, tag: BodyTag, now: UnixMs) -> Option<HeaderValue> {
    if etag::is_given_back(known.as_bytes(), tag.as_str(), now) {
        return Some(known.clone());
    }
    let good = etag::still_good(known.to_str().ok()?, tag.as_str(), now)?;
    HeaderValue::try_from(format!("\"{good}\"")).ok()
}

fn json(text: String) -> Response<BoxBody> {
    let mut answer = Response::with_body(StatusCode::OK, BoxBody::new(text));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
