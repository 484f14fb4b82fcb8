//! SPDX 2.2 and 2.3 in JSON: packages, their licences, and which of them the document is about. 2.2 has the same members for
//! what is read here, and is what some generators still write.
//!
//! The one package that a document describes is what the SBOM is of, and no component. Of several, all are.
//!
//! Format: SPDX 2.2 and 2.3 (ISO/IEC 5962): <https://spdx.github.io/spdx-spec/v2.3/>.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::gate::facts::{Facts, Licence, MAX_FINDINGS, Problem};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;
use serde::Deserialize;

use super::components::{Licences, component, sbom, sha256, subjects_of};
use super::licence::classify;
use super::lists::{Listed, or_none};
use super::purl;
use super::spdx3;
use super::text;
use super::words::{malformed, unsupported};
use crate::gate::json::{Fold, Folded, parse};

/// The versions that are taken, and what they are called.
const VERSIONS: [(&str, &str); 2] = [("SPDX-2.2", "SPDX 2.2"), ("SPDX-2.3", "SPDX 2.3")];
/// The document's own name in its relationships.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "spdxVersion")]
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    packages: Option<Folded<Listed<Package>>>,
    relationships: Option<Folded<Described>>,
    document_describes: Option<Folded<Ids>>,
    has_extracted_licensing_infos: Option<Folded<Listed<Extracted>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: Option<String>,
    license_concluded: Option<String>,
    license_declared: Option<String>,
    external_refs: Option<Folded<FirstPurl>>,
    checksums: Option<Folded<Checksums>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_type: Option<String>,
    reference_locator: Option<String>,
}

#[derive(Default)]
struct FirstPurl(Option<String>);

impl Fold for FirstPurl {
    type Item<'de> = ExternalRef;

    fn add(&mut self, reference: ExternalRef) -> bool {
        if self.0.is_none() && reference.reference_type.as_deref() == Some("purl") {
            self.0 = reference.reference_locator.filter(|locator| purl::is_purl(locator));
        }
        true
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: Option<String>,
    checksum_value: Option<String>,
}

#[derive(Default)]
struct Checksums(Vec<ArtifactDigest>);

impl Fold for Checksums {
    type Item<'de> = Checksum;

    fn add(&mut self, sum: Checksum) -> bool {
        self.0.extend(sha256(&sum.algorithm.unwrap_or_default(), &sum.checksum_value.unwrap_or_default()));
        true
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: Option<String>,
    related_spdx_element: Option<String>,
    relationship_type: Option<String>,
}

/// What the document describes, at most [`MAX_FINDINGS`].
#[derive(Default)]
struct Described(Vec<String>);

impl Fold for Described {
    type Item<'de> = Relationship;

    fn add(&mut self, relationship: Relationship) -> bool {
        let (from, to) = (relationship.spdx_element_id, relationship.related_spdx_element);
        let described = match relationship.relationship_type.as_deref() {
            Some("DESCRIBES") if from.as_deref() == Some(DOCUMENT) => to,
            Some("DESCRIBED_BY") if to.as_deref() == Some(DOCUMENT) => from,
            _ => None,
        };
        self.0.extend(described.filter(|_| self.0.len() < MAX_FINDINGS));
        true
    }
}

#[derive(Default)]
struct Ids(Vec<String>);

impl Fold for Ids {
    type Item<'de> = String;

    fn add(&mut self, id: String) -> bool {
        if self.0.len() < MAX_FINDINGS {
            self.0.push(id);
        }
        true
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extracted {
    license_id: Option<String>,
    name: Option<String>,
    extracted_text: Option<String>,
}

/// Reads a document, of 2.x or 3.0.
///
/// # Errors
/// It is not JSON of SPDX, of another version, or larger than is taken.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let head: Head = parse(bytes)?;
    let Some(version) = head.version else { return spdx3::read(piece, bytes) };
    let Some((_, format)) = VERSIONS.iter().find(|(name, _)| *name == version) else {
        return Err(unsupported(format!(
            "It is `{}`, which is not taken. Write SPDX 2.3 or 3.0, such as by `syft -o spdx-json@2.3`.",
            text::name(&version)
        )));
    };
    let document: Document = parse(bytes)?;
    let packages = or_none(document.packages).0;
    let extracted = or_none(document.has_extracted_licensing_infos).0;
    let extracted: BTreeMap<_, _> = extracted.iter().filter_map(extracted_kind).collect();
    let described =
        or_none(document.relationships).0.into_iter().chain(or_none(document.document_describes).0);
    let described: BTreeSet<String> = described.collect();
    let roots = packages.iter().filter(|package| described.contains(&package.id)).count();
    let mut subjects = Vec::new();
    let mut components = Vec::new();
    for package in packages {
        let is_described = described.contains(&package.id);
        let purl = or_none(package.external_refs).0;
        let version = package.version_info.as_deref();
        if is_described {
            subjects.extend(or_none(package.checksums).0);
            subjects.extend(subjects_of(purl.as_deref(), version));
        }
        if !is_described || roots > 1 {
            let licences = licences(package.license_concluded, package.license_declared, &extracted);
            components.push(component(&package.name, version, purl.as_deref(), licences));
        }
    }
    Ok(Facts { sboms: vec![sbom(piece, (*format).to_owned(), subjects, components)], ..Facts::default() })
}

/// What was concluded; where nothing was, what the package's maker declared.
fn licences(
    concluded: Option<String>,
    declared: Option<String>,
    extracted: &BTreeMap<&str, Licence>,
) -> Licences {
    let says = |licence: &String| !licence.is_empty() && licence != "NOASSERTION";
    let mut licences = Licences::default();
    if let Some(written) = concluded.filter(says).or(declared.filter(says)) {
        match extracted.get(written.as_str()) {
            Some(kind) => licences.add_known(&written, *kind),
            None => licences.add(&written),
        }
    }
    licences
}

/// A licence that is on no list, by its name or what its text begins with.
fn extracted_kind(extracted: &Extracted) -> Option<(&str, Licence)> {
    let id = extracted.license_id.as_deref()?;
    let texts = [Some(id), extracted.name.as_deref(), extracted.extracted_text.as_deref()];
    let known = texts.into_iter().flatten().map(classify).find(|kind| *kind != Licence::Unknown);
    known.map(|kind| (id, kind))
}

/// What is said of a document without a version.
pub(super) fn no_version() -> Problem {
    malformed("It does not say which version of SPDX it is. Send the file as the generator wrote it.")
}
