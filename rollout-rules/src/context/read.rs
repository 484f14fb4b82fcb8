//! Contexts from JSON: what is in memory already, and what comes from outside, which may be hostile.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{
    Attribute, Context, ContextError, MAX_ATTRIBUTE_DEPTH, MAX_CONTEXT_BYTES, TARGETING_KEY, VALUE_BYTES,
};

impl TryFrom<&serde_json::Map<String, Value>> for Context {
    type Error = ContextError;

    fn try_from(object: &serde_json::Map<String, Value>) -> Result<Context, ContextError> {
        let mut context = Context::default();
        for (name, value) in object {
            context.insert(name, read(value, 1)?)?;
        }
        Ok(context)
    }
}

/// A JSON value as an attribute.
fn read(value: &Value, depth: usize) -> Result<Attribute, ContextError> {
    if depth > MAX_ATTRIBUTE_DEPTH {
        return Err(ContextError::TooDeep);
    }
    Ok(match value {
        Value::Null => Attribute::Null,
        Value::Bool(flag) => Attribute::Bool(*flag),
        Value::Number(number) => Attribute::Number(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Attribute::String(Box::from(&**text)),
        Value::Array(items) => {
            Attribute::List(items.iter().map(|item| read(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => Attribute::Object(
            fields
                .iter()
                .map(|(name, field)| Ok((Box::from(&**name), read(field, depth + 1)?)))
                .collect::<Result<_, _>>()?,
        ),
    })
}

/// How much more a context may hold while it is read, so that a hostile one is refused before it is
/// built.
struct Reader<'b> {
    left: &'b mut usize,
    depth: usize,
}

impl Reader<'_> {
    fn spend<E: serde::de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        *self.left = self.left.checked_sub(bytes).ok_or_else(|| E::custom(ContextError::TooLarge))?;
        Ok(())
    }

    fn text<E: serde::de::Error>(&mut self, text: &str) -> Result<Attribute, E> {
        self.spend(text.len())?;
        Ok(Attribute::String(Box::from(text)))
    }

    fn inner(&mut self) -> Reader<'_> {
        Reader { left: self.left, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Attribute;

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<Attribute, D::Error> {
        if self.depth > MAX_ATTRIBUTE_DEPTH {
            return Err(D::Error::custom(ContextError::TooDeep));
        }
        self.spend(VALUE_BYTES)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Attribute;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value of an attribute")
    }

    fn visit_unit<E>(self) -> Result<Attribute, E> {
        Ok(Attribute::Null)
    }

    fn visit_none<E>(self) -> Result<Attribute, E> {
        Ok(Attribute::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Attribute, E> {
        Ok(Attribute::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Attribute, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Attribute, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Attribute, E> {
        Ok(Attribute::Number(number))
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<Attribute, E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Attribute, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner())? {
            list.push(item);
        }
        Ok(Attribute::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<Attribute, A::Error> {
        let mut object = Vec::new();
        while let Some(FieldName(name)) = fields.next_key()? {
            self.spend(name.len())?;
            let value = fields.next_value_seed(self.inner())?;
            object.push((Box::from(&*name), value));
        }
        match repeated(&object) {
            Some(name) => Err(A::Error::custom(ContextError::Repeated(name))),
            None => Ok(Attribute::Object(object)),
        }
    }
}

/// The name of a field, copied only where it is written otherwise than it is.
struct FieldName<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for FieldName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FieldName<'de>, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = FieldName<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<FieldName<'de>, E> {
                Ok(FieldName(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<FieldName<'de>, E> {
                Ok(FieldName(Cow::Owned(String::from(text))))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A name that several fields have.
fn repeated(fields: &[(Box<str>, Attribute)]) -> Option<Box<str>> {
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.windows(2).find(|two| two[0] == two[1]).map(|two| Box::from(two[0]))
}

impl<'de> Deserialize<'de> for Context {
    /// Reads OFREP's context object: `targetingKey` and attributes beside it. An object that names something
    /// twice is refused.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Context, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Context;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a context: an object of attributes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Context, A::Error> {
                let mut left = MAX_CONTEXT_BYTES;
                let mut context = Context::default();
                let mut has_key = false;
                while let Some(FieldName(name)) = fields.next_key()? {
                    // Attributes that are there already are found as they are added.
                    if name == TARGETING_KEY && core::mem::replace(&mut has_key, true) {
                        return Err(A::Error::custom(ContextError::Repeated(Box::from(&*name))));
                    }
                    let value = fields.next_value_seed(Reader { left: &mut left, depth: 1 })?;
                    context.add(&name, value).map_err(A::Error::custom)?;
                }
                Ok(context)
            }
        }
        deserializer.deserialize_map(Whole)
    }
}
