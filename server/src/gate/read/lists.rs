//! Lists in reports that have to be whole before they can be judged, and short ones of which a few entries do.

use std::fmt;

use rollout_rules::gate::facts::MAX_FINDINGS;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::gate::json::{Fold, Folded};

/// Most entries of a list that has to be whole, such as the packages of an SBOM. A report with more is refused.
pub(super) const MAX_LISTED: usize = 100_000;
/// Most short texts that are taken of a list, such as other names of a vulnerability; the rest is left.
const FEW: usize = 20;

/// What is left of a list that may be missing or `null`.
pub(super) fn or_none<F: Default>(list: Option<Folded<F>>) -> F {
    list.map(|Folded(fold)| fold).unwrap_or_default()
}

/// All entries of a list, at most [`MAX_LISTED`].
pub(super) struct Listed<T>(pub(super) Vec<T>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Listed(Vec::new())
    }
}

impl<T> Listed<T> {
    /// Adds an entry, unless it is one too many.
    pub(super) fn push(&mut self, entry: T) -> bool {
        let has_room = self.0.len() < MAX_LISTED;
        if has_room {
            self.0.push(entry);
        }
        has_room
    }

    /// Adds the entries of another list, unless they are too many.
    pub(super) fn append(&mut self, mut other: Listed<T>) -> bool {
        let has_room = self.0.len() + other.0.len() <= MAX_LISTED;
        if has_room {
            self.0.append(&mut other.0);
        }
        has_room
    }
}

impl<T: DeserializeOwned> Fold for Listed<T> {
    type Item<'de> = T;

    fn add(&mut self, item: T) -> bool {
        self.push(item)
    }
}

/// The first few texts of a list.
#[derive(Default)]
pub(super) struct Few(pub(super) Vec<String>);

impl Few {
    /// Adds a text while there is room.
    pub(super) fn extend(&mut self, texts: impl IntoIterator<Item = String>) {
        self.0.extend(texts.into_iter().take(FEW - self.0.len()));
    }
}

impl Fold for Few {
    type Item<'de> = String;

    fn add(&mut self, item: String) -> bool {
        self.extend([item]);
        true
    }
}

/// The texts of a list that is written without brackets when it has one entry; at most [`MAX_FINDINGS`].
#[derive(Default)]
pub(super) struct OneOrMore(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor)
    }
}

struct OneOrMoreVisitor;

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = OneOrMore;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMore, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            if texts.len() < MAX_FINDINGS {
                texts.push(text);
            }
        }
        Ok(OneOrMore(texts))
    }
}
