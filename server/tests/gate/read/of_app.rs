//! Coverage, held against the source files that the app has.

use rollout_rules::gate::facts::{ChangedLines, Facts, OfApp};
use tidegate::gate::read::{merge, read};

/// A report of presence: files, each with so many functions.
fn presence(files: &[(&str, u32)]) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|(path, functions)| format!(r#"{{"path":"{path}","functions":{functions},"tests":["t"]}}"#))
        .collect();
    format!(r#"{{"format":"tidegate.test-presence/1","files":[{}]}}"#, files.join(","))
}

fn inventory(sources: u64) -> String {
    format!(
        r#"{{"format":"tidegate.inventory/1","files":90,"sources":{sources},"infrastructure":[],"manifests":[]}}"#
    )
}

/// LCOV: files, each with so many lines, all of which ran.
fn lcov(files: &[(&str, u32)]) -> String {
    let of = |(path, lines): &(&str, u32)| {
        let lines: String = (1..=*lines).map(|line| format!("DA:{line},1\n")).collect();
        format!("SF:{path}\n{lines}end_of_record\n")
    };
    files.iter().map(of).collect()
}

fn all(pieces: &[&str]) -> Facts {
    merge(pieces.iter().enumerate().map(|(nth, piece)| read(&nth.to_string(), piece.as_bytes())).collect())
}

fn fit(pieces: &[&str]) -> OfApp {
    all(pieces).coverage[0].of_app.clone().expect("the app's files are known")
}

#[test]
fn a_report_of_other_code_is_known_by_the_files_that_it_lists() {
    let app = presence(&[("src/app.py", 2), ("src/cart.py", 3)]);
    let other = fit(&[&app, &lcov(&[("other/thing.py", 40)])]);
    assert!(other.is_foreign);
    assert_eq!((other.measured, other.left_out), (0, 2));
    assert_eq!(other.named, ["src/app.py", "src/cart.py"]);
    let own = fit(&[&app, &lcov(&[("/build/src/app.py", 10), ("cart.py", 10), ("lib/theirs.py", 9)])]);
    assert_eq!(own, OfApp { measured: 2, ..OfApp::default() });
    assert!(fit(&[&app, &lcov(&[("src/app.py", 0)])]).is_foreign, "a file without a line measures nothing");
    assert_eq!(
        all(&[&lcov(&[("a.py", 9)])]).coverage[0].of_app,
        None,
        "it is not known which files the app has"
    );
}

#[test]
fn a_file_that_no_report_lists_counts_by_its_functions() {
    let app = presence(&[("src/app.py", 2), ("src/cart.py", 3), ("src/tests/made.py", 7)]);
    let fits = fit(&[&app, &lcov(&[("src/app.py", 11)])]);
    // Eleven lines are two functions, so another has six.
    assert_eq!((fits.measured, fits.left_out, fits.lines, fits.changed_lines), (1, 1, 18, 0));
    assert_eq!((fits.is_foreign, fits.named), (false, vec!["src/cart.py".to_owned()]));
}

#[test]
fn which_of_two_files_is_meant_is_not_guessed() {
    let app = presence(&[("a/cart.py", 1), ("b/cart.py", 1)]);
    assert_eq!(fit(&[&app, &lcov(&[("cart.py", 10)])]).left_out, 2);
    assert_eq!(fit(&[&app, &lcov(&[("a/cart.py", 10)])]).named, ["b/cart.py"]);
}

#[test]
fn changed_lines_of_a_file_that_no_report_lists_count_as_they_are() {
    let app = presence(&[("src/app.py", 2), ("src/cart.py", 3)]);
    let diff = "--- a/x/src/cart.py\n+++ b/x/src/cart.py\n@@ -0,0 +1,3 @@\n+a\n+b\n+c\n\
                --- a/x/README.md\n+++ b/x/README.md\n@@ -0,0 +1 @@\n+a\n";
    let facts = all(&[&app, &lcov(&[("src/app.py", 10)]), diff]);
    let coverage = &facts.coverage[0];
    assert_eq!(coverage.changed, Some(ChangedLines::default()));
    assert_eq!(coverage.of_app.as_ref().expect("the app's files").changed_lines, 3);
}

#[test]
fn a_language_that_has_a_report_of_its_own_is_missing_in_no_other() {
    let app = presence(&[("api/app.py", 1), ("api/bare.py", 1), ("web/app.ts", 1), ("web/cart.tsx", 1)]);
    let python = lcov(&[("api/app.py", 10)]);
    let web = lcov(&[("web/app.ts", 10), ("web/cart.tsx", 10)]);
    let mut named: Vec<Vec<String>> = all(&[&app, &python, &web])
        .coverage
        .into_iter()
        .map(|coverage| coverage.of_app.expect("the app's files").named)
        .collect();
    named.sort();
    assert_eq!(named, [vec![], vec!["api/bare.py".to_owned()]]);
    assert_eq!(fit(&[&app, &python]).named, ["api/bare.py", "web/app.ts", "web/cart.tsx"]);
}

/// Which of its files hold functions is not seen of Rust.
#[test]
fn an_app_that_is_mostly_in_other_languages_is_measured_by_their_report() {
    let script = presence(&[("build.py", 2)]);
    let report = lcov(&[("src/main.rs", 100)]);
    let fits = fit(&[&script, &inventory(30), &report]);
    assert_eq!((fits.is_foreign, fits.left_out, fits.lines), (false, 1, 2));
    assert!(fit(&[&script, &inventory(2), &report]).is_foreign);
}
