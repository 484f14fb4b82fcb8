//! Looks for what some tests need and not every machine has, and tells the compiler.
//!
//! A test that needs one of these says so: `#[cfg_attr(not(has_python), ignore = "...")]`. It is then
//! counted as skipped by whatever runs it, and never as passed.

#[allow(unreachable_pub, dead_code, reason = "the tests use the same file as a module of a library")]
#[path = "src/prerequisites.rs"]
mod prerequisites;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/prerequisites.rs");
    println!("cargo::rerun-if-env-changed={}", prerequisites::SHARED_VARIABLE);
    println!("cargo::rerun-if-changed=../{}", prerequisites::ACCEPTED_INSTRUCTIONS);
    for need in prerequisites::all() {
        println!("cargo::rustc-check-cfg=cfg({})", need.cfg);
        println!("cargo::rerun-if-changed={}", need.path.display());
        if need.path.exists() {
            println!("cargo::rustc-cfg={}", need.cfg);
        } else {
            println!(
                "cargo::warning=SKIPPED: tests that need {}: {} is absent",
                need.what,
                need.path.display()
            );
        }
    }
}
