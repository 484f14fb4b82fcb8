//! What was read from the evidence about a build. Readers turn untrusted bytes into these facts; judging looks at nothing else.
//!
//! Each scan says what it looked at: one that looked at nothing proves nothing. In what order evidence came never matters.

mod attested;
mod tested;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use self::attested::{
    AgentWork, Attestation, CertificateClaims, Claim, PipelineIdentity, Provenance, SignerId, Untrusted,
};
pub use self::tested::{
    ChangedLines, Coverage, Declared, FileCoverage, Inventory, OfApp, Presence, SourceFile, TestRun, test_of,
};
use crate::ids::Digest;
use crate::release::ArtifactDigest;
use crate::time::UnixMs;

/// Most pieces of evidence of one decision.
pub const MAX_PIECES: usize = 50;
/// Most pieces that are added to what a build was judged from.
pub const MAX_ADDED: usize = 20;
/// Most findings of one piece that are kept, the worst first; how many there were is kept too.
pub const MAX_FINDINGS: usize = 1_000;
/// Longest text taken from evidence, in bytes; longer ones are cut.
pub const MAX_FACT_BYTES: usize = 500;
/// Most components of one SBOM that are kept by name; how many there were is kept too.
pub const MAX_COMPONENTS: usize = 5_000;

/// Most findings of one audit.
pub const MAX_AUDITED: usize = 5_000;

/// Everything that is known about a build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// What was handed in, readable or not.
    pub pieces: Vec<Piece>,
    /// Test runs.
    pub tests: Vec<TestRun>,
    /// Which lines the tests ran.
    pub coverage: Vec<Coverage>,
    /// Which source files have tests.
    pub presence: Vec<Presence>,
    /// What the app's folder holds.
    pub inventory: Vec<Inventory>,
    /// Scans for secrets, faults in code, infrastructure and vulnerabilities.
    pub scans: Vec<Scan>,
    /// Plans of infrastructure.
    pub plans: Vec<Plan>,
    /// Lists of what the artifact is made of.
    pub sboms: Vec<Sbom>,
    /// What somebody says of vulnerabilities.
    pub exploitability: Vec<Exploitability>,
    /// What somebody signed, good or not.
    pub attestations: Vec<Attestation>,
    /// The pipeline, by its own token.
    pub identity: Option<PipelineIdentity>,
    /// The language models that had a part in it.
    pub agents: Vec<AgentWork>,
}

impl Facts {
    /// Since when all is known that a decision stands on: it is no younger, however often it is made. Of what was added later scans
    /// count, each until a newer one looked for the same; other files that were added only join what was there.
    pub fn known_since(&self) -> Option<UnixMs> {
        let came = |digest: &Digest| {
            self.pieces.iter().find(|piece| piece.digest == *digest).map(|piece| piece.received_at)
        };
        let mut last_looked: BTreeMap<ScanKind, UnixMs> = BTreeMap::new();
        for scan in &self.scans {
            let last = last_looked.entry(scan.kind).or_default();
            *last = came(&scan.piece).unwrap_or_default().max(*last);
        }
        let is_last = |piece: &Piece| {
            let mut scans = self.scans.iter().filter(|scan| scan.piece == piece.digest);
            scans.any(|scan| last_looked.get(&scan.kind).is_none_or(|last| *last <= piece.received_at))
        };
        let counts = |piece: &&Piece| !piece.added || is_last(piece);
        let times = self.pieces.iter().filter(counts).map(|piece| piece.received_at);
        times.filter(|at| *at > UnixMs(0)).min()
    }
}

/// A file that was handed in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// SHA-256 of its bytes as they came, after decompression.
    pub digest: Digest,
    /// What it was called.
    pub name: String,
    /// What it is; none: nothing that is known.
    pub format: Option<Format>,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it came: certificates of minutes are held against that, however often it is judged.
    #[serde(default)]
    pub received_at: UnixMs,
    /// Whether it came after the build was judged: what it found stays, whoever asks again with earlier reports.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub added: bool,
    /// Why nothing was taken from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Formats of evidence, told apart by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each is the name of a published format")]
pub enum Format {
    Junit,
    Cobertura,
    Lcov,
    Sarif,
    DetectSecrets,
    Gitleaks,
    Checkov,
    TerraformPlan,
    Cyclonedx,
    Spdx,
    Grype,
    Trivy,
    Osv,
    Openvex,
    CyclonedxVex,
    CosignSignature,
    SigstoreBundle,
    Dsse,
    TestPresence,
    Inventory,
    Diff,
}

/// Why a piece of evidence is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// What kind, for programs.
    pub code: ProblemCode,
    /// What is wrong and what to do, for people. Holds nothing secret.
    pub detail: String,
}

/// Kinds of what can be wrong with a piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// It is nothing that is known.
    UnknownFormat,
    /// It is a known format in a version that is not taken.
    UnsupportedVersion,
    /// It is broken: not what its format says.
    Malformed,
    /// It is larger, deeper or longer than is taken.
    TooLarge,
    /// It tries what no honest report does: entities that expand, keys given twice.
    Hostile,
    /// Its totals are not what it lists.
    Contradictory,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nobody said.
    #[default]
    Unknown,
    /// Worth knowing.
    Low,
    /// Worth mending. SARIF's `note` and `warning` are `Low` and `Medium`.
    Medium,
    /// Has to be mended. SARIF's `error`.
    High,
    /// Has to be mended at once.
    Critical,
}

