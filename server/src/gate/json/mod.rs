//! JSON of strangers, read one way by every reader of the gate: UTF-8, nested at most [`MAX_DEPTH`] levels, lists within bounds, and no
//! key twice where something hangs on it. Two readers of an object with a key twice may each see another value: one of them was then
//! signed or scanned, the other is judged. No error quotes what it found, which may be a secret.
//!
//! | what is read | by | keys that come twice |
//! | --- | --- | --- |
//! | a report, list by list | [`parse`] into [`Folded`] lists, [`each`], [`each_entry`] | refused in every object that is read |
//! | what somebody signed, tokens, key sets | [`parse_whole`] | refused anywhere, read or not |
//! | a plan, as a tree | [`members`] | refused in every object that is kept, and outermost |

mod lists;
mod tree;

use std::marker::PhantomData;

use rollout_rules::gate::facts::{Problem, ProblemCode};
use serde::de::{Deserialize, DeserializeSeed};

pub(super) use self::lists::{Count, Fold, Folded, Scalar, each, each_entry};
use self::tree::Walk;
pub(super) use self::tree::members;

/// Deepest nesting of objects and lists, and of XML elements.
pub(super) const MAX_DEPTH: usize = 64;
/// Most keys of one object of which all are held, to see that none comes twice.
const MAX_KEYS: usize = 100_000;
/// How serde says that a field of a struct comes twice; our own visitors say it in the same words.
const TWICE: &str = "duplicate field";
/// How our own visitors say that something is longer than its bound.
const TOO_MANY: &str = "more items than are taken";
/// What text in UTF-8 may begin with, and says nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What is wrong with it.
    pub(super) kind: FaultKind,
    /// Where: the line and column that reading came to; none if that says nothing.
    at: Option<(usize, usize)>,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// It is not UTF-8.
    NotUtf8,
    /// It ends in the middle.
    CutOff,
    /// It is not JSON.
    NotJson,
    /// It is JSON of another shape.
    OtherShape,
    /// It is deeper than [`MAX_DEPTH`].
    TooDeep,
    /// A list, or the whole, holds more than is taken.
    TooMany,
    /// An object has a key twice.
    KeyTwice,
}

/// Whose text it is, in words for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Author {
    /// What the text is, such as `The statement`.
    pub(super) what: &'static str,
    /// How to get a good one: a sentence.
    pub(super) again: &'static str,
}

/// A report as its tool writes it.
const REPORT: Author = Author { what: "It", again: "Write the report again with the tool itself." };

impl Fault {
    /// What to tell people of it.
    pub(super) fn problem(self, author: Author) -> Problem {
        let (code, what) = match self.kind {
            FaultKind::NotUtf8 => (ProblemCode::Malformed, "is not UTF-8".to_owned()),
            FaultKind::CutOff => (ProblemCode::Malformed, "is cut off".to_owned()),
            FaultKind::NotJson => (ProblemCode::Malformed, "is no valid JSON".to_owned()),
            FaultKind::OtherShape => (
                ProblemCode::Malformed,
                "lacks something that its format asks for, or has a value of another kind".to_owned(),
            ),
            FaultKind::TooDeep => (
                ProblemCode::TooLarge,
                format!("is nested deeper than {MAX_DEPTH} levels, which no honest one is"),
            ),
            FaultKind::TooMany => {
                (ProblemCode::TooLarge, "has a list or an object with more in it than is taken".to_owned())
            }
            FaultKind::KeyTwice => (
                ProblemCode::Hostile,
                "has an object with the same key twice, so that two programs would read two different things"
                    .to_owned(),
            ),
        };
        let at = self.at.map(|(line, column)| format!(", at line {line}, column {column}"));
        let detail = format!("{} {what}{}. {}", author.what, at.unwrap_or_default(), author.again);
        Problem { code, detail }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Fault {
        Fault { kind, at: None }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        fault.problem(REPORT)
    }
}

/// What an error means. Its own words quote what was found.
impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Fault {
        use serde_json::error::Category;
        let said = error.to_string();
        let kind = if said.starts_with(TWICE) {
            FaultKind::KeyTwice
        } else if said.starts_with(TOO_MANY) {
            FaultKind::TooMany
        } else {
            match error.classify() {
                Category::Eof => FaultKind::CutOff,
                Category::Data => FaultKind::OtherShape,
                Category::Syntax | Category::Io => FaultKind::NotJson,
            }
        };
        // Line 0 is a place that is not known.
        let at = Some((error.line(), error.column())).filter(|(line, _)| *line > 0);
        Fault { kind, at }
    }
}

/// Reads JSON into a type. Fields that the type does not name are passed over, however large.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    read(PhantomData, checked(bytes)?)
}

/// Reads JSON into a type, if no object in it has a key twice, fields that the type does not name included.
pub(super) fn parse_whole<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Fault> {
    let bytes = checked(bytes)?;
    read(Walk, bytes)?;
    read(PhantomData, bytes)
}

/// The bytes without the mark that text in UTF-8 may begin with. Every format is read without it.
pub(super) fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// The text without a byte order mark, if it is UTF-8 and not too deep.
fn checked(bytes: &[u8]) -> Result<&[u8], Fault> {
    let bytes = unmarked(bytes);
    if std::str::from_utf8(bytes).is_err() {
        return Err(FaultKind::NotUtf8.into());
    }
    check_depth(bytes)?;
    Ok(bytes)
}

/// Counts brackets outside strings. Done before anything is parsed: a parser that recurses never sees what is too deep.
pub(super) fn check_depth(bytes: &[u8]) -> Result<(), Fault> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(FaultKind::TooDeep.into());
        }
    }
    Ok(())
}

/// Reads what was checked, to its end.
fn read<'a, S: DeserializeSeed<'a>>(seed: S, bytes: &'a [u8]) -> Result<S::Value, Fault> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = seed.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}
