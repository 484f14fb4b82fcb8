//! Grype's JSON: matches of packages and vulnerabilities. It does not list the packages that it looked at, so what it shows is what it
//! was pointed at and with which database.
//!
//! What Grype was told to leave out counts as found: whether it may be, the gate decides by a waiver.
//!
//! Format: the JSON of Grype, which only its program writes down: <https://github.com/anchore/grype/tree/main/grype/presenter/models>.

use std::fmt;

use rollout_rules::gate::facts::{Facts, Finding, Problem, Proof, Scan, ScanKind, Severity, Tool};
use rollout_rules::ids::Digest;
use rollout_rules::time::{DAY, UnixMs};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::lists::{Few, Listed, or_none};
use super::text;
use super::vulnerability::{self, Vulnerability, severity_of_score, severity_of_vector, severity_of_word};
use super::words::{malformed, some_name};
use super::worst::Worst;
use crate::gate::json::{Fold, Folded, parse};

/// A database older than this, in days, is worth a word: Grype itself refuses one by default.
const OLD_DAYS: u64 = 5;
/// With a database older than this, in days, nothing is shown: what became known since is not in it.
const TOO_OLD_DAYS: u64 = 60;
/// What Grype calls places that may hold nothing.
const FOLDERS: [&str; 2] = ["directory", "file"];

#[derive(Deserialize)]
struct Report {
    // Without it nothing was matched with anything, so it has to be there.
    matches: Folded<Matches>,
    #[serde(rename = "ignoredMatches")]
    ignored: Option<Folded<Ignored>>,
    source: Option<Source>,
    descriptor: Descriptor,
}

#[derive(Deserialize)]
struct Descriptor {
    name: Option<String>,
    version: Option<String>,
    timestamp: Option<String>,
    db: Option<Database>,
}

/// Newer releases say it in `status`, older ones beside.
#[derive(Deserialize)]
struct Database {
    status: Option<DatabaseStatus>,
    built: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct DatabaseStatus {
    built: Option<String>,
    valid: Option<bool>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: Option<String>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Match {
    vulnerability: Advisory,
    #[serde(rename = "relatedVulnerabilities")]
    related: Option<Folded<Related>>,
    artifact: Artifact,
    #[serde(rename = "appliedIgnoreRules")]
    rules: Option<Folded<Rules>>,
}

#[derive(Deserialize)]
struct Advisory {
    id: String,
    severity: Option<String>,
    description: Option<String>,
    cvss: Option<Folded<Scores>>,
    fix: Option<Fix>,
}

#[derive(Deserialize)]
struct Fix {
    versions: Option<Folded<Few>>,
    state: Option<String>,
}

#[derive(Deserialize)]
struct Artifact {
    name: String,
    version: Option<String>,
    purl: Option<String>,
    locations: Option<Folded<Locations>>,
}

#[derive(Deserialize)]
struct Location {
    path: Option<String>,
}

/// The first of the places.
#[derive(Default)]
struct Locations(Option<String>);

impl Fold for Locations {
    type Item<'de> = Location;

    fn add(&mut self, location: Location) -> bool {
        self.0 = self.0.take().or(location.path);
        true
    }
}

#[derive(Deserialize)]
struct Cvss {
    vector: Option<String>,
    metrics: Option<Metrics>,
}

#[derive(Deserialize)]
struct Metrics {
    #[serde(rename = "baseScore")]
    base_score: Option<f64>,
}

/// The worst of the scores.
#[derive(Default)]
struct Scores(Severity);

impl Fold for Scores {
    type Item<'de> = Cvss;

    fn add(&mut self, cvss: Cvss) -> bool {
        let score = cvss.metrics.and_then(|metrics| metrics.base_score).map(severity_of_score);
        let vector = || cvss.vector.as_deref().map(severity_of_vector);
        self.0 = self.0.max(score.or_else(vector).unwrap_or_default());
        true
    }
}

#[derive(Deserialize)]
struct RelatedAdvisory {
    id: Option<String>,
    cvss: Option<Folded<Scores>>,
}

/// Other names, and the worst score under any of them.
#[derive(Default)]
struct Related(Few, Severity);

impl Fold for Related {
    type Item<'de> = RelatedAdvisory;

    fn add(&mut self, advisory: RelatedAdvisory) -> bool {
        if let Some(id) = advisory.id {
            self.0.add(id);
        }
        self.1 = self.1.max(or_none(advisory.cvss).0);
        true
    }
}

#[derive(Default)]
struct Matches(Worst);

impl Fold for Matches {
    type Item<'de> = Match;

    fn add(&mut self, found: Match) -> bool {
        self.0.add(finding(found));
        true
    }
}

fn finding(found: Match) -> Finding {
    let Related(aliases, related) = or_none(found.related);
    let advisory = found.vulnerability;
    let word = advisory.severity.as_deref().map(severity_of_word).unwrap_or_default();
    let score = or_none(advisory.cvss).0.max(related);
    let fix = advisory.fix.filter(|fix| fix.state.as_deref().is_none_or(|state| state == "fixed"));
    vulnerability::finding(&Vulnerability {
        id: &advisory.id,
        aliases: &aliases.0,
        package: &found.artifact.name,
        version: found.artifact.version.as_deref().unwrap_or_default(),
        purl: found.artifact.purl.as_deref().filter(|purl| !purl.is_empty()),
        severity: if word == Severity::Unknown { score } else { word },
        about: advisory.description.as_deref(),
        fixes: &fix.map(|fix| or_none(fix.versions)).unwrap_or_default().0,
        file: or_none(found.artifact.locations).0.as_deref(),
    })
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "match-type")]
    kind: Option<String>,
    package: Option<RulePackage>,
}

