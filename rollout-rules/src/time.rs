//! Time as a value. Nothing in this crate reads a clock.

use core::fmt;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
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

    /// Reads RFC 3339. `None` if the text is something else, or before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<UnixMs> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(UnixMs)
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
        let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.to_hms();
        write!(
            f,
            "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            u8::from(month),
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
                if ms > MAX_MS {
                    return Err(E::invalid_value(serde::de::Unexpected::Unsigned(ms), &self));
                }
                Ok(UnixMs(ms))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
