//! Dates of the Gregorian calendar as RFC 3339 writes them.

/// A moment, as RFC 3339 can write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Whole seconds since 1970, rounded down.
    seconds: i64,
    nanoseconds: u32,
}

impl Moment {
    /// Milliseconds since 1970, rounded down.
    pub(crate) fn ms(self) -> i64 {
        self.seconds * 1000 + i64::from(self.nanoseconds / 1_000_000)
    }

    /// Milliseconds since 1970, rounded towards it.
    pub(crate) fn ms_towards_1970(self) -> i64 {
        let begun = self.seconds < 0 && !self.nanoseconds.is_multiple_of(1_000_000);
        self.ms() + i64::from(begun)
    }
}

/// A date and a time of day.
pub(crate) struct Written {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) second_of_day: i64,
}

/// Reads a date, any one byte, a time and an offset. A leap second is the end of the second before it, and stands only at
/// the end of a month.
pub(crate) fn read(text: &str) -> Option<Moment> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.number(4)?;
    reader.expect(b'-')?;
    let month = reader.number(2)?;
    reader.expect(b'-')?;
    let day = reader.number(2)?;
    reader.next()?;
    let hour = reader.number(2)?;
    reader.expect(b':')?;
    let minute = reader.number(2)?;
    reader.expect(b':')?;
    let mut second = reader.number(2)?;
    let mut nanoseconds = reader.fraction()?;
    let offset = reader.offset_minutes()?;
    let is_whole = reader.0.is_empty();
    let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !is_whole || !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let is_leap = second == 60;
    if is_leap {
        (second, nanoseconds) = (59, 999_999_999);
    }
    let days = days_until(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    if is_leap {
        let there = written(seconds);
        let is_last = there.day == days_of(there.year, there.month) && there.second_of_day == 86_399;
        if !is_last {
            return None;
        }
    }
    Some(Moment { seconds, nanoseconds })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn digit(&mut self) -> Option<u8> {
        let digit = self.0.first()?.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        self.0 = &self.0[1..];
        Some(digit)
    }

    fn number(&mut self, digits: u32) -> Option<i64> {
        let mut number = 0;
        for _ in 0..digits {
            number = number * 10 + i64::from(self.digit()?);
        }
        Some(number)
    }

    /// Nanoseconds; what is finer does not count.
    fn fraction(&mut self) -> Option<u32> {
        if self.0.first() != Some(&b'.') {
            return Some(0);
        }
        self.next()?;
        let mut weight = 100_000_000;
        let mut nanoseconds = u32::from(self.digit()?) * weight;
        while let Some(digit) = self.digit() {
            weight /= 10;
            nanoseconds += u32::from(digit) * weight;
        }
        Some(nanoseconds)
    }

    fn offset_minutes(&mut self) -> Option<i64> {
        let sign = match self.next()? {
            b'Z' | b'z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2)?;
        self.expect(b':')?;
        let minutes = self.number(2)?;
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of an era of 400 years, which begins with a March.
const ERA_DAYS: i64 = 146_097;
/// From the first of March of the year 0 to 1970.
const DAYS_BEFORE_1970: i64 = 719_468;

/// Days since 1970. Years begin with March here, so that a leap day is the last of its year.
fn days_until(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - DAYS_BEFORE_1970
}

/// The date and time of day in UTC.
pub(crate) fn written(seconds: i64) -> Written {
    let days = seconds.div_euclid(86_400) + DAYS_BEFORE_1970;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    Written { year, month, day, second_of_day: seconds.rem_euclid(86_400) }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use ::time::OffsetDateTime;
    use ::time::format_description::well_known::Rfc3339;
    use proptest::prelude::*;

    use super::*;

    fn nanoseconds(text: &str) -> Option<i128> {
        read(text).map(|at| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanoseconds))
    }

    fn others(text: &str) -> Option<i128> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp_nanos)
    }

    #[test]
    fn every_day_of_all_years_reads_and_writes_as_another_calendar_has_it() {
        let first = OffsetDateTime::parse("0000-01-01T00:00:00Z", &Rfc3339).expect("a date").unix_timestamp();
        for day in 0..=3_652_424 {
            let at =
                OffsetDateTime::from_unix_timestamp(first + day * 86_400 + day % 86_400).expect("a date");
            let found = written(at.unix_timestamp());
            let (year, month, date) = at.to_calendar_date();
            assert_eq!(
                (found.year, found.month, found.day),
                (i64::from(year), i64::from(u8::from(month)), i64::from(date))
            );
            assert_eq!(
                days_until(found.year, found.month, found.day),
                (first + day * 86_400).div_euclid(86_400)
            );
        }
    }

    #[test]
    fn the_edges_read_as_another_reader_has_them() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.9995Z",
            "2026-02-29T00:00:00Z",
            "2024-02-29 00:00:00z",
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "2016-12-31T23:59:60Z",
            "2016-12-31T23:59:60.5Z",
            "2016-12-30T23:59:60Z",
            "2017-01-01T00:59:60+01:00",
            "2016-12-31T22:59:60Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1234567899999Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+00:60",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00Z ",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "",
            "2026-01-01",
        ] {
            assert_eq!(nanoseconds(text), others(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_nearly_a_date_reads_as_another_reader_has_it(
            parts in ("[0-9]{4}", 0..14_u8, 0..33_u8, "[T t]", 0..25_u8, 0..61_u8, 50..62_u8),
            fraction in "(\\.[0-9]{0,12})?",
            offset in "(Z|z|[+-][0-2][0-9]:[0-6][0-9])",
        ) {
            let (year, month, day, between, hour, minute, second) = parts;
            let text: String = format!(
                "{year}-{month:02}-{day:02}{between}{hour:02}:{minute:02}:{second:02}{fraction}{offset}"
            );
            prop_assert_eq!(nanoseconds(&text), others(&text), "{}", text);
        }
    }
}
