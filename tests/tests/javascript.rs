//! The tests of the SDK for JavaScript, which are written in it: the client, its providers for OpenFeature, and the package as it
//! is installed, against servers that say what they are told to and against the real one.

use std::process::Command;

use tidegate_tests::prerequisites::repository;
use tidegate_tests::tidegate;

#[test]
#[cfg_attr(not(has_wasm), ignore = "needs the SDK for JavaScript: make wasm")]
fn the_client_for_javascript_does_what_its_tests_say() {
    let sdk = repository().join("sdk-wasm");
    let listed =
        std::fs::read_dir(sdk.join("js/test")).expect("tests").map(|entry| entry.expect("a file").path());
    let mut files: Vec<_> = listed.filter(|path| path.to_string_lossy().ends_with(".test.mjs")).collect();
    files.sort();
    assert!(files.len() > 10, "only {} files of tests", files.len());
    let mut node = Command::new("node");
    node.current_dir(&sdk)
        .args(["--test", "--test-reporter=spec", "--test-timeout=120000"])
        .args(&files)
        .env("TIDEGATE_BIN", tidegate());
    let ended = node.output().expect("node runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    // What is skipped is said, not only counted.
    said.lines().filter(|line| line.contains("NOT TESTED")).for_each(|line| println!("{line}"));
}
