//! Who is asking. A secret text finds its token in the published snapshot, is compared with the hash
//! there in constant time, and lends the request its scope. What may be *changed* with a scope is decided
//! by the core; here it is only said what may be read, and whose name a change bears.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};
use rollout_rules::governance::{Actor, Caller, Scope, Token};
use rollout_rules::ids::{AppKey, EnvKey, TokenId};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use super::Shared;
use super::agent;
use super::guard;
use super::origin;
use super::problem::{self, Problem};
use crate::secret;
use crate::state::Published;

/// Where tools that know no bearer tokens put the secret.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Whoever sent a request, after their token was found valid and the request counted against its rate.
#[derive(Clone, Debug)]
pub struct Principal {
    /// What they may do.
    pub scope: Scope,
    /// Only in this app.
    pub app: Option<AppKey>,
    /// Only in this environment.
    pub environment: Option<EnvKey>,
    /// In whose name.
    pub actor: Actor,
    /// The token.
    pub token: TokenId,
    /// When the token stops working.
    pub expires_at: Option<UnixMs>,
}

impl FromRequest for Principal {
    type Error = Problem;
    type Future = Ready<Result<Principal, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(shared(request).and_then(|shared| {
            let published = shared.published();
            Principal::within(shared, request, &published.snapshot)
        }))
    }
}

impl Principal {
    /// Whoever sent a request, by the tokens of a snapshot.
    pub fn within(shared: &Shared, request: &HttpRequest, snapshot: &Snapshot) -> Result<Principal, Problem> {
        let token = authenticate(shared, request, snapshot)?;
        // A kill is never turned away for asking too often, if it comes from somebody who may kill at all.
        if !(guard::is_kill(request.method(), request.path()) && changes_anything(token.scope)) {
            shared.limits.count_request(&token.id, shared.clock.coarse())?;
        }
        let actor = agent::acting(request.headers(), &token.actor)?;
        Ok(Principal {
            scope: token.scope,
            app: token.app.clone(),
            environment: token.environment.clone(),
            actor,
            token: token.id.clone(),
            expires_at: token.expires_at,
        })
    }

    /// The same, as the core wants to know it.
    pub fn caller(&self) -> Caller {
        Caller {
            actor: self.actor.clone(),
            scope: self.scope,
            app: self.app.clone(),
            environment: self.environment.clone(),
            token: Some(self.token.clone()),
        }
    }

    /// Whether the definitions may be read at all: SDKs' tokens only check and follow.
    pub fn reads(&self) -> Result<(), Problem> {
        match self.scope {
            Scope::Admin | Scope::Operator | Scope::Editor | Scope::Viewer | Scope::Ci => Ok(()),
            Scope::SdkServer | Scope::SdkBrowser => Err(Problem::new(
                problem::NOT_ALLOWED,
                "an SDK's token only checks flags; use a token with the scope viewer or higher",
            )),
        }
    }

    /// Whether an app's definitions may be read.
    pub fn reads_app(&self, app: &AppKey) -> Result<(), Problem> {
        self.reads()?;
        match &self.app {
            Some(bound) if bound != app => {
                Err(Problem::new(problem::NOT_ALLOWED, format!("this token is bound to the app `{bound}`")))
            }
            _ => Ok(()),
        }
    }

