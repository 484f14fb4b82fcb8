//! Finds the server's binary beside the running test, and builds it when it is missing or old.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::prerequisites::repository;

/// What the binary is made of; the SDK for pages is in it as it was built last.
const SOURCES: [&str; 6] =
    ["rollout-rules", "server", "sdk-wasm/dist", "Cargo.toml", "Cargo.lock", "rustfmt.toml"];

/// The real `tidegate`, of the profile that the running test was built with.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn tidegate() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let folder = profile_folder();
        let binary = folder.join("tidegate");
        // Cargo leaves a binary untouched that needed no building, so a file of our own says when it looked.
        let looked = folder.join("tidegate.looked");
        if newest(&binary).max(newest(&looked)) < newest_source() || !binary.exists() {
            build(&folder);
            std::fs::write(&looked, "").expect("the target folder takes a file");
        }
        binary
    })
}

/// `target/debug` or the like: tests run from its `deps`, binaries from itself.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.parent().expect("a file lies in a folder");
    if folder.ends_with("deps") {
        folder.parent().expect("deps lies in a profile").to_path_buf()
    } else {
        folder.to_path_buf()
    }
}

fn build(folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    // The same selection as `make test` builds, so that both share what they compile.
    let built =
        cargo().args(["build", "--quiet", "--workspace", "--bin", "tidegate", "--profile", profile]).status();
    assert!(built.is_ok_and(|status| status.success()), "the server does not build");
}

/// Cargo at the top of the repository, for a run of its own.
///
/// What the run of a test says of its package is not meant for another run: some packages are built anew when it changes, and all that
/// builds on them with them. Neither are choices of nextest.
#[must_use]
pub fn cargo() -> Command {
    const OF_THIS_RUN: [&str; 5] = ["CARGO_BIN_EXE_", "CARGO_MANIFEST_", "CARGO_PKG_", "NEXTEST", "OUT_DIR"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository());
    let is_of_this_run = |name: &str| OF_THIS_RUN.iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_this_run(&name.to_string_lossy())) {
        cargo.env_remove(name);
    }
    cargo
}

fn newest_source() -> SystemTime {
    let top = repository();
    SOURCES.iter().map(|part| newest(&top.join(part))).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// When the newest file at or below a path was written.
fn newest(path: &Path) -> SystemTime {
    let Ok(entries) = std::fs::read_dir(path) else {
        let written = std::fs::metadata(path).and_then(|data| data.modified());
        return written.unwrap_or(SystemTime::UNIX_EPOCH);
    };
    let inside = entries.flatten().map(|entry| entry.path());
    inside.map(|path| newest(&path)).max().unwrap_or(SystemTime::UNIX_EPOCH)
}
