//! What is known of who asks: the values of attributes, and what they weigh.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{ContextError, MAX_ATTRIBUTE_DEPTH, VALUE_BYTES};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// Counts as not being there.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number; integers above 2^53 lose precision, as in JavaScript.
    Number(f64),
    /// A text.
    String(Box<str>),
    /// Passes a test if any element does.
    List(Vec<Attribute>),
    /// Reached into by paths.
    Object(Vec<(Box<str>, Attribute)>),
}

impl Attribute {
    /// What it counts against [`MAX_CONTEXT_BYTES`](super::MAX_CONTEXT_BYTES).
    #[inline]
    pub(super) fn weight(&self, depth: usize) -> Result<usize, ContextError> {
        match self {
            _ if depth > MAX_ATTRIBUTE_DEPTH => Err(ContextError::TooDeep),
            Attribute::Null | Attribute::Bool(_) | Attribute::Number(_) => Ok(VALUE_BYTES),
            Attribute::String(text) => Ok(VALUE_BYTES + text.len()),
            Attribute::List(_) | Attribute::Object(_) => self.weight_of_parts(depth),
        }
    }

    /// [`weight`](Attribute::weight) of what has parts. Apart, so that the rest can be inlined.
    fn weight_of_parts(&self, depth: usize) -> Result<usize, ContextError> {
        Ok(VALUE_BYTES
            + match self {
                Attribute::Null | Attribute::Bool(_) | Attribute::Number(_) | Attribute::String(_) => 0,
                Attribute::List(items) => {
                    items.iter().try_fold(0, |sum, item| Ok(sum + item.weight(depth + 1)?))?
                }
                Attribute::Object(fields) => fields
                    .iter()
                    .try_fold(0, |sum, (name, field)| Ok(sum + name.len() + field.weight(depth + 1)?))?,
            })
    }

    /// The field of this name, if this is an object.
    pub(crate) fn field(&self, name: &str) -> Option<&Attribute> {
        match self {
            Attribute::Object(fields) => {
                fields.iter().find(|(field, _)| **field == *name).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Attribute {
        Attribute::String(Box::from(text))
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Attribute {
        Attribute::String(text.into_boxed_str())
    }
}

impl From<bool> for Attribute {
    fn from(flag: bool) -> Attribute {
        Attribute::Bool(flag)
    }
}

macro_rules! from_number {
    ($($number:ty),*) => {$(
        impl From<$number> for Attribute {
            #[allow(clippy::cast_precision_loss, clippy::cast_lossless, reason = "numbers are as in JavaScript")]
            fn from(number: $number) -> Attribute {
                Attribute::Number(number as f64)
            }
        }
    )*};
}

from_number!(f64, f32, i64, i32, u64, u32, u16, usize);

impl<T: Into<Attribute>> From<Vec<T>> for Attribute {
    fn from(items: Vec<T>) -> Attribute {
        Attribute::List(items.into_iter().map(Into::into).collect())
    }
}