    /// Whether what an app does in an environment may be read.
    pub fn reads_environment(&self, app: &AppKey, environment: &EnvKey) -> Result<(), Problem> {
        self.reads_app(app)?;
        match &self.environment {
            Some(bound) if bound != environment => Err(Problem::new(
                problem::NOT_ALLOWED,
                format!("this token is bound to the environment `{bound}`"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether what belongs to no single app may be read.
    pub fn reads_everything(&self) -> Result<(), Problem> {
        self.reads()?;
        match &self.app {
            Some(bound) => Err(Problem::new(
                problem::NOT_ALLOWED,
                format!(
                    "this token is bound to the app `{bound}`; what belongs to all apps needs a token without"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Whether anything may be changed at all, for what costs the server much before the core is asked.
    pub fn changes(&self) -> Result<(), Problem> {
        if changes_anything(self.scope) {
            return Ok(());
        }
        Err(Problem::new(
            problem::NOT_ALLOWED,
            "this token's scope changes nothing; changes need ci, editor or higher",
        ))
    }

    /// Whether what an app is made of may be changed, for what is not one command.
    pub fn shapes(&self) -> Result<(), Problem> {
        match self.scope {
            Scope::Admin | Scope::Operator | Scope::Editor => Ok(()),
            _ => Err(Problem::new(problem::NOT_ALLOWED, "this takes a token of the scope editor or higher")),
        }
    }

    /// Whether webhooks may be seen and changed; of which apps, their binding says.
    pub fn operates(&self) -> Result<(), Problem> {
        match self.scope {
            Scope::Admin | Scope::Operator => Ok(()),
            _ => Err(Problem::new(
                problem::NOT_ALLOWED,
                "webhooks, jobs and channels are seen and changed with a token of the scope admin or operator",
            )),
        }
    }

    /// Whether tokens may be read.
    pub fn administers(&self) -> Result<(), Problem> {
        match self.scope {
            Scope::Admin => Ok(()),
            _ => Err(Problem::new(
                problem::NOT_ALLOWED,
                "tokens are seen and made with a token of the scope admin",
            )),
        }
    }
}

/// Whether tokens of a scope are good for any change. What for in particular the core decides.
fn changes_anything(scope: Scope) -> bool {
    match scope {
        Scope::Admin | Scope::Operator | Scope::Editor | Scope::Ci => true,
        Scope::Viewer | Scope::SdkServer | Scope::SdkBrowser => false,
    }
}

/// The shared parts of the server that serves a request.
pub fn shared(request: &HttpRequest) -> Result<&web::Data<Shared>, Problem> {
    request
        .app_data::<web::Data<Shared>>()
        .ok_or_else(|| Problem::internal("a request came before the server was put together"))
}

/// The valid token that a request carries, from a page that may use it.
pub fn authenticate<'s>(
    shared: &Shared,
    request: &HttpRequest,
    snapshot: &'s Snapshot,
) -> Result<&'s Token, Problem> {
    let now = shared.clock.coarse();
    let Some(text) = credential(request.headers()) else {
        return Err(Problem::new(
            problem::UNAUTHENTICATED,
            "send a token: `Authorization: Bearer tg_…` or `X-API-Key: tg_…`",
        ));
    };
    match look_up(text, snapshot, now) {
        Ok(token) => {
            origin::check(token, origin::Source::of(request))?;
            Ok(token)
        }
        Err(why) => {
            shared.limits.count_failed_login(request.peer_addr().map(|peer| peer.ip()), now)?;
            metrics::counter!("tidegate_failed_logins_total").increment(1);
            Err(Problem::new(problem::UNAUTHENTICATED, why))
        }
    }
}

/// A request with a valid token, counted against the token's rate, and the one state of the server that
/// all of its answer is made from.
pub struct Counted {
    token: TokenId,
    published: Arc<Published>,
}

/// Marks a request that was counted against its token's rate on its way in, before it came here.
pub(super) struct RateTaken;

impl FromRequest for Counted {
    type Error = Problem;
    type Future = Ready<Result<Counted, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Counted::of(request))
    }
}

impl Counted {
    fn of(request: &HttpRequest) -> Result<Counted, Problem> {
        let shared = shared(request)?;
        let published = shared.published_full();
        let token = authenticate(shared, request, &published.snapshot)?;
        if !request.extensions().contains::<RateTaken>() {
            shared.limits.count_request(&token.id, shared.clock.coarse())?;
        }
        Ok(Counted { token: token.id.clone(), published })
    }

    /// What was published when the request came.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// The token.
    pub fn token(&self) -> Result<&Token, Problem> {
        self.published
            .snapshot
            .token(&self.token)
            .ok_or_else(|| Problem::new(problem::UNAUTHENTICATED, "the token is not valid any more"))
    }
}

fn credential(headers: &HeaderMap) -> Option<&str> {
    // Another scheme than bearer is meant for a proxy on the way.
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(text.trim())
    });
    bearer.or_else(|| headers.get(API_KEY)?.to_str().ok())
}

/// The valid token of a secret text.
pub(super) fn look_up<'s>(
    text: &str,
    snapshot: &'s Snapshot,
    now: UnixMs,
) -> Result<&'s Arc<Token>, &'static str> {
    // One answer for an unknown id and a wrong secret: a guess learns nothing of which ids exist.
    const UNKNOWN: &str = "the token is not valid";
    let id = secret::id_of(text).and_then(|id| TokenId::new(id).ok()).ok_or(UNKNOWN)?;
    let token = snapshot.token_to_keep(&id).ok_or(UNKNOWN)?;
    if !secret::matches(text, &token.hash) {
        return Err(UNKNOWN);
    }
    still_valid(token, now)?;
    Ok(token)
}

/// Whether a token still works, and if not why.
pub fn still_valid(token: &Token, now: UnixMs) -> Result<(), &'static str> {
    if token.revoked_at.is_some() {
        return Err("the token was revoked");
    }
    if token.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err("the token has expired");
    }
    Ok(())
}

/// From when on a token is not valid any more.
pub fn valid_until(token: &Token) -> UnixMs {
    match token.revoked_at {
        Some(_) => UnixMs(0),
        None => token.expires_at.unwrap_or(UnixMs::NEVER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(name: &str, value: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap());
        map
    }

    #[test]
    fn a_token_is_valid_until_then() {
        let token = |expires_at: Option<u64>, revoked_at: Option<u64>| -> Token {
            let token = serde_json::json!({
                "id": "ci", "hash": "00".repeat(32), "scope": "viewer", "created_at": 0,
                "actor": { "type": "service", "name": "ci" }, "expires_at": expires_at, "revoked_at": revoked_at,
            });
            serde_json::from_value(token).unwrap()
        };
        for (expires_at, revoked_at) in [(None, None), (Some(7), None), (Some(7), Some(3)), (None, Some(9))] {
            let token = token(expires_at, revoked_at);
            for now in [0, 3, 6, 7, 8, u64::MAX - 1].map(UnixMs) {
                assert_eq!(still_valid(&token, now).is_ok(), now < valid_until(&token), "{token:?} {now:?}");
            }
        }
    }

    #[test]
    fn a_secret_is_taken_from_either_header() {
        assert_eq!(credential(&headers("authorization", "Bearer tg_x")), Some("tg_x"));
        assert_eq!(credential(&headers("authorization", "bearer  tg_x ")), Some("tg_x"));
        assert_eq!(credential(&headers("x-api-key", "tg_x")), Some("tg_x"));
        assert_eq!(credential(&headers("authorization", "Basic dXNlcg==")), None);
        assert_eq!(credential(&HeaderMap::new()), None);
    }
}
