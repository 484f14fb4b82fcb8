//! Names of attributes, kept where they are compared.
//!
//! A check compares the names that rules want with those that a context has. Short names, as nearly all
//! are, lie within the value itself, so that a comparison is that of three integers and follows no
//! pointer.

use alloc::boxed::Box;
use core::fmt;

/// Longest name that lies within the value.
const SHORT: usize = 23;

/// A name that compares quickly.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Name(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    /// The bytes, zeros behind them, and the length last; so two are the same exactly when the names are.
    Short([u64; 3]),
    Long(Box<str>),
}

impl Name {
    pub(crate) fn new(name: &str) -> Name {
        Name(match short(name) {
            Some(words) => Form::Short(words),
            None => Form::Long(Box::from(name)),
        })
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Form::Short(words) => usize::from(words[2].to_le_bytes()[7]),
            Form::Long(own) => own.len(),
        }
    }
}

fn short(name: &str) -> Option<[u64; 3]> {
    if name.len() > SHORT {
        return None;
    }
    let mut words = [0; 3];
    words[2] = (name.len() as u64) << 56;
    // Copies of a few bytes are dear where they are calls.
    for (at, byte) in name.bytes().enumerate() {
        words[at / 8] |= u64::from(byte) << (at % 8 * 8);
    }
    Some(words)
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Short(words) => {
                let bytes = words.map(u64::to_le_bytes);
                let text = core::str::from_utf8(&bytes.as_flattened()[..self.len()]);
                fmt::Debug::fmt(text.unwrap_or_default(), f)
            }
            Form::Long(own) => fmt::Debug::fmt(own, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn names_are_the_same_exactly_when_their_texts_are() {
        let names = ["", "a", "a\0", "\0a", "é", "abcdefgh", "abcdefghijklmnopqrstuvw"];
        let long = ["abcdefghijklmnopqrstuvwx", "abcdefghijklmnopqrstuvwy", "abcdefghijklmnopqrstuvwx\0"];
        let all = || names.iter().chain(&long);
        for a in all() {
            for b in all() {
                assert_eq!(Name::new(a) == Name::new(b), a == b, "{a:?} and {b:?}");
            }
            assert_eq!((Name::new(a).len(), format!("{:?}", Name::new(a))), (a.len(), format!("{a:?}")));
        }
    }
}
