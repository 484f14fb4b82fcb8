//! Making and revoking tokens.

use alloc::string::ToString as _;

use super::authority::{Envs, Right, Row};
use super::validate::{check_text, invalid, too_many};
use super::{Case, Decided, Refusal, What};
use crate::change::Change;
use crate::governance::{Actor, Scope, Token};
use crate::ids::TokenId;
use crate::snapshot::MAX_TOKENS;

impl<'a> Case<'a> {
    pub(super) fn create_token(&self, token: &Token) -> Result<Decided, Refusal> {
        self.may_change_tokens()?;
        if self.snapshot.token(&token.id).is_some() {
            let what = What::Other("token", token.id.to_string());
            return Err(Refusal::AlreadyExists { what });
        }
        too_many("tokens", self.snapshot.token_count() + 1, MAX_TOKENS)?;
        check_actor(&token.actor)?;
        let bound_to_app = matches!(token.scope, Scope::Editor | Scope::Ci);
        let bound_to_environment = matches!(token.scope, Scope::SdkServer | Scope::SdkBrowser);
        if token.app.is_none() && (bound_to_app || bound_to_environment) {
            return Err(invalid("app", "a token of this scope is for one app: name it"));
        }
        if token.environment.is_none() && bound_to_environment {
            return Err(invalid("environment", "an SDK's token is for one environment: name it"));
        }
        match (&token.app, &token.environment) {
            (None, Some(_)) => return Err(invalid("app", "an environment belongs to an app: name it")),
            (Some(app), Some(environment)) => {
                self.environment(self.app(app)?, environment)?;
            }
            (Some(app), None) => {
                self.app(app)?;
            }
            (None, None) => {}
        }
        if token.expires_at.is_some_and(|at| at <= self.now) {
            return Err(invalid("expires_at", "not in the future"));
        }
        let token = Token { created_at: self.now, revoked_at: None, ..token.clone() };
        Ok(Decided::Change(Change::TokenCreated { token }))
    }

    pub(super) fn revoke_token(&self, id: &TokenId) -> Result<Decided, Refusal> {
        self.may_change_tokens()?;
        let what = || What::Other("token", id.to_string());
        let token = self.snapshot.token(id).ok_or_else(|| Refusal::NotFound { what: what() })?;
        if token.revoked_at.is_some() {
            return Ok(Decided::Already(self.snapshot.revision()));
        }
        Ok(Decided::Change(Change::TokenRevoked { token: id.clone() }))
    }

    /// An agent that made tokens could act as a human.
    fn may_change_tokens(&self) -> Result<(), Refusal> {
        self.may(Right::Tokens, None, Envs::All)?;
        if self.row() == Row::Agent {
            return Err(Refusal::NotAllowed { who_may: "a human admin that is bound to no app" });
        }
        Ok(())
    }
}

/// Tokens sign for people, services and agents. Tidegate's own parts hold none.
fn check_actor(actor: &Actor) -> Result<(), Refusal> {
    let named = |field: &str, name: &str| {
        check_text(field, name)?;
        if name.trim().is_empty() { Err(invalid(field, "name who acts")) } else { Ok(()) }
    };
    match actor {
        Actor::Human { name } | Actor::Service { name } => named("actor.name", name),
        Actor::Agent { work: Some(_), .. } => Err(invalid(
            "actor.work",
            "leave it out: a token says who acts, and each request what it came from",
        )),
        Actor::Agent { model, tool, on_behalf_of, work: None } => {
            named("actor.model", model)?;
            named("actor.tool", tool)?;
            named("actor.on_behalf_of", on_behalf_of)
        }
        Actor::Evaluator | Actor::Timer | Actor::Tidegate => {
            Err(invalid("actor.type", "use `human`, `service` or `agent`"))
        }
    }
}
