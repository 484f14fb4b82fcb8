//! OSV-Scanner's JSON: packages by the file that names them, with their vulnerabilities in groups of those that are the same.
//!
//! Format: the JSON of OSV-Scanner 1 and 2 around OSV 1 records: <https://ossf.github.io/osv-schema/>.

use rollout_rules::gate::facts::{Facts, Finding, Problem, Proof, Scan, ScanKind, Severity, Tool};
use rollout_rules::ids::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::lists::{Few, Listed, or_none};
use super::purl;
use super::vulnerability::{self, Vulnerability, severity_of_score, severity_of_vector, severity_of_word};
use super::words::{count, some_name};
use super::worst::Worst;
use crate::gate::json::{Fold, Folded, parse};

#[derive(Deserialize)]
struct Report {
    results: Option<Folded<Found>>,
}

#[derive(Deserialize)]
struct Source {
    source: Option<Place>,
    packages: Option<Folded<Packages>>,
}

#[derive(Deserialize)]
struct Place {
    path: Option<String>,
}

#[derive(Deserialize)]
struct Package {
    package: Name,
    vulnerabilities: Option<Folded<Listed<Advisory>>>,
    groups: Option<Folded<Listed<Group>>>,
}

#[derive(Default, Deserialize)]
struct Name {
    name: Option<String>,
    version: Option<String>,
    ecosystem: Option<String>,
    purl: Option<String>,
}

#[derive(Default, Deserialize)]
struct Group {
    ids: Option<Folded<Few>>,
    aliases: Option<Folded<Few>>,
    max_severity: Option<String>,
}

#[derive(Deserialize)]
struct Advisory {
    id: String,
    aliases: Option<Folded<Few>>,
    summary: Option<String>,
    severity: Option<Folded<Vectors>>,
    affected: Option<Folded<Listed<Affected>>>,
    database_specific: Option<DatabaseSpecific>,
}

#[derive(Deserialize)]
struct Vector {
    score: Option<String>,
}

/// The worst of the vectors.
#[derive(Default)]
struct Vectors(Severity);

impl Fold for Vectors {
    type Item<'de> = Vector;

    fn add(&mut self, vector: Vector) -> bool {
        self.0 = self.0.max(vector.score.as_deref().map(severity_of_vector).unwrap_or_default());
        true
    }
}

/// Each database says here what it likes.
#[derive(Deserialize)]
struct DatabaseSpecific {
    severity: Option<TextOrOther>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrOther {
    Text(String),
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Affected {
    package: Option<Name>,
    ranges: Option<Folded<Fixes>>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(rename = "type")]
    kind: Option<String>,
    events: Option<Folded<FixedIn>>,
}

#[derive(Deserialize)]
struct Event {
    fixed: Option<String>,
}

#[derive(Default)]
struct FixedIn(Few);

impl Fold for FixedIn {
    type Item<'de> = Event;

    fn add(&mut self, event: Event) -> bool {
        if let Some(fixed) = event.fixed {
            self.0.add(fixed);
        }
        true
    }
}

/// Versions that mend; commits, which ranges of Git name, are none.
#[derive(Default)]
struct Fixes(Few);

impl Fold for Fixes {
    type Item<'de> = Range;

    fn add(&mut self, range: Range) -> bool {
        if range.kind.as_deref() != Some("GIT") {
            self.0.extend(or_none(range.events).0.0);
        }
        true
    }
}

/// The packages of a file.
#[derive(Default)]
struct Packages {
    total: u64,
    findings: Listed<Finding>,
}

impl Fold for Packages {
    type Item<'de> = Package;

    fn add(&mut self, package: Package) -> bool {
        self.total += 1;
        self.look_at(package)
    }
}

impl Packages {
    /// Adds what is known of a package. Whether it fits.
    fn look_at(&mut self, package: Package) -> bool {
        let advisories = or_none(package.vulnerabilities).0;
        let groups = or_none(package.groups).0;
        let mut has_room = true;
        let mut is_grouped = vec![false; advisories.len()];
        for group in groups {
            let ids = or_none(group.ids).0;
            let members =
                advisories.iter().zip(&mut is_grouped).filter(|(advisory, _)| ids.contains(&advisory.id));
            let members: Vec<_> =
                members.map(|(advisory, is_grouped)| (*is_grouped = true, advisory).1).collect();
            let names = ids.into_iter().chain(or_none(group.aliases).0).collect();
            has_room &= self.push(&package.package, &members, names, group.max_severity.as_deref());
        }
        for (advisory, _) in advisories.iter().zip(is_grouped).filter(|(_, is_grouped)| !is_grouped) {
            has_room &= self.push(&package.package, &[advisory], Vec::new(), None);
        }
        has_room
    }

