//! What a policy may call, and how much that may make.
//!
//! The interpreter looks at its time between steps, not within a function: one that makes a billion numbers, or writes out
//! a value that holds itself doubled forty times over, would take all memory in one step. So each function that can make
//! more than it is given, or looks through all of it, first pays for what it may make, and is refused when nothing is left.

use std::cell::Cell;
use std::fmt;

use regorus::unstable::{BUILTINS, Expr, Ref, Span};
use regorus::{Engine, Source, Value};

/// Longest text and largest list that functions may make in one judgement, all of them together, in bytes.
pub const MAX_TEXT_BYTES: usize = 32 * 1024 * 1024;
/// Most values that functions may look through or make in one judgement, all of them together.
pub const MAX_VALUES: usize = 1_000_000;
/// What a value costs, in bytes.
const VALUE_BYTES: usize = MAX_TEXT_BYTES / MAX_VALUES;
/// Widest field that `sprintf` fills up, in characters.
const MAX_WIDTH: usize = 100;
/// Furthest that bits are shifted.
const MAX_SHIFT: u64 = 1_024;

/// The functions of Rego that policies can call. None of them reaches outside of what the policy is given.
#[rustfmt::skip]
pub const FUNCTIONS: [&str; 62] = [
    "abs", "ceil", "floor", "round", "numbers.range",
    "count", "max", "min", "product", "sort", "sum",
    "array.concat", "array.reverse", "array.slice", "intersection", "union",
    "json.filter", "json.is_valid", "json.marshal", "json.remove", "json.unmarshal",
    "object.filter", "object.get", "object.keys", "object.remove", "object.subset", "object.union", "object.union_n",
    "concat", "contains", "endswith", "format_int", "indexof", "indexof_n", "lower", "replace", "split", "sprintf",
    "startswith", "strings.any_prefix_match", "strings.any_suffix_match", "strings.count", "strings.reverse",
    "substring", "trim", "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "upper",
    "bits.and", "bits.lsh", "bits.rsh", "to_number", "type_name",
    "is_array", "is_boolean", "is_null", "is_number", "is_object", "is_string",
];

/// Those that pay nothing: what they make is small, and they look at little.
#[rustfmt::skip]
const FREE: [&str; 30] = [
    "abs", "ceil", "floor", "round", "count", "max", "min", "object.get", "contains", "endswith", "indexof",
    "startswith", "strings.any_prefix_match", "strings.any_suffix_match", "strings.count", "bits.and", "bits.rsh",
    "to_number", "type_name", "is_array", "is_boolean", "is_null", "is_number", "is_object", "is_string",
    "trim_space", "trim_prefix", "trim_suffix", "format_int", "object.keys",
];

thread_local! {
    /// What is left to the judgement of this thread, in bytes. Each judgement has a thread of its own.
    static LEFT_BYTES: Cell<usize> = const { Cell::new(MAX_TEXT_BYTES) };
}

/// Has the engine pay for what functions make.
pub(super) fn bound(engine: &mut Engine) -> Result<(), impl fmt::Display + use<>> {
    FUNCTIONS.into_iter().filter(|name| !FREE.contains(name)).try_for_each(|name| bound_one(engine, name))
}

fn bound_one(engine: &mut Engine, name: &'static str) -> Result<(), impl fmt::Display + use<>> {
    let (function, count) = *BUILTINS.get(name).ok_or(TooMuch)?;
    // Only shown in errors of its own, which come out as undefined.
    let source = Source::from_contents(name.to_owned(), name.to_owned()).map_err(|_| TooMuch)?;
    let span = Span { source, line: 1, col: 1, start: 0, end: 0 };
    let place = |_| Ref::new(Expr::Null { span: span.clone(), value: Value::Null, eidx: 0 });
    let places: Vec<Ref<Expr>> = (0..count).map(place).collect();
    let extension = move |args: Vec<Value>| {
        pay(cost(name, &args)?)?;
        // As in OPA, a function that cannot do what it is asked to is undefined.
        Ok(function(&span, &places, &args, false).unwrap_or(Value::Undefined))
    };
    engine.add_extension(name.to_owned(), count, Box::new(extension)).map_err(|_| TooMuch)
}

/// A function would make more than is left.
#[derive(Debug)]
pub(super) struct TooMuch;

/// Told apart by it among the interpreter's errors.
pub(super) const TOO_MUCH: &str = "makes more than a policy may";

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TOO_MUCH)
    }
}

impl std::error::Error for TooMuch {}

fn pay(bytes: usize) -> Result<(), TooMuch> {
    let left = LEFT_BYTES.get().checked_sub(bytes).ok_or(TooMuch)?;
    LEFT_BYTES.set(left);
    Ok(())
}

/// What a call may make at most, in bytes.
fn cost(name: &str, args: &[Value]) -> Result<usize, TooMuch> {
    let given = args.iter().try_fold(0, |sum, arg| written_out(arg, sum))?;
    let text =
        |index: usize| args.get(index).and_then(|arg| arg.as_string().ok()).map_or(0, |text| text.len());
    let whole = |index: usize| args.get(index).and_then(|arg| arg.as_i64().ok());
    let made = match name {
        "numbers.range" => match (whole(0), whole(1)) {
            (Some(from), Some(to)) => {
                usize::try_from(from.abs_diff(to)).ok().and_then(|n| n.checked_mul(VALUE_BYTES))
            }
            (None, _) | (_, None) => return Err(TooMuch),
        },
        "bits.lsh" if args.get(1).and_then(|by| by.as_u64().ok()).is_none_or(|by| by > MAX_SHIFT) => None,
        "replace" => (text(0) / text(1).max(1) + 1).checked_mul(text(2)),
        "concat" => (given / VALUE_BYTES).checked_mul(text(0)),
        "sprintf"
            if args.first().and_then(|arg| arg.as_string().ok()).is_some_and(|format| is_wide(format)) =>
        {
            None
        }
        _ => Some(0),
    };
    made.and_then(|made| made.checked_add(given)).ok_or(TooMuch)
}

/// Adds the size of a value as if it was written out: what it holds twice counts twice.
fn written_out(value: &Value, sum: usize) -> Result<usize, TooMuch> {
    // Asked by its kind: what `as_string` says of a value that is no text costs more than all the rest.
    let sum = sum + VALUE_BYTES + if let Value::String(text) = value { text.len() } else { 0 };
    if sum > MAX_TEXT_BYTES {
        return Err(TooMuch);
    }
    match value {
        Value::Array(items) => items.iter().try_fold(sum, |sum, item| written_out(item, sum)),
        Value::Set(items) => items.iter().try_fold(sum, |sum, item| written_out(item, sum)),
        Value::Object(members) => {
            members.iter().try_fold(sum, |sum, (key, member)| written_out(member, written_out(key, sum)?))
        }
        _ => Ok(sum),
    }
}

/// Whether a format has a width or precision that makes much of little.
fn is_wide(format: &str) -> bool {
    let mut digits = 0;
    for c in format.chars() {
        digits = if c.is_ascii_digit() { digits * 10 + (c as usize - '0' as usize) } else { 0 };
        if c == '*' || digits > MAX_WIDTH {
            return format.contains('%');
        }
    }
    false
}
