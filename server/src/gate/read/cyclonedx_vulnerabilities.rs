//! The vulnerabilities that a CycloneDX document lists: what a scanner found, and what somebody says of it.
//!
//! Format: `vulnerabilities` of CycloneDX 1.4 to 1.7: <https://cyclonedx.org/capabilities/vex/>.

use std::collections::BTreeMap;
use std::fmt;

use rollout_rules::gate::facts::{
    Exploitability, ExploitabilityStatus, Facts, MAX_FINDINGS, Proof, Scan, ScanKind, Severity, Tool,
};
use rollout_rules::ids::Digest;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lists::{Few, or_none};
use super::purl;
use super::text;
use super::vulnerability::{self, Vulnerability, severity_of_score, severity_of_vector, severity_of_word};
use super::words::{count, some_line, some_name};
use super::worst::Worst;
use crate::gate::json::{Fold, Folded};

/// A vulnerability.
#[derive(Deserialize)]
pub(super) struct Entry {
    id: Option<String>,
    references: Option<Folded<OtherNames>>,
    ratings: Option<Folded<Ratings>>,
    description: Option<String>,
    recommendation: Option<String>,
    affects: Option<Folded<Affected>>,
    analysis: Option<Analysis>,
}

#[derive(Deserialize)]
struct Analysis {
    state: Option<String>,
    justification: Option<String>,
}

#[derive(Deserialize)]
struct OtherName {
    id: Option<String>,
}

#[derive(Default)]
struct OtherNames(Few);

impl Fold for OtherNames {
    type Item<'de> = OtherName;

    fn add(&mut self, other: OtherName) -> bool {
        if let Some(id) = other.id {
            self.0.add(id);
        }
        true
    }
}

#[derive(Deserialize)]
struct Rating {
    score: Option<f64>,
    severity: Option<String>,
    vector: Option<String>,
}

/// The worst of the ratings.
#[derive(Default)]
struct Ratings(Severity);

impl Fold for Ratings {
    type Item<'de> = Rating;

    fn add(&mut self, rating: Rating) -> bool {
        let word = rating
            .severity
            .as_deref()
            .map(severity_of_word)
            .filter(|severity| *severity != Severity::Unknown);
        let score = || rating.score.map(severity_of_score).filter(|severity| *severity != Severity::Unknown);
        let vector = || rating.vector.as_deref().map(severity_of_vector);
        self.0 = self.0.max(word.or_else(score).or_else(vector).unwrap_or_default());
        true
    }
}

#[derive(Deserialize)]
struct AffectedPart {
    #[serde(rename = "ref")]
    reference: Option<String>,
}

#[derive(Default)]
struct Affected(Few);

impl Fold for Affected {
    type Item<'de> = AffectedPart;

    fn add(&mut self, part: AffectedPart) -> bool {
        if let Some(reference) = part.reference {
            self.0.add(reference);
        }
        true
    }
}

impl Entry {
    /// Whether somebody says something of it.
    pub(super) fn is_said_of(&self) -> bool {
        self.status().is_some()
    }

    fn status(&self) -> Option<ExploitabilityStatus> {
        match self.analysis.as_ref()?.state.as_deref()? {
            "not_affected" | "false_positive" => Some(ExploitabilityStatus::NotAffected),
            "exploitable" => Some(ExploitabilityStatus::Affected),
            "resolved" | "resolved_with_pedigree" => Some(ExploitabilityStatus::Fixed),
            "in_triage" => Some(ExploitabilityStatus::UnderInvestigation),
            _ => None,
        }
    }

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    fn aliases(&self) -> &[String] {
        self.references.as_ref().map_or(&[], |names| &names.0.0.0)
    }

    fn references(&self) -> &[String] {
        self.affects.as_ref().map_or(&[], |affected| &affected.0.0.0)
    }
}

/// A component that vulnerabilities point at.
pub(super) struct Named<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its version, or nothing.
    pub(super) version: &'a str,
    /// Its package URL.
    pub(super) purl: Option<&'a str>,
}

/// The document that vulnerabilities stand in.
pub(super) struct Parts<'a> {
    /// The piece it was read from.
    pub(super) piece: Digest,
    /// How many components it lists.
    pub(super) listed: u64,
    /// What wrote it.
    pub(super) tool: Option<Tool>,
    /// Its components by reference.
    pub(super) named: BTreeMap<&'a str, Named<'a>>,
}