    /// Adds what several advisories say of one vulnerability. Whether it fits.
    fn push(
        &mut self,
        package: &Name,
        members: &[&Advisory],
        mut names: Vec<String>,
        score: Option<&str>,
    ) -> bool {
        names.extend(
            members.iter().flat_map(|member| member.aliases.iter().flat_map(|aliases| &aliases.0.0)).cloned(),
        );
        let name = package.name.as_deref().unwrap_or_default();
        let version = package.version.as_deref().unwrap_or_default();
        let ecosystem = package.ecosystem.as_deref().unwrap_or_default();
        let purl = package.purl.clone().or_else(|| purl::of_ecosystem(ecosystem, name, version));
        let score = score.and_then(|score| score.parse().ok()).map(severity_of_score).unwrap_or_default();
        let id =
            members.first().map(|member| member.id.as_str()).or_else(|| names.first().map(String::as_str));
        self.findings.push(vulnerability::finding(&Vulnerability {
            id: id.unwrap_or_default(),
            aliases: &names,
            package: name,
            version,
            purl: purl.as_deref(),
            severity: if score == Severity::Unknown { severity(members) } else { score },
            about: members.iter().find_map(|member| member.summary.as_deref()),
            fixes: &fixes(members, name, version),
            file: None,
        }))
    }
}

/// What all files come to.
#[derive(Default)]
struct Found {
    sources: u64,
    packages: u64,
    findings: Worst,
}

impl Fold for Found {
    type Item<'de> = Source;

    fn add(&mut self, source: Source) -> bool {
        let packages = or_none(source.packages);
        let file = source.source.and_then(|place| some_name(place.path.as_deref()));
        self.sources += u64::from(packages.total > 0);
        self.packages += packages.total;
        for finding in packages.findings.0 {
            self.findings.add(Finding { file: file.clone(), ..finding });
        }
        true
    }
}

/// Reads a report.
///
/// # Errors
/// It is not one of OSV-Scanner's.
pub(super) fn read(piece: Digest, bytes: &[u8]) -> Result<Facts, Problem> {
    let report: Report = parse(bytes)?;
    let Found { sources, packages, findings } = or_none(report.results);
    let proof = if packages == 0 {
        Proof::Missing(
            "OSV-Scanner's report names no package, so it does not say that any was looked up. Run `osv-scanner scan source \
             --all-packages --format json .` where the app's lock file is."
                .to_owned(),
        )
    } else {
        let files = count(sources, "file", "files");
        Proof::Given(format!("{} of {files}", count(packages, "package", "packages")))
    };
    let (total, findings) = findings.finish();
    let tool = Tool { name: "osv-scanner".to_owned(), version: None };
    let scan = Scan { piece, kind: ScanKind::Vulnerabilities, tool, proof, total, findings };
    Ok(Facts { scans: vec![scan], ..Facts::default() })
}

/// By the vectors; where there is none, in the word of the database.
fn severity(members: &[&Advisory]) -> Severity {
    let scored =
        members.iter().map(|member| member.severity.as_ref().map(|vectors| vectors.0.0).unwrap_or_default());
    let scored = scored.max().unwrap_or_default();
    if scored != Severity::Unknown {
        return scored;
    }
    let words =
        members.iter().filter_map(|member| match member.database_specific.as_ref()?.severity.as_ref()? {
            TextOrOther::Text(word) => Some(severity_of_word(word)),
            TextOrOther::Other(_) => None,
        });
    words.max().unwrap_or_default()
}

/// The lowest version above the installed one that mends it: each branch of a package has a fix of its own. All of them, if none
/// is known to be above.
fn fixes(members: &[&Advisory], name: &str, version: &str) -> Vec<String> {
    let affected =
        members.iter().flat_map(|member| member.affected.iter().flat_map(|affected| &affected.0.0));
    let of_package = affected.filter(|affected| {
        let package = affected.package.as_ref().and_then(|package| package.name.as_deref());
        package.is_none_or(|package| package.eq_ignore_ascii_case(name))
    });
    let fixes = of_package.flat_map(|affected| affected.ranges.iter().flat_map(|ranges| &ranges.0.0.0));
    let mut fixes: Vec<String> = fixes.cloned().collect();
    fixes.sort_by_cached_key(|fix| numbers(fix));
    fixes.dedup();
    let installed = numbers(version);
    match fixes.iter().find(|fix| !installed.is_empty() && numbers(fix) > installed) {
        Some(lowest) => vec![lowest.clone()],
        None => fixes,
    }
}

/// The numbers of a version, in order.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}
