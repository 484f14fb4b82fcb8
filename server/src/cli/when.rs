//! Moments as people write and read them.

use rollout_rules::time::{DurationMs, UnixMs};

use crate::duration;

/// What a moment has to look like, for messages.
pub(super) const EXPECTED: &str =
    "a length of time from now such as 14d or 48h, or a date such as 2026-12-01 or 2026-12-01T18:00Z";

/// A moment as typed: some time from now, or a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long from now.
    In(DurationMs),
    /// Then.
    At(UnixMs),
}

impl When {
    /// The moment, counted from now.
    pub fn from(self, now: UnixMs) -> UnixMs {
        match self {
            When::In(length) => now.plus(length),
            When::At(moment) => moment,
        }
    }
}

impl std::str::FromStr for When {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<When, NotAMoment> {
        if let Some(length) = duration::parse(text) {
            return Ok(When::In(length));
        }
        date(text).map(When::At).ok_or(NotAMoment)
    }
}

/// A moment that is past as typed: some time ago, or a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ago(When);

impl Ago {
    /// The moment, counted back from now.
    pub(super) fn before(self, now: UnixMs) -> UnixMs {
        match self.0 {
            When::In(length) => UnixMs(now.0.saturating_sub(length.0)),
            When::At(moment) => moment,
        }
    }
}

impl std::str::FromStr for Ago {
    type Err = NotPast;

    fn from_str(text: &str) -> Result<Ago, NotPast> {
        text.parse().map(Ago).map_err(|NotAMoment| NotPast)
    }
}

/// A text that is no moment in the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotPast;

impl std::fmt::Display for NotPast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "write a length of time ago such as 2h or 3d, or a date such as 2026-12-01 or 2026-12-01T18:00Z",
        )
    }
}

impl std::error::Error for NotPast {}

/// A text that is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMoment;

impl std::fmt::Display for NotAMoment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "write {EXPECTED}")
    }
}

impl std::error::Error for NotAMoment {}

/// A date as HTTP writes it: `Wed, 25 Nov 2026 10:00:00 GMT`.
pub(super) fn http_date(text: &str) -> Option<UnixMs> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    UnixMs::parse_rfc3339(&format!("{year}-{month:02}-{day:0>2}T{time}Z"))
}

/// RFC 3339, and its shorter forms: without seconds, or the day alone (its first moment in UTC).
fn date(text: &str) -> Option<UnixMs> {
    let spaced = text.replacen(' ', "T", 1);
    let (day, rest) = match spaced.split_once(['T', 't']) {
        Some(parts) => parts,
        None => return UnixMs::parse_rfc3339(&format!("{text}T00:00:00Z")),
    };
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let seconds = if time.matches(':').count() == 1 { ":00" } else { "" };
    // A time without a zone could mean two moments; nobody should have to guess which.
    if zone.is_empty() {
        return None;
    }
    UnixMs::parse_rfc3339(&format!("{day}T{time}{seconds}{}", zone.to_ascii_uppercase()))
}

/// A moment to the minute, and how far away it is: `2026-12-01 18:00 UTC (in 8d)`.
pub(super) fn shown(moment: UnixMs, now: UnixMs) -> String {
    format!("{} ({})", minute(moment), distance(moment, now))
}

/// A moment to the minute: `2026-12-01 18:00 UTC`.
pub(super) fn minute(moment: UnixMs) -> String {
    let text = moment.to_string();
    format!("{} {} UTC", &text[..10], &text[11..16])
}

/// A moment to the second: `2026-12-01 18:00:05`.
pub(super) fn second(moment: UnixMs) -> String {
    let text = moment.to_string();
    format!("{} {}", &text[..10], &text[11..19])
}

/// How far away a moment is: `in 8d`, `3h ago`.
pub(super) fn distance(moment: UnixMs, now: UnixMs) -> String {
    if moment >= now { format!("in {}", duration::rough(moment.since(now))) } else { ago(moment, now) }
}

/// How long ago a moment was: `3h ago`. One that this machine's clock has not reached counts as now.
pub(super) fn ago(moment: UnixMs, now: UnixMs) -> String {
    format!("{} ago", duration::rough(now.since(moment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_read() {
        let read = http_date("Wed, 25 Nov 2026 10:00:07 GMT").map(|moment| moment.to_string());
        assert_eq!(read.as_deref(), Some("2026-11-25T10:00:07.000Z"));
        for other in ["", "Wed, 25 Nov 2026 10:00:07 CET", "Wednesday, 25-Nov-26 10:00:07 GMT"] {
            assert_eq!(http_date(other), None, "{other}");
        }
    }

    fn at(text: &str) -> Option<String> {
        text.parse::<When>().ok().map(|when| when.from(UnixMs(0)).to_string())
    }

    #[test]
    fn dates_may_be_shortened() {
        for (text, full) in [
            ("2026-12-01", "2026-12-01T00:00:00.000Z"),
            ("2026-12-01T18:00Z", "2026-12-01T18:00:00.000Z"),
            ("2026-12-01 18:00Z", "2026-12-01T18:00:00.000Z"),
            ("2026-12-01T18:00:05+02:00", "2026-12-01T16:00:05.000Z"),
            ("2d", "1970-01-03T00:00:00.000Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(full), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_refused_since_it_could_mean_two_moments() {
        for text in ["2026-12-01T18:00", "2026-13-01", "tomorrow", ""] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn a_length_of_time_goes_back_where_a_past_moment_is_asked_for() {
        let now = UnixMs(10 * 3_600_000);
        let ago = |text: &str| text.parse::<Ago>().map(|ago| ago.before(now));
        assert_eq!(ago("2h"), Ok(UnixMs(8 * 3_600_000)));
        assert_eq!(ago("9000d"), Ok(UnixMs(0)));
        assert_eq!(ago("1970-01-01T01:00Z"), Ok(UnixMs(3_600_000)));
        assert_eq!(ago("yesterday"), Err(NotPast));
    }

    #[test]
    fn distances_are_told_in_both_directions() {
        let now = UnixMs(1_000_000_000);
        assert_eq!(distance(now.plus(DurationMs::days(8)), now), "in 8d");
        assert_eq!(distance(UnixMs(1_000_000_000 - 3 * 3_600_000), now), "3h ago");
    }
}
