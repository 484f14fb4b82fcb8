//! What plans and guardrails have in common as people write them: lengths of time, and the place where a text is wrong.

use alloc::format;
use alloc::string::String;
use core::fmt;

use crate::time::DurationMs;

/// Units of a length of time, in milliseconds.
const LENGTHS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a length of time such as `30m` or `1d12h`. Every number has its unit; an empty text is no time at all.
pub(crate) fn read_length(text: &str) -> Option<DurationMs> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (_, unit) = LENGTHS.iter().find(|(name, _)| *name == &rest[..letters])?;
        total = total.checked_add(number.checked_mul(*unit)?)?;
        rest = &rest[letters..];
    }
    Some(DurationMs(total))
}

/// Writes a length of time so that [`read_length`] reads it back.
pub(crate) fn write_length(f: &mut fmt::Formatter<'_>, DurationMs(mut rest): DurationMs) -> fmt::Result {
    for (name, unit) in LENGTHS {
        if rest >= unit {
            write!(f, "{}{name}", rest / unit)?;
            rest %= unit;
        }
    }
    Ok(())
}

/// A text with a mark under what is wrong, which begins at a byte, for a terminal.
pub(crate) fn pointed_at(text: &str, at: usize, found: &str) -> String {
    let before = text.get(..at).unwrap_or(text).chars().count();
    let width = found.chars().count().max(1);
    format!("{text}\n{}{}", " ".repeat(before), "^".repeat(width))
}
