//! What is wrong with a condition, and where: checked when people write it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde_json::Value;

use super::{
    AttributePath, Condition, MAX_DEPTH, MAX_DFA_TOTAL_BYTES, MAX_REGEXES, MAX_TESTS, MAX_VALUE_BYTES,
    MAX_VALUES, Operator, SegmentRef, Test,
};
use crate::compile::{Node, RegexError, Slots};

/// What is wrong with a condition, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionError {
    /// The way to the place from the top: `all[2].not.values[0]`. Empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub problem: ConditionProblem,
}

/// What is wrong with a part of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionProblem {
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// More than [`MAX_TESTS`] tests in one tree.
    TooManyTests,
    /// More than [`MAX_VALUES`] values in one test.
    TooManyValues,
    /// A value longer than [`MAX_VALUE_BYTES`].
    ValueTooLong,
    /// No attribute is named.
    NoAttribute,
    /// The operator compares with values, and there are none.
    NoValues,
    /// `exists` compares with nothing.
    UnwantedValues,
    /// Case is not what this operator looks at.
    UnwantedCi,
    /// The operator compares texts.
    NotAText,
    /// The operator compares numbers.
    NotANumber,
    /// The operator compares dates: RFC 3339, or milliseconds since 1970.
    NotADate,
    /// The operator compares versions.
    NotAVersion,
    /// The operator compares networks: `10.0.0.0/8`, `::1`.
    NotANetwork,
    /// The regular expression cannot be used.
    Regex(RegexError),
    /// More than [`MAX_REGEXES`] regular expressions.
    TooManyRegexes {
        /// How many there are.
        count: usize,
    },
    /// The regular expressions take more than [`MAX_DFA_TOTAL_BYTES`] together.
    RegexesTooLarge {
        /// What those up to this one take, in bytes.
        bytes: usize,
    },
    /// The condition of a segment names a segment.
    SegmentInSegment,
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        self.problem.fmt(f)
    }
}

impl core::error::Error for ConditionError {}

impl fmt::Display for ConditionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConditionProblem::TooDeep => write!(f, "conditions may be nested at most {MAX_DEPTH} deep"),
            ConditionProblem::TooManyTests => write!(f, "a condition may have at most {MAX_TESTS} tests"),
            ConditionProblem::TooManyValues => {
                write!(f, "a test may have at most {MAX_VALUES} values; put longer lists into a segment")
            }
            ConditionProblem::ValueTooLong => {
                write!(f, "a value may have at most {MAX_VALUE_BYTES} bytes")
            }
            ConditionProblem::NoAttribute => f.write_str("name the attribute to look at"),
            ConditionProblem::NoValues => f.write_str("give at least one value to compare with"),
            ConditionProblem::UnwantedValues => f.write_str("`exists` takes no values"),
            ConditionProblem::UnwantedCi => f.write_str("`ci` goes with texts only"),
            ConditionProblem::NotAText => f.write_str("this operator compares texts"),
            ConditionProblem::NotANumber => f.write_str("this operator compares numbers"),
            ConditionProblem::NotADate => {
                f.write_str("use a date such as 2026-12-31T18:00:00Z, or milliseconds since 1970")
            }
            ConditionProblem::NotAVersion => f.write_str("use a version such as 2.1.0 or 2.1.0-rc.1"),
            ConditionProblem::NotANetwork => f.write_str("use a network such as 10.0.0.0/8, or an address"),
            ConditionProblem::Regex(error) => error.fmt(f),
            ConditionProblem::TooManyRegexes { count } => write!(
                f,
                "{count} regular expressions, and at most {MAX_REGEXES} are allowed in all rules of one flag and environment, or in one segment"
            ),
            ConditionProblem::RegexesTooLarge { bytes } => write!(
                f,
                "the regular expressions up to here are too large: {bytes} bytes compiled, at most {MAX_DFA_TOTAL_BYTES} are allowed together"
            ),
            ConditionProblem::SegmentInSegment => {
                f.write_str("the condition of a segment may not name another segment")
            }
        }
    }
}

impl Condition {
    /// Checks bounds, operators and values. Whether segments exist is for the caller to check, by
    /// [`segments`](Condition::segments).
    pub fn validate(&self) -> Result<(), ConditionError> {
        check_regex_count([self])?;
        self.validate_after(&mut 0)
    }

