//! Errors inside SDKs, as pages tell of them. Anybody can tell of any, so they fill neither the log nor memory.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rollout_rules::sli::Slot;

/// Longest text that is logged, in characters.
const MAX_TEXT_CHARS: usize = 200;
/// Most places that are logged in a slot of ten seconds, each once; what comes more is counted.
const MAX_PLACES: usize = 16;
/// Most that one error counts for.
const MAX_COUNT: u32 = 1_000;

/// What was logged of late.
#[derive(Default)]
pub struct Faults(Mutex<Option<(Slot, HashSet<String>)>>);

impl Faults {
    /// Counts an error, and logs it if its place was not logged in this slot.
    pub(super) fn tell(&self, place: &str, sdk: &str, count: u32, slot: Slot) {
        metrics::counter!("tidegate_sdk_faults_total").increment(u64::from(count.min(MAX_COUNT)));
        let place = cut(place);
        if self.is_new(&place, slot) {
            tracing::warn!(place, sdk = cut(sdk), count, "the SDK failed in a page");
        }
    }

    fn is_new(&self, place: &str, slot: Slot) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = match &mut *logged {
            Some((of, places)) if *of == slot => places,
            other => &mut other.insert((slot, HashSet::new())).1,
        };
        places.len() < MAX_PLACES && places.insert(place.to_owned())
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_logged_once_a_slot_and_few_of_them_are() {
        let faults = Faults::default();
        assert!(faults.is_new("a", Slot(1)) && !faults.is_new("a", Slot(1)) && faults.is_new("b", Slot(1)));
        for number in 2..MAX_PLACES {
            assert!(faults.is_new(&number.to_string(), Slot(1)));
        }
        assert!(!faults.is_new("one more", Slot(1)) && faults.is_new("one more", Slot(2)));
        assert!(faults.is_new("a", Slot(2)));
    }
}
