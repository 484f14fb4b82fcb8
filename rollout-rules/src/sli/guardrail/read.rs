//! Reads a rule from its short form:
//!
//! ```text
//! error_rate > 3% for 5m -> flag off, run rollback
//! latency_p95 > 2x baseline for 3m -> revert release
//! monthly_spend > 80% of budget -> disable non-critical, notify owner
//! error_rate worse than control by 1.5x -> flag off
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::fit::{Part, Unfit};
use super::{Action, Bound, Guardrail, MAX_ACTIONS, Operator, Sli, TWICE, Test};
use crate::ids::{ChannelName, JobName};
use crate::written::{pointed_at, read_length};

/// Longest text of a rule, in bytes.
pub const MAX_RULE_BYTES: usize = 1_000;

const SLIS: [Sli; 8] = [
    Sli::ErrorRate,
    Sli::Availability,
    Sli::LatencyP95,
    Sli::LatencyP99,
    Sli::Cpu,
    Sli::Memory,
    Sli::CostPerSuccess,
    Sli::MonthlySpend,
];
const ANY_SLI: &str =
    "error_rate, availability, latency_p95, latency_p99, cpu, memory, cost_per_success or monthly_spend";
const ANY_BOUND: &str = "a bound: 3%, 250ms, `2x baseline`, an amount, `budget` or `80% of budget`";
const ANY_ACTION: &str = "an action: `flag off`, `rollout to 0`, `revert release`, `disable non-critical`, `notify NAME` or `run NAME`";

/// Why a text is no rule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotARule {
    /// Where it goes wrong, in bytes from the beginning.
    pub at: usize,
    /// What stands there; empty at the end.
    pub found: String,
    /// What would have to.
    pub expected: &'static str,
}

impl fmt::Display for NotARule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found.is_empty() {
            return write!(f, "it ends at byte {} where {} belongs", self.at, self.expected);
        }
        write!(f, "`{}` at byte {} is not {}", self.found, self.at, self.expected)
    }
}

impl core::error::Error for NotARule {}

impl NotARule {
    /// The text with a mark under the place, for a terminal.
    pub fn pointed_at(&self, text: &str) -> String {
        pointed_at(text, self.at, &self.found)
    }
}

impl FromStr for Guardrail {
    type Err = NotARule;

    fn from_str(text: &str) -> Result<Guardrail, NotARule> {
        if text.len() > MAX_RULE_BYTES {
            let expected = "the end: a rule has at most 1000 bytes";
            return Err(NotARule { at: MAX_RULE_BYTES, found: "…".to_string(), expected });
        }
        let mut reader = Reader { text, words: words(text), at: 0, places: Places::default() };
        let when = reader.test()?;
        reader.literal("->", "`->` and what is done, or `for` and a duration")?;
        reader.places.actions = reader.place();
        let mut then = Vec::new();
        loop {
            let place = reader.place();
            then.push(reader.action()?);
            if then.len() > MAX_ACTIONS {
                return Err(reader.wrong_at(place, "the end: a rule has at most eight actions"));
            }
            if reader.words.get(reader.at).is_none() {
                break;
            }
            reader.literal(",", "a comma and a further action, or the end")?;
        }
        Guardrail::new(when, then).map_err(|unfit| reader.unfit(unfit))
    }
}

#[derive(Default)]
struct Places {
    sli: usize,
    operator: usize,
    bound: usize,
    duration: usize,
    actions: usize,
}

struct Reader<'a> {
    text: &'a str,
    /// Each with where it begins.
    words: Vec<(usize, &'a str)>,
    at: usize,
    places: Places,
}

/// Splits at spaces; commas, arrows and comparisons are words of their own.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return words };
        let sign = ["->", ">=", "<=", ">", "<", ","].into_iter().find(|sign| rest.starts_with(sign));
        let end = |(at, sign): (usize, char)| {
            sign.is_whitespace()
                || matches!(sign, ',' | '<' | '>')
                || (at > 0 && rest[at..].starts_with("->"))
        };
        let length = match sign {
            Some(sign) => sign.len(),
            None => rest.char_indices().find(|place| end(*place)).map_or(rest.len(), |(at, _)| at),
        };
        let length = length.max(first.len_utf8());
        words.push((text.len() - rest.len(), &rest[..length]));
        rest = &rest[length..];
    }
}

impl<'a> Reader<'a> {
    /// Where the next word begins.
    fn place(&self) -> usize {
        self.words.get(self.at).map_or(self.text.len(), |(place, _)| *place)
    }

    fn wrong_at(&self, place: usize, expected: &'static str) -> NotARule {
        let found = self.words.iter().find(|(at, _)| *at == place).map_or("", |(_, word)| *word);
        let found: String = found.chars().take(40).collect();
        NotARule { at: place, found, expected }
    }

    fn wrong(&self, expected: &'static str) -> NotARule {
        self.wrong_at(self.place(), expected)
    }

