//! Tokens. The secret is drawn here, shown once and forgotten: the log keeps its hash.

use actix_web::{HttpResponse, web};
use rollout_rules::change::Command;
use rollout_rules::governance::{Actor, Scope, Token};
use rollout_rules::ids::{AppKey, EnvKey, Revision, TokenId};
use rollout_rules::time::UnixMs;
use schemars::JsonSchema;
use serde::Deserialize;

use super::apps::OnlyReason;
use super::body::OptionalJson;
use super::commands::Asking;
use super::creating::{Creating, Shown};
use super::paging::Page;
use super::problem::{self, Problem};
use super::reading::Reading;
use super::views;
use crate::secret;

/// A token as it is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    /// What it may do.
    scope: Scope,
    /// Only in this app.
    #[serde(default)]
    app: Option<AppKey>,
    /// Only in this environment of the app.
    #[serde(default)]
    environment: Option<EnvKey>,
    /// Whose acts it signs; a service named after the token if nobody is named.
    #[serde(default)]
    actor: Option<Actor>,
    /// The sites whose pages may use it, as browsers name them: `https://shop.example`, or `*` for any page. A key for
    /// browsers has to name some, others have none. At most 32.
    #[serde(default)]
    origins: Vec<String>,
    /// Whether its pages may tell what became of requests; its sites have to be named then. Whoever can load such a page can make
    /// outcomes up, and they count as those of servers do. Absent: they may not.
    #[serde(default)]
    outcomes: Option<bool>,
    /// When it stops working.
    #[serde(default)]
    expires_at: Option<UnixMs>,
    /// Why, for the log.
    #[serde(default)]
    reason: String,
}

/// Whose acts a token signs if nobody is named: a program's, called as its scope.
fn default_actor(scope: Scope, id: &TokenId) -> Actor {
    Actor::Service { name: format!("{}-{id}", secret::scope_word(scope)) }
}

/// What a repeated request is told that comes when the answer to the first is not kept any more.
fn made_before(id: &TokenId, revision: Revision) -> Problem {
    let detail = format!(
        "the token `{id}` was made under this idempotency key, and its secret was shown once; if it is lost, \
         revoke the token and make another under a new key"
    );
    Problem::new(problem::IDEMPOTENCY_KEY_TAKEN, detail)
        .with("token", id.as_str())
        .with("revision", revision.0)
}

/// `GET /v1/tokens`: without secrets and hashes.
pub async fn list(reading: Reading) -> Result<HttpResponse, Problem> {
    reading.who.administers()?;
    let page: Page<TokenId> = Page::of(&reading.query, &[])?;
    let seen = reading
        .published
        .snapshot
        .tokens(page.cursor.as_ref())
        .filter(|token| reading.who.app.is_none() || reading.who.app == token.app);
    Ok(page.answer(seen, |token| token.id.to_string(), views::token))
}

/// `POST /v1/tokens`.
pub async fn create(creating: Creating) -> Result<HttpResponse, Problem> {
    creating.asking.who.administers()?;
    let now = creating.asking.shared.clock.now();
    let id = creating.asking.new_id()?;
    creating
        .run(
            |body: NewToken| {
                let minted = secret::mint_as(body.scope, &id);
                let actor = body.actor.unwrap_or_else(|| default_actor(body.scope, &minted.id));
                let token = Token {
                    id: minted.id.clone(),
                    hash: minted.hash,
                    scope: body.scope,
                    app: body.app,
                    environment: body.environment,
                    actor,
                    created_at: now,
                    expires_at: body.expires_at,
                    revoked_at: None,
                    origins: body.origins,
                    outcomes: body.outcomes,
                };
                Ok((Command::CreateToken { token }, body.reason, minted))
            },
            |_, applied, minted| {
                if applied.already {
                    return Err(made_before(&minted.id, applied.revision));
                }
                let token = applied.published.snapshot.token(&minted.id);
                let token = token.ok_or_else(|| Problem::internal("a new token is not in the snapshot"))?;
                let mut body = views::token(token);
                body["secret"] = minted.text.into();
                Ok(Shown { location: format!("/v1/tokens/{}", minted.id), revision: None, body })
            },
        )
        .await
}

/// `DELETE /v1/tokens/{token}`.
pub async fn revoke(
    asking: Asking,
    path: web::Path<TokenId>,
    OptionalJson(body): OptionalJson<OnlyReason>,
) -> Result<HttpResponse, Problem> {
    asking.who.administers()?;
    let id = path.into_inner();
    let reason = body.or_in_query(&asking.request)?;
    let command = Command::RevokeToken { token: id.clone() };
    let applied = asking.submit(command, reason).await?;
    match applied.published.snapshot.token(&id) {
        Some(token) => Ok(HttpResponse::Ok().json(views::token(token))),
        None => Err(Problem::new(problem::NOT_FOUND, format!("there is no token `{id}`"))),
    }
}
