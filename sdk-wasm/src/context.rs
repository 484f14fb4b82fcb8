//! Contexts in the binary form in which JavaScript hands them over: little-endian, without names of fields and without
//! anything to escape.
//!
//! A number of attributes in two bytes; for each its name (length in two bytes, UTF-8) and its value: a tag, then 0 null,
//! 1 false, 2 true, 3 a double, 4 a text (length in four bytes), 5 a list (count in four bytes), 6 an object (count in
//! four bytes, then names and values), 7 a text of ASCII (length in one byte). The targeting key is the attribute
//! `targetingKey`.
//!
//! For a flag whose needs are known to both there are values only, in their order; a tag of 8 stands for one that is not
//! there.

use alloc::boxed::Box;
use alloc::vec::Vec;

use rollout_rules::context::{Attribute, Context, ContextError, MAX_ATTRIBUTE_DEPTH, TARGETING_KEY, Wanted};

/// Why a context is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is not of this form.
    Malformed = -1,
    TooManyAttributes = -2,
    TooDeep = -3,
    TooLarge = -4,
    TargetingKeyNotText = -5,
    Repeated = -6,
}

impl From<ContextError> for Refused {
    fn from(error: ContextError) -> Refused {
        match error {
            ContextError::TooManyAttributes => Refused::TooManyAttributes,
            ContextError::TooDeep => Refused::TooDeep,
            ContextError::TooLarge => Refused::TooLarge,
            ContextError::TargetingKeyNotText => Refused::TargetingKeyNotText,
            ContextError::Repeated(_) => Refused::Repeated,
        }
    }
}

/// Reads a whole context into one, in place of whoever it was.
pub(crate) fn read(bytes: &[u8], context: &mut Context) -> Result<(), Refused> {
    context.clear();
    let mut reader = Reader(bytes);
    let count = usize::from(u16::from_le_bytes(reader.array()?));
    let mut has_key = false;
    for _ in 0..count {
        let name = reader.name()?;
        let [tag] = reader.array()?;
        let value = reader.value(tag, 1)?;
        if name == TARGETING_KEY && core::mem::replace(&mut has_key, true) {
            return Err(Refused::Repeated);
        }
        context.add(name, value)?;
    }
    if reader.0.is_empty() { Ok(()) } else { Err(Refused::Malformed) }
}

/// Reads what a flag needs into a context, in place of whoever it was.
#[inline(always)]
pub(crate) fn read_wanted(bytes: &[u8], wanted: &Wanted, context: &mut Context) -> Result<(), Refused> {
    context.clear();
    let mut reader = Reader(bytes);
    for at in 0..wanted.len() {
        let value = match reader.array()? {
            [NOT_THERE] => continue,
            [SHORT_TEXT] => reader.short_text()?,
            [tag] => reader.value(tag, 1)?,
        };
        context.add_wanted(wanted, at, value)?;
    }
    if reader.0.is_empty() { Ok(()) } else { Err(Refused::Malformed) }
}

/// [`read_wanted`] for a context that has a text for all that this very flag needs: short texts take their places, and everything around
/// them stays. False: it has to be read as a whole.
#[inline(always)]
pub(crate) fn renew_wanted(bytes: &[u8], wanted: &Wanted, context: &mut Context) -> bool {
    let mut reader = Reader(bytes);
    let next = || match reader.array() {
        Ok([SHORT_TEXT, length]) => reader.take(usize::from(length)).ok(),
        _ => None,
    };
    context.renew_wanted(wanted, next) && reader.0.is_empty()
}

const SHORT_TEXT: u8 = 7;
const NOT_THERE: u8 = 8;

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[inline(always)]
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Refused::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Refused::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    #[inline(always)]
    fn count(&mut self) -> Result<usize, Refused> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    #[inline(always)]
    fn text(&mut self, bytes: usize) -> Result<&'a str, Refused> {
        core::str::from_utf8(self.take(bytes)?).map_err(|_| Refused::Malformed)
    }

    fn name(&mut self) -> Result<&'a str, Refused> {
        let bytes = u16::from_le_bytes(self.array()?);
        self.text(usize::from(bytes))
    }

    #[inline(always)]
    fn short_text(&mut self) -> Result<Attribute, Refused> {
        let [bytes] = self.array()?;
        Ok(Attribute::String(Box::from(self.text(usize::from(bytes))?)))
    }

    #[inline(never)]
    fn value(&mut self, tag: u8, depth: usize) -> Result<Attribute, Refused> {
        if depth > MAX_ATTRIBUTE_DEPTH {
            return Err(Refused::TooDeep);
        }
        Ok(match tag {
            0 => Attribute::Null,
            1 => Attribute::Bool(false),
            2 => Attribute::Bool(true),
            3 => Attribute::Number(f64::from_le_bytes(self.array()?)),
            4 => {
                let bytes = self.count()?;
                Attribute::String(Box::from(self.text(bytes)?))
            }
            5 => {
                let mut list = Vec::new();
                for _ in 0..self.count()? {
                    list.push(self.part(depth)?);
                }
                Attribute::List(list)
            }
            6 => {
                let mut fields: Vec<(Box<str>, Attribute)> = Vec::new();
                for _ in 0..self.count()? {
                    let name = self.name()?;
                    if fields.iter().any(|(known, _)| **known == *name) {
                        return Err(Refused::Repeated);
                    }
                    fields.push((Box::from(name), self.part(depth)?));
                }
                Attribute::Object(fields)
            }
            SHORT_TEXT => self.short_text()?,
            _ => return Err(Refused::Malformed),
        })
    }

    fn part(&mut self, depth: usize) -> Result<Attribute, Refused> {
        let [tag] = self.array()?;
        self.value(tag, depth + 1)
    }
}
