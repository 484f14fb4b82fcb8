//! The tests of one attribute: operators with their values, read once when the condition is compiled.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::decimal;
use super::list::List;
use super::regex::Dfa;
use super::text::{TextOp, Texts};
use crate::condition::{ConditionProblem, Operator, Test, Trail};
use crate::context::Attribute;
use crate::semver::Version;
use crate::time::calendar;

/// What an attribute has to be.
pub(crate) enum Matcher {
    Exists,
    In(Box<List>),
    Text(Texts),
    Regex(Box<[Dfa]>),
    Number(Comparison, Box<[f64]>),
    /// In milliseconds since 1970, which may be negative.
    Date(Comparison, Box<[i64]>),
    Version(Comparison, Box<[OwnedVersion]>),
    Network(Box<[IpNet]>),
}

/// How two ordered things have to compare.
#[derive(Clone, Copy)]
pub(crate) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    #[inline]
    fn admits(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
        }
    }
}

/// A version that owns its prerelease part.
pub(crate) struct OwnedVersion {
    numbers: [u64; 3],
    prerelease: Box<str>,
}

impl Matcher {
    /// Reads the operator and the values.
    pub(crate) fn compile(test: &Test, trail: &mut Trail) -> Result<Matcher, ConditionProblem> {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        let values = &test.values;
        Ok(match test.op {
            Operator::Exists => Matcher::Exists,
            Operator::In => Matcher::In(Box::new(List::new(values, test.ci))),
            Operator::StartsWith => Matcher::Text(Texts::compile(TextOp::StartsWith, test, trail)?),
            Operator::EndsWith => Matcher::Text(Texts::compile(TextOp::EndsWith, test, trail)?),
            Operator::Contains => Matcher::Text(Texts::compile(TextOp::Contains, test, trail)?),
            Operator::Regex => {
                let mut dfas = test.dfa.iter();
                let mut bounds = trail.dfa_bounds();
                let compiled = each(values, trail, |value| {
                    let pattern = value.as_str().ok_or(ConditionProblem::NotAText)?;
                    let dfa = Dfa::compile(pattern, test.ci, dfas.next()).map_err(ConditionProblem::Regex)?;
                    bounds.add(dfa.size()).map(|()| dfa)
                })?;
                trail.set_dfa_bounds(bounds);
                Matcher::Regex(compiled)
            }
            Operator::NumEq => Matcher::Number(Equal, numbers(values, trail)?),
            Operator::NumGt => Matcher::Number(Greater, numbers(values, trail)?),
            Operator::NumGte => Matcher::Number(GreaterOrEqual, numbers(values, trail)?),
            Operator::NumLt => Matcher::Number(Less, numbers(values, trail)?),
            Operator::NumLte => Matcher::Number(LessOrEqual, numbers(values, trail)?),
            Operator::DateAfter => Matcher::Date(Greater, dates(values, trail)?),
            Operator::DateBefore => Matcher::Date(Less, dates(values, trail)?),
            Operator::SemverEq => Matcher::Version(Equal, versions(values, trail)?),
            Operator::SemverGt => Matcher::Version(Greater, versions(values, trail)?),
            Operator::SemverGte => Matcher::Version(GreaterOrEqual, versions(values, trail)?),
            Operator::SemverLt => Matcher::Version(Less, versions(values, trail)?),
            Operator::SemverLte => Matcher::Version(LessOrEqual, versions(values, trail)?),
            Operator::Cidr => Matcher::Network(each(values, trail, |value| {
                value.as_str().and_then(network).ok_or(ConditionProblem::NotANetwork)
            })?),
        })
    }

    /// Whether an attribute passes, itself or by one of its elements. A list can itself be on a list.
    #[inline]
    pub(crate) fn holds(&self, attribute: &Attribute) -> bool {
        match (attribute, self) {
            (Attribute::Null, _) => false,
            (_, Matcher::Exists) => true,
            (Attribute::List(items), _) => {
                items.iter().any(|item| self.passes(item)) || self.passes(attribute)
            }
            _ => self.passes(attribute),
        }
    }

