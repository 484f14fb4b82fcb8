//! What a thread remembers from one check to the next: whose secret text was found to be a token's, and what the answers to
//! that token have in common. Neither is believed without a look at what is published now.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Weak};

use rollout_rules::governance::Token;
use rollout_rules::ids::{AppKey, Digest, EnvKey, TokenId};
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;

use crate::http::auth;
use crate::http::etag::BodyTags;
use crate::http::ofrep::{Asking, bulk};
use crate::http::stream_token::StreamKey;
use crate::state::Published;

/// Most tokens that a thread remembers. One more takes the place of the one that was remembered first, whose next request
/// finds its token as if it was never seen.
const MOST: usize = 64;

/// The tokens that a thread remembers.
pub(super) struct Known {
    /// Names texts. Only this thread has the key, so nobody can make a text that bears another's name.
    key: RandomState,
    tokens: Vec<Remembered>,
    /// Which one the next that is not known replaces.
    oldest: usize,
}

/// A token, and what its text was found to be.
pub(super) struct Remembered {
    name: [u64; 2],
    id: TokenId,
    /// What the whole text hashes to: it is the token's as long as the token of this id has this hash.
    hash: Digest,
    standing: Option<Standing>,
    stream: Option<Stream>,
}

impl Known {
    /// None yet.
    pub(super) fn nobody() -> Known {
        Known { key: RandomState::new(), tokens: Vec::new(), oldest: 0 }
    }

    /// The valid token of a secret text, and what is remembered of it; none if there is none.
    ///
    /// Texts are remembered by a keyed hash of 128 bits, after the token's own hash was found to match. That spares a
    /// SHA-256 and nothing else: whether the token is there, is revoked or has expired is looked at each time.
    pub(super) fn token<'s>(
        &mut self,
        secret: &[u8],
        snapshot: &'s Snapshot,
        now: UnixMs,
    ) -> Option<(&'s Token, &mut Remembered)> {
        let name = self.name_of(secret);
        let place = self.tokens.iter().position(|known| known.name == name);
        let found = place.and_then(|place| {
            let known = &self.tokens[place];
            let token = snapshot.token(&known.id).filter(|token| token.hash == known.hash)?;
            Some((token, place))
        });
        if let Some((token, place)) = found {
            auth::still_valid(token, now).ok()?;
            return Some((token, &mut self.tokens[place]));
        }
        let token = auth::look_up(std::str::from_utf8(secret).ok()?, snapshot, now).ok()?;
        let place = place.unwrap_or_else(|| self.place());
        let known = Remembered { name, id: token.id.clone(), hash: token.hash, standing: None, stream: None };
        if place == self.tokens.len() {
            self.tokens.push(known);
        } else {
            self.tokens[place] = known;
        }
        Some((token, &mut self.tokens[place]))
    }

    fn place(&mut self) -> usize {
        if self.tokens.len() < MOST {
            return self.tokens.len();
        }
        let place = self.oldest;
        self.oldest = (place + 1) % MOST;
        place
    }

    fn name_of(&self, secret: &[u8]) -> [u64; 2] {
        let mut hash = self.key.build_hasher();
        hash.write(secret);
        [0, 1].map(|half| {
            let mut hash = hash.clone();
            hash.write_u8(half);
            hash.finish()
        })
    }
}

/// What all answers to a token have in common while nothing changes that it is served.
struct Standing {
    /// What was published. Nothing else is ever at its address while this is here.
    published: Weak<Published>,
    /// Between these moments nothing changes by itself.
    since: UnixMs,
    until: UnixMs,
    tags: BodyTags,
}

impl Remembered {
    /// What names the answers to bodies, for an environment that is there.
    pub(super) fn tags(&mut self, asking: &Asking<'_>, published: &Arc<Published>) -> &BodyTags {
        let stands = self.standing.as_ref().is_some_and(|standing| {
            std::ptr::eq(standing.published.as_ptr(), Arc::as_ptr(published))
                && (standing.since..standing.until).contains(&asking.now)
        });
        if !stands {
            self.standing = None;
        }
        &self.standing.get_or_insert_with(|| Standing::of(asking, published)).tags
    }

