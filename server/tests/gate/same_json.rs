//! Reports, plans and what is signed are JSON of strangers: all are read within the same bounds, and refused for the same faults.

use rollout_rules::gate::facts::{Format, Problem, ProblemCode};
use rollout_rules::ids::Digest;
use rollout_rules::time::UnixMs;
use tidegate::gate::trust::keys::TrustedKeys;
use tidegate::gate::{infrastructure, read, trust};

/// A way in: what is wrong with some bytes, if something is.
type Reader = fn(&[u8]) -> Option<Problem>;

fn report(bytes: &[u8]) -> Option<Problem> {
    read::read("report", bytes).piece.problem
}

fn plan(bytes: &[u8]) -> Option<Problem> {
    infrastructure::read(Digest::of(bytes), bytes).err()
}

fn signed(bytes: &[u8]) -> Option<Problem> {
    let artifact = format!("sha256:{}", Digest::of(b"artifact")).parse().expect("a digest");
    let piece = Digest::of(bytes);
    trust::read(piece, Format::Dsse, bytes, &artifact, &TrustedKeys::default(), UnixMs(0)).err()
}

/// Each reader with a text that it takes; a member can be put in after the first bracket of each.
const READERS: [(Reader, &str); 3] = [
    (report, r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"x"}},"results":[]}]}"#),
    (plan, r#"{"format_version":"1.2","planned_values":{"root_module":{"resources":[]}}}"#),
    (
        signed,
        r#"{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"https://example.com/x","predicate":{"a":1}}"#,
    ),
];

fn with(text: &str, member: &str) -> String {
    text.replacen('{', &format!("{{{member},"), 1)
}

fn nested(levels: usize) -> String {
    format!(r#""x":{}{}"#, "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn every_reader_takes_and_refuses_the_same() {
    type Change = fn(&str) -> Vec<u8>;
    let rows: [(&str, Change, Option<ProblemCode>); 9] = [
        ("as it is", |text| text.into(), None),
        ("with a byte order mark", |text| format!("\u{feff}{text}").into(), None),
        ("with lines that end as on Windows", |text| text.replace(',', ",\r\n").into(), None),
        ("as deep as may be", |text| with(text, &nested(63)).into(), None),
        ("deeper", |text| with(text, &nested(64)).into(), Some(ProblemCode::TooLarge)),
        (
            "far deeper, and never closed",
            |text| with(text, &"[".repeat(1_000_000)).into(),
            Some(ProblemCode::TooLarge),
        ),
        ("cut off", |text| text[..text.len() - 1].into(), Some(ProblemCode::Malformed)),
        ("with something behind it", |text| format!("{text} {{}}").into(), Some(ProblemCode::Malformed)),
        (
            "not UTF-8",
            |text| [b"{\"x\":\"\xff\",", &text.as_bytes()[1..]].concat(),
            Some(ProblemCode::Malformed),
        ),
    ];
    for (what, change, expected) in rows {
        for (nth, (read, text)) in READERS.iter().enumerate() {
            let problem = read(&change(text));
            assert_eq!(
                problem.as_ref().map(|problem| problem.code),
                expected,
                "{what}, reader {nth}: {problem:?}"
            );
        }
    }
}

#[test]
fn a_key_given_twice_is_hostile_wherever_something_hangs_on_it() {
    for (read, text) in READERS {
        let (first, _) = text[1..].split_once(',').expect("several members");
        let problem = read(with(text, first).as_bytes()).expect("it is refused");
        assert_eq!(problem.code, ProblemCode::Hostile, "{}", problem.detail);
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_nothing_of_the_text() {
    for (read, text) in READERS {
        let broken = with(text, r#""x":"AKIAIOSFODNN7EXAMPLE" AKIAIOSFODNN7EXAMPLE"#);
        let detail = read(broken.as_bytes()).expect("it is refused").detail;
        assert!(detail.contains("line 1, column "), "{detail}");
        assert!(!detail.contains("AKIA") && detail.len() < 300 && detail.ends_with('.'), "{detail}");
    }
}

#[test]
fn text_in_utf_16_says_how_to_write_it() {
    let text: Vec<u8> = "\u{feff}{\"version\":\"2.1.0\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let problem = report(&text).expect("it is refused");
    assert_eq!(problem.code, ProblemCode::Malformed);
    assert!(problem.detail.contains("Out-File -Encoding utf8"), "{}", problem.detail);
}
