//! Which units were bad, slow or there, without saying who they are, and never more than a bound.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::histogram::Bucket;
/// Most units on one list.
pub const MAX_LISTED: usize = 256;

/// A unit, hashed so that it is not told who it is. Says nothing of the variant that the unit is served:
/// what comes first by this hash is a fair sample of every variant's units. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitHash(pub u64);

impl UnitHash {
    /// The hash of a unit: FNV-1a of its bytes, mixed as splitmix64 does. It is the same for every flag, never
    /// changes, and shares nothing with the hash that chooses variants.
    pub fn of(unit: &str) -> UnitHash {
        let mut mixed = fnv_1a(unit.bytes());
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        UnitHash(mixed ^ (mixed >> 31))
    }
}

/// FNV-1a with 64 bits: it tells apart, and withstands nobody.
pub(super) fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl fmt::Display for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for UnitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UnitHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Digits)
    }
}

/// Reads a hash from a text where that lies: a report has dozens of them.
struct Digits;

impl Visitor<'_> for Digits {
    type Value = UnitHash;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<UnitHash, E> {
        let add = |hash: u64, byte| Some(hash << 4 | u64::from(char::from(byte).to_digit(16)?));
        let hash = if text.len() == 16 { text.bytes().try_fold(0, add) } else { None };
        hash.map(UnitHash).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            E::custom(format_args!("`{shown}` is not a unit's hash: use 16 hexadecimal digits"))
        })
    }
}

/// What a list tells of each unit, and how that is written.
pub trait Listed: Copy + Ord {
    /// A unit with what is told of it.
    type Written: Serialize + for<'de> Deserialize<'de>;
    /// How it is written.
    fn written(unit: UnitHash, told: Self) -> Self::Written;
    /// How it is read.
    fn read(written: Self::Written) -> (UnitHash, Self);
}

impl Listed for () {
    type Written = UnitHash;
    fn written(unit: UnitHash, (): ()) -> UnitHash {
        unit
    }
    fn read(unit: UnitHash) -> (UnitHash, ()) {
        (unit, ())
    }
}

impl Listed for Bucket {
    type Written = (UnitHash, u64);
    fn written(unit: UnitHash, bucket: Bucket) -> (UnitHash, u64) {
        (unit, bucket.from_us())
    }
    fn read((unit, us): (UnitHash, u64)) -> (UnitHash, Bucket) {
        (unit, Bucket::of(us))
    }
}

/// Units by their hash, at most [`MAX_LISTED`]. When there are more, those with the smallest hashes are kept and
/// the list says below which hash it is complete. The hash does not depend on the variant, so what two
/// variants' lists hold below the smaller of both bounds compares as fairly as the whole would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<T: Listed> {
    /// By hash, each once.
    units: Vec<(UnitHash, T)>,
    /// Every unit with a smaller hash is listed. `None`: every unit is.
    complete_below: Option<UnitHash>,
}

/// Units of which nothing more is told.
pub type UnitList = Sample<()>;
/// Units with the bucket of their slowest request.
pub type SlowUnits = Sample<Bucket>;

impl<T: Listed> Default for Sample<T> {
    fn default() -> Self {
        Sample { units: Vec::new(), complete_below: None }
    }
}

impl<T: Listed> FromIterator<(UnitHash, T)> for Sample<T> {
    fn from_iter<I: IntoIterator<Item = (UnitHash, T)>>(units: I) -> Self {
        let units: Vec<_> = units.into_iter().collect();
        Sample::cut(units, None)
    }
}

impl<T: Listed> Sample<T> {
    /// The list of who does not know which units there were.
    pub fn unknown() -> Self {
        Sample { units: Vec::new(), complete_below: Some(UnitHash(0)) }
    }

    /// Below which hash every unit is listed; `None` if all are.
    pub fn complete_below(&self) -> Option<UnitHash> {
        self.complete_below
    }

