//! Package URLs, as far as the gate needs them: what stays the same from version to version, and the digests in them.
//!
//! Format: package URLs (ECMA-427): <https://github.com/package-url/purl-spec>.

use rollout_rules::release::ArtifactDigest;

/// What package URLs begin with.
const SCHEME: &str = "pkg:";

/// Whether a text is a package URL.
pub(super) fn is_purl(text: &str) -> bool {
    text.strip_prefix(SCHEME)
        .is_some_and(|rest| rest.split_once('/').is_some_and(|(_, name)| !name.is_empty()))
}

/// A package URL without version, qualifiers and path, spelt as the index of the language does: names one package whatever its
/// version.
pub(super) fn unversioned(purl: &str) -> String {
    let (named, _) = parts(purl);
    if named.starts_with("pkg:pypi/") {
        named.to_ascii_lowercase().replace('_', "-")
    } else {
        named.to_owned()
    }
}

/// The package's name with its namespace, such as `@angular/core`.
pub(super) fn name(purl: &str) -> &str {
    let (named, _) = parts(purl);
    named.split_once('/').map_or(named, |(_, name)| name)
}

/// The package URL of a package of an ecosystem as OSV calls them; none: it has no index of its own.
pub(super) fn of_ecosystem(ecosystem: &str, name: &str, version: &str) -> Option<String> {
    let (family, _) = ecosystem.split_once(':').unwrap_or((ecosystem, ""));
    let kind = match family {
        "PyPI" => "pypi",
        "npm" => "npm",
        "crates.io" => "cargo",
        "Go" => "golang",
        "Maven" => "maven",
        "NuGet" => "nuget",
        "RubyGems" => "gem",
        "Packagist" => "composer",
        "Hex" => "hex",
        "Pub" => "pub",
        "Debian" => "deb/debian",
        "Ubuntu" => "deb/ubuntu",
        "Alpine" => "apk/alpine",
        _ => return None,
    };
    let name = match kind {
        "pypi" => name.to_ascii_lowercase().replace('_', "-"),
        "maven" => name.replace(':', "/"),
        "npm" => name.replacen('@', "%40", usize::from(name.starts_with('@'))),
        _ => name.to_owned(),
    };
    let version = if version.is_empty() { String::new() } else { format!("@{version}") };
    Some(format!("{SCHEME}{kind}/{name}{version}"))
}

/// The SHA-256 digests that a package URL holds: as its version, as those of images do, or as its checksum.
pub(super) fn digests(purl: &str) -> Vec<ArtifactDigest> {
    let (_, version) = parts(purl);
    let qualifiers =
        purl.split_once('?').map_or("", |(_, after)| after.split('#').next().unwrap_or_default());
    let checksums = qualifiers.split('&').filter_map(|pair| pair.strip_prefix("checksum=")).map(plain);
    let mut found: Vec<_> = plain(version).parse().ok().into_iter().collect();
    for list in checksums {
        found.extend(list.split(',').filter_map(|sum| sum.parse::<ArtifactDigest>().ok()));
    }
    found
}

/// What names the package, and its version.
fn parts(purl: &str) -> (&str, &str) {
    let end = purl.find(['?', '#']).unwrap_or(purl.len());
    let purl = &purl[..end];
    let name = purl.rfind('/').map_or(0, |slash| slash + 1);
    // An `@` that the name begins with is a scope's.
    match purl[name..].rfind('@').filter(|at| *at > 0) {
        Some(at) => (&purl[..name + at], &purl[name + at + 1..]),
        None => (purl, ""),
    }
}

/// Only these two are escaped in digests.
fn plain(text: &str) -> String {
    text.replace("%3A", ":").replace("%3a", ":").replace("%2C", ",").replace("%2c", ",").to_ascii_lowercase()
}
