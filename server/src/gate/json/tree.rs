//! JSON as a tree, for what is looked at from all sides: no key twice in it, and so many values at most. And a walk over a whole text
//! that keeps nothing of it.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{Fault, MAX_KEYS, TOO_MANY, TWICE, checked, read};

/// The wanted members of the object that the bytes hold, with at most `max_values` values in all, keys not counted; the others are passed
/// over, and cost no memory.
pub(in crate::gate) fn members(
    bytes: &[u8],
    wanted: &[&str],
    max_values: usize,
) -> Result<BTreeMap<String, Value>, Fault> {
    read(Top { wanted, left: Left(&Cell::new(max_values)) }, checked(bytes)?)
}

/// How many values may still come.
#[derive(Clone, Copy)]
struct Left<'a>(&'a Cell<usize>);

impl Left<'_> {
    fn take<E: Error>(self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| E::custom(TOO_MANY))?;
        self.0.set(left);
        Ok(())
    }
}

struct Top<'a> {
    wanted: &'a [&'a str],
    left: Left<'a>,
}

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = BTreeMap<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = BTreeMap<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        let mut passed_over = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            self.left.take()?;
            let twice = if self.wanted.contains(&key.as_str()) {
                let value = map.next_value_seed(self.left)?;
                members.insert(key, value).is_some()
            } else {
                map.next_value::<IgnoredAny>()?;
                !passed_over.insert(key)
            };
            if twice {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(members)
    }
}

impl<'de> DeserializeSeed<'de> for Left<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.take()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Left<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom(TWICE));
            }
            members.insert(key, map.next_value_seed(self)?);
        }
        Ok(Value::Object(members))
    }
}

/// Walks over a value, and refuses a key that comes twice in any object of it.
#[derive(Clone, Copy)]
pub(super) struct Walk;

impl<'de> DeserializeSeed<'de> for Walk {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = HashSet::<String>::new();
        while let Some(key) = map.next_key()? {
            if !keys.insert(key) {
                return Err(A::Error::custom(TWICE));
            }
            if keys.len() > MAX_KEYS {
                return Err(A::Error::custom(TOO_MANY));
            }
            map.next_value_seed(self)?;
        }
        Ok(())
    }
}
