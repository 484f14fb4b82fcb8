//! Who asks the gate: somebody with a token of Tidegate, or a pipeline with a token of its own issuer.

use actix_web::HttpRequest;
use actix_web::http::header;
use rollout_rules::gate::facts::PipelineIdentity;
use rollout_rules::gate::not_its_pipeline;
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{AppKey, EnvKey};

use crate::gate::Gate;
use crate::gate::key_sets::MAX_KEY_SET_BYTES;
use crate::gate::trust::pipeline_token::{TokenError, may_ask_for_production};
use crate::http::Shared;
use crate::http::auth::Principal;
use crate::http::problem::{self, Problem};

/// Who asks.
pub(super) struct Who {
    /// As the core knows them.
    pub(super) caller: Caller,
    /// The pipeline, if its own token says so.
    pub(super) identity: Option<PipelineIdentity>,
}

impl Who {
    /// Whether it may ask for production: a pipeline that runs what a stranger proposed may not.
    pub(super) fn may_ask_for_production(&self) -> Result<(), Problem> {
        self.identity.as_ref().map_or(Ok(()), |identity| may_ask_for_production(identity).map_err(refused))
    }
}

/// Who asks. A pipeline's token is a JSON Web Token; what it may ask for is judged with the evidence.
pub(super) async fn of(
    request: &HttpRequest,
    shared: &Shared,
    gate: &Gate,
    app: &AppKey,
    environment: &EnvKey,
) -> Result<Who, Problem> {
    let Some(token) = pipeline_token(request) else {
        let principal = Principal::within(shared, request, &shared.published().snapshot)?;
        principal.changes()?;
        // Evidence is much to read for a refusal.
        principal.reads_environment(app, environment)?;
        return Ok(Who { caller: principal.caller(), identity: None });
    };
    let now = shared.clock.now();
    let compiled = gate.compiled(&shared.published().folded);
    let fetch = |url| shared.webhooks.fetch_text(url, MAX_KEY_SET_BYTES);
    let mut verified = gate.key_sets().issuers(&compiled, fetch, false, now).await.verify(token, now);
    if matches!(verified, Err(TokenError::UnknownKey { .. })) {
        // The issuer may have a new key.
        verified = gate.key_sets().issuers(&compiled, fetch, true, now).await.verify(token, now);
    }
    match verified {
        Ok(identity) => {
            let source = shared.published().folded.app(app).and_then(|app| app.source().cloned());
            if let Some(wrong) = not_its_pipeline(source.as_ref(), &identity) {
                let detail = format!(
                    "this pipeline may not ask for `{app}`: {wrong}; an operator says which may with `tidegate app source`"
                );
                return Err(Problem::new(problem::NOT_ALLOWED, detail));
            }
            let caller = Caller {
                actor: Actor::Service { name: format!("{}: {}", identity.issuer, identity.subject) },
                scope: Scope::Ci,
                app: Some(app.clone()),
                environment: Some(environment.clone()),
                token: None,
            };
            Ok(Who { caller, identity: Some(identity) })
        }
        Err(error) => {
            let peer = request.peer_addr().map(|peer| peer.ip());
            shared.limits.count_failed_login(peer, shared.clock.coarse())?;
            metrics::counter!("tidegate_failed_logins_total").increment(1);
            Err(refused(error))
        }
    }
}

fn refused(error: TokenError) -> Problem {
    let detail = format!("the pipeline's token is not taken: {error}");
    Problem::new(problem::UNAUTHENTICATED, detail).with("token_problem", error.code())
}

/// A bearer token that is a JSON Web Token.
fn pipeline_token(request: &HttpRequest) -> Option<&str> {
    let text = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    let is_token = scheme.eq_ignore_ascii_case("bearer") && token.split('.').count() == 3;
    (is_token && !token.starts_with("tg_")).then_some(token)
}
