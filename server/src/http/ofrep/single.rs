//! One flag: parse the context, evaluate, copy bytes.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use rollout_rules::evaluate::{Reason, evaluate};

use super::{answer, audience_of, is_for, read_context, sent_context, targeting_key_missing};
use crate::http::Shared;
use crate::http::auth;
use crate::http::body::JsonBytes;
use crate::http::problem::{self, Problem, percent_decoded};

/// Everything in an answer besides the flag's own bytes, generously.
const FRAME_BYTES: usize = 256;

/// `POST /ofrep/v1/evaluate/flags/{key}`; the key may hold slashes, escaped or not.
pub async fn evaluate_flag(
    request: HttpRequest,
    shared: web::Data<Shared>,
    access: auth::Counted,
    body: JsonBytes,
) -> Result<HttpResponse, Problem> {
    let published = access.published();
    let token = access.token()?;
    let (app, environment) = audience_of(token, &request)?;
    let context = read_context(sent_context(&body.0)?, &shared)?;
    let now = shared.clock.coarse();
    let key = percent_decoded(request.path().strip_prefix("/ofrep/v1/evaluate/flags/").unwrap_or(""));
    let flags = published.snapshot.flag_set(&app, &environment);
    let found = flags.as_ref().and_then(|flags| Some((flags, evaluate(flags, &key, &context, now)?)));
    let found = found.filter(|(_, found)| is_for(token, found));
    let Some((flags, found)) = found else {
        let detail =
            format!("there is no flag `{key}` in the environment `{environment}` of the app `{app}`");
        return Err(Problem::new(problem::FLAG_NOT_FOUND, detail));
    };
    shared.traffic.record_checks(1);
    shared.exposures.count_asked(&app, &environment, &flags.environment.flags, &found);
    if found.reason == Reason::NoUnit {
        return Err(targeting_key_missing());
    }
    let mut text = String::with_capacity(found.serialized().len() + FRAME_BYTES);
    answer::write(&mut text, &found, token.scope, &published.snapshot, (&app, &environment));
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "application/json")).body(text))
}
