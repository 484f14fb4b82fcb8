//! The keys of issuers of pipelines' tokens, from where the policy says that they are.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use rollout_rules::gate::trust::Jwks;
use rollout_rules::time::{DurationMs, HOUR, UnixMs};

use super::compiled::Compiled;
use super::trust::pipeline_token::Issuers;

/// Largest key set that is read, in bytes.
pub const MAX_KEY_SET_BYTES: u64 = 64 * 1024;
/// An address is not asked more often: a token with a made-up key must not make the server call out each time.
const LEAST_PAUSE: DurationMs = DurationMs(60_000);
/// Most addresses whose key sets are kept: more than a policy names.
const MAX_KEPT: usize = 256;

/// Key sets that were fetched.
#[derive(Default)]
pub struct KeySets {
    fetched: Mutex<HashMap<String, Fetched>>,
    /// Held while one is fetched: whoever needs it too waits, and does not ask again.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Fetched {
    text: Option<Arc<str>>,
    tried_at: UnixMs,
}

impl KeySets {
    /// The issuers of a policy, one of them with its keys. An address is asked once an hour, and with `anew`, for a token with a key that is not
    /// known, once a minute. One that does not answer leaves the keys that were known.
    pub async fn issuers<F>(
        &self,
        compiled: &Compiled,
        meant: &str,
        fetch: impl Fn(String) -> F,
        anew: bool,
        now: UnixMs,
    ) -> Issuers
    where
        F: Future<Output = Result<String, String>>,
    {
        let mut issuers = compiled.issuers.clone();
        for (name, jwks) in compiled.issuers.sources().filter(|(name, _)| *name == meant) {
            let text = match jwks {
                Jwks::Keys(keys) => Some(Arc::from(keys.to_string())),
                Jwks::File(path) => match read(path) {
                    Ok(text) => Some(Arc::from(text)),
                    Err(error) => {
                        tracing::warn!(issuer = name, %error, "the file with an issuer's keys cannot be read");
                        None
                    }
                },
                Jwks::Url(url) => self.fetched(url, &fetch, anew, now).await,
            };
            let Some(text) = text else { continue };
            match issuers.with_jwks(name, &text) {
                Ok(with) => issuers = with,
                Err(error) => tracing::warn!(issuer = name, %error, "an issuer's keys cannot be used"),
            }
        }
        issuers
    }

    async fn fetched<F>(
        &self,
        url: &str,
        fetch: &impl Fn(String) -> F,
        anew: bool,
        now: UnixMs,
    ) -> Option<Arc<str>>
    where
        F: Future<Output = Result<String, String>>,
    {
        let known = || self.fetched.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        let pause = if anew { LEAST_PAUSE } else { HOUR };
        let is_fresh = |known: &Fetched| now < known.tried_at.plus(pause);
        if let Some(known) = known().filter(is_fresh) {
            return known.text;
        }
        let _alone = self.fetching.lock().await;
        let known = known();
        if let Some(known) = known.clone().filter(is_fresh) {
            return known.text;
        }
        let text = match fetch(url.to_owned()).await {
            Ok(text) => Some(Arc::from(text)),
            Err(error) => {
                tracing::warn!(url, error, "an issuer's keys cannot be fetched");
                known.and_then(|known| known.text)
            }
        };
        let mut kept = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(url.to_owned(), Fetched { text: text.clone(), tried_at: now });
        text
    }
}

fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_KEY_SET_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}