#[derive(Deserialize)]
struct RulePackage {
    #[serde(rename = "upstream-name")]
    upstream: Option<String>,
}

/// Whether one is Grype's own: it leaves out the kernel's vulnerabilities for packages that hold its headers only.
#[derive(Default)]
struct Rules(bool);

impl Fold for Rules {
    type Item<'de> = Rule;

    fn add(&mut self, rule: Rule) -> bool {
        let upstream = rule.package.and_then(|package| package.upstream).unwrap_or_default();
        let of_kernel = matches!(upstream.as_str(), "kernel" | "linux" | "linux.*");
        self.0 |= of_kernel && rule.kind.as_deref() == Some("exact-indirect-match");
        true
    }
}

#[derive(Default)]
struct Ignored(Listed<Finding>);

impl Fold for Ignored {
    type Item<'de> = Match;

    fn add(&mut self, mut found: Match) -> bool {
        let Rules(is_own) = or_none(found.rules.take());
        is_own || self.0.push(finding(found))
    }
}

/// Reads a report. Also tells whether nothing was found in a folder: [`super::merge`] takes that beside an SBOM.
///
/// # Errors
/// It is not one of Grype's.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<(Facts, bool), Problem> {
    let report: Report = parse(bytes)?;
    let descriptor = report.descriptor;
    if descriptor.name.as_deref() != Some("grype") {
        return Err(malformed(
            "Its `descriptor` does not name Grype. Send the file that `grype -o json` writes.",
        ));
    }
    let is_folder = report
        .source
        .as_ref()
        .and_then(|source| source.kind.as_deref())
        .is_some_and(|kind| FOLDERS.contains(&kind));
    let mut proof = proof(report.source, descriptor.db, descriptor.timestamp.as_deref());
    let Folded(Matches(mut found)) = report.matches;
    or_none(report.ignored).0.0.into_iter().for_each(|ignored| found.add(ignored));
    let (total, findings) = found.finish();
    let only_lists = total == 0 && is_folder && matches!(proof, Proof::Given(_));
    if only_lists {
        proof = Proof::Missing(
            "Grype found nothing in a folder, and does not say whether it found any package there: of an empty folder it says the same. \
             Hand in an SBOM beside it, or let Grype read that: `syft . -o cyclonedx-json=sbom.json`, then `grype sbom:sbom.json -o json`."
                .to_owned(),
        );
    }
    let tool = Tool { name: "grype".to_owned(), version: some_name(descriptor.version.as_deref()) };
    let scan = Scan { piece, kind: ScanKind::Vulnerabilities, tool, proof, total, findings };
    Ok((Facts { scans: vec![scan], ..Facts::default() }, only_lists))
}

fn proof(source: Option<Source>, database: Option<Database>, at: Option<&str>) -> Proof {
    let kind = source.as_ref().and_then(|source| some_name(source.kind.as_deref()));
    let target = source.and_then(|source| source.target).and_then(|target| some_name(target.0.as_deref()));
    let (Some(kind), Some(target)) = (kind, target) else {
        return Proof::Missing(
            "Grype's report does not say what it looked at. Run `grype dir:. -o json` in the app's folder, or name its image or \
             SBOM."
                .to_owned(),
        );
    };
    let status = database.map(|database| match database.status {
        Some(status) => (status.built, status.valid != Some(false), status.error),
        None => (database.built, true, database.error),
    });
    let Some((Some(built), true, None | Some(""))) =
        status.as_ref().map(|(built, valid, error)| (built.as_deref(), *valid, error.as_deref()))
    else {
        return Proof::Missing(
            "Grype's report does not say that its database of vulnerabilities was in order. Run `grype db update`, then Grype \
             again."
                .to_owned(),
        );
    };
    let day = built.split('T').next().unwrap_or(built);
    let age = match days_old(built, at) {
        Some(days) if days > TOO_OLD_DAYS => {
            return Proof::Missing(format!(
                "Grype's database of vulnerabilities was {days} days old when it was used: what became known since is not in it. Run \
                 `grype db update`, then Grype again."
            ));
        }
        Some(days) if days >= OLD_DAYS => format!(", {days} days old when it was used"),
        _ => String::new(),
    };
    Proof::Given(text::name(&format!("`{target}` ({kind}), with a database of {day}{age}")))
}

/// How old a database was when it was used.
fn days_old(built: &str, at: Option<&str>) -> Option<u64> {
    let at = at.and_then(UnixMs::parse_rfc3339)?;
    Some(at.since(UnixMs::parse_rfc3339(built)?).0 / DAY.0)
}

/// A folder or file by its path; an image by what it was called.
struct Target(Option<String>);

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TargetVisitor)
    }
}

struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path or an image")
    }

    fn visit_str<E>(self, path: &str) -> Result<Target, E> {
        Ok(Target(Some(path.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Target, A::Error> {
        let mut name = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "userInput" {
                if name.is_some() {
                    return Err(A::Error::duplicate_field("userInput"));
                }
                name = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Target(name))
    }
}
