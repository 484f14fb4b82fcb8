//! A flag's definition with its answers serialized, shared by all environments of the app.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::ops::Range;

use crate::flag::Flag;
use crate::table::hash_of;

/// A flag's definition with the OFREP answer of every variant.
pub struct Definition {
    flag: Arc<Flag>,
    key_hash: u64,
    /// All answers, one after another.
    answers: Box<str>,
    /// Where each ends.
    ends: Box<[u32]>,
}

impl Definition {
    /// Serializes the answers of a flag.
    pub fn new(flag: Arc<Flag>) -> Arc<Definition> {
        let mut answers = String::new();
        let mut ends = Vec::new();
        for variant in &flag.variants {
            // In WebAssembly nobody asks by OFREP.
            if cfg!(target_arch = "wasm32") {
                break;
            }
            // Keys are made of characters that JSON does not escape.
            let written = write!(
                answers,
                r#""key":"{}","variant":"{}","value":{}"#,
                flag.key, variant.key, variant.value
            );
            written.expect("writing to a string does not fail");
            ends.push(u32::try_from(answers.len()).expect("variants are at most some kilobytes"));
        }
        let key_hash = hash_of(flag.key.as_str());
        Arc::new(Definition { flag, key_hash, answers: answers.into(), ends: ends.into() })
    }

    /// The definition as people wrote it.
    pub fn flag(&self) -> &Arc<Flag> {
        &self.flag
    }

    /// The middle of an OFREP answer, without braces: `"key":"k","variant":"on","value":true`. Empty if
    /// there is no such variant.
    pub fn answer(&self, variant: u16) -> &str {
        let at = usize::from(variant);
        let start = if at == 0 { 0 } else { self.end(at - 1) };
        let range: Range<usize> = start..self.end(at);
        self.answers.get(range).unwrap_or_default()
    }

    fn end(&self, at: usize) -> usize {
        self.ends.get(at).map_or(0, |end| *end as usize)
    }

    pub(crate) fn key_hash(&self) -> u64 {
        self.key_hash
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flag.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_has_its_answer_serialized() {
        let flag: Flag = serde_json::from_str(
            r#"{"key":"a/b","type":"object","variants":[{"key":"x","value":{"q":"\"é"}},{"key":"y","value":1.0}],
            "off_variant":"y","created_at":0}"#,
        )
        .expect("a flag");
        let definition = Definition::new(Arc::new(flag));
        assert_eq!(definition.answer(0), r#""key":"a/b","variant":"x","value":{"q":"\"é"}"#);
        assert_eq!(definition.answer(1), r#""key":"a/b","variant":"y","value":1.0"#);
        assert_eq!(definition.answer(2), "");
    }
}
