//! A request that only reads: who asks, for what, and the one state of the server that all of the answer is
//! made from.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use rollout_rules::time::{DurationMs, UnixMs};

use super::audience::Query;
use super::auth::{self, Principal};
use super::problem::Problem;
use crate::state::Published;

/// Whoever counts back from now asks a little later, and has another clock: so much before the earliest moment that is
/// looked back to is not refused. Five minutes.
pub(super) const CLOCKS_APART: DurationMs = DurationMs(300_000);

/// A request that only reads.
pub struct Reading {
    /// Who asks.
    pub who: Principal,
    /// The parameters.
    pub query: Query,
    /// What was published when the request came.
    pub published: Arc<Published>,
    /// When it came.
    pub now: UnixMs,
}

impl FromRequest for Reading {
    type Error = Problem;
    type Future = Ready<Result<Reading, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Reading::of(request))
    }
}

impl Reading {
    fn of(request: &HttpRequest) -> Result<Reading, Problem> {
        let shared = auth::shared(request)?;
        let published = shared.published_full();
        let who = Principal::within(shared, request, &published.snapshot)?;
        Ok(Reading { who, query: Query::of(request)?, published, now: shared.clock.coarse() })
    }
}
