//! Versions, compared as Semantic Versioning 2.0 says, on borrowed text.
//!
//! More generous than the standard where people are: a leading `v` or `V` is allowed, and a missing
//! minor or patch number is 0. Build metadata is ignored. Anything else is no version.

use core::cmp::Ordering;

/// A version, borrowing its prerelease part from the text that it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    numbers: [u64; 3],
    /// Without the `-`; empty for a release.
    prerelease: &'a str,
}

impl<'a> Version<'a> {
    /// Reads a version; `None` if the text is none.
    #[inline]
    pub fn parse(text: &'a str) -> Option<Version<'a>> {
        let bytes = text.as_bytes();
        let mut at = usize::from(matches!(bytes.first(), Some(b'v' | b'V')));
        let mut numbers = [0; 3];
        for part in 0..3 {
            at = number(bytes, at, &mut numbers[part])?;
            match bytes.get(at) {
                Some(b'.') if part < 2 => at += 1,
                None => return Some(Version { numbers, prerelease: "" }),
                _ => break,
            }
        }
        let rest = text.get(at + 1..)?;
        let (prerelease, build) = match bytes[at] {
            b'-' => match rest.split_once('+') {
                Some((prerelease, build)) => (Some(prerelease), Some(build)),
                None => (Some(rest), None),
            },
            b'+' => (None, Some(rest)),
            _ => return None,
        };
        if !prerelease.is_none_or(|text| identifiers(text, true))
            || !build.is_none_or(|text| identifiers(text, false))
        {
            return None;
        }
        Some(Version { numbers, prerelease: prerelease.unwrap_or("") })
    }

    /// Which of two versions comes first.
    #[inline]
    pub fn compare(&self, other: &Version<'_>) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.prerelease, other.prerelease) {
            ("", "") => Ordering::Equal,
            ("", _) => Ordering::Greater,
            (_, "") => Ordering::Less,
            (ours, theirs) => compare_prereleases(ours, theirs),
        })
    }

    /// The three numbers and the prerelease part.
    pub(crate) fn parts(self) -> ([u64; 3], &'a str) {
        (self.numbers, self.prerelease)
    }

    /// A version from [`parts`](Version::parts).
    #[inline]
    pub(crate) fn from_parts(numbers: [u64; 3], prerelease: &'a str) -> Version<'a> {
        Version { numbers, prerelease }
    }
}

/// Reads digits from `at` on and says where they end. No leading zeros, nothing above 2^64.
#[inline]
fn number(bytes: &[u8], mut at: usize, into: &mut u64) -> Option<usize> {
    let start = at;
    let mut value: u64 = 0;
    while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
        at += 1;
    }
    if at == start || (bytes[start] == b'0' && at - start > 1) {
        return None;
    }
    *into = value;
    Some(at)
}

/// Whether a text is a list of identifiers between dots; those of a prerelease that are numbers have
/// no leading zeros.
fn identifiers(text: &str, prerelease: bool) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !(prerelease && part.len() > 1 && part.starts_with('0') && is_number(part))
    })
}

fn is_number(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit())
}

fn compare_prereleases(ours: &str, theirs: &str) -> Ordering {
    let (mut ours, mut theirs) = (ours.split('.'), theirs.split('.'));
    loop {
        let order = match (ours.next(), theirs.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (is_number(a), is_number(b)) {
                // Without leading zeros the longer number is the larger one, whatever its size.
                (true, true) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_standard_says() {
        let ordered = [
            "0.9.9",
            "1.0.0-0",
            "1.0.0-1",
            "1.0.0-11",
            "1.0.0-99999999999999999999999",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.2.0",
            "1.10.0",
            "2.0.0",
            "18446744073709551615.0.0",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                let (va, vb) = (Version::parse(a).expect(a), Version::parse(b).expect(b));
                assert_eq!(va.compare(&vb), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn a_v_missing_parts_and_build_metadata_make_no_difference() {
        for text in ["v2", "V2.0", "2.0.0", "2.0.0+build.7", "2+build", "v2.0+0.00"] {
            let version = Version::parse(text).expect(text);
            assert_eq!(version.compare(&Version::parse("2.0.0").expect("2")), Ordering::Equal, "{text}");
        }
        let partial = Version::parse("2-rc.1").expect("a prerelease of 2");
        assert_eq!(partial.compare(&Version::parse("2.0.0-rc.1").expect("rc")), Ordering::Equal);
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in [
            "",
            "v",
            "vv1",
            "1.",
            "1..2",
            ".1",
            "1.2.3.4",
            "01.0.0",
            "1.02.0",
            "1.2.3-",
            "1.2.3-a..b",
            "1.2.3-01",
            "1.2.3+",
            "1.2.3 ",
            " 1.2.3",
            "1.2.x",
            "a.b.c",
            "-1",
            "+1",
            "1,2",
            "1.2.3-é",
            "18446744073709551616.0.0",
        ] {
            assert!(Version::parse(text).is_none(), "{text}");
        }
    }
}