impl Parts<'_> {
    /// What its vulnerabilities come to.
    pub(super) fn facts_of(&self, entries: &[Entry]) -> Facts {
        let mut facts = Facts::default();
        // Without components nothing was scanned: what is said of a vulnerability there is all there is to it.
        let found: Vec<_> = entries.iter().filter(|entry| self.listed > 0 || !entry.is_said_of()).collect();
        if !found.is_empty() {
            facts.scans.push(self.scan(&found));
        }
        facts.exploitability =
            entries.iter().filter_map(|entry| self.said_of(entry)).take(MAX_FINDINGS).collect();
        facts
    }

    fn scan(&self, entries: &[&Entry]) -> Scan {
        let mut findings = Worst::default();
        for entry in entries {
            for reference in entry.references() {
                findings.add(self.finding(entry, Some(reference)));
            }
            if entry.references().is_empty() {
                findings.add(self.finding(entry, None));
            }
        }
        let proof = if self.listed > 0 {
            Proof::Given(count(self.listed, "component", "components"))
        } else {
            Proof::Missing(
                "It lists vulnerabilities and no components, so it does not say what was scanned. Send the scanner's own report, or the \
                 list with its components."
                    .to_owned(),
            )
        };
        let tool = self.tool.clone().unwrap_or_else(|| Tool { name: "cyclonedx".to_owned(), version: None });
        let (total, findings) = findings.finish();
        Scan { piece: self.piece, kind: ScanKind::Vulnerabilities, tool, proof, total, findings }
    }

    fn finding(&self, entry: &Entry, reference: Option<&str>) -> rollout_rules::gate::facts::Finding {
        let target = reference.map(linked).unwrap_or_default();
        let named = self.named.get(target);
        let as_purl = Some(target).filter(|target| purl::is_purl(target));
        let purl = named.and_then(|named| named.purl).or(as_purl);
        let package = named.map_or_else(|| purl.map_or(target, purl::name), |named| named.name);
        let mut finding = vulnerability::finding(&Vulnerability {
            id: entry.id(),
            aliases: entry.aliases(),
            package: if package.is_empty() { "a component" } else { package },
            version: named.map(|named| named.version).unwrap_or_default(),
            purl,
            severity: entry.ratings.as_ref().map(|ratings| ratings.0.0).unwrap_or_default(),
            about: entry.description.as_deref(),
            fixes: &[],
            file: None,
        });
        // Only advice to upgrade says that there is a version to upgrade to.
        let advice = some_line(entry.recommendation.as_deref());
        finding.fix = advice.filter(|advice| is_upgrade(advice));
        finding
    }

    fn said_of(&self, entry: &Entry) -> Option<Exploitability> {
        let status = entry.status()?;
        let products = entry.references().iter().map(|reference| {
            let target = linked(reference);
            text::name(self.named.get(target).and_then(|named| named.purl).unwrap_or(target))
        });
        let justification = entry.analysis.as_ref().and_then(|analysis| analysis.justification.as_deref());
        Some(Exploitability {
            piece: self.piece,
            vulnerability: vulnerability::rule(entry.id(), entry.aliases()),
            products: products.filter(|product| !product.is_empty() && !product.contains('*')).collect(),
            status,
            justification: some_name(justification),
            signer: None,
        })
    }
}

fn is_upgrade(advice: &str) -> bool {
    let advice = advice.to_ascii_lowercase();
    ["upgrade", "update"].iter().any(|word| advice.starts_with(word))
}

/// A reference into another document, `urn:cdx:…/1#pkg:…`, as what it points at there.
fn linked(reference: &str) -> &str {
    let fragment = reference.strip_prefix("urn:cdx:").and_then(|link| link.split_once('#'));
    fragment.map_or(reference, |(_, target)| target)
}

/// What wrote the document: the first of its tools. Until 1.4 a list, since 1.5 also an object with a list of components.
#[derive(Default)]
pub(super) struct Tools(pub(super) Option<Tool>);

#[derive(Deserialize)]
struct RawTool {
    name: Option<String>,
    version: Option<String>,
}

#[derive(Default)]
struct FirstTool(Option<Tool>);

impl Fold for FirstTool {
    type Item<'de> = RawTool;

    fn add(&mut self, raw: RawTool) -> bool {
        if let (None, Some(name)) = (&self.0, some_name(raw.name.as_deref())) {
            self.0 = Some(Tool { name: name.to_lowercase(), version: some_name(raw.version.as_deref()) });
        }
        true
    }
}

impl<'de> Deserialize<'de> for Tools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToolsVisitor)
    }
}

struct ToolsVisitor;

impl<'de> Visitor<'de> for ToolsVisitor {
    type Value = Tools;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tools")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tools, A::Error> {
        let mut first = FirstTool::default();
        while let Some(tool) = list.next_element()? {
            first.add(tool);
        }
        Ok(Tools(first.0))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tools, A::Error> {
        let mut first = None;
        let mut is_twice = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "components" {
                if std::mem::replace(&mut is_twice, true) {
                    return Err(A::Error::duplicate_field("components"));
                }
                first = or_none(map.next_value::<Option<Folded<FirstTool>>>()?).0;
            } else {
                map.next_value::<serde::de::IgnoredAny>()?;
            }
        }
        Ok(Tools(first))
    }
}
