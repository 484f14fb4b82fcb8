//! What others wrote and we build on: under licences that ask nothing of users, used only where the
//! design allows it, and recorded without naming where one machine happened to fetch it.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use tidegate_tests::prerequisites::repository;

/// Licences that ask for no more than a notice.
const PERMISSIVE: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn metadata() -> Value {
    let host = host();
    let args = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", &host];
    let out = Command::new(env!("CARGO")).current_dir(repository()).args(args).output().expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("cargo speaks JSON")
}

fn host() -> String {
    let out = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("host: "));
    line.expect("rustc names its host").to_owned()
}

/// `A OR B`, `A/B`, `(A OR B) AND C`: one of each alternative, all of each conjunction.
fn is_permissive(expression: &str) -> bool {
    let flat = expression.replace('/', " OR ").replace(['(', ')'], "");
    flat.split(" AND ").all(|all| all.split(" OR ").any(|one| PERMISSIVE.contains(&one.trim())))
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    let metadata = metadata();
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let packages = metadata["packages"].as_array().expect("packages");
    let others: Vec<String> = packages
        .iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .filter(|package| !is_permissive(package["license"].as_str().unwrap_or_default()))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(used.len() > 20, "only {} packages found", used.len());
    assert!(others.is_empty(), "{}", others.join("\n"));
}

/// Each package with the features that it is compiled with, for dependencies of these kinds.
fn features(kinds: &str) -> BTreeSet<String> {
    let args = ["tree", "--locked", "--offline", "--workspace", "--prefix", "none", "--format", "{p} {f}"];
    let mut cargo = Command::new(env!("CARGO"));
    let out =
        cargo.current_dir(repository()).args(args).args(["--edges", kinds]).output().expect("cargo runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said = String::from_utf8(out.stdout).expect("text");
    said.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn what_is_compiled_without_tests_has_the_features_that_tests_ask_for() {
    let (without, with) = (features("normal,build"), features("normal,build,dev"));
    assert!(without.len() > 100, "only {} packages found", without.len());
    let twice: Vec<&String> = without.difference(&with).collect();
    assert!(twice.is_empty(), "compiled twice; have tests/Cargo.toml ask for what tests add to:\n{twice:#?}");
}

#[test]
fn licence_expressions_are_read_as_meant() {
    for good in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(is_permissive(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND AGPL-3.0", "MPL-2.0"] {
        assert!(!is_permissive(bad), "{bad}");
    }
}

#[test]
fn the_core_and_the_sdks_depend_on_no_server() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    for (name, allowed) in [
        ("rollout-rules", &[][..]),
        ("tidegate-sdk", &["rollout-rules"]),
        ("tidegate-wasm", &["rollout-rules"]),
        // The micro app of the demo checks its flag as any other does.
        ("tidegate", &["rollout-rules", "tidegate-sdk"]),
    ] {
        let package = packages.iter().find(|package| package["name"] == name).expect("one of ours");
        let ours: Vec<&str> = package["dependencies"]
            .as_array()
            .expect("dependencies")
            .iter()
            // Tests may look at more.
            .filter(|dependency| dependency["kind"].is_null() && dependency["path"].is_string())
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|dependency| !allowed.contains(dependency))
            .collect();
        assert!(ours.is_empty(), "{name} depends on {ours:?}");
    }
}

#[test]
fn the_locks_of_the_clients_name_no_address() {
    let locks = [
        "tests/clients/browser/package-lock.json",
        "tests/clients/node/package-lock.json",
        "tests/clients/web/package-lock.json",
        "tests/clients/python/requirements.txt",
        "sdk-wasm/package-lock.json",
    ];
    for lock in locks {
        let text = std::fs::read_to_string(repository().join(lock)).expect("a lock");
        assert!(text.len() > 100, "{lock} is empty");
        assert!(!text.contains("://"), "{lock} names an address");
    }
}
