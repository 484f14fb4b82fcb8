//! What a certificate says of its own end. Two dates are all that is read of it here; whether it is sound is
//! for TLS to judge.

use rollout_rules::time::{DAY, UnixMs};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The last moment at which a certificate (X.509 in DER) is valid; `None` if it cannot be read.
pub fn valid_until(der: &[u8]) -> Option<UnixMs> {
    let (certificate, _) = inside(der, SEQUENCE)?;
    let (mut body, _) = inside(certificate, SEQUENCE)?;
    if let Some((_, rest)) = inside(body, VERSION) {
        body = rest;
    }
    // The serial number, the algorithm and the issuer come before the dates.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        body = inside(body, tag)?.1;
    }
    let (dates, _) = inside(body, SEQUENCE)?;
    let (_, _, after) = element(dates)?;
    let (tag, text, _) = element(after)?;
    moment(tag, text)
}

/// Whole days from a moment to the end of a certificate; none if it has ended.
pub fn days_left(until: UnixMs, now: UnixMs) -> Option<u64> {
    (until > now).then(|| until.since(now).0 / DAY.0)
}

/// The content of an element of this kind, and what comes after it.
fn inside(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// The first element: its kind, its content, and what comes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A date: `YYMMDDhhmmssZ` up to 2049, `YYYYMMDDhhmmssZ` from then on.
fn moment(tag: u8, text: &[u8]) -> Option<UnixMs> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.to_owned(), rest)
        }
        _ => return None,
    };
    let parts: Vec<&str> = (0..5).map_while(|part| rest.get(part * 2..part * 2 + 2)).collect();
    let [month, day, hour, minute, second] = parts[..] else { return None };
    UnixMs::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}{}", rest.get(10..)?))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn ending(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["flags.example.org".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().to_vec()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_that_dates_have() {
        let moment = |text| UnixMs::parse_rfc3339(text).expect("a date");
        assert_eq!(valid_until(&ending(2031, 2, 3)), Some(moment("2031-02-03T00:00:00Z")));
        assert_eq!(valid_until(&ending(2051, 12, 31)), Some(moment("2051-12-31T00:00:00Z")));
        assert_eq!(days_left(moment("2031-02-03T00:00:00Z"), moment("2031-02-01T01:00:00Z")), Some(1));
        assert_eq!(days_left(moment("2031-02-03T00:00:00Z"), moment("2031-02-03T00:00:00Z")), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_end_however_it_is_cut() {
        let whole = ending(2031, 2, 3);
        for length in 0..whole.len().min(200) {
            assert_eq!(valid_until(&whole[..length]), None, "{length}");
        }
        assert_eq!(valid_until(&[SEQUENCE, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 0]), None);
    }
}
