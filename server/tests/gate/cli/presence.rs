//! Presence of tests in whole folders, and at its limits.

use std::fs;

use proptest::prelude::*;
use tidegate::cli::gate::inventory::inventory;
use tidegate::cli::gate::presence::{MAX_TESTS_PER_FILE, ProblemKind, presence, presence_of};

use super::{SourceText, fixture, found, tests_of};

#[test]
fn every_file_of_the_clean_app_has_its_tests() {
    let found = presence(&fixture("clean/app")).expect("as it is written");
    let report = serde_json::to_value(&found.report).expect("as it is written");
    let expected = serde_json::json!({
        "format": "tidegate.test-presence/1",
        "read": 3,
        "files": [
            { "path": "src/app.py", "functions": 3, "tests": [
                "tests.test_app.test_bad_query", "tests.test_app.test_discount", "tests.test_app.test_health"] },
            { "path": "src/discount.py", "functions": 1, "tests": [
                "tests.test_discount.test_happy_path", "tests.test_discount.test_rejects_bad_input",
                "tests.test_discount.test_rounds_down"] },
        ],
    });
    assert_eq!(report, expected);
    assert_eq!(found.problems, []);
}

#[test]
fn the_faulty_app_has_files_without_tests_and_one_that_is_skipped() {
    let found = presence(&fixture("faulty/app")).expect("as it is written");
    let tests: Vec<(String, u32, usize)> =
        found.report.files.iter().map(|file| (file.path.clone(), file.functions, file.tests.len())).collect();
    let expected = [
        ("src/app.py".to_owned(), 3, 0),
        ("src/discount.py".to_owned(), 1, 2),
        ("src/loyalty.py".to_owned(), 4, 0),
    ];
    assert_eq!(tests, expected);
    assert_eq!(
        found.report.files[1].tests,
        ["tests.test_discount.test_happy_path", "tests.test_discount.test_rounds_up"]
    );
}

#[test]
fn what_git_ignores_and_what_others_wrote_is_not_looked_at_and_links_are_not_followed() {
    let outside = tempfile::tempdir().expect("as it is written");
    fs::write(outside.path().join("far.py"), "def f():\n    return 1\n").expect("as it is written");
    let app = tempfile::tempdir().expect("as it is written");
    let write = |path: &str| {
        let path = app.path().join(path);
        fs::create_dir_all(path.parent().expect("as it is written")).expect("as it is written");
        fs::write(path, "def f():\n    return 1\n").expect("as it is written");
    };
    for path in [
        "own.py",
        "generated/made.py",
        "node_modules/x/a.py",
        "venv/lib/b.py",
        "odd-name/lib/c.py",
        "target/d.py",
        "dist/e.py",
        ".hidden/own.py",
        "setup.py",
    ] {
        write(path);
    }
    fs::write(app.path().join("odd-name/pyvenv.cfg"), "home = /usr\n").expect("as it is written");
    fs::write(app.path().join(".gitignore"), "/generated/\n").expect("as it is written");
    std::os::unix::fs::symlink(outside.path(), app.path().join("linked")).expect("as it is written");
    std::os::unix::fs::symlink(outside.path().join("far.py"), app.path().join("linked.py"))
        .expect("as it is written");
    let paths: Vec<String> = presence(app.path())
        .expect("as it is written")
        .report
        .files
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(paths, [".hidden/own.py", "own.py"]);
}

#[test]
fn a_file_that_is_no_source_counts_as_one_without_tests_and_people_are_told() {
    let deep = format!("x = {}1{}\n", "(".repeat(900), ")".repeat(900));
    let large = format!("# {}\ndef f():\n    return 1\n", "x".repeat(1024 * 1024));
    let test = "from src.broken import f\n\ndef test_f():\n    assert f() == 1\n";
    let found = found(&[
        ("src/broken.py", "def f():\n    return 1\n\ndef g(:\n    pass\n"),
        ("src/broken.ts", "export function f(: number) { return 1 }"),
        ("src/deep.py", &deep),
        ("src/large.py", &large),
        ("tests/test_broken.py", test),
        ("tests/test_odd.py", "def test_(:"),
    ]);
    let files: Vec<(&str, u32, usize)> = found
        .report
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.functions, file.tests.len()))
        .collect();
    assert_eq!(
        files,
        [("src/broken.py", 1, 0), ("src/broken.ts", 1, 0), ("src/deep.py", 1, 0), ("src/large.py", 1, 0)]
    );
    let kinds: Vec<(&str, ProblemKind)> =
        found.problems.iter().map(|problem| (problem.path.as_str(), problem.kind)).collect();
    assert!(matches!(kinds[0], ("src/broken.py", ProblemKind::Syntax { line: 4 })), "{kinds:?}");
    assert!(matches!(kinds[1], ("src/broken.ts", ProblemKind::Syntax { line: 1 })), "{kinds:?}");
    assert_eq!(kinds[2..4], [("src/deep.py", ProblemKind::TooDeep), ("src/large.py", ProblemKind::TooLarge)]);
    assert!(matches!(kinds[4], ("tests/test_odd.py", ProblemKind::Syntax { .. })), "{kinds:?}");
    let told = found.problems[0].to_string();
    assert_eq!(
        told,
        "src/broken.py is not valid source from line 4 on; run it once, and mend what it complains about"
    );
}

