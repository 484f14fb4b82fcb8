//! The sources keep the rules of the house: who may use what, and how things are named and sized.

mod rules;
mod source;

use std::path::{Path, PathBuf};

use rules::judge;
use source::Source;
use tidegate_tests::prerequisites::repository;

/// What is known to break a rule, with the reason why it may. Each must still be needed.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("tests/src/bin/crash_writer.rs", "does not sleep", "it plays a slow disk")];

fn sources() -> Vec<(String, PathBuf)> {
    let top = repository();
    let mut found = Vec::new();
    for part in ["rollout-rules", "server", "sdk-rust", "sdk-wasm", "loadtest", "tests"] {
        collect(&top, &top.join(part), &mut found);
    }
    found.sort();
    found
}

fn collect(top: &Path, folder: &Path, found: &mut Vec<(String, PathBuf)>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !["target", "node_modules", ".venv"].contains(&name.as_str()) {
            collect(top, &path, found);
        } else if name.ends_with(".rs") {
            let short = path.strip_prefix(top).expect("inside the repository");
            found.push((short.to_string_lossy().into_owned(), path));
        }
    }
}

fn problems_of(path: &str, text: &str) -> Vec<String> {
    match Source::parse(text) {
        Ok(source) => judge(path, &source),
        Err(error) => vec![format!("{path}: not Rust: {error}")],
    }
}

fn is_exception(problem: &str) -> bool {
    EXCEPTIONS.iter().any(|(path, what, _)| problem.starts_with(path) && problem.contains(what))
}

#[test]
fn every_source_keeps_the_rules() {
    let sources = sources();
    assert!(sources.len() > 10, "only {} sources found: looked in the wrong place?", sources.len());
    let problems: Vec<String> = sources
        .iter()
        .flat_map(|(path, file)| problems_of(path, &std::fs::read_to_string(file).expect("a source")))
        .filter(|problem| !is_exception(problem))
        .collect();
    assert!(problems.is_empty(), "{} broken rules:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn no_exception_outlives_its_need() {
    let problems: Vec<String> = sources()
        .iter()
        .flat_map(|(path, file)| problems_of(path, &std::fs::read_to_string(file).expect("a source")))
        .collect();
    for (path, what, why) in EXCEPTIONS {
        let used = problems.iter().any(|problem| problem.starts_with(path) && problem.contains(what));
        assert!(used, "{path}: `{what}` ({why}) is no longer needed");
    }
}

/// The problems that the rules find in a file with this text.
fn check(path: &str, text: &str, expected: &[&str]) {
    let problems = problems_of(path, text);
    assert_eq!(problems.len(), expected.len(), "in {text}: {problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem} does not say {expected}");
    }
}

#[test]
fn the_core_may_not_use_std_however_it_is_named() {
    let file = "rollout-rules/src/decide.rs";
    check(file, "use std::time::Duration;", &["decide.rs:1: std::time::Duration"]);
    check(file, "fn f() -> u8 { std::mem::take(&mut 0) }", &["std::mem::take"]);
    check(file, "extern crate std;", &["std is not for here"]);
    check(file, "fn f() { assert_eq!(std::env::args().count(), 1); }", &["std::env::args"]);
    check(file, "#[cfg(test)] mod tests { use std::collections::HashMap; }", &[]);
    check(file, "// std::time\n/// std::time\nconst A: &str = \"std::time\";", &[]);
    check(file, "fn f(tidegate: u8, std: u8) -> u8 { tidegate + std }", &[]);
    check("rollout-rules/src/lib.rs", "//! The core.", &["no_std"]);
    check("rollout-rules/src/bucketing.rs", "fn f(share: f64) {}", &["f64"]);
}

#[test]
fn only_the_log_may_use_an_engine() {
    let open = "use ::sled::Db; fn f(db: &Db) {}";
    check("server/src/state/commit.rs", open, &["sled::Db", "sled::Db"]);
    check("server/src/http/check.rs", "fn f() { sled::open(\"x\"); }", &["sled::open"]);
    check("server/src/log/sled.rs", open, &[]);
    check(
        "server/src/main.rs",
        "use async_nats as nats; fn f(c: nats::Client) {}",
        &["async_nats", "async_nats::Client"],
    );
}

#[test]
fn our_own_module_may_have_the_name_of_an_engine() {
    check("server/src/assembly.rs", "use crate::log::sled; fn f() { sled::open(\"x\"); }", &[]);
    check("server/src/assembly.rs", "mod sled; fn f() { sled::open(\"x\"); }", &[]);
    check(
        "server/src/state/commit.rs",
        "use crate::log::sled; fn f() { sled::open(); }",
        &["log::sled", "log::sled::open"],
    );
}

