//! Which tests ran. A test is known by other names to who reads its code than to who runs it: reports put suites and files before it,
//! leave out the folder that the tests were started in, write out what was filled in, and part groups by signs of their own.

use alloc::collections::BTreeSet;
use alloc::string::String;
use core::ops::Bound;

use crate::gate::facts::test_of;

/// What stands between the parts of a name.
const BETWEEN: [char; 4] = [' ', ':', '/', '>'];
/// Most parts of a name by which it can be found.
const MAX_PARTS: usize = 32;
/// Most bytes of names and ends of names by which tests are found; a test that is beyond them is not known to have run.
const MAX_ENDS_BYTES: usize = 32 * 1024 * 1024;
/// What each of them costs besides its text, in bytes.
const END_BYTES: usize = 40;
/// Shortest start of a title that is filled in when it runs, in bytes: a shorter one would be found in any report.
const MIN_START: usize = 3;

/// The tests that ran.
pub(super) struct Ran {
    whole: BTreeSet<String>,
    /// Each name, and each end of it that begins a part.
    ends: BTreeSet<String>,
}

impl Ran {
    pub(super) fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Ran {
        // A name may end in brackets without being a case of a parametrised test.
        let both = names.into_iter().flat_map(|name| [plain(name), plain(test_of(name))]);
        let whole: BTreeSet<String> = both.collect();
        let (mut ends, mut left) = (BTreeSet::new(), MAX_ENDS_BYTES);
        // In order, so that what is left out does not hang on how the reports came.
        for name in &whole {
            let starts = name.match_indices(BETWEEN).map(|(at, mark)| at + mark.len()).take(MAX_PARTS);
            let parts = starts.filter_map(|at| name.get(at..)).map(str::trim_start);
            for end in core::iter::once(name.as_str()).chain(parts) {
                let Some(rest) = left.checked_sub(end.len() + END_BYTES) else { return Ran { whole, ends } };
                left = rest;
                ends.insert(String::from(end));
            }
        }
        Ran { whole, ends }
    }

    /// Whether a test is among them.
    pub(super) fn has(&self, test: &str) -> bool {
        if let Some(start) = start_of_filled_in(test) {
            let start = plain(start);
            let from = (Bound::Included(start.as_str()), Bound::Unbounded);
            return self.ends.range::<str, _>(from).next().is_some_and(|name| name.starts_with(&start));
        }
        self.ends.contains(&plain(test)) || self.started_further_in(test)
    }

    /// Whether the tests were started in a folder further in: `backend.tests.prices.test_sum` ran as `tests.prices.test_sum`.
    fn started_further_in(&self, test: &str) -> bool {
        // A title with spaces is no path, and its end may be the title of another test.
        let is_path = !test.contains(char::is_whitespace);
        let starts = test.match_indices('.').map(|(at, _)| at + 1).take(MAX_PARTS).filter(|_| is_path);
        let mut ends = starts.filter_map(|at| test.get(at..)).filter(|end| end.contains('.'));
        ends.any(|end| self.whole.contains(&plain(end)))
    }
}

/// A name with a space between its parts: reporters put ` > `, ` › `, `.` or a space between groups and test.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for part in name.split(['.', '›']).flat_map(str::split_whitespace).filter(|part| *part != ">") {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.push_str(part);
    }
    plain
}

/// What comes before the part of a title that is filled in when the test runs: `%i`, `$name`, `${name}`.
fn start_of_filled_in(test: &str) -> Option<&str> {
    let filled = |at: &usize| {
        let next = test.as_bytes().get(at + 1);
        next.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'{' | b'#' | b'.'))
    };
    let at = test.match_indices(['%', '$']).map(|(at, _)| at).find(filled)?;
    test.get(..at).map(str::trim).filter(|start| start.len() >= MIN_START)
}
