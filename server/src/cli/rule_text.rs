//! Rules and serves as people type them on a command line:
//!
//! ```text
//! --serve on
//! --serve a=50,b=50 --control a
//! --rule 'plan in pro,team and not country in DE -> on'
//! --rule 'staff: email ends_with:ci @example.com -> on'
//! --rule 'segment beta -> a=50,b=50'
//! ```
//!
//! Several rules are tried in order, so `or` is a second rule. Deeper trees are written as JSON.

use std::fmt;

use rollout_rules::condition::{AttributePath, Condition, Operator, SegmentRef, Test};
use rollout_rules::flag::{Rule, Serve, Split, Weight};
use rollout_rules::ids::{RuleId, SplitId, VariantKey};
use serde_json::Value;

/// Why a text is no rule or serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TextError {
    /// There is no ` -> ` before what is served.
    NoArrow,
    /// A quotation mark without its partner.
    OpenQuote,
    /// The condition ends where more must follow.
    Incomplete {
        /// What must follow.
        expected: &'static str,
    },
    /// A word that does not belong there.
    Unexpected {
        /// The word.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// JSON that is no rule.
    NotARule {
        /// What the reader says.
        problem: String,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::NoArrow => f.write_str(
                "say what the rule serves: 'plan in pro -> on' (quote it, since > means something to shells)",
            ),
            TextError::OpenQuote => f.write_str("a quotation mark is left open"),
            TextError::Incomplete { expected } => write!(f, "it ends where {expected} must follow"),
            TextError::Unexpected { found, expected } => {
                write!(f, "`{found}` stands where {expected} belongs")
            }
            TextError::NotARule { problem } => write!(f, "the JSON is no rule: {problem}"),
        }
    }
}

impl std::error::Error for TextError {}

const OPERATORS: &str = "an operator (in, starts_with, ends_with, contains, regex, num_eq, num_gt, num_gte, num_lt, \
     num_lte, date_after, date_before, semver_eq, semver_gt, semver_gte, semver_lt, semver_lte, cidr, exists; \
     `:ci` after it ignores case)";
const SERVE: &str = "a variant, or shares such as a=50,b=50";

/// A rule as typed; its id is made later if none is given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RuleText {
    id: Option<RuleId>,
    description: String,
    when: Condition,
    serve: ServeText,
}

/// A serve as typed; a split gets its id later.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ServeText {
    /// One variant.
    Variant(VariantKey),
    /// Shares.
    Shares(Vec<Weight>),
    /// Whole, as JSON has it.
    Whole(Serve),
}

impl ServeText {
    /// The serve, whose split is named `split` if it has no name yet.
    pub(super) fn named(self, split: &SplitId) -> Serve {
        match self {
            ServeText::Variant(variant) => Serve::Variant(variant),
            ServeText::Shares(weights) => Serve::Split(Box::new(Split {
                id: split.clone(),
                weights,
                control: None,
                unit: None,
                seed: None,
            })),
            ServeText::Whole(serve) => serve,
        }
    }
}

impl std::str::FromStr for ServeText {
    type Err = TextError;

    fn from_str(text: &str) -> Result<ServeText, TextError> {
        let text = text.trim();
        let wrong = || TextError::Unexpected { found: text.to_owned(), expected: SERVE };
        if !text.contains('=') {
            return VariantKey::new(text).map(ServeText::Variant).map_err(|_| wrong());
        }
        let share = |part: &str| {
            let (variant, weight) = part.trim().rsplit_once('=')?;
            let weight = weight.trim_end_matches('%').parse().ok()?;
            Some(Weight { variant: VariantKey::new(variant).ok()?, weight })
        };
        let shares: Option<Vec<Weight>> = text.split(',').map(share).collect();
        shares.map(ServeText::Shares).ok_or_else(wrong)
    }
}

impl RuleText {
    /// The rule's id, if it was given one.
    pub(super) fn id(&self) -> Option<&RuleId> {
        self.id.as_ref()
    }

    /// For whom it is.
    pub(super) fn condition(&self) -> &Condition {
        &self.when
    }