    /// [`validate`](Condition::validate) for one of several conditions that share the bounds on regular
    /// expressions, of which [`check_regex_count`] checks the other: those before it take `dfa_bytes`.
    pub(crate) fn validate_after(&self, dfa_bytes: &mut usize) -> Result<(), ConditionError> {
        self.check_bounds()?;
        Node::check(self, Slots::Unknown, dfa_bytes)
    }

    /// [`validate`](Condition::validate) for the condition of a segment, which names no segments.
    pub fn validate_in_segment(&self) -> Result<(), ConditionError> {
        check_regex_count([self])?;
        self.check_bounds()?;
        Node::check(self, Slots::Refused, &mut 0)
    }

    fn check_bounds(&self) -> Result<(), ConditionError> {
        let mut trail = Trail::default();
        self.check(1, &mut 0, &mut trail).map_err(|problem| trail.error(problem))
    }

    /// Calls `see` with every segment that is named.
    pub fn segments<'c>(&'c self, see: &mut dyn FnMut(&'c SegmentRef)) {
        match self {
            Condition::All { all: parts } | Condition::Any { any: parts } => {
                parts.iter().for_each(|part| part.segments(see));
            }
            Condition::Not { not } => not.segments(see),
            Condition::Segment { segment } => see(segment),
            Condition::Test(_) => {}
        }
    }

    /// Calls `see` with every test.
    pub fn tests<'c>(&'c self, see: &mut dyn FnMut(&'c Test)) {
        match self {
            Condition::All { all: parts } | Condition::Any { any: parts } => {
                parts.iter().for_each(|part| part.tests(see));
            }
            Condition::Not { not } => not.tests(see),
            Condition::Segment { .. } => {}
            Condition::Test(test) => see(test),
        }
    }

    /// The same condition with every regular expression's compiled form in it, for an SDK that cannot
    /// compile. One that cannot be used is left without.
    #[cfg(feature = "regex-build")]
    #[must_use]
    pub fn with_dfas(&self) -> Condition {
        let parts = |parts: &[Condition]| parts.iter().map(Condition::with_dfas).collect();
        match self {
            Condition::All { all } => Condition::All { all: parts(all) },
            Condition::Any { any } => Condition::Any { any: parts(any) },
            Condition::Not { not } => Condition::Not { not: not.with_dfas().into() },
            Condition::Test(test) if test.op == Operator::Regex => {
                let dfas: Result<_, RegexError> =
                    test.values.iter().map(|value| encode(value, test.ci)).collect();
                Condition::Test(Test { dfa: dfas.unwrap_or_default(), ..test.clone() })
            }
            Condition::Segment { .. } | Condition::Test(_) => self.clone(),
        }
    }

    /// On an error the trail stays at the place.
    fn check(&self, depth: usize, tests: &mut usize, trail: &mut Trail) -> Result<(), ConditionProblem> {
        if depth > MAX_DEPTH {
            return Err(ConditionProblem::TooDeep);
        }
        match self {
            Condition::All { all: parts } => {
                trail.each("all", parts, |part, trail| part.check(depth + 1, tests, trail))
            }
            Condition::Any { any: parts } => {
                trail.each("any", parts, |part, trail| part.check(depth + 1, tests, trail))
            }
            Condition::Not { not } => trail.within("not", |trail| not.check(depth + 1, tests, trail)),
            Condition::Segment { .. } => count(tests),
            Condition::Test(test) => {
                count(tests)?;
                test.check_shape()?;
                trail.each("values", &test.values, |value, _| check_length(value))
            }
        }
    }
}

/// Whether these conditions together have few enough regular expressions. It compiles none.
pub(crate) fn check_regex_count<'c>(
    conditions: impl IntoIterator<Item = &'c Condition>,
) -> Result<(), ConditionError> {
    let mut count = 0;
    for condition in conditions {
        condition.tests(&mut |test| {
            if test.op == Operator::Regex {
                count += test.values.len();
            }
        });
    }
    if count > MAX_REGEXES {
        return Err(Trail::default().error(ConditionProblem::TooManyRegexes { count }));
    }
    Ok(())
}

fn count(tests: &mut usize) -> Result<(), ConditionProblem> {
    *tests += 1;
    if *tests > MAX_TESTS { Err(ConditionProblem::TooManyTests) } else { Ok(()) }
}