#[test]
fn a_file_that_is_not_text_is_named_and_stays_without_tests() {
    let app = tempfile::tempdir().expect("as it is written");
    fs::write(app.path().join("odd.py"), b"def f():\n    return '\xff'\n").expect("as it is written");
    let found = presence(app.path()).expect("as it is written");
    assert_eq!((found.report.files.len(), found.report.files[0].tests.len()), (1, 0));
    assert_eq!(found.problems[0].kind, ProblemKind::NotText);
}

#[test]
fn at_most_a_hundred_tests_are_named_for_a_file() {
    let tests: String =
        (0..150).map(|n| format!("def test_{n:03}():\n    assert price() == {n}\n")).collect();
    let test = format!("from shop import price\n{tests}");
    let named = tests_of(&[("shop.py", "def price():\n    return 1\n"), ("test_shop.py", &test)], "shop.py");
    assert_eq!((named.len(), named[0].as_str()), (MAX_TESTS_PER_FILE, "test_shop.test_000"));
}

#[test]
fn a_folder_that_is_not_there_is_refused_in_words() {
    let refused = presence(std::path::Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(refused.to_string(), "/nowhere/at/all cannot be opened; give the app's folder");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_whatever_stops_it(name in 0..6_usize, text in source()) {
        let path = ["a.py", "tests/test_a.py", "a.js", "a.test.tsx", "b.spec.ts", "conftest.py"][name];
        let other = SourceText { path: "src/x.py".to_owned(), text: "def f():\n    return 1\n".to_owned() };
        let found = presence_of(&[SourceText { path: path.to_owned(), text }, other]);
        prop_assert!(found.report.files.iter().any(|file| file.path == "src/x.py"));
    }
}

/// Texts that look a little like source: words and marks of the languages in any order, or any characters.
fn source() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "def ",
        "test_x",
        "(",
        ")",
        ":\n    ",
        "assert ",
        "True",
        "class Test",
        "import ",
        "from ",
        ".",
        "@pytest.mark.skip",
        "\n",
        "try:",
        "except ",
        "test(",
        "'a'",
        "() => {",
        "}",
        "expect(",
        ".toBe(",
        "require(",
        "`",
        "${",
        "describe",
        ",",
        "=",
        "self.",
        "*",
        "[",
        "]",
        "return ",
        "x",
        "é",
        "\u{0}",
        "export ",
        "...",
        "if ",
        "<A>",
        "</A>",
        "as ",
        "None",
    ]);
    prop_oneof![prop::collection::vec(words, 0..60).prop_map(|words| words.concat()), any::<String>(),]
}

#[test]
fn the_server_reads_the_reports_as_they_are_written() {
    let app = fixture("clean/app");
    let report =
        serde_json::to_vec(&presence(&app).expect("as it is written").report).expect("as it is written");
    let read = tidegate::gate::read::read("presence.json", &report);
    assert_eq!(read.piece.problem, None);
    let files: Vec<(&str, usize)> =
        read.facts.presence[0].files.iter().map(|file| (file.path.as_str(), file.tests.len())).collect();
    assert_eq!(files, [("src/app.py", 3), ("src/discount.py", 3)]);
    let report = serde_json::to_vec(&inventory(&app).expect("as it is written")).expect("as it is written");
    let read = tidegate::gate::read::read("inventory.json", &report);
    assert_eq!((read.piece.problem, read.facts.inventory[0].sources), (None, 3));
}

#[test]
fn text_that_is_nested_in_itself_is_read_in_no_time() {
    let repeated =
        |inside: &str, depth: usize, end: &str| format!("{}{}", inside.repeat(depth), end.repeat(depth));
    let nested: String =
        (1..60).map(|at| format!("{0}try:\n{0} f()\n{0}except Exception:\n", " ".repeat(at))).collect();
    let python = format!("from src.x import f\ndef test_x():\n{nested}{}f()\n", " ".repeat(60));
    let caught = repeated("try { f() } catch (e) { ", 60, "} ");
    let chained = format!("expect(f()){}.toBe(1)", ".a().b()".repeat(90));
    let unexpected = format!("f(){}.toBe(1)", ".a().b()".repeat(90));
    let head = "import { f } from '../src/y'\n";
    let javascript = format!(
        "{head}test('x', () => {{ {caught} }})\ntest('y', () => {{ {chained} }})\ntest('z', () => {{ {unexpected} }})\n"
    );
    let found = found(&[
        ("src/x.py", "def f():\n    return 1\n"),
        ("src/y.js", "export function f() { return 1 }\n"),
        ("tests/test_x.py", &python),
        ("tests/y.test.js", &javascript),
    ]);
    assert_eq!(found.problems, []);
    let tests: Vec<&[String]> = found.report.files.iter().map(|file| file.tests.as_slice()).collect();
    assert_eq!(tests, [&[] as &[String], &["y".to_owned()]]);
}

#[test]
fn large_files_of_many_tests_are_read_within_bounds() {
    let names: String = (0..3_000).map(|n| format!("        name_{n}\n")).collect();
    let tests: String = (0..3_000)
        .map(|n| format!("    def test_{n}(self):\n        self.assertEqual(f(), {n})\n"))
        .collect();
    let large = format!(
        "import unittest\nfrom src.x import f\nclass T(unittest.TestCase):\n    def setUp(self):\n{names}{tests}"
    );
    assert!(large.len() < 1024 * 1024);
    let named =
        tests_of(&[("src/x.py", "def f():\n    return 1\n"), ("tests/test_x.py", &large)], "src/x.py");
    assert_eq!(named.len(), MAX_TESTS_PER_FILE);
}
