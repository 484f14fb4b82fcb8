//! What is wrong with a condition is said when it is written, with the place.
#![allow(clippy::unwrap_used, reason = "tests")]

use rollout_rules::condition::{
    Condition, ConditionProblem, MAX_DEPTH, MAX_TESTS, MAX_VALUE_BYTES, MAX_VALUES,
};
use serde_json::{Value, json};

fn condition(json: Value) -> Condition {
    serde_json::from_value(json).unwrap()
}

fn problem(json: Value) -> (String, ConditionProblem) {
    let error = condition(json).validate().unwrap_err();
    (error.path, error.problem)
}

fn test(op: &str, values: Value) -> Value {
    json!({"attribute": "a", "op": op, "values": values})
}

#[test]
fn every_operator_names_the_value_that_it_cannot_use() {
    for (op, good, bad, wanted) in [
        ("starts_with", json!("x"), json!(1), ConditionProblem::NotAText),
        ("num_gt", json!("1.5"), json!("one"), ConditionProblem::NotANumber),
        ("date_after", json!(0), json!("2026-01-02"), ConditionProblem::NotADate),
        ("semver_lt", json!("v1"), json!("1.2.3.4"), ConditionProblem::NotAVersion),
        ("cidr", json!("10.0.0.0/8"), json!("10.0.0.0/33"), ConditionProblem::NotANetwork),
    ] {
        assert_eq!(condition(test(op, json!([good]))).validate(), Ok(()), "{op}");
        let tree =
            json!({"all": [{"not": test("exists", json!([]))}, {"not": test(op, json!([good, bad]))}]});
        assert_eq!(problem(tree), ("all[1].not.values[1]".to_owned(), wanted), "{op}");
    }
}

#[test]
fn every_bound_of_a_condition_is_a_typed_refusal() {
    let nested = |depth| (1..depth).fold(test("exists", json!([])), |inner, _| json!({"not": inner}));
    assert_eq!(condition(nested(MAX_DEPTH)).validate(), Ok(()));
    assert_eq!(problem(nested(MAX_DEPTH + 1)).1, ConditionProblem::TooDeep);
    let many = |count| json!({"any": vec![test("exists", json!([])); count]});
    assert_eq!(condition(many(MAX_TESTS)).validate(), Ok(()));
    assert_eq!(problem(many(MAX_TESTS + 1)).1, ConditionProblem::TooManyTests);
    let values = |count| test("in", json!(vec![1; count]));
    assert_eq!(condition(values(MAX_VALUES)).validate(), Ok(()));
    assert_eq!(problem(values(MAX_VALUES + 1)).1, ConditionProblem::TooManyValues);
    let long = |bytes| test("in", json!(["x".repeat(bytes)]));
    assert_eq!(condition(long(MAX_VALUE_BYTES)).validate(), Ok(()));
    assert_eq!(problem(long(MAX_VALUE_BYTES + 1)), ("values[0]".to_owned(), ConditionProblem::ValueTooLong));
}

#[test]
fn a_test_that_makes_no_sense_is_refused() {
    assert_eq!(problem(test("in", json!([]))).1, ConditionProblem::NoValues);
    assert_eq!(problem(test("exists", json!([1]))).1, ConditionProblem::UnwantedValues);
    let ci = json!({"attribute": "a", "op": "num_eq", "values": [1], "ci": true});
    assert_eq!(problem(ci).1, ConditionProblem::UnwantedCi);
    let nameless = json!({"attribute": ["a", ""], "op": "exists"});
    assert_eq!(problem(nameless).1, ConditionProblem::NoAttribute);
}

#[test]
fn the_condition_of_a_segment_names_no_segment() {
    let naming = condition(json!({"any": [{"segment": "beta"}, {"segment": "shared:staff"}]}));
    assert_eq!(naming.validate(), Ok(()));
    let error = naming.validate_in_segment().unwrap_err();
    assert_eq!((error.path.as_str(), error.problem), ("any[0]", ConditionProblem::SegmentInSegment));
    let mut named = Vec::new();
    naming.segments(&mut |segment| named.push(segment.to_string()));
    assert_eq!(named, ["beta", "shared:staff"]);
}

mod regular_expressions {
    use rollout_rules::compile::{RegexError, compile_regex};
    use rollout_rules::condition::MAX_DFA_BYTES;

    use super::*;

    #[test]
    fn one_that_is_malformed_says_what_is_wrong() {
        for pattern in ["(", "a{2,1}", "(a)\\1", "(?=x)", "[b-a]", "\\y"] {
            let (path, problem) = problem(test("regex", json!([pattern])));
            assert_eq!(path, "values[0]", "{pattern}");
            assert!(
                matches!(problem, ConditionProblem::Regex(RegexError::Syntax(_))),
                "{pattern}: {problem}"
            );
        }
    }

    #[test]
    fn one_that_is_too_large_says_how_large() {
        match compile_regex("(a|b)*a(a|b){11}", false) {
            Err(RegexError::TooLarge { bytes }) => assert!(bytes > MAX_DFA_BYTES),
            other => panic!("{other:?}"),
        }
        assert_eq!(compile_regex(&"\\p{L}{50}".repeat(20), false), Err(RegexError::Enormous));
    }

    #[test]
    fn those_that_people_write_fit() {
        for pattern in [
            "^[^@]+@example\\.(com|org)$",
            "(?i)^(beta|staff)-",
            "^\\d{4}-\\d{2}-\\d{2}$",
            "^\\p{L}+$",
            "\\bpro\\b",
            "^.{1,40}$",
            "^(?:[0-9]{1,3}\\.){3}[0-9]{1,3}$",
        ] {
            let bytes = compile_regex(pattern, false).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert!(bytes.len() <= MAX_DFA_BYTES, "{pattern}");
        }
    }

    #[test]
    fn frames_carry_their_compiled_form() {
        let tree = json!({"all": [{"not": test("regex", json!(["^a", "b$"]))}, test("regex", json!(["("]))]});
        let mut dfas = Vec::new();
        condition(tree).with_dfas().tests(&mut |test| dfas.push(test.dfa.len()));
        assert_eq!(dfas, [2, 0]);
    }
}
