//! Puts the files of the browser SDK into the server, if `make wasm` has built them: those that
//! `sdk-wasm/dist/manifest.json` lists. Without it the server is built all the same, and says what is missing.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What `make wasm` says of what it built. It says more, for people.
#[derive(Deserialize)]
struct Manifest {
    files: Vec<Built>,
}

#[derive(Deserialize)]
struct Built {
    name: String,
    media: String,
}

fn main() {
    let home = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the crate is"));
    let built = home.join("../sdk-wasm/dist");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", built.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write")).join("sdk_files.rs");
    fs::write(&out, rows(&built)).expect("the list of files is written");
}

/// The files as rows of a table in Rust.
fn rows(built: &Path) -> String {
    let Ok(manifest) = fs::read(built.join("manifest.json")) else { return "&[]".to_owned() };
    let manifest: Manifest = serde_json::from_slice(&manifest)
        .expect("sdk-wasm/dist/manifest.json has the form that `make wasm` writes");
    let mut rows = "&[\n".to_owned();
    for Built { name, media } in &manifest.files {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        assert!(!name.is_empty() && name.bytes().all(is_plain), "`{name}` cannot be a file's address");
        let path = fs::canonicalize(built.join(name)).expect("a file that the manifest names is there");
        writeln!(rows, "    File {{ name: {name:?}, media: {media:?}, bytes: include_bytes!({path:?}) }},")
            .expect("text can be written to");
    }
    rows.push(']');
    rows
}
