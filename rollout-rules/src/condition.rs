//! Conditions as people write them: a tree of all, any and not over tests of attributes.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::SegmentKey;

mod validate;

pub use validate::{ConditionError, ConditionProblem};
pub(crate) use validate::{Trail, check_regex_count};

/// Deepest nesting of a condition tree.
pub const MAX_DEPTH: usize = 16;
/// Most tests in one condition tree.
pub const MAX_TESTS: usize = 256;
/// Most values of one test; longer lists belong in a segment.
pub const MAX_VALUES: usize = 1_000;
/// Longest value of a test, in bytes.
pub const MAX_VALUE_BYTES: usize = 1_024;
/// Largest compiled regular expression, in bytes.
pub const MAX_DFA_BYTES: usize = 64 * 1024;
/// Most regular expressions in all rules of one flag and environment, or in one segment. Each is compiled
/// when it is written, while every other change waits.
pub const MAX_REGEXES: usize = 32;
/// What those regular expressions may take together when they are compiled, in bytes.
pub const MAX_DFA_TOTAL_BYTES: usize = 256 * 1024;

/// For whom a rule or segment holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Condition {
    /// Every one holds. Without any, it holds.
    All {
        /// The parts.
        all: Vec<Condition>,
    },
    /// At least one holds. Without any, it does not hold.
    Any {
        /// The parts.
        any: Vec<Condition>,
    },
    /// It does not hold.
    Not {
        /// The part.
        not: Box<Condition>,
    },
    /// The unit belongs to a segment.
    Segment {
        /// `key` for a segment of the app, `shared:key` for a shared one.
        segment: SegmentRef,
    },
    /// An attribute passes a test.
    Test(Test),
}

/// A segment as a condition names it: `key`, or `shared:key`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SegmentRef {
    /// A segment of the flag's own app.
    App(SegmentKey),
    /// A segment that all apps share.
    Shared(SegmentKey),
}

/// A test of one attribute. It holds if the attribute is there and any of its values passes for any
/// of `values`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Which attribute.
    pub attribute: AttributePath,
    /// How it is compared.
    pub op: Operator,
    /// What it is compared with. `exists` takes none.
    #[serde(default)]
    pub values: Vec<Value>,
    /// Ignore case (Unicode simple folding); for string operators and `in`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub ci: bool,
    /// For `regex` in frames to SDKs: the compiled form of each value, as base64 of a sparse DFA.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dfa: Vec<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Where an attribute is found: `plan`, or `user.address.country`, or a list of names for names that
/// hold dots. `targetingKey` is the targeting key.
///
/// A text with dots is looked up as one name first, then as a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum AttributePath {
    /// With dots between names.
    Dotted(String),
    /// Name by name.
    Names(Vec<String>),
}

/// How an attribute is compared with the values of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Operator {
    /// Is one of the values.
    In,
    /// Begins with one.
    StartsWith,
    /// Ends with one.
    EndsWith,
    /// Holds one anywhere.
    Contains,
    /// Matches one of the regular expressions somewhere.
    Regex,
    /// Is the same number.
    NumEq,
    /// Is a greater number.
    NumGt,
    /// Is a greater or the same number.
    NumGte,
    /// Is a smaller number.
    NumLt,
    /// Is a smaller or the same number.
    NumLte,
    /// Is a later date.
    DateAfter,
    /// Is an earlier date.
    DateBefore,
    /// Is the same version.
    SemverEq,
    /// Is a later version.
    SemverGt,
    /// Is a later or the same version.
    SemverGte,
    /// Is an earlier version.
    SemverLt,
    /// Is an earlier or the same version.
    SemverLte,
    /// Is an address in one of the networks.
    Cidr,
    /// Is there, whatever its value.
    Exists,
}

impl core::fmt::Display for SegmentRef {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            SegmentRef::App(key) => write!(f, "{key}"),
            SegmentRef::Shared(key) => write!(f, "shared:{key}"),
        }
    }
}

impl Serialize for SegmentRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SegmentRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::borrow::Cow::<str>::deserialize(deserializer)?;
        let read = match text.strip_prefix("shared:") {
            Some(key) => SegmentKey::new(key).map(SegmentRef::Shared),
            None => SegmentKey::new(&text).map(SegmentRef::App),
        };
        read.map_err(serde::de::Error::custom)
    }
}
