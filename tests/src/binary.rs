//! Finds our binaries beside the running test, and builds them when they are missing or old.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::prerequisites::repository;

/// What the server is made of; the SDK for pages is in it as it was built last.
const OF_SERVER: &[&str] =
    &["rollout-rules", "server", "sdk-wasm/dist", "Cargo.toml", "Cargo.lock", "rustfmt.toml"];
/// What the tool that measures it is made of, which brings the server with it.
const OF_LOADTEST: &[&str] = &[
    "loadtest",
    "rollout-rules",
    "sdk-rust",
    "server",
    "sdk-wasm/dist",
    "Cargo.toml",
    "Cargo.lock",
    "rustfmt.toml",
];

/// What connects the module for the web is made of.
const OF_CONNECTOR: &[&str] = &["sdk-wasm/build", "Cargo.toml", "Cargo.lock"];

/// The profile in which instructions are counted.
const OPTIMISED: &str = "guard";
/// What is selected of it. The module for the web only has the macros compiled as they are for all of the workspace.
const OF_OPTIMISED: &[&str] = &[
    "-p",
    "tidegate",
    "-p",
    "tidegate-loadtest",
    "-p",
    "tidegate-wasm",
    "--bin",
    "tidegate",
    "--bin",
    "loadtest",
];

/// The real `tidegate`, of the profile that the running test was built with.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn tidegate() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("tidegate", OF_SERVER))
}

/// The real `loadtest`: optimised, where `make test` has built it so and it is not old; else of the profile that the
/// running test was built with.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn loadtest() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let optimised = profile_folder().with_file_name("guard").join("loadtest");
        let is_new = optimised.exists() && newest(&optimised) >= newest_source(OF_LOADTEST);
        if is_new { optimised } else { built("loadtest", OF_LOADTEST) }
    })
}

/// What makes the script beside the WebAssembly module, of the profile that the running test was built with.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn connector() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("tidegate-wasm-build", OF_CONNECTOR))
}

/// An optimised `tidegate` and `loadtest`, of the profile in which instructions are counted.
///
/// # Panics
/// When they cannot be built.
#[must_use]
pub fn optimised() -> &'static Optimised {
    static BINARIES: OnceLock<Optimised> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let folder = profile_folder().with_file_name(OPTIMISED);
        let [tidegate, loadtest] = ["tidegate", "loadtest"].map(|name| built_in(&folder, name, OF_LOADTEST));
        Optimised { tidegate, loadtest }
    })
}

/// The optimised binaries.
#[derive(Debug)]
pub struct Optimised {
    /// The server.
    pub tidegate: PathBuf,
    /// The tool that measures it.
    pub loadtest: PathBuf,
}

fn built(name: &str, sources: &[&str]) -> PathBuf {
    built_in(&profile_folder(), name, sources)
}

fn built_in(folder: &Path, name: &str, sources: &[&str]) -> PathBuf {
    let binary = folder.join(name);
    // Cargo leaves a binary untouched that needed no building, so a file of our own says when it looked.
    let looked = folder.join(format!("{name}.looked"));
    if newest(&binary).max(newest(&looked)) < newest_source(sources) || !binary.exists() {
        build(name, folder);
        std::fs::write(&looked, "").expect("the target folder takes a file");
    }
    binary
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

fn build(name: &str, folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    // The same selections as `make test` builds, so that both share what they compile.
    let packages: &[&str] = match profile {
        OPTIMISED => OF_OPTIMISED,
        _ => &["--workspace", "--bin", name],
    };
    let mut build = cargo();
    if profile == OPTIMISED {
        // What somebody sets for other builds would change what is counted.
        for (name, _) in std::env::vars_os().filter(|(name, _)| changes_counts(&name.to_string_lossy())) {
            build.env_remove(name);
        }
    }
    let built = build.args(["build", "--quiet", "--profile", profile]).args(packages).status();
    assert!(built.is_ok_and(|status| status.success()), "{name} does not build");
}

/// Whether a variable changes what is compiled in the optimised profile.
fn changes_counts(name: &str) -> bool {
    name.ends_with("RUSTFLAGS") || name.starts_with("CARGO_PROFILE_GUARD_")
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

fn newest_source(sources: &[&str]) -> SystemTime {
    let top = repository();
    sources.iter().map(|part| newest(&top.join(part))).max().unwrap_or(SystemTime::UNIX_EPOCH)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_built_the_same_whatever_somebody_sets_for_other_builds() {
        let set = ["RUSTFLAGS", "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "CARGO_PROFILE_GUARD_LTO"];
        assert!(set.into_iter().all(changes_counts));
        assert!(!["PATH", "RUSTDOCFLAGS", "CARGO_TARGET_DIR"].into_iter().any(changes_counts));
    }
}
