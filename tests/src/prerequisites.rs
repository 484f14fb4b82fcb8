//! What some tests need and not every machine has. `make test` brings all of it that it can.

use std::path::{Path, PathBuf};

/// Names the folder with data that may not be part of this repository.
pub const SHARED_VARIABLE: &str = "TIDEGATE_SHARED";

/// Something that some tests need.
#[derive(Debug)]
pub struct Prerequisite {
    /// The `cfg` that is set where it is there.
    pub cfg: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// It is there if this path is.
    pub path: PathBuf,
}

/// Everything that some test needs.
#[must_use]
pub fn all() -> Vec<Prerequisite> {
    let clients = repository().join("target/clients");
    let scripts = repository().join("tests/clients");
    let need = |cfg, what, path| Prerequisite { cfg, what, path };
    vec![
        need("has_shared", "the shared data", shared()),
        need("has_python", "the Python client", clients.join("python/.ready")),
        need("has_node", "the Node client", scripts.join("node/node_modules/.package-lock.json")),
        need("has_web", "the web client", scripts.join("web/node_modules/.package-lock.json")),
        need("has_rust_client", "the Rust client", clients.join("rust/debug/tidegate-client-rust")),
        need("has_browser", "Chromium and what drives it", clients.join("browser/.ready")),
        need("has_gate_clients", "the clients of the gate", clients.join("gate/.ready")),
        need("has_small_disks", "the right to mount a small disk", small_disks()),
        need("has_freezable_disks", "the right to mount and freeze a disk", freezable_disks()),
        need("has_wasm", "the SDK for JavaScript", repository().join("sdk-wasm/dist/manifest.json")),
        need("has_valgrind", "valgrind and its vgdb", valgrind()),
        need("has_accepted_counters", "what instructions were counted with", accepted_counters()),
        need("has_core_sources", "the sources of Rust's core library", core_sources()),
    ]
}

/// The top of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ lies in the repository").to_path_buf()
}

/// The folder with data that may not be part of this repository: `TIDEGATE_SHARED`, or `../shared`.
#[must_use]
pub fn shared() -> PathBuf {
    match std::env::var_os(SHARED_VARIABLE) {
        Some(folder) => repository().join(folder),
        None => repository().join("../shared"),
    }
}

/// The program that freezes disks, if one in a file can be made, mounted and frozen: tried where nobody sees
/// it.
#[must_use]
pub fn freezable_disks() -> PathBuf {
    let script = "image=$(mktemp) && trap 'rm -f \"$image\"' EXIT && truncate -s 8M \"$image\" && \
                  mkfs.ext4 -q \"$image\" && mount -o loop \"$image\" /mnt && \
                  fsfreeze --freeze /mnt && fsfreeze --unfreeze /mnt && umount /mnt";
    let tried = std::process::Command::new("unshare").args(["--mount", "sh", "-c", script]).output();
    let can = tried.is_ok_and(|out| out.status.success());
    PathBuf::from(if can { "/usr/sbin/fsfreeze" } else { "/nonexistent" })
}

/// The program that mounts, if a small disk in memory can be mounted: tried where nobody sees it.
#[must_use]
pub fn small_disks() -> PathBuf {
    let mount = ["--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"];
    let tried = std::process::Command::new("unshare").args(mount).output();
    let can = tried.is_ok_and(|out| out.status.success());
    PathBuf::from(if can { "/bin/mount" } else { "/nonexistent" })
}

/// Where the sources of `core` and `alloc` are: in rustup's toolchain, else in Debian's.
#[must_use]
pub fn core_sources() -> PathBuf {
    let own = sysroot("rustc").join("lib/rustlib/src/rust/library/core");
    if own.exists() { own } else { sysroot(DEBIAN_RUSTC).join("lib/rustlib/src/rust/library/core") }
}

/// The counts of instructions that were accepted, from the top of the repository.
pub const ACCEPTED_INSTRUCTIONS: &str = "loadtest/instructions.toml";

/// What a count of instructions depends on, beside what is counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters {
    /// The compiler and its version.
    pub rustc: String,
    /// Valgrind and its version.
    pub valgrind: String,
    /// The kind of machine and the C library, which has several ways to copy memory.
    pub machine: String,
}

impl std::fmt::Display for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}; {})", self.valgrind, self.rustc, self.machine)
    }
}

impl Counters {
    /// Those of this machine; empty where one is absent.
    #[must_use]
    pub fn here() -> Counters {
        #[cfg(target_arch = "x86_64")]
        let vectors = if std::is_x86_feature_detected!("avx2") { "avx2" } else { "no avx2" };
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = "any";
        let library = said_by("getconf", &["GNU_LIBC_VERSION"]);
        Counters {
            rustc: said_by("rustc", &["--version"]),
            valgrind: said_by("valgrind", &["--version"]),
            machine: format!("{}, {vectors}, {library}", std::env::consts::ARCH),
        }
    }

    /// Those with which the accepted counts were made; empty where the file says nothing of one.
    #[must_use]
    pub fn of_accepted() -> Counters {
        let file = std::fs::read_to_string(repository().join(ACCEPTED_INSTRUCTIONS)).unwrap_or_default();
        let of = |name: &str| {
            let start = format!("{name} = \"");
            let value = file.lines().find_map(|line| line.strip_prefix(&start));
            value.map(|value| value.trim_end_matches('"').to_owned()).unwrap_or_default()
        };
        Counters { rustc: of("rustc"), valgrind: of("valgrind"), machine: of("machine") }
    }
}

/// Valgrind of any version: counts that were made here can be compared with each other.
#[must_use]
pub fn valgrind() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = program_in(&path, "vgdb").and_then(|_| program_in(&path, "valgrind"));
    found.unwrap_or_else(|| PathBuf::from("/nonexistent/valgrind"))
}

/// Valgrind, if counts made here can be compared with those that were accepted.
#[must_use]
pub fn accepted_counters() -> PathBuf {
    let accepted = Counters::of_accepted();
    let is_same = Counters::here() == accepted;
    if is_same { valgrind() } else { PathBuf::from(format!("/nonexistent/{accepted}")) }
}

/// Where a program is, in the folders that are searched for programs.
fn program_in(path: &std::ffi::OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The compiler of Debian's packages `rustc-web` and `rustc`.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

fn sysroot(rustc: &str) -> PathBuf {
    let text = said_by(rustc, &["--print", "sysroot"]);
    PathBuf::from(if text.is_empty() { "/nonexistent" } else { &text })
}

/// What a program says; nothing where there is no such program.
fn said_by(program: &str, words: &[&str]) -> String {
    let out = std::process::Command::new(program).args(words).output();
    out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_wherever_the_path_leads() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
        let program = folders[1].path().join("valgrind");
        std::fs::write(&program, "").expect("the folder takes a file");
        std::fs::create_dir(folders[0].path().join("valgrind")).expect("the folder takes a folder");
        let path = std::env::join_paths(folders.iter().map(tempfile::TempDir::path)).expect("plain paths");
        assert_eq!(program_in(&path, "valgrind"), Some(program));
        assert_eq!(program_in(&path, "vgdb"), None);
    }
}
