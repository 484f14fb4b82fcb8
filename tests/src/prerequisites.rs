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

/// The compiler of Debian's packages `rustc-web` and `rustc`.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

fn sysroot(rustc: &str) -> PathBuf {
    let out = std::process::Command::new(rustc).args(["--print", "sysroot"]).output();
    let text = out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
    PathBuf::from(if text.is_empty() { "/nonexistent" } else { &text })
}
