//! Who asks: the targeting key and the attributes that conditions look at.
//!
//! Building a context allocates, looking into it does not: a lookup compares a few integers.

mod attribute;
mod read;
mod renew;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use self::attribute::Attribute;
use crate::name::Name;
use crate::table::hash_of;

/// Most attributes of one context.
pub const MAX_ATTRIBUTES: usize = 64;
/// Deepest nesting of one attribute.
pub const MAX_ATTRIBUTE_DEPTH: usize = 8;
/// Largest context, in bytes of names and texts, with [`VALUE_BYTES`] for every value.
pub const MAX_CONTEXT_BYTES: usize = 32 * 1024;
/// What each value counts against [`MAX_CONTEXT_BYTES`], besides its text.
pub const VALUE_BYTES: usize = 8;
/// The name by which conditions and OFREP's contexts call the targeting key.
pub const TARGETING_KEY: &str = "targetingKey";

/// Whether targeting keys are hashed when they are set. In WebAssembly each check has a context of its own, and most
/// flags have no list to look the key up in.
const HASHES_EARLY: bool = cfg!(not(target_arch = "wasm32"));

/// Why a context is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextError {
    /// More than [`MAX_ATTRIBUTES`] attributes.
    TooManyAttributes,
    /// An attribute is nested deeper than [`MAX_ATTRIBUTE_DEPTH`].
    TooDeep,
    /// Larger than [`MAX_CONTEXT_BYTES`].
    TooLarge,
    /// The targeting key is there, but no text.
    TargetingKeyNotText,
    /// JSON that names something twice; programs differ in which of the two they take.
    Repeated(Box<str>),
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextError::TooManyAttributes => {
                write!(f, "a context may have at most {MAX_ATTRIBUTES} attributes")
            }
            ContextError::TooDeep => {
                write!(f, "an attribute may be nested at most {MAX_ATTRIBUTE_DEPTH} deep")
            }
            ContextError::TooLarge => {
                write!(f, "a context may have at most {MAX_CONTEXT_BYTES} bytes")
            }
            ContextError::TargetingKeyNotText => f.write_str("the targeting key has to be a text"),
            ContextError::Repeated(name) => write!(f, "`{name}` stands twice in one object"),
        }
    }
}

impl core::error::Error for ContextError {}

#[derive(Clone, Debug, PartialEq)]
struct Named {
    name: Name,
    value: Attribute,
}

/// The attributes that a flag looks at, in order, made ready for contexts that have no others.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Box<[Option<Name>]>);

impl Wanted {
    /// The attributes of these names, each once.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Wanted {
        // The targeting key is none of them.
        Wanted(names.into_iter().map(|name| (name != TARGETING_KEY).then(|| Name::new(name))).collect())
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Who asks. An empty targeting key counts as none, so that callers without a user are never all
/// thrown into one bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// A `String` that is not empty.
    unit: Option<Attribute>,
    unit_hash: u64,
    attributes: Vec<Named>,
    bytes: usize,
    refused: Option<ContextError>,
}

impl Context {
    /// Somebody with a targeting key.
    pub fn new(targeting_key: &str) -> Context {
        let mut context = Context::default();
        let outcome = context.set_targeting_key(Box::from(targeting_key));
        context.note(outcome);
        context
    }

    /// Somebody without a targeting key: splits do not match.
    pub fn anonymous() -> Context {
        Context::default()
    }

