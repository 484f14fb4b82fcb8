//! Evidence in every format: what it is, what is read from it, what is kept of it, and what many pieces come to together.

use rollout_rules::gate::facts::{Facts, Format};
use tidegate::gate::read::{Reading, merge, read, recognise, redacted};

use super::{features, fixtures, reshape, short, words};
use crate::mutate::Chance;
use crate::run::{Outcome, Target};
use crate::tree;

/// A secret as a cloud hands it out. It stands in the corpus where tools put what they found.
const PLANTED: &str = "AKIAQ7PLANTEDSECRET2";
/// Formats of which not everything is kept.
const REDACTED: [Format; 8] = [
    Format::Gitleaks,
    Format::DetectSecrets,
    Format::Sarif,
    Format::Checkov,
    Format::Trivy,
    Format::TerraformPlan,
    Format::Junit,
    Format::Diff,
];
/// What stands in for a piece of which nothing is kept.
const NOTHING: &[u8] = b"[redacted]";

const TOKENS: &[&str] = &[
    "\"level\":\"error\"",
    "\"suppressions\":[]",
    "\"snippet\":{\"text\":\"AKIAQ7PLANTEDSECRET2\"}",
    "\"Secret\":\"AKIAQ7PLANTEDSECRET2\"",
    "\"message\":{\"text\":\"found AKIAQ7PLANTEDSECRET2 here\"}",
    "\"code_block\":[[1,\"AKIAQ7PLANTEDSECRET2\"]]",
    "\"results\":{}",
    "\"results\":[]",
    "\"version\":\"2.1.0\"",
    "\"specVersion\":\"1.6\"",
    "\"ratings\":[{\"score\":9.8}]",
    "null",
    "{}",
    "[]",
    "\\u0000",
    "\\u0041KIAQ7PLANTEDSECRET2",
    "\u{feff}",
    "<testcase name=\"t\"/>",
    "<failure>AKIAQ7PLANTEDSECRET2</failure>",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE x [<!ENTITY a \"b\">]>",
    "&a;",
    "SF:src/a.py\n",
    "DA:1,1\n",
    "end_of_record\n",
    "--- a/a.py\n+++ b/a.py\n@@ -1,1 +1,2 @@\n",
    "\u{1f}\u{8b}\u{8}",
];

/// What the CLI says of a folder, and diffs, which no tool of the fixtures made; then secrets where tools put them.
const MORE: [&str; 9] = [
    r#"{"format":"tidegate.test-presence/1","read":3,"files":[{"path":"src/app.py","functions":2,"tests":["test_health"]}]}"#,
    r#"{"format":"tidegate.inventory/1","files":9,"sources":2,"infrastructure":["infra/main.tf"],"declared":[{"path":"infra/main.tf","names":["aws_s3_bucket.data"]}],"manifests":["requirements.txt"]}"#,
    "--- a/src/app.py\n+++ b/src/app.py\n@@ -1,2 +1,3 @@\n import os\n+KEY = \"AKIAQ7PLANTEDSECRET2\"\n x = 1\n",
    r#"[{"RuleID":"aws-access-token","Description":"AWS","File":"src/config.py","StartLine":5,"Secret":"AKIAQ7PLANTEDSECRET2","Match":"k = AKIAQ7PLANTEDSECRET2","Line":"AKIAQ7PLANTEDSECRET2","Fingerprint":"src/config.py:aws:5"}]"#,
    r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"gitleaks","rules":[{"id":"aws"}]}},"results":[{"ruleId":"aws","level":"error","message":{"text":"found AKIAQ7PLANTEDSECRET2 here"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a.py"},"region":{"startLine":1,"snippet":{"text":"AKIAQ7PLANTEDSECRET2"}}}}]}]}]}"#,
    r#"{"SchemaVersion":2,"ArtifactName":"app","Results":[{"Target":"a.py","Class":"secret","Secrets":[{"RuleID":"aws","Severity":"CRITICAL","StartLine":1,"Match":"k = AKIAQ7PLANTEDSECRET2","Code":{"Lines":[{"Number":1,"Content":"AKIAQ7PLANTEDSECRET2"}]}}]}]}"#,
    r#"{"check_type":"secrets","results":{"passed_checks":[],"failed_checks":[{"check_id":"CKV_SECRET_2","check_name":"AWS","file_path":"/a.py","file_line_range":[1,2],"resource":"a","code_block":[[1,"AKIAQ7PLANTEDSECRET2"]]}],"skipped_checks":[]},"summary":{"passed":1,"failed":1,"skipped":0,"parsing_errors":0,"resource_count":1,"checkov_version":"3.0.0"}}"#,
    r#"<testsuites><testsuite name="s" tests="1" failures="1"><testcase classname="a" name="t"><failure message="m">k = AKIAQ7PLANTEDSECRET2</failure><system-out>AKIAQ7PLANTEDSECRET2</system-out></testcase></testsuite></testsuites>"#,
    r#"{"format_version":"1.2","planned_values":{"root_module":{"resources":[]}},"resource_changes":[{"address":"a.b","mode":"managed","type":"a","name":"b","change":{"actions":["create"],"before":null,"after":{"password":"AKIAQ7PLANTEDSECRET2"}}}],"variables":{"p":{"value":"AKIAQ7PLANTEDSECRET2"}}}"#,
];

fn golden() -> Vec<Vec<u8>> {
    let folders = ["clean/evidence", "faulty/evidence", "faulty/hostile", "clean/attest", "clean/artifact"];
    let files = fixtures(&folders).into_iter().map(|(_, bytes)| short(bytes));
    MORE.iter().map(|text| text.as_bytes().to_vec()).chain(files).collect()
}

/// Whether the secret is in some bytes, and everywhere as a word of its own: what is glued to other letters is no secret that anybody
/// knows by its look.
fn is_planted(bytes: &[u8]) -> bool {
    let is_joined = |byte: Option<&u8>| {
        byte.is_some_and(|byte| {
            !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"_-+/=.\\&".contains(byte)
        })
    };
    let places = bytes.windows(PLANTED.len()).enumerate().filter(|(_, part)| *part == PLANTED.as_bytes());
    let mut all = places.map(|(at, _)| at).peekable();
    all.peek().is_some()
        && all.all(|at| {
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            !is_joined(before) && !is_joined(bytes.get(at + PLANTED.len()))
        })
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(PLANTED.len()).any(|part| part == PLANTED.as_bytes())
}

/// What is kept is the same kind of report, and what tools found is not in it.
fn kept_without_secrets(format: Format, bytes: &[u8]) {
    let kept = redacted(format, bytes);
    assert_eq!(redacted(format, bytes), kept, "what is kept is always the same");
    // A diff comes down to a list of lines, and what cannot be read to a word.
    if kept != NOTHING && format != Format::Diff {
        assert_eq!(recognise(&kept), Some(format), "what is kept of {format:?} is still one");
    }
    if REDACTED.contains(&format) && is_planted(bytes) {
        assert!(!holds(&kept), "a secret is kept of {format:?}: {}", String::from_utf8_lossy(&kept));
    }
}

/// The facts of pieces do not hang on the order in which they came.
fn in_any_order(reading: &Reading, others: &[Reading], length: usize) {
    let pick = |step: usize| others[(length + step) % others.len()].clone();
    let (first, second) = (pick(0), pick(7));
    let there = merge(vec![first.clone(), reading.clone(), second.clone()]);
    assert_eq!(merge(vec![second, reading.clone(), first]), there, "the order of evidence matters");
}

#[test]
fn whatever_is_handed_in_as_evidence_is_read_or_refused_and_gives_away_no_secret() {
    let golden = golden();
    let others: Vec<Reading> = golden.iter().map(|bytes| read("another", bytes)).collect();
    let read = |bytes: &[u8]| {
        let reading = read("evidence", bytes);
        let format = reading.piece.format;
        assert_eq!(format, recognise(bytes), "what it is");
        assert!(reading.facts.pieces.is_empty());
        if let Some(format) = format {
            kept_without_secrets(format, bytes);
        }
        if bytes.len().is_multiple_of(4) {
            in_any_order(&reading, &others, bytes.len());
        }
        if let Some(problem) = &reading.piece.problem {
            assert_eq!(reading.facts, Facts::default(), "nothing is taken of what is refused");
            return Outcome::Refused(format!("{format:?}: {:?} {}", problem.code, problem.detail));
        }
        let format = format.expect("what is no evidence is refused");
        let facts = serde_json::to_vec(&reading.facts).expect("facts are JSON");
        if REDACTED.contains(&format) && is_planted(bytes) {
            assert!(!holds(&facts), "a secret is among the facts: {}", String::from_utf8_lossy(&facts));
        }
        Outcome::Taken(features(&format!("{format:?}"), &reading.facts))
    };
    let words = words(&golden);
    let restructure = |bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance| {
        tree::step(bytes, other, &words, chance) || reshape(bytes, other, chance)
    };
    Target {
        name: "evidence",
        golden,
        tokens: TOKENS,
        restructure: &restructure,
        inputs: 2_000,
        read: &read,
    }
    .run();
}
