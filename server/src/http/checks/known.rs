//! What a thread remembers from one check to the next: whose secret text was found to be a token's, and what the answers to
//! that token have in common. Neither is believed without a look at what is published now.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
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

/// Most tokens that a thread remembers: those of a thousand apps with a few environments each. One more pushes out the one
/// that was remembered first, whose next request finds its token as if it was never seen. What is kept of each is bounded:
/// [`Remembered`], with the address of an event stream, for which clients give a host of 260 bytes at most.
const MOST: usize = 4_096;

/// The tokens that a thread remembers.
pub(super) struct Known {
    /// Names texts. Only this thread has the key, so nobody can make a text that bears another's name.
    key: RandomState,
    tokens: Vec<Remembered>,
    /// Where in `tokens` each is.
    places: HashMap<Name, usize, BuildHasherDefault<OwnHash>>,
    /// Which one the next that is not known replaces.
    oldest: usize,
}

/// What names a text: a keyed hash of it.
type Name = u128;

/// The hash of a name: its first half, as the name is a hash already.
#[derive(Default)]
struct OwnHash(u64);

impl Hasher for OwnHash {
    fn write(&mut self, name: &[u8]) {
        self.0 = name.first_chunk().map_or(0, |half| u64::from_ne_bytes(*half));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A token, and what its text was found to be.
pub(super) struct Remembered {
    name: Name,
    id: TokenId,
    /// What the whole text hashes to: it is the token's as long as the token of this id has this hash.
    hash: Digest,
    standing: Option<Standing>,
    stream: Option<Stream>,
}

impl Known {
    /// None yet.
    pub(super) fn nobody() -> Known {
        Known { key: RandomState::new(), tokens: Vec::new(), places: HashMap::default(), oldest: 0 }
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
        let place = self.places.get(&name).copied();
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
        let known = Remembered { name, id: token.id.clone(), hash: token.hash, standing: None, stream: None };
        let place = self.remember(place, known);
        Some((token, &mut self.tokens[place]))
    }

    /// Puts a token where its text was remembered before, or in a place of its own; says where.
    fn remember(&mut self, place: Option<usize>, known: Remembered) -> usize {
        if place.is_none() && self.tokens.len() < MOST {
            self.places.insert(known.name, self.tokens.len());
            self.tokens.push(known);
            return self.tokens.len() - 1;
        }
        let place = place.unwrap_or_else(|| {
            let place = self.oldest;
            self.oldest = (place + 1) % MOST;
            self.places.remove(&self.tokens[place].name);
            self.places.insert(known.name, place);
            place
        });
        self.tokens[place] = known;
        place
    }

    fn name_of(&self, secret: &[u8]) -> Name {
        let mut hash = self.key.build_hasher();
        hash.write(secret);
        let [low, high] = [0, 1].map(|half| {
            let mut hash = hash.clone();
            hash.write_u8(half);
            Name::from(hash.finish())
        });
        high << 64 | low
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
    use futures_util::future::join_all;
    use rollout_rules::change::Command;
    use rollout_rules::governance::{Actor, Scope};

    use super::*;
    use crate::http::tests::{Node, START};
    use crate::secret::{self, Minted};

    fn drawn() -> (Minted, Token) {
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
        (minted, token)
    }

    async fn minted(node: &Node) -> Minted {
        let (minted, token) = drawn();
        node.submit(Command::CreateToken { token }).await;
        minted
    }

    /// Whether a text that is valid was remembered already.
    fn was_known(known: &mut Known, snapshot: &Snapshot, minted: &Minted) -> bool {
        let (token, remembered) = known.token(minted.text.as_bytes(), snapshot, START).expect("it is valid");
        assert_eq!((&token.id, &remembered.id, remembered.hash), (&minted.id, &minted.id, minted.hash));
        // What is kept with a token is there as long as it is remembered.
        let nothing = Stream { until: START, base: String::new(), host: None, text: String::new() };
        remembered.stream.replace(nothing).is_some()
    }

    #[tokio::test]
    async fn as_many_tokens_are_remembered_as_there_is_room_for_and_all_are_found() {
        let node = Node::start().await;
        let (texts, tokens): (Vec<Minted>, Vec<Token>) = (0..MOST + 3).map(|_| drawn()).unzip();
        for some in tokens.chunks(64) {
            let submitted = some.iter().cloned().map(|token| node.submit(Command::CreateToken { token }));
            join_all(submitted).await;
        }
        let (shared, mut known) = (node.shared(), Known::nobody());
        let published = shared.published_full();
        let ask = |known: &mut Known, texts: &[Minted]| {
            texts.iter().filter(|minted| was_known(known, &published.snapshot, minted)).count()
        };
        // The 65th and the last that there is room for are remembered as the first is.
        assert_eq!(ask(&mut known, &texts[..MOST]), 0);
        assert_eq!(ask(&mut known, &texts[..MOST]), MOST);
        // Three more push out the first three, and nobody else.
        assert_eq!(ask(&mut known, &texts[MOST..]), 0);
        assert_eq!(ask(&mut known, &texts[3..]), MOST);
        assert_eq!(ask(&mut known, &texts[..3]), 0);
        assert_eq!((known.tokens.len(), known.places.len()), (MOST, MOST));
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