    /// Adds an attribute, or replaces the one with this name. One that passes a bound is left out, and
    /// [`refused`](Context::refused) tells.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Context {
        let outcome = self.insert(name, value.into());
        self.note(outcome);
        self
    }

    /// Adds an attribute, or replaces the one with this name.
    pub fn try_with(mut self, name: &str, value: impl Into<Attribute>) -> Result<Context, ContextError> {
        self.insert(name, value.into())?;
        Ok(self)
    }

    /// The first attribute that [`with`](Context::with) left out, if any, and why.
    pub fn refused(&self) -> Option<&ContextError> {
        self.refused.as_ref()
    }

    /// The targeting key.
    pub fn targeting_key(&self) -> Option<&str> {
        match &self.unit {
            Some(Attribute::String(key)) => Some(key),
            _ => None,
        }
    }

    /// The attribute of this name; `targetingKey` is the targeting key.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        if name == TARGETING_KEY { self.unit() } else { self.find(&Name::new(name)) }
    }

    /// How many attributes there are besides the targeting key.
    pub fn len(&self) -> usize {
        self.attributes.len()
    }

    /// Whether there are no attributes besides the targeting key.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// The attribute of this name, which is not that of the targeting key.
    #[inline]
    pub(crate) fn find(&self, name: &Name) -> Option<&Attribute> {
        self.attributes.iter().find(|named| named.name == *name).map(|named| &named.value)
    }

    /// The targeting key as an attribute.
    #[inline]
    pub(crate) fn unit(&self) -> Option<&Attribute> {
        self.unit.as_ref()
    }

    /// The targeting key and its hash.
    #[inline]
    pub(crate) fn hashed_unit(&self) -> Option<(u64, &str)> {
        self.targeting_key().map(|key| (if HASHES_EARLY { self.unit_hash } else { hash_of(key) }, key))
    }

    fn note(&mut self, outcome: Result<(), ContextError>) {
        if let Err(error) = outcome {
            self.refused.get_or_insert(error);
        }
    }

    /// Nobody, with the room that it has.
    #[inline]
    pub fn clear(&mut self) {
        self.attributes.clear();
        (self.unit, self.bytes, self.refused) = (None, 0, None);
    }

    /// Gives back the room for attributes that are not there.
    pub fn shrink_to_fit(&mut self) {
        self.attributes.shrink_to_fit();
    }

    /// Adds an attribute that is not there yet; the targeting key is none of them, and is set as often as it comes.
    pub fn add(&mut self, name: &str, value: Attribute) -> Result<(), ContextError> {
        self.put(name, value, false)
    }

    /// Adds the attribute that is wanted at a place, and was not added yet.
    #[inline(always)]
    pub fn add_wanted(&mut self, wanted: &Wanted, at: usize, value: Attribute) -> Result<(), ContextError> {
        let Some(name) = wanted.0.get(at).and_then(Option::as_ref) else { return self.set_unit(value) };
        let bytes = self.bytes + name.len() + value.weight(1)?;
        if self.attributes.len() == MAX_ATTRIBUTES {
            return Err(ContextError::TooManyAttributes);
        }
        if bytes > MAX_CONTEXT_BYTES {
            return Err(ContextError::TooLarge);
        }
        self.bytes = bytes;
        self.attributes.push(Named { name: name.clone(), value });
        Ok(())
    }

    fn insert(&mut self, name: &str, value: Attribute) -> Result<(), ContextError> {
        self.put(name, value, true)
    }

    fn put(&mut self, name: &str, value: Attribute, may_replace: bool) -> Result<(), ContextError> {
        if name == TARGETING_KEY {
            return self.set_unit(value);
        }
        let weight = name.len() + value.weight(1)?;
        let known = Name::new(name);
        let place = self.attributes.iter().position(|named| named.name == known);
        let freed = match place {
            Some(_) if !may_replace => return Err(ContextError::Repeated(Box::from(name))),
            Some(at) => self.attributes[at].name.len() + self.attributes[at].value.weight(1)?,
            None if self.attributes.len() == MAX_ATTRIBUTES => return Err(ContextError::TooManyAttributes),
            None => 0,
        };
        let bytes = self.bytes - freed + weight;
        if bytes > MAX_CONTEXT_BYTES {
            return Err(ContextError::TooLarge);
        }
        self.bytes = bytes;
        let named = Named { name: known, value };
        match place {
            Some(at) => self.attributes[at] = named,
            None => self.attributes.push(named),
        }
        Ok(())
    }

    #[inline]
    fn set_unit(&mut self, value: Attribute) -> Result<(), ContextError> {
        match value {
            Attribute::String(key) => self.set_targeting_key(key),
            Attribute::Null => Ok(()),
            _ => Err(ContextError::TargetingKeyNotText),
        }
    }

    #[inline]
    fn set_targeting_key(&mut self, key: Box<str>) -> Result<(), ContextError> {
        if self.bytes + key.len() > MAX_CONTEXT_BYTES {
            return Err(ContextError::TooLarge);
        }
        self.bytes += key.len();
        if HASHES_EARLY {
            self.unit_hash = hash_of(&key);
        }
        self.unit = if key.is_empty() { None } else { Some(Attribute::String(key)) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use serde_json::Value;

    fn read(json: &str) -> Result<Context, String> {
        serde_json::from_str(json).map_err(|error| format!("{error}"))
    }

    #[test]
    fn an_ofrep_context_is_read_with_its_key_and_attributes() {
        let context = read(
            r#"{"targetingKey":"ann","plan":"pro","age":41,"beta":true,"teams":["a","b"],
            "user":{"address":{"city":"Ulm"}},"gone":null}"#,
        )
        .expect("a context");
        let built = Context::new("ann")
            .with("plan", "pro")
            .with("age", 41)
            .with("beta", true)
            .with("teams", vec!["a", "b"]);
        assert_eq!(context.targeting_key(), Some("ann"));
        for name in ["plan", "age", "beta", "teams", "targetingKey"] {
            assert_eq!(context.get(name), built.get(name), "{name}");
        }
        assert_eq!(context.get("gone"), Some(&Attribute::Null));
        assert_eq!(context.get("plans"), None);
    }

    #[test]
    fn both_ways_of_reading_json_agree() {
        let json = r#"{"targetingKey":"ann","list":[1,"x",[true]],"o":{"p":{"q":null}}}"#;
        let object: serde_json::Map<String, Value> = serde_json::from_str(json).expect("an object");
        assert_eq!(Context::try_from(&object), Ok(read(json).expect("a context")));
    }

    #[test]
    fn an_empty_targeting_key_is_none() {
        assert_eq!(Context::new("").targeting_key(), None);
        assert_eq!(read(r#"{"targetingKey":null}"#).expect("a context").targeting_key(), None);
    }

    #[test]
    fn a_targeting_key_that_is_no_text_is_refused() {
        let error = read(r#"{"targetingKey":5}"#).expect_err("a number is no key");
        assert!(error.contains("targeting key"), "{error}");
    }

    #[test]
    fn every_bound_of_a_context_is_a_typed_refusal() {
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(8), "]".repeat(8));
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_CONTEXT_BYTES));
        let many = format!(r#"{{"a":[{}1]}}"#, "1,".repeat(MAX_CONTEXT_BYTES / VALUE_BYTES));
        let wide: Vec<String> = (0..=MAX_ATTRIBUTES).map(|i| format!(r#""a{i}":1"#)).collect();
        let wide = format!("{{{}}}", wide.join(","));
        for (json, error) in [
            (deep, ContextError::TooDeep),
            (long, ContextError::TooLarge),
            (many, ContextError::TooLarge),
            (wide, ContextError::TooManyAttributes),
        ] {
            let found = read(&json).expect_err("past a bound");
            assert!(found.contains(&format!("{error}")), "{found}");
            let object: serde_json::Map<String, Value> = serde_json::from_str(&json).expect("an object");
            assert_eq!(Context::try_from(&object), Err(error));
        }
    }

    #[test]
    fn a_name_that_stands_twice_in_an_object_is_refused() {
        for (json, name) in [
            (r#"{"targetingKey":"ann","targetingKey":"bob"}"#, "targetingKey"),
            (r#"{"targetingKey":null,"targetingKey":"bob"}"#, "targetingKey"),
            (r#"{"plan":null,"age":1,"plan":"pro"}"#, "plan"),
            (r#"{"user":[{"plan":1,"age":1,"plan":1}]}"#, "plan"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(&format!("`{name}` stands twice")), "{error}");
        }
        assert!(read(r#"{"plan":{"plan":{"plan":1}},"list":[{"a":1},{"a":1}]}"#).is_ok());
    }

    #[test]
    fn the_builder_leaves_out_what_passes_a_bound_and_tells() {
        let context = Context::new("ann").with("big", "x".repeat(MAX_CONTEXT_BYTES)).with("plan", "pro");
        assert_eq!(context.refused(), Some(&ContextError::TooLarge));
        assert_eq!(context.get("plan"), Some(&Attribute::from("pro")));
        assert_eq!(context.get("big"), None);
    }

    #[test]
    fn what_is_wanted_makes_the_context_that_its_names_make() {
        let wanted = Wanted::new(["age", "gone", "plan", TARGETING_KEY]);
        let mut context = Context::new("bob").with("age", 7);
        context.clear();
        context.add_wanted(&wanted, 0, Attribute::from(41)).expect("a number");
        context.add_wanted(&wanted, 2, Attribute::from("pro")).expect("a text");
        context.add_wanted(&wanted, 3, Attribute::from("ann")).expect("a key");
        assert_eq!(context, Context::new("ann").with("age", 41).with("plan", "pro"));
        assert_eq!(
            context.add_wanted(&wanted, 3, Attribute::from(5)),
            Err(ContextError::TargetingKeyNotText)
        );
        let long = Attribute::from("x".repeat(MAX_CONTEXT_BYTES));
        assert_eq!(context.add_wanted(&wanted, 1, long), Err(ContextError::TooLarge));
        let deep = (0..MAX_ATTRIBUTE_DEPTH).fold(Attribute::Null, |inner, _| Attribute::List(vec![inner]));
        assert_eq!(context.add_wanted(&wanted, 1, deep), Err(ContextError::TooDeep));
    }

    #[test]
    fn the_last_value_of_a_name_counts() {
        let context = Context::new("ann").with("plan", "free").with("plan", "pro");
        assert_eq!(context.len(), 1);
        assert_eq!(context.get("plan"), Some(&Attribute::from("pro")));
    }
}
