//! Evidence as its tools write it, as a faulty app gets it, and as nobody honest would write it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fixtures;
mod hostile;
mod joining;
mod limits;
mod of_app;
mod shapes;
mod stored;
mod without_files;

use std::path::PathBuf;

use rollout_rules::gate::facts::{Proof, Scan};
use tidegate::gate::read::{Reading, read};

/// The bytes of a fixture.
fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/gate")).join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fixture as it is read.
fn fixture(name: &str) -> Reading {
    read(name, &bytes(name))
}

/// The only scan of a text.
fn scan(text: &str) -> Scan {
    let reading = read("report", text.as_bytes());
    assert_eq!(reading.piece.problem, None);
    assert_eq!(reading.facts.scans.len(), 1, "{:?}", reading.facts.scans);
    reading.facts.scans.into_iter().next().expect("as it is written")
}

fn is_proven(scan: &Scan) -> bool {
    matches!(scan.proof, Proof::Given(_))
}