#[test]
fn only_http_may_use_the_web_framework() {
    check(
        "server/src/state/commit.rs",
        "use actix_web::{web, HttpResponse};",
        &["actix_web::web", "actix_web::HttpResponse"],
    );
    check("server/src/main.rs", "#[actix_web::main] async fn main() {}", &["actix_web::main"]);
    check("server/src/http/check.rs", "use actix_web::web;", &[]);
}

#[test]
fn only_the_clock_may_read_the_clock() {
    let reads = "use std::time::{Duration, SystemTime}; fn f() { SystemTime::now(); }";
    check("server/src/http/check.rs", reads, &["std::time::SystemTime", "std::time::SystemTime::now"]);
    check("server/src/clock.rs", reads, &[]);
    check("server/src/log/sled.rs", "use crate::clock::Clock;", &["crate::clock::Clock"]);
    check("server/src/log/sled.rs", "use std::time::Duration;", &[]);
}

#[test]
fn only_effects_and_the_command_line_may_call_others() {
    check("server/src/http/check.rs", "fn f() { ureq::get(\"x\"); }", &["ureq::get"]);
    check("server/src/cli/flag.rs", "fn f() { ureq::get(\"x\"); }", &[]);
    check("server/src/cli/flag.rs", "use crate::state::CommandHandle;", &["crate::state::CommandHandle"]);
}

#[test]
fn offline_commands_open_logs_and_reach_no_server() {
    check("server/src/offline/restore.rs", "use crate::log::sled::SledLog;", &[]);
    check("server/src/offline/restore.rs", "use crate::http::Shared;", &["crate::http::Shared"]);
    check("server/src/offline/restore.rs", "fn f() { ureq::get(\"x\"); }", &["ureq::get"]);
    let open = "use crate::offline::restore; use crate::log::sled::audit;";
    check("server/src/cli/backup.rs", open, &["sled::audit", "offline::restore", "sled::audit"]);
    check("server/src/backup/reader.rs", "use crate::log::LogEntry;", &["crate::log::LogEntry"]);
    check("server/src/offline/receipt.rs", "use crate::gate::trust::receipt::verify;", &[]);
    check("server/src/offline/receipt.rs", "use crate::gate::files::Files;", &["gate::files"]);
}

#[test]
fn the_command_line_asks_the_gate_over_http_and_knows_only_what_its_evidence_looks_like() {
    check("server/src/cli/gate/collect.rs", "use crate::gate::read::recognise;", &[]);
    check("server/src/cli/gate/check.rs", "use crate::gate::desk::Ask;", &["gate::desk"]);
    check("server/src/cli/gate/check.rs", "use crate::gate::trust::receipt;", &["gate::trust"]);
}

#[test]
fn an_sdk_may_not_use_the_server() {
    check("sdk-rust/src/lib.rs", "use tidegate::log::ChangeLog;", &["tidegate::log::ChangeLog"]);
    check("sdk-rust/src/lib.rs", "use rollout_rules::ids::FlagKey;", &[]);
}

#[test]
fn names_lengths_and_order_are_checked() {
    check("server/src/utils.rs", "", &["`utils` says nothing"]);
    check("server/src/log/mod.rs", "mod helpers; struct LogManager;", &["`helpers`", "`LogManager`"]);
    check("server/src/a.rs", "fn f(now: u64, key: &str) {}", &["`now` is the last argument"]);
    check("server/src/a.rs", "fn f(key: &str, now: u64) {}", &[]);
    check("server/src/a.rs", &"\n".repeat(rules::LONGEST_FILE + 1), &["a file tells one story"]);
    let long = format!("fn f() {{{}}}", "\n".repeat(rules::LONGEST_FUNCTION));
    check("server/src/a.rs", &long, &["fn f has"]);
}

#[test]
fn tests_do_not_sleep() {
    let nap = "use std::thread; fn f() { thread::sleep(d()); tokio::time::sleep(d()); }";
    check("server/tests/a.rs", nap, &["does not sleep", "does not sleep"]);
    check("tests/src/patience.rs", nap, &[]);
    check("server/src/state/watchdog.rs", nap, &[]);
}

#[test]
fn unfinished_code_and_unwrap_are_found() {
    for unfinished in ["todo", "unimplemented"] {
        let text = format!("fn f() {{ {unfinished}!() }}");
        check("server/src/a.rs", &text, &[&format!("{unfinished}!")]);
    }
    check("server/src/a.rs", "fn f(a: Option<u8>) -> u8 { a.unwrap() }", &["unwrap outside tests"]);
    check("server/src/a.rs", "#[cfg(test)] mod tests { fn f(a: Option<u8>) -> u8 { a.unwrap() } }", &[]);
    check("server/tests/a.rs", "fn f(a: Option<u8>) -> u8 { a.unwrap() }", &[]);
    check("tests/tests/a.rs", "fn f() { dbg!(1); }", &["dbg!"]);
}