    /// The rule under an id.
    pub(super) fn named(self, id: RuleId) -> Rule {
        let split = SplitId::new(id.as_str()).expect("a rule's id has the form of a split's");
        Rule { id, description: self.description, when: self.when, serve: self.serve.named(&split) }
    }
}

impl std::str::FromStr for RuleText {
    type Err = TextError;

    fn from_str(text: &str) -> Result<RuleText, TextError> {
        if text.trim_start().starts_with('{') {
            let rule: Rule = serde_json::from_str(text)
                .map_err(|error| TextError::NotARule { problem: error.to_string() })?;
            return Ok(RuleText {
                id: Some(rule.id),
                description: rule.description,
                when: rule.when,
                serve: ServeText::Whole(rule.serve),
            });
        }
        let (condition, serve) = text.rsplit_once("->").ok_or(TextError::NoArrow)?;
        let mut words = words(condition)?;
        let id = take_id(&mut words);
        Ok(RuleText { id, description: String::new(), when: condition_of(&words)?, serve: serve.parse()? })
    }
}

/// A word of a condition: the parts between its commas, and whether any of it stood in quotes.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    parts: Vec<(String, bool)>,
}

impl Word {
    fn bare(&self) -> Option<&str> {
        match &self.parts[..] {
            [(text, false)] => Some(text),
            _ => None,
        }
    }

    fn shown(&self) -> String {
        self.parts.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(",")
    }
}

fn words(text: &str) -> Result<Vec<Word>, TextError> {
    let mut words = Vec::new();
    let mut parts: Vec<(String, bool)> = Vec::new();
    let mut part: Option<(String, bool)> = None;
    let mut in_quotes = false;
    for c in text.chars() {
        match c {
            '"' => {
                in_quotes = !in_quotes;
                part.get_or_insert_default().1 = true;
            }
            ',' if !in_quotes => {
                parts.push(part.take().unwrap_or_default());
                part = Some(Default::default());
            }
            c if c.is_whitespace() && !in_quotes => {
                parts.extend(part.take());
                if !parts.is_empty() {
                    words.push(Word { parts: std::mem::take(&mut parts) });
                }
            }
            c => part.get_or_insert_default().0.push(c),
        }
    }
    if in_quotes {
        return Err(TextError::OpenQuote);
    }
    parts.extend(part);
    if !parts.is_empty() {
        words.push(Word { parts });
    }
    Ok(words)
}

/// Takes `name:` off the front.
fn take_id(words: &mut Vec<Word>) -> Option<RuleId> {
    let id = words.first()?.bare()?.strip_suffix(':').and_then(|name| RuleId::new(name).ok())?;
    words.remove(0);
    Some(id)
}

fn condition_of(words: &[Word]) -> Result<Condition, TextError> {
    let mut tests = Vec::new();
    let mut rest = words.iter();
    loop {
        tests.push(test_of(&mut rest)?);
        match rest.next() {
            None => break,
            Some(word) if word.bare() == Some("and") => {}
            Some(word) => {
                return Err(TextError::Unexpected { found: word.shown(), expected: "`and` or the arrow" });
            }
        }
    }
    Ok(if tests.len() == 1 { tests.remove(0) } else { Condition::All { all: tests } })
}

