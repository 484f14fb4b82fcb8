//! Names of things. Each kind of name is a type of its own, so that an app's key cannot be passed
//! where a flag's is meant, and a name that exists has the right form.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

use ecow::EcoString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest flag key and variant key, in bytes.
pub const MAX_FLAG_KEY_BYTES: usize = 128;
/// Longest key of anything else (apps, environments, segments, rules, splits, ids), in bytes.
pub const MAX_KEY_BYTES: usize = 64;

/// Why a text is not a valid key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidKey {
    /// What kind of key was asked for, in words: `app key`.
    pub kind: &'static str,
    /// What the text would have to look like.
    pub expected: &'static str,
    /// The text, cut to a printable length.
    pub found: String,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a valid {}: use {}", self.found, self.kind, self.expected)
    }
}

impl core::error::Error for InvalidKey {}

fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        return text.to_string();
    }
    let mut cut: String = text.chars().take(SHOWN).collect();
    cut.push('…');
    cut
}

/// What a kind of key looks like: in words, and as a regular expression for who generates clients.
struct Form {
    words: &'static str,
    #[cfg_attr(not(feature = "schema"), allow(dead_code, reason = "only schemas tell it"))]
    pattern: &'static str,
}

const SLUG: Form = Form {
    words: "1 to 64 lower-case letters, digits, `-` or `_`, beginning with a letter or digit",
    pattern: "^[a-z0-9][a-z0-9_-]{0,63}$",
};
const FLAG: Form = Form {
    words: "1 to 128 letters, digits, `.`, `_`, `-`, `/` or `:`, beginning with a letter or digit",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}$",
};
const NAME: Form =
    Form { words: "1 to 64 letters, digits, `.`, `_` or `-`", pattern: "^[A-Za-z0-9._-]{1,64}$" };

fn is_slug(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_KEY_BYTES).contains(&bytes.len())
        && (bytes[0].is_ascii_lowercase() || bytes[0].is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
}

fn is_flag_key(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_FLAG_KEY_BYTES).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':'))
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_KEY_BYTES).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// A key's text. Nearly all keys have at most 15 bytes, which an [`EcoString`] keeps within itself: there are
/// several for each flag and environment, and an allocation for each would be most of what they take.
macro_rules! key {
    ($(#[doc = $doc:literal])* $name:ident($text:ty), $kind:literal, $check:ident, $form:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($text);

        impl $name {
            /// Takes a text that has the form of this key, or says what is wrong with it.
            pub fn new(text: &str) -> Result<Self, InvalidKey> {
                if $check(text) {
                    Ok(Self(<$text>::from(text)))
                } else {
                    Err(InvalidKey { kind: $kind, expected: $form.words, found: shorten(text) })
                }
            }

            /// The key as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl core::str::FromStr for $name {
            type Err = InvalidKey;
            fn from_str(text: &str) -> Result<Self, InvalidKey> {
                Self::new(text)
            }
        }

        impl core::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = alloc::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> alloc::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let about = concat!($($doc),*).trim();
                schemars::json_schema!({ "type": "string", "pattern": $form.pattern, "description": about })
            }
        }
    };
}

key!(/// Names an app.
    AppKey(EcoString), "app key", is_slug, SLUG);
key!(/// Names an environment within its app.
    EnvKey(EcoString), "environment key", is_slug, SLUG);
key!(/// Names a flag within its app. May hold slashes. One copy of its text serves all that know the flag.
    FlagKey(Arc<str>), "flag key", is_flag_key, FLAG);
key!(/// Names a variant within its flag.
    VariantKey(EcoString), "variant key", is_flag_key, FLAG);
key!(/// Names a segment, within an app or among the shared ones.
    SegmentKey(EcoString), "segment key", is_slug, SLUG);
key!(/// Names a rule within a flag state; stable while rules around it move.
    RuleId(EcoString), "rule id", is_name, NAME);
key!(/// Names a split; reports compare the variants of one split.
    SplitId(EcoString), "split id", is_name, NAME);
key!(/// The caller's name for one act of killing; the same id twice is the same kill.
    KillId(EcoString), "kill id", is_name, NAME);
key!(/// Names a proposal.
    ProposalId(EcoString), "proposal id", is_name, NAME);
key!(/// Names a token. It is no secret: it finds the stored hash that the secret is compared with.
    TokenId(EcoString), "token id", is_name, NAME);
key!(/// The caller's name for one creating request, so that a repeated request creates once.
    IdempotencyKey(EcoString), "idempotency key", is_name, NAME);
key!(/// Names one log. A restored log has a new id, so that no client resumes across the gap.
    LogId(EcoString), "log id", is_name, NAME);
key!(/// Names one server node.
    NodeId(EcoString), "node id", is_name, NAME);
key!(/// Names one scheduled change within a flag state.
    ScheduleId(EcoString), "schedule id", is_name, NAME);
key!(/// Names one running SDK.
    InstanceId(EcoString), "instance id", is_name, NAME);
key!(/// Names a webhook.
    WebhookId(EcoString), "webhook id", is_name, NAME);
key!(/// Names a job outside that a guardrail runs.
    JobName(EcoString), "job name", is_name, NAME);
key!(/// Names whom a guardrail notifies: `owner` is the app's owner, other names are channels.
    ChannelName(EcoString), "channel name", is_name, NAME);
key!(/// Names evidence that is kept: the numbers that a guardrail acted on.
    EvidenceId(EcoString), "evidence id", is_name, NAME);
key!(/// Names a decision of the gate.
    DecisionId(EcoString), "decision id", is_name, NAME);
key!(/// Names a waiver.
    WaiverId(EcoString), "waiver id", is_name, NAME);
key!(/// Names an import: a plan of many commands that are shown together in the log.
    PlanId(EcoString), "plan id", is_name, NAME);

/// The position of an entry in the log. The first entry is 1; 0 is the empty log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first entry.
    pub const ZERO: Revision = Revision(0);

    /// The position after this one.
    pub fn next(self) -> Revision {
        Revision(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A SHA-256 digest; written as 64 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        use sha2::Digest as _;
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// The chain hash after an entry: SHA-256 of the hash before it and the entry's bytes.
    pub fn chain(self, entry: &[u8]) -> Digest {
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        hasher.update(self.0);
        hasher.update(entry);
        Digest(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for Digest {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let wrong =
            || InvalidKey { kind: "SHA-256 digest", expected: "64 hexadecimal digits", found: shorten(text) };
        if text.len() != 64 {
            return Err(wrong());
        }
        // Digit by digit: the standard library's parser of numbers takes a sign too.
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().as_chunks::<2>().0) {
            let [high, low] = pair.map(digit);
            *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?;
        }
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_digest_is_64_hexadecimal_digits_and_nothing_that_counts_as_a_number_besides() {
        let whole = format!("0aF{}", "7".repeat(61));
        assert_eq!(whole.parse::<Digest>().expect("a digest").to_string(), whole.to_ascii_lowercase());
        for wrong in ["+f", "-f", " f", "f ", "0x", "fg", "\u{e9}"] {
            for text in [format!("{wrong}{}", "7".repeat(62)), format!("{}{wrong}", "7".repeat(62))] {
                assert!(text.parse::<Digest>().is_err(), "{text}");
            }
        }
        assert!("7".repeat(63).parse::<Digest>().is_err() && "7".repeat(65).parse::<Digest>().is_err());
    }
}
