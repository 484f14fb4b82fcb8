//! What checks answer, with and without the story behind it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use rollout_rules::compile::Definition;
use rollout_rules::evaluate::{Answer, Reason};
use rollout_rules::flag::FlagKind;
use rollout_rules::ids::{Revision, RuleId, VariantKey};
use serde_json::Value;

/// A check's answer with the story behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail<T> {
    /// What the app goes by: the flag's value, or the default that it gave.
    pub value: T,
    /// The variant that was served; none with an error.
    pub variant: Option<VariantKey>,
    /// Why it was served; none with an error.
    pub reason: Option<Reason>,
    /// The rule that decided, if one did.
    pub rule: Option<RuleId>,
    /// The log revision that last changed the flag.
    pub revision: Option<Revision>,
    /// Why the default was given.
    pub error: Option<ErrorKind>,
}

/// Why a check answered its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client has no flags yet; [`Client::status`](crate::Client::status) tells why.
    NotReady,
    /// The environment has no flag of this key.
    FlagNotFound,
    /// The flag's values are of another type.
    TypeMismatch {
        /// The flag's type.
        found: FlagKind,
    },
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::NotReady => f.write_str("the client has no flags yet"),
            ErrorKind::FlagNotFound => f.write_str("there is no flag of this key"),
            ErrorKind::TypeMismatch { found } => {
                write!(f, "the flag is of another type: {}", kind_name(*found))
            }
        }
    }
}

impl std::error::Error for ErrorKind {}

fn kind_name(kind: FlagKind) -> &'static str {
    match kind {
        FlagKind::Boolean => "boolean",
        FlagKind::String => "string",
        FlagKind::Number => "number",
        FlagKind::Object => "object",
    }
}

impl<T> Detail<T> {
    pub(crate) fn served(value: T, answer: &Answer<'_>) -> Detail<T> {
        Detail {
            value,
            variant: Some(answer.variant().clone()),
            reason: Some(answer.reason),
            rule: answer.rule().cloned(),
            revision: Some(answer.revision()),
            error: None,
        }
    }

    pub(crate) fn default(value: T, error: ErrorKind) -> Detail<T> {
        Detail { value, variant: None, reason: None, rule: None, revision: None, error: Some(error) }
    }
}

/// A value that belongs to a flag, kept alive without a copy, or the caller's default.
enum Held<'d, D: ?Sized> {
    Flag { definition: Arc<Definition>, variant: u16 },
    Default(&'d D),
}

impl<D: ?Sized> Clone for Held<'_, D> {
    fn clone(&self) -> Self {
        match self {
            Held::Flag { definition, variant } => {
                Held::Flag { definition: Arc::clone(definition), variant: *variant }
            }
            Held::Default(value) => Held::Default(value),
        }
    }
}

impl<D: ?Sized> Held<'_, D> {
    fn flag(answer: &Answer<'_>) -> Self {
        Held::Flag { definition: Arc::clone(answer.definition()), variant: answer.index() }
    }
}

fn value_of(definition: &Definition, variant: u16) -> &Value {
    &definition.flag().variants[usize::from(variant)].value
}

/// A text from a flag. Reads as a `str`; costs no allocation, and keeps the flag's definition alive for
/// as long as it lives.
#[derive(Clone)]
pub struct Text<'d>(Held<'d, str>);

impl<'d> Text<'d> {
    pub(crate) fn read(answer: &Answer<'_>) -> Option<Text<'d>> {
        answer.value().is_string().then(|| Text(Held::flag(answer)))
    }

    pub(crate) fn default(text: &'d str) -> Text<'d> {
        Text(Held::Default(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Held::Flag { definition, variant } => value_of(definition, *variant).as_str().unwrap_or_default(),
            Held::Default(text) => text,
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Text<'_>) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// A JSON value from a flag. Reads as a [`serde_json::Value`]; costs no allocation, and keeps the flag's
/// definition alive for as long as it lives.
#[derive(Clone)]
pub struct Json<'d>(Held<'d, Value>);

impl<'d> Json<'d> {
    pub(crate) fn read(answer: &Answer<'_>) -> Json<'d> {
        Json(Held::flag(answer))
    }

    pub(crate) fn default(value: &'d Value) -> Json<'d> {
        Json(Held::Default(value))
    }
}

impl Deref for Json<'_> {
    type Target = Value;

    fn deref(&self) -> &Value {
        match &self.0 {
            Held::Flag { definition, variant } => value_of(definition, *variant),
            Held::Default(value) => value,
        }
    }
}

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for Json<'_> {
    fn eq(&self, other: &Json<'_>) -> bool {
        **self == **other
    }
}

impl PartialEq<Value> for Json<'_> {
    fn eq(&self, other: &Value) -> bool {
        **self == *other
    }
}
