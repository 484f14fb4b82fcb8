//! JSON of strangers: bounded in depth, no key twice, lists read one item at a time, and errors that quote nothing.

use core::fmt;
use core::marker::PhantomData;

use rollout_rules::gate::facts::{Problem, ProblemCode};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::problem;

/// Deepest nesting of objects and lists, and of XML elements.
pub(super) const MAX_DEPTH: usize = 64;
/// Most items of one list that is read; lists that are passed over may be as long as they like.
const MAX_ITEMS: u32 = 1_000_000;
/// How serde says that a field of a struct comes twice; our own visitors say it in the same words.
const TWICE: &str = "duplicate field";
/// How our own visitors say that a list is too long.
const TOO_MANY: &str = "more items than are taken";

/// Reads JSON into a type. Fields that the type does not name are passed over, however large.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    parse_with(PhantomData, bytes)
}

/// Reads JSON by a seed.
pub(super) fn parse_with<'a, S: DeserializeSeed<'a>>(seed: S, bytes: &'a [u8]) -> Result<S::Value, Problem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if core::str::from_utf8(bytes).is_err() {
        return Err(problem(ProblemCode::Malformed, "It is not UTF-8. Write the report again as UTF-8."));
    }
    check_depth(bytes)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut reader).map_err(|error| refused(&error))?;
    reader.end().map_err(|error| refused(&error))?;
    Ok(value)
}

/// Counts brackets outside strings. Done before anything is parsed: a parser that recurses never sees what is too deep.
pub(super) fn check_depth(bytes: &[u8]) -> Result<(), Problem> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            let detail = format!(
                "It is nested deeper than {MAX_DEPTH} levels, which no report is. Write the report again."
            );
            return Err(problem(ProblemCode::TooLarge, detail));
        }
    }
    Ok(())
}

/// What an error means, by line and column: serde's own words quote what they found, which may be a secret.
fn refused(error: &serde_json::Error) -> Problem {
    let at = format!("line {}, column {}", error.line(), error.column());
    let said = error.to_string();
    if said.starts_with(TWICE) {
        let detail = format!(
            "An object gives the same key twice, at {at}: two programs would read two different reports. \
            Write the report again with the tool itself."
        );
        return problem(ProblemCode::Hostile, detail);
    }
    if said.starts_with(TOO_MANY) || said.starts_with("recursion limit") {
        return problem(
            ProblemCode::TooLarge,
            format!("A list is longer than is taken, at {at}. Split the report."),
        );
    }
    let what = match error.classify() {
        serde_json::error::Category::Eof => "It is cut off",
        serde_json::error::Category::Data => "A value is not of the kind that its format says",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "It is no valid JSON",
    };
    problem(ProblemCode::Malformed, format!("{what}, at {at}. Write the report again with the tool itself."))
}

/// Any value, with no key twice in any of its objects. Holds the whole tree: for small pieces only.
#[derive(Debug, Default)]
pub(super) struct Distinct(pub(super) Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Distinct, D::Error> {
        deserializer.deserialize_any(DistinctVisitor).map(Distinct)
    }
}

struct DistinctVisitor;

impl<'de> Visitor<'de> for DistinctVisitor {
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

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Distinct(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Distinct(value) = map.next_value()?;
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(object))
    }
}

/// What a list comes down to, one item at a time, so that a long list costs no memory. An absent or null list has no items.
pub(super) trait Fold: Default {
    /// What the list holds.
    type Item<'de>: Deserialize<'de>;

    /// One more item; false: that is one too many.
    fn add(&mut self, item: Self::Item<'_>) -> bool;
}

/// A list, folded.
#[derive(Default)]
pub(super) struct Folded<F>(pub(super) F);

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
pub(super) struct Count(pub(super) u64);

impl Fold for Count {
    type Item<'de> = IgnoredAny;

    fn add(&mut self, _: IgnoredAny) -> bool {
        self.0 += 1;
        true
    }
}

/// Hands on each item of a list that was left unread before.
pub(super) fn each<'a, T: Deserialize<'a>>(
    list: &'a RawValue,
    mut add: impl FnMut(T) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut refusal = None;
    let read = parse_with(
        Each {
            add: |item: T| {
                add(item).map_err(|problem| {
                    refusal = Some(problem);
                    "refused"
                })
            },
            item: PhantomData,
        },
        list.get().as_bytes(),
    );
    match refusal {
        Some(problem) => Err(problem),
        None => read,
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
pub(super) fn each_entry<'a, T: Deserialize<'a>>(
    map: &'a RawValue,
    add: impl FnMut(&str, T),
) -> Result<(), Problem> {
    parse_with(Entries { add, value: PhantomData }, map.get().as_bytes())
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
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value()?;
            if seen.contains(&key) {
                return Err(A::Error::custom(TWICE));
            }
            (self.add)(&key, value);
            seen.insert(key);
        }
        Ok(())
    }
}

/// Text where programs write text or a number, such as a severity of `"9.1"` or `9.1`; anything else is empty, however large.
#[derive(Default)]
pub(super) struct Scalar(pub(super) String);

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