    #[inline]
    fn passes(&self, attribute: &Attribute) -> bool {
        match self {
            Matcher::Exists => true,
            Matcher::In(list) => list.contains(attribute),
            Matcher::Text(texts) => text_of(attribute).is_some_and(|text| texts.hold(text)),
            Matcher::Regex(dfas) => {
                text_of(attribute).is_some_and(|text| dfas.iter().any(|dfa| dfa.is_match(text)))
            }
            Matcher::Number(comparison, values) => number_of(attribute).is_some_and(|number| {
                values.iter().any(|value| number.partial_cmp(value).is_some_and(|o| comparison.admits(o)))
            }),
            Matcher::Date(comparison, values) => date_of(attribute)
                .is_some_and(|date| values.iter().any(|value| comparison.admits(date.cmp(value)))),
            Matcher::Version(comparison, values) => {
                text_of(attribute).and_then(Version::parse).is_some_and(|version| {
                    values.iter().any(|value| {
                        let value = Version::from_parts(value.numbers, &value.prerelease);
                        comparison.admits(version.compare(&value))
                    })
                })
            }
            Matcher::Network(networks) => text_of(attribute)
                .and_then(address)
                .is_some_and(|address| networks.iter().any(|network| network.contains(&address))),
        }
    }
}

/// Reads every value; those that cannot be used are left out, or the first is an error if the trail is
/// strict. An error if none can be: the trail then stays at the first.
pub(crate) fn each<T>(
    values: &[Value],
    trail: &mut Trail,
    mut read: impl FnMut(&Value) -> Result<T, ConditionProblem>,
) -> Result<Box<[T]>, ConditionProblem> {
    let mut usable = Vec::with_capacity(values.len());
    let mut first = None;
    for (at, value) in values.iter().enumerate() {
        match read(value) {
            Ok(value) => usable.push(value),
            Err(problem) if trail.is_strict() => {
                return trail.within(&format!("values[{at}]"), |_| Err(problem));
            }
            Err(problem) => {
                let step = format!("values[{at}]");
                trail.leave_out(&step, problem.clone());
                first.get_or_insert((step, problem));
            }
        }
    }
    match first {
        Some((step, problem)) if usable.is_empty() => trail.within(&step, |_| Err(problem)),
        _ => Ok(usable.into()),
    }
}

#[inline]
fn text_of(attribute: &Attribute) -> Option<&str> {
    match attribute {
        Attribute::String(text) => Some(text),
        _ => None,
    }
}

fn numbers(values: &[Value], trail: &mut Trail) -> Result<Box<[f64]>, ConditionProblem> {
    each(values, trail, |value| {
        let number = match value {
            Value::String(text) => parse_number(text),
            other => other.as_f64(),
        };
        number.ok_or(ConditionProblem::NotANumber)
    })
}

fn number_of(attribute: &Attribute) -> Option<f64> {
    match attribute {
        Attribute::Number(number) => Some(*number),
        Attribute::String(text) => parse_number(text),
        _ => None,
    }
}

/// A number as text: decimal, finite. Rust would read `inf` and `nan` too.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    let plausible =
        text.bytes().next().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.'));
    if !plausible {
        return None;
    }
    decimal::parse(text).filter(|number| number.is_finite())
}

fn dates(values: &[Value], trail: &mut Trail) -> Result<Box<[i64]>, ConditionProblem> {
    each(values, trail, |value| {
        let date = match value {
            Value::String(text) => parse_date(text),
            other => other.as_f64().and_then(date_from_ms),
        };
        date.ok_or(ConditionProblem::NotADate)
    })
}

fn date_of(attribute: &Attribute) -> Option<i64> {
    match attribute {
        Attribute::Number(ms) => date_from_ms(*ms),
        Attribute::String(text) => parse_date(text),
        _ => None,
    }
}

/// RFC 3339, with a date, a time and an offset.
fn parse_date(text: &str) -> Option<i64> {
    calendar::read(text).map(calendar::Moment::ms)
}

fn date_from_ms(ms: f64) -> Option<i64> {
    /// Year 9999 and further back than anybody counts.
    const FARTHEST_MS: f64 = 253_402_300_799_999.0;
    #[allow(clippy::cast_possible_truncation, reason = "in range, and parts of milliseconds do not count")]
    (ms.abs() <= FARTHEST_MS).then_some(ms as i64)
}

fn versions(values: &[Value], trail: &mut Trail) -> Result<Box<[OwnedVersion]>, ConditionProblem> {
    each(values, trail, |value| {
        let version = value.as_str().and_then(Version::parse).ok_or(ConditionProblem::NotAVersion)?;
        let (numbers, prerelease) = version.parts();
        Ok(OwnedVersion { numbers, prerelease: Box::from(prerelease) })
    })
}

/// A network, or an address as a network of one.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| address(text).map(IpNet::from))
}

/// An address. IPv4 in IPv6's clothes, as sockets for both report it, is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}
