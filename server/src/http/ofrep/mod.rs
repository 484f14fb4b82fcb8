//! OFREP 0.3: flags evaluated over HTTP for OpenFeature clients, one at a time or all at once, and the
//! event stream that tells them to fetch again.

pub mod answer;
pub mod bulk;
pub mod events;
pub mod single;

use actix_web::HttpRequest;
use rollout_rules::context::Context;
use rollout_rules::evaluate::Answer;
use rollout_rules::governance::{Scope, Token};
use rollout_rules::ids::{AppKey, EnvKey};
use rollout_rules::time::UnixMs;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Shared;
use super::audience;
use super::problem::{self, Problem};
use crate::state::Published;

/// Where all flags of an environment are checked.
pub(super) const ALL: &str = "/ofrep/v1/evaluate/flags";
/// Where one flag is checked; its key may hold slashes.
pub(super) const ONE: &str = "/ofrep/v1/evaluate/flags/{key:.*}";

/// Whose flags are asked for, by whom and when, and the one state of the server that all of an answer is made from.
#[derive(Clone, Copy)]
pub(super) struct Asking<'r> {
    /// What all handlers share.
    pub(super) shared: &'r Shared,
    /// What is published.
    pub(super) published: &'r Published,
    /// Who asks.
    pub(super) token: &'r Token,
    /// The token's, at hand: it is looked at for each flag.
    pub(super) scope: Scope,
    /// Whose flags.
    pub(super) app: &'r AppKey,
    /// Where.
    pub(super) environment: &'r EnvKey,
    /// When.
    pub(super) now: UnixMs,
}

/// The body of both requests. Members that OFREP may add later are ignored.
#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow)]
    context: &'b RawValue,
}

/// The same, read in one go.
#[derive(Deserialize)]
struct ReadBody {
    context: Context,
}

/// The context in a body, if nothing is wrong with it. [`sent_context`] and [`read_context`] take the same ones, and say
/// of others what is wrong.
pub(super) fn good_context(body: &[u8], shared: &Shared) -> Option<Context> {
    let ReadBody { context } = serde_json::from_slice(body).ok()?;
    (context.targeting_key().is_some() || !shared.settings.require_targeting_key).then_some(context)
}

/// The context of a request as it was sent, not read yet.
fn sent_context(body: &[u8]) -> Result<&RawValue, Problem> {
    match serde_json::from_slice::<Body<'_>>(body) {
        Ok(body) => Ok(body.context),
        Err(error) if error.is_data() => Err(Problem::new(
            problem::INVALID_CONTEXT,
            "send an object with a `context`, which is an object with a `targetingKey`",
        )),
        Err(error) => Err(Problem::new(problem::INVALID_JSON, format!("the body is not JSON: {error}"))),
    }
}

/// A context as it was sent.
pub(super) fn context_of(sent: &RawValue) -> Result<Context, Problem> {
    serde_json::from_str(sent.get()).map_err(|error| {
        let text = error.to_string();
        let cause = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Problem::new(problem::INVALID_CONTEXT, format!("the context cannot be used: {cause}"))
    })
}

fn read_context(sent: &RawValue, shared: &Shared) -> Result<Context, Problem> {
    let context = context_of(sent)?;
    if context.targeting_key().is_none() && shared.settings.require_targeting_key {
        return Err(targeting_key_missing());
    }
    Ok(context)
}

fn targeting_key_missing() -> Problem {
    Problem::new(
        problem::TARGETING_KEY_MISSING,
        "give the context a `targetingKey` that is not empty: who or what is asking",
    )
}

/// Whether a flag is for a token. Everybody can read the key of a page: it sees what is marked for browsers, and of the rest
/// nothing but that something changed: revisions, tags and event streams are of the whole environment.
fn is_for(scope: Scope, found: &Answer<'_>) -> bool {
    scope != Scope::SdkBrowser || found.definition().flag().browser.is_some()
}

/// The app and environment whose flags a request asks for.
fn audience_of(token: &Token, request: &HttpRequest) -> Result<(AppKey, EnvKey), Problem> {
    let query = audience::Query::of(request)?;
    audience::resolve(token.app.as_ref(), token.environment.as_ref(), request, &query)
}
