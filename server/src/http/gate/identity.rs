//! Who asks the gate: somebody with a token of Tidegate, or a pipeline with a token of its own issuer.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header;
use rollout_rules::gate::facts::PipelineIdentity;
use rollout_rules::gate::trust::Source;
use rollout_rules::gate::{may_ask_for_production, not_its_pipeline, unclear_issuer};
use rollout_rules::governance::{Actor, Caller, Scope};
use rollout_rules::ids::{AppKey, EnvKey};

use crate::gate::Gate;
use crate::gate::key_sets::MAX_KEY_SET_BYTES;
use crate::gate::trust::pipeline_token::{Issuers, TokenError};
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
    /// Whether it may ask for production: a pipeline that runs what a stranger proposed may not, nor one of a branch that the app's source
    /// does not name.
    pub(super) fn may_ask_for_production(&self, source: Option<&Source>) -> Result<(), Problem> {
        let Some(identity) = &self.identity else { return Ok(()) };
        may_ask_for_production(source, identity).map_err(|bar| refused(&bar, bar.code()))
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
    // Anybody can send a token that takes keys to fetch and signatures to verify: it counts as a failed login until it is let in.
    let peer = request.peer_addr().map(|peer| peer.ip());
    shared.limits.count_failed_login(peer, shared.clock.coarse())?;
    match verified(shared, gate, token).await {
        Ok(identity) => {
            let folded = Arc::clone(&shared.published().folded);
            let source = folded.app(app).and_then(|app| app.source());
            let wrong = not_its_pipeline(source, &identity);
            if let Some(wrong) = wrong.or_else(|| unclear_issuer(source, &folded.policy().trust, &identity)) {
                let detail = format!(
                    "this pipeline may not ask for `{app}`: {wrong}; an admin or operator says which may: `tidegate app source set {app} \
                     --repository URL --repository-id N --workflow REF`"
                );
                return Err(Problem::new(problem::NOT_ALLOWED, detail));
            }
            // Before anything is read, judged or kept for it; who comes at the same moment is refused by the log.
            if folded.pipeline_token_used(&identity.token_id) {
                let detail =
                    "this pipeline token was used before: ask the issuer for another one, for each request";
                return Err(Problem::new(problem::INVALID, detail).with("field", "identity"));
            }
            shared.limits.let_in(peer);
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
            metrics::counter!("tidegate_failed_logins_total").increment(1);
            Err(refused(&error, error.code()))
        }
    }
}

/// Who asks, by a token of an issuer that the policy trusts.
async fn verified(shared: &Shared, gate: &Gate, token: &str) -> Result<PipelineIdentity, TokenError> {
    let now = shared.clock.now();
    let compiled = gate.compiled(&shared.published().folded);
    // Of a token that no key would make good, no key is looked for.
    let meant = compiled.issuers.meant(token)?;
    let fetch = |url| shared.webhooks.fetch_text(url, MAX_KEY_SET_BYTES);
    let issuers =
        async |anew| -> Issuers { gate.key_sets().issuers(&compiled, meant, fetch, anew, now).await };
    match issuers(false).await.verify(token, now) {
        // The issuer may have a new key.
        Err(TokenError::UnknownKey { .. }) => issuers(true).await.verify(token, now),
        verified => verified,
    }
}

fn refused(why: &dyn std::fmt::Display, code: &'static str) -> Problem {
    let detail = format!("the pipeline's token is not taken: {why}");
    Problem::new(problem::UNAUTHENTICATED, detail).with("token_problem", code)
}

/// A bearer token that is a JSON Web Token.
fn pipeline_token(request: &HttpRequest) -> Option<&str> {
    let text = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    let is_token = scheme.eq_ignore_ascii_case("bearer") && token.split('.').count() == 3;
    (is_token && !token.starts_with("tg_")).then_some(token)
}