    fn unfit(&self, unfit: Unfit) -> NotARule {
        let place = match unfit.part {
            Part::Sli => self.places.sli,
            Part::Operator => self.places.operator,
            Part::Bound => self.places.bound,
            Part::Duration => self.places.duration,
            Part::Actions => self.places.actions,
        };
        self.wrong_at(place, unfit.expected)
    }

    /// The next word, if it is read as something.
    fn read<T>(
        &mut self,
        expected: &'static str,
        as_what: impl Fn(&'a str) -> Option<T>,
    ) -> Result<T, NotARule> {
        let word = self.words.get(self.at).map(|(_, word)| *word);
        let read = word.and_then(as_what).ok_or_else(|| self.wrong(expected))?;
        self.at += 1;
        Ok(read)
    }

    fn literal(&mut self, literal: &str, expected: &'static str) -> Result<(), NotARule> {
        self.read(expected, |word| (word == literal).then_some(()))
    }

    /// Whether the next word is this; then it is passed.
    fn passes(&mut self, literal: &str) -> bool {
        self.literal(literal, "").is_ok()
    }

    fn test(&mut self) -> Result<Test, NotARule> {
        self.places.sli = self.place();
        let sli = self.read(ANY_SLI, |word| SLIS.into_iter().find(|sli| sli.name() == word))?;
        self.places.operator = self.place();
        if self.passes("worse") {
            self.literal("than", "`than control`")?;
            self.literal("control", "`control`")?;
            self.places.bound = self.place();
            let mut by_thousandths = TWICE;
            if self.passes("by") {
                self.places.bound = self.place();
                by_thousandths =
                    self.read("a multiple such as 1.5x", |word| decimal(word.strip_suffix('x')?, 3))?;
            }
            return Ok(Test::WorseThanControl { sli, by_thousandths });
        }
        let operator = self.read("`>`, `>=`, `<`, `<=` or `worse than control`", |word| {
            Some(match word {
                ">" => Operator::Above,
                ">=" => Operator::AtLeast,
                "<" => Operator::Below,
                "<=" => Operator::AtMost,
                _ => return None,
            })
        })?;
        self.places.bound = self.place();
        let bound = self.bound()?;
        self.places.duration = self.place();
        let mut sustained_ms = None;
        if self.passes("for") {
            self.places.duration = self.place();
            sustained_ms = Some(self.read("a duration such as 5m or 1h30m", read_length)?);
        }
        Ok(Test::Threshold { sli, operator, bound, sustained_ms })
    }

    fn bound(&mut self) -> Result<Bound, NotARule> {
        let bound = self.read(ANY_BOUND, |word| {
            if word == "budget" {
                return Some(Bound::OfBudget(1_000_000));
            }
            if let Some(percent) = word.strip_suffix('%') {
                return decimal(percent, 4).map(Bound::Millionths);
            }
            if let Some(times) = word.strip_suffix('x') {
                return decimal(times, 3).map(Bound::TimesBaseline);
            }
            let units = [("us", 0), ("ms", 3), ("s", 6)];
            let latency =
                units.into_iter().find_map(|(unit, digits)| decimal(word.strip_suffix(unit)?, digits));
            latency.map(Bound::Microseconds).or_else(|| decimal(word, 6).map(Bound::Micros))
        })?;
        match bound {
            Bound::TimesBaseline(_) => self.literal("baseline", "`baseline`")?,
            Bound::Millionths(part) if self.passes("of") => {
                self.literal("budget", "`budget`")?;
                return Ok(Bound::OfBudget(part));
            }
            _ => {}
        }
        Ok(bound)
    }

    fn action(&mut self) -> Result<Action, NotARule> {
        let verb = self.read(ANY_ACTION, |word| {
            ["flag", "rollout", "revert", "disable", "notify", "run"].into_iter().find(|verb| *verb == word)
        })?;
        match verb {
            "flag" => self.literal("off", "`off`").map(|()| Action::FlagOff),
            "rollout" => {
                self.literal("to", "`to 0`")?;
                self.read("`0`: a guardrail only lowers", |word| matches!(word, "0" | "0%").then_some(()))?;
                Ok(Action::RolloutToZero)
            }
            "revert" => self.literal("release", "`release`").map(|()| Action::RevertRelease),
            "disable" => self.literal("non-critical", "`non-critical`").map(|()| Action::DisableNonCritical),
            "notify" => self
                .read("`owner` or the name of a channel", |word| ChannelName::new(word).ok())
                .map(Action::Notify),
            _ => self.read("the name of a job", |word| JobName::new(word).ok()).map(Action::Run),
        }
    }
}

/// A decimal number times ten to the power of `digits`; `None` if it is finer than that.
fn decimal(text: &str, digits: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits_only = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let length = u32::try_from(fraction.len()).ok()?;
    if whole.is_empty()
        || !digits_only(whole)
        || !digits_only(fraction)
        || length > digits
        || text.ends_with('.')
    {
        return None;
    }
    let fraction: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(10_u64.checked_pow(digits)?)?.checked_add(fraction * 10_u64.pow(digits - length))
}
