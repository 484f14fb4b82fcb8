//! The gate's answer: what each check found, what that comes to, and how to mend it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::facts::{AgentWork, Finding, Format, PipelineIdentity, SignerId};
use super::policy::Level;
use crate::flag::Tier;
use crate::governance::Actor;
use crate::ids::{AppKey, DecisionId, Digest, EnvKey, Revision, WaiverId};
use crate::release::ArtifactDigest;
use crate::time::UnixMs;

/// Most findings of one check that a decision lists, the worst first; how many there were is kept too.
pub const MAX_LISTED: usize = 50;
/// Most reports that are named for one finding; more that tell of it are not.
pub const MAX_REPORTS: usize = 5;
/// Most fingerprints of one finding besides its first; the rest is not told.
pub const MAX_NAMES: usize = 10;

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// Everything that was handed in can be read.
    Evidence,
    /// The pipeline that asks is the app's.
    Identity,
    /// No secret in the code.
    Secrets,
    /// Every source file has a test.
    TestsPresent,
    /// The tests pass.
    TestsPass,
    /// The contract tests pass.
    ContractTests,
    /// Tests run enough of the code.
    Coverage,
    /// Analysers find no error in the code.
    Code,
    /// The infrastructure is as it may be.
    Infrastructure,
    /// What it is made of is listed.
    Sbom,
    /// Licences of what it is made of.
    Licences,
    /// Known vulnerabilities of what it is made of.
    Vulnerabilities,
    /// The artifact is signed.
    Signature,
    /// How it was built is attested.
    Provenance,
}

impl CheckName {
    /// All, in the order in which they are shown.
    pub const ALL: [CheckName; 14] = [
        CheckName::Evidence,
        CheckName::Identity,
        CheckName::Secrets,
        CheckName::TestsPresent,
        CheckName::TestsPass,
        CheckName::ContractTests,
        CheckName::Coverage,
        CheckName::Code,
        CheckName::Infrastructure,
        CheckName::Sbom,
        CheckName::Licences,
        CheckName::Vulnerabilities,
        CheckName::Signature,
        CheckName::Provenance,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckName::Evidence => "evidence",
            CheckName::Identity => "identity",
            CheckName::Secrets => "secrets",
            CheckName::TestsPresent => "tests_present",
            CheckName::TestsPass => "tests_pass",
            CheckName::ContractTests => "contract_tests",
            CheckName::Coverage => "coverage",
            CheckName::Code => "code",
            CheckName::Infrastructure => "infrastructure",
            CheckName::Sbom => "sbom",
            CheckName::Licences => "licences",
            CheckName::Vulnerabilities => "vulnerabilities",
            CheckName::Signature => "signature",
            CheckName::Provenance => "provenance",
        }
    }
}

impl fmt::Display for CheckName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GateVerdict"))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may go to production.
    Pass,
    /// It may, and something should be mended.
    Warn,
    /// It may not.
    Deny,
}

impl Verdict {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Deny => "deny",
        }
    }

    /// Whether it lets a build into production.
    pub fn passes(self) -> bool {
        self != Verdict::Deny
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GateCheckState"))]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// What it asks for is shown.
    Passed,
    /// The opposite is.
    Failed,
    /// Nothing shows it: there is no such evidence, or it does not prove that anything was looked at.
    NoProof,
    /// The tier does not ask.
    NotAsked,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GateCheck"))]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// How it ended.
    pub state: CheckState,
    /// What that comes to: `off` where it counts for nothing.
    pub level: Level,
    /// What was found, in a sentence.
    pub found: String,
    /// Why it matters, in words for who is no engineer.
    pub why: String,
    /// What to do. Empty where nothing is to be done.
    pub fix: String,
    /// How many findings there are.
    pub total: u64,
    /// The findings, at most [`MAX_LISTED`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Judged>,
}

/// A finding, and what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// What was found.
    pub finding: Finding,
    /// What it comes to.
    pub level: Level,
    /// The waiver that it stands under, or that security signed that it does no harm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excused: Option<Excuse>,
    /// Whether it is what nobody may waive, such as rights to everything.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub hard_stop: bool,
    /// The reports that tell of it by the names they were handed in with, at most [`MAX_REPORTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<String>,
    /// Its fingerprints in other reports, at most [`MAX_NAMES`]: it counts until each of them is waived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Digest>,
}

