//! What a thread remembers from one check to the next: whose secret text was found to be a token's, where that token and its
//! flags lie in what is published, and what the answers to it have in common. Where things lie does not outlive what is
//! published: as soon as that is something else, each is looked for again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Arc, Weak};

use rollout_rules::evaluate::FlagSet;
use rollout_rules::governance::{Scope, Token};
use rollout_rules::ids::{AppKey, Digest, EnvKey, TokenId};
use rollout_rules::snapshot::Served;
use rollout_rules::time::UnixMs;

use super::answers::{Answers, Standing, Stream};
use crate::exposures::Counting;
use crate::http::auth;
use crate::http::limits::Kept;
use crate::http::ofrep::Asking;
use crate::http::origin::{self, Source};
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
    /// What was published when a token was looked for last. Nothing else is ever at its address while this is here.
    published: Weak<Published>,
    /// How many times something else was published by then.
    edition: u64,
    /// The edition in which what was found in others was let go of.
    swept: u64,
    /// What was found before and has been replaced. Freeing it may take a while, so no request waits for it, as long as it is not
    /// more than [`MOST`].
    outdated: Vec<Found>,
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
struct Remembered {
    name: Name,
    id: TokenId,
    /// What the whole text hashes to: it is the token's as long as the token of this id has this hash.
    hash: Digest,
    /// What it may ask for.
    rate: Kept,
    found: Option<Found>,
    stream: Option<Box<Stream>>,
}

/// What was found of a token in what is published.
pub(super) struct Found {
    /// Which edition that was.
    edition: u64,
    /// Whatever each check looks at of it is beside it here: where many tokens ask in turn, what lies elsewhere is in no cache.
    token: Arc<Token>,
    /// When it stops being valid.
    until: UnixMs,
    scope: Scope,
    audience: Option<Audience>,
    counted: Counted,
    standing: Option<Box<Standing>>,
}

/// The environment that a token is for, if it is for one alone that is there, and not for pages: who may use those, and what
/// they are told, is looked at elsewhere.
pub(super) struct Audience {
    /// Whose flags.
    pub(super) app: AppKey,
    /// Where.
    pub(super) environment: EnvKey,
    /// What is served there.
    pub(super) served: Served,
}

/// Where the checks of the environment are counted, from the first of them.
#[derive(Default)]
pub(super) struct Counted(Option<Counting>);

/// A token that is valid, and what is kept with it.
pub(super) struct Holder<'k> {
    /// The token.
    pub(super) token: &'k Token,
    /// The token's.
    pub(super) scope: Scope,
    /// What it may ask for.
    pub(super) rate: &'k mut Kept,
    /// What it is a token for.
    pub(super) audience: Option<&'k Audience>,
    /// Where its checks are counted.
    pub(super) counted: &'k mut Counted,
    /// What answers to it have in common.
    pub(super) answers: Answers<'k>,
}

impl Known {
    /// None yet.
    pub(super) fn nobody() -> Known {
        Known {
            key: RandomState::new(),
            tokens: Vec::new(),
            places: HashMap::default(),
            oldest: 0,
            published: Weak::new(),
            edition: 0,
            swept: 0,
            outdated: Vec::new(),
        }
    }

    /// Sees whether what is published is still the same.
    fn look_at(&mut self, published: &Arc<Published>) {
        if !std::ptr::eq(self.published.as_ptr(), Arc::as_ptr(published)) {
            self.published = Arc::downgrade(published);
            self.edition += 1;
        }
    }

