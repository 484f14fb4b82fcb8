//! The secret text of tokens: how it is drawn, read and compared. The log keeps only its hash.

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollout_rules::governance::Scope;
use rollout_rules::ids::{Digest, TokenId};
use subtle::ConstantTimeEq as _;

/// Longest secret text that is looked at, in bytes.
pub const MAX_SECRET_BYTES: usize = 128;
const ID_LETTERS: usize = 12;
/// What a letter of the alphabet tells apart.
const BITS_OF_A_LETTER: usize = 5;
const SECRET_BYTES: usize = 32;
const SECRET_LETTERS: usize = 43;
/// Lower-case base 32 without the letters that people mix up.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// A new token's id, its secret text (to be shown once) and the hash that the log keeps.
#[derive(Clone)]
pub struct Minted {
    /// Finds the token.
    pub id: TokenId,
    /// `tg_<scope>_<id>_<secret>`.
    pub text: String,
    /// SHA-256 of the whole text.
    pub hash: Digest,
}

/// The word for a scope in the text of a token.
pub fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Admin => "admin",
        Scope::Operator => "operator",
        Scope::Editor => "editor",
        Scope::Viewer => "viewer",
        Scope::Ci => "ci",
        Scope::SdkServer => "sdk-server",
        Scope::SdkBrowser => "sdk-browser",
    }
}

/// Draws a new secret for a scope.
pub fn mint(scope: Scope) -> Minted {
    mint_as(scope, &random_id())
}

/// Draws a new secret for a scope, under an id of [`random_id`] or [`id_from`].
pub fn mint_as(scope: Scope, id: &str) -> Minted {
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
    let text = format!("tg_{}_{id}_{secret}", scope_word(scope));
    let hash = Digest::of(text.as_bytes());
    let id = TokenId::new(id).expect("the alphabet holds only letters that ids may have");
    Minted { id, text, hash }
}

/// Twelve random letters (60 bits), for ids that need not be secret.
pub fn random_id() -> String {
    letters(rand::random())
}

/// Ids of the form of [`random_id`], each the next one after the last. They begin at one that is drawn, of as many as
/// letters tell apart, so that no two sources are likely ever to give the same.
pub struct Ids(Cell<u64>);

impl Ids {
    /// A source of its own.
    pub fn from_a_random_one() -> Ids {
        Ids(Cell::new(rand::random()))
    }

    /// The next one's letters, which are ASCII.
    pub fn next_id(&self) -> [u8; ID_LETTERS] {
        let number = self.0.get();
        self.0.set(number.wrapping_add(1));
        std::array::from_fn(|place| ALPHABET[(number >> (BITS_OF_A_LETTER * place) & 31) as usize])
    }
}

/// Twelve letters that are always the same for a text, and others for another one.
pub fn id_from(text: &str) -> String {
    let mut bytes = [0; ID_LETTERS];
    bytes.copy_from_slice(&Digest::of(text.as_bytes()).0[..ID_LETTERS]);
    letters(bytes)
}

fn letters(bytes: [u8; ID_LETTERS]) -> String {
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()
}

/// The id in a secret text; `None` if the text has not the form of one.
pub fn id_of(text: &str) -> Option<&str> {
    if text.len() > MAX_SECRET_BYTES {
        return None;
    }
    let (_scope, rest) = text.strip_prefix("tg_")?.split_once('_')?;
    let (id, secret) = rest.split_at_checked(ID_LETTERS)?;
    (secret.len() == SECRET_LETTERS + 1 && secret.starts_with('_')).then_some(id)
}

/// Whether a secret text has this hash; takes as long whether it does or not.
pub fn matches(text: &str, hash: &Digest) -> bool {
    bool::from(Digest::of(text.as_bytes()).0.ct_eq(&hash.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_secret_names_its_id_and_matches_its_hash_alone() {
        for scope in [Scope::Admin, Scope::SdkServer, Scope::Ci] {
            let (one, other) = (mint(scope), mint(scope));
            assert_eq!(id_of(&one.text), Some(one.id.as_str()));
            assert!(matches(&one.text, &one.hash));
            assert!(!matches(&other.text, &one.hash));
        }
    }

    #[test]
    fn ids_of_a_source_are_all_different_and_have_the_form_of_random_ones() {
        let (ids, other) = (Ids::from_a_random_one(), Ids::from_a_random_one());
        let text = |ids: &Ids| String::from_utf8(ids.next_id().to_vec()).unwrap();
        let mut seen: Vec<String> = (0..2_000).flat_map(|_| [text(&ids), text(&other)]).collect();
        assert!(seen.iter().all(|id| id.len() == random_id().len() && TokenId::new(id).is_ok()));
        seen.sort();
        assert!(seen.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn a_text_that_is_no_token_has_no_id() {
        let good = mint(Scope::Viewer).text;
        for bad in ["", "tg_", "tg_viewer_short_x", &good[1..], &good[..good.len() - 1], &"x".repeat(4000)] {
            assert_eq!(id_of(bad), None, "{bad}");
        }
    }
}