impl Severity {
    /// The one of two that counts: what nobody graded may be worse than what is worth mending.
    #[must_use]
    pub fn sterner(self, other: Severity) -> Severity {
        let place = |severity| match severity {
            Severity::Low => 0,
            Severity::Medium => 1,
            Severity::Unknown => 2,
            Severity::High => 3,
            Severity::Critical => 4,
        };
        if place(self) >= place(other) { self } else { other }
    }
}

/// A program that looked at something.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name in lower case, such as `detect-secrets`.
    pub name: String,
    /// Its version, if it said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What a scan looked for. Each kind is a check of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScanKind {
    /// Secrets in code.
    Secrets,
    /// Faults in code.
    Code,
    /// Faults in infrastructure.
    Infrastructure,
    /// Known vulnerabilities of what it is made of.
    Vulnerabilities,
}

/// What a program looked for and found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    /// The piece it was read from.
    pub piece: Digest,
    /// What it looked for.
    pub kind: ScanKind,
    /// With what.
    pub tool: Tool,
    /// Whether it shows that it looked at something, and with everything that belongs to it.
    pub proof: Proof,
    /// How many findings there were.
    pub total: u64,
    /// The findings, at most [`MAX_FINDINGS`], the worst first.
    pub findings: Vec<Finding>,
}

/// Whether a scan shows that it looked at something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// It says what it looked at, in a few words such as `12 rules over 3 files`.
    Given(String),
    /// It does not: nothing was scanned, a run failed, or a part of it was switched off. Why, and how to mend it.
    Missing(String),
}

/// Something that a scan or a test run found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The rule, such as `CKV_AWS_20` or `CVE-2020-14343`.
    pub rule: String,
    /// Names the finding from build to build: of the rule, the file or package and what was found, not of the line it stands on.
    pub fingerprint: Digest,
    /// What was found, in one line. Never a secret itself.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// In which file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// On which line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// In which package or resource, as a purl or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How to mend it: the version that has it mended, or what to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Whoever handed in the report says that it is harmless, as by a mark in a baseline. That alone changes nothing: anybody who can
    /// change the code can write the mark too.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub disputed: bool,
    /// Other names of the same, such as `GHSA-…` of a CVE; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// A plan of infrastructure, reduced to what policies look at; values marked sensitive are gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The piece it was read from.
    pub piece: Digest,
    /// How many resources it has.
    pub resources: u64,
    /// The input of the policy, as the policies shipped with the server expect it.
    pub input: serde_json::Value,
    /// What the policy said of it.
    pub verdicts: Vec<PolicyFinding>,
}

/// What a policy of infrastructure says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFinding {
    /// What to make of it at least, as the policy says; `None` leaves it to the tier.
    pub effect: PolicyEffect,
    /// Which part of infrastructure policy it belongs to.
    pub concern: Concern,
    /// What was found.
    pub finding: Finding,
}

/// What a policy asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PolicyEffect {
    /// Worth knowing.
    Note,
    /// A warning.
    Warn,
    /// No.
    Deny,
}

/// Parts of infrastructure policy. What a tier makes of each is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Concern {
    /// Data that everybody can read.
    PublicData,
    /// Rights to everything. Never waived.
    WildcardPrivileges,
    /// Resources without the tags that say whose they are.
    Tags,
    /// More virtual CPUs than the tier or app has.
    Size,
    /// Data that is not encrypted.
    Encryption,
    /// A policy of the operator.
    Custom,
}

/// What an artifact is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sbom {
    /// The piece it was read from.
    pub piece: Digest,
    /// Format and version, such as `CycloneDX 1.6`.
    pub format: String,
    /// How many components it lists.
    pub total: u64,
    /// Digests that it names as its subject.
    pub subjects: Vec<ArtifactDigest>,
    /// The components, at most [`MAX_COMPONENTS`].
    pub components: Vec<Component>,
}

/// Something an artifact is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Its version, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its package URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    /// What its licences ask for.
    pub licence: Licence,
    /// The licences as written, such as `MIT OR Apache-2.0`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licences: String,
}

/// What a licence asks for, as far as the gate tells them apart. Of a choice, the mildest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Licence {
    /// MIT, Apache-2.0, BSD and the like.
    Permissive,
    /// What changes of the library itself have to be passed on: LGPL, MPL, EPL.
    WeakCopyleft,
    /// What everything that is linked with it falls under: GPL, AGPL, SSPL.
    StrongCopyleft,
    /// It is not said, or in words that are not known.
    #[default]
    Unknown,
}

/// What somebody says of a vulnerability in this artifact: a request for a waiver, unless security signed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exploitability {
    /// The piece it was read from.
    pub piece: Digest,
    /// The vulnerability, such as `CVE-2020-14343`.
    pub vulnerability: String,
    /// The packages, as purls or references of an SBOM; empty: not said, and then it covers nothing.
    pub products: Vec<String>,
    /// What is said.
    pub status: ExploitabilityStatus,
    /// Why, in the words of the format, such as `code_not_reachable`; a `not_affected` without it counts for nothing.
    pub justification: Option<String>,
    /// The name of the trusted signer, if it was signed by one.
    pub signer: Option<SignerId>,
}

/// What is said of a vulnerability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExploitabilityStatus {
    /// The artifact is not affected.
    NotAffected,
    /// It is.
    Affected,
    /// It was, and is not any more.
    Fixed,
    /// Nobody knows yet.
    UnderInvestigation,
}