    /// The valid token of a secret text, and what is remembered of it; none if there is none.
    ///
    /// Texts are remembered by a keyed hash of 128 bits, after the token's own hash was found to match. That spares a
    /// SHA-256; and as long as the same is published, looking for the token and its flags. Whether it has expired is looked
    /// at each time.
    pub(super) fn token(
        &mut self,
        secret: &[u8],
        published: &Arc<Published>,
        now: UnixMs,
    ) -> Option<Holder<'_>> {
        self.look_at(published);
        let name = self.name_of(secret);
        let place = self.places.get(&name).copied();
        let place = match place {
            Some(place) if self.is_found(place, published) => place,
            _ => {
                let token =
                    auth::look_up(std::str::from_utf8(secret).ok()?, &published.snapshot, now).ok()?;
                let found = Some(Found::of(token, self.edition, published));
                let known = Remembered {
                    name,
                    id: token.id.clone(),
                    hash: token.hash,
                    rate: Kept::default(),
                    found,
                    stream: None,
                };
                self.remember(place, known)
            }
        };
        let Remembered { rate, found, stream, .. } = &mut self.tokens[place];
        let Found { token, until, scope, audience, counted, standing, .. } = found.as_mut()?;
        let is_valid = now < *until;
        let answers = Answers { standing, stream };
        is_valid.then_some(Holder {
            token,
            scope: *scope,
            audience: audience.as_ref(),
            rate,
            counted,
            answers,
        })
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
        let before = std::mem::replace(&mut self.tokens[place], known);
        self.let_go_of(before.found);
        place
    }

    /// Whether it is known where the token at this place lies in what is published. It is looked for if need be.
    fn is_found(&mut self, place: usize, published: &Published) -> bool {
        let Remembered { id, hash, found, .. } = &mut self.tokens[place];
        if found.as_ref().is_some_and(|found| found.edition == self.edition) {
            return true;
        }
        let token = published.snapshot.token_to_keep(id).filter(|token| token.hash == *hash);
        let now = token.map(|token| Found::of(token, self.edition, published));
        let is_found = now.is_some();
        let before = std::mem::replace(found, now);
        self.let_go_of(before);
        is_found
    }

    fn let_go_of(&mut self, found: Option<Found>) {
        if self.outdated.len() < MOST {
            self.outdated.extend(found);
        }
    }

    /// Takes out what was found in anything else than what is published, or it stayed in memory for as long as nobody asks.
    /// Freeing it may take a while.
    pub(super) fn take_outdated(&mut self, published: &Arc<Published>) -> Vec<Found> {
        self.look_at(published);
        let current = self.edition;
        let mut outdated = std::mem::take(&mut self.outdated);
        if self.swept != current {
            self.swept = current;
            let of_others = |known: &mut Remembered| known.found.take_if(|found| found.edition != current);
            outdated.extend(self.tokens.iter_mut().filter_map(of_others));
        }
        outdated
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

impl Found {
    fn of(token: &Arc<Token>, edition: u64, published: &Published) -> Found {
        let for_one = token.app.as_ref().zip(token.environment.as_ref());
        let is_for_pages =
            token.scope == Scope::SdkBrowser || origin::check(token, Source::default()).is_err();
        let audience = for_one.filter(|_| !is_for_pages).and_then(|(app, environment)| {
            let served = published.snapshot.served(app, environment)?;
            Some(Audience { app: app.clone(), environment: environment.clone(), served })
        });
        Found {
            edition,
            until: auth::valid_until(token),
            scope: token.scope,
            token: Arc::clone(token),
            audience,
            counted: Counted::default(),
            standing: None,
        }
    }
}

impl Counted {
    /// Where the checks of these flags are counted, which are those that the token is for. If there was no room before, it is
    /// asked for again.
    pub(super) fn at(&mut self, asking: &Asking<'_>, flags: &FlagSet<'_>) -> &Counting {
        if self.0.as_ref().is_some_and(Counting::is_nowhere) {
            self.0 = None;
        }
        let Asking { shared, app, environment, .. } = *asking;
        let look_up = || shared.exposures.counting(app, environment, &flags.environment.flags);
        self.0.get_or_insert_with(look_up)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use rollout_rules::change::Command;
    use rollout_rules::governance::Actor;

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
    fn was_known(known: &mut Known, published: &Arc<Published>, minted: &Minted) -> bool {
        let holder = known.token(minted.text.as_bytes(), published, START).expect("it is valid");
        assert_eq!((&holder.token.id, holder.token.hash), (&minted.id, minted.hash));
        // What is kept with a token is there as long as it is remembered.
        holder.answers.stream.replace(Box::default()).is_some()
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
            texts.iter().filter(|minted| was_known(known, &published, minted)).count()
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
        assert!(known.token(guess.as_bytes(), &published, START).is_none());
        node.state.stop().await;
    }

    #[tokio::test]
    async fn a_token_that_is_not_there_any_more_is_not_found_by_what_is_remembered() {
        let node = Node::start().await;
        let minted = minted(&node).await;
        let (shared, mut known) = (node.shared(), Known::nobody());
        let before = shared.published_full();
        assert!(known.token(minted.text.as_bytes(), &before, START).is_some());
        let other = Node::start().await;
        assert!(known.token(minted.text.as_bytes(), &other.shared().published_full(), START).is_none());
        assert!(known.token(minted.text.as_bytes(), &before, START).is_some());
        other.state.stop().await;
        node.state.stop().await;
    }

    #[tokio::test]
    async fn what_is_not_published_any_more_is_let_go_of_though_nobody_asks() {
        let node = Node::start().await;
        let minted = minted(&node).await;
        let (shared, mut known) = (node.shared(), Known::nobody());
        let before = shared.published_full();
        let holders = || Arc::strong_count(before.snapshot.token_to_keep(&minted.id).expect("it is there"));
        let without = holders();
        assert!(known.token(minted.text.as_bytes(), &before, START).is_some());
        assert!(known.take_outdated(&before).is_empty());
        assert_eq!(holders(), without + 1);
        self::minted(&node).await;
        let after = shared.published_full();
        drop(known.take_outdated(&after));
        assert_eq!(holders(), without);
        assert!(known.token(minted.text.as_bytes(), &after, START).is_some());
        assert!(known.take_outdated(&after).is_empty());
        node.state.stop().await;
    }
}
