//! Answers as they are written for pages: thousands of pages share a handful.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rollout_rules::evaluate::Told;
use rollout_rules::ids::FlagKey;

/// Most answers that are kept; further ones are written for each page.
const MAX_FRAGMENTS: usize = 4_096;
/// Most that the answers take that are kept, in bytes; further ones are written for each page.
const MAX_BYTES: usize = 1024 * 1024;

/// The answers to one change, each written once.
#[derive(Default)]
pub struct Fragments(Mutex<Written>);

#[derive(Default)]
struct Written {
    flags: HashMap<FlagKey, HashMap<Told, Arc<str>>>,
    count: usize,
    bytes: usize,
}

impl Fragments {
    /// An answer of a flag, written by `write` if it was not before. `None` if it cannot be written.
    pub fn get(
        &self,
        flag: &FlagKey,
        told: Told,
        write: impl FnOnce(Told) -> Option<String>,
    ) -> Option<Arc<str>> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = written.flags.get(flag).and_then(|answers| answers.get(&told)) {
            return Some(Arc::clone(known));
        }
        if written.count >= MAX_FRAGMENTS || written.bytes >= MAX_BYTES {
            // It is not kept, so nobody has to wait for it.
            drop(written);
            return write(told).map(Arc::from);
        }
        // Another page may want the same meanwhile: it waits, and finds it.
        let text: Arc<str> = write(told.clone())?.into();
        written.count += 1;
        written.bytes += text.len();
        written.flags.entry(flag.clone()).or_default().insert(told, Arc::clone(&text));
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_written_once_as_long_as_there_is_room_for_it() {
        let fragments = Fragments::default();
        let (flag, other) = (FlagKey::new("a").expect("a key"), FlagKey::new("b").expect("a key"));
        let large = "x".repeat(MAX_BYTES);
        let first = fragments.get(&flag, Told::default(), |_| Some(large.clone())).expect("text");
        let again = fragments.get(&flag, Told::default(), |_| None).expect("it is known");
        assert!(Arc::ptr_eq(&first, &again));
        for text in ["1", "2"] {
            let unkept = fragments.get(&other, Told::default(), |_| Some(text.to_owned()));
            assert_eq!(unkept.as_deref(), Some(text), "there is no room for more");
        }
    }
}
