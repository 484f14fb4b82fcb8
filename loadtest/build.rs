//! Notes which compiler builds the program, and of which commit: its figures belong to them.

use std::process::Command;

/// Where the sources are of what is measured.
const SOURCES: [&str; 6] =
    ["src", "scenarios", "../rollout-rules/src", "../sdk-rust/src", "../server/src", "../Cargo.lock"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    SOURCES.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
    // Where git writes down that something was committed or taken out.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = said(Command::new(rustc).arg("--version"));
    println!("cargo::rustc-env=LOADTEST_RUSTC={}", version.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=LOADTEST_COMMIT={}", commit().unwrap_or_default());
}

/// The commit, if the sources are in git; with `+` if they differ from it.
fn commit() -> Option<String> {
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_same = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if is_same { commit } else { format!("{commit}+") })
}

fn git(arguments: &[&str]) -> Option<String> {
    said(Command::new("git").args(arguments))
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
