//! What all creating requests share: one answer for one idempotency key.

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use rollout_rules::change::Command;
use rollout_rules::ids::{Digest, Revision};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::body::{self, JsonBytes};
use super::commands::{self, Asking, Terms};
use super::problem::Problem;
use super::replays::Created;
use crate::state::Applied;

/// A creating request: who asks for what.
pub struct Creating {
    /// Who asks.
    pub asking: Asking,
    bytes: Bytes,
}

impl FromRequest for Creating {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Creating, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let asking = Asking::from_request(request, payload);
        let body = JsonBytes::from_request(request, payload);
        // Whoever has no token is not listened to.
        Box::pin(async move { Ok(Creating { asking: asking.await?, bytes: body.await?.0 }) })
    }
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

impl Creating {
    /// The body, for who has to look something up before the command is made.
    pub fn body<F: DeserializeOwned>(&self) -> Result<F, Problem> {
        body::parse(&self.bytes)
    }

    /// Reads the body, submits the command that `command` makes of it with its reason, and answers with
    /// what `show` makes of the outcome and of what `command` left for it.
    pub async fn run<F: DeserializeOwned, L>(
        self,
        command: impl FnOnce(F) -> Result<(Command, String, L), Problem>,
        show: impl FnOnce(&Asking, &Applied, L) -> Result<Shown, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let Asking { who, request, shared } = &self.asking;
        let terms = Terms::of(request)?;
        let name = terms.idempotency_key.clone().map(|key| (who.token.clone(), key));
        let fingerprint = self.fingerprint();
        let now = shared.clock.now();
        if let Some(name) = &name
            && let Some(first) = shared.replays.find(name, fingerprint, now)?
        {
            return Ok(first.response());
        }
        let (command, reason, left) = command(body::parse(&self.bytes)?)?;
        let applied = commands::submit(shared, who, command, terms, reason).await?;
        let shown = show(&self.asking, &applied, left)?;
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
            shared.replays.keep(name, fingerprint, created.clone(), now);
        }
        Ok(created.response())
    }

    fn fingerprint(&self) -> Digest {
        let request = &self.asking.request;
        let mut whole = format!("{} {}\n", request.method(), request.uri()).into_bytes();
        whole.extend_from_slice(&self.bytes);
        Digest::of(&whole)
    }
}
