//! From a request to a command and back: the headers that every change may carry, and what a refusal of
//! the core becomes.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderName};
use actix_web::{FromRequest, HttpRequest, web};
use rollout_rules::change::Command;
use rollout_rules::flag::MAX_TEXT_BYTES;
use rollout_rules::ids::{IdempotencyKey, PlanId, Revision};
use serde_json::{Value, json};

use super::Shared;
use super::auth::{self, Principal};
use super::etag;
use super::problem::{self, Problem};
use crate::secret;
use crate::state::{Applied, Refusal, Request, SubmitError};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PLAN: HeaderName = HeaderName::from_static("tidegate-plan");

/// What the headers say about a change.
#[derive(Debug, Default)]
pub struct Terms {
    /// The revision that the caller saw, from `If-Match`.
    pub seen: Option<Revision>,
    /// The caller's name for the request, from `Idempotency-Key`.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The import that it belongs to, from `Tidegate-Plan`.
    pub plan: Option<PlanId>,
}

impl Terms {
    /// Reads the headers.
    pub fn of(request: &HttpRequest) -> Result<Terms, Problem> {
        let seen = match text(request, &header::IF_MATCH)? {
            None => None,
            Some(text) => Some(etag::revision(text).ok_or_else(|| {
                let detail = "`If-Match` has to be a revision as `ETag` gave it, such as \"42\"";
                Problem::new(problem::INVALID_PARAMETER, detail)
            })?),
        };
        Ok(Terms { seen, idempotency_key: named(request, &IDEMPOTENCY_KEY)?, plan: named(request, &PLAN)? })
    }
}

fn text<'r>(request: &'r HttpRequest, name: &HeaderName) -> Result<Option<&'r str>, Problem> {
    let Some(value) = request.headers().get(name) else { return Ok(None) };
    value.to_str().map(Some).map_err(|_| {
        Problem::new(problem::INVALID_PARAMETER, format!("the header `{name}` has to be plain text"))
    })
}

fn named<K>(request: &HttpRequest, name: &HeaderName) -> Result<Option<K>, Problem>
where
    K: std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(text) = text(request, name)? else { return Ok(None) };
    text.parse()
        .map(Some)
        .map_err(|error| Problem::new(problem::INVALID_PARAMETER, format!("the header `{name}`: {error}")))
}

/// A request for a change: who asks, in which words, of which server.
pub struct Asking {
    /// Who.
    pub who: Principal,
    /// The request, for its headers and query.
    pub request: HttpRequest,
    /// The server.
    pub shared: web::Data<Shared>,
}

impl FromRequest for Asking {
    type Error = Problem;
    type Future = Ready<Result<Asking, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let shared = auth::shared(request).cloned();
        let who = Principal::from_request(request, payload).into_inner();
        let request = request.clone();
        ready(who.and_then(|who| Ok(Asking { who, request, shared: shared? })))
    }
}

impl Asking {
    /// Hands a command to the core and waits until it is durable, or refused.
    pub async fn submit(&self, command: Command, reason: String) -> Result<Applied, Problem> {
        submit(&self.shared, &self.who, command, Terms::of(&self.request)?, reason).await
    }

    /// A new id for what a request creates. Under an idempotency key it is the same each time, so that a
    /// repeated request finds what the first one made.
    pub fn new_id(&self) -> Result<String, Problem> {
        let key = Terms::of(&self.request)?.idempotency_key;
        Ok(key.map_or_else(secret::random_id, |key| secret::id_from(&format!("{}\n{key}", self.who.token))))
    }
}

/// Hands a command to the core and waits until it is durable, or refused.
pub async fn submit(
    shared: &Shared,
    who: &Principal,
    command: Command,
    terms: Terms,
    reason: String,
) -> Result<Applied, Problem> {
    if reason.len() > MAX_TEXT_BYTES {
        let detail = format!("`reason` may have at most {MAX_TEXT_BYTES} bytes");
        return Err(Problem::new(problem::INVALID, detail).with("field", "reason"));
    }
    let started = std::time::Instant::now();
    let request = Request {
        caller: who.caller(),
        command,
        seen: terms.seen,
        reason,
        idempotency_key: terms.idempotency_key,
        plan: terms.plan,
    };
    let outcome = shared.commands.submit(request).await;
    shared.traffic.record_command(outcome.as_ref().map_or_else(code, |_| "done"), started.elapsed());
    outcome.map_err(problem_of)
}

