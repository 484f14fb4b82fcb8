//! SPDX 3.0 in JSON-LD: one list of elements that point at each other.
//!
//! Format: SPDX 3.0.1: <https://spdx.github.io/spdx-spec/v3.0.1/>.

use std::collections::{BTreeMap, BTreeSet};

use rollout_rules::gate::facts::{Facts, Licence, Problem};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;
use serde::Deserialize;

use super::components::{Licences, component, sbom, sha256, subjects_of};
use super::lists::{Listed, OneOrMore, or_none};
use super::purl;
use super::spdx::no_version;
use super::text;
use super::words::unsupported;
use crate::gate::json::{Fold, Folded, parse};

/// Where the licences of SPDX's list have their names.
const LISTED: &str = "https://spdx.org/licenses/";
/// What the address of the context holds before the version.
const CONTEXT: &str = "spdx.org/rdf/";

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@context")]
    context: Option<OneOrMore>,
    #[serde(rename = "@graph")]
    graph: Option<Folded<Graph>>,
}

/// An element of any kind, with what is read of each.
#[derive(Deserialize)]
struct Element {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "spdxId")]
    id: Option<String>,
    /// What elements are called that have no name outside the document.
    #[serde(rename = "@id")]
    local_id: Option<String>,
    #[serde(rename = "specVersion")]
    spec_version: Option<String>,
    name: Option<String>,
    #[serde(rename = "software_packageVersion")]
    version: Option<String>,
    #[serde(rename = "software_packageUrl")]
    purl: Option<String>,
    #[serde(rename = "verifiedUsing")]
    hashes: Option<Folded<Hashes>>,
    #[serde(rename = "externalIdentifier")]
    identifiers: Option<Folded<FirstPurl>>,
    #[serde(rename = "rootElement")]
    roots: Option<OneOrMore>,
    from: Option<String>,
    to: Option<OneOrMore>,
    #[serde(rename = "relationshipType")]
    relationship: Option<String>,
    #[serde(rename = "simplelicensing_licenseExpression")]
    expression: Option<String>,
}

/// Hashes stand in the element, or are pointed at, which no generator is known to do.
#[derive(Deserialize)]
#[serde(untagged)]
enum HashOrPointer {
    Hash {
        algorithm: Option<String>,
        #[serde(rename = "hashValue")]
        value: Option<String>,
    },
    Pointer(serde::de::IgnoredAny),
}

#[derive(Default)]
struct Hashes(Vec<ArtifactDigest>);

impl Fold for Hashes {
    type Item<'de> = HashOrPointer;

    fn add(&mut self, hash: HashOrPointer) -> bool {
        if let HashOrPointer::Hash { algorithm: Some(algorithm), value: Some(value) } = hash {
            self.0.extend(sha256(&algorithm, &value));
        }
        true
    }
}

#[derive(Deserialize)]
struct ExternalIdentifier {
    identifier: Option<String>,
}

#[derive(Default)]
struct FirstPurl(Option<String>);

impl Fold for FirstPurl {
    type Item<'de> = ExternalIdentifier;

    fn add(&mut self, external: ExternalIdentifier) -> bool {
        let purl = external.identifier.filter(|identifier| purl::is_purl(identifier));
        self.0 = self.0.take().or(purl);
        true
    }
}

struct Package {
    id: String,
    name: String,
    version: Option<String>,
    purl: Option<String>,
    digests: Vec<ArtifactDigest>,
}

/// Texts by the name of an element. All that are said of one hold.
type Texts = BTreeMap<String, Vec<String>>;

/// What is kept of the list.
#[derive(Default)]
struct Graph {
    version: Option<String>,
    packages: Listed<Package>,
    roots: BTreeSet<String>,
    concluded: Texts,
    declared: Texts,
    expressions: Texts,
}

impl Fold for Graph {
    type Item<'de> = Element;

    fn add(&mut self, element: Element) -> bool {
        let id = element.id.or(element.local_id).unwrap_or_default();
        match element.kind.as_deref().unwrap_or_default() {
            "CreationInfo" => self.version = self.version.take().or(element.spec_version),
            "SpdxDocument" | "Bom" | "software_Sbom" => {
                self.roots.extend(element.roots.unwrap_or_default().0)
            }
            "software_Package" | "ai_AIPackage" | "dataset_DatasetPackage" => {
                return self.packages.push(Package {
                    id,
                    name: element.name.unwrap_or_default(),
                    version: element.version,
                    purl: element.purl.or(or_none(element.identifiers).0),
                    digests: or_none(element.hashes).0,
                });
            }
            "Relationship" | "LifecycleScopedRelationship" => {
                let of = match element.relationship.as_deref() {
                    Some("hasConcludedLicense") => &mut self.concluded,
                    Some("hasDeclaredLicense") => &mut self.declared,
                    _ => return true,
                };
                let from = of.entry(element.from.unwrap_or_default()).or_default();
                from.extend(element.to.unwrap_or_default().0);
            }
            "simplelicensing_LicenseExpression" => {
                self.expressions.entry(id).or_default().extend(element.expression);
            }
            _ => {}
        }
        true
    }
}

/// Reads a document.
///
/// # Errors
/// It is not JSON-LD of SPDX, of another version, or larger than is taken.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let document: Document = parse(bytes)?;
    let graph = or_none(document.graph);
    let version = graph.version.or_else(|| of_context(document.context)).ok_or_else(no_version)?;
    if version != "3.0" && !version.starts_with("3.0.") {
        return Err(unsupported(format!(
            "It is SPDX {}, which is not taken. Write SPDX 2.3 or 3.0, such as by `syft -o spdx-json@2.3`.",
            text::name(&version)
        )));
    }
    let packages = graph.packages.0;
    let roots = packages.iter().filter(|package| graph.roots.contains(&package.id)).count();
    let mut subjects = Vec::new();
    let mut components = Vec::new();
    for package in packages {
        let is_root = graph.roots.contains(&package.id);
        let (version, purl) = (package.version.as_deref(), package.purl.as_deref());
        if is_root {
            subjects.extend(package.digests);
            subjects.extend(subjects_of(purl, version));
        }
        if !is_root || roots > 1 {
            let written = |of: &Texts| {
                of.get(&package.id)
                    .map(|to| licences(to, &graph.expressions))
                    .filter(|licences| !licences.is_empty())
            };
            let licences = written(&graph.concluded).or_else(|| written(&graph.declared)).unwrap_or_default();
            components.push(component(&package.name, version, purl, licences));
        }
    }
    Ok(Facts {
        sboms: vec![sbom(piece, format!("SPDX {version}"), subjects, components)],
        ..Facts::default()
    })
}

/// The version in the address of the context, `https://spdx.org/rdf/3.0.1/spdx-context.jsonld`.
fn of_context(context: Option<OneOrMore>) -> Option<String> {
    let context = context.unwrap_or_default().0;
    let after = context.iter().find_map(|address| address.split_once(CONTEXT))?.1;
    after.split('/').next().map(str::to_owned)
}

/// What a relationship points at: expressions, licences of the list by their address, or that nothing is known.
fn licences(to: &[String], expressions: &Texts) -> Licences {
    let mut licences = Licences::default();
    for id in to {
        if let Some(written) = expressions.get(id) {
            written
                .iter()
                .filter(|written| *written != "NOASSERTION")
                .for_each(|written| licences.add(written));
        } else if let Some(name) = id.strip_prefix(LISTED) {
            licences.add(name);
        } else if !id.ends_with("NoAssertionLicense") {
            licences.add_known(id, Licence::Unknown);
        }
    }
    licences
}
