//! The names of cases that ran. Of a report with more than are kept, each parametrised test is kept by one of its cases: whether the test
//! ran is all that is asked of them.

use std::collections::BTreeSet;

use rollout_rules::gate::facts::{MAX_COMPONENTS, test_of};

/// Names, at most [`MAX_COMPONENTS`].
#[derive(Default)]
pub(super) struct RanNames {
    /// Those that are kept, in the order in which they came.
    pub(super) kept: Vec<String>,
    /// How many are not, those aside of whose test another case is.
    pub(super) unnamed: u64,
    /// Their tests; none while all names fit.
    tests: Option<BTreeSet<String>>,
}

impl RanNames {
    pub(super) fn add(&mut self, name: String) {
        if self.tests.is_none() && self.kept.len() < MAX_COMPONENTS {
            self.kept.push(name);
            return;
        }
        let kept = &mut self.kept;
        let tests = self.tests.get_or_insert_with(|| {
            let mut tests = BTreeSet::new();
            kept.retain(|name| tests.insert(test_of(name).to_owned()));
            tests
        });
        if tests.contains(test_of(&name)) {
            return;
        }
        if kept.len() < MAX_COMPONENTS {
            tests.insert(test_of(&name).to_owned());
            kept.push(name);
        } else {
            self.unnamed += 1;
        }
    }
}
