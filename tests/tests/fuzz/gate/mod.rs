//! The gate: what pipelines hand in and the form that it comes in, what they say who they are by, and what operators judge them by.

mod evidence;
mod form;
mod plan;
mod policy;
mod presence;
mod receipt;
mod signed;
mod token;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rollout_rules::gate::trust::{Signs, Trust, TrustedAuthority, TrustedKey};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;
use rollout_rules::time::UnixMs;
use serde_json::Value;

use crate::mutate::{Chance, EDGES};
use crate::{shapes, tree};

/// Most items of a list that a fixture keeps: with fewer, more inputs are read in the same time.
const MAX_ITEMS: usize = 3;
/// Everything that can be signed.
const ANYTHING: [Signs; 7] = [
    Signs::Artifact,
    Signs::Provenance,
    Signs::Sbom,
    Signs::TestResult,
    Signs::Verification,
    Signs::Vex,
    Signs::SecretAudit,
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gate")
}

/// The bytes of a fixture.
fn fixture(path: &str) -> Vec<u8> {
    let path = folder().join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A fixture that is text.
fn text(path: &str) -> String {
    String::from_utf8(fixture(path)).expect("text")
}

/// All files in some folders of fixtures, in the order of their names.
fn fixtures(folders: &[&str]) -> Vec<(String, Vec<u8>)> {
    let files = folders.iter().flat_map(|part| {
        let listed = std::fs::read_dir(folder().join(part)).expect("a folder of fixtures");
        listed.map(move |file| format!("{part}/{}", file.expect("a file").file_name().to_string_lossy()))
    });
    let names: BTreeSet<String> = files.filter(|name| folder().join(name).is_file()).collect();
    names.into_iter().map(|name| (name.clone(), fixture(&name))).collect()
}

/// JSON in one line, so that its structure can be changed, with short lists; anything else as it is.
fn short(bytes: Vec<u8>) -> Vec<u8> {
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(mut value) => {
            cut_lists(&mut value);
            value.to_string().into()
        }
        Err(_) => bytes,
    }
}

fn cut_lists(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.truncate(MAX_ITEMS);
            items.iter_mut().for_each(cut_lists);
        }
        Value::Object(fields) => fields.values_mut().for_each(cut_lists),
        _ => {}
    }
}

/// The words of all inputs that are JSON.
fn words(inputs: &[Vec<u8>]) -> Vec<tree::Word> {
    let is_json = |bytes: &&Vec<u8>| serde_json::from_slice::<Value>(bytes).is_ok();
    let lines: Vec<String> = inputs
        .iter()
        .filter(is_json)
        .map(|bytes| String::from_utf8(short(bytes.clone())).expect("JSON is text"))
        .collect();
    tree::words(&lines.join("\n"))
}

/// What tells a value from others.
fn features(name: &str, value: &impl serde::Serialize) -> Vec<String> {
    let mut found = BTreeSet::new();
    shapes::shapes(&serde_json::to_value(value).expect("it is JSON"), name, &mut found);
    found.into_iter().collect()
}

/// Changes XML by its tags and any other text by its lines: one is left out, repeated, taken from another, or has another number.
fn reshape(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) -> bool {
    let (known, given) = (parts(bytes), parts(other));
    if known.is_empty() {
        return false;
    }
    let one = &known[chance.below(known.len())];
    match chance.below(5) {
        0 => drop(bytes.drain(one.clone())),
        1 => {
            // All from one to another, once more.
            let last = &known[chance.below(known.len())];
            let again = bytes[one.start.min(last.start)..one.end.max(last.end)].to_vec();
            bytes.splice(one.start..one.start, again);
        }
        2 | 3 if !given.is_empty() => {
            let new = other[given[chance.below(given.len())].clone()].to_vec();
            let place = if chance.below(2) == 0 { one.clone() } else { one.end..one.end };
            bytes.splice(place, new);
        }
        _ => {
            let digits = bytes[one.clone()].iter().position(u8::is_ascii_digit).map(|at| one.start + at);
            let Some(start) = digits else { return false };
            let length = bytes[start..one.end].iter().take_while(|byte| byte.is_ascii_digit()).count();
            bytes.splice(start..start + length, chance.pick(&EDGES).bytes());
        }
    }
    true
}

/// Tags of XML, each with the text after it; lines of anything else.
fn parts(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let is_xml = bytes.trim_ascii_start().starts_with(b"<");
    let begins = |at: &usize| if is_xml { bytes[*at] == b'<' } else { *at == 0 || bytes[*at - 1] == b'\n' };
    let starts: Vec<usize> = (0..bytes.len()).filter(begins).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

fn at(text: &str) -> UnixMs {
    UnixMs::parse_rfc3339(text).expect("RFC 3339")
}

/// While the certificate of the fixtures is valid, and their tokens count.
fn handed_in() -> UnixMs {
    at("2026-01-15T10:01:00Z")
}

/// What the clean build made.
fn artifact() -> ArtifactDigest {
    let digest = Digest::of(&fixture("clean/artifact/discount-1.0.0.tar.gz"));
    format!("sha256:{digest}").parse().expect("a digest")
}

/// The keys of the fixtures, the stranger's aside, and the private authority.
fn trust() -> Trust {
    let key = |name: &&str| TrustedKey {
        name: (*name).to_owned(),
        pem: text(&format!("keys/{name}.pub.pem")),
        signs: ANYTHING.to_vec(),
        not_before: None,
        not_after: None,
        shared: true,
    };
    let authority = TrustedAuthority {
        name: "private-ca".to_owned(),
        pem: text("keys/private-ca.root.pem"),
        signs: ANYTHING.to_vec(),
        not_before: None,
        not_after: None,
        builders: Vec::new(),
    };
    let keys = ["ci-p256", "ci-ed25519", "gate-p256"].iter().map(key).collect();
    Trust { keys, authorities: vec![authority], issuers: Vec::new() }
}
