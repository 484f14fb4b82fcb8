//! Short-lived read-only tokens for event streams. A browser's `EventSource` sends no header, so
//! the stream's URL carries one. They are signed, never stored: a key drawn at start signs the audience,
//! the token that asked, and a date; or for pages, the page that was opened and a date.
//!
//! A URL stays the same for a while, so that clients which compare URLs do not reconnect after each
//! fetch. An open stream renews the right to come back: the ids of its events are fresh tokens, which
//! `EventSource` returns as `Last-Event-ID`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use rollout_rules::ids::{AppKey, EnvKey, TokenId};
use rollout_rules::time::UnixMs;
use sha2::Sha256;

/// Longest time in which a stream token opens a stream.
pub const MAX_LIFE_MS: u64 = 5 * 60 * 1000;
/// Tokens of one window end together, so that their text is the same: each lives for one to two windows.
const WINDOW_MS: u64 = MAX_LIFE_MS / 2;
/// Longest text that is looked at.
const MAX_TEXT_BYTES: usize = 512;
const SIGNATURE_BYTES: usize = 16;

/// With what the claims of a page's token begin. Those of others are text, in which it does not occur.
const OF_A_PAGE: u8 = 0;

/// Names a page that was opened. Nobody guesses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageId(pub u128);

/// Signs and checks stream tokens.
pub struct StreamKey(Hmac<Sha256>);

/// What a stream token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamGrant {
    /// The app.
    pub app: AppKey,
    /// The environment.
    pub environment: EnvKey,
    /// The token that asked for it; the stream ends when that one does.
    pub token: TokenId,
    /// When it stops opening streams.
    pub until: UnixMs,
}

impl StreamKey {
    /// A new random key; tokens signed by another node or an earlier run are not ours.
    pub fn random() -> StreamKey {
        let key: [u8; 32] = rand::random();
        StreamKey(Hmac::new_from_slice(&key).expect("HMAC takes keys of any length"))
    }

    /// A token for an audience.
    pub fn sign(&self, app: &AppKey, environment: &EnvKey, token: &TokenId, now: UnixMs) -> String {
        let until = StreamKey::end_of(now);
        self.seal(format!("{app}\n{environment}\n{token}\n{until}", until = until.0).as_bytes())
    }

    /// A token for a page, by which its stream is opened and its outcomes are told.
    pub fn sign_page(&self, page: PageId, now: UnixMs) -> String {
        let until = StreamKey::end_of(now).0;
        self.seal(&[&[OF_A_PAGE][..], &page.0.to_le_bytes(), &until.to_le_bytes()].concat())
    }

