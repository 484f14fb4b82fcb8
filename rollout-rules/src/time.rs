//! Time as a value. Nothing in this crate reads a clock.

pub(crate) mod calendar;

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC with
/// milliseconds; read as RFC 3339 with any offset, or as a number of milliseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DurationMs(pub u64);

/// One hour.
pub const HOUR: DurationMs = DurationMs(60 * 60 * 1000);
/// One day.
pub const DAY: DurationMs = DurationMs(24 * 60 * 60 * 1000);

/// The last moment that can be written: 9999-12-31T23:59:59.999Z.
const MAX_MS: u64 = 253_402_300_799_999;

impl UnixMs {
    /// Later than every moment that can be written.
    pub const NEVER: UnixMs = UnixMs(u64::MAX);

    /// A number as it is written in place of a date. `None` after the last moment that can be written.
    pub(crate) fn written(ms: u64) -> Option<UnixMs> {
        (ms <= MAX_MS).then_some(UnixMs(ms))
    }

    /// Reads RFC 3339. `None` if the text is something else, or before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<UnixMs> {
        u64::try_from(calendar::read(text)?.ms_towards_1970()).ok().map(UnixMs)
    }

    /// The moment `length` later; stops at the last that can be written.
    pub fn plus(self, length: DurationMs) -> UnixMs {
        UnixMs(self.0.saturating_add(length.0).min(MAX_MS))
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: UnixMs) -> DurationMs {
        DurationMs(self.0.saturating_sub(earlier.0))
    }
}

impl DurationMs {
    /// A number of days.
    pub const fn days(days: u64) -> DurationMs {
        DurationMs(days * DAY.0)
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.min(MAX_MS);
        let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
        let at = calendar::written(seconds);
        let (hour, minute, second) =
            (at.second_of_day / 3600, at.second_of_day / 60 % 60, at.second_of_day % 60);
        write!(
            f,
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            at.year,
            at.month,
            at.day,
            ms % 1000
        )
    }
}

impl fmt::Debug for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UnixMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = UnixMs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date such as 2026-12-31T18:00:00Z, or milliseconds since 1970")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<UnixMs, E> {
                UnixMs::parse_rfc3339(text)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
            fn visit_u64<E: serde::de::Error>(self, ms: u64) -> Result<UnixMs, E> {
                UnixMs::written(ms)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Unsigned(ms), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
