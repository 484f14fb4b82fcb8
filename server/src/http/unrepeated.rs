//! JSON in which no object names a member twice.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Up to so many names of an object are compared one by one.
const FEW: usize = 32;

/// Any JSON in which no object names a member twice.
pub(super) struct Unrepeated;

impl<'de> Deserialize<'de> for Unrepeated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unrepeated, D::Error> {
        Walk { names: &mut Vec::new() }.deserialize(deserializer)
    }
}

/// A walk through a value.
struct Walk<'w, 'de> {
    /// The names of the objects around it as far as they were read, those of the innermost last.
    names: &'w mut Vec<Cow<'de, str>>,
}

impl<'w, 'de> Walk<'w, 'de> {
    /// Further down.
    fn below(&mut self) -> Walk<'_, 'de> {
        Walk { names: self.names }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = Unrepeated;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Unrepeated, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = Unrepeated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Unrepeated, E> {
        Ok(Unrepeated)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unrepeated, E> {
        Ok(Unrepeated)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unrepeated, E> {
        Ok(Unrepeated)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unrepeated, E> {
        Ok(Unrepeated)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unrepeated, E> {
        Ok(Unrepeated)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unrepeated, E> {
        Ok(Unrepeated)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Unrepeated, A::Error> {
        while items.next_element_seed(self.below())?.is_some() {}
        Ok(Unrepeated)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Unrepeated, A::Error> {
        let first = self.names.len();
        // Of an object with many names they are looked up instead.
        let mut many = HashSet::new();
        while let Some(Name(name)) = members.next_key()? {
            let own = &self.names[first..];
            if own.len() == FEW && many.is_empty() {
                many.extend(own.iter().cloned());
            }
            let is_new = if many.is_empty() { !own.contains(&name) } else { many.insert(name.clone()) };
            if !is_new {
                return Err(A::Error::custom(format_args!("`{name}` stands twice in one object")));
            }
            if many.is_empty() {
                self.names.push(name);
            }
            members.next_value_seed(self.below())?;
        }
        self.names.truncate(first);
        Ok(Unrepeated)
    }
}

/// A name, taken from where it lies unless it is written with escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name<'de>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_unrepeated(json: &str) -> bool {
        serde_json::from_str::<Unrepeated>(json).is_ok()
    }

    #[test]
    fn among_few_names_and_many_the_one_that_stands_twice_is_found() {
        for count in [2, FEW - 1, FEW, FEW + 1, FEW + 2, 10 * FEW] {
            let members: Vec<String> = (0..count).map(|name| format!(r#""n{name}":[{{"n0":1}}]"#)).collect();
            let members = members.join(",");
            assert!(is_unrepeated(&format!("{{{members}}}")), "{count}");
            for twice in [0, count / 2, count - 1] {
                assert!(!is_unrepeated(&format!(r#"{{{members},"n{twice}":0}}"#)), "{twice} of {count}");
            }
        }
    }

    #[test]
    fn names_are_those_of_one_object_whatever_is_around_it_and_beside_it() {
        assert!(is_unrepeated(r#"{"a":{"a":{"a":1},"b":2},"b":[{"a":1},{"a":1}]}"#));
        for twice in [
            r#"{"a":{"b":1},"a":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":{}},{"b":{},"b":{}}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert!(!is_unrepeated(twice), "{twice}");
        }
    }
}
