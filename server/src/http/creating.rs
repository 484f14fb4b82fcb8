//! What all creating requests share: one answer for one idempotency key.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use bytes::Bytes;
use rollout_rules::change::Command;
use rollout_rules::ids::{Digest, Revision};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Shared;
use super::auth::Principal;
use super::body::{self, JsonBytes};
use super::commands::{self, Terms};
use super::problem::Problem;
use super::replays::Created;
use crate::state::Applied;

/// A creating request: who asks for what.
pub struct Creating<'r> {
    shared: &'r Shared,
    who: &'r Principal,
    request: &'r HttpRequest,
    bytes: Bytes,
}

/// What was created, and how to show it.
pub struct Shown {
    /// Where it can be found.
    pub location: String,
    /// Its revision, for `ETag`.
    pub revision: Option<Revision>,
    /// Its JSON.
    pub body: Value,
}

impl<'r> Creating<'r> {
    /// Takes a request apart.
    pub fn new(shared: &'r Shared, who: &'r Principal, request: &'r HttpRequest, body: JsonBytes) -> Self {
        Creating { shared, who, request, bytes: body.0 }
    }

    /// Reads the body, submits the command that `command` makes of it with its reason, and answers with
    /// what `show` makes of the outcome and of what `command` left for it.
    pub async fn run<F: DeserializeOwned, L>(
        self,
        command: impl FnOnce(F) -> Result<(Command, String, L), Problem>,
        show: impl FnOnce(&Applied, L) -> Result<Shown, Problem>,
    ) -> Result<Created, Problem> {
        let terms = Terms::of(self.request)?;
        let name = terms.idempotency_key.clone().map(|key| (self.who.token.clone(), key));
        let fingerprint = self.fingerprint();
        let now = self.shared.clock.now();
        if let Some(name) = &name
            && let Some(first) = self.shared.replays.find(name, fingerprint, now)?
        {
            return Ok(first);
        }
        let (command, reason, left) = command(body::parse(&self.bytes)?)?;
        let applied = commands::submit(self.shared, self.who, command, terms, reason).await?;
        let shown = show(&applied, left)?;
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        if let Ok(location) = HeaderValue::from_str(&shown.location) {
            headers.push((header::LOCATION, location));
        }
        if let Some(revision) = shown.revision
            && let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\""))
        {
            headers.push((header::ETAG, tag));
        }
        let body = Bytes::from(shown.body.to_string());
        let created = Created { headers, body, replayed: applied.already };
        if let Some(name) = name {
            self.shared.replays.keep(name, fingerprint, created.clone(), now);
        }
        Ok(created)
    }

    fn fingerprint(&self) -> Digest {
        let mut whole = format!("{} {}\n", self.request.method(), self.request.uri()).into_bytes();
        whole.extend_from_slice(&self.bytes);
        Digest::of(&whole)
    }
}
