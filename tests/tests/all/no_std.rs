//! The core compiles where there is no standard library, so that browsers and small machines can
//! evaluate flags with the same code.

use std::path::Path;
use std::process::{Command, Output};

use tidegate_tests::prerequisites::{DEBIAN_RUSTC, core_sources, repository};

/// Has the compiler check a package for bare WebAssembly with `core` and `alloc` made from source and nothing else: `std` is
/// not there, whatever a dependency asks for. That takes no machine code, which would take as long again.
fn check_without_std(folder: &Path, package: &str) -> Output {
    let debian = core_sources().starts_with("/usr/lib");
    let mut cargo = Command::new(if debian { "/usr/bin/cargo" } else { "cargo" });
    if debian {
        cargo.env("RUSTC", DEBIAN_RUSTC);
    }
    cargo
        .current_dir(folder)
        .args(["check", "-Zbuild-std=core,alloc", "--target", "wasm32-unknown-unknown", "-p", package])
        // Building the standard library's parts is not stable; the code that is built is.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", repository().join("target/no-std"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs")
}

#[test]
#[cfg_attr(not(has_core_sources), ignore = "needs the sources of Rust's core library: make wasm")]
fn the_core_builds_without_the_standard_library() {
    let checked = check_without_std(&repository(), "rollout-rules");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
#[cfg_attr(not(has_core_sources), ignore = "needs the sources of Rust's core library: make wasm")]
fn a_crate_that_uses_the_standard_library_does_not_build_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a written file");
    std::fs::create_dir(folder.path().join("src")).expect("a folder");
    write("Cargo.toml", "[package]\nname = \"uses-std\"\nedition = \"2024\"\n[workspace]\n");
    write("src/lib.rs", "pub fn threads() -> std::thread::ThreadId { std::thread::current().id() }\n");
    let checked = check_without_std(folder.path(), "uses-std");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success(), "std was there, so the other test proves nothing");
    assert!(said.contains("can't find crate for `std`"), "it failed for another reason: {said}");
}