    /// The units, by hash.
    pub fn units(&self) -> &[(UnitHash, T)] {
        &self.units
    }

    /// Those with a hash below a bound.
    pub fn below(&self, bound: Option<UnitHash>) -> &[(UnitHash, T)] {
        let end =
            bound.map_or(self.units.len(), |bound| self.units.partition_point(|(unit, _)| *unit < bound));
        &self.units[..end]
    }

    /// Adds the units of another list. The order of merging does not matter: of a unit on both lists the
    /// larger of what is told is kept.
    pub fn merge(&mut self, other: &Sample<T>) {
        if other.units.is_empty() && other.complete_below.is_none() {
            return;
        }
        let bound = lower(self.complete_below, other.complete_below);
        let (ours, theirs) = (self.below(bound), other.below(bound));
        if theirs.is_empty() && bound == self.complete_below {
            return;
        }
        // One more than is kept says where what is left out begins.
        let mut both = Vec::with_capacity((ours.len() + theirs.len()).min(MAX_LISTED + 1));
        let (mut ours, mut theirs) = (ours.iter().peekable(), theirs.iter().peekable());
        while both.len() <= MAX_LISTED {
            let next = match (ours.peek(), theirs.peek()) {
                (Some((unit, told)), Some((other, told_too))) if unit == other => {
                    (*unit, *told.max(told_too))
                }
                (Some(one), Some(other)) => {
                    if one.0 < other.0 {
                        **one
                    } else {
                        **other
                    }
                }
                (Some(one), None) | (None, Some(one)) => **one,
                (None, None) => break,
            };
            ours.next_if(|(unit, _)| *unit == next.0);
            theirs.next_if(|(unit, _)| *unit == next.0);
            both.push(next);
        }
        *self = Sample::short(both, bound);
    }

    fn cut(mut units: Vec<(UnitHash, T)>, complete_below: Option<UnitHash>) -> Self {
        // Of the same unit the larger comes first and stays.
        units.sort_unstable_by(|(a, told_a), (b, told_b)| a.cmp(b).then_with(|| told_b.cmp(told_a)));
        units.dedup_by_key(|(unit, _)| *unit);
        Sample::short(units, complete_below)
    }

    /// Of units by hash, each once.
    fn short(mut units: Vec<(UnitHash, T)>, mut complete_below: Option<UnitHash>) -> Self {
        if let Some((first_left_out, _)) = units.get(MAX_LISTED) {
            complete_below = Some(*first_left_out);
            units.truncate(MAX_LISTED);
        }
        Sample { units, complete_below }
    }
}

/// The lower of two bounds, of which `None` is the highest.
pub(crate) fn lower(a: Option<UnitHash>, b: Option<UnitHash>) -> Option<UnitHash> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "list of units")]
struct Form<W> {
    units: Vec<W>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    complete_below: Option<UnitHash>,
}

impl<T: Listed> Serialize for Sample<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let units = self.units.iter().map(|(unit, told)| T::written(*unit, *told)).collect();
        Form { units, complete_below: self.complete_below }.serialize(serializer)
    }
}

impl<'de, T: Listed> Deserialize<'de> for Sample<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::<T::Written>::deserialize(deserializer)?;
        if form.units.len() > MAX_LISTED {
            return Err(D::Error::custom(format_args!(
                "{} units: list the {MAX_LISTED} with the smallest hashes, and the next as `complete_below`",
                form.units.len()
            )));
        }
        let units: Vec<_> = form.units.into_iter().map(T::read).collect();
        let beyond = |(unit, _): &&(UnitHash, T)| form.complete_below.is_some_and(|bound| *unit >= bound);
        if let Some((unit, _)) = units.iter().find(beyond) {
            let unit = unit.to_string();
            return Err(D::Error::custom(format_args!("unit {unit} is not below `complete_below`")));
        }
        Ok(Sample::cut(units, form.complete_below))
    }
}
