//! The readers of SBOMs, of reports of vulnerability scanners and of VEX documents.

mod fixtures;
mod licences;
mod mutations;
mod sboms;
mod scans;
mod vex;

use std::path::Path;

use rollout_rules::gate::facts::{Facts, Problem, ProblemCode};
use rollout_rules::ids::Digest;

type Read = fn(Digest, &[u8]) -> Result<Facts, Problem>;

const CYCLONEDX: Read = super::cyclonedx::read;
const SPDX: Read = super::spdx::read;
const GRYPE: Read = |piece, bytes| super::grype::read(piece, bytes).map(|(facts, _)| facts);
const TRIVY: Read = super::trivy::read;
const OSV: Read = super::osv::read;
const OPENVEX: Read = super::openvex::read;

fn fixture(path: &str) -> Vec<u8> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/gate"));
    std::fs::read(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn facts(read: Read, bytes: &[u8]) -> Facts {
    read(Digest::of(bytes), bytes).unwrap_or_else(|problem| panic!("{problem:?}"))
}

fn facts_of(read: Read, json: &serde_json::Value) -> Facts {
    facts(read, json.to_string().as_bytes())
}

fn refused(read: Read, json: &serde_json::Value) -> (ProblemCode, String) {
    let problem = read(Digest::default(), json.to_string().as_bytes()).expect_err("it is refused");
    (problem.code, problem.detail)
}
