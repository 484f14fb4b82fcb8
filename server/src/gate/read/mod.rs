//! Turns evidence, which anybody may have written, into facts. Nothing here judges, and nothing here fails: what cannot be read is
//! named as what it is, with why, so that it fails closed.
//!
//! Every format is told by content; only a list without items, which anything may hold, is taken for a report of gitleaks that found
//! nothing where its name says so. Everything is bounded: a piece in size, nesting and number of parts, the facts in number and
//! length. Secrets, and code that may hold one, are never taken.

mod checkov;
mod cobertura;
mod components;
mod coverage;
mod cyclonedx;
mod cyclonedx_vulnerabilities;
mod detect_secrets;
mod diff;
mod gitleaks;
mod grype;
mod junit;
mod lcov;
mod licence;
mod licence_names;
mod lists;
mod merge;
mod of_app;
mod openvex;
mod osv;
mod own;
mod purl;
mod ran_names;
mod recognise;
mod redact;
mod sarif;
mod sarif_rules;
mod spdx;
mod spdx3;
#[cfg(test)]
mod tests;
mod text;
mod trivy;
mod unpack;
mod vulnerability;
mod words;
mod worst;
mod xml;

pub use coverage::CoveredFile;
pub(super) use detect_secrets::{Audit, read_audit};
pub use diff::Changed;
pub use merge::merge;
pub use redact::redacted;
use rollout_rules::gate::facts::{Facts, Format, Piece, Problem, ProblemCode};
use rollout_rules::ids::Digest;
use rollout_rules::time::UnixMs;
pub(super) use text::cut;
pub use unpack::MAX_PIECE_BYTES;

use crate::gate::json;

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What was handed in, and why nothing was taken from it if so.
    pub piece: Piece,
    /// What was read from it. Its pieces are empty: [`merge`] sets them.
    pub facts: Facts,
    /// Coverage line by line, for joining with a diff.
    pub lines: Vec<CoveredFile>,
    /// What a diff changed.
    pub changed: Option<Changed>,
    /// Its format lists findings and nothing else, and it has none: [`merge`] looks whether other evidence shows that there was
    /// something to look at.
    pub lists_findings_only: bool,
}

/// Reads a piece of evidence. Never fails: a problem is told in the piece. `name` is shown to people, and says of a list without items
/// whether gitleaks wrote it.
pub fn read(name: &str, bytes: &[u8]) -> Reading {
    let (digest, size, format, taken) = match unpack::unpack(bytes) {
        Ok(unpacked) => {
            let digest = Digest::of(&unpacked);
            let format = recognise::recognise(&unpacked);
            (digest, unpacked.len(), format, take(name, digest, format, json::unmarked(&unpacked)))
        }
        Err(problem) => (Digest::of(bytes), bytes.len(), None, Err(problem)),
    };
    let (share, problem) = match taken {
        Ok(share) => (share, None),
        Err(problem) => (Share::default(), Some(problem)),
    };
    Reading {
        piece: Piece {
            digest,
            name: text::name(name),
            format,
            bytes: size as u64,
            received_at: UnixMs::default(),
            added: false,
            problem,
        },
        facts: share.facts,
        lines: share.lines,
        changed: share.changed,
        lists_findings_only: share.lists_findings_only,
    }
}

/// What a file is, by content; none if it is nothing that is known, or too large to be read. Packed files are unpacked for it.
pub fn recognise(bytes: &[u8]) -> Option<Format> {
    recognise::recognise(&unpack::unpack(bytes).ok()?)
}

/// The bytes of a piece, unpacked if they are packed; none if they are too many.
pub fn unpacked(bytes: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    unpack::unpack(bytes).ok()
}

/// How text in UTF-16 begins, of either order of bytes.
const UTF_16: [[u8; 2]; 2] = [[0xff, 0xfe], [0xfe, 0xff]];

/// What was taken from a piece.
#[derive(Default)]
struct Share {
    facts: Facts,
    lines: Vec<CoveredFile>,
    changed: Option<Changed>,
    lists_findings_only: bool,
}

impl From<Facts> for Share {
    fn from(facts: Facts) -> Share {
        Share { facts, ..Share::default() }
    }
}

fn take(name: &str, piece: Digest, format: Option<Format>, bytes: &[u8]) -> Result<Share, Problem> {
    let Some(format) = format else { return Err(unknown(bytes)) };
    let measured = |(facts, lines): (Facts, Vec<CoveredFile>)| Share { lines, ..facts.into() };
    let listed = |(facts, lists_findings_only): (Facts, bool)| Share { lists_findings_only, ..facts.into() };
    match format {
        Format::Junit => junit::read(piece, bytes).map(Share::from),
        Format::Cobertura => cobertura::read(piece, bytes).map(measured),
        Format::Lcov => lcov::read(piece, bytes).map(measured),
        Format::Sarif => sarif::read(piece, bytes).map(Share::from),
        Format::DetectSecrets => detect_secrets::read(piece, bytes).map(listed),
        Format::Gitleaks => gitleaks::read(name, piece, bytes).map(listed),
        Format::Checkov => checkov::read(piece, bytes).map(Share::from),
        Format::TestPresence => own::read_presence(piece, bytes).map(Share::from),
        Format::Inventory => own::read_inventory(piece, bytes).map(Share::from),
        Format::Diff => diff::read(bytes).map(|changed| Share { changed: Some(changed), ..Share::default() }),
        Format::Cyclonedx | Format::CyclonedxVex if bytes.trim_ascii_start().starts_with(b"<") => {
            Err(cyclonedx_xml())
        }
        Format::Cyclonedx | Format::CyclonedxVex => cyclonedx::read(piece, bytes).map(Share::from),
        Format::Spdx => spdx::read(piece, bytes).map(Share::from),
        Format::Grype => grype::read(piece, bytes).map(listed),
        Format::Trivy => trivy::read(piece, bytes).map(Share::from),
        Format::Osv => osv::read(piece, bytes).map(Share::from),
        Format::Openvex => openvex::read(piece, bytes).map(Share::from),
        // Plans are read beside the policy that looks at them, and signatures beside the keys that they are checked with.
        Format::TerraformPlan | Format::SigstoreBundle | Format::Dsse | Format::CosignSignature => {
            Ok(Share::default())
        }
    }
}

fn unknown(bytes: &[u8]) -> Problem {
    if UTF_16.iter().any(|mark| bytes.starts_with(mark)) {
        return problem(
            ProblemCode::Malformed,
            "It is text in UTF-16, as `>` of Windows PowerShell writes it. Write it as UTF-8: pipe it to `Out-File -Encoding utf8`.",
        );
    }
    let is_json = matches!(bytes.trim_ascii_start().first(), Some(b'[' | b'{'));
    if is_json && let Err(too_deep) = json::check_depth(bytes) {
        return too_deep.into();
    }
    problem(
        ProblemCode::UnknownFormat,
        "It is no evidence that is known. Send reports as their tools write them: JUnit, Cobertura or LCOV, \
        SARIF, detect-secrets, \
         gitleaks, Checkov, a Terraform plan as JSON, CycloneDX, SPDX, grype, trivy, osv, OpenVEX, signatures or a diff.",
    )
}

fn cyclonedx_xml() -> Problem {
    problem(ProblemCode::UnsupportedVersion, "It is CycloneDX as XML. Let the tool write it as JSON.")
}

fn problem(code: ProblemCode, detail: impl Into<String>) -> Problem {
    Problem { code, detail: detail.into() }
}