impl Judged {
    /// A finding that no report is known to tell of, and that is no hard stop.
    pub fn new(finding: Finding, level: Level, excused: Option<Excuse>) -> Judged {
        Judged { finding, level, excused, hard_stop: false, reports: Vec::new(), also: Vec::new() }
    }
}

/// Why a finding does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Excuse {
    /// A waiver.
    Waiver(WaiverId),
    /// A statement that security signed.
    Signed(String),
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GateJudgement"))]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// What it comes to.
    pub verdict: Verdict,
    /// What each check found, in a fixed order.
    pub checks: Vec<Check>,
    /// If it passes: until when it stands.
    pub valid_until: UnixMs,
    /// The waivers that it stands on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<WaiverId>,
    /// Whose signatures it stands on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<SignerId>,
}

impl Judgement {
    /// Whether it is denied for nothing but evidence that is missing or cannot be read.
    pub fn lacks_only_evidence(&self) -> bool {
        let mut denied = self.checks.iter().filter(|check| check.level == Level::Deny).peekable();
        denied.peek().is_some()
            && denied.all(|check| check.state == CheckState::NoProof || check.name == CheckName::Evidence)
    }
}

/// Why the gate judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// Somebody asked, with evidence.
    Asked,
    /// New evidence came for a build that was judged before.
    NewEvidence,
    /// The policy, the app's tier or its source changed.
    PolicyChanged,
    /// A waiver was approved, revoked, or lapsed.
    WaiverChanged,
}

/// A decision as the log keeps it. The whole judgement, the facts and the receipt are files, named by their digests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GateDecisionRecord"))]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Its name.
    pub id: DecisionId,
    /// The app.
    pub app: AppKey,
    /// For which environment.
    pub environment: EnvKey,
    /// Of which artifact.
    pub artifact: ArtifactDigest,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why it was made.
    pub occasion: Occasion,
    /// The tier that the app had.
    pub tier: Tier,
    /// The policy it was made by.
    pub policy: Digest,
    /// What the app could be built from; none: nobody had said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Digest>,
    /// What each check came to.
    pub checks: Vec<CheckSummary>,
    /// If it passes: until when it stands.
    pub valid_until: UnixMs,
    /// The waivers that it stands on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<WaiverId>,
    /// Whose signatures it stands on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<SignerId>,
    /// The evidence.
    pub evidence: Vec<EvidenceRef>,
    /// The file of the facts.
    pub facts: Digest,
    /// The file of the judgement.
    pub judgement: Digest,
    /// The file of the signed receipt.
    pub receipt: Digest,
    /// The pipeline, by its own token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<PipelineIdentity>,
    /// The language models that had a part in the build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentWork>,
}

impl Decision {
    /// Whether it takes down what runs: somebody asked, and something was shown to be wrong; or what builds are judged by changed. That
    /// a report is missing when somebody asks again bars raising, and takes nothing down.
    pub fn takes_down(&self) -> bool {
        let asked = matches!(self.occasion, Occasion::Asked | Occasion::NewEvidence);
        let shown = self.checks.iter().any(|check| {
            check.level == Level::Deny
                && check.state == CheckState::Failed
                && check.name != CheckName::Evidence
        });
        self.verdict == Verdict::Deny && (!asked || shown)
    }
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GateCheckSummary"))]
#[serde(deny_unknown_fields)]
pub struct CheckSummary {
    /// Which.
    pub name: CheckName,
    /// How it ended.
    pub state: CheckState,
    /// What that comes to.
    pub level: Level,
    /// How many findings there are.
    pub total: u64,
}

/// A piece of evidence that a decision was made from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct EvidenceRef {
    /// SHA-256 of its bytes as they came.
    pub digest: Digest,
    /// What it was called, at most 100 bytes.
    pub name: String,
    /// What it is.
    pub format: Option<Format>,
    /// The file that keeps it, without its secrets.
    pub kept: Digest,
}

/// A decision with its place in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// The decision.
    pub decision: Decision,
    /// Its entry.
    pub revision: Revision,
    /// When it was made.
    pub at: UnixMs,
    /// Who asked.
    pub by: Actor,
}

/// A decision with all that was found, as the server answers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "GateAnswer"))]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The decision, as the log keeps it.
    pub decision: Decision,
    /// What each check found.
    pub judgement: Judgement,
    /// Its entry.
    pub revision: Revision,
    /// When it was made.
    pub at: UnixMs,
    /// Who asked.
    pub by: Actor,
    /// Whether it is denied for nothing but evidence that is missing or cannot be read.
    pub lacks_only_evidence: bool,
}