fn code(error: &SubmitError) -> &'static str {
    match error {
        SubmitError::Refused(refusal) => refusal.code(),
        SubmitError::Busy => problem::BUSY.code,
        SubmitError::Full => problem::LOG_FULL.code,
        SubmitError::Unavailable => problem::LOG_UNAVAILABLE.code,
        SubmitError::Unknown => problem::OUTCOME_UNKNOWN.code,
    }
}

pub(super) fn problem_of(error: SubmitError) -> Problem {
    match error {
        SubmitError::Refused(refusal) => refused(&refusal),
        SubmitError::Busy => Problem::new(problem::BUSY, error.to_string()).retry_after(1),
        SubmitError::Full => Problem::new(problem::LOG_FULL, error.to_string()),
        SubmitError::Unavailable => Problem::new(problem::LOG_UNAVAILABLE, error.to_string()).retry_after(2),
        SubmitError::Unknown => Problem::new(problem::OUTCOME_UNKNOWN, error.to_string()),
    }
}

/// What a refusal of the core becomes.
pub fn refused(refusal: &Refusal) -> Problem {
    let kind = problem::kind_of(refusal.code()).unwrap_or(problem::INVALID);
    let detail = match refusal {
        Refusal::RevisionRequired { current } => {
            format!("{refusal}; send it as the header `If-Match: \"{current}\"`")
        }
        _ => refusal.to_string(),
    };
    let problem = Problem::new(kind, detail);
    match refusal {
        Refusal::Stale { seen, current, changed } => problem
            .with("seen_revision", seen.0)
            .with("current_revision", current.0)
            .with("changed", serde_json::to_value(changed).unwrap_or(Value::Null)),
        Refusal::RevisionRequired { current } => problem.with("current_revision", current.0),
        Refusal::Invalid { field, .. } => problem.with("field", field.as_str()),
        Refusal::ApprovalsNeeded { needed, have, roles } => {
            problem.with("needed", *needed).with("have", *have).with("roles", json!(roles))
        }
        Refusal::RolesMissing { roles } => problem.with("roles", json!(roles)),
        Refusal::RoleNeeded { role } => problem.with("role", role.as_str()),
        Refusal::WaiverOver { state, .. } => problem.with("state", state.as_str()),
        Refusal::GateMissing { missing, besides } => {
            let told = besides.as_ref().map(ToString::to_string);
            let problem = problem.with("missing", json!(missing.iter().chain(&told).collect::<Vec<_>>()));
            match besides.as_deref() {
                Some(Refusal::ApprovalsNeeded { needed, have, roles }) => {
                    problem.with("needed", *needed).with("have", *have).with("roles", json!(roles))
                }
                Some(Refusal::RolesMissing { roles }) => problem.with("roles", json!(roles)),
                _ => problem,
            }
        }
        Refusal::TooMany { what, limit } => problem.with("what", *what).with("limit", *limit),
        Refusal::TooLarge { bytes, limit } => problem.with("bytes", *bytes).with("limit", *limit),
        Refusal::ExpiryBeyondCap { asked, cap } => {
            problem.with("asked", asked.to_string()).with("cap", cap.to_string())
        }
        Refusal::InUse { by, .. } => problem.with("by", json!(by)),
        Refusal::PrerequisiteCycle { path } => problem.with("path", json!(path)),
        Refusal::Killed { height, kill_id } => {
            problem.with("height", height.as_str()).with("kill_id", kill_id.as_str())
        }
        Refusal::KillIdTaken { revision, .. } | Refusal::IdempotencyKeyTaken { revision } => {
            problem.with("revision", revision.0)
        }
        Refusal::RolloutRuns { status, stage, .. } => {
            problem.with("rollout_status", *status).with("stage", *stage - 1)
        }
        Refusal::NoRollout { ended } => problem.with("ended", json!(ended)),
        Refusal::RolloutNotPaused { status } => problem.with("rollout_status", *status),
        Refusal::NotDue { at } => problem.with("at", at.to_string()),
        Refusal::GlassSpent { again } => problem.with("again", again.to_string()),
        Refusal::LeftToPeople { until } => problem.with("until", until.to_string()),
        Refusal::ProposalClosed { state, .. } => problem.with("state", state.as_str()),
        _ => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollout_rules::decide::What;
    use rollout_rules::ids::AppKey;

    #[test]
    fn a_refusal_keeps_its_code_and_tells_what_changed() {
        let stale = Refusal::Stale { seen: Revision(3), current: Revision(9), changed: Vec::new() };
        let problem = refused(&stale);
        assert_eq!((problem.kind().code, problem.kind().status), ("stale", 412));
        let missing = Refusal::NotFound { what: What::App(AppKey::new("shop").unwrap()) };
        assert_eq!(refused(&missing).kind().status, 404);
    }
}
