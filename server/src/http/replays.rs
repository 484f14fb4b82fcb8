//! Creating requests that are repeated under one idempotency key get the first answer again, byte for
//! byte. The log remembers keys for much longer: a repeat after a restart creates nothing either, and is
//! answered with the thing as it is.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;
use dashmap::DashMap;
use rollout_rules::ids::{Digest, IdempotencyKey, TokenId};
use rollout_rules::time::UnixMs;

use super::problem::{self, Problem};

/// Most answers that are kept.
pub const MAX_KEPT: usize = 4_096;
/// How long an answer is kept.
pub const KEPT_MS: u64 = 10 * 60 * 1000;
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

type Name = (TokenId, IdempotencyKey);

struct Kept {
    request: Digest,
    answer: Created,
    at: UnixMs,
}

/// The answer to a creating request.
#[derive(Clone)]
pub struct Created {
    /// Its headers besides the usual ones.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its JSON.
    pub body: Bytes,
    /// Whether it was created by an earlier request.
    pub replayed: bool,
}

impl Created {
    /// As it is sent.
    pub fn response(self) -> HttpResponse {
        let mut response = HttpResponse::build(StatusCode::CREATED);
        for header in self.headers {
            response.insert_header(header);
        }
        if self.replayed {
            response.insert_header((REPLAYED, "true"));
        }
        response.content_type("application/json").body(self.body)
    }
}

/// The answers of the last minutes.
#[derive(Default)]
pub struct Replays {
    kept: DashMap<Name, Kept>,
    order: Mutex<VecDeque<Name>>,
}

impl Replays {
    /// The first answer to a request under this key, if it is still kept. Another request under the same
    /// key is refused.
    pub fn find(&self, name: &Name, request: Digest, now: UnixMs) -> Result<Option<Created>, Problem> {
        let Some(kept) = self.kept.get(name) else { return Ok(None) };
        if now.since(kept.at).0 >= KEPT_MS {
            return Ok(None);
        }
        if kept.request != request {
            let detail = "the idempotency key was used for another request; use a new one";
            return Err(Problem::new(problem::IDEMPOTENCY_KEY_TAKEN, detail));
        }
        Ok(Some(Created { replayed: true, ..kept.answer.clone() }))
    }

    /// Keeps an answer.
    pub fn keep(&self, name: Name, request: Digest, answer: Created, now: UnixMs) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = self.kept.insert(name.clone(), Kept { request, answer, at: now }).is_none();
        if fresh {
            order.push_back(name);
        }
        while order.len() > MAX_KEPT {
            if let Some(oldest) = order.pop_front() {
                self.kept.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Name {
        (TokenId::new("t").unwrap(), IdempotencyKey::new(key).unwrap())
    }

    fn created(text: &'static str) -> Created {
        Created { headers: Vec::new(), body: Bytes::from_static(text.as_bytes()), replayed: false }
    }

    #[test]
    fn a_repeat_gets_the_first_answer_and_another_request_is_refused() {
        let replays = Replays::default();
        let (now, one, other) = (UnixMs(1000), Digest::of(b"one"), Digest::of(b"other"));
        assert!(replays.find(&name("k"), one, now).unwrap().is_none());
        replays.keep(name("k"), one, created("first"), now);
        let again = replays.find(&name("k"), one, now).unwrap().expect("kept");
        assert!(again.replayed && again.body == "first");
        let taken = replays.find(&name("k"), other, now).err().expect("another request");
        assert_eq!(taken.kind(), problem::IDEMPOTENCY_KEY_TAKEN);
        assert!(replays.find(&name("k"), one, UnixMs(now.0 + KEPT_MS)).unwrap().is_none(), "too old");
    }

    #[test]
    fn only_the_last_answers_are_kept() {
        let replays = Replays::default();
        for index in 0..=MAX_KEPT {
            replays.keep(name(&format!("k{index}")), Digest::of(b""), created("x"), UnixMs(1));
        }
        assert_eq!(replays.kept.len(), MAX_KEPT);
        assert!(replays.find(&name("k0"), Digest::of(b""), UnixMs(1)).unwrap().is_none());
    }
}
