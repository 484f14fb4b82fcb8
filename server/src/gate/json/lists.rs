//! Lists and objects whose keys are data, one item at a time, so that a long one costs no memory; and texts that may be numbers.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use rollout_rules::gate::facts::Problem;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

use super::{Fault, MAX_KEYS, TOO_MANY, TWICE, read};

/// Most items of one list that is read; lists that are passed over may be as long as they like.
const MAX_ITEMS: u32 = 1_000_000;

/// What a list comes down to, one item at a time, so that a long list costs no memory. An absent or null list has no items.
pub(in crate::gate) trait Fold: Default {
    /// What the list holds.
    type Item<'de>: Deserialize<'de>;

    /// One more item; false: that is one too many.
    fn add(&mut self, item: Self::Item<'_>) -> bool;
}

/// A list, folded.
#[derive(Default)]
pub(in crate::gate) struct Folded<F>(pub(in crate::gate) F);

impl<'de, F: Fold> Deserialize<'de> for Folded<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Folded<F>, D::Error> {
        let mut fold = F::default();
        let full = |added: bool| if added { Ok(()) } else { Err(TOO_MANY) };
        let each = Each { add: |item: F::Item<'de>| full(fold.add(item)), item: PhantomData };
        each.deserialize(deserializer)?;
        Ok(Folded(fold))
    }
}

/// How many items a list has, whatever they are.
#[derive(Clone, Copy, Default)]
pub(in crate::gate) struct Count(pub(in crate::gate) u64);

impl Fold for Count {
    type Item<'de> = IgnoredAny;

    fn add(&mut self, _: IgnoredAny) -> bool {
        self.0 += 1;
        true
    }
}

/// Hands on each item of a list that was left unread before.
pub(in crate::gate) fn each<'a, T: Deserialize<'a>>(
    list: &'a RawValue,
    mut add: impl FnMut(T) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut refusal = None;
    let each = Each {
        add: |item: T| {
            add(item).map_err(|problem| {
                refusal = Some(problem);
                "refused"
            })
        },
        item: PhantomData,
    };
    let read = read(each, list.get().as_bytes());
    match refusal {
        Some(problem) => Err(problem),
        None => read.map_err(Problem::from),
    }
}

struct Each<T, F> {
    add: F,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), &'static str>> DeserializeSeed<'de> for Each<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(T) -> Result<(), &'static str>> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut items = 0;
        while let Some(item) = list.next_element::<T>()? {
            items += 1;
            if items > MAX_ITEMS {
                return Err(A::Error::custom(TOO_MANY));
            }
            (self.add)(item).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

/// Reads an object whose keys are data, such as file names: each key once, each value handed on and let go.
pub(in crate::gate) fn each_entry<'a, T: Deserialize<'a>>(
    map: &'a RawValue,
    add: impl FnMut(&str, T),
) -> Result<(), Fault> {
    read(Entries { add, value: PhantomData }, map.get().as_bytes())
}

struct Entries<T, F> {
    add: F,
    value: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>, F: FnMut(&str, T)> DeserializeSeed<'de> for Entries<T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>, F: FnMut(&str, T)> Visitor<'de> for Entries<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value()?;
            if seen.contains(&key) {
                return Err(A::Error::custom(TWICE));
            }
            if seen.len() == MAX_KEYS {
                return Err(A::Error::custom(TOO_MANY));
            }
            (self.add)(&key, value);
            seen.insert(key);
        }
        Ok(())
    }
}

/// Text where programs write text or a number, such as a severity of `"9.1"` or `9.1`; anything else is empty, however large.
#[derive(Default)]
pub(in crate::gate) struct Scalar(pub(in crate::gate) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Scalar)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a number")
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_bool<E>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<String, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(String::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(String::new())
    }
}
