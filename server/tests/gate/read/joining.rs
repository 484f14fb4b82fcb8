//! What was read, brought together: the order in which it came never matters, and a diff is joined with coverage.

use proptest::prelude::*;
use rollout_rules::gate::facts::{ChangedLines, Facts, ProblemCode, Proof};
use tidegate::gate::read::{merge, read};

use super::{bytes, fixture};

const INVENTORY: &str =
    r#"{"format":"tidegate.inventory/1","files":9,"sources":3,"infrastructure":[],"manifests":[]}"#;

const FIXTURES: [&str; 9] = [
    "clean/evidence/junit.xml",
    "clean/evidence/coverage.lcov",
    "clean/evidence/coverage.cobertura.xml",
    "clean/evidence/semgrep.sarif",
    "clean/evidence/detect-secrets.json",
    "clean/evidence/gitleaks.json",
    "clean/evidence/checkov.json",
    "faulty/evidence/junit.xml",
    "faulty/hostile/json.deep.json",
];

fn changed(coverage: &str, diff: &str) -> ChangedLines {
    let facts = merge(vec![read("c", coverage.as_bytes()), read("d", diff.as_bytes())]);
    facts.coverage[0].changed.expect("as it is written")
}

fn proofs(facts: &Facts) -> Vec<bool> {
    facts.scans.iter().map(|scan| matches!(scan.proof, Proof::Given(_))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_evidence_never_matters(order in Just(FIXTURES.to_vec()).prop_shuffle()) {
        let diff = "--- a/src/app.py\n+++ b/src/app.py\n@@ -1,0 +2,3 @@\n+a\n+b\n+c\n";
        let read_all = |names: &[&str]| names.iter().map(|name| fixture(name)).collect::<Vec<_>>();
        let mut one = read_all(&FIXTURES);
        one.push(read("diff", diff.as_bytes()));
        let mut other = vec![read("diff", diff.as_bytes())];
        other.extend(read_all(&order));
        prop_assert_eq!(merge(one), merge(other));
    }
}

#[test]
fn the_same_bytes_handed_in_twice_count_once() {
    let twice = vec![
        read("b.xml", &bytes("clean/evidence/junit.xml")),
        read("a.xml", &bytes("clean/evidence/junit.xml")),
    ];
    let facts = merge(twice);
    assert_eq!((facts.tests.len(), facts.pieces.len(), facts.pieces[0].name.as_str()), (1, 1, "a.xml"));
}

#[test]
fn a_list_without_findings_counts_beside_evidence_that_there_was_something_to_look_at() {
    let secrets =
        || vec![fixture("clean/evidence/detect-secrets.json"), fixture("clean/evidence/gitleaks.json")];
    let with = |more: &str| {
        let mut all = secrets();
        all.push(read("more", more.as_bytes()));
        proofs(&merge(all))
    };
    assert_eq!(proofs(&merge(secrets())), [false, false], "alone they prove nothing");
    assert_eq!(with(INVENTORY), [true, true]);
    assert_eq!(with(&INVENTORY.replace("\"files\":9", "\"files\":0")), [false, false], "an empty folder");
    assert_eq!(with("SF:src/a.py\nDA:1,1\nend_of_record\n"), [true, true], "files whose lines were measured");
    let hidden =
        vec![fixture("faulty/evidence/detect-secrets.scanned-nothing.json"), read("i", INVENTORY.as_bytes())];
    assert_eq!(proofs(&merge(hidden)), [false], "with a part switched off nothing helps");
}

#[test]
fn a_list_without_items_is_a_scan_only_if_it_is_called_so() {
    let proven = |names: &[&str]| {
        let mut all: Vec<_> = names.iter().map(|name| read(name, b"[]\n")).collect();
        all.push(read("i", INVENTORY.as_bytes()));
        proofs(&merge(all))
    };
    assert_eq!(proven(&["data/todos.json"]), [false]);
    assert_eq!(proven(&["reports/Gitleaks-report.json"]), [true]);
    assert_eq!(
        proven(&["a.json", "gitleaks.json"]),
        [true],
        "of the same bytes the name that says more counts"
    );
    let alone = merge(vec![read("todos.json", b"[]"), read("i", INVENTORY.as_bytes())]);
    assert!(matches!(&alone.scans[0].proof, Proof::Missing(why) if why.contains("call it so")));
}

#[test]
fn a_scan_of_packages_that_found_nothing_counts_beside_a_list_of_them() {
    let grype = || fixture("clean/evidence/grype.json");
    let sbom = fixture("clean/evidence/sbom.cdx1.6.json");
    let inventory = || read("i", INVENTORY.as_bytes());
    assert_eq!(proofs(&merge(vec![grype(), inventory()])), [false], "it may have looked at an empty folder");
    assert_eq!(proofs(&merge(vec![grype(), inventory(), sbom])), [true]);
}

#[test]
fn changed_lines_are_those_that_coverage_knows() {
    let coverage = "SF:src/a.py\nDA:1,1\nDA:2,0\nDA:4,1\nend_of_record\nSF:src/b.py\nDA:1,0\nend_of_record\n";
    // Line 3 cannot run; line 4 was not changed; a line of code that looks like a header is none.
    let diff = "diff --git a/src/a.py b/src/a.py\nindex 1..2 100644\n--- a/src/a.py\n+++ b/src/a.py\n@@ -1,2 +1,4 @@ def f():\n+one\n+++ b/src/b.py\n+three\n four\n-old\n\\ No newline at end of file\n";
    assert_eq!(changed(coverage, diff), ChangedLines { lines: 2, covered: 1 });
    assert_eq!(merge(vec![read("c", coverage.as_bytes())]).coverage[0].changed, None, "no diff was given");
}

#[test]
fn paths_of_a_diff_and_of_coverage_may_start_at_different_folders() {
    let line = "@@ -0,0 +1 @@\n+x\n";
    let one = ChangedLines { lines: 1, covered: 1 };
    let none = ChangedLines::default();
    let cover = |path: &str| format!("SF:{path}\nDA:1,1\nend_of_record\n");
    let both = format!("{}{}", cover("a/x.py"), cover("b/x.py"));
    let diff = |path: &str| format!("--- /dev/null\n+++ {path}\n{line}");
    assert_eq!(
        changed(&cover("src/x.py"), &diff("b/apps/discount/src/x.py")),
        one,
        "the app is a folder of the repository"
    );
    assert_eq!(
        changed(&cover("/build/app/src/x.py"), &diff("b/src/x.py")),
        one,
        "coverage names the whole path"
    );
    assert_eq!(changed(&cover("src/x.py"), &diff("\"b/src/x.py\"\t")), one, "Git quotes it");
    assert_eq!(changed(&cover("src/ä.py"), &diff("\"b/src/\\303\\244.py\"")), one, "Git escapes it");
    assert_eq!(changed(&both, &diff("b/b/x.py")), one, "the longest end of a path decides");
    assert_eq!(changed(&both, &diff("b/x.py")), none, "which of two is not said");
    assert_eq!(changed(&cover("rc/x.py"), &diff("b/src/x.py")), none, "folders are compared whole");
}

#[test]
fn a_diff_that_is_cut_off_or_of_a_merge_is_refused() {
    let code = |text: &str| read("d", text.as_bytes()).piece.problem.map(|problem| problem.code);
    assert_eq!(code("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n+x\n"), Some(ProblemCode::Malformed));
    assert_eq!(
        code("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@@ -1 -1 +1,2 @@@\n++x\n"),
        Some(ProblemCode::Malformed)
    );
    assert_eq!(code("--- a/x\n+++ b/x\n@@ -1,1 +1,4294967295 @@\n"), Some(ProblemCode::Malformed));
    assert_eq!(
        code("diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n"),
        None,
        "a file that only moved"
    );
}