fn check_length(value: &Value) -> Result<(), ConditionProblem> {
    let long = match value {
        Value::String(text) => text.len() > MAX_VALUE_BYTES,
        Value::Array(_) | Value::Object(_) => {
            serde_json::to_string(value).is_ok_and(|json| json.len() > MAX_VALUE_BYTES)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    };
    if long { Err(ConditionProblem::ValueTooLong) } else { Ok(()) }
}

/// The way to a place in a condition, and what was left out on it.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    path: String,
    left_out: Vec<ConditionError>,
    /// What people write is checked strictly; what was kept is served as far as it can be.
    strict: bool,
    dfa_bounds: DfaBounds,
}

/// What regular expressions take so far, and whether that is bounded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DfaBounds {
    bounded: bool,
    bytes: usize,
}

impl DfaBounds {
    /// Counts one more.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), ConditionProblem> {
        self.bytes += bytes;
        if self.bounded && self.bytes > MAX_DFA_TOTAL_BYTES {
            return Err(ConditionProblem::RegexesTooLarge { bytes: self.bytes });
        }
        Ok(())
    }

    /// What they take so far.
    pub(crate) fn bytes(self) -> usize {
        self.bytes
    }
}

impl Trail {
    /// One on which the first value that cannot be used is an error, after regular expressions that take
    /// these bytes.
    pub(crate) fn strict(dfa_bytes: usize) -> Trail {
        let dfa_bounds = DfaBounds { bounded: true, bytes: dfa_bytes };
        Trail { strict: true, dfa_bounds, ..Trail::default() }
    }

    /// Whether the first value that cannot be used is an error.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// What the regular expressions on the way take.
    pub(crate) fn dfa_bounds(&self) -> DfaBounds {
        self.dfa_bounds
    }

    /// Notes what the regular expressions on the way take.
    pub(crate) fn set_dfa_bounds(&mut self, bounds: DfaBounds) {
        self.dfa_bounds = bounds;
    }

    /// An error at this place.
    pub(crate) fn error(self, problem: ConditionProblem) -> ConditionError {
        ConditionError { path: self.path, problem }
    }

    /// Notes that what is one step further is left out.
    pub(crate) fn leave_out(&mut self, step: &str, problem: ConditionProblem) {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.left_out.push(ConditionError { path: format!("{}{dot}{step}", self.path), problem });
    }

    /// Everything that was left out.
    pub(crate) fn into_left_out(self) -> Vec<ConditionError> {
        self.left_out
    }

    /// Does something one step further. On an error the trail stays there.
    pub(crate) fn within<T, E>(
        &mut self,
        step: &str,
        work: impl FnOnce(&mut Trail) -> Result<T, E>,
    ) -> Result<T, E> {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(step);
        let done = work(self)?;
        self.path.truncate(length);
        Ok(done)
    }

    /// Does something with each part of a list. On an error the trail stays there.
    pub(crate) fn each<'p, P, T, E, C: FromIterator<T>>(
        &mut self,
        step: &str,
        parts: &'p [P],
        mut work: impl FnMut(&'p P, &mut Trail) -> Result<T, E>,
    ) -> Result<C, E> {
        let each = |(at, part)| self.within(&format!("{step}[{at}]"), |trail| work(part, trail));
        parts.iter().enumerate().map(each).collect()
    }
}

#[cfg(feature = "regex-build")]
fn encode(value: &Value, ci: bool) -> Result<String, RegexError> {
    let pattern = value.as_str().unwrap_or_default();
    crate::compile::compile_regex(pattern, ci).map(|bytes| crate::compile::encode_dfa(&bytes))
}

impl Test {
    /// What is wrong with the shape of this test, besides its values.
    fn check_shape(&self) -> Result<(), ConditionProblem> {
        let named = match &self.attribute {
            AttributePath::Dotted(name) => !name.is_empty(),
            AttributePath::Names(names) => !names.is_empty() && names.iter().all(|name| !name.is_empty()),
        };
        let text = matches!(
            self.op,
            Operator::In | Operator::StartsWith | Operator::EndsWith | Operator::Contains | Operator::Regex
        );
        if !named {
            Err(ConditionProblem::NoAttribute)
        } else if self.op == Operator::Exists && !self.values.is_empty() {
            Err(ConditionProblem::UnwantedValues)
        } else if self.op != Operator::Exists && self.values.is_empty() {
            Err(ConditionProblem::NoValues)
        } else if self.ci && !text {
            Err(ConditionProblem::UnwantedCi)
        } else if self.values.len() > MAX_VALUES {
            Err(ConditionProblem::TooManyValues)
        } else {
            Ok(())
        }
    }
}