fn test_of(rest: &mut std::slice::Iter<'_, Word>) -> Result<Condition, TextError> {
    let first = rest.next().ok_or(TextError::Incomplete { expected: "an attribute" })?;
    if first.bare() == Some("not") {
        return Ok(Condition::Not { not: Box::new(test_of(rest)?) });
    }
    if first.bare() == Some("segment") {
        let expected = "a segment's key, or shared:key";
        let word = rest.next().ok_or(TextError::Incomplete { expected })?;
        let segment: SegmentRef = serde_json::from_value(Value::String(word.shown()))
            .map_err(|_| TextError::Unexpected { found: word.shown(), expected })?;
        return Ok(Condition::Segment { segment });
    }
    let attribute = AttributePath::Dotted(first.shown());
    let word = rest.next().ok_or(TextError::Incomplete { expected: OPERATORS })?.shown();
    let (name, ci) = match word.strip_suffix(":ci") {
        Some(name) => (name, true),
        None => (word.as_str(), false),
    };
    let op: Operator = serde_json::from_value(Value::String(name.to_owned()))
        .map_err(|_| TextError::Unexpected { found: word.clone(), expected: OPERATORS })?;
    let values = if op == Operator::Exists {
        Vec::new()
    } else {
        let word = rest.next().ok_or(TextError::Incomplete { expected: "a value" })?;
        word.parts.iter().map(|(text, quoted)| value(op, text, *quoted)).collect()
    };
    Ok(Condition::Test(Test { attribute, op, values, ci, dfa: Vec::new() }))
}

/// A number or truth value where the operator compares such, a text elsewhere and in quotes.
fn value(op: Operator, text: &str, quoted: bool) -> Value {
    use Operator::{In, NumEq, NumGt, NumGte, NumLt, NumLte};
    let compares_values = matches!(op, In | NumEq | NumGt | NumGte | NumLt | NumLte);
    match serde_json::from_str(text) {
        Ok(found @ (Value::Number(_) | Value::Bool(_))) if compares_values && !quoted => found,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        let rule: RuleText = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        let id = rule.id().cloned().unwrap_or_else(|| RuleId::new("r1").expect("an id"));
        serde_json::to_string(&rule.named(id)).expect("json")
    }

    #[test]
    fn a_rule_reads_as_people_type_it() {
        for (typed, written) in [
            (
                "plan in pro,team -> on",
                r#"{"id":"r1","when":{"attribute":"plan","op":"in","values":["pro","team"]},"serve":{"variant":"on"}}"#,
            ),
            (
                "staff: email ends_with:ci @example.com -> on",
                r#"{"id":"staff","when":{"attribute":"email","op":"ends_with","values":["@example.com"],"ci":true},"serve":{"variant":"on"}}"#,
            ),
            (
                "segment shared:beta and not age num_lt 18 -> a=50,b=50",
                r#"{"id":"r1","when":{"all":[{"segment":"shared:beta"},{"not":{"attribute":"age","op":"num_lt","values":[18]}}]},"serve":{"split":{"id":"r1","weights":[{"variant":"a","weight":50},{"variant":"b","weight":50}]}}}"#,
            ),
            (
                r#"name in "Ada, Countess",42,"42" -> on"#,
                r#"{"id":"r1","when":{"attribute":"name","op":"in","values":["Ada, Countess",42,"42"]},"serve":{"variant":"on"}}"#,
            ),
            (
                "version semver_gte 2.0 and beta exists -> on",
                r#"{"id":"r1","when":{"all":[{"attribute":"version","op":"semver_gte","values":["2.0"]},{"attribute":"beta","op":"exists","values":[]}]},"serve":{"variant":"on"}}"#,
            ),
        ] {
            assert_eq!(json(typed), written, "{typed}");
        }
    }

    #[test]
    fn a_rule_in_json_is_taken_whole() {
        let rule = r#"{"id":"x","when":{"any":[{"segment":"a"},{"segment":"b"}]},"serve":{"variant":"on"}}"#;
        assert_eq!(json(rule), rule);
    }

    #[test]
    fn what_is_no_rule_says_what_is_missing() {
        for (typed, part) in [
            ("plan in pro", "say what the rule serves"),
            ("-> on", "an attribute must follow"),
            ("plan -> on", "an operator"),
            ("plan is pro -> on", "`is` stands where an operator"),
            ("plan in -> on", "a value must follow"),
            ("plan in pro or x in y -> on", "`or` stands where `and`"),
            ("plan in \"pro -> on", "left open"),
            ("plan in pro -> a=x", "a variant, or shares"),
            ("{\"id\":1}", "no rule"),
        ] {
            let error = typed.parse::<RuleText>().expect_err(typed).to_string();
            assert!(error.contains(part), "{typed}: {error}");
        }
    }
}
