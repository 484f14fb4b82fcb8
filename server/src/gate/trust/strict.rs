//! JSON in which nothing can hide: no key twice in an object, no nesting deeper than anybody needs.
//!
//! Two readers of an object with a key twice may each see another value: one of them was then signed, the other is judged.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use rollout_rules::gate::facts::{Problem, ProblemCode};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::problem;

/// Deepest nesting of objects and lists that is read.
pub(super) const MAX_DEPTH: usize = 64;

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not JSON.
    NotJson,
    /// It is deeper than [`MAX_DEPTH`].
    TooDeep,
    /// An object has a key twice.
    KeyTwice,
    /// It is JSON of another shape.
    OtherShape,
}

impl Fault {
    /// What to tell people of it. `what` names the text, such as `The statement`.
    pub(super) fn problem(self, what: &str) -> Problem {
        match self {
            Fault::NotJson => problem(
                ProblemCode::Malformed,
                format!("{what} is not JSON: make it again with the tool that signs."),
            ),
            Fault::TooDeep => problem(
                ProblemCode::TooLarge,
                format!(
                    "{what} is nested deeper than {MAX_DEPTH} levels: make it again with the tool that signs."
                ),
            ),
            Fault::KeyTwice => problem(
                ProblemCode::Hostile,
                format!(
                    "{what} has an object with the same key twice, which can be read in two ways: make it again with the tool that signs."
                ),
            ),
            Fault::OtherShape => problem(
                ProblemCode::Malformed,
                format!(
                    "{what} lacks a field that its format asks for, or has one of another type: make it again with the tool that signs."
                ),
            ),
        }
    }
}

/// Reads a text that holds nothing twice.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    check(bytes)?;
    serde_json::from_slice(bytes).map_err(|_| Fault::OtherShape)
}

/// Walks over the whole text.
fn check(bytes: &[u8]) -> Result<(), Fault> {
    let fault = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walked = Node { depth: 0, fault: &fault }.deserialize(&mut reader).and_then(|()| reader.end());
    walked.map_err(|_| fault.get().unwrap_or(Fault::NotJson))
}

/// A value somewhere in the text. Keeps nothing of it.
#[derive(Clone, Copy)]
struct Node<'f> {
    depth: usize,
    fault: &'f Cell<Option<Fault>>,
}

impl Node<'_> {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.found(Fault::TooDeep));
        }
        Ok(Node { depth: self.depth + 1, fault: self.fault })
    }

    fn found<E: de::Error>(self, fault: Fault) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while list.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        let mut keys = HashSet::<String>::new();
        while let Some(key) = map.next_key()? {
            if !keys.insert(key) {
                return Err(self.found(Fault::KeyTwice));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}