    /// What an answer says of its event stream. The client reaches this server at `base`, or where there is a host, there by
    /// that scheme.
    pub(super) fn stream(&mut self, asking: &Asking<'_>, base: &str, host: Option<&str>) -> &str {
        let until = StreamKey::end_of(asking.now);
        let is_this =
            |stream: &Stream| stream.until == until && stream.base == base && stream.host.as_deref() == host;
        if !self.stream.as_ref().is_some_and(is_this) {
            self.stream = None;
        }
        let stream = self.stream.get_or_insert_with(|| {
            let whole = host.map_or_else(|| base.to_owned(), |host| format!("{base}://{host}"));
            let text = bulk::event_stream(asking, &whole);
            Stream { until, base: base.to_owned(), host: host.map(str::to_owned), text }
        });
        &stream.text
    }
}

/// The event stream that answers name, for as long as its address stays the same.
struct Stream {
    until: UnixMs,
    base: String,
    host: Option<String>,
    text: String,
}

impl Standing {
    fn of(asking: &Asking<'_>, published: &Arc<Published>) -> Standing {
        let (app, environment): (&AppKey, &EnvKey) = (asking.app, asking.environment);
        let (snapshot, now) = (&published.snapshot, asking.now);
        Standing {
            published: Arc::downgrade(published),
            since: snapshot.boundary(app, environment, now),
            until: snapshot.next_boundary_in(app, environment, now).unwrap_or(UnixMs::NEVER),
            tags: bulk::tags(asking),
        }
    }
}

#[cfg(test)]
mod tests {
    use rollout_rules::change::Command;
    use rollout_rules::governance::{Actor, Scope};

    use super::*;
    use crate::http::tests::{Node, START};
    use crate::secret::{self, Minted};

    async fn minted(node: &Node) -> Minted {
        let minted = secret::mint(Scope::Viewer);
        let token = Token {
            id: minted.id.clone(),
            hash: minted.hash,
            scope: Scope::Viewer,
            app: None,
            environment: None,
            actor: Actor::Service { name: "shop".to_owned() },
            created_at: START,
            expires_at: None,
            revoked_at: None,
            origins: Vec::new(),
            outcomes: None,
        };
        node.submit(Command::CreateToken { token }).await;
        minted
    }

    #[tokio::test]
    async fn as_many_tokens_are_remembered_as_there_is_room_for_and_all_are_found() {
        let node = Node::start().await;
        let mut texts = Vec::new();
        for _ in 0..MOST + 3 {
            texts.push(minted(&node).await);
        }
        let (shared, mut known) = (node.shared(), Known::nobody());
        let published = shared.published_full();
        for _ in 0..2 {
            for minted in &texts {
                let (token, remembered) =
                    known.token(minted.text.as_bytes(), &published.snapshot, START).expect("it is valid");
                assert_eq!((&token.id, &remembered.id), (&minted.id, &minted.id));
            }
            assert_eq!(known.tokens.len(), MOST);
        }
        let guess = format!("{}x", &texts[0].text[..texts[0].text.len() - 1]);
        assert!(known.token(guess.as_bytes(), &published.snapshot, START).is_none());
        node.state.stop().await;
    }

    #[tokio::test]
    async fn a_token_that_is_not_there_any_more_is_not_found_by_what_is_remembered() {
        let node = Node::start().await;
        let minted = minted(&node).await;
        let (shared, mut known) = (node.shared(), Known::nobody());
        let before = shared.published_full();
        assert!(known.token(minted.text.as_bytes(), &before.snapshot, START).is_some());
        let other = Node::start().await;
        assert!(
            known.token(minted.text.as_bytes(), &other.shared().published_full().snapshot, START).is_none()
        );
        assert!(known.token(minted.text.as_bytes(), &before.snapshot, START).is_some());
        other.state.stop().await;
        node.state.stop().await;
    }
}
