//! The operators on texts, with and without regard to case. Case is ignored by Unicode simple folding,
//! character by character, so that nothing is allocated while a flag is checked.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
#[cfg(not(target_arch = "wasm32"))]
use core::hash::{BuildHasher, Hasher};

#[cfg(not(target_arch = "wasm32"))]
use foldhash::fast::FixedState;

use super::fold::fold_char;
use super::matcher::each;
use crate::condition::{ConditionProblem, Test, Trail};

/// Where a value has to stand in a text.
#[derive(Clone, Copy)]
pub(crate) enum TextOp {
    StartsWith,
    EndsWith,
    Contains,
}

/// The values that a text has to begin with, end with or contain.
pub(crate) struct Texts {
    op: TextOp,
    values: Values,
}

enum Values {
    One(Box<str>),
    Exact(Box<[Box<str>]>),
    Sought(Box<[Needle]>),
}

/// A value to find, with or without regard to case.
struct Needle {
    /// Folded, if case does not count.
    chars: Box<[char]>,
    /// Whether case counts.
    exact: bool,
    /// How long a beginning of `chars` still stands when the character after a beginning of this length
    /// does not fit (Knuth, Morris and Pratt): a search never goes back, however hostile the text.
    fallback: Box<[usize]>,
}

impl Texts {
    /// Reads the values.
    pub(crate) fn compile(op: TextOp, test: &Test, trail: &mut Trail) -> Result<Texts, ConditionProblem> {
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => Ok(Box::from(&**text)),
            _ => Err(ConditionProblem::NotAText),
        };
        let exact: Box<[Box<str>]> = each(&test.values, trail, text)?;
        let values = match &*exact {
            _ if test.ci => Values::Sought(exact.iter().map(|text| Needle::new(text, false)).collect()),
            // The standard library's search is quick, and takes more code than all other searches here.
            _ if cfg!(target_arch = "wasm32") && matches!(op, TextOp::Contains) => {
                Values::Sought(exact.iter().map(|text| Needle::new(text, true)).collect())
            }
            [one] => Values::One(one.clone()),
            _ => Values::Exact(exact),
        };
        Ok(Texts { op, values })
    }

    #[inline]
    pub(crate) fn hold(&self, text: &str) -> bool {
        match &self.values {
            Values::One(value) => self.op.holds(text, value),
            Values::Exact(values) => values.iter().any(|value| self.op.holds(text, value)),
            Values::Sought(values) => values.iter().any(|needle| needle.is_in(text, self.op)),
        }
    }
}

impl TextOp {
    #[inline]
    fn holds(self, text: &str, value: &str) -> bool {
        match self {
            TextOp::StartsWith => text.starts_with(value),
            TextOp::EndsWith => text.ends_with(value),
            TextOp::Contains => cfg!(not(target_arch = "wasm32")) && text.contains(value),
        }
    }
}

impl Needle {
    fn new(text: &str, exact: bool) -> Needle {
        let chars: Vec<char> = text.chars().map(|char| as_it_counts(char, exact)).collect();
        let mut fallback = vec![0; chars.len()];
        let mut length = 0;
        for at in 1..chars.len() {
            while length > 0 && chars[at] != chars[length] {
                length = fallback[length - 1];
            }
            length += usize::from(chars[at] == chars[length]);
            fallback[at] = length;
        }
        Needle { chars: chars.into(), exact, fallback: fallback.into() }
    }

    fn is_in(&self, text: &str, op: TextOp) -> bool {
        match op {
            TextOp::StartsWith => {
                let mut text = text.chars().map(|char| as_it_counts(char, self.exact));
                self.chars.iter().all(|char| text.next() == Some(*char))
            }
            TextOp::EndsWith => {
                let mut text = text.chars().rev().map(|char| as_it_counts(char, self.exact));
                self.chars.iter().rev().all(|char| text.next() == Some(*char))
            }
            TextOp::Contains => self.is_within(text),
        }
    }

    fn is_within(&self, text: &str) -> bool {
        if self.chars.is_empty() {
            return true;
        }
        let mut found = 0;
        for char in text.chars().map(|char| as_it_counts(char, self.exact)) {
            while found > 0 && self.chars[found] != char {
                found = self.fallback[found - 1];
            }
            found += usize::from(self.chars[found] == char);
            if found == self.chars.len() {
                return true;
            }
        }
        false
    }
}

/// A character as it is compared.
#[inline]
fn as_it_counts(char: char, exact: bool) -> char {
    if exact { char } else { fold_char(char) }
}

/// The characters of a text without regard to case.
pub(crate) fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(fold_char)
}

/// A text without regard to case.
pub(crate) fn fold(text: &str) -> String {
    folded(text).collect()
}

/// The hash of a text without regard to case.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn hash_folded(text: &str) -> u64 {
    let mut hasher = FixedState::with_seed(0x666f_6c64).build_hasher();
    folded(text).for_each(|char| hasher.write_u32(u32::from(char)));
    hasher.finish()
}

/// [`hash_folded`], with code that buckets take anyway.
#[cfg(target_arch = "wasm32")]
pub(crate) fn hash_folded(text: &str) -> u64 {
    use crate::bucketing::Murmur3;

    let seen = folded(text).fold(Murmur3::new(), |seen, char| seen.write(&u32::from(char).to_le_bytes()));
    crate::table::spread(seen.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_is_unicodes_simple_folding() {
        for (a, b) in [
            ("STRASSE", "strasse"),
            ("\u{1e9e}", "ß"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("\u{212a}elvin", "Kelvin"),
            ("Ångström", "\u{212b}NGSTRÖM"),
            ("ſoft", "SOFT"),
            ("\u{1fd3}", "\u{390}"),
            ("\u{fb05}", "\u{fb06}"),
            ("Ꭰ", "ꭰ"),
            ("ǅ", "ǆ"),
            ("Привет", "ПРИВЕТ"),
        ] {
            assert_eq!(fold(a), fold(b), "{a} and {b}");
        }
        for (a, b) in [("ß", "ss"), ("İ", "i"), ("ı", "i"), ("ﬀ", "ff"), ("é", "e")] {
            assert_ne!(fold(a), fold(b), "{a} and {b}");
        }
    }

    #[test]
    fn a_needle_is_found_wherever_it_begins() {
        for (needle, text) in [("aab", "xAAAAB"), ("abab", "aBabAc"), ("ß", "STRA\u{1e9e}E"), ("", "")] {
            assert!(Needle::new(needle, false).is_in(text, TextOp::Contains), "{needle} in {text}");
        }
        for (needle, text) in [("aab", "abaaab "), ("aac", "aaab"), ("a", "")] {
            for exact in [false, true] {
                let found = Needle::new(needle, exact).is_in(text, TextOp::Contains);
                assert_eq!(found, text.contains(needle), "{needle}");
            }
        }
    }
}
