//! Exposure: how much of the traffic a rollout has reached, as an integer.

use alloc::string::{String, ToString};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The percentage of units that a rollout has reached, in thousandths of a percent: 0 to 100,000.
///
/// Written and read as a number of percent with at most three decimals: `12.5`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exposure(u32);

/// A percentage that is out of range or finer than a thousandth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidExposure(String);

impl fmt::Display for InvalidExposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not an exposure: use a percentage from 0 to 100 with at most three decimals",
            self.0
        )
    }
}

impl core::error::Error for InvalidExposure {}

impl Exposure {
    /// No unit.
    pub const NONE: Exposure = Exposure(0);
    /// Every unit.
    pub const ALL: Exposure = Exposure(Self::SCALE);
    /// Every second unit.
    pub const HALF: Exposure = Exposure(Self::SCALE / 2);
    /// Thousandths of a percent in the whole.
    pub const SCALE: u32 = 100_000;

    /// From thousandths of a percent; `None` above 100 %.
    pub const fn from_milli_percent(milli_percent: u32) -> Option<Exposure> {
        if milli_percent <= Self::SCALE { Some(Exposure(milli_percent)) } else { None }
    }

    /// In thousandths of a percent, 0 to 100,000.
    pub const fn milli_percent(self) -> u32 {
        self.0
    }
}

impl core::str::FromStr for Exposure {
    type Err = InvalidExposure;

    fn from_str(text: &str) -> Result<Exposure, InvalidExposure> {
        let wrong = || InvalidExposure(text.chars().take(40).collect());
        let number = text.strip_suffix('%').unwrap_or(text);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || fraction.len() > 3 || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let mut milli: u32 = whole.parse::<u32>().map_err(|_| wrong())? * 1000;
        let mut unit = 100;
        for digit in fraction.bytes() {
            milli += u32::from(digit - b'0') * unit;
            unit /= 10;
        }
        Exposure::from_milli_percent(milli).ok_or_else(wrong)
    }
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 1000, self.0 % 1000);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = alloc::format!("{fraction:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}%")
    }
}

impl Serialize for Exposure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1000) {
            serializer.serialize_u32(self.0 / 1000)
        } else {
            serializer.serialize_f64(f64::from(self.0) / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for Exposure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        number.to_string().parse().map_err(serde::de::Error::custom)
    }
}
