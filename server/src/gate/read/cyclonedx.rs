//! CycloneDX 1.4 to 1.7 in JSON: an SBOM, what is known to be wrong with its components, and what somebody says of that. A
//! document without components in which something is said of every vulnerability is a VEX, and no SBOM.
//!
//! Format: CycloneDX (ECMA-424), JSON schemas 1.4 to 1.7: <https://cyclonedx.org/specification/overview/>.

use std::collections::BTreeMap;

use rollout_rules::gate::facts::{Component, Facts, Problem, ProblemCode};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;
use serde::Deserialize;

use super::components::{Licences, component, sbom, sha256, subjects_of};
use super::cyclonedx_vulnerabilities::{Entry, Named, Parts, Tools};
use super::lists::{Listed, or_none};
use super::text;
use super::words::{malformed, unsupported};
use crate::gate::json::{Fold, Folded, parse};

/// The versions that are taken.
const VERSIONS: [&str; 4] = ["1.4", "1.5", "1.6", "1.7"];
/// Kinds of components that are no packages and have no licence of their own.
const NO_PACKAGES: [&str; 2] = ["file", "cryptographic-asset"];

/// What a document says it is.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "specVersion")]
    version: Option<String>,
}

#[derive(Deserialize)]
struct Bom {
    #[serde(rename = "bomFormat")]
    format: Option<String>,
    #[serde(rename = "specVersion")]
    version: Option<String>,
    metadata: Option<Metadata>,
    components: Option<Folded<Components>>,
    vulnerabilities: Option<Folded<Listed<Entry>>>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    component: Option<Subject>,
    tools: Option<Tools>,
}

#[derive(Deserialize)]
struct Subject {
    version: Option<String>,
    purl: Option<String>,
    hashes: Option<Folded<Hashes>>,
}

#[derive(Deserialize)]
struct Hash {
    alg: Option<String>,
    content: Option<String>,
}

#[derive(Default)]
struct Hashes(Vec<ArtifactDigest>);

impl Fold for Hashes {
    type Item<'de> = Hash;

    fn add(&mut self, hash: Hash) -> bool {
        self.0.extend(sha256(&hash.alg.unwrap_or_default(), &hash.content.unwrap_or_default()));
        true
    }
}

#[derive(Deserialize)]
struct RawComponent {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "bom-ref")]
    reference: Option<String>,
    group: Option<String>,
    name: Option<String>,
    version: Option<String>,
    purl: Option<String>,
    licenses: Option<Folded<Choices>>,
    components: Option<Folded<Components>>,
}

/// Components and what they hold, in one list.
#[derive(Default)]
struct Components(Listed<(Option<String>, Component)>);

impl Fold for Components {
    type Item<'de> = RawComponent;

    fn add(&mut self, raw: RawComponent) -> bool {
        let is_package =
            raw.purl.is_some() || !NO_PACKAGES.contains(&raw.kind.as_deref().unwrap_or_default());
        let mut has_room = true;
        if is_package {
            let name = raw.name.unwrap_or_default();
            let group = raw.group.filter(|group| !group.is_empty());
            let name = group.map_or_else(|| name.clone(), |group| format!("{group}/{name}"));
            let licences = or_none(raw.licenses).0;
            let component = component(&name, raw.version.as_deref(), raw.purl.as_deref(), licences);
            has_room = self.0.push((raw.reference.as_deref().map(text::name), component));
        }
        has_room && self.0.append(or_none(raw.components).0)
    }
}

#[derive(Deserialize)]
struct LicenceChoice {
    license: Option<LicenceName>,
    expression: Option<String>,
}

#[derive(Deserialize)]
struct LicenceName {
    id: Option<String>,
    name: Option<String>,
}

#[derive(Default)]
struct Choices(Licences);

impl Fold for Choices {
    type Item<'de> = LicenceChoice;

    fn add(&mut self, choice: LicenceChoice) -> bool {
        let name = choice.license.and_then(|license| license.id.or(license.name));
        // An entry that names nothing is a licence that is not known.
        self.0.add(&choice.expression.or(name).unwrap_or_default());
        true
    }
}

/// Reads a document.
///
/// # Errors
/// It is not JSON of CycloneDX, of another version, or larger than is taken.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let bom: Bom = parse(bytes).map_err(|fault| other_version(bytes).unwrap_or(fault.into()))?;
    // 2.0 calls it otherwise, so the version is looked at first.
    let version = known_version(bom.version.as_deref())?;
    if bom.format.as_deref() != Some("CycloneDX") {
        return Err(malformed(
            "Its `bomFormat` is not `CycloneDX`. Send the file as the generator wrote it.",
        ));
    }
    let metadata = bom.metadata.unwrap_or_default();
    let listed = or_none(bom.components).0.0;
    let entries = or_none(bom.vulnerabilities).0;
    let named: BTreeMap<&str, Named<'_>> = listed.iter().filter_map(named).collect();
    let parts =
        Parts { piece, listed: listed.len() as u64, tool: metadata.tools.unwrap_or_default().0, named };
    let mut facts = parts.facts_of(&entries);
    let is_vex = listed.is_empty() && !entries.is_empty() && entries.iter().all(Entry::is_said_of);
    if !is_vex {
        let components = listed.into_iter().map(|(_, component)| component).collect();
        facts.sboms.push(sbom(
            piece,
            format!("CycloneDX {version}"),
            subjects(metadata.component),
            components,
        ));
    }
    Ok(facts)
}

fn known_version(version: Option<&str>) -> Result<&str, Problem> {
    let version = version.ok_or_else(|| {
        malformed("It does not say its `specVersion`. Send the file as the generator wrote it.")
    })?;
    if VERSIONS.contains(&version) {
        return Ok(version);
    }
    let shown = text::name(version);
    let why = match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major >= 2 => {
            "has a new layout in which other programs do not find what they look for"
        }
        Some(1) if matches!(version, "1.0" | "1.1" | "1.2" | "1.3") => {
            "is too old to say what the gate asks for"
        }
        _ => "is not known",
    };
    Err(unsupported(format!(
        "It is CycloneDX {shown}, which {why}. Write 1.4, 1.5, 1.6 or 1.7: generators have an option for it, such as \
         `--spec-version 1.6`."
    )))
}

/// A document of another version may have another layout: what is wrong with it then is its version.
fn other_version(bytes: &[u8]) -> Option<Problem> {
    let head: Head = parse(bytes).ok()?;
    let problem = known_version(Some(head.version.as_deref()?)).err()?;
    (problem.code == ProblemCode::UnsupportedVersion).then_some(problem)
}

fn subjects(subject: Option<Subject>) -> Vec<ArtifactDigest> {
    let Some(subject) = subject else { return Vec::new() };
    let mut found = subjects_of(subject.purl.as_deref(), subject.version.as_deref());
    found.extend(or_none(subject.hashes).0);
    found
}

fn named((reference, component): &(Option<String>, Component)) -> Option<(&str, Named<'_>)> {
    let named = Named {
        name: &component.name,
        version: component.version.as_deref().unwrap_or_default(),
        purl: component.purl.as_deref(),
    };
    reference.as_deref().map(|reference| (reference, named))
}
