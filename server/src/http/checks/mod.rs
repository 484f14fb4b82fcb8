//! Plain checks, answered in front of actix-web's `App`, which costs more than the check itself.
//!
//! Answers come from here, 200 and 304, and only to requests in which nothing is out of the ordinary ([`asked`] says what
//! is). So does one refusal, 429: who asks ten times as often as it may is refused nine times of ten, and to refuse should
//! not take longer than to answer. Everything else goes on to the `App` as it came, body included: what else is refused is
//! refused there, by the handlers of [`ofrep`](super::ofrep), so that each problem has one place. Both ways answer with
//! the same bytes, are counted in the same places, and hold the same laws: one state of the server for an answer, the
//! token looked at each time, its rate taken once, nothing before the log was read, and a bound on what is under way. Only
//! the time that is measured begins later here, once the body is whole. Where a token has little left of what it may ask
//! for, whoever asked last comes first ([`turns`]).

mod answers;
mod asked;
mod known;
mod service;
mod turns;
mod worker;

use actix_http::Request;
use actix_service::IntoServiceFactory;
use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceFactory, ServiceResponse};
use actix_web::web;

use self::service::FrontFactory;
use super::Shared;

/// A service that answers plain checks itself, and gives the rest to an app.
pub(super) fn in_front_of<I, F>(app: I, shared: web::Data<Shared>) -> FrontFactory<F>
where
    I: IntoServiceFactory<F, Request>,
    F: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    FrontFactory::new(app.into_factory(), shared)
}
