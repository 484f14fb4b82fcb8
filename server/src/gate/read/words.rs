//! What reports leave empty, how numbers are said, and the words with which a report is refused.

use rollout_rules::gate::facts::{Problem, ProblemCode};

use super::text::{name, one_line};

/// A name as it is kept, if anything is left of it.
pub(super) fn some_name(text: Option<&str>) -> Option<String> {
    text.map(name).filter(|name| !name.is_empty())
}

/// A line as it is kept, if anything is left of it.
pub(super) fn some_line(text: Option<&str>) -> Option<String> {
    text.map(one_line).filter(|line| !line.is_empty())
}

/// `1 package`, `2 packages`.
pub(super) fn count(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

/// A report that is not what its format says.
pub(super) fn malformed(detail: impl Into<String>) -> Problem {
    Problem { code: ProblemCode::Malformed, detail: detail.into() }
}

/// A report in a version that is not taken.
pub(super) fn unsupported(detail: impl Into<String>) -> Problem {
    Problem { code: ProblemCode::UnsupportedVersion, detail: detail.into() }
}
