//! The first admin token: made through the log like everything else, shown once.

use std::fmt;

use rollout_rules::change::Command;
use rollout_rules::governance::{Actor, Caller, Scope, Token};

use crate::clock::Clock;
use crate::secret::{self, Minted};
use crate::state::{Readiness, Request, State, SubmitError};

/// When an admin token is made at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// If the log knows no token at all.
    FirstStart,
    /// In any case: all are lost.
    Asked,
}

/// Why no token was made.
#[derive(Debug)]
pub enum TokenError {
    /// The log will not be folded, so nobody knows which tokens there are.
    NotReady(Readiness),
    /// The log does not take it.
    Submit(SubmitError),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::NotReady(Readiness::UnknownEntry { revision, problem }) => {
                write!(f, "the log stops making sense at revision {revision}: {problem}")
            }
            TokenError::NotReady(Readiness::LogLost { problem }) => {
                write!(f, "the log cannot be read: {problem}")
            }
            TokenError::NotReady(Readiness::LogHangs) => f.write_str("the log does not answer any more"),
            TokenError::NotReady(_) => f.write_str("the server stopped before the log was folded"),
            TokenError::Submit(error) => write!(f, "the admin token could not be stored: {error}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// Waits until the log is folded and makes an admin token if there is occasion; it is durable when this
/// returns.
pub async fn make(state: &State, occasion: Occasion, clock: &Clock) -> Result<Option<Minted>, TokenError> {
    match state.live.settled().await {
        Readiness::Ready => {}
        other => return Err(TokenError::NotReady(other)),
    }
    let has_tokens = state.live.load().folded.token_count() > 0;
    if has_tokens && occasion == Occasion::FirstStart {
        return Ok(None);
    }
    let minted = secret::mint(Scope::Admin);
    let token = Token {
        id: minted.id.clone(),
        hash: minted.hash,
        scope: Scope::Admin,
        app: None,
        environment: None,
        actor: Actor::Human { name: "admin".to_owned() },
        created_at: clock.now(),
        expires_at: None,
        revoked_at: None,
        origins: Vec::new(),
        outcomes: None,
    };
    let reason = match occasion {
        Occasion::FirstStart => "first start",
        Occasion::Asked => "asked for at start",
    };
    let request = Request {
        caller: Caller {
            actor: Actor::Tidegate,
            scope: Scope::Admin,
            app: None,
            environment: None,
            token: None,
        },
        command: Command::CreateToken { token },
        seen: None,
        reason: reason.to_owned(),
        idempotency_key: None,
        plan: None,
    };
    state.commands.submit(request).await.map_err(TokenError::Submit)?;
    Ok(Some(minted))
}
