//! Regular expressions: compiled to a sparse DFA when a condition is written, only searched when a flag
//! is checked. The search takes no lock, allocates nothing and is linear in the text.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
        Dfa::read(&STANDARD.decode(encoded).map_err(|_| RegexError::Unreadable)?)
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
        self.0.try_search_fwd(&input).is_ok_and(|found| found.is_some())
    }
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
    fn a_damaged_form_is_refused() {
        let whole = compile_regex("abc", false).expect("it fits");
        for length in 0..whole.len() {
            assert_eq!(Dfa::read(&whole[..length]).err(), Some(RegexError::Unreadable), "{length} bytes");
        }
        assert_eq!(Dfa::decode("not base64!").err(), Some(RegexError::Unreadable));
        assert!(Dfa::read(&alloc::vec![0; MAX_DFA_BYTES + 1]).is_err());
    }
}
