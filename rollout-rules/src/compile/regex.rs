//! Regular expressions: compiled to a sparse DFA when a condition is written, only searched when a flag
//! is checked. The search takes no lock, allocates nothing and is linear in the text.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

#[cfg(feature = "regex-build")]
use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex_automata::dfa::Automaton as _;
use regex_automata::dfa::sparse::DFA;
use regex_automata::{Anchored, Input};

use crate::condition::MAX_DFA_BYTES;

/// Why a regular expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegexError {
    /// It is not written as RE2 writes them. Says what is wrong.
    Syntax(String),
    /// Compiled, it is larger than [`MAX_DFA_BYTES`].
    TooLarge {
        /// Its size, in bytes.
        bytes: usize,
    },
    /// Compiled, it is so large that its size was not found out.
    Enormous,
    /// It came without its compiled form, to a program that cannot compile it.
    NotCompiled,
    /// Its compiled form cannot be read: it comes from another version, or is damaged.
    Unreadable,
}

impl fmt::Display for RegexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegexError::Syntax(problem) => write!(f, "not a regular expression: {problem}"),
            RegexError::TooLarge { bytes } => write!(
                f,
                "the regular expression is too large: {bytes} bytes compiled, at most {MAX_DFA_BYTES} are allowed"
            ),
            RegexError::Enormous => write!(
                f,
                "the regular expression is far too large: at most {MAX_DFA_BYTES} bytes compiled are allowed"
            ),
            RegexError::NotCompiled => f.write_str("the regular expression came without its compiled form"),
            RegexError::Unreadable => f.write_str("the compiled regular expression cannot be read"),
        }
    }
}

impl core::error::Error for RegexError {}

/// A compiled regular expression.
pub(crate) struct Dfa(DFA<Vec<u8>>);

impl Dfa {
    /// From the pattern where that is built in, else from the compiled form that came with it.
    pub(crate) fn compile(pattern: &str, ci: bool, encoded: Option<&String>) -> Result<Dfa, RegexError> {
        #[cfg(feature = "regex-build")]
        {
            let _ = encoded;
            super::regex_build::compile_regex(pattern, ci).and_then(|bytes| Dfa::read(&bytes))
        }
        #[cfg(not(feature = "regex-build"))]
        {
            let _ = (pattern, ci);
            Dfa::decode(encoded.ok_or(RegexError::NotCompiled)?)
        }
    }

    /// Reads a compiled form from a frame.
    #[cfg(any(not(feature = "regex-build"), test))]
    fn decode(encoded: &str) -> Result<Dfa, RegexError> {
        Dfa::read(&decode(encoded).ok_or(RegexError::Unreadable)?)
    }

    /// Reads and checks a compiled form.
    pub(crate) fn read(bytes: &[u8]) -> Result<Dfa, RegexError> {
        if bytes.len() > MAX_DFA_BYTES {
            return Err(RegexError::TooLarge { bytes: bytes.len() });
        }
        let (dfa, _) = DFA::from_bytes(bytes).map_err(|_| RegexError::Unreadable)?;
        Ok(Dfa(dfa.to_owned()))
    }

    /// What it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.memory_usage()
    }

    /// Whether the expression matches somewhere in the text.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        let input = Input::new(text).anchored(Anchored::No).earliest(true);
        // It fails only where the DFA has bytes at which it gives up, and ours have none.
        self.0.as_ref().try_search_fwd(&input).is_ok_and(|found| found.is_some())
    }
}

/// Reads base64 with its padding.
#[cfg(any(not(feature = "regex-build"), test))]
fn decode(encoded: &str) -> Option<Vec<u8>> {
    let text = encoded.as_bytes();
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in &text[..text.len() - padding] {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, count) = (bits << 6 | u32::from(digit), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.extend(u8::try_from(bits >> count));
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0).then_some(bytes)
}

/// A compiled form as text, for frames.
#[cfg(feature = "regex-build")]
pub(crate) fn encode_dfa(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(all(test, feature = "regex-build"))]
mod tests {
    use super::*;
    use crate::compile::compile_regex;

    #[test]
    fn a_compiled_form_comes_through_a_frame() {
        let encoded = encode_dfa(&compile_regex(r"^\w+@ex.mple\b", false).expect("it fits"));
        let dfa = Dfa::decode(&encoded).expect("it is readable");
        assert!(dfa.is_match("ann@exämple"));
        assert!(!dfa.is_match("änn@example"));
    }

    #[test]
    fn base64_is_read_as_it_is_written_and_nothing_else_is() {
        for length in 0..40_u8 {
            let bytes: Vec<u8> = (0..length).map(|at| at.wrapping_mul(97) ^ 0xa5).collect();
            let text = STANDARD.encode(&bytes);
            assert_eq!(decode(&text), Some(bytes), "{text}");
        }
        for text in
            ["A", "AA", "AAA", "AA==A", "A===", "====", "AB==", "AAB=", "AA=A", "AA-_", "AAAA\n", "=AAA"]
        {
            assert_eq!(decode(text), STANDARD.decode(text).ok(), "{text}");
        }
    }

    #[test]
    fn a_damaged_form_is_refused() {
        let whole = compile_regex("abc", false).expect("it fits");
        for length in 0..whole.len() {
            assert_eq!(Dfa::read(&whole[..length]).err(), Some(RegexError::Unreadable), "{length} bytes");
        }
        assert_eq!(Dfa::decode("not base64!").err(), Some(RegexError::Unreadable));
        assert!(Dfa::read(&alloc::vec![0; MAX_DFA_BYTES + 1]).is_err());
    }
}
