//! Reports that our own tool writes about an app's folder: which source files have tests, and what the folder holds.
//!
//! Format: this program's own; its command line writes it, in `cli::gate`.

use rollout_rules::gate::facts::{
    Declared, Facts, Inventory, MAX_COMPONENTS, Presence, Problem, ProblemCode, SourceFile,
};
use rollout_rules::ids::Digest;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::problem;
use super::text::{name, path};
use crate::gate::json::{Fold, Folded, each, parse};

/// The format of a report of tests.
pub(super) const TEST_PRESENCE: &str = "tidegate.test-presence/1";
/// The format of a list of what a folder holds.
pub(super) const INVENTORY: &str = "tidegate.inventory/1";
/// Most names of tests of one file, and most paths of each kind, that are kept.
const MAX_NAMES: usize = 100;

/// Reads which source files have tests. Of more than [`MAX_COMPONENTS`] files those without a test are kept first.
pub(super) fn read_presence(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let report: PresenceReport<'_> = parse(bytes)?;
    expect(&report.format, TEST_PRESENCE)?;
    let mut files: Vec<SourceFile> = Vec::new();
    let untested_first = |files: &mut Vec<SourceFile>| {
        files.sort_by(|one, other| {
            (!one.tests.is_empty(), &one.path).cmp(&(!other.tests.is_empty(), &other.path))
        });
        files.truncate(MAX_COMPONENTS);
    };
    each(report.files, |file: SourceReport| {
        files.push(SourceFile {
            path: path(&file.path),
            functions: file.functions,
            tests: file.tests.0.names,
        });
        if files.len() >= 2 * MAX_COMPONENTS {
            untested_first(&mut files);
        }
        Ok(())
    })?;
    untested_first(&mut files);
    Ok(Facts { presence: vec![Presence { piece, files, read: report.read }], ..Facts::default() })
}

/// Reads what a folder holds.
pub(super) fn read_inventory(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let report: InventoryReport<'_> = parse(bytes)?;
    expect(&report.format, INVENTORY)?;
    let paths = |names: Names| names.names.iter().map(|name| path(name)).collect();
    let mut declared = Vec::new();
    if let Some(files) = report.declared {
        each(files, |file: DeclaredReport| {
            // More files than are named cannot declare anything.
            if declared.len() < MAX_NAMES {
                declared.push(Declared { path: path(&file.path), names: file.names.0.names });
            }
            Ok(())
        })?;
    }
    let inventory = Inventory {
        piece,
        files: report.files,
        sources: report.sources,
        infrastructure: paths(report.infrastructure.0),
        declared,
        manifests: paths(report.manifests.0),
    };
    Ok(Facts { inventory: vec![inventory], ..Facts::default() })
}

#[derive(Deserialize)]
struct PresenceReport<'a> {
    format: String,
    #[serde(default)]
    read: Option<u64>,
    #[serde(borrow)]
    files: &'a RawValue,
}

#[derive(Deserialize)]
struct SourceReport {
    path: String,
    functions: u32,
    tests: Folded<Names>,
}

#[derive(Deserialize)]
struct InventoryReport<'a> {
    format: String,
    files: u64,
    sources: u64,
    infrastructure: Folded<Names>,
    #[serde(borrow, default)]
    declared: Option<&'a RawValue>,
    manifests: Folded<Names>,
}

#[derive(Deserialize)]
struct DeclaredReport {
    path: String,
    names: Folded<Names>,
}

/// The first [`MAX_NAMES`] names of a list.
#[derive(Default)]
struct Names {
    names: Vec<String>,
}

impl Fold for Names {
    type Item<'de> = String;

    fn add(&mut self, item: String) -> bool {
        if self.names.len() < MAX_NAMES {
            self.names.push(name(&item));
        }
        true
    }
}

fn expect(found: &str, wanted: &str) -> Result<(), Problem> {
    if found == wanted {
        return Ok(());
    }
    let detail = format!(
        "It is written in another version than `{wanted}`. Use a `tidegate` of the server's version."
    );
    Err(problem(ProblemCode::UnsupportedVersion, detail))
}
