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

/// Writes a length of time for a reader in a hurry: its one or two largest units, rounded.
pub fn rough(length: DurationMs) -> String {
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let rounded = |unit: u64| (length.0 + unit / 2) / unit;
    let two = |large: u64, name: &str, rest: u64, rest_name: &str| match rest {
        0 => format!("{large}{name}"),
        rest => format!("{large}{name}{rest}{rest_name}"),
    };
    match length.0 {
        0..1_000 => format!("{}ms", length.0),
        1_000..59_500 => format!("{}s", rounded(1_000)),
        59_500..3_570_000 => format!("{}m", rounded(MINUTE)),
        3_570_000..86_370_000 => two(rounded(MINUTE) / 60, "h", rounded(MINUTE) % 60, "m"),
        86_370_000..257_400_000 => two(rounded(HOUR) / 24, "d", rounded(HOUR) % 24, "h"),
        _ => format!("{}d", rounded(DAY)),
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
    fn a_rough_length_is_rounded_to_what_people_look_at() {
        for (exact_text, told) in [
            ("13d23h59m50s", "14d"),
            ("23h59m59s", "1d"),
            ("35h", "1d11h"),
            ("2d23h40m", "3d"),
            ("90m", "1h30m"),
            ("59m40s", "1h"),
            ("59s700ms", "1m"),
            ("7s", "7s"),
            ("3ms", "3ms"),
        ] {
            assert_eq!(rough(parse(exact_text).expect("a length")), told, "{exact_text}");
        }
    }

    #[test]
    fn an_exact_length_is_read_back() {
        for ms in [0, 1, 999, 60_000, 86_400_000, 90_061_001] {
            assert_eq!(parse(&exact(DurationMs(ms))), Some(DurationMs(ms)));
        }
    }
}