    fn seal(&self, claims: &[u8]) -> String {
        let signature = self.0.clone().chain_update(claims).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&signature[..SIGNATURE_BYTES], claims].concat())
    }

    /// The claims of a token; `None` if it is not ours, or was changed.
    fn unseal(&self, text: &str) -> Option<Vec<u8>> {
        if text.len() > MAX_TEXT_BYTES {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (signature, claims) = bytes.split_at_checked(SIGNATURE_BYTES)?;
        self.0.clone().chain_update(claims).verify_truncated_left(signature).ok()?;
        Some(bytes.split_off(SIGNATURE_BYTES))
    }

    /// When a token that is signed now stops opening streams.
    pub fn end_of(now: UnixMs) -> UnixMs {
        UnixMs((now.0 / WINDOW_MS + 2) * WINDOW_MS)
    }

    /// Names this key and an audience, whatever the time: tokens of another name are of no use with this
    /// key, or to that audience. Opens nothing, since its date has long passed.
    pub fn name(&self, app: &AppKey, environment: &EnvKey, token: &TokenId) -> String {
        self.sign(app, environment, token, UnixMs(0))
    }

    /// What a token stands for; `None` if it is not ours, was changed or has expired.
    pub fn check(&self, text: &str, now: UnixMs) -> Option<StreamGrant> {
        let claims = self.unseal(text)?;
        let mut parts = std::str::from_utf8(&claims).ok()?.split('\n');
        let grant = StreamGrant {
            app: AppKey::new(parts.next()?).ok()?,
            environment: EnvKey::new(parts.next()?).ok()?,
            token: TokenId::new(parts.next()?).ok()?,
            until: UnixMs(parts.next()?.parse().ok()?),
        };
        (now < grant.until).then_some(grant)
    }

    /// The page that a token is of, and when the token stops opening it; `None` if it is not ours, was changed or has
    /// expired.
    pub fn check_page(&self, text: &str, now: UnixMs) -> Option<(PageId, UnixMs)> {
        let claims = self.unseal(text)?;
        let (page, until) = claims.strip_prefix(&[OF_A_PAGE])?.split_first_chunk()?;
        let until = UnixMs(u64::from_le_bytes(until.try_into().ok()?));
        (now < until).then_some((PageId(u128::from_le_bytes(*page)), until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (AppKey, EnvKey, TokenId) {
        (AppKey::new("shop").unwrap(), EnvKey::new("production").unwrap(), TokenId::new("abc").unwrap())
    }

    #[test]
    fn a_token_opens_its_own_audience_for_at_most_five_minutes() {
        let (app, environment, token) = names();
        let key = StreamKey::random();
        for now in [0, 1, WINDOW_MS - 1, WINDOW_MS, 1_700_000_123_456].map(UnixMs) {
            let text = key.sign(&app, &environment, &token, now);
            let grant = key.check(&text, now).expect("fresh");
            assert_eq!((&grant.app, &grant.environment, &grant.token), (&app, &environment, &token));
            assert!(grant.until.since(now).0 > WINDOW_MS - 1 && grant.until.since(now).0 <= MAX_LIFE_MS);
            assert_eq!(key.check(&text, grant.until), None, "expired");
        }
    }

    #[test]
    fn a_changed_or_foreign_token_opens_nothing() {
        let (app, environment, token) = names();
        let key = StreamKey::random();
        let text = key.sign(&app, &environment, &token, UnixMs(1000));
        assert_eq!(StreamKey::random().check(&text, UnixMs(1000)), None);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(key.check(&URL_SAFE_NO_PAD.encode(changed), UnixMs(1000)), None, "byte {at}");
        }
        assert_eq!(key.check(&text[..10], UnixMs(1000)), None);
        assert_eq!(key.check(&"A".repeat(100_000), UnixMs(1000)), None);
    }

    #[test]
    fn a_token_of_a_page_opens_that_page_alone_and_no_other_stream() {
        let (app, environment, token) = names();
        let key = StreamKey::random();
        let (page, now) = (PageId(7), UnixMs(WINDOW_MS * 10));
        let text = key.sign_page(page, now);
        let until = UnixMs(now.0 + MAX_LIFE_MS);
        assert_eq!(key.check_page(&text, UnixMs(now.0 + MAX_LIFE_MS - 1)), Some((page, until)));
        assert_eq!(key.check_page(&text, UnixMs(now.0 + MAX_LIFE_MS)), None, "expired");
        assert_eq!(key.check(&text, now), None);
        assert_eq!(key.check_page(&key.sign(&app, &environment, &token, now), now), None);
        assert_eq!(StreamKey::random().check_page(&text, now), None);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(key.check_page(&URL_SAFE_NO_PAD.encode(changed), now), None, "byte {at}");
        }
        assert_eq!(key.check_page(&URL_SAFE_NO_PAD.encode(&bytes[..bytes.len() - 1]), now), None);
    }

    #[test]
    fn the_text_stays_the_same_within_a_window() {
        let (app, environment, token) = names();
        let key = StreamKey::random();
        let start = UnixMs(WINDOW_MS * 10);
        let sign = |at: u64| key.sign(&app, &environment, &token, UnixMs(start.0 + at));
        assert_eq!(sign(0), sign(WINDOW_MS - 1));
        assert_ne!(sign(0), sign(WINDOW_MS));
    }
}
