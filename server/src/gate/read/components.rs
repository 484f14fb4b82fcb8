//! What an SBOM lists, whatever its format: components with their licences, and the digests of what it is about.

use rollout_rules::gate::facts::{Component, Licence, MAX_COMPONENTS, MAX_FACT_BYTES, Sbom};
use rollout_rules::ids::Digest;
use rollout_rules::release::ArtifactDigest;

use super::licence::{all, classify, rank};
use super::purl;
use super::text;
use super::words::some_name;

/// Most digests that an SBOM names as its subject; the rest is left.
const MAX_SUBJECTS: usize = 100;

/// The licences of a component, all of which hold.
#[derive(Default)]
pub(super) struct Licences {
    kind: Option<Licence>,
    text: String,
}

impl Licences {
    /// Whether no licence was added.
    pub(super) fn is_empty(&self) -> bool {
        self.kind.is_none()
    }

    /// Adds a licence as it is written.
    pub(super) fn add(&mut self, written: &str) {
        self.add_known(written, classify(written));
    }

    /// Adds a licence whose kind is known.
    pub(super) fn add_known(&mut self, written: &str, kind: Licence) {
        self.kind = Some(self.kind.map_or(kind, |others| all(others, kind)));
        let written = text::name(written);
        if self.text.len() + written.len() > MAX_FACT_BYTES {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str(" AND ");
        }
        let is_choice = written.contains(" OR ") && !written.starts_with('(');
        self.text.push_str(&if is_choice { format!("({written})") } else { written });
    }
}

/// A component as it is kept.
pub(super) fn component(
    name: &str,
    version: Option<&str>,
    purl: Option<&str>,
    licences: Licences,
) -> Component {
    let text = licences.text;
    // A choice that stands alone needs no brackets.
    let alone = text
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'))
        .filter(|text| !text.contains(['(', ')']));
    Component {
        name: text::name(name),
        version: some_name(version),
        purl: some_name(purl),
        licence: licences.kind.unwrap_or_default(),
        licences: text::name(alone.unwrap_or(&text)),
    }
}

/// An SBOM. Of more components than are kept, those whose licences are strictest.
pub(super) fn sbom(
    piece: Digest,
    format: String,
    subjects: Vec<ArtifactDigest>,
    mut components: Vec<Component>,
) -> Sbom {
    let total = components.len() as u64;
    if components.len() > MAX_COMPONENTS {
        components.sort_by_key(|component| std::cmp::Reverse(rank(component.licence)));
        components.truncate(MAX_COMPONENTS);
    }
    Sbom { piece, format: text::name(&format), total, subjects: unique(subjects), components }
}

/// The digest that a hash names, if it is a SHA-256. `algorithm` in any spelling, such as `SHA-256` or `SHA256`.
pub(super) fn sha256(algorithm: &str, hex: &str) -> Option<ArtifactDigest> {
    let is_sha256 = algorithm.eq_ignore_ascii_case("SHA-256") || algorithm.eq_ignore_ascii_case("SHA256");
    is_sha256.then(|| format!("sha256:{}", hex.trim().to_ascii_lowercase()).parse().ok()).flatten()
}

/// The digests that what an SBOM is about has in its package URL or, as images do, for a version.
pub(super) fn subjects_of(purl: Option<&str>, version: Option<&str>) -> Vec<ArtifactDigest> {
    let mut found = purl.map(purl::digests).unwrap_or_default();
    found.extend(version.and_then(|version| version.parse::<ArtifactDigest>().ok()));
    found
}

fn unique(mut digests: Vec<ArtifactDigest>) -> Vec<ArtifactDigest> {
    digests.sort();
    digests.dedup();
    digests.truncate(MAX_SUBJECTS);
    digests
}
