//! What a rule or a flag serves: one variant, or a split with its shares summed up.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::node::Path;
use crate::bucketing::{Murmur3, scale};
use crate::condition::AttributePath;
use crate::context::{Attribute, Context};
use crate::flag::{Flag, Serve, Split};
use crate::ids::{SplitId, VariantKey};
use crate::sli::UnitHash;

/// Why a serve cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeProblem {
    /// The flag has no such variant.
    NoSuchVariant(VariantKey),
    /// All weights are zero.
    NoWeight,
    /// The weights add up to more than 2^31 - 1.
    TooMuchWeight,
    /// The attribute that holds the unit is not named.
    NoUnit,
}

impl fmt::Display for ServeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeProblem::NoSuchVariant(key) => write!(f, "the flag has no variant `{key}`"),
            ServeProblem::NoWeight => f.write_str("a split needs a weight above zero"),
            ServeProblem::TooMuchWeight => f.write_str("the weights of a split add up to at most 2147483647"),
            ServeProblem::NoUnit => f.write_str("name the attribute that holds the unit"),
        }
    }
}

impl core::error::Error for ServeProblem {}

/// What is served.
#[derive(Clone)]
pub(crate) enum CompiledServe {
    Variant(u16),
    Split(Arc<CompiledSplit>),
}

/// A split, ready to be asked.
pub(crate) struct CompiledSplit {
    pub(crate) id: SplitId,
    pub(crate) control: Option<u16>,
    /// Where the unit is found.
    unit: Path,
    /// The hash of a seed of its own; without one the split goes by the flag's.
    seed: Option<Murmur3>,
    total: u32,
    /// The first bucket behind each share, and the share's variant.
    shares: Box<[(u32, u16)]>,
}

/// The place of a variant within its flag.
pub(crate) fn place(flag: &Flag, key: &VariantKey) -> Result<u16, ServeProblem> {
    let at = flag.variants.iter().position(|variant| variant.key == *key);
    at.and_then(|at| u16::try_from(at).ok()).ok_or_else(|| ServeProblem::NoSuchVariant(key.clone()))
}

impl CompiledServe {
    pub(crate) fn compile(serve: &Serve, flag: &Flag) -> Result<CompiledServe, ServeProblem> {
        match serve {
            Serve::Variant(key) => place(flag, key).map(CompiledServe::Variant),
            Serve::Split(split) => {
                CompiledSplit::compile(split, flag).map(|split| CompiledServe::Split(Arc::new(split)))
            }
        }
    }
}

impl CompiledSplit {
    fn compile(split: &Split, flag: &Flag) -> Result<CompiledSplit, ServeProblem> {
        let mut total: u32 = 0;
        let mut shares = Vec::new();
        for share in &split.weights {
            let variant = place(flag, &share.variant)?;
            total = total
                .checked_add(share.weight)
                .filter(|total| *total <= i32::MAX as u32)
                .ok_or(ServeProblem::TooMuchWeight)?;
            if share.weight > 0 {
                shares.push((total, variant));
            }
        }
        if shares.is_empty() {
            return Err(ServeProblem::NoWeight);
        }
        let unit = match &split.unit {
            None => Path::Unit,
            Some(name) => Path::compile(&AttributePath::Dotted(name.clone())).ok_or(ServeProblem::NoUnit)?,
        };
        Ok(CompiledSplit {
            id: split.id.clone(),
            control: split.control.as_ref().map(|control| place(flag, control)).transpose()?,
            unit,
            seed: split.seed.as_ref().map(|seed| Murmur3::new().write(seed.as_bytes())),
            total,
            shares: shares.into(),
        })
    }

    /// The attribute that holds the unit.
    #[inline]
    pub(crate) fn unit<'c>(&self, context: &'c Context) -> Option<&'c Attribute> {
        self.unit.find(context)
    }

    /// The variant of a unit; `seen` has seen the flag's key.
    #[inline]
    pub(crate) fn pick(&self, seen: Murmur3, unit: Unit<'_>) -> u16 {
        let bucket = self.bucket(seen, unit);
        // Nobody can guess the bucket, so a branch on it would be guessed wrong half of the time: count.
        let at: usize = self.shares.iter().map(|(end, _)| usize::from(bucket >= *end)).sum();
        self.shares[at].1
    }

    /// The bucket of a unit, from 0 to [`total`](Self::total) - 1; `seen` has seen the flag's key.
    #[inline]
    pub(crate) fn bucket(&self, seen: Murmur3, unit: Unit<'_>) -> u32 {
        scale(unit.hash_into(self.seed.unwrap_or(seen)).finish(), self.total)
    }

    /// The sum of all weights.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }
}

/// What is hashed to find a bucket.
#[derive(Clone, Copy)]
pub(crate) enum Unit<'c> {
    Text(&'c str),
    Integer(i64),
}

impl<'c> Unit<'c> {
    /// A text that is not empty, or a whole number. Anything else is no unit.
    #[inline]
    pub(crate) fn of(attribute: &'c Attribute) -> Option<Unit<'c>> {
        /// Above it, neighbouring integers are the same floating-point number.
        const LARGEST: f64 = 9_007_199_254_740_991.0;
        match attribute {
            Attribute::String(text) if !text.is_empty() => Some(Unit::Text(text)),
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::float_cmp,
                reason = "in range, and only whole numbers survive the way there and back"
            )]
            Attribute::Number(number) if number.abs() <= LARGEST && (*number as i64) as f64 == *number => {
                Some(Unit::Integer(*number as i64))
            }
            _ => None,
        }
    }

    /// Hashes it as it is written: a number by its decimal digits.
    #[inline(always)]
    pub(crate) fn hash_into(self, seen: Murmur3) -> Murmur3 {
        let mut digits;
        let bytes = match self {
            Unit::Text(text) => text.as_bytes(),
            Unit::Integer(number) => {
                digits = [0; DIGITS];
                write_digits(number, &mut digits)
            }
        };
        // One call for both: what is hashed so far then stays in registers.
        seen.write(bytes)
    }
}

impl Unit<'_> {
    /// How it is told of in reports: a number by its decimal digits.
    pub(crate) fn reported(self) -> UnitHash {
        match self {
            Unit::Text(text) => UnitHash::of(text),
            Unit::Integer(number) => {
                let mut digits = [0; DIGITS];
                UnitHash::of(core::str::from_utf8(write_digits(number, &mut digits)).unwrap_or_default())
            }
        }
    }
}

/// The longest integer, with its sign.
const DIGITS: usize = 20;

fn write_digits(number: i64, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut at = DIGITS;
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        #[allow(clippy::cast_possible_truncation, reason = "a digit")]
        let digit = (rest % 10) as u8;
        digits[at] = b'0' + digit;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_hashed_by_its_digits() {
        for number in [0_i64, 7, -7, 10, -120, 9_007_199_254_740_991, i64::MIN] {
            let text = alloc::format!("{number}");
            let of_text = Unit::Text(&text).hash_into(Murmur3::new());
            assert_eq!(Unit::Integer(number).hash_into(Murmur3::new()), of_text, "{number}");
            assert_eq!(Unit::Integer(number).reported(), UnitHash::of(&text));
        }
    }
}
