//! One flag: parse the context, evaluate, copy bytes.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use rollout_rules::context::Context;
use rollout_rules::evaluate::{Answer, FlagSet, Reason, evaluate};

use super::{Asking, answer, audience_of, is_for, read_context, sent_context, targeting_key_missing};
use crate::exposures::Counting;
use crate::http::Shared;
use crate::http::auth;
use crate::http::body::JsonBytes;
use crate::http::problem::{self, Problem, percent_decoded};

/// What stands in a path before a flag's key.
pub(in crate::http) const BEFORE_KEY: &str = "/ofrep/v1/evaluate/flags/";
/// Everything in an answer besides the flag's own bytes, generously.
const FRAME_BYTES: usize = 256;

/// `POST /ofrep/v1/evaluate/flags/{key}`; the key may hold slashes, escaped or not.
pub async fn evaluate_flag(
    request: HttpRequest,
    shared: web::Data<Shared>,
    access: auth::Counted,
    body: JsonBytes,
) -> Result<HttpResponse, Problem> {
    let token = access.token()?;
    let (app, environment) = &audience_of(token, &request)?;
    let context = read_context(sent_context(&body.0)?, &shared)?;
    let now = shared.clock.coarse();
    let scope = token.scope;
    let asking =
        Asking { shared: &shared, published: access.published(), token, scope, app, environment, now };
    let key = percent_decoded(request.path().strip_prefix(BEFORE_KEY).unwrap_or(""));
    let flags = asking.published.snapshot.flag_set(app, environment);
    let Some((flags, checked)) =
        flags.and_then(|flags| Some((flags, Checked::of(&key, &context, &flags, asking)?)))
    else {
        let detail =
            format!("there is no flag `{key}` in the environment `{environment}` of the app `{app}`");
        return Err(Problem::new(problem::FLAG_NOT_FOUND, detail));
    };
    checked.count(&shared.exposures.counting(app, environment, &flags.environment.flags));
    if checked.lacks_unit() {
        return Err(targeting_key_missing());
    }
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "application/json")).body(checked.text()))
}

/// A flag that is there and for whoever asks, checked.
pub(in crate::http) struct Checked<'r> {
    asking: Asking<'r>,
    found: Answer<'r>,
}

impl<'r> Checked<'r> {
    /// Checks a flag of these, which are those of the environment that is asked for.
    pub(in crate::http) fn of(
        key: &str,
        context: &Context,
        flags: &FlagSet<'r>,
        asking: Asking<'r>,
    ) -> Option<Checked<'r>> {
        let found = evaluate(flags, key, context, asking.now)?;
        is_for(asking.scope, &found).then_some(Checked { asking, found })
    }

    /// Whether there is no answer, since the context names nobody whom the flag could tell from others.
    pub(in crate::http) fn lacks_unit(&self) -> bool {
        self.found.reason == Reason::NoUnit
    }

    /// Counts the check, where those of its environment are counted.
    pub(in crate::http) fn count(&self, counting: &Counting) {
        self.asking.shared.traffic.record_checks(1);
        counting.count_asked(&self.found);
    }

    /// The answer.
    pub(in crate::http) fn text(&self) -> String {
        let mut text = String::with_capacity(self.found.serialized().len() + FRAME_BYTES);
        answer::write(&mut text, &self.found, &self.asking);
        text
    }
}
