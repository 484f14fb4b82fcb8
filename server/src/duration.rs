//! Lengths of time as people write them: `14d`, `48h`, `1h30m`, `250ms`.

use rollout_rules::time::DurationMs;

/// What a length of time has to look like, for messages.
pub const EXPECTED: &str = "a length of time such as 14d, 48h, 1h30m, 10s or 250ms";

const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

/// Reads a length of time. Every number needs its unit, so that nobody mistakes minutes for seconds.
pub fn parse(text: &str) -> Option<DurationMs> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        total = total.checked_add(number.checked_mul(*unit_ms)?)?;
        rest = &rest[letters..];
    }
    Some(DurationMs(total))
}

/// Writes a length of time so that [`parse`] reads it back.
pub fn exact(length: DurationMs) -> String {
    if length.0 == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    let mut rest = length.0;
    for (name, unit_ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= unit_ms {
            text.push_str(&format!("{}{name}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    text
}

/// Writes a length of time for a reader in a hurry: its one or two largest units.
pub fn rough(length: DurationMs) -> String {
    let (days, hours) = (length.0 / 86_400_000, length.0 / 3_600_000 % 24);
    let (minutes, seconds) = (length.0 / 60_000 % 60, length.0 / 1000 % 60);
    match (days, hours, minutes, seconds) {
        (0, 0, 0, 0) => format!("{}ms", length.0),
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, _) => format!("{m}m"),
        (0, h, 0, _) => format!("{h}h"),
        (0, h, m, _) => format!("{h}h{m}m"),
        (1..3, h @ 1.., _, _) => format!("{days}d{h}h"),
        (d, ..) => format!("{d}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, ms) in [
            ("14d", 14 * 86_400_000),
            ("48h", 48 * 3_600_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("2w", 14 * 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(DurationMs(ms)), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_no_length() {
        for text in ["", "14", "d", "14 d", "-1d", "1.5h", "3y", "99999999999999999999d", "9999999999999d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_exact_length_is_read_back() {
        for ms in [0, 1, 999, 60_000, 86_400_000, 90_061_001] {
            assert_eq!(parse(&exact(DurationMs(ms))), Some(DurationMs(ms)));
        }
    }
}
