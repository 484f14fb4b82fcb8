//! JSON from strangers: the members that are asked for, no key twice, within a depth and a number of values.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How deep, and how much.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most objects and lists within each other.
    pub(super) depth: usize,
    /// Most values altogether, keys not counted.
    pub(super) values: usize,
}

/// Why a text was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is not JSON, or not an object.
    Broken,
    /// It is deeper than the bound.
    TooDeep,
    /// It holds more values than the bound.
    TooMany,
    /// An object has a key twice.
    KeyTwice,
}

/// The wanted members of the object that the bytes hold; the others are passed over, and cost no memory.
pub(super) fn members(
    bytes: &[u8],
    wanted: &[&str],
    bounds: Bounds,
) -> Result<BTreeMap<String, Value>, Refused> {
    let state = State { left: Cell::new(bounds.values), refused: Cell::new(Refused::Broken) };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let members = Top { wanted, depth: bounds.depth, state: &state }.deserialize(&mut deserializer);
    members.and_then(|members| deserializer.end().map(|()| members)).map_err(|_| state.refused.get())
}

/// What is left, and why reading ended; `Broken` unless one of ours said otherwise.
struct State {
    left: Cell<usize>,
    refused: Cell<Refused>,
}

impl State {
    fn refuse<E: serde::de::Error>(&self, why: Refused) -> E {
        self.refused.set(why);
        E::custom("refused")
    }

    fn take<E: serde::de::Error>(&self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| self.refuse(Refused::TooMany))?;
        self.left.set(left);
        Ok(())
    }
}

struct Top<'a> {
    wanted: &'a [&'a str],
    depth: usize,
    state: &'a State,
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
        let mut passed_over = std::collections::BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            self.state.take()?;
            let twice = if self.wanted.contains(&key.as_str()) {
                let value = map.next_value_seed(Any { depth: self.depth - 1, state: self.state })?;
                members.insert(key, value).is_some()
            } else {
                map.next_value::<IgnoredAny>()?;
                !passed_over.insert(key)
            };
            if twice {
                return Err(self.state.refuse(Refused::KeyTwice));
            }
        }
        Ok(members)
    }
}

#[derive(Clone, Copy)]
struct Any<'a> {
    depth: usize,
    state: &'a State,
}

impl Any<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| self.state.refuse(Refused::TooDeep))?;
        Ok(Any { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.state.take()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
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

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(self.state.refuse(Refused::KeyTwice));
            }
            members.insert(key, map.next_value_seed(inner)?);
        }
        Ok(Value::Object(members))
    }
}
