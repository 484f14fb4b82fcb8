//! The keys of issuers of pipelines' tokens, from where the policy says that they are.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};

use rollout_rules::gate::trust::Jwks;
use rollout_rules::time::{DAY, DurationMs, HOUR, UnixMs};

use super::compiled::Compiled;
use super::trust::pipeline_token::Issuers;

/// Largest key set that is read, in bytes.
pub const MAX_KEY_SET_BYTES: u64 = 64 * 1024;
/// An address is not asked more often: a token with a made-up key must not make the server call out each time.
const LEAST_PAUSE: DurationMs = DurationMs(60_000);
/// How long the keys of an address count while it does not answer: one that the issuer took back would else count for ever.
pub const MAX_AGE: DurationMs = DAY;
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
    /// What was got, and when.
    text: Option<(Arc<str>, UnixMs)>,
    tried_at: UnixMs,
}

impl KeySets {
    /// The issuers of a policy, one of them with its keys. An address is asked once an hour, and with `anew`, for a token with a key that is not
    /// known, once a minute. One that does not answer leaves the keys that were known, for at most [`MAX_AGE`].
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
            return known.text(now);
        }
        let _alone = self.fetching.lock().await;
        let known = known();
        if let Some(known) = known.clone().filter(is_fresh) {
            return known.text(now);
        }
        let text = match fetch(url.to_owned()).await {
            Ok(text) => Some((Arc::from(text), now)),
            Err(error) => {
                tracing::warn!(url, error, "an issuer's keys cannot be fetched");
                known.and_then(|known| known.text)
            }
        };
        let mut kept = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        let fetched = Fetched { text, tried_at: now };
        kept.insert(url.to_owned(), fetched.clone());
        fetched.text(now)
    }
}

impl Fetched {
    /// The keys, while they are not too old.
    fn text(self, now: UnixMs) -> Option<Arc<str>> {
        self.text.filter(|(_, got_at)| now < got_at.plus(MAX_AGE)).map(|(text, _)| text)
    }
}

fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_KEY_SET_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rollout_rules::gate::policy::Policy;
    use rollout_rules::gate::trust::{IssuerShape, TokenAlgorithm, TrustedIssuer};

    use super::*;
    use crate::gate::trust::pipeline_token::TokenError;

    fn fixture(name: &str) -> String {
        let path = format!("{}/../tests/fixtures/gate/oidc/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
    }

    #[tokio::test]
    async fn the_keys_of_an_address_that_does_not_answer_count_for_a_day_and_no_longer() {
        let mut policy = Policy::default();
        policy.trust.issuers = vec![TrustedIssuer {
            name: "github".to_owned(),
            shape: IssuerShape::Github,
            issuer: "https://token.actions.githubusercontent.com".to_owned(),
            audience: "https://tidegate.example".to_owned(),
            algorithms: vec![TokenAlgorithm::RS256],
            jwks: Jwks::Url("https://issuer.example/keys".to_owned()),
        }];
        let digest = policy.digest();
        let compiled = Compiled::of(Arc::new(policy), digest);
        let (sets, token, answers) = (KeySets::default(), fixture("good.jwt"), Cell::new(true));
        let fetch = |_: String| {
            let answer = if answers.get() { Ok(fixture("jwks.json")) } else { Err("it is away".to_owned()) };
            async move { answer }
        };
        let begins = UnixMs::parse_rfc3339("2026-01-15T10:01:00Z").expect("a moment");
        let knows = async |after: DurationMs| {
            let now = begins.plus(after);
            let issuers = sets.issuers(&compiled, "github", fetch, false, now).await;
            // Later the token has ended, which is said only if a key is known that it can be signed by.
            !matches!(issuers.verify(&token, now), Err(TokenError::UnknownKey { .. }))
        };
        assert!(knows(DurationMs(0)).await);
        answers.set(false);
        for hours in [1, 5] {
            assert!(knows(DurationMs(hours * HOUR.0)).await, "after {hours} hours");
        }
        let last = MAX_AGE.0 - 60_000;
        assert!(knows(DurationMs(last)).await, "a minute before");
        assert!(!knows(MAX_AGE).await, "even within the hour in which the address is not asked again");
        assert!(!knows(DurationMs(last + HOUR.0)).await, "and when it is");
        answers.set(true);
        assert!(knows(DurationMs(last + 2 * HOUR.0)).await, "once it answers again");
    }
}
